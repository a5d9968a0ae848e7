"""The layout of a segment file: where a slot's generation, state, sums, key and payload lie.

The server's storages write these files, a client on the same host maps or opens them; both take the
layout from here. Bytes only: no files, no mapping. What each field means and how a reader must
check a slot is written in `hotplate/tiers/FORMAT.md`; a change here is a new VERSION there.

    0        4096                                                payload_offset
    +--------+-------------+--------+-----------+-----------+-----+--------+--------+--
    | header | generations | states | sums      | keys      | pad | slot 0 | slot 1 | ..
    +--------+-------------+--------+-----------+-----------+-----+--------+--------+--
               u64 LE each   u8       u64 BE       key_bytes        stride   stride
"""

import mmap
import struct
from dataclasses import dataclass
from typing import Final

from xxhash import xxh3_64_intdigest

MAGIC: Final = b"HOTPLATE"
VERSION: Final = 2
HEADER_BYTES: Final = 4096
PAGE_BYTES: Final = 4096
COLUMN_ALIGNMENT: Final = 64  # a cache line, so that two columns never share one
SUM_BYTES: Final = 8
GENERATION_BYTES: Final = 8
SLOTS_MAX: Final = (1 << 32) - 1  # of a segment: half of a place is the slot

STATE_FREE: Final = 0
STATE_WRITING: Final = 1
STATE_SERVING: Final = 2

_FIELDS: Final = struct.Struct("<8sIIQQQIIQQQQQQQQ")
_CHECKSUM: Final = struct.Struct("<Q")
_GENERATION: Final = struct.Struct("<Q")
_CHECKSUM_OFFSET: Final = HEADER_BYTES - _CHECKSUM.size

Mapped = bytes | bytearray | memoryview | mmap.mmap


class SegmentFormatError(ValueError):
    """These bytes are no segment header that this version reads."""


class SegmentVersionError(SegmentFormatError):
    """A whole and sound header of a version that came after this one."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One segment file's numbers; offsets count from the start of the file."""

    file_bytes: int
    birth: int  # the storage's generation counter when the file was made
    payload_bytes: int
    key_bytes: int
    sum_count: int
    stride: int
    slot_count: int
    generation_offset: int
    state_offset: int
    sum_offset: int
    key_offset: int
    payload_offset: int
    index: int = 0  # the upper half of the slots' places, from 1; 0 in version 1, which has none

    def slot_at(self, offset: int) -> int:
        """The slot that the byte at `offset` of the file belongs to. IndexError outside of them."""
        slot = (offset - self.payload_offset) // self.stride
        if not 0 <= slot < self.slot_count:
            raise IndexError(f"offset {offset} lies in no slot")
        return slot

    def is_serving(self, segment: Mapped, slot: int, generation: int) -> bool:
        """Whether the slot serves what was stored as `generation`.

        True before a copy and true after it means that the copy holds the block (FORMAT.md).
        """
        if segment[self.state_offset + slot] != STATE_SERVING:
            return False
        offset = self.generation_offset + GENERATION_BYTES * slot
        found: int = _GENERATION.unpack_from(segment, offset)[0]
        return found == generation

    def key(self, segment: Mapped, slot: int) -> bytes:
        """The key that is stored in the slot."""
        start = self.key_offset + self.key_bytes * slot
        return bytes(segment[start : start + self.key_bytes])

    def sums(self, segment: Mapped, slot: int) -> tuple[int, ...]:
        """The xxh3-64 of each part of the slot's payload, as many as were registered."""
        start = self.sum_offset + SUM_BYTES * self.sum_count * slot
        return struct.unpack_from(f">{self.sum_count}Q", segment, start)

    def pack(self) -> bytes:
        """The header, HEADER_BYTES long."""
        fields = _FIELDS.pack(
            MAGIC,
            VERSION,
            HEADER_BYTES,
            self.file_bytes,
            self.birth,
            self.payload_bytes,
            self.key_bytes,
            self.sum_count,
            self.stride,
            self.slot_count,
            self.generation_offset,
            self.state_offset,
            self.sum_offset,
            self.key_offset,
            self.payload_offset,
            self.index,
        )
        body = fields.ljust(_CHECKSUM_OFFSET, b"\0")
        return body + _CHECKSUM.pack(xxh3_64_intdigest(body))


def parse_layout(header: Mapped) -> Layout:
    """Read a header of at least HEADER_BYTES, or raise SegmentFormatError."""
    if len(header) < HEADER_BYTES:
        raise SegmentFormatError(f"a header has {HEADER_BYTES} bytes, not {len(header)}")
    magic, version, header_bytes, *numbers = _FIELDS.unpack_from(header)
    if magic != MAGIC:
        raise SegmentFormatError(f"magic is {magic!r}")
    found: int = _CHECKSUM.unpack_from(header, _CHECKSUM_OFFSET)[0]
    if found != xxh3_64_intdigest(bytes(header[:_CHECKSUM_OFFSET])):
        raise SegmentFormatError(f"header checksum {found:016x} does not fit")
    if version > VERSION:
        raise SegmentVersionError(f"version is {version}, the newest known is {VERSION}")
    if version < 1 or header_bytes != HEADER_BYTES:
        raise SegmentFormatError(f"version {version} with a header of {header_bytes} bytes")
    layout = Layout(*numbers)
    if not _is_sound(layout):
        raise SegmentFormatError(f"columns overlap or leave the file: {layout}")
    return layout


def _is_sound(layout: Layout) -> bool:
    """Whether columns and slots follow each other inside the file."""
    count = layout.slot_count
    ends = (
        HEADER_BYTES,
        layout.generation_offset + GENERATION_BYTES * count,
        layout.state_offset + count,
        layout.sum_offset + SUM_BYTES * layout.sum_count * count,
        layout.key_offset + layout.key_bytes * count,
        layout.payload_offset + layout.stride * count,
    )
    starts = (
        layout.generation_offset,
        layout.state_offset,
        layout.sum_offset,
        layout.key_offset,
        layout.payload_offset,
        layout.file_bytes,
    )
    in_order = all(end <= start for end, start in zip(ends, starts, strict=True))
    return in_order and 1 <= count <= SLOTS_MAX and 1 <= layout.payload_bytes <= layout.stride


def plan_layout(
    file_bytes: int,
    *,
    payload_bytes: int,
    key_bytes: int,
    sum_count: int,
    alignment: int,
    birth: int = 0,
    index: int = 0,
) -> Layout:
    """As many slots as fit `file_bytes`; `slot_count` is 0 where not even one does.

    `alignment` is what the stride is rounded up to.
    """
    stride = round_up(payload_bytes, alignment)
    columns = GENERATION_BYTES + 1 + SUM_BYTES * sum_count + key_bytes
    slot_count = min(max(0, file_bytes - HEADER_BYTES) // (columns + stride), SLOTS_MAX)
    while True:
        state_offset = round_up(HEADER_BYTES + GENERATION_BYTES * slot_count, COLUMN_ALIGNMENT)
        sum_offset = round_up(state_offset + slot_count, COLUMN_ALIGNMENT)
        key_offset = round_up(sum_offset + SUM_BYTES * sum_count * slot_count, COLUMN_ALIGNMENT)
        payload_offset = round_up(key_offset + key_bytes * slot_count, PAGE_BYTES)
        overshoot = payload_offset + stride * slot_count - file_bytes
        if overshoot <= 0 or slot_count == 0:
            break
        # What overshoots is padding, at most a page and a few lines: this ends after few steps.
        slot_count -= max(1, overshoot // (columns + stride))
    return Layout(
        file_bytes=file_bytes,
        birth=birth,
        payload_bytes=payload_bytes,
        key_bytes=key_bytes,
        sum_count=sum_count,
        stride=stride,
        slot_count=slot_count,
        generation_offset=HEADER_BYTES,
        state_offset=state_offset,
        sum_offset=sum_offset,
        key_offset=key_offset,
        payload_offset=payload_offset,
        index=index,
    )


def file_bytes_for(
    slot_count: int, *, payload_bytes: int, key_bytes: int, sum_count: int, alignment: int
) -> int:
    """The smallest file, in whole pages, with room for so many slots."""
    columns = sum(
        round_up(size * slot_count, COLUMN_ALIGNMENT)
        for size in (GENERATION_BYTES, 1, SUM_BYTES * sum_count, key_bytes)
    )
    payload_offset = round_up(HEADER_BYTES + columns, PAGE_BYTES)
    return round_up(payload_offset + slot_count * round_up(payload_bytes, alignment), PAGE_BYTES)


def round_up(size: int, unit: int) -> int:
    """`size`, or the next multiple of `unit`."""
    return -(-size // unit) * unit
