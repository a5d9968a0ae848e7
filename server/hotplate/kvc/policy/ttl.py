"""TTL among leaves: the leaf goes whose time is over first; of those, the one used longest ago.

Blocks without an end go last, as LRU has them.
"""

from typing import ClassVar

from hotplate.kvc.policy.base import Forest, Policy


class Ttl(Policy):
    """By expiry, then by last access."""

    name: ClassVar[str] = "ttl"

    def __init__(self, forest: Forest) -> None:
        super().__init__(forest, self._order)

    def _order(self, block: int) -> int:
        """Expiry and stamp in one number."""
        forest = self.forest
        return forest.expires[block] << 64 | forest.accessed[block]
