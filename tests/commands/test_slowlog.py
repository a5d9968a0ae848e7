"""SLOWLOG and LATENCY: which commands are kept, and how they are shown."""

from typing import Any

import pytest
from tests.testing.connection_bench import Bench, request
from tests.testing.server_console import ServerConsole
from tests.testing.trial_commands import Target, build_trial_engine

from hotplate.clock import ManualClock
from hotplate.config import Config
from hotplate.engine.context import Context
from hotplate.engine.dispatch import run


@pytest.fixture
def console() -> ServerConsole:
    config = Config()
    config.apply([("enable-debug-command", ["yes"])])
    return ServerConsole(config=config)


def logged(console: ServerConsole) -> list[list[bytes]]:
    """The commands in the log, the oldest first; what asks for them is not among them."""
    console("CONFIG SET slowlog-log-slower-than -1")
    return [entry[3] for entry in reversed(console("SLOWLOG GET -1"))]


def log_everything(console: ServerConsole) -> None:
    console("CONFIG SET slowlog-log-slower-than 0")
    console("SLOWLOG RESET")
    console.engine.slowlog.clear()


# -- which commands --------------------------------------------------------------------------------


def test_a_command_over_the_threshold_is_kept_with_all_about_it(console: ServerConsole) -> None:
    console("CLIENT SETNAME me")
    console("DEBUG SLEEP 0.009")
    assert console("SLOWLOG LEN") == 0
    console("DEBUG SLEEP 0.02")
    assert console("SLOWLOG GET") == [
        [
            0,
            console.clock.now_ms() // 1000,
            20_000,
            [b"DEBUG", b"SLEEP", b"0.02"],
            console.link.peer.encode(),
            b"me",
        ]
    ]
    assert console("SLOWLOG RESET") == b"OK"
    assert console("SLOWLOG LEN") == 0
    console("DEBUG SLEEP 1")
    assert console("SLOWLOG GET")[0][0] == 1


def test_in_a_batch_a_slow_command_is_told_from_its_equals(console: ServerConsole) -> None:
    requests = [line.split() for line in (b"DEBUG SLEEP 0", b"DEBUG SLEEP 0.5", b"DEBUG SLEEP 0")]
    run(console.ctx, requests, [])
    assert [entry[3] for entry in console("SLOWLOG GET")] == [requests[1]]


def test_fast_commands_count_with_the_average_of_their_run(console: ServerConsole) -> None:
    log_everything(console)
    run(console.ctx, [b"PING 1".split(), b"PING 2".split(), b"GET a".split()], [])
    assert logged(console) == [[b"PING", b"1"], [b"PING", b"2"], [b"GET", b"a"]]


def test_refused_and_queued_commands_are_not_kept(console: ServerConsole) -> None:
    log_everything(console)
    console.refused("GET")
    console.refused("NOPE")
    console("MULTI")
    console("GET a")
    console("EXEC")
    console.refused("CONFIG SET nope 1")
    assert logged(console) == [[b"MULTI"], [b"GET", b"a"], b"CONFIG SET nope 1".split()]


def test_a_slow_command_of_a_transaction_is_kept_and_exec_is_not(console: ServerConsole) -> None:
    console("MULTI")
    console("DEBUG SLEEP 0.5")
    console("PING")
    console("EXEC")
    assert [entry[3] for entry in console("SLOWLOG GET")] == [[b"DEBUG", b"SLEEP", b"0.5"]]


def test_a_negative_threshold_keeps_nothing_and_the_log_has_an_end(console: ServerConsole) -> None:
    console("CONFIG SET slowlog-log-slower-than -1")
    console("DEBUG SLEEP 100")
    assert console("SLOWLOG LEN") == 0
    console("CONFIG SET slowlog-log-slower-than 1000 slowlog-max-len 3")
    for number in range(1, 6):
        console(f"DEBUG SLEEP {number}")
    assert [entry[3][2] for entry in console("SLOWLOG GET")] == [b"5", b"4", b"3"]
    assert [entry[0] for entry in console("SLOWLOG GET 2")] == [4, 3]
    assert console("SLOWLOG GET 0") == []
    console("CONFIG SET slowlog-max-len 1")
    assert [entry[3][2] for entry in console("SLOWLOG GET -1")] == [b"5"]
    console("CONFIG SET slowlog-max-len 0")
    console("DEBUG SLEEP 1")
    assert console("SLOWLOG LEN") == 0


@pytest.mark.parametrize("count", ["-2", "x", "1 2"])
def test_a_count_must_be_one(console: ServerConsole, count: str) -> None:
    text = "ERR count should be greater than or equal to -1"
    assert console.refused(f"SLOWLOG GET {count}") == text


# -- how they are shown ----------------------------------------------------------------------------


def test_long_commands_are_cut(console: ServerConsole) -> None:
    log_everything(console)
    console("SET", "k", "x" * 200)
    console("MSET", *map(str, range(40)))
    assert logged(console) == [
        [b"SET", b"k", b"x" * 128 + b"... (72 more bytes)"],
        [b"MSET", *[b"%d" % number for number in range(30)], b"... (10 more arguments)"],
    ]


def test_secrets_are_not_kept(console: ServerConsole) -> None:
    log_everything(console)
    console.refused("AUTH me secret")
    console("CONFIG", "SET", "timeout", "5", "requirepass", "secret")
    console("HELLO 3 AUTH default secret SETNAME me")
    hidden = b"(redacted)"
    assert logged(console) == [
        [b"AUTH", hidden, hidden],
        [b"CONFIG", b"SET", b"timeout", b"5", b"requirepass", hidden],
        [b"HELLO", b"3", b"AUTH", hidden, hidden, b"SETNAME", b"me"],
    ]


def test_a_payload_is_not_kept() -> None:
    engine, _ = build_trial_engine(ManualClock())
    engine.config.change([("slowlog-log-slower-than", ["0"])])
    console = ServerConsole(engine=engine)
    run(console.ctx, [[b"TRIAL.KEEP", Target(100), b"short"]], [])
    console("CONFIG SET slowlog-log-slower-than -1")
    entry = console("SLOWLOG GET -1")[-1]
    assert entry[3] == [b"TRIAL.KEEP", b"(payload of 100 bytes)", b"short"]


def test_help_is_told(console: ServerConsole) -> None:
    assert console("SLOWLOG HELP")[0].startswith(b"SLOWLOG <subcommand>")
    assert console("LATENCY HELP")[0].startswith(b"LATENCY <subcommand>")


# -- latency ---------------------------------------------------------------------------------------


def test_without_a_threshold_there_are_no_samples(console: ServerConsole) -> None:
    console("DEBUG SLEEP 5")
    assert console("LATENCY LATEST") == console("LATENCY HISTORY command") == []
    assert console("LATENCY RESET") == 0
    assert b"is off" in console("LATENCY DOCTOR")
    assert console("LATENCY HISTOGRAM") == []


def test_slow_commands_are_samples_one_a_second(console: ServerConsole) -> None:
    console("CONFIG SET latency-monitor-threshold 100")
    assert b"No command took longer" in console("LATENCY DOCTOR")
    started_s = console.clock.now_ms() // 1000
    console("DEBUG SLEEP 0.3")
    console("DEBUG SLEEP 0.2")
    console("DEBUG SLEEP 1.1")
    console("DEBUG SLEEP 0.05")
    assert console("LATENCY HISTORY command") == [[started_s, 300], [started_s + 1, 1100]]
    assert console("LATENCY LATEST") == [[b"command", started_s + 1, 1100, 1100]]
    assert b"command: 2 samples" in console("LATENCY DOCTOR")
    assert console("LATENCY RESET nope command") == 1
    assert console("LATENCY LATEST") == []


def test_requests_that_came_alone_are_timed_each_by_itself() -> None:
    bench = Bench()
    clients = [bench.client()[0] for _ in range(3)]
    spans_ms = iter([1, 30, 2])
    command = bench.engine.commands.find(b"keys")
    assert command is not None
    handler = command.handler
    assert handler is not None

    def slow(ctx: Context, argv: list[bytes]) -> Any:
        bench.clock.advance(next(spans_ms))
        return handler(ctx, argv)

    command.handler = slow
    for number, client in enumerate(clients):
        client.send(request("KEYS", f"k{number}"))
    bench.settle()
    assert [client.take() for client in clients] == [b"*0\r\n"] * 3
    assert (command.calls, command.time_ns) == (3, 33_000_000)
    assert bench.ask(clients[0], request("SLOWLOG", "LEN")) == b":1\r\n"
    assert b":30000\r\n*2\r\n$4\r\nKEYS\r\n$2\r\nk1\r\n" in bench.ask(
        clients[0], request("SLOWLOG", "GET")
    )
