"""One open segment: its slots' columns, changed by ranges.

Knows the layout and keeps what it says in step with what slots go through; not which slots are free
(store.py) nor how bytes reach the file (a Backing: memory.py, ssd.py).

Invariants: a slot's generation is raised before its state says writing, keys and sums are written
before it says serving; it says free before it can be reserved again.
"""

import errno
from typing import Final, Protocol

from hotplate.blocks import Shape
from hotplate.tiers.directory import SegmentFile
from hotplate.wire.segment import (
    GENERATION_BYTES,
    STATE_FREE,
    STATE_SERVING,
    STATE_WRITING,
    SUM_BYTES,
    Layout,
)

_FREE: Final = bytes((STATE_FREE,))
_WRITING: Final = bytes((STATE_WRITING,))
_SERVING: Final = bytes((STATE_SERVING,))


class Backing(Protocol):
    """How a segment's bytes are reached. Offsets count from the start of the file."""

    def lay_out(self, layout: Layout) -> None:
        """Write the header of a new file. Called once and first. Raises OSError."""
        ...

    def take_up(self, layout: Layout) -> None:
        """Use a file that has this header already. Called once and first. Raises OSError."""
        ...

    def put(self, offset: int, data: bytes) -> None:
        """Write to the columns. Raises OSError."""
        ...

    def get(self, offset: int, size: int) -> bytes:
        """Read from the columns."""
        ...

    def restore(self) -> None:
        """Write what was put to the columns once more: the file may have failed to take it."""
        ...

    def check(self) -> None:
        """OSError where touching the bytes would be worse than that."""
        ...

    def view(self, offset: int, size: int) -> memoryview:
        """Payload, writable and shared; only where it is mapped."""
        ...

    def write(self, offset: int, data: memoryview | bytes) -> None:
        """Write payload. Raises OSError."""
        ...

    def read(self, offset: int, size: int) -> bytes | memoryview:
        """Read payload. Raises OSError."""
        ...

    def sync(self) -> None:
        """Make everything written durable."""
        ...

    def abandon(self, offset: int) -> None:
        """The file was removed, from `offset` nothing in it matters: give that space back now."""
        ...


class Medium(Protocol):
    """What differs between storages."""

    kind: str
    blocking: bool
    alignment: int  # of slots

    def open(self, file: SegmentFile) -> Backing:
        """Reach a new file's bytes. Raises OSError."""
        ...

    def open_warm(self, file: SegmentFile) -> Backing:
        """(blocking, any thread) The same, with all cost of first use paid."""
        ...


class Segment:
    """`used` counts the slots that are reserved. Ranges of slots must lie inside the segment."""

    __slots__ = (
        "backing",
        "base",
        "file",
        "layout",
        "lost",
        "payload_bytes",
        "payload_offset",
        "shape",
        "stride",
        "used",
    )

    def __init__(self, file: SegmentFile, layout: Layout, backing: Backing, base: int) -> None:
        self.file = file
        self.layout = layout
        self.backing = backing
        self.base = base  # the place of slot 0
        self.used = 0
        self.lost = False  # its file vanished or was cut: nothing of it can be trusted
        self.shape = Shape(layout.payload_bytes, layout.key_bytes, layout.sum_count)
        self.payload_bytes = layout.payload_bytes
        self.payload_offset = layout.payload_offset
        self.stride = layout.stride

    def mark_writing(self, slot: int, count: int, generation: int) -> None:
        """Give slots to a new owner."""
        self.backing.check()
        layout = self.layout
        generations = generation.to_bytes(GENERATION_BYTES, "little") * count
        self.backing.put(layout.generation_offset + GENERATION_BYTES * slot, generations)
        self.backing.put(layout.state_offset + slot, _WRITING * count)

    def mark_serving(self, slot: int, count: int, keys: bytes, sums: bytes) -> None:
        """Publish slots with what identifies and what proves their bytes."""
        layout = self.layout
        put = self.backing.put
        put(layout.key_offset + layout.key_bytes * slot, keys)
        put(layout.sum_offset + SUM_BYTES * layout.sum_count * slot, sums)
        put(layout.state_offset + slot, _SERVING * count)

    def mark_free(self, slot: int, count: int) -> None:
        """Take slots away from their owner."""
        self.backing.put(self.layout.state_offset + slot, _FREE * count)

    def refuse_lost(self) -> None:
        """OSError if its bytes are gone."""
        if self.lost:
            raise OSError(errno.EIO, f"file {self.file.name} is gone or was cut")

    def abandon(self) -> None:
        """(any thread) The file was removed: give back the space of the payload."""
        self.backing.abandon(self.payload_offset)

    def states(self, slot: int, count: int) -> bytes:
        """One byte a slot."""
        return self.backing.get(self.layout.state_offset + slot, count)

    def generations(self, slot: int, count: int) -> bytes:
        """u64 little-endian each."""
        offset = self.layout.generation_offset + GENERATION_BYTES * slot
        return self.backing.get(offset, GENERATION_BYTES * count)

    def keys(self, slot: int, count: int) -> bytes:
        """The keys of serving slots, one after the other."""
        layout = self.layout
        return self.backing.get(
            layout.key_offset + layout.key_bytes * slot, layout.key_bytes * count
        )

    def sums(self, slot: int, count: int) -> bytes:
        """The sums of serving slots, u64 big-endian each."""
        layout = self.layout
        width = SUM_BYTES * layout.sum_count
        return self.backing.get(layout.sum_offset + width * slot, width * count)

    def has_free(self, slot: int, count: int) -> bool:
        """Whether any of these slots is free. OSError if the file was cut."""
        self.backing.check()
        return _FREE in self.states(slot, count)

    def generation(self, slot: int) -> int:
        """The slot's generation, 0 if it was never reserved."""
        return int.from_bytes(self.generations(slot, 1), "little")
