"""Leaf LRU: the leaf goes that was used longest ago.

A stack algorithm: more room never means fewer hits.
"""

from typing import ClassVar

from hotplate.kvc.policy.base import Forest, Policy


class Lru(Policy):
    """By last access."""

    name: ClassVar[str] = "lru"

    def __init__(self, forest: Forest) -> None:
        super().__init__(forest, forest.accessed.__getitem__)
