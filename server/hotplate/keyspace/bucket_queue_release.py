"""What a paced queue does with a database: entries that are due go into its stream.

    released   caller's fields, _ticket, _class, _wait_ms
    dropped    the same, _origin (the queue's key), _reason: expired, or displaced   (DEAD)

Where the stream can't take an entry (another type, no id left) or its group has too many entries
open, the queue keeps what is due and looks again after a while; nothing is lost meanwhile. Dead
letters that their stream can't take are gone.
"""

from typing import Final

from hotplate.keyspace.bucket import NS_PER_MS
from hotplate.keyspace.bucket_queue import BucketQueue
from hotplate.keyspace.bucket_queue_lines import Item
from hotplate.keyspace.bucket_timebase import Timebase
from hotplate.keyspace.database import Database
from hotplate.keyspace.stream import Stream
from hotplate.keyspace.stream_entry import ID_MAX, bulk, format_id, join_fields
from hotplate.resp.shared import CRLF

RELEASES_MAX: Final = 256  # of one queue in one pass
HELD_BY_CREDIT: Final = b"credit"
HELD_BY_STREAM: Final = b"stream"
HELD_FIRST_NS: Final = 1_000_000  # to the next look at what holds entries back, doubled each time
HELD_MAX_NS: Final = 100_000_000
_CLASS: Final = b"$6\r\n_class\r\n"
_WAIT: Final = b"$8\r\n_wait_ms\r\n"
_TICKET: Final = b"$7\r\n_ticket\r\n"
_ADDED_FIELDS: Final = 3


class Outlet:
    """A queue, the key it is at, and the time: what moving its entries takes."""

    __slots__ = ("db", "key", "now_ms", "now_ns", "queue")

    def __init__(self, db: Database, key: bytes, queue: BucketQueue, timebase: Timebase) -> None:
        self.db = db
        self.key = key
        self.queue = queue
        self.now_ms = timebase.now_ms
        self.now_ns = timebase.now_ns

    def release_due(self) -> bool:
        """One pass: what is due, RELEASES_MAX entries at most; whether more is due at once."""
        self.tend()
        queue, now_ns = self.queue, self.now_ns
        room = _credit_left(self.db, queue, self.now_ms)
        done = 0
        while done < RELEASES_MAX:
            item = queue.due_item(now_ns)
            if item is None or not self._may_go(room - done):
                break
            if not self._append(queue.settings.into, item):
                _hold(queue, HELD_BY_STREAM)
                break
            queue.released(item, now_ns)
            done += 1
        if done:
            self.db.changed(self.key, "release")
        return done == RELEASES_MAX

    def _may_go(self, room: int) -> bool:
        queue = self.queue
        if room > 0:
            queue.held_by = b""
            queue.held_ns = 0
            return True
        _hold(queue, HELD_BY_CREDIT)
        self.db.credit_waits.setdefault(queue.settings.into, set()).add(self.key)
        return False

    def tend(self) -> None:
        """Let delayed entries join, and bury those that expired."""
        expired = self.queue.tend(self.now_ns)
        for item in expired:
            self.bury(item, b"expired")
        if expired:
            self.db.changed(self.key, "expire-entry")

    def bury(self, item: Item, reason: bytes) -> None:
        """An entry was dropped: put it into the dead stream, if there is one."""
        dead = self.queue.settings.dead
        if dead is not None:
            about = join_fields([b"_origin", self.key, b"_reason", reason])
            self._append(dead, item, about)

    def _append(self, into: bytes, item: Item, about: bytes = b"") -> bool:
        """Add an entry to a stream, which is made where there is none; whether it could be."""
        db, now_ms = self.db, self.now_ms
        entry = db.lookup_write(into, now_ms)
        if entry is None:
            stream = Stream()
            db.assign(into, stream, now_ms)
        elif isinstance(entry.value, Stream):
            stream = entry.value
            entry.accessed_ms = now_ms
        else:
            return False
        entry_id = stream.next_id(now_ms)
        if entry_id is None:
            return False
        wait_ms = (self.now_ns - item.added_ns) // NS_PER_MS
        fields = 2 * (item.field_count + _ADDED_FIELDS) + (4 if about else 0)
        parts = (
            *(b"*2\r\n", bulk(format_id(entry_id)), b"\r\n*%d\r\n" % fields, item.body),
            *(_TICKET, bulk(item.ticket), CRLF, _CLASS, bulk(b"%d" % item.line), CRLF),
            *(_WAIT, bulk(b"%d" % wait_ms), CRLF, about),
        )
        stream.append(entry_id, b"".join(parts))
        db.changed(into, "xadd")
        return True


def _hold(queue: BucketQueue, reason: bytes) -> None:
    queue.held_ns = min(2 * queue.held_ns, HELD_MAX_NS) if queue.held_by else HELD_FIRST_NS
    queue.held_by = reason


def _credit_left(db: Database, queue: BucketQueue, now_ms: int) -> int:
    """How many entries the group may still have open: not read, or not acknowledged.

    A group that is not there yet is one that has read nothing.
    """
    settings = queue.settings
    if not settings.credit:
        return RELEASES_MAX
    entry = db.lookup_write(settings.into, now_ms)
    stream = None if entry is None else entry.value
    if not isinstance(stream, Stream):
        return settings.credit
    group = stream.groups.get(settings.group)
    if group is None:
        return settings.credit - len(stream)
    lag = stream.lag_of(group)
    if lag is None:
        # it was set to an id that nothing is known about: count, as far as it matters
        lag = len(stream.between(group.last_id + 1, ID_MAX, settings.credit)[0])
    return settings.credit - lag - len(group.pending)
