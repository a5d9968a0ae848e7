"""Runs of ZADD and ZRANGEBYSCORE: what a pipeline of equal plain requests costs least.

As in string_runs: consecutive requests are taken while each is plain and its key holds a sorted
set that does not expire; the rest is left to the ordinary handlers, which answer the same.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from hotplate.commands.sorted_set_forms import keep_packed
from hotplate.engine.dispatch import OUTPUT_BYTES_MAX
from hotplate.keyspace.database import SHARD_MASK
from hotplate.keyspace.sharded import SHARD_MASK as MEMBER_MASK
from hotplate.keyspace.sharded import SHARD_SHIFT as MEMBER_SHIFT
from hotplate.keyspace.sorted_set import SortedSet
from hotplate.resp.encoder import RAW_BYTES_MAX, bulk_array
from hotplate.resp.types import ONE, ZERO

if TYPE_CHECKING:
    from hotplate.engine.context import Context

_DIGITS_MAX: Final = 17
_WORDS: Final = 4  # of both commands in their plain form


def zadd_run(
    ctx: "Context", requests: list[Any], start: int, append: Callable[[Any], object]
) -> int:
    """ZADD key score member, for whole scores."""
    name = requests[start][0]
    db = ctx.db
    shards = db.shards
    now_ms = ctx.now_ms
    index = start
    if db.observer is not None or ctx.no_touch:
        return start
    for index in range(start, len(requests)):
        argv = requests[index]
        if len(argv) != _WORDS or argv[0] != name:
            break
        _, key, text, member = argv
        entry = shards[hash(key) & SHARD_MASK].get(key)
        if entry is None or entry.expire_at_ms or not text.isdigit() or len(text) > _DIGITS_MAX:
            break
        value: Any = entry.value
        if value.__class__ is not SortedSet:
            break
        score = float(text)
        table: Any = value.scores
        if table.__class__ is not dict:  # spread over many
            table = table.shards[hash(member) >> MEMBER_SHIFT & MEMBER_MASK]
        before = table.get(member)
        if before is None:
            value.insert(member, score)
            if value.packed:
                keep_packed(ctx, value, member)
            db.dirty += 1
            append(ONE)
        else:
            if before != score:
                value.move(member, before, score)
                db.dirty += 1
            append(ZERO)
        entry.accessed_ms = now_ms
    else:
        index = len(requests)
    return index


def zrangebyscore_run(
    ctx: "Context", requests: list[Any], start: int, append: Callable[[Any], object]
) -> int:
    """ZRANGEBYSCORE key min max, for whole scores, both included."""
    name = requests[start][0]
    db = ctx.db
    shards = db.shards
    now_ms = ctx.now_ms
    room = OUTPUT_BYTES_MAX
    index = start
    if ctx.no_touch:
        return start
    for index in range(start, len(requests)):
        argv = requests[index]
        if len(argv) != _WORDS or argv[0] != name:
            break
        _, key, low, high = argv
        entry = shards[hash(key) & SHARD_MASK].get(key)
        if entry is None or entry.expire_at_ms:
            break
        if not (low.isdigit() and high.isdigit()) or len(low) + len(high) > _DIGITS_MAX:
            break
        value: Any = entry.value
        if value.__class__ is not SortedSet:
            break
        entry.accessed_ms = now_ms
        frames = bulk_array(value.members_between(float(low), float(high)))
        append(frames)
        if len(frames) > RAW_BYTES_MAX:
            room -= len(frames)
            if room < 0:  # the client's transport is to be looked at
                index += 1
                break
    else:
        index = len(requests)
    db.hits += index - start
    return index
