"""Streams in Redis' dump format: entries in listpacks, groups, consumers, what is pending.

    node       raw id 16, a listpack:
               count, deleted, n, n fields, 0      of the first entry, as a pattern
               flags, ms, sequence, ... , size     an entry: its id less the raw id, then values
                                                   (flag 2: fields of the pattern), or
                                                   n, field, value ...; flag 1: deleted
    stream     number of nodes, nodes, entries, last id
               from type 19 on: first id, greatest deleted id, entries ever added
               groups: name, last id, (19) entries read, pending, consumers
    pending    raw id 16, delivered at 8, deliveries     here in the order of the deliveries
    consumer   name, seen at 8, (21) active at 8, number of raw ids, raw ids

Ids are big-endian, times little-endian milliseconds. Type 19 is written, which redis-server 7.0
reads; it knows no entry that is nobody's (XNACK), so such entries belong to a consumer of the name
RELEASED there, delivered when they become available, and are nobody's again when they are read.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from struct import pack
from sys import maxsize
from typing import Final, TypeAlias

from hotplate.keyspace.entry import integer_of
from hotplate.keyspace.rdb_bytes import Cursor, RdbError, pack_length, pack_string
from hotplate.keyspace.rdb_packed import pack_listpack, read_listpack
from hotplate.keyspace.stream_entry import (
    SEQUENCE_BITS,
    SEQUENCE_MAX,
    build_frame,
    fields_of,
    format_id,
)

RELEASED: Final = b"hotplate-released"
FIRST_TYPE, SECOND_TYPE, THIRD_TYPE = 15, 19, 21
TIME_MAX_MS: Final = 2**62 + 1  # the latest that pending entries are kept with
_ID_BYTES: Final = 16
_DELETED, _SAME_FIELDS = 1, 2
_NODE_ENTRIES: Final = 100  # stream-node-max-entries and -bytes of Redis
_NODE_BYTES: Final = 4096

PendingRow: TypeAlias = tuple[int, int, int, bytes | None]
"""id, delivered at (ms), deliveries, consumer; None: released, available from that time on."""


@dataclass(slots=True)
class PlainGroup:
    """A consumer group. `entries_read` None: not told; `consumers` name -> (seen, active) in ms."""

    last_id: int
    entries_read: int | None
    pending: list[PendingRow] = field(default_factory=list)
    consumers: dict[bytes, tuple[int, int]] = field(default_factory=dict)


@dataclass(slots=True)
class PlainStream:
    """A stream: ids, ascending, and frames as stream_entry keeps them; groups by name."""

    ids: list[int]
    frames: list[bytes]
    last_id: int
    max_deleted_id: int
    entries_added: int
    groups: dict[bytes, PlainGroup] = field(default_factory=dict)


# -- writing ---------------------------------------------------------------------------------------


def pack_stream(value: PlainStream) -> Iterator[bytes]:
    """The value of type 19 in pieces, the type not included."""
    bounds: list[tuple[int, int]] = []
    for node in _nodes(value.frames):
        bounds.append(node)
        yield b""  # counting them takes long, too
    yield pack_length(len(bounds))
    for start, end in bounds:
        yield _pack_node(value.ids[start:end], value.frames[start:end])
    first_id = value.ids[0] if value.ids else 0
    yield pack_length(len(value.ids)) + b"".join(
        map(_pack_id, (value.last_id, first_id, value.max_deleted_id))
    )
    yield pack_length(value.entries_added) + pack_length(len(value.groups))
    for name, group in value.groups.items():
        yield from _pack_group(name, group)


def _nodes(frames: list[bytes]) -> Iterator[tuple[int, int]]:
    """Where to cut, so that nodes are about as large as those of Redis."""
    start = size = 0
    for at, frame in enumerate(frames):
        if at > start and (at - start == _NODE_ENTRIES or size + len(frame) > _NODE_BYTES):
            yield start, at
            start, size = at, 0
        size += len(frame)
    if frames:
        yield start, len(frames)


def _pack_node(ids: list[int], frames: list[bytes]) -> bytes:
    first_ms, first_sequence = divmod(ids[0], 1 << SEQUENCE_BITS)
    pattern = fields_of(frames[0])[::2]
    elements = [b"%d" % len(ids), b"0", b"%d" % len(pattern), *pattern, b"0"]
    for entry_id, frame in zip(ids, frames, strict=True):
        fields = fields_of(frame)
        names = fields[::2]
        same = names == pattern
        body = fields[1::2] if same else [b"%d" % len(names), *fields]
        sequence = (entry_id & SEQUENCE_MAX) - first_sequence
        elements.append(b"2" if same else b"0")
        elements.append(b"%d" % _wrapped((entry_id >> SEQUENCE_BITS) - first_ms))
        elements.append(b"%d" % _wrapped(sequence))
        elements += body
        elements.append(b"%d" % (len(body) + 3))
    return b"\x10" + _raw_id(ids[0]) + pack_string(pack_listpack(elements))


def _wrapped(number: int) -> int:
    """As 64 bits with a sign."""
    return (number + (1 << 63) & SEQUENCE_MAX) - (1 << 63)


def _raw_id(entry_id: int) -> bytes:
    return entry_id.to_bytes(_ID_BYTES, "big")


def _pack_id(entry_id: int) -> bytes:
    return pack_length(entry_id >> SEQUENCE_BITS) + pack_length(entry_id & SEQUENCE_MAX)


def _pack_group(name: bytes, group: PlainGroup) -> Iterator[bytes]:
    read = -1 if group.entries_read is None else group.entries_read
    yield pack_string(name) + _pack_id(group.last_id) + pack_length(read & SEQUENCE_MAX)
    yield pack_length(len(group.pending))
    owned: dict[bytes, list[bytes]] = {consumer: [] for consumer in group.consumers}
    for entry_id, at_ms, deliveries, consumer in group.pending:
        raw_id = _raw_id(entry_id)
        owned.setdefault(RELEASED if consumer is None else consumer, []).append(raw_id)
        yield raw_id + pack("<q", at_ms) + pack_length(deliveries)
    yield pack_length(len(owned))
    for consumer, raw_ids in owned.items():
        seen_ms, _ = group.consumers.get(consumer, (0, 0))
        yield pack_string(consumer) + pack("<q", seen_ms) + pack_length(len(raw_ids))
        yield b"".join(raw_ids)


# -- reading ---------------------------------------------------------------------------------------


def read_stream(cursor: Cursor, kind: int) -> PlainStream:
    """The value of one of the three types."""
    ids: list[int] = []
    frames: list[bytes] = []
    for _ in range(cursor.length()):
        for entry_id, frame in _read_node(cursor.string(), cursor.string()):
            if ids and entry_id <= ids[-1]:
                raise RdbError("entries of a stream out of order")
            ids.append(entry_id)
            frames.append(frame)
    if cursor.length() != len(ids):
        raise RdbError("a stream of another length than it says")
    value = PlainStream(ids, frames, _read_id(cursor), 0, len(ids))
    if ids and value.last_id < ids[-1]:
        raise RdbError("a stream whose last id is not its last")
    if kind >= SECOND_TYPE:
        _read_id(cursor)  # the first id, which the entries tell
        value.max_deleted_id = _read_id(cursor)
        value.entries_added = cursor.length()
    for _ in range(cursor.length()):
        name = cursor.string()
        if name in value.groups:
            raise RdbError("a group twice")
        value.groups[name] = _read_group(cursor, kind)
    return value


def _read_id(cursor: Cursor) -> int:
    milliseconds, sequence = cursor.length(), cursor.length()
    return milliseconds << SEQUENCE_BITS | sequence


def _read_node(raw_id: bytes, listpack: bytes) -> Iterator[tuple[int, bytes]]:
    if len(raw_id) != _ID_BYTES:
        raise RdbError("a stream's node without an id")
    first_ms, first_sequence = divmod(int.from_bytes(raw_id, "big"), 1 << SEQUENCE_BITS)
    elements = iter(read_listpack(listpack))
    entries = _take_number(elements) + _take_number(elements)  # those deleted are there too
    pattern = _take(elements, _take_number(elements))
    if _take_number(elements) != 0:
        raise RdbError("a stream's node without the end of its pattern")
    for _ in range(entries):
        flags = _take_number(elements)
        milliseconds = first_ms + _take_number(elements) & SEQUENCE_MAX
        sequence = first_sequence + _take_number(elements) & SEQUENCE_MAX
        if flags & _SAME_FIELDS:
            values = _take(elements, len(pattern))
            fields = [text for pair in zip(pattern, values, strict=True) for text in pair]
            size = len(pattern) + 3
        else:
            fields = _take(elements, 2 * _take_number(elements))
            size = len(fields) + 4
        if _take_number(elements) != size:
            raise RdbError("an entry of a stream of another size than it says")
        if not flags & _DELETED:
            if not fields:
                raise RdbError("an entry of a stream without fields")
            entry_id = milliseconds << SEQUENCE_BITS | sequence
            yield entry_id, build_frame(format_id(entry_id), fields)
    if next(elements, None) is not None:
        raise RdbError("a stream's node that goes on behind its end")


def _take(elements: Iterator[bytes], count: int) -> list[bytes]:
    if count < 0:
        raise RdbError("a negative number of fields")
    taken = list(islice(elements, min(count, maxsize)))
    if len(taken) != count:
        raise RdbError("a stream's node that ends too early")
    return taken


def _take_number(elements: Iterator[bytes]) -> int:
    text = next(elements, None)
    number = None if text is None else integer_of(text)
    if number is None:
        raise RdbError("a stream's node without a number where one should be")
    return number


def _read_group(cursor: Cursor, kind: int) -> PlainGroup:
    group = PlainGroup(_read_id(cursor), None)
    if kind >= SECOND_TYPE:
        read = cursor.length()
        group.entries_read = -1 if read == SEQUENCE_MAX else read
    rows: dict[int, tuple[int, int]] = {}
    for _ in range(cursor.length()):
        entry_id = int.from_bytes(cursor.take(_ID_BYTES), "big")
        at_ms, deliveries = _read_time(cursor), cursor.length()
        if entry_id in rows:
            raise RdbError("an entry pending twice")
        rows[entry_id] = (at_ms, deliveries)
    owners: dict[int, bytes | None] = {}
    for _ in range(cursor.length()):
        _read_consumer(cursor, group, owners, kind)
    if owners.keys() != rows.keys():
        raise RdbError("a pending entry that is nobody's, or a consumer's that is not pending")
    group.pending = [(it, *rows[it], owners[it]) for it in rows]
    return group


def _read_consumer(
    cursor: Cursor, group: PlainGroup, owners: dict[int, bytes | None], kind: int
) -> None:
    name = cursor.string()
    if name in group.consumers or (name == RELEASED and None in owners.values()):
        raise RdbError("a consumer twice")
    seen_ms = active_ms = _read_time(cursor)
    if kind >= THIRD_TYPE:
        active_ms = cursor.signed(8)
    owner = None if name == RELEASED else name
    if owner is not None:
        group.consumers[name] = (seen_ms, max(active_ms, -1))
    for _ in range(cursor.length()):
        entry_id = int.from_bytes(cursor.take(_ID_BYTES), "big")
        if entry_id in owners:
            raise RdbError("an entry pending with two consumers")
        owners[entry_id] = owner


def _read_time(cursor: Cursor) -> int:
    return min(max(cursor.signed(8), 0), TIME_MAX_MS)


def owned_runs(pending: Iterable[PendingRow]) -> Iterator[tuple[bytes | None, int, int, list[int]]]:
    """Pending entries in order of time, those together that were delivered together.

    Gives consumer, time, deliveries, ids ascending.
    """
    run: list[int] = []
    shared: tuple[bytes | None, int, int] = (None, 0, 0)
    for entry_id, at_ms, deliveries, consumer in sorted(pending, key=_delivered_at):
        if run and (shared != (consumer, at_ms, deliveries) or entry_id < run[-1]):
            yield shared[0], shared[1], shared[2], run
            run = []
        shared = (consumer, at_ms, deliveries)
        run.append(entry_id)
    if run:
        yield shared[0], shared[1], shared[2], run


def _delivered_at(row: PendingRow) -> int:
    return row[1]
