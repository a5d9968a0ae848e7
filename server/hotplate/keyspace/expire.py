"""Active expiry: removes keys whose time has come though nobody asks for them.

Owns where the sweep stands, and nothing else. One shard after the other, those skipped that cannot
hold a due key (`earliest_ms`), so that a pass over a database without due keys costs microseconds.
A pass stops when its budget is spent, and the next one goes on there. It also frees the memory of
flushed databases, in the same budget.

Redis samples instead; the sweep is exact because a shard is small enough to read whole.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from hotplate.keyspace.database import NEVER_MS, SHARDS, Database, Shard
from hotplate.keyspace.entry import Entry

KEYS_MAX: Final = 20_000  # keys looked at in one pass
BUDGET_NS: Final = 2_000_000  # of one pass
_GROUP: Final = 64  # keys between two looks at the clock


class ExpiryCycle:
    """The sweep over all databases. `monotonic_ns` measures what it spends."""

    __slots__ = ("_at", "_databases", "_earliest_ms", "_monotonic_ns", "_pending", "_swept")

    def __init__(self, databases: Sequence[Database], monotonic_ns: Callable[[], int]) -> None:
        self._databases = databases
        self._monotonic_ns = monotonic_ns
        self._at = 0  # database * SHARDS + shard
        self._pending: Iterator[tuple[bytes, Entry]] | None = None
        self._swept: Shard | None = None  # the dict that _pending was read from
        self._earliest_ms = NEVER_MS

    def run(self, now_ms: int, *, keys_max: int = KEYS_MAX, budget_ns: int = BUDGET_NS) -> int:
        """One pass: at most once around, at most `keys_max` keys. Answers how many expired."""
        deadline_ns = self._monotonic_ns() + budget_ns
        for database in self._databases:
            while database.release_discarded():
                if self._monotonic_ns() >= deadline_ns:
                    return 0
        expired = looked_at = 0
        for _ in range(len(self._databases) * SHARDS + 1):
            database = self._databases[self._at // SHARDS]
            if not database.expiring_count:
                self._advance(SHARDS - self._at % SHARDS)
                if self._at == 0:
                    break
                continue
            if not self._enter(database, self._at % SHARDS, now_ms):
                self._advance(1)
                continue
            while True:
                seen, gone = self._sweep_group(database, now_ms)
                looked_at += seen
                expired += gone
                if seen < _GROUP:
                    break
                if looked_at >= keys_max or self._monotonic_ns() >= deadline_ns:
                    return expired
            self._leave(database, self._at % SHARDS)
            self._advance(1)
            if looked_at >= keys_max or self._monotonic_ns() >= deadline_ns:
                break
        return expired

    def _advance(self, count: int) -> None:
        self._at = (self._at + count) % (len(self._databases) * SHARDS)
        self._pending = self._swept = None

    def _enter(self, database: Database, shard_index: int, now_ms: int) -> bool:
        """Go on with, or begin, the shard; False where nothing in it can be due."""
        shard = database.expiring[shard_index]
        if self._pending is not None and self._swept is shard:
            return True
        if database.earliest_ms[shard_index] >= now_ms:
            return False
        database.earliest_ms[shard_index] = NEVER_MS  # keys that come meanwhile lower it
        self._earliest_ms = NEVER_MS
        self._swept = shard
        self._pending = iter(list(shard.items()))
        return True

    def _sweep_group(self, database: Database, now_ms: int) -> tuple[int, int]:
        assert self._pending is not None
        assert self._swept is not None
        seen = gone = 0
        for key, entry in self._pending:
            seen += 1
            if self._swept.get(key) is entry:
                if entry.expire_at_ms < now_ms:
                    database.expire(key)
                    gone += 1
                else:
                    self._earliest_ms = min(self._earliest_ms, entry.expire_at_ms)
            if seen == _GROUP:
                break
        return seen, gone

    def _leave(self, database: Database, shard_index: int) -> None:
        earliest_ms = min(database.earliest_ms[shard_index], self._earliest_ms)
        database.earliest_ms[shard_index] = earliest_ms
