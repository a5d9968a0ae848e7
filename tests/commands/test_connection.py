"""HELLO, AUTH, PING, ECHO, QUIT, RESET, SELECT, over both protocols."""

import pytest
from tests.testing.server_console import ServerConsole

from hotplate.config import Config
from hotplate.engine.context import Gate

WRONG_PASSWORD = "WRONGPASS invalid username-password pair or user is disabled."


@pytest.fixture(params=[2, 3])
def console(request: pytest.FixtureRequest) -> ServerConsole:
    return ServerConsole(resp=request.param)


@pytest.fixture
def locked() -> ServerConsole:
    """A client of a server with a password, not authenticated."""
    config = Config()
    config.apply([("requirepass", ["s3cret"])])
    console = ServerConsole(config=config)
    console.ctx.gates |= Gate.UNAUTHENTICATED
    return console


def test_ping_and_echo_answer_what_they_are_given(console: ServerConsole) -> None:
    assert console.execute([b"PING"]) == b"+PONG\r\n"
    assert console("PING", b"\x00\xff") == b"\x00\xff"
    assert console("echo", "hi") == b"hi"
    assert console.refused("PING a b") == "ERR wrong number of arguments for 'ping' command"
    assert console.refused("ECHO") == "ERR wrong number of arguments for 'echo' command"


def test_hello_tells_who_is_there_and_switches_the_protocol(console: ServerConsole) -> None:
    frames = console.execute([b"HELLO", b"3", b"SETNAME", b"me"])
    assert frames.startswith(b"%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n")
    assert console.ctx.resp == 3
    assert console("CLIENT GETNAME") == b"me"
    assert console.execute([b"HELLO", b"2"]).startswith(b"*14\r\n")
    assert b"proto\r\n:2\r\n" in console.execute([b"HELLO"])


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("HELLO 4 SETNAME new", "NOPROTO unsupported protocol version"),
        ("HELLO x SETNAME new", "ERR Protocol version is not an integer or out of range"),
        ("HELLO 3 SETNAME new foo", "ERR Syntax error in HELLO option 'foo'"),
        ("HELLO 3 SETNAME new AUTH default", "ERR Syntax error in HELLO option 'AUTH'"),
        ("HELLO 3 SETNAME new AUTH nobody x", WRONG_PASSWORD),
    ],
)
def test_a_refused_hello_changes_nothing(console: ServerConsole, line: str, text: str) -> None:
    before = console.ctx.resp
    assert console.refused(line) == text
    assert console.ctx.resp == before
    assert console.ctx.name == b""


def test_hello_refuses_a_name_that_would_break_client_list(console: ServerConsole) -> None:
    text = "ERR Client names cannot contain spaces, newlines or special characters."
    assert console.refused("HELLO", "3", "SETNAME", b"a b") == text


def test_nothing_but_the_way_in_works_before_authentication(locked: ServerConsole) -> None:
    assert locked.refused("GET k") == "NOAUTH Authentication required."
    assert locked.refused("PING") == "NOAUTH Authentication required."
    assert locked.refused("HELLO 3").startswith("NOAUTH HELLO must be called")
    assert locked.ctx.resp == 2


@pytest.mark.parametrize("line", ["AUTH s3cret", "AUTH default s3cret"])
def test_the_password_lets_in(locked: ServerConsole, line: str) -> None:
    assert locked(line) == b"OK"
    assert locked("PING") == b"PONG"


def test_hello_can_authenticate_and_switch_at_once(locked: ServerConsole) -> None:
    locked("HELLO 3 AUTH default s3cret")
    assert locked.ctx.resp == 3
    assert locked("PING") == b"PONG"


@pytest.mark.parametrize(
    "line", ["AUTH wrong", "AUTH default wrong", "AUTH other s3cret", "AUTH default s3cret\x00"]
)
def test_a_wrong_name_or_password_stays_outside(locked: ServerConsole, line: str) -> None:
    assert locked.refused(line) == WRONG_PASSWORD
    assert locked.refused("PING") == "NOAUTH Authentication required."
    assert locked.engine.stats.auth_failures == 1


def test_auth_without_a_password_says_that_there_is_none(console: ServerConsole) -> None:
    assert console.refused("AUTH x").startswith("ERR AUTH <password> called without any password")
    assert console("AUTH default anything") == b"OK"
    assert console.refused("AUTH a b c") == "ERR syntax error"


def test_select_changes_the_database(console: ServerConsole) -> None:
    console("SET k 0")
    assert console("SELECT 9") == b"OK"
    assert console("GET k") is None
    assert console.refused("SELECT 16") == "ERR DB index is out of range"
    assert console.refused("SELECT -1") == "ERR DB index is out of range"
    assert console.refused("SELECT x") == "ERR value is not an integer or out of range"
    assert console.ctx.db.index == 9


def test_reset_makes_the_connection_new(console: ServerConsole) -> None:
    console("SELECT 3")
    console("CLIENT SETNAME me")
    console("CLIENT SETINFO lib-name my-lib")
    console("WATCH k")
    console("MULTI")
    console.execute([b"SET", b"k", b"v"])
    assert console.execute([b"RESET"]) == b"+RESET\r\n"
    assert (console.ctx.db.index, console.ctx.resp, console.ctx.name) == (0, 2, b"")
    assert console.ctx.library_name == b"my-lib"
    assert console.refused("EXEC") == "ERR EXEC without MULTI"
    assert not console.ctx.watched


def test_reset_asks_for_the_password_again(locked: ServerConsole) -> None:
    locked("AUTH s3cret")
    locked("RESET")
    assert locked.refused("PING") == "NOAUTH Authentication required."


def test_quit_answers_and_closes(console: ServerConsole) -> None:
    assert console.execute([b"QUIT"]) == b"+OK\r\n"
    assert console.ctx.gates & Gate.CLOSING
