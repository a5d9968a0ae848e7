"""Storages whose file system refuses, fails, or does half of what it was asked."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hotplate.blocks import Shape, StoreFullError
from hotplate.tiers.memory import open_memory_store
from hotplate.tiers.ssd import open_ssd_store
from hotplate.tiers.store import SegmentStore

SEGMENT = 64 * 1024
SHAPE = Shape(payload_bytes=4000, key_bytes=16, sum_count=1)
KEY, SUM = b"k" * 16, b"s" * 8


@pytest.fixture(params=[open_memory_store, open_ssd_store], ids=["memory", "ssd"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SegmentStore]:
    opened: SegmentStore = request.param("blocks", str(tmp_path / "store"), 4 * SEGMENT, SEGMENT)
    yield opened
    opened.close(remove=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SegmentStore]:
    opened = open_ssd_store("ssd", str(tmp_path / "store"), 4 * SEGMENT, SEGMENT)
    yield opened
    opened.close(remove=True)


def failing_after(real: Callable[..., Any], successes: int, number: int) -> Callable[..., Any]:
    """The system call, failing from some call on."""
    calls = iter(range(1_000_000))

    def call(*args: Any) -> Any:
        if next(calls) >= successes:
            raise OSError(number, os.strerror(number))
        return real(*args)

    return call


def files(store: SegmentStore) -> list[Path]:
    """The segment files that are there."""
    return sorted(Path(store.describe()["path"]).glob("*.segment"))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("successes", [0, 1, 2])
def test_a_full_file_system_is_a_full_storage_and_leaves_no_file(
    store: SegmentStore, monkeypatch: pytest.MonkeyPatch, successes: int, number: int
) -> None:
    held = store.reserve(SHAPE, 3)
    before, files_before = store.describe(), files(store)
    monkeypatch.setattr(os, "posix_fallocate", failing_after(os.posix_fallocate, successes, number))
    with pytest.raises(StoreFullError) as refused:
        store.reserve(SHAPE, 50)
    assert refused.value.need == 50 * 4000
    monkeypatch.undo()
    assert store.describe() == before
    assert files(store) == files_before
    obtainable = refused.value.largest_free // 4000
    assert sum(extent.count for extent in store.reserve(SHAPE, obtainable)) == obtainable
    assert files(store) == files_before, "so many were free without a new file"
    assert store.generation(SHAPE, held[0].place) == held[0].generation


def test_a_first_segment_that_cannot_be_made_leaves_an_empty_storage(
    store: SegmentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", failing_after(os.posix_fallocate, 0, errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        store.reserve(SHAPE, 1)
    assert files(store) == []
    assert store.describe()["allocated_bytes"] == 0
    monkeypatch.undo()
    store.reserve(SHAPE, 1)


def test_a_file_that_cannot_be_made_ahead_leaves_none_behind(
    store: SegmentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.reserve(SHAPE, 10)
    files_before, allocated_before = files(store), store.describe()["allocated_bytes"]
    make = store.begin_ahead()
    assert make is not None
    monkeypatch.setattr(os, "posix_fallocate", failing_after(os.posix_fallocate, 0, errno.ENOSPC))
    with pytest.raises(OSError) as refused:
        make()
    store.finish_ahead(refused.value)
    assert files(store) == files_before
    assert store.describe()["allocated_bytes"] == allocated_before


@pytest.mark.parametrize("successes", range(6))
def test_a_disk_that_fails_while_slots_are_handed_over_gives_none_of_them(
    disk: SegmentStore, monkeypatch: pytest.MonkeyPatch, successes: int
) -> None:
    held = disk.reserve(SHAPE, 10)[0]
    before, files_before = disk.describe(), files(disk)
    # Two new segments have two headers, then each of three segments gets two columns written.
    monkeypatch.setattr(os, "pwrite", failing_after(os.pwrite, successes, errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        disk.reserve(SHAPE, 30)
    monkeypatch.undo()
    assert disk.describe() == before
    assert files(disk) == files_before
    assert disk.generation(SHAPE, held.place) == held.generation
    again = disk.reserve(SHAPE, 2)[0]
    assert again.place == held.place + 10
    assert disk.generation(SHAPE, again.place) == again.generation > held.generation


@pytest.mark.parametrize("successes", [0, 1])
def test_slots_whose_header_could_not_be_written_stay_free(
    disk: SegmentStore, monkeypatch: pytest.MonkeyPatch, successes: int
) -> None:
    held = disk.reserve(SHAPE, 3)[0]
    monkeypatch.setattr(os, "pwrite", failing_after(os.pwrite, successes, errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        disk.reserve(SHAPE, 2)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="free already"):
        disk.release(SHAPE, held.place + 3, 1)
    assert disk.reserve(SHAPE, 2)[0].place == held.place + 3


def test_slots_are_free_though_the_disk_failed_to_write_that_down(
    disk: SegmentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = disk.reserve(SHAPE, 3)[0]
    disk.publish(SHAPE, held.place, KEY * 3, SUM * 3)
    free_before = disk.describe()["free_bytes"]
    monkeypatch.setattr(os, "pwrite", failing_after(os.pwrite, 0, errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        disk.release(SHAPE, held.place + 1, 1)
    with pytest.raises(OSError, match="Input/output error"):
        disk.reserve(SHAPE, 1)  # nobody gets it while the old header may still stand in the file
    monkeypatch.undo()
    assert disk.describe()["free_bytes"] == free_before + 4096
    again = disk.reserve(SHAPE, 1)[0]
    assert again.place == held.place + 1
    assert again.generation > held.generation


@pytest.mark.parametrize("successes", [0, 1, 2])
def test_a_block_whose_publication_failed_does_not_serve(
    disk: SegmentStore, monkeypatch: pytest.MonkeyPatch, successes: int
) -> None:
    held = disk.reserve(SHAPE, 1)[0]
    monkeypatch.setattr(os, "pwrite", failing_after(os.pwrite, successes, errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        disk.publish(SHAPE, held.place, KEY, SUM)
    monkeypatch.undo()
    content = files(disk)[0].read_bytes()
    layout = disk._segments[held.place >> 32].layout
    assert not layout.is_serving(content, held.place & 0xFFFFFFFF, held.generation)
    disk.publish(SHAPE, held.place, KEY, SUM)
    content = files(disk)[0].read_bytes()
    assert layout.is_serving(content, held.place & 0xFFFFFFFF, held.generation)


def test_short_reads_and_writes_are_carried_on(
    disk: SegmentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = disk.reserve(SHAPE, 1)[0]
    real_pwrite, real_pread = os.pwrite, os.pread

    def short_pwrite(descriptor: int, data: Any, offset: int) -> int:
        return real_pwrite(descriptor, memoryview(data)[:701], offset)

    def short_pread(descriptor: int, size: int, offset: int) -> bytes:
        return real_pread(descriptor, min(size, 333), offset)

    monkeypatch.setattr(os, "pwrite", short_pwrite)
    monkeypatch.setattr(os, "pread", short_pread)
    payload = os.urandom(4000)
    disk.write(SHAPE, held.place, 0, payload)
    assert disk.read(SHAPE, held.place, 0, 4000) == payload
    assert disk.read(SHAPE, held.place, 1234, 700) == payload[1234:1934]
    disk.publish(SHAPE, held.place, KEY, SUM)
    monkeypatch.undo()
    assert disk.read(SHAPE, held.place, 0, 4000) == payload


def test_a_file_that_someone_cut_is_an_error_and_no_short_answer(disk: SegmentStore) -> None:
    held = disk.reserve(SHAPE, 1)[0]
    disk.write(SHAPE, held.place, 0, bytes(4000))
    os.truncate(files(disk)[0], disk.locate(SHAPE, held.place)[1] + 100)
    assert disk.read(SHAPE, held.place, 0, 100) == bytes(100)
    with pytest.raises(OSError, match="ends 3900 bytes early"):
        disk.read(SHAPE, held.place, 0, 4000)


def test_a_disk_that_takes_nothing_is_an_error_and_no_endless_loop(
    disk: SegmentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = disk.reserve(SHAPE, 1)[0]

    def no_pwrite(descriptor: int, data: Any, offset: int) -> int:
        return 0

    monkeypatch.setattr(os, "pwrite", no_pwrite)
    with pytest.raises(OSError, match="cannot write 4000 bytes"):
        disk.write(SHAPE, held.place, 0, bytes(4000))


def test_a_failed_sync_of_the_directory_is_tried_again(
    disk: SegmentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = disk.reserve(SHAPE, 1)[0].place
    monkeypatch.setattr(os, "fsync", failing_after(os.fsync, 0, errno.EIO))
    for _ in range(2):
        with pytest.raises(OSError, match="Input/output error"):
            disk.sync([place])
    monkeypatch.undo()
    disk.sync([place])


def test_a_failed_sync_of_a_file_is_heard(
    disk: SegmentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = disk.reserve(SHAPE, 1)[0].place
    monkeypatch.setattr(os, "fdatasync", failing_after(os.fdatasync, 0, errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        disk.sync([place])
