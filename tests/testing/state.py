"""Everything that an engine's databases hold, as plain values that can be compared."""

from typing import Any

from hotplate.engine.engine import Engine
from hotplate.keyspace.bucket import Bucket
from hotplate.keyspace.bucket_entry import FadingEntry
from hotplate.keyspace.bucket_leases import Leases
from hotplate.keyspace.bucket_queue import BucketQueue
from hotplate.keyspace.entry import Entry, Value, string_of
from hotplate.keyspace.hash import Hash
from hotplate.keyspace.list import List
from hotplate.keyspace.set import Set
from hotplate.keyspace.sorted_set import SortedSet
from hotplate.keyspace.stream import Stream
from hotplate.keyspace.stream_group import Group
from hotplate.persist.rdb_fields import queue_row
from hotplate.persist.snapshot import Moment

State = dict[tuple[int, bytes], tuple[int, Any]]
"""(database, key) -> (expiry, content)."""


def state_of(engine: Engine) -> State:
    """All keys."""
    found: State = {}
    for database in engine.databases:
        for shard in database.shards:
            for key, entry in shard.items():
                fades = isinstance(entry, FadingEntry) or isinstance(entry.value, BucketQueue)
                expiry = entry.own_ms if isinstance(entry, FadingEntry) else entry.expire_at_ms
                content = plain(entry.value, engine.now_ns if fades else 0)
                found[database.index, key] = (expiry, content)
    return found


def plain(value: Value, now_ns: int = 0) -> Any:
    """One value."""
    if isinstance(value, (bytes, int, bytearray)):
        text = string_of(value)
        # the count that a HyperLogLog remembers says nothing that is not in the rest
        return text[:8] + bytes(8) + text[16:] if text.startswith(b"HYLL") else text
    if isinstance(value, List):
        return list(value)
    if isinstance(value, Set):
        return set(value)
    if isinstance(value, SortedSet):
        return list(value.items())
    if isinstance(value, Hash):
        return {name: (text, value.deadline(name)) for name, text in value.table.items()}
    if isinstance(value, Stream):
        return _stream(value)
    if isinstance(value, (Bucket, Leases)):
        return value.dump(now_ns, 0)
    if isinstance(value, BucketQueue):
        twin = value.copy()
        twin.timebase = Moment(0, now_ns)
        return queue_row(b"", Entry(twin, 0, 0))
    raise AssertionError(value)


def _stream(stream: Stream) -> Any:
    ids, frames = stream.between(0, 2**128 - 1)
    groups = {name: _group(group) for name, group in stream.groups.items()}
    producers = stream.producers
    known = None
    if producers is not None:
        known = (
            producers.duration_s,
            producers.size_max,
            {name: dict(messages) for name, messages in producers.producers.items()},
        )
    ends = (stream.last_id, stream.max_deleted_id, stream.entries_added)
    return (list(zip(ids, frames, strict=True)), ends, groups, known)


def _group(group: Group) -> Any:
    pending = [
        (
            entry_id,
            None if delivery.consumer is None else delivery.consumer.name,
            delivery.at_ms,
            delivery.deliveries,
            delivery.order >> 64 if delivery.consumer is None else None,
        )
        for entry_id, delivery in group.pending.walk()
    ]
    return (group.last_id, group.entries_read, set(group.consumers), group.policy, pending)
