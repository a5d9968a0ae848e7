"""Opens a write session again after a restart, with the slots that its writer was given."""

from dataclasses import dataclass
from typing import Any

from hotplate.blocks import Shape
from hotplate.errors import CommandError
from hotplate.kvc.cache import Cache
from hotplate.kvc.enter import Entry, WriteRequest
from hotplate.kvc.holdings import Burial
from hotplate.kvc.index import Index
from hotplate.kvc.keys import Keys
from hotplate.kvc.plan import Planner
from hotplate.kvc.write_session import WriteSession


@dataclass(slots=True)
class SessionRow:
    """What the journal says of an open session, in the order of the operation `op`."""

    id: bytes
    instance: int
    deadline_ms: int
    now_ms: int
    keys: list[bytes]
    masks: list[int] | None
    ttl_ms: int | None
    priority: int
    parent: bytes | None
    positions: list[int]
    parts: list[list[Any]]  # first count storage specs key_bytes place generation
    lost: list[int]

    def lose(self, keys: list[bytes]) -> None:
        """Blocks of these keys left, those being written among them."""
        gone = set(keys)
        lost = {new for new, position in enumerate(self.positions) if self.keys[position] in gone}
        if lost:
            self.lost = sorted(lost.union(self.lost))


class _Slots:
    """Hands out the slots of a session's parts, shape by shape, in order."""

    __slots__ = ("_queues",)

    def __init__(self, index: Index, row: SessionRow) -> None:
        self._queues: dict[Shape, list[list[int]]] = {}
        for _, count, storage, specs, key_bytes, place, generation in row.parts:
            shape = index.instance.shape(specs, key_bytes)
            self._queues.setdefault(shape, []).append([storage, place, count, generation])

    def take(self, shape: Shape, slots: int) -> tuple[int, int, int, int]:
        """The next consecutive slots of a shape."""
        head = self._queues[shape][0]
        storage, place, count, generation = head
        taken = min(slots, count)
        head[1] += taken
        head[2] -= taken
        if not head[2]:
            del self._queues[shape][0]
        return storage, place, taken, generation


def resume(cache: Cache, index: Index, row: SessionRow) -> bool:
    """Whether the session is open again: its slots are there, and its keys still to be written."""
    if not _adopt(cache, index, row):
        return False
    request = WriteRequest(
        Keys.listed(row.keys),
        row.now_ms,
        0,
        row.masks,
        None,
        row.ttl_ms,
        row.priority,
        row.parent,
    )
    try:
        plan = Planner(cache.holdings, index, request.keys, row.now_ms).plan(row.masks, row.parent)
    except CommandError:  # its parent is gone, or the keys lie elsewhere now
        return False
    if list(plan.positions()) != row.positions:
        plan.give_up()
        return False
    if plan.claim is not None:
        plan.claim.take_ids()
    new = len(row.positions)
    session = WriteSession(
        row.id, index, row.deadline_ms, len(row.keys), new, [], plan.positions()
    )
    session.request = request
    use = cache.holdings.use(index)
    for _, count, number, specs, key_bytes, _, _ in row.parts:
        size_bytes = count * index.instance.shape(specs, key_bytes).payload_bytes
        use.charge(number, cache.holdings.storage(number).type, size_bytes)
        index.writing[number] = index.writing.get(number, 0) + size_bytes
        index.serving.setdefault(number, 0)
    Entry(cache.holdings, session, plan, request).enter(_Slots(index, row))
    cache.resume_session(session)
    _lose(cache, index, session, row)
    return True


def _adopt(cache: Cache, index: Index, row: SessionRow) -> bool:
    """Whether all slots are there; they stay whether they are or not, until the storage settles."""
    complete = True
    for _, count, number, specs, key_bytes, place, generation in row.parts:
        storage = cache.catalog.storage_by_number[number]
        if storage is None:
            return False
        store: Any = storage.opened()
        shape = index.instance.shape(specs, key_bytes)
        found = store.adopt(place, count, generation)
        complete &= sum(each.count for each in found if each.shape == shape) == count
    return complete


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
