"""A short fuzz run on every build; the long one is `python -m tests.fuzz.frames`."""

import socket
import threading

import pytest
from tests.fuzz.frames import FuzzError, Totals, ping, run, session_frames

from hotplate.bench.process import ServerProcess


@pytest.mark.e2e
@pytest.mark.slow
def test_random_frames_are_answered_or_refused_and_leave_nothing_behind(
    hotplate_server: ServerProcess,
) -> None:
    totals = Totals()
    run(hotplate_server.port, hotplate_server.pid, 4000, 7, totals)
    assert hotplate_server.running
    assert totals.frames == 4000
    assert totals.replies > 1000
    assert totals.protocol_errors > 10
    assert "Traceback" not in hotplate_server.log()


def test_a_seed_gives_the_same_sessions_again() -> None:
    assert [session_frames(5, i) for i in range(20)] == [session_frames(5, i) for i in range(20)]
    assert session_frames(5, 0) != session_frames(6, 0)


def test_a_server_that_does_not_answer_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def close_at_once() -> None:
            listener.accept()[0].close()

        server = threading.Thread(target=close_at_once)
        server.start()
        with pytest.raises(FuzzError, match="PING"):
            ping(listener.getsockname()[1])
        server.join()
