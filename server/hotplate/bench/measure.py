"""Two things measured in turn, and what that says: A B A B ..., medians with quartiles, ratios.

A ratio over 1 means that ours is the better one, faster or smaller, whatever was measured. It is
taken pair by pair, so that a slow minute of the machine hits both sides of a pair. Knows no server.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

CALIBRATION_CALLS: Final = 3
Figure = TypeVar("Figure")  # what is measured: a rate, a time, or several


@dataclass(frozen=True, slots=True)
class Spread:
    """The quartiles of a series."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of at least one value."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(low, median, high)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One line of a report."""

    name: str
    unit: str  # "/s" and "GB/s": more is better; "us" and "B": less is better
    ours: Spread
    theirs: Spread
    ratio: Spread
    target: float | None  # the least ratio to reach

    @property
    def met(self) -> bool | None:
        """Whether the median ratio reaches the target; None without one."""
        return None if self.target is None else self.ratio.median >= self.target


def compare_rates(
    name: str, pairs: Sequence[tuple[float, float]], *, unit: str = "/s", target: float | None
) -> Comparison:
    """From (ours, theirs) where more is better."""
    return Comparison(
        name,
        unit,
        Spread.of([ours for ours, _ in pairs]),
        Spread.of([theirs for _, theirs in pairs]),
        Spread.of([ours / theirs for ours, theirs in pairs]),
        target,
    )


def compare_sizes(
    name: str, pairs: Sequence[tuple[float, float]], *, target: float | None
) -> Comparison:
    """From (ours, theirs) in bytes, where less is better."""
    return Comparison(
        name,
        " B",
        Spread.of([ours for ours, _ in pairs]),
        Spread.of([theirs for _, theirs in pairs]),
        Spread.of([theirs / ours for ours, theirs in pairs]),
        target,
    )


def compare_times(
    name: str, pairs: Sequence[tuple[float, float]], *, target: float | None
) -> Comparison:
    """From (ours, theirs) in seconds a call; shown in microseconds."""
    return Comparison(
        name,
        "us",
        Spread.of([ours * 1e6 for ours, _ in pairs]),
        Spread.of([theirs * 1e6 for _, theirs in pairs]),
        Spread.of([theirs / ours for ours, theirs in pairs]),
        target,
    )


def alternate(
    ours: Callable[[], Figure], theirs: Callable[[], Figure], alternations: int
) -> list[tuple[Figure, Figure]]:
    """Call both in turn; every other pair starts with theirs, so that neither is always first."""
    pairs = []
    for number in range(alternations):
        if number % 2:
            other = theirs()
            pairs.append((ours(), other))
        else:
            own = ours()
            pairs.append((own, theirs()))
    return pairs


def repeat(call: Callable[[], object], seconds: float) -> Callable[[], float]:
    """A measurement of `call`: as many calls as fill about `seconds`; seconds a call."""
    started = time.perf_counter()
    for _ in range(CALIBRATION_CALLS):
        call()
    once = (time.perf_counter() - started) / CALIBRATION_CALLS
    count = max(CALIBRATION_CALLS, round(seconds / once))

    def measure() -> float:
        begin = time.perf_counter()
        for _ in range(count):
            call()
        return (time.perf_counter() - begin) / count

    return measure
