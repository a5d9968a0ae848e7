"""A client reads and writes block bytes in the storages' own files, and notices what goes stale."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from xxhash import xxh3_64_digest

from hotplate.blocks import Shape
from hotplate.clients.errors import ChecksumError, StaleBlockError
from hotplate.clients.keys import Keys
from hotplate.clients.records import Run, StorageInfo
from hotplate.clients.segments import LocalSegments, UnreachableError
from hotplate.tiers.memory import open_memory_store
from hotplate.tiers.ssd import open_ssd_store
from hotplate.tiers.store import SegmentStore
from hotplate.wire.schema import Span

KEYS = Keys(8, b"key-0000key-0001key-0002")
SIZES = [4096, 4096]  # two specs of a block
SIZE = sum(SIZES)
SHAPE = Shape(SIZE, 8, 2)


class Storage:
    """A real store with reserved slots, and what the server would answer about them."""

    def __init__(self, kind: str, directory: Path) -> None:
        opener = open_memory_store if kind == "memory" else open_ssd_store
        self.kind = kind
        self.store: SegmentStore = opener(kind, str(directory), 1 << 20, 1 << 18)
        [self.extent] = self.store.reserve(SHAPE, len(KEYS))
        self.payloads = [bytes([65 + number]) * SIZE for number in range(len(KEYS))]
        self.sums = b"".join(
            xxh3_64_digest(payload[start : start + 4096])
            for payload in self.payloads
            for start in (0, 4096)
        )

    def publish(self) -> None:
        for number, payload in enumerate(self.payloads):
            self.store.write(SHAPE, self.extent.place + number, 0, payload)
        self.store.publish(SHAPE, self.extent.place, KEYS.packed, self.sums)

    def free(self) -> None:
        self.store.release(SHAPE, self.extent.place, len(KEYS))

    def run(self, first: int = 0, count: int = len(KEYS)) -> Run:
        segment, offset, stride = self.store.locate(SHAPE, self.extent.place)
        where = (self.kind, self.kind, 3, 3, segment, offset, stride, self.extent.generation)
        span = Span(0, len(KEYS), *where, self.sums, SIZE)
        return Run(first, count, span, offset + first * stride)

    def local(
        self, *, map_allowed: bool = True, path: str | None = None, verify: bool | None = None
    ) -> LocalSegments:
        directory = path or str(self.store.describe()["path"])
        info = StorageInfo(self.kind, self.kind, directory, map_allowed)
        return LocalSegments({self.kind: info}, verify)


@pytest.fixture(params=["memory", "ssd"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    made = Storage(request.param, tmp_path / "store")
    yield made
    made.store.close(remove=True)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Storage]:
    made = Storage("memory", tmp_path / "store")
    yield made
    made.store.close(remove=True)


def read(local: LocalSegments, run: Run, keys: Keys = KEYS) -> list[tuple[int, int, bytes]]:
    got: list[tuple[int, int, bytes]] = []
    local.read(run, keys, SIZES, lambda first, count, data: got.append((first, count, bytes(data))))
    return got


def test_published_blocks_are_read_in_one_piece(storage: Storage) -> None:
    storage.publish()
    assert read(storage.local(), storage.run()) == [(0, 3, b"".join(storage.payloads))]


def test_a_part_of_a_run_is_read(storage: Storage) -> None:
    storage.publish()
    expected = [(1, 2, b"".join(storage.payloads[1:]))]
    assert read(storage.local(verify=True), storage.run(1, 2)) == expected


def test_blocks_that_are_not_published_are_not_handed_over(storage: Storage) -> None:
    got: list[int] = []
    with pytest.raises(StaleBlockError):
        storage.local().read(storage.run(), KEYS, SIZES, lambda first, _c, _d: got.append(first))
    assert got == []


def test_blocks_of_a_later_owner_are_not_handed_over(storage: Storage) -> None:
    storage.publish()
    old = storage.run()
    storage.free()
    [storage.extent] = storage.store.reserve(SHAPE, len(KEYS))
    storage.publish()
    with pytest.raises(StaleBlockError):
        read(storage.local(), old)
    assert read(storage.local(), storage.run()) == [(0, 3, b"".join(storage.payloads))]


def test_blocks_under_other_keys_are_not_handed_over(storage: Storage) -> None:
    storage.publish()
    with pytest.raises(StaleBlockError):
        read(storage.local(), storage.run(), Keys(8, b"key-0000key-0001key-9999"))


def test_blocks_that_are_freed_while_they_are_read_are_stale(storage: Storage) -> None:
    storage.publish()
    with pytest.raises(StaleBlockError):
        storage.local().read(storage.run(), KEYS, SIZES, lambda _f, _c, _d: storage.free())


def test_a_flipped_bit_is_found_by_the_sums(storage: Storage) -> None:
    storage.publish()
    run = storage.run()
    path = Path(str(storage.store.describe()["path"]), run.span.segment)
    with path.open("r+b") as file:
        file.seek(run.offset + SIZE + 17)
        file.write(b"\0")
    with pytest.raises(ChecksumError, match="block 1"):
        read(storage.local(verify=True), run)


def test_bytes_from_a_disk_are_summed_unless_told_otherwise(tmp_path: Path) -> None:
    storage = Storage("ssd", tmp_path / "store")
    storage.publish()
    run = storage.run()
    storage.store.write(SHAPE, storage.extent.place, 0, b"damaged")
    with pytest.raises(ChecksumError):
        read(storage.local(), run)
    assert read(storage.local(verify=False), run)[0][2].startswith(b"damaged")
    storage.store.close(remove=True)


@pytest.mark.parametrize("reason", ["not allowed", "another host", "a foreign file"])
def test_what_cannot_be_reached_is_said_before_anything_is_handed_over(
    storage: Storage, tmp_path: Path, reason: str
) -> None:
    storage.publish()
    run = storage.run()
    local = storage.local(map_allowed=reason != "not allowed")
    if reason == "another host":
        local = storage.local(path=str(tmp_path / "elsewhere"))
    if reason == "a foreign file":
        (tmp_path / run.span.segment).write_bytes(bytes(8192))
        local = storage.local(path=str(tmp_path))
    with pytest.raises(UnreachableError):
        read(local, run)


def test_a_segment_name_never_leads_out_of_the_storage(storage: Storage) -> None:
    run = storage.run()
    run.span.segment = "../secret"
    with pytest.raises(UnreachableError, match="no file name"):
        read(storage.local(), run)


def test_a_segment_of_other_blocks_is_not_taken_for_ours(storage: Storage) -> None:
    storage.publish()
    with pytest.raises(UnreachableError, match="not the segment"):
        read(storage.local(), storage.run(), Keys(4, b"0000111122223333"))


def test_blocks_are_written_in_place_and_summed(memory: Storage) -> None:
    def produce(first: int, count: int, payloads: memoryview) -> None:
        assert (first, count) == (0, 3)
        payloads[:] = b"".join(memory.payloads)

    sums = memory.local().write(memory.run(), 8, SIZES, produce)
    assert sums == memory.sums
    memory.store.publish(SHAPE, memory.extent.place, KEYS.packed, sums)
    assert read(memory.local(verify=True), memory.run())[0][2] == b"".join(memory.payloads)


def test_slots_that_are_no_longer_reserved_are_not_written(memory: Storage) -> None:
    memory.publish()
    asked: list[int] = []
    with pytest.raises(UnreachableError, match="not reserved"):
        memory.local().write(memory.run(), 8, SIZES, lambda first, _c, _d: asked.append(first))
    assert asked == []


def test_a_disk_is_written_through_the_server_only(tmp_path: Path) -> None:
    storage = Storage("ssd", tmp_path / "store")
    with pytest.raises(UnreachableError, match="through the server"):
        storage.local().write(storage.run(), 8, SIZES, lambda _f, _c, _d: None)
    storage.store.close(remove=True)


def test_a_view_outlives_the_file_it_came_from(memory: Storage) -> None:
    memory.publish()
    local = memory.local()
    kept: list[memoryview] = []
    local.read(memory.run(), KEYS, SIZES, lambda _f, _c, data: kept.append(data))
    local.close()
    memory.free()
    assert bytes(kept[0][:4]) == b"AAAA"


def test_open_files_are_bounded(memory: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hotplate.clients.segments._SEGMENTS_MAX", 1)
    local = memory.local()
    local.write(memory.run(), 8, SIZES, lambda _f, _c, _d: None)
    memory.publish()
    assert len(read(local, memory.run())) == 1  # another mapping: this one only reads
    assert len(local._open) == 1


@pytest.mark.parametrize("kind", ["memory", "ssd"])
def test_a_segment_that_went_since_it_was_answered_is_stale_and_a_missing_mount_is_not(
    kind: str, tmp_path: Path
) -> None:
    storage = Storage(kind, tmp_path / kind)
    storage.publish()
    run = storage.run()
    (tmp_path / kind / run.span.segment).unlink()

    def consume(_first: int, _count: int, _payloads: memoryview) -> None:
        raise AssertionError("there is nothing to consume")

    with pytest.raises(StaleBlockError, match="is gone"):
        storage.local().read(run, KEYS, SIZES, consume)
    with pytest.raises(UnreachableError, match="No such file"):
        storage.local(path=str(tmp_path / "elsewhere")).read(run, KEYS, SIZES, consume)
    storage.store.close(remove=True)
