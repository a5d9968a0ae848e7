"""A run of equal plain requests does exactly what its requests do one by one.

Method: the same batches against two engines, one of which has no run handlers; frames, counters and
what is stored must be the same.
"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.testing.console import Console

from hotplate.engine.dispatch import run
from hotplate.keyspace.database import Database

KEYS = [b"a", b"b", b"counter", b"gone"]
keys = st.sampled_from(KEYS)
values = st.sampled_from([b"", b"1", b"text", b"x" * 5000, b"9223372036854775807"])
plain = st.one_of(
    st.tuples(st.sampled_from([b"GET", b"get", b"INCR"]), keys),
    st.tuples(st.just(b"SET"), keys, values),
)
others = st.one_of(
    st.tuples(st.just(b"SET"), keys, values, st.just(b"PX"), st.just(b"50")),
    st.tuples(st.sampled_from([b"DEL", b"PERSIST", b"GET", b"INCR", b"WATCH"]), keys),
    st.tuples(st.just(b"APPEND"), keys, values),
    st.sampled_from([(b"GET",), (b"SET", b"a"), (b"INCR", b"a", b"b"), (b"MULTI",), (b"EXEC",)]),
    st.sampled_from([(b"CLIENT", b"NO-TOUCH", b"ON"), (b"CLIENT", b"REPLY", b"SKIP")]),
)
batches = st.lists(st.lists(plain | plain | plain | others, min_size=1, max_size=12), max_size=6)


def stored(database: Database) -> dict[bytes, tuple[Any, ...]]:
    """Everything that the entries hold."""
    return {
        key: (type(entry.value), entry.value, entry.expire_at_ms, entry.accessed_ms)
        for shard in database.shards
        for key, entry in shard.items()
    }


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
@settings(max_examples=150, deadline=None)
@given(sent=batches)
def test_a_run_does_what_its_requests_do_one_by_one(
    resp: int, sent: list[list[tuple[bytes, ...]]]
) -> None:
    fast, slow = Console(resp=resp), without_runs(Console(resp=resp))
    for batch in sent:
        assert answer(fast, batch) == answer(slow, batch)
        ours, theirs = fast.ctx.db, slow.ctx.db
        assert stored(ours) == stored(theirs)
        assert (ours.dirty, ours.hits, ours.misses) == (theirs.dirty, theirs.hits, theirs.misses)
        for name in (b"get", b"set", b"incr"):
            own, other = (each.engine.commands.commands[name] for each in (fast, slow))
            assert (own.calls, own.rejected, own.failed) == (
                other.calls,
                other.rejected,
                other.failed,
            )


@pytest.mark.parametrize("name", [b"get", b"set", b"incr"])
def test_a_run_takes_plain_requests_itself(name: bytes) -> None:
    console = Console()
    argv = [name, b"a", b"7"][: 3 if name == b"set" else 2]
    console("SET a 7")
    console("INCR a")
    command = console.engine.commands.commands[name]
    taken: list[int] = []
    handler = command.run
    assert handler is not None

    def counted(*given: Any) -> int:
        end = handler(*given)
        taken.append(end - given[2])
        return end

    command.run = counted
    if name == b"get":
        console("SET a text")
    answer(console, [tuple(argv)] * 5)
    assert taken == [5]
