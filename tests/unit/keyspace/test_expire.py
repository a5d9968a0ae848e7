"""Active expiry: exact, bounded, resumed."""

import random

from hotplate.clock import ManualClock
from hotplate.keyspace.database import SHARDS, Database
from hotplate.keyspace.expire import ExpiryCycle

NOW_MS = 1_700_000_000_000


class TickingClock:
    """Every look at it costs a millisecond."""

    def __init__(self) -> None:
        self.looks = 0

    def monotonic_ns(self) -> int:
        self.looks += 1
        return self.looks * 1_000_000


def filled(count: int, index: int = 0) -> Database:
    """Key n expires n milliseconds from NOW_MS."""
    database = Database(index)
    for number in range(count):
        database.assign(b"%d" % number, b"v", NOW_MS, NOW_MS + number)
    return database


def test_a_pass_removes_exactly_the_keys_whose_time_is_past() -> None:
    databases = [filled(300), filled(200, 1)]
    cycle = ExpiryCycle(databases, ManualClock().monotonic_ns)
    assert cycle.run(NOW_MS + 100) == 200
    assert [database.size() for database in databases] == [200, 100]
    assert databases[0].holds(b"100")
    assert not databases[0].holds(b"99")
    assert cycle.run(NOW_MS + 100) == 0
    assert not cycle.behind


def test_keys_without_expiry_stay() -> None:
    database = filled(10)
    database.assign(b"stays", b"v", NOW_MS)
    ExpiryCycle([database], ManualClock().monotonic_ns).run(NOW_MS + 10**6)
    assert list(database.keys()) == [b"stays"]


def test_a_pass_ends_when_its_time_is_spent_and_the_next_goes_on_there() -> None:
    database = filled(5000)
    clock = TickingClock()
    cycle = ExpiryCycle([database], clock.monotonic_ns)
    passes = []
    while database.size():
        looks_before = clock.looks
        passes.append(cycle.run(NOW_MS + 10**6, budget_ns=50_000_000))
        assert clock.looks - looks_before <= 52
        assert len(passes) < 100, "no progress"
        assert cycle.behind or not database.size()
    assert sum(passes) == 5000
    assert len(passes) > 10


def test_a_pass_looks_at_no_more_keys_than_it_may() -> None:
    database = filled(5000)
    cycle = ExpiryCycle([database], ManualClock().monotonic_ns)
    assert 100 <= cycle.run(NOW_MS + 10**6, keys_max=100) <= 100 + 64 + 5000 // SHARDS


def test_a_large_shard_is_swept_over_several_passes() -> None:
    database = Database(0)
    keys = [key for key in (b"%d" % n for n in range(400_000)) if hash(key) % SHARDS == 5]
    for position, key in enumerate(keys):
        database.assign(key, b"v", NOW_MS, NOW_MS + (1 if position % 2 else 10**9))
    cycle = ExpiryCycle([database], ManualClock().monotonic_ns)
    expired = cycle.run(NOW_MS + 5, keys_max=64)
    assert 0 < expired < len(keys) // 2
    late = keys[0]
    database.delete(late)  # changes while the sweep waits
    database.assign(late, b"v", NOW_MS, NOW_MS + 2)
    for _ in range(2 * len(keys) // 64 + 4):  # the rest of this sweep, and one more
        cycle.run(NOW_MS + 5, keys_max=64)
    assert database.size() == len(keys) - len(keys) // 2 - 1
    assert not database.holds(late)


def test_a_swept_shard_is_read_again_only_when_a_key_can_be_due() -> None:
    database = Database(0)
    database.assign(b"k", b"v", NOW_MS, NOW_MS + 1000)
    cycle = ExpiryCycle([database], ManualClock().monotonic_ns)
    database.earliest_ms[hash(b"k") % SHARDS] = 0  # as SWAPDB leaves it: unknown
    assert cycle.run(NOW_MS) == 0
    assert database.earliest_ms[hash(b"k") % SHARDS] == NOW_MS + 1000
    assert cycle.run(NOW_MS + 1001) == 1


def test_swapping_and_flushing_between_passes_lose_no_key() -> None:
    rng = random.Random(3)
    databases = [Database(0), Database(1)]
    cycle = ExpiryCycle(databases, ManualClock().monotonic_ns)
    for step in range(400):
        now_ms = NOW_MS + step
        for _ in range(20):
            key = b"%d" % rng.randrange(2000)
            rng.choice(databases).assign(key, b"v", now_ms, now_ms + rng.randrange(1, 200))
        if rng.random() < 0.2:
            databases[0].swap(databases[1])
        if rng.random() < 0.02:
            databases[0].flush()
        cycle.run(now_ms, keys_max=rng.choice([1, 10, 100]))
    while databases[0].expiring_count + databases[1].expiring_count:
        assert cycle.run(NOW_MS + 10**6) > 0
    assert databases[0].size() == databases[1].size() == 0


def test_every_expired_key_is_told() -> None:
    database = filled(50)
    told: list[tuple[int, bytes, str]] = []
    database.observer = lambda index, key, event: told.append((index, key, event))
    ExpiryCycle([database], ManualClock().monotonic_ns).run(NOW_MS + 50)
    assert sorted(told) == sorted((0, b"%d" % number, "expired") for number in range(50))
    assert database.expired == 50
