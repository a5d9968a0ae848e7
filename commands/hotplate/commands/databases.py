"""Whole databases: walking over keys, counting, flushing, swapping."""

import re
from typing import Final

from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.database import Database
from hotplate.keyspace.entry import type_of
from hotplate.keyspace.glob import compile_glob
from hotplate.keyspace.scan import scan as scan_keys
from hotplate.resp.types import OK, Reply
from hotplate.spec.args import Args, read_int, syntax_error
from hotplate.spec.model import Flag, command, integer, oneof, pattern, specs_of, string, token
from hotplate.spec.reply import (
    OK_REPLY,
    ArrayReply,
    BulkReply,
    IntegerReply,
    NullReply,
    TupleReply,
    one_of,
)

_CURSOR: Final = re.compile(rb"([+-]?)([0-9]+)")
_CURSORS: Final = 2**64
_SCAN_COUNT: Final = 10
_RANDOM_TRIES: Final = 100


@command(
    "KEYS",
    group="generic",
    since="1.0.0",
    arity=2,
    summary="Find all keys matching the given pattern",
    complexity="O(N) with N being the number of keys in the database",
    flags=Flag.READONLY,
    args=(pattern(),),
    reply=ArrayReply(BulkReply()),
    acl_categories=("keyspace", "dangerous"),
    tips=("request_policy:all_shards", "nondeterministic_output_order"),
)
def keys(ctx: Context, argv: list[bytes]) -> Reply:
    """KEYS pattern"""
    db = ctx.db
    if argv[1] == b"*" and not db.expiring_count:
        return list(db.keys())
    matches = compile_glob(argv[1])
    now_ms = ctx.now_ms
    return [
        key
        for shard in db.shards
        for key, entry in shard.items()
        if matches(key) and not (entry.expire_at_ms and entry.expire_at_ms < now_ms)
    ]


@command(
    "SCAN",
    group="generic",
    since="2.8.0",
    arity=-2,
    summary="Incrementally iterate the keys space",
    complexity="O(COUNT) for every call. O(N) for a complete iteration of N keys.",
    flags=Flag.READONLY,
    args=(
        integer("cursor"),
        pattern(token="MATCH", optional=True),
        integer("count", token="COUNT", optional=True),
        string("type", token="TYPE", optional=True, since="6.0.0"),
    ),
    reply=TupleReply((BulkReply(rb"[0-9]+"), ArrayReply(BulkReply()))),
    acl_categories=("keyspace",),
    tips=("nondeterministic_output", "request_policy:special"),
    history=(("6.0.0", "Added the `TYPE` subcommand."),),
)
def scan(ctx: Context, argv: list[bytes]) -> Reply:
    """SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]"""
    cursor = parse_cursor(argv[1])
    count = _SCAN_COUNT
    glob = b"*"
    type_name: bytes | None = None
    args = Args(argv, 2)
    while args:
        word = args.take_word()
        if word == b"COUNT" and args:
            count = args.take_int()
            if count < 1:
                raise syntax_error()
        elif word == b"MATCH" and args:
            glob = args.take()
        elif word == b"TYPE" and args:
            type_name = args.take().lower()
        else:
            raise syntax_error()
    db = ctx.db
    cursor, found = scan_keys(db, cursor, count)
    if glob != b"*":
        found = list(filter(compile_glob(glob), found))
    alive: list[bytes] = []
    for key in found:
        entry = db.lookup_write(key, ctx.now_ms)
        if entry is not None and type_name in (None, type_of(entry.value)):
            alive.append(key)
    return [b"%d" % cursor, alive]


def parse_cursor(text: bytes) -> int:
    """A cursor as C's strtoul reads it: signs are allowed, nothing is zero."""
    text = text.partition(b"\0")[0]
    if not text:
        return 0
    match = _CURSOR.fullmatch(text)
    if match is None or int(match[2]) >= _CURSORS:
        raise CommandError("invalid cursor")
    number = int(match[2])
    return -number % _CURSORS if match[1] == b"-" else number


@command(
    "RANDOMKEY",
    group="generic",
    since="1.0.0",
    arity=1,
    summary="Return a random key from the keyspace",
    complexity="O(1)",
    flags=Flag.READONLY,
    reply=one_of(BulkReply(), NullReply()),
    acl_categories=("keyspace",),
    tips=("request_policy:all_shards", "nondeterministic_output"),
)
def randomkey(ctx: Context, argv: list[bytes]) -> Reply:
    """RANDOMKEY"""
    db = ctx.db
    tries = _RANDOM_TRIES
    while (key := db.random_key(ctx.engine.rng)) is not None:
        tries -= 1
        # in a pause keys do not expire: there may be no other than those whose time has come
        if db.lookup_write(key, ctx.now_ms) is not None or (not db.expires and tries <= 0):
            return key
    return None


@command(
    "DBSIZE",
    group="server",
    since="1.0.0",
    arity=1,
    summary="Return the number of keys in the selected database",
    complexity="O(1)",
    flags=Flag.READONLY | Flag.FAST,
    reply=IntegerReply(minimum=0),
    acl_categories=("keyspace",),
    tips=("request_policy:all_shards", "response_policy:agg_sum"),
)
def dbsize(ctx: Context, argv: list[bytes]) -> Reply:
    """DBSIZE"""
    return ctx.db.size()


@command(
    "FLUSHDB",
    group="server",
    since="1.0.0",
    arity=-1,
    summary="Remove all keys from the current database",
    complexity="O(N) where N is the number of keys in the selected database",
    flags=Flag.WRITE,
    args=(
        oneof("async", token("ASYNC", since="4.0.0"), token("SYNC", since="6.2.0"), optional=True),
    ),
    reply=OK_REPLY,
    acl_categories=("keyspace", "dangerous"),
    tips=("request_policy:all_shards", "response_policy:all_succeeded"),
    history=(
        ("4.0.0", "Added the `ASYNC` flushing mode modifier."),
        ("6.2.0", "Added the `SYNC` flushing mode modifier."),
    ),
)
def flushdb(ctx: Context, argv: list[bytes]) -> Reply:
    """FLUSHDB [ASYNC | SYNC]: memory is freed in the background either way"""
    _parse_flush_mode(argv)
    _flush(ctx, ctx.db)
    ctx.engine.tracking.flushed()
    return OK


@command(
    "FLUSHALL",
    group="server",
    since="1.0.0",
    arity=-1,
    summary="Remove all keys from all databases",
    complexity="O(N) where N is the total number of keys in all databases",
    flags=Flag.WRITE,
    args=(
        oneof("async", token("ASYNC", since="4.0.0"), token("SYNC", since="6.2.0"), optional=True),
    ),
    reply=OK_REPLY,
    acl_categories=("keyspace", "dangerous"),
    tips=("request_policy:all_shards", "response_policy:all_succeeded"),
    history=(
        ("4.0.0", "Added the `ASYNC` flushing mode modifier."),
        ("6.2.0", "Added the `SYNC` flushing mode modifier."),
    ),
)
def flushall(ctx: Context, argv: list[bytes]) -> Reply:
    """FLUSHALL [ASYNC | SYNC]"""
    _parse_flush_mode(argv)
    for database in ctx.engine.databases:
        _flush(ctx, database)
    ctx.engine.tracking.flushed()
    return OK


def _parse_flush_mode(argv: list[bytes]) -> None:
    if len(argv) > 2 or (len(argv) == 2 and argv[1].upper() not in (b"ASYNC", b"SYNC")):
        raise syntax_error()


def _flush(ctx: Context, database: Database) -> None:
    ctx.engine.watches.touch_database(database.index)
    ctx.engine.blocking.database_changed(database.index)
    database.flush()


@command(
    "SWAPDB",
    group="server",
    since="4.0.0",
    arity=3,
    summary="Swaps two Redis databases",
    complexity="O(N) where N is the number of keys that clients watch",
    flags=Flag.WRITE | Flag.FAST,
    args=(integer("index1"), integer("index2")),
    reply=OK_REPLY,
    acl_categories=("keyspace", "dangerous"),
)
def swapdb(ctx: Context, argv: list[bytes]) -> Reply:
    """SWAPDB index1 index2: clients see the other data at once"""
    first = _parse_index(argv[1], "invalid first DB index")
    second = _parse_index(argv[2], "invalid second DB index")
    databases = ctx.engine.databases
    if not (0 <= first < len(databases) and 0 <= second < len(databases)):
        raise CommandError("DB index is out of range")
    if first != second:
        ctx.engine.watches.touch_database(first, other=second)
        ctx.engine.watches.touch_database(second, other=first)
        ctx.engine.blocking.database_changed(first, second)
        databases[first].swap(databases[second])
    return OK


def _parse_index(text: bytes, message: str) -> int:
    index = read_int(text)
    if index is None or not -(2**31) <= index < 2**31:
        raise CommandError(message)
    return index


SPECS = specs_of(keys, scan, randomkey, dbsize, flushdb, flushall, swapdb)
