"""A real server keeps what it acknowledged, and shares its log with a real Redis."""

import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError
from tests.testing.server import SMALL_STORAGES, StartHotplate

from hotplate.bench.process import ServerProcess, ServerStartError, start_hotplate, start_redis

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

LOG = "appendonlydir/appendonly.aof"


def client(server: ServerProcess, db: int = 0) -> Any:
    return Redis(port=server.port, db=db)


def fill(redis: Any) -> None:
    """Plain data of every type that Redis 7.0 has."""
    redis.set("string", b"\x00\xff\r\n")
    redis.set("counter", 5)
    redis.incrbyfloat("float", 1.25)
    redis.set("expires", 1, ex=10_000)
    redis.expire("counter", 10_000)
    redis.rpush("list", *range(300))
    redis.hset("hash", mapping={f"f{n}": n for n in range(200)})
    redis.hincrbyfloat("hash", "f1", 0.5)
    redis.sadd("set", *range(100), "text")
    redis.spop("set", 10)
    redis.zadd("sorted", {f"m{n}": n / 3 for n in range(200)})
    redis.zpopmin("sorted", 3)
    redis.setbit("bits", 1000, 1)
    redis.pfadd("sketch", *range(500))
    for number in range(50):
        redis.xadd("stream", {"n": number})
    redis.xgroup_create("stream", "group", "0")
    redis.xreadgroup("group", "alice", {"stream": ">"}, count=20)
    redis.xreadgroup("group", "bob", {"stream": ">"}, count=5, noack=True)
    redis.xack("stream", "group", *[row[0] for row in redis.xrange("stream", count=3)])
    redis.xtrim("stream", maxlen=47, approximate=False)
    redis.sort("list", store="sorted-list", desc=True)
    redis.geoadd("geo", (13.36, 38.11, "palermo"))
    with redis.pipeline(transaction=True) as pipe:
        pipe.set("in-multi", 1)
        pipe.incr("in-multi")
        pipe.execute()
    redis.eval("redis.call('SET', KEYS[1], '1') redis.call('APPEND', KEYS[1], '2')", 1, "by-script")
    other = Redis(port=redis.connection_pool.connection_kwargs["port"], db=3)
    other.set("elsewhere", 1)
    other.set("gone", 1, px=1)


def read_all(redis: Any) -> dict[bytes, object]:
    """What type-specific commands say of every key."""
    found: dict[bytes, object] = {}
    for key in redis.scan_iter():
        kind = redis.type(key)
        content: object
        if kind == b"string":
            content = redis.get(key)
        elif kind == b"list":
            content = redis.lrange(key, 0, -1)
        elif kind == b"hash":
            content = redis.hgetall(key)
        elif kind == b"set":
            content = redis.smembers(key)
        elif kind == b"zset":
            content = redis.zrange(key, 0, -1, withscores=True)
        else:
            info = redis.xinfo_stream(key)
            groups = redis.xinfo_groups(key)
            pending = [
                (row["message_id"], row["consumer"], row["times_delivered"])
                for group in groups
                for row in redis.xpending_range(key, group["name"], "-", "+", 1000)
            ]
            ends = [info[name] for name in ("length", "last-generated-id", "entries-added")]
            content = (redis.xrange(key), groups, pending, ends)
        found[key] = (kind, redis.execute_command("PEXPIRETIME", key), content)
    return found


@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_a_killed_server_comes_back_with_all_it_acknowledged(
    start_server: StartHotplate, tmp_path: Path, policy: str
) -> None:
    options = ("--appendonly", "yes", "--appendfsync", policy)
    server = start_server(*options, directory=tmp_path)
    fill(client(server))
    before = read_all(client(server))
    server.kill()
    again = start_server(*options, directory=tmp_path)
    assert read_all(client(again)) == before
    assert client(again, 3).keys() == [b"elsewhere"]


def test_a_clean_end_and_start_keeps_everything(
    start_server: StartHotplate, tmp_path: Path
) -> None:
    server = start_server("--appendonly", "yes", directory=tmp_path)
    fill(client(server))
    before = read_all(client(server))
    assert server.stop() == 0
    again = start_server("--appendonly", "yes", directory=tmp_path)
    assert read_all(client(again)) == before
    assert client(again).info("persistence")["aof_enabled"] == 1


def test_redis_check_aof_and_redis_server_accept_our_log(
    start_server: StartHotplate, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = start_server("--appendonly", "yes", directory=tmp_path)
    fill(client(server))
    before = read_all(client(server))
    server.stop()
    checker = shutil.which("redis-check-aof")
    assert checker is not None
    checked = subprocess.run(
        [checker, str(tmp_path / f"{LOG}.manifest")], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout
    assert "All AOF files and manifest are valid" in checked.stdout
    theirs = tmp_path_factory.mktemp("redis")
    shutil.copytree(tmp_path / "appendonlydir", theirs / "appendonlydir")
    with start_redis(theirs, "--appendonly", "yes") as redis:
        assert read_all(client(redis)) == before


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_the_log_of_a_redis_server_is_loaded(
    start_server: StartHotplate,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    preamble: str,
) -> None:
    theirs = tmp_path_factory.mktemp("redis")
    with start_redis(theirs, "--appendonly", "yes", "--aof-use-rdb-preamble", preamble) as redis:
        fill(client(redis))
        client(redis).bgrewriteaof()
        wait(client(redis), "aof_rewrite_in_progress")
        client(redis).set("after", 1)
        before = read_all(client(redis))
    shutil.copytree(theirs / "appendonlydir", tmp_path / "appendonlydir")
    server = start_server("--appendonly", "yes", directory=tmp_path)
    assert read_all(client(server)) == before
    client(server).set("more", 1)
    server.kill()
    again = start_server("--appendonly", "yes", directory=tmp_path)
    assert read_all(client(again)) == {**before, b"more": (b"string", -1, b"1")}


def wait(redis: Any, what: str) -> None:
    """Until what INFO tells of is over."""
    while redis.info("persistence")[what]:
        continue


def test_a_rewritten_log_is_loaded_here_and_by_redis(
    start_server: StartHotplate, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = start_server("--appendonly", "yes", directory=tmp_path)
    fill(client(server))
    assert client(server).bgrewriteaof()
    wait(client(server), "aof_rewrite_in_progress")
    assert client(server).info("persistence")["aof_last_bgrewrite_status"] == "ok"
    client(server).set("after", 1)
    before = read_all(client(server))
    server.kill()
    names = sorted(path.name for path in (tmp_path / "appendonlydir").iterdir())
    assert names == [
        "appendonly.aof.2.incr.aof",
        "appendonly.aof.3.base.rdb",
        "appendonly.aof.manifest",
    ]
    theirs = tmp_path_factory.mktemp("redis")
    shutil.copytree(tmp_path / "appendonlydir", theirs / "appendonlydir")
    with start_redis(theirs, "--appendonly", "yes") as redis:
        assert read_all(client(redis)) == before
    again = start_server("--appendonly", "yes", directory=tmp_path)
    assert read_all(client(again)) == before


def test_snapshots_without_a_log_are_loaded_here_and_by_redis(
    start_server: StartHotplate, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = start_server("--appendonly", "no", directory=tmp_path)
    redis = client(server)
    fill(redis)
    before = read_all(redis)
    started = redis.lastsave()
    assert redis.bgsave()
    wait(redis, "rdb_bgsave_in_progress")
    assert redis.info("persistence")["rdb_saves"] == 1
    assert redis.lastsave() >= started
    redis.set("lost", 1)
    server.kill()
    theirs = tmp_path_factory.mktemp("redis")
    shutil.copy(tmp_path / "dump.rdb", theirs / "dump.rdb")
    with start_redis(theirs) as other:
        assert read_all(client(other)) == before
    server = start_server("--appendonly", "no", directory=tmp_path)
    assert read_all(client(server)) == before
    client(server).set("kept", 1)
    client(server).shutdown(save=True)
    again = start_server("--appendonly", "no", directory=tmp_path)
    assert read_all(client(again)) == {**before, b"kept": (b"string", -1, b"1")}
    again.stop()
    logged = start_server("--appendonly", "yes", directory=tmp_path)  # it begins with the snapshot
    assert read_all(client(logged)) == {**before, b"kept": (b"string", -1, b"1")}
    client(logged).delete("kept")
    logged.kill()
    assert read_all(client(start_server("--appendonly", "yes", directory=tmp_path))) == before


def test_what_can_not_be_asked_for_now_is_refused_or_scheduled(
    start_server: StartHotplate, tmp_path: Path
) -> None:
    server = start_server("--appendonly", "no", directory=tmp_path)
    redis = client(server)
    with pytest.raises(ResponseError, match="appendonly is no"):
        redis.bgrewriteaof()
    with pytest.raises(ResponseError, match="syntax error"):
        redis.execute_command("BGSAVE", "NOW")
    for number in range(20):
        redis.mset({f"key:{number}:{at}": at for at in range(2000)})
    with redis.pipeline(transaction=False) as pipe:
        pipe.bgsave()
        pipe.bgsave()
        pipe.save()
        started, again, now = pipe.execute(raise_on_error=False)
    assert started is True
    for refused in (again, now):
        assert "Background save already in progress" in str(refused)
    wait(redis, "rdb_bgsave_in_progress")
    assert redis.save()
    with redis.pipeline(transaction=True) as pipe:
        pipe.bgsave()
        pipe.execute()
    while redis.info("persistence")["rdb_saves"] < 3:
        continue
    (tmp_path / "dump.rdb").unlink()
    (tmp_path / "dump.rdb").mkdir()
    with pytest.raises(ResponseError, match="the snapshot can't be saved"):
        redis.save()


def test_damage_in_the_middle_ends_the_start_with_one_line(
    start_server: StartHotplate, tmp_path: Path
) -> None:
    server = start_server("--appendonly", "yes", directory=tmp_path)
    client(server).set("a", "x" * 1000)
    client(server).set("b", "y" * 1000)
    server.stop()
    path = tmp_path / f"{LOG}.1.incr.aof"
    data = bytearray(path.read_bytes())
    data[700] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ServerStartError, match=r"is damaged at offset \d+ .*run `hotplate check"):
        start_hotplate(tmp_path, *SMALL_STORAGES, "--appendonly", "yes")


def test_a_log_that_can_not_be_written_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").write_text("a file where the directory should be")
    with pytest.raises(ServerStartError, match=r"hotplate: .*appendonlydir"):
        start_hotplate(tmp_path, *SMALL_STORAGES, "--appendonly", "yes")


def test_writes_are_refused_while_the_disk_is_full(
    start_server: StartHotplate, tmp_path: Path
) -> None:
    server = start_server("--appendonly", "yes", directory=tmp_path)
    redis = client(server)
    redis.set("a", 1)
    limit_file_size(server, 4096)
    for _ in range(20):  # who is in when it fails waits for its end
        with socket.create_connection(("127.0.0.1", server.port)) as writer:
            writer.sendall(b"SET b " + b"x" * 500 + b"\r\n")
            writer.shutdown(socket.SHUT_WR)
            redis.get("a")
    with pytest.raises(ResponseError, match="MISCONF Errors writing to the AOF file: File too la"):
        redis.set("c", 1)
    with pytest.raises(ResponseError, match="MISCONF"):
        redis.eval("return redis.call('SET', 'c', '1')", 0)
    with pytest.raises(ResponseError, match="MISCONF"):
        redis.ping()
    assert redis.get("a") == b"1"
    assert redis.info("persistence")["aof_last_write_status"] == "err"
    limit_file_size(server, 2**40)
    while redis.info("persistence")["aof_last_write_status"] != "ok":
        continue
    redis.set("c", 1)
    before = read_all(redis)
    server.kill()
    assert read_all(client(start_server("--appendonly", "yes", directory=tmp_path))) == before


def limit_file_size(server: ServerProcess, size: int) -> None:
    """What stands for a disk that is full, or is not any more."""
    limits = f"--fsize={size}:{2**50}"
    subprocess.run(["prlimit", "--pid", str(server.pid), limits], check=True)


def test_waitaof_answers_when_the_writes_before_are_on_disk(start_server: StartHotplate) -> None:
    redis = client(start_server(*SMALL_STORAGES))
    for number in range(3):
        redis.set("key", number)
        assert redis.execute_command("WAITAOF", 1, 0, 60_000) == [1, 0]
    assert redis.execute_command("WAITAOF", 1, 1, 10) == [1, 0]
