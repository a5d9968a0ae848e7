"""Strings as wholes: SET and GET in all their forms, of one key or many.

GET, SET and MGET look their keys up in place: they are what clients send most, and a call costs as
much as all the rest of them.
"""

from dataclasses import dataclass
from typing import Any, Final

from hotplate.commands.string_runs import get_run, set_run
from hotplate.commands.values import read_entry
from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.database import SHARD_MASK
from hotplate.keyspace.entry import Entry, string_of
from hotplate.resp.types import OK, ONE, ZERO, Reply
from hotplate.spec.args import INT64_MAX, Args, parse_int, syntax_error, wrong_arity
from hotplate.spec.model import (
    Flag,
    Keys,
    block,
    command,
    integer,
    key,
    oneof,
    specs_of,
    string,
    token,
    unix_time,
)
from hotplate.spec.reply import (
    OK_REPLY,
    ArrayReply,
    BulkReply,
    IntegerReply,
    NullReply,
    one_of,
)

VALUE_OR_NULL: Final = one_of(BulkReply(), NullReply())
_EXPIRY_WORDS: Final = frozenset((b"EX", b"PX", b"EXAT", b"PXAT"))


@dataclass(slots=True)
class SetOptions:
    """What SET and GETEX were told beyond key and value."""

    condition: bytes = b""  # NX | XX
    get: bool = False
    keep_ttl: bool = False
    persist: bool = False
    unit: bytes = b""  # EX | PX | EXAT | PXAT
    expiry: bytes = b""  # not parsed yet


def parse_set_options(argv: list[bytes], start: int) -> SetOptions:
    """The options of SET (from the fourth argument on) or GETEX (from the third on)."""
    is_set = start == 3
    options = SetOptions()
    args = Args(argv, start)
    while args:
        word = args.take_word()
        if is_set and word in (b"NX", b"XX") and options.condition in (b"", word):
            options.condition = word
        elif is_set and word == b"GET":
            options.get = True
        elif is_set and word == b"KEEPTTL" and not options.unit:
            options.keep_ttl = True
        elif not is_set and word == b"PERSIST" and not options.unit:
            options.persist = True
        elif (
            word in _EXPIRY_WORDS
            and options.unit in (b"", word)
            and not (options.keep_ttl or options.persist)
        ):
            options.unit = word
            options.expiry = args.take()
        else:
            raise syntax_error()
    return options


def parse_expiry(text: bytes, unit: bytes, name: bytes, now_ms: int) -> int:
    """The point in time that `text` means; CommandError where it is not after 1970."""
    number = parse_int(text)
    in_seconds = unit in (b"EX", b"EXAT")
    since_ms = 0 if unit in (b"EXAT", b"PXAT") else now_ms
    expire_at_ms = (number * 1000 if in_seconds else number) + since_ms
    if number <= 0 or expire_at_ms > INT64_MAX:
        raise CommandError(b"invalid expire time in '%b' command" % name)
    return expire_at_ms


def store(ctx: Context, key: bytes, value: bytes, expire_at_ms: int = 0) -> None:
    """Set a key to a new string, and tell."""
    db = ctx.db
    db.lookup_write(key, ctx.now_ms)  # a key whose time has come expires first
    db.assign(key, value, ctx.now_ms, expire_at_ms)
    db.changed(key, "set")
    if expire_at_ms:
        db.changed(key, "expire")


@command(
    "GET",
    group="string",
    since="1.0.0",
    arity=2,
    summary="Get the value of a key",
    complexity="O(1)",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(),),
    args=(key(),),
    reply=VALUE_OR_NULL,
    acl_categories=("string",),
    run=get_run,
)
def get(ctx: Context, argv: list[bytes]) -> Reply:
    """GET key"""
    key = argv[1]
    db = ctx.db
    entry = db.shards[hash(key) & SHARD_MASK].get(key)
    if entry is None or (entry.expire_at_ms and entry.expire_at_ms < ctx.now_ms):
        db.lookup(key, ctx.now_ms)  # counts the miss, expires the key
        return None
    db.hits += 1
    if not ctx.no_touch:
        entry.accessed_ms = ctx.now_ms
    value = entry.value
    return value if type(value) is bytes else string_of(value)


@command(
    "SET",
    group="string",
    since="1.0.0",
    arity=-3,
    summary="Set the string value of a key",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(
        Keys(
            flags=("RW", "ACCESS", "UPDATE", "VARIABLE_FLAGS"),
            notes="RW and ACCESS due to the optional `GET` argument",
        ),
    ),
    args=(
        key(),
        string("value"),
        oneof("condition", token("NX"), token("XX"), optional=True, since="2.6.12"),
        token("GET", optional=True, since="6.2.0"),
        oneof(
            "expiration",
            integer("seconds", token="EX", since="2.6.12"),
            integer("milliseconds", token="PX", since="2.6.12"),
            unix_time("unix-time-seconds", token="EXAT", since="6.2.0"),
            unix_time("unix-time-milliseconds", token="PXAT", since="6.2.0"),
            token("KEEPTTL", since="6.0.0"),
            optional=True,
        ),
    ),
    reply=one_of(OK_REPLY, BulkReply(), NullReply()),
    acl_categories=("string",),
    history=(
        ("2.6.12", "Added the `EX`, `PX`, `NX` and `XX` options."),
        ("6.0.0", "Added the `KEEPTTL` option."),
        ("6.2.0", "Added the `GET`, `EXAT` and `PXAT` option."),
        ("7.0.0", "Allowed the `NX` and `GET` options to be used together."),
    ),
    run=set_run,
)
def set_(ctx: Context, argv: list[bytes]) -> Reply:
    """SET key value [NX | XX] [GET] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]"""
    if len(argv) != 3:
        return _set_with_options(ctx, argv)
    _, key, value = argv
    db = ctx.db
    entry = db.shards[hash(key) & SHARD_MASK].get(key)
    if entry is None:
        db.shards[hash(key) & SHARD_MASK][key] = Entry(value, 0, ctx.now_ms)
        db.added += 1
        if db.witness is not None:
            db.witness(db.index, key, "new")
    elif entry.expire_at_ms or db.witness is not None:
        store(ctx, key, value)
        return OK
    else:
        if type(entry.value) is not bytes:
            db.discard(entry.value)
        entry.value = value
        entry.accessed_ms = ctx.now_ms
    db.dirty += 1
    if db.observer is not None:
        db.observer(db.index, key, "set")
    return OK


def _set_with_options(ctx: Context, argv: list[bytes]) -> Reply:
    options = parse_set_options(argv, 3)
    key, value = argv[1], argv[2]
    expire_at_ms = 0
    if options.unit:
        expire_at_ms = parse_expiry(options.expiry, options.unit, b"set", ctx.now_ms)
    answer: Reply = OK
    if options.get:
        found = read_entry(ctx, key)
        answer = None if found is None else string_of(found.value)
    entry = ctx.db.lookup_write(key, ctx.now_ms)
    if options.condition and (options.condition == b"XX") is (entry is None):
        return answer if options.get else None
    if options.keep_ttl and entry is not None and entry.expire_at_ms:
        ctx.db.assign(key, value, ctx.now_ms, entry.expire_at_ms)
        ctx.db.changed(key, "set")
    else:
        store(ctx, key, value, expire_at_ms)
    return answer


@command(
    "SETNX",
    group="string",
    since="1.0.0",
    arity=3,
    summary="Set the value of a key, only if the key does not exist",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("OW", "INSERT")),),
    args=(key(), string("value")),
    reply=IntegerReply(0, 1),
    acl_categories=("string",),
)
def setnx(ctx: Context, argv: list[bytes]) -> Reply:
    """SETNX key value"""
    if ctx.db.lookup_write(argv[1], ctx.now_ms) is not None:
        return ZERO
    store(ctx, argv[1], argv[2])
    return ONE


@command(
    "SETEX",
    group="string",
    since="2.0.0",
    arity=4,
    summary="Set the value and expiration of a key",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(Keys(flags=("OW", "UPDATE")),),
    args=(key(), integer("seconds"), string("value")),
    reply=OK_REPLY,
    acl_categories=("string",),
)
def setex(ctx: Context, argv: list[bytes]) -> Reply:
    """SETEX key seconds value"""
    store(ctx, argv[1], argv[3], parse_expiry(argv[2], b"EX", b"setex", ctx.now_ms))
    return OK


@command(
    "PSETEX",
    group="string",
    since="2.6.0",
    arity=4,
    summary="Set the value and expiration in milliseconds of a key",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(Keys(flags=("OW", "UPDATE")),),
    args=(key(), integer("milliseconds"), string("value")),
    reply=OK_REPLY,
    acl_categories=("string",),
)
def psetex(ctx: Context, argv: list[bytes]) -> Reply:
    """PSETEX key milliseconds value"""
    store(ctx, argv[1], argv[3], parse_expiry(argv[2], b"PX", b"psetex", ctx.now_ms))
    return OK


@command(
    "GETSET",
    group="string",
    since="1.0.0",
    arity=3,
    summary="Set the string value of a key and return its old value",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "ACCESS", "UPDATE")),),
    args=(key(), string("value")),
    reply=VALUE_OR_NULL,
    acl_categories=("string",),
    deprecated_since="6.2.0",
    replaced_by="`SET` with the `!GET` argument",
)
def getset(ctx: Context, argv: list[bytes]) -> Reply:
    """GETSET key value"""
    entry = read_entry(ctx, argv[1])
    before = None if entry is None else string_of(entry.value)
    store(ctx, argv[1], argv[2])
    return before


@command(
    "GETDEL",
    group="string",
    since="6.2.0",
    arity=2,
    summary="Get the value of a key and delete the key",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "ACCESS", "DELETE")),),
    args=(key(),),
    reply=VALUE_OR_NULL,
    acl_categories=("string",),
)
def getdel(ctx: Context, argv: list[bytes]) -> Reply:
    """GETDEL key"""
    key = argv[1]
    entry = read_entry(ctx, key)
    if entry is None:
        return None
    value = string_of(entry.value)
    ctx.db.delete(key)
    ctx.db.changed(key, "del")
    return value


@command(
    "GETEX",
    group="string",
    since="6.2.0",
    arity=-2,
    summary="Get the value of a key and optionally set its expiration",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.FAST,
    keys=(
        Keys(flags=("RW", "ACCESS", "UPDATE"), notes="RW and UPDATE because it changes the TTL"),
    ),
    args=(
        key(),
        oneof(
            "expiration",
            integer("seconds", token="EX"),
            integer("milliseconds", token="PX"),
            unix_time("unix-time-seconds", token="EXAT"),
            unix_time("unix-time-milliseconds", token="PXAT"),
            token("PERSIST"),
            optional=True,
        ),
    ),
    reply=VALUE_OR_NULL,
    acl_categories=("string",),
)
def getex(ctx: Context, argv: list[bytes]) -> Reply:
    """GETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST]"""
    options = parse_set_options(argv, 2)
    key = argv[1]
    db = ctx.db
    entry = read_entry(ctx, key)
    if entry is None:
        return None
    value = string_of(entry.value)
    if options.unit:
        expire_at_ms = parse_expiry(options.expiry, options.unit, b"getex", ctx.now_ms)
        if expire_at_ms <= ctx.now_ms:
            db.delete(key)
            db.changed(key, "del")
        else:
            db.set_expiry(key, entry, expire_at_ms)
            db.changed(key, "expire")
    elif options.persist and entry.expire_at_ms:
        db.set_expiry(key, entry, 0)
        db.changed(key, "persist")
    return value


@command(
    "MGET",
    group="string",
    since="1.0.0",
    arity=-2,
    summary="Get the values of all the given keys",
    complexity="O(N) where N is the number of keys to retrieve.",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(last=-1),),
    args=(key(multiple=True),),
    reply=ArrayReply(VALUE_OR_NULL),
    acl_categories=("string",),
    tips=("request_policy:multi_shard",),
)
def mget(ctx: Context, argv: list[bytes]) -> Reply:
    """MGET key [key ...]"""
    db = ctx.db
    shards = db.shards
    now_ms = ctx.now_ms
    touch = not ctx.no_touch
    values: list[bytes | None] = []
    misses = 0
    for name in argv[1:]:
        entry = shards[hash(name) & SHARD_MASK].get(name)
        if entry is None:
            misses += 1
            values.append(None)
            if db.witness is not None:
                db.witness(db.index, name, "keymiss")
            continue
        if entry.expire_at_ms and entry.expire_at_ms < now_ms:
            db.expire(name)
            misses += 1
            values.append(None)
            if db.witness is not None:
                db.witness(db.index, name, "keymiss")
            continue
        if touch:
            entry.accessed_ms = now_ms
        value: Any = entry.value
        if type(value) is bytes:
            values.append(value)
        elif isinstance(value, (int, bytes, bytearray)):
            values.append(string_of(value))
        else:
            values.append(None)
    db.misses += misses
    db.hits += len(values) - misses
    return values


@command(
    "MSET",
    group="string",
    since="1.0.1",
    arity=-3,
    summary="Set multiple keys to multiple values",
    complexity="O(N) where N is the number of keys to set.",
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(Keys(last=-1, step=2, flags=("OW", "UPDATE")),),
    args=(block("key_value", key(), string("value"), multiple=True),),
    reply=OK_REPLY,
    acl_categories=("string",),
    tips=("request_policy:multi_shard", "response_policy:all_succeeded"),
)
def mset(ctx: Context, argv: list[bytes]) -> Reply:
    """MSET key value [key value ...]"""
    if len(argv) % 2 == 0:
        raise wrong_arity(b"mset")
    _set_many(ctx, argv)
    return OK


@command(
    "MSETNX",
    group="string",
    since="1.0.1",
    arity=-3,
    summary="Set multiple keys to multiple values, only if none of the keys exist",
    complexity="O(N) where N is the number of keys to set.",
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(Keys(last=-1, step=2, flags=("OW", "INSERT")),),
    args=(block("key_value", key(), string("value"), multiple=True),),
    reply=IntegerReply(0, 1),
    acl_categories=("string",),
    tips=("request_policy:multi_shard", "response_policy:agg_min"),
)
def msetnx(ctx: Context, argv: list[bytes]) -> Reply:
    """MSETNX key value [key value ...]"""
    if len(argv) % 2 == 0:
        raise wrong_arity(b"msetnx")
    if any(ctx.db.lookup_write(key, ctx.now_ms) is not None for key in argv[1::2]):
        return ZERO
    _set_many(ctx, argv)
    return ONE


def _set_many(ctx: Context, argv: list[bytes]) -> None:
    db = ctx.db
    shards = db.shards
    now_ms = ctx.now_ms
    observed = db.observer is not None or db.witness is not None
    for position in range(1, len(argv), 2):
        key = argv[position]
        entry = shards[hash(key) & SHARD_MASK].get(key)
        if entry is None or entry.expire_at_ms or observed:
            store(ctx, key, argv[position + 1])
        else:
            if type(entry.value) is not bytes:
                db.discard(entry.value)
            entry.value = argv[position + 1]
            entry.accessed_ms = now_ms
            db.dirty += 1


SPECS = specs_of(get, set_, setnx, setex, psetex, getset, getdel, getex, mget, mset, msetnx)
