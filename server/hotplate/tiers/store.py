"""A storage: segments by slot class, within a capacity. Implements the KV cache's BlockStore.

    _classes                                     _segments, by index
    Shape ──► SlotClass ──► free: FreeRanges     place ──► Segment ──► columns, payload
                            (of places)            └─ index << 32 | slot

Owns which slots are free and when segment files come and go. What differs between memory and disk
is a Medium (memory.py, ssd.py). Knows no block, no instance, no client.

Invariants:
- the files' sizes sum up to `allocated_bytes`, never over `capacity_bytes`;
- a slot is in its class's free ranges exactly if its state column says free;
- `reserve` takes all or nothing; a refused one has neither made nor removed a file. If the system
  refuses a file, what was made for the request is undone;
- segment indices are not used twice, so that an old place never means a new slot;
- a class keeps at most one segment without a reserved slot (the spare). It goes as soon as another
  class needs the room, and so does the blank, a file made ahead for whichever class is next.

All calls are for one thread, except `read`, `write` and `sync`: they may run on any thread while
the slots they are about stay reserved.
"""

import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from hotplate.blocks import (
    PLACE_SEGMENT_SHIFT,
    PLACE_SLOT_MASK,
    Extent,
    Found,
    Shape,
    StoreFullError,
)
from hotplate.tiers.allocator import FreeRanges
from hotplate.tiers.directory import Directory, SegmentFile
from hotplate.tiers.recovery import (
    Leftovers,
    Run,
    Unusable,
    describe_run,
    highest_generation,
    used_runs,
)
from hotplate.tiers.segment import Backing, Medium, Segment
from hotplate.wire.segment import (
    SUM_BYTES,
    VERSION,
    Layout,
    file_bytes_for_one,
    plan_layout,
    round_up,
)

_SHORTAGE: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.ENOMEM))


@dataclass(frozen=True, slots=True)
class Blank:
    """A file made ahead, with no layout yet."""

    file: SegmentFile
    backing: Backing


@dataclass(slots=True)
class SlotClass:
    """All segments of one shape."""

    shape: Shape
    free: FreeRanges = field(default_factory=FreeRanges)
    segment_count: int = 0
    spare: Segment | None = None  # the segment that has no reserved slot


class SegmentStore:
    """A BlockStore on segment files. Use memory.open_memory_store or ssd.open_ssd_store."""

    __slots__ = (
        "_ahead_bytes",
        "_ahead_failed",
        "_blank",
        "_classes",
        "_closed",
        "_directory",
        "_leftovers",
        "_medium",
        "_next_index",
        "_segments",
        "allocated_bytes",
        "blocking",
        "capacity_bytes",
        "kind",
        "name",
        "segment_bytes",
        "unusable",
    )

    def __init__(
        self,
        name: str,
        directory: Directory,
        medium: Medium,
        *,
        capacity_bytes: int,
        segment_bytes: int,
    ) -> None:
        self.name = name
        self.kind = medium.kind
        self.blocking = medium.blocking
        self.capacity_bytes = capacity_bytes
        self.segment_bytes = segment_bytes
        self.allocated_bytes = 0
        self._directory = directory
        self._medium = medium
        self._classes: dict[Shape, SlotClass] = {}
        self._segments: dict[int, Segment] = {}
        self._next_index = 1
        self._leftovers = Leftovers([])
        self.unusable: list[Unusable] = []  # files that were left, and that settle removes
        self._blank: Blank | None = None
        self._ahead_bytes = 0  # of a file that is being made
        self._ahead_failed = False
        self._closed = False

    @property
    def removed_bytes(self) -> int:
        """What an earlier server had left in the directory, removed when it was opened."""
        return self._directory.removed_bytes

    def reserve(self, shape: Shape, count: int) -> list[Extent]:
        """Take `count` slots in as few extents as possible; all or StoreFullError.

        OSError if the storage fails; then too nothing is reserved.
        """
        if count < 1:
            raise ValueError(f"count is {count}")
        slot_class = self._classes.get(shape)
        start = None if slot_class is None else slot_class.free.take(count)
        if slot_class is not None and start is not None:
            return self._hand_over(slot_class, [(start, count)])
        return self._reserve_growing(shape, count)

    def release(self, shape: Shape, place: int, count: int) -> None:
        """Give back consecutive reserved slots; their headers are invalid from now on.

        OSError if the storage fails to write that down; they are free nevertheless, and get a new
        generation before they are anyone's.
        """
        segment, slot = self._locate_range(shape, place, count)
        if segment.has_free(slot, count):
            raise ValueError(f"place {place:#x}: of {count} slots some are free already")
        try:
            segment.mark_free(slot, count)
        finally:
            self._classes[shape].free.add(place, count)
            segment.used -= count
            if not segment.used:
                self._retire(self._classes[shape], segment)

    def publish(self, shape: Shape, place: int, keys: bytes, sums: bytes) -> None:
        """Mark consecutive reserved slots as serving; as many as there are keys."""
        count, rest = divmod(len(keys), shape.key_bytes)
        if rest or len(sums) != count * shape.sum_count * SUM_BYTES:
            raise ValueError(
                f"{len(keys)} bytes of keys and {len(sums)} of sums do not fit {shape}"
            )
        segment, slot = self._locate_range(shape, place, count)
        if segment.has_free(slot, count):
            raise ValueError(f"place {place:#x}: of {count} slots some are free")
        segment.mark_serving(slot, count, keys, sums)

    def generation(self, shape: Shape, place: int) -> int:
        """The slot's generation."""
        segment, slot = self._locate_range(shape, place, 1)
        return segment.generation(slot)

    def view(self, shape: Shape, place: int) -> memoryview:
        """The slot's payload, writable, mapped. Only where `blocking` is False.

        It stays readable however long it is kept, but is only the slot's while that is reserved.
        """
        segment = self._segments[place >> PLACE_SEGMENT_SHIFT]
        start = segment.payload_offset + (place & PLACE_SLOT_MASK) * segment.stride
        return segment.backing.view(start, segment.payload_bytes)

    def write(self, shape: Shape, place: int, offset: int, data: memoryview | bytes) -> None:
        """(any thread) Write at `offset` of the slot's payload. Raises OSError."""
        size = data.nbytes if isinstance(data, memoryview) else len(data)
        segment, start = self._locate_payload(shape, place, offset, size)
        segment.backing.write(start, data)

    def read(self, shape: Shape, place: int, offset: int, size: int) -> bytes:
        """(any thread) Read `size` bytes from `offset` of the slot's payload. Raises OSError."""
        segment, start = self._locate_payload(shape, place, offset, size)
        return segment.backing.read(start, size)

    def sync(self, places: Sequence[int]) -> None:
        """(any thread) Make the segments of `places` durable. Raises OSError."""
        for index in {place >> PLACE_SEGMENT_SHIFT for place in places}:
            self._segments[index].backing.sync()
        self._directory.sync()

    def locate(self, shape: Shape, place: int) -> tuple[str, int, int]:
        """(segment name, byte offset of the payload in that file, stride to the next slot)."""
        segment = self._segments[place >> PLACE_SEGMENT_SHIFT]
        slot = place & PLACE_SLOT_MASK
        return segment.file.name, segment.payload_offset + slot * segment.stride, segment.stride

    def describe(self) -> Mapping[str, Any]:
        """Where the segment files are, and figures. Bytes of slots count with their alignment."""
        in_slots = 0
        largest = min(self.segment_bytes, self._room_bytes(None))
        for slot_class in self._classes.values():
            in_slots += self._free_bytes(slot_class)
            largest = max(largest, slot_class.free.longest * self._stride(slot_class.shape))
        return {
            "path": self._directory.path,
            "format_version": VERSION,
            "segment_bytes": self.segment_bytes,
            "capacity_bytes": self.capacity_bytes,
            "allocated_bytes": self.allocated_bytes,
            "free_bytes": self.capacity_bytes - self.allocated_bytes + in_slots,
            "largest_free_bytes": largest,
            "segments": len(self._segments),
        }

    def close(self, *, remove: bool) -> None:
        """Let go of files and directory; with `remove` the files go too. Views stay readable."""
        self._closed = True
        if self._blank is not None and not remove:
            self._directory.remove(self._blank.file)
        self._leftovers = Leftovers([])
        self.unusable = []
        self._segments.clear()
        self._classes.clear()
        self._blank = None
        self.allocated_bytes = 0
        self._directory.close(remove=remove)

    # What an earlier server left (kvc.ports.KeptStore)

    def found(self) -> Iterator[Found]:
        """What was found and not adopted yet, in order of place."""
        for run in self._leftovers.rest():
            yield describe_run(self._segments[run.place >> PLACE_SEGMENT_SHIFT], run)

    def adopt(self, place: int, count: int, generation: int) -> list[Found]:
        """Those of these slots that are found with this generation: they stay reserved."""
        return [
            describe_run(self._segments[run.place >> PLACE_SEGMENT_SHIFT], run)
            for run in self._leftovers.adopt(place, count, generation)
        ]

    def settle(self) -> int:
        """Free what was not adopted, remove files that are unusable: how many slots went.

        OSError if some of that could not be written down; it is done nevertheless.
        """
        failed: OSError | None = None
        freed = 0
        for run in self._leftovers.rest():
            segment = self._segments[run.place >> PLACE_SEGMENT_SHIFT]
            freed += run.count
            try:
                self.release(segment.shape, run.place, run.count)
            except OSError as error:
                failed = error
        self._leftovers = Leftovers([])
        for each in self.unusable:
            try:
                self._discard(each.file)
            except OSError as error:
                failed = error
        self.unusable = []
        if failed is not None:
            raise failed
        return freed

    def take_up(self, segments: Sequence[Segment], unusable: list[Unusable]) -> None:
        """(once, first) What was in the directory. Raises OSError."""
        runs: list[Run] = []
        for segment in segments:
            seen = highest_generation(segment, self._directory.given_max)
            self._directory.skip_generations(seen)
            runs += self._enter(segment)
        self._leftovers = Leftovers(runs)
        self.unusable = unusable
        self.allocated_bytes += sum(each.file.file_bytes for each in unusable)

    def _enter(self, segment: Segment) -> list[Run]:
        """Make a segment that was found one of ours; what in it is in use."""
        runs = used_runs(segment, self._directory.given_max)
        index, slot_count = segment.layout.index, segment.layout.slot_count
        slot_class = self._classes.setdefault(segment.shape, SlotClass(segment.shape))
        slot_class.segment_count += 1
        self._segments[index] = segment
        self._next_index = max(self._next_index, index + 1)
        self.allocated_bytes += segment.file.file_bytes
        free_from = 0
        for start, count in [(run.place - segment.base, run.count) for run in runs] + [
            (slot_count, 0)
        ]:
            if start > free_from:
                if segment.states(free_from, start - free_from).strip(b"\0"):
                    segment.mark_free(free_from, start - free_from)
                slot_class.free.add(segment.base + free_from, start - free_from)
            free_from = start + count
            segment.used += count
        if not segment.used:
            self._retire(slot_class, segment)
        return runs

    # Making files ahead

    def begin_ahead(self) -> Callable[[], Blank] | None:
        """The job of making the next segment's file, None if none will be needed soon.

        Run it on a thread and pass its result or exception to `finish_ahead` on this one. Making a
        file of 256 MiB takes tens of milliseconds that `reserve` would spend otherwise. None also
        where one is there or being made, or little room is left. Cheap enough for every tick.
        """
        size = self.segment_bytes
        if self._blank or self._ahead_bytes or self._ahead_failed:
            return None
        # Twice: a file that is being made is nobody's, and must not be what a reserve is short of.
        if self.capacity_bytes - self.allocated_bytes < 2 * size or self._closed:
            return None
        if all(self._free_bytes(each) * 2 > size for each in self._classes.values()):
            return None
        birth = self._directory.next_generation()
        self._ahead_bytes = size
        self.allocated_bytes += size

        def make() -> Blank:
            file = self._directory.create(birth, size)
            try:
                return Blank(file, self._medium.open_warm(file))
            except BaseException:
                self._directory.remove(file)
                raise
            finally:
                if self._closed:  # meanwhile, and perhaps swept before this file was there
                    self._directory.remove(file)

        return make

    def finish_ahead(self, result: Blank | Exception) -> None:
        """Take what the job of `begin_ahead` answered.

        After an OSError none is begun until `reserve` has made a file: if the storage is failing,
        that is where it shows. Any other exception is raised again.
        """
        size, self._ahead_bytes = self._ahead_bytes, 0
        if self._closed:
            return
        if isinstance(result, Blank):
            self._blank = result
            return
        self.allocated_bytes -= size
        self._ahead_failed = True
        if not isinstance(result, OSError):
            raise result

    # Reserving

    def _reserve_growing(self, shape: Shape, count: int) -> list[Extent]:
        """Reserve where no free range holds all: from new segments, then from what is left."""
        if self._closed:
            raise ValueError(f"storage {self.name} is closed")
        slot_class = self._classes.get(shape) or SlotClass(_checked(shape))
        obtainable = slot_class.free.total + self._growable_slots(slot_class)
        if obtainable < count:
            raise _full(shape, count, obtainable)
        self._classes[shape] = slot_class
        taken: list[tuple[int, int]] = []
        made: list[Segment] = []
        rest = count
        try:
            next_slot_count = self._next_slot_count(slot_class)
            while rest:
                if slot_class.free.longest < min(rest, next_slot_count):
                    made.append(self._grow(slot_class))
                    next_slot_count = self._next_slot_count(slot_class)
                length = min(rest, slot_class.free.longest)
                start = slot_class.free.take(length)
                assert start is not None, "longest is the length of a range"
                taken.append((start, length))
                rest -= length
            return self._hand_over(slot_class, taken)
        except OSError as error:
            if rest:  # else _hand_over has given them back
                for start, length in taken:
                    slot_class.free.add(start, length)
            for segment in made:
                self._drop(slot_class, segment)
            self._forget_if_empty(slot_class)
            if error.errno in _SHORTAGE:
                raise _full(shape, count, slot_class.free.total) from error
            raise

    def _hand_over(self, slot_class: SlotClass, taken: list[tuple[int, int]]) -> list[Extent]:
        """Write the new owner's generation to slots that left the free ranges, or put them back."""
        segments = [self._segments[start >> PLACE_SEGMENT_SHIFT] for start, _ in taken]
        try:
            generation = self._directory.next_generation()
            for segment, (start, length) in zip(segments, taken, strict=True):
                segment.mark_writing(start & PLACE_SLOT_MASK, length, generation)
        except OSError:
            for segment, (start, length) in zip(segments, taken, strict=True):
                # The storage is failing, and that is what the caller hears. The columns in memory
                # are right after this even if the file cannot be written.
                with suppress(OSError):
                    segment.mark_free(start & PLACE_SLOT_MASK, length)
                slot_class.free.add(start, length)
            raise
        for segment, (_, length) in zip(segments, taken, strict=True):
            segment.used += length
            if slot_class.spare is segment:
                slot_class.spare = None
        return [Extent(start, length, generation) for start, length in taken]

    # Segments coming and going

    def _grow(self, slot_class: SlotClass) -> Segment:
        """Add the segment that `_next_layout` describes, dropping spares if they are in its way."""
        layout = self._next_layout(slot_class)
        blank = self._blank
        if blank is not None and blank.file.file_bytes == layout.file_bytes:
            self._blank = None
            file, backing = blank.file, blank.backing
        else:
            self._make_room(slot_class, layout.file_bytes)
            file = self._directory.create(self._directory.next_generation(), layout.file_bytes)
            self.allocated_bytes += file.file_bytes
            try:
                backing = self._medium.open(file)
            except OSError:
                self._discard(file)
                raise
        base = self._next_index << PLACE_SEGMENT_SHIFT
        layout = replace(layout, birth=file.birth, index=self._next_index)
        try:
            backing.lay_out(layout)
        except OSError:
            self._discard(file)
            raise
        segment = Segment(file, layout, backing, base)
        self._segments[self._next_index] = segment
        self._next_index += 1
        self._ahead_failed = False
        slot_class.segment_count += 1
        slot_class.free.add(base, layout.slot_count)
        return segment

    def _retire(self, slot_class: SlotClass, segment: Segment) -> None:
        """Keep a segment whose last slot was freed as the spare, or drop it."""
        if slot_class.spare is None:
            slot_class.spare = segment
        else:
            self._drop(slot_class, segment)

    def _drop(self, slot_class: SlotClass, segment: Segment) -> None:
        """Give back a segment without reserved slots."""
        del self._segments[segment.base >> PLACE_SEGMENT_SHIFT]
        slot_class.free.remove(segment.base, segment.layout.slot_count)
        slot_class.segment_count -= 1
        if slot_class.spare is segment:
            slot_class.spare = None
        self._forget_if_empty(slot_class)
        self._discard(segment.file)
        segment.backing.abandon(segment.payload_offset)

    def _forget_if_empty(self, slot_class: SlotClass) -> None:
        if not slot_class.segment_count:
            self._classes.pop(slot_class.shape, None)

    def _discard(self, file: SegmentFile) -> None:
        self.allocated_bytes -= file.file_bytes
        self._directory.remove(file)

    def _make_room(self, slot_class: SlotClass, size: int) -> None:
        """Drop the blank and other classes' spares until `size` bytes fit the capacity."""
        if self._blank is not None and self.allocated_bytes + size > self.capacity_bytes:
            blank, self._blank = self._blank, None
            self._discard(blank.file)
        for other in list(self._classes.values()):
            if self.allocated_bytes + size <= self.capacity_bytes:
                return
            if other is not slot_class and other.spare is not None:
                self._drop(other, other.spare)

    def _room_bytes(self, slot_class: SlotClass | None) -> int:
        """What segments of this class could still take: all but what others really use.

        None where the capacity was set below what is allocated.
        """
        room = self.capacity_bytes - self.allocated_bytes
        if self._blank is not None:
            room += self._blank.file.file_bytes
        for other in self._classes.values():
            if other is not slot_class and other.spare is not None:
                room += other.spare.file.file_bytes
        return max(room, 0)

    def _stride(self, shape: Shape) -> int:
        return round_up(shape.payload_bytes, self._medium.alignment)

    def _free_bytes(self, slot_class: SlotClass) -> int:
        return slot_class.free.total * self._stride(slot_class.shape)

    def _file_bytes_of(self, shape: Shape) -> tuple[int, int]:
        """(smallest, usual) size of a segment of this shape."""
        smallest = file_bytes_for_one(
            payload_bytes=shape.payload_bytes,
            key_bytes=shape.key_bytes,
            sum_count=shape.sum_count,
            alignment=self._medium.alignment,
        )
        return smallest, max(smallest, self.segment_bytes)

    def _layout(self, shape: Shape, file_bytes: int) -> Layout:
        return plan_layout(
            file_bytes,
            payload_bytes=shape.payload_bytes,
            key_bytes=shape.key_bytes,
            sum_count=shape.sum_count,
            alignment=self._medium.alignment,
        )

    def _next_layout(self, slot_class: SlotClass) -> Layout:
        """Of the next segment: the usual size, or all that is left if that is less."""
        _, usual = self._file_bytes_of(slot_class.shape)
        return self._layout(slot_class.shape, min(usual, self._room_bytes(slot_class)))

    def _next_slot_count(self, slot_class: SlotClass) -> int:
        smallest, _ = self._file_bytes_of(slot_class.shape)
        if self._room_bytes(slot_class) < smallest:
            return 0
        return self._next_layout(slot_class).slot_count

    def _growable_slots(self, slot_class: SlotClass) -> int:
        """How many slots new segments could bring."""
        smallest, usual = self._file_bytes_of(slot_class.shape)
        segment_count, rest = divmod(self._room_bytes(slot_class), usual)
        slot_count = segment_count * self._layout(slot_class.shape, usual).slot_count
        if rest >= smallest:
            slot_count += self._layout(slot_class.shape, rest).slot_count
        return slot_count

    # Checks

    def _locate_range(self, shape: Shape, place: int, count: int) -> tuple[Segment, int]:
        """A range of slots, or ValueError if these are not slots of that shape here."""
        segment = self._segments.get(place >> PLACE_SEGMENT_SHIFT)
        slot = place & PLACE_SLOT_MASK
        if segment is None or count < 1 or slot + count > segment.layout.slot_count:
            raise ValueError(f"no {count} slots at place {place:#x}")
        if segment.shape != shape:
            raise ValueError(f"place {place:#x} has {segment.shape}, not {shape}")
        return segment, slot

    def _locate_payload(
        self, shape: Shape, place: int, offset: int, size: int
    ) -> tuple[Segment, int]:
        """Bytes of one slot's payload: the segment, and where they start in its file."""
        segment, slot = self._locate_range(shape, place, 1)
        if offset < 0 or size < 0 or offset + size > segment.payload_bytes:
            raise ValueError(f"{size} bytes at {offset} exceed a slot of {segment.payload_bytes}")
        return segment, segment.payload_offset + slot * segment.stride + offset


def _checked(shape: Shape) -> Shape:
    if shape.payload_bytes < 1 or shape.key_bytes < 1 or shape.sum_count < 0:
        raise ValueError(f"{shape} is no class of slots")
    return shape


def _full(shape: Shape, count: int, obtainable: int) -> StoreFullError:
    return StoreFullError(count * shape.payload_bytes, obtainable * shape.payload_bytes)
