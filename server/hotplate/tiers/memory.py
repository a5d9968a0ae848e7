"""Blocks in shared memory: segment files on a memory file system, mapped once each.

Any process of the same trust domain can map the files too (FORMAT.md). Every page of a file is
allocated when it is made, so that a full file system is an error there and no signal later.
"""

import errno
import mmap
import os
from contextlib import suppress
from typing import Final
from urllib.parse import quote

from xxhash import xxh3_128_hexdigest

from hotplate.clock import Clock, SystemClock
from hotplate.tiers.directory import SegmentFile
from hotplate.tiers.opening import open_store
from hotplate.tiers.segment import Backing
from hotplate.tiers.store import SegmentStore
from hotplate.wire.segment import Layout

SHARED_MEMORY_PATH: Final = "/dev/shm"
SLOT_ALIGNMENT: Final = 64  # a cache line; payloads of tensors are aligned for vector loads

_NAMES_BYTES_MAX: Final = 200  # a file name has at most 255
_WARM_BYTES: Final = 4 * 1024 * 1024  # per system call
_SYSTEM_CLOCK: Final = SystemClock()


def open_memory_store(
    name: str,
    path: str,
    capacity_bytes: int,
    segment_bytes: int | None = None,
    *,
    clock: Clock = _SYSTEM_CLOCK,
    keep: bool = False,
) -> SegmentStore:
    """Open a storage in the memory file system at `path` (see `default_path`).

    Segments of earlier servers are removed; with `keep` they are found (kvc.ports.KeptStore), and
    `settle` must be called before the store is used. `segment_bytes` None: an eighth of the
    capacity, at most 64 MiB. Raises StoreOpenError.
    """
    return open_store(
        name,
        path,
        MemoryMedium(),
        capacity_bytes=capacity_bytes,
        segment_bytes=segment_bytes,
        now_ms=clock.now_ms(),
        keep=keep,
    )


def default_path(run_name: str, storage_name: str) -> str:
    """Where a storage goes that was given no path. `run_name` tells servers on a host apart."""
    both = (run_name, storage_name)
    names = ":".join(quote(name, safe="", errors="surrogateescape") for name in both)
    if len(names) > _NAMES_BYTES_MAX:
        names = xxh3_128_hexdigest(names.encode())
    return os.path.join(SHARED_MEMORY_PATH, f"hotplate-{names}")


class MemoryMedium:
    """Mapped files."""

    __slots__ = ("alignment", "blocking", "kind")

    def __init__(self) -> None:
        self.kind = "memory"
        self.blocking = False
        self.alignment = SLOT_ALIGNMENT

    def open(self, file: SegmentFile) -> Backing:
        """Map a new file."""
        return MappedBacking(file)

    def open_warm(self, file: SegmentFile) -> Backing:
        """Map a new file and touch every page of the mapping, without holding the interpreter.

        The kernel clears a page when it is first touched: half the speed of the first write.
        """
        backing = MappedBacking(file)
        descriptor = os.open("/dev/zero", os.O_RDONLY | os.O_CLOEXEC)
        try:
            for start in range(0, file.file_bytes, _WARM_BYTES):
                size = min(_WARM_BYTES, file.file_bytes - start)
                os.readv(descriptor, [backing.view(start, size)])
        finally:
            os.close(descriptor)
        return backing


class MappedBacking:
    """A mapping of a whole file. It is unmapped when it and all its views are gone.

    Never unmapped by hand: a reply that is being sent may still hold a view.
    """

    __slots__ = ("_bytes", "_file", "_mapping")

    def __init__(self, file: SegmentFile) -> None:
        self._file = file
        self._mapping = mmap.mmap(file.descriptor, file.file_bytes)
        self._bytes = memoryview(self._mapping)

    def lay_out(self, layout: Layout) -> None:
        """Write the header."""
        self.put(0, layout.pack())

    def take_up(self, layout: Layout) -> None:
        """The mapping has it all."""

    def restore(self) -> None:
        """What was put is in the mapping."""

    def put(self, offset: int, data: bytes) -> None:
        """Write to the columns."""
        self._bytes[offset : offset + len(data)] = data

    def get(self, offset: int, size: int) -> bytes:
        """Read from the columns."""
        return bytes(self._bytes[offset : offset + size])

    def view(self, offset: int, size: int) -> memoryview:
        """Payload, in place."""
        self.check()
        return self._bytes[offset : offset + size]

    def write(self, offset: int, data: memoryview | bytes) -> None:
        """Copy payload in."""
        self.check()
        source = memoryview(data).cast("B")
        self._bytes[offset : offset + source.nbytes] = source

    def read(self, offset: int, size: int) -> bytes:
        """Copy payload out."""
        self.check()
        return bytes(self._bytes[offset : offset + size])

    def check(self) -> None:
        """Touching pages that someone cut off would end the process: OSError before that."""
        if os.lseek(self._file.descriptor, 0, os.SEEK_END) < len(self._bytes):
            raise OSError(errno.EIO, f"file {self._file.name} was cut")

    def sync(self) -> None:
        """Memory is as durable as it gets."""

    def abandon(self, offset: int) -> None:
        """Punch a hole: clients keep mappings, and with them the memory of a removed file.

        They find zeros then, and before that the columns, which say that the slots are free.
        """
        # Not every file system can. Then the space comes back with the last mapping of the file.
        with suppress(OSError):
            self._mapping.madvise(mmap.MADV_REMOVE, offset, len(self._bytes) - offset)
