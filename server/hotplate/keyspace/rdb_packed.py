"""Small collections in one string, as Redis keeps them: listpack, intset, and older forms.

    listpack   size 4, count 2, entries, 0xFF; an entry ends with its own size, read backwards
    ziplist    size 4, offset of the last entry 4, count 2, entries, 0xFF; an entry begins with the
               size of the one before it
    zipmap     count 1, pairs, 0xFF
    intset     width of a number 4, count 4, numbers in order

Numbers are little-endian unless an entry's head holds part of them. Readers answer lists of bytes
and raise RdbError for everything that Redis would not have written; a count that is too large to
be told is not looked at.
"""

from collections.abc import Iterable
from struct import Struct, pack
from typing import Final

from hotplate.keyspace.entry import integer_of
from hotplate.keyspace.rdb_bytes import Cursor, RdbError

_END: Final = 0xFF
_COUNT_MAX: Final = 0xFFFF
_LISTPACK_HEAD: Final = Struct("<IH")
_ZIPLIST_LONG_SIZE: Final = 254
_ZIPMAP_LONG_SIZE: Final = 254


def read_listpack(data: bytes) -> list[bytes]:
    """The elements of a listpack."""
    cursor = Cursor(data)
    size, count = cursor.unsigned(4), cursor.unsigned(2)
    if size != len(data) or data[-1] != _END:
        raise RdbError("a listpack of another size than it says")
    elements: list[bytes] = []
    end = size - 1
    while cursor.at < end:
        start = cursor.at
        elements.append(_read_listpack_element(cursor))
        backwards = _pack_backwards(cursor.at - start)
        if cursor.take(len(backwards)) != backwards:
            raise RdbError("a listpack entry of another size than it says")
    if cursor.at != end or count not in (len(elements), _COUNT_MAX):
        raise RdbError("a listpack of another count than it says")
    return elements


def _read_listpack_element(cursor: Cursor) -> bytes:
    head = cursor.byte()
    if head < 0x80:
        return b"%d" % head
    if head < 0xC0:
        return cursor.take(head & 0x3F)
    if head < 0xE0:
        number = (head & 0x1F) << 8 | cursor.byte()
        return b"%d" % (number - (1 << 13) if number >= 1 << 12 else number)
    if head < 0xF0:
        return cursor.take((head & 0x0F) << 8 | cursor.byte())
    if head == 0xF0:
        return cursor.take(cursor.unsigned(4))
    if head <= 0xF4:
        return b"%d" % cursor.signed((2, 3, 4, 8)[head - 0xF1])
    raise RdbError("an unknown listpack entry")


def _pack_backwards(size: int) -> bytes:
    """The size of an entry, in sevens of bits, to be read from its end."""
    if size <= 127:
        return bytes((size,))
    # one less than what fits would begin the next length: so does Redis
    length = 2 if size < 16383 else 3 if size < 2097151 else 4 if size < 268435455 else 5
    groups = [size >> 7 * (length - 1)]
    groups += [size >> 7 * shift & 0x7F | 0x80 for shift in range(length - 2, -1, -1)]
    return bytes(groups)


def pack_listpack(elements: Iterable[bytes]) -> bytes:
    """A listpack of elements; what spells a number is kept as one."""
    pieces: list[bytes] = []
    for element in elements:
        entry = _pack_listpack_element(element)
        pieces.append(entry)
        pieces.append(_pack_backwards(len(entry)))
    body = b"".join(pieces)
    count = min(len(pieces) // 2, _COUNT_MAX)
    return _LISTPACK_HEAD.pack(len(body) + 7, count) + body + b"\xff"


def _pack_listpack_element(element: bytes) -> bytes:
    number = integer_of(element)
    if number is not None:
        return _pack_listpack_number(number)
    size = len(element)
    if size < 1 << 6:
        return bytes((0x80 | size,)) + element
    if size < 1 << 12:
        return bytes((0xE0 | size >> 8, size & 0xFF)) + element
    return pack("<BI", 0xF0, size) + element


def _pack_listpack_number(number: int) -> bytes:
    if 0 <= number < 1 << 7:
        return bytes((number,))
    if -(1 << 12) <= number < 1 << 12:
        return bytes((0xC0 | number >> 8 & 0x1F, number & 0xFF))
    for head, size in ((0xF1, 2), (0xF2, 3), (0xF3, 4)):
        if -(1 << size * 8 - 1) <= number < 1 << size * 8 - 1:
            return bytes((head,)) + number.to_bytes(size, "little", signed=True)
    return b"\xf4" + number.to_bytes(8, "little", signed=True)


def read_ziplist(data: bytes) -> list[bytes]:
    """The elements of a ziplist."""
    cursor = Cursor(data)
    size, last_at, count = cursor.unsigned(4), cursor.unsigned(4), cursor.unsigned(2)
    if size != len(data) or data[-1] != _END:
        raise RdbError("a ziplist of another size than it says")
    elements: list[bytes] = []
    before = previous_at = cursor.at
    end = size - 1
    while cursor.at < end:
        before, previous_at = previous_at, cursor.at
        previous_size = cursor.byte()
        if previous_size == _ZIPLIST_LONG_SIZE:
            previous_size = cursor.unsigned(4)
        if previous_size != previous_at - before:
            raise RdbError("a ziplist entry that does not follow the one before")
        elements.append(_read_ziplist_element(cursor))
    if cursor.at != end or count not in (len(elements), _COUNT_MAX) or last_at != previous_at:
        raise RdbError("a ziplist of another count than it says")
    return elements


def _read_ziplist_element(cursor: Cursor) -> bytes:
    head = cursor.byte()
    kind = head >> 6
    if kind == 0:
        return cursor.take(head & 0x3F)
    if kind == 1:
        return cursor.take((head & 0x3F) << 8 | cursor.byte())
    if kind == 2:
        return cursor.take(int.from_bytes(cursor.take(4), "big"))
    size = {0xC0: 2, 0xD0: 4, 0xE0: 8, 0xF0: 3, 0xFE: 1}.get(head)
    if size is not None:
        return b"%d" % cursor.signed(size)
    if 0xF1 <= head <= 0xFD:
        return b"%d" % ((head & 0x0F) - 1)
    raise RdbError("an unknown ziplist entry")


def read_zipmap(data: bytes) -> list[bytes]:
    """Fields and values of a zipmap in turn."""
    cursor = Cursor(data)
    cursor.byte()  # the count, of no use beyond 253
    elements: list[bytes] = []
    while (head := cursor.byte()) != _END:
        elements.append(cursor.take(_zipmap_size(cursor, head)))
        size = _zipmap_size(cursor, cursor.byte())
        spare = cursor.byte()
        elements.append(cursor.take(size))
        cursor.take(spare)
    if cursor.at != len(data):
        raise RdbError("a zipmap that goes on behind its end")
    return elements


def _zipmap_size(cursor: Cursor, head: int) -> int:
    if head < _ZIPMAP_LONG_SIZE:
        return head
    if head == _ZIPMAP_LONG_SIZE:
        return cursor.unsigned(4)
    raise RdbError("a zipmap that ends inside a pair")


def read_intset(data: bytes) -> list[bytes]:
    """The members of a set of whole numbers."""
    cursor = Cursor(data)
    width, count = cursor.unsigned(4), cursor.unsigned(4)
    if width not in (2, 4, 8) or len(data) != 8 + width * count:
        raise RdbError("a set of numbers of another size than it says")
    numbers = [
        int.from_bytes(data[at : at + width], "little", signed=True)
        for at in range(8, len(data), width)
    ]
    return [b"%d" % number for number in numbers]


def pack_intset(numbers: Iterable[int]) -> bytes:
    """A set of whole numbers of 64 bits."""
    ordered = sorted(numbers)
    width = 2
    while ordered and not -(1 << width * 8 - 1) <= ordered[0] <= ordered[-1] < 1 << width * 8 - 1:
        width *= 2
    body = b"".join(number.to_bytes(width, "little", signed=True) for number in ordered)
    return pack("<II", width, len(ordered)) + body
