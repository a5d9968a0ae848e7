"""A block store without files: slots in a dict, checked at every call.

It refuses what a real store could only corrupt: releasing a slot twice, publishing a slot that is
free, handing out more than its capacity. `linear=False` hands out single slots, each an extent.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hotplate.blocks import Extent, Shape, StoreFullError


class FakeBlockStore:
    """Slots by number; a slot takes `payload_bytes` of the capacity."""

    blocking = False

    def __init__(
        self, name: str, kind: str = "memory", capacity_bytes: int = 1 << 40, *, linear: bool = True
    ) -> None:
        self.name = name
        self.kind = kind
        self.capacity_bytes = capacity_bytes
        self.linear = linear
        self.slots: dict[int, Shape] = {}
        self.generations: dict[int, int] = {}
        self.published: dict[int, tuple[bytes, bytes]] = {}
        self.bytes: dict[int, bytearray] = {}
        self.used_bytes = 0
        self._generation = 0
        self._next = 1 << 32
        self._free: list[int] = []

    def _places(self, count: int) -> Iterator[tuple[int, int]]:
        while count and self._free and not self.linear:
            count -= 1
            yield self._free.pop(), 1
        if count:
            yield self._next, count
            self._next += count

    def reserve(self, shape: Shape, count: int) -> list[Extent]:
        """Slots in a few extents, all or StoreFullError."""
        need = shape.payload_bytes * count
        if self.used_bytes + need > self.capacity_bytes:
            raise StoreFullError(need, self.capacity_bytes - self.used_bytes)
        self._generation += 1
        self.used_bytes += need
        extents: list[Extent] = []
        for place, length in self._places(count):
            for slot in range(place, place + length):
                assert slot not in self.slots
                self.slots[slot] = shape
                self.generations[slot] = self._generation
            extents.append(Extent(place, length, self._generation))
        return extents

    def release(self, shape: Shape, place: int, count: int) -> None:
        """Give slots back."""
        for slot in range(place, place + count):
            assert self.slots.pop(slot) == shape
            self.published.pop(slot, None)
            self.bytes.pop(slot, None)
            self._free.append(slot)
        self.used_bytes -= shape.payload_bytes * count

    def publish(self, shape: Shape, place: int, keys: bytes, sums: bytes) -> None:
        """Remember keys and sums of slots."""
        width, sum_bytes = shape.key_bytes, 8 * shape.sum_count
        count = len(keys) // width
        assert len(keys) == width * count
        assert len(sums) == sum_bytes * count
        for number in range(count):
            assert self.slots[place + number] == shape
            self.published[place + number] = (
                keys[number * width : (number + 1) * width],
                sums[number * sum_bytes : (number + 1) * sum_bytes],
            )

    def generation(self, shape: Shape, place: int) -> int:
        """The slot's generation."""
        assert self.slots[place] == shape
        return self.generations[place]

    def view(self, shape: Shape, place: int) -> memoryview:
        """The slot's payload."""
        assert self.slots[place] == shape
        return memoryview(self.bytes.setdefault(place, bytearray(shape.payload_bytes)))

    def write(self, shape: Shape, place: int, offset: int, data: memoryview | bytes) -> None:
        """Write into a slot."""
        self.view(shape, place)[offset : offset + len(data)] = data

    def read(self, shape: Shape, place: int, offset: int, size: int) -> bytes:
        """Read from a slot."""
        return bytes(self.view(shape, place)[offset : offset + size])

    def sync(self, places: Sequence[int]) -> None:
        """Nothing to do."""

    def locate(self, shape: Shape, place: int) -> tuple[str, int, int]:
        """One segment, slots one after the other."""
        return "segment", (place & 0xFFFFFFFF) * shape.payload_bytes, shape.payload_bytes

    def slots_from(self, place: int) -> int:
        """All of them."""
        return (1 << 32) - (place & 0xFFFFFFFF)

    def describe(self) -> Mapping[str, Any]:
        """Figures."""
        free = self.capacity_bytes - self.used_bytes
        return {
            "path": "",
            "capacity_bytes": self.capacity_bytes,
            "allocated_bytes": self.used_bytes,
            "free_bytes": free,
            "largest_free_bytes": free,
            "segments": 1,
        }

    def close(self, *, remove: bool) -> None:
        """Forget everything."""
        del remove
        self.slots.clear()
