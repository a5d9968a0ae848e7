"""Nothing that the server makes for its clients goes in a circle: server.garbage relies on that.

A server whose timer looks for circles instead of putting everything aside, and says what it found.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.testing.server import SMALL_STORAGES
from tests.testing.wire_client import WireClient

from hotplate.bench.process import ServerProcess

pytestmark = pytest.mark.e2e

LOOKING = """
import gc, sys
from collections import Counter
from hotplate.server import app, garbage

gc.set_debug(gc.DEBUG_SAVEALL)
looks = []

def look(now_ms):
    found = gc.collect() and looks  # the first sees what importing has left
    looks.append(now_ms)
    print("circles:" if found else "no circle", *Counter(map(type, gc.garbage)).items(), flush=True)
    gc.garbage.clear()
    gc.freeze()
    return False

garbage.put_aside = look
sys.exit(app.main(sys.argv[1:]))
"""
CIRCLE = "    circle = []; circle.append(circle); del circle\n"
TWO_LOOKS = re.compile(rb"circle.*\n(?:.*\n)*.*circle.*\n")


@pytest.fixture
def looking(tmp_path: Path) -> Iterator[ServerProcess]:
    command = [sys.executable, "-c", LOOKING, "--port", "0", "--dir", str(tmp_path)]
    command += [*SMALL_STORAGES, "--appendonly", "yes"]
    with ServerProcess("hotplate", command, tmp_path / "log") as server:
        server.port = int(server.wait_ready(re.compile(rb"ready on [^ ]*:(\d+)"), 0)[1])
        yield server


def found_by(server: ServerProcess) -> list[str]:
    """What the looks after this moment find; and those before."""
    server.wait_ready(TWO_LOOKS, len(server.log().encode()))
    return [line for line in server.log().splitlines() if line.startswith("circles:")]


def test_what_clients_leave_behind_is_free_at_once(looking: ServerProcess) -> None:
    clients = [WireClient(looking.port) for _ in range(5)]
    first, second, waiting, listening, gone = clients
    for number in range(50):
        first.ask("SET", f"key:{number % 7}", number)
        first.ask("HSET", "hash", f"field:{number % 7}", number)
        first.ask("XADD", "stream", "*", "field", number)
        second.ask("LPUSH", "key:1", "x")  # another type: an error
        second.ask("NOSUCH", number)
    for words in ("MULTI", "LPUSH key:1 x", "GET key:1", "EXEC", "DEL hash", "BGREWRITEAOF"):
        first.ask(*words.split())
    first.ask("EVAL", "local t = {} t.t = t return redis.call('LPUSH', KEYS[1], 'x')", 1, "key:1")
    first.ask("EVAL", "return redis.pcall('GET', KEYS[1])", 1, "stream")
    waiting.ask("BLPOP", "none", "0.01")
    waiting.send(b"*3\r\n$5\r\nBLPOP\r\n$4\r\nlist\r\n$1\r\n0\r\n")
    listening.ask("SUBSCRIBE", "channel")
    first.ask("RPUSH", "list", "x")
    assert waiting.receive_frame().endswith(b"x\r\n")
    waiting.send(b"*3\r\n$5\r\nBLPOP\r\n$4\r\nlist\r\n$1\r\n0\r\n")  # and goes while it waits
    first.ask("PUBLISH", "channel", "x")
    gone.send(b"*2\r\n$3\r\nGET\r\n$5\r\nkey")  # amid a request
    for client in clients:
        client.socket.close()
    assert found_by(looking) == []


def test_blocks_and_leases_go_without_a_trace(looking: ServerProcess) -> None:
    client = WireClient(looking.port)
    client.ask(
        "KVC.INSTANCE", "REGISTER", "m", "GROUP", "default", "BLOCKTOKENS", 16, "SPEC", "kv", 8
    )
    for number in range(20):
        put = client.ask("KVC.PUT", "m", 2, f"a{number}", bytes(8), f"b{number}", bytes(8))
        assert put == b":2\r\n"
        for ms in (1, 60_000):  # one ends by itself, the other is released
            leased = client.ask("KVC.GETLOC", "m", "LEASE", ms, "KEYS", 1, f"a{number}")
        lease = leased.rsplit(b"\r\n", 2)[1]
        assert client.ask("KVC.LEASE", "m", lease, "RELEASE") == b":1\r\n"
        assert client.ask("KVC.READ", "m", f"a{number}") == b"$8\r\n" + bytes(8) + b"\r\n"
        assert client.ask("KVC.READ", "m", "missing") == b"$-1\r\n"
        assert not client.ask("KVC.STARTWRITE", "m", "KEYS", 1, f"c{number}").startswith(b"-")
    assert client.ask("KVC.REMOVE", "m", "KEYS", 1, "a1") == b":1\r\n"
    assert client.ask("KVC.INSTANCE", "REMOVE", "m", "FORCE") == b"+OK\r\n"
    client.socket.close()
    assert found_by(looking) == []


def test_a_circle_would_be_found(tmp_path: Path) -> None:
    made = LOOKING.replace("    found =", CIRCLE + "    found =")
    command = [sys.executable, "-c", made, "--port", "0", "--dir", str(tmp_path), *SMALL_STORAGES]
    with ServerProcess("hotplate", command, tmp_path / "log") as server:
        server.wait_ready(re.compile(rb"ready on"), 0)
        assert "circles: (<class 'list'>, 1)" in found_by(server)
