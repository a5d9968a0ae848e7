"""The one timer of all paced queues.

    LBQ command changes a queue ─► follow() ─► the database notes when it is due ─► timer
    XACK, with queues held back ─► acknowledged() ─► "at once" ─► timer
    RENAME, COPY, RESTORE ...   ─► the database notes "at once"                  ─► cron's next beat
    timer, cron ─► run() ─► release what is due ─► wake who waits for the streams

A pass takes a bounded number of entries; what is left follows after the clients had their turn.
Nothing is released within a batch of commands, a transaction or a script: their time stands still.
"""

from typing import TYPE_CHECKING, Final

from hotplate.engine.blocking import After, Timer
from hotplate.engine.context import Gate
from hotplate.keyspace.bucket_queue import BucketQueue
from hotplate.keyspace.bucket_queue_release import Outlet
from hotplate.keyspace.database import Database
from hotplate.keyspace.deadlines import NEVER_MS

if TYPE_CHECKING:
    from hotplate.engine.engine import Engine

KEYS_MAX: Final = 256  # queues of one database in one pass
_SPAN_MAX_NS: Final = 3_600_000_000_000  # of a timer; then it looks again
_MS_NS: Final = 1_000_000
_NEVER_NS: Final = NEVER_MS


class Pacing:
    """When which queue is due, and releasing it."""

    __slots__ = ("_due_ns", "_engine", "_timer", "after")

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._timer: Timer | None = None
        self._due_ns = _NEVER_NS  # of the timer
        # the loop's timer, set by the server; without one only cron's beats release
        self.after: After | None = None

    def follow(self, db: Database, key: bytes, queue: BucketQueue) -> None:
        """A queue changed: see to it that somebody comes when it is due next."""
        now_ns = self._engine.now_ns
        wake_ns = queue.wake_ns(now_ns)
        wakes = db.queue_wakes
        if wake_ns is None:
            wakes.discard(key)
            return
        if queue.held_by:  # what comes in meanwhile does not put off the next look
            wake_ns = min(wake_ns, wakes.get(key) or wake_ns)
        wakes.set(key, wake_ns)
        self._arm(wake_ns, now_ns)

    def acknowledged(self, db: Database, stream: bytes) -> None:
        """A group of a stream may have credit again: look at the queues that wait for that."""
        keys = db.credit_waits.pop(stream, ())
        for key in keys:
            db.queue_wakes.set(key, 0)
        if keys:
            self._arm(self._engine.now_ns, self._engine.now_ns)

    def run(self) -> bool:
        """One pass at the engine's time; whether more is due at once."""
        engine = self._engine
        if engine.gates & Gate.LOADING:
            return False  # the log says what was released
        now_ns = engine.now_ns
        more = False
        first_ns = _NEVER_NS
        for db in engine.databases:
            wakes = db.queue_wakes
            if not wakes:
                continue
            if wakes.first_ms <= now_ns:
                more |= self._run_database(db)
            if wakes:
                first_ns = min(first_ns, wakes.first_ms)
        if first_ns < _NEVER_NS:
            self._arm(first_ns, now_ns)
        return more

    def _run_database(self, db: Database) -> bool:
        engine = self._engine
        now_ms, now_ns = engine.now_ms, engine.now_ns
        due = db.queue_wakes.pop_due(now_ns + 1, KEYS_MAX)
        more = len(due) == KEYS_MAX
        for key in due:
            entry = db.lookup_write(key, now_ms)
            if entry is None or not isinstance(entry.value, BucketQueue):
                continue
            queue = entry.value
            journal = db.journal
            dirty = db.dirty
            if journal is not None:
                for name in (key, queue.settings.into, queue.settings.dead):
                    if name is not None:
                        journal.keep(db, name)
            more |= Outlet(db, key, queue, engine).release_due()
            if journal is not None and db.dirty != dirty:
                journal.note_exact(db.index, b"LBQ.RELEASE", key)
            wake_ns = queue.wake_ns(now_ns)
            if wake_ns is not None:
                db.queue_wakes.set(key, wake_ns)
        return more

    def _arm(self, due_ns: int, now_ns: int) -> None:
        """Let the timer fire at `due_ns`, rounded up to milliseconds, if not before."""
        if self.after is None or self._due_ns <= due_ns:
            return
        if self._timer is not None:
            self._timer.cancel()
        span_ns = min(max(due_ns - now_ns, 0), _SPAN_MAX_NS)
        self._due_ns = due_ns
        self._timer = self.after(-(-span_ns // _MS_NS) / 1000, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._due_ns = _NEVER_NS
        self._engine.tend_queues(self._engine.clock.now_ms())
