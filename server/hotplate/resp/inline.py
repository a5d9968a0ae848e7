"""Inline requests: a line of words, as typed into telnet, split the way Redis splits it.

Owns the quoting rules alone; it knows neither buffers nor limits.
"""

from typing import Final

_SPACE: Final = b" \t\n\v\f\r"
_ESCAPES: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}
_HEX: Final = b"0123456789abcdefABCDEF"


def split_line(line: bytes) -> list[bytes] | None:
    """The words of `line`, or None where a quote is not closed or not followed by space.

    "double quotes" know \\n \\r \\t \\b \\a \\xHH and take any other escaped byte as it is;
    'single quotes' know \\' only.
    """
    if b'"' not in line and b"'" not in line:
        return line.split()
    words: list[bytes] = []
    position, end = 0, len(line)
    while True:
        while position < end and line[position] in _SPACE:
            position += 1
        if position == end:
            return words
        word, position = _word(line, position)
        if position < 0:
            return None
        words.append(word)


def _word(line: bytes, position: int) -> tuple[bytes, int]:
    """One word from `position`, and where it ends; -1 where its quotes are unbalanced."""
    word = bytearray()
    end = len(line)
    while position < end and line[position] not in _SPACE:
        mark = line[position : position + 1]
        position += 1
        if mark == b'"' or mark == b"'":
            position = _quoted(line, position, mark, word)
            # a closing quote ends the word
            if position < 0 or (position < end and line[position] not in _SPACE):
                return b"", -1
            break
        word += mark
    return bytes(word), position


def _quoted(line: bytes, position: int, quote: bytes, word: bytearray) -> int:
    """Append what stands up to the closing `quote`; the position behind it, -1 without one."""
    end = len(line)
    while position < end:
        mark = line[position : position + 1]
        position += 1
        if mark == quote:
            return position
        if mark == b"\\" and quote == b"'" and line[position : position + 1] == b"'":
            mark = b"'"
            position += 1
        elif mark == b"\\" and quote == b'"' and position < end:
            mark = line[position : position + 1]
            digits = line[position + 1 : position + 3]
            if mark == b"x" and len(digits) == 2 and not digits.strip(_HEX):
                word.append(int(digits, 16))
                position += 3
                continue
            mark = _ESCAPES.get(mark, mark)
            position += 1
        word += mark
    return -1
