"""META: what is known of one block."""

from hotplate.kvc.answers import BlockMeta, CopyMeta
from hotplate.kvc.holdings import plain_copy
from hotplate.kvc.index import ABSENT, DETAILED, NEVER, STAMP_SHIFT, WRITING, Index
from hotplate.kvc.lease import holders
from hotplate.kvc.retention import shown


def block_meta(index: Index, block: int, now_ms: int) -> BlockMeta | None:
    """The block's copies, times and priority in force; None where there is no block."""
    state = index.state[block]
    if state == ABSENT or index.is_expired(block, now_ms):
        return None
    copies = index.details[block].copies if state == DETAILED else [plain_copy(index, block)]
    parent = index.parent_of(block)
    expiry = index.expires[block]
    described = [
        CopyMeta(
            copy.storage,
            "writing" if state == WRITING or copy.session is not None else "serving",
            copy.specs,
            copy.shape.payload_bytes,
            copy.place,
            copy.generation,
            copy.shape,
            copy.sums,
        )
        for copy in copies
    ]
    serving = any(copy.state == "serving" for copy in described)
    return BlockMeta(
        index.key_of(block),
        index.key_of(parent) if parent >= 0 else None,
        "serving" if serving else "writing",
        sum(copy.size_bytes for copy in described),
        index.created[block] >> STAMP_SHIFT,
        index.last_access(block) >> STAMP_SHIFT,
        index.hit_count(block),
        None if expiry == NEVER else expiry,
        shown(index, block, now_ms),
        len(holders(index, block)) if index.leases else 0,
        described,
    )
