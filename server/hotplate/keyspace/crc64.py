"""CRC-64 as Redis computes it over dumped values (Jones' polynomial, reflected, starting at 0)."""

from struct import iter_unpack
from typing import Final, TypeAlias

_POLYNOMIAL: Final = 0x95AC9329AC4BC9B5  # 0xAD93D23594C935A9 with its bits reversed
_WORD_BYTES: Final = 8

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


def crc64(data: bytes | memoryview, crc: int = 0) -> int:
    """The sum of `data`, going on from that of what came before."""
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
