"""Large pieces past the page cache, wherever they begin and end."""

import ctypes
import errno
import mmap
import os
from pathlib import Path
from typing import Any

import pytest

from hotplate.blocks import Shape
from hotplate.tiers.direct import (
    ALIGNMENT,
    DIRECT_BYTES_MIN,
    Buffer,
    Buffers,
    DirectFile,
    open_direct,
)
from hotplate.tiers.ssd import open_ssd_store

SIZE = 300_000
SHAPE = Shape(SIZE, 8, 1)
KIB = 1024


class Counting:
    """The calls that DirectFile makes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self._real = os.preadv, os.pwritev
        monkeypatch.setattr(os, "preadv", self.preadv)
        monkeypatch.setattr(os, "pwritev", self.pwritev)

    def preadv(self, descriptor: int, buffers: list[memoryview], offset: int) -> int:
        """Aligned, or the kernel would refuse it."""
        assert offset % ALIGNMENT == len(buffers[0]) % ALIGNMENT == 0
        self.sizes.append(len(buffers[0]))
        return self._real[0](descriptor, buffers, offset)

    def pwritev(self, descriptor: int, buffers: list[memoryview], offset: int) -> int:
        """(the same)"""
        assert offset % ALIGNMENT == len(buffers[0]) % ALIGNMENT == 0
        self.sizes.append(len(buffers[0]))
        return self._real[1](descriptor, buffers, offset)


@pytest.fixture
def direct(tmp_path: Path) -> DirectFile:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 4096)  # a MiB
    opened = open_direct(str(path))
    if opened is None:
        pytest.skip("this file system has no direct IO")
    return opened


def test_a_stores_large_payloads_are_read_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_ssd_store("ssd", str(tmp_path / "ssd"), 16 << 20)
    counting = Counting(monkeypatch)
    extent = store.reserve(SHAPE, 3)[0]
    payloads = [os.urandom(SIZE) for _ in range(3)]
    for number, payload in enumerate(payloads):
        store.write(SHAPE, extent.place + number, 0, payload)
    for number, payload in enumerate(payloads):
        place = extent.place + number
        assert store.read(SHAPE, place, 0, SIZE) == payload
        assert store.read(SHAPE, place, 1234, SIZE - 5000) == payload[1234 : SIZE - 3766]
        assert store.read(SHAPE, place, 100, 50) == payload[100:150]
    store.write(SHAPE, extent.place + 1, 777, payloads[0][: SIZE - 777])  # not aligned
    assert (
        store.read(SHAPE, extent.place + 1, 0, SIZE)
        == payloads[1][:777] + payloads[0][: SIZE - 777]
    )
    for number in (0, 2):
        assert store.read(SHAPE, extent.place + number, 0, SIZE) == payloads[number]
    if counting.sizes:  # else the file system has no direct IO
        assert len(counting.sizes) == 3 + 3 * 2 + 1 + 2
    name, offset, _ = store.locate(SHAPE, extent.place + 2)
    content = Path(str(store.describe()["path"]), name).read_bytes()
    assert content[offset : offset + SIZE] == payloads[2]
    store.close(remove=True)


def test_without_direct_io_everything_goes_through_the_page_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting(monkeypatch)
    real_open = os.open

    def refusing(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real_open(path, flags, mode)

    monkeypatch.setattr(os, "open", refusing)
    for number, wanted in enumerate((True, False)):
        path = str(tmp_path / str(number))
        store = open_ssd_store("ssd", path, 16 << 20, direct=wanted)
        place = store.reserve(SHAPE, 1)[0].place
        store.write(SHAPE, place, 0, b"x" * SIZE)
        assert store.read(SHAPE, place, 0, SIZE) == b"x" * SIZE
        store.close(remove=True)
    assert counting.sizes == []


def test_another_error_of_opening_is_heard(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_direct(str(tmp_path / "missing"))


def test_small_or_crooked_pieces_are_not_its_business(direct: DirectFile) -> None:
    assert direct.takes(4096, DIRECT_BYTES_MIN)
    assert not direct.takes(4096, DIRECT_BYTES_MIN - 1)
    assert not direct.takes(4000, DIRECT_BYTES_MIN)
    assert direct.gives(DIRECT_BYTES_MIN)
    assert not direct.gives(DIRECT_BYTES_MIN - 1)


def test_what_is_longer_than_a_chunk_is_written_in_several(
    direct: DirectFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hotplate.tiers.direct._CHUNK_BYTES", 128 * KIB)
    counting = Counting(monkeypatch)
    payload = os.urandom(300 * KIB + 5)
    direct.write(8192, payload)
    assert counting.sizes == [128 * KIB, 128 * KIB, 48 * KIB]
    content = (tmp_path / "file").read_bytes()
    assert content[8192 : 8192 + len(payload)] == payload
    assert content[8192 + len(payload) : 8192 + 304 * KIB] == bytes(4 * KIB - 5)
    assert content[8192 + 304 * KIB :] == (bytes(range(256)) * 4096)[8192 + 304 * KIB :]
    assert bytes(direct.read(8195, 290 * KIB)) == payload[3 : 3 + 290 * KIB]


def test_short_calls_are_carried_on_and_the_end_of_a_file_is_an_error(
    direct: DirectFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_preadv, real_pwritev = os.preadv, os.pwritev

    def preadv(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        return real_preadv(descriptor, [buffers[0][:8192]], offset)

    def pwritev(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        return real_pwritev(descriptor, [buffers[0][:8192]], offset)

    monkeypatch.setattr(os, "preadv", preadv)
    monkeypatch.setattr(os, "pwritev", pwritev)
    payload = os.urandom(100 * KIB)
    direct.write(0, payload)
    assert bytes(direct.read(0, len(payload))) == payload
    os.truncate(tmp_path / "file", 50_000)
    with pytest.raises(OSError, match=f"ends {100 * KIB - 50_000} bytes early"):
        direct.read(0, 100 * KIB)
    os.truncate(tmp_path / "file", 49_152)
    with pytest.raises(OSError, match=f"ends {100 * KIB - 49_152} bytes early"):
        direct.read(0, 100 * KIB)


@pytest.mark.parametrize("huge_pages", [True, False])
def test_a_large_buffer_begins_and_ends_with_a_huge_page(
    monkeypatch: pytest.MonkeyPatch, huge_pages: bool
) -> None:
    if not huge_pages:  # as a kernel answers that was built without them
        monkeypatch.setattr(mmap, "MADV_HUGEPAGE", 1 << 20)
    buffer = Buffer(2048 * KIB + 1)
    memory = buffer.memory()
    assert ctypes.addressof(memory) % (2048 * KIB) == 0
    assert len(memory) == buffer.size == 4096 * KIB
    memory[buffer.size - 1] = b"x"
    assert buffer.memory()[buffer.size - 1] == b"x"


def test_a_buffer_is_used_again_once_nobody_looks_at_it() -> None:
    buffers = Buffers()
    first = buffers.lend(1024 * KIB)
    first[0] = 7
    part = first[:10]
    second = buffers.lend(1024 * KIB)
    assert second[0] == 0
    first.release()
    assert buffers.lend(1024 * KIB)[0] == 0
    second.release()
    assert part[0] == 7
    part.release()
    assert 7 in {buffers.lend(1024 * KIB)[0] for _ in range(3)}


@pytest.mark.parametrize("answer", [0, 100])
def test_a_disk_that_takes_nothing_or_a_part_of_a_sector_is_an_error(
    direct: DirectFile, monkeypatch: pytest.MonkeyPatch, answer: int
) -> None:
    def pwritev(*_: Any) -> int:
        return answer

    monkeypatch.setattr(os, "pwritev", pwritev)
    with pytest.raises(OSError, match="cannot write 65536 bytes at 4096"):
        direct.write(4096, bytes(65536))
