"""Moves between storages: the copy under way, and what becomes of it.

    plan (tiering.py) ─► Move: target slots reserved and charged, the source still serves
                           │  bytes are copied elsewhere, on a thread; their sums are checked
                           ▼
                         end(): blocks that are still what they were change their place at once;
                         the slots of the others are given back

Owns the moves under way. What a block needs for its move to count is checked when the copy is
done, not before: until then it may be removed, leased, trimmed away or its id be another's.
Invariant: a move's target bytes count as WRITING, its source's as they did.
"""

from collections.abc import Collection
from dataclasses import dataclass

from hotplate.blocks import PLACE_SEGMENT_SHIFT, Shape
from hotplate.kvc.burial import Burial
from hotplate.kvc.departed import Reason
from hotplate.kvc.holdings import Holdings, plain_copy
from hotplate.kvc.index import DETAILED, SERVING, Copy, Detail, Index
from hotplate.kvc.model import SUM_BYTES, Storage
from hotplate.kvc.ports import BlockStore
from hotplate.kvc.quota import GroupUse
from hotplate.kvc.runs import relocate


@dataclass(slots=True, eq=False)
class Move:
    """Blocks low..high-1 of an index, or one `copy` of a block that has a detail.

    `adds`: the source stays. `faster`: the target is the faster storage. `sizes` are those of the
    specs that a slot holds, in order; `sums` have 8 bytes for each block and spec.
    """

    use: GroupUse
    index: Index
    low: int
    high: int
    shape: Shape
    source: int
    source_place: int
    source_generation: int
    target: int
    target_place: int
    target_generation: int
    keys: bytes
    sums: bytes
    sizes: list[int]
    source_store: BlockStore
    target_store: BlockStore
    copy: Copy | None = None
    adds: bool = False
    faster: bool = False
    abandoned: bool = False  # the target's storage is gone
    spoiled: bool = False  # the target's file is

    @property
    def count(self) -> int:
        """Slots."""
        return self.high - self.low

    @property
    def size_bytes(self) -> int:
        """Registered bytes of the target."""
        return self.shape.payload_bytes * self.count

    def holds(self, storage: int, place: int, count: int) -> bool:
        """Whether bytes are being read from one of these slots."""
        return (
            storage == self.source
            and place < self.source_place + self.count
            and self.source_place < place + count
        )


class CorruptError(Exception):
    """The bytes of a move's slot `offset` are not what was published there."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"the bytes of slot {offset} of a move do not fit their sum")
        self.offset = offset


class Moves:
    """The moves under way."""

    __slots__ = ("_holdings", "under_way")

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self.under_way = holdings.moves

    def begin(self, move: Move) -> None:
        """The target's slots were reserved: charge them, keep the source's."""
        target = self._holdings.storage(move.target)
        move.use.charge(move.target, target.type, move.size_bytes)
        writing = move.index.writing
        writing[move.target] = writing.get(move.target, 0) + move.size_bytes
        move.index.serving.setdefault(move.target, 0)
        self.under_way.append(move)

    def end(self, move: Move, error: Exception | None, now_ms: int) -> int:
        """The copy is done, or failed. How many blocks have moved."""
        self.under_way.remove(move)
        if move.abandoned:
            return 0
        counters = self._holdings.counters.get(move.index.instance.number)
        moved = 0
        valid = [] if error is not None or move.spoiled else self._still_there(move)
        for low, high in _gaps(valid, move.low, move.high):
            self._give_back(move, low, high)
        burial = Burial(self._holdings, move.use, now_ms, move.use.group.grace_ms)
        for low, high in valid:
            self._apply(move, low, high, burial)
            moved += high - low
        burial.close()
        if counters is not None:
            if error is not None:
                counters.moves_failed += 1
            elif move.faster:
                counters.promoted += moved
            elif move.adds:
                counters.mirrored += moved
            else:
                counters.demoted += moved
        if isinstance(error, CorruptError):
            self._drop_corrupt(move, error.offset, now_ms)
        return moved

    def leave(self, storage: Storage) -> None:
        """A storage goes, and with it the targets there."""
        for move in self.under_way:
            if move.target == storage.number and not move.abandoned:
                self._give_back(move, move.low, move.high)
                move.abandoned = True

    def lose(self, storage: Storage, segments: Collection[int]) -> None:
        """Files of a storage are gone: nothing that was copied there counts."""
        for move in self.under_way:
            if move.target == storage.number:
                move.spoiled |= move.target_place >> PLACE_SEGMENT_SHIFT in segments

    def bytes_from(self, use: GroupUse | None, storage: int) -> int:
        """Bytes (of a group, or of all) that are about to leave a storage."""
        return sum(
            move.size_bytes
            for move in self.under_way
            if move.source == storage and not move.adds and (use is None or move.use is use)
        )

    # what is left of it

    def _still_there(self, move: Move) -> list[tuple[int, int]]:
        """The stretches of a move's blocks that are where they were, and not leased."""
        index = move.index
        if self._holdings.indexes.get(index.instance.number) is not index:
            return []
        if not self._holdings.is_available(move.target):
            return []
        stays = index.is_leased if not move.adds else _never
        if move.copy is not None:
            block, copy = move.low, move.copy
            same = index.state[block] == DETAILED and copy in index.details[block].copies
            same = same and copy.session is None and copy.place == move.source_place
            same = same and copy.storage == move.source and not stays(block)
            return [(block, block + 1)] if same else []
        state, place = SERVING + move.source, move.source_place - move.low
        stretches: list[tuple[int, int]] = []
        for block in range(move.low, move.high):
            if (
                index.state[block] == state
                and index.generation[block] == move.source_generation
                and index.place_of(block) == place + block
                and not stays(block)
            ):
                if stretches and stretches[-1][1] == block:
                    stretches[-1] = stretches[-1][0], block + 1
                else:
                    stretches.append((block, block + 1))
        return stretches

    def _give_back(self, move: Move, low: int, high: int) -> None:
        """Target slots are not needed."""
        size_bytes = move.shape.payload_bytes * (high - low)
        at = move.use.by_storage[move.target]
        at.writing -= size_bytes
        move.index.writing[move.target] -= size_bytes
        move.use.refund(at, size_bytes)
        place = move.target_place + low - move.low
        move.target_store.release(move.shape, place, high - low)

    def _apply(self, move: Move, low: int, high: int, burial: Burial) -> None:
        """Blocks take their new place."""
        index, holdings = move.index, self._holdings
        count, offset = high - low, low - move.low
        size_bytes = move.shape.payload_bytes * count
        place = move.target_place + offset
        keys = move.keys[offset * move.shape.key_bytes :][: count * move.shape.key_bytes]
        sum_bytes = move.shape.sum_count * SUM_BYTES
        sums = move.sums[offset * sum_bytes :][: count * sum_bytes]
        move.target_store.publish(move.shape, place, keys, sums)
        at = move.use.by_storage[move.target]
        at.writing -= size_bytes
        at.serving += size_bytes
        index.writing[move.target] -= size_bytes
        index.serving[move.target] += size_bytes
        if move.adds:
            self._add_copies(move, low, high)
        else:
            holdings.count_leaving(index, move.source, size_bytes)
            burial.add(move.source, move.shape, move.source_place + offset, count)
            if move.copy is not None:
                copy = move.copy
                copy.storage, copy.place = move.target, place
                copy.generation = move.target_generation
            else:
                relocate(index, (low, high), move.target, place, move.target_generation)
        if holdings.journal is not None:
            holdings.journal.stored(index, low, high)
        first = high - 1 if index.chained else low
        for block in range(first, high):
            if not index.children[block]:
                index.leaves.push(block)

    def _add_copies(self, move: Move, low: int, high: int) -> None:
        """A second copy beside the one that stays: the block needs a detail."""
        index = move.index
        sum_bytes = move.shape.sum_count * SUM_BYTES
        specs = move.copy.specs if move.copy is not None else index.instance.all_specs
        for block in range(low, high):
            offset = block - move.low
            added = Copy(
                move.target,
                specs,
                move.shape,
                move.target_place + offset,
                move.target_generation,
                move.sums[offset * sum_bytes : (offset + 1) * sum_bytes],
            )
            if index.state[block] == DETAILED:
                copies = index.details[block].copies
            else:
                copies = [plain_copy(index, block)]
                index.details[block] = Detail(copies)
                index.state[block] = DETAILED
            copies.insert(0 if move.faster else len(copies), added)

    def _drop_corrupt(self, move: Move, offset: int, now_ms: int) -> None:
        """A source's bytes are damaged: that copy is dropped, as a READ would."""
        index, block = move.index, move.low + offset
        if self._holdings.indexes.get(index.instance.number) is not index:
            return
        reason = Reason.CORRUPT
        grace_ms = move.use.group.grace_ms
        burial = Burial(self._holdings, move.use, now_ms, grace_ms, reason=reason)
        place = move.source_place + offset
        if index.state[block] == SERVING + move.source and index.place_of(block) == place:
            self._holdings.discard(index, block, burial)
        elif index.state[block] == DETAILED and move.copy in index.details[block].copies:
            assert move.copy is not None
            self._holdings.discard_copy(index, block, move.copy, burial)
        burial.close()


def _never(_block: int) -> bool:
    return False


def _gaps(stretches: list[tuple[int, int]], low: int, high: int) -> list[tuple[int, int]]:
    """What stretches leave of low..high-1."""
    gaps: list[tuple[int, int]] = []
    for start, end in (*stretches, (high, high)):
        if low < start:
            gaps.append((low, start))
        low = end
    return gaps
