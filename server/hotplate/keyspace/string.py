"""What commands do with the bytes of a string: ranges, writing in place, common subsequences.

Pure functions over values; they know no key and no reply. A string that is changed in place becomes
a bytearray, so that appending again and again costs what is appended.
"""

from collections.abc import Iterator
from typing import Final

from hotplate.keyspace.entry import Value, string_of

_INTEGER_BYTES: Final = 4  # what Redis spends on each pair of positions, and so limits


def length_of(value: Value) -> int:
    """How many bytes the string has. WrongTypeError for a collection."""
    if isinstance(value, (bytes, bytearray)):
        return len(value)
    return len(string_of(value))


def range_of(value: Value, start: int, end: int) -> bytes:
    """The bytes from `start` to `end`, both included, negative ones counted from the end."""
    data = value if isinstance(value, bytearray) else string_of(value)
    size = len(data)
    if start < 0 and end < 0 and start > end:
        return b""
    start = max(start + size, 0) if start < 0 else start
    end = max(end + size, 0) if end < 0 else min(end, size - 1)
    return bytes(data[start : end + 1])


def growable(value: Value) -> bytearray:
    """The string as something to change in place; the caller stores it."""
    return value if isinstance(value, bytearray) else bytearray(string_of(value))


def write_at(data: bytearray, offset: int, piece: bytes) -> None:
    """Overwrite from `offset` on, zeros where the string did not reach so far."""
    if offset > len(data):
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(piece)] = piece


class CommonSubsequence:
    """The longest common subsequence of two strings (LCS).

    Bit-parallel (Hyyrö 2004): after each byte of the first string one integer holds a bit for each
    byte of the second, zero where the length grows. A table of lengths, as Redis has it, would be
    32 times as large; all that walking back needs is whether the length grew.
    """

    __slots__ = ("_first", "_rows", "_second", "length")

    def __init__(self, first: bytes, second: bytes) -> None:
        self._first = first
        self._second = second
        positions: dict[int, int] = {}
        for index, byte in enumerate(second):
            positions[byte] = positions.get(byte, 0) | 1 << index
        everything = (1 << len(second)) - 1
        row_bytes = len(second) // 8 + 1
        row = everything
        self._rows: list[bytes] = []
        for byte in first:
            matches = row & positions.get(byte, 0)
            row = (row + matches | row - matches) & everything
            self._rows.append(row.to_bytes(row_bytes, "little"))
        self.length = len(second) - row.bit_count()

    @staticmethod
    def table_bytes(first_size: int, second_size: int) -> int:
        """The memory by which Redis decides whether two strings are too long."""
        return (first_size + 1) * (second_size + 1) * _INTEGER_BYTES

    def ranges(self) -> Iterator[tuple[int, int, int]]:
        """Runs that match, the last first: (start in the first, start in the second, length)."""
        i, j = len(self._first), len(self._second)
        run = 0
        while i > 0 and j > 0:
            if self._first[i - 1] == self._second[j - 1]:
                i, j, run = i - 1, j - 1, run + 1
                continue
            if run:
                yield i, j, run
                run = 0
            row = self._rows[i - 1]
            if row[j - 1 >> 3] >> (j - 1 & 7) & 1:
                j -= 1
            else:  # the length grows at j, so it comes from the row above
                i -= 1
        if run:
            yield i, j, run

    def text(self) -> bytes:
        """The subsequence itself."""
        pieces = [self._first[i : i + run] for i, _, run in self.ranges()]
        return b"".join(reversed(pieces))
