"""CLIENT PAUSE: commands wait until a time, all of them or those that write.

A command that has to wait is not run at all: its connection gets a Deferred that says `again`, and
hands the request in once more when the pause is over. While the pause lasts keys neither expire nor
are evicted; to readers those whose time has come are gone all the same.
"""

from typing import TYPE_CHECKING, Any, Final

from hotplate.engine.context import Context, Deferred, Done, Gate
from hotplate.resp.types import Raw
from hotplate.spec.model import Command, Flag

if TYPE_CHECKING:
    from hotplate.engine.blocking import Timer
    from hotplate.engine.engine import Engine

_CHANGES: Final = int(Flag.WRITE | Flag.MAY_REPLICATE)
_NS_PER_MS: Final = 1_000_000
_NOTHING: Final = Raw(b"")


class Pause:
    """The pause of one server, if there is one: then the engine's gate PAUSED is shut."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._until_ns = 0
        self._stops_all = False
        self._timer: Timer | None = None
        self._waiting: dict[Context, Done] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def holds(self, ctx: Context) -> bool:
        """Whether a command of the client waits."""
        return ctx in self._waiting

    def begin(self, timeout_ms: int, *, stops_all: bool) -> None:
        """Pause for so long. A pause under way only gets longer, and stricter."""
        engine = self._engine
        until_ns = engine.clock.monotonic_ns() + timeout_ms * _NS_PER_MS
        if not engine.gates & Gate.PAUSED:
            engine.gates |= Gate.PAUSED
            self._until_ns, self._stops_all = until_ns, stops_all
            for database in engine.databases:
                database.expires = False
        else:
            self._until_ns = max(self._until_ns, until_ns)
            self._stops_all |= stops_all
        self._wait()

    def end(self) -> None:
        """Let everything go on."""
        if not self._engine.gates & Gate.PAUSED:
            return
        self._engine.gates &= ~Gate.PAUSED
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for database in self._engine.databases:
            database.expires = True
        waiting, self._waiting = self._waiting, {}
        for done in waiting.values():
            done(_NOTHING)

    def stops(self, ctx: Context, command: Command, argv: list[Any]) -> bool:
        """Whether the command has to wait, the gate being shut."""
        if self._stops_all:
            return True
        if command.name != b"exec" or ctx.queue is None:
            return self._changes(command, argv)
        return any(self._changes(queued, queued_argv) for queued, queued_argv in ctx.queue)

    def _changes(self, command: Command, argv: list[Any]) -> bool:
        """Whether it may; a script may declare that it does not."""
        return bool(command.flags & _CHANGES) and not self._engine.scripts.only_reads(command, argv)

    def postpone(self, ctx: Context) -> Deferred:
        """What is answered for a command that has to wait."""

        def start(done: Done) -> None:
            self._waiting[ctx] = done

        def cancel() -> None:
            self._waiting.pop(ctx, None)

        return Deferred(start, cancel, reads_on=True, again=True)

    def _wait(self) -> None:
        left_ns = self._until_ns - self._engine.clock.monotonic_ns()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._engine.after(max(left_ns, 0) / 1e9, self.end)
