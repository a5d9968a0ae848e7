"""Reading and writing a file past the page cache (O_DIRECT), for large pieces.

A block in the cache of the kernel is memory that the `memory` storage could have, and writing it
back later competes with reads. Direct IO wants addresses, offsets and sizes that are multiples of
ALIGNMENT: bytes to be written are copied to a buffer that is, bytes are read into one.

Not for pieces that do not begin at a multiple, or are small: their caller uses the page cache. Both
may be used on one file, the kernel keeps them coherent.
"""

import ctypes
import errno
import mmap
import os
import threading
import weakref
from collections import deque
from contextlib import suppress
from typing import Final

from hotplate.wire.segment import round_up

ALIGNMENT: Final = 4096
DIRECT_BYTES_MIN: Final = 64 * 1024  # below it a copy in the page cache is cheaper than a wait
_BUFFERS_BYTES_MAX: Final = 64 * 1024 * 1024  # kept for reads to come
_CHUNK_BYTES: Final = 4 * 1024 * 1024  # of one write
_HUGE_PAGE_BYTES: Final = 2 * 1024 * 1024
_HUGE_BYTES_MIN: Final = 1024 * 1024  # a smaller buffer is of small pages: they are few


class Buffer:
    """Aligned memory. Large ones are of huge pages where the kernel has them: a device takes a
    request of so many pieces of memory (128 to 254), which is less than a MiB of small pages."""

    __slots__ = ("_mapping", "_start", "size")

    def __init__(self, size: int) -> None:
        if size < _HUGE_BYTES_MIN:
            self._mapping = mmap.mmap(-1, size)
            self._start, self.size = 0, size
            return
        self.size = round_up(size, _HUGE_PAGE_BYTES)
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self._mapping = mmap.mmap(-1, self.size + _HUGE_PAGE_BYTES, flags=flags)
        with suppress(OSError):  # a kernel without huge pages: slower, and no worse
            self._mapping.madvise(mmap.MADV_HUGEPAGE)
        self._start = -ctypes.addressof(ctypes.c_char.from_buffer(self._mapping)) % _HUGE_PAGE_BYTES

    def memory(self) -> ctypes.Array[ctypes.c_char]:
        """All of it. Whoever looks at it keeps the object that is answered."""
        return (ctypes.c_char * self.size).from_buffer(self._mapping, self._start)


_threads: Final = threading.local()


def _memory_of_thread() -> ctypes.Array[ctypes.c_char]:
    """Aligned memory that this thread has used before: its pages are there already."""
    memory: ctypes.Array[ctypes.c_char] | None = getattr(_threads, "memory", None)
    if memory is None:
        memory = _threads.memory = Buffer(_CHUNK_BYTES).memory()
    return memory


class Buffers:
    """Buffers to read into, used again once nobody looks at them: the first touch of fresh memory
    takes as long as the read. Any thread."""

    __slots__ = ("_free", "_held_bytes")

    def __init__(self) -> None:
        self._free: deque[Buffer] = deque()
        self._held_bytes = 0  # of the free ones; threads may miscount it a little

    def lend(self, size: int) -> memoryview:
        """At least `size` bytes, cut to that. They are ours again when no view is left."""
        buffer = self._find(size)
        memory = buffer.memory()
        weakref.finalize(memory, self._give_back, buffer).atexit = False
        return memoryview(memory).cast("B")[:size]

    def _find(self, size: int) -> Buffer:
        for _ in range(len(self._free)):
            try:
                buffer = self._free.popleft()
            except IndexError:
                break
            if size <= buffer.size <= 2 * size:
                self._held_bytes -= buffer.size
                return buffer
            self._free.append(buffer)
        return Buffer(size)

    def _give_back(self, buffer: Buffer) -> None:
        if self._held_bytes + buffer.size <= _BUFFERS_BYTES_MAX:
            self._held_bytes += buffer.size
            self._free.append(buffer)


_buffers: Final = Buffers()


class DirectFile:
    """A file opened once more. The descriptor closes with its last user."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __del__(self) -> None:
        os.close(self._descriptor)

    def takes(self, offset: int, size: int) -> bool:
        """Whether to write this piece here."""
        return size >= DIRECT_BYTES_MIN and offset % ALIGNMENT == 0

    def gives(self, size: int) -> bool:
        """Whether to read a piece of this size here."""
        return size >= DIRECT_BYTES_MIN

    def write(self, offset: int, data: memoryview | bytes) -> None:
        """Write all. What follows up to the next multiple of ALIGNMENT becomes zero. OSError."""
        source = memoryview(data).cast("B")
        memory = _memory_of_thread()
        buffer = memoryview(memory).cast("B")
        for start in range(0, len(source), _CHUNK_BYTES):
            piece = source[start : start + _CHUNK_BYTES]
            padded = round_up(len(piece), ALIGNMENT)
            if start == 0 and len(piece) == len(data) and isinstance(data, bytes):
                # Other threads go on meanwhile, unlike during the copy of a slice.
                ctypes.memmove(memory, data, len(data))
            else:
                buffer[: len(piece)] = piece
            if padded != len(piece):
                buffer[len(piece) : padded] = bytes(padded - len(piece))
            self._write_all(buffer[:padded], offset + start)

    def read(self, offset: int, size: int) -> memoryview:
        """Read all; OSError where the file ends before."""
        start = offset - offset % ALIGNMENT
        buffer = _buffers.lend(round_up(offset + size - start, ALIGNMENT))
        wanted = offset + size - start
        filled = 0
        while filled < wanted:
            count = os.preadv(self._descriptor, [buffer[filled:]], start + filled)
            filled += count
            # A piece that ends between multiples is the end of the file: no further read may begin.
            if filled < wanted and (not count or filled % ALIGNMENT):
                raise OSError(errno.EIO, f"file ends {wanted - filled} bytes early")
        return buffer[offset - start : wanted]

    def _write_all(self, rest: memoryview, offset: int) -> None:
        while rest:
            count = os.pwritev(self._descriptor, [rest], offset)
            if count <= 0 or count % ALIGNMENT:
                raise OSError(errno.EIO, f"cannot write {len(rest)} bytes at {offset}")
            rest = rest[count:]
            offset += count


def open_direct(path: str) -> DirectFile | None:
    """The file for direct IO, None where the file system has none. Raises OSError."""
    flags = os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return DirectFile(os.open(path, flags))
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
            return None
        raise
