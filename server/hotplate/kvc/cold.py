"""Which blocks of a storage were used longest ago, whether they have children or not.

Owns a heap for every instance and fast storage, with an entry for the last block of each stretch
that lies there. An access costs nothing here: an entry whose block was used since is put back with
its new stamp when it comes up. Since an access to a block is one to all above it, a block's turn
never comes before that of the blocks below it that are on the same storage.
"""

from heapq import heappop, heappush, heapreplace
from typing import Final

from hotplate.kvc.holdings import plain_copy
from hotplate.kvc.index import DETAILED, SERVING, STAMP_SHIFT, Copy, Index
from hotplate.kvc.quota import GroupUse

_LOOKS_MAX: Final = 256  # entries looked at in one call
_SCANNED_MAX: Final = 4096  # stretches found in one call
_ID_BITS: Final = 32
_ID_MASK: Final = (1 << _ID_BITS) - 1
_PRIORITY_SHIFT: Final = 96


class ColdQueues:
    """The heaps of all instances."""

    __slots__ = ("_heaps", "_scanned")

    def __init__(self) -> None:
        self._heaps: dict[tuple[int, int], list[int]] = {}  # (instance, storage) -> heap
        self._scanned: dict[tuple[int, int], int] = {}  # up to which id it was scanned

    def __len__(self) -> int:
        return sum(map(len, self._heaps.values()))

    def push(self, index: Index, block: int, number: int) -> None:
        """A block with a copy on a storage may be the last of its stretch."""
        heap = self._heaps.setdefault((index.instance.number, number), [])
        heappush(heap, order(index, block))
        if len(heap) > 2 * index.ids + 1024:  # mostly second entries: begin anew
            heap.clear()

    def pop(self, index: Index, number: int) -> int:
        """The block of the entry that `coldest` answered."""
        return _block_of(heappop(self._heaps[index.instance.number, number]))

    def forget_instance(self, instance: int) -> None:
        """An instance is gone."""
        for key in [key for key in self._heaps if key[0] == instance]:
            del self._heaps[key]
            self._scanned.pop(key, None)

    def coldest(self, use: GroupUse, number: int, now_ms: int) -> tuple[int, Index] | None:
        """The group's oldest entry on a storage, and its index."""
        found: tuple[int, Index] | None = None
        for index in use.indexes.values():
            if index.serving.get(number, 0) > 0:
                entry = self._head(index, number, now_ms)
                if entry is not None and (found is None or entry < found[0]):
                    found = entry, index
        return found

    def _head(self, index: Index, number: int, now_ms: int) -> int | None:
        """The oldest entry of an index that can go; None if there is none among those looked at."""
        heap = self._heaps.setdefault((index.instance.number, number), [])
        if not heap:
            self._scan(index, number, heap)
        for _ in range(_LOOKS_MAX):
            if not heap:
                return None
            entry = heap[0]
            block = _block_of(entry)
            if not is_on(index, block, number) or index.is_expired(block, now_ms):
                heappop(heap)
                continue
            current = order(index, block)
            if index.is_leased(block):
                later = _order_of(index.priority[block], now_ms << STAMP_SHIFT, block)
                heapreplace(heap, max(later, entry + (1 << _ID_BITS)))
                continue
            if current <= entry:
                return entry
            heapreplace(heap, current)
        return None

    def _scan(self, index: Index, number: int, heap: list[int]) -> None:
        """Enter what nobody has entered: the ends of the stretches on a storage, slice by slice."""
        key = index.instance.number, number
        block = self._scanned.get(key, 0)
        wanted = bytes((SERVING + number,))
        found = 0
        while found < _SCANNED_MAX:
            block = index.state.find(wanted, block)
            if block < 0:
                break
            end = block + 1
            if index.chained:
                tail = index.tail[index.run[block]]
                states = index.state[block:tail]
                end = block + len(states) - len(states.lstrip(wanted))
            heappush(heap, order(index, end - 1))
            block = end
            found += 1
        if block < 0 and not found:
            for detailed in list(index.details):
                if is_on(index, detailed, number):
                    heappush(heap, order(index, detailed))
        self._scanned[key] = max(0, block)


def served_copies(index: Index, block: int) -> list[Copy]:
    """A block's published copies."""
    state = index.state[block]
    if state >= SERVING:
        return [plain_copy(index, block)]
    if state != DETAILED:
        return []
    return [copy for copy in index.details[block].copies if copy.session is None]


def is_on(index: Index, block: int, number: int) -> bool:
    """Whether a block has a copy on a storage that can go now."""
    if block >= index.size:
        return False
    if index.state[block] == DETAILED:
        detail = index.details[block]
        return not detail.writing and any(copy.storage == number for copy in detail.copies)
    return index.state[block] == SERVING + number


def order(index: Index, block: int) -> int:
    """Lowest priority first, then the one used longest ago, then the deepest."""
    return _order_of(index.priority[block], index.last_access(block), block)


def _order_of(priority: int, stamp: int, block: int) -> int:
    """An entry of a heap: of blocks used together the one with the highest id comes first."""
    return priority << _PRIORITY_SHIFT | stamp << _ID_BITS | _ID_MASK - block


def _block_of(entry: int) -> int:
    return _ID_MASK - (entry & _ID_MASK)
