"""How far the estimate behind `maxmemory` is from what keys really take.

    python -m tests.tools.memory_estimate [--keys 300000]

Starts a server for each kind of value, fills it, and prints what the server estimates beside how
much its resident memory grew, both a key.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from hotplate.bench.link import Link, frame
from hotplate.bench.process import start_hotplate

BATCH: Final = 500
_NO_LIMIT: Final = str(1 << 40)
_STORAGE: Final = ("--kvc-memory-capacity", str(16 << 20), "--kvc-ssd-capacity", str(16 << 20))

KINDS: Final[dict[str, Callable[[int], bytes]]] = {
    "string of 10 bytes": lambda n: frame("SET", f"key:{n}", f"{n:010d}"),
    "string of 100 bytes": lambda n: frame("SET", f"key:{n}", f"{n:0100d}"),
    "string of 500 bytes": lambda n: frame("SET", f"key:{n}", f"{n:0500d}"),
    "counter": lambda n: frame("INCRBY", f"key:{n}", n + 10_000),
    "hash of 10 fields": lambda n: frame("HSET", f"key:{n}", *_pairs(n, 10)),
    "list of 10 elements": lambda n: frame("RPUSH", f"key:{n}", *_items(n, 10)),
    "set of 10 members": lambda n: frame("SADD", f"key:{n}", *_items(n, 10)),
    "sorted set of 10 members": lambda n: frame("ZADD", f"key:{n}", *_scored(n, 10)),
}


def _items(number: int, count: int) -> list[str]:
    return [f"{number}:{item}".ljust(40, "x") for item in range(count)]


def _pairs(number: int, count: int) -> list[str]:
    return [word for at, item in enumerate(_items(number, count)) for word in (f"f{at}", item)]


def _scored(number: int, count: int) -> list[str]:
    return [word for at, item in enumerate(_items(number, count)) for word in (f"{at}.5", item)]


def figures(link: Link) -> tuple[int, int]:
    """The estimate and the resident memory."""
    info: bytes = link.command("INFO", "memory")
    rows = dict(line.split(b":", 1) for line in info.splitlines() if b":" in line)
    return int(rows[b"used_memory"]), int(rows[b"used_memory_rss"])


def fill(link: Link, requests: Iterator[bytes]) -> None:
    """Send requests in pipelines."""
    while batch := list(islice(requests, BATCH)):
        link.calls(b"".join(batch), len(batch))


def measure(kind: Callable[[int], bytes], keys: int) -> tuple[float, float]:
    """Bytes a key: estimated, and resident."""
    with (
        tempfile.TemporaryDirectory() as directory,
        start_hotplate(Path(directory), "--maxmemory", _NO_LIMIT, *_STORAGE) as server,
        Link(server.url) as link,
    ):
        before = figures(link)
        fill(link, (kind(number) for number in range(keys)))
        after = figures(link)
        return (after[0] - before[0]) / keys, (after[1] - before[1]) / keys


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, prog="python -m tests.tools.memory_estimate"
    )
    parser.add_argument("--keys", type=int, default=300_000)
    keys = parser.parse_args(arguments).keys
    print(f"{'kind':<26} {'estimated':>9} {'resident':>9} ratio")
    for name, kind in KINDS.items():
        estimated, resident = measure(kind, keys)
        print(
            f"{name:<26} {estimated:>9.0f} {resident:>9.0f} {estimated / resident:.2f}", flush=True
        )


if __name__ == "__main__":
    main()
