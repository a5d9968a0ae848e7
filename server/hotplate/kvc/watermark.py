"""How much has to go: the limits of a group, its watermarks, and what is above them.

A limit (the group's bytes, those of a storage type, the number of blocks) that reaches the high
watermark is reclaimed down to the low one: in slices, `reclaiming` says which limits are at it.
Bytes on their way out are credited. It evicts nothing itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from hotplate.kvc.quota import GroupUse


@dataclass(frozen=True, slots=True)
class Target:
    """So much is to go: bytes on some storages (None: all), or blocks."""

    missing: int
    storages: frozenset[int] | None = None
    count_blocks: bool = False


@dataclass(slots=True)
class Freed:
    """What a rehearsal has evicted so far: bytes by storage, and blocks."""

    by_storage: dict[int, int] = field(default_factory=dict)
    blocks: int = 0

    def on(self, storages: frozenset[int] | None) -> int:
        """Bytes on some storages, or on all."""
        return sum(
            size_bytes
            for number, size_bytes in self.by_storage.items()
            if storages is None or number in storages
        )


def targets(use: GroupUse, freed: Freed, *, forced: bool = False) -> Iterator[Target]:
    """What is above the low watermarks, limit by limit; evict for each before asking for the next.

    Only where the high one was reached, unless `forced`. `freed` is what a rehearsal took away.
    """
    group = use.group
    if group.quota_bytes is not None:
        used = sum(item.used - item.leaving for item in use.by_storage.values()) - freed.on(None)
        yield Target(_over(use, "group", used, group.quota_bytes, forced))
    for kind, quota in group.type_quotas.items():
        items = {n: item for n, item in use.by_storage.items() if item.type == kind}
        storages = frozenset(items)
        used = sum(item.used - item.leaving for item in items.values()) - freed.on(storages)
        yield Target(_over(use, f"type {kind}", used, quota, forced), storages)
    if group.max_blocks is not None:
        missing = _over(use, "blocks", use.blocks - freed.blocks, group.max_blocks, forced)
        yield Target(missing, count_blocks=True)


def _over(use: GroupUse, name: str, used: int, limit: int, forced: bool) -> int:
    """How much is above the low watermark."""
    low = int(limit * use.group.low_watermark)
    if forced:
        return used - low
    if used >= limit * use.group.high_watermark:
        use.reclaiming.add(name)
    if used <= low:
        use.reclaiming.discard(name)
    return used - low if name in use.reclaiming else 0
