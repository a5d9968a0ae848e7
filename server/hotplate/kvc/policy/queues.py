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

    __slots__ = (
        "_forest",
        "_heads",
        "_lane",
        "_order",
        "_queue_of",
        "_queued",
        "heaps",
        "policy",
        "priorities",
    )

    def __init__(self, forest: Forest, policy: Policy) -> None:
        self._forest = forest
        self._queued = forest.queued
        self._queue_of = forest.queue_of
        self._order = policy.order
        self._lane = policy.lane if policy.lanes > 1 else None
        self.policy = policy
        self.heaps: dict[int, list[int]] = {}
        # -> the numbers of its queues, lane 0 first: settling its heads may open lane 1
        self.priorities: dict[int, list[int]] = {}
        self._heads: dict[int, int] = {}  # settled since evictions began, -1: empty

    def push(self, block: int) -> None:
        """Queue a leaf, unless it is queued or cannot be evicted now."""
        queue = self._queue_of(block)
        if queue == 0:
            return
        if self._lane is not None:
            queue |= self._lane(block) << LANE_SHIFT
        queued = self._queued
        if queued[block] == queue:
            return
        queued[block] = queue
        heap = self.heaps.get(queue)
        if heap is None:
            heap = self._open(queue)
        self._heads.pop(queue, None)
        heappush(heap, self._order(block) << ID_BITS | block)
        if len(heap) > _COMPACTED_FROM and len(heap) > 2 * self._forest.blocks:
            self._compact(queue)

    def _open(self, queue: int) -> list[int]:
        """A queue that there was none of."""
        heap = self.heaps[queue] = []
        priority = (queue & QUEUE_MASK) >> PRIORITY_SHIFT
        insort(self.priorities.setdefault(priority, []), queue)
        return heap

    def requeue(self, block: int) -> None:
        """The place of a leaf may have fallen: queue it anew, its old entry counts no more."""
        self._queued[block] = 0
        self.push(block)

    def begin(self, stamp: int) -> None:
        """Evictions follow, and nothing else until they end. `stamp`: an access's latest."""
        self._heads.clear()
        self.policy.begin(stamp)

    def _head(self, queue: int) -> int:
        """The lowest entry of a queue whose block can be evicted, or -1; stale ones are settled."""
        heap = self.heaps[queue]
        queued, queue_of, order = self._queued, self._queue_of, self._order
        lane = self._lane
        while heap:
            entry = heap[0]
            block = entry & ID_MASK
            if queued[block] != queue:
                heappop(heap)
                continue
            current = queue_of(block)
            if current and lane is not None:
                current |= lane(block) << LANE_SHIFT
            if current == queue:
                fresh = order(block) << ID_BITS | block
                if fresh == entry:
                    return entry
                heapreplace(heap, fresh)
                continue
            heappop(heap)
            queued[block] = 0
            if current:
                self.push(block)
        return -1

    def lowest_priority(self, storages: frozenset[int] | None) -> int | None:
        """The lowest priority of which there is a leaf to evict (on one of the storages)."""
        heads = self._heads
        while True:
            known = len(self.heaps)
            for priority in sorted(self.priorities):
                for queue in self.priorities[priority]:
                    if storages is not None and (queue & 0xFF) - 1 not in storages:
                        continue
                    if queue not in heads:
                        heads[queue] = self._head(queue)
                    if heads[queue] >= 0:
                        return priority
            if len(self.heaps) == known:  # settling may have opened a queue
                return None

    def victim(self, priority: int, storages: frozenset[int] | None) -> int:
        """The leaf of a priority that goes next. There must be one (see `lowest_priority`)."""
        heads, policy = self._heads, self.policy
        queues = self.priorities[priority]
        if self._lane is None and len(queues) == 1:
            heads.clear()
            return self._head(queues[0]) & ID_MASK
        while True:
            lowest = [-1, -1]
            origin = [0, 0]
            for queue in queues:
                if storages is not None and (queue & 0xFF) - 1 not in storages:
                    continue
                entry = heads.get(queue)
                if entry is None:
                    entry = heads[queue] = self._head(queue)
                lane = queue >> LANE_SHIFT
                if entry >= 0 and (lowest[lane] < 0 or entry < lowest[lane]):
                    lowest[lane] = entry
                    origin[lane] = queue
            first, second = lowest
            if second < 0:
                chosen, queue = first & ID_MASK, origin[0]
            elif first < 0:
                chosen, queue = second & ID_MASK, origin[1]
            else:
                chosen = policy.choose(first & ID_MASK, second & ID_MASK)
                queue = origin[0] if chosen == first & ID_MASK else origin[1]
            del heads[queue]  # it goes, or is put elsewhere
            if not policy.spare(chosen):
                return chosen

    def _compact(self, queue: int) -> None:
        """Drop entries of blocks that went and came back elsewhere, and second entries."""
        queued = self._queued
        lowest: dict[int, int] = {}
        for entry in self.heaps[queue]:
            block = entry & ID_MASK
            if queued[block] == queue:
                lowest[block] = min(entry, lowest.get(block, entry))
        heap = list(lowest.values())
        heapify(heap)
        self.heaps[queue] = heap
