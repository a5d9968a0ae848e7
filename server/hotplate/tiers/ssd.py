"""Blocks on a disk: the same segment files, read and written with system calls.

Payload never goes through a mapping, so that a failing disk is an OSError and no signal; large
pieces go past the page cache where the file system can do that (direct.py). The columns are small
and kept in memory too; changes are written at once.
"""

import errno
import os
from typing import Final

from hotplate.clock import Clock, SystemClock
from hotplate.tiers.direct import DirectFile, open_direct
from hotplate.tiers.directory import SegmentFile
from hotplate.tiers.opening import open_store
from hotplate.tiers.segment import Backing
from hotplate.tiers.store import SegmentStore
from hotplate.wire.segment import Layout

SLOT_ALIGNMENT: Final = 4096  # what direct IO asks for
READ_BYTES_MAX: Final = 0x7FFFF000  # what Linux moves at most in one call

_SYSTEM_CLOCK: Final = SystemClock()


def open_ssd_store(
    name: str,
    path: str,
    capacity_bytes: int,
    segment_bytes: int | None = None,
    *,
    clock: Clock = _SYSTEM_CLOCK,
    keep: bool = False,
    direct: bool = True,
) -> SegmentStore:
    """Open a storage in the directory at `path`.

    Segments of earlier servers are removed; with `keep` they are found (kvc.ports.KeptStore), and
    `settle` must be called before the store is used. `segment_bytes` None: an eighth of the
    capacity, at most 64 MiB. `direct`: use direct IO where it can be had. Raises StoreOpenError.
    """
    return open_store(
        name,
        path,
        FileMedium(direct=direct),
        capacity_bytes=capacity_bytes,
        segment_bytes=segment_bytes,
        now_ms=clock.now_ms(),
        keep=keep,
    )


class FileMedium:
    """Files."""

    __slots__ = ("_direct", "alignment", "blocking", "kind")

    def __init__(self, *, direct: bool) -> None:
        self._direct = direct
        self.kind = "ssd"
        self.blocking = True
        self.alignment = SLOT_ALIGNMENT

    def open(self, file: SegmentFile) -> Backing:
        """Use a new file."""
        return FileBacking(file, open_direct(file.path) if self._direct else None)

    def open_warm(self, file: SegmentFile) -> Backing:
        """Use a new file: its space was all that could be had ahead."""
        return self.open(file)


class FileBacking:
    """One file. `_columns` mirrors everything before the payload."""

    __slots__ = ("_columns", "_direct", "_file")

    def __init__(self, file: SegmentFile, direct: DirectFile | None) -> None:
        self._file = file
        self._direct = direct
        self._columns = bytearray()

    def lay_out(self, layout: Layout) -> None:
        """Write the header; the rest of a new file is zero."""
        self._columns = bytearray(layout.payload_offset)
        self.put(0, layout.pack())

    def take_up(self, layout: Layout) -> None:
        """Read header and columns of a file that is there."""
        self._columns = bytearray(self.read(0, layout.payload_offset))

    def restore(self) -> None:
        """Write the columns again."""
        write_all(self._file.descriptor, self._columns, 0)

    def put(self, offset: int, data: bytes) -> None:
        """Write to the columns: the mirror has it even if the file then fails."""
        self._columns[offset : offset + len(data)] = data
        write_all(self._file.descriptor, data, offset)

    def get(self, offset: int, size: int) -> bytes:
        """Read from the columns."""
        return bytes(self._columns[offset : offset + size])

    def view(self, offset: int, size: int) -> memoryview:
        """There is none: a caller that asks has not looked at `blocking`."""
        raise TypeError("a blocking storage has no views")

    def write(self, offset: int, data: memoryview | bytes) -> None:
        """Write payload; into the slot's padding too, which is nobody's."""
        direct = self._direct
        if direct is not None and direct.takes(offset, memoryview(data).nbytes):
            direct.write(offset, data)
            return
        write_all(self._file.descriptor, data, offset)

    def read(self, offset: int, size: int) -> bytes | memoryview:
        """Read payload."""
        if self._direct is not None and self._direct.gives(size):
            return self._direct.read(offset, size)
        return read_all(self._file.descriptor, size, offset)

    def check(self) -> None:
        """Reading past the end is an OSError where it happens."""

    def sync(self) -> None:
        """Put what was written on the device."""
        os.fdatasync(self._file.descriptor)

    def abandon(self, offset: int) -> None:
        """Nobody keeps these open for long."""


def read_all(descriptor: int, size: int, offset: int) -> bytes:
    """pread until all is read; OSError where the file ends before."""
    data = os.pread(descriptor, min(size, READ_BYTES_MAX), offset)
    if len(data) == size:
        return data
    parts = [data]
    rest = size - len(data)
    while rest:
        data = os.pread(descriptor, min(rest, READ_BYTES_MAX), offset + size - rest)
        if not data:
            raise OSError(errno.EIO, f"file ends {rest} bytes early")
        parts.append(data)
        rest -= len(data)
    return b"".join(parts)


def write_all(descriptor: int, data: memoryview | bytes | bytearray, offset: int) -> None:
    """pwrite until all is written."""
    written = os.pwrite(descriptor, data, offset)
    rest = memoryview(data).cast("B")
    while written < rest.nbytes:
        rest = rest[written:]
        offset += written
        written = os.pwrite(descriptor, rest, offset)
        if not written:
            raise OSError(errno.EIO, f"cannot write {rest.nbytes} bytes at {offset}")
