"""Rebuilds the cache from its journal's operations (persist/FORMAT-KVC.md).

    apply(operation) again and again ──► settle: slots adopted or blocks dropped, sessions opened,
                                          bytes counted, leaves queued

Until `settle` an index has ids that stand for nothing (parents not told yet, blocks being written),
and counts no bytes. Whatever the operations say, only a block whose slot is there with its very
generation and key is left. RestoreError for operations that no cache writes.
"""

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from hotplate.kvc.cache import Cache
from hotplate.kvc.holdings import Holdings
from hotplate.kvc.index import ABSENT, DETAILED, SERVING, Copy, Detail, Index
from hotplate.kvc.journal import Operation
from hotplate.kvc.model import (
    Deployment,
    Group,
    Instance,
    Registration,
    Spec,
    SpecGroup,
    Storage,
)
from hotplate.kvc.ports import KeptStore
from hotplate.kvc.quota import GroupUse
from hotplate.kvc.resume import NO_HEADER, SessionRow, resume
from hotplate.kvc.runs import relocate, split

OpenStore = Callable[[Storage], KeptStore]


class RestoreError(ValueError):
    """An operation that does not follow from those before it."""


@dataclass(slots=True)
class Restored:
    """What came back, and what did not."""

    blocks: int = 0
    lost_blocks: int = 0  # their slots are gone, or hold something else
    sessions: int = 0
    lost_sessions: int = 0
    freed_slots: int = 0


class Restorer:
    """Applies operations to a fresh cache."""

    __slots__ = ("_cache", "_handlers", "_holdings", "_instances", "_open_store", "_sessions")

    def __init__(self, cache: Cache, open_store: OpenStore) -> None:
        self._cache = cache
        self._holdings: Holdings = cache.holdings
        self._open_store = open_store
        self._instances: dict[int, Index] = {}
        self._sessions: dict[bytes, SessionRow] = {}
        self._handlers: Final[dict[str, Callable[..., None]]] = {
            "st": self._storage,
            "s-": self._storage_gone,
            "gr": self._group,
            "g-": self._group_gone,
            "in": self._instance,
            "i-": self._instance_gone,
            "bl": self._blocks,
            "co": self._copies,
            "na": self._name,
            "go": self._gone,
            "tr": self._trimmed,
            "op": self._opened,
            "fi": self._finished,
            "dr": self._dropped,
            "le": self._leased,
            "ba": _nothing,
            "en": _nothing,
        }

    def apply(self, operation: Operation) -> None:
        """One operation. RestoreError where it makes no sense."""
        try:
            self._handlers[operation[0]](*operation[1:])
        except (KeyError, TypeError, IndexError, ValueError) as error:
            name = operation[0] if operation else operation
            raise RestoreError(f"the operation {name!r} makes no sense: {error!r}") from error

    # the catalog

    def _storage(self, number: int, name: str, kind: str, *rest: Any) -> None:
        catalog = self._cache.catalog
        enabled = rest[-1]
        storage = catalog.storages.get(name)
        if storage is None:
            storage = Storage(number, name, kind, *rest[:-1])
            storage.store = self._open_store(storage)
            catalog.add_storage(storage)
        storage.enabled = enabled
        self._cache.storage_changed(storage)

    def _storage_gone(self, number: int) -> None:
        catalog = self._cache.catalog
        storage = catalog.storage_by_number[number]
        if storage is not None:
            catalog.remove_storage(storage)
            storage.opened().close(remove=True)
            self._cache.storage_changed(storage)

    def _group(self, values: dict[str, Any]) -> None:
        groups = self._cache.catalog.groups
        values["storages"] = tuple(values["storages"])
        group = groups.get(values["name"])
        if group is None:
            group = groups[values["name"]] = Group(**values)
        for name, value in values.items():
            setattr(group, name, value)
        self._cache.group_changed(group)

    def _group_gone(self, name: str) -> None:
        group = self._cache.catalog.groups.pop(name, None)
        if group is not None:
            self._cache.drop_group(group)

    def _instance(self, number: int, about: dict[str, Any], userdata: bytes) -> None:
        catalog = self._cache.catalog
        if number in self._instances:
            self._instances[number].instance.userdata = userdata
            return
        about["specs"] = tuple(Spec(**spec) for spec in about["specs"])
        about["spec_groups"] = tuple(
            SpecGroup(group["name"], tuple(group["specs"])) for group in about["spec_groups"]
        )
        about["deployment"] = Deployment(**about["deployment"])
        registration = Registration(**about)
        group = catalog.groups[registration.group]
        instance = Instance(number, group, registration, userdata)
        catalog.enter_instance(instance)
        self._cache.create_index(instance)
        self._instances[number] = self._cache.index_of(instance)

    def _instance_gone(self, number: int) -> None:
        index = self._instances.pop(number, None)
        if index is not None:
            self._forget_sessions(number)
            self._cache.drop_index(index.instance, 0)
            self._cache.catalog.remove_instance(index.instance)

    def _forget_sessions(self, number: int) -> None:
        for session_id in [key for key, row in self._sessions.items() if row.instance == number]:
            del self._sessions[session_id]

    # blocks

    def _blocks(
        self, number: int, parent: bytes | None, width: int, blob: bytes, *rest: Any
    ) -> None:
        index = self._instances[number]
        if width != index.width:
            _change_width(index, width)
        keys = [blob[at : at + width] for at in range(0, len(blob), width)]
        row = _Row(index, *rest)
        above = self._above(index, parent, row.expires)  # which may give keys their ids
        known = index.lookup_all(keys)
        if known.count(None) == len(known):
            row.enter(keys, blob, above)
            return
        for offset, key in enumerate(keys):
            block = index.lookup(key)
            if block is None:
                above = row.enter([key], key, above, offset)
                continue
            self._clear(index, block)
            _set_parent(index, block, above)
            spot = (block, block + 1)
            relocate(index, spot, row.storage, row.place + offset, row.generation)
            row.describe(spot, offset)
            if above >= 0:
                index.raise_expiry(above, row.expires)
            above = block if index.chained else -1

    def _copies(self, number: int, parent: bytes | None, key: bytes, *rest: Any) -> None:
        index = self._instances[number]
        copies, created, expires, priority, accessed, hits = rest
        above = self._above(index, parent, expires)
        block = self._ensure(index, key, above)
        self._clear(index, block)
        detail = index.details[block] = Detail()
        for storage, specs, place, generation, sums in copies:
            shape = index.instance.shape(specs, len(key))
            detail.copies.append(Copy(storage, specs, shape, place, generation, sums))
        split_alone(index, block)
        index.state[block] = DETAILED
        index.blocks += 1
        index.created[block], index.priority[block] = created, priority
        index.expires[block] = expires
        index.accessed[block] = accessed or created
        index.hits[block] = hits
        index.clock += 1
        index.ticks[block] = index.clock

    def _name(self, number: int, parent: bytes | None, key: bytes, expires: int) -> None:
        index = self._instances[number]
        block = self._ensure(index, key, self._above(index, parent, 0))
        self._clear(index, block)
        split_alone(index, block)
        index.expires[block] = expires

    def _gone(self, number: int, keys: list[bytes]) -> None:
        index = self._instances[number]
        for key in keys:
            block = index.lookup(key)
            if block is not None:
                self._clear(index, block)
                index.unlink(block)
        for row in self._sessions.values():
            if row.instance == number:
                row.lose(keys)

    def _trimmed(self, number: int) -> None:
        old = self._instances[number]
        instance = old.instance
        fresh = Index(instance)
        self._instances[number] = self._holdings.indexes[number] = fresh
        self._holdings.uses[instance.group.name].indexes[number] = fresh
        for row in self._sessions.values():
            if row.instance == number:
                row.lose(row.keys)

    def _above(self, index: Index, parent: bytes | None, expires: int) -> int:
        """The id of a parent, -1 for a root; one that was not told yet gets an id all the same."""
        if parent is None or not index.chained:
            return -1
        block = index.lookup(parent)
        if block is None:
            self._name_written(index)
            block = self._ensure_known(index, parent)
        index.raise_expiry(block, expires)
        return block

    def _name_written(self, index: Index) -> None:
        """Ids for all that is being written: what is stored below it must find its parents."""
        for row in self._sessions.values():
            if row.instance != index.instance.number or row.is_named:
                continue
            row.is_named = True
            above = -1 if row.parent is None else self._ensure_known(index, row.parent)
            for key in row.keys:
                block = index.lookup(key)
                above = self._ensure(index, key, above) if block is None else block

    def _ensure_known(self, index: Index, key: bytes) -> int:
        block = index.lookup(key)
        return self._ensure(index, key, -1) if block is None else block

    def _ensure(self, index: Index, key: bytes, above: int) -> int:
        """The id of a key below `above`, made if there is none: then it stands for nothing yet."""
        block = index.lookup(key)
        if block is not None:
            _set_parent(index, block, above)
            return block
        ((block, end),) = index.take_ids(1)
        odd = len(key) != index.width
        if odd:
            index.odd_keys[block] = key
        index.name(block, [key])
        index.enter((block, end), bytes(index.width) if odd else key, above=above)
        index.state[block] = ABSENT
        index.expires[block] = 0
        index.created[block] = 0
        return block

    def _clear(self, index: Index, block: int) -> None:
        """The id stands for nothing now."""
        if index.state[block] != ABSENT:
            index.details.pop(block, None)
            index.state[block] = ABSENT
            index.blocks -= 1

    # sessions

    def _opened(self, session_id: bytes, number: int, *rest: Any) -> None:
        self._sessions[session_id] = SessionRow(session_id, number, *rest)

    def _finished(self, session_id: bytes, *closed: Any) -> None:
        self._sessions.pop(session_id, None)
        self._cache.writer.closed.restore(session_id, closed)

    def _dropped(self, session_id: bytes) -> None:
        self._sessions.pop(session_id, None)

    def _leased(self, until_ms: int) -> None:
        self._holdings.quiet_until_ms = until_ms

    # the end

    def settle(self, now_ms: int) -> Restored:
        """Keep what the storages have, drop the rest; the cache is ready then.

        OSError where a storage fails.
        """
        restored = Restored()
        for index in self._instances.values():
            _Adoption(self._holdings, index, restored).run()
            _prune(index)
        for index in self._instances.values():
            _count(self._holdings, index, restored)
        for row in self._sessions.values():
            index = self._instances[row.instance]
            if resume(self._cache, index, row, now_ms):
                restored.sessions += 1
            else:
                restored.lost_sessions += 1
        for index in self._instances.values():
            _queue_leaves(index)
        for storage in self._cache.catalog.storages.values():
            store: Any = storage.opened()
            restored.freed_slots += store.settle()
        return restored


def _nothing(*_: Any) -> None:
    """The reader of the files has looked at it."""


class _Row:
    """Blocks of one `bl`: what is the same for all, and their columns."""

    __slots__ = (
        *("accessed", "created", "expires", "generation", "hits", "index", "place", "priority"),
        *("storage", "sums"),
    )

    def __init__(self, index: Index, storage: int, place: int, generation: int, *rest: Any) -> None:
        self.index = index
        self.storage, self.place, self.generation = storage, place, generation
        self.sums, self.created, self.expires, self.priority, accessed, hits = rest
        self.accessed, self.hits = array("Q", accessed), array("I", hits)

    def enter(self, keys: list[bytes], packed: bytes, above: int, offset: int = 0) -> int:
        """New ids for keys, which are `offset` and on of the row; the last one's id."""
        index, width = self.index, self.index.width
        done, count = 0, len(keys)
        place = self.place + offset
        if not index.chained:
            above = -1
        while done < count:
            extend = count == 1 and index.chained and index.extend_run(above, self.storage, place)
            ranges = [(above + 1, above + 2)] if extend else list(index.take_ids(count - done))
            for start, end in ranges:
                length = end - start
                index.name(start, keys[done : done + length])
                index.enter(
                    (start, end),
                    packed[done * width : (done + length) * width],
                    above=above,
                    extend=extend,
                    place=place,
                    generation=self.generation,
                )
                self.describe((start, end), offset + done)
                if above >= 0:
                    index.raise_expiry(above, self.expires)
                done += length
                place += length
                above = end - 1 if index.chained else -1
        return above

    def describe(self, ids: tuple[int, int], offset: int) -> None:
        """The columns of ids that are the row's blocks from `offset` on."""
        index, (start, end) = self.index, ids
        count, size = end - start, index.sum_bytes
        index.blocks += count
        index.state[start:end] = bytes((SERVING + self.storage,)) * count
        index.sums[start * size : end * size] = self.sums[offset * size : (offset + count) * size]
        index.priority[start:end] = bytes((self.priority,)) * count
        index.created[start:end] = array("Q", (self.created,)) * count
        index.expires[start:end] = array("q", (self.expires,)) * count
        if self.accessed:
            index.accessed[start:end] = self.accessed[offset : offset + count]
            index.hits[start:end] = self.hits[offset : offset + count]
        else:
            index.accessed[start:end] = array("Q", (self.created,)) * count
        index.clock += count
        index.ticks[start:end] = array("Q", (index.clock,)) * count


def _change_width(index: Index, width: int) -> None:
    """Plain keys have another width from now on. There are no plain blocks of the old one."""
    keys = {block: key for shard in index.shards for key, block in shard.items()}
    index.width = width
    index.keys = bytearray(width * index.capacity)
    index.shape = index.instance.shape(index.instance.all_specs, width)
    index.odd_keys = {block: key for block, key in keys.items() if len(key) != width}
    for block, key in keys.items():
        if index.state[block] >= SERVING:
            raise RestoreError(f"keys of {width} bytes among plain ones of {len(key)}")
        if len(key) == width:
            index.keys[block * width : (block + 1) * width] = key


def split_alone(index: Index, block: int) -> None:
    """Let a block of a chain be a run of its own."""
    if index.chained:
        split(index, block)
        if block + 1 < index.tail[block]:
            split(index, block + 1)


def _set_parent(index: Index, block: int, above: int) -> None:
    """Let a block that has an id lie below `above`."""
    if not index.chained or index.parent_of(block) == above:
        return
    before = index.parent_of(block)
    split(index, block)
    if before >= 0:
        index.children[before] -= 1
    index.parent[block] = above
    if above >= 0:
        index.children[above] += 1


def _prune(index: Index) -> None:
    """Let go of ids that stand for nothing and have no children."""
    free = index.free.ends()
    idle: list[int] = []
    block = index.state.find(ABSENT, 0, index.size)
    while 0 <= block < index.size:
        end = free.get(block, block + 1)
        if block not in free and not index.children[block]:
            idle.append(block)
        block = index.state.find(ABSENT, end, index.size)
    for block in idle:
        index.unlink(block)


class _Adoption:
    """Asks the storages for the slots of one index's blocks; blocks without one are dropped."""

    __slots__ = ("_holdings", "_index", "_restored")

    def __init__(self, holdings: Holdings, index: Index, restored: Restored) -> None:
        self._holdings = holdings
        self._index = index
        self._restored = restored

    def run(self) -> None:
        """Look at every block."""
        index = self._index
        lost: list[int] = []
        block = 0
        free = index.free.ends()
        while block < index.size:
            end = free.get(block)
            if end is not None:
                block = end
                continue
            state = index.state[block]
            end = block + 1
            if state >= SERVING:
                end = self._stretch(block)
                lost += self._adopt(block, end)
            elif state == DETAILED:
                detail = index.details[block]
                detail.copies = [copy for copy in detail.copies if self._has(block, copy)]
                if not detail.copies:
                    lost.append(block)
            block = end
        self._restored.lost_blocks += len(lost)
        for block in lost:
            index.details.pop(block, None)
            index.state[block] = ABSENT
            index.blocks -= 1

    def _stretch(self, start: int) -> int:
        """Where slots end to be consecutive and of one generation."""
        index = self._index
        limit = index.tail[index.run[start]] if index.chained else index.size
        state, generation, end = index.state[start], index.generation[start], start + 1
        count = limit - start
        alike = index.chained and index.state.count(state, start, limit) == count
        if alike and index.generation[start:limit].count(generation) == count:
            return limit
        place = index.place_of(start) - start
        while (
            end < limit
            and index.state[end] == state
            and index.generation[end] == generation
            and (index.chained or index.place[end] == place + end)
        ):
            end += 1
        return end

    def _store(self, number: int) -> KeptStore | None:
        storage = self._holdings.catalog.storage_by_number[number]
        return None if storage is None else storage.store  # type: ignore[return-value]

    def _adopt(self, start: int, end: int) -> list[int]:
        """Those of start..end-1 whose slots are not there, or not theirs."""
        index = self._index
        width, place = index.width, index.place_of(start)
        store = self._store(index.state[start] - SERVING)
        there = bytearray(end - start)
        if store is not None:
            for found in store.adopt(place, end - start, index.generation[start]):
                if found.shape == NO_HEADER:  # nothing but the sums can tell, at the first read
                    there[found.place - place :][: found.count] = b"\1" * found.count
                    continue
                if not found.serving or found.shape != index.shape:
                    continue
                offset = found.place - place
                first = start + offset
                mine = index.keys[first * width : (first + found.count) * width]
                if mine == found.keys:
                    there[offset : offset + found.count] = b"\1" * found.count
                    continue
                for number in range(found.count):
                    at = number * width
                    there[offset + number] = mine[at : at + width] == found.keys[at : at + width]
        return [start + offset for offset, kept in enumerate(there) if not kept]

    def _has(self, block: int, copy: Copy) -> bool:
        store = self._store(copy.storage)
        if store is None:
            return False
        key = self._index.key_of(block)
        return any(
            found.shape == NO_HEADER
            or (found.serving and found.shape == copy.shape and found.keys == key)
            for found in store.adopt(copy.place, 1, copy.generation)
        )


def _count(holdings: Holdings, index: Index, restored: Restored) -> None:
    """Count the bytes of an index's blocks."""
    use = holdings.use(index)
    restored.blocks += index.blocks
    for storage in holdings.catalog.storages.values():
        plain = index.state.count(SERVING + storage.number, 0, index.size)
        _charge(holdings, index, use, storage.number, plain * index.shape.payload_bytes)
    for detail in index.details.values():
        for copy in detail.copies:
            _charge(holdings, index, use, copy.storage, copy.shape.payload_bytes)


def _charge(holdings: Holdings, index: Index, use: GroupUse, number: int, size_bytes: int) -> None:
    if size_bytes:
        at = use.at(number, holdings.storage(number).type)
        at.serving += size_bytes
        use.used += size_bytes
        use.by_type[at.type] = use.by_type.get(at.type, 0) + size_bytes
        index.serving[number] = index.serving.get(number, 0) + size_bytes
        index.writing.setdefault(number, 0)


def _queue_leaves(index: Index) -> None:
    """Every leaf into its queue, and into the heap of those that expire."""
    index.change_policy(index.leaves.policy.name)
    index.queued_upto = None
    index.expiry_heap = []
    for _, end in index.runs():  # without chains each id is one
        if index.state[end - 1]:
            index.became_leaf(end - 1)
