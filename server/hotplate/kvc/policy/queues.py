"""The leaves of one forest, queued for eviction.

A queue is a lane of the policy, a priority and a storage: a heap of `place << 32 | id`. An access
costs nothing here: an entry that is out of date is put back with its present place when it comes
up. Leaves that cannot be evicted leave their heap when they come up; whoever makes them evictable
again pushes them again.

Exactness: an entry's place is never behind its leaf's (policies see to that, see base.py), so the
first entry that is up to date is the lowest of its queue.
"""

from bisect import insort
from collections.abc import Callable
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
_UNKNOWN: Final = -2


class _Pair:
    """The queues of a priority where there is one a lane: the usual case, kept short.

    `first` and `second` are their lowest entries; -1: they are empty, -2: that is not known.
    """

    __slots__ = ("first", "second", "settle_first", "settle_second")

    def __init__(self) -> None:
        self.settle_first: Callable[[], int] = _nothing
        self.settle_second: Callable[[], int] = _nothing
        self.first = self.second = _UNKNOWN


def _nothing() -> int:
    return -1


class LeafQueues:
    """The heaps of one forest. `queued[id]` of the forest is the queue its live entry is in."""

    __slots__ = (
        "_begin",
        "_forest",
        "_heads",
        "_lane",
        "_order",
        "_pairs",
        "_queue_of",
        "_queued",
        "_settlers",
        "_spare",
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
        # None where the policy has nothing to do then
        self._begin = None if type(policy).begin is Policy.begin else policy.begin
        self._spare = None if type(policy).spare is Policy.spare else policy.spare
        self.heaps: dict[int, list[int]] = {}
        # -> the numbers of its queues, lane 0 first: settling its heads may open lane 1
        self.priorities: dict[int, list[int]] = {}
        self._settlers: dict[int, Callable[[], int]] = {}
        self._pairs: dict[int, _Pair | None] = {}  # by priority
        self._heads: dict[int, int] = {}  # settled since evictions began, -1: empty

    def copied(self, forest: Forest) -> "LeafQueues":
        """The same queues for a forest that begins as this one's is."""
        copy = LeafQueues(forest, self.policy.copied(forest))
        for queue, heap in self.heaps.items():
            copy._open(queue).extend(heap)
        return copy

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
        pair = self._pairs[(queue & QUEUE_MASK) >> PRIORITY_SHIFT]
        if pair is None:
            self._heads.pop(queue, None)
        else:
            pair.first = pair.second = _UNKNOWN
        heappush(heap, self._order(block) << ID_BITS | block)
        if len(heap) > _COMPACTED_FROM and len(heap) > 2 * self._forest.blocks:
            self._compact(queue)

    def _open(self, queue: int) -> list[int]:
        """A queue that there was none of."""
        heap = self.heaps[queue] = []
        settle = self._settlers[queue] = self._settler(queue, heap)
        priority = (queue & QUEUE_MASK) >> PRIORITY_SHIFT
        queues = self.priorities.setdefault(priority, [])
        insort(queues, queue)
        pair = self._pairs.setdefault(priority, _Pair())
        if len(queues) != len({item >> LANE_SHIFT for item in queues}):
            self._pairs[priority] = None
        elif pair is not None and queue >> LANE_SHIFT:
            pair.settle_second = settle
        elif pair is not None:
            pair.settle_first = settle
        return heap

    def requeue(self, block: int) -> None:
        """The place of a leaf may have fallen: queue it anew, its old entry counts no more."""
        self._queued[block] = 0
        self.push(block)

    def begin(self, stamp: int) -> None:
        """Evictions follow, and nothing else until they end. `stamp`: an access's latest."""
        if self._heads:
            self._heads.clear()
        for pair in self._pairs.values():
            if pair is not None:
                pair.first = pair.second = _UNKNOWN
        if self._begin is not None:
            self._begin(stamp)

    def _settler(self, queue: int, heap: list[int]) -> Callable[[], int]:
        """What answers the lowest entry of a queue whose block can be evicted, or -1.

        Entries that are out of date are settled on the way.
        """
        queued, queue_of, order = self._queued, self._queue_of, self._order
        push = self.push
        # nothing leaves the last lane while it lives
        lane = None if queue > QUEUE_MASK else self._lane
        expected = queue & QUEUE_MASK

        def settle() -> int:
            while heap:
                entry = heap[0]
                block = entry & ID_MASK
                if queued[block] != queue:
                    heappop(heap)
                    continue
                current = queue_of(block)
                if current == expected and (lane is None or not lane(block)):
                    fresh = order(block) << ID_BITS | block
                    if fresh == entry:
                        return entry
                    heapreplace(heap, fresh)
                    continue
                heappop(heap)
                queued[block] = 0
                if current:
                    push(block)
            return -1

        return settle

    def _head(self, queue: int) -> int:
        """The lowest entry of a queue, or -1."""
        head = self._heads.get(queue)
        if head is None:
            head = self._heads[queue] = self._settlers[queue]()
        return head

    def lowest_priority(self, storages: frozenset[int] | None) -> int | None:
        """The lowest priority of which there is a leaf to evict (on one of the storages)."""
        while True:
            known = len(self.heaps)
            for priority in sorted(self.priorities):
                pair = self._pairs[priority]
                if storages is None and pair is not None:
                    if pair.first == _UNKNOWN:
                        pair.first = pair.settle_first()
                    if pair.first < 0 and pair.second == _UNKNOWN:
                        pair.second = pair.settle_second()
                    if pair.first >= 0 or pair.second >= 0:
                        return priority
                    continue
                for queue in self.priorities[priority]:
                    wanted = storages is None or (queue & 0xFF) - 1 in storages
                    if wanted and self._head_of(queue, pair) >= 0:
                        return priority
            if len(self.heaps) == known:  # settling may have opened a queue
                return None

    def _head_of(self, queue: int, pair: _Pair | None) -> int:
        return self._head(queue) if pair is None else self._settlers[queue]()

    def victim(self, priority: int, storages: frozenset[int] | None) -> int:
        """The leaf of a priority that goes next. There must be one (see `lowest_priority`)."""
        pair = self._pairs[priority]
        if pair is None or storages is not None:
            return self._victim_on(priority, pair, storages)
        spare = self._spare
        if spare is None and self._lane is None:  # one lane: whoever is first goes
            entry = pair.first if pair.first != _UNKNOWN else pair.settle_first()
            pair.first = _UNKNOWN
            return entry & ID_MASK
        choose = self.policy.choose
        while True:
            first, second = pair.first, pair.second
            if first == _UNKNOWN:
                first = pair.settle_first()
                second = pair.second  # settling the first may have moved some there
            if second == _UNKNOWN:
                second = pair.settle_second()
            if second < 0 or (
                first >= 0 and choose(first & ID_MASK, second & ID_MASK) == first & ID_MASK
            ):
                chosen = first & ID_MASK
                pair.first, pair.second = _UNKNOWN, second
            else:
                chosen = second & ID_MASK
                pair.first, pair.second = first, _UNKNOWN
            if spare is None or not spare(chosen):
                return chosen
            pair.first = pair.second = _UNKNOWN

    def _victim_on(self, priority: int, pair: _Pair | None, storages: frozenset[int] | None) -> int:
        """The same where a lane has several queues, or some storages are meant only."""
        policy, spare = self.policy, self._spare
        while True:
            lowest = [-1, -1]
            origin = [0, 0]
            for queue in self.priorities[priority]:
                if storages is not None and (queue & 0xFF) - 1 not in storages:
                    continue
                entry, lane = self._head_of(queue, pair), queue >> LANE_SHIFT
                if entry >= 0 and (lowest[lane] < 0 or entry < lowest[lane]):
                    lowest[lane], origin[lane] = entry, queue
            first, second = lowest
            if second < 0:
                chosen, queue = first & ID_MASK, origin[0]
            elif first < 0:
                chosen, queue = second & ID_MASK, origin[1]
            else:
                chosen = policy.choose(first & ID_MASK, second & ID_MASK)
                queue = origin[0] if chosen == first & ID_MASK else origin[1]
            self._heads.pop(queue, None)  # it goes, or is put elsewhere
            if pair is not None:
                pair.first = pair.second = _UNKNOWN
            if spare is None or not spare(chosen):
                return chosen

    def _compact(self, queue: int) -> None:
        """Drop entries of blocks that went and came back elsewhere, and second entries."""
        queued = self._queued
        lowest: dict[int, int] = {}
        heap = self.heaps[queue]
        for entry in heap:
            block = entry & ID_MASK
            if queued[block] == queue:
                lowest[block] = min(entry, lowest.get(block, entry))
        heap[:] = lowest.values()
        heapify(heap)
