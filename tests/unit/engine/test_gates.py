"""What a command must pass before it runs, in which order, and what refusals do."""

import logging

import pytest
from tests.testing.console import NoLink
from tests.testing.trial_commands import Trial, build_trial_engine, refusal

from hotplate.clock import ManualClock
from hotplate.config import Config
from hotplate.engine.context import Context, Deferred, Gate
from hotplate.engine.dispatch import run
from hotplate.engine.engine import Engine

NOAUTH = b"-NOAUTH Authentication required.\r\n"
ABORTED = b"-EXECABORT Transaction discarded because of previous errors.\r\n"


class Closable(NoLink):
    """A link that remembers being dropped."""

    def __init__(self) -> None:
        self.dropped = False

    def close_now(self) -> None:
        """Remember it."""
        self.dropped = True


class Client:
    """Commands as words, frames as bytes."""

    def __init__(self, engine: Engine) -> None:
        self.link = Closable()
        self.ctx: Context = engine.connect(self.link)

    def __call__(self, text: str) -> bytes:
        """The frames that answer these commands, those behind a closed client's not run."""
        out: list[bytes] = []
        run(self.ctx, [line.split() for line in text.encode().split(b"|")], out)
        return b"".join(out)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def parts(clock: ManualClock) -> tuple[Engine, Trial]:
    return build_trial_engine(clock, Config())


@pytest.fixture
def trial(parts: tuple[Engine, Trial]) -> Trial:
    return parts[1]


@pytest.fixture
def client(parts: tuple[Engine, Trial]) -> Client:
    return Client(parts[0])


# authentication


@pytest.fixture
def stranger(client: Client) -> Client:
    client.ctx.engine.config.requirepass = "s3cret"
    client.ctx.gates |= Gate.UNAUTHENTICATED
    return client


@pytest.mark.parametrize(
    "text", ["PING", "GET a", "SET a 1", "MULTI", "WATCH a", "CLIENT REPLY OFF", "COMMAND COUNT"]
)
def test_a_stranger_may_nothing(stranger: Client, text: str) -> None:
    assert stranger(text) == NOAUTH
    assert stranger.ctx.gates == Gate.UNAUTHENTICATED


def test_a_strangers_exec_says_why_there_is_no_transaction(stranger: Client) -> None:
    assert stranger("EXEC") == (
        b"-EXECABORT Transaction discarded because of: NOAUTH Authentication required.\r\n"
    )


def test_a_stranger_may_quit_reset_and_authenticate(stranger: Client) -> None:
    assert stranger("RESET|PING") == b"+RESET\r\n" + NOAUTH
    assert stranger("AUTH wrong|PING").startswith(b"-WRONGPASS ")
    assert stranger("AUTH s3cret|PING") == b"+OK\r\n+PONG\r\n"
    assert stranger("RESET|PING|QUIT|PING") == b"+RESET\r\n" + NOAUTH + b"+OK\r\n"


def test_what_does_not_exist_is_said_before_who_may(stranger: Client) -> None:
    assert stranger("NOPE").startswith(b"-ERR unknown command")
    assert stranger("GET").startswith(b"-ERR wrong number of arguments")
    assert stranger("CLIENT NOPE").startswith(b"-ERR unknown subcommand")


# loading


def test_while_data_are_loaded_only_what_needs_none_runs(client: Client) -> None:
    engine = client.ctx.engine
    engine.gates |= Gate.LOADING
    assert client("GET a") == b"-LOADING Hotplate is loading the dataset in memory\r\n"
    assert client("MULTI|GET a|EXEC").endswith(ABORTED)
    assert client("ECHO x") == b"$1\r\nx\r\n"
    engine.gates &= ~Gate.LOADING
    assert client("GET a") == b"$-1\r\n"
    assert engine.stats.errors == {"LOADING": 2, "EXECABORT": 1}


# transactions


@pytest.mark.parametrize(
    "refused", ["NOPE", "GET", "CLIENT NOPE", "CLIENT", "TRIAL.LATER", "DISCARD x"]
)
def test_a_refusal_while_queueing_lets_exec_do_nothing(client: Client, refused: str) -> None:
    assert client("MULTI|SET a 1") == b"+OK\r\n+QUEUED\r\n"
    assert client(refused).startswith(b"-ERR ")
    assert client("SET b 2") == b"+QUEUED\r\n"
    assert client("EXEC|DBSIZE|EXEC") == ABORTED + b":0\r\n-ERR EXEC without MULTI\r\n"


def test_an_exec_that_is_refused_ends_the_transaction(client: Client) -> None:
    expected = (
        b"-EXECABORT Transaction discarded because of:"
        b" wrong number of arguments for 'exec' command\r\n"
    )
    assert client("MULTI|SET a 1|EXEC now") == b"+OK\r\n+QUEUED\r\n" + expected
    assert client("EXEC|DBSIZE") == b"-ERR EXEC without MULTI\r\n:0\r\n"
    assert client.ctx.engine.stats.errors == {"EXECABORT": 1, "ERR": 1}


def test_what_is_refused_inside_multi_only_leaves_the_queue_whole(client: Client) -> None:
    assert client("MULTI|MULTI|WATCH a|PING").endswith(
        b"-ERR MULTI calls can not be nested\r\n"
        b"-ERR WATCH inside MULTI is not allowed\r\n+QUEUED\r\n"
    )
    assert client("EXEC") == b"*1\r\n+PONG\r\n"


def test_reset_and_quit_are_not_queued(client: Client) -> None:
    assert client("MULTI|SET a 1|RESET|EXEC|DBSIZE").endswith(
        b"+RESET\r\n-ERR EXEC without MULTI\r\n:0\r\n"
    )
    assert client("MULTI|SET a 1|QUIT|EXEC") == b"+OK\r\n+QUEUED\r\n+OK\r\n"
    assert client.ctx.gates & Gate.CLOSING


# CLIENT REPLY


def test_off_silences_replies_errors_and_queueing_until_on(client: Client) -> None:
    silent = "SET a 1|GET|NOPE|INCRBY a x|CLIENT REPLY nope|CLIENT REPLY|MULTI|PING|EXEC|QUEUED"
    assert client(f"CLIENT REPLY OFF|{silent}") == b""
    assert client("CLIENT REPLY SKIP|PING|PING") == b""
    assert client("CLIENT REPLY ON|GET a") == b"+OK\r\n$1\r\n1\r\n"


def test_reset_ends_off_and_says_so(client: Client) -> None:
    assert client("CLIENT REPLY OFF|PING|RESET|PING") == b"+RESET\r\n+PONG\r\n"


@pytest.mark.parametrize(
    "skipped",
    ["PING", "NOPE", "GET", "INCRBY a x", "CLIENT REPLY nope", "RESET", "MULTI|RESET", "GET a"],
)
def test_skip_silences_one_command_whatever_it_says(client: Client, skipped: str) -> None:
    client("SET a x")
    first, _, rest = skipped.partition("|")
    assert client(f"CLIENT REPLY SKIP|{first}") == b""
    assert client(rest or "PING") == (b"+RESET\r\n" if rest else b"+PONG\r\n")


def test_skip_again_skips_again_and_on_is_always_answered(client: Client) -> None:
    assert client("CLIENT REPLY SKIP|CLIENT REPLY SKIP|PING|ECHO x") == b"$1\r\nx\r\n"
    assert client("CLIENT REPLY SKIP|CLIENT REPLY ON|PING") == b"+OK\r\n+PONG\r\n"
    assert client("CLIENT REPLY SKIP|CLIENT REPLY OFF|PING") == b""
    assert client.ctx.gates == Gate.REPLY_OFF


def test_a_silenced_quit_still_closes(client: Client) -> None:
    assert client("CLIENT REPLY OFF|QUIT|PING") == b""
    assert client.ctx.gates & Gate.CLOSING


def test_what_a_silenced_reply_holds_is_given_back_at_once(client: Client, trial: Trial) -> None:
    trial.view = memoryview(b"payload")
    assert client("CLIENT REPLY SKIP|TRIAL.VIEW") == b""
    assert trial.released == 1


@pytest.mark.parametrize("late", ["value", "payload", "error"])
def test_a_silenced_command_that_takes_its_time_is_done_all_the_same(
    client: Client, trial: Trial, late: str
) -> None:
    reply = {"value": b"x", "payload": trial.payload(), "error": refusal("broken")}[late]
    client("CLIENT REPLY SKIP")
    deferred = run(client.ctx, [[b"TRIAL.LATER"], [b"PING"]], [])
    assert isinstance(deferred, Deferred)
    answers: list[bytes] = []
    deferred.start(answers.append)
    assert answers == []
    trial.waiting.pop()(reply)
    assert answers == [b""]
    assert trial.released == (late == "payload")
    assert client("PING") == b"+PONG\r\n"


def test_a_silenced_command_that_waits_can_be_cancelled(client: Client, trial: Trial) -> None:
    client("CLIENT REPLY OFF")
    deferred = run(client.ctx, [[b"TRIAL.LATER"]], [])
    assert isinstance(deferred, Deferred)
    assert deferred.cancel is not None
    deferred.cancel()
    assert trial.cancelled == 1


# HTTP


@pytest.mark.parametrize("line", ["POST / HTTP/1.1", "post /", "Host: 127.0.0.1:6379", "HOST:"])
@pytest.mark.parametrize("before", ["PING", "MULTI", "CLIENT REPLY OFF"])
def test_a_browser_is_dropped_before_it_can_do_harm(
    client: Client, caplog: pytest.LogCaptureFixture, before: str, line: str
) -> None:
    client(before)
    with caplog.at_level(logging.WARNING):
        assert client(f"{line}|SET a secret|FLUSHALL") == b""
    assert client.link.dropped
    assert client.ctx.engine.databases[0].size() == 0
    assert [record.getMessage() for record in caplog.records] == [
        "127.0.0.1:1 sent an HTTP request (POST or Host:) and was closed"
    ]


def test_many_browsers_do_not_fill_the_log(
    client: Client, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    engine = client.ctx.engine
    with caplog.at_level(logging.WARNING):
        for _ in range(10):
            Client(engine)("POST /")
        assert len(caplog.records) == 1
        clock.advance(60_000)
        Client(engine)("POST /")
    assert len(caplog.records) == 2


def test_words_that_only_begin_alike_are_unknown_commands(client: Client) -> None:
    for word in ("POSTS", "Host", "Hosts:"):
        assert client(word).startswith(b"-ERR unknown command")
    assert not client.link.dropped
