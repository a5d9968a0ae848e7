"""What the KV cache needs of others: a storage for block bytes (`hotplate.tiers` implements it),
and someone to tell what it does by itself (the engine's events).

A *shape* is the class of slots a block needs. A *place* names one slot of one storage: an integer,
`segment << 32 | slot`. Slots that are reserved together are consecutive where the storage can do
it, so that `place + i` is the i-th: an Extent. Every extent carries one generation, higher than
any that its slots had before.

A slot's header (generation, state, key, sums) belongs to the storage; it is invalidated and its
generation raised by `reserve`, before any byte of a new owner can land.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from hotplate.blocks import Extent, Found, Shape, StoreFullError

if TYPE_CHECKING:
    from hotplate.kvc.departed import Reason
    from hotplate.kvc.model import Instance

__all__ = [
    "BlockStore",
    "Extent",
    "Found",
    "KeptStore",
    "Listener",
    "Shape",
    "StoreFullError",
]


class Listener(Protocol):
    """Hears what the cache does without having been told to."""

    def left(
        self, instance: "Instance", reason: "Reason", keys: list[bytes], delay_ms: int
    ) -> None:
        """Blocks of one instance have left, in this order; their bytes go after a delay."""
        ...

    def timed_out(self, instance: "Instance", session_id: bytes) -> None:
        """A write session was dropped at its deadline."""
        ...


class BlockStore(Protocol):
    """One storage. Calls are synchronous; those marked (blocking) do file IO, on a thread."""

    name: str
    kind: str  # "memory" | "ssd" | "file"
    blocking: bool  # True: read and write do file IO, never call them on the event loop

    @property
    def capacity_bytes(self) -> int:
        """What its files may take. Set lower than what they take, no new file is made."""
        ...

    @capacity_bytes.setter
    def capacity_bytes(self, value: int) -> None: ...

    def reserve(self, shape: Shape, count: int) -> list[Extent]:
        """Take `count` slots in as few extents as possible; all or StoreFullError."""
        ...

    def release(self, shape: Shape, place: int, count: int) -> None:
        """Give back consecutive slots; their headers are invalid from now on."""
        ...

    def publish(self, shape: Shape, place: int, keys: bytes, sums: bytes) -> None:
        """Mark consecutive slots as serving: keys, and sums (8 bytes big-endian each)."""
        ...

    def generation(self, shape: Shape, place: int) -> int:
        """The slot's generation."""
        ...

    def view(self, shape: Shape, place: int) -> memoryview:
        """The slot's payload, writable, mapped. Only where `blocking` is False."""
        ...

    def write(self, shape: Shape, place: int, offset: int, data: memoryview | bytes) -> None:
        """(blocking) Write at `offset` of the slot's payload. Raises OSError."""
        ...

    def read(self, shape: Shape, place: int, offset: int, size: int) -> bytes | memoryview:
        """(blocking) Read `size` bytes from `offset` of the slot's payload. Raises OSError."""
        ...

    def sync(self, places: Sequence[int]) -> None:
        """(blocking) Make the segments of `places` durable."""
        ...

    def locate(self, shape: Shape, place: int) -> tuple[str, int, int]:
        """(segment name, byte offset of the payload in that file, stride to the next slot)."""
        ...

    def slots_from(self, place: int) -> int:
        """How many slots from this one on `locate` speaks for: they are in the same file."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """What a client needs to open it (`path`: directory of the segment files), and figures:
        `capacity_bytes`, `allocated_bytes`, `free_bytes`, `largest_free_bytes`, `segments`."""
        ...

    def close(self, *, remove: bool) -> None:
        """Unmap and close; with `remove` the files go too."""
        ...


class KeptStore(BlockStore, Protocol):
    """A storage that outlives its server: opened on what an earlier one left.

    Places are durable: the place of a slot is the same after a restart. Until `settle` is called
    the slots found are nobody's, and none of them is handed out. Then those that were not adopted
    become free. Generations handed out are higher than every one found.
    """

    def found(self) -> Iterator[Found]:
        """What was found and not adopted yet. Serving slots, and those reserved for writers."""
        ...

    def adopt(self, place: int, count: int, generation: int) -> Sequence[Found]:
        """Those of these slots that were found with this generation, and not adopted before: they
        stay reserved, in their state. Whoever adopts a slot compares its key."""
        ...

    def settle(self) -> int:
        """Free what was found and not adopted; answer how many slots. Raises OSError."""
        ...
