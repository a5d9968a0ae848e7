"""Whose block goes next: priority first, then fairness between instances, then the policy.

The lowest priority goes first, whichever instance has it. Of the instances that have a leaf of that
priority, each gives in proportion to what it uses: one that holds nine tenths of a group's bytes
gives nine victims of ten (start-time fair queueing, Goyal et al. 1996: a victim is a step of
`1 / use`, who has given least is next). What each has given is kept in the group's use between
calls, so that this holds for evictions of one block at a time too; an instance that had nothing to
give starts where the others are. Within an instance the policy says which leaf.
"""

from collections.abc import Mapping
from heapq import heappop, heappush
from typing import Final

from hotplate.kvc.index import Index
from hotplate.kvc.policy.queues import LeafQueues
from hotplate.kvc.quota import GroupUse, Turns

WHOLE: Final = 1 << 40  # of an instance's use, in steps
_ENDLESS: Final = 1 << 62  # turns


class Victims:
    """The next blocks to evict of a group; between two evictions nothing else may change."""

    __slots__ = ("_heap", "_leaves", "_steps", "_storages", "_turn", "_turns", "_waiting")

    def __init__(
        self,
        use: GroupUse,
        storages: frozenset[int] | None,
        *,
        count_blocks: bool,
        leaves: Mapping[int, LeafQueues] | None = None,
        turns: Turns | None = None,
    ) -> None:
        """`storages`: leaves on these only. `count_blocks`: use is in blocks, else in bytes.

        `leaves` and `turns`: those of a rehearsal instead of the group's.
        """
        self._storages = storages
        self._turns = use.turns if turns is None else turns
        self._leaves: Mapping[int, LeafQueues] = (
            {number: index.leaves for number, index in use.indexes.items()}
            if leaves is None
            else leaves
        )
        # priority, what it has given, the step of a victim (a larger use first), instance
        self._heap: list[tuple[int, int, int, int]] = []
        self._steps: dict[int, int] = {}
        self._turn = (0, 0, 0, 0)  # the entry that `next` took
        self._waiting: int | None = None  # whose turn that was: it enters again with the next
        for number, index in use.indexes.items():
            used = index.blocks if count_blocks else _bytes_on(index, storages)
            if used:
                unit = 1 if count_blocks else index.instance.total_bytes
                self._steps[number] = max(1, unit * WHOLE // used)
                self._enter(number, self._turns.given_by(number))

    def _enter(self, number: int, given: int) -> None:
        priority = self._leaves[number].lowest_priority(self._storages)
        if priority is not None:
            heappush(self._heap, (priority, given, self._steps[number], number))

    def next(self) -> tuple[int, int, int] | None:
        """The next victim: instance number and id, and how often in a row it is its turn.

        Evict it, and as many as that of those above it, and say how many (`took`).
        """
        if self._waiting is not None:
            self._enter(self._waiting, self._turns.given[self._waiting])
            self._waiting = None
        if not self._heap:
            return None
        priority, given, step, number = self._turn = heappop(self._heap)
        turns = _ENDLESS
        if self._heap and self._heap[0][0] == priority:
            _, other, other_step, other_number = self._heap[0]
            turns, rest = divmod(other - given, step)
            if rest or (step, number) < (other_step, other_number):
                turns += 1
        return number, self._leaves[number].victim(priority, self._storages), turns

    def took(self, count: int) -> None:
        """So many of the instance's blocks have been evicted."""
        _, given, step, number = self._turn
        self._turns.took(number, given, step, count)
        self._waiting = number


def _bytes_on(index: Index, storages: frozenset[int] | None) -> int:
    serving = index.serving
    if storages is None:
        return sum(serving.values())
    return sum(serving.get(storage, 0) for storage in storages)
