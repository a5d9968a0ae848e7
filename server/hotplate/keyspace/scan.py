"""SCAN's cursor: an order of keys that needs no state between two calls.

A key stands at (shard, rest of its hash), which never changes while the server runs. The cursor is
the place to go on from:

    63                                10 9       0
    [ lowest rest not returned yet      | shard  ]      0: the beginning, and the end

A key that is there from the first call to the last is returned: its place is passed once, whatever
is added, removed or resized meanwhile. No key is returned twice by one iteration, unless it was
removed and added again. Cost of a call: O(COUNT + keys of one shard).
"""

from typing import Final

from hotplate.keyspace.database import SHARD_BITS, SHARD_MASK, SHARDS, Database, Shard

_REST_MASK: Final = 2 ** (64 - SHARD_BITS) - 1
_CHUNKS_MAX: Final = 64  # a shard is returned in at most so many calls: each has to read all of it


def scan(database: Database, cursor: int, count: int) -> tuple[int, list[bytes]]:
    """At least `count` keys from `cursor` on, where there are as many; also the next cursor."""
    shard_index = cursor & SHARD_MASK
    bound = cursor >> SHARD_BITS
    found: list[bytes] = []
    while len(found) < count:
        shard = database.shards[shard_index]
        wanted = max(count - len(found), len(shard) // _CHUNKS_MAX)
        if bound == 0 and len(shard) <= wanted:
            found.extend(shard)
        else:
            bound, keys = _chunk(shard, bound, wanted)
            found.extend(keys)
            if bound:
                break
        bound = 0
        shard_index += 1
        if shard_index == SHARDS:
            return 0, found
    return bound << SHARD_BITS | shard_index, found


def _chunk(shard: Shard, bound: int, wanted: int) -> tuple[int, list[bytes]]:
    """The next `wanted` keys in order; also the bound to go on from, 0 after the last."""
    places = [(hash(key) >> SHARD_BITS & _REST_MASK, key) for key in shard]
    ahead = sorted(place for place in places if place[0] >= bound)
    if len(ahead) <= wanted:
        return 0, [key for _, key in ahead]
    last = ahead[wanted - 1][0]
    while wanted < len(ahead) and ahead[wanted][0] == last:  # equal hashes stay together
        wanted += 1
    if wanted == len(ahead):
        return 0, [key for _, key in ahead]
    return last + 1, [key for _, key in ahead[:wanted]]
