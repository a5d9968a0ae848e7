"""Strings as arrays of bits: bit 0 is the highest bit of the first byte; past the end all are zero.

Pure functions over bytes and bytearrays; they know no key and no reply. Long strings are worked on
in pieces as big integers, so that the memory beside them stays small.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_, xor
from typing import Final, TypeAlias

Bits: TypeAlias = bytes | bytearray

_PIECE_BYTES: Final = 64 * 1024
_NO_BITS: Final = bytes(_PIECE_BYTES)
_ALL_BITS: Final = b"\xff" * _PIECE_BYTES
_ONES_AFTER: Final = tuple(0xFF >> skipped for skipped in range(9))


def count_bits(data: Bits, first: int, last: int) -> int:
    """How many bits are set from bit `first` to bit `last`, both inside the string."""
    if first > last:
        return 0
    first_byte, last_byte = first >> 3, last >> 3
    total = 0
    with memoryview(data) as view:
        for start in range(first_byte, last_byte + 1, _PIECE_BYTES):
            piece = view[start : min(start + _PIECE_BYTES, last_byte + 1)]
            total += int.from_bytes(piece, "little").bit_count()
    before = data[first_byte] & ~_ONES_AFTER[first & 7]
    after = data[last_byte] & _ONES_AFTER[(last & 7) + 1]
    return total - before.bit_count() - after.bit_count()


def find_bit(data: Bits, bit: int, first: int, last: int) -> int:
    """The first bit from `first` to `last`, both inside the string, that is `bit`; -1: none."""
    if first > last:
        return -1
    first_byte, last_byte = first >> 3, last >> 3
    flip = 0 if bit else 0xFF
    byte = (data[first_byte] ^ flip) & _ONES_AFTER[first & 7]
    at = first_byte
    if not byte:
        at = _find_other_byte(data, _ALL_BITS if flip else _NO_BITS, at + 1, last_byte + 1)
        if at < 0:
            return -1
        byte = data[at] ^ flip
    position = at * 8 + 8 - byte.bit_length()
    return position if position <= last else -1


def _find_other_byte(data: Bits, same: bytes, start: int, end: int) -> int:
    """The first byte from `start` to before `end` that differs from those of `same`; -1: none."""
    with memoryview(data) as view:
        while start < end:
            piece = view[start : min(start + _PIECE_BYTES, end)]
            if piece != same[: len(piece)]:
                rest = bytes(piece).lstrip(same[:1])
                return start + len(piece) - len(rest)
            start += _PIECE_BYTES
    return -1


def _difference(words: Sequence[int]) -> int:
    return words[0] & ~reduce(or_, words[1:])


def _others_only(words: Sequence[int]) -> int:
    return ~words[0] & reduce(or_, words[1:])


def _first_and_another(words: Sequence[int]) -> int:
    return words[0] & reduce(or_, words[1:])


def _exactly_one(words: Sequence[int]) -> int:
    once = several = 0
    for word in words:
        several |= once & word
        once |= word
    return once & ~several


OPERATIONS: Final[dict[bytes, Callable[[Sequence[int]], int]]] = {
    b"AND": lambda words: reduce(and_, words),
    b"OR": lambda words: reduce(or_, words),
    b"XOR": lambda words: reduce(xor, words),
    b"DIFF": _difference,
    b"DIFF1": _others_only,
    b"ANDOR": _first_and_another,
    b"ONE": _exactly_one,
}


def combine(operation: bytes, sources: Sequence[Bits]) -> bytearray:
    """The strings combined bit by bit, as long as the longest."""
    size = max(map(len, sources))
    operate = OPERATIONS[operation]
    result = bytearray()
    for start in range(0, size, _PIECE_BYTES):
        piece_size = min(_PIECE_BYTES, size - start)
        words = [int.from_bytes(source[start : start + piece_size], "little") for source in sources]
        result += operate(words).to_bytes(piece_size, "little")
    return result


def invert(source: Bits) -> bytearray:
    """The string with every bit turned."""
    result = bytearray()
    for start in range(0, len(source), _PIECE_BYTES):
        piece = source[start : start + _PIECE_BYTES]
        word = int.from_bytes(piece, "little") ^ int.from_bytes(_ALL_BITS[: len(piece)], "little")
        result += word.to_bytes(len(piece), "little")
    return result


@dataclass(frozen=True, slots=True)
class FieldType:
    """A whole number of 1 to 64 bits, in two's complement where signed."""

    signed: bool
    bits: int

    @property
    def minimum(self) -> int:
        """The least number that fits."""
        return -(1 << self.bits - 1) if self.signed else 0

    @property
    def maximum(self) -> int:
        """The greatest number that fits."""
        return (1 << self.bits - self.signed) - 1

    def wrap(self, number: int) -> int:
        """The number that the lowest bits of `number` mean."""
        number &= (1 << self.bits) - 1
        return number - (1 << self.bits) if number > self.maximum else number


def read_field(data: Bits, kind: FieldType, offset: int) -> int:
    """The number that begins at bit `offset`."""
    first = offset >> 3
    end = (offset + kind.bits + 7) >> 3
    window = bytes(data[first:end]).ljust(end - first, b"\0")
    return kind.wrap(int.from_bytes(window, "big") >> (end * 8 - offset - kind.bits))


def write_field(data: bytearray, kind: FieldType, offset: int, number: int) -> None:
    """Put a number at bit `offset`; the string reaches far enough."""
    first = offset >> 3
    end = (offset + kind.bits + 7) >> 3
    shift = end * 8 - offset - kind.bits
    mask = (1 << kind.bits) - 1
    window = int.from_bytes(data[first:end], "big") & ~(mask << shift) | (number & mask) << shift
    data[first:end] = window.to_bytes(end - first, "big")
