"""TIERING over real storages: commands in, bytes out, with the moves' file IO in between."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.testing.kvc_context import Client, KvcServer
from xxhash import xxh3_64_digest

from hotplate.engine.kvc_moves import MOVES_AT_ONCE

SIZE = 4096
KEYS = [b"block-%02d" % number for number in range(16)]


def payload(key: bytes) -> bytes:
    return xxh3_64_digest(key) * (SIZE // 8)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[KvcServer]:
    server = KvcServer(tmp_path)
    yield server
    server.close()


def build(server: KvcServer, tiering: str, specs: str = f"SPEC kv {SIZE}") -> Client:
    """A group whose memory holds ten blocks, and a client."""
    client = server.client(resp=3)
    client.line(
        f"KVC.GROUP CREATE tiers TIERING {tiering} GRACE 0 WATERMARKS 0.8 0.5"
        f" TYPEQUOTA memory {10 * SIZE}"
    )
    client.line(f"KVC.INSTANCE REGISTER one GROUP tiers BLOCKTOKENS 16 {specs}")
    return client


def put(client: Client, keys: list[bytes]) -> None:
    pairs = [word for key in keys for word in (key, payload(key))]
    client("KVC.PUT", "one", len(keys), *pairs)


def types(client: Client, keys: list[bytes]) -> list[bytes]:
    """The storage type of each answered location."""
    _, _, entries, _ = client("KVC.GETLOC", "one", "NOTOUCH", "KEYS", len(keys), *keys)
    return [entry[1] for entry in entries]


@pytest.mark.parametrize("tiering", ["exclusive", "inclusive"])
def test_blocks_go_to_disk_come_back_and_keep_their_bytes(server: KvcServer, tiering: str) -> None:
    client = build(server, tiering)
    put(client, KEYS[:8])
    server.tick()
    assert types(client, KEYS[:8]) == [b"memory"] * 5 + [b"ssd"] * 3
    assert [client("KVC.READ", "one", key) for key in KEYS[:8]] == list(map(payload, KEYS[:8]))
    for _ in range(2):
        server.clock.advance(1)
        client("KVC.GETLOC", "one", "COUNT", "KEYS", 7, *KEYS[:7])
    server.tick()
    assert types(client, KEYS[:8]) == [b"memory"] * 7 + [b"ssd"]
    assert client("KVC.MREAD", "one", "KEYS", 8, *KEYS[:8]) == list(map(payload, KEYS[:8]))
    stats: Any = client.line("KVC.STATS INSTANCE one")
    assert (stats[b"promoted"], stats[b"evictions"], stats[b"moves_failed"]) == (2, 0, 0)
    assert stats[b"requested"] == stats[b"hits"] + stats[b"misses"]
    assert client.line("KVC.TRIM one ALL") == 8
    server.tick()
    assert server.cache.stats()["used_bytes"] == 0


def test_a_block_is_read_and_removed_while_it_is_copied(server: KvcServer) -> None:
    client = build(server, "exclusive")
    put(client, KEYS[:8])
    server.cache.tick(server.clock.now_ms())
    server.mover.run(server.clock.now_ms())
    assert server.file_io.jobs
    held = server.file_io.jobs.copy()
    server.file_io.jobs.clear()
    assert [client("KVC.READ", "one", key) for key in KEYS[:8]] == list(map(payload, KEYS[:8]))
    client("KVC.REMOVE", "one", "KEYS", 1, KEYS[7])
    server.file_io.jobs.extend(held)
    server.tick()
    assert client("KVC.GETLOC", "one", "COUNT", "KEYS", 8, *KEYS[:8]) == 7
    assert [client("KVC.READ", "one", key) for key in KEYS[:7]] == list(map(payload, KEYS[:7]))


def test_several_specs_are_checked_one_by_one(server: KvcServer) -> None:
    client = build(server, "exclusive", f"SPEC k {SIZE // 4} SPEC v {3 * SIZE // 4}")
    put(client, KEYS[:8])
    server.tick()
    assert types(client, KEYS[:8])[7] == b"ssd"
    whole = client("KVC.READ", "one", KEYS[7], "SPEC", "k")
    whole += client("KVC.READ", "one", KEYS[7], "SPEC", "v")
    assert whole == payload(KEYS[7])


def test_so_many_moves_are_under_way_at_once(server: KvcServer) -> None:
    client = build(server, "exclusive")
    for key in KEYS[:8]:  # eight roots: nothing to copy together
        put(client, [key])
    server.cache.tick(server.clock.now_ms())
    server.mover.run(server.clock.now_ms())
    assert len(server.file_io.jobs) == MOVES_AT_ONCE
    server.tick()
    assert server.mover.under_way == 0


def test_where_file_io_is_full_of_other_work_moves_wait(server: KvcServer) -> None:
    client = build(server, "exclusive")
    put(client, KEYS[:8])
    server.file_io.refuses = True
    server.cache.tick(server.clock.now_ms())
    server.mover.run(server.clock.now_ms())
    assert types(client, KEYS[:8]) == [b"memory"] * 8
    assert server.cache.stats()["used_bytes"] == 8 * SIZE
    server.file_io.refuses = False
    server.clock.advance(1_000)
    server.tick()
    assert types(client, KEYS[:8])[7] == b"ssd"


def test_a_mover_that_is_closed_touches_no_storage(server: KvcServer) -> None:
    client = build(server, "exclusive")
    put(client, KEYS[:8])
    server.cache.tick(server.clock.now_ms())
    server.mover.run(server.clock.now_ms())
    server.mover.close()
    server.file_io.run_all()
    assert server.cache.stats()["demoted"] == 0


def test_a_disk_that_fails_leaves_the_blocks_in_memory(
    server: KvcServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = build(server, "exclusive")
    put(client, KEYS[:8])
    disk = server.catalog.get_storage("ssd").opened()

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(type(disk), "write", fail)
        server.tick()
    assert types(client, KEYS[:8]) == [b"memory"] * 8
    assert server.cache.stats()["moves_failed"] >= 1
    assert [client("KVC.READ", "one", key) for key in KEYS[:8]] == list(map(payload, KEYS[:8]))
    server.clock.advance(1_000)
    server.tick()
    assert types(client, KEYS[:8])[5:] == [b"ssd"] * 3
