"""CRC-64 as Redis computes it over dumped values (Jones' polynomial, reflected, starting at 0).

Short data goes through tables, eight bytes a step. Long data is folded first: the sum is linear
over GF(2), and x^k = r(x) modulo the polynomial P, so the first k - 64 bits of a message can be
added to what follows, shifted by each power in r. As P divides P^(2^j), the same holds with k and
all powers doubled j times: a few operations on large integers, in C, halve the message. Powers k
with a sparse r were searched for; 256 KiB in one piece are about 18 times as fast as the tables.
"""

from struct import iter_unpack
from typing import Final, TypeAlias

_POLYNOMIAL: Final = 0x95AC9329AC4BC9B5  # 0xAD93D23594C935A9 with its bits reversed
_WORD_BYTES: Final = 8
_FOLD_FROM: Final = 1024  # bytes; shorter data is not worth folding
_PIECE_BYTES: Final = 256 * 1024  # what processors keep at hand
# k and x^k modulo P, reflected: bit 63 is the power 0
_SPARSE_POWERS: Final = (
    (619496, 578159773319963268),
    (149744, 2455024781522993156),
    (25728, 869231039749702816),
    (2992, 14015426340989348550),
    (784, 658827797750684012),
)

_Table: TypeAlias = tuple[int, ...]


def _build_tables() -> tuple[_Table, ...]:
    """Table n gives what a byte does to the sum when n further bytes follow it."""
    first: list[int] = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
        first.append(crc)
    tables = [tuple(first)]
    for _ in range(1, _WORD_BYTES):
        tables.append(tuple(first[crc & 0xFF] ^ crc >> 8 for crc in tables[-1]))
    return tuple(tables)


_TABLES: Final = _build_tables()
# k - 64, which is what is folded away, and by how much that is shifted onto the rest
_FOLDS: Final = tuple(
    (power - 64, tuple(bit + 1 for bit in range(64) if rest >> bit & 1))
    for power, rest in _SPARSE_POWERS
)


def crc64(data: bytes | memoryview, crc: int = 0) -> int:
    """The sum of `data`, going on from that of what came before."""
    for start in range(0, len(data), _PIECE_BYTES):
        piece = data[start : start + _PIECE_BYTES]
        if len(piece) >= _FOLD_FROM:
            piece, crc = _fold(piece, crc), 0
        crc = _sum(piece, crc)
    return crc


def _fold(data: bytes | memoryview, crc: int) -> bytes:
    """Fewer bytes whose sum from 0 on is that of `data` from `crc` on."""
    message = int.from_bytes(data, "little") ^ crc
    size = len(data) * 8
    for folded, shifts in _FOLDS:
        doublings = max((size // (2 * folded + 64)).bit_length() - 1, 0)
        for doubled in range(doublings, -1, -1):
            part = folded << doubled
            while size >= 2 * part + (64 << doubled):
                head = message & (1 << part) - 1
                message >>= part
                size -= part
                for shift in shifts:
                    message ^= head << (shift << doubled)
    return message.to_bytes(size // 8, "little")


def _sum(data: bytes | memoryview, crc: int) -> int:
    after_0, after_1, after_2, after_3, after_4, after_5, after_6, after_7 = _TABLES
    whole = len(data) & ~(_WORD_BYTES - 1)
    for (word,) in iter_unpack("<Q", data[:whole]):
        word ^= crc
        crc = (
            after_7[word & 0xFF]
            ^ after_6[word >> 8 & 0xFF]
            ^ after_5[word >> 16 & 0xFF]
            ^ after_4[word >> 24 & 0xFF]
            ^ after_3[word >> 32 & 0xFF]
            ^ after_2[word >> 40 & 0xFF]
            ^ after_1[word >> 48 & 0xFF]
            ^ after_0[word >> 56]
        )
    for byte in data[whole:]:
        crc = after_0[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc
