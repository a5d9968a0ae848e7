"""Ordinary commands, driven by the `redis-benchmark` program on both sides."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from hotplate.bench.measure import alternate, compare_rates
from hotplate.bench.redis_benchmark import KEYS, measure_rate
from hotplate.bench.report import Suite

COMMANDS: Final = ("ping_mbulk", "set", "get", "incr", "mset")
CLIENTS: Final = (1, 50)
PIPELINES: Final = (1, 16)
CALIBRATION_REQUESTS: Final = 2_000
REQUESTS_MIN: Final = 1_000
TARGET_PLAIN: Final = 0.9  # 50 clients, no pipeline: the system calls decide
TARGET_PIPELINE: Final = 0.5  # pipeline 16: every Python call between bytes in and out shows


@dataclass(frozen=True, slots=True)
class Load:
    """One run of redis-benchmark."""

    command: str
    clients: int
    pipeline: int

    @property
    def name(self) -> str:
        """As the table shows it."""
        shown = self.command.removesuffix("_mbulk").upper()
        plural = "" if self.clients == 1 else "s"
        return f"{shown:<5} {self.clients:>2} client{plural:1} pipeline {self.pipeline}"

    @property
    def target(self) -> float | None:
        """The least ratio; MSET and a single client have none."""
        if self.command == "mset":
            return None
        if self.pipeline > 1:
            return TARGET_PIPELINE
        return TARGET_PLAIN if self.clients > 1 else None

    def requests_per_second(self, url: str, requests: int) -> float:
        """Run it once."""
        words = ["-t", self.command]
        return measure_rate(
            url, words, clients=self.clients, pipeline=self.pipeline, requests=requests
        )


def loads() -> Iterator[Load]:
    """Every combination, the plain ones first."""
    for pipeline in PIPELINES:
        for clients in CLIENTS:
            for command in COMMANDS:
                yield Load(command, clients, pipeline)


def run(ours: str, theirs: str, *, alternations: int, seconds: float) -> Suite:
    """Measure all loads between two URLs, each run about `seconds` long."""
    suite = Suite("core", f"redis-benchmark -r {KEYS}, requests per second")
    for load in loads():
        slower = min(load.requests_per_second(url, CALIBRATION_REQUESTS) for url in (ours, theirs))
        requests = max(REQUESTS_MIN, round(slower * seconds))
        pairs = alternate(
            partial(load.requests_per_second, ours, requests),
            partial(load.requests_per_second, theirs, requests),
            alternations,
        )
        suite.rows.append(compare_rates(load.name, pairs, target=load.target))
    return suite
