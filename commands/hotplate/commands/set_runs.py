"""Runs of SADD and SPOP: what a pipeline of them on one set costs least.

As in list_runs: consecutive requests for one set that exists and doesn't expire, one member each;
the ordinary handlers take the rest, and the two must agree.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hotplate.commands.list_runs import SIZES_END, absent_run, count_equal
from hotplate.keyspace.database import SHARD_MASK
from hotplate.keyspace.set import Set
from hotplate.resp.encoder import bulks
from hotplate.resp.types import ONE, ZERO

if TYPE_CHECKING:
    from hotplate.engine.context import Context

Append = Callable[[Any], object]


def _find(ctx: "Context", key: bytes) -> Set | None:
    """The set at `key`, if nothing about it is special."""
    db = ctx.db
    entry = db.shards[hash(key) & SHARD_MASK].get(key)
    if entry is None or entry.expire_at_ms or ctx.no_touch or db.observer is not None:
        return None
    value = entry.value
    if type(value) is not Set:
        return None
    entry.accessed_ms = ctx.now_ms
    return value


def sadd_run(ctx: "Context", requests: list[Any], start: int, append: Append) -> int:
    """SADD key member."""
    first = requests[start]
    if len(first) != 3 or requests[start + 1][0] != first[0]:
        return start
    name, key, _ = first
    value = _find(ctx, key)
    if value is None:
        return start
    limits = ctx.engine.config
    add = value.add
    index = start
    changes = 0
    for index in range(start, len(requests)):
        argv = requests[index]
        if len(argv) != 3 or argv[1] != key or argv[0] != name:
            break
        if add(argv[2], limits):
            changes += 1
            append(ONE)
        else:
            append(ZERO)
    else:
        index = len(requests)
    ctx.db.dirty += changes
    return index


def spop_run(ctx: "Context", requests: list[Any], start: int, append: Append) -> int:
    """SPOP key, as long as it leaves a member; or where there is no key."""
    argv = requests[start]
    if len(argv) != 2 or requests[start + 1][0] != argv[0]:
        return start
    value = _find(ctx, argv[1])
    if value is None:
        return absent_run(ctx, requests, start, append)
    count = min(count_equal(requests, start), len(value) - 1)
    if not count:
        return start
    rng = ctx.engine.rng
    taken: list[bytes] = []
    for _ in range(count):
        member = value.take(rng)
        taken.append(member)
        if len(member) >= SIZES_END:  # the dispatcher limits how much is answered at once
            break
    append(bulks(taken))
    ctx.db.dirty += len(taken)
    return start + len(taken)
