"""One connection for payloads: RESP2 requests out of views, bulk replies straight into a buffer.

redis-py copies a large value several times on its way in. Here a bulk's bytes go from the socket
into the buffer the caller gave; only what came along with a header is copied once.

    send(command) ... send(command)      requests may be pipelined
    receive() / receive_bulk_into(view)  one reply each, in order

Whoever gets another exception than a `KVCacheError` out of a call must close the connection: the
stream may then stand in the middle of a reply.
"""

from collections.abc import Sequence

from hotplate.clients._async.stream import AsyncStream
from hotplate.clients.address import Address
from hotplate.clients.errors import error_of_text

# What one system call may bring while a header is awaited: beyond it, bytes are copied twice.
_HEAD_BYTES = 64 * 1024
_LINE_BYTES_MAX = 16 * 1024

Reply = int | bytes | bytearray | None


class AsyncPayloadConnection:
    """Requests and replies in order. Not for two tasks at once: its owner serialises."""

    __slots__ = ("_begin", "_end", "_head", "_stream", "_view", "awaited")

    def __init__(self, stream: AsyncStream) -> None:
        self._stream = stream
        self._head = bytearray(_HEAD_BYTES)
        self._view = memoryview(self._head)
        self._begin = self._end = 0
        self.awaited = 0  # replies, and elements of an array, that are still to be taken

    @classmethod
    async def open(cls, address: Address) -> "AsyncPayloadConnection":
        """Connect and log in."""
        connection = cls(await AsyncStream.connect(address))
        login = address.login
        if login is not None:
            try:
                await connection.send(login)
                await connection.receive()
            except BaseException:
                await connection.close()
                raise
        return connection

    async def send(self, command: Sequence[bytes | memoryview]) -> None:
        """Send one command; views must be of bytes (format "B", contiguous)."""
        buffers: list[bytes | memoryview] = [b"*%d\r\n" % len(command)]
        for argument in command:
            buffers += (b"$%d\r\n" % len(argument), argument, b"\r\n")
        self.awaited += 1
        await self._stream.send(buffers)

    async def receive(self) -> Reply:
        """The next reply, not an array: an integer, a text, a bulk (bytearray) or nil.

        Raises the KVCacheError that an error reply says.
        """
        kind, text = await self._receive_line()
        if kind == b":":
            return int(text)
        if kind == b"+":
            return text
        size = self._bulk_size(kind, text)
        if size < 0:
            return None
        payload = bytearray(size)
        await self._fill(memoryview(payload))
        return payload

    async def receive_bulk_into(self, target: memoryview) -> int:
        """The next reply, a bulk, at the start of `target`. Its size; -1 for nil.

        A bulk larger than `target` is a ValueError, and the connection has to be closed.
        """
        kind, text = await self._receive_line()
        size = self._bulk_size(kind, text)
        if size > len(target):
            raise ValueError(f"a payload of {size} bytes for a buffer of {len(target)}")
        if size >= 0:
            await self._fill(target[:size])
        return size

    async def receive_array_size(self) -> int:
        """The header of an array: its elements are the next replies."""
        kind, text = await self._receive_line()
        if kind != b"*":
            raise ConnectionError(f"the server answered {kind + text!r}, not an array")
        size = max(int(text), 0)
        self.awaited += size
        return size

    async def close(self) -> None:
        """Close the stream; may be repeated."""
        await self._stream.close()

    @staticmethod
    def _bulk_size(kind: bytes, text: bytes) -> int:
        if kind != b"$":
            raise ConnectionError(f"the server answered {kind + text!r}, not a payload")
        return int(text)

    async def _receive_line(self) -> tuple[bytes, bytes]:
        """Kind byte and text of the next header line; raises what an error line says."""
        while True:
            stop = self._head.find(b"\r\n", self._begin, self._end)
            if stop >= 0:
                break
            if self._end - self._begin > _LINE_BYTES_MAX:
                raise ConnectionError("the server answered an endless line")
            await self._receive_more()
        line = bytes(self._view[self._begin : stop])
        self._begin = stop + 2
        self.awaited -= 1
        if line[:1] == b"-":
            raise error_of_text(line[1:].decode(errors="backslashreplace"))
        return line[:1], line[1:]

    async def _receive_more(self) -> None:
        if self._begin:
            kept = self._end - self._begin
            self._view[:kept] = self._head[self._begin : self._end]
            self._begin, self._end = 0, kept
        count = await self._stream.receive_into(self._view[self._end :])
        if count == 0:
            raise ConnectionError("the server closed the payload connection")
        self._end += count

    async def _fill(self, target: memoryview) -> None:
        """Fill `target` with the payload that follows, and take the line end after it."""
        filled = min(len(target), self._end - self._begin)
        target[:filled] = self._view[self._begin : self._begin + filled]
        self._begin += filled
        while filled < len(target):
            count = await self._stream.receive_into(target[filled:])
            if count == 0:
                raise ConnectionError("the server closed the payload connection")
            filled += count
        while self._end - self._begin < 2:
            await self._receive_more()
        self._begin += 2
