"""Packed forms that Redis wrote before 7.0, for tests: ziplist and zipmap; and whole payloads."""

from collections.abc import Sequence
from struct import pack

from hotplate.keyspace.crc64 import crc64
from hotplate.keyspace.entry import integer_of
from hotplate.keyspace.rdb_bytes import pack_length


def pack_ziplist(elements: Sequence[bytes]) -> bytes:
    """A ziplist, numbers as such."""
    body = b""
    last_at, previous_size = 10, 0
    for element in elements:
        head = bytes((previous_size,)) if previous_size < 254 else pack("<BI", 254, previous_size)
        entry = head + _ziplist_element(element)
        last_at = 10 + len(body)
        body += entry
        previous_size = len(entry)
    return pack("<IIH", 11 + len(body), last_at, len(elements)) + body + b"\xff"


def _ziplist_element(element: bytes) -> bytes:
    number = integer_of(element)
    if number is None:
        size = len(element)
        if size < 1 << 6:
            return bytes((size,)) + element
        if size < 1 << 14:
            return pack(">H", 0x4000 | size) + element
        return pack(">BI", 0x80, size) + element
    if 0 <= number <= 12:
        return bytes((0xF1 + number,))
    for head, size in ((0xFE, 1), (0xC0, 2), (0xF0, 3), (0xD0, 4), (0xE0, 8)):
        if -(1 << size * 8 - 1) <= number < 1 << size * 8 - 1:
            return bytes((head,)) + number.to_bytes(size, "little", signed=True)
    raise AssertionError(number)


def pack_zipmap(elements: Sequence[bytes]) -> bytes:
    """A zipmap of fields and values in turn; values have two bytes to spare."""
    body = b""
    for at, element in enumerate(elements):
        size = len(element)
        body += bytes((size,)) if size < 254 else pack("<BI", 254, size)
        body += b"\x02" + element + b"\0\0" if at % 2 else element
    return bytes((min(len(elements) // 2, 254),)) + body + b"\xff"


def pack_blob(data: bytes) -> bytes:
    """A string as it is, whatever it spells."""
    return pack_length(len(data)) + data


def seal(body: bytes, version: int = 10) -> bytes:
    """A payload of a type and its value: with version and sum."""
    payload = body + pack("<H", version)
    return payload + pack("<Q", crc64(payload))
