"""What META says of a block, and where READ and WRITE find its bytes."""

from hotplate.errors import CommandError
from hotplate.kvc.answers import BlockMeta, CopyMeta, ReadSlot, Slot
from hotplate.kvc.holdings import Holdings, plain_copy
from hotplate.kvc.index import ABSENT, DETAILED, NEVER, STAMP_SHIFT, WRITING, Copy, Index
from hotplate.kvc.lease import holders
from hotplate.kvc.model import SUM_BYTES, Instance
from hotplate.kvc.retention import shown
from hotplate.kvc.write_session import WriteSession


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


def read_slot(holdings: Holdings, instance: Instance, copy: Copy, spec: int | None) -> ReadSlot:
    """Where the bytes of one spec of a copy lie, or all of them (spec None)."""
    numbers = instance.numbers_in(copy.specs)
    parts: list[tuple[int, int, int]] = []
    for rank, number in enumerate(numbers):
        if spec is None or number == spec:
            own = copy.sums[rank * SUM_BYTES : (rank + 1) * SUM_BYTES]
            size_bytes = instance.specs[number].size_bytes
            offset = instance.offset_in(copy.specs, number)
            parts.append((offset, size_bytes, int.from_bytes(own, "big")))
    storage = holdings.storage(copy.storage)
    size_bytes = sum(part[1] for part in parts)
    return ReadSlot(
        copy.storage,
        storage.opened(),
        copy.shape,
        copy.place,
        parts[0][0],
        size_bytes,
        parts,
    )


def write_slot(holdings: Holdings, session: WriteSession, index: int, spec: int | None) -> Slot:
    """Where the bytes of a session's new key `index` go, of one spec or of all it holds."""
    if not 0 <= index < session.new_count:
        raise CommandError(f"index {index} of {session.new_count} new keys")
    part = session.part_of(index)
    instance = session.index.instance
    offset, size_bytes = 0, part.shape.payload_bytes
    if spec is not None:
        if not part.specs >> spec & 1:
            raise CommandError(f"spec {instance.specs[spec].name} is not reserved for this key")
        offset = instance.offset_in(part.specs, spec)
        size_bytes = instance.specs[spec].size_bytes
    store = holdings.storage(part.storage).opened()
    place = part.place + index - part.first
    return Slot(part.storage, store, part.shape, place, offset, size_bytes)
