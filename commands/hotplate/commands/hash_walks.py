"""Hashes as wholes: all fields, some by chance, or one piece of a walk after the other."""

from random import Random
from typing import Any, Final

from hotplate.commands.collection_scan import (
    SCAN_ARGS,
    nothing_to_scan,
    parse_scan_options,
    scan_step,
)
from hotplate.commands.databases import parse_cursor
from hotplate.commands.hash_runs import FLAT_HEADERS, MAP_HEADERS, frames_of, hgetall_run
from hotplate.commands.hash_values import read_whole_hash
from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.hash import HASHTABLE
from hotplate.keyspace.sharded import ShardedDict, Table, random_key
from hotplate.resp.types import EMPTY_ARRAY, Map, Raw, Reply
from hotplate.spec.args import INT64_MAX, parse_int, syntax_error
from hotplate.spec.model import Flag, Keys, block, command, integer, key, specs_of, token
from hotplate.spec.reply import (
    ArrayReply,
    BulkReply,
    MapReply,
    NullReply,
    TupleReply,
    one_of,
)

_BULKS: Final = ArrayReply(BulkReply())
_RANDOM_MAX: Final = 2**27  # fields that may be asked for with repetition: their list has to fit


@command(
    "HGETALL",
    group="hash",
    since="2.0.0",
    arity=2,
    summary="Get all the fields and values in a hash",
    complexity="O(N) where N is the size of the hash.",
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(key(),),
    reply=MapReply(BulkReply()),
    acl_categories=("hash",),
    tips=("nondeterministic_output_order",),
    run=hgetall_run,
)
def hgetall(ctx: Context, argv: list[bytes]) -> Reply:
    """HGETALL key"""
    value = read_whole_hash(ctx, argv[1])
    if value is None:
        return Map()
    frames = frames_of(value, FLAT_HEADERS if ctx.resp == 2 else MAP_HEADERS)
    if frames is not None:
        return Raw(frames)
    table = value.table
    if ctx.resp == 2:
        return [part for pair in table.items() for part in pair]
    return Map(table.items())


@command(
    "HKEYS",
    group="hash",
    since="2.0.0",
    arity=2,
    summary="Get all the fields in a hash",
    complexity="O(N) where N is the size of the hash.",
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(key(),),
    reply=_BULKS,
    acl_categories=("hash",),
    tips=("nondeterministic_output_order",),
)
def hkeys(ctx: Context, argv: list[bytes]) -> Reply:
    """HKEYS key"""
    value = read_whole_hash(ctx, argv[1])
    return EMPTY_ARRAY if value is None else list(value.table)


@command(
    "HVALS",
    group="hash",
    since="2.0.0",
    arity=2,
    summary="Get all the values in a hash",
    complexity="O(N) where N is the size of the hash.",
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(key(),),
    reply=_BULKS,
    acl_categories=("hash",),
    tips=("nondeterministic_output_order",),
)
def hvals(ctx: Context, argv: list[bytes]) -> Reply:
    """HVALS key"""
    value = read_whole_hash(ctx, argv[1])
    return EMPTY_ARRAY if value is None else list(value.table.values())


@command(
    "HRANDFIELD",
    group="hash",
    since="6.2.0",
    arity=-2,
    summary="Get one or multiple random fields from a hash",
    complexity="O(N) where N is the number of fields returned",
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(
        key(),
        block("options", integer("count"), token("WITHVALUES", optional=True), optional=True),
    ),
    reply=one_of(
        BulkReply(),
        NullReply(),
        _BULKS,
        ArrayReply(TupleReply((BulkReply(), BulkReply()))),
    ),
    acl_categories=("hash",),
    tips=("nondeterministic_output",),
)
def hrandfield(ctx: Context, argv: list[bytes]) -> Reply:
    """HRANDFIELD key [count [WITHVALUES]]: a negative count may name a field again"""
    rng = ctx.engine.rng
    if len(argv) == 2:
        value = read_whole_hash(ctx, argv[1])
        return None if value is None else random_key(value.table, rng)
    count = parse_int(argv[2])
    if count < -INT64_MAX:
        bounds = f"between {-INT64_MAX} and {INT64_MAX}"
        raise CommandError(f"value is out of range, value must {bounds}")
    with_values = len(argv) == 4 and argv[3].upper() == b"WITHVALUES"
    if len(argv) > 3 and not with_values:
        raise syntax_error()
    if (with_values and abs(count) > INT64_MAX // 2) or count < -_RANDOM_MAX:
        raise CommandError("value is out of range")
    value = read_whole_hash(ctx, argv[1])
    if value is None or count == 0:
        return EMPTY_ARRAY
    table = value.table
    fields = _choose(table, count, rng)
    if not with_values:
        return fields
    if ctx.resp == 2:
        return [part for field in fields for part in (field, table[field])]
    return [[field, table[field]] for field in fields]


def _choose(table: Table[bytes], count: int, rng: Random) -> list[bytes]:
    """So many different fields; where negative, so many that may be the same."""
    size = len(table)
    if count >= size:
        return list(table)
    if isinstance(table, ShardedDict) and 8 * abs(count) < size:
        if count < 0:
            return [table.random_key(rng) for _ in range(-count)]
        chosen: dict[bytes, None] = {}
        while len(chosen) < count:
            chosen[table.random_key(rng)] = None
        return list(chosen)
    if count < 0:
        return rng.choices(list(table), k=-count)
    return rng.sample(list(table), count)


@command(
    "HSCAN",
    group="hash",
    since="2.8.0",
    arity=-3,
    summary="Incrementally iterate hash fields and associated values",
    complexity="O(COUNT) for every call. O(N) for a complete iteration of N fields.",
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(key(), *SCAN_ARGS, token("NOVALUES", optional=True, since="7.4.0")),
    reply=TupleReply((BulkReply(rb"[0-9]+"), _BULKS)),
    acl_categories=("hash",),
    tips=("nondeterministic_output",),
)
def hscan(ctx: Context, argv: list[bytes]) -> Reply:
    """HSCAN key cursor [MATCH pattern] [COUNT count] [NOVALUES]"""
    cursor = parse_cursor(argv[2])
    value = read_whole_hash(ctx, argv[1])
    if value is None:
        return nothing_to_scan()
    options = parse_scan_options(argv, is_hash=True)
    table = value.table
    whole = value.name is not HASHTABLE
    next_cursor, found = scan_step(table, cursor, options, whole=whole)
    items: Any
    if options.values:
        items = [part for field in found for part in (field, table[field])]
    else:
        items = list(found)
    return [next_cursor, items]


SPECS = specs_of(hgetall, hkeys, hvals, hrandfield, hscan)
