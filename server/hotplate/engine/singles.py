"""The requests of one pass that came alone, one a client: run together, then answered together.

    client a ─► one request ┐
    client b ─► one request ┼─► list of the pass ─► one loop ─► frames ─► one write a client
    client c ─► one request ┘

What `dispatch.run` sets up for a batch (times, table, counts of equal commands) costs as much as a
small command. Here it is done once for all clients. Whatever is not the usual case goes back to its
connection, which runs it as a batch of one.
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from hotplate.engine.context import Context
from hotplate.engine.dispatch import failed
from hotplate.resp.encoder import INTEGERS
from hotplate.resp.types import Raw
from hotplate.spec.model import Command

if TYPE_CHECKING:
    from hotplate.engine.engine import Engine

_INTEGERS_END: Final = len(INTEGERS)
_BULK_BYTES_MAX: Final = 16 * 1024  # a longer one is worth the general way


class Single(Protocol):
    """A connection that one request came from in this pass."""

    ctx: Context
    request: list[Any] | None  # None: it was taken
    sent: bytes  # the request as it came, if that is as requests are encoded; or nothing

    def run_alone(self, request: list[Any]) -> None:
        """Run the request as a batch."""
        ...

    def answer(self, request: list[Any], reply: Any) -> None:
        """Take a reply of any type, and see what the command did to the client."""
        ...

    def send(self, data: bytes) -> None:
        """Write a reply's frames, behind what waits to be written."""
        ...


CameAs: TypeAlias = Callable[[list[list[Any]], list[bytes]], object]
Answered: TypeAlias = tuple[Single, list[Any], bytes]  # its request and what is to be sent


class Singles:
    """The requests that wait for the end of the pass, and how they are run."""

    __slots__ = ("_engine", "answered", "came_as", "heard", "is_alone")

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        # hears which requests came as which bytes; the server sets it where there is a log
        self.came_as: CameAs | None = None
        self.heard: deque[Single] = deque()  # whose requests are to be run
        self.is_alone = False  # the request that runs is the only one of its pass
        self.answered: list[Answered] = []  # by the run of equal commands under way

    def run(self) -> None:
        """Run the requests in order, then write what they answer.

        It may be called again while it runs one that goes back to its connection: what is left is
        in the list, what was answered is written.
        """
        engine, heard = self._engine, self.heard
        lookup, blocking = engine.commands.table.get, engine.blocking
        ready, monotonic_ns = blocking.ready, engine.clock.monotonic_ns
        current: Command | None = None
        handler: Any = None
        arity_min, arity_max, alone = -1, -1, False  # nothing fits: back to its connection
        answered = self.answered = []
        self.is_alone = len(heard) == 1
        engine.read_clocks()
        while heard:
            single = heard.popleft()
            argv, ctx = single.request, single.ctx
            single.request = None
            assert argv is not None
            command = lookup(argv[0])
            if command is not current or command is None:
                if answered:
                    self._finish(current, answered)
                current, arity_max, alone = command, -1, False
                if command is not None and command.handler is not None:
                    handler, alone = command.handler, command.measured_alone
                    arity_min, arity_max = command.arity_min, command.arity_max
            if ctx.gates or engine.gates or not arity_min <= len(argv) <= arity_max:
                self._finish(current, answered)
                single.run_alone(argv)
                engine.read_clocks()
                continue
            ctx.now_ms = ctx.last_seen_ms = engine.now_ms
            since_ns = monotonic_ns() if alone else 0
            try:
                reply: Any = handler(ctx, argv)
            except Exception as error:
                reply = Raw(failed(ctx, command, error))
            kind: Any = type(reply)
            if ctx.gates:
                frames = None
            elif kind is Raw:
                frames = reply
            elif kind is bytes and len(reply) <= _BULK_BYTES_MAX:
                frames = b"$%d\r\n%b\r\n" % (len(reply), reply)
            elif kind is int:
                frames = INTEGERS[reply] if 0 <= reply < _INTEGERS_END else b":%d\r\n" % reply
            else:
                frames = None
            if frames is None:
                single.answer(argv, reply)
                frames = b""
            if alone and (spent_ns := monotonic_ns() - since_ns) >= engine.slow_ns:
                assert command is not None
                engine.slowlog.note(ctx, command, [argv], spent_ns)
            answered.append((single, argv, frames))
            if ready:
                blocking.serve()
        self._finish(current, answered)
        self.is_alone = False

    def send_answered(self) -> None:
        """Send what is answered: the command that runs now takes long."""
        for position, (single, argv, frames) in enumerate(self.answered):
            if frames:
                self.answered[position] = single, argv, b""
                single.send(frames)

    def _finish(self, command: Command | None, answered: "list[Answered]") -> None:
        """Count a run of equal commands, and write what it answers."""
        if command is None or not answered:
            return
        engine = self._engine
        if self.came_as is not None:
            self.came_as([item[1] for item in answered], [item[0].sent for item in answered])
        spent_ns = engine.clock.monotonic_ns() - engine.now_ns
        engine.now_ns += spent_ns
        command.calls += len(answered)
        command.time_ns += spent_ns
        engine.stats.commands_processed += len(answered)
        engine.outbox.flush_listed()  # who waited or caches hears of it before who changed a key
        for single, _, frames in answered:
            single.ctx.last_command = command.name
            if frames:
                single.send(frames)
        if spent_ns >= engine.slow_ns and not command.measured_alone:
            each_ns = spent_ns // len(answered)
            for single, argv, _ in answered:
                engine.slowlog.note(single.ctx, command, [argv], each_ns)
        answered.clear()
