"""Names of blocks that were evicted lately, oldest first, bounded.

A block that comes back while its name is remembered was evicted too early: policies that remember
treat it better than one never seen.
"""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Final

GHOSTS_MAX: Final = 1 << 20  # of one instance: some 200 MB of names of 16 bytes
GHOST_BYTES: Final = 190  # an estimate of what one takes: name, dict slot, list node


class Ghosts:
    """At most `limit` names; the oldest is forgotten first."""

    __slots__ = ("_names", "limit")

    def __init__(self) -> None:
        self._names: OrderedDict[Hashable, None] = OrderedDict()
        self.limit = 0

    def __len__(self) -> int:
        return len(self._names)

    def bound(self, limit: int) -> None:
        """Remember at most so many names; where they are more, each that comes drives out two."""
        self.limit = min(limit, GHOSTS_MAX)

    def add(self, name: Hashable) -> None:
        """Remember a name as the newest."""
        names = self._names
        names[name] = None
        if len(names) > self.limit:
            names.popitem(last=False)
            if len(names) > self.limit:
                names.popitem(last=False)

    def take(self, names: Sequence[Hashable]) -> bytes:
        """A byte 1 for every name that is remembered, and they are no longer; else 0.

        Empty where nothing is remembered.
        """
        known = self._names
        if not known:
            return b""
        flags = bytes([name in known for name in names])
        if 1 in flags:
            for name, flag in zip(names, flags, strict=True):
                if flag:
                    known.pop(name, None)
        return flags

    def clear(self) -> None:
        """Forget all."""
        self._names.clear()
