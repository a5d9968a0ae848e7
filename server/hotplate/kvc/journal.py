"""What the cache tells its journal: operations that say the state after a change.

They are listed in persist/FORMAT-KVC.md.

The cache calls `stored`, `gone` and their like while it works, and `commit` when a call is over:
all of the call's operations then go out together. Blocks go out as stretches of columns, never one
by one where they lie beside each other. No file and no format is known here.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, fields
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeAlias, TypeVar

from hotplate.kvc.index import ABSENT, DETAILED, SERVING, WRITING, Index
from hotplate.kvc.model import Group, Instance, Storage

if TYPE_CHECKING:
    from hotplate.kvc.cache import Cache
    from hotplate.kvc.enter import WriteRequest
    from hotplate.kvc.write_session import WriteSession

Operation: TypeAlias = list[Any]
SLICE_IDS: Final = 4096  # of an index, in one slice of a compaction
SLICE_CLOSED: Final = 1024
LEASES_AHEAD_MS: Final = 5000
_Parameters = ParamSpec("_Parameters")
_Answer = TypeVar("_Answer")


def committed(call: Callable[_Parameters, _Answer]) -> Callable[_Parameters, _Answer]:
    """A method of the cache after which the journal gets what it changed."""

    @wraps(call)
    def run(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Answer:
        cache: Any = args[0]
        journal: Journal | None = cache.holdings.journal
        if journal is None:
            return call(*args, **kwargs)
        try:
            return call(*args, **kwargs)
        finally:
            journal.commit()

    return run


class Journal:
    """Gathers operations. `append` takes those of one call."""

    __slots__ = ("_append", "_operations", "leased_until_ms", "trouble")

    def __init__(self, append: Callable[[list[Operation]], None]) -> None:
        self._append = append
        self._operations: list[Operation] = []
        self.leased_until_ms = 0  # as far as the journal says
        self.trouble: str | None = None  # why nothing can be written now

    def commit(self) -> None:
        """The call is over."""
        if self._operations:
            operations, self._operations = self._operations, []
            self._append(operations)

    def stored(self, index: Index, low: int, high: int) -> None:
        """How the blocks low..high-1 stand now."""
        self._operations += rows_of(index, low, high)

    def gone(self, index: Index, block: int) -> None:
        """A block leaves; its key can still be asked for."""
        number = index.instance.number
        operations = self._operations
        if operations and operations[-1][0] == "go" and operations[-1][1] == number:
            operations[-1][2].append(index.key_of(block))
        else:
            operations.append(["go", number, [index.key_of(block)]])

    def trimmed(self, index: Index) -> None:
        """All blocks left."""
        self._operations.append(["tr", index.instance.number])

    def opened(self, session: "WriteSession", request: "WriteRequest") -> None:
        """A session was opened."""
        session.request = request
        self._operations.append(session_row(session))

    def leased(self, until_ms: int) -> None:
        """A lease ends then at the latest. Said ahead, so that few leases need a word of theirs."""
        if until_ms > self.leased_until_ms:
            self.leased_until_ms = until_ms + LEASES_AHEAD_MS
            self._operations.append(["le", self.leased_until_ms])

    def finished(self, session_id: bytes, closed: Sequence[Any]) -> None:
        """A session was finished; what is remembered of it."""
        self._operations.append(["fi", session_id, *closed])

    def dropped(self, session_id: bytes) -> None:
        """A session was dropped."""
        self._operations.append(["dr", session_id])

    def storage(self, storage: Storage) -> None:
        """A storage was made or changed."""
        self._operations.append(storage_row(storage))

    def group(self, group: Group) -> None:
        """A group was made or changed."""
        self._operations.append(group_row(group))

    def instance(self, instance: Instance) -> None:
        """An instance was registered, or got other userdata."""
        self._operations.append(instance_row(instance))

    def removed(self, kind: str, name: int | str) -> None:
        """A storage (`s-`, its number), group (`g-`, its name) or instance (`i-`, its number)."""
        self._operations.append([kind, name])


def storage_row(storage: Storage) -> Operation:
    """All about a storage."""
    return [
        "st",
        storage.number,
        storage.name,
        storage.type,
        storage.path,
        storage.capacity_bytes,
        storage.segment_bytes,
        storage.keys_per_file,
        storage.map_allowed,
        dict(storage.options),
        storage.enabled,
    ]


def group_row(group: Group) -> Operation:
    """All about a group."""
    values = {item.name: getattr(group, item.name) for item in fields(Group)}
    values["type_quotas"] = dict(group.type_quotas)
    values["storages"] = list(group.storages)
    return ["gr", values]


def instance_row(instance: Instance) -> Operation:
    """All about an instance."""
    return ["in", instance.number, asdict(instance.registration), instance.userdata]


def session_row(session: "WriteSession") -> Operation:
    """An open session."""
    request = session.request
    assert request is not None
    parts = [
        [
            *(part.first, part.count, part.storage, part.specs),
            *(part.shape.key_bytes, part.place, part.generation),
        ]
        for part in session.parts
    ]
    keys, positions = request.keys, session.positions
    return [
        *("op", session.id, session.index.instance.number, session.deadline_ms, request.now_ms),
        *([keys.width, keys.blob] if keys.blob is not None else keys.listing(),),
        *(request.spec_masks, request.ttl_ms, request.priority, request.parent),
        positions.start if isinstance(positions, range) else list(positions),
        *(parts, sorted(session.lost)),
    ]


def rows_of(index: Index, low: int, high: int, *, with_use: bool = False) -> Iterator[Operation]:
    """How ids low..high-1 stand now, free ones left out; `with_use`: with access and hits."""
    block = low
    while block < high:
        state = index.state[block]
        if state >= SERVING:
            end = _alike_until(index, block, high)
            yield _plain_row(index, block, end, with_use=with_use)
            block = end
            continue
        if state == DETAILED:
            yield from _detail_row(index, block, with_use=with_use)
        elif state == WRITING or (state == ABSENT and index.children[block]):
            yield _name_row(index, block)
        block += 1


def _alike_until(index: Index, start: int, high: int) -> int:
    """Where the stretch ends in which all is equal or consecutive."""
    state, end = index.state, start + 1
    generation, created = index.generation, index.created
    expires, priority = index.expires, index.priority
    limit = min(high, index.tail[index.run[start]]) if index.chained else high
    if index.chained and _are_alike(index, start, limit):
        return limit
    place = index.place_of(start) - start
    while (
        end < limit
        and state[end] == state[start]
        and generation[end] == generation[start]
        and created[end] == created[start]
        and expires[end] == expires[start]
        and priority[end] == priority[start]
        and (index.chained or index.place[end] == place + end)
    ):
        end += 1
    return end


def _are_alike(index: Index, start: int, end: int) -> bool:
    """Whether all is equal in start..end-1: the usual case, found out in C."""
    count = end - start
    bytes_alike = all(
        column.count(column[start], start, end) == count for column in (index.state, index.priority)
    )
    return bytes_alike and all(
        column[start:end].count(column[start]) == count
        for column in (index.generation, index.created, index.expires)
    )


def _parent_key(index: Index, block: int) -> bytes | None:
    above = index.parent_of(block) if index.chained else -1
    return index.key_of(above) if above >= 0 else None


def _name_row(index: Index, block: int) -> Operation:
    about = [index.instance.number, _parent_key(index, block)]
    return ["na", *about, index.key_of(block), index.expires[block]]


def _plain_row(index: Index, start: int, end: int, *, with_use: bool) -> Operation:
    width, size = index.width, index.sum_bytes
    return [
        *("bl", index.instance.number, _parent_key(index, start), width),
        bytes(index.keys[start * width : end * width]),
        *(index.state[start] - SERVING, index.place_of(start), index.generation[start]),
        bytes(index.sums[start * size : end * size]),
        *(index.created[start], index.expires[start], index.priority[start]),
        index.accessed[start:end].tobytes() if with_use else b"",
        index.hits[start:end].tobytes() if with_use else b"",
    ]


def _detail_row(index: Index, block: int, *, with_use: bool) -> Iterator[Operation]:
    copies = [
        [copy.storage, copy.specs, copy.place, copy.generation, copy.sums]
        for copy in index.details[block].copies
        if copy.session is None
    ]
    about = [index.instance.number, _parent_key(index, block)]
    if not copies:
        yield _name_row(index, block)
        return
    yield [
        *("co", *about, index.key_of(block), copies, index.created[block]),
        *(index.expires[block], index.priority[block]),
        index.accessed[block] if with_use else 0,
        index.hits[block] if with_use else 0,
    ]


def everything(cache: "Cache") -> Iterator[list[Operation]]:
    """All that there is now, in slices; the cache may change between two of them.

    The first slice is the catalog, which what happens meanwhile refers to. What is said of a block
    is how it stands when its slice comes; a change before or after says so itself.
    """
    catalog, holdings = cache.catalog, cache.holdings
    yield [
        *map(storage_row, catalog.storages.values()),
        *map(group_row, catalog.groups.values()),
        *map(instance_row, catalog.instances.values()),
    ]
    closed = [["fi", session_id, *row] for session_id, row in cache.writer.closed.rows()]
    yield from _slices(closed)
    for session_id in list(cache.writer.sessions):
        session = cache.writer.sessions.get(session_id)
        if session is not None and session.request is not None:
            yield [session_row(session)]
    if holdings.journal is not None and holdings.journal.leased_until_ms:
        yield [["le", holdings.journal.leased_until_ms]]
    for number in list(holdings.indexes):
        index, low = holdings.indexes.get(number), 0
        while index is not None and low < index.size:
            high = min(low + SLICE_IDS, index.size)
            yield list(rows_of(index, low, high, with_use=True))
            low = high
            if holdings.indexes.get(number) is not index:  # it was trimmed: the fresh one tells all
                index, low = holdings.indexes.get(number), 0


def _slices(operations: list[Operation]) -> Iterator[list[Operation]]:
    for start in range(0, len(operations), SLICE_CLOSED):
        yield operations[start : start + SLICE_CLOSED]
