"""What is counted of an instance: plain counters, and histograms that cost O(1).

Counters are written where things happen and added up when somebody asks (metrics.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

_BUCKETS: Final = 65  # of every 64-bit value
_QUANTILES: Final = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))


class Histogram:
    """How often values of each magnitude came: bucket b holds those of b bits."""

    __slots__ = ("buckets", "total")

    def __init__(self) -> None:
        self.buckets = [0] * _BUCKETS
        self.total = 0

    def add(self, value: int, times: int = 1) -> None:
        """A value (at least 0) came so many times."""
        self.buckets[value.bit_length()] += times
        self.total += value * times

    def merge(self, other: "Histogram") -> None:
        """Add what another counted."""
        self.buckets = [mine + its for mine, its in zip(self.buckets, other.buckets, strict=True)]
        self.total += other.total

    def describe(self) -> dict[str, Any]:
        """`count`, `mean`, quantiles, and `buckets`: how many values are below a power of two.

        Quantiles assume that values are spread evenly within their bucket.
        """
        count = sum(self.buckets)
        answer: dict[str, Any] = {"count": count, "mean": self.total / count if count else 0.0}
        answer |= {name: self._quantile(share * count) for name, share in _QUANTILES}
        answer["buckets"] = {str(1 << bits): n for bits, n in enumerate(self.buckets) if n}
        return answer

    def _quantile(self, rank: float) -> int:
        below = 0
        for bits, count in enumerate(self.buckets):
            if count and below + count >= rank:
                low = 1 << bits >> 1
                return low + int(low * (rank - below) / count)
            below += count
        return 0


@dataclass(slots=True)
class Counters:
    """What happened to an instance's blocks since the start.

    `requested` blocks of lookups are exactly `hits` and `misses`; hits are exactly `hits_by_type`,
    misses exactly the `misses_*`. A missed block is absent, only being written, past its time, on
    storages that are not available, or stored without all specs that were asked for; `behind` are
    those that PREFIX did not come to, or that WINDOW did not answer.
    `demoted`, `promoted` and `mirrored` blocks went to a slower storage, to a faster one, or were
    written through to a slower one.
    `reuse_blocks`: how many blocks were accessed between two accesses to the same one (the deepest
    that a lookup hits). `residence_ms`: how long blocks were there.
    `stops_*`: why PREFIX lookups ended before their last key, one count for each of these.
    """

    requested: int = 0
    hits: int = 0
    misses: int = 0
    hit_tokens: int = 0
    walks: int = 0
    misses_absent: int = 0
    misses_writing: int = 0
    misses_expired: int = 0
    misses_unavailable: int = 0
    misses_incomplete: int = 0
    misses_behind: int = 0
    stops_absent: int = 0
    stops_writing: int = 0
    stops_expired: int = 0
    stops_unavailable: int = 0
    stops_incomplete: int = 0
    published: int = 0
    dropped: int = 0
    evictions: int = 0
    expired: int = 0
    removed: int = 0
    sessions_started: int = 0
    sessions_expired: int = 0
    leases_refused: int = 0
    demoted: int = 0
    promoted: int = 0
    mirrored: int = 0
    mirrors_skipped: int = 0
    moves_failed: int = 0
    hits_by_type: dict[str, int] = field(default_factory=dict)
    evictions_by_cause: dict[str, int] = field(default_factory=dict)
    lookup_ns: Histogram = field(default_factory=Histogram)  # of every 16th lookup
    reuse_blocks: Histogram = field(default_factory=Histogram)  # of the same lookups
    residence_ms: Histogram = field(default_factory=Histogram)  # of blocks evicted or expired

    def hit(
        self, blocks_by_storage: Mapping[int, int], types: Sequence[str], blocks: int, tokens: int
    ) -> None:
        """A lookup hit so many blocks; `types` are those of the storages."""
        self.hits += blocks
        self.hit_tokens += tokens
        by_type = self.hits_by_type
        for number, count in blocks_by_storage.items():
            by_type[types[number]] = by_type.get(types[number], 0) + count

    def evict(self, cause: str, count: int) -> None:
        """Blocks were evicted: for room that a write needs, by a watermark, by a command."""
        self.evictions += count
        by_cause = self.evictions_by_cause
        by_cause[cause] = by_cause.get(cause, 0) + count

    def miss(self, reason: str, count: int = 1) -> None:
        """Blocks were missed."""
        self.misses += count
        name = f"misses_{reason}"
        setattr(self, name, getattr(self, name) + count)

    def stop(self, reason: str, count: int) -> None:
        """A PREFIX lookup ended for a reason, before so many keys."""
        name = f"stops_{reason}"
        setattr(self, name, getattr(self, name) + 1)
        self.miss(reason)
        self.misses += count - 1
        self.misses_behind += count - 1


def describe(counters: Sequence[Counters]) -> dict[str, Any]:
    """All of them together, by name."""
    total = Counters()
    for item in counters:
        for each in fields(Counters):
            mine, its = getattr(total, each.name), getattr(item, each.name)
            if isinstance(mine, Histogram):
                mine.merge(its)
            elif isinstance(mine, dict):
                for name, count in its.items():
                    mine[name] = mine.get(name, 0) + count
            else:
                setattr(total, each.name, mine + its)
    answer: dict[str, Any] = {}
    for each in fields(Counters):
        value = getattr(total, each.name)
        answer[each.name] = value.describe() if isinstance(value, Histogram) else value
    return answer
