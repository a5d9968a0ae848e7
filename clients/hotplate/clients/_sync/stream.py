"""A byte stream that sends views and fills a given buffer, blocking.

Written by hand, unlike the rest of this package: the twin of `_async/stream.py`.
"""

import socket
from collections.abc import Callable
from typing import Any, TypeVar

from hotplate.clients.address import Address, sendable

Result = TypeVar("Result")


class Stream:
    """One connected socket. Not for two threads at once: its owner serialises."""

    __slots__ = ("_socket",)

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    @classmethod
    def connect(cls, address: Address) -> "Stream":
        """Connect, or raise OSError (TimeoutError is one)."""
        if address.path is None:
            target = (address.host, address.port)
            connected = socket.create_connection(target, address.connect_timeout_s)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connected.settimeout(address.connect_timeout_s)
            try:
                connected.connect(address.path)
            except BaseException:
                connected.close()
                raise
        connected.settimeout(address.timeout_s)
        return cls(connected)

    def send(self, buffers: list[bytes | memoryview]) -> None:
        """Send all of `buffers` in order; large ones are not copied."""
        for piece in sendable(buffers):
            self._socket.sendall(piece)

    def receive_into(self, target: memoryview) -> int:
        """Wait for bytes and put them at the start of `target`; 0 at the end of the stream."""
        return self._socket.recv_into(target)

    def close(self) -> None:
        """Close the socket; may be repeated."""
        self._socket.close()


def run_blocking(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call what copies much or reads files: here simply in place."""
    return function(*arguments)
