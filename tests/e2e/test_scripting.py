"""Scripts through redis-py and real sockets: locks, functions, and a script that never ends."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.lock import Lock

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
_ENDLESS = "while true do end"
_WAIT_SECONDS = 20


class Server:
    """A server process whose scripts are busy after 50 ms."""

    def __init__(self, directory: Path) -> None:
        command = [sys.executable, "-m", "hotplate.server", "--port", "0", "--dir", str(directory)]
        command += ["--busy-reply-threshold", "50"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        ready = self.process.stdout.readline()
        self.port = int(ready.split(" ready on ")[1].split(" ")[0].rstrip(",").rpartition(":")[2])

    def connect(self, **options: Any) -> redis.Redis:
        """A client with a connection of its own."""
        return redis.Redis(port=self.port, single_connection_client=True, **options)

    def run_endless(self, script: str = _ENDLESS) -> threading.Thread:
        """Somebody runs it; returns when others are told so."""
        client = self.connect()
        other = self.connect()

        def run() -> None:
            with pytest.raises(redis.RedisError):
                client.eval(script, 0)

        thread = threading.Thread(target=run)
        thread.start()
        while answers(other):
            pass  # the script has not begun, or not run for long enough
        return thread


def answers(client: redis.Redis) -> bool:
    """Whether commands run: otherwise the server is busy."""
    try:
        return bool(client.ping())
    except redis.ResponseError as error:
        if not str(error).startswith("BUSY "):
            raise
        return False


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path)
    yield running
    running.process.kill()
    running.process.wait()
    assert running.process.stdout is not None
    running.process.stdout.close()


def test_the_lock_of_redis_py_works(server: Server) -> None:
    client, other = server.connect(), server.connect()
    lock = Lock(client, "lock", timeout=30)
    assert lock.acquire(blocking=False)
    assert not Lock(other, "lock").acquire(blocking=False)
    assert lock.extend(30)
    assert lock.reacquire()
    assert 50 < client.ttl("lock") <= 60 or client.ttl("lock") <= 30
    lock.release()
    assert Lock(other, "lock", timeout=1).acquire(blocking=False)
    with pytest.raises(redis.exceptions.LockError):
        lock.release()


def test_registered_scripts_and_functions_work(server: Server) -> None:
    client = server.connect()
    add = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert [add(keys=["n"], args=[2]), add(keys=["n"], args=[3])] == [2, 5]
    client.script_flush()
    assert add(keys=["n"], args=[1]) == 6
    code = "#!lua name=lib\nredis.register_function('f', function(k, a) return {k[1], a[1]} end)"
    client.function_load(code)
    assert client.fcall("f", 1, "k", "a") == [b"k", b"a"]


def test_a_script_that_never_ends_is_killed_by_a_client_that_comes_later(server: Server) -> None:
    known = server.connect()
    known.set("a", 1)
    thread = server.run_endless()
    for client in (known, server.connect()):
        with pytest.raises(redis.ResponseError, match="BUSY Redis is busy running a script"):
            client.get("a")
    late = server.connect(protocol=3)
    assert late.script_kill() in (True, b"OK", "OK")
    thread.join(_WAIT_SECONDS)
    assert not thread.is_alive()
    assert known.get("a") == b"1"
    assert late.get("a") == b"1"


def test_shutdown_ends_a_script_that_has_written(server: Server) -> None:
    thread = server.run_endless("redis.call('set', 'a', 1) while true do end")
    client = server.connect()
    with pytest.raises(redis.ResponseError, match="UNKILLABLE"):
        client.script_kill()
    client.shutdown(nosave=True)
    assert server.process.wait(_WAIT_SECONDS) == 0
    thread.join(_WAIT_SECONDS)


def test_a_signal_ends_the_server_in_the_middle_of_a_script(server: Server) -> None:
    thread = server.run_endless()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(_WAIT_SECONDS) == 0
    thread.join(_WAIT_SECONDS)
