"""A storage: segments by slot class, within a capacity. Implements the KV cache's BlockStore.

    _classes                                     _segments, by index
    Shape ──► SlotClass ──► free: FreeRanges     place ──► Segment ──► columns, payload
                            (of places)            └─ index << 32 | slot

Owns which slots are free; its files come and go in pool.py. Memory and disk differ in their Medium
(memory.py, ssd.py). It knows no block and no client.

Invariants:
- the files' sizes sum up to `allocated_bytes`, never over `capacity_bytes`;
- a slot is in its class's free ranges exactly if its state column says free;
- `reserve` takes all or nothing: what was made for a refused one is undone;
- segment indices are not used twice, so that an old place never means a new slot.

All calls are for one thread, except `read`, `write` and `sync`: they may run on any thread while
the slots they are about stay reserved.
"""

import errno
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hotplate.blocks import (
    PLACE_SEGMENT_SHIFT,
    PLACE_SLOT_MASK,
    Extent,
    Found,
    Shape,
)
from hotplate.tiers.directory import DirectoryGoneError
from hotplate.tiers.growth import (
    SlotClass,
)
from hotplate.tiers.pool import SegmentPool
from hotplate.tiers.recovery import (
    Leftovers,
    Run,
    Unusable,
    describe_run,
    highest_generation,
    used_runs,
)
from hotplate.tiers.segment import Segment
from hotplate.wire.segment import SUM_BYTES, VERSION


class SegmentStore(SegmentPool):
    """A BlockStore on segment files. Use memory.open_memory_store or ssd.open_ssd_store."""

    __slots__ = ()

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
        if segment.lost:
            self._release_lost(segment, count)
            return
        try:
            if segment.has_free(slot, count):
                raise ValueError(f"place {place:#x}: of {count} slots some are free already")
            segment.mark_free(slot, count)
        except OSError:
            self._take_back(segment, place, count)
            raise
        self._take_back(segment, place, count)

    def _take_back(self, segment: Segment, place: int, count: int) -> None:
        slot_class = self._classes[segment.shape]
        slot_class.free.add(place, count)
        segment.used -= count
        if not segment.used:
            self._retire(slot_class, segment)

    def publish(self, shape: Shape, place: int, keys: bytes, sums: bytes) -> None:
        """Mark consecutive reserved slots as serving; as many as there are keys."""
        count, rest = divmod(len(keys), shape.key_bytes)
        if rest or len(sums) != count * shape.sum_count * SUM_BYTES:
            raise ValueError(
                f"{len(keys)} bytes of keys and {len(sums)} of sums do not fit {shape}"
            )
        segment, slot = self._locate_range(shape, place, count)
        segment.refuse_lost()
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
        segment.refuse_lost()
        start = segment.payload_offset + (place & PLACE_SLOT_MASK) * segment.stride
        return segment.backing.view(start, segment.payload_bytes)

    def write(self, shape: Shape, place: int, offset: int, data: memoryview | bytes) -> None:
        """(any thread) Write at `offset` of the slot's payload. Raises OSError."""
        size = data.nbytes if isinstance(data, memoryview) else len(data)
        segment, start = self._locate_payload(shape, place, offset, size)
        segment.backing.write(start, data)

    def read(self, shape: Shape, place: int, offset: int, size: int) -> bytes | memoryview:
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

    def slots_from(self, place: int) -> int:
        """How many slots from this one on lie in the same file."""
        segment = self._segments[place >> PLACE_SEGMENT_SHIFT]
        return segment.layout.slot_count - (place & PLACE_SLOT_MASK)

    def describe(self) -> Mapping[str, Any]:
        """Where the segment files are, and figures. Bytes of slots count with their alignment."""
        in_slots = 0
        largest = min(self.segment_bytes, self._room_bytes(None))
        for slot_class in self._classes.values():
            in_slots += self._free_bytes(slot_class)
            largest = max(largest, slot_class.free.longest * self._growth.stride(slot_class.shape))
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
        self._ahead.close(remove=not remove)
        self._leftovers = Leftovers([])
        self.unusable = []
        self._emptied.clear()
        self._segments.clear()
        self._classes.clear()
        self._file_bytes = 0
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
        self._file_bytes += sum(each.file.file_bytes for each in unusable)

    def _enter(self, segment: Segment) -> list[Run]:
        """Make a segment that was found one of ours; what in it is in use."""
        runs = used_runs(segment, self._directory.given_max)
        index, slot_count = segment.layout.index, segment.layout.slot_count
        slot_class = self._classes.setdefault(segment.shape, SlotClass(segment.shape))
        slot_class.segment_count += 1
        self._segments[index] = segment
        self._next_index = max(self._next_index, index + 1)
        self._file_bytes += segment.file.file_bytes
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

    # What befell the files

    def examine(self, need_bytes: int, *, probe: bool) -> frozenset[int]:
        """(any thread) The indices of segments whose files vanished or were cut.

        With `probe` a small file is written too, and `need_bytes` must be free. OSError if the
        storage fails, or if its directory is gone: then `reopen` is what helps.
        """
        if not self._directory.is_there():
            raise DirectoryGoneError(errno.ENOENT, f"directory {self._directory.path} is gone")
        if probe:
            self._directory.probe(need_bytes)
        segments = list(self._segments.items())
        return frozenset(
            index
            for index, segment in segments
            if not segment.lost and not self._directory.has(segment.file)
        )

    def reopen(self) -> frozenset[int]:
        """After DirectoryGoneError: begin anew in an empty directory; the indices that are lost."""
        if self._directory.reopen():
            return frozenset()  # which files are the same as before, `examine` finds out
        self._ahead.drop_all()
        return frozenset(self._segments)

    def lose(self, indices: frozenset[int]) -> None:
        """Segments whose bytes are gone: no slot of them is read or handed out any more. The owner
        of their reserved slots releases them as ever."""
        for index in indices:
            segment = self._segments.get(index)
            if segment is None or segment.lost:
                continue
            segment.lost = True
            slot_class = self._classes[segment.shape]
            for start, length in slot_class.free.ranges():
                if start >> PLACE_SEGMENT_SHIFT == index:
                    slot_class.free.remove(start, length)
            self._end_spare(slot_class, segment)
            self._release_lost(segment, 0)

    def restore(self) -> None:
        """Write all columns once more, as some may not have reached their files. Raises OSError."""
        for segment in self._segments.values():
            if not segment.lost:
                segment.backing.restore()

    def _release_lost(self, segment: Segment, count: int) -> None:
        segment.used -= count
        if not segment.used:
            slot_class = self._classes[segment.shape]
            slot_class.segment_count -= 1
            del self._segments[segment.base >> PLACE_SEGMENT_SHIFT]
            self._forget_if_empty(slot_class)
            self._discard(segment.file)

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
        segment.refuse_lost()
        if offset < 0 or size < 0 or offset + size > segment.payload_bytes:
            raise ValueError(f"{size} bytes at {offset} exceed a slot of {segment.payload_bytes}")
        return segment, segment.payload_offset + slot * segment.stride + offset
