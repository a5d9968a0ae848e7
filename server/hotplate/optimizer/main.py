"""`hotplate replay`: a trace through the cache's reclaim policies, at several sizes.

Owns the command line. Prefix hit ratios count the leading stored blocks of each request: weighted
by blocks, by tokens, and each request alike; for the whole trace and for its second half, when the
cache is warm. The time of an access (a block of a request) is thread CPU time, beside an LRU that
is nothing but an OrderedDict, measured in turn.
"""

import argparse
import gc
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

from hotplate.config_kinds import parse_size
from hotplate.kvc.policy import POLICIES
from hotplate.optimizer.events import read_events
from hotplate.optimizer.live import LiveReplayError, play
from hotplate.optimizer.report import Row, as_json, header, table
from hotplate.optimizer.simulate import Outcome, bare_lru_seconds, ratios, simulate, unlimited
from hotplate.optimizer.trace import BLOCK_TOKENS, Trace, TraceError, read_trace

DEFAULT_CAPACITIES: Final = ("1000", "5859", "10000", "30000")
ROUNDS: Final = 3


def main(argv: Sequence[str]) -> int:
    """0; 1 where a server finds other blocks than the replay; 2 where it can't be run."""
    known = parser()
    arguments = known.parse_args(argv)
    try:
        capacities = [
            parse_capacity(text, arguments.block_bytes)
            for text in arguments.capacity or DEFAULT_CAPACITIES
        ]
    except ValueError as error:
        known.error(str(error))
    try:
        return replay(arguments, read(arguments), capacities)
    except (TraceError, LiveReplayError, OSError) as error:
        print(f"hotplate replay: {error}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    """The command line."""
    known = argparse.ArgumentParser(
        prog="hotplate replay", description="A trace through the cache's reclaim policies."
    )
    known.add_argument(
        "trace",
        help="Mooncake JSON lines, plain or gzipped; or redis://host:port with --instance",
    )
    known.add_argument("--instance", metavar="NAME", help="replay what its events tell")
    known.add_argument("--policy", action="append", choices=POLICIES, help="may be given again")
    known.add_argument(
        "--capacity",
        action="append",
        metavar="N|BYTES",
        help=f"blocks, or bytes as 64gb with --block-bytes ({' '.join(DEFAULT_CAPACITIES)})",
    )
    known.add_argument("--block-bytes", type=positive, help="what a block takes")
    known.add_argument(
        "--block-tokens", type=positive, default=BLOCK_TOKENS, help=f"of a file ({BLOCK_TOKENS})"
    )
    known.add_argument("--requests", type=positive, metavar="N", help="only the first N requests")
    known.add_argument("--rounds", type=positive, default=ROUNDS, help="measured so often")
    known.add_argument("--live", metavar="URL", help="also play it against redis://host:port")
    known.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return known


def positive(text: str) -> int:
    """A number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"need at least 1, not {value}")
    return value


def parse_capacity(text: str, block_bytes: int | None) -> int:
    """Blocks; ValueError where the text is neither blocks nor bytes."""
    if text.isdecimal():
        blocks = int(text)
    elif block_bytes is None:
        raise ValueError(f"--capacity {text}: bytes need --block-bytes")
    else:
        blocks = parse_size(text) // block_bytes
    if blocks < 1:
        raise ValueError(f"--capacity {text} is not one block")
    return blocks


def read(arguments: argparse.Namespace) -> Trace:
    """The trace that is meant. OSError, TraceError."""
    if arguments.instance is not None:
        return read_events(arguments.trace, arguments.instance, limit=arguments.requests)
    if "://" in arguments.trace:
        raise TraceError(f"{arguments.trace}: --instance says whose events are meant")
    return read_trace(
        Path(arguments.trace), block_tokens=arguments.block_tokens, limit=arguments.requests
    )


def replay(arguments: argparse.Namespace, trace: Trace, capacities: Sequence[int]) -> int:
    """Replay, print, compare; the exit status."""
    gc.collect()
    gc.freeze()  # the trace is no work of the policies
    name = arguments.instance or Path(arguments.trace).name
    print(header(name, trace, ratios(trace, unlimited(trace))))
    rows: list[Row] = []
    differences = 0
    for policy in arguments.policy or POLICIES:
        for capacity in capacities:
            row, outcome = measure(trace, policy, capacity, arguments.rounds)
            rows.append(row)
            if arguments.live:
                differences += compare(trace, row, outcome, arguments.live)
    print(table(rows))
    if arguments.json:
        facts = as_json(name, trace, rows)
        arguments.json.write_text(json.dumps(facts, indent=2) + "\n")
    return 1 if differences else 0


def measure(trace: Trace, policy: str, capacity: int, rounds: int) -> tuple[Row, Outcome]:
    """One policy at one size, in turn with the bare LRU."""
    outcomes: list[Outcome] = []
    bare: list[float] = []
    for _ in range(rounds):
        bare.append(bare_lru_seconds(trace, capacity))
        outcomes.append(simulate(trace, policy, capacity))
    outcome = outcomes[0]
    seconds = median([item.seconds for item in outcomes])
    accesses = max(1, trace.accesses)
    row = Row(
        policy,
        capacity,
        ratios(trace, outcome.matched),
        ratios(trace, outcome.matched, len(trace.requests) // 2),
        seconds / accesses * 1e6,
        seconds / median(bare) if trace.accesses else 0.0,
    )
    return row, outcome


def compare(trace: Trace, row: Row, offline: Outcome, url: str) -> int:
    """Play it against a server too; how many requests found another number of blocks."""
    live = play(trace, row.policy, row.capacity, url)
    differences = [
        number
        for number, pair in enumerate(zip(offline.matched, live.matched, strict=True), 1)
        if pair[0] != pair[1]
    ]
    rate = len(live.matched) / live.seconds if live.seconds else 0.0
    told = "the same hits" if not differences else f"request {differences[0]} is the first"
    print(
        f"live {row.policy} {row.capacity}: {len(differences)} of {len(live.matched)} requests"
        f" differ ({told}), {rate:.0f} requests/s",
        flush=True,
    )
    return len(differences)
