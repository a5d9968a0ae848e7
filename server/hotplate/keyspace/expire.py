"""Active expiry: removes keys whose time has come though nobody asks for them.

Owns where the sweep stands, and nothing else. One shard after the other, those skipped that cannot
hold a due key (`earliest_ms`), so that a pass without due keys costs some 50 us a database.
A pass stops when its budget is spent, and the next one goes on there.

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
    """The sweep over all databases. `monotonic_ns` measures what it spends.

    `behind` tells after a pass whether its budget ended it before the work did.
    """

    __slots__ = (
        "_at_database",
        "_at_shard",
        "_databases",
        "_earliest_ms",
        "_monotonic_ns",
        "_pending",
        "_swept",
        "behind",
    )

    def __init__(self, databases: Sequence[Database], monotonic_ns: Callable[[], int]) -> None:
        self._databases = databases
        self._monotonic_ns = monotonic_ns
        self._at_database = 0
        self._at_shard = 0
        self._pending: Iterator[tuple[bytes, Entry]] | None = None  # the rest of a shard
        self._swept: Shard | None = None  # the dict that _pending was read from
        self._earliest_ms = NEVER_MS  # of the keys of that shard that stay
        self.behind = False

    def run(self, now_ms: int, *, keys_max: int = KEYS_MAX, budget_ns: int = BUDGET_NS) -> int:
        """One pass: at most once around, about `keys_max` keys. Answers how many expired."""
        deadline_ns = self._monotonic_ns() + budget_ns
        self.behind = True
        expired = looked_at = 0
        for _ in range(len(self._databases) + 1):  # the first one's rest, then its beginning
            database = self._databases[self._at_database]
            while self._find_due_shard(database, now_ms):
                seen, gone = self._sweep_group(database, now_ms)
                looked_at += seen
                expired += gone
                if seen < _GROUP:
                    self._leave_shard(database)
                if looked_at >= keys_max or self._monotonic_ns() >= deadline_ns:
                    return expired
            self._at_database = (self._at_database + 1) % len(self._databases)
            self._at_shard = 0
        self.behind = False
        return expired

    def _find_due_shard(self, database: Database, now_ms: int) -> bool:
        """Go on with the shard at hand, or begin the next one that may hold a due key."""
        if self._pending is not None and self._swept is database.expiring[self._at_shard]:
            return True
        self._pending = self._swept = None  # the database was flushed or swapped meanwhile
        if not database.expiring_count:
            return False
        earliest_ms = database.earliest_ms
        for shard_index in range(self._at_shard, SHARDS):
            if earliest_ms[shard_index] < now_ms:
                self._at_shard = shard_index
                earliest_ms[shard_index] = NEVER_MS  # keys that come meanwhile lower it
                self._earliest_ms = NEVER_MS
                self._swept = database.expiring[shard_index]
                self._pending = iter(list(self._swept.items()))
                return True
        return False

    def _sweep_group(self, database: Database, now_ms: int) -> tuple[int, int]:
        """Look at the next keys: how many, and how many of them expired."""
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

    def _leave_shard(self, database: Database) -> None:
        earliest_ms = min(database.earliest_ms[self._at_shard], self._earliest_ms)
        database.earliest_ms[self._at_shard] = earliest_ms
        self._pending = self._swept = None
        self._at_shard += 1
