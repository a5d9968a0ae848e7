"""Opens a write session again after a restart, with the slots that its writer was given."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from hotplate.blocks import Shape
from hotplate.errors import CommandError
from hotplate.kvc.burial import Burial, Grave
from hotplate.kvc.cache import Cache
from hotplate.kvc.enter import Entry, WriteRequest
from hotplate.kvc.index import Index
from hotplate.kvc.keys import Keys
from hotplate.kvc.plan import Plan, Planner, shapes_of
from hotplate.kvc.write_session import WriteSession

NO_HEADER: Final = Shape(0, 0, 0)  # of a storage that says nothing of its slots


@dataclass(slots=True)
class SessionRow:
    """What the journal says of an open session, in the order of the operation `op`."""

    id: bytes
    instance: int
    deadline_ms: int
    now_ms: int
    given: list[Any]  # width and packed keys, or keys
    masks: list[int] | None
    ttl_ms: int | None
    priority: int
    parent: bytes | None
    places: int | list[int]  # the positions of the new keys, or the first of consecutive ones
    parts: list[list[Any]]  # first count storage specs key_bytes place generation
    lost: list[int]
    is_named: bool = False  # its keys have ids

    @property
    def keys(self) -> list[bytes]:
        """All keys that STARTWRITE was given."""
        return self._given_keys().listing()

    def _given_keys(self) -> Keys:
        if len(self.given) == 2 and isinstance(self.given[0], int):
            return Keys.packed(*self.given)
        return Keys.listed(self.given)

    @property
    def positions(self) -> list[int]:
        """Which of them are to be written."""
        if isinstance(self.places, int):
            return list(range(self.places, self.places + sum(part[1] for part in self.parts)))
        return self.places

    def request(self) -> WriteRequest:
        """What STARTWRITE asked for."""
        keys = self._given_keys()
        about = (self.ttl_ms, self.priority, self.parent)
        return WriteRequest(keys, self.now_ms, 0, self.masks, None, *about)

    def lose(self, keys: list[bytes]) -> None:
        """Blocks of these keys left, those being written among them."""
        gone, mine = set(keys), self.keys
        lost = {new for new, position in enumerate(self.positions) if mine[position] in gone}
        if lost:
            self.lost = sorted(lost.union(self.lost))


@dataclass(slots=True)
class _Slots:
    """Consecutive slots that the session's writer was given."""

    storage: int
    shape: Shape
    place: int
    count: int
    generation: int


class _Feed:
    """Hands out slots shape by shape, in order."""

    __slots__ = ("_queues",)

    def __init__(self, slots: list[_Slots]) -> None:
        self._queues: dict[Shape, list[_Slots]] = {}
        for slot in slots:
            self._queues.setdefault(slot.shape, []).append(slot)

    def take(self, shape: Shape, slots: int) -> tuple[int, int, int, int]:
        """The next consecutive slots of a shape."""
        head = self._queues[shape][0]
        taken, place = min(slots, head.count), head.place
        head.place += taken
        head.count -= taken
        if not head.count:
            del self._queues[shape][0]
        return head.storage, place, taken, head.generation


def resume(cache: Cache, index: Index, row: SessionRow, now_ms: int) -> bool:
    """Whether the session is open again: its slots are there, and its keys still to be written.

    If not, its slots stay out of use for a while: its writer may not know yet.
    """
    slots = _adopt(cache, index, row)
    plan = None
    if sum(slot.count for slot in slots) == len(row.positions):
        plan = _plan(cache, index, row, slots)
    for slot in slots:
        use = cache.holdings.use(index)
        size_bytes = slot.shape.payload_bytes * slot.count
        use.charge(slot.storage, cache.holdings.storage(slot.storage).type, size_bytes)
        index.writing[slot.storage] = index.writing.get(slot.storage, 0) + size_bytes
        index.serving.setdefault(slot.storage, 0)
    if plan is None:
        _bury(cache, index, slots, now_ms)
        return False
    if plan.claim is not None:
        plan.claim.take_ids()
    session = WriteSession(
        *(row.id, index, row.deadline_ms, len(row.keys), len(row.positions), []),
        plan.positions(),
    )
    session.request = row.request()
    Entry(cache.holdings, session, plan, session.request).enter(_Feed(slots))
    cache.writer.resume(session)
    _lose(cache, index, session, row)
    return True


def _plan(cache: Cache, index: Index, row: SessionRow, slots: list[_Slots]) -> Plan | None:
    """How the session's keys are to be entered; None if not as before."""
    try:
        plan = Planner(cache.holdings, index, row.request().keys, row.now_ms).plan(
            row.masks, row.parent
        )
    except CommandError:  # its parent is gone, or the keys lie elsewhere now
        return None
    if list(plan.positions()) == row.positions:
        shapes: Counter[Shape] = Counter()
        for slot in slots:
            shapes[slot.shape] += slot.count
        if shapes_of(index, plan)[0] == shapes:
            return plan
    plan.give_up()
    return None


def _adopt(cache: Cache, index: Index, row: SessionRow) -> list[_Slots]:
    """Those of the session's slots that are there."""
    there: list[_Slots] = []
    for _, count, number, specs, key_bytes, place, generation in row.parts:
        storage = cache.catalog.storage_by_number[number]
        if storage is not None:
            store: Any = storage.opened()
            shape = index.instance.shape(specs, key_bytes)
            there += [
                _Slots(number, shape, found.place, found.count, generation)
                for found in store.adopt(place, count, generation)
                if found.shape in (shape, NO_HEADER)
            ]
    return there


def _bury(cache: Cache, index: Index, slots: list[_Slots], now_ms: int) -> None:
    use = cache.holdings.use(index)
    due_ms = now_ms + cache.writer.write_grace_ms
    for slot in slots:
        size_bytes = slot.shape.payload_bytes * slot.count
        at = use.by_storage[slot.storage]
        at.writing -= size_bytes
        at.deleting += size_bytes
        index.writing[slot.storage] -= size_bytes
        grave = Grave(use, slot.storage, slot.shape, slot.place, slot.count, due_ms, False)
        cache.holdings.bury(grave, now_ms)


def _lose(cache: Cache, index: Index, session: WriteSession, row: SessionRow) -> None:
    """Blocks that were removed while they were written are so again."""
    holdings = cache.holdings
    burial = Burial(holdings, holdings.use(index), row.now_ms, 0, session)
    for position in row.lost:
        part = session.part_of(position)
        block = part.start + position - part.first
        if part.copy is None:
            holdings.discard(index, block, burial)
        else:
            holdings.discard_copy(index, block, part.copy, burial)
    burial.close()
