"""The table that `hotplate replay` prints, and the same as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hotplate.optimizer.simulate import Ratios
from hotplate.optimizer.trace import Trace


@dataclass(frozen=True, slots=True)
class Row:
    """One policy at one capacity (blocks): ratios, and the time of an access."""

    policy: str
    capacity: int
    whole: Ratios
    second_half: Ratios
    access_us: float
    times_bare: float  # of the time that a bare LRU takes


def header(name: str, trace: Trace, most: Ratios) -> str:
    """What the trace is, and what a cache without limit would find."""
    return (
        f"{name}: {len(trace.requests)} requests, {trace.accesses} blocks of {trace.block_tokens}"
        f" tokens ({trace.distinct} distinct)\n"
        f"found without a limit: {most.block:.4f} of the blocks, {most.token:.4f} of the tokens\n"
    )


def table(rows: Sequence[Row]) -> str:
    """Prefix hit ratios of the whole trace and of its second half, a line each."""
    heads = ("policy", "capacity", "block", "token", "request", "block", "token", "request")
    lines: list[tuple[str, ...]] = [
        ("", "", "whole", "trace", "", "second", "half", "", "", "times"),
        (*heads, "us/access", "a bare LRU"),
    ]
    for row in rows:
        figures = [*asdict(row.whole).values(), *asdict(row.second_half).values()]
        ratios = [f"{figure:.4f}" for figure in figures]
        times = f"{row.access_us:.2f}", f"{row.times_bare:.2f}"
        lines.append((row.policy, str(row.capacity), *ratios, *times))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def as_json(name: str, trace: Trace, rows: Sequence[Row]) -> dict[str, Any]:
    """Everything that was found."""
    return {
        "trace": name,
        "requests": len(trace.requests),
        "blocks": trace.accesses,
        "distinct": trace.distinct,
        "block_tokens": trace.block_tokens,
        "rows": [asdict(row) for row in rows],
    }
