"""Where the payload of KVC.WRITE or KVC.PUT is received: a slot, summed while it fills.

Every slot taken by a sink is a SlotTarget; the handler, or `abandon`, ends it exactly once.
"""

from collections.abc import Callable, Sequence
from typing import Any

from xxhash import xxh3_64

from hotplate.kvc.answers import Slot


class SlotTarget:
    """A slot that a payload is received into. `end` gives up the claim on it.

    `part_sizes` are those of the specs that the payload is made of, in order: each has a sum.
    Bytes are summed as they arrive, while the processor's caches have them.
    """

    __slots__ = (
        "_end",
        "_part",
        "_part_end",
        "_sizes",
        "_sum",
        "_summed",
        "purpose",
        "slot",
        "sums",
        "view",
    )

    def __init__(self, slot: Slot, part_sizes: Sequence[int], end: Callable[[], None]) -> None:
        self.slot = slot
        self.view = slot_view(slot)
        self._end: Callable[[], None] | None = end
        self._sizes = part_sizes
        self._part = 0
        self._part_end = part_sizes[0]
        self._summed = 0  # bytes
        self._sum = xxh3_64()
        self.sums: list[bytes] = []  # of the parts that are complete
        self.purpose: Any = None  # what the sink knows and the handler need not parse again

    def __len__(self) -> int:
        return self.slot.size

    def arrived(self, filled: int) -> None:
        """The first `filled` bytes are in place and stay as they are."""
        while self._summed < filled:
            end = min(filled, self._part_end)
            self._sum.update(self.view[self._summed : end])
            self._summed = end
            if end == self._part_end:
                self.sums.append(self._sum.digest())
                self._part += 1
                if self._part < len(self._sizes):
                    self._part_end += self._sizes[self._part]
                    self._sum = xxh3_64()

    def abandon(self) -> None:
        """End the claim; once more does nothing."""
        end, self._end = self._end, None
        if end is not None:
            end()

    def keep(self) -> None:
        """The slot belongs to a published block now: there is nothing to end."""
        self._end = None


def slot_view(slot: Slot) -> memoryview:
    """The bytes of a slot, or of one spec in it, on a storage that is mapped."""
    whole = slot.store.view(slot.shape, slot.place)
    return whole[slot.offset : slot.offset + slot.size]
