"""Block files on a mount, read and written by a client itself; what is not right is noticed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from xxhash import xxh3_64_digest

from hotplate.blocks import Shape
from hotplate.clients.errors import ChecksumError, StaleBlockError
from hotplate.clients.keys import Keys
from hotplate.clients.records import Run, StorageInfo
from hotplate.clients.segments import LocalSegments, UnreachableError
from hotplate.tiers.file import FileStore, open_file_store
from hotplate.wire.schema import Span

SIZES = [4096, 4096]
SIZE = sum(SIZES)
SHAPE = Shape(SIZE, 8, 2)
KEYS = Keys(8, b"key-0000key-0001")
PAYLOADS = b"a" * SIZE + b"b" * SIZE


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileStore]:
    opened = open_file_store("nfs", str(tmp_path / "nfs"), 1 << 20, 2)
    yield opened
    opened.close(remove=True)


def run_of(store: FileStore, sums: bytes = b"") -> Run:
    """Two blocks of one file, as the server answers them."""
    [extent] = store.reserve(SHAPE, 2)
    segment, offset, stride = store.locate(SHAPE, extent.place)
    where = ("nfs", "file", 3, 3, segment, offset, stride, extent.generation)
    return Run(0, 2, Span(0, 2, *where, sums, SIZE), offset)


def local(store: FileStore, *, verify: bool | None = None, allowed: bool = True) -> LocalSegments:
    """A client that has the mount where the server has it."""
    info = StorageInfo("nfs", "file", str(store.describe()["path"]), allowed)
    return LocalSegments({"nfs": info}, verify)


def write(segments: LocalSegments, run: Run) -> bytes:
    """The blocks' bytes; the sums of them."""

    def produce(_first: int, _count: int, payloads: memoryview) -> None:
        payloads[:] = PAYLOADS

    return segments.write(run, 8, SIZES, produce)


def read(segments: LocalSegments, run: Run) -> bytes:
    """The bytes of a run."""
    got: list[bytes] = []
    segments.read(run, KEYS, SIZES, lambda _first, _count, payloads: got.append(bytes(payloads)))
    return b"".join(got)


def sums_of(content: bytes) -> bytes:
    """Of every spec."""
    return b"".join(xxh3_64_digest(content[at : at + 4096]) for at in range(0, len(content), 4096))


def test_what_a_client_wrote_it_reads_and_so_does_the_server(store: FileStore) -> None:
    run = run_of(store, sums_of(PAYLOADS))
    assert write(local(store), run) == sums_of(PAYLOADS)
    assert read(local(store), run) == PAYLOADS
    place = int(run.span.segment[:16], 16)
    assert store.read(SHAPE, place + 1, 0, SIZE) == b"b" * SIZE


def test_bytes_are_checked_against_sums_that_are_known(store: FileStore) -> None:
    wrong = sums_of(PAYLOADS)[:24] + b"12345678"
    run = run_of(store, wrong)
    write(local(store), run)
    with pytest.raises(ChecksumError, match="block 1"):
        read(local(store), run)
    assert read(local(store, verify=False), run) == PAYLOADS
    unknown = Run(0, 2, replace(run.span, sums=bytes(32)), 0)
    assert read(local(store), unknown) == PAYLOADS


def test_a_file_that_is_gone_or_short_is_a_stale_block(store: FileStore) -> None:
    run = run_of(store)
    with pytest.raises(StaleBlockError, match="is gone"):
        read(local(store), run)
    write(local(store), run)
    path = Path(str(store.describe()["path"]), run.span.segment)
    path.write_bytes(PAYLOADS[:-1])
    with pytest.raises(StaleBlockError, match=f"ends at {2 * SIZE - 1}"):
        read(local(store), run)


def test_a_mount_that_is_not_here_is_unreachable(store: FileStore, tmp_path: Path) -> None:
    run = run_of(store)
    with pytest.raises(UnreachableError, match="may not be mapped"):
        write(local(store, allowed=False), run)
    elsewhere = LocalSegments({"nfs": StorageInfo("nfs", "file", str(tmp_path / "no"), True)}, None)
    with pytest.raises(UnreachableError, match="No such file"):
        write(elsewhere, run)
    with pytest.raises(UnreachableError, match="No such file"):
        read(elsewhere, run)
