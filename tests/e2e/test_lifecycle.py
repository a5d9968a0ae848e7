"""A server's start and end: addresses, sockets, directories, settings, and what is left."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.testing.server import SMALL_STORAGES, StartHotplate
from tests.testing.wire_client import WireClient, request

from hotplate.bench.process import START_SECONDS_MAX, ServerProcess, free_port
from hotplate.server.directory import WorkingDirectory
from hotplate.tiers.memory import default_path

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SERVER = (sys.executable, "-m", "hotplate.server")
READY = re.compile(rb"(?m)^hotplate \S+ ready on (.*) \(pid .*\n")


def refused(*options: object) -> str:
    """What a server that does not start says: one line, and exit status 1."""
    words = [*SERVER, *map(str, options)]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=START_SECONDS_MAX)
    assert ended.returncode == 1, ended
    assert ended.stdout == ""
    assert ended.stderr.startswith("hotplate: ")
    assert ended.stderr.count("\n") == 1, ended.stderr
    return ended.stderr


def shared_memory(directory: Path) -> Path:
    """Where a server of this directory keeps its memory segments."""
    working = WorkingDirectory(str(directory))
    working.close()
    return Path(default_path(working.run_name, "memory"))


def store_a_block(client: WireClient, size: int) -> None:
    registration = "KVC.INSTANCE REGISTER m GROUP default BLOCKTOKENS 16 SPEC kv"
    assert client.ask(*registration.split(), size)[:1] != b"-"
    assert client.ask("KVC.PUT", "m", 1, b"k" * 8, b"v" * size) == b":1\r\n"


class Launch:
    """Starts servers by their words alone; they are stopped when the test ends."""

    def __init__(self, log_path: Path) -> None:
        self._log_path = log_path
        self.servers: list[ServerProcess] = []

    def __call__(
        self, *words: object, prefix: tuple[str, ...] = SERVER
    ) -> tuple[str, ServerProcess]:
        """The addresses in the ready line, and the server."""
        path = self._log_path.with_suffix(f".{len(self.servers)}.log")
        server = ServerProcess("hotplate", [*prefix, *map(str, words)], path)
        self.servers.append(server)
        return server.wait_ready(READY, 0)[1].decode(), server


@pytest.fixture
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    starter = Launch(tmp_path_factory.mktemp("logs") / "server")
    yield starter
    for server in starter.servers:
        server.stop()


# addresses


def test_a_server_listens_on_every_address_that_is_there(launch: Launch, tmp_path: Path) -> None:
    bind = ("--bind", "127.0.0.1", "127.0.0.2", "-::1", "-192.0.2.1")
    addresses, _ = launch("--port", 0, "--dir", tmp_path, *SMALL_STORAGES, *bind)
    shown = addresses.split(", ")
    port = int(shown[0].rpartition(":")[2])
    assert shown[:2] == [f"127.0.0.1:{port}", f"127.0.0.2:{port}"]
    assert shown[2:] in ([], [f"[::1]:{port}"])  # where the machine has IPv6
    for host in ("127.0.0.1", "127.0.0.2", "::1")[: len(shown)]:
        with socket.create_connection((host, port), 10) as client:
            client.sendall(b"PING\r\n")
            assert client.recv(100) == b"+PONG\r\n"


def test_an_address_that_is_not_there_is_named(tmp_path: Path) -> None:
    text = refused("--port", 0, "--dir", tmp_path, "--bind", "127.0.0.1", "192.0.2.1")
    assert re.search(r"can't listen on 192\.0\.2\.1:\d+: Cannot assign requested address", text)


@pytest.mark.parametrize("address", ["127.0.0.1", "-127.0.0.1"])
def test_a_port_in_use_is_named_and_nothing_is_left(tmp_path: Path, address: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        text = refused("--port", port, "--dir", tmp_path, "--bind", address)
    assert text == f"hotplate: can't listen on {address}:{port}: Address already in use\n"
    assert not shared_memory(tmp_path).exists()


# unix sockets


def test_a_unix_socket_beside_port_0_is_all_there_is(launch: Launch, tmp_path: Path) -> None:
    path = tmp_path / "hotplate.sock"
    words = ("--port", 0, "--dir", tmp_path, *SMALL_STORAGES)
    addresses, server = launch(*words, "--unixsocket", path, "--unixsocketperm", 700)
    assert addresses == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    with WireClient(str(path)) as client:
        assert client.ask("CONFIG", "GET", "port") == b"*2\r\n$4\r\nport\r\n$1\r\n0\r\n"
    assert server.stop() == 0
    assert not path.exists()


def test_a_unix_socket_and_a_port(launch: Launch, tmp_path: Path) -> None:
    path, port = tmp_path / "hotplate.sock", free_port()
    words = ("--port", port, "--dir", tmp_path, *SMALL_STORAGES, "--unixsocket", path)
    addresses, _ = launch(*words)
    assert addresses == f"127.0.0.1:{port}, {path}"
    with WireClient(port) as one, WireClient(str(path)) as other:
        assert one.ask("SET", "a", "1") == b"+OK\r\n"
        assert other.ask("DEL", "a") == b":1\r\n"


def test_the_socket_of_a_dead_server_is_taken_over_that_of_a_live_one_is_not(
    launch: Launch, tmp_path: Path
) -> None:
    path = tmp_path / "hotplate.sock"
    words = ("--port", 0, *SMALL_STORAGES, "--unixsocket", path, "--dir")
    _, first = launch(*words, tmp_path / "first")
    text = refused(*words, tmp_path / "second")
    assert text == f"hotplate: can't listen on {path}: another process does\n"
    with WireClient(str(path)) as client:
        assert client.ask("PING") == b"+PONG\r\n"
    first.kill()
    assert path.exists()
    launch(*words, tmp_path / "first")  # cleans up behind the one that was killed
    with WireClient(str(path)) as client:
        assert client.ask("PING") == b"+PONG\r\n"


def test_a_file_in_the_place_of_the_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    text = refused("--port", 0, "--dir", tmp_path, "--unixsocket", path)
    assert text == f"hotplate: can't listen on {path}: a file of that name is there\n"
    assert path.read_text() == "data"


def test_a_socket_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "hotplate.sock"
    text = refused("--port", 0, "--dir", tmp_path, "--unixsocket", missing)
    assert text == f"hotplate: can't listen on {missing}: No such file or directory\n"
    long = tmp_path / ("x" * 120)
    assert "path too long" in refused("--port", 0, "--dir", tmp_path, "--unixsocket", long)


# directories


def test_one_directory_has_one_server(start_server: StartHotplate, tmp_path: Path) -> None:
    first = start_server(directory=tmp_path)
    text = refused("--port", 0, "--dir", tmp_path)
    expected = f"directory {tmp_path} is in use by another server: each needs its own --dir"
    assert text == f"hotplate: {expected}\n"
    with WireClient(first.port) as client:
        assert client.ask("PING") == b"+PONG\r\n"
    assert first.stop() == 0
    start_server(directory=tmp_path)


def test_what_a_killed_server_left_is_taken_up_by_the_next_and_goes_with_it(
    start_server: StartHotplate, tmp_path: Path
) -> None:
    first = start_server(directory=tmp_path)
    with WireClient(first.port) as client:
        store_a_block(client, 200_000)
    left = {path.name for path in shared_memory_of(first, tmp_path).iterdir()} - {"lock"}
    assert left
    first.kill()
    place = shared_memory(tmp_path)
    assert left <= {path.name for path in place.iterdir()}
    second = start_server(directory=tmp_path)
    with WireClient(second.port) as client:
        assert client.ask("KVC.READ", "m", b"k" * 8).endswith(b"v" * 200_000 + b"\r\n")
    assert second.stop() == 0
    assert not place.exists()


def shared_memory_of(server: ServerProcess, directory: Path) -> Path:
    """The same while a server holds the directory: by the files that it has mapped."""
    maps = Path(f"/proc/{server.pid}/maps").read_text()
    found = re.search(r" (/dev/shm/hotplate-\S+)/", maps)
    assert found is not None, f"{directory} has no segment"
    return Path(found[1])


def test_few_descriptors_mean_few_clients(launch: Launch, tmp_path: Path) -> None:
    words = ("--port", free_port(), "--dir", tmp_path, *SMALL_STORAGES)
    script = 'ulimit -n 100; exec "$@"'
    addresses, server = launch(*words, prefix=("bash", "-c", script, "bash", *SERVER))
    assert "the system allows 100 open files: maxclients is 20 now" in server.log()
    clients = [WireClient(int(addresses.rpartition(":")[2])) for _ in range(21)]
    for client in clients[:20]:
        assert client.ask("PING") == b"+PONG\r\n"
    assert clients[20].receive_all() == b"-ERR max number of clients reached\r\n"
    for client in clients:
        client.close()


# the end


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "SHUTDOWN", "SHUTDOWN NOSAVE"])
def test_a_server_ends_cleanly(launch: Launch, tmp_path: Path, how: str) -> None:
    path = tmp_path / "hotplate.sock"
    _, server = launch("--port", 0, "--dir", tmp_path, *SMALL_STORAGES, "--unixsocket", path)
    with WireClient(str(path)) as client:
        store_a_block(client, 100_000)
        place = shared_memory_of(server, tmp_path)
        if how.startswith("SIG"):
            os.kill(server.pid, signal.Signals[how])
        else:
            client.send(request(*how.split()))
        assert client.receive_all() == b""
    assert server._process.wait(START_SECONDS_MAX) == 0
    assert not path.exists()
    assert not place.exists()
    assert "Traceback" not in server.log()
    WorkingDirectory(str(tmp_path)).close()


def test_a_server_ends_cleanly_while_clients_hold_on(
    start_server: StartHotplate, tmp_path: Path
) -> None:
    server = start_server(directory=tmp_path)
    size = 8_000_000
    with WireClient(server.port) as client, WireClient(server.port) as half:
        store_a_block(client, size)
        half.send(request("KVC.PUT", "m", 1, b"j" * 8, b"v" * size)[: size // 2])
        client.send(request("KVC.READ", "m", b"k" * 8) * 3)  # never read
        assert client.receive(1) == b"$"
        assert server.stop() == 0
    assert "Traceback" not in server.log()
    assert not shared_memory(tmp_path).exists()


def test_what_was_answered_reaches_a_client_that_reads_late(hotplate_server: ServerProcess) -> None:
    with WireClient(hotplate_server.port) as client:
        client.send(request("ECHO", b"x" * 100_000) + request("SHUTDOWN"))
        assert client.receive_all() == b"$100000\r\n" + b"x" * 100_000 + b"\r\n"


# settings


def test_the_command_line_wins_over_the_file(launch: Launch, tmp_path: Path) -> None:
    port = free_port()
    file = tmp_path / "hotplate.conf"
    file.write_text(
        f"# mine\nport {port}\nmaxclients 77\ntimeout 5\nkvc-memory-capacity 64mb\n"
        f'kvc-ssd-capacity 64mb\ndir "{tmp_path}"\n'
    )
    addresses, server = launch(file, "--maxclients", "88")
    assert addresses == f"127.0.0.1:{port}"
    with WireClient(port) as client:
        assert client.ask("CONFIG", "GET", "maxclients").endswith(b"\r\n88\r\n")
        assert client.ask("CONFIG", "GET", "timeout").endswith(b"\r\n5\r\n")
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--nosuch", "1"), "nosuch: there is no such setting"),
        (("--port",), "port: wrong number of arguments"),
        (("--port", "70000"), "port: "),
        (("--port", "abc"), "port: "),
        (("--hz", "10", "20"), "hz: wrong number of arguments"),
        (("--tls-port", "1"), "TLS is not in this version"),
        (("/nonexistent/hotplate.conf",), "/nonexistent/hotplate.conf: can't read it"),
        (("--logfile", "/nonexistent/log"), "can't log to /nonexistent/log"),
        (("--dir", "/dev/null"), "can't use directory /dev/null"),
    ],
)
def test_a_bad_setting_is_one_clear_line(
    tmp_path: Path, words: tuple[str, ...], expected: str
) -> None:
    rest = () if "--dir" in words else ("--dir", str(tmp_path))
    assert expected in refused(*words, *rest)


def test_a_bad_line_of_the_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "hotplate.conf"
    file.write_text("port 0\n\nmaxclients many\n")
    text = refused(file, "--dir", tmp_path)
    assert f"{file}, line 3: maxclients: " in text
