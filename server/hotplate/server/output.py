"""What leaves for one client: replies, messages, views into storage; gathered, kept, written.

    answered ─┐                     ┌─► transport, one write a pass
    pushed  ──┴─► gathered ─► flush ┤
                                    └─► kept until the log is safe (server.barrier) ─► transport

Views into storage that were handed to the transport stay pinned until the transport is empty. While
it holds unsent bytes above its limit nothing more of the client is read or run (connection.py).
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from hotplate.engine.context import Context, Gate

if TYPE_CHECKING:
    from hotplate.server.clients import ClientTable

WRITE_HIGH_BYTES: Final = 256 * 1024  # unsent bytes at which a client's commands wait
# why nothing of a client is run now, bits of `_waits`
FULL: Final = 1  # the transport is
SCHEDULED: Final = 2  # a pass is due
DEFERRED: Final = 4  # a reply is awaited
CLOSED: Final = 8  # or about to be
KEPT: Final = 16  # replies wait until the log is safe


class Output(ABC):
    """The writing half of a connection."""

    __slots__ = (
        *("_barrier", "_clients", "_held", "_kept", "_listed", "_outbox", "_pushed"),
        *("_pushed_bytes", "_stats", "_transport", "_unsent", "_waits"),
        *("ctx", "peer", "unsent_seen"),
    )

    def __init__(self, clients: "ClientTable") -> None:
        self._clients = clients
        self._stats = clients.engine.stats
        self.peer = ""
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self.ctx: Context = cast("Context", None)
        self._waits = CLOSED  # why nothing is run now; 0: run what comes
        # what was answered and pushed in this pass; whether the table of clients knows of it
        self._unsent: list[Any] = []
        self._pushed: list[bytes] = []
        self._pushed_bytes = 0
        self._listed = False
        self._outbox = clients.engine.outbox
        self._barrier = clients.barrier
        self._kept: list[bytes] = []  # sent once the log is safe
        self._held: list[Callable[[], None]] = []  # releases, due when the transport is empty
        self.unsent_seen = 0  # by the table of clients, when it last looked for idle ones

    @abstractmethod
    def _go_on_behind(self) -> None:
        """What was kept has left: go on with what waits behind it."""

    def send(self, data: bytes) -> None:
        """Write a reply, behind what waits to be written."""
        if self._unsent:
            self._unsent.append(data)
        elif not self._waits & CLOSED:
            self._stats.net_output_bytes += len(data)
            if self._kept or (self._barrier.closed and not self._barrier.opens()):
                self._keep(data)
            else:
                self._transport.write(data)

    def _list(self) -> None:
        """Be flushed at the end of this pass."""
        self._listed = True
        self._outbox.add(self)

    def flush(self) -> None:
        """Write what was answered and pushed; a client that leaves too much unread is closed."""
        self._listed = False
        unsent = self._unsent
        if self._pushed:
            unsent += self._pushed
            self._pushed.clear()
        if self._waits & CLOSED:
            unsent.clear()
        elif unsent:
            data = b"".join(unsent)
            unsent.clear()
            self.send(data)
        if self._pushed_bytes:
            self._pushed_bytes = 0
            limits = self._clients.output_limits
            if self._transport.get_write_buffer_size() > limits.push_bytes_max:
                limits.check(self)

    def _flush_now(self) -> None:
        """Write before the loop's other writes: who waited is in a hurry."""
        self._transport.set_write_buffer_limits(high=0, low=0)
        self.flush()
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES, low=0)

    def _keep(self, data: bytes) -> None:
        """Keep a reply until the log is safe, and run nothing more until then."""
        if not self._kept:
            self._waits |= KEPT
            self._barrier.hold(self)
        self._kept.append(data)

    def release_kept(self) -> None:
        """The log is safe: what was kept leaves."""
        data = b"".join(self._kept)
        self._kept.clear()
        self._waits &= ~KEPT
        if not data or self._transport.is_closing():
            return
        self._transport.write(data)
        if self._waits & CLOSED:
            self._transport.close()
        else:
            self._go_on_behind()

    def _write_held(self) -> None:
        """Write views into storage at once, and learn when all of it is gone."""
        if self._kept or (self._barrier.closed and not self._barrier.opens()):
            self._unsent = [b"".join(self._unsent)]  # the views are not ours for so long
            self.flush()
            self._release()
            return
        frames, self._unsent = self._unsent, []
        self._stats.net_output_bytes += sum(map(len, frames))
        self._transport.set_write_buffer_limits(high=0, low=0)
        self._transport.writelines(frames)
        if not self._waits & FULL:
            self._release()

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

    def push(self, frames: bytes) -> None:
        """Write frames outside of a reply, behind what was answered so far."""
        if self._waits & CLOSED:
            return
        self._pushed.append(frames)
        self._pushed_bytes += len(frames)
        if self._pushed_bytes > self._clients.output_limits.push_bytes_max:
            self.flush()
        elif not self._listed:
            self._list()

    def output_bytes(self) -> int:
        """Bytes that wait to be sent."""
        gathered = sum(map(len, self._unsent)) + sum(map(len, self._pushed))
        gathered += sum(map(len, self._kept))
        return self._transport.get_write_buffer_size() + gathered

    def close_now(self) -> None:
        """Drop the connection, unsent replies included."""
        self._waits |= CLOSED
        self.ctx.gates |= Gate.CLOSING
        self._unsent.clear()
        self._pushed.clear()
        self._kept.clear()
        self._transport.abort()

    def close(self) -> None:
        """Send what is answered, then close."""
        self.flush()
        self._waits |= CLOSED
        self.ctx.gates |= Gate.CLOSING
        if not self._kept:  # else once the log is safe
            self._transport.close()
