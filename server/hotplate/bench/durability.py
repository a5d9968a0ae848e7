"""What keeping data costs: both sides log with the same settings, each into its own directory.

Unlike the other suites this one starts and restarts its servers itself. Keys are filled in before
the log is rewritten and before loading is timed; `keys` says how many.
"""

import csv
import io
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from hotplate.bench.link import Link, frame
from hotplate.bench.measure import alternate, compare_rates, compare_times
from hotplate.bench.process import ServerProcess, start_hotplate, start_redis
from hotplate.bench.redis_benchmark import binary, measure_rate
from hotplate.bench.report import Suite

KEYS: Final = 5_000_000
QUICK_KEYS: Final = 100_000
TARGET_PLAIN: Final = 0.8
TARGET_PIPELINE: Final = 0.5
TARGET_ALWAYS: Final = 0.8
TARGET_REWRITE: Final = 1 / 3  # p99 without a rewrite by p99 in one
TARGET_LOAD: Final = 1 / 3
STALL_S: Final = 0.02  # nobody is to wait so long for a rewrite
_CLIENTS: Final = 50
_REQUESTS_MIN: Final = 2_000
_FILL_BATCH: Final = 5_000
_SMALL: Final = ("--kvc-memory-capacity", "64mb", "--kvc-ssd-capacity", "64mb")
_POLL_SECONDS: Final = 0.02

Start = Callable[..., ServerProcess]


@dataclass(frozen=True, slots=True)
class Load:
    """One load on both sides."""

    policy: str
    pipeline: int
    target: float

    @property
    def name(self) -> str:
        """As the table shows it."""
        return f"SET  {_CLIENTS} clients pipeline {self.pipeline:<2} appendfsync {self.policy}"


LOADS: Final = (
    Load("everysec", 1, TARGET_PLAIN),
    Load("everysec", 16, TARGET_PIPELINE),
    Load("always", 1, TARGET_ALWAYS),
)


def run(*, alternations: int, seconds: float, keys: int) -> Suite:
    """Measure everything; each single run is about `seconds` long."""
    method = f"both log; redis-benchmark, requests per second; rewrite and load with {keys} keys"
    suite = Suite("durability", method)
    for load in LOADS:
        with _both(load.policy) as (ours, theirs):
            rate = partial(
                measure_rate, words=["-t", "set"], clients=_CLIENTS, pipeline=load.pipeline
            )
            slower = min(rate(server.url, requests=_REQUESTS_MIN) for server in (ours, theirs))
            requests = max(_REQUESTS_MIN, round(slower * seconds))
            pairs = alternate(
                partial(rate, ours.url, requests=requests),
                partial(rate, theirs.url, requests=requests),
                alternations,
            )
            suite.rows.append(compare_rates(load.name, pairs, target=load.target))
    _measure_rewrite(suite, seconds=seconds, keys=keys)
    _measure_load(suite, keys=keys)
    return suite


@contextmanager
def _both(policy: str) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """Both servers, logging."""
    with ExitStack() as stack:
        ours, theirs = (
            stack.enter_context(start(_directory(stack), policy)) for start in (_ours, _theirs)
        )
        yield ours, theirs


def _directory(stack: ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="durability-bench-")))


def _settings(policy: str) -> tuple[str, ...]:
    return ("--appendonly", "yes", "--appendfsync", policy, "--auto-aof-rewrite-percentage", "0")


def _ours(directory: Path, policy: str) -> ServerProcess:
    return start_hotplate(directory, *_SMALL, *_settings(policy))


def _theirs(directory: Path, policy: str) -> ServerProcess:
    return start_redis(directory, *_settings(policy))


def _fill(server: ServerProcess, keys: int) -> None:
    """Set `keys` keys of 16 bytes to 20 bytes each."""
    with Link(server.url) as link:
        for start in range(0, keys, _FILL_BATCH):
            numbers = range(start, min(start + _FILL_BATCH, keys))
            requests = [frame("SET", f"key:{number:012}", f"{number:020}") for number in numbers]
            link.calls(b"".join(requests), len(requests))


def _tail(server: ServerProcess, seconds: float, keys: int) -> tuple[float, float]:
    """The 99th percentile and the slowest of SETs for about so long, in seconds."""
    rate = measure_rate(
        server.url, ["-t", "set"], clients=_CLIENTS, pipeline=1, requests=_REQUESTS_MIN
    )
    command = [binary(), "-p", str(server.port), "-c", str(_CLIENTS), "-t", "set", "--csv"]
    command += ["-n", str(max(_REQUESTS_MIN, round(rate * seconds))), "-r", str(keys)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    head, row = csv.reader(io.StringIO(printed))
    p99_ms, slowest_ms = (float(row[head.index(f"{n}_latency_ms")]) for n in ("p99", "max"))
    return p99_ms / 1000, slowest_ms / 1000


def _is_rewriting(link: Link) -> bool:
    return b"aof_rewrite_in_progress:1" in link.command("INFO", "persistence")


def _measure_rewrite(suite: Suite, *, seconds: float, keys: int) -> None:
    """The tail of latencies without and in a rewrite."""
    calm: dict[str, list[float]] = {}
    busy: dict[str, list[float]] = {}
    slowest_calm = slowest_busy = 0.0  # of ours
    with _both("everysec") as servers:
        for server in servers:
            _fill(server, keys)
            idle = calm.setdefault(server.name, [])
            loaded = busy.setdefault(server.name, [])
            with Link(server.url) as link:
                for _ in range(3):
                    p99, longest = _tail(server, seconds, keys)
                    idle.append(p99)
                    if server is servers[0]:
                        slowest_calm = max(slowest_calm, longest)
                    link.command("BGREWRITEAOF")
                    while _is_rewriting(link):
                        p99, longest = _tail(server, seconds, keys)
                        loaded.append(p99)
                        if server is servers[0]:
                            slowest_busy = max(slowest_busy, longest)
    pairs = list(zip(busy["hotplate"], busy["redis-server"], strict=False))
    if pairs:
        suite.rows.append(compare_times("p99 of SET in a rewrite", pairs, target=None))
    own = list(zip(busy["hotplate"], calm["hotplate"], strict=False))
    if own:
        name = "the same, both ours: in a rewrite, and without"
        suite.rows.append(compare_times(name, own, target=TARGET_REWRITE))
        for name, longest, target in (
            ("slowest SET in a rewrite / 20 ms", slowest_busy, 1.0),
            ("the same without a rewrite", slowest_calm, None),
        ):
            suite.rows.append(compare_times(name, [(longest, STALL_S)], target=target))


def _measure_load(suite: Suite, *, keys: int) -> None:
    """From the start of the process until all keys are there, less what an empty start takes."""
    spans: list[float] = []
    with ExitStack() as stack:
        for start in (_ours, _theirs):
            directory = _directory(stack)
            start_here = partial(start, directory, "everysec")
            with start_here() as server:
                empty = _seconds_to_load(partial(start, _directory(stack), "everysec"), 0)
                _fill(server, keys)
            spans.append(max(_seconds_to_load(start_here, keys) - empty, 1e-3))
    suite.rows.append(
        compare_times("start with a log of all keys", [(spans[0], spans[1])], target=TARGET_LOAD)
    )


def _seconds_to_load(start: Callable[[], ServerProcess], keys: int) -> float:
    """How long until all keys are there."""
    began = time.perf_counter()
    with start() as server, Link(server.url) as link:
        while b"loading:1" in link.command("INFO", "persistence"):
            time.sleep(_POLL_SECONDS)
        span = time.perf_counter() - began
        found = link.command("DBSIZE")
    if found != keys:
        raise RuntimeError(f"{found} of {keys} keys were loaded")
    return span
