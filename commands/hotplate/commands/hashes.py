"""Hashes by the field: setting, getting, removing, counting.

HSET and HGET of one field look the key up in place: they are what clients send most.
"""

from fractions import Fraction
from typing import Any, Final

from hotplate.commands.hash_runs import hget_run, hset_run
from hotplate.commands.hash_values import (
    NOT_A_FLOAT_VALUE,
    NOT_AN_INTEGER_VALUE,
    create_hash,
    put_fields,
    read_hash,
    replace_field,
    write_hash,
)
from hotplate.commands.values import settle
from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.database import SHARD_MASK
from hotplate.keyspace.entry import INTEGER_MAX, INTEGER_MIN
from hotplate.keyspace.hash import HASHTABLE, Hash
from hotplate.keyspace.long_double import (
    add_long_doubles,
    format_long_double,
    read_long_double,
)
from hotplate.keyspace.sharded import SHARD_MASK as FIELD_SHARD_MASK
from hotplate.keyspace.sharded import SHARD_SHIFT as FIELD_SHARD_SHIFT
from hotplate.resp.types import OK, ONE, ZERO, Reply
from hotplate.spec.args import NOT_A_FLOAT, parse_int, read_int, wrong_arity
from hotplate.spec.model import Flag, Keys, block, command, double, integer, key, specs_of, string
from hotplate.spec.reply import (
    OK_REPLY,
    ArrayReply,
    BulkReply,
    IntegerReply,
    NullReply,
    one_of,
)

_VALUE_OR_NULL: Final = one_of(BulkReply(), NullReply())
_COUNT: Final = IntegerReply(minimum=0)


@command(
    "HSET",
    group="hash",
    since="2.0.0",
    arity=-4,
    summary="Set the string value of a hash field",
    complexity="O(1) for each field and value",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "UPDATE")),),
    args=(key(), block("field_value", string("field"), string("value"), multiple=True)),
    reply=_COUNT,
    acl_categories=("hash",),
    history=(("4.0.0", "Accepts multiple `field` and `value` arguments."),),
    run=hset_run,
)
def hset(ctx: Context, argv: list[bytes]) -> Reply:
    """HSET key field value [field value ...]"""
    if len(argv) != 4:
        if len(argv) % 2:
            raise wrong_arity(b"hset")
        return _set_fields(ctx, argv)
    _, key, field, item = argv
    db = ctx.db
    entry = db.shards[hash(key) & SHARD_MASK].get(key)
    if entry is None or 0 < entry.expire_at_ms < ctx.now_ms:
        return _set_fields(ctx, argv)
    value: Any = entry.value
    if type(value) is not Hash or value.deadlines is not None:
        return _set_fields(ctx, argv)
    table: Any = value.table
    if type(table) is not dict:
        table = table.shards[hash(field) >> FIELD_SHARD_SHIFT & FIELD_SHARD_MASK]
    if field in table and (
        value.name is HASHTABLE or len(item) <= ctx.engine.config.hash_max_listpack_value
    ):
        table[field] = item
        created = ZERO
    else:
        created = ONE if put_fields(ctx, value, (field, item)) else ZERO
    if not ctx.no_touch:
        entry.accessed_ms = ctx.now_ms
    db.dirty += 1
    if db.observer is not None:
        db.observer(db.index, key, "hset")
    return created


def _set_fields(ctx: Context, argv: list[bytes]) -> int:
    key, parts = argv[1], argv[2:]
    created = put_fields(ctx, create_hash(ctx, key, parts[::2]), parts)
    ctx.db.changed(key, "hset")
    return created


@command(
    "HMSET",
    group="hash",
    since="2.0.0",
    arity=-4,
    summary="Set multiple hash fields to multiple values",
    complexity="O(N) where N is the number of fields being set.",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "UPDATE")),),
    args=(key(), block("field_value", string("field"), string("value"), multiple=True)),
    reply=OK_REPLY,
    acl_categories=("hash",),
    deprecated_since="4.0.0",
    replaced_by="`HSET` with multiple field-value pairs",
)
def hmset(ctx: Context, argv: list[bytes]) -> Reply:
    """HMSET key field value [field value ...]"""
    if len(argv) % 2:
        raise wrong_arity(b"hmset")
    _set_fields(ctx, argv)
    return OK


@command(
    "HSETNX",
    group="hash",
    since="2.0.0",
    arity=4,
    summary="Set the value of a hash field, only if the field does not exist",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "INSERT")),),
    args=(key(), string("field"), string("value")),
    reply=IntegerReply(0, 1),
    acl_categories=("hash",),
)
def hsetnx(ctx: Context, argv: list[bytes]) -> Reply:
    """HSETNX key field value"""
    value = write_hash(ctx, argv[1], argv[2:3])
    if value is not None and argv[2] in value.table:
        return ZERO
    _set_fields(ctx, argv)
    return ONE


@command(
    "HGET",
    group="hash",
    since="2.0.0",
    arity=3,
    summary="Get the value of a hash field",
    complexity="O(1)",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(),),
    args=(key(), string("field")),
    reply=_VALUE_OR_NULL,
    acl_categories=("hash",),
    run=hget_run,
)
def hget(ctx: Context, argv: list[bytes]) -> Reply:
    """HGET key field"""
    key = argv[1]
    db = ctx.db
    now_ms = ctx.now_ms
    entry = db.shards[hash(key) & SHARD_MASK].get(key)
    if entry is None or 0 < entry.expire_at_ms < now_ms:
        db.lookup(key, now_ms)  # counts the miss, expires the key
        return None
    value: Any = entry.value
    if type(value) is not Hash or value.first_ms < now_ms:
        value = read_hash(ctx, key, argv[2:])
        return None if value is None else value.table.get(argv[2])
    db.hits += 1
    if not ctx.no_touch:
        entry.accessed_ms = now_ms
    return value.table.get(argv[2])


@command(
    "HMGET",
    group="hash",
    since="2.0.0",
    arity=-3,
    summary="Get the values of all the given hash fields",
    complexity="O(N) where N is the number of fields being requested.",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(),),
    args=(key(), string("field", multiple=True)),
    reply=ArrayReply(_VALUE_OR_NULL),
    acl_categories=("hash",),
)
def hmget(ctx: Context, argv: list[bytes]) -> Reply:
    """HMGET key field [field ...]"""
    fields = argv[2:]
    value = read_hash(ctx, argv[1], fields)
    if value is None:
        return [None] * len(fields)
    return list(map(value.table.get, fields))


@command(
    "HLEN",
    group="hash",
    since="2.0.0",
    arity=2,
    summary="Get the number of fields in a hash",
    complexity="O(1)",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(flags=("RO",)),),
    args=(key(),),
    reply=_COUNT,
    acl_categories=("hash",),
)
def hlen(ctx: Context, argv: list[bytes]) -> Reply:
    """HLEN key: where very many fields are due at once, some of them still count"""
    value = read_hash(ctx, argv[1])
    return ZERO if value is None else len(value.table)


@command(
    "HSTRLEN",
    group="hash",
    since="3.2.0",
    arity=3,
    summary="Get the length of the value of a hash field",
    complexity="O(1)",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(flags=("RO",)),),
    args=(key(), string("field")),
    reply=_COUNT,
    acl_categories=("hash",),
)
def hstrlen(ctx: Context, argv: list[bytes]) -> Reply:
    """HSTRLEN key field"""
    value = read_hash(ctx, argv[1], argv[2:])
    return ZERO if value is None else len(value.table.get(argv[2], b""))


@command(
    "HEXISTS",
    group="hash",
    since="2.0.0",
    arity=3,
    summary="Determine if a hash field exists",
    complexity="O(1)",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(flags=("RO",)),),
    args=(key(), string("field")),
    reply=IntegerReply(0, 1),
    acl_categories=("hash",),
)
def hexists(ctx: Context, argv: list[bytes]) -> Reply:
    """HEXISTS key field"""
    value = read_hash(ctx, argv[1], argv[2:])
    return ONE if value is not None and argv[2] in value.table else ZERO


@command(
    "HDEL",
    group="hash",
    since="2.0.0",
    arity=-3,
    summary="Delete one or more hash fields",
    complexity="O(N) where N is the number of fields to be removed.",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "DELETE")),),
    args=(key(), string("field", multiple=True)),
    reply=_COUNT,
    acl_categories=("hash",),
    history=(("2.4.0", "Accepts multiple `field` arguments."),),
)
def hdel(ctx: Context, argv: list[bytes]) -> Reply:
    """HDEL key field [field ...]"""
    key, fields = argv[1], argv[2:]
    value = write_hash(ctx, key, fields)
    if value is None:
        return ZERO
    removed = sum(map(value.remove, fields))
    if removed:
        settle(ctx, key, value, "hdel")
    return removed


@command(
    "HINCRBY",
    group="hash",
    since="2.0.0",
    arity=4,
    summary="Increment the integer value of a hash field by the given number",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "ACCESS", "UPDATE")),),
    args=(key(), string("field"), integer("increment")),
    reply=IntegerReply(),
    acl_categories=("hash",),
)
def hincrby(ctx: Context, argv: list[bytes]) -> Reply:
    """HINCRBY key field increment: the field keeps its time"""
    _, key, field, increment_text = argv
    increment = parse_int(increment_text)
    text = _value_of(ctx, key, field)
    before = 0 if text is None else read_int(text)
    if before is None:
        raise CommandError(NOT_AN_INTEGER_VALUE)
    total = before + increment
    if not INTEGER_MIN <= total <= INTEGER_MAX:
        raise CommandError("increment or decrement would overflow")
    replace_field(ctx, create_hash(ctx, key, argv[2:3]), field, b"%d" % total)
    ctx.db.changed(key, "hincrby")
    return total


@command(
    "HINCRBYFLOAT",
    group="hash",
    since="2.6.0",
    arity=4,
    summary="Increment the float value of a hash field by the given amount",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "ACCESS", "UPDATE")),),
    args=(key(), string("field"), double("increment")),
    reply=BulkReply(),
    acl_categories=("hash",),
)
def hincrbyfloat(ctx: Context, argv: list[bytes]) -> Reply:
    """HINCRBYFLOAT key field increment: the field keeps its time"""
    _, key, field, increment_text = argv
    increment = read_long_double(increment_text)
    if increment is None:
        raise CommandError(NOT_A_FLOAT)
    if isinstance(increment, float):
        raise CommandError("value is NaN or Infinity")
    text = _value_of(ctx, key, field)
    before = read_long_double(b"0" if text is None else text)
    if before is None:
        raise CommandError(NOT_A_FLOAT_VALUE)
    total = add_long_doubles(before, increment)
    if isinstance(total, float):
        raise CommandError("increment would produce NaN or Infinity")
    total_text = format_long_double(Fraction(total))
    replace_field(ctx, create_hash(ctx, key, argv[2:3]), field, total_text)
    ctx.db.changed(key, "hincrbyfloat")
    return total_text


def _value_of(ctx: Context, key: bytes, field: bytes) -> bytes | None:
    value = write_hash(ctx, key, (field,))
    return None if value is None else value.table.get(field)


SPECS = specs_of(
    *(hset, hmset, hsetnx, hget, hmget, hlen, hstrlen, hexists, hdel),
    *(hincrby, hincrbyfloat),
)
