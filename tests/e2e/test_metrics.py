"""GET /metrics of a real server."""

import http.client
import socket

import pytest
from tests.testing.server import StartHotplate

from hotplate.bench.process import ServerProcess

pytestmark = pytest.mark.e2e


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def server(start_server: StartHotplate, port: int) -> ServerProcess:
    return start_server("--metrics-port", str(port))


def ask(port: int, method: str, path: str) -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path)
    response = connection.getresponse()
    kind = response.getheader("Content-Type") or ""
    answer = response.status, kind, response.read().decode()
    connection.close()
    return answer


def test_prometheus_gets_its_text(server: ServerProcess, port: int) -> None:
    status, kind, text = ask(port, "GET", "/metrics")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "\nhotplate_connected_clients " in text
    assert ask(port, "HEAD", "/metrics")[::2] == (200, "")
    assert server.url


def test_anything_else_is_refused(server: ServerProcess, port: int) -> None:
    assert ask(port, "GET", "/")[0] == 404
    assert ask(port, "POST", "/metrics")[0] == 405
    with socket.create_connection(("127.0.0.1", port), timeout=30) as raw:
        raw.sendall(b"PING\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 400 ")
    with socket.create_connection(("127.0.0.1", port), timeout=30) as raw:
        raw.sendall(b"GET /" + b"x" * 40_000)
        raw.shutdown(socket.SHUT_WR)
        assert raw.recv(100) == b"", "a head without end"
    assert ask(port, "GET", "/metrics")[0] == 200
    assert server.url


def test_a_port_that_is_taken_stops_the_start_with_a_word(
    start_server: StartHotplate, port: int
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(Exception, match=f"127.0.0.1:{port}"):
            start_server("--metrics-port", str(port))
