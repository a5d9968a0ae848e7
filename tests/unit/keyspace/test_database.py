"""Databases: storing, expiring, telling, swapping."""

import random

import pytest

from hotplate.keyspace.database import NEVER_MS, SHARD_MASK, Database

NOW_MS = 1_700_000_000_000


class Recorder:
    """An observer that remembers what it was told."""

    def __init__(self, database: Database) -> None:
        self.events: list[tuple[int, bytes, str]] = []
        database.observer = self

    def __call__(self, index: int, key: bytes, event: str) -> None:
        self.events.append((index, key, event))


def check_counts(database: Database) -> None:
    """The counters and the two indexes agree with what is stored."""
    stored = {key: entry for shard in database.shards for key, entry in shard.items()}
    expiring = {key: entry for shard in database.expiring for key, entry in shard.items()}
    assert database.size() == len(stored)
    assert database.expiring_count == len(expiring)
    assert expiring == {key: entry for key, entry in stored.items() if entry.expire_at_ms}
    for key, entry in expiring.items():
        assert database.earliest_ms[hash(key) & SHARD_MASK] <= entry.expire_at_ms


def test_a_key_is_there_until_its_time_is_past() -> None:
    database = Database(0)
    database.assign(b"k", b"v", NOW_MS, NOW_MS + 10)
    assert database.lookup(b"k", NOW_MS + 10) is not None
    assert database.lookup(b"k", NOW_MS + 11) is None
    assert not database.holds(b"k")
    check_counts(database)


@pytest.mark.parametrize("method", ["lookup", "lookup_write"])
def test_whoever_meets_a_key_past_its_time_removes_it_and_tells(method: str) -> None:
    database = Database(3)
    database.assign(b"k", b"v", NOW_MS, NOW_MS + 1)
    recorder = Recorder(database)
    assert getattr(database, method)(b"k", NOW_MS + 2) is None
    assert getattr(database, method)(b"k", NOW_MS + 2) is None
    assert recorder.events == [(3, b"k", "expired")]
    assert database.expired == 1
    assert database.size() == 0


def test_reads_count_hits_and_misses_and_writes_count_neither() -> None:
    database = Database(0)
    database.assign(b"k", b"v", NOW_MS)
    database.lookup(b"k", NOW_MS)
    database.lookup(b"k", NOW_MS)
    database.lookup(b"other", NOW_MS)
    database.lookup_write(b"k", NOW_MS)
    database.lookup_write(b"other", NOW_MS)
    assert (database.hits, database.misses) == (2, 1)


def test_assigning_again_forgets_the_expiry() -> None:
    database = Database(0)
    database.assign(b"k", b"v", NOW_MS, NOW_MS + 1)
    database.assign(b"k", b"w", NOW_MS)
    entry = database.lookup(b"k", NOW_MS + 1000)
    assert entry is not None
    assert (entry.value, entry.expire_at_ms) == (b"w", 0)
    check_counts(database)


def test_renaming_takes_the_expiry_along_and_replaces_what_was_there() -> None:
    database = Database(0)
    database.assign(b"from", b"v", NOW_MS, NOW_MS + 5)
    database.assign(b"to", b"old", NOW_MS, NOW_MS + 7)
    assert database.rename(b"from", b"to")
    entry = database.lookup(b"to", NOW_MS)
    assert entry is not None
    assert (entry.value, entry.expire_at_ms) == (b"v", NOW_MS + 5)
    assert database.size() == 1
    assert not database.rename(b"from", b"to")
    check_counts(database)


def test_nothing_is_told_without_an_observer_but_changes_are_counted() -> None:
    database = Database(0)
    database.changed(b"k", "set")
    recorder = Recorder(database)
    database.changed(b"k", "del")
    assert database.dirty == 2
    assert recorder.events == [(0, b"k", "del")]


def test_flushing_empties_at_once_and_leaves_the_memory_to_be_freed() -> None:
    database = Database(0)
    for number in range(100):
        database.assign(b"%d" % number, b"v", NOW_MS, NOW_MS + 5)
    used_shards = sum(bool(shard) for shard in database.shards)
    assert database.flush() == 100
    assert database.size() == 0
    assert list(database.keys()) == []
    check_counts(database)
    assert len(database.discarded) == 2 * used_shards  # the keys, and those that expire


def test_swapping_exchanges_keys_and_leaves_observers() -> None:
    first, second = Database(0), Database(1)
    first.assign(b"a", b"1", NOW_MS, NOW_MS + 5)
    second.assign(b"b", b"2", NOW_MS)
    second.assign(b"c", b"3", NOW_MS)
    recorder = Recorder(first)
    first.swap(second)
    assert sorted(first.keys()) == [b"b", b"c"]
    assert list(second.keys()) == [b"a"]
    assert (first.size(), second.size()) == (2, 1)
    first.changed(b"b", "set")
    assert recorder.events == [(0, b"b", "set")]
    check_counts(first)
    check_counts(second)


def test_a_random_key_may_be_any_key() -> None:
    database = Database(0)
    assert database.random_key(random.Random(1)) is None
    names = {b"%d" % number for number in range(20)}
    for name in names:
        database.assign(name, b"v", NOW_MS)
    rng = random.Random(1)
    assert {database.random_key(rng) for _ in range(500)} == names


def test_random_changes_keep_counters_and_indexes_in_agreement() -> None:
    rng = random.Random(7)
    database, other = Database(0), Database(1)
    names = [b"%d" % number for number in range(12)]
    for step in range(3000):
        key, now_ms = rng.choice(names), NOW_MS + step
        match rng.randrange(8):
            case 0 | 1:
                database.assign(key, b"v", now_ms, rng.choice([0, now_ms + rng.randrange(40)]))
            case 2:
                entry = database.lookup_write(key, now_ms)
                if entry is not None:
                    database.set_expiry(key, entry, rng.choice([0, now_ms + rng.randrange(40)]))
            case 3:
                database.delete(key)
            case 4:
                database.rename(key, rng.choice([name for name in names if name != key]))
            case 5:
                entry = database.take(key)
                if entry is not None:
                    other.put(key, entry)
            case 6:
                database.lookup(key, now_ms)
            case _:
                if rng.random() < 0.05:
                    database.swap(other)
        if step % 50 == 0:
            check_counts(database)
            check_counts(other)
    check_counts(database)


def test_an_empty_database_expects_no_expiry() -> None:
    assert set(Database(0).earliest_ms) == {NEVER_MS}


def test_a_flush_makes_anew_only_what_held_something() -> None:
    database = Database(0)
    shards, expiring = list(map(id, database.shards)), list(map(id, database.expiring))
    before = list(database.shards)  # keeps them alive, so that no id comes again
    assert database.flush() == 0
    assert list(map(id, database.shards)) == shards
    database.assign(b"a", b"v", NOW_MS)
    database.assign(b"b", b"v", NOW_MS)
    used = {database.shards.index(shard) for shard in database.shards if shard}
    assert database.flush() == 2
    replaced = {at for at, shard in enumerate(database.shards) if shard is not before[at]}
    assert replaced == used
    assert list(map(id, database.expiring)) == expiring
    check_counts(database)
