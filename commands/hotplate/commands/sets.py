"""Sets one by one: members added, removed, found, drawn at random and scanned.

SADD and SPOP look their key up in place: clients send them most.
"""

from typing import Final

from hotplate.commands.collection_scan import (
    SCAN_ARGS,
    nothing_to_scan,
    parse_scan_options,
    scan_step,
)
from hotplate.commands.databases import parse_cursor
from hotplate.commands.set_runs import sadd_run, spop_run
from hotplate.commands.values import create_value, read_value, settle, write_value
from hotplate.engine.context import Context
from hotplate.keyspace.database import SHARD_MASK
from hotplate.keyspace.set import HASHTABLE, Set
from hotplate.resp import types
from hotplate.resp.types import EMPTY_ARRAY, ONE, ZERO, Reply
from hotplate.spec.args import (
    INT64_MAX,
    NEGATIVE_COUNT,
    parse_int_between,
    parse_int_from,
    syntax_error,
)
from hotplate.spec.model import Flag, Keys, command, integer, key, specs_of, string
from hotplate.spec.reply import (
    ArrayReply,
    BulkReply,
    IntegerReply,
    NullReply,
    SetReply,
    TupleReply,
    one_of,
)

MEMBERS: Final = SetReply(BulkReply())
COUNT: Final = IntegerReply(minimum=0)
_YES_OR_NO: Final = IntegerReply(0, 1)


@command(
    "SADD",
    group="set",
    since="1.0.0",
    arity=-3,
    summary="Add one or more members to a set",
    complexity=(
        "O(1) for each element added, so O(N) to add N elements when the command is called with"
        " multiple arguments."
    ),
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "INSERT")),),
    args=(key(), string("member", multiple=True)),
    reply=COUNT,
    acl_categories=("set",),
    history=(("2.4.0", "Accepts multiple `member` arguments."),),
    run=sadd_run,
)
def sadd(ctx: Context, argv: list[bytes]) -> Reply:
    """SADD key member [member ...]"""
    key = argv[1]
    db = ctx.db
    limits = ctx.engine.config
    entry = db.shards[hash(key) & SHARD_MASK].get(key)
    if entry is None or entry.expire_at_ms or type(entry.value) is not Set or ctx.no_touch:
        value = create_value(ctx, key, Set)
    else:
        value = entry.value
        entry.accessed_ms = ctx.now_ms
    if len(argv) == 3 and value.table:
        added = value.add(argv[2], limits) + 0
    else:
        value.expect(argv[2], len(argv) - 2, limits)
        added = sum([value.add(member, limits) for member in argv[2:]])
    if added:
        db.dirty += 1
        if db.observer is not None:
            db.observer(db.index, key, "sadd")
    return added


@command(
    "SREM",
    group="set",
    since="1.0.0",
    arity=-3,
    summary="Remove one or more members from a set",
    complexity="O(N) where N is the number of members to be removed.",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "DELETE")),),
    args=(key(), string("member", multiple=True)),
    reply=COUNT,
    acl_categories=("set",),
    history=(("2.4.0", "Accepts multiple `member` arguments."),),
)
def srem(ctx: Context, argv: list[bytes]) -> Reply:
    """SREM key member [member ...]"""
    value = write_value(ctx, argv[1], Set)
    if value is None:
        return ZERO
    removed = sum([value.discard(member) for member in argv[2:]])
    if removed:
        settle(ctx, argv[1], value, "srem")
    return removed


@command(
    "SCARD",
    group="set",
    since="1.0.0",
    arity=2,
    summary="Get the number of members in a set",
    complexity="O(1)",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(flags=("RO",)),),
    args=(key(),),
    reply=COUNT,
    acl_categories=("set",),
)
def scard(ctx: Context, argv: list[bytes]) -> Reply:
    """SCARD key"""
    value = read_value(ctx, argv[1], Set)
    return ZERO if value is None else len(value)


@command(
    "SISMEMBER",
    group="set",
    since="1.0.0",
    arity=3,
    summary="Determine if a given value is a member of a set",
    complexity="O(1)",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(flags=("RO",)),),
    args=(key(), string("member")),
    reply=_YES_OR_NO,
    acl_categories=("set",),
)
def sismember(ctx: Context, argv: list[bytes]) -> Reply:
    """SISMEMBER key member"""
    value = read_value(ctx, argv[1], Set)
    return ONE if value is not None and argv[2] in value.table else ZERO


@command(
    "SMISMEMBER",
    group="set",
    since="6.2.0",
    arity=-3,
    summary="Returns the membership associated with the given elements for a set",
    complexity="O(N) where N is the number of elements being checked for membership",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(),),
    args=(key(), string("member", multiple=True)),
    reply=ArrayReply(_YES_OR_NO),
    acl_categories=("set",),
)
def smismember(ctx: Context, argv: list[bytes]) -> Reply:
    """SMISMEMBER key member [member ...]"""
    value = read_value(ctx, argv[1], Set)
    if value is None:
        return [0] * (len(argv) - 2)
    table = value.table
    return [1 if member in table else 0 for member in argv[2:]]


@command(
    "SMEMBERS",
    group="set",
    since="1.0.0",
    arity=2,
    summary="Get all the members in a set",
    complexity="O(N) where N is the set cardinality.",
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(key(),),
    reply=MEMBERS,
    acl_categories=("set",),
    tips=("nondeterministic_output_order",),
)
def smembers(ctx: Context, argv: list[bytes]) -> Reply:
    """SMEMBERS key"""
    value = read_value(ctx, argv[1], Set)
    return types.Set() if value is None else types.Set(value.table)


@command(
    "SPOP",
    group="set",
    since="1.0.0",
    arity=-2,
    summary="Remove and return one or multiple random members from a set",
    complexity=(
        "Without the count argument O(1), otherwise O(N) where N is the value of the passed count."
    ),
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "ACCESS", "DELETE")),),
    args=(key(), integer("count", optional=True, since="3.2.0")),
    reply=one_of(NullReply(), BulkReply(), MEMBERS),
    acl_categories=("set",),
    tips=("nondeterministic_output",),
    history=(("3.2.0", "Added the `count` argument."),),
    run=spop_run,
)
def spop(ctx: Context, argv: list[bytes]) -> Reply:
    """SPOP key [count]"""
    if len(argv) != 2:
        return _spop_count(ctx, argv)
    key = argv[1]
    value = write_value(ctx, key, Set)
    if value is None:
        return None
    member = value.take(ctx.engine.rng)
    settle(ctx, key, value, "spop")
    return member


def _spop_count(ctx: Context, argv: list[bytes]) -> Reply:
    if len(argv) > 3:
        raise syntax_error()
    count = parse_int_from(argv[2], 0, NEGATIVE_COUNT)
    value = write_value(ctx, argv[1], Set)
    if value is None or not count:
        return types.Set()
    taken = types.Set(value.take_many(count, ctx.engine.rng, ctx.engine.config))
    settle(ctx, argv[1], value, "spop")
    return taken


@command(
    "SRANDMEMBER",
    group="set",
    since="1.0.0",
    arity=-2,
    summary="Get one or multiple random members from a set",
    complexity=(
        "Without the count argument O(1), otherwise O(N) where N is the absolute value of the"
        " passed count."
    ),
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(key(), integer("count", optional=True, since="2.6.0")),
    reply=one_of(NullReply(), BulkReply(), ArrayReply(BulkReply())),
    acl_categories=("set",),
    tips=("nondeterministic_output",),
    history=(("2.6.0", "Added the optional `count` argument."),),
)
def srandmember(ctx: Context, argv: list[bytes]) -> Reply:
    """SRANDMEMBER key [count]: a negative count may draw a member several times"""
    rng = ctx.engine.rng
    if len(argv) == 2:
        value = read_value(ctx, argv[1], Set)
        return None if value is None else value.draw(rng)
    if len(argv) > 3:
        raise syntax_error()
    count = parse_int_between(argv[2], -INT64_MAX, INT64_MAX)
    value = read_value(ctx, argv[1], Set)
    if value is None or not count:
        return EMPTY_ARRAY
    if count > 0:
        return value.sample(count, rng)
    return [value.draw(rng) for _ in range(-count)]


@command(
    "SMOVE",
    group="set",
    since="1.0.0",
    arity=4,
    summary="Move a member from one set to another",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.FAST,
    keys=(
        Keys(flags=("RW", "ACCESS", "DELETE")),
        Keys(begin=2, flags=("RW", "INSERT")),
    ),
    args=(key("source"), key("destination", index=1), string("member")),
    reply=_YES_OR_NO,
    acl_categories=("set",),
)
def smove(ctx: Context, argv: list[bytes]) -> Reply:
    """SMOVE source destination member"""
    _, source, destination, member = argv
    value = write_value(ctx, source, Set)
    if value is None:
        return ZERO
    write_value(ctx, destination, Set)  # refuses another type before anything changes
    if member not in value.table:
        return ZERO
    if source == destination:
        return ONE
    value.discard(member)
    settle(ctx, source, value, "srem")
    target = create_value(ctx, destination, Set)
    limits = ctx.engine.config
    if not target.table:
        target.expect(member, 1, limits)
    if target.add(member, limits):
        ctx.db.changed(destination, "sadd")
    return ONE


@command(
    "SSCAN",
    group="set",
    since="2.8.0",
    arity=-3,
    summary="Incrementally iterate Set elements",
    complexity=(
        "O(1) for every call. O(N) for a complete iteration, including enough command calls for"
        " the cursor to return back to 0. N is the number of elements inside the collection.."
    ),
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(key(), *SCAN_ARGS),
    reply=TupleReply((BulkReply(rb"[0-9]+"), ArrayReply(BulkReply()))),
    acl_categories=("set",),
    tips=("nondeterministic_output",),
)
def sscan(ctx: Context, argv: list[bytes]) -> Reply:
    """SSCAN key cursor [MATCH pattern] [COUNT count]"""
    cursor = parse_cursor(argv[2])
    value = read_value(ctx, argv[1], Set)
    if value is None:
        return nothing_to_scan()
    options = parse_scan_options(argv)
    is_whole = value.encoding() is not HASHTABLE
    next_cursor, found = scan_step(value.table, cursor, options, whole=is_whole)
    return [next_cursor, list(found)]


SPECS = specs_of(
    sadd,
    srem,
    scard,
    sismember,
    smismember,
    smembers,
    spop,
    srandmember,
    smove,
    sscan,
)
