"""Leaf LRU: which blocks without children were used longest ago.

One heap per queue of an index (a queue is a priority and a storage) with `stamp << 32 | id`. An
access costs nothing here: an entry whose stamp is older than its block's is put back with the new
one when it comes up. Blocks that cannot be evicted leave the heap when they come up; whoever makes
them evictable again queues them again.

Exactness: an entry's stamp is never newer than its block's, so the first entry that is current is
the oldest of its queue.
"""

from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hotplate.kvc.index import Index

ID_BITS: Final = 32
ID_MASK: Final = (1 << ID_BITS) - 1
QUEUE_PRIORITY_SHIFT: Final = 8  # a queue's number: priority << 8 | storage + 1


class LeafQueues:
    """The heaps of one index. `queued[id]` of the index is the queue its live entry is in."""

    __slots__ = ("_index", "fresh", "heaps")

    def __init__(self, index: "Index") -> None:
        self._index = index
        self.heaps: dict[int, list[int]] = {}
        self.fresh: set[int] = set()  # queues that got an entry since someone cleared this

    def push(self, block: int) -> None:
        """Queue a leaf, unless it is queued or cannot be evicted now."""
        index = self._index
        queue = index.queue_of(block)
        if queue == 0 or index.queued[block] == queue:
            return
        index.queued[block] = queue
        heap = self.heaps.setdefault(queue, [])
        heappush(heap, index.accessed[block] << ID_BITS | block)
        self.fresh.add(queue)
        if len(heap) > 64 and len(heap) > 2 * index.blocks:
            self._compact(queue)

    def head(self, queue: int) -> int | None:
        """The oldest entry of a queue whose block can be evicted; stale ones are settled."""
        heap = self.heaps.get(queue)
        index = self._index
        queued, accessed = index.queued, index.accessed
        while heap:
            entry = heap[0]
            block = entry & ID_MASK
            if queued[block] != queue:
                heappop(heap)
                continue
            current = index.queue_of(block)
            if current != queue or index.is_leased(block):
                heappop(heap)
                queued[block] = 0
                if current != queue:
                    self.push(block)
                continue
            fresh = accessed[block] << ID_BITS | block
            if fresh == entry:
                return entry
            heapreplace(heap, fresh)
        return None

    def _compact(self, queue: int) -> None:
        """Drop entries of blocks that went and came back elsewhere, and second entries."""
        queued = self._index.queued
        newest: dict[int, int] = {}
        for entry in self.heaps[queue]:
            block = entry & ID_MASK
            if queued[block] == queue:
                newest[block] = min(entry, newest.get(block, entry))
        heap = list(newest.values())
        heapify(heap)
        self.heaps[queue] = heap


class Victims:
    """The next blocks to evict of several indexes: lowest priority first, then oldest."""

    __slots__ = ("_heap", "_last", "_storages")

    def __init__(self, indexes: "list[Index]", storages: frozenset[int] | None) -> None:
        self._storages = storages
        self._heap: list[tuple[int, int, int, Index]] = []
        self._last: tuple[int, Index] | None = None  # evicting there may have made new leaves
        for number, index in enumerate(indexes):
            index.leaves.fresh.clear()
            for queue in list(index.leaves.heaps):
                self._enter(number, index, queue)

    def _enter(self, number: int, index: "Index", queue: int) -> None:
        if self._storages is not None and (queue & 0xFF) - 1 not in self._storages:
            return
        entry = index.leaves.head(queue)
        if entry is not None:
            order = (queue >> QUEUE_PRIORITY_SHIFT) << 96 | entry
            heappush(self._heap, (order, number, queue, index))

    def next(self) -> "tuple[Index, int] | None":
        """The next victim; evict it before asking again, else it is answered again."""
        heap = self._heap
        if self._last is not None:
            number, index = self._last
            self._last = None
            queues = list(index.leaves.fresh)
            index.leaves.fresh.clear()
            for queue in queues:
                self._enter(number, index, queue)
        while heap:
            order, number, queue, index = heap[0]
            entry = index.leaves.head(queue)
            if entry is not None and order == (queue >> QUEUE_PRIORITY_SHIFT) << 96 | entry:
                self._last = number, index
                return index, entry & ID_MASK
            heappop(heap)
            if entry is not None:
                self._enter(number, index, queue)
        return None
