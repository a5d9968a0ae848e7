"""SCAN's guarantees under every change."""

import random

import pytest

from hotplate.keyspace.database import SHARD_BITS, SHARDS, Database
from hotplate.keyspace.scan import scan

NOW_MS = 1_700_000_000_000


def filled(count: int) -> Database:
    database = Database(0)
    for number in range(count):
        database.assign(b"%d" % number, b"v", NOW_MS)
    return database


def whole(database: Database, count: int) -> list[bytes]:
    """A complete iteration."""
    cursor, found = scan(database, 0, count)
    while cursor:
        cursor, more = scan(database, cursor, count)
        found += more
    return found


@pytest.mark.parametrize("count", [1, 3, 10, 1000, 10**18])
@pytest.mark.parametrize("size", [0, 1, 50, 3000])
def test_a_quiet_iteration_returns_every_key_once(size: int, count: int) -> None:
    database = filled(size)
    assert sorted(whole(database, count)) == sorted(database.keys())


def test_a_call_returns_about_count_keys() -> None:
    database = filled(3000)
    cursor, found = scan(database, 0, 100)
    assert cursor
    assert 100 <= len(found) < 120


def test_keys_that_stay_are_returned_once_whatever_else_comes_and_goes() -> None:
    rng = random.Random(5)
    database = filled(2000)
    staying = {b"%d" % number for number in range(0, 2000, 3)}
    others = [b"%d" % number for number in range(6000) if b"%d" % number not in staying]
    cursor, found = scan(database, 0, 7)
    while cursor:
        for _ in range(20):
            name = rng.choice(others)
            if rng.random() < 0.5:
                database.delete(name)
            else:
                database.assign(name, b"v", NOW_MS)
        cursor, more = scan(database, cursor, 7)
        found += more
    returned = [key for key in found if key in staying]
    assert len(returned) == len(staying)
    assert set(returned) == staying


def test_a_large_shard_is_returned_in_order_over_several_calls() -> None:
    database = Database(0)
    names = [name for name in (b"%d" % n for n in range(300_000)) if hash(name) % SHARDS == 9]
    for name in names:
        database.assign(name, b"v", NOW_MS)
    cursor, found = scan(database, 0, 10)
    calls = 1
    while cursor:
        assert cursor % SHARDS == 9 or len(found) == len(names)
        cursor, more = scan(database, cursor, 10)
        found += more
        calls += 1
    assert len(found) == len(names)
    assert set(found) == set(names)
    assert calls > 10


def test_any_cursor_is_answered() -> None:
    database = filled(100)
    for cursor in (2**64 - 1, 2**63, (2**54 - 1) << SHARD_BITS, 12345):
        following, found = scan(database, cursor, 10)
        assert 0 <= following < 2**64
        assert set(found) <= set(database.keys())
