"""When fields of hashes expire: setting, asking, taking back.

Every reply has one code for each field named:

    -2  no such field, or no such key      0  the condition is not met      2  deleted: time past
    -1  the field has no time              1  done
"""

from typing import Final

from hotplate.commands.hash_values import read_hash, write_hash
from hotplate.commands.values import settle
from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.hash import Hash
from hotplate.resp.types import Reply
from hotplate.spec.args import parse_int, read_int
from hotplate.spec.model import (
    Arg,
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
from hotplate.spec.reply import ArrayReply, IntegerReply

EXPIRE_AT_MS_MAX: Final = 2**46 - 1
FIELDS_ARG: Final[Arg] = block(
    "fields", integer("numfields"), string("field", multiple=True), token="FIELDS"
)
_CONDITION: Final[Arg] = oneof(
    "condition", token("NX"), token("XX"), token("GT"), token("LT"), optional=True
)
_CONDITIONS: Final = frozenset((b"NX", b"XX", b"GT", b"LT"))
_CODES: Final = ArrayReply(IntegerReply(-2, 2))
_TIMES: Final = ArrayReply(IntegerReply(minimum=-2))
_NO_FIELD: Final = -2
_NO_TIME: Final = -1
_NOT_MET: Final = 0
_DONE: Final = 1
_DELETED: Final = 2


def parse_fields(argv: list[bytes], at: int, message: str) -> list[bytes]:
    """FIELDS numfields field ..., where it must stand; `message` refuses another number."""
    if at + 1 >= len(argv) or argv[at].upper() != b"FIELDS":
        raise CommandError("Mandatory argument FIELDS is missing or not at the right position")
    count = read_int(argv[at + 1])
    if count is None or count < 1:
        raise CommandError(message)
    if count != len(argv) - at - 2:
        raise CommandError("The `numfields` parameter must match the number of arguments")
    return argv[at + 2 :]


def parse_field_expiry(text: bytes, unit_ms: int, since_ms: int, name: bytes) -> int:
    """The point in time that `text` means, which may be past."""
    number = parse_int(text)
    if number < 0:
        raise CommandError("invalid expire time, must be >= 0")
    expire_at_ms = number * unit_ms + since_ms
    if expire_at_ms > EXPIRE_AT_MS_MAX:
        raise CommandError(b"invalid expire time in '%b' command" % name)
    return expire_at_ms


def expire_field(ctx: Context, value: Hash, field: bytes, expire_at_ms: int) -> bool:
    """Let a field expire at a time; whether that is past, and the field gone."""
    if expire_at_ms <= ctx.now_ms:
        value.remove(field)
        return True
    value.set_deadline(field, expire_at_ms)
    return False


@command(
    "HEXPIRE",
    group="hash",
    since="7.4.0",
    arity=-6,
    summary="Set expiry for hash field using relative time to expire (seconds)",
    complexity="O(N) where N is the number of specified fields",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "UPDATE")),),
    args=(key(), integer("seconds"), _CONDITION, FIELDS_ARG),
    reply=_CODES,
    acl_categories=("hash",),
)
def hexpire(ctx: Context, argv: list[bytes]) -> Reply:
    """HEXPIRE key seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]"""
    return _expire(ctx, argv, 1000, ctx.now_ms)


@command(
    "HPEXPIRE",
    group="hash",
    since="7.4.0",
    arity=-6,
    summary="Set expiry for hash field using relative time to expire (milliseconds)",
    complexity="O(N) where N is the number of specified fields",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "UPDATE")),),
    args=(key(), integer("milliseconds"), _CONDITION, FIELDS_ARG),
    reply=_CODES,
    acl_categories=("hash",),
)
def hpexpire(ctx: Context, argv: list[bytes]) -> Reply:
    """HPEXPIRE key milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]"""
    return _expire(ctx, argv, 1, ctx.now_ms)


@command(
    "HEXPIREAT",
    group="hash",
    since="7.4.0",
    arity=-6,
    summary="Set expiry for hash field using an absolute Unix timestamp (seconds)",
    complexity="O(N) where N is the number of specified fields",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "UPDATE")),),
    args=(key(), unix_time("unix-time-seconds"), _CONDITION, FIELDS_ARG),
    reply=_CODES,
    acl_categories=("hash",),
)
def hexpireat(ctx: Context, argv: list[bytes]) -> Reply:
    """HEXPIREAT key unix-time-seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]"""
    return _expire(ctx, argv, 1000, 0)


@command(
    "HPEXPIREAT",
    group="hash",
    since="7.4.0",
    arity=-6,
    summary="Set expiry for hash field using an absolute Unix timestamp (milliseconds)",
    complexity="O(N) where N is the number of specified fields",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "UPDATE")),),
    args=(key(), unix_time("unix-time-milliseconds"), _CONDITION, FIELDS_ARG),
    reply=_CODES,
    acl_categories=("hash",),
)
def hpexpireat(ctx: Context, argv: list[bytes]) -> Reply:
    """HPEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT] FIELDS numfields field [...]"""
    return _expire(ctx, argv, 1, 0)


def _expire(ctx: Context, argv: list[bytes], unit_ms: int, since_ms: int) -> Reply:
    key = argv[1]
    write_hash(ctx, key, ())  # another type is refused first
    expire_at_ms = parse_field_expiry(argv[2], unit_ms, since_ms, argv[0].lower())
    condition = argv[3].upper()
    at = 4 if condition in _CONDITIONS else 3
    fields = parse_fields(argv, at, "Parameter `numFields` should be greater than 0")
    value = write_hash(ctx, key, fields)
    if value is None:
        return [_NO_FIELD] * len(fields)
    codes: list[int] = []
    for field in fields:
        if field not in value.table:
            codes.append(_NO_FIELD)
        elif at == 4 and not _met(condition, value.deadline(field), expire_at_ms):
            codes.append(_NOT_MET)
        elif expire_field(ctx, value, field, expire_at_ms):
            codes.append(_DELETED)
        else:
            codes.append(_DONE)
    if _DELETED in codes:
        settle(ctx, key, value, "hdel")
    elif _DONE in codes:
        ctx.db.track_fields(key, value)
        ctx.db.changed(key, "hexpire")
    return codes


def _met(condition: bytes, current_ms: int | None, expire_at_ms: int) -> bool:
    """No time counts as infinitely late."""
    if condition == b"NX":
        return current_ms is None
    if condition == b"XX":
        return current_ms is not None
    if condition == b"GT":
        return current_ms is not None and expire_at_ms > current_ms
    return current_ms is None or expire_at_ms < current_ms


@command(
    "HTTL",
    group="hash",
    since="7.4.0",
    arity=-5,
    summary="Returns the TTL in seconds of a hash field.",
    complexity="O(N) where N is the number of specified fields",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(),),
    args=(key(), FIELDS_ARG),
    reply=_TIMES,
    acl_categories=("hash",),
    tips=("nondeterministic_output",),
)
def httl(ctx: Context, argv: list[bytes]) -> Reply:
    """HTTL key FIELDS numfields field [field ...]: rounded up to seconds"""
    return _times(ctx, argv, 1000, ctx.now_ms)


@command(
    "HPTTL",
    group="hash",
    since="7.4.0",
    arity=-5,
    summary="Returns the TTL in milliseconds of a hash field.",
    complexity="O(N) where N is the number of specified fields",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(),),
    args=(key(), FIELDS_ARG),
    reply=_TIMES,
    acl_categories=("hash",),
    tips=("nondeterministic_output",),
)
def hpttl(ctx: Context, argv: list[bytes]) -> Reply:
    """HPTTL key FIELDS numfields field [field ...]"""
    return _times(ctx, argv, 1, ctx.now_ms)


@command(
    "HEXPIRETIME",
    group="hash",
    since="7.4.0",
    arity=-5,
    summary="Returns the expiration time of a hash field as a Unix timestamp, in seconds.",
    complexity="O(N) where N is the number of specified fields",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(),),
    args=(key(), FIELDS_ARG),
    reply=_TIMES,
    acl_categories=("hash",),
)
def hexpiretime(ctx: Context, argv: list[bytes]) -> Reply:
    """HEXPIRETIME key FIELDS numfields field [field ...]: rounded up to seconds"""
    return _times(ctx, argv, 1000, 0)


@command(
    "HPEXPIRETIME",
    group="hash",
    since="7.4.0",
    arity=-5,
    summary="Returns the expiration time of a hash field as a Unix timestamp, in msec.",
    complexity="O(N) where N is the number of specified fields",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(),),
    args=(key(), FIELDS_ARG),
    reply=_TIMES,
    acl_categories=("hash",),
)
def hpexpiretime(ctx: Context, argv: list[bytes]) -> Reply:
    """HPEXPIRETIME key FIELDS numfields field [field ...]"""
    return _times(ctx, argv, 1, 0)


def _times(ctx: Context, argv: list[bytes], unit_ms: int, since_ms: int) -> Reply:
    fields = argv[4:]
    value = read_hash(ctx, argv[1], fields)
    parse_fields(argv, 2, "Number of fields must be a positive integer")
    if value is None:
        return [_NO_FIELD] * len(fields)
    times: list[int] = []
    for field in fields:
        expire_at_ms = value.deadline(field)
        if expire_at_ms is not None:
            times.append((expire_at_ms - since_ms + unit_ms - 1) // unit_ms)
        else:
            times.append(_NO_TIME if field in value.table else _NO_FIELD)
    return times


@command(
    "HPERSIST",
    group="hash",
    since="7.4.0",
    arity=-5,
    summary="Removes the expiration time for each specified field",
    complexity="O(N) where N is the number of specified fields",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "UPDATE")),),
    args=(key(), FIELDS_ARG),
    reply=ArrayReply(IntegerReply(-2, 1)),
    acl_categories=("hash",),
)
def hpersist(ctx: Context, argv: list[bytes]) -> Reply:
    """HPERSIST key FIELDS numfields field [field ...]"""
    fields = argv[4:]
    value = write_hash(ctx, argv[1], fields)
    parse_fields(argv, 2, "Number of fields must be a positive integer")
    if value is None:
        return [_NO_FIELD] * len(fields)
    codes: list[int] = []
    for field in fields:
        if value.persist(field):
            codes.append(_DONE)
        else:
            codes.append(_NO_TIME if field in value.table else _NO_FIELD)
    if _DONE in codes:
        ctx.db.changed(argv[1], "hpersist")
    return codes


SPECS = specs_of(
    *(hexpire, hpexpire, hexpireat, hpexpireat),
    *(httl, hpttl, hexpiretime, hpexpiretime, hpersist),
)
