"""A user of a cache with tiering whose blocks have bytes, and a mover that goes step by step."""

from typing import Any

from tests.testing.kvc_cache import CacheUser
from xxhash import xxh3_64_digest

from hotplate.engine.kvc_moves import copy_slots
from hotplate.kvc.keys import Keys
from hotplate.kvc.moves import Move


def content(key: bytes, spec: int = 0) -> bytes:
    """The ten bytes of a block's spec, different for every key."""
    return xxh3_64_digest(key + b"%d" % spec) + b"%02d" % spec


class TierUser(CacheUser):
    """Group `g` with TIERING, memory of `memory_blocks` blocks (a type quota), WATERMARKS."""

    def __init__(
        self,
        tiering: str = "exclusive",
        *,
        memory_blocks: int = 10,
        specs: int = 1,
        **group: Any,
    ) -> None:
        quota = {"memory": memory_blocks * 10 * specs} | group.pop("type_quotas", {})
        marks = {"high_watermark": 0.8, "low_watermark": 0.5} | group
        super().__init__(tiering=tiering, type_quotas=quota, specs=specs, **marks)

    def put(self, wanted: Keys, **options: Any) -> None:
        """Reserve, write and publish."""
        reserved = self.start(wanted, **options)
        sums = b""
        listing = wanted.listing()
        new = [key for key, bit in zip(listing, reserved.mask, strict=True) if bit == ord("0")]
        for span in reserved.spans:
            store = self.stores[self.storage_name(span.storage)]
            for offset in range(span.count):
                parts = [
                    content(new[span.first + offset], spec)
                    for spec in self.instance.numbers_in(span.specs)
                ]
                store.view(span.shape, span.place + offset)[:] = b"".join(parts)
                sums += b"".join(map(xxh3_64_digest, parts))
        if reserved.session_id is not None:
            self.finish(reserved.session_id, sums=sums)

    def storage_name(self, number: int) -> str:
        """The name of a storage number."""
        storage = self.catalog.storage_by_number[number]
        assert storage is not None
        return storage.name

    def where(self, wanted: Keys) -> list[str]:
        """For each key the storages of its copies, the one that is answered first; empty: none."""
        metas = self.cache.meta(self.instance, wanted, self.now)
        return [
            "" if meta is None else "+".join(self.storage_name(c.storage) for c in meta.copies)
            for meta in metas
        ]

    def next_move(self) -> Move | None:
        """The next copy to make."""
        return self.cache.next_move(self.now)

    def copy(self, move: Move) -> int:
        """Make a copy and end its move; how many blocks moved."""
        error: Exception | None = None
        try:
            copy_slots(move)
        except Exception as caught:  # as a thread would hand it over
            error = caught
        return self.cache.end_move(move, error, self.now)

    def settle(self) -> int:
        """Background work and moves until there is nothing to do; how many blocks moved."""
        moved = 0
        for _ in range(1_000):
            more = self.cache.tick(self.now)
            move = self.next_move()
            while move is not None:
                moved += self.copy(move)
                move = self.next_move()
                more = True
            if not more:
                return moved
        raise AssertionError("moves do not end")

    def read(self, key: bytes) -> bytes | None:
        """The bytes of a block by way of its answered location."""
        slot = self.cache.read(self.instance, key, None, self.now)
        if slot is None:
            return None
        return bytes(slot.store.read(slot.shape, slot.place, slot.offset, slot.size))
