"""The index alone, in this process: bytes a block, and lookup times small and large.

Block bytes go nowhere: NullStore only hands out slots. What is printed is the growth of the process
(resident bytes) per block, keys, parents and sums included, and the time of a lookup with few and
with many blocks in the index. Fixed targets: BYTES_TARGET and GROWTH_TARGET.
"""

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from hotplate.blocks import PLACE_SEGMENT_SHIFT, Extent, Shape
from hotplate.kvc import write_session
from hotplate.kvc.answers import Mode
from hotplate.kvc.cache import Cache
from hotplate.kvc.catalog import Catalog
from hotplate.kvc.keys import Keys
from hotplate.kvc.model import Instance, Registration, Spec, Storage

KEY_BYTES: Final = 16
BLOCK_BYTES: Final = 4096
CHAIN_BLOCKS: Final = 2048
SMALL_BLOCKS: Final = 10_240
SAMPLES: Final = 300
SAMPLED_CHAINS: Final = 64
NOW_MS: Final = 1_700_000_000_000
SEED: Final = 31_337
BYTES_TARGET: Final = 300.0  # a block
GROWTH_TARGET: Final = 1.5  # COUNT with all blocks, in times of COUNT with SMALL_BLOCKS
SEGMENT_SLOTS: Final = 1 << 20


class NullStore:
    """A storage of any size that holds nothing."""

    __slots__ = ("_generation", "_next", "blocking", "capacity_bytes", "kind", "name")

    def __init__(self) -> None:
        self.name = "memory"
        self.kind = "memory"
        self.blocking = False
        self.capacity_bytes = 1 << 60
        self._next = 0
        self._generation = 0

    def reserve(self, shape: Shape, count: int) -> list[Extent]:
        """Slots that were never used, consecutive but where a segment ends."""
        self._generation += 1
        extents = []
        while count:
            segment, slot = divmod(self._next, SEGMENT_SLOTS)
            taken = min(count, SEGMENT_SLOTS - slot)
            extents.append(Extent(segment << PLACE_SEGMENT_SHIFT | slot, taken, self._generation))
            self._next += taken
            count -= taken
        return extents

    def release(self, shape: Shape, place: int, count: int) -> None:
        """Nothing to give back."""

    def publish(self, shape: Shape, place: int, keys: bytes, sums: bytes) -> None:
        """Nothing to mark."""

    def generation(self, shape: Shape, place: int) -> int:
        """The last one given."""
        return self._generation

    def view(self, shape: Shape, place: int) -> memoryview:
        """There is no payload."""
        raise OSError("this storage holds nothing")

    def write(self, shape: Shape, place: int, offset: int, data: memoryview | bytes) -> None:
        """There is no payload."""
        raise OSError("this storage holds nothing")

    def read(self, shape: Shape, place: int, offset: int, size: int) -> bytes:
        """There is no payload."""
        raise OSError("this storage holds nothing")

    def sync(self, places: Sequence[int]) -> None:
        """Nothing to make durable."""

    def locate(self, shape: Shape, place: int) -> tuple[str, int, int]:
        """As a segment of page-aligned slots would have it."""
        segment, slot = divmod(place, 1 << PLACE_SEGMENT_SHIFT)
        return f"segment-{segment}", slot * shape.payload_bytes, shape.payload_bytes

    def slots_from(self, place: int) -> int:
        """All of them."""
        return (1 << PLACE_SEGMENT_SHIFT) - place % (1 << PLACE_SEGMENT_SHIFT)

    def describe(self) -> Mapping[str, Any]:
        """The figures of an empty storage."""
        sizes = dict.fromkeys(("capacity_bytes", "free_bytes", "largest_free_bytes"), 1 << 60)
        return {"path": "", "allocated_bytes": 0, "segments": 0, **sizes}

    def close(self, *, remove: bool) -> None:
        """Nothing to close."""


def build_cache() -> tuple[Cache, Instance]:
    """A cache with one storage, one group and one instance."""
    catalog = Catalog()
    storage = Storage(0, "memory", "memory", store=NullStore())
    catalog.add_storage(storage)
    cache = Cache(catalog, index_bytes_max=1 << 60)
    cache.storage_changed(storage)
    cache.group_changed(catalog.create_group("default", {"storages": ("memory",)}))
    registration = Registration(
        id=b"bench", group="default", block_tokens=16, specs=(Spec("kv", BLOCK_BYTES),)
    )
    instance, _ = catalog.register(registration, b"")
    cache.create_index(instance)
    return cache, instance


class Filler:
    """Publishes chains of random keys, and remembers some of them to look up."""

    __slots__ = ("_instance", "_source", "blocks", "cache", "sample")

    def __init__(self) -> None:
        self.cache, self._instance = build_cache()
        self._source = random.Random(SEED)
        self.blocks = 0
        self.sample: list[bytes] = []

    def fill(self, blocks: int) -> None:
        """Add chains until the index holds at least `blocks`."""
        sums = b"\1" * (8 * CHAIN_BLOCKS)
        stride = max(1, blocks // CHAIN_BLOCKS // SAMPLED_CHAINS)
        number = 0
        while self.blocks < blocks:
            blob = self._source.randbytes(KEY_BYTES * CHAIN_BLOCKS)
            reserved = self.cache.start_write(
                self._instance, Keys.packed(KEY_BYTES, blob), now_ms=NOW_MS, timeout_ms=30_000
            )
            if reserved.session_id is None:
                raise RuntimeError("a chain of random keys is stored already")
            self.cache.finish(self._instance, reserved.session_id, write_session.ALL, sums, NOW_MS)
            self.blocks += CHAIN_BLOCKS
            if number % stride == 0:
                self.sample.append(blob)
            number += 1

    def lookup_us(self, *, spans: bool) -> float:
        """Median microseconds of one match of a whole chain, over chains all over the index."""

        def match(blob: bytes) -> int:
            return self.cache.match(
                self._instance,
                Keys.packed(KEY_BYTES, blob),
                mode=Mode.PREFIX,
                now_ms=NOW_MS,
                spans=spans,
            ).matched

        return median_us(match, self.sample)


def median_us(match: Callable[[bytes], int], sample: Sequence[bytes]) -> float:
    """Median time of a call over the sample, in turn; each must match completely."""
    times = []
    for number in range(SAMPLES):
        blob = sample[number % len(sample)]
        begin = time.perf_counter_ns()
        matched = match(blob)
        times.append(time.perf_counter_ns() - begin)
        if matched != CHAIN_BLOCKS:
            raise RuntimeError(f"{matched} of {CHAIN_BLOCKS} blocks matched")
    return median(times) / 1000


def resident_bytes() -> int:
    """Of this process, anonymous pages only (a binary's own pages come and go)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no RssAnon line")


def run(blocks: int, *, json_path: Path | None) -> int:
    """Fill, measure, print: 0, or 1 where a target is missed."""
    filler = Filler()
    filler.fill(min(SMALL_BLOCKS, blocks))
    small = {spans: filler.lookup_us(spans=spans) for spans in (False, True)}
    small_blocks = filler.blocks
    before = resident_bytes()
    begin = time.perf_counter()
    filler.fill(blocks)
    seconds = time.perf_counter() - begin
    added = filler.blocks - small_blocks
    figures: dict[str, float] = {"blocks": filler.blocks}
    print(f"index: {filler.blocks} blocks of {KEY_BYTES}-byte keys in chains of {CHAIN_BLOCKS}")
    met = []
    if added:
        figures["bytes_a_block"] = (resident_bytes() - before) / added
        figures["blocks_per_second"] = added / seconds
        met.append(figures["bytes_a_block"] <= BYTES_TARGET)
        print(
            f"  {figures['bytes_a_block']:.0f} bytes a block (target <= {BYTES_TARGET:.0f}), "
            f"{figures['blocks_per_second']:.0f} blocks/s reserved and published"
        )
    for spans, name in ((False, "COUNT"), (True, "locations")):
        large = filler.lookup_us(spans=spans)
        growth = large / small[spans]
        figures |= {f"{name.lower()}_us_small": small[spans], f"{name.lower()}_us": large}
        target = "" if spans else f" (target <= {GROWTH_TARGET})"
        print(
            f"  GETLOC {name} of {CHAIN_BLOCKS}: {small[spans]:.1f} us at {small_blocks} blocks, "
            f"{large:.1f} us at {filler.blocks}: x{growth:.2f}{target}"
        )
        if not spans:
            met.append(growth <= GROWTH_TARGET)
    print(f"{sum(met)} of {len(met)} targets met")
    if json_path is not None:
        json_path.write_text(json.dumps(figures, indent=2) + "\n")
    return 0 if all(met) else 1
