"""What is inside a value of any type, for commands that take any: elements, fields, all of it.

The one place that knows every class of value: SORT reads elements and fields here, DUMP and RESTORE
turn values into plain containers (`keyspace.rdb`) and back. A new type is added here.
"""

from typing import Final, Protocol

from hotplate.errors import WrongTypeError
from hotplate.keyspace.bucket import Bucket
from hotplate.keyspace.bucket_leases import Leases
from hotplate.keyspace.bucket_queue import BucketQueue
from hotplate.keyspace.bucket_timebase import Timebase
from hotplate.keyspace.entry import Value, string_of
from hotplate.keyspace.hash import HASHTABLE, Hash
from hotplate.keyspace.limits_state import texts_of, value_of_texts
from hotplate.keyspace.list import List
from hotplate.keyspace.rdb import (
    NotedScores,
    Plain,
    PlainHash,
    PlainList,
    PlainSet,
    PlainSortedSet,
    PlainString,
)
from hotplate.keyspace.rdb_module import PlainTexts, UnreadableTypeError
from hotplate.keyspace.rdb_stream import PlainGroup, PlainStream, owned_runs
from hotplate.keyspace.set import Set
from hotplate.keyspace.sorted_set import SortedSet
from hotplate.keyspace.stream import Stream
from hotplate.keyspace.stream_entry import ID_MAX
from hotplate.keyspace.stream_group import Group

_MANY: Final = 4096  # elements: of more the chunks are noted, not each
_COMPACT: Final = frozenset((b"listpack", b"listpackex", b"intset"))


class Limits(Protocol):
    """The settings that name encodings, as the configuration has them."""

    hash_max_listpack_entries: int
    hash_max_listpack_value: int
    list_max_listpack_size: int
    set_max_intset_entries: int
    set_max_listpack_entries: int
    set_max_listpack_value: int
    zset_max_listpack_entries: int
    zset_max_listpack_value: int


def elements_of(value: Value) -> list[bytes]:
    """What SORT sorts: the elements of a list or a sorted set in order, of a set in any.

    WrongTypeError for other types.
    """
    if isinstance(value, (List, Set)):
        return list(value)
    if isinstance(value, SortedSet):
        value.packed = False  # Redis sorts from a skiplist, which the set then stays
        return [member for member, _ in value.items()]
    raise WrongTypeError


def has_order(value: Value) -> bool:
    """Whether the elements have an order of their own."""
    return not isinstance(value, Set)


def field_of(value: Value, name: bytes, now_ms: int) -> bytes | None:
    """A field of a hash, where it is one and the field is there and its time not past."""
    if not isinstance(value, Hash):
        return None
    expire_at_ms = value.deadline(name)
    return None if expire_at_ms is not None and expire_at_ms < now_ms else value.table.get(name)


def make_list(elements: list[bytes], limits: Limits) -> List:
    """A list of elements."""
    value = List()
    value.push_tail(elements, limits.list_max_listpack_size)
    return value


def plain_of(value: Value, timebase: Timebase | None = None) -> Plain:
    """A value as plain containers. Limits need a timebase, from which their spans count."""
    if isinstance(value, (bytes, int, bytearray)):
        return PlainString(string_of(value))
    if isinstance(value, List):
        return PlainList(list(value))
    if isinstance(value, Set):
        return PlainSet(list(value))
    if isinstance(value, SortedSet):
        if len(value) > _MANY:
            return PlainSortedSet(NotedScores(value.member_chunks, value.score_chunks))
        return PlainSortedSet(dict(value.items()))
    if isinstance(value, Hash):
        expiries_ms: dict[bytes, int] = {}
        if value.deadlines is not None:
            times = ((name, value.deadline(name)) for name in value.table)
            expiries_ms = {name: at_ms for name, at_ms in times if at_ms is not None}
        return PlainHash(value.table.copy(), expiries_ms)
    if isinstance(value, Stream):
        return _plain_stream(value)
    if isinstance(value, (Bucket, Leases, BucketQueue)) and timebase is not None:
        return PlainTexts(texts_of(value, timebase))
    raise UnreadableTypeError(f"a {value.type_name.decode()}")


def _plain_stream(value: Stream) -> PlainStream:
    ids, frames = value.between(0, ID_MAX)
    groups = {name: _plain_group(group) for name, group in value.groups.items()}
    return PlainStream(
        ids, frames, value.last_id, value.max_deleted_id, value.entries_added, groups
    )


def _plain_group(group: Group) -> PlainGroup:
    plain = PlainGroup(group.last_id, group.entries_read)
    for entry_id, delivery in group.in_order():
        owner = None if delivery.consumer is None else delivery.consumer.name
        at_ms = group.available_ms(delivery) if owner is None else delivery.at_ms
        plain.pending.append((entry_id, at_ms, delivery.deliveries, owner))
    for name, consumer in group.consumers.items():
        plain.consumers[name] = (consumer.seen_ms, consumer.active_ms)
    return plain


def is_compact(value: Value) -> bool:
    """Whether Redis would keep a collection in one string."""
    return not isinstance(value, (bytes, int, bytearray)) and value.encoding() in _COMPACT


def value_of(
    plain: Plain, limits: Limits, field_names: dict[bytes, bytes], timebase: Timebase
) -> Value:
    """The value that plain containers stand for, its encoding by the settings. RdbError.

    `field_names` are those that small hashes share (`Database.field_names`).
    """
    if isinstance(plain, PlainTexts):
        return value_of_texts(plain.texts, timebase)
    if isinstance(plain, PlainString):
        return plain.text
    if isinstance(plain, PlainList):
        return make_list(plain.elements, limits)
    if isinstance(plain, PlainSortedSet):
        sorted_set = SortedSet.of(plain.scores.items())
        sorted_set.pack(limits.zset_max_listpack_entries, limits.zset_max_listpack_value)
        return sorted_set
    if isinstance(plain, PlainSet):
        members = Set()
        members.expect(plain.members[0], len(plain.members), limits)
        for member in plain.members:
            members.add(member, limits)
        return members
    if isinstance(plain, PlainStream):
        return _stream_of(plain)
    return _hash_of(plain, limits, field_names)


def _hash_of(plain: PlainHash, limits: Limits, field_names: dict[bytes, bytes]) -> Hash:
    value = Hash()
    longest = max(max(len(name), len(text)) for name, text in plain.fields.items())
    if (
        len(plain.fields) > limits.hash_max_listpack_entries
        or longest > limits.hash_max_listpack_value
    ):
        value.name = HASHTABLE
    for name, text in plain.fields.items():
        value.put(name, text, field_names)
    for name, expire_at_ms in plain.expiries_ms.items():
        value.set_deadline(name, expire_at_ms)
    return value


def _stream_of(plain: PlainStream) -> Stream:
    value = Stream()
    for entry_id, frame in zip(plain.ids, plain.frames, strict=True):
        value.append(entry_id, frame)
    value.last_id = plain.last_id
    value.max_deleted_id = plain.max_deleted_id
    value.entries_added = plain.entries_added
    for name, rows in plain.groups.items():
        group = value.groups[name] = Group(rows.last_id)
        group.entries_read = (
            value.estimate_read(rows.last_id) if rows.entries_read is None else rows.entries_read
        )
        for consumer, (seen_ms, _) in rows.consumers.items():
            group.create_consumer(consumer, seen_ms)
        for owner, at_ms, deliveries, ids in owned_runs(rows.pending):
            if owner is None:
                for entry_id in ids:
                    group.release(entry_id, deliveries, at_ms)
            elif deliveries == 1:
                group.deliver(group.consumers[owner], ids, at_ms)
            else:
                for entry_id in ids:
                    group.claim(entry_id, group.consumers[owner], at_ms, deliveries)
        for consumer, (_, active_ms) in rows.consumers.items():
            group.consumers[consumer].active_ms = active_ms
    return value
