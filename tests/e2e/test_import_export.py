"""`hotplate import` and `hotplate export`: data moves unchanged, and what does not is told."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.testing.all_types import Ask, content, fill
from tests.testing.server import StartHotplate

from hotplate import cli
from hotplate.bench.process import ServerProcess, start_redis

pytestmark = pytest.mark.e2e

LATER_MS = 4_000_000_000_000
FUNCTION = b"#!lua name=lib\nredis.register_function('f', function() return 'hello' end)"


def asker(url: str) -> Ask:
    client = redis.Redis.from_url(url, protocol=2)
    client.response_callbacks.clear()
    connection = redis.Redis(connection_pool=client.connection_pool, single_connection_client=True)
    connection.response_callbacks.clear()
    return connection.execute_command


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[ServerProcess]:
    directory = tmp_path / "redis"
    directory.mkdir()
    with start_redis(directory) as server:
        yield server


def fill_all(ask: Ask) -> list[bytes]:
    keys = fill(ask)
    ask("SET", "timed", "x", "PXAT", LATER_MS)
    ask("FUNCTION", "LOAD", FUNCTION)
    ask("SELECT", 5)
    ask("MSET", *(word for n in range(3000) for word in (b"key:%d" % n, b"v" * (n % 200))))
    ask("SELECT", 0)
    return keys


def without_seen_times(found: Any) -> Any:
    """A log does not tell when consumers were seen."""
    if isinstance(found, dict):
        return {name: without_seen_times(it) for name, it in found.items() if name != "seen-time"}
    if isinstance(found, (list, tuple)):
        return [without_seen_times(item) for item in found]
    return found


def check_equal(one: Ask, other: Ask, keys: list[bytes], *, of_log: bool = False) -> None:
    for key in keys:
        here, there = content(other, key), content(one, key)
        if of_log:
            here, there = without_seen_times(here), without_seen_times(there)
        assert here == there, key
    assert other("PEXPIRETIME", "timed") == LATER_MS
    assert other("FCALL", "f", 0) == b"hello"
    assert other("DBSIZE") == one("DBSIZE")
    other("SELECT", 5)
    assert other("DBSIZE") == 3000
    assert other("GET", "key:2199") == b"v" * 199


def test_a_running_redis_is_imported(
    theirs: ServerProcess, start_server: StartHotplate, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there = start_server(), asker(theirs.url)
    keys = fill_all(there)
    ours = asker(here.url)
    assert cli.main(["import", theirs.url, "--to", here.url]) == 0
    assert capsys.readouterr().out == f"moved {len(keys) + 3001} keys, 1 libraries\n"
    check_equal(there, ours, keys)


def test_what_is_there_already_stays_unless_told(
    theirs: ServerProcess, start_server: StartHotplate, capsys: pytest.CaptureFixture[str]
) -> None:
    here = start_server()
    there, ours = asker(theirs.url), asker(here.url)
    there("MSET", "a", 1, "b", 2, "other", 3)
    ours("SET", "a", "mine")
    assert cli.main(["import", theirs.url, "--to", here.url, "--match", "?"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "moved 1 keys",
        "not moved: 1",
        "  1  is there already (--replace overwrites); for example b'a' in database 0",
    ]
    assert ours("MGET", "a", "b", "other") == [b"mine", b"2", None]
    assert cli.main(["import", theirs.url, "--to", here.url, "--replace"]) == 0
    assert ours("MGET", "a", "b", "other") == [b"1", b"2", b"3"]


def test_a_snapshot_is_imported(
    theirs: ServerProcess, start_server: StartHotplate, tmp_path: Path
) -> None:
    here, there = start_server(), asker(theirs.url)
    keys = fill_all(there)
    there("SAVE")
    assert cli.main(["import", str(tmp_path / "redis/dump.rdb"), "--to", here.url]) == 0
    check_equal(there, asker(here.url), keys)


@pytest.mark.parametrize("rewritten", [False, True])
def test_an_append_only_log_is_imported(
    start_server: StartHotplate, tmp_path: Path, rewritten: bool
) -> None:
    with start_redis(tmp_path, "--appendonly", "yes") as theirs:
        there = asker(theirs.url)
        if rewritten:
            there("RPUSH", "list", "a")
            there("CONFIG", "SET", "appendonly", "no")
            there("CONFIG", "SET", "appendonly", "yes")  # begins with a snapshot of what there is
            while b"aof_rewrite_in_progress:0" not in there("INFO", "persistence"):
                pass
        keys = fill_all(there)
        there("MULTI")
        there("INCR", "counter")
        there("INCR", "counter")
        there("EXEC")
        here = start_server()
        log = tmp_path / "appendonlydir"
        assert cli.main(["import", str(log), "--to", here.url]) == 0
        check_equal(there, asker(here.url), [*keys, b"counter"], of_log=True)


def test_the_torn_end_of_a_log_is_told(
    start_server: StartHotplate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "old.aof"
    log.write_bytes(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n#TS:5\r\n*3\r\n$3\r\nSET\r\n$1\r\nb")
    here = start_server()
    assert cli.main(["import", str(log), "--to", here.url]) == 1
    said = capsys.readouterr().out
    assert "moved 0 keys, 1 commands of the log" in said
    assert "an incomplete command at byte 34, at the end of the log" in said
    assert asker(here.url)("KEYS", "*") == [b"a"]
    assert cli.main(["import", str(log), "--to", here.url]) == 2
    assert "has keys, and a log changes them" in capsys.readouterr().err


def test_all_that_a_redis_can_hold_is_exported_to_it(
    theirs: ServerProcess, start_server: StartHotplate, capsys: pytest.CaptureFixture[str]
) -> None:
    here = start_server()
    ours, there = asker(here.url), asker(theirs.url)
    keys = fill_all(ours)
    ours("CL.THROTTLE", "bucket", 15, 30, 60)
    ours("HSET", "fading", "a", 1, "b", 2)
    ours("HEXPIRE", "fading", 1000, "FIELDS", 1, "a")
    assert cli.main(["export", theirs.url, "--from", here.url]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"moved {len(keys) + 3002} keys, 1 libraries"
    assert "rate limits and paced queues: that server does not know them" in said[2]
    assert said[3:] == [
        "moved in part: 1",
        "  1  fields of the hash never expire there: that server knows no such times; for example"
        " b'fading' in database 0",
    ]
    assert there("HGETALL", "fading") == [b"a", b"1", b"b", b"2"]
    ours("DEL", "bucket")
    check_equal(ours, there, keys)


def test_limits_go_into_a_file_and_out_of_it(
    start_server: StartHotplate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there = start_server(), start_server()
    ours, theirs = asker(here.url), asker(there.url)
    ours("CL.THROTTLE", "bucket", 15, 30, 6000)
    ours("LBQ.CREATE", "queue", "INTO", "stream", "RATE", 1, 10**9)
    ours("LBQ.ADD", "queue", "FIELDS", 1, "a", "b")
    file = tmp_path / "dump.rdb"
    assert cli.main(["export", str(file), "--from", here.url]) == 0
    assert cli.main(["import", str(file), "--to", there.url]) == 0
    assert theirs("CL.THROTTLE", "bucket", 15, 30, 6000, 16)[0] == 1
    assert theirs("LBQ.RANGE", "queue", 0, -1)[0][5] == [b"a", b"b"]
    other = str(tmp_path / "redis.rdb")
    assert cli.main(["export", other, "--from", here.url, "--redis-7"]) == 1
    assert "2  rate limits and paced queues" in capsys.readouterr().out


@pytest.mark.parametrize("into_redis", [False, True])
def test_an_exported_file_is_loaded(
    start_server: StartHotplate, tmp_path: Path, into_redis: bool
) -> None:
    here = start_server()
    ours = asker(here.url)
    keys = fill_all(ours)
    ours("HSET", "fading", "a", 1, "b", 2)
    ours("HPEXPIREAT", "fading", LATER_MS, "FIELDS", 1, "a")
    file = tmp_path / "dump.rdb"
    assert cli.main(["export", str(file), "--from", here.url, "--redis-7"]) == 0
    assert not list(tmp_path.glob("*.unfinished"))
    if into_redis:
        with start_redis(tmp_path) as server:
            check_equal(ours, asker(server.url), [*keys, b"fading"])
        return
    other = start_server()
    assert cli.main(["import", str(file), "--to", other.url]) == 0
    check_equal(ours, asker(other.url), [*keys, b"fading"])
    again = asker(other.url)
    assert again("HPEXPIRETIME", "fading", "FIELDS", 2, "a", "b") == [LATER_MS, -1]
    assert cli.main(["export", str(file), "--from", here.url]) == 2


@pytest.mark.parametrize(
    ("content_", "message"),
    [
        (b"REDIS0010\x00\x01a", "the bytes end too early (at byte 9)"),
        (b"*1\r\n$4\r\nPING\r\nhello", "no command at byte 14"),
        (b"hello world", "no snapshot: it does not begin with REDIS or VALKEY"),
    ],
)
def test_a_damaged_file_is_told_with_the_place(
    hotplate_server: ServerProcess,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content_: bytes,
    message: str,
) -> None:
    file = tmp_path / "file"
    file.write_bytes(content_)
    assert cli.main(["import", str(file), "--to", hotplate_server.url]) == 2
    assert message in capsys.readouterr().err


def test_a_server_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["import", "redis://127.0.0.1:1", "--to", "redis://127.0.0.1:1"]) == 2
    assert "hotplate import: Error" in capsys.readouterr().err
