"""Leases: answered copies that stay where they are until a time.

Owns which ids a lease covers, how many bytes of a group are leased (each block once, however many
leases cover it), and what became of leased blocks that were removed. It frees nothing itself.

A lease covers ranges of ids, each within one run; they stand in `index.leases` under the run's
first id. When a covered block is removed its id can get a new owner, so the range is cut there
and the copy goes on as a grave that the lease holds.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hotplate.kvc.burial import Grave
    from hotplate.kvc.index import Copy, Index

LEASES_MAX: Final = 65_536  # of one group; beyond it the lease is nil


@dataclass(slots=True, eq=False)
class LeaseRange:
    """Ids low..high-1 of the run that begins at `run`."""

    run: int
    low: int
    high: int
    lease: "Lease"


@dataclass(slots=True, eq=False)
class Lease:
    """One lease. `removed` are copies of leased blocks that were removed since, by key."""

    id: bytes
    index: "Index"
    end_ms: int
    ranges: list[LeaseRange] = field(default_factory=list)
    graves: "list[Grave]" = field(default_factory=list)
    removed: "dict[bytes, list[Copy]]" = field(default_factory=dict)
    over: bool = False


def covered(ranges: list[LeaseRange]) -> int:
    """How many ids the ranges of one run cover together."""
    if len(ranges) == 1:
        return ranges[0].high - ranges[0].low
    total = 0
    end = -1
    for low, high in sorted((item.low, item.high) for item in ranges):
        if high > end:
            total += high - max(low, end)
            end = high
    return total


def attach(lease: Lease, pieces: list[tuple[int, int]]) -> int:
    """Cover id ranges, each within one run. How many ids were not leased before."""
    index = lease.index
    fresh = 0
    for low, high in pieces:
        run = index.run[low]
        ranges = index.leases.setdefault(run, [])
        before = covered(ranges)
        item = LeaseRange(run, low, high, lease)
        ranges.append(item)
        lease.ranges.append(item)
        fresh += covered(ranges) - before
    return fresh


def detach(lease: Lease) -> int:
    """Uncover all that the lease covers. How many ids are not leased any more."""
    index = lease.index
    freed = 0
    for item in lease.ranges:
        ranges = index.leases[item.run]
        before = covered(ranges)
        ranges.remove(item)
        freed += before - covered(ranges)
        if not ranges:
            del index.leases[item.run]
    return freed


def holders(index: "Index", block: int) -> list[Lease]:
    """The leases that cover a block."""
    ranges = index.leases.get(index.run[block])
    if not ranges:
        return []
    return [item.lease for item in ranges if item.low <= block < item.high]


def cut(index: "Index", block: int) -> None:
    """A covered block is going: no range covers its id any more."""
    run = index.run[block]
    kept: list[LeaseRange] = []
    for item in index.leases[run]:
        if not item.low <= block < item.high:
            kept.append(item)
            continue
        lease = item.lease
        if block + 1 < item.high:
            rest = LeaseRange(run, block + 1, item.high, lease)
            lease.ranges.append(rest)
            kept.append(rest)
        item.high = block
        if item.low < item.high:
            kept.append(item)
        else:
            lease.ranges.remove(item)
    if kept:
        index.leases[run] = kept
    else:
        del index.leases[run]
