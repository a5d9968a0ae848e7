"""A byte stream that sends views and fills a given buffer, for asyncio.

Its blocking twin (`_sync/stream.py`) is written by hand: here the two worlds really differ. A
non-blocking socket rather than an asyncio transport, since a transport copies what it receives.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, TypeVar

from hotplate.clients.address import Address, sendable

Result = TypeVar("Result")


class AsyncStream:
    """One connected socket. Not for two tasks at once: its owner serialises."""

    __slots__ = ("_socket", "_timeout_s")

    def __init__(self, connected: socket.socket, timeout_s: float | None) -> None:
        self._socket = connected
        self._timeout_s = timeout_s

    @classmethod
    async def connect(cls, address: Address) -> "AsyncStream":
        """Connect, or raise OSError (TimeoutError is one)."""
        loop = asyncio.get_running_loop()
        if address.path is not None:
            unix = await _connected(socket.AF_UNIX, address.path, address.connect_timeout_s)
            return cls(unix, address.timeout_s)
        failure = OSError(f"no address found for {address.host}")
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        for family, _kind, _protocol, _name, target in found:
            try:
                tcp = await _connected(family, target, address.connect_timeout_s)
            except OSError as error:
                failure = error
                continue
            tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return cls(tcp, address.timeout_s)
        raise failure

    async def send(self, buffers: list[bytes | memoryview]) -> None:
        """Send all of `buffers` in order; large ones are not copied."""
        loop = asyncio.get_running_loop()
        for piece in sendable(buffers):
            async with asyncio.timeout(self._timeout_s):
                await loop.sock_sendall(self._socket, piece)

    async def receive_into(self, target: memoryview) -> int:
        """Wait for bytes and put them at the start of `target`; 0 at the end of the stream."""
        async with asyncio.timeout(self._timeout_s):
            return await asyncio.get_running_loop().sock_recv_into(self._socket, target)

    async def close(self) -> None:
        """Close the socket; may be repeated."""
        self._socket.close()


async def _connected(
    family: socket.AddressFamily, target: object, timeout_s: float | None
) -> socket.socket:
    connecting = socket.socket(family, socket.SOCK_STREAM)
    connecting.setblocking(False)
    try:
        async with asyncio.timeout(timeout_s):
            loop = asyncio.get_running_loop()
            await loop.sock_connect(connecting, target)  # type: ignore[arg-type]
    except BaseException:
        connecting.close()
        raise
    return connecting


async def run_blocking(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call what copies much or reads files, on a thread, so that the loop goes on."""
    return await asyncio.to_thread(function, *arguments)
