"""Receiving one large bulk string straight into the place where it belongs.

While it lasts this object is the transport's protocol: `asyncio.BufferedProtocol` lets the kernel
write into the target, no byte passes through the request reader. Then the connection takes over
again.
"""

import asyncio
from typing import TYPE_CHECKING

from hotplate.spec.model import PayloadTarget

if TYPE_CHECKING:
    from hotplate.server.connection import Connection


class HeapTarget:
    """A large bulk string that has no other place to go."""

    __slots__ = ("buffer", "view")

    def __init__(self, size: int) -> None:
        self.buffer = bytearray(size)
        self.view = memoryview(self.buffer)

    def __len__(self) -> int:
        return len(self.buffer)

    def abandon(self) -> None:
        """Nothing to give back."""


class LargeBulkReceiver(asyncio.BufferedProtocol):
    """The protocol of a transport while a large bulk string comes in."""

    __slots__ = ("_connection", "filled", "target")

    def __init__(self, connection: "Connection", target: PayloadTarget, filled: int) -> None:
        self._connection = connection
        self.target = target
        self.filled = filled

    def get_buffer(self, sizehint: int) -> memoryview:
        """The part of the target that is missing."""
        return self.target.view[self.filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """`nbytes` more are in place."""
        self.filled += nbytes
        self._connection.on_large_bytes(nbytes, complete=self.filled == len(self.target))

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
