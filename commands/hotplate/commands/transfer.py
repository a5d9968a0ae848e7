"""DUMP and RESTORE: values that travel between servers, in Redis' own format."""

from dataclasses import dataclass
from typing import Any, Final

from hotplate.commands.values import read_entry
from hotplate.engine.context import Context
from hotplate.errors import BusyKeyError, CommandError
from hotplate.keyspace.bucket import Bucket
from hotplate.keyspace.bucket_entry import store_fading
from hotplate.keyspace.bucket_leases import Leases
from hotplate.keyspace.contents import is_compact, plain_of, value_of
from hotplate.keyspace.entry import Value
from hotplate.keyspace.rdb import UnreadableTypeError, dump, is_intact, load
from hotplate.keyspace.rdb_bytes import RdbError
from hotplate.resp.types import OK, Reply
from hotplate.spec.args import INT64_MAX, Args, parse_int, syntax_error
from hotplate.spec.model import Flag, Keys, command, integer, key, specs_of, string, token
from hotplate.spec.reply import OK_REPLY, BulkReply, NullReply, one_of

_FREQUENCY_MAX: Final = 255
_RESTORE: Final[dict[str, Any]] = {
    "since": "2.6.0",
    "arity": -4,
    "complexity": "O(1) to create the new key and additional O(N*M) to reconstruct the serialized"
    " value, where N is the number of Redis objects composing the value and M their average size."
    " For small string values the time complexity is thus O(1)+O(1*M) where M is small, so simply"
    " O(1). However for sorted set values the complexity is O(N*M*log(N)) because inserting values"
    " into sorted sets is O(log(N)).",
    "keys": (Keys(flags=("OW", "UPDATE")),),
    "args": (
        key(),
        integer("ttl"),
        string("serialized-value"),
        token("REPLACE", optional=True, since="3.0.0"),
        token("ABSTTL", optional=True, since="5.0.0"),
        integer("seconds", token="IDLETIME", optional=True, since="5.0.0"),
        integer("frequency", token="FREQ", optional=True, since="5.0.0"),
    ),
    "reply": OK_REPLY,
    "acl_categories": ("keyspace", "dangerous"),
    "history": (
        ("3.0.0", "Added the `REPLACE` modifier."),
        ("5.0.0", "Added the `ABSTTL` modifier."),
        ("5.0.0", "Added the `IDLETIME` and `FREQ` options."),
    ),
}


@command(
    "DUMP",
    group="generic",
    since="2.6.0",
    arity=2,
    summary="Return a serialized version of the value stored at the specified key.",
    complexity="O(1) to access the key and additional O(N*M) to serialize it, where N is the number"
    " of Redis objects composing the value and M their average size. For small string values the"
    " time complexity is thus O(1)+O(1*M) where M is small, so simply O(1).",
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(key(),),
    reply=one_of(BulkReply(), NullReply()),
    acl_categories=("keyspace",),
    tips=("nondeterministic_output",),
)
def dump_(ctx: Context, argv: list[bytes]) -> Reply:
    """DUMP key"""
    entry = read_entry(ctx, argv[1])
    if entry is None:
        return None
    try:
        plain = plain_of(entry.value, ctx.engine)
    except UnreadableTypeError as error:
        raise CommandError(f"DUMP of {error} is not in this version") from error
    return dump(plain, compact=is_compact(entry.value))


@dataclass(slots=True)
class _Options:
    replace: bool = False
    is_absolute: bool = False
    idle_s: int | None = None
    frequency: int | None = None


def _parse_options(argv: list[bytes]) -> _Options:
    options = _Options()
    args = Args(argv, 4)
    while args:
        word = args.take_word()
        if word == b"REPLACE":
            options.replace = True
        elif word == b"ABSTTL":
            options.is_absolute = True
        elif word == b"IDLETIME" and args and options.frequency is None:
            options.idle_s = args.take_int()
            if options.idle_s < 0:
                raise CommandError("Invalid IDLETIME value, must be >= 0")
        elif word == b"FREQ" and args and options.idle_s is None:
            options.frequency = args.take_int()
            if not 0 <= options.frequency <= _FREQUENCY_MAX:
                raise CommandError("Invalid FREQ value, must be >= 0 and <= 255")
        else:
            raise syntax_error()
    return options


def _load(ctx: Context, payload: bytes) -> Value:
    if not is_intact(payload):
        raise CommandError("DUMP payload version or checksum are wrong")
    try:
        return value_of(load(payload), ctx.engine.config, ctx.db.field_names, ctx.engine)
    except UnreadableTypeError as error:
        raise CommandError(
            f"Bad data format: {error} cannot be restored in this version"
        ) from error
    except RdbError as error:
        raise CommandError("Bad data format") from error


@command(
    "RESTORE",
    group="generic",
    summary="Create a key using the provided serialized value, previously obtained using DUMP.",
    flags=Flag.WRITE | Flag.DENYOOM,
    **_RESTORE,
)
def restore(ctx: Context, argv: list[bytes]) -> Reply:
    """RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]"""
    key = argv[1]
    options = _parse_options(argv)
    db, now_ms = ctx.db, ctx.now_ms
    is_there = db.lookup_write(key, now_ms) is not None
    if is_there and not options.replace:
        raise BusyKeyError
    ttl_ms = parse_int(argv[2])
    if ttl_ms < 0:
        raise CommandError("Invalid TTL value, must be >= 0")
    value = _load(ctx, argv[3])
    expire_at_ms = ttl_ms if options.is_absolute or not ttl_ms else ttl_ms + now_ms
    is_over = isinstance(value, (Bucket, Leases)) and value.is_idle(ctx.engine.now_ns)
    if is_over or 0 < expire_at_ms < now_ms:
        if db.delete(key):
            db.changed(key, "del")
        return OK
    db.delete(key)
    if isinstance(value, (Bucket, Leases)):
        # it has an expiry of its own, which the one that is given may only bring forward
        store_fading(db, key, value, ctx.engine)
        entry = db.lookup_write(key, now_ms)
        if entry is not None and expire_at_ms:
            db.set_expiry(key, entry, min(expire_at_ms, INT64_MAX))
    else:
        db.assign(key, value, now_ms, min(expire_at_ms, INT64_MAX))
    db.track_fields(key, value)
    db.track_queue(key, value)
    if options.idle_s is not None:
        entry = db.lookup_write(key, now_ms)
        if entry is not None:
            entry.accessed_ms = max(now_ms - options.idle_s * 1000, 0)
    db.changed(key, "restore")
    return OK


SPECS = specs_of(dump_, restore)
