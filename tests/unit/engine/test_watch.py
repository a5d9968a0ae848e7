"""Watched keys, and who hears of changes."""

import pytest
from tests.testing.console import NoLink, build_engine

from hotplate.clock import ManualClock
from hotplate.engine.context import Context
from hotplate.engine.engine import Engine
from hotplate.keyspace.database import Database

NOW_MS = 1_700_000_000_000


@pytest.fixture
def engine() -> Engine:
    return build_engine(ManualClock(NOW_MS))


def watching(engine: Engine, *keys: bytes) -> Context:
    ctx = engine.connect(NoLink())
    for key in keys:
        engine.watches.watch(ctx, key)
    return ctx


def write(database: Database, key: bytes) -> None:
    database.assign(key, b"v", NOW_MS)
    database.changed(key, "set")


def test_a_change_breaks_those_who_watch_the_key_in_that_database_only(engine: Engine) -> None:
    first, second, other = (
        watching(engine, b"a"),
        watching(engine, b"b", b"a"),
        watching(engine, b"b"),
    )
    write(engine.databases[1], b"a")
    assert not any(engine.watches.broken(ctx) for ctx in (first, second, other))
    write(engine.databases[0], b"a")
    assert [engine.watches.broken(ctx) for ctx in (first, second, other)] == [True, True, False]


def test_a_database_without_watched_keys_has_no_observer(engine: Engine) -> None:
    ctx, other = watching(engine, b"a", b"a"), watching(engine, b"a")
    assert engine.databases[0].observer is not None
    assert engine.databases[1].observer is None
    engine.watches.forget(ctx)
    assert engine.databases[0].observer is not None
    engine.disconnect(other)
    assert engine.databases[0].observer is None


def test_forgetting_mends_and_a_client_that_went_is_not_told(engine: Engine) -> None:
    ctx = watching(engine, b"a")
    write(engine.databases[0], b"a")
    engine.watches.forget(ctx)
    assert not engine.watches.broken(ctx)
    gone = watching(engine, b"a")
    engine.disconnect(gone)
    write(engine.databases[0], b"a")
    assert not gone.watch_broken
    assert gone.watched == {}


def test_a_key_whose_time_has_come_counts_as_changed_but_not_as_read(engine: Engine) -> None:
    database = engine.databases[0]
    database.assign(b"a", b"v", NOW_MS, NOW_MS + 10)
    ctx = watching(engine, b"a")
    ctx.now_ms = NOW_MS + 10
    assert not engine.watches.broken(ctx)
    ctx.now_ms = NOW_MS + 11
    assert engine.watches.broken(ctx)
    assert (database.hits, database.misses) == (0, 0)


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [(True, False, True), (False, True, True), (True, True, True), (False, False, False)],
)
def test_a_swap_changes_what_is_here_or_comes(
    engine: Engine, here: bool, there: bool, expected: bool
) -> None:
    first, second = engine.databases[:2]
    if here:
        first.assign(b"a", b"1", NOW_MS)
    if there:
        second.assign(b"a", b"2", NOW_MS)
    ctx = watching(engine, b"a")
    engine.watches.touch_database(0, other=1)
    assert engine.watches.broken(ctx) is expected


def test_a_flush_changes_only_what_was_there(engine: Engine) -> None:
    for database in engine.databases[:2]:
        database.assign(b"a", b"1", NOW_MS)
    there, missing = watching(engine, b"a"), watching(engine, b"b")
    engine.watches.touch_database(1)
    assert not engine.watches.broken(there)
    engine.watches.touch_database(0)
    assert engine.watches.broken(there)
    assert not engine.watches.broken(missing)


def test_the_engines_observer_sees_each_change_once_watched_or_not(engine: Engine) -> None:
    seen: list[tuple[int, bytes, str]] = []
    ctx = watching(engine, b"a")

    def observer(index: int, key: bytes, event: str) -> None:
        seen.append((index, key, event))

    engine.observe(observer)
    write(engine.databases[0], b"a")
    write(engine.databases[3], b"b")
    engine.watches.forget(ctx)
    write(engine.databases[0], b"c")
    engine.observe(observer, False)
    write(engine.databases[0], b"d")
    assert seen == [(0, b"a", "set"), (3, b"b", "set"), (0, b"c", "set")]
    assert engine.databases[0].observer is None


def test_an_observer_that_comes_first_stays_when_watching_ends(engine: Engine) -> None:
    seen: list[bytes] = []
    engine.observe(lambda index, key, event: seen.append(key))
    ctx = watching(engine, b"a")
    write(engine.databases[0], b"a")
    assert ctx.watch_broken
    engine.watches.forget(ctx)
    write(engine.databases[0], b"b")
    assert seen == [b"a", b"b"]
