"""What a restart sees of a fake block store: its slots, to be adopted; nothing is changed by it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.testing.block_store import FakeBlockStore

from hotplate.blocks import Found, Shape
from hotplate.kvc.model import Storage


def opener(stores: Mapping[str, FakeBlockStore]) -> Any:
    """Opens storages on what another server left in `stores`, by name."""

    def opened(storage: Storage) -> KeptFakeStore:
        return KeptFakeStore(stores[storage.name])

    return opened


class KeptFakeStore:
    """A storage that was opened on what another server left in `store`."""

    def __init__(self, store: FakeBlockStore) -> None:
        self.name, self.kind = store.name, store.kind
        self.blocking = False
        self.capacity_bytes = store.capacity_bytes
        self._store = store
        self.adopted: set[int] = set()
        self.released: set[int] = set()

    def adopt(self, place: int, count: int, generation: int) -> Sequence[Found]:
        """Those slots that have this generation and were not adopted before, one by one."""
        found: list[Found] = []
        for slot in range(place, place + count):
            shape = self._store.slots.get(slot)
            fits = shape is not None and self._store.generations[slot] == generation
            if shape is None or not fits or slot in self.adopted:
                continue
            self.adopted.add(slot)
            keys, sums = self._store.published.get(slot, (b"", b""))
            found.append(Found(shape, slot, 1, generation, bool(keys), keys, sums))
        return found

    def found(self) -> Iterator[Found]:
        """What is left."""
        for slot in self._store.slots.keys() - self.adopted:
            yield from self.adopt(slot, 1, self._store.generations[slot])

    def settle(self) -> int:
        """How many slots nobody adopted."""
        return len(self._store.slots.keys() - self.adopted)

    def release(self, shape: Shape, place: int, count: int) -> None:
        """Slots that were adopted and are not needed."""
        for slot in range(place, place + count):
            assert self._store.slots[slot] == shape
            assert slot in self.adopted
            assert slot not in self.released
            self.released.add(slot)

    def publish(self, shape: Shape, place: int, keys: bytes, sums: bytes) -> None:
        """Slots that were adopted are finished after all."""
        count = len(keys) // shape.key_bytes
        assert len(sums) == 8 * shape.sum_count * count
        assert self.adopted.issuperset(range(place, place + count))

    def describe(self) -> dict[str, Any]:
        """As the store itself."""
        return dict(self._store.describe())
