"""A run of equal plain requests on hashes does exactly what its requests do one by one."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.commands.test_string_runs import answer, without_runs
from tests.testing.console import Console

from hotplate.keyspace.database import Database
from hotplate.keyspace.hash import Hash
from hotplate.keyspace.sharded import SPREAD_FROM

KEYS = [b"a", b"b", b"text"]
keys = st.sampled_from(KEYS)
fields = st.sampled_from([b"f", b"g", b"h", b"n" * 70])
values = st.sampled_from([b"", b"1", b"x" * 64, b"x" * 65, b"x" * 600, b"x" * 5000])
plain = st.one_of(
    st.tuples(st.sampled_from([b"HGET", b"hget"]), keys, fields),
    st.tuples(st.just(b"HSET"), keys, fields, values),
    st.tuples(st.just(b"HGETALL"), keys),
)
others = st.one_of(
    st.tuples(st.just(b"HGETEX"), keys, st.just(b"PX"), st.just(b"50"), st.just(b"FIELDS"),
              st.just(b"1"), fields),
    st.tuples(st.just(b"PEXPIRE"), keys, st.just(b"50")),
    st.tuples(st.sampled_from([b"DEL", b"WATCH", b"HGET", b"HGETALL"]), keys),
    st.tuples(st.just(b"HSET"), keys, fields, values, fields, values),
    st.sampled_from([(b"SET", b"text", b"1"), (b"HGET",), (b"HSET", b"a")]),
    st.just((b"HGETALL", b"a", b"b")),
    st.sampled_from([(b"MULTI",), (b"EXEC",), (b"CLIENT", b"NO-TOUCH", b"ON")]),
)  # fmt: skip
batches = st.lists(st.lists(plain | plain | plain | others, min_size=1, max_size=12), max_size=6)


def stored(database: Database) -> dict[bytes, tuple[Any, ...]]:
    """Everything that the entries hold."""
    found: dict[bytes, tuple[Any, ...]] = {}
    for shard in database.shards:
        for key, entry in shard.items():
            value = entry.value
            content: Any = value
            if isinstance(value, Hash):
                times = {name: value.deadline(name) for name in value.table}
                content = (dict(value.table.items()), value.name, value.first_ms, times)
            found[key] = (content, entry.expire_at_ms, entry.accessed_ms)
    return found


@pytest.mark.parametrize("resp", [2, 3])
@settings(max_examples=150, deadline=None)
@given(batches=batches)
def test_runs_and_single_requests_agree(resp: int, batches: list[list[tuple[bytes, ...]]]) -> None:
    with_runs = Console(resp=resp)
    one_by_one = without_runs(Console(resp=resp))
    for batch in batches:
        assert answer(with_runs, batch) == answer(one_by_one, batch)
        ours, theirs = with_runs.ctx.db, one_by_one.ctx.db
        assert stored(ours) == stored(theirs)
        for counter in ("dirty", "hits", "misses", "expired", "expired_fields"):
            assert getattr(ours, counter) == getattr(theirs, counter), counter


def test_a_run_over_a_large_hash_sets_what_is_there_and_what_is_not() -> None:
    console = Console()
    size = SPREAD_FROM + 10
    console("HSET", "h", *[part for number in range(size) for part in (b"%d" % number, b"0")])
    answer(console, [(b"HSET", b"h", b"%d" % number, b"1") for number in range(size + 10)])
    assert console("HLEN h") == size + 10
    assert set(console("HVALS h")) == {b"1"}
    frames = answer(console, [(b"HGET", b"h", b"%d" % number) for number in range(size + 11)])
    assert frames == b"$1\r\n1\r\n" * (size + 10) + b"$-1\r\n"
