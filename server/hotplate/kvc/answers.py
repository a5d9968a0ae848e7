"""What the cache answers: spans of blocks, matches, reservations, slots.

Plain values between the cache and the commands. A span speaks of consecutive blocks of the call
that lie in consecutive slots, so that thousands of blocks are one object.
"""

from dataclasses import dataclass, field
from enum import IntEnum

from hotplate.blocks import Shape
from hotplate.kvc.ports import BlockStore


class Mode(IntEnum):
    """How GETLOC matches the keys of a call."""

    PREFIX = 0
    EXACT = 1
    WINDOW = 2


@dataclass(slots=True)
class Span:
    """`count` answered blocks from the call's key `first` on, in slots `place`, `place + 1`, ...

    `storage` is its number in the catalog. `specs` is the mask of the specs that these copies
    hold; `sums` are 8 bytes big-endian for each block and held spec, empty while not known.
    Two spans can speak of one key when only several copies together hold what was asked; the
    first that holds a spec is the one to use.
    """

    first: int
    count: int
    storage: int
    shape: Shape
    place: int
    generation: int
    sums: bytes
    specs: int


@dataclass(slots=True)
class Match:
    """A GETLOC answer. With EXACT, keys that no span covers are misses."""

    matched: int
    start: int
    spans: list[Span] = field(default_factory=list)
    lease_id: bytes | None = None


@dataclass(slots=True)
class Reservation:
    """A STARTWRITE answer. `mask` has one `0` or `1` per given key, `1` means nothing to write.

    `first` of the spans counts the session's new keys, the zeros of the mask.
    """

    session_id: bytes | None
    mask: bytes
    spans: list[Span]


@dataclass(slots=True)
class Slot:
    """A slot, or the part of it that one spec has: `size` bytes from `offset` of its payload."""

    storage: int
    store: BlockStore
    shape: Shape
    place: int
    offset: int
    size: int


@dataclass(slots=True)
class ReadSlot(Slot):
    """Bytes that can be read. `parts` are (offset from the slot's payload, size, sum) per spec."""

    parts: list[tuple[int, int, int]]


@dataclass(slots=True)
class CopyMeta:
    """One copy of a block. `sums` is empty while it is being written."""

    storage: int
    state: str  # "writing" | "serving"
    specs: int
    size_bytes: int
    place: int
    generation: int
    shape: Shape
    sums: bytes


@dataclass(slots=True)
class Reclaimed:
    """What RECLAIM evicted, or would: blocks, bytes by storage number, and keys (a dry run)."""

    victims: int
    by_storage: dict[int, int]
    keys: list[bytes] | None = None


@dataclass(slots=True)
class BlockMeta:
    """A stored block. `expires_ms` is None for one that does not expire."""

    key: bytes
    parent: bytes | None
    state: str  # "writing" | "serving"
    size_bytes: int
    created_ms: int
    accessed_ms: int
    hits: int
    expires_ms: int | None
    priority: int
    leases: int
    copies: list[CopyMeta]
