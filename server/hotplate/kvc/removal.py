"""REMOVE, TRIM, dropped copies, and the background slice.

Owns which blocks a removal names; how a block goes is holdings'. Everything is hidden at once;
slots and memory follow in bounded slices.
"""

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Final, TypeVar

from hotplate.blocks import PLACE_SEGMENT_SHIFT
from hotplate.kvc.answers import Slot
from hotplate.kvc.budget import Budget
from hotplate.kvc.burial import Burial
from hotplate.kvc.departed import Reason
from hotplate.kvc.holdings import Holdings
from hotplate.kvc.index import ABSENT, DETAILED, SERVING, STAMP_SHIFT, Copy, Index
from hotplate.kvc.keys import Keys
from hotplate.kvc.leasing import LeaseBook
from hotplate.kvc.model import Storage
from hotplate.kvc.quota import GroupUse
from hotplate.kvc.reclaim import Reclaimer
from hotplate.kvc.write_session import Part

if TYPE_CHECKING:
    from hotplate.kvc.writer import Writer

_Item = TypeVar("_Item")

SLICE: Final = 1024  # graves, blocks or victims of one background slice
_RELEASED_AT_ONCE: Final = 128
STORAGE_HIGH: Final = 0.95  # a storage fuller than this is reclaimed down to STORAGE_LOW
STORAGE_LOW: Final = 0.85


class Remover:
    """Removes blocks by key, time or place."""

    __slots__ = ("_holdings", "_leases", "_reclaiming", "_turn")

    def __init__(self, holdings: Holdings, leases: LeaseBook) -> None:
        self._holdings = holdings
        self._leases = leases
        self._reclaiming: set[int] = set()  # storages
        self._turn = 0

    def _burial(self, index: Index, now_ms: int, reason: Reason) -> Burial:
        use = self._holdings.use(index)
        return Burial(self._holdings, use, now_ms, use.group.grace_ms, reason=reason)

    def remove(self, index: Index, keys: Keys, now_ms: int) -> int:
        """Remove the named blocks; how many there were. Expired ones go, but do not count."""
        burial = self._burial(index, now_ms, Reason.REMOVED)
        removed = 0
        for key in reversed(keys.listing()):
            block = index.lookup(key)
            if block is None or index.state[block] == ABSENT:
                continue
            removed += not index.is_expired(block, now_ms)
            self._holdings.discard(index, block, burial)
        burial.close()
        self._count(index, removed)
        return removed

    def _count(self, index: Index, removed: int) -> None:
        self._holdings.counters[index.instance.number].removed += removed

    def trim_all(self, index: Index, now_ms: int) -> int:
        """Remove every block."""
        removed = self._holdings.detach(index, now_ms)
        self._count(index, removed)
        return removed

    def trim_created(self, index: Index, from_ms: int, to_ms: int, now_ms: int) -> int:
        """Remove the blocks created in [from_ms, to_ms)."""
        created = index.created
        first, last = from_ms << STAMP_SHIFT, to_ms << STAMP_SHIFT
        named: list[int] = []
        for start, end in index.runs():
            times = created[start:end]
            if times.count(times[0]) == end - start:
                if first <= times[0] < last:
                    named.extend(range(start, end))
            else:
                named.extend(
                    start + offset for offset, stamp in enumerate(times) if first <= stamp < last
                )
        return self._trim(index, named, now_ms)

    def trim_idle(self, index: Index, idle_ms: int, now_ms: int) -> int:
        """Remove the blocks last accessed `idle_ms` ago or earlier."""
        last = ((now_ms - idle_ms + 1) << STAMP_SHIFT) - 1  # the latest stamp that is idle
        accessed = index.accessed
        named: list[int] = []
        for start, end in index.runs():
            low = end
            while low > start and accessed[low - 1] <= last:
                low -= 1
            named.extend(range(low, end))
        return self._trim(index, named, now_ms)

    def _trim(self, index: Index, named: list[int], now_ms: int) -> int:
        """Remove blocks by id; ids go from the highest down, so that runs shrink at their end."""
        burial = self._burial(index, now_ms, Reason.TRIMMED)
        removed = 0
        for block in reversed(named):
            if index.state[block] != ABSENT:
                removed += not index.is_expired(block, now_ms)
                self._holdings.discard(index, block, burial)
        burial.close()
        self._count(index, removed)
        return removed

    def drop_copy(self, index: Index, key: bytes, slot: Slot, now_ms: int) -> None:
        """Drop the published copy of a key that lies in a slot."""
        block = index.lookup(key)
        if block is None:
            return
        burial = self._burial(index, now_ms, Reason.CORRUPT)
        state = index.state[block]
        if state == SERVING + slot.storage and index.place_of(block) == slot.place:
            self._holdings.discard(index, block, burial)
        elif state == DETAILED:
            for copy in list(index.details[block].copies):
                same = copy.storage == slot.storage and copy.place == slot.place
                if same and copy.session is None:
                    self._holdings.discard_copy(index, block, copy, burial)
        burial.close()

    def drop_lost(
        self, storage: Storage, segments: Collection[int], writer: "Writer", now_ms: int
    ) -> int:
        """Every copy in these segments goes; leases on them stay, and READ says what is wrong."""
        number, holdings = storage.number, self._holdings

        def is_lost(copy: Part | Copy) -> bool:
            return copy.storage == number and copy.place >> PLACE_SEGMENT_SHIFT in segments

        for session in list(writer.sessions.values()):
            if any(is_lost(part) for part in session.parts):
                writer.drop(session, now_ms)
        dropped = 0
        for index in list(holdings.indexes.values()):
            if not index.serving.get(number):
                continue
            burial = Burial(holdings, holdings.use(index), now_ms, 0, reason=Reason.CORRUPT)
            for block in list(self._on_storage(index, number)):
                if index.state[block] == DETAILED:
                    lost = [copy for copy in index.details[block].copies if is_lost(copy)]
                    for copy in lost:
                        holdings.discard_copy(index, block, copy, burial)
                    dropped += bool(lost)
                elif index.place_of(block) >> PLACE_SEGMENT_SHIFT in segments:
                    holdings.discard(index, block, burial)
                    dropped += 1
            burial.close()
        return dropped

    def drop_storage(self, storage: Storage, writer: "Writer", now_ms: int) -> int:
        """Every copy and every slot on a storage goes, whoever holds it."""
        number = storage.number
        holdings = self._holdings
        dropped = 0
        for lease in list(self._leases.by_id.values()):
            self._leases.end(lease, now_ms)
        for session in list(writer.sessions.values()):
            if any(part.storage == number for part in session.parts):
                writer.drop(session, now_ms)
        for index in list(holdings.indexes.values()):
            if not index.serving.get(number):
                continue
            reason = Reason.STORAGE_REMOVED
            burial = Burial(holdings, holdings.use(index), now_ms, 0, reason=reason)
            for block in list(self._on_storage(index, number)):
                dropped += 1
                if index.state[block] != DETAILED:
                    holdings.discard(index, block, burial)
                    continue
                for copy in list(index.details[block].copies):
                    if copy.storage == number:
                        holdings.discard_copy(index, block, copy, burial)
            burial.close()
        holdings.abandon(number)
        return dropped

    def _on_storage(self, index: Index, number: int) -> Iterator[int]:
        for block in range(index.size - 1, -1, -1):
            state = index.state[block]
            if state == SERVING + number or (
                state == DETAILED
                and any(copy.storage == number for copy in index.details[block].copies)
            ):
                yield block

    def tick(self, reclaimer: Reclaimer, now_ms: int, budget: Budget) -> bool:
        """One bounded slice: expired blocks, graves that are due, wrecks, watermarks.

        Each slice begins with another instance and group, so that none waits for all others.
        """
        holdings = self._holdings
        more = False
        self._turn += 1
        for index in _from_turn(list(holdings.indexes.values()), self._turn):
            more |= index.queue_leaves(SLICE) >= SLICE
            more |= reclaimer.expire(index, now_ms, SLICE, budget) >= SLICE
            if budget.spent():
                return True
        uses = [*holdings.uses.values(), *holdings.orphans]
        for use in _from_turn(uses, self._turn):
            more |= reclaimer.reclaim(use, now_ms, SLICE, budget) >= SLICE
            more |= self._release(use, now_ms, budget)
            if budget.over():
                return True
        holdings.orphans = [use for use in holdings.orphans if use.used]
        more |= holdings.clear_wrecks(now_ms, SLICE) >= SLICE
        more |= self._relieve_storages(reclaimer, now_ms, budget)
        return more or budget.over()

    def _release(self, use: GroupUse, now_ms: int, budget: Budget) -> bool:
        """Give back what is due; whether more is."""
        for _ in range(SLICE // _RELEASED_AT_ONCE):
            if self._holdings.release_due(use, now_ms, _RELEASED_AT_ONCE) < _RELEASED_AT_ONCE:
                return False
            if budget.over():
                break
        return True

    def _relieve_storages(self, reclaimer: Reclaimer, now_ms: int, budget: Budget) -> bool:
        """Keep headroom on storages, whose capacity is the limit of groups without a quota."""
        more = False
        for storage in self._holdings.catalog.storages.values():
            if storage.store is None:
                continue
            number = storage.number
            leaving = sum(
                use.by_storage[number].leaving
                for use in self._holdings.uses.values()
                if number in use.by_storage
            )
            capacity = storage.store.capacity_bytes
            used = capacity - storage.store.describe()["free_bytes"] - leaving
            if used >= capacity * STORAGE_HIGH:
                self._reclaiming.add(number)
            if used <= capacity * STORAGE_LOW:
                self._reclaiming.discard(number)
            if number in self._reclaiming:
                missing = used - int(capacity * STORAGE_LOW)
                evicted = reclaimer.reclaim_storage(number, missing, now_ms, SLICE, budget)
                more |= evicted >= SLICE
        return more


def _from_turn(items: list[_Item], turn: int) -> list[_Item]:
    """All of them, from another one on each turn."""
    first = turn % len(items) if items else 0
    return items[first:] + items[:first]
