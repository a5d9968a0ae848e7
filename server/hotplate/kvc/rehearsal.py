"""Which blocks would be evicted, without evicting any (RECLAIM DRYRUN).

A `Shadow` stands for an index: it reads the index's columns and keeps what evictions would change
of them beside it, with a copy of the queues (O(leaves)) and of the policy's own memory. It follows
Index.unlink; everything else is the code that evicts.
"""

from collections.abc import Iterable, Iterator, MutableSequence, Sequence
from typing import Any

from hotplate.kvc.index import ABSENT, DETAILED, SERVING, Index
from hotplate.kvc.policy.queues import LeafQueues
from hotplate.kvc.quota import GroupUse, Turns
from hotplate.kvc.victims import Victims
from hotplate.kvc.watermark import Freed, Target


class _Column(MutableSequence[int]):
    """A column of an index, and the values that are not really there."""

    __slots__ = ("_changes", "_column")

    def __init__(self, column: Sequence[int]) -> None:
        self._column = column
        self._changes: dict[int, int] = {}

    def __getitem__(self, index: Any) -> Any:
        value = self._changes.get(index)
        return self._column[index] if value is None else value

    def __setitem__(self, index: Any, value: Any) -> None:
        self._changes[index] = value

    def __delitem__(self, index: Any) -> None:
        raise TypeError("a column keeps its length")

    def insert(self, index: int, value: int) -> None:
        """A column keeps its length."""
        raise TypeError("a column keeps its length")

    def __len__(self) -> int:
        return len(self._column)


class Shadow:
    """What an index would be after some evictions."""

    def __init__(self, index: Index, stamp: int) -> None:
        self.index = index
        self.blocks = index.blocks
        self.proven_blocks = index.proven_blocks
        self.accessed = _Column(index.accessed)
        self.ticks = _Column(index.ticks)
        self.hits = _Column(index.hits)
        self.proven = _Column(index.proven)
        self.queued = _Column(index.queued)
        self.created = index.created
        self.expires = index.expires
        self._children = _Column(index.children)
        self._gone: set[int] = set()
        self.leaves = LeafQueues(self, index.leaves.policy.copied(self))
        self.leaves.heaps = {queue: list(heap) for queue, heap in index.leaves.heaps.items()}
        self.leaves.priorities = {
            priority: list(queues) for priority, queues in index.leaves.priorities.items()
        }
        self.leaves.begin(stamp)

    # as policies and queues see it

    def leaf_hits(self, block: int) -> int:
        """How often a leaf was found since it was stored."""
        detail = self.index.details.get(block)
        hits: int = self.hits[block]
        return hits - detail.hits_before if detail is not None else hits

    def prove(self, block: int) -> None:
        """Let a block be proven."""
        self.proven_blocks += not self.proven[block]
        self.proven[block] = 1

    def queue_of(self, block: int) -> int:
        """priority << 8 | storage + 1 of a leaf that may be evicted; 0: it may not be."""
        if block in self._gone or self._children[block]:
            return 0
        return self.index.queue_without_children(block)

    # what an eviction would do

    def copies(self, block: int) -> Iterator[tuple[int, int]]:
        """The storages of a block's copies, and their bytes."""
        index = self.index
        state = index.state[block]
        if state == DETAILED:
            for copy in index.details[block].copies:
                yield copy.storage, copy.shape.payload_bytes
        elif state >= SERVING:
            yield state - SERVING, index.shape.payload_bytes

    def remove(self, block: int) -> None:
        """A leaf would go, and every tombstone above it that has nothing else below it."""
        index = self.index
        self.blocks -= 1
        self.proven_blocks -= self.proven[block]
        while True:
            self._gone.add(block)
            start = index.run[block]
            if start != block:
                above = block - 1
                if self.accessed[block] > self.accessed[above]:
                    self.accessed[above] = self.accessed[block]
                    self.ticks[above] = self.ticks[block]
                self.hits[above] += self.hits[block]
            else:
                above = index.parent[start]
            if above < 0:
                return
            self._children[above] -= 1
            if self._children[above]:
                return
            if index.state[above] != ABSENT:
                self.leaves.push(above)
                return
            block = above


def rehearse(
    use: GroupUse, wanted: Iterable[Target], freed: Freed, limit: int, stamp: int
) -> list[tuple[Index, bytes]]:
    """The blocks that would be evicted for some targets, at most `limit`, in order.

    `freed` says in the end, and between two targets, what they would free.
    """
    shadows = {number: Shadow(index, stamp) for number, index in use.indexes.items()}
    leaves = {number: shadow.leaves for number, shadow in shadows.items()}
    turns = Turns(dict(use.turns.given), use.turns.floor)
    named: list[tuple[Index, bytes]] = []

    def queued_on(storages: frozenset[int] | None, count_blocks: bool) -> Victims:
        return Victims(use, storages, count_blocks=count_blocks, leaves=leaves, turns=turns)

    for target in wanted:
        missing, inside = target.missing, target.storages
        victims = queued_on(inside, target.count_blocks)
        while missing > 0 and len(named) < limit:
            source, victim = victims, victims.next()
            if victim is None and inside is not None:
                source = queued_on(None, target.count_blocks)
                victim = source.next()
            if victim is None:
                break
            number, block, _ = victim
            shadow = shadows[number]
            missing -= target.count_blocks
            for storage, size_bytes in shadow.copies(block):
                freed.by_storage[storage] = freed.by_storage.get(storage, 0) + size_bytes
                if not target.count_blocks and (inside is None or storage in inside):
                    missing -= size_bytes
            freed.blocks += 1
            named.append((shadow.index, shadow.index.key_of(block)))
            shadow.remove(block)
            source.took(1)
            if source is not victims:
                victims = queued_on(inside, target.count_blocks)
    return named
