"""What clients can not do to a running server: take its memory, its attention, or other clients."""

from contextlib import suppress
from pathlib import Path

import pytest
import redis
from tests.testing.server import StartHotplate
from tests.testing.wire_client import WireClient, request

from hotplate.bench.process import ServerProcess

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PONG = b"+PONG\r\n"


def resident_bytes(server: ServerProcess) -> int:
    """The private memory of a server: segments are mapped files and do not count."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024


def processed(client: WireClient) -> int:
    """Commands run, as INFO counts them."""
    text = client.ask("INFO", "stats").decode()
    return int(text.partition("total_commands_processed:")[2].partition("\r\n")[0])


def test_replies_that_nobody_reads_do_not_fill_the_memory(hotplate_server: ServerProcess) -> None:
    with WireClient(hotplate_server.port) as client, WireClient(hotplate_server.port) as other:
        assert client.ask("SET", "a", b"x" * 10_000) == b"+OK\r\n"
        before = resident_bytes(hotplate_server)
        count = 20_000  # 200 MB of replies
        client.send(request("GET", "a") * count)
        seen = [-1, processed(other)]
        while seen[-1] > seen[-2] + 1:  # but for this look at it, nothing happens any more
            seen.append(processed(other))
        assert seen[-1] < count / 2
        assert resident_bytes(hotplate_server) - before < 32 * 1024 * 1024
        assert other.ask("PING") == PONG
        frame = b"$10000\r\n" + b"x" * 10_000 + b"\r\n"
        for _ in range(count):
            assert client.receive_frame() == frame
        assert client.ask("PING") == PONG


def test_one_client_too_many_is_refused_until_another_goes(start_server: StartHotplate) -> None:
    server = start_server("--maxclients", "3")
    clients = [WireClient(server.port) for _ in range(3)]
    for client in clients:
        assert client.ask("PING") == PONG
    with WireClient(server.port) as refused:
        assert refused.receive_all() == b"-ERR max number of clients reached\r\n"
    assert clients[0].ask("QUIT") == b"+OK\r\n"
    assert clients[0].receive_all() == b""
    with WireClient(server.port) as client:
        assert client.ask("PING") == PONG
        assert b"rejected_connections:1\r\n" in client.ask("INFO", "stats")
    for client in clients:
        client.close()


def test_a_stranger_can_not_make_the_server_take_memory(start_server: StartHotplate) -> None:
    server = start_server("--requirepass", "pw")
    for header in (b"*11\r\n", b"*1048576\r\n", b"*1\r\n$16385\r\n", b"*1\r\n$536870912\r\n"):
        with WireClient(server.port) as stranger:
            stranger.send(header)
            assert stranger.receive_all().startswith(b"-ERR Protocol error: unauthenticated ")
    with WireClient(server.port) as friend:
        value = b"x" * 200_000
        friend.send(request("AUTH", "pw") + request("SET", "a", value) + request("GET", "a"))
        assert friend.receive_frame() == b"+OK\r\n"
        assert friend.receive_frame() == b"+OK\r\n"
        assert friend.receive_frame() == b"$200000\r\n" + value + b"\r\n"


def test_a_string_over_the_limit_is_refused_and_the_limit_can_be_raised(
    start_server: StartHotplate,
) -> None:
    server = start_server("--proto-max-bulk-len", "1mb")
    with WireClient(server.port) as client:
        client.send(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1048577\r\n")
        assert client.receive_all() == b"-ERR Protocol error: invalid bulk length\r\n"
    with WireClient(server.port) as client:
        assert client.ask("CONFIG", "SET", "proto-max-bulk-len", "2mb") == b"+OK\r\n"
    with WireClient(server.port) as client:
        assert client.ask("SET", "a", b"x" * 1_048_577) == b"+OK\r\n"


@pytest.mark.parametrize(
    "page",
    [
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nFLUSHALL\r\n",
        b"Host: 127.0.0.1\r\nFLUSHALL\r\n",
        request("post", "/") + request("FLUSHALL"),
    ],
)
def test_a_web_page_can_not_send_commands(hotplate_server: ServerProcess, page: bytes) -> None:
    with WireClient(hotplate_server.port) as client:
        assert client.ask("SET", "a", "1") == b"+OK\r\n"
        with WireClient(hotplate_server.port) as browser:
            browser.send(page)
            with suppress(ConnectionResetError):  # what it sent was not even read
                assert browser.receive_all() == b""
        assert client.ask("DBSIZE") == b":1\r\n"
    assert hotplate_server.log().count("sent an HTTP request") == 1
    assert "FLUSHALL" not in hotplate_server.log()


def test_clients_that_vanish_leave_nothing(hotplate_server: ServerProcess) -> None:
    states = (
        b"",
        b"*3\r\n$3\r\nSET\r\n",
        request("SET", "a", b"x" * 100_000)[:50_000],
        request("MULTI") + request("SET", "b", 1),
        request("WATCH", "a"),
        request("ECHO", b"x" * 30_000) * 20,
        b"*x\r\n",
    )
    for _ in range(5):
        for state in states:
            with WireClient(hotplate_server.port) as client:
                client.send(state)
    with redis.Redis(port=hotplate_server.port) as client:
        while len(client.client_list()) > 1:
            pass  # each turn is an answer: the server is at it
        assert client.dbsize() == 0
        assert client.info("clients")["connected_clients"] == 1
    assert "Traceback" not in hotplate_server.log()
