"""The leaves of one forest, queued for eviction.

A queue is a lane of the policy, a priority and a storage: a heap of `place << 32 | id`. An access
costs nothing here: an entry that is out of date is put back with its present place when it comes
up. Leaves that cannot be evicted leave their heap when they come up; whoever makes them evictable
again pushes them again.

Exactness: an entry's place is never behind its leaf's (policies see to that, see base.py), so the
first entry that is up to date is the lowest of its queue.
"""

from bisect import insort
from heapq import heapify, heappop, heappush, heapreplace
from typing import Final

from hotplate.kvc.policy.base import (
    ID_BITS,
    ID_MASK,
    LANE_SHIFT,
    PRIORITY_SHIFT,
    QUEUE_MASK,
    Forest,
    Policy,
)

_COMPACTED_FROM: Final = 64  # entries


class LeafQueues:
    """The heaps of one forest. `queued[id]` of the forest is the queue its live entry is in."""

    __slots__ = ("_forest", "heaps", "policy", "priorities")

    def __init__(self, forest: Forest, policy: Policy) -> None:
        self._forest = forest
        self.policy = policy
        self.heaps: dict[int, list[int]] = {}
        # -> the numbers of its queues, lane 0 first: settling its heads may open lane 1
        self.priorities: dict[int, list[int]] = {}

    def push(self, block: int) -> None:
        """Queue a leaf, unless it is queued or cannot be evicted now."""
        queue = self._forest.queue_of(block)
        if queue == 0:
            return
        policy = self.policy
        if policy.lanes > 1:
            queue |= policy.lane(block) << LANE_SHIFT
        queued = self._forest.queued
        if queued[block] == queue:
            return
        queued[block] = queue
        heap = self.heaps.get(queue)
        if heap is None:
            heap = self.heaps[queue] = []
            priority = (queue & QUEUE_MASK) >> PRIORITY_SHIFT
            insort(self.priorities.setdefault(priority, []), queue)
        heappush(heap, policy.order(block) << ID_BITS | block)
        if len(heap) > _COMPACTED_FROM and len(heap) > 2 * self._forest.blocks:
            self._compact(queue)

    def requeue(self, block: int) -> None:
        """The place of a leaf may have fallen: queue it anew, its old entry counts no more."""
        self._forest.queued[block] = 0
        self.push(block)

    def head(self, queue: int) -> int | None:
        """The lowest entry of a queue whose block can be evicted; stale ones are settled."""
        heap = self.heaps[queue]
        forest, policy = self._forest, self.policy
        queued, order = forest.queued, policy.order
        while heap:
            entry = heap[0]
            block = entry & ID_MASK
            if queued[block] != queue:
                heappop(heap)
                continue
            current = forest.queue_of(block)
            if current and policy.lanes > 1:
                current |= policy.lane(block) << LANE_SHIFT
            if current != queue or forest.is_leased(block):
                heappop(heap)
                queued[block] = 0
                if current != queue:
                    self.push(block)
                continue
            fresh = order(block) << ID_BITS | block
            if fresh == entry:
                return entry
            heapreplace(heap, fresh)
        return None

    def lowest_priority(self, storages: frozenset[int] | None) -> int | None:
        """The lowest priority of which there is a leaf to evict (on one of the storages)."""
        while True:
            known = len(self.heaps)
            for priority in sorted(self.priorities):
                for queue in self.priorities[priority]:
                    wanted = storages is None or (queue & 0xFF) - 1 in storages
                    if wanted and self.head(queue) is not None:
                        return priority
            if len(self.heaps) == known:  # settling may have opened a queue
                return None

    def victim(self, priority: int, storages: frozenset[int] | None) -> int:
        """The leaf of a priority that goes next. There must be one (see `lowest_priority`)."""
        policy = self.policy
        while True:
            first = second = -1
            for queue in self.priorities[priority]:
                if storages is not None and (queue & 0xFF) - 1 not in storages:
                    continue
                entry = self.head(queue)
                if entry is None:
                    continue
                if queue >> LANE_SHIFT:
                    second = entry if second < 0 or entry < second else second
                else:
                    first = entry if first < 0 or entry < first else first
            if second < 0:
                chosen = first & ID_MASK
            elif first < 0:
                chosen = second & ID_MASK
            else:
                chosen = policy.choose(first & ID_MASK, second & ID_MASK)
            if not policy.spare(chosen):
                return chosen

    def _compact(self, queue: int) -> None:
        """Drop entries of blocks that went and came back elsewhere, and second entries."""
        queued = self._forest.queued
        lowest: dict[int, int] = {}
        for entry in self.heaps[queue]:
            block = entry & ID_MASK
            if queued[block] == queue:
                lowest[block] = min(entry, lowest.get(block, entry))
        heap = list(lowest.values())
        heapify(heap)
        self.heaps[queue] = heap
