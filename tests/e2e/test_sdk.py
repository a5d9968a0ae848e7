"""The SDK against a real server: every way that bytes can go, blocking and asyncio."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from hotplate.bench.process import ServerProcess
from hotplate.clients import (
    AsyncKVCache,
    ChecksumError,
    DuplicateError,
    Keys,
    KVCache,
    NoInstanceError,
    NoSessionError,
    QuotaError,
    TransportError,
)
from hotplate.clients.records import Transport

pytestmark = pytest.mark.e2e

TOKENS = list(range(1000, 1000 + 10 * 4 + 3))
SPECS = {"rank0": 64 * 1024, "rank1": 32 * 1024}
BLOCK_BYTES = sum(SPECS.values())

# transport, storage, how blocks then are written, how they are read
WAYS = [
    ("auto", "memory", "mapped", "mapped"),
    ("mapped", "memory", "mapped", "mapped"),
    ("socket", "memory", "socket", "socket"),
    ("auto", "ssd", "socket", "mapped"),
    ("socket", "ssd", "socket", "socket"),
    ("auto", "nfs", "mapped", "mapped"),
    ("socket", "nfs", "socket", "socket"),
]


def payload(index: int) -> bytearray:
    return bytearray([index + 1]) * BLOCK_BYTES


def fill(first: int, count: int, payloads: memoryview) -> None:
    payloads[:] = b"".join(payload(first + number) for number in range(count))


def opened(server: ServerProcess, transport: Transport = "auto", name: str = "m") -> KVCache:
    cache = KVCache.from_url(server.url, name, transport=transport)
    cache.register(block_tokens=4, specs=SPECS, hash_scheme="xxh3")
    return cache


@pytest.fixture
def cache(hotplate_server: ServerProcess) -> Iterator[KVCache]:
    with opened(hotplate_server) as made:
        yield made


def add_mount(server: ServerProcess, path: Path, keys_per_file: int) -> None:
    """A storage `nfs` of type `file`, as the default group's last."""
    with redis.Redis.from_url(server.url) as client:
        options = ("TYPE", "file", "PATH", path, "KEYSPERFILE", keys_per_file)
        client.execute_command("KVC.STORAGE", "ADD", "nfs", *map(str, options))
        storages = ("STORAGES", 3, "memory", "ssd", "nfs", "GRACE", 0)
        client.execute_command("KVC.GROUP", "UPDATE", "default", "VERSION", 1, *storages)


@pytest.mark.parametrize("keys_per_file", [1, 3])
def test_block_files_go_with_their_last_block(
    hotplate_server: ServerProcess, tmp_path: Path, keys_per_file: int
) -> None:
    add_mount(hotplate_server, tmp_path / "mount", keys_per_file)
    with opened(hotplate_server) as cache:
        keys = cache.keys(TOKENS)
        with cache.reserve(keys[:8], storage="nfs") as reservation:
            reservation.write_runs(fill)
        files = sorted((tmp_path / "mount").glob("*.block"))
        assert len(files) == -(-8 // keys_per_file)
        with cache.match(keys, lease_ms=10_000) as match:
            assert cache.remove(keys[:8]) == 8
            assert cache.count(keys) == 0
            assert sorted((tmp_path / "mount").glob("*.block")) == files, "they are leased"
            got: list[bytes] = []
            match.read_runs(lambda _first, _count, payloads: got.append(bytes(payloads)))
            assert b"".join(got) == b"".join(map(payload, range(8)))
        while list((tmp_path / "mount").glob("*.block")):
            assert cache.count(keys) == 0  # asked until a thread of the server is done with them


@pytest.mark.parametrize(("transport", "storage", "written", "read"), WAYS)
def test_blocks_are_written_published_found_and_read(
    hotplate_server: ServerProcess,
    tmp_path: Path,
    transport: Transport,
    storage: str,
    written: str,
    read: str,
) -> None:
    if storage == "nfs":
        add_mount(hotplate_server, tmp_path / "mount", 3)
    with opened(hotplate_server, transport) as cache:
        keys = cache.keys(TOKENS)
        assert len(keys) == 10
        with cache.reserve(keys[:8], storage=storage) as reservation:
            assert reservation.new == list(range(8))
            assert cache.count(keys) == 0
            assert reservation.write_runs(fill) == written
        assert reservation.published == 8
        assert cache.count(keys) == 8
        with cache.match(keys, lease_ms=10_000) as match:
            assert (match.matched, match.start, match.found) == (8, 0, list(range(8)))
            assert match.lease is not None
            assert match.extend(20_000)
            got: list[bytes] = []
            way = match.read_runs(lambda _first, _count, payloads: got.append(bytes(payloads)))
            assert way == read
            assert b"".join(got) == b"".join(map(payload, range(8)))
            buffer = bytearray(8 * BLOCK_BYTES)
            assert match.read_into(buffer) == len(buffer)
            assert buffer == b"".join(got)
            assert match.read() == {index: payload(index) for index in range(8)}
        assert match.lease is None


def test_only_what_is_missing_is_written(cache: KVCache) -> None:
    keys = cache.keys(TOKENS)
    with cache.reserve(keys[:3]) as reservation:
        reservation.write_runs(fill)
    with cache.reserve(keys) as reservation:
        assert reservation.new == list(range(3, 10))
        for index in reservation.new:
            reservation.write(index, payload(index))
        with pytest.raises(KeyError):
            reservation.write(0, payload(0))
    assert reservation.published == 7
    assert cache.read_many(keys) == [payload(index) for index in range(10)]
    with cache.reserve(keys) as reservation:
        assert (reservation.session, reservation.new) == (None, [])
    assert reservation.published is None


def test_specs_are_written_and_read_one_by_one(cache: KVCache) -> None:
    keys = cache.keys(TOKENS)[:1]
    with cache.reserve(keys) as reservation:
        reservation.write(0, b"a" * SPECS["rank0"], spec="rank0")
        reservation.write(0, b"b" * SPECS["rank1"], spec="rank1")
    assert cache.read(keys[0], spec="rank1") == bytearray(b"b" * SPECS["rank1"])
    assert cache.read(keys[0]) == bytearray(b"a" * SPECS["rank0"] + b"b" * SPECS["rank1"])
    with cache.match(keys) as match:
        assert match.read()[0].startswith(b"a")


def test_a_part_may_be_written_in_place_and_another_over_the_socket(cache: KVCache) -> None:
    keys = cache.keys(TOKENS)
    with cache.reserve(keys) as reservation:
        reservation.write_runs(fill)
        reservation.write(4, b"z" * BLOCK_BYTES)
    found = cache.read_many(keys)
    assert found[4] == bytearray(b"z" * BLOCK_BYTES)
    assert found[5] == payload(5)


def test_a_reservation_that_fails_gives_its_room_back(cache: KVCache) -> None:
    keys = cache.keys(TOKENS)

    def write_a_part() -> None:
        with cache.reserve(keys) as reservation:
            reservation.write(0, payload(0))
            raise RuntimeError("the engine stopped")

    with pytest.raises(RuntimeError, match="the engine stopped"):
        write_a_part()
    assert cache.count(keys) == 0
    with cache.reserve(keys) as again:
        assert len(again.new) == 10
        again.write_runs(fill)


def test_the_first_blocks_alone_can_be_published(cache: KVCache) -> None:
    keys = cache.keys(TOKENS)
    with cache.reserve(keys) as reservation:
        reservation.write_runs(fill)
        assert reservation.publish(4) == 4
    assert cache.count(keys) == 4


def test_a_block_that_was_never_written_is_not_published(cache: KVCache) -> None:
    keys = cache.keys(TOKENS)
    reservation = cache.reserve(keys)
    reservation.write(0, payload(0))
    with pytest.raises(ChecksumError):
        reservation.publish()
    assert cache.count(keys) == 0
    assert reservation.publish(1) == 1


def test_small_chains_are_put_in_one_step(cache: KVCache) -> None:
    keys = cache.keys(TOKENS)
    blocks = {key: payload(index) for index, key in enumerate(keys)}
    assert cache.put(blocks) == 10
    assert cache.put(blocks) == 0
    assert cache.read(keys[9]) == payload(9)
    assert cache.remove(keys[8:]) == 2
    assert cache.read(keys[9]) is None
    assert cache.read_many(keys, exact=True)[7:] == [payload(7), None, None]


def test_what_became_of_blocks_is_explained(cache: KVCache) -> None:
    keys = cache.keys(TOKENS)
    cache.put({key: payload(index) for index, key in enumerate(keys[:2])})
    cache.remove(keys[1:2])
    reasons = [item["reason"] for item in cache.explain(keys[:3])]
    assert reasons == [b"serving", b"removed", b"never-stored"]


def test_lookups_of_all_kinds(cache: KVCache) -> None:
    keys = cache.keys(TOKENS)
    cache.put({key: payload(index) for index, key in enumerate(keys[:6])})
    with cache.match(keys, skip=2) as match:
        assert (match.matched, match.start, match.found) == (4, 2, [2, 3, 4, 5])
        assert match.read()[2] == payload(2)
    absent = Keys(8, b"nowhere!")
    with cache.match([keys[4], absent[0], keys[1]], exact=True) as match:
        assert (match.matched, match.found) == (2, [0, 2])
        assert match.read() == {0: payload(4), 2: payload(1)}
    with cache.match(keys, window=2) as match:
        assert (match.matched, match.start, match.found) == (2, 4, [4, 5])
        assert match.read() == {4: payload(4), 5: payload(5)}
    with cache.match(absent) as match:
        assert (match.matched, match.found, match.read()) == (0, [], {})
    with cache.match([]) as match:
        assert match.matched == 0


def test_another_client_learns_the_instance_from_the_server(
    hotplate_server: ServerProcess, cache: KVCache
) -> None:
    with KVCache.from_url(hotplate_server.url, "m") as other:
        assert other.info() == cache.info()
        assert other.keys(TOKENS) == cache.keys(TOKENS)


def test_errors_of_the_server_are_typed(hotplate_server: ServerProcess, cache: KVCache) -> None:
    with pytest.raises(DuplicateError):
        cache.register(block_tokens=8, specs=SPECS)
    with KVCache.from_url(hotplate_server.url, "unknown") as unknown:
        with pytest.raises(NoInstanceError):
            unknown.info()
        with pytest.raises(NoInstanceError):
            unknown.read(b"key")
    reservation = cache.reserve(cache.keys(TOKENS))
    reservation.session = b"no such session"
    with pytest.raises(NoSessionError):
        reservation.write(0, payload(0))


def test_a_quota_that_is_too_small_says_what_is_needed(hotplate_server: ServerProcess) -> None:
    with redis.Redis.from_url(hotplate_server.url) as client:
        client.execute_command("KVC.GROUP", "CREATE", "small", "QUOTA", BLOCK_BYTES * 2)
        cache = KVCache(client, "s")
        cache.register(block_tokens=4, specs=SPECS, group="small")
        with pytest.raises(QuotaError) as caught:
            cache.reserve(cache.keys(TOKENS))
        assert caught.value.retry_ms is None
        assert caught.value.figures["limit"] == BLOCK_BYTES * 2
        cache.close()
        assert client.ping()  # the client stays the caller's


def test_a_storage_that_must_not_be_mapped_is_reached_over_the_socket(
    hotplate_server: ServerProcess,
) -> None:
    with redis.Redis.from_url(hotplate_server.url) as client:
        client.execute_command("KVC.STORAGE", "UPDATE", "memory", "MAP", 0)
    with opened(hotplate_server) as cache:
        with cache.reserve(cache.keys(TOKENS)) as reservation:
            assert reservation.write_runs(fill) == "socket"
        with cache.match(cache.keys(TOKENS)) as match:
            assert match.read()[3] == payload(3)
    with (
        opened(hotplate_server, "mapped") as strict,
        strict.match(strict.keys(TOKENS)) as match,
        pytest.raises(TransportError, match="may not be mapped"),
    ):
        match.read()


@pytest.mark.parametrize(("transport", "storage", "written", "read"), WAYS)
def test_asyncio_clients_do_the_same(
    hotplate_server: ServerProcess,
    tmp_path: Path,
    transport: Transport,
    storage: str,
    written: str,
    read: str,
) -> None:
    if storage == "nfs":
        add_mount(hotplate_server, tmp_path / "mount", 3)

    async def run() -> None:
        url = hotplate_server.url
        async with AsyncKVCache.from_url(url, "m", transport=transport) as cache:
            await cache.register(block_tokens=4, specs=SPECS, hash_scheme="xxh3")
            keys = await cache.keys(TOKENS)
            async with await cache.reserve(keys, storage=storage) as reservation:
                assert await reservation.write_runs(fill) == written
            async with await cache.match(keys, lease_ms=1000) as match:
                got: list[bytes] = []
                way = await match.read_runs(lambda _f, _c, data: got.append(bytes(data)))
                assert way == read
                assert b"".join(got) == b"".join(map(payload, range(10)))
            payloads = await asyncio.gather(*(cache.read(key) for key in keys))
            assert payloads == [payload(index) for index in range(10)]

    asyncio.run(run())
