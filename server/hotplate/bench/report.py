"""Comparisons as tables for people and as JSON for machines."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from hotplate.bench.measure import Comparison, Spread


@dataclass(slots=True)
class Suite:
    """What one suite measured, and how."""

    name: str
    method: str
    rows: list[Comparison] = field(default_factory=list)


def table(suite: Suite, *, against: str) -> str:
    """The suite as text: medians with quartiles in parentheses."""
    heads = ("", "Hotplate", against, "ratio", "target")
    lines = [
        (
            row.name,
            spread(row.ours, row.unit),
            spread(row.theirs, row.unit),
            f"{row.ratio.median:.2f} ({row.ratio.low:.2f}-{row.ratio.high:.2f})",
            verdict(row),
        )
        for row in suite.rows
    ]
    widths = [max(len(line[column]) for line in [heads, *lines]) for column in range(len(heads))]
    shown = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [heads, *lines]
    ]
    return "\n".join((f"{suite.name}: {suite.method}", *shown))


def spread(values: Spread, unit: str) -> str:
    """`91.2k/s (90.1k-92.0k)`."""
    show = whole if unit == "us" else number  # thousands of microseconds stay microseconds
    return f"{show(values.median)}{unit} ({show(values.low)}-{show(values.high)})"


def whole(value: float) -> str:
    """No k and M, three digits at least."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def number(value: float) -> str:
    """Three digits, with k and M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}" if value < size * 1000 else f"{value / size:.0f}M"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def verdict(row: Comparison) -> str:
    """The target and whether it is met."""
    if row.target is None:
        return ""
    return f">= {row.target:g} {'met' if row.met else 'NOT MET'}"


def as_json(suites: Sequence[Suite], environment: dict[str, Any]) -> dict[str, Any]:
    """Everything that was measured."""
    return {
        "environment": environment,
        "suites": [
            {
                "name": suite.name,
                "method": suite.method,
                "rows": [{**asdict(row), "met": row.met} for row in suite.rows],
            }
            for suite in suites
        ],
    }
