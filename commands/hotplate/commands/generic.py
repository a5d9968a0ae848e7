"""Keys of any type: deleting, moving, copying, looking inside."""

from typing import Final

from hotplate.engine.context import Context, Gate
from hotplate.errors import CommandError
from hotplate.keyspace.database import SHARD_MASK, Database
from hotplate.keyspace.entry import Entry, encoding_of, integer_of, string_of, type_of
from hotplate.keyspace.evict import idle_ms
from hotplate.resp.types import OK, ONE, ZERO, Reply, Simple
from hotplate.spec.args import NO_SUCH_KEY, Args, parse_int, syntax_error
from hotplate.spec.model import Flag, Keys, command, container, integer, key, specs_of, token
from hotplate.spec.reply import (
    OK_REPLY,
    ArrayReply,
    BulkReply,
    IntegerReply,
    NullReply,
    SimpleReply,
    one_of,
)

_COUNT: Final = IntegerReply(minimum=0)
_SAME_KEY: Final = "source and destination objects are the same"
_SWITCHED: Final = (
    "Please note that when switching between policies at runtime LRU and LFU data will take some"
    " time to adjust."
)
_SHARED_INTEGERS: Final = 10_000  # Redis keeps one object for each number below
_SHARED_REFERENCES: Final = 2**31 - 1
_INT32_MIN: Final = -(2**31)
_INT32_MAX: Final = 2**31 - 1
_OBJECT_HELP: Final = (
    b"OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    b"ENCODING <key>",
    b"    Return the kind of internal representation used in order to store the value",
    b"    associated with a <key>.",
    b"FREQ <key>",
    b"    Return the access frequency index of the <key>. The returned integer is",
    b"    proportional to the logarithm of the recent access frequency of the key.",
    b"IDLETIME <key>",
    b"    Return the idle time of the <key>, that is the approximated number of",
    b"    seconds elapsed since the last access to the key.",
    b"REFCOUNT <key>",
    b"    Return the number of references of the value associated with the specified",
    b"    <key>.",
    b"HELP",
    b"    Prints this help.",
)


@command(
    "DEL",
    group="generic",
    since="1.0.0",
    arity=-2,
    summary="Delete a key",
    complexity="O(N) where N is the number of keys, and O(M) more for a collection of M items",
    flags=Flag.WRITE,
    keys=(Keys(last=-1, flags=("RM", "DELETE")),),
    args=(key(multiple=True),),
    reply=_COUNT,
    acl_categories=("keyspace",),
    tips=("request_policy:multi_shard", "response_policy:agg_sum"),
)
@command(
    "UNLINK",
    group="generic",
    since="4.0.0",
    arity=-2,
    summary="Delete a key, and free its memory without delaying other clients",
    complexity="O(1) for each key",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(last=-1, flags=("RM", "DELETE")),),
    args=(key(multiple=True),),
    reply=_COUNT,
    acl_categories=("keyspace",),
    tips=("request_policy:multi_shard", "response_policy:agg_sum"),
)
def del_(ctx: Context, argv: list[bytes]) -> Reply:
    """DEL key [key ...], UNLINK key [key ...]"""
    db = ctx.db
    now_ms = ctx.now_ms
    deleted = 0
    for name in argv[1:]:
        entry = db.shards[hash(name) & SHARD_MASK].get(name)
        if entry is None:
            continue
        if entry.expire_at_ms and entry.expire_at_ms < now_ms:
            db.expire(name)
            continue
        db.delete(name)
        db.changed(name, "del")
        deleted += 1
    return deleted


@command(
    "EXISTS",
    group="generic",
    since="1.0.0",
    arity=-2,
    summary="Determine if a key exists",
    complexity="O(N) where N is the number of keys to check.",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(last=-1, flags=("RO",)),),
    args=(key(multiple=True),),
    reply=_COUNT,
    acl_categories=("keyspace",),
    tips=("request_policy:multi_shard", "response_policy:agg_sum"),
    history=(("3.0.3", "Accepts multiple `key` arguments."),),
)
def exists(ctx: Context, argv: list[bytes]) -> Reply:
    """EXISTS key [key ...]: a key named twice counts twice"""
    lookup = ctx.db.lookup
    now_ms = ctx.now_ms
    if len(argv) == 2:
        return ZERO if lookup(argv[1], now_ms) is None else ONE
    return sum(lookup(key, now_ms) is not None for key in argv[1:])


@command(
    "TOUCH",
    group="generic",
    since="3.2.1",
    arity=-2,
    summary="Counts as a use of the keys; returns how many of them exist",
    complexity="O(N) where N is the number of keys that will be touched.",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(last=-1, flags=("RO",)),),
    args=(key(multiple=True),),
    reply=_COUNT,
    acl_categories=("keyspace",),
    tips=("request_policy:multi_shard", "response_policy:agg_sum"),
)
def touch(ctx: Context, argv: list[bytes]) -> Reply:
    """TOUCH key [key ...]: counts as a use even with CLIENT NO-TOUCH"""
    touched = 0
    for name in argv[1:]:
        entry = ctx.db.lookup(name, ctx.now_ms)
        if entry is not None:
            entry.accessed_ms = ctx.now_ms
            touched += 1
    return touched


@command(
    "TYPE",
    group="generic",
    since="1.0.0",
    arity=2,
    summary="Determine the type stored at key",
    complexity="O(1)",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(flags=("RO",)),),
    args=(key(),),
    reply=SimpleReply(None),
    acl_categories=("keyspace",),
)
def type_(ctx: Context, argv: list[bytes]) -> Reply:
    """TYPE key"""
    entry = ctx.db.lookup(argv[1], ctx.now_ms)
    return Simple(b"none" if entry is None else type_of(entry.value))


@command(
    "RENAME",
    group="generic",
    since="1.0.0",
    arity=3,
    summary="Rename a key",
    complexity="O(1)",
    flags=Flag.WRITE,
    keys=(Keys(flags=("RW", "ACCESS", "DELETE")), Keys(begin=2, flags=("OW", "UPDATE"))),
    args=(key(), key("newkey", index=1)),
    reply=OK_REPLY,
    acl_categories=("keyspace",),
)
def rename(ctx: Context, argv: list[bytes]) -> Reply:
    """RENAME key newkey"""
    _get_source(ctx, argv[1])
    if argv[1] != argv[2]:
        _rename(ctx, argv[1], argv[2])
    return OK


@command(
    "RENAMENX",
    group="generic",
    since="1.0.0",
    arity=3,
    summary="Rename a key, only if the new key does not exist",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "ACCESS", "DELETE")), Keys(begin=2, flags=("OW", "INSERT"))),
    args=(key(), key("newkey", index=1)),
    reply=IntegerReply(0, 1),
    acl_categories=("keyspace",),
    history=(
        (
            "3.2.0",
            "The command no longer returns an error when source and destination"
            " names are the same.",
        ),
    ),
)
def renamenx(ctx: Context, argv: list[bytes]) -> Reply:
    """RENAMENX key newkey"""
    _get_source(ctx, argv[1])
    if ctx.db.lookup_write(argv[2], ctx.now_ms) is not None:
        return ZERO
    _rename(ctx, argv[1], argv[2])
    return ONE


def _get_source(ctx: Context, key: bytes) -> Entry:
    entry = ctx.db.lookup_write(key, ctx.now_ms)
    if entry is None:
        raise CommandError(NO_SUCH_KEY)
    return entry


def _rename(ctx: Context, source: bytes, destination: bytes) -> None:
    db = ctx.db
    replaced = db.lookup_write(destination, ctx.now_ms)
    entry = db.lookup_write(source, ctx.now_ms)
    db.rename(source, destination)
    db.changed(source, "rename_from")
    db.changed(destination, "rename_to")
    if replaced is not None and entry is not None:
        db.overwritten(destination, replaced.value, entry.value)


@command(
    "COPY",
    group="generic",
    since="6.2.0",
    arity=-3,
    summary="Copy a key",
    complexity="O(N) for a collection of N items, O(1) for a string",
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(Keys(), Keys(begin=2, flags=("OW", "UPDATE"))),
    args=(
        key("source"),
        key("destination", index=1),
        integer("destination-db", token="DB", optional=True),
        token("REPLACE", optional=True),
    ),
    reply=IntegerReply(0, 1),
    acl_categories=("keyspace",),
)
def copy(ctx: Context, argv: list[bytes]) -> Reply:
    """COPY source destination [DB destination-db] [REPLACE]"""
    source, destination = argv[1], argv[2]
    target = ctx.db
    replace = False
    args = Args(argv, 3)
    while args:
        word = args.take_word()
        if word == b"REPLACE":
            replace = True
        elif word == b"DB" and args:
            target = parse_database(ctx, args.take())
        else:
            raise syntax_error()
    if target is ctx.db and source == destination:
        raise CommandError(_SAME_KEY)
    entry = ctx.db.lookup(source, ctx.now_ms)
    if entry is None:
        return ZERO
    replaced = target.lookup_write(destination, ctx.now_ms)
    if replaced is not None:
        if not replace:
            return ZERO
        target.delete(destination)
    target.put(destination, entry.duplicate(ctx.now_ms))
    target.changed(destination, "copy_to")
    if replaced is not None:
        target.overwritten(destination, replaced.value, entry.value)
    return ONE


@command(
    "MOVE",
    group="generic",
    since="1.0.0",
    arity=3,
    summary="Move a key to another database",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "ACCESS", "UPDATE")),),
    args=(key(), integer("db")),
    reply=IntegerReply(0, 1),
    acl_categories=("keyspace",),
)
def move(ctx: Context, argv: list[bytes]) -> Reply:
    """MOVE key db"""
    key = argv[1]
    source = ctx.db
    target = parse_database(ctx, argv[2])
    if target is source:
        raise CommandError(_SAME_KEY)
    if source.lookup_write(key, ctx.now_ms) is None:
        return ZERO
    if target.lookup_write(key, ctx.now_ms) is not None:
        return ZERO
    entry = source.take(key)
    assert entry is not None
    target.put(key, entry)
    source.changed(key, "move_from")
    target.changed(key, "move_to")
    return ONE


def parse_database(ctx: Context, text: bytes) -> Database:
    """The database that `text` numbers."""
    index = parse_int(text)
    if not _INT32_MIN <= index <= _INT32_MAX:
        bounds = f"between {_INT32_MIN} and {_INT32_MAX}"
        raise CommandError(f"value is out of range, value must {bounds}")
    if not 0 <= index < len(ctx.engine.databases):
        raise CommandError("DB index is out of range")
    return ctx.engine.databases[index]


_OBJECT = container(
    "OBJECT",
    group="generic",
    since="2.2.3",
    arity=-2,
    summary="A container for object introspection commands",
    complexity="Depends on subcommand.",
)


def _look_inside(ctx: Context, key: bytes) -> Entry | None:
    """The entry, counted as a hit or a miss; but no event tells that it is missing."""
    entry = ctx.db.lookup_write(key, ctx.now_ms)
    if entry is None:
        ctx.db.misses += 1
    else:
        ctx.db.hits += 1
    return entry


@command(
    "OBJECT|ENCODING",
    group="generic",
    since="2.2.3",
    arity=3,
    summary="Inspect the internal encoding of a Redis object",
    complexity="O(1)",
    flags=Flag.READONLY,
    keys=(Keys(begin=2, flags=("RO",)),),
    args=(key(),),
    reply=one_of(BulkReply(), NullReply()),
    acl_categories=("keyspace",),
    tips=("nondeterministic_output",),
)
def object_encoding(ctx: Context, argv: list[bytes]) -> Reply:
    """OBJECT ENCODING key"""
    entry = _look_inside(ctx, argv[2])
    return None if entry is None else encoding_of(entry.value)


@command(
    "OBJECT|FREQ",
    group="generic",
    since="4.0.0",
    arity=3,
    summary="Get the logarithmic access frequency counter of a Redis object",
    complexity="O(1)",
    flags=Flag.READONLY,
    keys=(Keys(begin=2, flags=("RO",)),),
    args=(key(),),
    reply=one_of(IntegerReply(0, 255), NullReply()),
    acl_categories=("keyspace",),
    tips=("nondeterministic_output",),
)
def object_freq(ctx: Context, argv: list[bytes]) -> Reply:
    """OBJECT FREQ key"""
    entry = _look_inside(ctx, argv[2])
    if entry is None:
        return None
    if not ctx.engine.gates & Gate.LFU:
        raise CommandError(
            f"An LFU maxmemory policy is not selected, access frequency not tracked. {_SWITCHED}"
        )
    return ctx.engine.memory.frequency(entry, ctx.now_ms)


@command(
    "OBJECT|IDLETIME",
    group="generic",
    since="2.2.3",
    arity=3,
    summary="Get the time since a Redis object was last accessed",
    complexity="O(1)",
    flags=Flag.READONLY,
    keys=(Keys(begin=2, flags=("RO",)),),
    args=(key(),),
    reply=one_of(IntegerReply(minimum=0), NullReply()),
    acl_categories=("keyspace",),
    tips=("nondeterministic_output",),
)
def object_idletime(ctx: Context, argv: list[bytes]) -> Reply:
    """OBJECT IDLETIME key"""
    entry = _look_inside(ctx, argv[2])
    if entry is None:
        return None
    if ctx.engine.gates & Gate.LFU:
        raise CommandError(
            f"An LFU maxmemory policy is selected, idle time not tracked. {_SWITCHED}"
        )
    return idle_ms(entry, ctx.now_ms) // 1000


@command(
    "OBJECT|REFCOUNT",
    group="generic",
    since="2.2.3",
    arity=3,
    summary="Get the number of references to the value of the key",
    complexity="O(1)",
    flags=Flag.READONLY,
    keys=(Keys(begin=2, flags=("RO",)),),
    args=(key(),),
    reply=one_of(IntegerReply(minimum=1), NullReply()),
    acl_categories=("keyspace",),
    tips=("nondeterministic_output",),
)
def object_refcount(ctx: Context, argv: list[bytes]) -> Reply:
    """OBJECT REFCOUNT key: what Redis would say, which shares small numbers"""
    entry = _look_inside(ctx, argv[2])
    if entry is None:
        return None
    number = integer_of(string_of(entry.value)) if encoding_of(entry.value) == b"int" else None
    is_shared = number is not None and 0 <= number < _SHARED_INTEGERS
    return _SHARED_REFERENCES if is_shared else 1


@command(
    "OBJECT|HELP",
    group="generic",
    since="6.2.0",
    arity=2,
    summary="Show helpful text about the different subcommands",
    complexity="O(1)",
    flags=Flag.LOADING | Flag.STALE,
    reply=ArrayReply(SimpleReply(None)),
    acl_categories=("keyspace",),
)
def object_help(ctx: Context, argv: list[bytes]) -> Reply:
    """OBJECT HELP"""
    return [Simple(line) for line in _OBJECT_HELP]


SPECS = specs_of(
    del_,
    exists,
    touch,
    type_,
    rename,
    renamenx,
    copy,
    move,
    _OBJECT,
    object_encoding,
    object_freq,
    object_idletime,
    object_refcount,
    object_help,
)
