"""Clients that wait for keys: who is served, in which order, and what ends a wait."""

import pytest
from tests.testing.connection_bench import PONG, Bench, request
from tests.testing.scripted_transport import ScriptedTransport

from hotplate.server.connection import READ_AHEAD_BYTES_MAX
from hotplate.server.output import WRITE_HIGH_BYTES

NIL = b"$-1\r\n"
TAKEN_A = b"$1\r\na\r\n"
TAKEN_B = b"$1\r\nb\r\n"


@pytest.fixture
def bench() -> Bench:
    return Bench()


def blocked(bench: Bench, *words: str | int) -> ScriptedTransport:
    """A client that waits for what TRIAL.TAKE takes."""
    transport, _ = bench.client()
    assert bench.ask(transport, request("TRIAL.TAKE", *words)) == b""
    return transport


def test_the_client_that_waits_longest_is_served_first(bench: Bench) -> None:
    waiting = [blocked(bench, 0, "a") for _ in range(3)]
    pusher, _ = bench.client()
    assert bench.ask(pusher, request("INCRBY", "a", 2)) == b":2\r\n"
    assert [transport.take() for transport in waiting] == [TAKEN_A, TAKEN_A, b""]
    assert bench.engine.databases[0].size() == 0
    assert bench.ask(pusher, request("INCR", "a")) == b":1\r\n"
    assert waiting[2].take() == TAKEN_A
    assert len(bench.engine.blocking) == bench.engine.blocking.keys == 0


def test_only_the_waiter_of_a_lone_request_is_written_past_the_queue(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[int] = []
    waiting = [blocked(bench, 0, "a") for _ in range(3)]
    for transport in waiting:
        monkeypatch.setattr(
            transport, "set_write_buffer_limits", lambda high, low: limits.append(high)
        )
    pushers = [bench.client()[0] for _ in range(3)]
    assert bench.ask(pushers[0], request("INCR", "a")) == b":1\r\n"
    assert waiting[0].take() == TAKEN_A
    assert limits == [0, WRITE_HIGH_BYTES]
    for pusher in pushers[1:]:
        pusher.send(request("INCR", "a"))
    bench.settle()
    assert [transport.take() for transport in waiting] == [b"", TAKEN_A, TAKEN_A]
    assert limits == [0, WRITE_HIGH_BYTES]


def test_of_several_keys_the_one_that_is_ready_first_serves(bench: Bench) -> None:
    transport = blocked(bench, 0, "a", "b", "a")
    pusher, _ = bench.client()
    bench.ask(pusher, request("INCR", "b") + request("INCR", "a"))
    assert transport.take() == TAKEN_B
    assert bench.ask(pusher, request("GET", "a")) == b"$1\r\n1\r\n"
    assert bench.ask(transport, request("TRIAL.TAKE", 0, "b", "a")) == TAKEN_A


def test_nobody_is_served_in_the_middle_of_a_transaction(bench: Bench) -> None:
    transport = blocked(bench, 0, "a")
    pusher, _ = bench.client()
    transaction = [request(*words) for words in (("MULTI",), ("INCR", "a"), ("DECR", "a"))]
    bench.ask(pusher, b"".join(transaction) + request("DEL", "a") + request("EXEC"))
    assert transport.take() == b""
    replies = bench.ask(pusher, request("MULTI") + request("INCR", "a") * 2 + request("EXEC"))
    assert replies.endswith(b"*2\r\n:1\r\n:2\r\n")
    assert transport.take() == TAKEN_A
    assert bench.ask(pusher, request("GET", "a")) == b"$1\r\n1\r\n"


def test_a_pipeline_behind_the_change_sees_what_is_left(bench: Bench) -> None:
    transport = blocked(bench, 0, "a")
    pusher, _ = bench.client()
    assert bench.ask(pusher, request("INCR", "a") + request("GET", "a")) == b":1\r\n" + NIL
    assert transport.take() == TAKEN_A


def test_commands_behind_a_wait_run_after_it_in_order(bench: Bench) -> None:
    transport, _ = bench.client()
    sent = request("TRIAL.TAKE", 0, "a") + request("INCR", "n") + request("PING")
    assert bench.ask(transport, sent) == b""
    assert bench.ask(transport, request("INCR", "n")) == b""
    pusher, _ = bench.client()
    assert bench.ask(pusher, request("GET", "n") + request("INCR", "a")) == NIL + b":1\r\n"
    assert transport.take() == TAKEN_A + b":1\r\n" + PONG + b":2\r\n"


@pytest.mark.parametrize("timeout_ms", [1, 250])
def test_a_wait_ends_at_its_time_and_not_before(bench: Bench, timeout_ms: int) -> None:
    transport = blocked(bench, timeout_ms, "a")
    bench.timers.advance(timeout_ms - 0.5)
    assert transport.take() == b""
    bench.timers.advance(0.5)
    bench.settle()
    assert transport.take() == NIL
    assert bench.ask(transport, request("PING")) == PONG
    assert len(bench.engine.blocking) == 0


def test_a_served_client_has_no_timer_left(bench: Bench) -> None:
    transport = blocked(bench, 1000, "a")
    pusher, _ = bench.client()
    bench.ask(pusher, request("INCR", "a"))
    assert transport.take() == TAKEN_A
    assert bench.timers.pending() == 0


def test_a_client_that_goes_takes_nothing(bench: Bench) -> None:
    gone, staying = blocked(bench, 1000, "a"), blocked(bench, 0, "a")
    gone.send_eof()
    bench.settle()
    assert gone.lost
    assert bench.timers.pending() == 0
    pusher, _ = bench.client()
    bench.ask(pusher, request("INCR", "a"))
    assert staying.take() == TAKEN_A


def test_nothing_is_taken_for_a_connection_that_is_being_closed(bench: Bench) -> None:
    transport = blocked(bench, 0, "a")
    pusher, _ = bench.client()
    bench.ask(pusher, request("CLIENT", "KILL", "ID", 1) + request("INCR", "a"))
    assert transport.take() == b""
    assert bench.ask(pusher, request("GET", "a")) == b"$1\r\n1\r\n"


def test_a_client_can_be_let_go(bench: Bench) -> None:
    first, second = blocked(bench, 0, "a"), blocked(bench, 0, "a")
    admin, _ = bench.client()
    assert bench.ask(admin, request("CLIENT", "UNBLOCK", 1)) == b":1\r\n"
    assert first.take() == NIL
    assert bench.ask(admin, request("CLIENT", "UNBLOCK", 2, "ERROR")) == b":1\r\n"
    assert second.take() == b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"
    assert bench.ask(admin, request("CLIENT", "UNBLOCK", 2)) == b":0\r\n"


def test_a_transaction_does_not_wait(bench: Bench) -> None:
    transport, _ = bench.client()
    sent = request("MULTI") + request("TRIAL.TAKE", 0, "a") + request("EXEC")
    assert bench.ask(transport, sent).endswith(b"*1\r\n" + NIL)
    assert bench.ask(transport, request("TRIAL.TAKE", 0, "a")) == b""


def test_a_thousand_who_wait_cost_a_change_one_attempt_more_than_it_serves(bench: Bench) -> None:
    for _ in range(1000):
        blocked(bench, 0, "a")
    bench.trial.attempts = 0
    pusher, _ = bench.client()
    bench.ask(pusher, request("INCR", "a"))
    assert bench.trial.attempts == 1 + 1
    bench.ask(pusher, request("INCRBY", "a", 5))
    assert bench.trial.attempts == 2 + 5 + 1


def test_changes_are_not_watched_while_nobody_waits(bench: Bench) -> None:
    transport = blocked(bench, 0, "a")
    assert bench.engine.databases[0].observer is not None
    pusher, _ = bench.client()
    bench.ask(pusher, request("INCR", "a") + request("SET", "b", 1))
    assert transport.take() == TAKEN_A
    assert bench.engine.databases[0].observer is None


def test_an_error_of_a_retry_answers_that_client_only(bench: Bench) -> None:
    first, second = blocked(bench, 0, "a"), blocked(bench, 0, "b")
    pusher, _ = bench.client()
    assert bench.ask(pusher, request("SET", "a", "text")) == b"+OK\r\n"
    assert first.take().startswith(b"-WRONGTYPE ")
    assert second.take() == b""


@pytest.mark.parametrize("command", ["FLUSHALL", "SWAPDB"])
def test_what_happens_to_whole_databases_is_noticed(bench: Bench, command: str) -> None:
    pusher, _ = bench.client()
    bench.ask(pusher, request("SELECT", 1) + request("SET", "a", 1) + request("INCR", "a"))
    transport = blocked(bench, 0, "a")
    words = ("SWAPDB", 0, 1) if command == "SWAPDB" else ("FLUSHALL",)
    assert bench.ask(pusher, request(*words)) == b"+OK\r\n"
    assert transport.take() == (TAKEN_A if command == "SWAPDB" else b"")


def test_a_waiting_client_that_talks_on_is_read_so_far_and_no_further(bench: Bench) -> None:
    transport = blocked(bench, 0, "a")
    transport.send(request("ECHO", b"x" * 1000) * 1000)
    bench.settle()
    assert not transport.reading
    assert bench.engine.clients[1].link.query_bytes() < 4 * READ_AHEAD_BYTES_MAX
    pusher, _ = bench.client()
    bench.ask(pusher, request("INCR", "a"))
    assert len(transport.take()) == len(TAKEN_A) + 1000 * (1000 + 9)


def test_who_waits_is_shown(bench: Bench) -> None:
    blocked(bench, 0, "a", "b")
    admin, _ = bench.client()
    listing = bench.ask(admin, request("CLIENT", "LIST", "ID", 1))
    assert b" flags=b " in listing
    info = bench.ask(admin, request("INFO", "clients"))
    assert b"\r\nblocked_clients:1\r\n" in info
    assert b"\r\ntotal_blocking_keys:2\r\n" in info
