"""The segments of a shape: how large the next one is, how many slots the room left can bring.

A file belongs to one shape until its last slot is freed. So that no shape sits on space that others
need, a new file takes no more than a 64th of the room that is left, or what the request needs if
that is more: large files while there is much room, small ones when it is scarce. Where sizes are
all different, a file ends up holding one block, and the file system does what would otherwise be
ours: find room for pieces of any size, and join what is freed. (ADR 12.)
"""

import errno
from dataclasses import dataclass, field
from typing import Final

from hotplate.blocks import Shape, StoreFullError
from hotplate.tiers.allocator import FreeRanges
from hotplate.wire.segment import PAGE_BYTES, Layout, file_bytes_for, plan_layout, round_up

ROOM_SHARE: Final = 64
SPARE_SHARE: Final = 4  # of the capacity: what a reclaim frees is filled again, with pages in place
SHORTAGE: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE))
SHARE_BYTES_MIN: Final = 64 * 1024  # small blocks share a file however little room is left


class RoomError(Exception):
    """A file made ahead took more of the room than was planned for."""


@dataclass(slots=True)
class SlotClass:
    """All segments of one shape."""

    shape: Shape
    free: FreeRanges = field(default_factory=FreeRanges)
    segment_count: int = 0
    spare_bytes: int = 0  # of its segments without a reserved slot


class Growth:
    """Of one storage. `alignment` is what a slot's stride is rounded up to."""

    __slots__ = ("_alignment", "_segment_bytes")

    def __init__(self, segment_bytes: int, alignment: int) -> None:
        self._segment_bytes = segment_bytes
        self._alignment = alignment

    def stride(self, shape: Shape) -> int:
        """Bytes from one slot to the next."""
        return round_up(shape.payload_bytes, self._alignment)

    def layout(self, shape: Shape, file_bytes: int) -> Layout:
        """Of a segment in a file of this size; `slot_count` is 0 if it is too small for one."""
        return plan_layout(
            file_bytes,
            payload_bytes=shape.payload_bytes,
            key_bytes=shape.key_bytes,
            sum_count=shape.sum_count,
            alignment=self._alignment,
        )

    def next_layout(self, shape: Shape, room_bytes: int, wanted: int, least_bytes: int) -> Layout:
        """Of the next segment, where `wanted` slots are missing; `slot_count` is 0 without room.

        It is at least `least_bytes` long. Its file ends with its last slot.
        """
        smallest = self._file_bytes(shape, 1)
        if room_bytes < smallest:
            return self.layout(shape, 0)
        stride = self.stride(shape)
        share = max(room_bytes // ROOM_SHARE, SHARE_BYTES_MIN, least_bytes)
        if wanted == 1 and share < smallest + stride:
            return self.layout(shape, smallest)
        usual = max(self._segment_bytes, smallest)
        share = max(share, self._file_bytes(shape, min(wanted, usual // stride + 1)))
        layout = self.layout(shape, min(usual, share, room_bytes - room_bytes % PAGE_BYTES))
        return self.layout(shape, self._file_bytes(shape, layout.slot_count))

    def slots(self, shape: Shape, room_bytes: int, wanted: int) -> int:
        """How many slots new segments could bring that fit the room; at most 1 if one is wanted."""
        usual = max(self._segment_bytes, self._file_bytes(shape, 1))
        most = self.layout(shape, usual).slot_count
        if wanted == 1:
            return int(room_bytes >= self._file_bytes(shape, 1))
        room_bytes -= room_bytes % PAGE_BYTES  # files are whole pages
        segment_count, rest = divmod(room_bytes, self._file_bytes(shape, most))
        return segment_count * most + self.layout(shape, rest).slot_count

    def _file_bytes(self, shape: Shape, slot_count: int) -> int:
        return file_bytes_for(
            slot_count,
            payload_bytes=shape.payload_bytes,
            key_bytes=shape.key_bytes,
            sum_count=shape.sum_count,
            alignment=self._alignment,
        )


def checked_shape(shape: Shape) -> Shape:
    """The shape itself, or ValueError."""
    if shape.payload_bytes < 1 or shape.key_bytes < 1 or shape.sum_count < 0:
        raise ValueError(f"{shape} is no class of slots")
    return shape


def full_error(shape: Shape, count: int, obtainable: int) -> StoreFullError:
    """So many slots were asked for, so many could be had."""
    return StoreFullError(count * shape.payload_bytes, obtainable * shape.payload_bytes)
