"""Leaf LRU: the leaf goes that was used longest ago.

A stack algorithm: more room never means fewer hits.
"""

from typing import ClassVar

from hotplate.kvc.policy.base import Policy


class Lru(Policy):
    """By last access."""

    name: ClassVar[str] = "lru"

    def order(self, block: int) -> int:
        """The stamp of the last access."""
        return self.forest.accessed[block]
