"""What a lookup costs while the reclaimer runs, beside the same lookup while it has nothing to do.

    python -m hotplate.bench.reclaim URL     the writer, a process of its own, until it is killed

A writer stores chains at an even pace all the time. First there is room for them; then memory is at
the high watermark, and what is written has to be reclaimed. Lookups of one chain that stays in use
are timed in both phases, in one run.
"""

import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any, Final

from hotplate.bench.link import Link, ReplyError, frame
from hotplate.bench.measure import Comparison, compare_times
from hotplate.bench.process import start_hotplate

KIB: Final = 1024
BLOCK_BYTES: Final = KIB
CHAIN: Final = 64
CAPACITY_BYTES: Final = 48 * KIB * KIB
QUOTA_BYTES: Final = 32 * KIB * KIB
CALLS_PER_SECOND: Final = 100
KEY_BYTES: Final = 8
TARGET: Final = 1 / 1.5
SLICE_S: Final = 0.005  # of the thread's CPU time
INSTANCE: Final = "bench"


def compare_lookups(directory: Path, alternations: int, seconds: float) -> list[Comparison]:
    """The 99th percentile of GETLOC with reclaim (ours) and without it (theirs); the slices."""
    options = ("--kvc-memory-capacity", str(CAPACITY_BYTES), "--kvc-ssd-capacity", "64mb")
    with start_hotplate(directory, *options) as server, Link(server.url) as link:
        group = ("STORAGES", 1, "memory", "QUOTA", QUOTA_BYTES, "GRACE", 0)
        link.command("KVC.GROUP", "CREATE", "bench", *group)
        instance = ("GROUP", "bench", "BLOCKTOKENS", 16, "SPEC", "kv", BLOCK_BYTES)
        link.command("KVC.INSTANCE", "REGISTER", INSTANCE, *instance)
        pairs = [one_pair(server.url, link, seconds) for _ in range(alternations)]
        slice_s = statistics(link)[b"longest_slice_us"] / 1e6
    return [
        compare_times("GETLOC p99 while memory is reclaimed", pairs, target=TARGET),
        compare_times("longest slice of the background / 5 ms", [(slice_s, SLICE_S)], target=1.0),
    ]


def one_pair(url: str, link: Link, seconds: float) -> tuple[float, float]:
    """(with reclaim, without), in seconds."""
    link.command("KVC.TRIM", INSTANCE, "ALL")
    publish(link, b"hot-")
    with subprocess.Popen([sys.executable, "-m", "hotplate.bench.reclaim", url]) as writer:
        without = slowest_percent(link, seconds)
        reclaimed = evictions(link)
        for number in count():  # up to the watermark, faster than the writer would get there
            publish(link, b"f%03d" % (number % 1000))
            if evictions(link) > reclaimed:
                break
        before = evictions(link)
        during = slowest_percent(link, seconds)
        if evictions(link) == before:
            raise RuntimeError("nothing was reclaimed while lookups were timed")
        writer.kill()
    return during, without


def slowest_percent(link: Link, seconds: float) -> float:
    """The 99th percentile of lookups of the chain that is in use."""
    request = frame("KVC.GETLOC", INSTANCE, "FORMAT", "msgpack", "PACKED", KEY_BYTES, blob(b"hot-"))
    spans: list[float] = []
    ends = time.perf_counter() + seconds
    now = 0.0
    while now < ends:
        begun = time.perf_counter()
        reply = link.call(request)
        now = time.perf_counter()
        spans.append(now - begun)
        if reply[0] != CHAIN:
            raise RuntimeError(f"{reply[0]} blocks of a chain in use are left")
    spans.sort()
    return spans[len(spans) * 99 // 100]


def evictions(link: Link) -> int:
    """How many blocks were reclaimed so far."""
    found: int = statistics(link, "GROUP", "bench")[b"evictions"]
    return found


def statistics(link: Link, *of: str) -> dict[bytes, Any]:
    """What KVC.STATS says."""
    reply: list[Any] = link.command("KVC.STATS", *of)
    return dict(zip(reply[::2], reply[1::2], strict=True))


def blob(name: bytes) -> bytes:
    """The packed keys of a chain."""
    return b"".join(name + b"%04d" % block for block in range(CHAIN))


def publish(link: Link, name: bytes) -> None:
    """Store a chain without its bytes."""
    keys = ("PACKED", KEY_BYTES, blob(name))
    session, mask, _ = link.command("KVC.STARTWRITE", INSTANCE, "FORMAT", "msgpack", *keys)
    if session is not None:
        sums = b"\1" * 8 * mask.count(b"0")
        link.command("KVC.FINISH", INSTANCE, session, "CHECKSUMS", sums)


def keep_writing(url: str) -> None:
    """Chains that nobody asks for, at an even pace."""
    with Link(url) as link:
        begun = time.perf_counter()
        for number in count():
            due = begun + number / CALLS_PER_SECOND
            time.sleep(max(0.0, due - time.perf_counter()))
            try:
                publish(link, b"%04d" % (number % 10_000))
            except ReplyError as error:
                if not str(error).startswith("QUOTA"):
                    raise


if __name__ == "__main__":
    keep_writing(sys.argv[1])
