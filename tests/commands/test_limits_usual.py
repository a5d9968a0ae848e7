"""The short ways of LB.ACQUIRE and LB.SETTLE beside the general one, which is taken while somebody
listens to changes: the same answers, the same figures, whether requests come alone or in batches.
"""

from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.testing.server_console import ServerConsole

from hotplate.engine.dispatch import run

KEYS: Final = (b"a", b"b", b"c", b"d", b"text")
IDS: Final = (b"x", b"y", b"z", b"")
# a key has nearly always the same kind of limit: else nothing is usual
_USUAL = {
    b"a": [b"RATE", b"10", b"10", b"60000"],
    b"b": [b"RATE", b"1000", b"3", b"7"],
    b"c": [b"CONC"],
    b"d": [b"CONC"],
    b"text": [b"CONC"],
}
_COSTS = {
    b"RATE": [[b"1"], [b"3"], [b"9"], [b"3", b"2"], [b"4", b"3"], [b"0"], [b"1", b"2"], [b"x"]],
    b"CONC": [[b"2"], [b"3"], [b"3", b"2"], [b"0"], [b"2", b"0"]],
}
_STRANGE = st.sampled_from(
    [[b"RATE", b"10", b"0", b"7"], [b"RATE", b"0", b"1", b"7"], [b"RATE", b"10", b"20", b"120000"]]
)


@st.composite
def _limited(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    key = draw(st.sampled_from([b"a", b"a", b"b", b"b", b"c", b"d", b"text"]))
    limit = _USUAL[key]
    if draw(st.integers(0, 15)) == 0:
        limit = draw(_STRANGE)
    return key, limit + draw(st.sampled_from(_COSTS[limit[0]]))


_OPTIONS = st.sampled_from(
    [
        *([], [], [], [], [b"ID", b"x"], [b"ID", b"y"], [b"ID", b"z"], [b"TTL", b"70000"]),
        *([b"ID", b"x", b"TTL", b"5000"], [b"TTL", b"5000", b"ID", b"y"], [b"ID", b""], [b"ID"]),
        *([b"TTL", b"0"], [b"PEEK"], [b"SHADOW"], [b"SHARE", b"500"], [b"id", b"x"]),
        [b"OVERDRAFT"],
    ]
)


def _acquire(parts: tuple[list[tuple[bytes, list[bytes]]], list[bytes]]) -> list[bytes]:
    limited, options = parts
    keys = [key for key, _ in limited]
    words = [word for _, limit in limited for word in limit]
    return [b"LB.ACQUIRE", b"%d" % len(keys), *keys, b"LIMIT", *words, *options]


def _key(limited: tuple[bytes, list[bytes]]) -> bytes:
    return limited[0]


def _settle(parts: tuple[bytes, list[tuple[bytes, bytes]]]) -> list[bytes]:
    rid, costs = parts
    keys = [key for key, _ in costs]
    return [b"LB.SETTLE", rid, b"%d" % len(keys), *keys, b"ACTUAL", *[cost for _, cost in costs]]


ACQUIRES = st.tuples(st.lists(_limited(), min_size=1, max_size=3, unique_by=_key), _OPTIONS).map(
    _acquire
)
PLAIN = st.tuples(
    st.sampled_from([b"a", b"b"]), st.sampled_from([b"1", b"1", b"2", b"9", b"01"])
).map(lambda parts: b"LB.ACQUIRE 1 %b LIMIT RATE 10 10 60000 %b" % parts)
RIDS = st.one_of(st.sampled_from(IDS), st.integers(1, 6).map(lambda number: b"made-%012x" % number))
_SETTLED = [
    *((b"a", b"0"), (b"a", b"1"), (b"a", b"5"), (b"b", b"0"), (b"b", b"2"), (b"c", b"0")),
    *((b"d", b"0"), (b"a", b"-1"), (b"d", b"1"), (b"text", b"0")),
]
SETTLINGS = st.tuples(RIDS, st.lists(st.sampled_from(_SETTLED), min_size=1, max_size=3)).map(
    _settle
)
OTHERS = st.one_of(
    st.tuples(RIDS, st.sampled_from(KEYS)).map(lambda parts: b"LB.CANCEL %b 1 %b" % parts),
    st.tuples(RIDS, st.sampled_from(KEYS)).map(lambda parts: b"LB.EXTEND %b 200000 1 %b" % parts),
    st.sampled_from(KEYS).map(lambda key: b"CL.THROTTLE %b 9 10 60" % key),
    st.sampled_from(KEYS).map(lambda key: b"PEXPIRE %b 40000" % key),
    st.sampled_from(KEYS).map(lambda key: b"PERSIST %b" % key),
    st.sampled_from([b"DEL a", b"COPY a b REPLACE", b"RENAME a b", b"LB.INFO a"]),
).map(bytes.split)
_FILLING = [
    *(b"LB.ACQUIRE 1 d LIMIT CONC 2", b"LB.ACQUIRE 1 c LIMIT CONC 3 2"),
    b"LB.ACQUIRE 2 a d LIMIT RATE 10 10 60000 3 CONC 2",
]
FILLING = st.one_of(PLAIN, st.sampled_from(_FILLING)).map(bytes.split)
REQUESTS = st.one_of(ACQUIRES, ACQUIRES, FILLING, SETTLINGS, SETTLINGS, OTHERS)
SPANS_MS = st.sampled_from([0, 0, 0, 1, 400, 6000, 6000, 60_000, 121_000])
CONSOLES: Final = [ServerConsole() for _ in range(3)]


def _batch(console: ServerConsole, requests: list[list[bytes]]) -> bytes:
    console.ctx.now_ms = console.clock.now_ms()
    frames: list[bytes] = []
    run(console.ctx, [list(argv) for argv in requests], frames)
    return b"".join(frames)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(SPANS_MS, st.lists(REQUESTS, min_size=1, max_size=8)), max_size=12))
def test_the_short_ways_lead_where_the_general_one_does(
    steps: list[tuple[int, list[list[bytes]]]],
) -> None:
    together, alone, general = CONSOLES
    for console in CONSOLES:
        console.ctx.db.observer = None
        console("FLUSHALL")
        console("SET text x")
        console.engine.limiter.prefix = b"made"
        console.engine.limiter.number = 0
    general.ctx.db.observer = lambda index, key, event: None
    for span_ms, requests in steps:
        for console in CONSOLES:
            console.clock.advance(span_ms)
        frames = [general.execute(request) for request in requests]
        assert [alone.execute(request) for request in requests] == frames
        assert _batch(together, requests) == b"".join(frames)
        for key in KEYS[:-1]:
            for look in (b"LB.INFO", b"PTTL", b"TYPE"):
                shown = general.execute([look, key])
                assert alone.execute([look, key]) == shown
                assert together.execute([look, key]) == shown
    assert alone.ctx.db.size() == together.ctx.db.size() == general.ctx.db.size()
    assert len({console.ctx.db.expiring_count for console in CONSOLES}) == 1
