"""S3-FIFO among leaves (Yang et al., SOSP 2023): a small queue on trial, a main queue, ghosts.

A new block enters the small queue, which holds a tenth of the blocks; one that was evicted lately
enters the main queue. A leaf at the head of the small queue that was found twice since it entered
moves to the main queue, else it goes and its name is remembered. A leaf at the head of the main
queue that was found since it entered enters it again and has one find less, of three at most; else
it goes. Entering a queue is per block; only leaves can be at its head.
"""

from collections.abc import Hashable, Sequence
from typing import ClassVar, Final

from hotplate.kvc.policy.base import Forest, Policy
from hotplate.kvc.policy.ghosts import Ghosts

SMALL_SHARE: Final = 10  # the small queue holds one block in so many
PROMOTED_FROM: Final = 2  # finds
FINDS_MAX: Final = 3
ENTRY_BITS: Final = 24  # entries to the main queue between two accesses


class S3Fifo(Policy):
    """By entry to the small or the main queue."""

    name: ClassVar[str] = "s3fifo"
    lanes: ClassVar[int] = 2
    counts: ClassVar[bool] = True

    def __init__(self, forest: Forest) -> None:
        super().__init__(forest, self._order)
        self._remembered = Ghosts()
        self.ghosts = self._remembered
        self._small_max = 0
        self._stamp = 0
        self._entries = 0
        # what entered the main queue later than it was stored: created, place, hits at entry
        self._entered: dict[int, tuple[int, int, int]] = {}

    def copied(self, forest: Forest) -> "S3Fifo":
        """With the entries to the main queue."""
        copy = S3Fifo(forest)
        copy._stamp, copy._entries, copy._entered = self._stamp, self._entries, dict(self._entered)
        return copy

    def lane(self, block: int) -> int:
        """0 for the small queue, 1 for the main one."""
        return self.forest.proven[block]

    def _order(self, block: int) -> int:
        """When it entered its queue: the stamp, and the number of the entry after that stamp."""
        created = self.forest.created[block]
        entered = self._entered.get(block)
        if entered is not None and entered[0] == created:
            return entered[1]
        return created << ENTRY_BITS

    def choose(self, first: int, second: int) -> int:
        """The small queue's head, if that queue is over its share."""
        forest = self.forest
        return first if forest.blocks - forest.proven_blocks > self._small_max else second

    def spare(self, block: int) -> bool:
        """Whether it was found often enough to enter the main queue, or to enter it again."""
        forest = self.forest
        hits, created = forest.leaf_hits(block), forest.created[block]
        entered = self._entered.get(block)
        known = entered[2] if entered is not None and entered[0] == created else 0
        finds = hits - known
        if not forest.proven[block]:
            if finds < PROMOTED_FROM:
                return False
            forest.prove(block)
        else:
            finds = min(finds, FINDS_MAX)
            if not finds:
                return False
            hits -= finds - 1
        self._entries += 1
        place = self._stamp << ENTRY_BITS | self._entries
        self._entered[block] = created, place, hits
        return True

    def begin(self, stamp: int) -> None:
        """Capacity is what the forest holds when evictions begin."""
        capacity = self.forest.blocks
        self._small_max = capacity // SMALL_SHARE
        self._remembered.bound(capacity)
        if stamp != self._stamp:
            self._stamp, self._entries = stamp, 0
        if len(self._entered) > 2 * capacity + 64:
            created = self.forest.created
            kept = [item for item in self._entered.items() if item[1][0] == created[item[0]]]
            self._entered = dict(kept)

    def evicted(self, names: Sequence[Hashable], block: int) -> None:
        """Remember the names of what was on trial."""
        self._entered.pop(block, None)
        if not self.forest.proven[block]:
            self._remembered.add(names)
