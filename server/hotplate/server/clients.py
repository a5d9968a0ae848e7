"""The table of connections: who may come in, with which reader, and who has to go.

Admission is Redis': `maxclients`, and protected mode, which lets only local clients in while no
password is set. A client that has not authenticated yet gets a reader with small limits.
"""

import asyncio
import socket
from typing import TYPE_CHECKING, Final

from hotplate import limits
from hotplate.engine.context import Context, Gate
from hotplate.engine.engine import Engine
from hotplate.resp.reader import ReaderLimits, RequestReader
from hotplate.server.barrier import ReplyBarrier
from hotplate.server.large_bulk import ReadNow, read_socket
from hotplate.server.output_limits import OutputLimits

if TYPE_CHECKING:
    from hotplate.server.connection import Connection

_TOO_MANY: Final = b"-ERR max number of clients reached\r\n"
_PROTECTED: Final = (
    b"-DENIED Hotplate is running in protected mode because protected mode is enabled and no"
    b" password is set for the default user. In this mode connections are only accepted from the"
    b" loopback interface. To connect from elsewhere, set a password with 'requirepass', or, if"
    b" only trusted networks reach this server, start it with '--protected-mode no'.\r\n"
)


class ClientTable:
    """All connections of one server."""

    def __init__(
        self,
        engine: Engine,
        loop: asyncio.AbstractEventLoop,
        *,
        read_now: ReadNow = read_socket,
        barrier: ReplyBarrier | None = None,
    ) -> None:
        self.engine = engine
        self.barrier = barrier or ReplyBarrier()
        self.loop = loop
        self.read_now = read_now
        self.output_limits = OutputLimits(engine)
        engine.outbox.soon = loop.call_soon
        self._connections: dict[int, Connection] = {}
        self._empty = asyncio.Event()

    async def wait_empty(self) -> None:
        """Until the last client went."""
        self._empty.clear()
        if self._connections:
            await self._empty.wait()

    def describe(self, transport: asyncio.Transport, kind: str) -> tuple[int, str, str]:
        """Descriptor, peer and local address of a transport, as CLIENT LIST shows them."""
        sock = transport.get_extra_info("socket")
        if kind == "unix":
            path = self.engine.config.unixsocket
            return sock.fileno(), f"{path}:0", f"{path}:0"
        peer, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.engine.config.tcp_keepalive:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, self.engine.config.tcp_keepalive
            )
        return sock.fileno(), _address(peer), _address(local)

    def refusal(self, connection: "Connection") -> bytes | None:
        """Why this client may not come in, as an error frame."""
        config = self.engine.config
        if len(self._connections) >= config.maxclients:
            self.engine.stats.connections_rejected += 1
            return _TOO_MANY
        if (
            config.protected_mode
            and not config.requirepass
            and connection.kind == "tcp"
            and not _is_loopback(connection.peer)
        ):
            self.engine.stats.connections_rejected += 1
            return _PROTECTED
        return None

    def add(self, connection: "Connection") -> Context:
        """A client is in."""
        ctx = self.engine.connect(connection)
        self._connections[ctx.client_id] = connection
        self.engine.stats.connections_received += 1
        if self.engine.config.requirepass:
            ctx.gates |= Gate.UNAUTHENTICATED
        return ctx

    def remove(self, connection: "Connection") -> None:
        """A client went."""
        ctx = connection.ctx
        self._connections.pop(ctx.client_id, None)
        self.output_limits.forget(connection)
        self.engine.disconnect(ctx)
        if not self._connections:
            self._empty.set()

    def connections(self) -> "list[Connection]":
        """All of them."""
        return list(self._connections.values())

    def reader(self, ctx: Context) -> RequestReader:
        """A reader with the limits that the client deserves."""
        return RequestReader(self._limits(ctx))

    def gates_changed(self, ctx: Context, reader: RequestReader) -> None:
        """AUTH may have lifted the limits."""
        reader.limits = self._limits(ctx)

    def close_idle(self, now_ms: int) -> None:
        """Close clients that said nothing for `timeout` seconds; subscribers need not."""
        timeout_ms = self.engine.config.timeout * 1000
        if timeout_ms:
            for connection in list(self._connections.values()):
                ctx = connection.ctx
                if now_ms - ctx.last_seen_ms > timeout_ms and not ctx.gates & Gate.SUBSCRIBED:
                    self._close_unless_reading(connection, now_ms)

    def _close_unless_reading(self, connection: "Connection", now_ms: int) -> None:
        unsent_bytes = connection.output_bytes()
        if unsent_bytes and unsent_bytes != connection.unsent_seen:
            connection.unsent_seen = unsent_bytes  # it says nothing, but takes its replies
            connection.ctx.last_seen_ms = now_ms
        else:
            connection.close_now()

    def close_all(self) -> None:
        """Send what is answered and close every connection."""
        for connection in list(self._connections.values()):
            connection.close()

    def _limits(self, ctx: Context) -> ReaderLimits:
        if ctx.gates & Gate.UNAUTHENTICATED:
            return ReaderLimits(
                array_items_max=limits.UNAUTHENTICATED_ARRAY_ITEMS_MAX,
                bulk_bytes_max=limits.UNAUTHENTICATED_BULK_BYTES_MAX,
                inline_bytes_max=limits.INLINE_BYTES_MAX,
                large_bulk_bytes=limits.LARGE_BULK_BYTES,
                query_buffer_bytes_max=limits.QUERY_BUFFER_BYTES_MAX,
                authenticated=False,
            )
        config = self.engine.config
        return ReaderLimits(
            array_items_max=limits.ARRAY_ITEMS_MAX,
            bulk_bytes_max=config.proto_max_bulk_len,
            inline_bytes_max=limits.INLINE_BYTES_MAX,
            large_bulk_bytes=limits.LARGE_BULK_BYTES,
            query_buffer_bytes_max=config.client_query_buffer_limit,
        )


def _address(name: tuple[str, int] | tuple[str, int, int, int] | None) -> str:
    if name is None:  # the client went before it was looked at
        return "?:0"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"{host}:{name[1]}"


def _is_loopback(peer: str) -> bool:
    host = peer.rpartition(":")[0]
    return host.startswith("127.") or host in ("[::1]", "[::ffff:127.0.0.1]")
