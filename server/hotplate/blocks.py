"""What names block bytes in a storage: slot classes, places, extents.

A *shape* is the class of slots a block needs. A *place* names one slot of one storage: an integer,
`segment << 32 | slot`, so that the slots after it in the same segment are `place + 1`, `place + 2`.
The KV cache's index and the storages share these values and nothing else. A shape is a
named tuple since it is a dictionary key at every reservation: hashed and compared in C.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

PLACE_SEGMENT_SHIFT: Final = 32
PLACE_SLOT_MASK: Final = (1 << PLACE_SEGMENT_SHIFT) - 1


class Shape(NamedTuple):
    """A class of equal slots: all specs' bytes of a copy, key width, how many sums."""

    payload_bytes: int
    key_bytes: int
    sum_count: int


@dataclass(slots=True)  # not frozen: one is made for every block that is written
class Extent:
    """`count` consecutive slots from `place`; all of them have `generation`."""

    place: int
    count: int
    generation: int


@dataclass(frozen=True, slots=True)
class Found:
    """Consecutive slots of one generation that a storage has from before it was opened.

    `serving`: they were published, and `keys` and `sums` (8 bytes big-endian each) are theirs, one
    after the other. Else they were reserved for a writer, who may have them mapped still, and both
    are empty.
    """

    shape: Shape
    place: int
    count: int
    generation: int
    serving: bool
    keys: bytes
    sums: bytes


class StoreFullError(Exception):
    """A reservation does not fit: `need` bytes, `largest_free` bytes could be had."""

    def __init__(self, need: int, largest_free: int) -> None:
        super().__init__(f"need={need} largest_free={largest_free}")
        self.need = need
        self.largest_free = largest_free
