"""One database: its keys, their expiry, and word of every change.

    shards[hash(key) & SHARD_MASK]      key -> Entry, all keys
    expiring[hash(key) & SHARD_MASK]    key -> the same Entry, keys that expire
    earliest_ms[shard]                  no key of the shard expires before; may be too early

Many small dicts instead of one: growing one with millions of keys stops the server for a third of a
second. The first three attributes are public because hot handlers inline the lookup.

It knows no client, no command and no clock: callers pass the time. A key is gone once `now_ms` is
past its expiry; whoever meets such a key removes it. Methods that change keys say nothing; the
caller tells once, with `changed`. Expiry tells by itself. Only FLUSHALL, FLUSHDB and SWAPDB are not
told key by key.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from random import Random
from typing import Final

from hotplate.keyspace.bucket_queue import BucketQueue
from hotplate.keyspace.deadlines import NEVER_MS as NEVER_MS
from hotplate.keyspace.deadlines import Deadlines
from hotplate.keyspace.discard import Discarded, is_large
from hotplate.keyspace.entry import Entry, Value, type_of
from hotplate.keyspace.hash import Hash
from hotplate.keyspace.journal import Journal
from hotplate.keyspace.meter import Meter

SHARDS: Final = 1024
SHARD_MASK: Final = SHARDS - 1
SHARD_BITS: Final = 10

Shard = dict[bytes, Entry]


class Database:
    """Keys and values. `size` is O(1), everything that names one key too."""

    __slots__ = (
        "added",
        "credit_waits",
        "dirty",
        "discarded",
        "earliest_ms",
        "expired",
        "expired_fields",
        "expires",
        "expiring",
        "expiring_count",
        "field_deadlines",
        "field_names",
        "hits",
        "index",
        "journal",
        "meter",
        "misses",
        "observer",
        "queue_wakes",
        "removed",
        "shards",
        "witness",
    )

    def __init__(self, index: int) -> None:
        self.index = index
        self.shards: list[Shard] = [{} for _ in range(SHARDS)]
        self.expiring: list[Shard] = [{} for _ in range(SHARDS)]
        self.earliest_ms = [NEVER_MS] * SHARDS
        self.expiring_count = 0
        self.added = 0  # keys ever added and removed: their difference is the size
        self.removed = 0
        self.discarded: list[Discarded] = []  # no key's any more, its memory still to be freed
        self.dirty = 0  # changes ever made
        self.hits = 0
        self.misses = 0
        self.expired = 0
        self.expired_fields = 0
        self.expires = True  # False: keys whose time has come are hidden, not removed
        # of hashes with fields that expire, by key; a key may be gone or hold something else by now
        self.field_deadlines = Deadlines()
        # of paced queues, by key, in nanoseconds of the clock that never steps; alike
        self.queue_wakes = Deadlines()
        # of queues that are held back until a stream's group has acknowledged more, by stream
        self.credit_waits: dict[bytes, set[bytes]] = {}
        self.field_names: dict[bytes, bytes] = {}  # one object for each name, shared by hashes
        self.meter: Meter | None = None  # counts memory, while there is a limit
        self.observer: Callable[[int, bytes, str], None] | None = None
        self.journal: Journal | None = None  # told what no command says, while there is a log
        # hears what is no change of its own: keymiss, new, overwritten, type_changed
        self.witness: Callable[[int, bytes, str], None] | None = None

    def lookup(self, key: bytes, now_ms: int) -> Entry | None:
        """The entry for reading, counted as a hit or a miss."""
        entry = self.shards[hash(key) & SHARD_MASK].get(key)
        if entry is None:
            self.misses += 1
        elif entry.expire_at_ms and entry.expire_at_ms < now_ms:
            self.expire(key)
            self.misses += 1
        else:
            self.hits += 1
            return entry
        if self.witness is not None:
            self.witness(self.index, key, "keymiss")
        return None

    def lookup_write(self, key: bytes, now_ms: int) -> Entry | None:
        """The entry for a command that changes it: not counted."""
        entry = self.shards[hash(key) & SHARD_MASK].get(key)
        if entry is not None and entry.expire_at_ms and entry.expire_at_ms < now_ms:
            self.expire(key)
            return None
        return entry

    def shard_index(self, key: bytes) -> int:
        """Which of the shards the key is in."""
        return hash(key) & SHARD_MASK

    def shard_of(self, key: bytes) -> Shard:
        """The shard that the key is in, if it is stored."""
        return self.shards[hash(key) & SHARD_MASK]

    def holds(self, key: bytes) -> bool:
        """Whether the key is stored, its time come or not."""
        return key in self.shards[hash(key) & SHARD_MASK]

    def assign(self, key: bytes, value: Value, now_ms: int, expire_at_ms: int = 0) -> None:
        """Store `value`, whatever was there before; an earlier expiry is forgotten."""
        entry = self.shards[hash(key) & SHARD_MASK].get(key)
        if entry is None:
            entry = Entry(value, 0, now_ms)
            self.shards[hash(key) & SHARD_MASK][key] = entry
            self.added += 1
            if self.witness is not None:
                self.witness(self.index, key, "new")
        else:
            if self.witness is not None:
                self.overwritten(key, entry.value, value)
            if type(entry.value) is not bytes:
                self.discard(entry.value)
            entry.value = value
            entry.accessed_ms = now_ms
        if expire_at_ms or entry.expire_at_ms:
            self.set_expiry(key, entry, expire_at_ms)

    def set_expiry(self, key: bytes, entry: Entry, expire_at_ms: int) -> None:
        """Let the stored `entry` expire at a time, or never (0)."""
        shard_index = hash(key) & SHARD_MASK
        if expire_at_ms:
            if not entry.expire_at_ms:
                self.expiring[shard_index][key] = entry
                self.expiring_count += 1
            if expire_at_ms < self.earliest_ms[shard_index]:
                self.earliest_ms[shard_index] = expire_at_ms
        elif entry.expire_at_ms:
            del self.expiring[shard_index][key]
            self.expiring_count -= 1
        entry.expire_at_ms = expire_at_ms

    def take(self, key: bytes) -> Entry | None:
        """Remove the key and answer its entry."""
        entry = self.shards[hash(key) & SHARD_MASK].pop(key, None)
        if entry is not None:
            self.removed += 1
            if self.meter is not None:
                self.meter.forget(self.index, entry)
            if entry.expire_at_ms:
                del self.expiring[hash(key) & SHARD_MASK][key]
                self.expiring_count -= 1
        return entry

    def put(self, key: bytes, entry: Entry) -> None:
        """Store an entry taken elsewhere, its expiry included, in place of what was there."""
        self.delete(key)
        self.shards[hash(key) & SHARD_MASK][key] = entry
        self.added += 1
        if self.witness is not None:
            self.witness(self.index, key, "new")
        expire_at_ms, entry.expire_at_ms = entry.expire_at_ms, 0
        self.set_expiry(key, entry, expire_at_ms)
        self.track_fields(key, entry.value)
        self.track_queue(key, entry.value)

    def track_fields(self, key: bytes, value: Value) -> None:
        """See to it that fields of the hash stored at `key` expire though nobody asks for them."""
        if isinstance(value, Hash) and value.first_ms != NEVER_MS:
            due_ms = self.field_deadlines.get(key)
            if due_ms is None or value.first_ms < due_ms:
                self.field_deadlines.set(key, value.first_ms)

    def track_queue(self, key: bytes, value: Value) -> None:
        """See to it that somebody looks when the paced queue stored at `key` is due."""
        if isinstance(value, BucketQueue):
            self.queue_wakes.set(key, 0)

    def delete(self, key: bytes) -> bool:
        """Remove the key; whether it was there."""
        entry = self.take(key)
        if entry is None:
            return False
        if type(entry.value) is not bytes:
            self.discard(entry.value)
        return True

    def discard(self, value: Value) -> None:
        """`value` is no key's any more: a large one is freed in slices (keyspace.discard)."""
        if is_large(value):
            self.discarded.append(value)  # type: ignore[arg-type]  # no string is large

    def rename(self, source: bytes, destination: bytes) -> bool:
        """Move a value and its expiry; whether `source` was there."""
        entry = self.take(source)
        if entry is None:
            return False
        self.put(destination, entry)
        return True

    def expire(self, key: bytes) -> None:
        """Remove a key whose time has come, and tell."""
        if not self.expires:
            return
        if self.journal is not None:
            self.journal.keep(self, key)
        if self.delete(key):
            self.expired += 1
            self.changed(key, "expired")
            if self.journal is not None:
                self.journal.note(self.index, b"DEL", key)

    def changed(self, key: bytes, event: str) -> None:
        """A caller changed `key`; `event` is the name of the keyspace event."""
        self.dirty += 1
        if self.observer is not None:
            self.observer(self.index, key, event)

    def overwritten(self, key: bytes, before: Value, after: Value) -> None:
        """Tell the witness, if there is one, that a value took another's place."""
        if self.witness is not None:
            self.witness(self.index, key, "overwritten")
            if type_of(before) != type_of(after):
                self.witness(self.index, key, "type_changed")

    def noted(self, key: bytes, event: str) -> None:
        """Something about `key` changed that WATCH does not count: a stream's groups."""
        self.dirty += 1
        if self.witness is not None:
            self.witness(self.index, key, event)

    def size(self) -> int:
        """How many keys are stored, those included whose time has come unseen."""
        return self.added - self.removed

    def keys(self) -> Iterator[bytes]:
        """All stored keys, shard by shard; the database may change between two of them."""
        for shard in self.shards:
            yield from list(shard)

    def random_key(self, rng: Random) -> bytes | None:
        """Any stored key, all equally likely. O(number of shards + keys of one shard)."""
        if not self.size():
            return None
        position = rng.randrange(self.size())
        for shard in self.shards:
            if position < len(shard):
                return next(islice(shard, position, None))
            position -= len(shard)
        raise AssertionError("the sizes of the shards do not add up to the size")

    def flush(self) -> int:
        """Remove all keys; how many. O(1) in keys: their memory is freed in slices."""
        count = self.size()
        if not count:
            return 0
        if self.journal is not None:
            self.journal.keep_database(self)
        # empty shards stay: making a thousand anew takes longer than most commands
        for shards in (self.shards, self.expiring) if self.expiring_count else (self.shards,):
            for index, shard in enumerate(shards):
                if shard:
                    self.discarded.append(shard)
                    shards[index] = {}
        self.earliest_ms = [NEVER_MS] * SHARDS
        self.expiring_count = 0
        if self.field_deadlines:
            self.discarded.append(self.field_deadlines)
            self.field_deadlines = Deadlines()
        self.queue_wakes = Deadlines()
        self.credit_waits = {}
        self.added = self.removed = 0
        if self.meter is not None:
            self.meter.flushed(self.index)
        self.dirty += count
        return count

    def swap(self, other: "Database") -> None:
        """Exchange all keys with another database; observers and counters of use stay."""
        names = ("shards", "expiring", "expiring_count", "added", "removed")
        for name in (*names, "field_deadlines", "queue_wakes", "credit_waits"):
            mine, theirs = getattr(self, name), getattr(other, name)
            setattr(self, name, theirs)
            setattr(other, name, mine)
        # a sweep may be under way in either: nothing is known about the earliest any more
        self.earliest_ms = [0] * SHARDS
        other.earliest_ms = [0] * SHARDS
        if self.meter is not None:
            self.meter.swapped(self.index, other.index)
        self.dirty += 1
