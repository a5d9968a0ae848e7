"""Making room: which blocks go, and what a request is told that does not fit.

Owns eviction in bounded slices, the refusal with its retry time, expiry of blocks and the
watermarks. The order of victims is the policy's (policy/); how a block goes is holdings'.
"""

from collections.abc import Iterable
from heapq import heappop, heappush, nsmallest
from typing import Final

from hotplate.errors import QuotaError
from hotplate.kvc.answers import Reclaimed
from hotplate.kvc.budget import Budget
from hotplate.kvc.burial import Burial
from hotplate.kvc.departed import Reason
from hotplate.kvc.holdings import Holdings
from hotplate.kvc.index import DETAILED, SERVING, WRITING, Index
from hotplate.kvc.policy.base import ID_BITS, ID_MASK
from hotplate.kvc.quota import GroupUse, Shortage
from hotplate.kvc.rehearsal import rehearse
from hotplate.kvc.runs import alike
from hotplate.kvc.victims import Victims
from hotplate.kvc.watermark import Freed, Target, targets

VICTIMS_PER_CALL_MAX: Final = 1024
LEAVES_QUEUED_AT_ONCE: Final = 8192  # of one instance whose policy changed
REAPED_AT_ONCE: Final = 1024  # slots that are due
_RETRY_UNKNOWN_MS: Final = 1000  # nothing that is known of will free enough
_GRAVES_LOOKED_AT: Final = 4096  # for a retry time


class Reclaimer:
    """Evicts and expires blocks of the groups."""

    __slots__ = ("_holdings",)

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings

    def evict(
        self,
        use: GroupUse,
        missing: int,
        now_ms: int,
        *,
        storages: frozenset[int] | None = None,
        count_blocks: bool = False,
        limit: int = VICTIMS_PER_CALL_MAX,
        cause: str = "room",
        budget: Budget | None = None,
    ) -> int:
        """Evict until `missing` bytes on `storages` (or blocks) are on their way. How many went.

        Where only leaves on other storages are in the way, those go.
        """
        evicted, gone = 0, 1
        if missing <= 0 or limit <= 0:
            return 0
        grace_ms, reason = use.group.grace_ms, Reason.EVICTED
        burial = Burial(self._holdings, use, now_ms, grace_ms, reason=reason)
        for index in use.indexes.values():
            index.queue_leaves(LEAVES_QUEUED_AT_ONCE)
            index.leaves.begin(self._holdings.last_stamp)
        victims = Victims(use, storages, count_blocks=count_blocks)
        while missing > 0 and evicted < limit:
            if budget is not None and budget.spent(gone):
                break
            source, victim = victims, victims.next()
            if victim is None and storages is not None:
                source = Victims(use, None, count_blocks=count_blocks)
                victim = source.next()
            if victim is None:
                break
            number, block, turns = victim
            index = use.indexes[number]
            if source is not victims:
                turns = 1
            size = 1 if count_blocks else self._bytes_on(index, block, storages)
            most = min(turns, limit - evicted, -(-missing // size) if size else 1)
            gone = self._evict_from(index, block, most, burial, cause=cause)
            missing -= size * gone
            evicted += gone
            source.took(gone)
            if source is not victims:
                victims = Victims(use, storages, count_blocks=count_blocks)
        burial.close()
        return evicted

    def _evict_from(self, index: Index, leaf: int, most: int, burial: Burial, *, cause: str) -> int:
        """Evict a leaf, and those above it that would be next, at most so many. How many went."""
        policy = index.leaves.policy
        low = leaf
        if most > 1 and policy.counts:
            most = min(most, policy.in_a_row(leaf))
        if most > 1 and index.chained:
            low = alike(index, leaf, most)
        count = leaf + 1 - low
        if policy.ghosts is not None:
            policy.evicted([index.key_of(block) for block in range(leaf, low - 1, -1)], leaf)
        if count > 1:
            self._holdings.discard_tail(index, low, burial)
        else:
            self._holdings.discard(index, leaf, burial)
        self._holdings.counters[index.instance.number].evict(cause, count)
        return count

    def _bytes_on(self, index: Index, block: int, storages: frozenset[int] | None) -> int:
        state = index.state[block]
        if state >= SERVING:
            inside = storages is None or state - SERVING in storages
            return index.shape.payload_bytes if inside else 0
        return sum(
            copy.shape.payload_bytes
            for copy in index.details[block].copies
            if storages is None or copy.storage in storages
        )

    def make_room(self, use: GroupUse, shortage: Shortage, now_ms: int) -> int:
        """Evict for a request that exceeds a limit; bytes on their way out are credited.

        What is due to be given back goes first. How many blocks were evicted.
        """
        if shortage.need > shortage.limit:
            return 0
        if shortage.kind == "blocks":
            return self.evict(use, shortage.missing, now_ms, count_blocks=True)
        freed = self._reap(use, shortage, now_ms)
        leaving = sum(
            item.leaving
            for number, item in use.by_storage.items()
            if shortage.storages is None or number in shortage.storages
        )
        missing = shortage.missing - freed - leaving
        return self.evict(use, missing, now_ms, storages=shortage.storages) if missing > 0 else 0

    def _reap(self, use: GroupUse, shortage: Shortage, now_ms: int) -> int:
        """Give back what is due, as far as it is needed; how many bytes that were."""
        before = self._used(use, shortage)
        freed = 0
        while freed < shortage.missing and self._holdings.reap(use, now_ms, REAPED_AT_ONCE):
            freed = before - self._used(use, shortage)
        return freed

    def _used(self, use: GroupUse, shortage: Shortage) -> int:
        storages = shortage.storages
        return sum(
            item.used
            for number, item in use.by_storage.items()
            if storages is None or number in storages
        )

    def reap_storage(self, number: int, now_ms: int) -> bool:
        """Give back a slice of what is due on a storage, whichever group's. Whether some was."""
        uses = (*self._holdings.uses.values(), *self._holdings.orphans)
        reaped = 0
        for use in uses:
            if number in use.by_storage:
                reaped += self._holdings.reap(use, now_ms, REAPED_AT_ONCE)
        return reaped > 0

    def refusal(self, use: GroupUse, shortage: Shortage, now_ms: int) -> QuotaError:
        """The error of a request that does not fit now, with the time until enough is free."""
        due: list[tuple[int, int]] = [
            (due_ms, grave.size_bytes)
            for due_ms, _, grave in nsmallest(_GRAVES_LOOKED_AT, use.graves, key=_due)
            if shortage.storages is None or grave.storage in shortage.storages
        ]
        for wreck in self._holdings.wrecks:
            if wreck.use is use:
                size_bytes = sum(
                    size
                    for number, size in wreck.index.serving.items()
                    if shortage.storages is None or number in shortage.storages
                )
                due.append((wreck.due_ms, size_bytes))
        missing = shortage.missing
        for due_ms, size_bytes in sorted(due):
            missing -= size_bytes
            if missing <= 0:
                return shortage.error(max(1, due_ms - now_ms))
        deadlines = [
            session.deadline_ms
            for index in use.indexes.values()
            for session in index.sessions.values()
        ]
        latest = max((due_ms for due_ms, _ in due), default=0)
        known = [moment for moment in (*deadlines, latest) if moment > now_ms]
        return shortage.error(min(known) - now_ms if known else _RETRY_UNKNOWN_MS)

    def expire(self, index: Index, now_ms: int, limit: int, budget: Budget) -> int:
        """Remove blocks whose time is over, leaves first, at most `limit`; how many were seen."""
        heap = index.expiry_heap
        holdings = self._holdings
        seen = 0
        if not heap or heap[0] >> ID_BITS > now_ms:
            return 0
        use = holdings.use(index)
        burial = Burial(holdings, use, now_ms, use.group.grace_ms, reason=Reason.EXPIRED)
        while heap and heap[0] >> ID_BITS <= now_ms and seen < limit:
            if budget.spent():
                break
            block = heappop(heap) & ID_MASK
            seen += 1
            if not self._is_settled_leaf(index, block):
                continue
            expiry = index.expires[block]
            if expiry > now_ms:
                heappush(heap, expiry << ID_BITS | block)
                continue
            holdings.discard(index, block, burial)
            holdings.counters[index.instance.number].expired += 1
        burial.close()
        return seen

    def _is_settled_leaf(self, index: Index, block: int) -> bool:
        """Whether a block can go: it is stored, nothing hangs on it or is being written to it."""
        state = index.state[block]
        if state <= WRITING or index.children[block]:
            return False
        return state != DETAILED or not index.details[block].writing

    def discard_expired(self, index: Index, blocks: Iterable[int], now_ms: int) -> None:
        """Remove blocks that a write found expired before the background did."""
        use = self._holdings.use(index)
        grace_ms, reason = use.group.grace_ms, Reason.EXPIRED
        burial = Burial(self._holdings, use, now_ms, grace_ms, reason=reason)
        for block in blocks:
            self._holdings.discard(index, block, burial)
            self._holdings.counters[index.instance.number].expired += 1
        burial.close()

    def reclaim(
        self,
        use: GroupUse,
        now_ms: int,
        limit: int,
        budget: Budget | None,
        *,
        forced: bool = False,
    ) -> int:
        """A slice of work down to the low watermarks; how many blocks went.

        `forced`: whether or not the high ones were reached, and whatever demotion is about to do.
        """
        evicted = 0
        for target in targets(use, Freed(), forced=forced):
            storages = target.storages
            if storages is not None and storages <= use.demotes and not forced:
                continue
            evicted += self.evict(
                use,
                target.missing,
                now_ms,
                storages=storages,
                count_blocks=target.count_blocks,
                limit=limit - evicted,
                budget=budget,
                cause="command" if forced else "watermark",
            )
        return evicted

    def reclaim_now(
        self, use: GroupUse, size_bytes: int | None, now_ms: int, *, dry_run: bool
    ) -> Reclaimed:
        """Evict so many bytes, or (None) down to the low watermarks; at most a call's victims."""
        if dry_run:
            keys, freed = self._rehearse(use, size_bytes, VICTIMS_PER_CALL_MAX)
            return Reclaimed(len(keys), freed.by_storage, keys)
        before = {number: item.serving for number, item in use.by_storage.items()}
        if size_bytes is None:
            victims = self.reclaim(use, now_ms, VICTIMS_PER_CALL_MAX, None, forced=True)
        else:
            victims = self.evict(use, size_bytes, now_ms)
        freed_bytes = {
            number: gone
            for number, size in before.items()
            if (gone := size - use.by_storage[number].serving)
        }
        return Reclaimed(victims, freed_bytes)

    def _rehearse(
        self, use: GroupUse, size_bytes: int | None, limit: int
    ) -> tuple[list[bytes], Freed]:
        """The keys of the blocks that `reclaim` (or the eviction of so many bytes) would evict."""
        freed = Freed()
        wanted = (
            targets(use, freed, forced=True) if size_bytes is None else iter((Target(size_bytes),))
        )
        for index in use.indexes.values():
            index.queue_leaves(LEAVES_QUEUED_AT_ONCE)
        named = rehearse(use, wanted, freed, limit, self._holdings.last_stamp)
        return [key for _, key in named], freed

    def reclaim_storage(
        self, number: int, missing: int, now_ms: int, limit: int, budget: Budget
    ) -> int:
        """Evict for a storage that is nearly full: the groups on it in turn, largest first."""
        storages = frozenset((number,))
        evicted = 0
        uses = [use for use in self._holdings.uses.values() if number in use.by_storage]
        uses.sort(key=lambda use: use.by_storage[number].serving, reverse=True)
        total = sum(use.by_storage[number].serving for use in uses)
        for use in uses:
            serving = use.by_storage[number].serving
            if not serving or number in use.demotes:
                continue
            share = -(-missing * serving // total)
            evicted += self.evict(
                use,
                share,
                now_ms,
                storages=storages,
                limit=limit - evicted,
                budget=budget,
                cause="storage",
            )
        return evicted


def _due(entry: tuple[int, int, object]) -> tuple[int, int]:
    return entry[:2]
