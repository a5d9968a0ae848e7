"""Runs of GET, SET and INCR: what a pipeline of equal plain requests costs least.

A run handler takes consecutive requests of its command from `start` on, as long as each is plain
(no options, no expiry, no other type, nobody watching), appends their frames and answers the index
after the last one it took. What it leaves the ordinary handler takes: the two must agree, and
tests hold them to it. It never raises.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from hotplate.keyspace.database import SHARD_MASK
from hotplate.keyspace.entry import INTEGER_MAX
from hotplate.resp.encoder import BULK_HEADERS, INTEGERS
from hotplate.resp.shared import CRLF, NULL, NULL_BULK
from hotplate.resp.types import OK

if TYPE_CHECKING:
    from hotplate.engine.context import Context

_SIZES_END: Final = len(BULK_HEADERS)
_INTEGERS_END: Final = len(INTEGERS)


def get_run(
    ctx: "Context", requests: list[Any], start: int, append: Callable[[Any], object]
) -> int:
    """GET key, for keys that are missing or hold short bytes without expiry."""
    name = requests[start][0]
    db = ctx.db
    shards = db.shards
    now_ms = ctx.now_ms
    null = NULL_BULK if ctx.resp == 2 else NULL
    index = start
    misses = 0
    if ctx.no_touch or db.witness is not None:
        return start
    for index in range(start, len(requests)):
        argv = requests[index]
        if argv[0] != name or len(argv) != 2:
            break
        key = argv[1]
        entry = shards[hash(key) & SHARD_MASK].get(key)
        if entry is None:
            misses += 1
            append(null)
            continue
        value: Any = entry.value
        if entry.expire_at_ms or type(value) is not bytes or len(value) >= _SIZES_END:
            break
        entry.accessed_ms = now_ms
        append(BULK_HEADERS[len(value)])
        append(value)
        append(CRLF)
    else:
        index = len(requests)
    db.misses += misses
    db.hits += index - start - misses
    return index


def set_run(
    ctx: "Context", requests: list[Any], start: int, append: Callable[[Any], object]
) -> int:
    """SET key value, for keys that exist and don't expire."""
    name = requests[start][0]
    db = ctx.db
    shards = db.shards
    now_ms = ctx.now_ms
    index = start
    if db.observer is not None or db.witness is not None:
        return start
    for index in range(start, len(requests)):
        argv = requests[index]
        if argv[0] != name or len(argv) != 3:
            break
        key = argv[1]
        entry = shards[hash(key) & SHARD_MASK].get(key)
        if entry is None or entry.expire_at_ms:
            break
        if type(entry.value) is not bytes:
            db.discard(entry.value)
        entry.value = argv[2]
        entry.accessed_ms = now_ms
        append(OK)
    else:
        index = len(requests)
    db.dirty += index - start
    return index


def incr_run(
    ctx: "Context", requests: list[Any], start: int, append: Callable[[Any], object]
) -> int:
    """INCR key, for counters that exist and don't expire."""
    name = requests[start][0]
    db = ctx.db
    shards = db.shards
    now_ms = ctx.now_ms
    index = start
    if db.observer is not None:
        return start
    for index in range(start, len(requests)):
        argv = requests[index]
        if argv[0] != name or len(argv) != 2:
            break
        key = argv[1]
        entry = shards[hash(key) & SHARD_MASK].get(key)
        if entry is None or entry.expire_at_ms:
            break
        value: Any = entry.value
        if type(value) is not int or value >= INTEGER_MAX:
            break
        entry.value = value = value + 1
        entry.accessed_ms = now_ms
        append(INTEGERS[value] if 0 <= value < _INTEGERS_END else b":%d\r\n" % value)
    else:
        index = len(requests)
    db.dirty += index - start
    return index
