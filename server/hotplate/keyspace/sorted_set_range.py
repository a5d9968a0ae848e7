"""Which part of a sorted set is meant: by score, by bytes, or as found.

Values only; they know no sorted set and no text of a command.
"""

from typing import NamedTuple, TypeAlias

Span: TypeAlias = tuple[int, int, int, int]
"""Neighbours in a sorted set: from (chunk, index) up to, not including, (chunk, index)."""


ScoreRange: TypeAlias = tuple[float, float, bool, bool]
"""Scores from low to high; whether the low end and the high end are left out."""


class LexRange(NamedTuple):
    """Members from `low` to `high` (None: from the first, to the last), included unless open.

    `reversed_ends` says that both ends were given as if the first came after the last.
    """

    low: bytes | None
    high: bytes | None
    low_open: bool = False
    high_open: bool = False
    reversed_ends: bool = False

    def empty(self) -> bool:
        """Whether no member at all could be within."""
        if self.reversed_ends:
            return True
        if self.low is None or self.high is None:
            return False
        if self.low == self.high:
            return self.low_open or self.high_open
        return self.low > self.high

    def reaches_low(self, member: bytes) -> bool:
        """Whether `member` is not before the range."""
        if self.low is None:
            return True
        return member > self.low if self.low_open else member >= self.low

    def reaches_high(self, member: bytes) -> bool:
        """Whether `member` is not behind the range."""
        if self.high is None:
            return True
        return member < self.high if self.high_open else member <= self.high
