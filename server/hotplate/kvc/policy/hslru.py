"""Head-start leaf LRU: what was seen again gets a head start over what was seen once.

Two lists by last access, of blocks seen once and of blocks seen again (found since they were
stored, or evicted lately and stored again). Of their two heads the older one goes, where the one
seen again counts as used HEAD_START x capacity accesses later than it was. Time is counted in
accesses to blocks, the capacity in blocks held, and as many names of evicted blocks are remembered.

On traces of LLM services it finds 1 to 19 % more than LRU where the cache is small beside the
traffic, and loses at most 1.5 % in a narrow band of sizes (docs/storage.md has the table).
It never takes a parent before its child of itself: a parent is used no earlier, and is seen again
where its child is.
"""

from collections.abc import Hashable, Sequence
from typing import ClassVar, Final

from hotplate.kvc.policy.base import Forest, Policy
from hotplate.kvc.policy.ghosts import Ghosts

HEAD_START: Final = 1  # in capacities


class HeadStartLru(Policy):
    """By last access, those seen again later by a capacity of accesses."""

    name: ClassVar[str] = "hslru"
    lanes: ClassVar[int] = 2

    def __init__(self, forest: Forest) -> None:
        super().__init__(forest, forest.accessed.__getitem__)
        self._proven, self._hits, self._ticks = forest.proven, forest.leaf_hits, forest.ticks
        self._remembered = Ghosts()
        self.ghosts = self._remembered
        self._head_start = 0

    def lane(self, block: int) -> int:
        """1 for a block that was seen again."""
        return 1 if self._proven[block] or self._hits(block) else 0

    def choose(self, first: int, second: int) -> int:
        """The older one, the second with its head start."""
        ticks = self._ticks
        return second if ticks[second] + self._head_start < ticks[first] else first

    def begin(self, stamp: int) -> None:
        """Capacity is what the forest holds when evictions begin."""
        del stamp
        capacity = self.forest.blocks
        self._head_start = HEAD_START * capacity
        self._remembered.bound(capacity)

    def evicted(self, names: Sequence[Hashable], block: int) -> None:
        """Remember the names."""
        del block
        self._remembered.add(names)
