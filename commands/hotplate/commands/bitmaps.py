"""Strings as arrays of bits: SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP."""

from typing import Any, Final

from hotplate.commands.bit_runs import SHORT_OFFSET_DIGITS, getbit_run, setbit_run
from hotplate.commands.values import read_entry
from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.bitmap import OPERATIONS, Bits, combine, count_bits, find_bit, invert
from hotplate.keyspace.database import SHARD_MASK
from hotplate.keyspace.entry import Value, string_of
from hotplate.keyspace.string import growable
from hotplate.resp.types import ONE, ZERO, Reply
from hotplate.spec.args import parse_int, read_int, syntax_error
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
)
from hotplate.spec.reply import IntegerReply

BAD_OFFSET: Final = "bit offset is not an integer or out of range"
_BIT: Final = IntegerReply(0, 1)
_BAD_BIT: Final = "bit is not an integer or out of range"
_NEED_TWO_SOURCES: Final = frozenset((b"DIFF", b"DIFF1", b"ANDOR"))


def bits_of(value: Value) -> Bits:
    """The bytes of a string, not copied where they need not be. WrongTypeError for others."""
    return value if isinstance(value, bytearray) else string_of(value)


def parse_bit_offset(ctx: Context, text: bytes) -> int:
    """The offset of a bit that a string may have."""
    if len(text) <= SHORT_OFFSET_DIGITS and text.isdigit() and (text >= b"1" or text == b"0"):
        return int(text)
    offset = read_int(text)
    if offset is None or not 0 <= offset >> 3 < ctx.engine.config.proto_max_bulk_len:
        raise CommandError(BAD_OFFSET)
    return offset


@command(
    "SETBIT",
    group="bitmap",
    since="2.2.0",
    arity=4,
    summary="Sets or clears the bit at offset in the string value stored at key",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(Keys(flags=("RW", "ACCESS", "UPDATE")),),
    args=(key(), integer("offset"), integer("value")),
    reply=_BIT,
    acl_categories=("bitmap",),
    run=setbit_run,
)
def setbit(ctx: Context, argv: list[bytes]) -> Reply:
    """SETBIT key offset value: the bit that was there"""
    _, key, offset_text, bit_text = argv
    offset = parse_bit_offset(ctx, offset_text)
    if bit_text != b"0" and bit_text != b"1":
        raise CommandError(_BAD_BIT)
    db = ctx.db
    entry = db.lookup_write(key, ctx.now_ms)
    at = offset >> 3
    mask = 0x80 >> (offset & 7)
    if entry is None:
        data = bytearray(at + 1)
        db.assign(key, data, ctx.now_ms)
        before = 0
        grown = True
    else:
        value: Any = entry.value
        data = value if value.__class__ is bytearray else growable(value)
        grown = at >= len(data)
        if grown:
            data.extend(bytes(at + 1 - len(data)))
        entry.value = data
        entry.accessed_ms = ctx.now_ms
        before = data[at] & mask
    if grown or (before != 0) is (bit_text == b"0"):
        if bit_text == b"1":
            data[at] |= mask
        else:
            data[at] &= ~mask
        db.changed(key, "setbit")
    return ONE if before else ZERO


@command(
    "GETBIT",
    group="bitmap",
    since="2.2.0",
    arity=3,
    summary="Returns the bit value at offset in the string value stored at key",
    complexity="O(1)",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(),),
    args=(key(), integer("offset")),
    reply=_BIT,
    acl_categories=("bitmap",),
    run=getbit_run,
)
def getbit(ctx: Context, argv: list[bytes]) -> Reply:
    """GETBIT key offset"""
    _, key, offset_text = argv
    offset = parse_bit_offset(ctx, offset_text)
    db = ctx.db
    entry = db.shards[hash(key) & SHARD_MASK].get(key)
    if entry is None or entry.expire_at_ms:
        entry = db.lookup(key, ctx.now_ms)
        if entry is None:
            return ZERO
    else:
        db.hits += 1
    if not ctx.no_touch:
        entry.accessed_ms = ctx.now_ms
    value: Any = entry.value
    data = value if value.__class__ is bytearray or value.__class__ is bytes else bits_of(value)
    at = offset >> 3
    return ONE if at < len(data) and data[at] & 0x80 >> (offset & 7) else ZERO


def _parse_unit(word: bytes) -> bool:
    """Whether positions are bits; else bytes."""
    unit = word.upper()
    if unit not in (b"BIT", b"BYTE"):
        raise syntax_error()
    return unit == b"BIT"


def _bit_range(size: int, start: int, end: int, *, in_bits: bool) -> tuple[int, int]:
    """First and last bit of a range, negative positions counted from the end; empty: first > last.

    `size` is that of the string in bytes.
    """
    total = size * 8 if in_bits else size
    start = max(start + total, 0) if start < 0 else start
    end = max(end + total, 0) if end < 0 else end
    end = min(end, total - 1)
    if start > end:
        return 0, -1
    return (start, end) if in_bits else (start * 8, end * 8 + 7)


@command(
    "BITCOUNT",
    group="bitmap",
    since="2.6.0",
    arity=-2,
    summary="Count set bits in a string",
    complexity="O(N)",
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(
        key(),
        block(
            "index",
            integer("start"),
            integer("end"),
            oneof("index_unit", token("BYTE"), token("BIT"), optional=True, since="7.0.0"),
            optional=True,
        ),
    ),
    reply=IntegerReply(minimum=0),
    acl_categories=("bitmap",),
    history=(("7.0.0", "Added the `BYTE|BIT` option."),),
)
def bitcount(ctx: Context, argv: list[bytes]) -> Reply:
    """BITCOUNT key [start end [BYTE | BIT]]"""
    start, end, in_bits = 0, -1, False
    if len(argv) in (4, 5):
        start, end = parse_int(argv[2]), parse_int(argv[3])
        in_bits = len(argv) == 5 and _parse_unit(argv[4])
    elif len(argv) != 2:
        raise syntax_error()
    entry = read_entry(ctx, argv[1])
    if entry is None:
        return 0
    data = bits_of(entry.value)
    if start < 0 and end < 0 and start > end:
        return 0
    return count_bits(data, *_bit_range(len(data), start, end, in_bits=in_bits))


@command(
    "BITPOS",
    group="bitmap",
    since="2.8.7",
    arity=-3,
    summary="Find first bit set or clear in a string",
    complexity="O(N)",
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(
        key(),
        integer("bit"),
        block(
            "index",
            integer("start"),
            block(
                "end_index",
                integer("end"),
                oneof("index_unit", token("BYTE"), token("BIT"), optional=True, since="7.0.0"),
                optional=True,
            ),
            optional=True,
        ),
    ),
    reply=IntegerReply(minimum=-1),
    acl_categories=("bitmap",),
    history=(("7.0.0", "Added the `BYTE|BIT` option."),),
)
def bitpos(ctx: Context, argv: list[bytes]) -> Reply:
    """BITPOS key bit [start [end [BYTE | BIT]]]: without an end, zeros follow the string"""
    bit = parse_int(argv[2])
    if bit not in (0, 1):
        raise CommandError("The bit argument must be 1 or 0.")
    if len(argv) > 6:
        raise syntax_error()
    start = parse_int(argv[3]) if len(argv) > 3 else 0
    in_bits = len(argv) == 6 and _parse_unit(argv[5])
    end = parse_int(argv[4]) if len(argv) > 4 else -1
    entry = read_entry(ctx, argv[1])
    if entry is None:
        return -1 if bit else 0
    data = bits_of(entry.value)
    first, last = _bit_range(len(data), start, end, in_bits=in_bits)
    found = find_bit(data, bit, first, last)
    if found < 0 and not bit and len(argv) < 5 and first <= last:
        return len(data) * 8
    return found


@command(
    "BITOP",
    group="bitmap",
    since="2.6.0",
    arity=-4,
    summary="Perform bitwise operations between strings",
    complexity="O(N)",
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(Keys(begin=2, flags=("OW", "UPDATE")), Keys(begin=3, last=-1)),
    args=(string("operation"), key("destkey"), key(index=1, multiple=True)),
    reply=IntegerReply(minimum=0),
    acl_categories=("bitmap",),
)
def bitop(ctx: Context, argv: list[bytes]) -> Reply:
    """BITOP AND | OR | XOR | NOT | DIFF | DIFF1 | ANDOR | ONE destkey key [key ...]"""
    operation, destination = argv[1].upper(), argv[2]
    if operation != b"NOT" and operation not in OPERATIONS:
        raise syntax_error()
    if operation == b"NOT" and len(argv) != 4:
        raise CommandError("BITOP NOT must be called with a single source key.")
    if operation in _NEED_TWO_SOURCES and len(argv) < 5:
        raise CommandError(b"BITOP %b must be called with at least two source keys." % operation)
    sources: list[Bits] = []
    for name in argv[3:]:
        entry = read_entry(ctx, name)
        sources.append(b"" if entry is None else bits_of(entry.value))
    result = invert(sources[0]) if operation == b"NOT" else combine(operation, sources)
    db = ctx.db
    db.lookup_write(destination, ctx.now_ms)  # a key whose time has come expires first
    if result:
        db.assign(destination, result, ctx.now_ms)
        db.changed(destination, "set")
    elif db.delete(destination):
        db.changed(destination, "del")
    return len(result)


SPECS = specs_of(setbit, getbit, bitcount, bitpos, bitop)
