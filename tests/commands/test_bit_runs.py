"""A run of GETBIT, SETBIT or PFADD does exactly what its requests do one by one.

Method: the same batches against two engines, one of which has no run handlers; frames, counters and
what is stored must be the same.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.commands.test_string_runs import answer, stored, without_runs
from tests.testing.console import Console

KEYS = [b"a", b"b", b"dense", b"gone", b"list"]
keys = st.sampled_from(KEYS)
offsets = st.sampled_from(
    [b"0", b"7", b"8", b"100", b"00", b"-1", b"x", b"", b"999999", b"1000000"]
)
bits = st.sampled_from([b"0", b"1", b"1", b"2"])
elements = st.one_of(st.binary(max_size=3), st.sampled_from([b"x" * 16, b"y" * 40]))
plain = st.one_of(
    st.tuples(st.just(b"GETBIT"), keys, offsets),
    st.tuples(st.just(b"SETBIT"), keys, offsets, bits),
    st.tuples(st.sampled_from([b"PFADD", b"pfadd"]), st.just(b"dense"), elements),
)
others = st.one_of(
    st.tuples(st.just(b"PFADD"), keys, elements, elements),
    st.tuples(st.just(b"PFADD"), keys),
    st.tuples(st.just(b"SET"), keys, st.sampled_from([b"text", b"12"])),
    st.tuples(st.just(b"SET"), keys, st.just(b"t"), st.just(b"PX"), st.just(b"50")),
    st.tuples(st.sampled_from([b"DEL", b"INCR", b"PFCOUNT", b"WATCH", b"GET"]), keys),
    st.sampled_from([(b"GETBIT", b"a"), (b"SETBIT", b"a", b"1"), (b"MULTI",), (b"EXEC",)]),
    st.sampled_from([(b"CLIENT", b"NO-TOUCH", b"ON"), (b"CLIENT", b"REPLY", b"SKIP")]),
)
batches = st.lists(st.lists(plain | plain | plain | others, min_size=1, max_size=12), max_size=6)
START = [
    (b"SETBIT", b"a", b"100", b"1"),
    (b"PFADD", b"dense", b"first"),
    (b"PFDEBUG", b"TODENSE", b"dense"),
    (b"RPUSH", b"list", b"x"),
]


@pytest.mark.parametrize("resp", [2, 3])
@settings(max_examples=150, deadline=None)
@given(batches)
def test_runs_answer_and_store_what_single_requests_do(
    resp: int, sequence: list[list[tuple[bytes, ...]]]
) -> None:
    quick, plodding = Console(resp=resp), without_runs(Console(resp=resp))
    for batch in [START, *sequence]:
        assert answer(quick, batch) == answer(plodding, batch)
        ours, theirs = quick.ctx.db, plodding.ctx.db
        assert (ours.hits, ours.misses, ours.dirty) == (theirs.hits, theirs.misses, theirs.dirty)
        first, second = stored(ours), stored(theirs)
        assert first.keys() == second.keys()
        for key in first.keys() - {b"list"}:
            assert first[key] == second[key]


@pytest.mark.parametrize(
    "argv",
    [
        (b"getbit", b"a", b"100"),
        (b"setbit", b"a", b"99", b"1"),
        (b"pfadd", b"dense", b"element"),
    ],
)
def test_a_run_takes_plain_requests_itself(argv: tuple[bytes, ...]) -> None:
    console = Console()
    answer(console, START)
    handler = console.engine.commands.commands[argv[0]].run
    assert handler is not None
    frames: list[bytes] = []
    assert handler(console.ctx, [argv] * 5, 0, frames.append) == 5
    assert len(frames) == 5
