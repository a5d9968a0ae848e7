"""How slots leave: ranges of them in graves, whole indexes as wrecks, and word of why.

A call that drops blocks gathers their slots and ids in one Burial, so that a thousand victims cost
a few ranges. It decides nothing; holdings.py says when a grave is given back.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hotplate.blocks import Shape
from hotplate.kvc.departed import Reason, mark_of
from hotplate.kvc.index import STAMP_SHIFT, Index
from hotplate.kvc.lease import Lease
from hotplate.kvc.model import Instance
from hotplate.kvc.policy import POLICIES
from hotplate.kvc.quota import GroupUse
from hotplate.kvc.write_session import WriteSession

if TYPE_CHECKING:
    from hotplate.kvc.holdings import Holdings

_LIVED: Final = frozenset((Reason.EVICTED, Reason.EXPIRED))


@dataclass(slots=True, eq=False)
class Grave:
    """Slots that no index names any more. `leaving`: they go after the group's grace."""

    use: GroupUse
    storage: int
    shape: Shape
    place: int
    count: int
    due_ms: int
    leaving: bool
    holders: int = 0
    leased_bytes: int = 0
    session: WriteSession | None = None

    @property
    def size_bytes(self) -> int:
        """Registered bytes in it."""
        return self.shape.payload_bytes * self.count


@dataclass(slots=True, eq=False)
class Wreck:
    """An index that was trimmed as a whole; its slots and its memory go slice by slice."""

    use: GroupUse
    index: Index
    due_ms: int
    mark: int  # for EXPLAIN: since when
    position: int = 0


class Burial:
    """Gathers discarded slots into ranges; `close` enters the graves, or releases them at once.

    It also gathers the ids of the blocks that leave, and writes down why: `reason`.

    No slot is given back before the journal says why: a server that is killed between the two would
    find a block, or an open session, without its bytes. What is evicted or expired may be missing.
    """

    __slots__ = (
        "_due_ms",
        "_graves",
        "_high",
        "_holdings",
        "_index",
        "_leaving",
        "_low",
        "_mark",
        "_now_ms",
        "_open",
        "_reason",
        "_session",
        "_told",
        "_use",
    )

    def __init__(
        self,
        holdings: "Holdings",
        use: GroupUse,
        now_ms: int,
        delay_ms: int,
        session: WriteSession | None = None,
        *,
        reason: Reason = Reason.UNSAID,
    ) -> None:
        self._holdings = holdings
        self._use = use
        self._now_ms = now_ms
        self._due_ms = now_ms + delay_ms
        self._leaving = session is None
        self._session = session
        self._open: dict[tuple[int, Shape], Grave] = {}
        self._graves: list[Grave] = []
        policy = POLICIES.index(use.group.policy) if reason is Reason.EVICTED else 0
        self._mark = mark_of(reason, now_ms, policy) if reason else 0
        self._index: Index | None = None  # blocks low..high-1 of it are still to be written down
        self._low = self._high = 0
        self._reason = reason
        self._told: dict[Instance, list[bytes]] = {}  # for a listener

    def note(self, index: Index, low: int, count: int = 1) -> None:
        """Blocks leave. Their ids must not have a new owner before `close`."""
        if self._mark:
            if index is self._index and low + count == self._low:
                self._low = low
                return
            self._write_down()
            self._index, self._low, self._high = index, low, low + count

    def _write_down(self) -> None:
        index = self._index
        if index is not None:
            self._holdings.departed.add(index, self._low, self._high, self._mark)
            if self._reason in _LIVED:
                self._count_residence(index)
            if self._holdings.listener is not None:
                keys = map(index.key_of, range(self._high - 1, self._low - 1, -1))
                self._told.setdefault(index.instance, []).extend(keys)
            self._index = None

    def _count_residence(self, index: Index) -> None:
        """How long the blocks were there; those of a stretch that came together, at once."""
        created = index.created[self._low : self._high]
        count, first = len(created), created[0]
        spans = [(first, count)] if created[-1] == first else [(stamp, 1) for stamp in created]
        residence = self._holdings.counters[index.instance.number].residence_ms
        for stamp, blocks in spans:
            residence.add(max(0, self._now_ms - (stamp >> STAMP_SHIFT)), blocks)

    def add(self, storage: int, shape: Shape, place: int, slots: int = 1) -> Grave:
        """Slots that were moved to `deleting` already. The grave may still grow: do not keep it."""
        grave = self._open.get((storage, shape))
        if grave is not None:
            if place == grave.place + grave.count:
                grave.count += slots
                return grave
            if place + slots == grave.place:
                grave.place = place
                grave.count += slots
                return grave
            self._graves.append(grave)
        grave = Grave(
            self._use,
            storage,
            shape,
            place,
            slots,
            self._due_ms,
            self._leaving,
            0,
            0,
            self._session,
        )
        self._open[storage, shape] = grave
        return grave

    def hold(self, storage: int, shape: Shape, place: int, held_by: list[Lease]) -> Grave:
        """One leased slot: it enters its grave when the last lease on it ends."""
        grave = Grave(self._use, storage, shape, place, 1, self._due_ms, False, len(held_by))
        for lease in held_by:
            lease.graves.append(grave)
        return grave

    def close(self) -> None:
        """All that was added is on its way."""
        graves = [*self._graves, *self._open.values()]
        journal = self._holdings.journal
        goes_now = graves and self._due_ms <= self._now_ms and self._reason not in _LIVED
        if journal is not None and goes_now:
            journal.commit()
        for grave in graves:
            self._holdings.bury(grave, self._now_ms)
        self._graves.clear()
        self._open.clear()
        self._write_down()
        listener = self._holdings.listener
        if listener is not None:
            for instance, keys in self._told.items():
                listener.left(instance, self._reason, keys, self._due_ms - self._now_ms)
            self._told.clear()
