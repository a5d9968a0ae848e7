"""The KV cache's administrative records: storages, groups, instances and their specs.

Owns the shape of these records and what follows from one of them alone. Rules that span several
(references, versions, limits of a group) are the catalog's; blocks and bytes are the index's.

Names of storages, groups and specs are text (`str`); instance ids are bytes, as block keys are.
A Group changes in place under its version, so that whoever holds it sees an update at once.
An Instance and its specs never change after registration (USERDATA aside).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from hotplate.blocks import Shape
from hotplate.kvc.policy import DEFAULT_POLICY
from hotplate.kvc.ports import BlockStore
from hotplate.wire.schema import pack_specs

STORAGE_NUMBER_MAX: Final = 200  # a block's state byte is 16 + the number
SUM_BYTES: Final = 8  # an xxh3-64
SPECS_MAX: Final = 64  # of an instance: their subset is a bit mask in one machine word

STORAGE_TYPES: Final = ("memory", "ssd", "file")  # from the fastest tier to the slowest
TIERINGS: Final = ("none", "exclusive", "inclusive")
DEFAULT_HIGH_WATERMARK: Final = 0.95
DEFAULT_LOW_WATERMARK: Final = 0.85
DEFAULT_GRACE_MS: Final = 1000
DEFAULT_RETAIN_FRACTION: Final = 0.2


class StorageState(StrEnum):
    """Whether a storage takes writes and answers reads."""

    AVAILABLE = "available"
    DISABLED = "disabled"
    FAILING = "failing"


@dataclass(slots=True, eq=False)
class Storage:
    """A named place for block bytes. `store` is None only until it is opened."""

    number: int  # 0..STORAGE_NUMBER_MAX, unique among the storages that exist
    name: str
    type: str  # one of STORAGE_TYPES
    path: str | None = None  # None: the server chooses the directory
    capacity_bytes: int | None = None  # None: the server's default for the type
    segment_bytes: int | None = None
    keys_per_file: int | None = None  # of type file only
    map_allowed: bool = True
    options: dict[str, str] = field(default_factory=dict)
    enabled: bool = True
    failure: str = ""  # why it is failing; empty while it works
    store: BlockStore | None = None

    @property
    def state(self) -> StorageState:
        """What is shown; a storage that is disabled need not work."""
        if not self.enabled:
            return StorageState.DISABLED
        return StorageState.FAILING if self.failure else StorageState.AVAILABLE

    @property
    def available(self) -> bool:
        """Whether it takes writes and its copies count as hits."""
        return self.state is StorageState.AVAILABLE

    @property
    def tier(self) -> int:
        """The rank of its type, 0 the fastest."""
        return STORAGE_TYPES.index(self.type)

    def opened(self) -> BlockStore:
        """The store behind it."""
        if self.store is None:
            raise RuntimeError(f"storage {self.name} is not open")
        return self.store


@dataclass(slots=True, eq=False, kw_only=True)
class Group:
    """A tenant, team or model family: where its blocks may go and how much they may take."""

    name: str
    storages: tuple[str, ...]
    quota_bytes: int | None = None
    type_quotas: Mapping[str, int] = field(default_factory=dict)
    high_watermark: float = DEFAULT_HIGH_WATERMARK
    low_watermark: float = DEFAULT_LOW_WATERMARK
    policy: str = DEFAULT_POLICY
    ttl_s: int | None = None
    grace_ms: int = DEFAULT_GRACE_MS
    retain_fraction: float = DEFAULT_RETAIN_FRACTION
    prefer_type: str | None = None  # this type first, others if it has no room
    always_type: str | None = None  # this type only
    tiering: str = "none"
    max_blocks: int | None = None
    max_instances: int | None = None
    max_sessions: int | None = None
    map_allowed: bool = True
    userdata: bytes = b""
    version: int = 1


@dataclass(frozen=True, slots=True)
class Spec:
    """A location spec: one part of every block, such as one tensor-parallel rank's."""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SpecGroup:
    """A named subset of an instance's specs."""

    name: str
    specs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What the bytes of an instance mean; the server only compares and shows it."""

    model: str = ""
    dtype: str = ""
    mla: bool = False
    tp: int = 1
    dp: int = 1
    pp: int = 1
    lora: str = ""
    extra: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What REGISTER says of an instance, USERDATA aside: equal content is the same instance."""

    id: bytes
    group: str
    block_tokens: int
    specs: tuple[Spec, ...]
    spec_groups: tuple[SpecGroup, ...] = ()  # sorted by name, each with its specs in spec order
    chained: bool = True
    hash_scheme: str = "kvcm"
    hash_seed: str = ""
    deployment: Deployment = field(default_factory=Deployment)


@dataclass(slots=True, eq=False)
class Instance:
    """One model deployment in one group. Everything but `userdata` is settled at registration."""

    number: int  # unique among all instances of this process, never given twice
    group: Group
    registration: Registration
    userdata: bytes
    id: bytes = field(init=False)
    block_tokens: int = field(init=False)
    chained: bool = field(init=False)
    specs: tuple[Spec, ...] = field(init=False)
    total_bytes: int = field(init=False)  # of one block, all specs
    all_specs: int = field(init=False)  # the bit mask of every spec
    spec_numbers: dict[str, int] = field(init=False)  # name -> its bit
    spec_offsets: tuple[int, ...] = field(init=False)  # of each spec in a copy of all specs
    spec_group_masks: dict[str, int] = field(init=False)
    packed_specs: bytes = field(init=False)  # how answers packed with msgpack name the specs

    def __post_init__(self) -> None:
        registration = self.registration
        self.id = registration.id
        self.block_tokens = registration.block_tokens
        self.chained = registration.chained
        self.specs = registration.specs
        offsets = [0]
        for spec in self.specs:
            offsets.append(offsets[-1] + spec.size_bytes)
        self.total_bytes = offsets.pop()
        self.spec_offsets = tuple(offsets)
        self.all_specs = (1 << len(self.specs)) - 1
        self.spec_numbers = {spec.name: number for number, spec in enumerate(self.specs)}
        self.spec_group_masks = {
            group.name: self.mask_of(group.specs) for group in registration.spec_groups
        }
        self.packed_specs = pack_specs([(spec.name, spec.size_bytes) for spec in self.specs])

    def mask_of(self, names: tuple[str, ...] | list[str]) -> int:
        """The bit mask of the named specs; KeyError for a name that is not registered."""
        mask = 0
        for name in names:
            mask |= 1 << self.spec_numbers[name]
        return mask

    def numbers_in(self, mask: int) -> list[int]:
        """The spec numbers of a mask, in registration order."""
        return [number for number in range(len(self.specs)) if mask >> number & 1]

    def bytes_of(self, mask: int) -> int:
        """The bytes of one copy that holds the specs of `mask`."""
        if mask == self.all_specs:
            return self.total_bytes
        return sum(self.specs[number].size_bytes for number in self.numbers_in(mask))

    def offset_in(self, mask: int, number: int) -> int:
        """Where spec `number` begins in a copy that holds the specs of `mask`."""
        return self.bytes_of(mask & ((1 << number) - 1))

    def shape(self, mask: int, key_bytes: int) -> Shape:
        """The slot class of a copy that holds the specs of `mask`."""
        return Shape(self.bytes_of(mask), key_bytes, mask.bit_count())
