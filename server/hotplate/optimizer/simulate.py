"""One trace through one policy at one size, and through a bare LRU for comparison.

A request is a lookup of its blocks' longest stored prefix and a write of the rest, as GETLOC,
STARTWRITE and FINISH do it: what was found is used first, then room is made, then the rest is
stored. A request that is longer than the cache stores as many blocks as fit.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass

from hotplate.optimizer.forest import Stems
from hotplate.optimizer.trace import Trace


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many leading blocks each request found, and how long all of them took."""

    matched: list[int]
    seconds: float


def simulate(trace: Trace, policy: str, capacity: int) -> Outcome:
    """Replay a trace against a cache of `capacity` blocks (at least 1)."""
    stems = Stems(policy, trace.distinct)
    requests = [request.blocks for request in trace.requests]
    begin = time.thread_time()
    found = stems.replay(requests, capacity)
    return Outcome(found, time.thread_time() - begin)


def bare_lru_seconds(trace: Trace, capacity: int) -> float:
    """The same accesses through nothing but an OrderedDict, last block of a request first."""
    held: OrderedDict[int, None] = OrderedDict()
    move, drop = held.move_to_end, held.popitem
    requests = [request.blocks for request in trace.requests]
    begin = time.thread_time()
    for blocks in requests:
        for block in reversed(blocks):
            if block in held:
                move(block)
            else:
                held[block] = None
                if len(held) > capacity:
                    drop(last=False)
    return time.thread_time() - begin


@dataclass(frozen=True, slots=True)
class Ratios:
    """Prefix hit ratios, 0 to 1, weighted by blocks, by tokens, and each request alike."""

    block: float
    token: float
    request: float


def ratios(trace: Trace, matched: list[int], first: int = 0) -> Ratios:
    """The ratios of the requests from number `first` on; who asks for no block does not count."""
    asked = hits = tokens = hit_tokens = counted = 0
    shares = 0.0
    for request, found in zip(trace.requests[first:], matched[first:], strict=True):
        blocks = request.asked
        if not blocks:
            continue
        counted += 1
        asked += blocks
        hit = min(found, blocks)
        hits += hit
        tokens += request.tokens
        hit_tokens += min(hit * trace.block_tokens, request.tokens)
        shares += hit / blocks
    return Ratios(
        hits / asked if asked else 0.0,
        hit_tokens / tokens if tokens else 0.0,
        shares / counted if counted else 0.0,
    )


def unlimited(trace: Trace) -> list[int]:
    """How many leading blocks each request finds where nothing is ever evicted."""
    seen: set[int] = set()
    found: list[int] = []
    for request in trace.requests:
        matched = 0
        for block in request.blocks:
            if block not in seen:
                break
            matched += 1
        found.append(matched)
        seen.update(request.blocks)
    return found
