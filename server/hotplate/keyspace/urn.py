"""Drawing members of a set, all equally likely, in O(1) whatever its size.

    order   every member of one dict in a list, where any place is found at once
    gone    those in `order` that have left since

A draw takes a random place and tries again where the member is gone, forgetting it on the way: each
removal costs one such try at most. A member that comes back before that is simply no longer gone.
Nothing is kept for a set until it is drawn from; a spread one gets an urn for each shard that is
drawn from, as making one for ten million members would stop the server.

The set tells of every member that came or went. Knows no encoding, key or command.
"""

from random import Random
from typing import Final

from hotplate.keyspace.sharded import SHARD_BITS, SHARD_MASK, SHARD_SHIFT, SHARDS, ShardedDict

_GONE_MIN: Final = 64
_TRIES_MAX: Final = 64  # at shards: then it is asked how long the longest is now


class Urn:
    """The members of one dict."""

    __slots__ = ("_gone", "_order")

    def __init__(self, members: dict[bytes, None]) -> None:
        self._order = list(members)
        self._gone: set[bytes] = set()

    def added(self, member: bytes) -> None:
        """A new member."""
        if member in self._gone:
            self._gone.discard(member)
        else:
            self._order.append(member)

    def removed(self, member: bytes) -> None:
        """A member left, other than by `take`."""
        gone = self._gone
        gone.add(member)
        if len(gone) > _GONE_MIN and len(gone) * 2 > len(self._order):
            self._order = [member for member in self._order if member not in gone]
            gone.clear()

    def draw(self, rng: Random) -> bytes:
        """Any member; there must be one."""
        return self._order[self._place(rng)]

    def take(self, rng: Random) -> bytes:
        """Any member, which leaves; there must be one."""
        return self._forget(self._place(rng))

    def _place(self, rng: Random) -> int:
        order = self._order
        gone = self._gone
        place = int(rng.random() * len(order))
        while gone and order[place] in gone:
            gone.discard(self._forget(place))
            place = int(rng.random() * len(order))
        return place

    def _forget(self, place: int) -> bytes:
        order = self._order
        last = order.pop()
        if place == len(order):
            return last
        member = order[place]
        order[place] = last
        return member


class ShardedUrn:
    """The members of a spread table, an urn for each shard."""

    __slots__ = ("_longest", "_shards", "_urns")

    def __init__(self, table: ShardedDict[None]) -> None:
        self._shards = table.shards
        self._longest = max(map(len, table.shards))  # no shard holds more; may be too large
        self._urns: list[Urn | None] = [None] * SHARDS

    def added(self, member: bytes) -> None:
        """A new member."""
        index = hash(member) >> SHARD_SHIFT & SHARD_MASK
        self._longest = max(self._longest, len(self._shards[index]))
        urn = self._urns[index]
        if urn is not None:
            urn.added(member)

    def removed(self, member: bytes) -> None:
        """A member left, other than by `take`."""
        urn = self._urns[hash(member) >> SHARD_SHIFT & SHARD_MASK]
        if urn is not None:
            urn.removed(member)

    def draw(self, rng: Random) -> bytes:
        """Any member; there must be one."""
        return self._pick(rng).draw(rng)

    def take(self, rng: Random) -> bytes:
        """Any member, which leaves; there must be one."""
        return self._pick(rng).take(rng)

    def _pick(self, rng: Random) -> Urn:
        """A shard's urn, the more likely the more members it has."""
        shards = self._shards
        tries = 0
        while True:
            # a place in a table of SHARDS rows, tried again where the row is not that long
            place = int(rng.random() * (self._longest << SHARD_BITS))
            index = place & SHARD_MASK
            if place >> SHARD_BITS < len(shards[index]):
                break
            tries += 1
            if tries % _TRIES_MAX == 0:
                self._longest = max(map(len, shards))
        urn = self._urns[index]
        if urn is None:
            urn = self._urns[index] = Urn(shards[index])
        return urn
