"""The demo's figures as a table, and what is wrong with them."""

from statistics import median
from typing import Any

RATIO_MIN = 10.0

_HEAD = (
    ("prompt", "<"),
    ("storage", "<"),
    ("way", "<"),
    ("tokens", ">"),
    ("matched", ">"),
    ("TTFT cold", ">"),
    ("TTFT warm", ">"),
    ("ratio", ">"),
    ("moved", ">"),
    ("GB/s", ">"),
    ("same text", "<"),
    ("logits differ by", ">"),
)


def ratio(row: dict[str, Any]) -> float:
    """How many times as fast the first token came."""
    return float(median(row["cold_seconds"]) / median(row["warm_seconds"]))


def table(results: dict[str, Any]) -> str:
    """The rows as text. GB/s counts lookup, reads and the building of the cache."""
    lines = [[name for name, _ in _HEAD]]
    lines += [_cells(row) for row in results["rows"]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    shown = [
        "  ".join(
            f"{cell:{align}{width}}"
            for cell, (_, align), width in zip(line, _HEAD, widths, strict=True)
        ).rstrip()
        for line in lines
    ]
    shown.insert(1, "  ".join("-" * width for width in widths))
    rounds, threads = results["rounds"], results["threads"]
    shown.append(f"Times are medians of {rounds}; the model runs on {threads} thread(s).")
    return "\n".join(shown)


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        row["prompt"],
        row["route"],
        row["way"],
        str(row["prompt_tokens"]),
        str(row["matched_tokens"]),
        _seconds(median(row["cold_seconds"])),
        _seconds(median(row["warm_seconds"])),
        f"{ratio(row):.1f}x",
        f"{row['moved_bytes'] / 1e6:.1f} MB",
        f"{row['moved_bytes'] / 1e9 / median(row['load_seconds']):.2f}",
        "yes" if row["same_text"] else "NO",
        f"{row['logit_difference']:.1e}",
    ]


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.0f} ms"


def complaints(results: dict[str, Any], *, ratio_min: float | None) -> list[str]:
    """What makes the demo fail, one line each; `ratio_min` None: times do not matter."""
    found: list[str] = []
    for row in results["rows"]:
        where = f"{row['prompt']} ({row['route']})"
        if not row["matched_tokens"]:
            found.append(f"{where}: nothing that was stored was found")
        if not row["same_text"]:
            found.append(f"{where}: the text differs from the one without stored blocks")
        if ratio_min is not None and ratio(row) < ratio_min:
            found.append(
                f"{where}: {ratio(row):.1f} times as fast, at least {ratio_min:.0f} wanted"
            )
    return found
