"""Which slots are free: ranges of integers, joined with their neighbours, found by size.

Knows nothing of slots, segments or files. One FreeRanges serves a whole slot class: places of
different segments are never adjacent, so ranges never grow across a segment.

Invariants: ranges don't overlap and don't touch (touching ones are joined); `_sizes` is sorted and
has each length once for which `_starts_by_size` has a start. A set of n numbers has at most
sqrt(2 n) ranges of different lengths, so `_sizes` stays short and every step is O(log n) with an
insertion into a short list.
"""

from bisect import bisect_left, insort


class FreeRanges:
    """Disjoint ranges of free numbers. Best fit, so that long ranges stay long."""

    __slots__ = ("_length_by_start", "_sizes", "_start_by_end", "_starts_by_size", "total")

    def __init__(self) -> None:
        self.total = 0
        self._length_by_start: dict[int, int] = {}
        self._start_by_end: dict[int, int] = {}
        self._starts_by_size: dict[int, dict[int, None]] = {}
        self._sizes: list[int] = []

    @property
    def longest(self) -> int:
        """The length of the longest range, 0 if there is none."""
        return self._sizes[-1] if self._sizes else 0

    def __len__(self) -> int:
        return len(self._length_by_start)

    def ranges(self) -> list[tuple[int, int]]:
        """All (start, length), in order of start."""
        return sorted(self._length_by_start.items())

    def add(self, start: int, length: int) -> None:
        """Free `length` numbers from `start`. Freeing a part of a range again goes unnoticed."""
        self.total += length
        end = start + length
        after = self._length_by_start.get(end)
        if after is not None:
            self._forget(end, after)
            length += after
        before = self._start_by_end.get(start)
        if before is not None:
            self._forget(before, start - before)
            length += start - before
            start = before
        self._note(start, length)

    def take(self, count: int) -> int | None:
        """Take `count` adjacent numbers and answer the first; None if no range is long enough."""
        position = bisect_left(self._sizes, count)
        if position == len(self._sizes):
            return None
        length = self._sizes[position]
        start = next(iter(self._starts_by_size[length]))
        self._forget(start, length)
        if length > count:
            self._note(start + count, length - count)
        self.total -= count
        return start

    def remove(self, start: int, length: int) -> None:
        """Take exactly this range, which must be free as one range. KeyError otherwise."""
        if self._length_by_start[start] != length:
            raise KeyError(start)
        self._forget(start, length)
        self.total -= length

    def _note(self, start: int, length: int) -> None:
        self._length_by_start[start] = length
        self._start_by_end[start + length] = start
        starts = self._starts_by_size.get(length)
        if starts is None:
            insort(self._sizes, length)
            self._starts_by_size[length] = {start: None}
        else:
            starts[start] = None

    def _forget(self, start: int, length: int) -> None:
        del self._length_by_start[start]
        del self._start_by_end[start + length]
        starts = self._starts_by_size[length]
        del starts[start]
        if not starts:
            del self._starts_by_size[length]
            del self._sizes[bisect_left(self._sizes, length)]
