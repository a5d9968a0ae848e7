"""Both storages: who gets which slots, and what their segment files say."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotplate.blocks import Extent, Shape, StoreFullError
from hotplate.clock import ManualClock
from hotplate.kvc.ports import BlockStore
from hotplate.tiers.directory import StoreOpenError
from hotplate.tiers.memory import open_memory_store
from hotplate.tiers.ssd import open_ssd_store
from hotplate.tiers.store import SegmentStore
from hotplate.wire.segment import STATE_FREE, STATE_WRITING, parse_layout

Opener = Callable[..., SegmentStore]

SEGMENT = 64 * 1024
SHAPE = Shape(payload_bytes=4000, key_bytes=16, sum_count=2)
OTHER = Shape(payload_bytes=900, key_bytes=8, sum_count=1)
OPENERS = [open_memory_store, open_ssd_store]


@pytest.fixture(params=OPENERS, ids=["memory", "ssd"])
def opener(request: pytest.FixtureRequest) -> Opener:
    chosen: Opener = request.param
    return chosen


@pytest.fixture
def store(opener: Opener, tmp_path: Path) -> Iterator[SegmentStore]:
    opened = opener("blocks", str(tmp_path / "store"), 4 * SEGMENT, SEGMENT, clock=ManualClock())
    yield opened
    opened.close(remove=True)


def slots_per_segment(store: SegmentStore, shape: Shape) -> int:
    """Measured by reserving one slot and reading the file it is in."""
    extent = store.reserve(shape, 1)[0]
    slots = parse_layout(segment_bytes(store, shape, extent.place)).slot_count
    store.release(shape, extent.place, 1)
    return slots


def most_slots(store: SegmentStore, shape: Shape) -> int:
    """How many slots the store says it could give now."""
    with pytest.raises(StoreFullError) as refused:
        store.reserve(shape, 1_000_000)
    return refused.value.largest_free // shape.payload_bytes


def nearly_fill_a_segment(store: SegmentStore) -> Extent:
    """All but one slot of a first segment, so that a second will be needed soon."""
    return store.reserve(SHAPE, slots_per_segment(store, SHAPE) - 1)[0]


def segment_bytes(store: SegmentStore, shape: Shape, place: int) -> bytes:
    """The whole file that a place is in, as another process sees it."""
    name, _, _ = store.locate(shape, place)
    return Path(store.describe()["path"], name).read_bytes()


def places(extents: list[Extent]) -> list[int]:
    """Every slot of these extents."""
    return [extent.place + i for extent in extents for i in range(extent.count)]


def test_it_is_a_block_store(store: SegmentStore) -> None:
    port: BlockStore = store
    assert port.name == "blocks"
    assert (port.kind, port.blocking) in {("memory", False), ("ssd", True)}


def test_slots_reserved_together_are_one_extent_of_one_generation(store: SegmentStore) -> None:
    first = store.reserve(SHAPE, 5)
    second = store.reserve(SHAPE, 3)
    assert [extent.count for extent in first + second] == [5, 3]
    assert second[0].generation > first[0].generation
    for extent in first + second:
        for place in places([extent]):
            assert store.generation(SHAPE, place) == extent.generation


def test_a_slots_file_goes_through_the_states_that_the_format_promises(
    store: SegmentStore,
) -> None:
    extent = store.reserve(SHAPE, 4)[0]
    slot = extent.place & 0xFFFFFFFF
    content = segment_bytes(store, SHAPE, extent.place)
    layout = parse_layout(content)
    assert layout.birth < extent.generation
    assert content[layout.state_offset + slot] == STATE_WRITING
    assert not layout.is_serving(content, slot, extent.generation)

    keys = b"".join(b"key-%012d" % i for i in range(3))
    sums = b"".join(i.to_bytes(8, "big") for i in range(6))
    store.publish(SHAPE, extent.place, keys, sums)
    content = segment_bytes(store, SHAPE, extent.place)
    for i in range(3):
        assert layout.is_serving(content, slot + i, extent.generation)
        assert layout.key(content, slot + i) == b"key-%012d" % i
        assert layout.sums(content, slot + i) == (2 * i, 2 * i + 1)
    assert content[layout.state_offset + slot + 3] == STATE_WRITING

    store.release(SHAPE, extent.place + 1, 2)
    content = segment_bytes(store, SHAPE, extent.place)
    states = content[layout.state_offset + slot : layout.state_offset + slot + 4]
    assert list(states) == [2, STATE_FREE, STATE_FREE, STATE_WRITING]

    again = store.reserve(SHAPE, 2)[0]
    assert again.place == extent.place + 1, "the hole fits best"
    content = segment_bytes(store, SHAPE, extent.place)
    assert not layout.is_serving(content, slot + 1, extent.generation)
    assert not layout.is_serving(content, slot + 1, again.generation)
    assert store.generation(SHAPE, again.place) == again.generation > extent.generation


def test_located_bytes_are_where_the_file_has_them(store: SegmentStore) -> None:
    extent = store.reserve(SHAPE, 3)[0]
    for i in range(3):
        store.write(SHAPE, extent.place + i, 0, bytes([i + 1]) * 4000)
    store.write(SHAPE, extent.place + 1, 3990, memoryview(b"at the end"))
    store.sync(places([extent]))
    name, offset, stride = store.locate(SHAPE, extent.place)
    content = Path(store.describe()["path"], name).read_bytes()
    assert content[offset : offset + 4000] == b"\1" * 4000
    second = content[offset + stride : offset + stride + 4000]
    assert second == b"\2" * 3990 + b"at the end"
    assert store.read(SHAPE, extent.place + 1, 3980, 20) == b"\2" * 10 + b"at the end"
    assert store.read(SHAPE, extent.place + 2, 0, 4000) == b"\3" * 4000
    assert store.locate(SHAPE, extent.place + 1) == (name, offset + stride, stride)
    assert parse_layout(content).slot_at(offset + stride) == (extent.place + 1) & 0xFFFFFFFF


def test_a_reservation_that_cannot_fit_changes_nothing(store: SegmentStore) -> None:
    held = store.reserve(SHAPE, 7)
    per_segment = slots_per_segment(store, SHAPE)
    before = store.describe()
    total = 4 * per_segment
    with pytest.raises(StoreFullError) as refused:
        store.reserve(SHAPE, total - 6)
    assert refused.value.need == (total - 6) * 4000
    assert refused.value.largest_free == (total - 7) * 4000
    assert store.describe() == before
    rest = store.reserve(SHAPE, total - 7)
    assert len(set(places(held + rest))) == total
    with pytest.raises(StoreFullError):
        store.reserve(SHAPE, 1)


def test_what_was_said_to_be_free_can_be_had(store: SegmentStore) -> None:
    store.reserve(OTHER, 3)
    with pytest.raises(StoreFullError) as refused:
        store.reserve(SHAPE, 10_000)
    count = refused.value.largest_free // SHAPE.payload_bytes
    assert sum(extent.count for extent in store.reserve(SHAPE, count)) == count
    with pytest.raises(StoreFullError) as refused:
        store.reserve(SHAPE, 1)
    assert refused.value.largest_free == 0


def test_a_long_reservation_takes_as_few_extents_as_there_are_segments(
    store: SegmentStore,
) -> None:
    per_segment = slots_per_segment(store, SHAPE)
    extents = store.reserve(SHAPE, 2 * per_segment + 1)
    assert [extent.count for extent in extents] == [per_segment, per_segment, 1]
    assert len({extent.generation for extent in extents}) == 1


def test_a_full_storage_splits_over_its_holes(store: SegmentStore) -> None:
    per_segment = slots_per_segment(store, SHAPE)
    everything = places(store.reserve(SHAPE, 4 * per_segment))
    for place in (everything[1], everything[3], everything[4], everything[6]):
        store.release(SHAPE, place, 1)
    extents = store.reserve(SHAPE, 4)
    assert [extent.count for extent in extents] == [2, 1, 1]
    assert extents[0].place == everything[3]


def test_holes_are_used_once_the_last_segment_is_made(store: SegmentStore) -> None:
    per_segment = slots_per_segment(store, SHAPE)
    held = places(store.reserve(SHAPE, 3 * per_segment))
    store.release(SHAPE, held[0], 2)
    store.release(SHAPE, held[3], 1)
    extents = store.reserve(SHAPE, per_segment + 3)
    assert [extent.count for extent in extents] == [per_segment, 2, 1]


def test_a_spare_that_is_used_again_is_not_given_to_another_class(store: SegmentStore) -> None:
    store.release(SHAPE, store.reserve(SHAPE, 1)[0].place, 1)
    extent = store.reserve(SHAPE, 1)[0]
    with pytest.raises(StoreFullError):
        store.reserve(OTHER, 4 * slots_per_segment(store, OTHER))
    store.reserve(OTHER, 3 * slots_per_segment(store, OTHER))
    assert store.generation(SHAPE, extent.place) == extent.generation


def test_a_freed_segment_is_kept_once_and_then_removed(
    store: SegmentStore,
) -> None:
    per_segment = slots_per_segment(store, SHAPE)
    extents = store.reserve(SHAPE, 3 * per_segment)
    directory = Path(store.describe()["path"])
    assert len(list(directory.glob("*.segment"))) == 3
    for extent in extents:
        store.release(SHAPE, extent.place, extent.count)
    assert [path.stat().st_size for path in directory.glob("*.segment")] == [SEGMENT]
    assert store.describe()["allocated_bytes"] == SEGMENT
    assert store.describe()["segments"] == 1


def test_a_class_that_needs_room_gets_the_spares_of_others(store: SegmentStore) -> None:
    shapes = [Shape(100 * i, 8, 1) for i in range(1, 5)]
    for shape in shapes:
        extent = store.reserve(shape, 1)[0]
        store.release(shape, extent.place, 1)
    assert store.describe()["segments"] == 1, "no more than a quarter of the capacity is kept"
    assert store.describe()["largest_free_bytes"] >= SEGMENT
    per_segment = 4 * SEGMENT // 4096  # more than fits three segments, less than four
    extents = store.reserve(SHAPE, per_segment - 8)
    assert sum(extent.count for extent in extents) == per_segment - 8
    assert store.describe()["segments"] == 4
    with pytest.raises(StoreFullError):
        store.reserve(shapes[0], 1)


def test_a_block_that_is_larger_than_a_segment_gets_one_of_its_size(store: SegmentStore) -> None:
    large = Shape(payload_bytes=2 * SEGMENT + 1, key_bytes=8, sum_count=1)
    extent = store.reserve(large, 1)[0]
    store.write(large, extent.place, 2 * SEGMENT, b"!")
    assert store.read(large, extent.place, 2 * SEGMENT, 1) == b"!"
    assert store.describe()["allocated_bytes"] < 3 * SEGMENT
    with pytest.raises(StoreFullError) as refused:
        store.reserve(large, 1)
    assert refused.value.largest_free == 0


def test_the_rest_of_the_capacity_is_used_by_a_smaller_segment(
    opener: Opener, tmp_path: Path
) -> None:
    store = opener("blocks", str(tmp_path), 2 * SEGMENT + 20_000, SEGMENT)
    per_segment = slots_per_segment(store, SHAPE)
    extents = store.reserve(SHAPE, 2 * per_segment + 2)
    assert [extent.count for extent in extents] == [per_segment, per_segment, 2]
    assert store.describe()["allocated_bytes"] <= store.capacity_bytes
    store.close(remove=True)


def test_wrong_places_shapes_and_sizes_are_refused_and_change_nothing(
    store: SegmentStore,
) -> None:
    extent = store.reserve(SHAPE, 4)[0]
    before = segment_bytes(store, SHAPE, extent.place)
    key, sums = bytes(16), bytes(16)
    refusals: list[Callable[[], object]] = [
        lambda: store.reserve(SHAPE, 0),
        lambda: store.reserve(Shape(0, 8, 1), 1),
        lambda: store.release(OTHER, extent.place, 1),
        lambda: store.release(SHAPE, extent.place + (1 << 32), 1),
        lambda: store.release(SHAPE, extent.place, 10_000),
        lambda: store.release(SHAPE, extent.place, 0),
        lambda: store.release(SHAPE, extent.place + 3, 2),  # the fifth slot is free
        lambda: store.publish(SHAPE, extent.place, key + b"x", sums),
        lambda: store.publish(SHAPE, extent.place, key, sums + b"x"),
        lambda: store.publish(SHAPE, extent.place, b"", b""),
        lambda: store.publish(SHAPE, extent.place + 3, key * 2, sums * 2),
        lambda: store.write(SHAPE, extent.place, 3999, b"xx"),
        lambda: store.write(SHAPE, extent.place, -1, b"x"),
        lambda: store.read(SHAPE, extent.place, 0, 4001),
        lambda: store.read(SHAPE, extent.place, 1, -1),
    ]
    for refusal in refusals:
        with pytest.raises(ValueError):
            refusal()
    assert segment_bytes(store, SHAPE, extent.place) == before
    store.release(SHAPE, extent.place, 4)
    with pytest.raises(ValueError, match="free already"):
        store.release(SHAPE, extent.place, 4)


def test_a_file_made_ahead_is_used_by_whichever_class_is_next(store: SegmentStore) -> None:
    nearly_fill_a_segment(store)
    make = store.begin_ahead()
    assert make is not None
    assert store.begin_ahead() is None, "one at a time"
    assert store.describe()["allocated_bytes"] == 2 * SEGMENT
    store.finish_ahead(make())
    assert store.begin_ahead() is None, "one in store"
    extent = store.reserve(OTHER, 2)[0]
    assert store.describe()["allocated_bytes"] == 2 * SEGMENT
    content = segment_bytes(store, OTHER, extent.place)
    assert f"{parse_layout(content).birth:016x}" in store.locate(OTHER, extent.place)[0]
    assert store.begin_ahead() is not None


def test_no_file_is_made_ahead_before_one_is_needed_soon(store: SegmentStore) -> None:
    assert store.begin_ahead() is None, "nobody stores anything"
    store.reserve(SHAPE, 1)
    assert store.begin_ahead() is None, "nearly a whole segment is free"


def test_a_file_made_ahead_makes_room_for_a_segment_that_it_does_not_fit(
    store: SegmentStore,
) -> None:
    nearly_fill_a_segment(store)
    make = store.begin_ahead()
    assert make is not None
    store.finish_ahead(make())
    large = Shape(payload_bytes=2 * SEGMENT + SEGMENT // 2, key_bytes=8, sum_count=1)
    place = store.reserve(large, 1)[0].place
    store.write(large, place, large.payload_bytes - 1, b"!")
    assert len(segment_bytes(store, large, place)) > large.payload_bytes
    assert store.describe()["segments"] == 2
    assert store.describe()["allocated_bytes"] <= store.capacity_bytes
    assert len(list(Path(store.describe()["path"]).glob("*.segment"))) == 2


def test_no_file_is_made_ahead_when_little_room_is_left(store: SegmentStore) -> None:
    per_segment = slots_per_segment(store, SHAPE)
    store.reserve(SHAPE, 3 * per_segment - 1)
    assert store.begin_ahead() is None


def test_a_file_that_could_not_be_made_ahead_gives_its_room_back(store: SegmentStore) -> None:
    nearly_fill_a_segment(store)
    assert store.begin_ahead() is not None
    store.finish_ahead(OSError(28, "No space left on device"))
    assert store.describe()["allocated_bytes"] == SEGMENT
    assert store.begin_ahead() is None, "not before reserve has made one"
    nearly_fill_a_segment(store)
    assert store.begin_ahead() is not None
    with pytest.raises(KeyError):
        store.finish_ahead(KeyError("a bug"))
    assert store.describe()["allocated_bytes"] == 2 * SEGMENT


def test_closing_leaves_the_files_or_removes_them(opener: Opener, tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = opener("blocks", str(path), 4 * SEGMENT, SEGMENT)
    nearly_fill_a_segment(store)
    make = store.begin_ahead()
    assert make is not None
    store.finish_ahead(make())
    store.close(remove=False)
    assert len(list(path.glob("*.segment"))) == 1, "nothing is in the one made ahead"
    again = opener("blocks", str(path), 4 * SEGMENT, SEGMENT)
    assert again.removed_bytes == SEGMENT
    assert again.describe()["segments"] == 0
    again.reserve(SHAPE, 1)
    again.close(remove=True)
    assert not path.exists()


@pytest.mark.parametrize("closed_first", [False, True])
def test_a_file_that_was_being_made_when_the_store_closed_is_removed_too(
    opener: Opener, tmp_path: Path, closed_first: bool
) -> None:
    (tmp_path / "foreign").write_bytes(b"keeps the directory")
    store = opener("blocks", str(tmp_path), 4 * SEGMENT, SEGMENT)
    nearly_fill_a_segment(store)
    make = store.begin_ahead()
    assert make is not None
    if closed_first:
        store.close(remove=True)
        store.finish_ahead(make())
    else:
        made = make()
        store.close(remove=True)
        store.finish_ahead(made)
    assert [path.name for path in tmp_path.iterdir()] == ["foreign"]


def test_a_closed_store_gives_nothing(opener: Opener, tmp_path: Path) -> None:
    store = opener("blocks", str(tmp_path / "store"), 4 * SEGMENT, SEGMENT)
    place = store.reserve(SHAPE, 1)[0].place
    store.close(remove=True)
    with pytest.raises(ValueError, match="storage blocks is closed"):
        store.reserve(SHAPE, 1)
    with pytest.raises(ValueError, match="no 1 slots"):
        store.read(SHAPE, place, 0, 1)
    assert not (tmp_path / "store").exists()


def test_a_place_from_before_a_restart_never_matches(opener: Opener, tmp_path: Path) -> None:
    clock = ManualClock()
    seen: set[tuple[str, int]] = set()
    for _ in range(3):
        store = opener("blocks", str(tmp_path), 4 * SEGMENT, SEGMENT, clock=clock)
        extent = store.reserve(SHAPE, 1)[0]
        name, _, _ = store.locate(SHAPE, extent.place)
        assert all(name != old and extent.generation > given for old, given in seen)
        seen.add((name, extent.generation))
        store.close(remove=False)


@pytest.mark.parametrize(
    ("capacity_bytes", "segment_bytes", "message"),
    [
        (1 << 60, None, r"capacity 1152921504606846976 is above the \d+ bytes that are free in"),
        (SEGMENT, 2 * SEGMENT, "capacity 65536 is below a segment of 131072 bytes"),
        (0, None, "capacity 0 is below"),
        (-1, None, "capacity -1 is below"),
        (SEGMENT, 100, "segment size 100 is below 16384"),
        (SEGMENT, -1, "segment size -1 is below 16384"),
    ],
)
def test_sizes_that_cannot_be_are_refused_and_leave_nothing_behind(
    opener: Opener, tmp_path: Path, capacity_bytes: int, segment_bytes: int | None, message: str
) -> None:
    path = tmp_path / "store"
    with pytest.raises(StoreOpenError, match=message):
        opener("blocks", str(path), capacity_bytes, segment_bytes)
    assert not path.exists()


def test_a_segment_is_an_eighth_of_the_capacity_unless_said_otherwise(
    opener: Opener, tmp_path: Path
) -> None:
    store = opener("blocks", str(tmp_path), 8_000_000)
    assert store.segment_bytes == 1_003_520  # an eighth in whole pages
    store.close(remove=True)


SHAPES = [SHAPE, OTHER, Shape(20_000, 32, 0), Shape(70_000, 16, 1)]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "reserve", "release", "publish", "ahead"]),
        st.integers(0, len(SHAPES) - 1),
        st.integers(1, 60),
        st.integers(0, 1 << 16),
    ),
    max_size=60,
)


class Rehearsal:
    """A store, and what any store would have to say after the same calls."""

    def __init__(self, store: SegmentStore) -> None:
        self.store = store
        self.owners: dict[int, tuple[Shape, int]] = {}  # by place: shape, generation
        self.extents: list[tuple[Shape, int, int]] = []
        self.last_generation = 0

    def reserve(self, shape: Shape, count: int) -> None:
        before = self.store.describe()
        if count > (most := most_slots(self.store, shape)):
            with pytest.raises(StoreFullError, match=f"largest_free={most * shape.payload_bytes}"):
                self.store.reserve(shape, count)
            assert self.store.describe() == before
            return
        extents = self.store.reserve(shape, count)
        assert sum(extent.count for extent in extents) == count
        assert len({extent.generation for extent in extents}) == 1
        assert extents[0].generation > self.last_generation
        self.last_generation = extents[0].generation
        for place in places(extents):
            assert place not in self.owners
            self.owners[place] = (shape, self.last_generation)
        self.extents += [(shape, extent.place, extent.count) for extent in extents]

    def release(self, pick: int) -> None:
        if not self.extents:
            return
        shape, place, count = self.extents.pop(pick % len(self.extents))
        head = pick % count
        if head:
            self.extents.append((shape, place, head))
        self.store.release(shape, place + head, count - head)
        for freed in range(place + head, place + count):
            del self.owners[freed]

    def publish(self, pick: int) -> None:
        if self.extents:
            shape, place, count = self.extents[pick % len(self.extents)]
            keys, sums = bytes(shape.key_bytes * count), bytes(8 * shape.sum_count * count)
            self.store.publish(shape, place, keys, sums)

    def ahead(self) -> None:
        make = self.store.begin_ahead()
        if make is not None:
            self.store.finish_ahead(make())

    def check(self) -> None:
        figures = self.store.describe()
        directory = Path(figures["path"])
        sizes = [path.stat().st_size for path in directory.glob("*.segment")]
        assert sum(sizes) == figures["allocated_bytes"] <= figures["capacity_bytes"]
        spans: dict[str, list[tuple[int, int]]] = {}
        for place, (shape, generation) in self.owners.items():
            assert self.store.generation(shape, place) == generation
            name, offset, stride = self.store.locate(shape, place)
            assert stride >= shape.payload_bytes
            spans.setdefault(name, []).append((offset, offset + shape.payload_bytes))
        for name, found in spans.items():
            found.sort()
            assert all(end <= start for (_, end), (start, _) in pairwise(found))
            assert found[-1][1] <= (directory / name).stat().st_size


@pytest.mark.parametrize("chosen", OPENERS, ids=["memory", "ssd"])
@given(steps=STEPS)
@settings(max_examples=40, deadline=None)
def test_no_slot_has_two_owners_whatever_is_reserved_and_released(
    chosen: Opener, steps: list[tuple[str, int, int, int]]
) -> None:
    with TemporaryDirectory() as directory:
        store = chosen("blocks", directory, 5 * SEGMENT + 30_000, SEGMENT, clock=ManualClock())
        fresh = most_slots(store, Shape(901, 8, 1))
        rehearsal = Rehearsal(store)
        for action, shape, count, pick in steps:
            match action:
                case "reserve":
                    rehearsal.reserve(SHAPES[shape], count)
                case "release":
                    rehearsal.release(pick)
                case "publish":
                    rehearsal.publish(pick)
                case _:
                    rehearsal.ahead()
        rehearsal.check()
        while rehearsal.extents:
            rehearsal.release(0)
        assert most_slots(store, Shape(901, 8, 1)) == fresh, "all of it can be had again"
        store.close(remove=True)
