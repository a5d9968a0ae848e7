"""LFU among leaves: the leaf goes that was found least often; of those, the one used longest ago.

Hits count from the moment a block is stored, and are not aged: what was popular once stays for
long. `hslru` is the better choice where popularity changes.
"""

from typing import ClassVar

from hotplate.kvc.policy.base import Forest, Policy


class Lfu(Policy):
    """By hits, then by last access."""

    name: ClassVar[str] = "lfu"

    def __init__(self, forest: Forest) -> None:
        super().__init__(forest, self._order)

    def _order(self, block: int) -> int:
        """Hits and stamp in one number."""
        forest = self.forest
        return forest.leaf_hits(block) << 64 | forest.accessed[block]
