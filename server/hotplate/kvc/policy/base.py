"""What a reclaim policy is: an order over the leaves of a forest of blocks.

A policy owns no blocks. It reads the columns of a `Forest` and answers two questions about a leaf:
in which of its lanes it waits, and at which place there. The lowest place of a lane is its head;
`choose` says which of two heads goes. Queues (queues.py) keep the leaves, for every priority and
storage apart, and ask.

Leaves only are ever asked about, so that no policy can take a parent before its children.

What a policy may rely on, and what it must hold:

- An access is written to a forest where its path leaves a run, not to every block. What is written
  at a leaf is therefore exact: its last access, its hits, its tick. Nothing else may be read.
- While a block lives, its place only grows as long as its lane stays the same. Then an entry that
  is out of date stands too far in front, is seen there, and is put where it belongs: recency costs
  an access nothing, and evictions are the same as if every access had moved every block.
- The lane may change by an access only from the lane it was in to one whose heads come later.
"""

from collections.abc import Callable, Hashable, MutableSequence, Sequence
from typing import ClassVar, Protocol

from hotplate.kvc.policy.ghosts import Ghosts

ID_BITS = 32
ID_MASK = (1 << ID_BITS) - 1
PRIORITY_SHIFT = 8
LANE_SHIFT = 15  # a queue's number: lane << 15 | priority << 8 | storage + 1; it fits 16 bits
QUEUE_MASK = (1 << LANE_SHIFT) - 1


class Forest(Protocol):
    """Blocks in trees, as policies and queues see them. Columns are read at leaves only."""

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        ...

    @property
    def accessed(self) -> Sequence[int]:
        """The stamp of the last access; stamps grow with every call."""
        ...

    @property
    def ticks(self) -> Sequence[int]:
        """How many blocks had been accessed in all, when this one was last."""
        ...

    @property
    def created(self) -> Sequence[int]:
        """The stamp of the call that stored the block."""
        ...

    @property
    def expires(self) -> Sequence[int]:
        """When its time is over, in Unix milliseconds."""
        ...

    @property
    def proven(self) -> Sequence[int]:
        """1 where the policy knew the block when it was stored, or has found it worth keeping."""
        ...

    @property
    def proven_blocks(self) -> int:
        """How many blocks have that."""
        ...

    @property
    def queued(self) -> MutableSequence[int]:
        """The number of the queue a leaf is in; it belongs to the queues."""
        ...

    @property
    def leaf_hits(self) -> Callable[[int], int]:
        """How often a leaf was found since it was stored."""
        ...

    def prove(self, block: int) -> None:
        """Let a block be proven."""
        ...

    @property
    def queue_of(self) -> Callable[[int], int]:
        """priority << 8 | storage + 1 of a leaf that may be evicted; 0: it may not be."""
        ...


class Policy:
    """The interface, with the answers of a policy of one lane that remembers nothing.

    `order(leaf)` is the leaf's place in its lane; the lowest goes first. Where that is a column, it
    is the column's own lookup: the queues ask for it all the time.
    """

    name: ClassVar[str]
    lanes: ClassVar[int] = 1
    ghosts: Ghosts | None = None
    counts: ClassVar[bool] = False  # its choice depends on how many blocks are where

    def __init__(self, forest: Forest, order: Callable[[int], int]) -> None:
        self.forest = forest
        self.order = order

    def copied(self, forest: Forest) -> "Policy":
        """The same policy for a forest that begins as this one's is, without its ghosts."""
        return type(self)(forest)  # type: ignore[call-arg]

    def lane(self, block: int) -> int:
        """The lane a leaf waits in, 0 or 1."""
        del block
        return 0

    def choose(self, first: int, second: int) -> int:
        """Of the heads of lane 0 and lane 1, the one that goes."""
        raise NotImplementedError

    def spare(self, block: int) -> bool:
        """Whether the chosen leaf gets another chance: its lane or its place has changed then."""
        del block
        return False

    def begin(self, stamp: int) -> None:
        """Evictions follow. `stamp`: the latest that an access got."""

    def evicted(self, names: Sequence[Hashable], block: int) -> None:
        """A leaf goes for want of room (not because it was removed, or its time was over).

        `names`: its name, and those of the blocks above it that go with it and are like it.
        """
