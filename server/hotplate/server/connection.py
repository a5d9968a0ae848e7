"""One client's socket: bytes in, bytes out, flow control. It knows no command.

    socket ─► reader ─► batch of requests ─► engine.dispatch.run ─► frames ─► one write a pass

Flow control, both ways:
- A pass runs at most BATCH_REQUESTS requests, then lets other clients go first.
- While the transport holds unsent bytes above its limit nothing more is read or run.
- While a Deferred reply is awaited nothing more is read or run: replies keep their order.
- A large bulk string is received straight into its target (a reserved slot, or a buffer), no part
  of it through the reader.
Views into storage that were handed to the transport stay pinned until the transport is empty.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from hotplate.engine.context import Context, Deferred, Gate
from hotplate.engine.dispatch import hold, run
from hotplate.engine.engine import Engine
from hotplate.engine.gates import find
from hotplate.errors import CommandError
from hotplate.resp.encoder import encode
from hotplate.resp.reader import LargeBulk, ProtocolError, RequestReader
from hotplate.resp.types import Payload, Payloads
from hotplate.spec.model import PayloadTarget

if TYPE_CHECKING:
    from hotplate.server.clients import ClientTable

log = logging.getLogger("hotplate.server")
BATCH_REQUESTS: Final = 256  # a few hundred microseconds of work between two looks at the sockets
RECEIVE_BYTES: Final = 256 * 1024
WRITE_HIGH_BYTES: Final = 256 * 1024  # unsent bytes at which a client's commands wait


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


class Connection(asyncio.BufferedProtocol):
    """The protocol object of one client."""

    __slots__ = (
        "_clients",
        "_ctx",
        "_deferred",
        "_engine",
        "_filled",
        "_held",
        "_loop",
        "_paused",
        "_reader",
        "_receive",
        "_requests",
        "_scheduled",
        "_target",
        "_transport",
        "descriptor",
        "kind",
        "local",
        "peer",
    )

    def __init__(self, clients: "ClientTable", receive: memoryview, kind: str) -> None:
        # for the server's life; the receive buffer is shared, it is read before the next is filled
        self._clients = clients
        self._engine: Engine = clients.engine
        self._loop = clients.loop
        self._receive = receive
        # for the connection's life
        self.kind = kind
        self.peer = ""
        self.local = ""
        self.descriptor = -1
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._ctx: Context = cast("Context", None)
        self._reader: RequestReader = cast("RequestReader", None)
        # flow control
        self._paused = False  # the transport is full
        self._scheduled = False  # a pass is due
        self._held: list[Callable[[], None]] = []  # releases, due when the transport is empty
        # a Deferred under way, and the requests behind it
        self._deferred: Deferred | None = None
        self._requests: list[Any] = []
        # a large bulk string under way
        self._target: PayloadTarget | None = None
        self._filled = 0

    # -- asyncio's side ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES, low=0)
        self.descriptor, self.peer, self.local = self._clients.describe(self._transport, self.kind)
        refusal = self._clients.refusal(self)
        if refusal is not None:
            self._transport.write(refusal)
            self._transport.close()
            return
        self._ctx = self._clients.add(self)
        self._reader = self._clients.reader(self._ctx)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client went; whatever it held is given back."""
        if self._ctx is None:
            return
        self._ctx.gates |= Gate.CLOSING
        self._clients.remove(self)
        if self._target is not None:
            self._target.abandon()
            self._target = None
        for request in self._requests:
            abandon_targets(request)
        self._requests = []
        if self._reader is not None:
            abandon_targets(self._reader.partial)
        if self._deferred is not None and self._deferred.cancel is not None:
            self._deferred.cancel()
        self._release()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go: the rest of a large bulk string, or the reader's buffer."""
        target = self._target
        return self._receive if target is None else target.view[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """`nbytes` arrived."""
        self._engine.stats.net_input_bytes += nbytes
        if self._ctx is None or self._ctx.gates & Gate.CLOSING:
            return
        if self._target is None:
            self._reader.feed(bytes(self._receive[:nbytes]))
            self._run_pass()
        else:
            self._filled += nbytes
            if self._filled == len(self._target):
                self._end_large()
                self._run_pass()

    def eof_received(self) -> bool:
        """The client sends no more: answer what is there, then close."""
        return False

    def pause_writing(self) -> None:
        """The transport is full."""
        self._paused = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The transport is empty again."""
        self._paused = False
        self._release()
        self._schedule()

    # -- one pass ------------------------------------------------------------------------------

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._scheduled_pass)

    def _scheduled_pass(self) -> None:
        self._scheduled = False
        if not self._ctx.gates & Gate.CLOSING and self._deferred is None and not self._paused:
            self._transport.resume_reading()
            if self._target is None:
                self._run_pass()

    def _run_pass(self) -> None:
        """Run what the reader holds, at most one batch of it."""
        requests = self._reader.batch(BATCH_REQUESTS)
        if requests:
            self._run(requests, 0)
        if self._deferred is not None or self._ctx.gates & Gate.CLOSING:
            return
        stopped = self._reader.stopped
        if stopped is None:
            if self._reader.ready:
                self._transport.pause_reading()
                self._schedule()
        elif self._paused:
            pass  # resume_writing goes on here
        elif type(stopped) is LargeBulk:
            self._begin_large(stopped)
        else:
            self._refuse_frame(cast("ProtocolError", stopped))

    def _run(self, requests: list[Any], start: int, out: list[Any] | None = None) -> None:
        ctx = self._ctx
        ctx.now_ms = ctx.last_seen_ms = self._engine.clock.now_ms()
        frames: list[Any] = [] if out is None else out
        gates = ctx.gates
        outcome = run(ctx, requests, frames, start)
        if gates != ctx.gates:
            self._clients.gates_changed(ctx, self._reader)
        self._write(frames)
        if type(outcome) is Deferred:
            self._transport.pause_reading()
            self._deferred = outcome
            self._requests = requests
            outcome.start(self._on_reply)
        elif ctx.gates & Gate.CLOSING:
            self._transport.close()

    def _on_reply(self, reply: Any) -> None:
        """A Deferred is done: answer, then go on behind it."""
        self._deferred = None
        requests, self._requests = self._requests, []
        ctx = self._ctx
        if ctx.gates & Gate.CLOSING:
            return
        frames: list[Any] = []
        if isinstance(reply, CommandError):
            self._engine.stats.count_error(reply.code)
        if ctx.gates & (Gate.REPLY_OFF | Gate.REPLY_SKIP):
            ctx.gates &= ~Gate.REPLY_SKIP
        else:
            if isinstance(reply, (Payload, Payloads)):
                hold(ctx, reply)
            encode(reply, ctx.resp, frames.append)
        if ctx.resume_at < len(requests):
            self._run(requests, ctx.resume_at, frames)
        else:
            self._write(frames)
        if self._deferred is None:
            self._schedule()

    # -- large bulk strings --------------------------------------------------------------------

    def _begin_large(self, bulk: LargeBulk) -> None:
        ctx = self._ctx
        command = find(self._engine, bulk.argv) if bulk.argv else None
        sink = None if command is None or ctx.gates else command.spec.sink
        target = None if sink is None else sink(ctx, bulk.argv, bulk.size)
        self._target = HeapTarget(bulk.size) if target is None else target
        self._filled = self._reader.take_buffered(self._target.view)
        if self._filled == bulk.size:
            self._end_large()
            self._schedule()

    def _end_large(self) -> None:
        target = self._target
        assert target is not None
        self._target = None
        self._reader.resume(bytes(target.buffer) if type(target) is HeapTarget else target)

    def _refuse_frame(self, error: ProtocolError) -> None:
        self._engine.stats.protocol_errors += 1
        self._ctx.gates |= Gate.CLOSING
        self._write([b"-ERR %b\r\n" % str(error).encode()])
        self._transport.close()

    # -- writing -------------------------------------------------------------------------------

    def _write(self, frames: list[Any]) -> None:
        if not frames:
            return
        if self._held:
            self._transport.set_write_buffer_limits(high=0, low=0)  # tell when all of it is gone
            self._transport.writelines(frames)
            self._engine.stats.net_output_bytes += sum(map(len, frames))
            if not self._paused:
                self._release()
            return
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        self._engine.stats.net_output_bytes += len(data)
        self._transport.write(data)

    def _release(self) -> None:
        if self._held:
            held, self._held = self._held, []
            for release in held:
                release()
            self._transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES, low=0)

    # -- what commands may do (engine.context.Link) ----------------------------------------------

    def hold(self, release: Callable[[], None]) -> None:
        """Call `release` when the transport has sent all that was answered so far."""
        self._held.append(release)

    def close_now(self) -> None:
        """Drop the connection, unsent replies included."""
        self._ctx.gates |= Gate.CLOSING
        self._transport.abort()

    def close(self) -> None:
        """Send what is answered, then close."""
        self._ctx.gates |= Gate.CLOSING
        self._transport.close()

    def push(self, frames: bytes) -> None:
        """Write frames outside of a reply."""
        self._transport.write(frames)

    def output_bytes(self) -> int:
        """Bytes that wait to be sent."""
        return self._transport.get_write_buffer_size()

    def query_bytes(self) -> int:
        """Bytes received and not run yet."""
        return self._reader.pending_bytes + self._filled * (self._target is not None)


def abandon_targets(argv: list[Any]) -> None:
    """Give back the targets among a request's arguments; the request will not run."""
    for argument in argv:
        if not isinstance(argument, bytes):
            argument.abandon()
