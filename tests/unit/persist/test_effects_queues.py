"""Paced queues and their streams come back from the log: nothing lost, nothing doubled."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.testing.logged import Logged
from tests.testing.memory_files import MemoryFiles

from hotplate.keyspace.bucket_queue import BucketQueue
from hotplate.keyspace.limits_state import texts_of

KEYS = (b"q", b"spilled")


def logged() -> Logged:
    return Logged(MemoryFiles()).start()


def pass_of(server: Logged, span_ms: float) -> None:
    """Time passes, and the timer fires."""
    server.clock.advance(span_ms)
    while server.engine.tend_queues(server.clock.now_ms()):
        pass
    server.flush()


def state(server: Logged) -> list[Any]:
    """Queues with all their inner state, and streams, as of now."""
    engine = server.engine
    server.console("PING")  # the engine reads its clocks
    found: list[Any] = []
    for key in KEYS:
        entry = engine.databases[0].lookup_write(key, engine.now_ms)
        value = None if entry is None else entry.value
        assert value is None or isinstance(value, BucketQueue)
        if value is not None:
            value.tend(engine.now_ns)  # a delayed entry may join earlier or later: no difference
            # what changed nothing is counted, but not logged
            value.figures.rejected = value.figures.duplicates = 0
        found.append(None if value is None else texts_of(value, engine)[3:])
    found += [server.console(f"XRANGE {stream} - +") for stream in ("s", "s2", "dead")]
    return found


STEP = st.one_of(
    st.tuples(
        st.just("LBQ.ADD q CLASS {} COST {} DELAY {} {} FIELDS 1 n x"),
        st.integers(0, 1),
        st.integers(1, 4),
        st.sampled_from([0, 0, 7]),
        st.sampled_from(["", "TTL 30", "TTL 5", "IDMP p 1", "IDMP p 2"]),
    ),
    st.tuples(
        st.sampled_from(
            [
                *("LBQ.PAUSE q", "LBQ.RESUME q", "LBQ.RATE q 7 10", "LBQ.RATE q 1 1"),
                *("LBQ.RELEASE q", "DEL s", "LBQ.ADD q FIELDS 1 n x", "XTRIM s MAXLEN 1"),
                "MULTI|LBQ.ADD q FIELDS 1 n x|LBQ.ADD q CLASS 1 FIELDS 1 n x|EXEC",
            ]
        )
    ),
    st.tuples(st.just("time"), st.sampled_from([0.3, 1, 2.7, 10, 100])),
    st.tuples(st.just("time"), st.sampled_from([0.3, 1, 2.7, 10, 100])),
    st.tuples(st.just("cancel"), st.integers(0, 5)),
)


def do(server: Logged, step: tuple[Any, ...]) -> None:
    """One step."""
    if step[0] == "time":
        pass_of(server, step[1])
    elif step[0] == "cancel":
        rows = server("LBQ.RANGE q 0 -1")
        if rows:
            server("LBQ.CANCEL", "q", rows[step[1] % len(rows)][0])
    else:
        for line in step[0].format(*step[1:]).split("|"):
            server(line)


@given(
    st.sampled_from(["DROPOLDEST", "DROPLOWEST", "SPILL spilled", "REJECT"]),
    st.sampled_from(["", "MAXAGE 20", "CREDIT g 3"]),
    st.lists(STEP, max_size=40),
)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_queue_comes_back_from_the_log_as_it_was(
    overflow: str, more: str, steps: list[tuple[Any, ...]]
) -> None:
    server = logged()
    server("LBQ.CREATE spilled INTO s2 RATE 1 5 CAPACITY 2")
    options = f"BURST 3 CLASSES 2 WEIGHTS 2 1 CAPACITY 4 OVERFLOW {overflow} DEAD dead {more}"
    server(f"LBQ.CREATE q INTO s RATE 3 10 {options}")
    server("XGROUP CREATE s g 0 MKSTREAM")
    for step in steps:
        do(server, step)
    restarted = server.restarted()
    assert restarted.appendonly.progress.refused == 0
    assert state(restarted) == state(server)


def test_a_rewritten_log_and_a_restart_lose_nothing_and_double_nothing() -> None:
    """What was released stays so, what waits stays, though the rewrite took its time."""
    server = logged()
    server("LBQ.CREATE q INTO s RATE 1 10 CLASSES 2")
    for number in range(20):
        server("LBQ.ADD", "q", "CLASS", number % 2, "FIELDS", 1, "n", number)
    server("MSET", *(part for number in range(2000) for part in (f"key:{number}", "x")))
    for _ in range(5):
        pass_of(server, 10.4)
    server.background.start_rewrite()
    while server.soon:
        server.run_soon(1)
        pass_of(server, 0.7)
    assert not server.background.is_busy
    for _ in range(5):
        pass_of(server, 10.2)
    restarted = server.restarted()
    assert state(restarted) == state(server)
    released = [entry[1][1] for entry in restarted.console("XRANGE s - +")]
    waiting = [row[5][1] for row in restarted.console("LBQ.RANGE q 0 -1")]
    assert len(waiting) > 2
    assert sorted(map(int, released + waiting)) == list(range(20))
    for _ in range(30):
        pass_of(restarted, 10)
    everything = [entry[1][1] for entry in restarted.console("XRANGE s - +")]
    assert sorted(map(int, everything)) == list(range(20))
