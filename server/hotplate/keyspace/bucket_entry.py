"""The entry of a value that fades: a key that is gone once its bucket is empty.

Expiry of keys is a point in wall time, but a bucket must not lose its level because the wall clock
was set: that would be credit out of nothing. So this entry keeps no point in time. It asks its
value how long it lasts, in monotonic time, and answers `now + that`; a step of the wall clock moves
both sides of `expire_at_ms < now_ms` alike. For this the timebase must hold both clocks as read at
one moment, and `now_ms` must be what the caller compares with.

An expiry that a client sets (EXPIRE) counts where it is earlier; PERSIST (0) keeps the key until it
is changed next. Setting the very moment at which the value fades means no expiry of its own, so
that code that moves a key and its expiry needs to know nothing of this.
"""

from typing import Any, Final

from hotplate.keyspace.bucket import NS_PER_MS, Bucket
from hotplate.keyspace.bucket_leases import Leases
from hotplate.keyspace.bucket_timebase import Timebase as Timebase
from hotplate.keyspace.database import NEVER_MS, SHARD_MASK, Database
from hotplate.keyspace.entry import Entry, Value, copy_of

_FADING: Final = (Bucket, Leases)
_LAST_MS: Final = NEVER_MS - 1


class FadingEntry(Entry):
    """An entry whose value is, or was once, a bucket or leases.

    `own_ms` is what a client set: NEVER_MS nothing, 0 that it stays.
    """

    __slots__ = ("own_ms", "timebase")

    def __init__(self, value: Value, timebase: Timebase, accessed_ms: int) -> None:
        self.value = value
        self.timebase = timebase
        self.accessed_ms = accessed_ms
        self.own_ms = NEVER_MS

    def fades_at_ms(self) -> int:
        """The wall time at which the value is gone if no clock is set; 0: it stays."""
        value = self.value
        if not isinstance(value, _FADING):
            return 0
        fades_ns = value.fades_ns()
        if fades_ns is None:
            return 0
        timebase = self.timebase
        left_ms = -((timebase.now_ns - fades_ns) // NS_PER_MS)
        return min(max(timebase.now_ms + left_ms, 1), _LAST_MS)

    @property
    def expire_at_ms(self) -> int:
        """As for every entry."""
        own_ms = self.own_ms
        if own_ms and isinstance(self.value, _FADING):
            return min(own_ms, self.fades_at_ms() or NEVER_MS)
        return own_ms

    @expire_at_ms.setter
    def expire_at_ms(self, at_ms: int) -> None:  # pyright: ignore
        self.own_ms = NEVER_MS if at_ms and at_ms == self.fades_at_ms() else at_ms

    def duplicate(self, accessed_ms: int) -> Entry:
        """An entry for a copy of the value."""
        twin = FadingEntry(copy_of(self.value), self.timebase, accessed_ms)
        twin.own_ms = self.own_ms
        return twin


def store_fading(db: Database, key: bytes, value: Bucket | Leases, timebase: Timebase) -> None:
    """Store a value that fades, in place of what was there: `Database.put` in fewer steps."""
    shard_index = hash(key) & SHARD_MASK
    shard = db.shards[shard_index]
    if key in shard:
        db.delete(key)
    entry = shard[key] = FadingEntry(value, timebase, timebase.now_ms)
    db.added += 1
    if db.witness is not None:
        db.witness(db.index, key, "new")
    fades_ns = value.fades_ns()
    if fades_ns is None:
        entry.own_ms = 0
        return
    db.expiring[shard_index][key] = entry
    db.expiring_count += 1
    fades_at_ms = timebase.now_ms - (timebase.now_ns - fades_ns) // NS_PER_MS
    if fades_at_ms < db.earliest_ms[shard_index]:
        db.earliest_ms[shard_index] = fades_at_ms


def remove_faded(db: Database, key: bytes, entry: FadingEntry) -> None:
    """Remove a key whose value is the same as none: `Database.delete` in fewer steps."""
    shard_index = hash(key) & SHARD_MASK
    del db.shards[shard_index][key]
    db.removed += 1
    if db.meter is not None:
        db.meter.forget(db.index, entry)
    if entry.own_ms:
        del db.expiring[shard_index][key]
        db.expiring_count -= 1


def fading_entry(value: Bucket | Leases, timebase: Timebase) -> FadingEntry:
    """An entry that lasts as long as its value."""
    entry = FadingEntry(value, timebase, timebase.now_ms)
    entry.own_ms = NEVER_MS if value.fades_ns() is not None else 0
    return entry


def follow_fading(db: Database, key: bytes, entry: FadingEntry) -> None:
    """The value was changed: let its key last as long as it does."""
    value: Any = entry.value
    fades_ns = value.fades_ns()
    own_ms = entry.own_ms
    if not own_ms or (fades_ns is None and own_ms == NEVER_MS):
        db.set_expiry(key, entry, entry.fades_at_ms())
    elif fades_ns is not None:
        timebase = entry.timebase
        fades_at_ms = timebase.now_ms - (timebase.now_ns - fades_ns) // NS_PER_MS
        shard_index = hash(key) & SHARD_MASK
        if fades_at_ms < db.earliest_ms[shard_index]:
            db.earliest_ms[shard_index] = fades_at_ms
