"""An event loop and transports that do what a test says, one pass at a time, without sockets.

The other end of a ScriptedTransport takes what is written while `taking` is set; else it stays in
the transport's buffer, uncopied, and flow control goes as in asyncio's transports.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any, Final, cast

from hotplate.server.clients import ClientTable
from hotplate.server.connection import Connection

CHUNK_BYTES: Final = 64 * 1024  # handed to a protocol in one pass


class ScriptedLoop:
    """Callbacks in order, pass by pass."""

    def __init__(self) -> None:
        self.transports: list[ScriptedTransport] = []
        self.descriptors = count(1000)
        self.reads_now = True  # False: what came is only handed in, a pass at a time
        self._ready: list[Callable[[], Any]] = []

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> None:
        """Run it in the next pass."""
        self._ready.append(lambda: callback(*args))

    def read_now(self, descriptor: int, buffers: Sequence[memoryview]) -> int:
        """Read from a transport's socket behind its back, as much as came."""
        (transport,) = (one for one in self.transports if one.socket.fileno() == descriptor)
        return transport.read_now(buffers) if self.reads_now else transport.read_now(())

    def run_pass(self) -> bool:
        """What is ready, then what came in; whether there was any of it."""
        ready, self._ready = self._ready, []
        for callback in ready:
            callback()
        delivered = [transport.deliver() for transport in list(self.transports)]
        return bool(ready) or any(delivered)

    def settle(self, passes_max: int = 100_000) -> int:
        """Run passes until nothing happens any more; how many."""
        for number in range(passes_max):
            if not self.run_pass():
                return number
        raise AssertionError("the loop does not come to rest")


class FakeSocket:
    """Takes options."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        """No other transport of the loop has it."""
        return self._descriptor

    def setsockopt(self, *_: object) -> None:
        """Nothing to set."""


class ScriptedTransport(asyncio.Transport):
    """One end of a connection."""

    def __init__(
        self, loop: ScriptedLoop, protocol: asyncio.BaseProtocol, peer: tuple[str, int] | None
    ) -> None:
        self.socket = FakeSocket(next(loop.descriptors))
        super().__init__({"socket": self.socket, "peername": peer, "sockname": ("127.0.0.1", 6379)})
        self._loop_of_test = loop
        self._protocol = protocol
        self._inbox = bytearray()
        self._eof = False
        self._unsent: list[bytes | memoryview] = []
        self._high = self._low = 64 * 1024
        self._full = False
        self.reading = True
        self.taking = True
        self.sent = bytearray()
        self.closing = False
        self.lost = False
        self.unsent_peak = 0
        self.writes = 0
        loop.transports.append(self)

    # -- the test's side

    def send(self, data: bytes) -> None:
        """The other end sends."""
        self._inbox += data

    def send_eof(self) -> None:
        """The other end sends no more."""
        self._eof = True

    def take(self) -> bytes:
        """What the other end received since the last call."""
        taken = bytes(self.sent)
        self.sent.clear()
        return taken

    def drain(self) -> None:
        """The other end reads all that waits."""
        for data in self._unsent:
            self.sent += data
        self._unsent = []
        if self._full:
            self._full = False
            self._protocol.resume_writing()
        if self.closing:
            self._loop_of_test.call_soon(self.lose)

    def lose(self) -> None:
        """The connection is gone."""
        if not self.lost:
            self.lost = self.closing = True
            self._loop_of_test.transports.remove(self)
            self._protocol.connection_lost(None)

    def deliver(self) -> bool:
        """Hand over what came in, as one read would; whether there was anything."""
        if not self.reading or self.closing:
            return False
        if self._inbox:
            self._deliver_bytes()
            return True
        if self._eof:
            self._eof = False
            if not cast("asyncio.Protocol", self._protocol).eof_received():
                self.close()
            return True
        return False

    def read_now(self, buffers: Sequence[memoryview]) -> int:
        """One read of what came; BlockingIOError where there is nothing, or no room is given."""
        room = sum(map(len, buffers))
        if not self._inbox or not room:
            if self._eof and room:
                return 0
            raise BlockingIOError
        read_bytes = 0
        for buffer in buffers:
            piece = self._inbox[: min(len(buffer), CHUNK_BYTES - read_bytes)]
            buffer[: len(piece)] = piece
            del self._inbox[: len(piece)]
            read_bytes += len(piece)
        return read_bytes

    def _deliver_bytes(self) -> None:
        chunk = bytes(self._inbox[:CHUNK_BYTES])
        protocol = self._protocol
        if isinstance(protocol, asyncio.BufferedProtocol):
            buffer = memoryview(protocol.get_buffer(len(chunk))).cast("B")
            assert len(buffer) > 0, "an empty buffer would read as the end"
            chunk = chunk[: len(buffer)]
            buffer[: len(chunk)] = chunk
            del self._inbox[: len(chunk)]
            protocol.buffer_updated(len(chunk))
        else:
            del self._inbox[: len(chunk)]
            cast("asyncio.Protocol", protocol).data_received(chunk)

    # -- the protocol's side

    def write(self, data: Any) -> None:
        """Send, or keep for later."""
        self.writelines([data])

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """The same for several."""
        assert not self.lost, "written to a connection that is gone"
        if self.closing:
            return
        self.writes += 1
        for data in list_of_data:
            if self.taking and not self._unsent:
                self.sent += data
            else:
                self._unsent.append(data)
        self.unsent_peak = max(self.unsent_peak, self.get_write_buffer_size())
        if self.get_write_buffer_size() > self._high and not self._full:
            self._full = True
            self._protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        """Bytes that wait."""
        return sum(map(len, self._unsent))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When to pause the protocol."""
        assert high is not None
        assert low is not None
        self._high, self._low = high, low

    def is_reading(self) -> bool:
        """Whether what comes in is delivered."""
        return self.reading

    def pause_reading(self) -> None:
        """Deliver nothing."""
        self.reading = False

    def resume_reading(self) -> None:
        """Deliver again."""
        self.reading = True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Deliver to another."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who gets what comes in."""
        return self._protocol

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self.closing

    def close(self) -> None:
        """Send what waits, then go."""
        if not self.closing:
            self.closing = True
            if not self._unsent:
                self._loop_of_test.call_soon(self.lose)

    def abort(self) -> None:
        """Go at once."""
        self.closing = True
        self._unsent = []
        self._loop_of_test.call_soon(self.lose)


def connect(
    table: ClientTable,
    loop: ScriptedLoop,
    *,
    kind: str = "tcp",
    peer: tuple[str, int] | None = ("127.0.0.1", 5000),
) -> tuple[ScriptedTransport, Connection]:
    """A new client."""
    connection = Connection(table, kind)
    transport = ScriptedTransport(loop, connection, peer)
    connection.connection_made(transport)
    return transport, connection


def build_table(engine: Any) -> tuple[ClientTable, ScriptedLoop]:
    """A table of clients of this engine, on a loop that the test runs."""
    loop = ScriptedLoop()
    table = ClientTable(engine, cast("asyncio.AbstractEventLoop", loop), read_now=loop.read_now)
    return table, loop
