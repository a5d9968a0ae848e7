"""The lowest layer of Redis' dump format: lengths, strings, times, and a cursor that stays inside.

    length   00nnnnnn | 01nnnnnn n | 0x80 n n n n | 0x81 and eight bytes (big-endian)
    string   a length and its bytes, or
             0xC0 | 0xC1 | 0xC2: a number of one, two, four bytes (little-endian), or
             0xC3, two lengths and bytes: LZF, its size and that of the text

Reading never goes past the end and makes nothing that the input does not pay for: whatever the
bytes are, the outcome is a value or RdbError.
"""

from struct import pack, unpack_from
from typing import Final

from hotplate.keyspace.entry import integer_of

_INTEGER_TEXT_MAX: Final = 11  # longer ones are no numbers of 32 bits
_LZF_EXPANSION_MAX: Final = 88  # 264 bytes out of 3 at most
_LZF_LITERALS_MAX: Final = 32


class RdbError(ValueError):
    """Bytes that are no value in Redis' format; the text says why."""


class Cursor:
    """A place in bytes to read on from."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def take(self, size: int) -> bytes:
        """The next bytes."""
        end = self.at + size
        if end > len(self.data):
            raise RdbError("the bytes end too early")
        piece = self.data[self.at : end]
        self.at = end
        return piece

    def byte(self) -> int:
        """The next byte."""
        at = self.at
        if at >= len(self.data):
            raise RdbError("the bytes end too early")
        self.at = at + 1
        return self.data[at]

    def unsigned(self, size: int) -> int:
        """A little-endian number."""
        return int.from_bytes(self.take(size), "little")

    def signed(self, size: int) -> int:
        """A little-endian number in two's complement."""
        return int.from_bytes(self.take(size), "little", signed=True)

    def double(self) -> float:
        """A binary double."""
        return float(unpack_from("<d", self.take(8))[0])

    def _length_or_form(self) -> tuple[int, bool]:
        """A length, or the form of a string that is stored in another way."""
        head = self.byte()
        kind = head >> 6
        if kind == 0:
            return head & 0x3F, False
        if kind == 1:
            return (head & 0x3F) << 8 | self.byte(), False
        if kind == 3:
            return head & 0x3F, True
        if head not in (0x80, 0x81):
            raise RdbError("an unknown form of length")
        return int.from_bytes(self.take(4 if head == 0x80 else 8), "big"), False

    def length(self) -> int:
        """A length."""
        length, is_form = self._length_or_form()
        if is_form:
            raise RdbError("a string where a length should be")
        return length

    def string(self) -> bytes:
        """A string, in whichever form."""
        length, is_form = self._length_or_form()
        if not is_form:
            return self.take(length)
        if length <= 2:
            return b"%d" % self.signed(1 << length)
        if length != 3:
            raise RdbError("an unknown form of string")
        packed_size = self.length()
        size = self.length()
        if size > packed_size * _LZF_EXPANSION_MAX:
            raise RdbError("LZF cannot expand so far")
        return lzf_expand(self.take(packed_size), size)


def lzf_expand(packed: bytes, size: int) -> bytes:
    """What LZF made `packed` from, which had `size` bytes."""
    out = bytearray()
    at, end = 0, len(packed)
    while at < end:
        control = packed[at]
        at += 1
        if control < _LZF_LITERALS_MAX:
            piece = packed[at : at + control + 1]
            if len(piece) <= control:
                raise RdbError("LZF ends inside a run")
            out += piece
            at += control + 1
        else:
            length = control >> 5
            if length == 7:
                if at >= end:
                    raise RdbError("LZF ends inside a reference")
                length += packed[at]
                at += 1
            length += 2
            if at >= end:
                raise RdbError("LZF ends inside a reference")
            distance = ((control & 0x1F) << 8 | packed[at]) + 1
            at += 1
            start = len(out) - distance
            if start < 0:
                raise RdbError("LZF refers to what is not there")
            source = out[start : start + length]
            # a reference may reach into what it makes: the source then repeats itself
            out += (source * (length // len(source) + 1))[:length]
        if len(out) > size:
            raise RdbError("LZF makes more than it says")
    if len(out) != size:
        raise RdbError("LZF makes less than it says")
    return bytes(out)


def pack_length(length: int) -> bytes:
    """A length as Redis writes it."""
    if length < 1 << 6:
        return bytes((length,))
    if length < 1 << 14:
        return bytes((0x40 | length >> 8, length & 0xFF))
    return pack(">BI", 0x80, length) if length < 1 << 32 else pack(">BQ", 0x81, length)


def pack_string(text: bytes) -> bytes:
    """A string as Redis writes it without compression."""
    if len(text) <= _INTEGER_TEXT_MAX:
        number = integer_of(text)
        if number is not None:
            if -(1 << 7) <= number < 1 << 7:
                return pack("<Bb", 0xC0, number)
            if -(1 << 15) <= number < 1 << 15:
                return pack("<Bh", 0xC1, number)
            if -(1 << 31) <= number < 1 << 31:
                return pack("<Bi", 0xC2, number)
    return pack_length(len(text)) + text
