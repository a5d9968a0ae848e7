"""Which ids below the highest one are free, as ranges.

Runs want consecutive ids, so freed ids coalesce with their neighbours and ranges are kept by size
class (the power of two below their length). Every operation takes constant time.
"""

from collections.abc import Mapping


class FreeIds:
    """Free ranges: `take` answers one of at most `count` ids, `give` frees one."""

    __slots__ = ("_by_class", "_end_to_start", "_start_to_end", "count")

    def __init__(self) -> None:
        self.count = 0
        self._start_to_end: dict[int, int] = {}
        self._end_to_start: dict[int, int] = {}
        self._by_class: list[dict[int, None]] = [{} for _ in range(33)]

    def give(self, start: int, end: int) -> None:
        """Free [start, end); none of it is free yet."""
        self.count += end - start
        before = self._end_to_start.pop(start, None)
        if before is not None:
            del self._start_to_end[before]
            del self._by_class[(start - before).bit_length()][before]
            start = before
        after = self._start_to_end.pop(end, None)
        if after is not None:
            del self._end_to_start[after]
            del self._by_class[(after - end).bit_length()][end]
            end = after
        self._enter(start, end)

    def take(self, count: int) -> tuple[int, int] | None:
        """A range of exactly `count` ids, or None where no free range is certain to be as long."""
        start = self.find(count)
        return None if start is None else self._cut(start, count)

    def find(self, count: int) -> int | None:
        """Where the range begins that `take` would answer now."""
        if self.count < count:
            return None
        for ranges in self._by_class[(count - 1).bit_length() + 1 :]:
            if ranges:
                return next(reversed(ranges))
        return None

    def take_some(self, count: int) -> tuple[int, int] | None:
        """The longest range at hand, cut to `count` ids; None if nothing is free."""
        for ranges in reversed(self._by_class):
            if ranges:
                return self._cut(next(reversed(ranges)), count)
        return None

    def take_at(self, start: int) -> bool:
        """Take the id `start` if a free range begins there."""
        if start not in self._start_to_end:
            return False
        self._cut(start, 1)
        return True

    def _enter(self, start: int, end: int) -> None:
        self._start_to_end[start] = end
        self._end_to_start[end] = start
        self._by_class[(end - start).bit_length()][start] = None

    def _cut(self, start: int, count: int) -> tuple[int, int]:
        end = self._start_to_end.pop(start)
        del self._end_to_start[end]
        del self._by_class[(end - start).bit_length()][start]
        cut = min(end, start + count)
        if cut < end:
            self._enter(cut, end)
        self.count -= cut - start
        return start, cut

    def ends(self) -> Mapping[int, int]:
        """The free ranges: where each begins, and one past its end."""
        return self._start_to_end
