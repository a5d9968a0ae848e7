"""redis-py: blocking and asyncio clients, pipelines, transactions; the oldest version we allow."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
import redis.asyncio
from redis.cache import CacheConfig

from hotplate.bench.process import ServerProcess

pytestmark = pytest.mark.e2e

PROTOCOLS = [2, 3]
OLDEST = "redis==5.0.0"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_values_of_every_byte_come_back_as_they_were(
    hotplate_server: ServerProcess, protocol: int
) -> None:
    value = bytes(range(256)) * 1024
    with redis.Redis(port=hotplate_server.port, protocol=protocol) as client:
        assert client.set(b"\0key\r\n", value, ex=60)
        assert client.get(b"\0key\r\n") == value
        assert client.ttl(b"\0key\r\n") == 60
        assert client.get("missing") is None


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pipeline_answers_in_order_and_keeps_going_after_an_error(
    hotplate_server: ServerProcess, protocol: int
) -> None:
    with redis.Redis(port=hotplate_server.port, protocol=protocol) as client:
        pipeline = client.pipeline(transaction=False)
        pipeline.set("a", "text").incr("a").incr("b").mget("a", "b")
        first, second, third, fourth = pipeline.execute(raise_on_error=False)
        assert first is True
        assert isinstance(second, redis.ResponseError)
        assert "not an integer" in str(second)
        assert (third, fourth) == (1, [b"text", b"1"])


def test_a_transaction_is_refused_when_a_watched_key_changed(
    hotplate_server: ServerProcess,
) -> None:
    with (
        redis.Redis(port=hotplate_server.port) as client,
        redis.Redis(port=hotplate_server.port) as other,
    ):
        client.set("stock", 5)
        with client.pipeline() as pipeline:
            pipeline.watch("stock")
            other.set("stock", 4)
            pipeline.multi()
            pipeline.decr("stock")
            with pytest.raises(redis.WatchError):
                pipeline.execute()
        assert client.get("stock") == b"4"


def test_errors_arrive_as_exceptions_and_the_connection_lives_on(
    hotplate_server: ServerProcess,
) -> None:
    with redis.Redis(port=hotplate_server.port) as client:
        with pytest.raises(redis.ResponseError, match="unknown command"):
            client.execute_command("NOSUCH")
        with pytest.raises(redis.ResponseError, match="wrong number of arguments"):
            client.execute_command("GET")
        assert client.ping()


@pytest.mark.asyncio
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_asyncio_client_works_too(hotplate_server: ServerProcess, protocol: int) -> None:
    async with redis.asyncio.Redis(port=hotplate_server.port, protocol=protocol) as client:
        await client.set("a", "1")
        async with client.pipeline(transaction=True) as pipeline:
            pipeline.incr("a")
            pipeline.incr("a")
            replies = await pipeline.execute()
        assert replies == [2, 3]
        assert [key async for key in client.scan_iter("*")] == [b"a"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_kv_cache_replies_are_maps_and_arrays(
    hotplate_server: ServerProcess, protocol: int
) -> None:
    with redis.Redis(port=hotplate_server.port, protocol=protocol) as client:
        register = "KVC.INSTANCE REGISTER m GROUP default BLOCKTOKENS 16 SPEC kv 8"
        client.execute_command(*register.split())
        assert client.execute_command("KVC.PUT", "m", 2, "k1", b"\0" * 8, "k2", b"\1" * 8) == 2
        assert client.execute_command("KVC.GETLOC", "m", "COUNT", "KEYS", 3, "k1", "k2", "k3") == 2
        assert client.execute_command("KVC.READ", "m", "k2") == b"\1" * 8
        matched, start, locations, lease = client.execute_command(
            "KVC.GETLOC", "m", "KEYS", 2, "k1", "k2"
        )
        assert (matched, start, len(locations), lease) == (2, 0, 2, None)
        with pytest.raises(redis.ResponseError, match="NOINSTANCE"):
            client.execute_command("KVC.READ", "other", "k2")


def test_a_client_that_caches_hears_of_changes(hotplate_server: ServerProcess) -> None:
    with (
        redis.Redis(
            port=hotplate_server.port, protocol=3, cache_config=CacheConfig(max_size=100)
        ) as client,
        redis.Redis(port=hotplate_server.port) as other,
    ):
        calls = counter(other, "get")
        other.set("k", "1")
        assert [client.get("k") for _ in range(3)] == [b"1"] * 3
        assert calls() == 1
        other.set("k", "2")
        assert [client.get("k") for _ in range(3)] == [b"2"] * 3
        assert calls() == 2
        other.flushall()
        assert [client.get("k") for _ in range(3)] == [None] * 3


def counter(client: redis.Redis, command: str) -> Callable[[], int]:
    """How often the server ran a command since now."""

    def calls() -> int:
        return int(client.info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0))

    before = calls()
    return lambda: calls() - before


@pytest.mark.slow
def test_the_oldest_redis_py_that_we_allow_works(
    hotplate_server: ServerProcess, tmp_path: Path
) -> None:
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    install += ["--no-deps", "--target", str(tmp_path / "old"), OLDEST]
    installed = subprocess.run(install, capture_output=True, text=True, check=False)
    assert installed.returncode == 0, installed.stderr
    script = """
import sys, redis
assert redis.__version__ == "5.0.0", redis.__version__
for protocol in (2, 3):
    client = redis.Redis(port=int(sys.argv[1]), protocol=protocol, decode_responses=True)
    assert client.set("old", "value") and client.get("old") == "value"
    assert client.pipeline().incr("n").incr("n").execute()[-1] % 2 == 0
    assert client.info("server")["redis_version"]
"""
    result = subprocess.run(
        [sys.executable, "-c", script, str(hotplate_server.port)],
        env={"PYTHONPATH": str(tmp_path / "old")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
