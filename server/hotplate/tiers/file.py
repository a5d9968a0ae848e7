"""Blocks in files of their own, in a directory that engines mount too (NFS, 3FS).

    place p ──► file  <p - p % keys_per_file, 16 hex digits>.block,  slot p % keys_per_file

A file holds one block, or up to `keys_per_file` of one shape, and nothing else: no header. It comes
into being with the first write, by an engine or by the server. Places are never used twice, here or
after a restart, so that a file name means the same blocks for ever and a stale location finds no
file. Reserving and releasing are bookkeeping; a file whose last block was released is removed by a
job of its own (`begin_removal`), since a shared file system answers when it likes.

Invariants:
- `allocated_bytes` is the sum of all slots that were handed out in files that are not removed yet,
  and never above `capacity_bytes`;
- a file is removed only when none of its slots is reserved, and gets no new slot before that.

All calls are for one thread, except those marked.
"""

import errno
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from hotplate.blocks import Extent, Found, Shape, StoreFullError
from hotplate.clock import Clock, SystemClock
from hotplate.tiers.directory import (
    FILE_MODE,
    Directory,
    DirectoryGoneError,
    StoreOpenError,
)
from hotplate.tiers.ssd import read_all, write_all
from hotplate.wire.segment import round_up

SLOT_ALIGNMENT: Final = 4096  # what direct IO asks for, where a file holds several blocks
REMOVALS_PER_JOB: Final = 256

_NAME: Final = re.compile(r"[0-9a-f]{16}\.block")
_SYSTEM_CLOCK: Final = SystemClock()
_UNKNOWN: Final = Shape(0, 0, 0)

Removed = list[tuple[int, OSError | None]]


class BlockLostError(OSError):
    """A block's file is not there or too short, though the storage is well."""


def open_file_store(
    name: str,
    path: str,
    capacity_bytes: int,
    keys_per_file: int = 1,
    *,
    clock: Clock = _SYSTEM_CLOCK,
    keep: bool = False,
) -> "FileStore":
    """Open a storage in the directory at `path`; block files that are there are removed.

    With `keep` they stay until `settle`: those that are adopted stay for good. StoreOpenError.
    """
    directory = Directory(path, clock.now_ms(), keep=True)
    try:
        if directory.kept:
            raise StoreOpenError(f"directory '{path}' has segment files of another storage")
        there = {int(each[:16], 16) for each in _block_files(directory.path)}
        store = FileStore(name, directory, capacity_bytes, keys_per_file, there)
        if not keep:
            store.settle()
    except OSError as error:
        directory.close(remove=False)
        raise StoreOpenError(f"cannot use what is in '{path}': {error}") from error
    except StoreOpenError:
        directory.close(remove=directory.is_new)
        raise
    return store


class FileStore:
    """A BlockStore, KeptStore and tiers.watched.Store. Use `open_file_store`."""

    __slots__ = (
        "_directory",
        "_doomed",
        "_files",
        "_generation",
        "_left",
        "_open",
        "_removing",
        "allocated_bytes",
        "blocking",
        "capacity_bytes",
        "keys_per_file",
        "kind",
        "name",
        "segment_bytes",
    )

    def __init__(
        self,
        name: str,
        directory: Directory,
        capacity_bytes: int,
        keys_per_file: int,
        left: set[int],
    ) -> None:
        self.name = name
        self.kind = "file"
        self.blocking = True
        self.capacity_bytes = capacity_bytes
        self.keys_per_file = keys_per_file
        self.segment_bytes = 0  # what must be free to go on; a file needs what its blocks need
        self.allocated_bytes = 0
        self._directory = directory
        self._generation = directory.next_generation()  # slots never had another
        self._files: dict[int, tuple[int, int]] = {}  # first place: reserved slots, bytes
        self._open: dict[Shape, int] = {}  # the next place of a file that has slots left
        self._doomed: deque[tuple[int, int]] = deque()  # first place and bytes: to be removed
        self._removing: list[tuple[int, int]] = []
        self._left = left  # files of an earlier server, nobody's yet

    def reserve(self, shape: Shape, count: int) -> list[Extent]:
        """Take `count` slots, or StoreFullError. Does no IO but for the directory's bound."""
        if count < 1 or shape.payload_bytes < 1:
            raise ValueError(f"{count} slots of {shape}")
        stride = self._stride(shape)
        room = (self.capacity_bytes - self.allocated_bytes) // stride
        if room < count:
            need = count * shape.payload_bytes
            raise StoreFullError(need, max(room, 0) * shape.payload_bytes)
        extents: list[Extent] = []
        first = self._open.get(shape, 0)
        ahead = min(count, self._together(first)) if first else 0
        if ahead:
            extents.append(Extent(first, ahead, self._generation))
        if ahead < count:
            first = self._new_places(count - ahead)
            extents.append(Extent(first, count - ahead, self._generation))
        for extent in extents:
            self._hand_out(extent, stride)
        following = extents[-1].place + extents[-1].count
        if following % self.keys_per_file:
            self._open[shape] = following
        else:
            self._open.pop(shape, None)
        return extents

    def release(self, shape: Shape, place: int, count: int) -> None:
        """Give slots back; files without a reserved slot are removed soon."""
        for first, bits in self._pieces(place, count):
            if self._files.get(first, (0, 0))[0] & bits != bits:
                raise ValueError(f"place {place:#x}: of {count} slots some are free already")
        for first, bits in self._pieces(place, count):
            mask, size_bytes = self._files[first]
            if mask ^ bits:
                self._files[first] = mask ^ bits, size_bytes
                continue
            del self._files[first]
            self._doomed.append((first, size_bytes))
            if self._open.get(shape, 0) // self.keys_per_file == first // self.keys_per_file:
                del self._open[shape]

    def publish(self, shape: Shape, place: int, keys: bytes, sums: bytes) -> None:
        """Nothing to write down: who has a location knows all there is."""
        count = len(keys) // shape.key_bytes
        if not count or any(not self._holds(place + i) for i in range(count)):
            raise ValueError(f"place {place:#x}: of {count} slots some are free")
        del sums

    def generation(self, shape: Shape, place: int) -> int:
        """The slot's generation."""
        del shape
        if not self._holds(place):
            raise ValueError(f"place {place:#x} is free")
        return self._generation

    def view(self, shape: Shape, place: int) -> memoryview:
        """There is none: a caller that asks has not looked at `blocking`."""
        raise TypeError("a blocking storage has no views")

    def write(self, shape: Shape, place: int, offset: int, data: memoryview | bytes) -> None:
        """(any thread) Write into the slot, making the file if need be. Raises OSError."""
        self._check(shape, offset, memoryview(data).nbytes)
        descriptor = self._open_file(place, os.O_WRONLY | os.O_CREAT)
        try:
            write_all(descriptor, data, self._offset(shape, place) + offset)
        finally:
            os.close(descriptor)

    def read(self, shape: Shape, place: int, offset: int, size: int) -> bytes:
        """(any thread) Read from the slot. BlockLostError where only this file is gone or cut."""
        self._check(shape, offset, size)
        try:
            descriptor = self._open_file(place, os.O_RDONLY)
        except FileNotFoundError as error:
            if not self._directory.is_there():
                raise
            raise BlockLostError(errno.ENOENT, f"file of block {place:#x} is gone") from error
        try:
            start = self._offset(shape, place) + offset
            if os.fstat(descriptor).st_size < start + size:
                raise BlockLostError(errno.EIO, f"file of block {place:#x} is cut")
            return read_all(descriptor, size, start)
        finally:
            os.close(descriptor)

    def sync(self, places: Sequence[int]) -> None:
        """(any thread) Make the files of these slots durable, as far as they are there."""
        for first in {self._first(place) for place in places}:
            descriptor = self._open_file(first, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        self._directory.sync()

    def locate(self, shape: Shape, place: int) -> tuple[str, int, int]:
        """(file name, byte offset of the payload in it, stride to the next slot of the file)."""
        return _name(self._first(place)), self._offset(shape, place), self._stride(shape)

    def slots_from(self, place: int) -> int:
        """How many slots from this one on lie in the same file."""
        return self._together(place)

    def describe(self) -> Mapping[str, Any]:
        """Where the files are, and figures."""
        free = max(self.capacity_bytes - self.allocated_bytes, 0)
        return {
            "path": self._directory.path,
            "keys_per_file": self.keys_per_file,
            "capacity_bytes": self.capacity_bytes,
            "allocated_bytes": self.allocated_bytes,
            "free_bytes": free,
            "largest_free_bytes": free,
            "segments": len(self._files),
        }

    def close(self, *, remove: bool) -> None:
        """Let go of the directory; with `remove` the files go too."""
        try:
            if remove and self._directory.is_there():
                for name in _block_files(self._directory.path):
                    os.unlink(os.path.join(self._directory.path, name))
        finally:
            self._directory.close(remove=remove)

    # Files that go

    def begin_removal(self) -> Callable[[], Removed] | None:
        """The job of removing files without a reserved slot; None if there are none, or one is out.

        Run it on a thread and pass its result or exception to `finish_removal`.
        """
        if self._removing or not self._doomed:
            return None
        count = min(len(self._doomed), REMOVALS_PER_JOB)
        self._removing = [self._doomed.popleft() for _ in range(count)]
        firsts = [first for first, _ in self._removing]
        return lambda: [(first, self._remove(first)) for first in firsts]

    def finish_removal(self, result: Removed | Exception) -> OSError | None:
        """Count what is gone; what is not will be tried again. The last error, if there was one."""
        removing, self._removing = self._removing, []
        if isinstance(result, Exception):
            self._doomed.extend(removing)
            if isinstance(result, OSError):
                return result
            raise result
        failed: OSError | None = None
        for (first, size_bytes), (_, error) in zip(removing, result, strict=True):
            if error is None:
                self.allocated_bytes -= size_bytes
            else:
                self._doomed.append((first, size_bytes))
                failed = error
        return failed

    def _remove(self, first: int) -> OSError | None:
        try:
            os.unlink(os.path.join(self._directory.path, _name(first)))
        except FileNotFoundError:
            return None  # never written, or removed by someone else: what was asked for is so
        except OSError as error:
            return error
        return None

    # What an earlier server left (kvc.ports.KeptStore)

    def found(self) -> Iterator[Found]:
        """Nothing: files don't say which blocks they hold. `adopt` knows them by name."""
        return iter(())

    def adopt(self, place: int, count: int, generation: int) -> list[Found]:
        """Those of these slots whose files are there. Shape, key and sums are not known here."""
        adopted: list[Found] = []
        for first, bits in self._pieces(place, count):
            mask, size_bytes = self._files.get(first, (0, 0))
            if first not in self._left or mask & bits:
                continue
            if not mask:
                path = os.path.join(self._directory.path, _name(first))
                size_bytes = os.stat(path).st_size
                self.allocated_bytes += size_bytes
            self._files[first] = mask | bits, size_bytes
            start = first + (bits & -bits).bit_length() - 1
            adopted.append(Found(_UNKNOWN, start, bits.bit_count(), generation, True, b"", b""))
        return adopted

    def settle(self) -> int:
        """Remove the files that were not adopted; how many. Raises OSError."""
        gone = self._left - self._files.keys()
        self._left = set()
        errors = [error for first in gone if (error := self._remove(first)) is not None]
        if errors:
            raise errors[0]
        return len(gone)

    # What befell the directory (tiers.watched.Store)

    def examine(self, need_bytes: int, *, probe: bool) -> frozenset[int]:
        """(any thread) Whether the storage works: DirectoryGoneError, or another OSError."""
        if not self._directory.is_there():
            raise DirectoryGoneError(errno.ENOENT, f"directory {self._directory.path} is gone")
        if probe:
            self._directory.probe(need_bytes)
        return frozenset()

    def reopen(self) -> frozenset[int]:
        """After DirectoryGoneError: the upper halves of places that are lost with the directory."""
        if self._directory.reopen():
            return frozenset()
        return frozenset(first >> 32 for first in self._files)

    def lose(self, indices: frozenset[int]) -> None:
        """Nothing more is to be done: their owners release the slots of files that are gone."""

    def restore(self) -> None:
        """There are no columns."""

    # Places and files

    def _new_places(self, count: int) -> int:
        """The first of so many places that no file has, at the start of a file."""
        unit = self.keys_per_file
        first = self._directory.next_generations(count + unit)
        return round_up(first, unit)

    def _hand_out(self, extent: Extent, stride: int) -> None:
        for first, bits in self._pieces(extent.place, extent.count):
            mask, size_bytes = self._files.get(first, (0, 0))
            self._files[first] = mask | bits, size_bytes + stride * bits.bit_count()
        self.allocated_bytes += stride * extent.count

    def _pieces(self, place: int, count: int) -> Iterator[tuple[int, int]]:
        """The files of consecutive places: first place, and a bit for each slot that is meant."""
        while count > 0:
            here = min(count, self._together(place))
            slot = place % self.keys_per_file
            yield place - slot, ((1 << here) - 1) << slot
            place += here
            count -= here

    def _holds(self, place: int) -> bool:
        first = self._first(place)
        return bool(self._files.get(first, (0, 0))[0] >> (place - first) & 1)

    def _first(self, place: int) -> int:
        return place - place % self.keys_per_file

    def _together(self, place: int) -> int:
        return self.keys_per_file - place % self.keys_per_file

    def _stride(self, shape: Shape) -> int:
        if self.keys_per_file == 1:
            return shape.payload_bytes
        return round_up(shape.payload_bytes, SLOT_ALIGNMENT)

    def _offset(self, shape: Shape, place: int) -> int:
        return place % self.keys_per_file * self._stride(shape)

    def _check(self, shape: Shape, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > shape.payload_bytes:
            raise ValueError(f"{size} bytes at {offset} exceed a slot of {shape.payload_bytes}")

    def _open_file(self, place: int, flags: int) -> int:
        path = os.path.join(self._directory.path, _name(self._first(place)))
        return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)


def _name(first: int) -> str:
    return f"{first:016x}.block"


def _block_files(path: str) -> list[str]:
    with os.scandir(path) as entries:
        return [
            entry.name
            for entry in entries
            if _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
        ]
