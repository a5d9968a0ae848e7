"""Several processes that map blocks and copy them while the reclaimer runs as fast as it can.

    python -m tests.soak.mapped_readers --seconds 600 [--readers 3] [--writers 2] [--capacity 32]

Writers fill a storage that holds a fraction of what they write, so that every slot has a new owner
all the time; some of them outlive their deadline and write nevertheless. Readers look chains up,
some under a lease, copy the blocks from their own mappings and only then hear whether the copy is
worth something. What a key's bytes must be follows from the key, so that any other byte that a
reader was told to trust is found:

    a read that ends well has the bytes of its keys, each of them
    a read under a lease ends well

Exit status 0 if so. Knows nothing of the server's inside.
"""

import argparse
import hashlib
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import redis

from hotplate.bench.process import start_hotplate
from hotplate.clients import (
    ChecksumError,
    Keys,
    KVCache,
    NoSessionError,
    NoSpaceError,
    QuotaError,
    StaleBlockError,
)

BLOCK_BYTES: Final = 128 * 1024
CHAIN: Final = 6
CHAINS_MAX: Final = 120  # a multiple of what fits
MIB: Final = 1 << 20
LATE_SHARE: Final = 0.02  # of the writes
LEASE_MS: Final = 5000
GRACE: Final = ("--kvc-write-grace-ms", "5000")  # a late writer is 300 ms late
PASSED_OVER: Final = (QuotaError, NoSpaceError, NoSessionError)


def chain(number: int) -> Keys:
    """The keys of a prompt."""
    return Keys(8, b"".join(b"%05d-%02d" % (number, block) for block in range(CHAIN)))


def content(key: bytes) -> bytes:
    """The bytes that only this key's block has."""
    return hashlib.sha256(key).digest() * (BLOCK_BYTES // 32)


def opened(url: str) -> KVCache:
    """The instance, bytes by mapping only."""
    cache = KVCache.from_url(url, "soak", transport="mapped")
    cache.register(block_tokens=16, specs={"kv": BLOCK_BYTES})
    return cache


def fill(keys: Keys, late: bool, first: int, count: int, payloads: memoryview) -> None:
    """Put the blocks' bytes into their slots."""
    if late:
        time.sleep(1.3)  # the deadline is over, the space in quarantine
    payloads[:] = b"".join(content(keys[first + i]) for i in range(count))


def keep(got: list[tuple[int, bytes]], first: int, count: int, payloads: memoryview) -> None:
    """Copy blocks out of a mapping."""
    parts = (payloads[i * BLOCK_BYTES : (i + 1) * BLOCK_BYTES] for i in range(count))
    got.extend((first + i, bytes(part)) for i, part in enumerate(parts))


def write(
    url: str, seconds: float, seed: int, counts: "multiprocessing.Queue[Counter[str]]"
) -> None:
    """Fill chains; now and then write after the deadline."""
    rng, counted = random.Random(seed), Counter[str]()
    with opened(url) as cache:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            keys = chain(rng.randrange(CHAINS_MAX))
            late = rng.random() < LATE_SHARE

            try:
                with cache.reserve(keys, timeout_s=1 if late else None) as reservation:
                    if reservation.new:
                        reservation.write_runs(partial(fill, keys, late))
                counted["written"] += bool(reservation.new)
            except PASSED_OVER as error:
                counted[f"write: {type(error).__name__}"] += 1
    counts.put(counted)


def read(
    url: str, seconds: float, seed: int, counts: "multiprocessing.Queue[Counter[str]]"
) -> None:
    """Copy chains, then judge the copies that count."""
    rng, counted = random.Random(seed), Counter[str]()
    with opened(url) as cache:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            keys = chain(rng.randrange(CHAINS_MAX))
            leased = rng.random() < 0.5
            got: list[tuple[int, bytes]] = []

            with cache.match(keys, lease_ms=LEASE_MS if leased else None) as match:
                held = match.lease is not None
                if not held and rng.random() < 0.3:
                    time.sleep(0.05)  # so that it is stale now and then
                try:
                    match.read_runs(partial(keep, got))
                except (StaleBlockError, ChecksumError) as error:
                    counted[f"{'leased' if held else 'unleased'}: {type(error).__name__}"] += 1
                    continue
            wrong = sum(block != content(keys[index]) for index, block in got)
            counted["foreign"] += wrong
            counted["read under a lease" if held else "read"] += len(got)
    counts.put(counted)


def judge(counted: Counter[str]) -> list[str]:
    """What must not be."""
    found = [name for name in counted if name.startswith("leased: ")]
    if counted["foreign"]:
        found.append("foreign")
    found += [
        f"no {name}" for name in ("written", "read", "read under a lease") if not counted[name]
    ]
    return found


def run(arguments: argparse.Namespace) -> Counter[str]:
    """Start a server and the processes; what all of them counted."""
    context = multiprocessing.get_context("spawn")
    counts: multiprocessing.Queue[Counter[str]] = context.Queue()
    capacity = arguments.capacity * MIB
    with tempfile.TemporaryDirectory(prefix="mapped-readers-") as directory:
        options = ("--kvc-memory-capacity", str(capacity), "--kvc-segment-bytes", str(4 * MIB))
        with start_hotplate(
            Path(directory), *options, "--kvc-ssd-capacity", "64mb", *GRACE
        ) as server:
            with redis.Redis.from_url(server.url) as client:
                group = ("STORAGES", 1, "memory", "GRACE", 0, "WATERMARKS", "0.7", "0.5")
                quota = ("QUOTA", capacity * 9 // 10)
                client.execute_command(
                    "KVC.GROUP", "UPDATE", "default", "VERSION", 1, *group, *quota
                )
            opened(server.url).close()
            roles = [write] * arguments.writers + [read] * arguments.readers
            processes = [
                context.Process(target=role, args=(server.url, arguments.seconds, seed, counts))
                for seed, role in enumerate(roles)
            ]
            for process in processes:
                process.start()
            total = Counter[str]()
            for _ in processes:
                total.update(counts.get(timeout=arguments.seconds + 60))
            for process in processes:
                process.join()
    return total


def main(argv: Sequence[str]) -> int:
    """Run, print the counts, judge."""
    known = argparse.ArgumentParser(description=__doc__)
    known.add_argument("--seconds", type=float, default=600.0)
    known.add_argument("--readers", type=int, default=3)
    known.add_argument("--writers", type=int, default=2)
    known.add_argument("--capacity", type=int, default=32, help="MiB of shared memory")
    counted = run(known.parse_args(argv))
    for name, count in sorted(counted.items()):
        print(f"{name}: {count}")
    found = judge(counted)
    print(f"NOT as promised: {', '.join(found)}" if found else "as promised")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
