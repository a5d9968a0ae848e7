"""`hotplate bench`: Hotplate beside a Redis on the same machine, in turn, as ratios.

Owns the command line, the two servers it starts, and the order of the suites. The suites measure.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from hotplate.bench import core, durability, kvc, limits, payload, queues, tiers, types
from hotplate.bench.index import run as run_index
from hotplate.bench.link import Link, ReplyError, server_name
from hotplate.bench.placement import Placement
from hotplate.bench.process import ServerStartError, redis_binary, start_hotplate, start_redis
from hotplate.bench.redis_benchmark import MissingProgramError
from hotplate.bench.report import Suite, as_json, table

SIDE_BY_SIDE: Final = ("core", "types", "queues", "kvc", "bytes", "limits", "durability")
SUITES: Final = (*SIDE_BY_SIDE, "index", "tiers", "all")
ALTERNATIONS: Final = 9
QUICK_ALTERNATIONS: Final = 3
RUN_SECONDS: Final = 0.6
QUICK_RUN_SECONDS: Final = 0.1
BLOCKS: Final = {"kvc": 1_000_000, "index": 10_000_000}
QUICK_BLOCKS: Final = {"kvc": 65_536, "index": 100_000}
# Blocks of 64 bytes in pages, and the rings of the largest payloads: the larger of the two counts.
STORAGE_BYTES_A_BLOCK: Final = 256


def main(argv: Sequence[str]) -> int:
    """Run what is asked for: 0, or 1 where a target is not met, or 2 where it can't be measured."""
    arguments = parser().parse_args(argv)
    alternations = arguments.alternations or (
        QUICK_ALTERNATIONS if arguments.quick else ALTERNATIONS
    )
    blocks: dict[str, int] = QUICK_BLOCKS if arguments.quick else BLOCKS
    if arguments.blocks:
        blocks = dict.fromkeys(blocks, int(arguments.blocks))
    if arguments.suite == "index":
        return run_index(blocks["index"], json_path=arguments.json)
    try:
        if arguments.suite == "tiers":
            return run_tiers(arguments, alternations)
        return side_by_side(arguments, alternations=alternations, blocks=blocks["kvc"])
    except (ServerStartError, MissingProgramError, ReplyError, OSError) as error:
        print(f"hotplate bench: {error}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    """The command line."""
    known = argparse.ArgumentParser(
        prog="hotplate bench",
        description="Hotplate beside a Redis on the same machine, in turn, as ratios.",
    )
    known.add_argument("--suite", choices=SUITES, default="all", help="what to measure")
    known.add_argument("--url", help="a running Hotplate; without it one is started")
    known.add_argument("--against", help="redis://host:port; without it a redis-server is started")
    known.add_argument("--alternations", type=positive, help=f"pairs a line ({ALTERNATIONS})")
    known.add_argument("--blocks", type=positive, help="blocks in the index (kvc, index)")
    known.add_argument("--directory", help="where the tiers suite writes; a temporary one else")
    known.add_argument("--quick", action="store_true", help="short runs: a look, no verdict")
    known.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return known


def run_tiers(arguments: argparse.Namespace, alternations: int) -> int:
    """The storages alone, without a server; the exit status."""
    print(f"Hotplate {version('hotplate')}; {machine()}")
    print(f"{alternations} alternations; medians with quartiles; a ratio over 1: we are faster")
    suites = tiers.run(
        alternations=alternations, quick=arguments.quick, directory=arguments.directory
    )
    print(f"\n{tiers.report(suites)}", flush=True)
    if arguments.json:
        facts: dict[str, Any] = {"machine": machine(), "quick": arguments.quick}
        facts |= {"hotplate": version("hotplate"), "alternations": alternations}
        arguments.json.write_text(json.dumps(as_json(suites, facts), indent=2) + "\n")
    return summarize(suites, quick=arguments.quick)


def positive(text: str) -> int:
    """A number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"need at least 1, not {value}")
    return value


def side_by_side(arguments: argparse.Namespace, *, alternations: int, blocks: int) -> int:
    """Start what is missing, measure, print; the exit status."""
    names = SIDE_BY_SIDE if arguments.suite == "all" else (arguments.suite,)
    seconds = QUICK_RUN_SECONDS if arguments.quick else RUN_SECONDS
    with ExitStack() as stack:
        ours, theirs, placement = servers(arguments, stack, blocks=blocks)
        stack.callback(placement.lift)
        with Link(theirs) as link:
            against = server_name(link)
        print(f"Hotplate {version('hotplate')} beside {against}; {machine()}")
        print(f"{alternations} alternations; medians with quartiles; a ratio over 1: we are faster")
        suites: list[Suite] = []
        for name in names:
            placement.load(beside_servers=name == "kvc")
            suite = measure(
                name, ours, theirs, alternations=alternations, seconds=seconds, blocks=blocks
            )
            print(f"\n{table(suite, against=against)}", flush=True)
            suites.append(suite)
    if arguments.json:
        facts: dict[str, Any] = {"machine": machine(), "against": against, "quick": arguments.quick}
        facts |= {"hotplate": version("hotplate"), "alternations": alternations, "blocks": blocks}
        arguments.json.write_text(json.dumps(as_json(suites, facts), indent=2) + "\n")
    return summarize(suites, quick=arguments.quick)


def servers(
    arguments: argparse.Namespace, stack: ExitStack, *, blocks: int
) -> tuple[str, str, Placement]:
    """The URLs of both sides, and where they run; what was started ends with the stack."""
    pids: list[int] = []
    ours, theirs = arguments.url, arguments.against
    if theirs is None and redis_binary() is None:
        raise ServerStartError("there is no redis-server to compare with: install one or --against")
    if ours is None:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hotplate-bench-")))
        capacity = payload.CAPACITY_BYTES + blocks * STORAGE_BYTES_A_BLOCK
        options = ["--kvc-memory-capacity", str(capacity), "--kvc-ssd-capacity", str(64 << 20)]
        # neither side keeps anything; `durability` is apart
        options += ["--appendonly", "no", "--kvc-journal", "no"]
        hotplate = stack.enter_context(start_hotplate(directory, *options))
        pids.append(hotplate.pid)
        ours = hotplate.url
    if theirs is None:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="redis-bench-")))
        redis = stack.enter_context(start_redis(directory))
        pids.append(redis.pid)
        theirs = redis.url
    return ours, theirs, Placement(pids)


def measure(
    name: str, ours: str, theirs: str, *, alternations: int, seconds: float, blocks: int
) -> Suite:
    """Run one suite."""
    if name == "core":
        return core.run(ours, theirs, alternations=alternations, seconds=seconds)
    if name == "types":
        sessions = types.SESSIONS if seconds >= RUN_SECONDS else types.QUICK_SESSIONS
        return types.run(
            ours, theirs, alternations=alternations, seconds=seconds, sessions=sessions
        )
    if name == "queues":
        return queues.run(ours, theirs, alternations=alternations, seconds=seconds)
    if name == "kvc":
        return kvc.run(ours, theirs, blocks=blocks, alternations=alternations, seconds=seconds / 4)
    if name == "durability":
        keys = durability.KEYS if seconds >= RUN_SECONDS else durability.QUICK_KEYS
        return durability.run(alternations=alternations, seconds=seconds, keys=keys)
    if name == "limits":
        return limits.run(ours, theirs, alternations=alternations, seconds=seconds, buckets=blocks)
    return payload.run(ours, theirs, alternations=alternations, seconds=seconds / 2)


def summarize(suites: Sequence[Suite], *, quick: bool) -> int:
    """Say which targets are missed; 1 if any is, unless the runs were too short to tell."""
    aimed = [(suite.name, row) for suite in suites for row in suite.rows if row.target is not None]
    missed = [f"{name}: {row.name.strip()}" for name, row in aimed if not row.met]
    print(f"\n{len(aimed) - len(missed)} of {len(aimed)} targets met")
    for name in missed:
        print(f"  not met: {name}")
    return 1 if missed and not quick else 0


def machine() -> str:
    """What it ran on."""
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
