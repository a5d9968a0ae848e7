"""Shared memory: another process reads blocks from its own mapping, by FORMAT.md alone."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from xxhash import xxh3_64_intdigest

from hotplate.blocks import Shape
from hotplate.tiers.memory import default_path, open_memory_store
from hotplate.tiers.store import SegmentStore

SHAPE = Shape(payload_bytes=5000, key_bytes=16, sum_count=1)
CAPACITY = 1 << 20

# Written from FORMAT.md, with nothing of the project: what a reader in any language would do.
READER = """
import mmap, struct, sys
from xxhash import xxh3_64_intdigest

path, offset, generation, size = sys.argv[1], *map(int, sys.argv[2:])
with open(path, "rb") as file:
    data = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
assert data[:8] == b"HOTPLATE"
assert struct.unpack_from("<II", data, 8) == (2, 4096)
assert struct.unpack_from("<Q", data, 4088)[0] == xxh3_64_intdigest(data[:4088])
(file_bytes, birth, payload_bytes, key_bytes, sum_count, stride, slot_count, generations, states,
 sums, keys, payload) = struct.unpack_from("<QQQIIQQQQQQQ", data, 16)
slot = (offset - payload) // stride

def is_there():
    return data[states + slot] == 2 and (
        struct.unpack_from("<Q", data, generations + 8 * slot)[0] == generation)

for line in sys.stdin:
    before = is_there()
    copy = data[offset : offset + size]
    after = is_there()
    found_sum = struct.unpack_from(">Q", data, sums + 8 * sum_count * slot)[0]
    key = data[keys + key_bytes * slot : keys + key_bytes * (slot + 1)]
    right = before and after and found_sum == xxh3_64_intdigest(copy)
    print(before, after, right, key.decode(), flush=True)
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SegmentStore]:
    opened = open_memory_store("memory", str(tmp_path / "store"), CAPACITY)
    yield opened
    opened.close(remove=True)


class Reader:
    """The other process."""

    def __init__(self, store: SegmentStore, place: int) -> None:
        name, offset, _ = store.locate(SHAPE, place)
        path = Path(store.describe()["path"], name)
        numbers = (offset, store.generation(SHAPE, place), SHAPE.payload_bytes)
        self.process = subprocess.Popen(
            [sys.executable, "-c", READER, str(path), *map(str, numbers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self) -> str:
        """What it reads now."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def stop(self) -> None:
        """Let it end by itself."""
        self.process.communicate(timeout=30)


def test_another_process_reads_a_block_and_sees_when_it_is_gone(store: SegmentStore) -> None:
    place = store.reserve(SHAPE, 3)[0].place + 1
    content = bytes(range(250)) * 20
    store.view(SHAPE, place)[:] = content
    reader = Reader(store, place)
    try:
        assert reader.ask() == f"False False False {16 * chr(0)}"  # reserved, not published
        store.publish(
            SHAPE, place, b"the block's key.", xxh3_64_intdigest(content).to_bytes(8, "big")
        )
        assert reader.ask() == "True True True the block's key."
        store.release(SHAPE, place, 1)
        assert reader.ask().startswith("False False False")
        again = store.reserve(SHAPE, 1)[0].place
        assert again == place
        store.publish(SHAPE, place, b"another block...", bytes(8))
        assert reader.ask() == "False False False another block..."
    finally:
        reader.stop()


def test_a_mapping_of_a_removed_segment_shows_its_slots_as_gone(store: SegmentStore) -> None:
    first = store.reserve(SHAPE, 1)[0]
    store.view(SHAPE, first.place)[:] = b"x" * 5000
    sums = xxh3_64_intdigest(b"x" * 5000).to_bytes(8, "big")
    store.publish(SHAPE, first.place, b"k" * 16, sums)
    rest = store.reserve(SHAPE, 24)  # more than fits beside it: a second segment
    name, _, _ = store.locate(SHAPE, first.place)
    path = Path(store.describe()["path"], name)
    file_bytes = path.stat().st_size
    with path.open("rb") as file:
        reader = Reader(store, first.place)
        try:
            assert reader.ask().startswith("True True True")
            for extent in rest:
                store.release(SHAPE, extent.place, extent.count)
            store.release(SHAPE, first.place, 1)
            assert not path.exists()
            assert reader.ask().startswith("False False False")
            empty = store.begin_emptying()
            assert empty is not None
            empty()
            assert store.begin_emptying() is None
            figures = os.fstat(file.fileno())
            assert figures.st_size == file_bytes, "no mapping is cut"
            assert figures.st_blocks * 512 <= 3 * 4096, "but its memory is given back"
        finally:
            reader.stop()


def test_a_view_is_the_slot_itself_and_nothing_around_it(store: SegmentStore) -> None:
    place = store.reserve(SHAPE, 3)[0].place
    for i in range(3):
        view = store.view(SHAPE, place + i)
        assert view.nbytes == SHAPE.payload_bytes
        assert not view.readonly
        view[:] = bytes([i + 1]) * SHAPE.payload_bytes
    for i in range(3):
        assert store.read(SHAPE, place + i, 0, 5000) == bytes([i + 1]) * 5000
    store.write(SHAPE, place, 10, b"seen")
    assert bytes(store.view(SHAPE, place)[9:15]) == b"\1seen\1"


def test_a_view_outlives_its_segment_and_its_store(tmp_path: Path) -> None:
    store = open_memory_store("memory", str(tmp_path / "store"), CAPACITY)
    place = store.reserve(SHAPE, 1)[0].place
    view = store.view(SHAPE, place)
    view[:4] = b"kept"
    store.release(SHAPE, place, 1)
    store.close(remove=True)
    assert bytes(view[:4]) == b"kept"


def test_a_file_made_ahead_is_all_zeros_and_writable(store: SegmentStore) -> None:
    store.reserve(SHAPE, 10)
    make = store.begin_ahead()
    assert make is not None
    store.finish_ahead(make())
    figures = store.describe()
    place = store.reserve(SHAPE, 10)[0].place
    assert store.describe()["allocated_bytes"] == figures["allocated_bytes"], "it was used"
    assert bytes(store.view(SHAPE, place)) == bytes(5000)
    store.view(SHAPE, place)[:] = b"x" * 5000
    assert store.read(SHAPE, place, 0, 5000) == b"x" * 5000


def test_slots_start_at_cache_lines(store: SegmentStore) -> None:
    place = store.reserve(SHAPE, 1)[0].place
    _, offset, stride = store.locate(SHAPE, place)
    assert stride == 5056
    assert offset % 64 == 0


def test_default_paths_are_one_directory_for_each_run_and_storage() -> None:
    assert default_path("6379", "memory") == "/dev/shm/hotplate-6379:memory"
    assert default_path("a", "../b/c") == "/dev/shm/hotplate-a:..%2Fb%2Fc"
    names = [("a:b", "c"), ("a", "b:c"), ("x" * 300, "a"), ("x" * 300, "b"), ("\udcff", "a")]
    paths = {default_path(*pair) for pair in names}
    assert len(paths) == len(names)
    assert all(path.count("/") == 3 and len(path) < 255 for path in paths)
