"""The `redis-benchmark` program as the load: one run, one rate."""

import csv
import io
import shutil
import subprocess
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

KEYS: Final = 100_000  # what `__rand_int__` ranges over


class MissingProgramError(RuntimeError):
    """redis-benchmark is not installed."""


def measure_rate(
    url: str, words: Sequence[str], *, clients: int, pipeline: int, requests: int
) -> float:
    """Requests per second. `words` end the command line: `-t get`, or a command's own words."""
    parts = urlsplit(url)
    command = [binary(), "-h", parts.hostname or "127.0.0.1", "-p", str(parts.port or 6379)]
    if parts.password is not None:
        command += ["-a", parts.password]
    command += ["-c", str(clients), "-P", str(pipeline)]
    command += ["-n", str(requests), "-r", str(KEYS), "--csv", *words]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0 or "Error from server" in result.stderr + result.stdout:
        raise RuntimeError(f"{' '.join(command)}: {result.stdout}{result.stderr}")
    return parse_rate(result.stdout)


def parse_rate(output: str) -> float:
    """Requests per second from `redis-benchmark --csv` with one test."""
    rows = list(csv.reader(io.StringIO(output)))
    if len(rows) != 2 or rows[0][:2] != ["test", "rps"]:
        raise RuntimeError(f"redis-benchmark printed something else than one result: {output!r}")
    return float(rows[1][1])


def binary() -> str:
    """The path of redis-benchmark."""
    path = shutil.which("redis-benchmark") or shutil.which("valkey-benchmark")
    if path is None:
        raise MissingProgramError("redis-benchmark is not installed (package redis-tools)")
    return path
