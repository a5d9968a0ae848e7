"""Receiving one large bulk string straight into the place where it belongs.

While it lasts this object is the transport's protocol: `asyncio.BufferedProtocol` lets the kernel
write into the target, no byte passes through the request reader. Then the connection takes over
again.
"""

import asyncio
import io
from typing import TYPE_CHECKING, Final

from hotplate.spec.model import PayloadTarget

if TYPE_CHECKING:
    from hotplate.server.connection import Connection

_CLEARED_BYTES_MAX: Final = 4 * 1024 * 1024


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

    def abandon(self) -> None:
        """Nothing to give back."""


class LargeBulkReceiver(asyncio.BufferedProtocol):
    """The protocol of a transport while a large bulk string comes in."""

    __slots__ = ("_connection", "filled", "target")

    def __init__(self, connection: "Connection", target: PayloadTarget, filled: int) -> None:
        self._connection = connection
        self.target = target
        self.filled = filled

    @property
    def complete(self) -> bool:
        """Whether every byte is in place."""
        return self.filled == len(self.target)

    def get_buffer(self, sizehint: int) -> memoryview:
        """The part of the target that is missing."""
        return self.target.view[self.filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """`nbytes` more are in place."""
        self.filled += nbytes
        self._connection.on_large_bytes(nbytes, complete=self.complete)

    def eof_received(self) -> bool:
        """The client sends no more: the request will never be complete."""
        return False

    def pause_writing(self) -> None:
        """The transport is full."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """The transport is empty again."""
        self._connection.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client went."""
        self._connection.connection_lost(exc)
