"""Names of blocks that were evicted lately, bounded; the oldest are forgotten first.

A block that comes back while its name is remembered was evicted too early: policies that remember
treat it better than one never seen. Names stand in sets, a *generation* each, and a whole
generation is forgotten at once: remembering costs one insertion into a set, forgetting nothing.

    oldest   [names] [names] ... [names]   newest: takes names until it has its share

Of a chain, a block is remembered only as long as those above it are: they are evicted later.
"""

from collections import deque
from collections.abc import Hashable, Sequence
from typing import Final

GHOSTS_MAX: Final = 1 << 20  # of one instance: some 100 MB of names of 16 bytes
GHOST_BYTES: Final = 100  # an estimate of what one takes: name, place in a set
GENERATIONS: Final = 16


class Ghosts:
    """At most `limit` names."""

    __slots__ = ("_count", "_generations", "_newest", "_share", "limit")

    def __init__(self) -> None:
        self._newest: set[Hashable] = set()
        self._generations: deque[set[Hashable]] = deque((self._newest,))
        self._count = 0
        self.limit = 0
        self._share = 0  # of a generation

    def __len__(self) -> int:
        return self._count

    def bound(self, limit: int) -> None:
        """Remember at most so many names. Where they are more, they go as others come."""
        self.limit = min(limit, GHOSTS_MAX)
        self._share = -(-self.limit // GENERATIONS)

    def add(self, names: Sequence[Hashable]) -> None:
        """Remember names, one after the other: the last is the newest."""
        newest = self._newest
        before = len(newest)
        room = self._share - before
        if len(names) > room > 0:
            self.add(names[:room])
            self.add(names[room:])
            return
        newest.update(names)
        self._count += len(newest) - before
        generations = self._generations
        while self._count > self.limit:
            self._count -= len(generations.popleft())
        if len(newest) >= self._share or not generations:
            self._newest = set()
            generations.append(self._newest)

    def take(self, names: Sequence[Hashable], *, chained: bool = True) -> bytes:
        """A byte 1 for every name that is remembered, and it is no longer; else 0.

        `chained`: only for the leading ones. Empty where there is none.
        """
        flags = bytearray(len(names))
        for number, name in enumerate(names):
            for generation in self._generations:
                if name in generation:
                    generation.remove(name)
                    self._count -= 1
                    flags[number] = 1
                    break
            else:
                if chained:
                    break
        return bytes(flags) if 1 in flags else b""
