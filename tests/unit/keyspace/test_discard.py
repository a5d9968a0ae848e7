"""Memory that is given back in slices: what is queued, and how much a pass frees."""

from collections.abc import Callable

import pytest
from tests.testing.box import Box

from hotplate.keyspace.database import Database
from hotplate.keyspace.discard import GROUP, LARGE_ELEMENTS, DiscardCycle

NOW_MS = 1_700_000_000_000
LARGE = 10 * GROUP


class TickingClock:
    """Every look at it costs a millisecond."""

    def __init__(self) -> None:
        self.looks = 0

    def monotonic_ns(self) -> int:
        self.looks += 1
        return self.looks * 1_000_000


class CountingBox(Box):
    """Remembers how much it had to forget at once."""

    def __init__(self, content: list[int]) -> None:
        super().__init__(content)
        self.shed_counts: list[int] = []

    def shed(self, count: int) -> None:
        """Forget and remember."""
        self.shed_counts.append(count)
        super().shed(count)


def holding(box: Box, expire_at_ms: int = 0) -> Database:
    database = Database(0)
    database.assign(b"k", box, NOW_MS, expire_at_ms)
    return database


@pytest.mark.parametrize(
    "remove",
    [
        lambda database: database.delete(b"k"),
        lambda database: database.assign(b"k", b"v", NOW_MS),
        lambda database: database.expire(b"k"),
        lambda database: database.lookup(b"k", NOW_MS + 100),
        lambda database: database.flush(),
        lambda database: (database.assign(b"a", b"v", NOW_MS), database.rename(b"a", b"k")),
    ],
    ids=["delete", "overwrite", "expire", "lazy expiry", "flush", "rename"],
)
def test_a_large_value_is_taken_apart_by_and_by_however_it_went(
    remove: Callable[[Database], object],
) -> None:
    box = CountingBox(list(range(LARGE)))
    database = holding(box, NOW_MS + 50)
    remove(database)
    assert len(box) == LARGE
    clock = TickingClock()
    cycle = DiscardCycle([database], clock.monotonic_ns)
    passes = 1
    while cycle.run(budget_ns=3_000_000):
        assert cycle.pending() > 0
        passes += 1
        assert passes < 100, "no progress"
    assert len(box) == 0
    assert box.shed_counts == [GROUP] * (LARGE // GROUP)
    assert passes >= LARGE // GROUP // 3
    assert database.discarded == []


def test_small_values_and_strings_are_not_queued() -> None:
    database = holding(Box(list(range(LARGE_ELEMENTS))))
    database.delete(b"k")
    for value in (b"x" * 10**6, 5, bytearray(10**6)):
        database.assign(b"s", value, NOW_MS)
        database.assign(b"s", b"", NOW_MS)
        database.assign(b"s", value, NOW_MS)
        database.delete(b"s")
    assert database.discarded == []


def test_a_value_that_moves_to_another_key_stays_whole() -> None:
    box = Box(list(range(LARGE)))
    database, other = holding(box), Database(1)
    database.rename(b"k", b"new")
    entry = database.take(b"new")
    assert entry is not None
    other.put(b"k", entry)
    assert database.discarded == other.discarded == []
    assert len(box) == LARGE


def test_a_flush_of_many_keys_is_freed_a_few_hundred_at_a_time() -> None:
    database = Database(0)
    for number in range(20_000):
        database.assign(b"%d" % number, b"v", NOW_MS, NOW_MS + number % 2)
    box = CountingBox(list(range(LARGE)))
    database.assign(b"box", box, NOW_MS, NOW_MS + 1)
    database.flush()
    clock = TickingClock()
    cycle = DiscardCycle([Database(1), database], clock.monotonic_ns)
    left = keys_left(database)
    while cycle.run(budget_ns=2_000_000):
        assert 0 <= left - keys_left(database) <= 2 * GROUP
        left = keys_left(database)
    assert database.discarded == []
    assert len(box) == 0
    assert set(box.shed_counts) == {GROUP}


def keys_left(database: Database) -> int:
    return sum(len(shard) for shard in database.discarded if isinstance(shard, dict))


def test_a_pass_with_nothing_to_free_looks_at_the_clock_once() -> None:
    clock = TickingClock()
    assert not DiscardCycle([Database(0)], clock.monotonic_ns).run()
    assert clock.looks == 1
