"""Runs of HGET, HSET and HGETALL: what a pipeline of equal plain requests costs least.

As in `string_runs`: consecutive requests of one command are taken as long as each is plain (no
field is due, nobody watches, values are short); the ordinary handler takes what is left. The two
must agree, and tests hold them to it. Never raises.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from hotplate.commands.hash_values import put_fields
from hotplate.keyspace.database import SHARD_MASK
from hotplate.keyspace.hash import HASHTABLE, Hash
from hotplate.keyspace.sharded import SHARD_MASK as FIELD_SHARD_MASK
from hotplate.keyspace.sharded import SHARD_SHIFT as FIELD_SHARD_SHIFT
from hotplate.resp.shared import ARRAY_HEADERS, BULK_HEADERS, CRLF, NULL, NULL_BULK
from hotplate.resp.types import ONE, ZERO

if TYPE_CHECKING:
    from hotplate.engine.context import Context

PIECE_FIELDS: Final = 32  # more fields, or longer ones, are no plain request
PIECE_BYTES: Final = 512
# an item's header after the end of the one before it, and the beginning of a whole reply
SEPARATORS: Final = tuple(CRLF + header for header in BULK_HEADERS[:PIECE_BYTES])
MAP_HEADERS: Final = tuple(b"%%%d" % count for count in range(PIECE_FIELDS + 1))
FLAT_HEADERS: Final = tuple(header[:-2] for header in ARRAY_HEADERS[: 2 * PIECE_FIELDS + 1 : 2])
_SIZES_END: Final = len(BULK_HEADERS)


def hget_run(
    ctx: "Context", requests: list[Any], start: int, append: Callable[[Any], object]
) -> int:
    """HGET key field, for values that are missing or short."""
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
        if argv[0] != name or len(argv) != 3:
            break
        key = argv[1]
        entry = shards[hash(key) & SHARD_MASK].get(key)
        if entry is None:
            misses += 1
            append(null)
            continue
        value: Any = entry.value
        if type(value) is not Hash or value.first_ms < now_ms or 0 < entry.expire_at_ms < now_ms:
            break
        item = value.table.get(argv[2])
        if item is None:
            append(null)
        elif len(item) < _SIZES_END:
            append(BULK_HEADERS[len(item)])
            append(item)
            append(CRLF)
        else:
            break
        entry.accessed_ms = now_ms
    else:
        index = len(requests)
    db.misses += misses
    db.hits += index - start - misses
    return index


def hset_run(
    ctx: "Context", requests: list[Any], start: int, append: Callable[[Any], object]
) -> int:
    """HSET key field value, for hashes that exist and have no times."""
    name = requests[start][0]
    db = ctx.db
    shards = db.shards
    now_ms = ctx.now_ms
    size_max = ctx.engine.config.hash_max_listpack_value
    index = start
    if db.observer is not None or ctx.no_touch:
        return start
    for index in range(start, len(requests)):
        argv = requests[index]
        if argv[0] != name or len(argv) != 4:
            break
        _, key, field, item = argv
        entry = shards[hash(key) & SHARD_MASK].get(key)
        if entry is None or 0 < entry.expire_at_ms < now_ms:
            break
        value: Any = entry.value
        if type(value) is not Hash or value.deadlines is not None:
            break
        table: Any = value.table
        if type(table) is not dict:
            table = table.shards[hash(field) >> FIELD_SHARD_SHIFT & FIELD_SHARD_MASK]
        if field in table and (value.name is HASHTABLE or len(item) <= size_max):
            table[field] = item
            append(ZERO)
        else:
            append(ONE if put_fields(ctx, value, (field, item)) else ZERO)
        entry.accessed_ms = now_ms
    else:
        index = len(requests)
    db.dirty += index - start
    return index


def hgetall_run(
    ctx: "Context", requests: list[Any], start: int, append: Callable[[Any], object]
) -> int:
    """HGETALL key, for hashes of few and short fields."""
    name = requests[start][0]
    db = ctx.db
    shards = db.shards
    now_ms = ctx.now_ms
    headers = FLAT_HEADERS if ctx.resp == 2 else MAP_HEADERS
    index = start
    if ctx.no_touch:
        return start
    for index in range(start, len(requests)):
        argv = requests[index]
        if argv[0] != name or len(argv) != 2:
            break
        key = argv[1]
        entry = shards[hash(key) & SHARD_MASK].get(key)
        if entry is None or 0 < entry.expire_at_ms < now_ms:
            break
        value: Any = entry.value
        if type(value) is not Hash or value.first_ms < now_ms:
            break
        frames = frames_of(value, headers)
        if frames is None:
            break
        append(frames)
        entry.accessed_ms = now_ms
    else:
        index = len(requests)
    db.hits += index - start
    return index


def frames_of(value: Hash, headers: tuple[bytes, ...]) -> bytes | None:
    """All fields and values as one reply in one piece; None where they are too many or too long."""
    table = value.table
    count = len(table)
    if count > PIECE_FIELDS:
        return None
    pieces = [headers[count]]
    try:
        for field, item in table.items():
            pieces += SEPARATORS[len(field)], field, SEPARATORS[len(item)], item
    except IndexError:
        return None
    pieces.append(CRLF)
    return b"".join(pieces)
