"""The allocator of the storages on files that hold no byte: what is lost when it refuses.

Everything is the real SegmentStore but the file system: files have a size and no content.
"""

import random
from collections.abc import Callable
from itertools import count
from typing import Final

from hotplate.blocks import Shape, StoreFullError
from hotplate.tiers.directory import Directory, SegmentFile
from hotplate.tiers.segment import Backing
from hotplate.tiers.store import SegmentStore
from hotplate.wire.segment import STATE_WRITING, Layout

SEGMENT_BYTES: Final = 64 * 1024 * 1024
_FREED_MAX: Final = 4  # blocks freed after a refusal, 1 to so many


class NoFile(SegmentFile):
    """Only a size."""

    __slots__ = ()

    def __del__(self) -> None:
        """There is no descriptor to close."""


class NoDirectory(Directory):
    """Files that are only counted."""

    __slots__ = ("_numbers", "files_max", "files_now")

    def __init__(self) -> None:
        self.path = "/nowhere"
        self._numbers = count(1)
        self.files_now = self.files_max = 0

    def next_generation(self) -> int:
        """In order."""
        return next(self._numbers)

    def create(self, birth: int, file_bytes: int) -> SegmentFile:
        """One more."""
        self.files_now += 1
        self.files_max = max(self.files_max, self.files_now)
        return NoFile("", f"{birth:016x}.segment", -1, birth, file_bytes)

    def remove(self, file: SegmentFile) -> None:
        """One less."""
        del file
        self.files_now -= 1

    def close(self, *, remove: bool) -> None:
        """Nothing is open."""
        del remove


class NoBytes:
    """A Backing without content: slots that are asked for are in use."""

    __slots__ = ()

    def lay_out(self, layout: Layout) -> None:
        """Nowhere."""

    take_up = lay_out

    def put(self, offset: int, data: bytes) -> None:
        """Nowhere."""

    def get(self, offset: int, size: int) -> bytes:
        """No slot is free that anybody asks for."""
        del offset
        return bytes((STATE_WRITING,)) * size

    def restore(self) -> None:
        """Nothing."""

    def check(self) -> None:
        """Nothing."""

    sync = restore

    def view(self, offset: int, size: int) -> memoryview:
        """There is none."""
        raise TypeError((offset, size))

    def write(self, offset: int, data: memoryview | bytes) -> None:
        """There is none."""
        raise TypeError((offset, data))

    def read(self, offset: int, size: int) -> bytes | memoryview:
        """There is none."""
        raise TypeError((offset, size))

    def abandon(self, offset: int) -> None:
        """Nothing."""


class NoMedium:
    """As an ssd: slots at multiples of 4096."""

    kind = "ssd"
    blocking = True
    alignment = 4096

    def open(self, file: SegmentFile) -> Backing:
        """A file without bytes."""
        del file
        return NoBytes()

    def open_warm(self, file: SegmentFile) -> Backing:
        """The same."""
        return self.open(file)


def lost_at_refusal(
    size_of: Callable[[random.Random], int], capacity_bytes: int, operations: int
) -> tuple[list[float], int]:
    """Reserve blocks of random sizes; after a refusal free some at random. For each refusal of the
    second half the share of the capacity that no block was in; and how many files there were."""
    rng = random.Random(7)
    directory = NoDirectory()
    store = SegmentStore(
        "space",
        directory,
        NoMedium(),
        capacity_bytes=capacity_bytes,
        segment_bytes=SEGMENT_BYTES,
    )
    live: list[tuple[Shape, int]] = []
    used_bytes = done = 0
    lost: list[float] = []
    while done < operations or not lost:
        shape = Shape(size_of(rng), 16, 1)
        done += 1
        try:
            live.append((shape, store.reserve(shape, 1)[0].place))
            used_bytes += shape.payload_bytes
        except StoreFullError:
            if done >= operations // 2:
                lost.append(1 - used_bytes / capacity_bytes)
            for _ in range(rng.randint(1, _FREED_MAX)):
                at = rng.randrange(len(live))
                live[at], live[-1] = live[-1], live[at]
                freed, place = live.pop()
                store.release(freed, place, 1)
                used_bytes -= freed.payload_bytes
                done += 1
    return lost, directory.files_max
