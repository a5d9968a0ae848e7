"""What the cache tells its journal: operations that say the state after a change.

They are listed in persist/FORMAT-KVC.md.

The cache calls `stored`, `gone` and their like while it works, and `commit` when a call is over: all
of the call's operations then go out together. Blocks go out as stretches of columns, never one by
one where they lie beside each other. No file and no format is known here.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from hotplate.kvc.index import ABSENT, DETAILED, SERVING, WRITING, Index
from hotplate.kvc.model import Group, Instance, Storage

if TYPE_CHECKING:
    from hotplate.kvc.enter import WriteRequest
    from hotplate.kvc.write_session import WriteSession

Operation: TypeAlias = list[Any]
SLICE_IDS: Final = 4096  # of an index, in one slice of a compaction
SLICE_CLOSED: Final = 1024


class Journal:
    """Gathers operations. `append` takes those of one call."""

    __slots__ = ("_append", "_operations")

    def __init__(self, append: Callable[[list[Operation]], None]) -> None:
        self._append = append
        self._operations: list[Operation] = []

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
        storage.map_allowed,
        dict(storage.options),
        storage.state.value,
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
    return [
        *("op", session.id, session.index.instance.number, session.deadline_ms, request.now_ms),
        *(request.keys.listing(), request.spec_masks, request.ttl_ms, request.priority),
        *(request.parent, list(session.positions), parts, sorted(session.lost)),
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
            yield ["na", index.instance.number, _parent_key(index, block), [index.key_of(block)]]
        block += 1


def _alike_until(index: Index, start: int, high: int) -> int:
    """Where the stretch ends in which all is equal or consecutive."""
    state, run = index.state, index.run
    end = start + 1
    generation, created = index.generation, index.created
    expires, priority = index.expires, index.priority
    limit = min(high, index.tail[run[start]]) if index.chained else high
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


def _parent_key(index: Index, block: int) -> bytes | None:
    above = index.parent_of(block) if index.chained else -1
    return index.key_of(above) if above >= 0 else None


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
        yield ["na", *about, [index.key_of(block)]]
        return
    yield [
        *("co", *about, index.key_of(block), copies, index.created[block]),
        *(index.expires[block], index.priority[block]),
        index.accessed[block] if with_use else 0,
        index.hits[block] if with_use else 0,
    ]
