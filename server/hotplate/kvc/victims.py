"""Whose block goes next: priority first, then fairness between instances, then the policy.

The lowest priority goes first, whichever instance has it. Of the instances that have a leaf of that
priority, each gives in proportion to what it uses: one that holds nine tenths of a group's bytes
gives nine victims of ten (start-time fair queueing, Goyal et al. 1996: a victim is a step of
`1 / use`, who has given least is next). What each has given is kept in the group's use between
calls, so that this holds for evictions of one block at a time too; an instance that had nothing to
give starts where the others are. Within an instance the policy says which leaf.
"""

from heapq import heappop, heappush
from typing import Final

from hotplate.kvc.index import Index
from hotplate.kvc.quota import GroupUse

WHOLE: Final = 1 << 40  # of an instance's use, in steps


class Victims:
    """The next blocks to evict of a group; between two evictions nothing else may change."""

    __slots__ = ("_heap", "_last", "_steps", "_storages", "_use")

    def __init__(
        self, use: GroupUse, storages: frozenset[int] | None, *, count_blocks: bool
    ) -> None:
        """`storages`: leaves on these only. `count_blocks`: use is in blocks, else in bytes."""
        self._use = use
        self._storages = storages
        # priority, what it has given, the step of a victim (a larger use first), instance
        self._heap: list[tuple[int, int, int, int]] = []
        self._steps: dict[int, int] = {}
        self._last: int | None = None  # evicting there may have made new leaves
        for number, index in use.indexes.items():
            used = index.blocks if count_blocks else _bytes_on(index, storages)
            if used:
                unit = 1 if count_blocks else index.instance.total_bytes
                self._steps[number] = max(1, unit * WHOLE // used)
                self._enter(number, max(use.given.get(number, 0), use.given_floor))

    def _enter(self, number: int, given: int) -> None:
        priority = self._use.indexes[number].leaves.lowest_priority(self._storages)
        if priority is not None:
            heappush(self._heap, (priority, given, self._steps[number], number))

    def next(self) -> tuple[Index, int] | None:
        """The next victim; evict it before asking again."""
        if self._last is not None:
            self._enter(self._last, self._use.given[self._last])
            self._last = None
        if not self._heap:
            return None
        priority, given, step, number = heappop(self._heap)
        use = self._use
        use.given[number] = given + step
        use.given_floor = max(use.given_floor, given)
        self._last = number
        index = use.indexes[number]
        return index, index.leaves.victim(priority, self._storages)


def _bytes_on(index: Index, storages: frozenset[int] | None) -> int:
    serving = index.serving
    if storages is None:
        return sum(serving.values())
    return sum(serving.get(storage, 0) for storage in storages)
