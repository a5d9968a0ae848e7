"""The storage engine beside what the machine can do: `fio`, a plain memory copy, a full capacity.

No server and no socket: the storages are opened here, in a directory of its own. Each pair is one
run of ours and one of theirs, in turn. Space is a simulation: the real allocator on files that hold
no byte.
"""

import json
import math
import mmap
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

from hotplate.bench.measure import Comparison, Spread, alternate, compare_rates
from hotplate.bench.reclaim import compare_lookups
from hotplate.bench.report import Suite, table
from hotplate.bench.space import lost_at_refusal
from hotplate.blocks import Shape
from hotplate.tiers.io import THREADS
from hotplate.tiers.memory import SHARED_MEMORY_PATH, open_memory_store
from hotplate.tiers.ssd import open_ssd_store

MIB: Final = 1 << 20
BLOCK: Final = Shape(payload_bytes=2 * MIB, key_bytes=16, sum_count=1)
DISK_BLOCKS: Final = 256  # half a GiB a run
MEMORY_BLOCKS: Final = 64
BYTES_TARGET: Final = 0.8
OPERATIONS: Final = 1_000_000
QUICK_OPERATIONS: Final = 50_000
LOOKUP_SECONDS: Final = 2.0
QUICK_LOOKUP_SECONDS: Final = 0.5
CAPACITY_BLOCKS: Final = 4096  # of the largest blocks
SMALLEST: Final = 64 * 1024
LARGEST: Final = 4 * MIB
GIGA: Final = 1e9


def run(*, alternations: int, quick: bool, directory: str | None) -> list[Suite]:
    """Measure all of it."""
    with tempfile.TemporaryDirectory(prefix="hotplate-tiers-", dir=directory) as disk:
        suites = [disk_suite(Path(disk), alternations)]
    with tempfile.TemporaryDirectory(prefix="hotplate-tiers-", dir=SHARED_MEMORY_PATH) as memory:
        suites.append(memory_suite(Path(memory), alternations))
    with tempfile.TemporaryDirectory(prefix="hotplate-tiers-") as place:
        seconds = QUICK_LOOKUP_SECONDS if quick else LOOKUP_SECONDS
        rows = compare_lookups(Path(place), alternations, seconds)
        method = "one client, a writer beside it, 99th percentile with and without reclaim"
        suites.append(Suite("lookups", method, rows))
    suites.append(space_suite(QUICK_OPERATIONS if quick else OPERATIONS))
    return suites


# Disk


def disk_suite(directory: Path, alternations: int) -> Suite:
    """Writing, with the sync at the end, and reading 2 MiB blocks."""
    against = fio_bytes_per_second if shutil.which("fio") else plain_bytes_per_second
    suite = Suite(
        f"ssd beside {'fio' if shutil.which('fio') else 'a plain pwrite and pread loop'}",
        f"2 MiB blocks, {THREADS} at a time, O_DIRECT, synced at the end",
    )
    for kind in ("write", "read"):
        ours = partial(engine_bytes_per_second, directory / "ssd", kind)
        theirs = partial(on_fresh_bytes, against, directory, kind)
        pairs = alternate(ours, theirs, alternations)
        pairs = [(own / GIGA, other / GIGA) for own, other in pairs]
        suite.rows.append(compare_rates(kind, pairs, unit="GB/s", target=BYTES_TARGET))
    return suite


def engine_bytes_per_second(path: Path, kind: str) -> float:
    """Through the ssd engine, on as many threads as a server has, into slots that are reserved."""
    size_bytes = DISK_BLOCKS * BLOCK.payload_bytes
    store = open_ssd_store("bench", str(path), size_bytes + 256 * MIB, 64 * MIB)
    places = [
        extent.place + i
        for extent in store.reserve(BLOCK, DISK_BLOCKS)
        for i in range(extent.count)
    ]
    payload = random.Random(1).randbytes(BLOCK.payload_bytes)

    def write(place: int) -> None:
        store.write(BLOCK, place, 0, payload)

    def read(place: int) -> None:
        store.read(BLOCK, place, 0, BLOCK.payload_bytes)

    seconds = timed_jobs(write, places)
    started = time.perf_counter()
    store.sync(places)
    seconds += time.perf_counter() - started
    if kind == "read":
        seconds = timed_jobs(read, places)
    store.close(remove=True)
    return size_bytes / seconds


def timed_jobs(job: Callable[[int], None], places: list[int]) -> float:
    """All jobs, THREADS at a time; seconds."""
    with ThreadPoolExecutor(THREADS) as threads:
        started = time.perf_counter()
        for _ in threads.map(job, places):
            pass
        return time.perf_counter() - started


def on_fresh_bytes(against: Callable[[Path, str], float], directory: Path, kind: str) -> float:
    """What it reads it has just written, as the engine does: a disk may have caches of its own."""
    if kind == "read":
        against(directory, "write")
    return against(directory, kind)


def fio_bytes_per_second(directory: Path, kind: str) -> float:
    """`fio` with as many threads, each on its part of one file."""
    part = DISK_BLOCKS // THREADS * BLOCK.payload_bytes
    command = [
        *("fio", "--name=bench", f"--directory={directory}", "--filename=fio", f"--rw={kind}"),
        *(f"--bs={BLOCK.payload_bytes}", "--ioengine=psync", f"--numjobs={THREADS}", "--thread"),
        *(f"--size={part}", f"--offset_increment={part}", "--direct=1", "--end_fsync=1"),
        *("--fallocate=posix", "--group_reporting", "--output-format=json"),
    ]
    if kind == "write":
        (directory / "fio").unlink(missing_ok=True)
    report = subprocess.run(command, capture_output=True, check=True, text=True)
    [job] = json.loads(report.stdout)["jobs"]
    rate: int = job[kind]["bw_bytes"]
    return rate


def plain_bytes_per_second(directory: Path, kind: str) -> float:
    """Where there is no `fio`: a process of its own that only writes or reads, by system calls."""
    command = [sys.executable, "-c", PLAIN, str(directory / "plain"), kind, str(THREADS)]
    report = subprocess.run(command, capture_output=True, check=True, text=True)
    return DISK_BLOCKS * BLOCK.payload_bytes / float(report.stdout)


PLAIN: Final = f"""
import mmap, os, sys, threading, time
path, kind, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
size, count = {BLOCK.payload_bytes}, {DISK_BLOCKS}
if kind == "write" and os.path.exists(path):
    os.unlink(path)
fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT)
os.posix_fallocate(fd, 0, size * count)
def work(number):
    buffer = mmap.mmap(-1, size)
    for block in range(number, count, threads):
        if kind == "write":
            assert os.pwritev(fd, [buffer], block * size) == size
        else:
            assert os.preadv(fd, [buffer], block * size) == size
started = time.perf_counter()
workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
for worker in workers: worker.start()
for worker in workers: worker.join()
os.fsync(fd)
print(time.perf_counter() - started)
"""


# Memory


def memory_suite(directory: Path, alternations: int) -> Suite:
    """Blocks into mapped slots and out of them."""
    suite = Suite("memory beside a plain copy", "2 MiB blocks, one thread, mapped")
    size_bytes = MEMORY_BLOCKS * BLOCK.payload_bytes
    store = open_memory_store("bench", str(directory / "memory"), 4 * size_bytes, 4 * size_bytes)
    payload = memoryview(mmap.mmap(-1, BLOCK.payload_bytes))
    plain = memoryview(mmap.mmap(-1, size_bytes))
    key, sums = bytes(BLOCK.key_bytes), bytes(8)

    def write() -> float:
        started = time.perf_counter()
        for _ in range(MEMORY_BLOCKS):
            place = store.reserve(BLOCK, 1)[0].place
            store.view(BLOCK, place)[:] = payload
            store.publish(BLOCK, place, key, sums)
            places.append(place)
        seconds = time.perf_counter() - started
        while places:
            store.release(BLOCK, places.pop(), 1)
        return size_bytes / seconds / GIGA

    def read() -> float:
        started = time.perf_counter()
        for place in held:
            before = store.generation(BLOCK, place)
            payload[:] = store.view(BLOCK, place)
            assert store.generation(BLOCK, place) == before
        return size_bytes / (time.perf_counter() - started) / GIGA

    def copy_in() -> float:
        started = time.perf_counter()
        for at in range(0, size_bytes, BLOCK.payload_bytes):
            plain[at : at + BLOCK.payload_bytes] = payload
        return size_bytes / (time.perf_counter() - started) / GIGA

    def copy_out() -> float:
        started = time.perf_counter()
        for at in range(0, size_bytes, BLOCK.payload_bytes):
            payload[:] = plain[at : at + BLOCK.payload_bytes]
        return size_bytes / (time.perf_counter() - started) / GIGA

    places: list[int] = []
    (whole,) = store.reserve(BLOCK, 2 * MEMORY_BLOCKS)  # one segment, kept by its last block
    for place in range(whole.place, whole.place + 2 * MEMORY_BLOCKS):
        store.view(BLOCK, place)[:] = payload  # the first touch of each page is the kernel's work
    copy_in()
    store.release(BLOCK, whole.place, 2 * MEMORY_BLOCKS - 1)
    for name, ours, theirs in (("write", write, copy_in), ("read", read, copy_out)):
        held = [e.place + i for e in store.reserve(BLOCK, MEMORY_BLOCKS) for i in range(e.count)]
        if name == "write":
            while held:
                store.release(BLOCK, held.pop(), 1)
        pairs = alternate(ours, theirs, 2 * alternations)
        suite.rows.append(compare_rates(name, pairs, unit="GB/s", target=BYTES_TARGET))
    store.close(remove=True)
    return suite


# Space


def space_suite(operations: int) -> Suite:
    """How much of the capacity holds no block when a reservation is refused."""
    suite = Suite(
        "space beside all of it",
        f"{operations} random reservations and frees, {CAPACITY_BLOCKS} x 4 MiB, % in use",
    )
    low, high = math.log(SMALLEST), math.log(LARGEST)
    mixes: tuple[tuple[str, Callable[[random.Random], int], float], ...] = (
        ("all sizes 64 KiB to 4 MiB", lambda rng: int(math.exp(rng.uniform(low, high))), 0.96),
        ("one size, 4 MiB", lambda _rng: LARGEST, 0.99),
        ("one size, 64 KiB", lambda _rng: SMALLEST, 0.99),
    )
    for name, size, target in mixes:
        lost, files = lost_at_refusal(size, CAPACITY_BLOCKS * LARGEST, operations)
        used = Spread.of([100 * (1 - each) for each in lost])
        whole = Spread.of([100.0])
        ratio = Spread(used.low / 100, used.median / 100, used.high / 100)
        shown = f"{name} ({files} files, median loss {100 * statistics.median(lost):.2f}%)"
        suite.rows.append(Comparison(shown, "%", used, whole, ratio, target))
    return suite


def report(suites: list[Suite]) -> str:
    """For people."""
    return "\n\n".join(table(suite, against="the other") for suite in suites)
