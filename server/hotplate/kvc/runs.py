"""Cutting runs: so that a part of one can lie elsewhere, or its end go at once.

A run's blocks have consecutive slots of one storage. When some of them move they become a run of
their own; what the run kept at its first id, or added up along itself, is put right on both sides
of the cut:

    s ... at-1 | at ... e-1        parent(at) = at - 1, which inherits the last access of the cut
                                   part and its hits: every access behind it had come by
"""

from array import array

from hotplate.kvc.index import SERVING, SHARD_MASK, Index
from hotplate.kvc.lease import LeaseRange


def split(index: Index, at: int) -> None:
    """Let `at` be the first id of a run. O(blocks behind it in its run)."""
    start = index.run[at]
    if start == at:
        return
    end = index.tail[start]
    index.run[at:end] = array("I", (at,)) * (end - at)
    index.tail[at], index.tail[start] = end, at
    index.parent[at] = at - 1
    index.place[at] = index.place[start] + (at - start)
    last = max(index.accessed[at:end])
    if last > index.accessed[at - 1]:
        index.accessed[at - 1] = last
        index.ticks[at - 1] = max(index.ticks[at:end])
    index.hits[at - 1] += sum(index.hits[at:end])
    _split_leases(index, start, at)


def _split_leases(index: Index, start: int, at: int) -> None:
    """Leased ranges stand under the first id of their run."""
    ranges = index.leases.pop(start, None)
    if ranges is None:
        return
    above: list[LeaseRange] = []
    below: list[LeaseRange] = []
    for item in ranges:
        if item.high <= at:
            above.append(item)
        elif item.low >= at:
            item.run = at
            below.append(item)
        else:
            rest = LeaseRange(at, at, item.high, item.lease)
            item.lease.ranges.append(rest)
            item.high = at
            above.append(item)
            below.append(rest)
    if above:
        index.leases[start] = above
    if below:
        index.leases[at] = below


def relocate(
    index: Index, blocks: tuple[int, int], storage: int, place: int, generation: int
) -> None:
    """Plain blocks low..high-1, of one run where there are chains, now lie in other slots."""
    low, high = blocks
    count = high - low
    if index.chained:
        split(index, low)
        if high < index.tail[low]:
            split(index, high)
        index.place[low] = place
    else:
        index.place[low:high] = array("Q", range(place, place + count))
    index.generation[low:high] = array("Q", (generation,)) * count
    index.state[low:high] = bytes((SERVING + storage,)) * count


def alike(index: Index, leaf: int, most: int) -> int:
    """Where the stretch begins that ends at a leaf, of at most `most` ids of its run.

    All of it are plain blocks that differ in nothing a policy, an expiry or a lease looks at: once
    the leaf has gone, the block above it is the next to go.
    """
    state, children, accessed, hits = index.state, index.children, index.accessed, index.hits
    created, expires, priority = index.created, index.expires, index.priority
    start = index.run[leaf]
    low, first = leaf, max(start, leaf + 1 - most)
    kind = state[leaf]
    if low == first or kind < SERVING or start in index.leases:
        return leaf
    retained = index.retained
    if leaf in retained:
        return leaf
    born, ends, rank, proven = created[leaf], expires[leaf], priority[leaf], index.proven[leaf]
    while low > first:
        above = low - 1
        if (
            state[above] != kind
            or children[above] != 1
            or accessed[above]
            or hits[above]
            or created[above] != born
            or expires[above] != ends
            or priority[above] != rank
            or index.proven[above] != proven
            or above in retained
        ):
            break
        low = above
    return low


def cut_tail(index: Index, low: int) -> None:
    """The plain blocks from `low` to the end of its run are no more; the last is a leaf."""
    start = index.run[low]
    high, width = index.tail[start], index.width
    shards = index.shards
    blob = bytes(index.keys[low * width : high * width])
    for offset in range(0, len(blob), width):
        key = blob[offset : offset + width]
        del shards[hash(key) & SHARD_MASK][key]
    count = high - low
    index.state[low:high] = bytes(count)
    index.children[low:high] = array("I", bytes(4 * count))
    index.blocks -= count
    index.ids -= count
    index.proven_blocks -= sum(index.proven[low:high])
    if low > start:
        above = low - 1
        index.tail[start] = low
        if index.accessed[high - 1] > index.accessed[above]:
            index.accessed[above] = index.accessed[high - 1]
            index.ticks[above] = index.ticks[high - 1]
        index.hits[above] += index.hits[high - 1]
    else:
        above = index.parent[start]
    index.free.give(low, high)
    if above >= 0:
        index.lost_child(above)
