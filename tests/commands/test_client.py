"""CLIENT, over both protocols."""

import pytest
from tests.testing.server_console import ServerConsole

from hotplate.engine.context import Gate


@pytest.fixture(params=[2, 3])
def console(request: pytest.FixtureRequest) -> ServerConsole:
    return ServerConsole(resp=request.param)


def fields(line: bytes) -> dict[str, str]:
    """One line of CLIENT LIST."""
    return dict(part.split("=", 1) for part in line.decode().split())


def listing(console: ServerConsole, *words: str) -> list[dict[str, str]]:
    reply = console("CLIENT", "LIST", *words)
    text = reply if isinstance(reply, bytes) else reply.encode()
    return [fields(line) for line in text.splitlines()]


def test_a_client_can_be_named(console: ServerConsole) -> None:
    assert console("CLIENT GETNAME") is None
    assert console("CLIENT SETNAME worker-1") == b"OK"
    assert console("client getname") == b"worker-1"
    text = "ERR Client names cannot contain spaces, newlines or special characters."
    assert console.refused("CLIENT", "SETNAME", "a b") == text
    assert console.refused("CLIENT", "SETNAME", b"a\n") == text
    assert console("CLIENT GETNAME") == b"worker-1"
    assert console("CLIENT", "SETNAME", "") == b"OK"
    assert console("CLIENT GETNAME") is None


def test_the_list_shows_every_client_with_the_fields_of_redis(console: ServerConsole) -> None:
    other = console.other()
    other("SELECT 2")
    other("MULTI")
    console("CLIENT SETINFO LIB-NAME redis-py")
    console("CLIENT SETINFO LIB-VER 8.0")
    console.clock.advance(2500)
    mine, theirs = listing(console)
    assert mine["id"] == "1"
    assert mine["addr"] == "127.0.0.1:5000"
    assert mine["age"] == "2"
    assert mine["cmd"] == "client|list"
    assert (mine["lib-name"], mine["lib-ver"]) == ("redis-py", "8.0")
    assert (mine["flags"], mine["multi"], mine["db"]) == ("N", "-1", "0")
    assert (theirs["flags"], theirs["multi"], theirs["db"]) == ("x", "0", "2")
    assert mine["resp"] == str(console.ctx.resp)


def test_the_list_can_be_filtered(console: ServerConsole) -> None:
    console.other()
    assert [line["id"] for line in listing(console, "ID", "2", "99")] == ["2"]
    assert len(listing(console, "TYPE", "normal")) == 2
    assert listing(console, "TYPE", "pubsub") == []
    assert console.refused("CLIENT LIST TYPE x") == "ERR Unknown client type 'x'"
    assert console.refused("CLIENT LIST ID x") == "ERR Invalid client ID"
    assert console.refused("CLIENT LIST foo") == "ERR syntax error"


def test_kill_by_address_closes_that_client_alone(console: ServerConsole) -> None:
    other = console.other()
    assert console("CLIENT KILL 127.0.0.1:5001") == b"OK"
    assert other.link.closed
    assert not console.link.closed
    assert console.refused("CLIENT KILL 1.1.1.1:1") == "ERR No such client"


def test_kill_by_filters_counts_and_spares_oneself_unless_told(console: ServerConsole) -> None:
    others = [console.other(), console.other()]
    assert console("CLIENT KILL TYPE normal ID 2") == 1
    assert [other.link.closed for other in others] == [True, False]
    assert console("CLIENT KILL USER default") == 2
    assert not console.ctx.gates & Gate.CLOSING
    assert console("CLIENT KILL ADDR 127.0.0.1:5000 SKIPME no") == 1
    assert console.ctx.gates & Gate.CLOSING
    assert not console.link.closed, "it has to get its answer first"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("CLIENT KILL ID x", "client-id should be greater than 0"),
        ("CLIENT KILL ID 0", "client-id should be greater than 0"),
        ("CLIENT KILL TYPE x", "Unknown client type 'x'"),
        ("CLIENT KILL USER nobody", "No such user 'nobody'"),
        ("CLIENT KILL SKIPME x", "syntax error"),
        ("CLIENT KILL ID 2 foo bar", "syntax error"),
        ("CLIENT KILL ID 2 ADDR", "syntax error"),
        ("CLIENT KILL MAXAGE 0", "maxage should be greater than 0"),
    ],
)
def test_a_refused_kill_kills_nobody(console: ServerConsole, line: str, text: str) -> None:
    other = console.other()
    assert console.refused(line) == f"ERR {text}"
    assert not other.link.closed


def test_old_connections_can_be_killed_by_age(console: ServerConsole) -> None:
    console.clock.advance(10_000)
    young = console.other()
    assert console("CLIENT KILL MAXAGE 5 SKIPME no") == 1
    assert not young.link.closed


def test_replies_can_be_switched_off_and_on(console: ServerConsole) -> None:
    assert console.execute([b"CLIENT", b"REPLY", b"OFF"]) == b""
    assert console.execute([b"SET", b"k", b"v"]) == b""
    assert console.execute([b"CLIENT", b"REPLY", b"SKIP"]) == b""
    assert console.execute([b"PING"]) == b""
    assert console.execute([b"CLIENT", b"REPLY", b"ON"]) == b"+OK\r\n"
    assert console("GET k") == b"v", "the command ran although nobody heard of it"


def test_one_reply_can_be_skipped(console: ServerConsole) -> None:
    assert console.execute([b"CLIENT", b"REPLY", b"SKIP"]) == b""
    assert console.execute([b"PING"]) == b""
    assert console.execute([b"PING"]) == b"+PONG\r\n"
    assert console.refused("CLIENT REPLY x") == "ERR syntax error"


def test_eviction_and_touching_can_be_switched(console: ServerConsole) -> None:
    assert console("CLIENT NO-EVICT on") == b"OK"
    assert console("CLIENT NO-TOUCH on") == b"OK"
    assert listing(console)[0]["flags"] == "eT"
    assert console("CLIENT NO-EVICT OFF") == b"OK"
    assert listing(console)[0]["flags"] == "T"
    assert console.refused("CLIENT NO-TOUCH maybe") == "ERR syntax error"


def test_what_does_not_exist_is_refused_as_redis_words_it(console: ServerConsole) -> None:
    assert console.refused("CLIENT nope") == "ERR unknown subcommand 'nope'. Try CLIENT HELP."
    assert console.refused("CLIENT") == "ERR wrong number of arguments for 'client' command"
    assert console.refused("CLIENT ID x") == "ERR wrong number of arguments for 'client|id' command"
    assert console.refused("CLIENT SETINFO foo x") == "ERR Unrecognized option 'foo'"


def test_nothing_is_tracked_and_nobody_is_blocked(console: ServerConsole) -> None:
    assert console("CLIENT GETREDIR") == -1
    assert console("CLIENT UNBLOCK 1") == 0
    assert console("CLIENT UNBLOCK 1 ERROR") == 0
    assert (
        console.refused("CLIENT UNBLOCK 1 x")
        == "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"
    )
    assert b"redirect" in console.execute([b"CLIENT", b"TRACKINGINFO"])
    assert console("CLIENT HELP")[0].startswith(b"CLIENT <subcommand>")
    assert console("CLIENT ID") == 1
    assert console("CLIENT INFO")
