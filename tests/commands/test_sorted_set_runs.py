"""A run of ZADD or ZRANGEBYSCORE does exactly what its requests do one by one."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.testing.console import Console

from hotplate.engine.dispatch import run
from hotplate.keyspace.database import Database
from hotplate.keyspace.sorted_set import SortedSet

keys = st.sampled_from([b"a", b"b", b"text", b"gone"])
scores = st.sampled_from([b"1", b"2", b"2", b"3", b"007", b"99999999999999999999", b"1.5", b"x"])
ends = st.sampled_from([b"0", b"1", b"2", b"5", b"(1", b"inf", b"x", b"99999999999999999999"])
members = st.sampled_from([b"m", b"n", b"o", b"x" * 65, b"p"])
plain = st.one_of(
    st.tuples(st.sampled_from([b"ZADD", b"zadd"]), keys, scores, members),
    st.tuples(st.just(b"ZRANGEBYSCORE"), keys, ends, ends),
)
others = st.one_of(
    st.tuples(st.just(b"ZADD"), keys, st.just(b"XX"), scores, members),
    st.tuples(st.sampled_from([b"DEL", b"GET", b"WATCH", b"ZCARD"]), keys),
    st.tuples(st.just(b"PEXPIRE"), keys, st.just(b"50")),
    st.sampled_from([(b"SET", b"text", b"x"), (b"ZADD",), (b"MULTI",), (b"EXEC",)]),
    st.sampled_from([(b"CLIENT", b"NO-TOUCH", b"ON"), (b"CLIENT", b"REPLY", b"SKIP")]),
)
batches = st.lists(st.lists(plain | plain | plain | others, min_size=1, max_size=12), max_size=6)


def stored(database: Database) -> dict[bytes, tuple[Any, ...]]:
    """Everything that the entries hold."""
    return {
        key: (content(entry.value), entry.expire_at_ms, entry.accessed_ms)
        for shard in database.shards
        for key, entry in shard.items()
    }


def content(value: Any) -> Any:
    """What can be compared of a value."""
    if isinstance(value, SortedSet):
        return value.encoding(), list(value.items())
    return value


def without_runs(console: Console) -> Console:
    """The same client of an engine that has ordinary handlers only."""
    for command in console.engine.commands.walk():
        command.run = None
    return console


def answer(console: Console, batch: list[tuple[bytes, ...]]) -> bytes:
    """The frames of one batch; a little time passes before it."""
    console.clock.advance(20)
    console.ctx.now_ms = console.clock.now_ms()
    out: list[Any] = []
    assert run(console.ctx, [list(argv) for argv in batch], out) == len(batch)
    return b"".join(out)


@pytest.mark.parametrize("resp", [2, 3])
@settings(max_examples=200, deadline=None)
@given(sent=batches)
def test_a_run_does_what_its_requests_do_one_by_one(
    resp: int, sent: list[list[tuple[bytes, ...]]]
) -> None:
    fast, slow = Console(resp=resp), without_runs(Console(resp=resp))
    for each in (fast, slow):
        each("ZADD a 1 m")
        each.engine.config.zset_max_listpack_entries = 3
    for batch in sent:
        assert answer(fast, batch) == answer(slow, batch)
        ours, theirs = fast.ctx.db, slow.ctx.db
        assert stored(ours) == stored(theirs)
        assert (ours.dirty, ours.hits, ours.misses) == (theirs.dirty, theirs.hits, theirs.misses)
        for name in (b"zadd", b"zrangebyscore"):
            own, other = (each.engine.commands.commands[name] for each in (fast, slow))
            assert (own.calls, own.rejected, own.failed) == (
                other.calls,
                other.rejected,
                other.failed,
            )


@pytest.mark.parametrize(
    "argv", [(b"zadd", b"a", b"1", b"m"), (b"zrangebyscore", b"a", b"0", b"2")]
)
def test_a_run_takes_plain_requests_itself(argv: tuple[bytes, ...]) -> None:
    console = Console()
    console("ZADD a 1 m")
    command = console.engine.commands.commands[argv[0]]
    taken: list[int] = []
    handler = command.run
    assert handler is not None

    def counted(*given: Any) -> int:
        end = handler(*given)
        taken.append(end - given[2])
        return end

    command.run = counted
    answer(console, [argv] * 5)
    assert taken == [5]


def test_a_run_of_large_replies_ends_where_the_pass_is_full() -> None:
    console = Console()
    console("ZADD", "a", "1", b"x" * 400_000)
    handler = console.engine.commands.commands[b"zrangebyscore"].run
    assert handler is not None
    out: list[bytes] = []
    requests = [[b"ZRANGEBYSCORE", b"a", b"0", b"2"]] * 10
    assert handler(console.ctx, requests, 0, out.append) == 3
    assert len(out) == 3
