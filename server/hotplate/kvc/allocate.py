"""Which storage a write goes to, and its slots.

Owns the choice (STORAGE, else the group's order, state, type quotas, PREFER or ALWAYS) and the
checks against every limit. All slots of a request are on one storage. Nothing is charged or kept
unless everything fits; blocks that were evicted to make room stay evicted.
"""

from dataclasses import dataclass

from hotplate.blocks import Extent, Shape, StoreFullError
from hotplate.errors import NoSpaceError, NoStorageError, StorageIOError
from hotplate.kvc.holdings import Holdings
from hotplate.kvc.index import Index
from hotplate.kvc.model import Storage
from hotplate.kvc.quota import GroupUse, block_shortage, group_shortage, type_shortage
from hotplate.kvc.reclaim import Reclaimer


@dataclass(slots=True)
class Allocation:
    """Slots that were taken: for each shape its extents, in order."""

    storage: Storage
    extents: dict[Shape, list[Extent]]
    size_bytes: int


class Allocator:
    """Takes slots for writes, within the limits of the group."""

    __slots__ = ("_holdings", "_reclaimer")

    def __init__(self, holdings: Holdings, reclaimer: Reclaimer) -> None:
        self._holdings = holdings
        self._reclaimer = reclaimer

    def allocate(
        self,
        index: Index,
        shapes: dict[Shape, int],
        new_blocks: int,
        storage_name: str | None,
        now_ms: int,
    ) -> Allocation:
        """Take slots for a request, making room if need be. QuotaError, NoSpace, NoStorage."""
        use = self._holdings.use(index)
        need = sum(shape.payload_bytes * count for shape, count in shapes.items())
        candidates = self.candidates(use, storage_name)
        self.fit_blocks(use, new_blocks, now_ms)
        self._fit(use, need, now_ms)
        fitting = [item for item in candidates if type_shortage(use, item.type, need) is None]
        if not fitting:
            first = candidates[0]
            shortage = type_shortage(use, first.type, need)
            assert shortage is not None
            self._reclaimer.make_room(use, shortage, now_ms)
            shortage = type_shortage(use, first.type, need)
            if shortage is not None:
                raise self._reclaimer.refusal(use, shortage, now_ms)
            fitting = [first]
        storage, extents = self._reserve(use, fitting, shapes, now_ms)
        use.charge(storage.number, storage.type, need)
        index.writing[storage.number] = index.writing.get(storage.number, 0) + need
        index.serving.setdefault(storage.number, 0)
        return Allocation(storage, extents, need)

    def candidates(self, use: GroupUse, storage_name: str | None) -> list[Storage]:
        """The storages a write may go to, best first; at least one, or NoStorageError."""
        group = use.group
        catalog = self._holdings.catalog
        if storage_name is not None:
            storage = catalog.get_storage(storage_name)
            if storage_name not in group.storages:
                raise NoStorageError(f"group {group.name!r} has no storage {storage_name!r}")
            if not storage.available:
                raise NoStorageError(f"storage {storage_name!r} is {storage.state.value}")
            return [storage]
        usable = [catalog.get_storage(name) for name in group.storages]
        usable = [storage for storage in usable if storage.available]
        if group.always_type is not None:
            usable = [storage for storage in usable if storage.type == group.always_type]
        elif group.prefer_type is not None:
            usable.sort(key=lambda storage: storage.type != group.prefer_type)
        if not usable:
            raise NoStorageError(f"group {group.name!r} has no storage available for this write")
        return usable

    def fit_blocks(self, use: GroupUse, new_blocks: int, now_ms: int) -> None:
        """Make room for new blocks under MAXBLOCKS, or QuotaError."""
        shortage = block_shortage(use, new_blocks)
        if shortage is not None:
            self._reclaimer.make_room(use, shortage, now_ms)
            shortage = block_shortage(use, new_blocks)
            if shortage is not None:
                raise self._reclaimer.refusal(use, shortage, now_ms)

    def _fit(self, use: GroupUse, need: int, now_ms: int) -> None:
        """Make the request fit the group's quota, or refuse it."""
        shortage = group_shortage(use, need)
        if shortage is not None:
            self._reclaimer.make_room(use, shortage, now_ms)
            shortage = group_shortage(use, need)
            if shortage is not None:
                raise self._reclaimer.refusal(use, shortage, now_ms)

    def _reserve(
        self, use: GroupUse, storages: list[Storage], shapes: dict[Shape, int], now_ms: int
    ) -> tuple[Storage, dict[Shape, list[Extent]]]:
        """The first storage with room; if none has, room is made on the first."""
        full: list[tuple[Storage, StoreFullError]] = []
        failed: list[StorageIOError] = []
        for storage in storages:
            try:
                return storage, reserve_all(storage, shapes)
            except StoreFullError as error:
                full.append((storage, error))
            except StorageIOError as error:
                failed.append(error)
        if not full:
            raise failed[0]
        storage, refused = full[0]
        number = frozenset((storage.number,))
        while self._reclaimer.reap_storage(storage.number, now_ms):
            try:
                return storage, reserve_all(storage, shapes)
            except StoreFullError as error:
                refused = error
        for _ in range(4):  # what one eviction frees need not lie together
            item = use.by_storage.get(storage.number)
            leaving = item.leaving if item is not None else 0
            missing = refused.need - refused.largest_free - leaving
            if not self._reclaimer.evict(use, missing, now_ms, storages=number):
                break
            try:
                return storage, reserve_all(storage, shapes)
            except StoreFullError as error:
                refused = error
        raise NoSpaceError(
            f"storage {storage.name} need={refused.need} largest_free={refused.largest_free}"
        )


def reserve_all(storage: Storage, shapes: dict[Shape, int]) -> dict[Shape, list[Extent]]:
    """Slots of every shape, or none and StoreFullError, or StorageIOError if it fails."""
    store = storage.opened()
    taken: dict[Shape, list[Extent]] = {}
    try:
        for shape, count in shapes.items():
            taken[shape] = store.reserve(shape, count)
    except StoreFullError:
        release_all(storage, taken)
        raise
    except OSError as error:
        release_all(storage, taken)
        raise StorageIOError(f"storage {storage.name}: {error}") from error
    return taken


def release_all(storage: Storage, taken: dict[Shape, list[Extent]]) -> None:
    """Give slots back that were never used."""
    store = storage.opened()
    for shape, extents in taken.items():
        for extent in extents:
            store.release(shape, extent.place, extent.count)
