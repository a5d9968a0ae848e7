"""Parts of strings, and numbers kept in strings: APPEND, ranges, counters, LCS."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from hotplate.commands.string_runs import incr_run
from hotplate.commands.values import read_entry
from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.database import SHARD_MASK
from hotplate.keyspace.entry import (
    INTEGER_MAX,
    INTEGER_MIN,
    Text,
    Value,
    integer_of,
    string_of,
)
from hotplate.keyspace.long_double import (
    add_long_doubles,
    format_long_double,
    read_long_double,
)
from hotplate.keyspace.string import CommonSubsequence, growable, length_of, range_of, write_at
from hotplate.resp.types import Map, Reply
from hotplate.spec.args import NOT_A_FLOAT, NOT_AN_INTEGER, Args, parse_int, syntax_error
from hotplate.spec.model import Flag, Keys, command, double, integer, key, specs_of, string, token
from hotplate.spec.reply import AnyReply, BulkReply, IntegerReply, MapReply, one_of

_LENGTH: Final = IntegerReply(minimum=0)


def _check_length(ctx: Context, size_bytes: int) -> None:
    if size_bytes > ctx.engine.config.proto_max_bulk_len:
        raise CommandError("string exceeds maximum allowed size (proto-max-bulk-len)")


@command(
    "APPEND",
    group="string",
    since="2.0.0",
    arity=3,
    summary="Append a value to a key",
    complexity="O(1) amortized, for a value that is small beside the string",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "INSERT")),),
    args=(key(), string("value")),
    reply=_LENGTH,
    acl_categories=("string",),
)
def append(ctx: Context, argv: list[bytes]) -> Reply:
    """APPEND key value"""
    _, key, piece = argv
    db = ctx.db
    entry = db.lookup_write(key, ctx.now_ms)
    if entry is None:
        db.assign(key, piece, ctx.now_ms)
        size = len(piece)
    else:
        size = length_of(entry.value) + len(piece)
        _check_length(ctx, size)
        data = growable(entry.value)
        data += piece
        entry.value = data
        entry.accessed_ms = ctx.now_ms
    db.changed(key, "append")
    return size


@command(
    "STRLEN",
    group="string",
    since="2.2.0",
    arity=2,
    summary="Get the length of the value stored in a key",
    complexity="O(1)",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(flags=("RO",)),),
    args=(key(),),
    reply=_LENGTH,
    acl_categories=("string",),
)
def strlen(ctx: Context, argv: list[bytes]) -> Reply:
    """STRLEN key"""
    entry = read_entry(ctx, argv[1])
    return 0 if entry is None else length_of(entry.value)


@command(
    "SETRANGE",
    group="string",
    since="2.2.0",
    arity=4,
    summary="Overwrite part of a string at key starting at the specified offset",
    complexity="O(M) with M being the length of the value",
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(Keys(flags=("RW", "UPDATE")),),
    args=(key(), integer("offset"), string("value")),
    reply=_LENGTH,
    acl_categories=("string",),
)
def setrange(ctx: Context, argv: list[bytes]) -> Reply:
    """SETRANGE key offset value"""
    _, key, offset_text, piece = argv
    offset = parse_int(offset_text)
    if offset < 0:
        raise CommandError("offset is out of range")
    db = ctx.db
    entry = db.lookup_write(key, ctx.now_ms)
    size = 0 if entry is None else length_of(entry.value)
    if not piece:
        return size
    _check_length(ctx, offset + len(piece))
    data = bytearray() if entry is None else growable(entry.value)
    write_at(data, offset, piece)
    if entry is None:
        db.assign(key, data, ctx.now_ms)
    else:
        entry.value = data
        entry.accessed_ms = ctx.now_ms
    db.changed(key, "setrange")
    return len(data)


@command(
    "GETRANGE",
    group="string",
    since="2.4.0",
    arity=4,
    summary="Get a substring of the string stored at a key",
    complexity="O(N) where N is the length of the returned string",
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(key(), integer("start"), integer("end")),
    reply=BulkReply(),
    acl_categories=("string",),
)
@command(
    "SUBSTR",
    group="string",
    since="1.0.0",
    arity=4,
    summary="Get a substring of the string stored at a key",
    complexity="O(N) where N is the length of the returned string",
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(key(), integer("start"), integer("end")),
    reply=BulkReply(),
    acl_categories=("string",),
    deprecated_since="2.0.0",
    replaced_by="`GETRANGE`",
)
def getrange(ctx: Context, argv: list[bytes]) -> Reply:
    """GETRANGE key start end, once named SUBSTR"""
    start, end = parse_int(argv[2]), parse_int(argv[3])
    entry = read_entry(ctx, argv[1])
    return b"" if entry is None else range_of(entry.value, start, end)


@command(
    "INCR",
    group="string",
    since="1.0.0",
    arity=2,
    summary="Increment the integer value of a key by one",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "ACCESS", "UPDATE")),),
    args=(key(),),
    reply=IntegerReply(),
    acl_categories=("string",),
    run=incr_run,
)
def incr(ctx: Context, argv: list[bytes]) -> Reply:
    """INCR key"""
    return _add(ctx, argv[1], 1)


@command(
    "DECR",
    group="string",
    since="1.0.0",
    arity=2,
    summary="Decrement the integer value of a key by one",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "ACCESS", "UPDATE")),),
    args=(key(),),
    reply=IntegerReply(),
    acl_categories=("string",),
)
def decr(ctx: Context, argv: list[bytes]) -> Reply:
    """DECR key"""
    return _add(ctx, argv[1], -1)


@command(
    "INCRBY",
    group="string",
    since="1.0.0",
    arity=3,
    summary="Increment the integer value of a key by the given amount",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "ACCESS", "UPDATE")),),
    args=(key(), integer("increment")),
    reply=IntegerReply(),
    acl_categories=("string",),
)
def incrby(ctx: Context, argv: list[bytes]) -> Reply:
    """INCRBY key increment"""
    return _add(ctx, argv[1], parse_int(argv[2]))


@command(
    "DECRBY",
    group="string",
    since="1.0.0",
    arity=3,
    summary="Decrement the integer value of a key by the given number",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "ACCESS", "UPDATE")),),
    args=(key(), integer("decrement")),
    reply=IntegerReply(),
    acl_categories=("string",),
)
def decrby(ctx: Context, argv: list[bytes]) -> Reply:
    """DECRBY key decrement"""
    decrement = parse_int(argv[2])
    if decrement == INTEGER_MIN:
        raise CommandError("decrement would overflow")
    return _add(ctx, argv[1], -decrement)


def _add(ctx: Context, key: bytes, increment: int) -> int:
    db = ctx.db
    entry = db.shards[hash(key) & SHARD_MASK].get(key)
    if entry is not None and entry.expire_at_ms:
        entry = db.lookup_write(key, ctx.now_ms)
    if entry is None:
        db.assign(key, increment, ctx.now_ms)
        db.changed(key, "incrby")
        return increment
    value: Any = entry.value
    total = (value if type(value) is int else _whole_number(value)) + increment
    if not INTEGER_MIN <= total <= INTEGER_MAX:
        raise CommandError("increment or decrement would overflow")
    entry.value = total
    entry.accessed_ms = ctx.now_ms
    db.dirty += 1
    if db.observer is not None:
        db.observer(db.index, key, "incrby")
    return total


def _whole_number(value: Value) -> int:
    number = integer_of(string_of(value))
    if number is None:
        raise CommandError(NOT_AN_INTEGER)
    return number


@command(
    "INCRBYFLOAT",
    group="string",
    since="2.6.0",
    arity=3,
    summary="Increment the float value of a key by the given amount",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "ACCESS", "UPDATE")),),
    args=(key(), double("increment")),
    reply=BulkReply(),
    acl_categories=("string",),
)
def incrbyfloat(ctx: Context, argv: list[bytes]) -> Reply:
    """INCRBYFLOAT key increment"""
    key = argv[1]
    db = ctx.db
    entry = db.lookup_write(key, ctx.now_ms)
    before = read_long_double(b"0" if entry is None else string_of(entry.value))
    increment = read_long_double(argv[2])
    if before is None or increment is None:
        raise CommandError(NOT_A_FLOAT)
    total = add_long_doubles(before, increment)
    if isinstance(total, float):
        raise CommandError("increment would produce NaN or Infinity")
    text = format_long_double(Fraction(total))
    if entry is None:
        db.assign(key, Text(text), ctx.now_ms)
    else:
        entry.value = Text(text)
        entry.accessed_ms = ctx.now_ms
    db.changed(key, "incrbyfloat")
    return text


@dataclass(slots=True)
class _LcsOptions:
    length_only: bool = False
    ranges: bool = False
    range_lengths: bool = False
    range_length_min: int = 0


@command(
    "LCS",
    group="string",
    since="7.0.0",
    arity=-3,
    summary="Find longest common substring",
    complexity="O(N*M) where N and M are the lengths of s1 and s2, respectively",
    flags=Flag.READONLY,
    keys=(Keys(last=1),),
    args=(
        key("key1"),
        key("key2"),
        token("LEN", optional=True),
        token("IDX", optional=True),
        integer("len", token="MINMATCHLEN", optional=True),
        token("WITHMATCHLEN", optional=True),
    ),
    reply=one_of(BulkReply(), IntegerReply(minimum=0), MapReply(AnyReply())),
    acl_categories=("string",),
)
def lcs(ctx: Context, argv: list[bytes]) -> Reply:
    """LCS key1 key2 [LEN] [IDX] [MINMATCHLEN length] [WITHMATCHLEN]"""
    first, second = (_text_or_empty(ctx, key) for key in argv[1:3])
    options = _parse_lcs_options(argv)
    table_bytes = CommonSubsequence.table_bytes(len(first), len(second))
    if table_bytes > ctx.engine.config.proto_max_bulk_len:
        raise CommandError(
            "Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"
        )
    common = CommonSubsequence(first, second)
    if options.length_only:
        return common.length
    if not options.ranges:
        return common.text()
    matches: list[Reply] = []
    for at_first, at_second, size in common.ranges():
        if size >= options.range_length_min:
            spans: list[Reply] = [
                [at_first, at_first + size - 1],
                [at_second, at_second + size - 1],
            ]
            matches.append([*spans, size] if options.range_lengths else spans)
    return Map({b"matches": matches, b"len": common.length})


def _text_or_empty(ctx: Context, key: bytes) -> bytes:
    entry = read_entry(ctx, key)
    if entry is None:
        return b""
    if not isinstance(entry.value, (int, bytes, bytearray)):
        raise CommandError("The specified keys must contain string values")
    return string_of(entry.value)


def _parse_lcs_options(argv: list[bytes]) -> _LcsOptions:
    options = _LcsOptions()
    args = Args(argv, 3)
    while args:
        word = args.take_word()
        if word == b"IDX":
            options.ranges = True
        elif word == b"LEN":
            options.length_only = True
        elif word == b"WITHMATCHLEN":
            options.range_lengths = True
        elif word == b"MINMATCHLEN" and args:
            options.range_length_min = args.take_int()
        else:
            raise syntax_error()
    if options.ranges and options.length_only:
        raise CommandError("If you want both the length and indexes, please just use IDX.")
    return options


SPECS = specs_of(append, strlen, setrange, getrange, incr, decr, incrby, decrby, incrbyfloat, lcs)
