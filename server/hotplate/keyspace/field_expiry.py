"""Fields of hashes whose time is past: removing them, and telling.

Who asks for a hash removes what is due in it first (`expire_fields`); a pass now and then removes
what nobody asks for (`expire_due_fields`). A hash that lost its last field goes, as does its key.
A pass takes hashes in the order in which their fields come due, so that it reads no other.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from hotplate.keyspace.database import SHARD_MASK, Database
from hotplate.keyspace.hash import Hash

BUDGET_NS: Final = 1_000_000  # of one pass
FIELDS_MAX: Final = 256  # of one hash before another look at the clock
_HASHES_MAX: Final = 8  # between two looks at the clock


def expire_fields(
    database: Database,
    key: bytes,
    now_ms: int,
    *,
    limit: int = FIELDS_MAX,
    fields: Iterable[bytes] = (),
) -> Hash | None:
    """Remove due fields of the hash at `key`: those of `fields`, and at most `limit` others.

    Answers what is there then.
    """
    value = database.shards[hash(key) & SHARD_MASK][key].value
    assert isinstance(value, Hash)
    if database.journal is not None and value.first_ms < now_ms:
        database.journal.keep(database, key)
    gone = value.expire_named(now_ms, fields) + value.expire_fields(now_ms, limit)
    if gone:
        database.expired_fields += len(gone)
        database.changed(key, "hexpired")
        if database.journal is not None:
            database.journal.note(database.index, b"HDEL", key, *gone)
        if not value:
            database.delete(key)
            database.changed(key, "del")
            return None
    database.track_fields(key, value)
    return value


def expire_due_fields(
    databases: Sequence[Database],
    now_ms: int,
    monotonic_ns: Callable[[], int],
    budget_ns: int = BUDGET_NS,
) -> bool:
    """One pass over all databases; whether its budget ended it before the work did."""
    deadline_ns = monotonic_ns() + budget_ns
    for database in databases:
        while database.field_deadlines.first_ms < now_ms:
            for key in database.field_deadlines.pop_due(now_ms, _HASHES_MAX):
                entry = database.lookup_write(key, now_ms)
                if entry is not None and isinstance(entry.value, Hash):
                    expire_fields(database, key, now_ms)
            if monotonic_ns() >= deadline_ns:
                return True
    return False
