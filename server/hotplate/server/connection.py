"""One client's socket: bytes in, bytes out, flow control. It knows no command.

    socket ─► reader ─► batch of requests ─► engine.dispatch.run ─► frames ─► flush
                │
                └ a large bulk string ─► LargeBulkReceiver: straight into its target
                  (and it stays the transport's protocol while more of them come)

Replies and messages gather until every client of a pass was heard, then each client gets one write
(engine.outbox).

Flow control, both ways:
- A pass runs at most BATCH_REQUESTS requests, or until it has answered a lot (engine.dispatch);
  then it lets other clients go first.
- While the transport holds unsent bytes above its limit nothing more is read or run.
- While a Deferred reply is awaited nothing more is read or run: replies keep their order.
- While replies wait for the log to be safe, nothing more of their client is run.
What is written, and when, is output.py's.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from hotplate.engine.context import Deferred, Gate
from hotplate.engine.dispatch import answer, run
from hotplate.engine.gates import find
from hotplate.engine.scripting_busy import answer_while_busy
from hotplate.errors import CommandError
from hotplate.resp.reader import LargeBulk, RequestReader
from hotplate.server.large_bulk import QUIET_READS_MAX, HeapTarget, LargeBulkReceiver
from hotplate.server.output import (
    CLOSED,
    DEFERRED,
    FULL,
    KEPT,
    SCHEDULED,
    WRITE_HIGH_BYTES,
    Output,
)

if TYPE_CHECKING:
    from hotplate.server.clients import ClientTable

log = logging.getLogger("hotplate.server")
BATCH_REQUESTS: Final = 256  # a few hundred microseconds of work between two looks at the sockets
READ_AHEAD_BYTES_MAX: Final = 64 * 1024  # of a client whose commands wait
LARGE_BYTES_A_PASS: Final = 8 * 1024 * 1024  # of large bulk strings, then other clients go first
_MS_NS: Final = 1_000_000


class Connection(Output, asyncio.Protocol):
    """The protocol object of one client."""

    __slots__ = (
        "_at_end",
        "_deferred",
        "_large",
        "_read_now",
        "_reader",
        "_requests",
        "_wall_ns",
        "descriptor",
        "kind",
        *("local", "request", "sent"),
    )

    def __init__(self, clients: "ClientTable", kind: str) -> None:
        super().__init__(clients)
        # for the server's life
        self._wall_ns = clients.engine.clock.wall_ns
        self._read_now = clients.read_now
        # for the connection's life
        self.kind = kind
        self.local = ""
        self.descriptor = -1
        self._reader: RequestReader = cast("RequestReader", None)
        self._at_end = False  # the client sends no more, and replies are kept
        # a Deferred under way, and the requests behind it
        self._deferred: Deferred | None = None
        self._requests: list[Any] = []
        self.request: list[Any] | None = None  # it came alone: for the end of the pass
        self.sent = b""
        self._large: LargeBulkReceiver | None = None  # since a large bulk string came

    # -- asyncio's side ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came; or one that came while a script was busy has its transport now."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES, low=0)
        if self.ctx is not None:
            return
        self.descriptor, self.peer, self.local = self._clients.describe(self._transport, self.kind)
        refusal = self._clients.refusal(self)
        if refusal is not None:
            self._transport.write(refusal)
            self._transport.close()
            return
        self.ctx = self._clients.add(self)
        self._reader = self._clients.reader(self.ctx)
        self._waits = 0

    def connection_lost(self, exc: Exception | None) -> None:
        """The client went; whatever it held is given back."""
        if self.ctx is None:
            return
        if self.request is not None:
            self._outbox.flush()
        self._waits |= CLOSED
        self._clients.remove(self)
        if self._large is not None:
            self._large.abandon()
        self._drop([*self._requests, self._reader.partial])
        self._requests = []
        self._unsent.clear()
        self._pushed.clear()
        self._kept.clear()
        deferred, self._deferred = self._deferred, None
        if deferred is not None and deferred.cancel is not None:
            deferred.cancel()
        self._release()

    def data_received(self, data: bytes) -> None:
        """Bytes came in."""
        self._stats.net_input_bytes += len(data)
        if self.request is not None:
            self._outbox.flush()
        if self._waits:
            if not self._waits & CLOSED:
                self._reader.feed(data)
                if self._reader.pending_bytes > READ_AHEAD_BYTES_MAX:
                    self._transport.pause_reading()
            return
        reader = self._reader
        request = self.request = reader.single(data)
        if request is not None:
            self.sent = data
            self._outbox.hear(self)
        else:
            reader.feed(data)
            requests = reader.batch(BATCH_REQUESTS)
            if len(requests) == 1 and not reader.ready and reader.stopped is None:
                request = self.request = requests[0]
                self.sent = b""
                self._outbox.hear(self)
            elif requests:
                self._run(requests, 0)
                if reader.whole and self._barrier.closed:
                    self._barrier.came_as(requests, [data])
            else:
                self._saw_client()
        if request is None and (reader.ready or reader.stopped is not None):
            self._go_on()
        elif self._large is not None and self._large.quiet_reads > QUIET_READS_MAX:
            self._large = None
            self._receive_with(self)

    def eof_received(self) -> bool:
        """The client sends no more: answer what is there, then close."""
        if self.request is not None:
            self._outbox.flush()
        self.flush()
        self._at_end = bool(self._waits & KEPT)
        return self._at_end

    def pause_writing(self) -> None:
        """The transport is full."""
        self._waits |= FULL
        self._transport.pause_reading()
        if not self._waits & CLOSED:
            self._clients.output_limits.check(self)

    def resume_writing(self) -> None:
        """The transport is empty again."""
        self._waits &= ~FULL
        self._release()
        self._schedule()

    # -- one pass ------------------------------------------------------------------------------

    def _run(self, requests: list[Any], start: int) -> None:
        """Run a batch from `start` on."""
        ctx = self.ctx
        now_ms = self._wall_ns() // _MS_NS
        engine = ctx.engine
        if engine.now_ms != now_ms:
            engine.now_ms = now_ms  # one object for all entries that are used in this millisecond
        ctx.now_ms = ctx.last_seen_ms = engine.now_ms
        gates = ctx.gates
        if gates:
            engine.pubsub.flush()  # a subscriber gets what was said before ahead of its replies
        unsent = self._unsent
        if self._pushed:
            unsent += self._pushed
            self._pushed.clear()
        outcome = run(ctx, requests, unsent, start)
        self._settle(requests, outcome, gates)

    def _settle(self, requests: list[Any], outcome: int | Deferred, gates: int) -> None:
        """See to what is left of a batch, and to what it did to the client."""
        ctx = self.ctx
        if self._held:
            self._write_held()
        elif not self._listed and self._unsent:
            self._list()
        if ctx.gates != gates:
            self._clients.gates_changed(ctx, self._reader)
            if ctx.gates & Gate.CLOSING:
                self._drop(requests[cast("int", outcome) :])
                self.close()
        if isinstance(outcome, Deferred):
            self._requests = requests[ctx.resume_at :]
            self._await(outcome)
        elif outcome != len(requests) and not self._waits & CLOSED:
            self._requests = requests[outcome:]
            self.flush()  # it is a lot
            self._schedule()

    def run_alone(self, request: list[Any]) -> None:
        """Run a request that came alone."""
        self._run([request], 0)

    def answer(self, request: list[Any], reply: Any) -> None:
        """Take the reply to a request that came alone, and see what it did to the client."""
        if isinstance(reply, Deferred):
            if reply.again or self._held or self._unsent or self.ctx.gates:
                self.ctx.resume_at = 0 if reply.again else 1
                self._settle([request], reply, Gate.OPEN)
            else:
                self._await(reply)
        else:
            answer(self.ctx, reply, self._unsent)
            self._settle([request], 1, Gate.OPEN)

    def _drop(self, requests: list[Any]) -> None:
        """These will not run: give back the targets among their arguments."""
        for request in requests:
            for argument in request:
                if not isinstance(argument, bytes):
                    argument.abandon()

    def _await(self, deferred: Deferred) -> None:
        """Nothing is run until the reply is there, and little or nothing is read."""
        self._waits |= DEFERRED
        if not deferred.reads_on:
            self._transport.pause_reading()
        self._deferred = deferred
        try:
            deferred.start(self._on_reply)
        except Exception:
            log.exception("%s failed", self.ctx.last_command.decode())
            self.ctx.gates |= Gate.CLOSING
            self._drop(self._requests)
            self._requests = []
            self._on_reply(CommandError("internal error"))
            self.close()

    def _saw_client(self) -> None:
        """Something came from the client just now."""
        ctx = self.ctx
        ctx.now_ms = ctx.last_seen_ms = self._wall_ns() // _MS_NS

    def _go_on(self) -> None:
        """See to what the reader stopped at, or run more in the loop's next pass."""
        budget = LARGE_BYTES_A_PASS
        while not self._waits:  # whatever ends a wait comes back here
            stopped = self._reader.stopped
            if stopped is None:
                if self._reader.ready:
                    self._schedule()
                return
            if not isinstance(stopped, LargeBulk):
                self._stats.protocol_errors += 1
                self._unsent.append(stopped.frame)
                self.close()
                return
            if budget <= 0:
                self._schedule()
                return
            budget -= stopped.size
            if not self._begin_large(stopped):
                return
            self._run_behind_large()

    def _schedule(self, *, pause: bool = True) -> None:
        """Go on in the loop's next pass, after the other clients; `pause`: read nothing until then,
        for what is there already may take many passes."""
        if not self._waits & SCHEDULED:
            self._waits |= SCHEDULED
            if pause:
                self._transport.pause_reading()
            self._clients.loop.call_soon(self._scheduled_pass)

    @property
    def _has_more(self) -> bool:
        """Whether the client sent more, or was stopped."""
        return bool(self._requests or self._reader.holds_bytes or not self._transport.is_reading())

    def _scheduled_pass(self) -> None:
        self._waits &= ~SCHEDULED
        if self._waits:
            return
        if self._requests:
            requests, self._requests = self._requests, []
            self._run(requests, 0)
            self._schedule()
            return
        if self._at_end and not self._reader.pending_bytes:
            self.close()
            return
        self._transport.resume_reading()
        large = self._large
        if large is not None and large.target is not None:
            if not large.complete:
                return
            self._end_large(large)
        requests = self._reader.batch(BATCH_REQUESTS)
        if requests:
            self._run(requests, 0)
        self._go_on()

    def _on_reply(self, reply: Any) -> None:
        """A Deferred is done: answer, then go on behind it."""
        deferred, self._deferred = self._deferred, None
        self._waits &= ~DEFERRED
        ctx = self.ctx
        answer(ctx, reply, self._unsent)
        if isinstance(reply, CommandError):
            self._stats.count_error(reply.code)
            if (command := ctx.engine.commands.find(ctx.last_command)) is not None:
                command.failed += 1
        if self._waits & CLOSED:
            self._unsent.clear()
            self._release()
            return  # `connection_lost` sees to the requests behind, if it did not yet
        if deferred is not None and deferred.reads_on:
            # another client's command is what ended the wait: this one's go on behind it
            if self._outbox.singles.is_alone and not self._barrier.closed:
                self._flush_now()
            elif not self._listed:
                self._list()
            if self._has_more:
                self._schedule()
            return
        requests, self._requests = self._requests, []
        self._run(requests, 0)
        if not self._waits & DEFERRED:
            self._schedule()

    # -- while a script is busy ------------------------------------------------------------------

    def begin_busy(self) -> bool:
        """Whether nothing is under way, so that it may be answered past the transport."""
        return (
            not self._waits
            and self.request is None
            and self._large is None
            and not self.output_bytes()
        )

    def answer_busy(self, data: bytes, send: Callable[[bytes], int]) -> bool:
        """Answer what came in; `send` tells how much it sent. Whether it may be called again."""
        ctx = self.ctx
        gates = ctx.gates
        self._stats.net_input_bytes += len(data)
        self._reader.feed(data)
        requests = self._reader.batch(BATCH_REQUESTS)
        frames: list[Any] = []
        done = answer_while_busy(ctx, requests, frames)
        self._requests = requests[done:]
        output = b"".join(frames)
        self._stats.net_output_bytes += len(output)
        unsent = output[send(output) :] if output else b""
        if unsent:
            self._transport.write(unsent)
        if ctx.gates != gates:
            self._clients.gates_changed(ctx, self._reader)
        if ctx.gates & Gate.CLOSING:
            self._drop(self._requests)
            self._requests = []
            self.close()
        elif self._reader.ready or self._reader.stopped is not None:
            self._schedule()
        return not unsent and not self._waits

    # -- large bulk strings --------------------------------------------------------------------

    def _begin_large(self, bulk: LargeBulk) -> bool:
        """Receive it; whether all of it is there already."""
        self._saw_client()  # the sink looks at deadlines
        ctx = self.ctx
        command = find(ctx.engine, bulk.argv) if bulk.argv else None
        sink = None if command is None or ctx.gates else command.spec.sink
        target = None if sink is None else sink(ctx, bulk.argv, bulk.size)
        if target is None:
            target = HeapTarget(bulk.size)
        large = self._large
        if large is None:
            large = self._large = LargeBulkReceiver(self)
            self._receive_with(large)
        large.begin(target, self._reader.take_buffered(target.view))
        self._stats.net_input_bytes += large.read_now(self._read_now, self.descriptor)
        if not large.complete:
            return False
        self._saw_client()
        self._end_large(large)
        return True

    def _end_large(self, large: LargeBulkReceiver) -> None:
        """Hand the reader what is complete, and what came behind it."""
        self._stats.net_input_bytes += large.read_behind(self._read_now, self.descriptor)
        behind = large.take_behind()
        self._reader.resume(large.end())
        if behind:
            self._reader.feed(behind)

    def _run_behind_large(self) -> None:
        requests = self._reader.batch(BATCH_REQUESTS)
        if requests:
            self._run(requests, 0)

    def on_large_bytes(self, size_bytes: int, *, complete: bool) -> None:
        """Part of the large bulk string came in, or all of it is there."""
        self._stats.net_input_bytes += size_bytes
        self._saw_client()
        if not complete:
            return
        large = self._large
        if self._waits or large is None or isinstance(large.target, HeapTarget):
            # a heap target's view is released: not while the loop has the buffer in its hands
            self._schedule(pause=False)
            return
        self._end_large(large)
        self._run_behind_large()
        self._go_on()

    def _receive_with(self, protocol: asyncio.BaseProtocol) -> None:
        transport = self._transport
        transport.pause_reading()
        transport.set_protocol(protocol)
        if not self._waits:
            transport.resume_reading()

    def _go_on_behind(self) -> None:
        """What was kept has left."""
        if self._at_end or self._large is not None or self._has_more:
            self._schedule()

    def query_bytes(self) -> int:
        """Bytes received and not run yet."""
        large = self._large
        return self._reader.pending_bytes + (0 if large is None else large.filled)
