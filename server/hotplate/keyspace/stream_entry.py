"""Ids and entries of streams: how they are read, ordered and kept.

An id is one int, milliseconds << 64 | sequence, so that ids compare as numbers. An entry is kept as
the bytes that answer it, the same in both protocols, for entries are read far oftener than looked
into:

    *2  $15 1526569498055-0  *4  $5 field  $5 value ...

Pure functions; they know no key and no client.
"""

import re
from collections.abc import Iterable
from typing import Final

from hotplate.resp.shared import BULK_HEADERS, CRLF

SEQUENCE_BITS: Final = 64
SEQUENCE_MAX: Final = 2**64 - 1
ID_MAX: Final = 2**128 - 1
_HEADERS_END: Final = len(BULK_HEADERS)
_ID_BYTES_MAX: Final = 127  # of the text, as in Redis
_SHORT_BYTES: Final = 20  # no number in so few can be too large
_UNSIGNED: Final = re.compile(rb"[ \t\n\v\f\r]*([+-]?)([0-9]+)")
_CANONICAL_NEGATIVE: Final = re.compile(rb"-[1-9][0-9]*")


def format_id(entry_id: int) -> bytes:
    """The id as clients write it."""
    return b"%d-%d" % (entry_id >> SEQUENCE_BITS, entry_id & SEQUENCE_MAX)


def format_ids(ids: Iterable[int]) -> list[bytes]:
    """Several ids."""
    return [b"%d-%d" % (it >> SEQUENCE_BITS, it & SEQUENCE_MAX) for it in ids]


def read_whole_id(text: bytes) -> int | None:
    """`milliseconds-sequence` as the server writes it; None for what may be something else."""
    time, _, sequence = text.partition(b"-")
    if len(text) <= _SHORT_BYTES and time.isdigit() and sequence.isdigit():
        return int(time) << SEQUENCE_BITS | int(sequence)
    return None


def read_id(text: bytes, missing_sequence: int = 0) -> int | None:
    """`milliseconds` or `milliseconds-sequence`; None for anything else."""
    entry_id = read_whole_id(text)
    if entry_id is not None:
        return entry_id
    if len(text) > _ID_BYTES_MAX:
        return None
    time, dash, sequence = text.split(b"\0", 1)[0].partition(b"-")
    milliseconds = _read_unsigned(time)
    number = _read_unsigned(sequence) if dash else missing_sequence
    if milliseconds is None or number is None:
        return None
    return milliseconds << SEQUENCE_BITS | number


def read_ids(texts: list[bytes]) -> list[int] | None:
    """Several ids, which often share their milliseconds; None if one is none."""
    ids: list[int] = []
    known = b""
    high = 0
    for text in texts:
        time, _, sequence = text.partition(b"-")
        if len(text) <= _SHORT_BYTES and sequence.isdigit() and (time == known or time.isdigit()):
            if time != known:
                known = time
                high = int(time) << SEQUENCE_BITS
            ids.append(high | int(sequence))
        else:
            entry_id = read_id(text)
            if entry_id is None:
                return None
            ids.append(entry_id)
    return ids


def _read_unsigned(text: bytes) -> int | None:
    """64 bits without sign, with all that C's strtoull lets through, as Redis does."""
    match = _UNSIGNED.fullmatch(text)
    if match is None:
        return None
    value = int(match[2])
    if value > SEQUENCE_MAX:
        return None
    if match[1] != b"-":
        return value
    if _CANONICAL_NEGATIVE.fullmatch(text) and value <= 2**63:
        return None
    return -value & SEQUENCE_MAX


def build_frame(id_text: bytes, fields: list[bytes]) -> bytes:
    """The frame of an entry; `fields` are names and values in turn."""
    if len(fields) == 2:
        name, value = fields
        if len(name) < _HEADERS_END and len(value) < _HEADERS_END:
            return b"".join(
                (
                    b"*2\r\n",
                    BULK_HEADERS[len(id_text)],
                    id_text,
                    b"\r\n*2\r\n",
                    BULK_HEADERS[len(name)],
                    name,
                    CRLF,
                    BULK_HEADERS[len(value)],
                    value,
                    CRLF,
                )
            )
    head = (b"*2\r\n", BULK_HEADERS[len(id_text)], id_text, b"\r\n*%d\r\n" % len(fields))
    return b"".join((*head, join_fields(fields)))


def join_fields(fields: list[bytes]) -> bytes:
    """Names and values as frames, without the array's header."""
    parts: list[bytes] = []
    for field in fields:
        size = len(field)
        parts.append(BULK_HEADERS[size] if size < _HEADERS_END else b"$%d\r\n" % size)
        parts.append(field)
        parts.append(CRLF)
    return b"".join(parts)


def bulk(text: bytes) -> bytes:
    """The frame of a bulk string but for its last two bytes."""
    return b"$%d\r\n%b" % (len(text), text)


def fields_of(frame: bytes) -> list[bytes]:
    """Names and values in turn: what build_frame was given."""
    end = frame.index(b"\r\n", 4)
    start = end + 2 + int(frame[5:end]) + 2  # after the id
    end = frame.index(b"\r\n", start)
    count = int(frame[start + 1 : end])
    fields = []
    for _ in range(count):
        start = end + 2
        end = frame.index(b"\r\n", start)
        size = int(frame[start + 1 : end])
        fields.append(frame[end + 2 : end + 2 + size])
        end += 2 + size
    return fields
