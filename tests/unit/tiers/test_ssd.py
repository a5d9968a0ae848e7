"""On disk: nothing is mapped, everything written is in the file."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hotplate.blocks import Shape
from hotplate.tiers.ssd import open_ssd_store
from hotplate.tiers.store import SegmentStore
from hotplate.wire.segment import parse_layout

SHAPE = Shape(payload_bytes=5000, key_bytes=16, sum_count=2)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SegmentStore]:
    opened = open_ssd_store("ssd", str(tmp_path / "store"), 1 << 20)
    yield opened
    opened.close(remove=True)


def test_slots_start_at_pages(store: SegmentStore) -> None:
    place = store.reserve(SHAPE, 1)[0].place
    _, offset, stride = store.locate(SHAPE, place)
    assert stride == 8192
    assert offset % 4096 == 0


def test_there_are_no_views(store: SegmentStore) -> None:
    place = store.reserve(SHAPE, 1)[0].place
    with pytest.raises(TypeError, match="no views"):
        store.view(SHAPE, place)


def test_no_segment_is_mapped(store: SegmentStore) -> None:
    store.reserve(SHAPE, 1)
    assert ".segment" not in Path("/proc/self/maps").read_text()


def test_sync_reaches_each_segment_once_and_a_new_files_directory(
    store: SegmentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real_fdatasync, real_fsync = os.fdatasync, os.fsync

    def fdatasync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real_fdatasync(descriptor)

    def fsync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    monkeypatch.setattr(os, "fsync", fsync)
    extents = store.reserve(SHAPE, 30)
    places = [extent.place + i for extent in extents for i in range(extent.count)]
    directory = store.describe()["path"]
    files = {os.path.join(directory, store.locate(SHAPE, place)[0]) for place in places}
    assert len(files) == 2
    store.sync(places)
    assert sorted(synced[:-1]) == sorted(files)
    assert synced[-1] == directory
    synced.clear()
    store.sync(places[:1])
    assert len(synced) == 1, "the directory has no new name"


def test_payload_and_columns_are_in_the_file_at_once(store: SegmentStore) -> None:
    place = store.reserve(SHAPE, 2)[0].place
    payload = os.urandom(5000)
    store.write(SHAPE, place + 1, 0, payload)
    store.publish(SHAPE, place + 1, b"k" * 16, b"s" * 16)
    name, offset, _ = store.locate(SHAPE, place + 1)
    content = Path(store.describe()["path"], name).read_bytes()
    assert content[offset : offset + 5000] == payload
    layout = parse_layout(content)
    assert layout.is_serving(content, 1, store.generation(SHAPE, place + 1))
    assert layout.key(content, 1) == b"k" * 16


def test_the_descriptor_stays_open_for_a_reader_that_is_late(store: SegmentStore) -> None:
    extents = store.reserve(SHAPE, 30)
    place = extents[0].place
    store.write(SHAPE, place, 0, b"late")
    segment = store._segments[place >> 32]
    backing = segment.backing
    offset = store.locate(SHAPE, place)[1]
    for extent in reversed(extents):
        store.release(SHAPE, extent.place, extent.count)
    assert place >> 32 not in store._segments, "dropped, as there was a spare already"
    assert backing.read(offset, 4) == b"late"
    descriptor = segment.file.descriptor
    del segment, backing
    empty = store.begin_emptying()
    assert empty is not None
    os.fstat(descriptor)
    empty()  # on a thread: the space of a file comes back when it is closed
    with pytest.raises(OSError):
        os.fstat(descriptor)
