"""Values and times of fields in one step: HSETEX, HGETEX, HGETDEL."""

from dataclasses import dataclass
from typing import Final

from hotplate.commands.hash_expiry import (
    FIELDS_ARG,
    expire_field,
    parse_field_expiry,
    parse_fields,
)
from hotplate.commands.hash_values import create_hash, put_fields, replace_field, write_hash
from hotplate.commands.values import settle
from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.resp.types import ONE, ZERO, Reply
from hotplate.spec.args import Args, read_int, wrong_arity
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
from hotplate.spec.reply import ArrayReply, BulkReply, IntegerReply, NullReply, one_of

_VALUES: Final = ArrayReply(one_of(BulkReply(), NullReply()))
# what a unit counts in, and whether it counts from now on
_UNITS: Final = {
    b"EX": (1000, True),
    b"PX": (1, True),
    b"EXAT": (1000, False),
    b"PXAT": (1, False),
}
_FIELDS_MAX: Final = 2**31 - 1
_NOT_POSITIVE: Final = "Number of fields must be a positive integer"


def _parse_unit(ctx: Context, unit: bytes, text: bytes, name: bytes) -> int:
    unit_ms, from_now = _UNITS[unit]
    return parse_field_expiry(text, unit_ms, ctx.now_ms if from_now else 0, name)


@dataclass(slots=True)
class _SetOptions:
    condition: bytes = b""  # FNX | FXX
    keep_time: bool = False
    expire_at_ms: int | None = None
    parts: tuple[bytes, ...] | list[bytes] = ()  # field, value, field ...


@command(
    "HSETEX",
    group="hash",
    since="8.0.0",
    arity=-6,
    summary="Set the value of one or more fields of a given hash key, and optionally set their"
    " expiration.",
    complexity="O(N) where N is the number of fields being set.",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "UPDATE")),),
    args=(
        key(),
        oneof("condition", token("FNX"), token("FXX"), optional=True),
        oneof(
            "expiration",
            integer("seconds", token="EX"),
            integer("milliseconds", token="PX"),
            unix_time("unix-time-seconds", token="EXAT"),
            unix_time("unix-time-milliseconds", token="PXAT"),
            token("KEEPTTL"),
            optional=True,
        ),
        block(
            "fields",
            integer("numfields"),
            block("data", string("field"), string("value"), multiple=True),
            token="FIELDS",
        ),
    ),
    reply=IntegerReply(0, 1),
    acl_categories=("hash",),
)
def hsetex(ctx: Context, argv: list[bytes]) -> Reply:
    """HSETEX key [FNX | FXX] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL] FIELDS n f v [f v ...]

    1: all fields are set; 0: the condition is not met, none is.
    """
    options = _parse_set_options(ctx, argv)
    key, parts = argv[1], options.parts
    fields = parts[::2]
    value = write_hash(ctx, key, fields)
    if options.condition:
        found = 0 if value is None else sum(field in value.table for field in fields)
        if found != (len(fields) if options.condition == b"FXX" else 0):
            return ZERO
    value = create_hash(ctx, key, fields)
    expire_at_ms = options.expire_at_ms
    if options.keep_time or expire_at_ms is not None:
        for field, item in zip(fields, parts[1::2], strict=True):
            replace_field(ctx, value, field, item)
    else:
        put_fields(ctx, value, parts)
    if expire_at_ms is None:
        ctx.db.changed(key, "hset")
        return ONE
    deleted = [expire_field(ctx, value, field, expire_at_ms) for field in fields]
    ctx.db.changed(key, "hset")
    if any(deleted):
        settle(ctx, key, value, "hdel")
    else:
        ctx.db.track_fields(key, value)
        ctx.db.changed(key, "hexpire")
    return ONE


def _parse_set_options(ctx: Context, argv: list[bytes]) -> _SetOptions:
    options = _SetOptions()
    args = Args(argv, 2)
    while args:
        text = args.take()
        word = text.upper()
        if word == b"FIELDS":
            options.parts = _parse_pairs(args)
            return options
        if word in (b"FNX", b"FXX"):
            if options.condition:
                raise CommandError("Only one of FXX or FNX arguments can be specified")
            options.condition = word
        elif word == b"KEEPTTL" or word in _UNITS:
            if options.keep_time or options.expire_at_ms is not None:
                raise CommandError(
                    "Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified"
                )
            if word == b"KEEPTTL":
                options.keep_time = True
            elif not args:
                raise CommandError("missing expire time")
            else:
                options.expire_at_ms = _parse_unit(ctx, word, args.take(), b"hsetex")
        else:
            raise CommandError(b"unknown argument: %b" % text)
    raise CommandError("Mandatory argument FIELDS is missing or not at the right position")


def _parse_pairs(args: Args) -> list[bytes]:
    if len(args) < 3:
        raise wrong_arity(b"hsetex")
    count = read_int(args.take())
    if count is None or not 1 <= count <= _FIELDS_MAX:
        raise CommandError("invalid number of fields")
    if len(args) != 2 * count:
        raise wrong_arity(b"hsetex")
    return args.take_rest()


@command(
    "HGETEX",
    group="hash",
    since="8.0.0",
    arity=-5,
    summary="Get the value of one or more fields of a given hash key, and optionally set their"
    " expiration.",
    complexity="O(N) where N is the number of specified fields",
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
        FIELDS_ARG,
    ),
    reply=_VALUES,
    acl_categories=("hash",),
)
def hgetex(ctx: Context, argv: list[bytes]) -> Reply:
    """HGETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST] FIELDS numfields field [field ...]"""
    key = argv[1]
    write_hash(ctx, key, ())  # another type is refused first
    expire_at_ms: int | None = None
    word = argv[2].upper()
    at = 2
    if word in _UNITS:
        expire_at_ms = _parse_unit(ctx, word, argv[3], b"hgetex")
        at = 4
    elif word == b"PERSIST":
        at = 3
    fields = parse_fields(argv, at, _NOT_POSITIVE)
    value = write_hash(ctx, key, fields)
    if value is None:
        return [None] * len(fields)
    values = list(map(value.table.get, fields))
    if expire_at_ms is not None:
        there = [field for field in fields if field in value.table]
        deleted = [expire_field(ctx, value, field, expire_at_ms) for field in there]
        if any(deleted):
            settle(ctx, key, value, "hdel")
        elif deleted:
            ctx.db.track_fields(key, value)
            ctx.db.changed(key, "hexpire")
    elif at == 3 and sum(map(value.persist, fields)):
        ctx.db.changed(key, "hpersist")
    return values


@command(
    "HGETDEL",
    group="hash",
    since="8.0.0",
    arity=-5,
    summary="Returns the value of a field and deletes it from the hash.",
    complexity="O(N) where N is the number of specified fields",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "ACCESS", "DELETE")),),
    args=(key(), FIELDS_ARG),
    reply=_VALUES,
    acl_categories=("hash",),
)
def hgetdel(ctx: Context, argv: list[bytes]) -> Reply:
    """HGETDEL key FIELDS numfields field [field ...]"""
    fields = argv[4:]
    value = write_hash(ctx, argv[1], fields)
    parse_fields(argv, 2, _NOT_POSITIVE)
    if value is None:
        return [None] * len(fields)
    values: list[bytes | None] = []
    for field in fields:  # one named twice is gone the second time
        values.append(value.table.get(field))
        value.remove(field)
    if any(item is not None for item in values):
        settle(ctx, argv[1], value, "hdel")
    return values


SPECS = specs_of(hsetex, hgetex, hgetdel)
