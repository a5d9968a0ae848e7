"""Receiving large bulk strings straight into the places where they belong.

Of a client that sends one, this object becomes the transport's protocol: what comes is read into a
small buffer, and as soon as the request reader finds a large bulk string there, into its target.
The connection first takes what the socket holds already with `read_now`, without another pass of
the loop; what comes later the loop hands in. No byte behind the first few passes through the
request reader. After some reads without a large bulk string the connection takes over again.
"""

import asyncio
import io
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from hotplate.spec.model import PayloadTarget

if TYPE_CHECKING:
    from hotplate.server.connection import Connection

_CLEARED_BYTES_MAX: Final = 4 * 1024 * 1024
HEAD_BYTES: Final = 16 * 1024  # of a request, read before its large bulk string is known
PIECE_BYTES: Final = 256 * 1024  # read at once: whoever sums them finds them in the caches
QUIET_READS_MAX: Final = 32  # without a large bulk string: then the client sends others again

ReadNow = Callable[[int, Sequence[memoryview]], int]
"""(descriptor, buffers) -> bytes read; BlockingIOError where none are there."""

read_socket: Final = cast("ReadNow", os.readv)


class HeapTarget:
    """A large bulk string that has no other place to go.

    BytesIO gives its bytes away without a copy, which a bytearray can't; but it wants them
    allocated and cleared first, so a giant that may never come is received into a bytearray.
    """

    __slots__ = ("_file", "_size", "view")

    def __init__(self, size: int) -> None:
        self._size = size
        self._file = io.BytesIO(bytes(size)) if size <= _CLEARED_BYTES_MAX else None
        self.view = memoryview(bytearray(size)) if self._file is None else self._file.getbuffer()

    def __len__(self) -> int:
        return self._size

    def take(self) -> bytes:
        """What was received; the target is done with."""
        if self._file is None:
            return bytes(self.view)
        self.view.release()
        return self._file.getvalue()

    def arrived(self, filled: int) -> None:
        """Nothing to do with them yet."""

    def abandon(self) -> None:
        """Nothing to give back."""


def _read(read: ReadNow, descriptor: int, buffers: Sequence[memoryview]) -> int:
    """Read what is there: 0 where nothing is, or only the end, which the transport comes upon."""
    try:
        return read(descriptor, buffers)
    except BlockingIOError:
        return 0


class LargeBulkReceiver(asyncio.BufferedProtocol):
    """The protocol of a transport whose client sends large bulk strings."""

    __slots__ = ("_behind", "_connection", "_head", "filled", "quiet_reads", "target")

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._head = memoryview(bytearray(HEAD_BYTES))
        self._behind = 0  # bytes in it that follow the bulk string under way
        self.target: PayloadTarget | None = None  # of the bulk string under way
        self.filled = 0  # bytes of it that are in place
        self.quiet_reads = 0

    @property
    def complete(self) -> bool:
        """Whether every byte of the bulk string under way is in place."""
        return self.target is not None and self.filled == len(self.target)

    def begin(self, target: PayloadTarget, filled: int) -> None:
        """A bulk string comes, and so many bytes of it came."""
        self.target = target
        self.filled = filled
        self.quiet_reads = 0
        target.arrived(filled)

    def end(self) -> Any:
        """The target, filled, as an argument."""
        target, self.target, self.filled = self.target, None, 0
        return target.take() if isinstance(target, HeapTarget) else target

    def abandon(self) -> None:
        """The rest will not come."""
        if self.target is not None:
            self.target.abandon()
            self.target, self.filled = None, 0

    def read_now(self, read: ReadNow, descriptor: int) -> int:
        """Take what the socket holds of the bulk string, and some that follows; bytes read."""
        target = self.target
        assert target is not None
        size = len(target)
        before = filled = self.filled
        while filled < size:
            piece = target.view[filled : filled + PIECE_BYTES]
            is_last = filled + len(piece) == size
            count = _read(read, descriptor, (piece, self._head) if is_last else (piece,))
            if not count:
                break
            self._behind = max(count - len(piece), 0)
            filled += count - self._behind
            target.arrived(filled)
        self.filled = filled
        return filled - before + self._behind

    def read_behind(self, read: ReadNow, descriptor: int) -> int:
        """Take some of what follows the complete bulk string, unless it was; bytes read."""
        if self._behind:
            return 0
        self._behind = _read(read, descriptor, (self._head,))
        return self._behind

    def take_behind(self) -> bytes:
        """What followed the bulk string."""
        behind, self._behind = self._behind, 0
        return bytes(self._head[:behind])

    # -- the transport's side ------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        """The part of the target that is missing, or room for the next request's head."""
        target = self.target
        if target is None or self.filled == len(target):
            return self._head
        return target.view[self.filled : self.filled + PIECE_BYTES]

    def buffer_updated(self, nbytes: int) -> None:
        """`nbytes` more are there."""
        if self.target is None or self.complete:
            self.quiet_reads += 1
            self._connection.data_received(bytes(self._head[:nbytes]))
        else:
            self.filled += nbytes
            self.target.arrived(self.filled)
            self._connection.on_large_bytes(nbytes, complete=self.complete)

    def eof_received(self) -> bool:
        """The client sends no more."""
        return self._connection.eof_received()

    def pause_writing(self) -> None:
        """The transport is full."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """The transport is empty again."""
        self._connection.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client went."""
        self._connection.connection_lost(exc)
