"""The stream beside a naive list of ids, and what it can say of its groups."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hotplate.keyspace.stream import (
    ACKNOWLEDGED_ONLY,
    CHUNK_ENTRIES,
    DELETE_REFERENCES,
    Stream,
    Trim,
)
from hotplate.keyspace.stream_entry import ID_MAX, build_frame, format_id
from hotplate.keyspace.stream_group import Group

_COUNTS = st.integers(0, 260)


def frame_of(entry_id: int) -> bytes:
    return build_frame(format_id(entry_id), [b"f", b"%d" % entry_id])


def filled(count: int, *, step: int = 1) -> Stream:
    stream = Stream()
    for entry_id in range(1, count * step + 1, step):
        stream.append(entry_id, frame_of(entry_id))
    return stream


class StreamMachine(RuleBasedStateMachine):
    """Every operation on both. Ids stay small, so that deletions hit."""

    def __init__(self) -> None:
        super().__init__()
        self.stream = Stream()
        self.ids: list[int] = []
        self.deleted_max = 0

    @rule(count=_COUNTS, step=st.integers(1, 3))
    def append(self, count: int, step: int) -> None:
        for _ in range(count):
            entry_id = self.stream.last_id + step
            self.stream.append(entry_id, frame_of(entry_id))
            self.ids.append(entry_id)

    @rule(start=st.integers(0, 900), count=_COUNTS)
    def delete(self, start: int, count: int) -> None:
        for entry_id in range(start, start + count):
            was_there = entry_id in self.ids
            assert self.stream.delete(entry_id) is was_there
            if was_there:
                self.ids.remove(entry_id)
                self.deleted_max = max(self.deleted_max, entry_id)

    @rule(length=st.integers(0, 600))
    def trim_to_a_length(self, length: int) -> None:
        gone = max(len(self.ids) - length, 0)
        assert self.stream.trim(Trim(length)) == gone
        del self.ids[:gone]

    @rule(min_id=st.integers(0, 900))
    def trim_by_id(self, min_id: int) -> None:
        kept = [entry_id for entry_id in self.ids if entry_id >= min_id]
        assert self.stream.trim(Trim(min_id=min_id)) == len(self.ids) - len(kept)
        self.ids = kept

    @rule(length=st.integers(0, 600), limit=st.sampled_from([0, 50, 100, 10_000]))
    def trim_about(self, length: int, limit: int) -> None:
        gone = self.stream.trim(Trim(length, approximate=True, limit=limit))
        assert gone <= max(len(self.ids) - length, 0)
        if limit in (0, 10_000):
            assert len(self.ids) - gone < length + CHUNK_ENTRIES
        else:
            assert gone <= limit
        del self.ids[:gone]

    @rule(start=st.integers(0, 900), end=st.integers(0, 900), count=st.integers(0, 300))
    def read(self, start: int, end: int, count: int) -> None:
        expected = [entry_id for entry_id in self.ids if start <= entry_id <= end]
        stop = count or None
        ids, frames = self.stream.between(start, end, count)
        assert ids == expected[:stop]
        assert frames == [frame_of(entry_id) for entry_id in ids]
        backwards = self.stream.between_reversed(start, end, count)
        assert backwards == [frame_of(entry_id) for entry_id in expected[::-1][:stop]]

    @rule()
    def copy(self) -> None:
        self.stream = self.stream.copy()

    @invariant()
    def ends_agree(self) -> None:
        assert len(self.stream) == len(self.ids)
        assert self.stream.first_id == (self.ids[0] if self.ids else 0)
        assert self.stream.top_id == (self.ids[-1] if self.ids else 0)
        assert self.stream.max_deleted_id == self.deleted_max
        if self.ids:
            middle = self.ids[len(self.ids) // 2]
            assert self.stream.get(middle) == frame_of(middle)
        assert self.stream.get(self.stream.last_id + 1) is None


StreamMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestStream = StreamMachine.TestCase


def test_the_next_id_follows_the_clock_and_the_last_id() -> None:
    stream = Stream()
    assert stream.next_id(5) == 5 << 64
    stream.append(7 << 64 | 2**64 - 1, b"")
    assert stream.next_id(5) == 8 << 64
    stream.append(ID_MAX, b"")
    assert stream.next_id(5) is None


@given(st.integers(1, 400), st.data())
@settings(deadline=None)
def test_trimming_what_is_acknowledged_keeps_what_groups_wait_for(
    count: int, data: st.DataObject
) -> None:
    stream = filled(count)
    group = stream.groups[b"g"] = Group(0)
    consumer = group.create_consumer(b"c", 0)
    read = data.draw(st.integers(0, count))
    if read:
        group.deliver(consumer, list(range(1, read + 1)), 0)
        group.last_id = read
    acknowledged = data.draw(st.sets(st.integers(1, count), max_size=50))
    group.forget(sorted(acknowledged))
    length = data.draw(st.integers(0, count))
    free = [entry_id for entry_id in range(1, read + 1) if entry_id in acknowledged]
    gone = free[: max(count - length, 0)]
    assert stream.trim(Trim(length, references=ACKNOWLEDGED_ONLY)) == len(gone)
    assert stream.between(0, ID_MAX)[0] == [i for i in range(1, count + 1) if i not in gone]
    assert [entry_id for entry_id in range(1, count + 1) if stream.is_referenced(entry_id)] == [
        entry_id for entry_id in range(1, count + 1) if entry_id not in free
    ]


def test_approximate_trimming_of_what_is_acknowledged_comes_round_to_everything() -> None:
    stream = filled(3000)
    group = stream.groups[b"g"] = Group(3000)
    consumer = group.create_consumer(b"c", 0)
    group.deliver(consumer, list(range(1, 2001)), 0)
    rule = Trim(100, approximate=True, limit=10_000, references=ACKNOWLEDGED_ONLY)
    rounds = 0
    while len(stream) > 2000 + CHUNK_ENTRIES:
        stream.trim(rule)
        rounds += 1
        assert rounds < 20
    assert all(stream.get(entry_id) is not None for entry_id in range(1, 2001))


def test_trimming_may_take_the_references_along() -> None:
    stream = filled(250)
    group = stream.groups[b"g"] = Group(0)
    consumer = group.create_consumer(b"c", 0)
    group.deliver(consumer, list(range(1, 251)), 0)
    assert stream.trim(Trim(20, references=DELETE_REFERENCES)) == 230
    assert [entry_id for entry_id, _ in group.pending.walk()] == list(range(231, 251))
    assert len(consumer.pending) == 20


def test_a_copy_shares_nothing_that_changes() -> None:
    stream = filled(10)
    group = stream.groups[b"g"] = Group(0)
    alice, bob = group.create_consumer(b"alice", 0), group.create_consumer(b"bob", 5)
    group.deliver(alice, [1, 2, 3, 4], 7)
    group.claim(3, bob, 8, 2)
    group.release(4, 1)
    copied = stream.copy()
    twin = copied.groups[b"g"]
    group.forget([1, 2, 3, 4])
    stream.delete(1)
    shown = [
        (entry_id, it.consumer and it.consumer.name, it.at_ms, it.deliveries)
        for entry_id, it in twin.pending.walk()
    ]
    assert shown == [(1, b"alice", 7, 1), (2, b"alice", 7, 1), (3, b"bob", 8, 2), (4, None, 0, 1)]
    assert copied.get(1) == frame_of(1)
    assert [entry_id for entry_id, _ in twin.released(0)] == [4]
    assert twin.forget([1, 2, 3, 4]) == 4
    assert len(twin.order) == 0


@pytest.mark.parametrize("count", [1, 256, 10_000])
def test_shedding_ends_with_nothing_left(count: int) -> None:
    stream = filled(1000)
    group = stream.groups[b"g"] = Group(1000)
    group.deliver(group.create_consumer(b"c", 0), list(range(1, 1001)), 0)
    lengths = [len(stream)]
    while stream:
        stream.shed(count)
        lengths.append(len(stream))
    assert all(a >= b for a, b in pairwise(lengths))
    assert not stream.groups


def test_size_grows_with_entries_and_with_what_is_pending() -> None:
    small, large = filled(100), filled(1000)
    assert large.sample_bytes(5) > 9 * small.sample_bytes(5)
    assert abs(large.sample_bytes(0) - large.sample_bytes(50)) < large.sample_bytes(0) / 10
    before = large.sample_bytes(5)
    group = large.groups[b"g"] = Group(0)
    group.deliver(group.create_consumer(b"c", 0), list(range(1, 1001)), 0)
    assert large.sample_bytes(5) > before + 1000 * 50
