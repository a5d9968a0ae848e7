"""MEMORY, WAIT and WAITAOF."""

from typing import Any, cast

import pytest
from tests.testing.box import Box
from tests.testing.connection_bench import Bench, request
from tests.testing.server_console import ServerConsole

from hotplate.engine.blocking import LOG_PLACE
from hotplate.keyspace.meter import BASE_BYTES


@pytest.fixture(params=[2, 3])
def console(request: pytest.FixtureRequest) -> ServerConsole:
    return ServerConsole(resp=request.param)


def test_usage_grows_with_what_a_key_holds(console: ServerConsole) -> None:
    console("SET k v")
    small = console("MEMORY USAGE k")
    console("SET", "k", "v" * 1000)
    assert 980 <= console("MEMORY USAGE k") - small <= 1020
    name = "a-name-of-more-than-sixteen-bytes"
    console("SET", name, "v" * 1000)
    without_expiry = console("MEMORY", "USAGE", name)
    assert 16 < without_expiry - console("MEMORY USAGE k") <= 48
    console("EXPIRE", name, 100)
    assert console("MEMORY", "USAGE", name) > without_expiry
    assert console("MEMORY USAGE nope") is None


def test_usage_asks_a_collection(console: ServerConsole) -> None:
    console.ctx.db.assign(b"box", Box([1] * 1000), console.clock.now_ms())
    assert 8000 < console("MEMORY USAGE box SAMPLES 0") < 8300
    assert console("MEMORY USAGE box samples 5 SAMPLES 0") > 8000


def test_usage_counts_as_no_use(console: ServerConsole) -> None:
    console("SET k v")
    console.clock.advance(5000)
    console("MEMORY USAGE k")
    console("MEMORY USAGE nope")
    assert console("OBJECT IDLETIME k") == 5
    database = console.ctx.db
    assert (database.hits, database.misses) == (1, 0)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("SAMPLES -1", "syntax error"),
        ("SAMPLES", "syntax error"),
        ("FOO", "syntax error"),
        ("SAMPLES x", "value is not an integer or out of range"),
    ],
)
def test_wrong_options_are_refused(console: ServerConsole, options: str, text: str) -> None:
    console("SET k v")
    assert console.refused(f"MEMORY USAGE k {options}") == f"ERR {text}"


def test_stats_agree_with_the_limit(console: ServerConsole) -> None:
    console("CONFIG SET maxmemory 100mb")
    for number in range(10):
        console("SET", number, "x" * 1000)
    reply = console("MEMORY STATS")
    stats = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
    used = console.engine.memory.meter.used_bytes
    assert stats[b"total.allocated"] == used
    assert stats[b"keys.count"] == 10
    assert stats[b"dataset.bytes"] == used - BASE_BYTES
    assert 1000 < stats[b"keys.bytes-per-key"] < 1500


def test_the_doctor_knows_what_ails(console: ServerConsole) -> None:
    assert "No memory problem" in str(console("MEMORY DOCTOR"))
    console("SET k v")
    console("CONFIG SET maxmemory 1")
    console("FLUSHALL")
    report = str(console("MEMORY DOCTOR"))
    assert "more than maxmemory" in report
    assert "still being freed" in report


def test_the_rest_is_answered(console: ServerConsole) -> None:
    assert console("MEMORY PURGE") == b"OK"
    assert "not supported" in str(console("MEMORY MALLOC-STATS"))
    assert console("MEMORY HELP")[0].startswith(b"MEMORY <subcommand>")


# -- waiting ---------------------------------------------------------------------------------------


def test_no_replica_has_the_writes(console: ServerConsole) -> None:
    assert console("WAIT 0 0") == console("WAIT -1 10") == 0
    assert console("WAITAOF 0 0 0") == [0, 0]


@pytest.mark.parametrize(
    ("words", "frames"),
    [("WAIT 3 1000", b":0\r\n"), ("WAITAOF 0 3 1000", b"*2\r\n:0\r\n:0\r\n")],
)
def test_who_wants_replicas_waits_until_the_timeout(words: str, frames: bytes) -> None:
    bench = Bench()
    client, _ = bench.client()
    assert bench.ask(client, request(*words.split())) == b""
    bench.timers.advance(999)
    assert client.take() == b""
    bench.timers.advance(1)
    bench.settle()
    assert client.take() == frames
    assert bench.ask(client, request("PING")) == b"+PONG\r\n"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("WAIT x 0", "value is not an integer or out of range"),
        ("WAIT 1 -1", "timeout is negative"),
        ("WAIT 1 x", "timeout is not an integer or out of range"),
        ("WAITAOF 2 0 0", "value is out of range, value must between 0 and 1"),
        ("WAITAOF -1 0 0", "value is out of range, value must between 0 and 1"),
        ("WAITAOF 0 -1 0", "value is out of range, must be positive"),
        ("WAITAOF 0 x 0", "value is out of range, must be positive"),
        ("WAITAOF 0 0 -1", "timeout is negative"),
        (
            "WAITAOF 1 0 0",
            "WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
        ),
    ],
)
def test_waiting_is_refused_as_in_redis(console: ServerConsole, words: str, text: str) -> None:
    assert console.refused(words) == f"ERR {text}"


class Disk:
    """As much of persistence as WAITAOF asks for."""

    has_log = True

    def __init__(self) -> None:
        self.logged = 3
        self.synced = 2


def test_who_wants_the_log_on_disk_waits_for_it() -> None:
    bench = Bench()
    disk = Disk()
    bench.engine.persistence = cast("Any", disk)
    local, both, any_ = (bench.client()[0] for _ in range(3))
    assert bench.ask(any_, request("WAITAOF", 0, 0, 0)) == b"*2\r\n:0\r\n:0\r\n"
    assert bench.ask(local, request("WAITAOF", 1, 0, 0)) == b""
    assert bench.ask(both, request("WAITAOF", 1, 1, 1000)) == b""
    disk.logged = 4  # what comes later does not concern them
    disk.synced = 3
    assert bench.engine.blocking.touched(*LOG_PLACE)
    bench.engine.blocking.serve()
    bench.settle()
    assert local.take() == b"*2\r\n:1\r\n:0\r\n"
    assert both.take() == b""
    bench.timers.advance(1000)
    bench.settle()
    assert both.take() == b"*2\r\n:1\r\n:0\r\n"
    assert bench.ask(any_, request("MULTI") + request("WAITAOF", 1, 0, 0) + request("EXEC")) == (
        b"+OK\r\n+QUEUED\r\n*1\r\n*2\r\n:0\r\n:0\r\n"
    )
