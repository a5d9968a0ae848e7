"""The sockets while a script holds the loop's thread: who asks is told that the server is busy.

    Lua's hook ─► Scripts ─► BusyPoll() ─► selector ─► read ─► answer_while_busy ─► write
                                              └─► accept ─► a Connection on a GuestTransport

The loop is further up the stack and cannot run again, so this looks at the descriptors itself, a
bounded number of times a call, and never waits. It takes a client only while nothing of it is under
way in the loop (`Connection.begin_busy`), and gives all back when the script ends: new clients
get their transport then. What cannot be sent at once is left to the loop; then the client waits.
SIGTERM and SIGINT end the script; the loop sees them afterwards, too.
"""

import asyncio
import logging
import os
import selectors
import signal
import socket
from collections.abc import Sequence
from typing import Any, Final, cast

from hotplate.engine.engine import Engine
from hotplate.server.clients import ClientTable
from hotplate.server.connection import Connection

log = logging.getLogger("hotplate.server")
_EVENTS_A_CALL: Final = 64
_READ_BYTES: Final = 64 * 1024
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class GuestTransport:
    """As much of a transport as a connection needs that came while a script is busy."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.unsent = bytearray()
        self.is_closing = False

    def get_extra_info(self, name: str) -> Any:
        """What the table of clients asks for."""
        if name == "socket":
            return self._sock
        try:
            return self._sock.getpeername() if name == "peername" else self._sock.getsockname()
        except OSError:  # the client went
            return None

    def write(self, data: bytes) -> None:
        """Send now what the socket takes."""
        if not self.unsent:
            data = data[send_now(self._sock.fileno(), data) :]
        self.unsent += data

    def writelines(self, pieces: Sequence[bytes]) -> None:
        """Send pieces."""
        self.write(b"".join(pieces))

    def close(self) -> None:
        """The real transport will, when what is unsent is sent."""
        self.is_closing = True

    def abort(self) -> None:
        """The real transport will."""
        self.unsent.clear()
        self.is_closing = True

    def get_write_buffer_size(self) -> int:
        """What waits for the real transport."""
        return len(self.unsent)

    def is_reading(self) -> bool:
        """Reading is BusyPoll's."""
        return False

    def pause_reading(self) -> None:
        """Reading is BusyPoll's."""

    def resume_reading(self) -> None:
        """Reading is BusyPoll's."""

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Large payloads wait for the real transport."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is limited by it."""


class BusyPoll:
    """One look at the sockets each time it is called, from the first call until `end`."""

    def __init__(
        self, engine: Engine, clients: ClientTable, listeners: Sequence[socket.socket]
    ) -> None:
        self._engine = engine
        self._clients = clients
        self._listeners = listeners
        self._selector: selectors.BaseSelector | None = None
        self._guests: list[tuple[Connection, GuestTransport, socket.socket]] = []
        self._handlers: dict[int, Any] = {}
        self._adoptions: set[asyncio.Task[None]] = set()

    def __call__(self) -> None:
        """Answer who has something to say."""
        selector = self._selector or self._begin()
        for key, _ in selector.select(0)[:_EVENTS_A_CALL]:
            if isinstance(key.data, Connection):
                if not self._serve(key.fd, key.data):
                    selector.unregister(key.fd)
            else:
                self._accept(key.data)

    def _begin(self) -> selectors.BaseSelector:
        self._engine.outbox.flush()
        selector = self._selector = selectors.DefaultSelector()
        for listener in self._listeners:
            selector.register(listener.fileno(), selectors.EVENT_READ, listener)
        running = self._engine.scripts.running_ctx
        for connection in self._clients.connections():
            if connection.ctx is not running and connection.begin_busy():
                selector.register(connection.descriptor, selectors.EVENT_READ, connection)
        for number in _SIGNALS:
            self._handlers[number] = signal.signal(number, self._on_signal)
        return selector

    def _on_signal(self, number: int, frame: object) -> None:
        self._engine.scripts.stop()

    def _serve(self, descriptor: int, connection: Connection) -> bool:
        """Read and answer; whether to go on with this client before the script's end."""
        try:
            data = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False  # the loop will see it, too
        if not data:
            return False
        return connection.answer_busy(data, lambda frames: send_now(descriptor, frames))

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except OSError:
            return  # it went again, or there are no descriptors left
        sock.setblocking(False)
        kind = "unix" if sock.family == socket.AF_UNIX else "tcp"
        connection = Connection(self._clients, kind)
        transport = GuestTransport(sock)
        connection.connection_made(cast("asyncio.Transport", transport))
        self._guests.append((connection, transport, sock))
        if connection.begin_busy() and self._selector is not None:
            self._selector.register(sock.fileno(), selectors.EVENT_READ, connection)

    def end(self) -> None:
        """The script is done: everything is the loop's again."""
        if self._selector is None:
            return
        self._selector.close()
        self._selector = None
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()
        guests, self._guests = self._guests, []
        for guest in guests:
            task = self._clients.loop.create_task(self._adopt(*guest))
            self._adoptions.add(task)
            task.add_done_callback(self._adoptions.discard)

    async def _adopt(
        self, connection: Connection, guest: GuestTransport, sock: socket.socket
    ) -> None:
        """Give a client that came meanwhile its transport."""
        loop = self._clients.loop
        transport, _ = await loop.connect_accepted_socket(lambda: connection, sock)
        if guest.unsent:
            transport.write(bytes(guest.unsent))
        if guest.is_closing:
            transport.close()


def send_now(descriptor: int, data: bytes) -> int:
    """How many bytes the socket took."""
    try:
        return os.write(descriptor, data)
    except OSError:
        return 0  # it is full, or the client went: the loop will know
