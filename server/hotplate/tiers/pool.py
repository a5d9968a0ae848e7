"""The segment files of a storage: which there are, made and removed within a capacity.

    classes ──► free ranges of places          segments, by index ──► columns, payload
       └ grows by a segment where no range is long enough; one without reserved slots is a spare

What a store (store.py) hands out lies in here. It knows shapes and places, no block and no client.
Segments without a reserved slot (spares) are kept: one, more up to a quarter of the capacity. They
go as soon as another class needs the room, and so do files made ahead.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from hotplate.blocks import PLACE_SEGMENT_SHIFT, PLACE_SLOT_MASK, Extent, Shape
from hotplate.tiers.ahead import Blank, FilesAhead
from hotplate.tiers.directory import Directory, SegmentFile
from hotplate.tiers.growth import (
    ROOM_SHARE,
    SHARE_BYTES_MIN,
    SHORTAGE,
    SPARE_SHARE,
    Growth,
    RoomError,
    SlotClass,
    checked_shape,
    full_error,
)
from hotplate.tiers.recovery import Leftovers, Unusable
from hotplate.tiers.segment import Medium, Segment
from hotplate.wire.segment import PAGE_BYTES, Layout, round_up

FILES_MAX: Final = 49_152  # of a storage: Linux maps 65530 in a process. Nearing it they get larger


class SegmentPool:
    """The files of one storage, and the free slots in them."""

    __slots__ = (
        "_ahead",
        "_classes",
        "_closed",
        "_directory",
        "_emptied",
        "_file_bytes",
        "_files_max",
        "_growth",
        "_leftovers",
        "_medium",
        "_next_index",
        "_segments",
        "_spare_bytes",
        "_spares",
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
        files_max: int = FILES_MAX,
    ) -> None:
        self.name = name
        self.kind = medium.kind
        self.blocking = medium.blocking
        self.capacity_bytes = capacity_bytes
        self.segment_bytes = segment_bytes
        self._file_bytes = 0  # of segments, and of files that are unusable
        self._directory = directory
        self._medium = medium
        self._files_max = files_max
        self._growth = Growth(segment_bytes, medium.alignment)
        self._classes: dict[Shape, SlotClass] = {}
        self._segments: dict[int, Segment] = {}
        self._next_index = 1
        self._emptied: list[Segment] = []  # removed, with space that is not free yet
        self._leftovers = Leftovers([])
        self.unusable: list[Unusable] = []  # files that were left, and that settle removes
        self._spares: dict[int, tuple[SlotClass, Segment]] = {}  # by base, the oldest first
        self._spare_bytes = 0
        self._ahead = FilesAhead(directory, medium)
        self._closed = False

    @property
    def allocated_bytes(self) -> int:
        """What all files take, those made ahead included."""
        return self._file_bytes + self._ahead.held_bytes

    # Reserving

    def _reserve_growing(self, shape: Shape, count: int) -> list[Extent]:
        """Reserve where no free range holds all: from new segments, then from what is left."""
        if self._closed:
            raise ValueError(f"storage {self.name} is closed")
        slot_class = self._classes.get(shape) or SlotClass(checked_shape(shape))
        obtainable = slot_class.free.total
        if count > obtainable:
            room = self._room_bytes(slot_class)
            obtainable += self._growth.slots(shape, room, count - obtainable)
        if obtainable < count:
            raise full_error(shape, count, obtainable)
        self._classes[shape] = slot_class
        taken: list[tuple[int, int]] = []
        made: list[Segment] = []
        rest, ahead = count, self._ahead.blank_bytes
        try:
            while rest:
                layout = self._next_layout(slot_class, rest)
                if slot_class.free.longest < min(rest, layout.slot_count):
                    made.append(self._grow(slot_class, layout))
                length = min(rest, slot_class.free.longest)
                if not length or (start := slot_class.free.take(length)) is None:
                    raise RoomError
                taken.append((start, length))
                rest -= length
            return self._hand_over(slot_class, taken)
        except (OSError, RoomError) as error:
            if rest:  # else _hand_over has given them back
                for start, length in taken:
                    slot_class.free.add(start, length)
            for segment in made:
                self._drop(slot_class, segment)
                segment.abandon()
            self._forget_if_empty(slot_class)
            if isinstance(error, RoomError) and ahead:
                self._ahead.drop_all()
                return self._reserve_growing(shape, count)  # without files of unfitting sizes
            if isinstance(error, RoomError) or error.errno in SHORTAGE:
                raise full_error(shape, count, slot_class.free.total) from error
            raise

    def _hand_over(self, slot_class: SlotClass, taken: list[tuple[int, int]]) -> list[Extent]:
        """Write the new owner's generation to slots that left the free ranges, or put them back."""
        segments = self._segments
        try:
            generation = self._directory.next_generation()
            for start, length in taken:
                segment = segments[start >> PLACE_SEGMENT_SHIFT]
                segment.mark_writing(start & PLACE_SLOT_MASK, length, generation)
        except OSError:
            self._put_back(slot_class, taken)
            raise
        for start, length in taken:
            segment = segments[start >> PLACE_SEGMENT_SHIFT]
            segment.used += length
            if segment.used == length:
                self._end_spare(slot_class, segment)
        return [Extent(start, length, generation) for start, length in taken]

    def _put_back(self, slot_class: SlotClass, taken: list[tuple[int, int]]) -> None:
        for start, length in taken:
            segment = self._segments[start >> PLACE_SEGMENT_SHIFT]
            # The storage is failing, and that is what the caller hears. The columns in memory are
            # right after this even if the file cannot be written.
            with suppress(OSError):
                segment.backing.check()
                segment.mark_free(start & PLACE_SLOT_MASK, length)
            slot_class.free.add(start, length)

    # Segments coming and going

    def _grow(self, slot_class: SlotClass, layout: Layout) -> Segment:
        """Add a segment of this layout, dropping spares if they are in its way."""
        blank = self._ahead.take(layout.file_bytes)
        if blank is not None:
            file, backing = blank.file, blank.backing
            self._file_bytes += file.file_bytes
            layout = self._growth.layout(slot_class.shape, file.file_bytes)
        else:
            self._make_room(slot_class, layout.file_bytes)
            file = self._directory.create(self._directory.next_generation(), layout.file_bytes)
            self._file_bytes += file.file_bytes
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
        self._ahead.failed = False
        slot_class.segment_count += 1
        slot_class.free.add(base, layout.slot_count)
        return segment

    def _next_layout(self, slot_class: SlotClass, wanted: int) -> Layout:
        many = len(self._segments) >= self._files_max * 15 // 16
        return self._growth.next_layout(
            slot_class.shape,
            self._room_bytes(slot_class),
            wanted,
            self.capacity_bytes // self._files_max if many else 0,
        )

    def _retire(self, slot_class: SlotClass, segment: Segment) -> None:
        """Keep a segment whose last slot was freed as a spare; drop the oldest beyond a share."""
        size = segment.file.file_bytes
        self._spares[segment.base] = slot_class, segment
        self._spare_bytes += size
        slot_class.spare_bytes += size
        while self._spare_bytes > self.capacity_bytes // SPARE_SHARE and len(self._spares) > 1:
            slot_class, segment = next(iter(self._spares.values()))
            self._drop(slot_class, segment)
            self._emptied.append(segment)

    def _drop(self, slot_class: SlotClass, segment: Segment) -> None:
        """Remove a segment without reserved slots. Its space is free once it is abandoned."""
        del self._segments[segment.base >> PLACE_SEGMENT_SHIFT]
        slot_class.free.remove(segment.base, segment.layout.slot_count)
        slot_class.segment_count -= 1
        self._end_spare(slot_class, segment)
        self._forget_if_empty(slot_class)
        self._discard(segment.file)

    def _end_spare(self, slot_class: SlotClass, segment: Segment) -> None:
        if self._spares.pop(segment.base, None) is not None:
            self._spare_bytes -= segment.file.file_bytes
            slot_class.spare_bytes -= segment.file.file_bytes

    def _free_bytes(self, slot_class: SlotClass) -> int:
        return slot_class.free.total * self._growth.stride(slot_class.shape)

    def _forget_if_empty(self, slot_class: SlotClass) -> None:
        if not slot_class.segment_count:
            self._classes.pop(slot_class.shape, None)

    def _discard(self, file: SegmentFile) -> None:
        self._file_bytes -= file.file_bytes
        self._directory.remove(file)

    def _make_room(self, slot_class: SlotClass, size: int) -> None:
        """Drop the blank and other classes' spares until `size` bytes fit the capacity."""
        while self.allocated_bytes + size > self.capacity_bytes and self._ahead.drop():
            pass
        if self.allocated_bytes + size <= self.capacity_bytes:
            return
        for other, segment in [each for each in self._spares.values() if each[0] is not slot_class]:
            self._drop(other, segment)
            segment.abandon()  # at once: the next file needs the space
            if self.allocated_bytes + size <= self.capacity_bytes:
                return

    def _room_bytes(self, slot_class: SlotClass | None) -> int:
        """What segments of this class could still take."""
        room = self.capacity_bytes - self.allocated_bytes + self._spare_bytes
        room += self._ahead.blank_bytes
        if slot_class is not None:
            room -= slot_class.spare_bytes
        return max(room, 0)

    # Making files ahead

    def begin_ahead(self) -> Callable[[], Blank] | None:
        """The job of making the next segment's file, None if none will be needed soon.

        Run it on a thread and pass its result or exception to `finish_ahead` on this one; then ask
        again. Cheap enough for every tick.
        """
        room = self.capacity_bytes - self.allocated_bytes
        share = round_up(max(room // ROOM_SHARE, SHARE_BYTES_MIN), PAGE_BYTES)
        size = min(self.segment_bytes, share)
        # Twice: a file that is being made is nobody's, and must not be what a reserve is short of.
        if room < 2 * size or self._closed:
            return None
        if all(self._free_bytes(each) * 2 > size for each in self._classes.values()):
            return None
        return self._ahead.begin(size)

    def finish_ahead(self, result: Blank | Exception) -> None:
        """Take what the job of `begin_ahead` answered. What is no OSError is raised again."""
        self._ahead.finish(result)

    def begin_emptying(self) -> Callable[[], None] | None:
        """The job, for a thread, of freeing what removed files held; None if there is nothing."""
        if not self._emptied:
            return None
        emptied, self._emptied = self._emptied, []

        def empty() -> None:
            while emptied:
                emptied.pop().abandon()

        return empty
