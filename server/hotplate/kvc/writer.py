"""The two-phase write: reserve, then publish or drop.

Owns the open sessions, their deadlines and the memory of closed ones, and every change that a
write makes to an index. A call plans first (plan.py), takes slots (allocate.py) and then enters
the blocks; from there on nothing can fail.
"""

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from itertools import count
from os import urandom
from typing import Final

from hotplate.errors import InUseError, NoSessionError, NoSpaceError, QuotaError, SessionClosedError
from hotplate.kvc.allocate import Allocation, Allocator
from hotplate.kvc.answers import Reservation, Slot
from hotplate.kvc.departed import Reason
from hotplate.kvc.enter import (
    Entry,
    Guard,
    SlotFeed,
    StagedFeed,
    WriteRequest,
    spans_of,
    touch_planned,
)
from hotplate.kvc.holdings import Holdings
from hotplate.kvc.index import Index
from hotplate.kvc.plan import Plan, Planner, shapes_of
from hotplate.kvc.publish import complete, settled_sums
from hotplate.kvc.put_alone import above_of, put_alone
from hotplate.kvc.quota import GroupUse
from hotplate.kvc.reclaim import Reclaimer
from hotplate.kvc.write_session import (
    ClosedSessions,
    Outcome,
    SessionState,
    WriteSession,
    chosen,
)

_OPEN: Final = SessionState.OPEN
SESSION_BYTES: Final = 1600  # an estimate of what an open session takes


class Writer:
    """Starts, finishes and expires write sessions."""

    __slots__ = (
        "_allocator",
        "_deadlines",
        "_holdings",
        "_index_bytes_max",
        "_order",
        "_reclaimer",
        "closed",
        "index_bytes",
        "sessions",
        "write_grace_ms",
    )

    def __init__(
        self,
        holdings: Holdings,
        reclaimer: Reclaimer,
        *,
        index_bytes_max: int,
        write_grace_ms: int,
        closed_sessions_max: int,
    ) -> None:
        self._holdings = holdings
        self._reclaimer = reclaimer
        self._allocator = Allocator(holdings, reclaimer)
        self._index_bytes_max = index_bytes_max
        self.write_grace_ms = write_grace_ms
        self._order = count()
        self._deadlines: list[tuple[int, int, WriteSession]] = []
        self.sessions: dict[bytes, WriteSession] = {}
        self.closed = ClosedSessions(closed_sessions_max)
        self.index_bytes = 0  # an upper estimate: exact at each recount, only added to between

    # starting

    def start(self, index: Index, request: WriteRequest) -> Reservation:
        """Reserve what is missing. BadChain, Quota, NoSpace, NoStorage errors reserve nothing."""
        plan = Planner(self._holdings, index, request.keys, request.now_ms).plan(
            request.spec_masks, request.parent
        )
        given = len(request.keys)
        if plan.count == 0:
            touch_planned(self._holdings, index, plan, request.now_ms)
            return Reservation(None, plan.mask(given), [])
        use = self._holdings.use(index)
        try:
            self._check_sessions(use, index, request.now_ms)
            allocation = self._allocate(index, plan, request)
        except BaseException:
            plan.give_up()
            raise
        session = WriteSession(
            urandom(16).hex().encode(),
            index,
            request.now_ms + request.timeout_ms,
            given,
            plan.count,
            [],
            plan.positions(),
        )
        Entry(self._holdings, session, plan, request).enter(SlotFeed(allocation))
        index.sessions[session.id] = self.sessions[session.id] = session
        heappush(self._deadlines, (session.deadline_ms, next(self._order), session))
        use.sessions += 1
        if self._holdings.journal is not None:
            self._holdings.journal.opened(session, request)
        self._holdings.counters[index.instance.number].sessions_started += 1
        return Reservation(session.id, plan.mask(given), spans_of(session))

    def _check_sessions(self, use: GroupUse, index: Index, now_ms: int) -> None:
        limit = use.group.max_sessions
        if limit is None or use.sessions < limit:
            return
        soonest = min(
            (
                session.deadline_ms
                for other in use.indexes.values()
                for session in other.sessions.values()
            ),
            default=now_ms,
        )
        retry_ms = max(1, soonest - now_ms) if limit else -1
        raise QuotaError(
            f"sessions {use.group.name} used={use.sessions} limit={limit} need=1"
            f" retry_ms={retry_ms}"
        )

    def _allocate(self, index: Index, plan: Plan, request: WriteRequest) -> Allocation:
        """Slots for a plan. The blocks it builds on are kept from eviction meanwhile."""
        with Guard(index, plan):
            if plan.expired:
                self._reclaimer.discard_expired(index, plan.expired, request.now_ms)
            shapes, blocks, details = shapes_of(index, plan)
            self._check_index(index, plan.count, details)
            if plan.claim is not None:
                plan.claim.take_ids()
            return self._allocator.allocate(index, shapes, blocks, request.storage, request.now_ms)

    def _check_index(self, index: Index, new_ids: int, details: int) -> None:
        need = index.need_bytes(new_ids, details, index.width) + SESSION_BYTES
        if self.index_bytes + need > self._index_bytes_max:
            self.recount()
            departed = self._holdings.departed
            if need - departed.size_bytes <= self._index_bytes_max - self.index_bytes < need:
                departed.forget_all()  # explanations give way to blocks
                self.recount()
            if self.index_bytes + need > self._index_bytes_max:
                free = max(0, self._index_bytes_max - self.index_bytes)
                raise NoSpaceError(
                    f"index {index.instance.group.name} need={need} largest_free={free}"
                )
        self.index_bytes += need

    def has_index_room(self, need: int) -> bool:
        """Take so much of the index's memory, if it is there."""
        if self.index_bytes + need > self._index_bytes_max:
            return False
        self.index_bytes += need
        return True

    def recount(self) -> None:
        """Estimate the memory of all indexes and sessions anew."""
        held = self._holdings
        self.index_bytes = (
            sum(index.size_bytes() for index in held.indexes.values())
            + sum(wreck.index.size_bytes() for wreck in held.wrecks)
            + len(self.sessions) * SESSION_BYTES
            + len(self.closed) * 400
            + held.departed.size_bytes
            + (held.tiering.size_bytes() if held.tiering is not None else 0)
        )

    # sessions

    def session(self, index: Index, session_id: bytes) -> WriteSession:
        """The instance's open session. NoSessionError, SessionClosedError."""
        session = self.sessions.get(session_id)
        if session is not None and session.index is index:
            return session
        if self.closed.knows(index.instance.number, session_id):
            raise SessionClosedError(b"session %b is finished" % session_id)
        raise NoSessionError(b"no session %b" % session_id)

    def expire(self, now_ms: int) -> int:
        """Drop the sessions whose deadline is over; how many."""
        deadlines = self._deadlines
        dropped = 0
        while deadlines and deadlines[0][0] <= now_ms:
            session = heappop(deadlines)[2]
            if session.state is SessionState.OPEN:
                self.drop(session, now_ms)
                dropped += 1
                if self._holdings.listener is not None:
                    self._holdings.listener.timed_out(session.index.instance, session.id)
        return dropped

    def drop(self, session: WriteSession, now_ms: int) -> None:
        """A session ends without a FINISH; its space stays counted for the writers' sake."""
        counters = self._holdings.counters[session.index.instance.number]
        counters.sessions_expired += 1
        counters.dropped += session.new_count
        nothing = bytes(session.new_count)
        delay_ms, reason = self.write_grace_ms, Reason.TIMED_OUT
        _, burial = complete(
            self._holdings, session, nothing, b"", now_ms, delay_ms=delay_ms, reason=reason
        )
        self._leave(session, SessionState.DROPPED)
        if self._holdings.journal is not None:
            self._holdings.journal.dropped(session.id)
        burial.close()

    def finish(
        self,
        index: Index,
        session_id: bytes,
        outcome: Outcome,
        sums: bytes | None,
        now_ms: int,
    ) -> tuple[int, int]:
        """Publish what an outcome names, drop the rest: (published, dropped)."""
        earlier = self.closed.answer(index.instance.number, session_id, outcome)
        if earlier is not None:
            return earlier
        session = self.session(index, session_id)
        bits = chosen(outcome, session.new_count, session.positions, session.given)
        if session.transfers and 1 in bits:  # what is published does not change any more
            raise InUseError(
                b"session %b: %d KVC.WRITE are still arriving" % (session_id, session.transfers)
            )
        published_sums = settled_sums(self._holdings, session, bits, sums)
        published, burial = complete(
            self._holdings, session, bits, published_sums, now_ms, delay_ms=0
        )
        answer = published, session.new_count - published
        counters = self._holdings.counters[index.instance.number]
        counters.published += answer[0]
        counters.dropped += answer[1]
        self._leave(session, SessionState.CLOSED)
        row = self.closed.remember(session, outcome, bits, answer)
        if self._holdings.journal is not None:
            self._holdings.journal.finished(session.id, row)
        burial.close()
        return answer

    def resume(self, session: WriteSession) -> None:
        """A session of before a restart is open again; its blocks are entered."""
        index = session.index
        index.sessions[session.id] = self.sessions[session.id] = session
        heappush(self._deadlines, (session.deadline_ms, next(self._order), session))
        self._holdings.use(index).sessions += 1

    def _leave(self, session: WriteSession, state: SessionState) -> None:
        session.move_to(state)
        del self.sessions[session.id]
        del session.index.sessions[session.id]
        self._holdings.use(session.index).sessions -= 1
        if len(self._deadlines) > 2 * len(self.sessions) + 1024:
            self._deadlines = [item for item in self._deadlines if item[2].state is _OPEN]
            heapify(self._deadlines)

    # PUT

    def stage(self, index: Index, key_bytes: int, now_ms: int) -> Slot:
        """A slot for all specs of one block, charged as WRITING. Quota, NoSpace, NoStorage."""
        shape = index.shape
        if key_bytes != index.width:
            shape = index.instance.shape(index.instance.all_specs, key_bytes)
        taken = self._allocator.allocate(index, {shape: 1}, 0, None, now_ms)
        extent = taken.extents[shape][0]
        storage = taken.storage
        return Slot(storage.number, storage.opened(), shape, extent.place, 0, shape.payload_bytes)

    def unstage(self, index: Index, slot: Slot) -> None:
        """Give a staged slot back."""
        use = self._holdings.use(index)
        size_bytes = slot.shape.payload_bytes
        at = use.by_storage[slot.storage]
        at.writing -= size_bytes
        index.writing[slot.storage] -= size_bytes
        use.refund(at, size_bytes)
        slot.store.release(slot.shape, slot.place, 1)

    def put_alone(
        self,
        index: Index,
        key: bytes,
        slot: Slot,
        sums: bytes,
        *,
        now_ms: int,
        ttl_ms: int | None,
        priority: int,
        parent: bytes | None,
    ) -> bool:
        """Publish one staged slot as a new plain block; False: it is not plain, use `put`."""
        above = above_of(self._holdings, index, key, parent)
        if above is None:
            return False
        self._check_index(index, 1, 0)
        put_alone(
            self._holdings,
            index,
            key,
            slot,
            sums,
            above=above,
            now_ms=now_ms,
            ttl_ms=ttl_ms,
            priority=priority,
        )
        return True

    def put(
        self, index: Index, request: WriteRequest, staged: Sequence[Slot | None], sums: bytes
    ) -> int:
        """Publish staged slots; how many blocks are new. On an error all are still staged."""
        keys = request.keys
        for position, slot in enumerate(staged):
            if slot is not None and slot.shape.key_bytes != len(keys[position]):
                raise RuntimeError("a slot was staged for a key of another width")
        planner = Planner(self._holdings, index, keys, request.now_ms, whole=True)
        plan = planner.plan(None, request.parent)
        wanted, new = plan.positions(), plan.count
        feed = [slot for position in wanted if (slot := staged[position]) is not None]
        if len(feed) != new:
            raise RuntimeError("a block that is not stored has no staged slot")
        if new:
            with Guard(index, plan):
                if plan.expired:
                    self._reclaimer.discard_expired(index, plan.expired, request.now_ms)
                _, blocks, details = shapes_of(index, plan)
                self._check_index(index, plan.count, details)
                self._allocator.fit_blocks(self._holdings.use(index), blocks, request.now_ms)
            session = WriteSession(b"", index, request.now_ms, len(keys), new, [], wanted)
            Entry(self._holdings, session, plan, request).enter(StagedFeed(feed))
            if new < len(keys):
                size = index.sum_bytes
                sums = b"".join([sums[item * size : (item + 1) * size] for item in wanted])
            _, burial = complete(
                self._holdings, session, b"\1" * new, sums, request.now_ms, delay_ms=0
            )
            burial.close()
            self._holdings.counters[index.instance.number].published += new
        else:
            touch_planned(self._holdings, index, plan, request.now_ms)
        if new < len(staged):
            kept = set(wanted)
            for position, slot in enumerate(staged):
                if slot is not None and position not in kept:
                    self.unstage(index, slot)
        return new
