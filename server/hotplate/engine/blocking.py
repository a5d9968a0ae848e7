"""Blocked clients: who waits for which keys, who is served first, and until when.

    handler finds nothing ─► wait() ─► a Waiter, which the client gets as a reply to come
                                          │ it enters the line of each key
                                          ▼
    a command changes a key ─► it is ready ─► serve(), after that command ─► the reply

To add a blocking command: try at once and answer if there is something; else return
`engine.blocking.wait(...)` with a `retry` that tries again for one key. `retry` answers None where
there is still nothing; it changes the data as the command itself would, and may raise CommandError.

What holds:
- Lines are first come, first served. A client that waits for several keys is served by the one that
  is ready first.
- Waiters are served after the whole command, transaction or script that made a key ready, and
  before the next one of any client.
- Nothing is taken for a client whose connection is closing.
- Waiters with equal `share` want the same supply: when one of them gets nothing the others behind
  it are not asked, so that a thousand blocked clients cost a push nothing.
- Where blocking is not possible (MULTI, scripts) `wait` answers what a timeout would.
- With nobody waiting, a change costs nothing: the databases' observer is gone by the next change.

No clock, no loop: the server injects `after`, which calls back once when a span has passed.
"""

import logging
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from hotplate.engine.context import Context, Deferred, Done, Gate
from hotplate.errors import CommandError, UnblockedError
from hotplate.keyspace.database import Database
from hotplate.keyspace.entry import Value
from hotplate.resp.types import Reply

if TYPE_CHECKING:
    from hotplate.engine.engine import Engine

log = logging.getLogger("hotplate.engine")

Place: TypeAlias = tuple[int, bytes]  # number of the database, key
Retry: TypeAlias = Callable[[Context, bytes], Reply]
"""(ctx, key) -> the command's reply, None: still nothing there."""
LOG_PLACE: Final = (-1, b"")  # of those who wait for the log: it is no key
_INTERNAL_ERROR: Final = "internal error"
_FEW: Final = 4


class Timer(Protocol):
    """A call that was arranged."""

    def cancel(self) -> None:
        """It will not happen."""
        ...


After: TypeAlias = Callable[[float, Callable[[], None]], Timer]
"""(seconds, callback) -> the timer."""


class Waiter(Deferred):
    """One blocked client, and the reply that it waits for."""

    __slots__ = (
        "changes",
        "ctx",
        "done",
        "kind",
        "nothing",
        "places",
        "retry",
        "share",
        "takes_one",
        "timeout_ms",
        "timer",
    )
    reads_on = True
    again = False

    def __init__(self, ctx: Context, places: Sequence[Place], retry: Retry) -> None:
        self.ctx = ctx
        self.places = places
        self.retry = retry
        self.kind: type[Value] | None = None  # of values that `retry` is for; None: it looks itself
        self.share: Hashable = None
        self.takes_one = False  # [key, item] is its reply, and nothing is left of a key with one
        self.nothing: Reply = None  # the reply of a timeout
        self.timeout_ms = 0
        self.changes: Sequence[bytes] = ()  # keys that `retry` may change, beside those of `places`
        self.timer: Timer | None = None
        self.done: Done | None = None  # until the connection awaits it

    def start(self, done: Done) -> None:
        """The connection awaits it: stand in line."""
        self.done = done
        self.ctx.engine.blocking.enter(self)

    def cancel(self) -> None:
        """The client is gone."""
        self.ctx.engine.blocking.leave(self)


class Line:
    """Who waits for one key, the oldest first."""

    __slots__ = ("shares", "waiters")

    def __init__(self) -> None:
        self.waiters: dict[Waiter, None] = {}
        self.shares: dict[Hashable, int] = {}  # how many wait for each supply

    def enter(self, waiter: Waiter) -> None:
        """At the end."""
        self.waiters[waiter] = None
        self.shares[waiter.share] = self.shares.get(waiter.share, 0) + 1

    def leave(self, waiter: Waiter) -> None:
        """From wherever it stands."""
        del self.waiters[waiter]
        left = self.shares[waiter.share] - 1
        if left:
            self.shares[waiter.share] = left
        else:
            del self.shares[waiter.share]


class Blocking:
    """All blocked clients. `ready` holds the keys that changed while somebody waits for them."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._lines: dict[Place, Line] = {}
        self._waiters: dict[int, Waiter] = {}  # by the client's id
        self._observing = False
        self._observer = self._on_change  # one object
        self.ready: dict[Place, None] = {}
        # hears of keys that a waiter is about to change, while a snapshot is taken
        self.before_retry: Callable[[Database, bytes], None] | None = None

    def __len__(self) -> int:
        return len(self._waiters)

    @property
    def keys(self) -> int:
        """How many keys somebody waits for."""
        return len(self._lines)

    def blocks(self, ctx: Context) -> bool:
        """Whether the client is blocked."""
        return ctx.client_id in self._waiters

    def wait(
        self,
        ctx: Context,
        keys: Sequence[bytes],
        retry: Retry,
        *,
        timeout_ms: int,
        nothing: Reply,
        share: Hashable,
        kind: type[Value] | None = None,
        takes_one: bool = False,
        changes: Sequence[bytes] = (),
        place: Place | None = None,
    ) -> Reply:
        """Wait until `retry` has something for one of `keys`, or `timeout_ms` (0: for ever) passed,
        which answers `nothing`. `kind`: try only keys with such a value. `takes_one`: of a key with
        one item `retry` leaves nothing and answers [key, item]. `changes`: other keys that `retry`
        may change. `place`: what to wait for instead of keys."""
        if ctx.deny_blocking:
            return nothing
        places: Sequence[Place]
        if place is not None:
            places = (place,)
        elif len(keys) == 1:
            places = ((ctx.db.index, keys[0]),)
        else:
            places = [(ctx.db.index, key) for key in dict.fromkeys(keys)]
        waiter = Waiter(ctx, places, retry)
        waiter.kind = kind
        waiter.share = share
        waiter.takes_one = takes_one
        waiter.nothing = nothing
        waiter.timeout_ms = timeout_ms
        waiter.changes = changes
        return waiter

    def serve(self) -> None:
        """Try the waiters of all keys that became ready, oldest first."""
        ready = self.ready
        while ready:  # what is served may make further keys ready
            place = next(iter(ready))
            del ready[place]
            line = self._lines.get(place)
            if line is not None:
                self._serve_line(place, line)
                if len(line.shares) <= 1:
                    ready.pop(place, None)  # what was taken from it leaves nothing to the others

    def hand_over(self, db: Database, key: bytes, item: bytes) -> bool:
        """Give an item that is about to become the only one of a new key to who waits longest for
        it; whether it was taken. Then it is as if the key had come and gone, which nobody else may
        want to hear of."""
        line = self._lines.get((db.index, key))
        if (
            line is None
            or db.observer is not self._observer
            or db.journal is not None
            or db.witness is not None
            or self.before_retry is not None
        ):
            return False
        waiter = next(iter(line.waiters))
        if not waiter.takes_one or waiter.ctx.gates & Gate.CLOSING:
            return False
        self._finish(waiter, [key, item])
        return True

    def _serve_line(self, place: Place, line: Line) -> None:
        while len(line.shares) == 1:  # nearly always: the first who gets nothing speaks for all
            waiter = next(iter(line.waiters))
            if waiter.ctx.gates & Gate.CLOSING:
                break
            reply = self._try(waiter, place[1])
            if reply is None:
                return
            self._finish(waiter, reply)
        if not line.shares:
            return
        empty_handed: set[Hashable] = set()
        # most of the time the second of a long line finds nothing, and speaks for the rest
        if not self._serve_first(place, line, empty_handed, _FEW):
            self._serve_first(place, line, empty_handed, len(line.waiters))

    def _serve_first(
        self, place: Place, line: Line, empty_handed: set[Hashable], count: int
    ) -> bool:
        """Try the first waiters of a line; whether nobody in it is left to be asked."""
        for waiter in list(islice(line.waiters, count)):
            if waiter.share in empty_handed or waiter not in line.waiters:
                continue
            if waiter.ctx.gates & Gate.CLOSING:
                continue
            reply = self._try(waiter, place[1])
            if reply is not None:
                self._finish(waiter, reply)
                continue
            empty_handed.add(waiter.share)
            if len(empty_handed) == len(line.shares):
                return True
        return not line.waiters

    def unblock(self, client_id: int, *, as_error: bool) -> bool:
        """CLIENT UNBLOCK: let a client go as if its time were over, or with an error."""
        waiter = self._waiters.get(client_id)
        if waiter is None:
            return False
        error = UnblockedError("client unblocked via CLIENT UNBLOCK")
        self._finish(waiter, error if as_error else waiter.nothing)
        return True

    def touched(self, index: int, key: bytes) -> bool:
        """Something of a key that is no change of it may serve waiters; whether there are any."""
        if (index, key) not in self._lines:
            return False
        self.ready[index, key] = None
        return True

    def database_changed(self, *indexes: int) -> None:
        """Everything in these databases may have changed (FLUSHDB, FLUSHALL, SWAPDB)."""
        self.ready.update((place, None) for place in self._lines if place[0] in indexes)

    def enter(self, waiter: Waiter) -> None:
        """At the end of each of its lines."""
        self._waiters[waiter.ctx.client_id] = waiter
        for place in waiter.places:
            line = self._lines.get(place)
            if line is None:
                line = self._lines[place] = Line()
            line.enter(waiter)
        if waiter.timeout_ms:
            after = self._engine.after
            finish = partial(self._finish, waiter, waiter.nothing)
            waiter.timer = after(waiter.timeout_ms / 1000, finish)
        if not self._observing:
            self._observing = True
            self._engine.observe(self._observer)

    def leave(self, waiter: Waiter) -> None:
        """It waits no more."""
        if self._waiters.pop(waiter.ctx.client_id, None) is None:
            return
        if waiter.timer is not None:
            waiter.timer.cancel()
        for place in waiter.places:
            line = self._lines[place]
            line.leave(waiter)
            if not line.waiters:
                del self._lines[place]
                self.ready.pop(place, None)

    def _finish(self, waiter: Waiter, reply: Reply) -> None:
        self.leave(waiter)
        assert waiter.done is not None
        waiter.done(reply)

    def _try(self, waiter: Waiter, key: bytes) -> Reply:
        ctx = waiter.ctx
        ctx.now_ms = self._engine.now_ms
        if self.before_retry is not None:
            for changed in (key, *waiter.changes):
                self.before_retry(ctx.db, changed)
        try:
            if waiter.kind is not None:
                entry = ctx.db.lookup_write(key, ctx.now_ms)
                if entry is None or type(entry.value) is not waiter.kind:
                    return None
            return waiter.retry(ctx, key)
        except CommandError as error:
            return error
        except Exception:
            log.exception("%s failed for a blocked client", ctx.last_command.decode())
            ctx.gates |= Gate.CLOSING
            return CommandError(_INTERNAL_ERROR)

    def _on_change(self, index: int, key: bytes, event: str) -> None:
        place = (index, key)
        if place in self._lines:
            self.ready[place] = None
        elif not self._lines:
            self._observing = False
            self._engine.observe(self._observer, False)
