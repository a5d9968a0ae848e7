"""The loop that runs commands: what is found, counted, answered, and where it stops."""

import logging

import pytest
from tests.testing.console import NoLink
from tests.testing.trial_commands import Trial, build_trial_engine

from hotplate.clock import ManualClock
from hotplate.engine.context import Context, Deferred, Gate
from hotplate.engine.dispatch import run
from hotplate.engine.engine import Engine
from hotplate.spec.model import Command

INTERNAL_ERROR = b"-ERR internal error\r\n"


@pytest.fixture
def parts() -> tuple[Engine, Trial]:
    return build_trial_engine(ManualClock())


@pytest.fixture
def engine(parts: tuple[Engine, Trial]) -> Engine:
    return parts[0]


@pytest.fixture
def trial(parts: tuple[Engine, Trial]) -> Trial:
    return parts[1]


@pytest.fixture
def ctx(engine: Engine) -> Context:
    return engine.connect(NoLink())


def batch(text: str) -> list[list[bytes]]:
    return [line.split() for line in text.encode().split(b"|")]


def frames(ctx: Context, text: str) -> bytes:
    """The replies to a batch that runs to its end."""
    out: list[bytes] = []
    requests = batch(text)
    assert run(ctx, requests, out) == len(requests)
    return b"".join(out)


def counted(engine: Engine, name: str) -> Command:
    command = engine.commands.find(name.encode())
    assert command is not None
    return command


def counters(engine: Engine, name: str) -> tuple[int, int, int]:
    command = counted(engine, name)
    return command.calls, command.rejected, command.failed


# names and arity


@pytest.mark.parametrize("name", ["ping", "PING", "Ping", "pInG"])
def test_names_are_found_in_any_case(ctx: Context, name: str) -> None:
    assert frames(ctx, name) == b"+PONG\r\n"


def test_an_unknown_command_is_named_with_its_arguments(ctx: Context) -> None:
    assert frames(ctx, "NOPE a b") == (
        b"-ERR unknown command 'NOPE', with args beginning with: 'a' 'b' \r\n"
    )


@pytest.mark.parametrize("text", ["GET", "GET a b", "get", "SET a", "SELECT"])
def test_a_wrong_number_of_arguments_is_refused_and_nothing_runs(ctx: Context, text: str) -> None:
    name = text.split()[0].lower()
    expected = f"-ERR wrong number of arguments for '{name}' command\r\n"
    assert frames(ctx, text) == expected.encode()
    assert frames(ctx, "DBSIZE") == b":0\r\n"


def test_a_container_wants_a_subcommand_that_exists(ctx: Context) -> None:
    assert frames(ctx, "CLIENT") == b"-ERR wrong number of arguments for 'client' command\r\n"
    assert frames(ctx, "Client Nope") == (b"-ERR unknown subcommand 'Nope'. Try CLIENT HELP.\r\n")
    assert frames(ctx, "cLiEnT gEtNaMe") == b"$-1\r\n"
    assert frames(ctx, "client setname") == (
        b"-ERR wrong number of arguments for 'client|setname' command\r\n"
    )


# counters


def test_calls_are_counted_by_command_whatever_stands_between_them(
    engine: Engine, ctx: Context
) -> None:
    frames(ctx, "PING|PING|GET a|PING|SET a 1|GET a|CLIENT ID|client id|CLIENT GETNAME")
    assert counters(engine, "ping") == (3, 0, 0)
    assert counters(engine, "get") == (2, 0, 0)
    assert counters(engine, "client|id") == (2, 0, 0)
    assert counters(engine, "client|getname") == (1, 0, 0)
    assert engine.stats.commands_processed == 9


def test_refusals_before_the_handler_are_rejections_and_errors_of_it_are_failures(
    engine: Engine, ctx: Context
) -> None:
    frames(ctx, "GET|GET a|GET a b|TRIAL.REFUSE|INCRBY a x|CLIENT SETNAME")
    assert counters(engine, "get") == (1, 2, 0)
    assert counters(engine, "trial.refuse") == (1, 0, 1)
    assert counters(engine, "incrby") == (1, 0, 1)
    assert counters(engine, "client|setname") == (0, 1, 0)
    assert engine.stats.errors == {"ERR": 4, "STORAGEIO": 1}


def test_a_queued_command_is_counted_when_it_runs(engine: Engine, ctx: Context) -> None:
    frames(ctx, "MULTI|PING|INCRBY a x")
    assert counters(engine, "ping") == (0, 0, 0)
    frames(ctx, "EXEC")
    assert counters(engine, "ping") == (1, 0, 0)
    assert counters(engine, "incrby") == (1, 0, 1)
    frames(ctx, "MULTI|PING|DISCARD")
    assert counters(engine, "ping") == (1, 0, 0)


def test_commands_that_nobody_hears_of_are_counted_all_the_same(
    engine: Engine, ctx: Context
) -> None:
    frames(ctx, "CLIENT REPLY OFF|PING|GET|INCRBY a x")
    assert counters(engine, "ping") == (1, 0, 0)
    assert counters(engine, "get") == (0, 1, 0)
    assert counters(engine, "incrby") == (1, 0, 1)
    assert engine.stats.errors == {"ERR": 2}


def test_time_is_charged_to_the_command_that_took_it(engine: Engine, ctx: Context) -> None:
    engine.config.enable_debug_command = "yes"
    frames(ctx, "PING|DEBUG SLEEP 0.25|PING|DEBUG SLEEP 0.5")
    slept = sum(command.time_ns for command in engine.commands.walk())
    assert slept == 750_000_000
    assert counted(engine, "ping").time_ns == 0


def test_the_last_command_of_a_batch_is_remembered(ctx: Context) -> None:
    frames(ctx, "GET a|CLIENT ID")
    assert ctx.last_command == b"client|id"


# bugs


def test_a_bug_is_answered_logged_and_ends_that_client_only(
    engine: Engine, ctx: Context, caplog: pytest.LogCaptureFixture
) -> None:
    neighbour = engine.connect(NoLink())
    out: list[bytes] = []
    with caplog.at_level(logging.ERROR):
        done = run(ctx, batch("PING|TRIAL.FAIL|SET a 1"), out)
    assert done == 2
    assert out == [b"+PONG\r\n", INTERNAL_ERROR]
    assert ctx.gates & Gate.CLOSING
    (record,) = caplog.records
    assert record.getMessage() == "TRIAL.FAIL failed"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)
    assert counters(engine, "trial.fail")[0] == 1
    assert counters(engine, "set") == (0, 0, 0)
    assert frames(neighbour, "GET a|PING") == b"$-1\r\n+PONG\r\n"


def test_a_bug_in_a_transaction_ends_the_client_too(ctx: Context) -> None:
    out: list[bytes] = []
    assert run(ctx, batch("MULTI|TRIAL.FAIL|EXEC|PING"), out) == 3
    assert out == [b"+OK\r\n", b"+QUEUED\r\n", INTERNAL_ERROR]
    assert ctx.queue is None


# where a batch stops


@pytest.mark.parametrize("last", ["QUIT", "quit", "Quit now"])
def test_nothing_runs_behind_quit(engine: Engine, ctx: Context, last: str) -> None:
    out: list[bytes] = []
    assert run(ctx, batch(f"SET a 1|{last}|SET a 2|SET a 3"), out) == 2
    assert out == [b"+OK\r\n", b"+OK\r\n"]
    assert counters(engine, "set")[0] == counters(engine, "quit")[0] == 1
    assert engine.stats.commands_processed == 2


def test_a_client_that_is_to_be_closed_runs_nothing(engine: Engine, ctx: Context) -> None:
    ctx.gates |= Gate.CLOSING
    out: list[bytes] = []
    assert run(ctx, batch("PING|PING"), out) == 0
    assert out == []
    assert counters(engine, "ping") == (0, 0, 0)


def test_a_reply_that_comes_later_stops_the_batch_behind_its_command(
    engine: Engine, ctx: Context
) -> None:
    out: list[bytes] = []
    requests = batch("SET a 1|TRIAL.LATER|GET a|TRIAL.LATER")
    first = run(ctx, requests, out)
    assert isinstance(first, Deferred)
    assert out == [b"+OK\r\n"]
    assert ctx.resume_at == 2
    assert counters(engine, "trial.later")[0] == 1
    assert engine.stats.commands_processed == 2
    out.clear()
    second = run(ctx, requests, out, ctx.resume_at)
    assert isinstance(second, Deferred)
    assert b"".join(out) == b"$1\r\n1\r\n"
    assert ctx.resume_at == 4
    assert run(ctx, requests, out, ctx.resume_at) == 4
    assert counters(engine, "trial.later")[0] == 2
    assert engine.stats.commands_processed == 4


def test_a_batch_starts_where_it_is_told(ctx: Context) -> None:
    out: list[bytes] = []
    assert run(ctx, batch("SET a 1|SET b 2|DBSIZE"), out, 1) == 3
    assert b"".join(out) == b"+OK\r\n:1\r\n"


def test_an_empty_rest_is_done_at_once(ctx: Context) -> None:
    assert run(ctx, batch("PING"), [], 1) == 1


# replies


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ECHO x", b"$1\r\nx\r\n"),
        (f"ECHO {'x' * 5000}", b"$5000\r\n" + b"x" * 5000 + b"\r\n"),
        ("INCRBY n 9999", b":9999\r\n"),
        ("INCRBY n 10000", b":10000\r\n"),
        ("DECRBY n 1", b":-1\r\n"),
        ("MGET a b", b"*2\r\n$-1\r\n$-1\r\n"),
        ("GET a", b"$-1\r\n"),
        ("COMMAND COUNT x", b"-ERR wrong number of arguments for 'command|count' command\r\n"),
    ],
)
def test_replies_are_encoded(ctx: Context, text: str, expected: bytes) -> None:
    assert frames(ctx, text) == expected


def test_the_protocol_may_change_in_mid_batch(ctx: Context) -> None:
    assert frames(ctx, "GET a|HELLO 3 SETNAME x|GET a|RESET|GET a").endswith(
        b"_\r\n+RESET\r\n$-1\r\n"
    )


def test_a_view_is_released_when_the_link_says_so(ctx: Context, trial: Trial) -> None:
    trial.view = memoryview(b"payload")
    out: list[bytes] = []
    run(ctx, batch("TRIAL.VIEW|TRIAL.VIEW"), out)
    assert out[1] is trial.view
    assert b"".join(out) == 2 * b"$7\r\npayload\r\n"
    assert trial.released == 2
