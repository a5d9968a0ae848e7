"""The ordered map of deliveries beside a dict that is sorted when asked."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hotplate.keyspace.stream_pending import CHUNK_MAX, Delivery, DeliveryMap


def delivery() -> Delivery:
    return Delivery(None, 0, 1, (), 0)


class MapMachine(RuleBasedStateMachine):
    """Every operation on both."""

    def __init__(self) -> None:
        super().__init__()
        self.map = DeliveryMap()
        self.naive: dict[int, Delivery] = {}
        self.lots: list[tuple[int, ...]] = []

    @rule(count=st.integers(1, CHUNK_MAX), step=st.integers(1, 3))
    def extend(self, count: int, step: int) -> None:
        first = max(self.map.last, max(self.naive, default=-1)) + step
        keys = tuple(range(first, first + count * step, step))
        fresh = delivery()
        self.map.extend(keys, fresh)
        self.lots.append(keys)
        self.naive.update(dict.fromkeys(keys, fresh))

    @rule(keys=st.lists(st.integers(0, 2000), max_size=60))
    def put(self, keys: list[int]) -> None:
        for key in keys:
            fresh = delivery()
            self.map.put(key, fresh)
            self.naive[key] = fresh

    @rule(start=st.integers(0, 2000), count=st.integers(0, 600))
    def pop(self, start: int, count: int) -> None:
        for key in range(start, start + count):
            assert self.map.pop(key) is self.naive.pop(key, None)

    @precondition(lambda self: self.naive)
    @rule(data=st.data(), count=st.integers(1, 600))
    def drop(self, data: st.DataObject, count: int) -> None:
        first = data.draw(st.sampled_from(sorted(self.naive)))
        keys = [key for key in sorted(self.naive) if key >= first][:count]
        self.map.drop_many(keys)
        for key in keys:
            del self.naive[key]

    @precondition(lambda self: self.naive)
    @rule(data=st.data())
    def walk(self, data: st.DataObject) -> None:
        start = data.draw(st.integers(0, 2100))
        end = data.draw(st.one_of(st.none(), st.integers(0, 2100)))
        expected = [
            (key, self.naive[key])
            for key in sorted(self.naive)
            if key >= start and (end is None or key <= end)
        ]
        assert list(self.map.walk(start, end)) == expected

    @rule(key=st.integers(0, 2100))
    def get(self, key: int) -> None:
        assert self.map.get(key) is self.naive.get(key)

    @precondition(lambda self: self.naive)
    @rule()
    def get_the_first_and_the_last(self) -> None:
        for key in (min(self.naive), max(self.naive)):
            assert self.map.get(key) is self.naive[key]

    @invariant()
    def size_agrees(self) -> None:
        assert len(self.map) == len(self.naive)
        assert all(key <= self.map.last for key in self.naive)

    @rule()
    def ends_agree(self) -> None:
        assert self.map.first_key() == min(self.naive, default=None)
        assert self.map.last_key() == max(self.naive, default=None)

    @precondition(lambda self: self.lots)
    @rule(data=st.data())
    def drop_a_lot(self, data: st.DataObject) -> None:
        """What came together goes together, if all of it is there."""
        keys = data.draw(st.sampled_from(self.lots))
        if all(key in self.naive for key in keys):
            self.map.drop_many(keys)
            for key in keys:
                del self.naive[key]


MapMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestMap = MapMachine.TestCase


@given(st.integers(0, 5000))
def test_walking_goes_on_while_what_was_passed_is_removed(count: int) -> None:
    entries = DeliveryMap()
    for start in range(0, count, CHUNK_MAX):
        entries.extend(list(range(start, min(start + CHUNK_MAX, count))), delivery())
    seen = []
    for key, _ in entries.walk():
        seen.append(key)
        entries.pop(key)
    assert seen == list(range(count))
    assert len(entries) == 0


def test_shedding_takes_about_as_many_as_asked_for() -> None:
    entries = DeliveryMap()
    for start in range(0, 10 * CHUNK_MAX, CHUNK_MAX):
        entries.extend(list(range(start, start + CHUNK_MAX)), delivery())
    assert entries.shed(CHUNK_MAX + 1) == 2 * CHUNK_MAX
    assert len(entries) == 8 * CHUNK_MAX
    assert entries.shed(10**6) == 8 * CHUNK_MAX
    assert entries.first_key() is None
