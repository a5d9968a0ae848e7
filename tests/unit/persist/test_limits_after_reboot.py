"""Limits whose log is replayed after the machine started again: its clock that never steps began at
zero, so that what the log tells of happened at times below."""

import pytest
from tests.testing.logged import Logged
from tests.testing.memory_files import MemoryFiles

from hotplate.clock import ManualClock


def logged() -> Logged:
    """A server with an empty log."""
    return Logged(MemoryFiles()).start()


def rebooted(server: Logged) -> Logged:
    """The engine that loads the log at the same wall time, on a machine that just started."""
    return Logged(server.files.after_kill(), ManualClock(server.clock.now_ms())).load()


@pytest.mark.parametrize("before_ms", [0, 9_000])
def test_a_paced_queue_goes_on_as_if_the_machine_had_stayed_up(before_ms: int) -> None:
    server = logged()
    server.clock.advance(before_ms)
    server("LBQ.CREATE q INTO s RATE 1 10000")
    server("LBQ.ADD q FIELDS 1 n x")
    server("LBQ.ADD q DELAY 500 FIELDS 1 n y")
    server.clock.advance(4_000)
    again = rebooted(server)
    for span_ms, length in ((5_999, 0), (1, 1), (9_999, 1), (1, 2)):
        again.clock.advance(span_ms)
        again.engine.tend_queues(again.clock.now_ms())
        assert again.console("XLEN s") == length


def test_buckets_and_reservations_go_on_as_if_the_machine_had_stayed_up() -> None:
    server = logged()
    server.clock.advance(9_000)
    server("CL.THROTTLE k 9 10 60 10")
    server("LB.ACQUIRE 2 b c LIMIT RATE 10 10 60000 10 CONC 1 ID r TTL 7000")
    server("LB.ACQUIRE 1 n LIMIT RATE 10 10 60000 4")
    server.clock.advance(4_000)
    again = rebooted(server)
    assert again.console("CL.THROTTLE k 9 10 60") == [1, 10, 0, 2, 56]
    assert again.console("LB.ACQUIRE 1 c LIMIT CONC 1")[2] == 3_000
    assert again.console("LB.ACQUIRE 1 n LIMIT RATE 10 10 60000 0")[3] == [[0, 10, 6, -1, 20_000]]
    assert again.console("LB.SETTLE r 2 b c ACTUAL 2 0") == [1, [[8, 0, 8, 8_000], [0, 0, 1, 0]]]
