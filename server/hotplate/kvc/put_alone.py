"""PUT of one new plain block, the shortest way from a filled slot to a served block.

The same as planning, entering and completing a session of one block (plan.py, enter.py,
publish.py) where all of these have nothing to decide. A large payload leaves nothing of the server
in the processor's caches: what runs behind it counts by the code and data it touches.
"""

from hotplate.kvc.answers import Slot
from hotplate.kvc.holdings import Holdings
from hotplate.kvc.index import NEVER, SERVING, Index


def above_of(holdings: Holdings, index: Index, key: bytes, parent: bytes | None) -> int | None:
    """The id that a new plain block goes below, -1 for a root; None: it is not as plain as that.

    Nothing may have to be evicted for it, it must not be known, and its parent must be.
    """
    if len(key) != index.width or index.lookup(key) is not None:
        return None
    if holdings.use(index).group.max_blocks is not None:
        return None
    if parent is None or not index.chained:
        return -1
    return index.lookup(parent)


def put_alone(
    holdings: Holdings,
    index: Index,
    key: bytes,
    slot: Slot,
    sums: bytes,
    *,
    above: int,
    now_ms: int,
    ttl_ms: int | None,
    priority: int,
) -> None:
    """Serve a staged slot as the block `key` below `above`. Room in the index was checked."""
    use = holdings.use(index)
    storage, place, shape = slot.storage, slot.place, slot.shape
    if ttl_ms is None and use.group.ttl_s is not None:
        ttl_ms = use.group.ttl_s * 1000
    expiry = NEVER if ttl_ms is None else now_ms + ttl_ms
    extend = index.chained and index.extend_run(above, storage, place)
    if extend:
        block = above + 1
    else:
        ((block, _),) = index.take_ids(1)
    index.name(block, [key])
    if above >= 0:
        index.raise_expiry(above, expiry)
    generation = slot.store.generation(shape, place)
    index.enter(
        (block, block + 1), key, above=above, extend=extend, place=place, generation=generation
    )
    index.blocks += 1
    index.priority[block] = priority
    stamp = index.created[block] = holdings.stamp(now_ms)
    index.remember(block, [key])
    index.expires[block] = expiry
    size = index.sum_bytes
    index.sums[block * size : (block + 1) * size] = sums
    index.state[block] = SERVING + storage
    if holdings.journal is not None:
        holdings.journal.stored(index, block, block + 1)
    index.clock += 1
    if index.chained:
        index.touch_path(block, stamp, 0)
    else:
        index.accessed[block] = stamp
        index.ticks[block] = index.clock
    at = use.by_storage[storage]
    size_bytes = shape.payload_bytes
    at.writing -= size_bytes
    at.serving += size_bytes
    index.writing[storage] -= size_bytes
    index.serving[storage] += size_bytes
    slot.store.publish(shape, place, key, sums)
    index.became_leaf(block)
    if holdings.tiering is not None and use.group.tiering != "none":
        holdings.tiering.published(index, block, block + 1)
    holdings.counters[index.instance.number].published += 1
