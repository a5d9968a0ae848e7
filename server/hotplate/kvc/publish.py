"""Ending a write session: what it names becomes visible, all at once; the rest goes.

Sums are settled first, without any change; `complete` then cannot fail.
"""

from collections.abc import Iterator

from hotplate.errors import ChecksumError
from hotplate.kvc.burial import Burial
from hotplate.kvc.departed import Reason
from hotplate.kvc.holdings import Holdings
from hotplate.kvc.index import SERVING, Index
from hotplate.kvc.model import SUM_BYTES
from hotplate.kvc.quota import StorageUse
from hotplate.kvc.write_session import Part, WriteSession

_NO_SUM = bytes(SUM_BYTES)


def settled_sums(
    holdings: Holdings, session: WriteSession, bits: bytes, given: bytes | None
) -> bytes:
    """The sums of all new keys, zeros where `bits` does not name one, or a file has none.

    `given` are those of the named keys, zeros where the server knows. ChecksumError if one is
    missing or differs from the server's own.
    """
    if given is not None and not session.sums and b"\0" not in bits and _NO_SUM not in given:
        need = sum(part.count * part.specs.bit_count() for part in session.parts)
        if len(given) == need * SUM_BYTES:
            return given
    specs = session.index.instance.specs
    need = sum(
        part.specs.bit_count() * bits.count(1, part.first, part.first + part.count)
        for part in session.parts
    )
    if given is not None and len(given) != need * SUM_BYTES:
        raise ChecksumError(f"CHECKSUMS of {len(given)} bytes, {need * SUM_BYTES} are needed")
    settled = bytearray()
    offset = 0
    for part in session.parts:
        numbers = session.index.instance.numbers_in(part.specs)
        trusted = holdings.storage(part.storage).type == "file"  # a sum is optional there
        for position in range(part.first, part.first + part.count):
            if not bits[position]:
                settled += bytes(len(numbers) * SUM_BYTES)
                continue
            known = session.sums.get(position, {})
            for number in numbers:
                own = known.get(number)
                said = given[offset : offset + SUM_BYTES] if given is not None else _NO_SUM
                offset += SUM_BYTES
                if own is None and said == _NO_SUM and not trusted:
                    raise ChecksumError(
                        f"new key {position} has no sum for spec {specs[number].name}"
                    )
                if own is not None and said not in (_NO_SUM, own):
                    raise ChecksumError(
                        f"new key {position} spec {specs[number].name}: the sum given is"
                        f" {said.hex()}, the server's is {own.hex()}"
                    )
                settled += said if own is None else own
    return bytes(settled)


def complete(
    holdings: Holdings,
    session: WriteSession,
    bits: bytes,
    sums: bytes,
    now_ms: int,
    *,
    delay_ms: int,
    reason: Reason = Reason.DROPPED,
) -> tuple[int, Burial]:
    """Publish the new keys named by `bits`, drop the others; how many were published.

    Dropped space is given back after `delay_ms` and when no transfer into it is running, once the
    caller has told the journal and closes the burial. A running transfer is the only reason why
    space of a FINISH can linger.
    """
    index = session.index
    use = holdings.use(index)
    burial = Burial(holdings, use, now_ms, delay_ms, session, reason=reason)
    lost = session.lost
    for part in reversed(session.parts):
        end = part.first + part.count
        if not lost and bits.find(0, part.first, end) < 0:
            continue
        at = use.by_storage[part.storage]
        for position in range(end - 1, part.first - 1, -1):
            gone = position in lost
            if gone or not bits[position]:
                if not gone:
                    _drop(index, part, position, at, burial)
                burial.add(part.storage, part.shape, part.place + position - part.first)
    published = 0
    offset = 0
    for part in session.parts:
        width = part.shape.sum_count * SUM_BYTES
        for low, high in _stretches(part, bits, lost):
            own = sums[offset + low * width : offset + high * width]
            _publish(holdings, index, part.cut(low, high - low), own)
            published += high - low
        offset += part.count * width
    return published, burial


def _stretches(part: Part, bits: bytes, lost: set[int]) -> Iterator[tuple[int, int]]:
    """The stretches of a part's keys that are published, from the part's first key."""
    if not lost and bits.find(0, part.first, part.first + part.count) < 0:
        yield 0, part.count
        return
    low = -1
    for offset in range(part.count):
        position = part.first + offset
        if bits[position] and position not in lost:
            if low < 0:
                low = offset
        elif low >= 0:
            yield low, offset
            low = -1
    if low >= 0:
        yield low, part.count


def _publish(holdings: Holdings, index: Index, part: Part, sums: bytes) -> None:
    start, end = part.start, part.start + part.count
    size_bytes = part.shape.payload_bytes * part.count
    at = holdings.use(index).by_storage[part.storage]
    at.writing -= size_bytes
    at.serving += size_bytes
    index.writing[part.storage] -= size_bytes
    index.serving[part.storage] += size_bytes
    store = holdings.storage(part.storage).opened()
    if part.copy is not None:
        part.copy.session = None
        part.copy.sums = sums
        if holdings.journal is not None:
            holdings.journal.stored(index, start, end)
        store.publish(part.shape, part.place, index.key_of(start), sums)
        index.became_leaf(start)
        _tell_tiering(holdings, index, start, end)
        return
    width, size = index.width, index.sum_bytes
    index.sums[start * size : end * size] = sums
    index.state[start:end] = bytes((SERVING + part.storage,)) * part.count
    if holdings.journal is not None:
        holdings.journal.stored(index, start, end)
    store.publish(part.shape, part.place, bytes(index.keys[start * width : end * width]), sums)
    if index.chained:
        index.became_leaf(end - 1)
    else:
        for block in range(start, end):
            index.became_leaf(block)
    _tell_tiering(holdings, index, start, end)


def _tell_tiering(holdings: Holdings, index: Index, start: int, end: int) -> None:
    if holdings.tiering is not None and index.instance.group.tiering != "none":
        holdings.tiering.published(index, start, end)


def _drop(index: Index, part: Part, position: int, at: StorageUse, burial: Burial) -> None:
    """A new key's copy was not written: take it out of the index."""
    size_bytes = part.shape.payload_bytes
    at.writing -= size_bytes
    at.deleting += size_bytes
    index.writing[part.storage] -= size_bytes
    block = part.start + position - part.first
    if part.copy is not None:
        detail = index.details[block]
        detail.copies.remove(part.copy)
        if detail.copies:
            index.became_leaf(block)
            return
        del index.details[block]
    burial.note(index, block)
    index.vacate(block)
