"""What a group uses, exactly: registered spec bytes of every copy, by state and storage.

Owns the counters and what a limit means for a request; it frees nothing itself. `used` counts
WRITING, SERVING and DELETING copies until their slots are given back. Alignment and fragmentation
are the storages' business.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hotplate.errors import QuotaError
from hotplate.kvc.model import Group

if TYPE_CHECKING:
    from hotplate.kvc.burial import Grave
    from hotplate.kvc.index import Index

NEVER_FITS: Final = -1  # a retry_ms


@dataclass(slots=True)
class StorageUse:
    """A group's bytes on one storage."""

    type: str
    writing: int = 0
    serving: int = 0
    deleting: int = 0
    leaving: int = 0  # the part of `deleting` that goes after the group's grace

    @property
    def used(self) -> int:
        """All bytes that count against quotas."""
        return self.writing + self.serving + self.deleting


@dataclass(slots=True)
class Turns:
    """What each instance of a group has given in evictions, in shares of its use (victims.py)."""

    given: dict[int, int] = field(default_factory=dict)  # by instance number
    floor: int = 0  # what the last one to give had given before

    def given_by(self, number: int) -> int:
        """What counts as given: who had nothing to give for a while starts where the others are."""
        return max(self.given.get(number, 0), self.floor)

    def took(self, number: int, given: int, step: int, count: int) -> None:
        """An instance gave `count` steps more."""
        self.given[number] = given + step * count
        self.floor = max(self.floor, given + step * (count - 1))


@dataclass(slots=True, eq=False)
class GroupUse:
    """The state of one group beside its record."""

    group: Group
    used: int = 0
    by_storage: dict[int, StorageUse] = field(default_factory=dict)
    by_type: dict[str, int] = field(default_factory=dict)
    sessions: int = 0
    leases: int = 0
    leased_bytes: int = 0
    indexes: "dict[int, Index]" = field(default_factory=dict)  # by instance number
    graves: "list[tuple[int, int, Grave]]" = field(default_factory=list)  # heap: due, order
    reclaiming: set[str] = field(default_factory=set)  # limits being reclaimed down to low
    turns: Turns = field(default_factory=Turns)
    demotes: frozenset[int] = frozenset()  # storages that demotion relieves, not reclaim

    @property
    def blocks(self) -> int:
        """Blocks of all instances, those being written included."""
        return sum(index.blocks for index in self.indexes.values())

    def at(self, storage: int, storage_type: str) -> StorageUse:
        """The counters of one storage."""
        use = self.by_storage.get(storage)
        if use is None:
            use = self.by_storage[storage] = StorageUse(storage_type)
        return use

    def charge(self, storage: int, storage_type: str, size_bytes: int) -> None:
        """Slots were reserved."""
        self.at(storage, storage_type).writing += size_bytes
        self.used += size_bytes
        self.by_type[storage_type] = self.by_type.get(storage_type, 0) + size_bytes

    def refund(self, use: StorageUse, size_bytes: int) -> None:
        """Slots were given back; the caller has taken them out of their state's counter."""
        self.used -= size_bytes
        self.by_type[use.type] -= size_bytes


@dataclass(frozen=True, slots=True)
class Shortage:
    """A limit that a request exceeds now. `storages` are those whose bytes count, None for all."""

    kind: str  # group | type | blocks
    name: str
    used: int
    limit: int
    need: int
    storages: frozenset[int] | None = None

    @property
    def missing(self) -> int:
        """How much must go."""
        return self.used + self.need - self.limit

    def error(self, retry_ms: int) -> QuotaError:
        """The refusal."""
        if self.need > self.limit:
            retry_ms = NEVER_FITS
        return QuotaError(
            f"{self.kind} {self.name} used={self.used} limit={self.limit} need={self.need}"
            f" retry_ms={retry_ms}"
        )


def group_shortage(use: GroupUse, need: int) -> Shortage | None:
    """Whether `need` more bytes exceed the group's quota."""
    limit = use.group.quota_bytes
    if limit is None or use.used + need <= limit:
        return None
    return Shortage("group", use.group.name, use.used, limit, need)


def type_shortage(use: GroupUse, storage_type: str, need: int) -> Shortage | None:
    """Whether `need` more bytes exceed the group's quota of a storage type."""
    limit = use.group.type_quotas.get(storage_type)
    used = use.by_type.get(storage_type, 0)
    if limit is None or used + need <= limit:
        return None
    storages = frozenset(
        number for number, item in use.by_storage.items() if item.type == storage_type
    )
    return Shortage("type", storage_type, used, limit, need, storages)


def block_shortage(use: GroupUse, need: int) -> Shortage | None:
    """Whether `need` more blocks exceed the group's MAXBLOCKS."""
    limit = use.group.max_blocks
    if limit is None:
        return None
    used = use.blocks
    if used + need <= limit:
        return None
    return Shortage("blocks", use.group.name, used, limit, need)
