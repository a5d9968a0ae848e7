"""Blocks, sessions and the catalog outlive the server: killed at any moment, and stopped."""

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hiredis
import pytest
from tests.testing.server import StartHotplate
from tests.testing.wire_client import WireClient
from xxhash import xxh3_64_digest

from hotplate.bench.process import ServerProcess

pytestmark = pytest.mark.e2e

SIZE = 700
KILLS = 12


def payload(key: bytes, version: int) -> bytes:
    return (b"%b:%d;" % (key, version) * SIZE)[:SIZE]


def parsed(frame: bytes) -> Any:
    reader = hiredis.Reader()
    reader.feed(frame)
    return reader.gets()


class Client:
    """Words in, values out."""

    def __init__(self, server: ServerProcess) -> None:
        self.wire = WireClient(server.port)

    def __call__(self, *words: bytes | str | int) -> Any:
        return parsed(self.wire.ask(*words))


Connect = Callable[[ServerProcess], Client]


@pytest.fixture
def connect() -> Iterator[Connect]:
    clients: list[Client] = []

    def new(server: ServerProcess) -> Client:
        clients.append(Client(server))
        return clients[-1]

    yield new
    for client in clients:
        client.wire.close()


def register(client: Client, name: str, group: str = "default") -> None:
    client("KVC.INSTANCE", "REGISTER", name, "GROUP", group, "BLOCKTOKENS", 16, "SPEC", "kv", SIZE)


def start_write(client: Client, instance: str, keys: list[bytes], storage: str) -> bytes:
    reply = client("KVC.STARTWRITE", instance, "STORAGE", storage, "KEYS", len(keys), *keys)
    session: bytes = reply[0]
    return session


def write_all(client: Client, instance: str, session: bytes, keys: list[bytes]) -> None:
    for number, key in enumerate(keys):
        client("KVC.WRITE", instance, session, number, payload(key, 1))


@pytest.mark.parametrize("storage", ["memory", "ssd"])
def test_what_was_finished_is_there_after_a_kill(
    start_server: StartHotplate, connect: Connect, tmp_path: Path, storage: str
) -> None:
    server = start_server(directory=tmp_path)
    client = connect(server)
    client("KVC.GROUP", "CREATE", "tenant", "STORAGES", 2, "memory", "ssd", "TTL", 5000)
    register(client, "one", "tenant")
    keys = [b"chain%03d" % number for number in range(40)]
    session = start_write(client, "one", keys, storage)
    write_all(client, "one", session, keys)
    assert client("KVC.FINISH", "one", session, "PREFIX", 30) == [30, 10]
    client("KVC.REMOVE", "one", "KEYS", 2, keys[28], keys[29])
    open_keys = [*keys[:28], b"open0001", b"open0002"]
    opened = start_write(client, "one", open_keys, storage)
    write_all(client, "one", opened, open_keys[28:])
    before = client("KVC.META", "one", "KEYS", 28, *keys[:28])
    server.kill()

    server = start_server(directory=tmp_path)
    client = connect(server)
    assert client("KVC.GETLOC", "one", "COUNT", "KEYS", 40, *keys) in (28, [28, 0], [0, 28])
    for key in keys[:28]:
        assert client("KVC.READ", "one", key) == payload(key, 1)
    assert client("KVC.READ", "one", keys[28]) is None
    after = client("KVC.META", "one", "KEYS", 28, *keys[:28])
    assert [strip(row) for row in after] == [strip(row) for row in before]
    # the same FINISH answers the same, and the open session goes on
    assert client("KVC.FINISH", "one", session, "PREFIX", 30) == [30, 10]
    sums = b"".join(sum_of(payload(key, 1)) for key in open_keys[28:])
    assert client("KVC.FINISH", "one", opened, "ALL", "CHECKSUMS", sums) == [2, 0]
    assert client("KVC.READ", "one", b"open0002") == payload(b"open0002", 1)
    assert client("KVC.GROUP", "GET", "tenant")
    server.stop()


def strip(row: Any) -> Any:
    """A row of META without times of access and hits."""
    about = dict(zip(row[::2], row[1::2], strict=True)) if isinstance(row, list) else row
    return {name: value for name, value in about.items() if name not in (b"accessed", b"hits")}


def sum_of(data: bytes) -> bytes:
    return xxh3_64_digest(data)


def test_kills_at_random_lose_nothing_that_was_answered(
    start_server: StartHotplate, connect: Connect, tmp_path: Path
) -> None:
    rng = random.Random(11)
    stored: dict[tuple[str, bytes], int] = {}
    server = start_server(directory=tmp_path)
    client = connect(server)
    for name in ("a", "b"):
        register(client, name)
    for round_ in range(KILLS):
        for _ in range(rng.randint(1, 25)):
            name = rng.choice("ab")
            key = b"%c%07d" % (name.encode(), rng.randrange(60))
            if rng.random() < 0.25:
                client("KVC.REMOVE", name, "KEYS", 1, key)
                stored.pop((name, key), None)
            elif (name, key) not in stored:
                data = payload(key, round_)
                assert client("KVC.PUT", name, 1, key, data) == 1
                stored[name, key] = round_
        # one more that may or may not get through
        client.wire.send(b"*5\r\n$7\r\nKVC.PUT\r\n$1\r\na\r\n$1\r\n1\r\n$8\r\nz%07d\r\n" % round_)
        server.kill()
        server = start_server(directory=tmp_path)
        client = connect(server)
        for (name, key), version in stored.items():
            assert client("KVC.READ", name, key) == payload(key, version), (round_, key)
        for name in "ab":
            keys = [b"%c%07d" % (name.encode(), number) for number in range(60)]
            gone = [key for key in keys if (name, key) not in stored]
            assert all(client("KVC.READ", name, key) is None for key in gone)
    assert server.stop() == 0
    assert len(list((tmp_path / "kvc-journal").iterdir())) == 1  # all is said once more


def test_a_clean_stop_keeps_the_disk_and_the_memory_where_told(
    start_server: StartHotplate, connect: Connect, tmp_path: Path
) -> None:
    server = start_server("--kvc-memory-on-stop", "keep", directory=tmp_path)
    client = connect(server)
    register(client, "one")
    for storage, key in (("memory", b"in-mem00"), ("ssd", b"in-ssd00")):
        session = start_write(client, "one", [key], storage)
        write_all(client, "one", session, [key])
        assert client("KVC.FINISH", "one", session) == [1, 0]
    assert server.stop() == 0
    server = start_server(directory=tmp_path)
    client = connect(server)
    for key in (b"in-mem00", b"in-ssd00"):
        assert client("KVC.READ", "one", key) == payload(key, 1)
    assert server.stop() == 0
    server = start_server(directory=tmp_path)
    client = connect(server)
    assert client("KVC.READ", "one", b"in-mem00") is None
    assert client("KVC.READ", "one", b"in-ssd00") == payload(b"in-ssd00", 1)
    assert "1 blocks whose bytes are gone were dropped" in server.log()


def test_blocks_without_their_bytes_are_not_answered(
    start_server: StartHotplate, connect: Connect, tmp_path: Path
) -> None:
    server = start_server(directory=tmp_path)
    client = connect(server)
    register(client, "one")
    session = start_write(client, "one", [b"on-disk0"], "ssd")
    write_all(client, "one", session, [b"on-disk0"])
    client("KVC.FINISH", "one", session)
    server.kill()
    shutil.rmtree(tmp_path / "kvc-ssd")
    client = connect(start_server(directory=tmp_path))
    assert client("KVC.READ", "one", b"on-disk0") is None
    assert client("KVC.PUT", "one", 1, b"on-disk0", payload(b"on-disk0", 2)) == 1
    assert client("KVC.READ", "one", b"on-disk0") == payload(b"on-disk0", 2)


def test_a_damaged_journal_refuses_to_start(
    start_server: StartHotplate, connect: Connect, tmp_path: Path
) -> None:
    server = start_server(directory=tmp_path)
    client = connect(server)
    register(client, "one")
    for number in range(20):
        client("KVC.PUT", "one", 1, b"k%07d" % number, payload(b"k", 1))
    server.kill()
    path = tmp_path / "kvc-journal" / "0000000000000001.journal"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(Exception, match="at byte"):
        start_server(directory=tmp_path)


def test_without_a_journal_every_start_is_an_empty_cache(
    start_server: StartHotplate, connect: Connect, tmp_path: Path
) -> None:
    server = start_server(directory=tmp_path)
    client = connect(server)
    register(client, "i")
    client("KVC.PUT", "i", b"k" * 16, payload(b"k" * 16, 1))
    server.kill()
    again = start_server("--kvc-journal", "no", directory=tmp_path)
    client = connect(again)
    assert client("KVC.INSTANCE", "LIST") == []
    assert not list((tmp_path / "kvc-journal").iterdir())
    register(client, "i")
    client("KVC.PUT", "i", b"k" * 16, payload(b"k" * 16, 1))
    again.stop()
    assert not list((tmp_path / "kvc-journal").iterdir())
