"""Values in Redis' dump format, read and written: what DUMP gives and RESTORE takes.

    [ type 1 | the value, by type | version 2 | CRC-64 of all before 8 ]     numbers little-endian

    type                                  read    written for
     0 string                               x     strings
     1 list of strings                      x
     2 set of strings                       x     sets, except of numbers
     3 sorted set, scores as text           x
     4 hash of strings                      x     large hashes
     5 sorted set, binary scores            x     large sorted sets
     9 zipmap, 10 12 13 ziplists            x
    11 intset                               x     sets of numbers
    14 list of ziplists                     x
    16 17 hash, sorted set: listpack        x     small ones
    18 list of listpacks                    x     lists
    20 set: listpack                        x
    15 19 21 stream (rdb_stream)            x     streams (19)
    22 24 hash whose fields expire          x     hashes with such fields (24, version 12)
    23 25 the same, a listpack              x
    7 a module's, if it is ours          x     limits (rdb_module)
    6 7 other modules, 26 27 later streams   refused by name

Writes version 10, which redis-server 7.0 reads, wherever no field expires. Collections are plain
containers here; `rdb_values` knows the classes. Reading raises RdbError and nothing else, whatever
the bytes are, and makes at most what they pay for (88 times their size where LZF says so).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import copysign, isnan
from struct import pack
from typing import Final, TypeAlias

from hotplate.keyspace.crc64 import crc64
from hotplate.keyspace.entry import integer_of
from hotplate.keyspace.rdb_bytes import Cursor, RdbError, pack_length, pack_string
from hotplate.keyspace.rdb_module import (
    MODULE_TYPE,
    PlainTexts,
    pack_texts,
    read_texts,
)
from hotplate.keyspace.rdb_module import UnreadableTypeError as UnreadableTypeError
from hotplate.keyspace.rdb_packed import (
    pack_intset,
    pack_listpack,
    read_intset,
    read_listpack,
    read_ziplist,
    read_zipmap,
)
from hotplate.keyspace.rdb_stream import SECOND_TYPE, PlainStream, pack_stream, read_stream
from hotplate.keyspace.sharded import Table
from hotplate.spec.args import read_float

FOOTER_BYTES: Final = 10
_VERSION: Final = 10
_FIELD_TTL_VERSION: Final = 12
# Redis up to 8.6; Valkey counts from 80 on
_VERSIONS_READ: Final = frozenset((*range(1, 14), 80))
_VALKEY_VERSION: Final = 80
_NODE_BYTES: Final = 8192  # Redis' own size of a list's node
_PLAIN_NODE_BYTES: Final = 1 << 30  # what no listpack may hold
_PLAIN, _PACKED = 1, 2
_UNREADABLE: Final = {
    6: "a module's value",
    26: "a stream of a later version",
    27: "a stream of a later version",
}


@dataclass(slots=True)
class PlainString:
    """A string."""

    text: bytes


@dataclass(slots=True)
class PlainList:
    """A list."""

    elements: list[bytes]


@dataclass(slots=True)
class PlainSet:
    """A set; no member twice."""

    members: list[bytes]


class NotedScores:
    """Members and scores of a large sorted set, in order, as the chunks that hold them."""

    __slots__ = ("_members", "_scores")

    def __init__(
        self, members: Iterable[Sequence[bytes]], scores: Iterable[Sequence[float]]
    ) -> None:
        self._members = [chunk[:] for chunk in members]
        self._scores = [chunk[:] for chunk in scores]

    def __len__(self) -> int:
        return sum(map(len, self._members))

    def items(self) -> Iterator[tuple[bytes, float]]:
        """In ascending order."""
        for members, scores in zip(self._members, self._scores, strict=True):
            yield from zip(members, scores, strict=True)

    def descending(self) -> Iterator[tuple[bytes, float]]:
        """From the last to the first."""
        for members, scores in zip(reversed(self._members), reversed(self._scores), strict=True):
            yield from zip(reversed(members), reversed(scores), strict=True)


@dataclass(slots=True)
class PlainSortedSet:
    """A sorted set, in any order; no member twice, no score NaN.

    Redis loads a large one fastest if it is written in ascending order.
    """

    scores: "dict[bytes, float] | NotedScores"


@dataclass(slots=True)
class PlainHash:
    """A hash, and when those of its fields expire that do (Unix ms)."""

    fields: Table[bytes]
    expiries_ms: dict[bytes, int] = field(default_factory=dict)


Plain: TypeAlias = (
    PlainString | PlainList | PlainSet | PlainSortedSet | PlainHash | PlainStream | PlainTexts
)


def dump(value: Plain, *, compact: bool) -> bytes:
    """The payload of DUMP; `compact`: as one listpack or intset, where the type has one."""
    expires = isinstance(value, PlainHash) and bool(value.expiries_ms)
    kind, pieces = split(value, compact=compact)
    version = _FIELD_TTL_VERSION if expires else _VERSION
    payload = b"".join((bytes((kind,)), *pieces, pack("<H", version)))
    return payload + pack("<Q", crc64(payload))


def split(value: Plain, *, compact: bool) -> tuple[int, Iterator[bytes]]:
    """The type, and the value in pieces, so that a large one needs not be written at once."""
    if isinstance(value, PlainString):
        return 0, iter((pack_string(value.text),))
    if isinstance(value, PlainList):
        return 18, _pack_nodes(value.elements)
    if isinstance(value, PlainSet):
        return _split_set(value.members, compact=compact)
    if isinstance(value, PlainSortedSet):
        if compact:
            return 17, iter((pack_string(pack_listpack(_scored_texts(value.scores))),))
        return 5, _pack_scores(value.scores)
    if isinstance(value, PlainStream):
        return SECOND_TYPE, pack_stream(value)
    if isinstance(value, PlainTexts):
        return MODULE_TYPE, pack_texts(value.texts)
    if value.expiries_ms:
        return 24, _pack_expiring_hash(value)
    elements = (text for pair in value.fields.items() for text in pair)
    if compact:
        return 16, iter((pack_string(pack_listpack(elements)),))
    return 4, _pack_strings(len(value.fields), elements)


def _pack_strings(count: int, texts: Iterable[bytes]) -> Iterator[bytes]:
    yield pack_length(count)
    yield from map(pack_string, texts)


def _pack_nodes(elements: Iterable[bytes]) -> Iterator[bytes]:
    nodes: list[list[bytes]] = []
    for node in _nodes(elements):
        nodes.append(node)
        yield b""  # counting them takes long, too
    yield pack_length(len(nodes))
    for node in nodes:
        if len(node) == 1 and len(node[0]) >= _PLAIN_NODE_BYTES:
            yield pack_length(_PLAIN) + pack_string(node[0])
        else:
            yield pack_length(_PACKED) + pack_string(pack_listpack(node))


def _nodes(elements: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The elements of a list, cut where Redis' own nodes would be about full."""
    node: list[bytes] = []
    size = 0
    for element in elements:
        if node and size + len(element) > _NODE_BYTES:
            yield node
            node, size = [], 0
        node.append(element)
        size += len(element) + 2
    if node:
        yield node


def _split_set(members: list[bytes], *, compact: bool) -> tuple[int, Iterator[bytes]]:
    numbers = [integer_of(member) for member in members] if compact else [None]
    whole = [number for number in numbers if number is not None]
    if len(whole) == len(members):
        return 11, iter((pack_string(pack_intset(whole)),))
    return 2, _pack_strings(len(members), members)


def _scored_texts(scores: dict[bytes, float] | NotedScores) -> Iterator[bytes]:
    for member, score in sorted(scores.items(), key=lambda pair: (pair[1], pair[0])):
        yield member
        yield _score_text(score)


def _pack_scores(scores: dict[bytes, float] | NotedScores) -> Iterator[bytes]:
    yield pack_length(len(scores))
    # from the last to the first: each is then added in front, where Redis finds its place at once
    pairs = scores.descending() if isinstance(scores, NotedScores) else reversed(scores.items())
    for member, score in pairs:
        yield pack_string(member) + pack("<d", score)


def _score_text(score: float) -> bytes:
    if score in (float("inf"), float("-inf")):
        return b"inf" if score > 0 else b"-inf"
    if score == 0 and copysign(1, score) < 0:
        return b"-0"
    whole = int(score)
    return b"%d" % whole if whole == score and abs(whole) < 1 << 53 else repr(score).encode()


def _pack_expiring_hash(value: PlainHash) -> Iterator[bytes]:
    earliest_ms = min(value.expiries_ms.values())
    yield pack("<q", earliest_ms) + pack_length(len(value.fields))
    for name, text in value.fields.items():
        expire_at_ms = value.expiries_ms.get(name)
        span_ms = 0 if expire_at_ms is None else expire_at_ms - earliest_ms + 1
        yield pack_length(span_ms) + pack_string(name) + pack_string(text)


def is_intact(payload: bytes) -> bool:
    """Whether a payload ends with a version that is read here, and its own sum."""
    if len(payload) < FOOTER_BYTES:
        return False
    version, crc = payload[-10:-8], payload[-8:]
    if int.from_bytes(version, "little") not in _VERSIONS_READ:
        return False
    # a sum of zero is that of a Redis that does not compute sums
    return not any(crc) or crc64(memoryview(payload)[:-8]) == int.from_bytes(crc, "little")


def load(payload: bytes) -> Plain:
    """The value of an intact payload."""
    version = int.from_bytes(payload[-10:-8], "little")
    cursor = Cursor(payload[:-FOOTER_BYTES])
    return read_value(cursor, cursor.byte(), version)


def read_value(cursor: Cursor, kind: int, version: int) -> Plain:
    """The value of a type, as a format of that version has it."""
    if kind in _UNREADABLE:
        raise UnreadableTypeError(_UNREADABLE[kind])
    if kind == 22 and version >= _VALKEY_VERSION:
        return _read_valkey_hash(cursor)
    read = _READERS.get(kind)
    if read is None:
        raise RdbError("an unknown type")
    return read(cursor)


def _strings(cursor: Cursor, count: int) -> list[bytes]:
    # each takes a byte at least: a count that lies ends soon
    return [cursor.string() for _ in range(count)]


def _read_list(elements: list[bytes]) -> PlainList:
    if not elements:
        raise RdbError("an empty list")
    return PlainList(elements)


def _read_set(members: list[bytes]) -> PlainSet:
    if not members or len(set(members)) != len(members):
        raise RdbError("an empty set, or a member twice")
    return PlainSet(members)


def _read_sorted_set(pairs: Iterable[tuple[bytes, float]]) -> PlainSortedSet:
    scores: dict[bytes, float] = {}
    for member, score in pairs:
        if member in scores or isnan(score):
            raise RdbError("a member twice, or without a score")
        scores[member] = score
    if not scores:
        raise RdbError("an empty sorted set")
    return PlainSortedSet(scores)


def _read_hash(triples: Iterable[tuple[bytes, bytes, int]]) -> PlainHash:
    """Field, value and when it expires (0: never)."""
    value = PlainHash({})
    for name, text, expire_at_ms in triples:
        if name in value.fields:
            raise RdbError("a field twice")
        if not 0 <= expire_at_ms < 1 << 63:
            raise RdbError("no time")
        value.fields[name] = text
        if expire_at_ms:
            value.expiries_ms[name] = expire_at_ms
    if not value.fields:
        raise RdbError("an empty hash")
    return value


def _scored(elements: list[bytes]) -> Iterator[tuple[bytes, float]]:
    """Members and scores of a packed form."""
    if len(elements) % 2:
        raise RdbError("a member without a score")
    for member, text in zip(elements[::2], elements[1::2], strict=True):
        score = read_float(text)
        if score is None:
            raise RdbError("a score that is no number")
        yield member, score


def _paired(elements: list[bytes]) -> Iterator[tuple[bytes, bytes, int]]:
    if len(elements) % 2:
        raise RdbError("a field without a value")
    return ((name, text, 0) for name, text in zip(elements[::2], elements[1::2], strict=True))


def _text_scores(cursor: Cursor) -> Iterator[tuple[bytes, float]]:
    for _ in range(cursor.length()):
        member = cursor.string()
        size = cursor.byte()
        if size >= 253:
            yield member, (float("nan"), float("inf"), float("-inf"))[size - 253]
            continue
        score = read_float(cursor.take(size))
        if score is None:
            raise RdbError("a score that is no number")
        yield member, score


def _binary_scores(cursor: Cursor) -> Iterator[tuple[bytes, float]]:
    for _ in range(cursor.length()):
        yield cursor.string(), cursor.double()


def _quicklist(cursor: Cursor) -> Iterator[bytes]:
    for _ in range(cursor.length()):
        yield from read_ziplist(cursor.string())


def _quicklist_2(cursor: Cursor) -> Iterator[bytes]:
    for _ in range(cursor.length()):
        container = cursor.length()
        if container == _PLAIN:
            yield cursor.string()
        elif container == _PACKED:
            yield from read_listpack(cursor.string())
        else:
            raise RdbError("an unknown node of a list")


def _fields(cursor: Cursor) -> Iterator[tuple[bytes, bytes, int]]:
    for _ in range(cursor.length()):
        yield cursor.string(), cursor.string(), 0


def _expiring_fields(cursor: Cursor, *, is_relative: bool) -> Iterator[tuple[bytes, bytes, int]]:
    # one less than the earliest time, as 0 means that a field stays
    base_ms = cursor.signed(8) - 1 if is_relative else 0
    for _ in range(cursor.length()):
        span_ms = cursor.length()
        yield cursor.string(), cursor.string(), base_ms + span_ms if span_ms else 0


def _expiring_listpack(cursor: Cursor, *, has_earliest: bool) -> Iterator[tuple[bytes, bytes, int]]:
    if has_earliest:
        cursor.take(8)
    elements = read_listpack(cursor.string())
    if len(elements) % 3:
        raise RdbError("a field without a value or a time")
    for at in range(0, len(elements), 3):
        expire_at_ms = integer_of(elements[at + 2])
        if expire_at_ms is None:
            raise RdbError("no time")
        yield elements[at], elements[at + 1], expire_at_ms


def _read_valkey_hash(cursor: Cursor) -> PlainHash:
    """Valkey's type 22: a time behind each value, -1 where the field stays."""

    def triples() -> Iterator[tuple[bytes, bytes, int]]:
        for _ in range(cursor.length()):
            name, text, expire_at_ms = cursor.string(), cursor.string(), cursor.signed(8)
            yield name, text, 0 if expire_at_ms == -1 else expire_at_ms

    return _read_hash(triples())


_READERS: Final[dict[int, Callable[[Cursor], Plain]]] = {
    MODULE_TYPE: read_texts,
    0: lambda cursor: PlainString(cursor.string()),
    1: lambda cursor: _read_list(_strings(cursor, cursor.length())),
    2: lambda cursor: _read_set(_strings(cursor, cursor.length())),
    3: lambda cursor: _read_sorted_set(_text_scores(cursor)),
    4: lambda cursor: _read_hash(_fields(cursor)),
    5: lambda cursor: _read_sorted_set(_binary_scores(cursor)),
    9: lambda cursor: _read_hash(_paired(read_zipmap(cursor.string()))),
    10: lambda cursor: _read_list(read_ziplist(cursor.string())),
    11: lambda cursor: _read_set(read_intset(cursor.string())),
    12: lambda cursor: _read_sorted_set(_scored(read_ziplist(cursor.string()))),
    13: lambda cursor: _read_hash(_paired(read_ziplist(cursor.string()))),
    14: lambda cursor: _read_list(list(_quicklist(cursor))),
    15: lambda cursor: read_stream(cursor, 15),
    16: lambda cursor: _read_hash(_paired(read_listpack(cursor.string()))),
    17: lambda cursor: _read_sorted_set(_scored(read_listpack(cursor.string()))),
    18: lambda cursor: _read_list(list(_quicklist_2(cursor))),
    19: lambda cursor: read_stream(cursor, 19),
    20: lambda cursor: _read_set(read_listpack(cursor.string())),
    21: lambda cursor: read_stream(cursor, 21),
    22: lambda cursor: _read_hash(_expiring_fields(cursor, is_relative=False)),
    23: lambda cursor: _read_hash(_expiring_listpack(cursor, has_earliest=False)),
    24: lambda cursor: _read_hash(_expiring_fields(cursor, is_relative=True)),
    25: lambda cursor: _read_hash(_expiring_listpack(cursor, has_earliest=True)),
}
