"""Block bytes that a client reaches by itself: the segment files of a server on the same host.

Owns: opening and keeping segment files, the checks of a mapped reader and writer (the rules are in
hotplate/tiers/FORMAT.md), views of the payloads. Knows no server. A file of a `memory` storage is
mapped, one of an `ssd` storage is read into memory.

A block counts as read only if its slot was serving the same generation under the same key before
and after. On processors that reorder loads, and for bytes that were on a disk, the sums are checked
too. A writer checks that the slot is still reserved for it.
"""

import mmap
import os
import platform
import struct
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from xxhash import xxh3_64_digest

from hotplate.clients.errors import ChecksumError, StaleBlockError
from hotplate.clients.files import check_known_sums, read_file, write_file
from hotplate.clients.keys import Keys
from hotplate.clients.records import Consume, Run, StorageInfo
from hotplate.wire.segment import (
    GENERATION_BYTES,
    HEADER_BYTES,
    STATE_SERVING,
    STATE_WRITING,
    Layout,
    SegmentFormatError,
    parse_layout,
)

# On these, stores become visible in the order they are made: the generation alone is proof.
_ORDERED_PROCESSORS = frozenset({"x86_64", "AMD64", "i686"})
_MADV_POPULATE_WRITE = 23  # Linux 5.14; the mmap module does not name it
_SUMMED_BYTES = 1 << 20  # written, then summed while the processor's cache still has them
_SEGMENTS_MAX = 1024  # kept open; beyond it the ones that are longest unused are closed


class UnreachableError(Exception):
    """These bytes cannot be reached through files: another host, no permission, not allowed."""


@dataclass(slots=True, weakref_slot=True)
class Segment:
    """One open segment file: mapped, or on an ssd only open (`mapping` is None).

    It is closed when nobody refers to it any more, so that a view in use is never pulled away.
    """

    path: Path
    layout: Layout
    mapping: mmap.mmap | None
    descriptor: int = -1
    mapped_in: set[int] = field(default_factory=set)  # slots whose pages this process has written

    def slot_of(self, run: Run, key_bytes: int) -> int:
        """The slot of the run's first block; UnreachableError if this is not the server's file."""
        layout, span = self.layout, run.span
        same = (layout.payload_bytes, layout.stride) == (span.block_bytes, span.stride)
        slot = layout.slot_at(run.offset)
        if not same or layout.key_bytes != key_bytes or slot + run.count > layout.slot_count:
            raise UnreachableError(f"{self.path} is not the segment that the server means")
        return slot

    def holds(self, run: Run, slot: int, keys: Keys) -> bool:
        """Whether the slots serve these keys, stored as the run's generation."""
        layout = self.layout
        found = self._column(layout.key_offset, keys.width, slot, run.count)
        wanted = keys[run.first : run.first + run.count].packed
        return self.is_in(STATE_SERVING, run, slot) and found == wanted

    def is_in(self, state: int, run: Run, slot: int) -> bool:
        """Whether all the run's slots are in `state` and of the run's generation."""
        layout, count = self.layout, run.count
        generation = struct.pack("<Q", run.span.generation)
        return (
            self._column(layout.state_offset, 1, slot, count) == bytes((state,)) * count
            and self._column(layout.generation_offset, GENERATION_BYTES, slot, count)
            == generation * count
        )

    def view(self, run: Run) -> memoryview:
        """The mapped bytes of a packed run."""
        size = run.count * run.span.block_bytes
        return memoryview(self.mapping)[run.offset : run.offset + size]  # type: ignore[arg-type]

    def map_in(self, run: Run, slot: int) -> None:
        """Have the kernel map the run's pages for writing at once, not one fault after the other:
        twice as fast for the first write. Best effort: kernels before 5.14 do not know it."""
        slots = range(slot, slot + run.count)
        if self.mapped_in.issuperset(slots):
            return
        self.mapped_in.update(slots)
        start = run.offset - run.offset % mmap.PAGESIZE
        size = run.offset + run.count * run.span.block_bytes - start
        with suppress(OSError):
            self.mapping.madvise(_MADV_POPULATE_WRITE, start, size)  # type: ignore[union-attr]

    def read(self, run: Run, buffer: memoryview) -> None:
        """Fill `buffer` with the bytes of a packed run, from the file."""
        filled = 0
        while filled < len(buffer):
            count = os.preadv(self.descriptor, [buffer[filled:]], run.offset + filled)
            if count == 0:
                raise StaleBlockError(f"{self.path} ends at {run.offset + filled}")
            filled += count

    def _column(self, column: int, width: int, slot: int, count: int) -> bytes:
        start, size = column + width * slot, width * count
        if self.mapping is not None:
            return self.mapping[start : start + size]
        return os.pread(self.descriptor, size, start)


@dataclass(slots=True)
class LocalSegments:
    """The segment files of the storages that are on this host. Threads may share one object."""

    storages: Mapping[str, StorageInfo]
    verify_sums: bool | None = None  # None: where the generation alone is no proof
    _open: dict[tuple[str, str, bool], Segment] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _buffers: list[bytearray] = field(default_factory=list)

    def read(self, run: Run, keys: Keys, spec_sizes: list[int], consume: Consume) -> None:
        """Give the run's payloads to `consume`, and be sure that they were the blocks'.

        UnreachableError before anything was given; StaleBlockError and ChecksumError also after.
        """
        path = self._block_file(run)
        if path is not None:
            with self._buffer(run.count * run.span.block_bytes) as buffer:
                try:
                    read_file(path, run, buffer)
                except OSError as error:
                    raise UnreachableError(f"{path}: {error}") from error
                if self.verify_sums is not False:
                    check_known_sums(run, buffer, spec_sizes)
                consume(run.first, run.count, buffer)
            return
        segment = self._segment(run, writable=False)
        slot = segment.slot_of(run, keys.width)
        if not segment.holds(run, slot, keys):
            raise StaleBlockError(f"blocks {run.first}..{run.first + run.count - 1} were reused")
        if segment.mapping is not None:
            self._hand_over(segment, run, segment.view(run), spec_sizes, consume)
        else:
            with self._buffer(run.count * run.span.block_bytes) as buffer:
                segment.read(run, buffer)
                self._hand_over(segment, run, buffer, spec_sizes, consume)
        if not segment.holds(run, slot, keys):
            raise StaleBlockError(f"blocks {run.first}..{run.first + run.count - 1} were reused")

    def write(self, run: Run, key_bytes: int, spec_sizes: list[int], produce: Consume) -> bytes:
        """Let `produce` fill the run's payloads in place; the sums, block by block.

        UnreachableError before anything was asked for: then the server has to take the bytes. (On
        a storage of type `file` also after: it may be called again.)
        """
        path = self._block_file(run)
        if path is not None:
            with self._buffer(run.count * run.span.block_bytes) as buffer:
                produce(run.first, run.count, buffer)
                try:
                    write_file(path, run.offset, buffer)
                except OSError as error:
                    raise UnreachableError(f"{path}: {error}") from error
                return b"".join(sums_of(buffer, spec_sizes))
        segment = self._segment(run, writable=True)
        slot = segment.slot_of(run, key_bytes)
        if not segment.is_in(STATE_WRITING, run, slot):
            raise UnreachableError(f"{segment.path}: the slots are not reserved for this session")
        segment.map_in(run, slot)
        sums: list[bytes] = []
        for piece in run.pieces(_SUMMED_BYTES):
            payloads = segment.view(piece)
            produce(piece.first, piece.count, payloads)
            sums.extend(sums_of(payloads, spec_sizes))
        return b"".join(sums)

    def close(self) -> None:
        """Let go of all files."""
        with self._lock:
            self._open.clear()
            self._buffers.clear()

    def _hand_over(
        self,
        segment: Segment,
        run: Run,
        payloads: memoryview,
        spec_sizes: list[int],
        consume: Consume,
    ) -> None:
        if self._needs_sums(segment):
            check_sums(run, payloads, spec_sizes)
        consume(run.first, run.count, payloads)

    @contextmanager
    def _buffer(self, size: int) -> Iterator[memoryview]:
        """A buffer that was used before if there is one: its pages are there already."""
        try:
            buffer = self._buffers.pop()
        except IndexError:
            buffer = bytearray()
        if len(buffer) < size:
            buffer = bytearray(size)
        yield memoryview(buffer)[:size]
        if not self._buffers:
            self._buffers.append(buffer)

    def _needs_sums(self, segment: Segment) -> bool:
        if self.verify_sums is not None:
            return self.verify_sums
        return segment.mapping is None or platform.machine() not in _ORDERED_PROCESSORS

    def _segment(self, run: Run, *, writable: bool) -> Segment:
        span = run.span
        identity = (span.storage, span.segment, writable)
        with self._lock:
            segment = self._open.pop(identity, None) or self._opened(run, writable=writable)
            if len(self._open) >= _SEGMENTS_MAX:
                del self._open[next(iter(self._open))]
            self._open[identity] = segment  # last: dicts keep the order of insertion
        return segment

    def _block_file(self, run: Run) -> Path | None:
        """The file of a run on a storage of type `file`; None on others. UnreachableError."""
        storage = self.storages.get(run.span.storage)
        if storage is None or storage.type != "file":
            return None
        return self._path(storage, run)

    def _path(self, storage: StorageInfo | None, run: Run) -> Path:
        if storage is None or storage.path is None or not storage.map_allowed:
            raise UnreachableError(f"storage {run.span.storage} may not be mapped")
        path = Path(storage.path, run.span.segment)
        if path.parent != Path(storage.path):
            raise UnreachableError(f"segment {run.span.segment!r} is no file name")
        return path

    def _opened(self, run: Run, *, writable: bool) -> Segment:
        storage = self.storages.get(run.span.storage)
        path = self._path(storage, run)
        assert storage is not None
        if writable and storage.type != "memory":
            raise UnreachableError(f"storage {storage.name} is written through the server")
        try:
            return open_segment(path, storage.type, writable=writable)
        except FileNotFoundError as error:
            if path.parent.is_dir():  # the mount is here: the segment went since it was answered
                raise StaleBlockError(f"{path} is gone") from error
            raise UnreachableError(f"{path}: {error}") from error
        except (OSError, SegmentFormatError) as error:
            raise UnreachableError(f"{path}: {error}") from error


def open_segment(path: Path, storage_type: str, *, writable: bool) -> Segment:
    """Open and, on memory, map one file. OSError or SegmentFormatError."""
    flags = os.O_RDWR if writable else os.O_RDONLY
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        layout = parse_layout(os.pread(descriptor, HEADER_BYTES, 0))
        if os.fstat(descriptor).st_size < layout.file_bytes:
            raise SegmentFormatError(f"the file is shorter than {layout.file_bytes} bytes")
        if storage_type != "memory":
            segment = Segment(path, layout, None, descriptor)
            weakref.finalize(segment, os.close, descriptor)
            return segment
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        mapping = mmap.mmap(descriptor, layout.file_bytes, access=access)
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)  # a mapping needs it no longer
    return Segment(path, layout, mapping)


def sums_of(payloads: memoryview, spec_sizes: list[int]) -> list[bytes]:
    """The xxh3-64 of each spec of each block, in the order they lie."""
    sums: list[bytes] = []
    start = 0
    while start < len(payloads):
        for size in spec_sizes:
            sums.append(xxh3_64_digest(payloads[start : start + size]))
            start += size
    return sums


def check_sums(run: Run, payloads: memoryview, spec_sizes: list[int]) -> None:
    """ChecksumError where a block's bytes are not those that its sums were made of."""
    width = run.span.block_bytes
    for index in range(run.count):
        block = payloads[index * width : (index + 1) * width]
        if b"".join(sums_of(block, spec_sizes)) != run.sums_of(index):
            raise ChecksumError(f"block {run.first + index} in {run.span.segment}")
