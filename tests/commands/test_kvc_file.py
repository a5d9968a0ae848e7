"""Storages of TYPE file by way of commands: an engine writes and reads the files itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.testing.kvc_context import Client, KvcServer
from xxhash import xxh3_64_digest

from hotplate.errors import CommandError
from hotplate.tiers.file import FileStore
from hotplate.wire.schema import decode_locations
from hotplate.wire.uri import parse_uri

KEYS = [b"key-%02d" % number for number in range(7)]
PAYLOADS = [b"%05d" % number * 1000 for number in range(7)]
SIZE = len(PAYLOADS[0])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[KvcServer]:
    made = KvcServer(tmp_path)
    client = made.client()
    client.line(f"KVC.STORAGE ADD nfs TYPE file PATH {tmp_path}/nfs KEYSPERFILE 3")
    client.line("KVC.GROUP UPDATE default VERSION 1 GRACE 0 STORAGES 1 nfs")
    client.line(f"KVC.INSTANCE REGISTER one GROUP default BLOCKTOKENS 2 SPEC kv {SIZE}")
    yield made
    made.close()


@pytest.fixture
def client(server: KvcServer) -> Client:
    return server.client()


def uris(entries: list[Any]) -> list[str]:
    """One URI for each block."""
    return [parts[0][1].decode() for _, _, parts in entries]


def write_files(path: Path, entries: list[Any], payloads: list[bytes]) -> None:
    """What an engine does that has the mount."""
    for uri, payload in zip(map(parse_uri, uris(entries)), payloads, strict=True):
        assert (uri.scheme, uri.storage, uri.size) == ("file", "nfs", SIZE)
        file_path = path / uri.segment
        file_path.touch()
        with file_path.open("r+b") as file:
            file.seek(uri.offset)
            file.write(payload)


def store(client: Client, path: Path, *checksums: bytes) -> list[Any]:
    """Reserve, write the files, publish."""
    session, mask, entries = client("KVC.STARTWRITE", "one", "KEYS", len(KEYS), *KEYS)
    assert (mask, [entry[:2] for entry in entries]) == (b"0" * 7, [[b"nfs", b"file"]] * 7)
    write_files(path, entries, PAYLOADS)
    options = ("CHECKSUMS", b"".join(checksums)) if checksums else ()
    assert client("KVC.FINISH", "one", session, *options) == [7, 0]
    found = client("KVC.GETLOC", "one", "KEYS", len(KEYS), *KEYS)[2]
    assert uris(found) == uris(entries)
    return list(found)


def test_an_engine_writes_files_and_gives_no_sums(client: Client, tmp_path: Path) -> None:
    found = store(client, tmp_path / "nfs")
    assert [parts[0][3] for _, _, parts in found] == [None] * 7
    assert len({parse_uri(uri).segment for uri in uris(found)}) == 3
    assert [parse_uri(uri).offset for uri in uris(found)] == [0, 8192, 16384] * 2 + [0]
    assert client("KVC.MREAD", "one", "KEYS", len(KEYS), *KEYS) == PAYLOADS


def test_sums_that_were_given_are_shown_and_checked(client: Client, tmp_path: Path) -> None:
    sums = [xxh3_64_digest(payload) for payload in PAYLOADS]
    sums[6] = b"\0" * 8  # one is not known
    sums[2] = b"wrong..."
    found = store(client, tmp_path / "nfs", *sums)
    shown = [parts[0][3] for _, _, parts in found]
    assert shown == [*(each.hex().encode() for each in sums[:6]), None]
    assert client("KVC.READ", "one", KEYS[6]) == PAYLOADS[6]
    with pytest.raises(CommandError, match=r"^CHECKSUM"):
        client("KVC.READ", "one", KEYS[2])


def test_packed_locations_are_cut_where_a_file_ends(client: Client, tmp_path: Path) -> None:
    found = store(client, tmp_path / "nfs")
    blob = client("KVC.GETLOC", "one", "FORMAT", "msgpack", "KEYS", len(KEYS), *KEYS)[2]
    decoded = decode_locations(blob)
    assert [(span.first, span.count, span.offset) for span in decoded.spans] == [
        (0, 3, 0),
        (3, 3, 0),
        (6, 1, 0),
    ]
    entries = decoded.entries()
    assert [entries[index][0].uri for index in range(7)] == uris(found)


def test_a_file_that_vanished_is_one_lost_block_and_no_failing_storage(
    client: Client, tmp_path: Path
) -> None:
    found = store(client, tmp_path / "nfs")
    (tmp_path / "nfs" / parse_uri(uris(found)[6]).segment).unlink()
    with pytest.raises(CommandError, match=r"^CHECKSUM .*the copy is dropped"):
        client("KVC.READ", "one", KEYS[6])
    assert client("KVC.READ", "one", KEYS[6]) is None
    assert client("KVC.READ", "one", KEYS[5]) == PAYLOADS[5]


def test_files_go_when_nobody_uses_them_and_capacity_is_kept_to(
    server: KvcServer, client: Client, tmp_path: Path
) -> None:
    store(client, tmp_path / "nfs")
    inner = server.catalog.get_storage("nfs").opened()
    assert isinstance(inner, FileStore)
    lease = client("KVC.GETLOC", "one", "LEASE", 5000, "KEYS", 1, KEYS[0])[3]
    assert client("KVC.REMOVE", "one", "KEYS", 7, *KEYS) == 7
    remove_files(inner)
    assert len(list((tmp_path / "nfs").glob("*.block"))) == 1, "of the leased block"
    assert client("KVC.READ", "one", KEYS[0], "LEASE", lease) == PAYLOADS[0]
    client("KVC.LEASE", "one", lease, "RELEASE")
    server.cache.tick(server.clock.now_ms())
    remove_files(inner)
    assert list((tmp_path / "nfs").glob("*.block")) == []
    info = client("KVC.STORAGE", "INFO", "nfs")
    shown = dict(zip(info[::2], info[1::2], strict=True))
    assert (shown[b"type"], shown[b"keys_per_file"], shown[b"allocated_bytes"]) == (b"file", 3, 0)


def remove_files(inner: FileStore) -> None:
    """As the server's tick does."""
    while (job := inner.begin_removal()) is not None:
        assert inner.finish_removal(job()) is None
