"""Which key goes when there is no room: the policies of `maxmemory-policy`.

    allkeys-, volatile-   any key, or only one that expires
    -lru                  the longest unused      -lfu   the least often used
    -ttl                  the next to expire      -random

As in Redis, a few random keys are looked at for each key that goes, and the best ever seen are kept
in a small pool. While an LFU policy is set, `Entry.accessed_ms` holds no time but a word: sixteen
bits of minutes, and eight bits of a counter that grows with the logarithm of the uses and decays
with time. A time is larger than any word, so that the two are told apart.

No client, no clock, no limit: `engine.memory` says when.
"""

from bisect import insort
from collections.abc import Sequence
from itertools import chain, islice
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

from hotplate.keyspace.entry import Entry

if TYPE_CHECKING:
    from hotplate.keyspace.database import Database, Shard

POOL_SIZE: Final = 16
LFU_INITIAL: Final = 5  # of a new key, so that it is not the first to go
_LFU_COUNTER_MAX: Final = 255
_LFU_WORDS: Final = 2**24
_MINUTES: Final = 2**16
_MINUTE_MS: Final = 60_000
_DRAW: Final = 64  # keys drawn at once: reading a shard costs more than choosing among them


class Policy(NamedTuple):
    """A policy taken apart."""

    scope: str  # "allkeys" | "volatile" | "noeviction"
    order: str  # "lru" | "lfu" | "random" | "ttl" | ""

    @classmethod
    def parse(cls, name: str) -> "Policy":
        """`allkeys-lru` and the like."""
        scope, _, order = name.partition("-")
        return cls(scope, order)


class LfuSettings(NamedTuple):
    """`lfu-log-factor` and `lfu-decay-time`."""

    log_factor: int
    decay_minutes: int


def lfu_word(counter: int, now_ms: int) -> int:
    """What `Entry.accessed_ms` holds under an LFU policy."""
    return now_ms // _MINUTE_MS % _MINUTES << 8 | counter


def lfu_counter(word: int, now_ms: int, decay_minutes: int) -> int:
    """How often a key was used, on a logarithmic scale, less what decayed since."""
    if word >= _LFU_WORDS:  # a time: from before the policy
        return LFU_INITIAL
    counter = word & _LFU_COUNTER_MAX
    if decay_minutes == 0:
        return counter
    idle_minutes = (now_ms // _MINUTE_MS - (word >> 8)) % _MINUTES
    return max(counter - idle_minutes // decay_minutes, 0)


def lfu_used(word: int, now_ms: int, settings: LfuSettings, rng: Random) -> int:
    """The word after one more use."""
    counter = lfu_counter(word, now_ms, settings.decay_minutes)
    if counter < _LFU_COUNTER_MAX:
        grown = max(counter - LFU_INITIAL, 0)
        if rng.random() < 1.0 / (grown * settings.log_factor + 1):
            counter += 1
    return lfu_word(counter, now_ms)


def idle_ms(entry: Entry, now_ms: int) -> int:
    """How long a key was not used; 0 where only an earlier LFU policy knows."""
    if entry.accessed_ms < _LFU_WORDS:
        return 0
    return max(now_ms - entry.accessed_ms, 0)


class _Candidate(NamedTuple):
    score: int  # the highest goes first
    serial: int
    database: int
    key: bytes
    entry: Entry


class Evictor:
    """Finds and removes one key after the other."""

    __slots__ = ("_databases", "_drawn", "_next_database", "_pool", "_rng", "_serial", "evicted")

    def __init__(self, databases: Sequence["Database"], rng: Random) -> None:
        self._databases = databases
        self._rng = rng
        self._pool: list[_Candidate] = []  # in order of score
        self._drawn: dict[int, list[bytes]] = {}  # of each database, not looked at yet
        self._serial = 0
        self._next_database = 0
        self.evicted = 0

    def reset(self) -> None:
        """Another policy: forget the candidates."""
        self._pool.clear()
        self._drawn.clear()

    def evict(self, policy: Policy, now_ms: int, samples: int, decay_minutes: int) -> bool:
        """Remove one key, and tell; whether there was one that the policy lets go."""
        if policy.order == "random":
            return self._evict_random(policy)
        while True:
            found = False
            for database in self._databases:
                for key, entry in self._sample(database, policy, samples):
                    found = True
                    self._offer(
                        database.index, key, entry, _score(policy, entry, now_ms, decay_minutes)
                    )
            while self._pool:
                best = self._pool.pop()
                database = self._databases[best.database]
                if (
                    _shards(database, policy)[database.shard_index(best.key)].get(best.key)
                    is best.entry
                ):
                    self._remove(database, best.key)
                    return True
            if not found:
                return False

    def _evict_random(self, policy: Policy) -> bool:
        for _ in self._databases:
            database = self._databases[self._next_database]
            self._next_database = (self._next_database + 1) % len(self._databases)
            for key, _entry in self._sample(database, policy, 1):
                self._remove(database, key)
                return True
        return False

    def _remove(self, database: "Database", key: bytes) -> None:
        journal = database.journal
        if journal is not None:
            journal.keep(database, key)
        database.delete(key)
        self.evicted += 1
        database.changed(key, "evicted")
        if journal is not None:
            journal.note(database.index, b"DEL", key)

    def _offer(self, index: int, key: bytes, entry: Entry, score: int) -> None:
        """Put a candidate into the pool, if it is better than the worst there."""
        pool = self._pool
        if len(pool) == POOL_SIZE:
            if score <= pool[0].score:
                return
            del pool[0]
        self._serial += 1
        insort(pool, _Candidate(score, self._serial, index, key, entry))

    def _sample(
        self, database: "Database", policy: Policy, count: int
    ) -> list[tuple[bytes, Entry]]:
        """Some random keys that the policy lets go."""
        total = database.size() if policy.scope == "allkeys" else database.expiring_count
        if not total:
            return []
        shards = _shards(database, policy)
        drawn = self._drawn.setdefault(database.index, [])
        found: list[tuple[bytes, Entry]] = []
        while len(found) < min(count, total):
            if not drawn:
                if found:
                    break
                drawn.extend(self._draw(shards))
            key = drawn.pop()
            entry = shards[database.shard_index(key)].get(key)
            if entry is not None:
                found.append((key, entry))
        return found

    def _draw(self, shards: Sequence["Shard"]) -> list[bytes]:
        """Keys in random order: from all over one shard, or from several where they are small."""
        rng = self._rng
        at = rng.randrange(len(shards))
        keys: list[bytes] = []
        for shard in chain(islice(shards, at, None), islice(shards, at)):
            if shard:
                step = -(-len(shard) // _DRAW)
                keys.extend(islice(shard, rng.randrange(step), None, step))
                if len(keys) >= _DRAW:
                    break
        rng.shuffle(keys)
        return keys


def _shards(database: "Database", policy: Policy) -> Sequence["Shard"]:
    return database.shards if policy.scope == "allkeys" else database.expiring


def _score(policy: Policy, entry: Entry, now_ms: int, decay_minutes: int) -> int:
    if policy.order == "lru":
        return idle_ms(entry, now_ms)
    if policy.order == "lfu":
        return _LFU_COUNTER_MAX - lfu_counter(entry.accessed_ms, now_ms, decay_minutes)
    return -entry.expire_at_ms
