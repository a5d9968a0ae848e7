"""When keys expire: setting, asking, taking back."""

from typing import Final

from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.entry import Entry
from hotplate.resp.types import ONE, ZERO, Reply
from hotplate.spec.args import INT64_MAX, INT64_MIN, parse_int
from hotplate.spec.model import Flag, Keys, command, integer, key, oneof, specs_of, token, unix_time
from hotplate.spec.reply import IntegerReply

_DONE: Final = IntegerReply(0, 1)
_SPAN: Final = IntegerReply(minimum=-2)
_CONDITIONS: Final = frozenset((b"NX", b"XX", b"GT", b"LT"))


@command(
    "EXPIRE",
    group="generic",
    since="1.0.0",
    arity=-3,
    summary="Set a key's time to live in seconds",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "UPDATE")),),
    args=(
        key(),
        integer("seconds"),
        oneof(
            "condition",
            token("NX"),
            token("XX"),
            token("GT"),
            token("LT"),
            optional=True,
            since="7.0.0",
        ),
    ),
    reply=_DONE,
    acl_categories=("keyspace",),
    history=(("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`."),),
)
def expire(ctx: Context, argv: list[bytes]) -> Reply:
    """EXPIRE key seconds [NX | XX | GT | LT]"""
    return _expire(ctx, argv, 1000, ctx.now_ms, b"expire")


@command(
    "PEXPIRE",
    group="generic",
    since="2.6.0",
    arity=-3,
    summary="Set a key's time to live in milliseconds",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "UPDATE")),),
    args=(
        key(),
        integer("milliseconds"),
        oneof(
            "condition",
            token("NX"),
            token("XX"),
            token("GT"),
            token("LT"),
            optional=True,
            since="7.0.0",
        ),
    ),
    reply=_DONE,
    acl_categories=("keyspace",),
    history=(("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`."),),
)
def pexpire(ctx: Context, argv: list[bytes]) -> Reply:
    """PEXPIRE key milliseconds [NX | XX | GT | LT]"""
    return _expire(ctx, argv, 1, ctx.now_ms, b"pexpire")


@command(
    "EXPIREAT",
    group="generic",
    since="1.2.0",
    arity=-3,
    summary="Set the expiration for a key as a UNIX timestamp",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "UPDATE")),),
    args=(
        key(),
        unix_time("unix-time-seconds"),
        oneof(
            "condition",
            token("NX"),
            token("XX"),
            token("GT"),
            token("LT"),
            optional=True,
            since="7.0.0",
        ),
    ),
    reply=_DONE,
    acl_categories=("keyspace",),
    history=(("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`."),),
)
def expireat(ctx: Context, argv: list[bytes]) -> Reply:
    """EXPIREAT key unix-time-seconds [NX | XX | GT | LT]"""
    return _expire(ctx, argv, 1000, 0, b"expireat")


@command(
    "PEXPIREAT",
    group="generic",
    since="2.6.0",
    arity=-3,
    summary="Set the expiration for a key as a UNIX timestamp specified in milliseconds",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "UPDATE")),),
    args=(
        key(),
        unix_time("unix-time-milliseconds"),
        oneof(
            "condition",
            token("NX"),
            token("XX"),
            token("GT"),
            token("LT"),
            optional=True,
            since="7.0.0",
        ),
    ),
    reply=_DONE,
    acl_categories=("keyspace",),
    history=(("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`."),),
)
def pexpireat(ctx: Context, argv: list[bytes]) -> Reply:
    """PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT]"""
    return _expire(ctx, argv, 1, 0, b"pexpireat")


def _expire(ctx: Context, argv: list[bytes], unit_ms: int, since_ms: int, name: bytes) -> Reply:
    conditions = _parse_conditions(argv) if len(argv) > 3 else None
    expire_at_ms = parse_int(argv[2]) * unit_ms
    if not INT64_MIN <= expire_at_ms <= INT64_MAX - since_ms:
        raise CommandError(b"invalid expire time in '%b' command" % name)
    expire_at_ms += since_ms
    key = argv[1]
    db = ctx.db
    entry = db.lookup_write(key, ctx.now_ms)
    if entry is None or (conditions and not _met(conditions, entry, expire_at_ms)):
        return ZERO
    if expire_at_ms <= ctx.now_ms:
        db.delete(key)
        db.changed(key, "del")
    else:
        db.set_expiry(key, entry, expire_at_ms)
        db.changed(key, "expire")
    return ONE


def _parse_conditions(argv: list[bytes]) -> frozenset[bytes]:
    words = frozenset(word.upper() for word in argv[3:])
    if not words <= _CONDITIONS:
        unknown = next(word for word in argv[3:] if word.upper() not in _CONDITIONS)
        raise CommandError(b"Unsupported option %b" % unknown)
    if b"NX" in words and len(words) > 1:
        raise CommandError("NX and XX, GT or LT options at the same time are not compatible")
    if b"GT" in words and b"LT" in words:
        raise CommandError("GT and LT options at the same time are not compatible")
    return words


def _met(conditions: frozenset[bytes], entry: Entry, expire_at_ms: int) -> bool:
    """No expiry counts as infinitely late."""
    current_ms = entry.expire_at_ms
    if b"NX" in conditions and current_ms:
        return False
    if b"XX" in conditions and not current_ms:
        return False
    if b"GT" in conditions and (not current_ms or expire_at_ms <= current_ms):
        return False
    return not (b"LT" in conditions and current_ms and expire_at_ms >= current_ms)


@command(
    "TTL",
    group="generic",
    since="1.0.0",
    arity=2,
    summary="Get the time to live for a key in seconds",
    complexity="O(1)",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(),),
    args=(key(),),
    reply=_SPAN,
    acl_categories=("keyspace",),
    tips=("nondeterministic_output",),
    history=(("2.8.0", "Added the -2 reply."),),
)
def ttl(ctx: Context, argv: list[bytes]) -> Reply:
    """TTL key: rounded to the nearest second"""
    left_ms = _expiry(ctx, argv[1], ctx.now_ms)
    return left_ms if left_ms < 0 else (left_ms + 500) // 1000


@command(
    "PTTL",
    group="generic",
    since="2.6.0",
    arity=2,
    summary="Get the time to live for a key in milliseconds",
    complexity="O(1)",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(),),
    args=(key(),),
    reply=_SPAN,
    acl_categories=("keyspace",),
    tips=("nondeterministic_output",),
    history=(("2.8.0", "Added the -2 reply."),),
)
def pttl(ctx: Context, argv: list[bytes]) -> Reply:
    """PTTL key"""
    return _expiry(ctx, argv[1], ctx.now_ms)


@command(
    "EXPIRETIME",
    group="generic",
    since="7.0.0",
    arity=2,
    summary="Get the expiration Unix timestamp for a key",
    complexity="O(1)",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(),),
    args=(key(),),
    reply=_SPAN,
    acl_categories=("keyspace",),
)
def expiretime(ctx: Context, argv: list[bytes]) -> Reply:
    """EXPIRETIME key"""
    expire_at_ms = _expiry(ctx, argv[1], 0)
    return expire_at_ms if expire_at_ms < 0 else (expire_at_ms + 500) // 1000


@command(
    "PEXPIRETIME",
    group="generic",
    since="7.0.0",
    arity=2,
    summary="Get the expiration Unix timestamp for a key in milliseconds",
    complexity="O(1)",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(),),
    args=(key(),),
    reply=_SPAN,
    acl_categories=("keyspace",),
)
def pexpiretime(ctx: Context, argv: list[bytes]) -> Reply:
    """PEXPIRETIME key"""
    return _expiry(ctx, argv[1], 0)


def _expiry(ctx: Context, key: bytes, since_ms: int) -> int:
    """The expiry counted from `since_ms`; -1: never, -2: no such key."""
    entry = ctx.db.lookup(key, ctx.now_ms)
    if entry is None:
        return -2
    return max(entry.expire_at_ms - since_ms, 0) if entry.expire_at_ms else -1


@command(
    "PERSIST",
    group="generic",
    since="2.2.0",
    arity=2,
    summary="Remove the expiration from a key",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "UPDATE")),),
    args=(key(),),
    reply=_DONE,
    acl_categories=("keyspace",),
)
def persist(ctx: Context, argv: list[bytes]) -> Reply:
    """PERSIST key"""
    key = argv[1]
    entry = ctx.db.lookup_write(key, ctx.now_ms)
    if entry is None or not entry.expire_at_ms:
        return ZERO
    ctx.db.set_expiry(key, entry, 0)
    ctx.db.changed(key, "persist")
    return ONE


SPECS = specs_of(expire, pexpire, expireat, pexpireat, ttl, pttl, expiretime, pexpiretime, persist)
