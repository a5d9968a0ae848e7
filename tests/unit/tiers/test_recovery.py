"""A storage opened on what an earlier server left: what stays, what goes, what is refused."""

import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from hotplate.blocks import Extent, Found, Shape
from hotplate.clock import ManualClock
from hotplate.kvc.ports import KeptStore
from hotplate.tiers.directory import StoreOpenError
from hotplate.tiers.memory import open_memory_store
from hotplate.tiers.ssd import open_ssd_store
from hotplate.tiers.store import SegmentStore
from hotplate.wire.segment import parse_layout

Opener = Callable[..., SegmentStore]

SEGMENT = 64 * 1024
SHAPE = Shape(payload_bytes=4000, key_bytes=16, sum_count=2)
OTHER = Shape(payload_bytes=900, key_bytes=8, sum_count=1)
OPENERS = [open_memory_store, open_ssd_store]


@dataclass
class Restarts:
    """One storage, closed and opened again on the same directory."""

    opener: Opener
    path: Path
    capacity_bytes: int = 4 * SEGMENT
    clock: ManualClock = field(default_factory=ManualClock)
    opened: SegmentStore | None = None

    def open(self, *, keep: bool = True) -> SegmentStore:
        """(again)"""
        self.close()
        self.opened = self.opener(
            "blocks", str(self.path), self.capacity_bytes, SEGMENT, clock=self.clock, keep=keep
        )
        return self.opened

    def close(self) -> None:
        """As a server does that means to come back."""
        if self.opened is not None:
            self.opened.close(remove=False)
        self.opened = None

    def files(self) -> list[Path]:
        """The segment files."""
        return sorted(self.path.glob("*.segment"))


@pytest.fixture(params=OPENERS, ids=["memory", "ssd"])
def restarts(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Restarts]:
    store = Restarts(request.param, tmp_path / "store")
    yield store
    store.close()


def keys(shape: Shape, first: int, count: int) -> bytes:
    """Keys that tell which block it is."""
    return b"".join((first + i).to_bytes(shape.key_bytes, "big") for i in range(count))


def sums(shape: Shape, first: int, count: int) -> bytes:
    """Sums that tell which block it is."""
    return b"".join((first + i).to_bytes(8, "little") * shape.sum_count for i in range(count))


def store_blocks(store: SegmentStore, shape: Shape, first: int, count: int) -> Extent:
    """Blocks number `first` and on, published in one extent."""
    (extent,) = store.reserve(shape, count)
    for i in range(count):
        store.write(shape, extent.place + i, 0, payload(shape, first + i))
    store.publish(shape, extent.place, keys(shape, first, count), sums(shape, first, count))
    return extent


def payload(shape: Shape, number: int) -> bytes:
    """The bytes of block `number`."""
    return number.to_bytes(4, "big") * (shape.payload_bytes // 4)


def test_what_served_is_found_and_can_be_read_where_it_was(restarts: Restarts) -> None:
    store = restarts.open()
    one = store_blocks(store, SHAPE, 10, 3)
    two = store_blocks(store, OTHER, 20, 2)
    where = store.locate(SHAPE, one.place)
    store.close(remove=False)
    restarts.opened = None

    kept: KeptStore = restarts.open()
    assert list(kept.found()) == [
        Found(SHAPE, one.place, 3, one.generation, True, keys(SHAPE, 10, 3), sums(SHAPE, 10, 3)),
        Found(OTHER, two.place, 2, two.generation, True, keys(OTHER, 20, 2), sums(OTHER, 20, 2)),
    ]
    assert [found.count for found in kept.adopt(one.place, 3, one.generation)] == [3]
    assert [found.place for found in kept.found()] == [two.place]
    assert kept.settle() == 2
    assert list(kept.found()) == []
    assert kept.locate(SHAPE, one.place) == where
    for i in range(3):
        assert kept.read(SHAPE, one.place + i, 0, 4000) == payload(SHAPE, 10 + i)
        assert kept.generation(SHAPE, one.place + i) == one.generation
    kept.release(SHAPE, one.place, 3)


def test_an_opening_without_keep_removes_everything(restarts: Restarts) -> None:
    store_blocks(restarts.open(), SHAPE, 0, 3)
    store = restarts.open(keep=False)
    assert list(store.found()) == []
    assert store.removed_bytes == SEGMENT
    assert restarts.files() == []


def test_slots_that_a_writer_had_are_found_without_key_and_sum(restarts: Restarts) -> None:
    store = restarts.open()
    extent = store.reserve(SHAPE, 4)[0]
    store.publish(SHAPE, extent.place + 1, keys(SHAPE, 1, 2), sums(SHAPE, 1, 2))
    store = restarts.open()
    found = [(each.place - extent.place, each.count, each.serving) for each in store.found()]
    assert found == [(0, 1, False), (1, 2, True), (3, 1, False)]
    adopted = store.adopt(extent.place, 4, extent.generation)
    assert [(each.count, each.serving) for each in adopted] == [(1, False), (2, True), (1, False)]
    assert adopted[0].keys == adopted[0].sums == b""
    assert store.settle() == 0
    store.publish(SHAPE, extent.place, keys(SHAPE, 0, 1), sums(SHAPE, 0, 1))
    with pytest.raises(ValueError, match="free already"):
        store.release(SHAPE, extent.place, 5)
    store.release(SHAPE, extent.place, 4)


def test_only_slots_that_are_as_named_are_adopted(restarts: Restarts) -> None:
    store = restarts.open()
    extent = store_blocks(store, SHAPE, 0, 8)
    store.release(SHAPE, extent.place + 2, 1)
    store.release(SHAPE, extent.place + 5, 1)
    other = store_blocks(store, SHAPE, 100, 1)  # in the hole
    assert other.place == extent.place + 2
    store = restarts.open()
    assert store.adopt(extent.place, 8, extent.generation + 1 + (1 << 30)) == []
    assert store.adopt(extent.place + (9 << 32), 1, extent.generation) == []
    assert store.adopt(extent.place - 1, 1, extent.generation) == []
    parts = store.adopt(extent.place, 7, extent.generation)
    assert [(part.place - extent.place, part.count) for part in parts] == [(0, 2), (3, 2), (6, 1)]
    assert parts[1].keys == keys(SHAPE, 3, 2)
    assert store.adopt(extent.place + 1, 7, extent.generation)[0].place == extent.place + 7
    assert store.adopt(extent.place, 8, extent.generation) == [], "each slot once"
    assert [each.place for each in store.found()] == [other.place]
    assert store.settle() == 1
    with pytest.raises(ValueError, match="free already"):
        store.release(SHAPE, other.place, 1)


def test_what_is_not_adopted_is_free_and_given_out_anew(restarts: Restarts) -> None:
    store = restarts.open()
    extent = store_blocks(store, SHAPE, 0, 5)
    free_before = store.describe()["free_bytes"]
    store = restarts.open()
    store.adopt(extent.place + 1, 2, extent.generation)
    assert store.settle() == 3
    assert store.describe()["free_bytes"] == free_before + 3 * 4096 - (
        0 if store.blocking else 3 * 64
    )
    again = store.reserve(SHAPE, 2)[0]
    assert again.generation > extent.generation
    assert again.place >= extent.place + 3
    assert store.reserve(SHAPE, 1)[0].place == extent.place


def test_free_slots_stay_free_and_are_used_before_a_settle_that_frees_none(
    restarts: Restarts,
) -> None:
    store = restarts.open()
    extent = store_blocks(store, SHAPE, 0, 3)
    store = restarts.open()
    store.adopt(extent.place, 3, extent.generation)
    store.settle()
    assert store.reserve(SHAPE, 1)[0].place == extent.place + 3
    assert len(restarts.files()) == 1


def test_empty_segments_go_but_for_one_of_a_class(restarts: Restarts) -> None:
    store = restarts.open()
    per_segment = store_blocks(store, SHAPE, 0, 1).count
    while len(restarts.files()) < 3:
        store_blocks(store, SHAPE, 0, 1)
        per_segment += 1
    store = restarts.open()
    assert store.settle() == per_segment
    assert len(restarts.files()) == 1
    assert store.describe()["allocated_bytes"] == SEGMENT


def test_places_of_new_segments_are_not_those_of_old_ones(restarts: Restarts) -> None:
    store = restarts.open()
    extent = store_blocks(store, SHAPE, 0, 1)
    store = restarts.open()
    store.adopt(extent.place, 1, extent.generation)
    store.settle()
    other = store_blocks(store, OTHER, 0, 1)
    assert other.place >> 32 > extent.place >> 32
    store = restarts.open()
    assert {found.place for found in store.found()} == {extent.place, other.place}


def test_no_generation_is_given_that_is_in_a_file_whatever_clock_and_lock_say(
    restarts: Restarts,
) -> None:
    extent = store_blocks(restarts.open(), SHAPE, 0, 1)
    restarts.close()
    (restarts.path / "lock").unlink()
    restarts.clock = ManualClock(1000)
    store = restarts.open()
    assert store.adopt(extent.place, 1, extent.generation)
    store.settle()
    assert store.reserve(SHAPE, 1)[0].generation > extent.generation
    (bound,) = struct.unpack_from("<Q", (restarts.path / "lock").read_bytes())
    assert bound > extent.generation


def test_a_slot_with_a_generation_that_was_never_given_is_free(restarts: Restarts) -> None:
    extent = store_blocks(restarts.open(), SHAPE, 0, 3)
    restarts.close()
    layout = parse_layout(restarts.files()[0].read_bytes())
    slot = extent.place & 0xFFFFFFFF
    flip(restarts.files()[0], layout.generation_offset + 8 * (slot + 1) + 6, 0x10)
    flip(restarts.files()[0], layout.state_offset + slot + 2, 0x20)  # no state that we know
    store = restarts.open()
    assert [(found.place, found.count) for found in store.found()] == [(extent.place, 1)]
    store.adopt(extent.place, 1, extent.generation)
    store.settle()
    again = store.reserve(SHAPE, 2)[0]
    assert again.place == extent.place + 1
    assert extent.generation < again.generation < 2**53
    store.release(SHAPE, again.place, 2)


def flip(path: Path, offset: int, mask: int) -> None:
    """Damage one byte of a file."""
    content = bytearray(path.read_bytes())
    content[offset] ^= mask
    path.write_bytes(content)


HEADER_FIELDS = {
    "magic": 0, "version": 8, "header bytes": 12, "file bytes": 16, "birth": 24, "payload": 32,
    "key bytes": 40, "sum count": 44, "stride": 48, "slot count": 56, "generations": 64,
    "states": 72, "sums": 80, "keys": 88, "slots": 96, "index": 104, "zero": 3000, "sum": 4088,
}  # fmt: skip


@pytest.mark.parametrize("name", HEADER_FIELDS)
def test_a_segment_with_a_flipped_bit_in_its_header_gives_no_block_and_is_removed(
    restarts: Restarts, name: str
) -> None:
    store = restarts.open()
    damaged = store_blocks(store, SHAPE, 0, 3)
    sound = store_blocks(store, OTHER, 0, 1)
    restarts.close()
    path = restarts.files()[0]
    flip(path, HEADER_FIELDS[name], 0x04)
    store = restarts.open()
    assert store.adopt(damaged.place, 3, damaged.generation) == []
    assert len(store.adopt(sound.place, 1, sound.generation)) == 1
    assert len(store.unusable) == (0 if name == "magic" else 1)
    store.settle()
    assert store.unusable == []
    assert path.exists() == (name == "magic"), "without the magic it is someone else's"
    assert store.describe()["allocated_bytes"] == SEGMENT
    with pytest.raises(ValueError, match="no 1 slots"):
        store.read(SHAPE, damaged.place, 0, 1)


def reseal(path: Path, offset: int, form: str, value: int) -> None:
    """Change a number of a header, and make the header prove itself again."""
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, offset, value)
    struct.pack_into("<Q", content, 4088, xxh3_64_intdigest(bytes(content[:4088])))
    path.write_bytes(content)


def test_a_segment_of_a_newer_version_stops_the_opening_and_stays(restarts: Restarts) -> None:
    store_blocks(restarts.open(), SHAPE, 0, 1)
    restarts.close()
    path = restarts.files()[0]
    reseal(path, 8, "<I", 3)
    with pytest.raises(StoreOpenError, match=f"{path.name}.*version is 3"):
        restarts.open()
    assert path.exists()
    assert restarts.open(keep=False).removed_bytes == SEGMENT


def test_a_segment_of_version_1_is_kept_and_gets_an_index(restarts: Restarts) -> None:
    first = store_blocks(restarts.open(), SHAPE, 0, 1)
    store = restarts.open()
    store.adopt(first.place, 1, first.generation)
    store.settle()
    second = store_blocks(store, OTHER, 0, 2)
    restarts.close()
    path = restarts.files()[0]
    reseal(path, 104, "<Q", 0)
    reseal(path, 8, "<I", 1)
    for _ in range(2):
        found = list(restarts.open().found())
        assert [each.generation for each in found] == [second.generation, first.generation]
        assert found[0].place == second.place
        assert found[1].place >> 32 == (second.place >> 32) + 1


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: os.truncate(path, SEGMENT - 1), "65535 bytes"),
        (lambda path: os.truncate(path, SEGMENT + 4096), "69632 bytes"),
        (lambda path: os.truncate(path, 100), "4096 bytes, not 100"),
        (lambda path: reseal(path, 44, "<I", 1), "not laid out"),
        (lambda path: reseal(path, 104, "<Q", 1 << 40), "index"),
        (lambda path: path.rename(path.with_name(f"{1:016x}.segment")), "another name"),
    ],
)
def test_a_file_that_is_not_what_its_header_says_is_not_used(
    restarts: Restarts, spoil: Callable[[Path], object], reason: str
) -> None:
    extent = store_blocks(restarts.open(), SHAPE, 0, 1)
    restarts.close()
    spoil(restarts.files()[0])
    store = restarts.open()
    assert list(store.found()) == []
    assert [reason in each.reason for each in store.unusable] == [True]
    assert store.adopt(extent.place, 1, extent.generation) == []
    store.settle()
    assert restarts.files() == []
    store_blocks(store, SHAPE, 0, 1)


def test_of_two_files_with_one_index_the_second_is_not_used(restarts: Restarts) -> None:
    extent = store_blocks(restarts.open(), SHAPE, 0, 1)
    restarts.close()
    path = restarts.files()[0]
    birth = int(path.stem, 16) + 1
    copy = path.with_name(f"{birth:016x}.segment")
    shutil.copy(path, copy)
    reseal(copy, 24, "<Q", birth)
    store = restarts.open()
    assert [each.place for each in store.found()] == [extent.place]
    assert [each.file.name for each in store.unusable] == [copy.name]


def test_a_segment_that_is_missing_is_no_error_and_its_blocks_are_gone(restarts: Restarts) -> None:
    extent = store_blocks(restarts.open(), SHAPE, 0, 1)
    restarts.close()
    restarts.files()[0].unlink()
    store = restarts.open()
    assert store.adopt(extent.place, 1, extent.generation) == []
    assert store.settle() == 0


def test_foreign_files_stay_where_they_are(restarts: Restarts) -> None:
    restarts.open()
    restarts.close()
    foreign = restarts.path / f"{5:016x}.segment"
    foreign.write_bytes(b"someone else's bytes")
    unmade = restarts.path / f"{6:016x}.segment"
    unmade.write_bytes(bytes(9000))
    store = restarts.open()
    assert store.unusable == []
    store.settle()
    assert foreign.read_bytes() == b"someone else's bytes"
    assert not unmade.exists()


def test_a_file_made_ahead_does_not_outlive_the_server(restarts: Restarts) -> None:
    store = restarts.open()
    store_blocks(store, SHAPE, 0, 14)
    make = store.begin_ahead()
    assert make is not None
    store.finish_ahead(make())
    assert len(restarts.files()) == 2
    restarts.close()
    assert len(restarts.files()) == 1


def test_a_capacity_below_what_is_there_is_kept_to_once_it_is_settled(restarts: Restarts) -> None:
    store = restarts.open()
    extents = [store_blocks(store, shape, 0, 2) for shape in (SHAPE, OTHER, Shape(70, 8, 1))]
    restarts.capacity_bytes = SEGMENT
    store = restarts.open()
    assert store.describe()["allocated_bytes"] == 3 * SEGMENT
    store.adopt(extents[0].place, 2, extents[0].generation)
    store.settle()
    assert store.describe()["free_bytes"] <= SEGMENT
    with pytest.raises(Exception, match="largest_free"):
        store.reserve(Shape(5000, 8, 1), 1)
    store.release(SHAPE, extents[0].place, 2)
    store.reserve(Shape(5000, 8, 1), 1)
    assert store.describe()["allocated_bytes"] == SEGMENT


WRITER = """
import os, signal, sys
from hotplate.blocks import Shape
from hotplate.tiers.{module} import open_{module}_store
store = open_{module}_store("blocks", sys.argv[1], 4 * 65536, 65536)
shape = Shape(4000, 16, 2)
extent = store.reserve(shape, 2)[0]
store.write(shape, extent.place, 0, b"a" * 4000)
store.publish(shape, extent.place, b"k" * 16, b"s" * 16)
print(extent.place, extent.generation, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_blocks_outlive_a_server_that_was_killed(restarts: Restarts) -> None:
    module = restarts.opener.__module__.rpartition(".")[2]
    process = subprocess.run(
        [sys.executable, "-c", WRITER.format(module=module), str(restarts.path)],
        stdout=subprocess.PIPE, check=False,
    )  # fmt: skip
    assert process.returncode == -signal.SIGKILL
    place, generation = map(int, process.stdout.split())
    store = restarts.open()
    found = [(each.place, each.generation, each.serving) for each in store.found()]
    assert found == [(place, generation, True), (place + 1, generation, False)]
    assert store.adopt(place, 1, generation)[0].keys == b"k" * 16
    store.settle()
    assert store.read(SHAPE, place, 0, 4000) == b"a" * 4000


@settings(max_examples=60, deadline=None)
@given(data=st.data(), memory=st.booleans())
def test_a_store_that_restarts_at_any_time_never_mixes_blocks_up(
    data: st.DataObject, memory: bool
) -> None:
    """Blocks of a journal, some of whose last entries are lost, against what the store gives."""
    with TemporaryDirectory() as path:
        restarts = Restarts(OPENERS[0] if memory else OPENERS[1], Path(path, "store"))
        store = restarts.open()
        live: dict[int, tuple[Shape, int, int]] = {}  # place: shape, generation, number
        number = 0
        for step in data.draw(st.lists(st.sampled_from("sssrrx"), max_size=25)):
            if step == "s":
                shape = data.draw(st.sampled_from([SHAPE, OTHER]))
                count = data.draw(st.integers(1, 4))
                extent = store_blocks(store, shape, number, count)
                for i in range(count):
                    assert extent.place + i not in live
                    live[extent.place + i] = shape, extent.generation, number + i
                number += count
            elif step == "r" and live:
                place = data.draw(st.sampled_from(sorted(live)))
                store.release(live.pop(place)[0], place, 1)
            elif step == "x":
                store = restarts.open()
                found = {
                    each.place + i: (each.shape, each.generation)
                    for each in store.found()
                    for i in range(each.count)
                }
                assert found == {place: each[:2] for place, each in live.items()}
                wanted = data.draw(st.sets(st.sampled_from(sorted(live)))) if live else set()
                for place in wanted:
                    (each,) = store.adopt(place, 1, live[place][1])
                    assert each.keys == keys(each.shape, live[place][2], 1)
                    assert each.sums == sums(each.shape, live[place][2], 1)
                assert store.settle() == len(live) - len(wanted)
                live = {place: live[place] for place in wanted}
            for place, (shape, generation, block) in live.items():
                assert store.generation(shape, place) == generation
                size = shape.payload_bytes
                assert store.read(shape, place, 0, size) == payload(shape, block)
        restarts.close()
