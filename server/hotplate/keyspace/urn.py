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


class Urn:
    """The members of one dict."""

    __slots__ = ("_gone", "_order", "is_sparse")

    def __init__(self, members: dict[bytes, None]) -> None:
        self._order = list(members)
        self._gone: set[bytes] = set()
        self.is_sparse = False

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
        place = self._place(rng)  # which may change the order
        return self._order[place]

    def take(self, rng: Random) -> bytes:
        """Any member, which leaves; there must be one."""
        return self.take_at(int(rng.random() * len(self._order)), rng)

    def take_at(self, place: int, rng: Random) -> bytes:
        """`take`, from a place that was drawn among as many as there are members."""
        order = self._order
        if self._gone:
            place = self._place(rng)
        member = order[place]
        order[place] = order[-1]
        order.pop()
        return member

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
        member = order[place]
        order[place] = order[-1]
        order.pop()
        return member


class ShardedUrn:
    """The members of a spread table, an urn for each shard.

    `is_sparse` once so few are left that a shard that has any is hard to find.
    """

    __slots__ = ("_longest", "_shards", "_urns", "_wasted", "is_sparse")

    def __init__(self, table: ShardedDict[None]) -> None:
        self._shards = table.shards
        self._longest = max(map(len, table.shards))  # no shard holds more; may be too large
        self._urns: list[Urn | None] = [None] * SHARDS
        self._wasted = 0  # tries that failed since `_longest` was true
        self.is_sparse = False

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
        place = self._pick(rng)
        return (self._urns[place & SHARD_MASK] or self._make(place & SHARD_MASK)).draw(rng)

    def take(self, rng: Random) -> bytes:
        """Any member, which leaves; there must be one."""
        place = int(rng.random() * (self._longest << SHARD_BITS))
        if place >> SHARD_BITS >= len(self._shards[place & SHARD_MASK]):
            place = self._pick(rng)
        urn = self._urns[place & SHARD_MASK] or self._make(place & SHARD_MASK)
        return urn.take_at(place >> SHARD_BITS, rng)

    def _pick(self, rng: Random) -> int:
        """A place in a table of SHARDS columns, one that a shard is long enough to reach."""
        shards = self._shards
        while True:
            place = int(rng.random() * (self._longest << SHARD_BITS))
            if place >> SHARD_BITS < len(shards[place & SHARD_MASK]):
                return place
            self._wasted += 1
            if self._wasted >= SHARDS:  # as long as it takes to ask every shard
                self._wasted = 0
                self._longest = max(map(len, shards))
                self.is_sparse = sum(map(len, shards)) < SHARDS

    def _make(self, index: int) -> Urn:
        urn = self._urns[index] = Urn(self._shards[index])
        return urn
