"""Redis' glob patterns, compiled to regular expressions over bytes.

`*` any run, `?` any byte, `[abc]`, `[a-z]`, `[^a]` one byte of (or not of) a class, `\\x` an x.
The corners are Redis': a class that is not closed ends with the pattern, an empty one matches
nothing, a lone backslash at the end is itself, a range may be given backwards.
Everything between two stars is an atomic group, so that matching takes at most the product of both
lengths, whatever a client sends.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

_ANY_BYTE: Final = b"."
_NO_BYTE: Final = b"(?!)"


@lru_cache(maxsize=256)
def compile_glob(pattern: bytes, *, ignore_case: bool = False) -> Callable[[bytes], object]:
    """A test for one name: truthy where all of it matches `pattern`."""
    runs: list[list[bytes]] = [[]]
    position = 0
    while position < len(pattern):
        byte = pattern[position : position + 1]
        if byte == b"*":
            runs.append([])
        elif byte == b"?":
            runs[-1].append(_ANY_BYTE)
        elif byte == b"[":
            expression, position = _parse_class(pattern, position + 1)
            runs[-1].append(expression)
            continue
        else:
            if byte == b"\\" and position + 1 < len(pattern):
                position += 1
                byte = pattern[position : position + 1]
            runs[-1].append(re.escape(byte))
        position += 1
    head, *rest = (b"".join(run) for run in runs)
    expression = head
    if rest:
        *middle, tail = rest
        # The first place where a middle part fits is as good as any later one: no way back.
        expression += b"".join(b"(?>.*?%b)" % part for part in middle if part)
        expression += b".*" + tail
    flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
    return re.compile(expression, flags).fullmatch


def _parse_class(pattern: bytes, position: int) -> tuple[bytes, int]:
    """The class whose content begins at `position`; also the position after it."""
    negated = pattern[position : position + 1] == b"^"
    position += negated
    members: set[int] = set()
    end = len(pattern)
    while position < end:
        if pattern[position] == ord("\\") and position + 1 < end:
            members.add(pattern[position + 1])
            position += 2
        elif pattern[position] == ord("]"):
            position += 1
            break
        elif position + 2 < end and pattern[position + 1] == ord("-"):
            first, last = sorted((pattern[position], pattern[position + 2]))
            members.update(range(first, last + 1))
            position += 3
        else:
            members.add(pattern[position])
            position += 1
    if not members:
        return (_ANY_BYTE if negated else _NO_BYTE), position
    body = b"".join(b"\\x%02x" % member for member in sorted(members))
    return b"[%b%b]" % (b"^" if negated else b"", body), position
