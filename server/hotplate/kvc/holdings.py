"""Who holds which slots: the counters, the graves, and the one way a block goes.

Owns the use of every group, the indexes, pins, and what happens to slots from the moment their
block is hidden until the storage gets them back:

    discard ──► grave ──grace over──► release ──► storage
                  ▲  held by leases, pinned, or a writer may still be in it: not yet

It decides nothing: which blocks go is said by removal, expiry and reclaim.
Invariant: `used` of a group is exactly the registered bytes of its slots not given back yet.
"""

from heapq import heapify, heappop, heappush
from itertools import count
from re import DOTALL
from re import compile as compile_pattern
from typing import TYPE_CHECKING, Final

from hotplate.kvc import lease as leases
from hotplate.kvc.burial import Burial, Grave, Wreck
from hotplate.kvc.catalog import Catalog
from hotplate.kvc.counters import Counters
from hotplate.kvc.departed import Departed, Reason, mark_of
from hotplate.kvc.index import (
    ABSENT,
    DETAILED,
    SERVING,
    SHARD_MASK,
    STAMP_SHIFT,
    WRITING,
    Copy,
    Index,
)
from hotplate.kvc.journal import Journal
from hotplate.kvc.lease import Lease
from hotplate.kvc.model import STORAGE_NUMBER_MAX, Instance, Storage
from hotplate.kvc.ports import Listener
from hotplate.kvc.quota import GroupUse
from hotplate.kvc.runs import cut_tail

if TYPE_CHECKING:
    from hotplate.kvc.moves import Move
    from hotplate.kvc.tiering import Tiering

PIN_RETRY_MS: Final = 10  # how soon a slot that bytes still travel from is tried again
_LIVE: Final = compile_pattern(rb"[\x02\x10-\xff]", DOTALL)

MISS, HIT, LOOK = 0, 1, 2  # what a state byte means for a reader


class Holdings:
    """The state that reading, writing, leases and reclaim share."""

    __slots__ = (
        "_last_stamp",
        "_order",
        "catalog",
        "counters",
        "departed",
        "hit_table",
        "indexes",
        "journal",
        "listener",
        "moves",
        "orphans",
        "pins",
        "quiet_until_ms",
        "tiering",
        "types",
        "uses",
        "wrecks",
    )

    def __init__(self, catalog: Catalog, departed: Departed) -> None:
        self.catalog = catalog
        self.departed = departed
        self.listener: Listener | None = None
        self.journal: Journal | None = None
        self.quiet_until_ms = 0  # after a restart: leases of before may last so long
        self.tiering: Tiering | None = None
        self.moves: list[Move] = []  # those under way
        self.uses: dict[str, GroupUse] = {}
        self.indexes: dict[int, Index] = {}
        self.counters: dict[int, Counters] = {}
        self.pins: dict[tuple[int, int], int] = {}
        self.wrecks: list[Wreck] = []
        self.orphans: list[GroupUse] = []  # of groups that are gone, until their graves are
        self.hit_table = bytes(256)
        self.types: list[str] = []  # of the storages, by number
        self._order = count()
        self._last_stamp = 0
        self.refresh_storages()

    # lookups

    def index(self, instance: Instance) -> Index:
        """The instance's index."""
        return self.indexes[instance.number]

    def use(self, index: Index) -> GroupUse:
        """The use of the index's group."""
        return self.uses[index.instance.group.name]

    def storage(self, number: int) -> Storage:
        """The storage of a number that a copy names."""
        storage = self.catalog.storage_by_number[number]
        if storage is None:
            raise RuntimeError(f"a copy names storage number {number}, which does not exist")
        return storage

    def is_available(self, number: int) -> bool:
        """Whether copies on a storage count."""
        return self.hit_table[SERVING + number] == HIT

    def refresh_storages(self) -> None:
        """Read anew which storages are available."""
        table = bytearray(256)
        table[DETAILED] = LOOK
        storages = self.catalog.storage_by_number[: STORAGE_NUMBER_MAX + 1]
        self.types = ["" if storage is None else storage.type for storage in storages]
        for number in range(STORAGE_NUMBER_MAX + 1):
            storage = self.catalog.storage_by_number[number]
            if storage is not None and storage.available:
                table[SERVING + number] = HIT
        self.hit_table = bytes(table)

    def storage_bytes(self, number: int) -> int:
        """Bytes of all copies on a storage, those on their way out included."""
        return sum(
            use.by_storage[number].used for use in self.uses.values() if number in use.by_storage
        )

    def limit_bytes(self, use: GroupUse) -> int:
        """What a group may take: its quota, or what its storages hold."""
        if use.group.quota_bytes is not None:
            return use.group.quota_bytes
        stores = [self.catalog.get_storage(name).store for name in use.group.storages]
        return sum(store.capacity_bytes for store in stores if store is not None)

    @property
    def last_stamp(self) -> int:
        """The latest stamp that was given."""
        return self._last_stamp

    def stamp(self, now_ms: int, stamps: int = 1) -> int:
        """The next stamp of an access; with `stamps`, the first of so many."""
        first = max(self._last_stamp + 1, now_ms << STAMP_SHIFT)
        self._last_stamp = first + stamps - 1
        return first

    # the way a block goes

    def discard(self, index: Index, block: int, burial: Burial) -> None:
        """Hide a block with all its copies; their slots go the way of `burial`."""
        state = index.state[block]
        if self.journal is not None:
            self.journal.gone(index, block)
        burial.note(index, block)
        held_by = leases.holders(index, block) if index.leases else []
        if state >= SERVING:
            storage = state - SERVING
            self.count_leaving(index, storage, index.shape.payload_bytes)
            place = index.place_of(block)
            if held_by:
                self._hold(index, block, [plain_copy(index, block)], held_by, burial)
            else:
                burial.add(storage, index.shape, place)
        elif state == WRITING:
            self._lose_plain(index, block)
        else:
            self._discard_copies(index, block, index.details[block].copies, held_by, burial)
            del index.details[block]
        if held_by:
            leases.cut(index, block)
        index.vacate(block)

    def discard_tail(self, index: Index, low: int, burial: Burial) -> None:
        """The same for the plain blocks from `low` to the end of its run, none of them leased."""
        storage = index.state[low] - SERVING
        count = index.tail[index.run[low]] - low
        if self.journal is not None:
            for block in range(low + count - 1, low - 1, -1):
                self.journal.gone(index, block)
        burial.note(index, low, count)
        self.count_leaving(index, storage, index.shape.payload_bytes * count)
        burial.add(storage, index.shape, index.place_of(low), count)
        cut_tail(index, low)

    def discard_copy(self, index: Index, block: int, copy: Copy, burial: Burial) -> None:
        """Let go of one copy of a DETAILED block, and of the block if it was the last."""
        copies = index.details[block].copies
        if len(copies) == 1:
            self.discard(index, block, burial)
            return
        held_by = leases.holders(index, block) if index.leases else []
        copies.remove(copy)
        self._discard_copies(index, block, [copy], held_by, burial)
        if self.journal is not None:
            self.journal.stored(index, block, block + 1)
        if not index.children[block]:
            index.became_leaf(block)

    def _discard_copies(
        self, index: Index, block: int, copies: list[Copy], held_by: list[Lease], burial: Burial
    ) -> None:
        served = [copy for copy in copies if copy.session is None]
        for copy in copies:
            size_bytes = copy.shape.payload_bytes
            if copy.session is not None:
                copy.session.lost.add(copy.position)
                self.count_leaving(index, copy.storage, size_bytes, writing=True)
                continue
            self.count_leaving(index, copy.storage, size_bytes)
            if not held_by:
                burial.add(copy.storage, copy.shape, copy.place)
        if held_by and served:
            self._hold(index, block, served, held_by, burial)

    def _hold(
        self, index: Index, block: int, copies: list[Copy], held_by: list[Lease], burial: Burial
    ) -> None:
        """Copies of a leased block: readable through the leases until the last of them ends."""
        key = index.key_of(block)
        leased_bytes = index.instance.total_bytes
        for copy in copies:
            grave = burial.hold(copy.storage, copy.shape, copy.place, held_by)
            grave.leased_bytes, leased_bytes = leased_bytes, 0
        for lease in held_by:
            lease.removed.setdefault(key, []).extend(copies)

    def _lose_plain(self, index: Index, block: int) -> None:
        """A plain WRITING block goes: its session keeps the slot until it ends."""
        for session in index.sessions.values():
            position = session.position_of(block)
            if position is not None:
                part = session.part_of(position)
                session.lost.add(position)
                self.count_leaving(index, part.storage, part.shape.payload_bytes, writing=True)
                return
        raise RuntimeError("a block is being written by no session")

    def count_leaving(
        self, index: Index, storage: int, size_bytes: int, *, writing: bool = False
    ) -> None:
        """Count bytes as DELETING that were SERVING or WRITING."""
        use = self.use(index).by_storage[storage]
        use.deleting += size_bytes
        if writing:
            use.writing -= size_bytes
            index.writing[storage] -= size_bytes
        else:
            use.serving -= size_bytes
            index.serving[storage] -= size_bytes

    # graves

    def bury(self, grave: Grave, now_ms: int) -> None:
        """Slots whose bytes count as DELETING: release them when they are due."""
        if grave.leaving:
            grave.use.by_storage[grave.storage].leaving += grave.size_bytes
        grave.due_ms = max(grave.due_ms, self.quiet_until_ms)
        if grave.due_ms <= now_ms and self._release(grave):
            return
        if grave.due_ms <= now_ms:
            grave.due_ms = now_ms + PIN_RETRY_MS
        heappush(grave.use.graves, (grave.due_ms, next(self._order), grave))

    def let_go(self, grave: Grave, now_ms: int) -> None:
        """A lease on a grave ended."""
        grave.holders -= 1
        if grave.holders == 0:
            grave.use.leased_bytes -= grave.leased_bytes
            grave.leaving = True
            self.bury(grave, now_ms)

    def _release(self, grave: Grave) -> bool:
        if self.journal is not None and self.journal.trouble is not None:
            return False  # it does not know yet that these slots are nobody's
        if grave.session is not None and grave.session.transfers:
            return False
        if self.pins and self._is_pinned(grave.storage, grave.place, grave.count):
            return False
        if self.moves and self._is_moving(grave.storage, grave.place, grave.count):
            return False
        self._give_back(grave)
        return True

    def _give_back(self, grave: Grave) -> None:
        use = grave.use.by_storage[grave.storage]
        self.storage(grave.storage).opened().release(grave.shape, grave.place, grave.count)
        use.deleting -= grave.size_bytes
        if grave.leaving:
            use.leaving -= grave.size_bytes
        grave.use.refund(use, grave.size_bytes)

    def pin(self, storage: int, place: int) -> None:
        """Keep a slot's bytes while they travel; each pin needs one unpin."""
        self.pins[storage, place] = self.pins.get((storage, place), 0) + 1

    def unpin(self, storage: int, place: int) -> None:
        """The bytes have left."""
        pinned = storage, place
        self.pins[pinned] -= 1
        if not self.pins[pinned]:
            del self.pins[pinned]

    def _is_pinned(self, storage: int, place: int, slots: int) -> bool:
        return any(
            number == storage and place <= pinned < place + slots for number, pinned in self.pins
        )

    def _is_moving(self, storage: int, place: int, slots: int) -> bool:
        return any(move.holds(storage, place, slots) for move in self.moves)

    def release_due(self, use: GroupUse, now_ms: int, limit: int) -> int:
        """Release the graves that are due, at most `limit`; how many were looked at."""
        graves = use.graves
        looked = 0
        while graves and graves[0][0] <= now_ms and looked < limit:
            grave = heappop(graves)[2]
            looked += 1
            if not self._release(grave):
                grave.due_ms = now_ms + PIN_RETRY_MS
                heappush(graves, (grave.due_ms, next(self._order), grave))
        return looked

    def abandon(self, storage: int) -> None:
        """Release every grave on a storage that goes, whatever they wait for."""
        for use in (*self.uses.values(), *self.orphans):
            kept = []
            for entry in use.graves:
                grave = entry[2]
                if grave.storage == storage:
                    self._give_back(grave)
                else:
                    kept.append(entry)
            heapify(kept)
            use.graves = kept
        for wreck in self.wrecks:
            while (found := _LIVE.search(wreck.index.state, wreck.position)) is not None:
                self._clear_at(wreck, found.start(), wreck.due_ms, wreck.index.size)

    # whole indexes

    def detach(self, index: Index, now_ms: int) -> int:
        """Hide every block of an index at once; the number hidden. A fresh index takes over."""
        use = self.use(index)
        grace_ms = use.group.grace_ms
        burial = Burial(self, use, now_ms, grace_ms, reason=Reason.TRIMMED)
        hidden = index.blocks
        for block, retained in list(index.retained.items()):
            retained.book.forget(index, block)
        if self.journal is not None:
            self.journal.trimmed(index)
        for ranges in list(index.leases.values()):
            for block in sorted({b for item in ranges for b in range(item.low, item.high)}):
                if index.state[block] != ABSENT:
                    self.discard(index, block, burial)
        for session in list(index.sessions.values()):
            for part in session.parts:
                for position in range(part.first, part.first + part.count):
                    if position not in session.lost:
                        session.lost.add(position)
                        burial.note(index, part.start + position - part.first)
                        self.count_leaving(
                            index, part.storage, part.shape.payload_bytes, writing=True
                        )
        burial.close()
        for storage, size_bytes in index.serving.items():
            at = use.by_storage[storage]
            at.serving -= size_bytes
            at.deleting += size_bytes
            at.leaving += size_bytes
        mark = mark_of(Reason.TRIMMED, now_ms)
        self.wrecks.append(Wreck(use, index, now_ms + grace_ms, mark))
        fresh = Index(index.instance)
        fresh.sessions = index.sessions
        for session in index.sessions.values():
            session.index = fresh
        self.indexes[index.instance.number] = use.indexes[index.instance.number] = fresh
        return hidden

    def reap(self, use: GroupUse, now_ms: int, limit: int) -> int:
        """Give back slots of a group that are due, at most `limit`; how many were looked at."""
        looked = self.release_due(use, now_ms, limit)
        for wreck in self.wrecks:
            if wreck.use is use:
                looked += self._clear_slots(wreck, now_ms, limit - looked)
        return looked

    def clear_wrecks(self, now_ms: int, limit: int) -> int:
        """Give back slots and memory of detached indexes; how much was looked at.

        At most `limit` slots, or the keys of one shard of each.
        """
        looked = 0
        for wreck in list(self.wrecks):
            looked += self._clear_slots(wreck, now_ms, limit - looked)
            while wreck.due_ms <= now_ms and looked < limit:
                forgotten = self._forget(wreck.index)
                if not forgotten:
                    self.wrecks.remove(wreck)
                    break
                looked += forgotten
        return looked

    def _clear_slots(self, wreck: Wreck, now_ms: int, limit: int) -> int:
        looked = 0
        while wreck.due_ms <= now_ms and looked < limit:
            found = _LIVE.search(wreck.index.state, wreck.position)
            if found is None:
                break
            looked += self._clear_at(wreck, found.start(), now_ms, limit - looked)
        return looked

    def _clear_at(self, wreck: Wreck, block: int, now_ms: int, limit: int) -> int:
        """Bury what lies at `block` and after it in its run. How many blocks that were."""
        index = wreck.index
        state = index.state[block]
        burial = Burial(self, wreck.use, now_ms, 0)
        end = block + 1
        if state == DETAILED:
            slots = [
                (copy.storage, copy.shape, copy.place, 1)
                for copy in index.details.pop(block).copies
                if copy.session is None
            ]
        else:
            last = min(index.tail[index.run[block]], block + limit)
            while end < last and index.state[end] == state:
                end += 1
            slots = [(state - SERVING, index.shape, index.place_of(block), end - block)]
        for storage, shape, place, slots_count in slots:
            wreck.use.by_storage[storage].leaving -= shape.payload_bytes * slots_count
            burial.add(storage, shape, place, slots_count)
        burial.close()
        if index.instance.number in self.indexes:
            self.departed.add(index, block, end, wreck.mark)
        wreck.position = end
        return end - block

    def _forget(self, index: Index) -> int:
        """Free the keys of one shard of a detached index; how many, 0 where all are gone."""
        for shard in index.shards:
            if shard:
                keys = len(shard)
                shard.clear()
                return keys
        return 0


def plain_copy(index: Index, block: int) -> Copy:
    """The one copy of a plain block as a Copy of its own (published, or its WRITING place)."""
    state = index.state[block]
    size = index.sum_bytes
    serving = state >= SERVING
    return Copy(
        state - SERVING if serving else index.sums[block * size],
        index.instance.all_specs,
        index.shape,
        index.place_of(block),
        index.generation[block],
        bytes(index.sums[block * size : (block + 1) * size]) if serving else b"",
    )


assert SHARD_MASK & (SHARD_MASK + 1) == 0
