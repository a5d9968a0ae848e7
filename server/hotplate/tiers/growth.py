"""The segments of a shape: how large the next one is, how many slots the room left can bring.

A segment has the usual size, or one slot's where that is larger, or all the room that is left where
that is less.
"""

from dataclasses import dataclass, field

from hotplate.blocks import Shape
from hotplate.tiers.allocator import FreeRanges
from hotplate.tiers.directory import SegmentFile
from hotplate.tiers.segment import Backing, Segment
from hotplate.wire.segment import Layout, file_bytes_for_one, plan_layout, round_up


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


class Growth:
    """Of one storage. `alignment` is what a slot's stride is rounded up to."""

    __slots__ = ("_alignment", "_segment_bytes")

    def __init__(self, segment_bytes: int, alignment: int) -> None:
        self._segment_bytes = segment_bytes
        self._alignment = alignment

    def stride(self, shape: Shape) -> int:
        """Bytes from one slot to the next."""
        return round_up(shape.payload_bytes, self._alignment)

    def next_layout(self, shape: Shape, room_bytes: int) -> Layout:
        """Of the next segment."""
        _, usual = self._file_bytes_of(shape)
        return self._layout(shape, min(usual, room_bytes))

    def next_slot_count(self, shape: Shape, room_bytes: int) -> int:
        """How many slots the next segment has; 0 if there can be none."""
        smallest, _ = self._file_bytes_of(shape)
        if room_bytes < smallest:
            return 0
        return self.next_layout(shape, room_bytes).slot_count

    def slots(self, shape: Shape, room_bytes: int) -> int:
        """How many slots all segments could bring that fit the room."""
        smallest, usual = self._file_bytes_of(shape)
        segment_count, rest = divmod(room_bytes, usual)
        slot_count = segment_count * self._layout(shape, usual).slot_count
        if rest >= smallest:
            slot_count += self._layout(shape, rest).slot_count
        return slot_count

    def _file_bytes_of(self, shape: Shape) -> tuple[int, int]:
        """(smallest, usual) size of a segment of this shape."""
        smallest = file_bytes_for_one(
            payload_bytes=shape.payload_bytes,
            key_bytes=shape.key_bytes,
            sum_count=shape.sum_count,
            alignment=self._alignment,
        )
        return smallest, max(smallest, self._segment_bytes)

    def _layout(self, shape: Shape, file_bytes: int) -> Layout:
        return plan_layout(
            file_bytes,
            payload_bytes=shape.payload_bytes,
            key_bytes=shape.key_bytes,
            sum_count=shape.sum_count,
            alignment=self._alignment,
        )
