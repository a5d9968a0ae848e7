"""Paced queues at work: how close to their schedule entries leave, and what that costs.

A paused queue is filled, then resumed. Entry k is due k periods later; when it left is the time in
its stream id, in the same clock. The CPU time is that of the server's process meanwhile.
"""

import os
import time
from pathlib import Path
from typing import Final

from hotplate.bench.link import Link, frame

ENTRIES: Final = 100_000
RATE: Final = 20_000  # a second
BURST: Final = 100  # 5 ms of them: timers come a millisecond apart
_FILL_BATCH: Final = 1_000
_READ_BATCH: Final = 5_000
_POLL_SECONDS: Final = 0.2
_PATIENCE: Final = 5  # times the nominal span
_PAYLOAD: Final = b"x" * 100


def queue_line(url: str, pid: int, entries: int) -> str:
    """Fill and drain a queue on a server of this machine: one line about it."""
    with Link(url) as link:
        link.command("FLUSHALL")
        link.command("LBQ.CREATE", "bench", "INTO", "out", "RATE", RATE, 1000, "BURST", BURST)
        link.command("LBQ.PAUSE", "bench")
        add = frame("LBQ.ADD", "bench", "FIELDS", 1, "prompt", _PAYLOAD)
        for first in range(0, entries, _FILL_BATCH):
            count = min(_FILL_BATCH, entries - first)
            link.calls(add * count, count)
        start_cpu, started = cpu_seconds(pid), time.monotonic()
        link.command("LBQ.RESUME", "bench")
        seconds, microseconds = link.command("TIME")
        resumed_ms = int(seconds) * 1000 + int(microseconds) / 1000
        nominal = entries / RATE
        while link.command("LBQ.LEN", "bench"):
            if time.monotonic() - started > _PATIENCE * nominal + 10:
                raise RuntimeError("the queue does not drain")
            time.sleep(_POLL_SECONDS)
        spent = time.monotonic() - started
        cpu = cpu_seconds(pid) - start_cpu
        left_ms = _times_ms(link)
        link.command("FLUSHALL")
    if len(left_ms) != entries:
        raise RuntimeError(f"{len(left_ms)} of {entries} entries came out")
    late_ms = sorted(
        at_ms - resumed_ms - (number + 1) * 1000 / RATE for number, at_ms in enumerate(left_ms)
    )
    total = (left_ms[-1] - resumed_ms) / 1000
    return (
        f"{entries} entries at {RATE}/s, burst {BURST}: in {total:.2f} s (nominal {nominal:.2f}),"
        f" late by {_at(late_ms, 0.5):.1f} ms (median), {_at(late_ms, 0.99):.1f} (p99),"
        f" {late_ms[-1]:.1f} (most); {100 * cpu / spent:.0f}% of a CPU,"
        f" {1e6 * cpu / entries:.1f} us an entry"
    )


def _times_ms(link: Link) -> list[int]:
    """When the entries of the stream were added."""
    times: list[int] = []
    start = b"-"
    while rows := link.command("XRANGE", "out", start, "+", "COUNT", _READ_BATCH):
        times += [int(row[0].partition(b"-")[0]) for row in rows]
        start = b"(" + rows[-1][0]
    return times


def _at(ordered: list[float], part: float) -> float:
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
