"""INCREX: a counter with bounds and an expiry in one step, as Redis 8.8 has it.

With `UBOUND limit EX window ENX` it is a fixed-window limiter; up to twice the limit passes around
the end of a window. The leaky buckets of LB.ACQUIRE have no such edge.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from hotplate.commands.strings import parse_expiry
from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.entry import INTEGER_MAX, INTEGER_MIN, Text, Value, integer_of, string_of
from hotplate.keyspace.long_double import (
    LARGEST,
    LongDouble,
    add_long_doubles,
    format_long_double,
    read_long_double,
    round_long_double,
)
from hotplate.resp.types import Raw, Reply
from hotplate.spec.args import NOT_A_FLOAT, NOT_AN_INTEGER, Args, parse_int, syntax_error
from hotplate.spec.model import (
    Flag,
    Keys,
    command,
    double,
    integer,
    key,
    oneof,
    specs_of,
    string,
    token,
    unix_time,
)
from hotplate.spec.reply import BulkReply, DoubleReply, IntegerReply, TupleReply, one_of

_EXPIRY_WORDS: Final = frozenset((b"EX", b"PX", b"EXAT", b"PXAT"))
_VALUE_WORDS: Final = frozenset((b"BYINT", b"BYFLOAT"))
_FLAG_WORDS: Final = frozenset((b"SATURATE", b"PERSIST", b"ENX"))
_OVERFLOW: Final = "increment or decrement would overflow"
_INFINITE: Final = "increment would produce NaN or Infinity"
_NUMBER: Final = one_of(IntegerReply(), DoubleReply(), BulkReply())


@dataclass(slots=True)
class _Options:
    """What INCREX was told; texts are not parsed yet."""

    by: bytes = b"1"
    is_float: bool = False
    lower: bytes | None = None
    upper: bytes | None = None
    unit: bytes = b""
    expiry: bytes = b""
    flags: frozenset[bytes] = frozenset()


@command(
    "INCREX",
    group="string",
    since="8.8.0",
    arity=-2,
    summary="Increments the numeric value of a key by a number and sets its expiration time."
    " Uses 0 as initial value if the key doesn't exist.",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "ACCESS", "UPDATE")),),
    args=(
        key(),
        oneof(
            "increment",
            double("float", token="BYFLOAT"),
            integer("integer", token="BYINT"),
            optional=True,
        ),
        token("SATURATE", optional=True),
        string("lowerbound", token="LBOUND", optional=True),
        string("upperbound", token="UBOUND", optional=True),
        oneof(
            "expiration",
            integer("seconds", token="EX"),
            integer("milliseconds", token="PX"),
            unix_time("unix-time-seconds", token="EXAT"),
            unix_time("unix-time-milliseconds", token="PXAT"),
            token("PERSIST"),
            optional=True,
        ),
        token("ENX", optional=True),
    ),
    reply=TupleReply((_NUMBER, _NUMBER)),
    acl_categories=("string",),
)
def increx(ctx: Context, argv: list[bytes]) -> Reply:
    """INCREX key [BYINT n | BYFLOAT x] [LBOUND l] [UBOUND u] [SATURATE] [expiry] [ENX]"""
    options = _parse(argv)
    expire_at_ms = 0
    if options.unit:
        expire_at_ms = parse_expiry(options.expiry, options.unit, b"increx", ctx.now_ms)
    add = _add_float if options.is_float else _add_integer
    lower, upper, increment = _numbers(options)
    if lower > upper:
        raise CommandError("LBOUND must not be greater than UBOUND")
    name = argv[1]
    entry = ctx.db.lookup_write(name, ctx.now_ms)
    before = None if entry is None else entry.value
    current, total = add(b"0" if before is None else before, increment)
    within = lower <= total <= upper
    if not within and b"SATURATE" not in options.flags:
        return _reply(ctx, options, current, 0)
    total = min(max(total, lower), upper)
    applied = total - current
    if not options.is_float and not INTEGER_MIN <= applied <= INTEGER_MAX:
        raise CommandError(_OVERFLOW)
    if options.is_float:
        applied = round_long_double(Fraction(applied))
        if isinstance(applied, float):
            raise CommandError(_INFINITE)
    db = ctx.db
    had_ms = 0 if entry is None else entry.expire_at_ms
    until_ms = 0 if b"PERSIST" in options.flags else had_ms
    if expire_at_ms and not (had_ms and b"ENX" in options.flags):
        until_ms = expire_at_ms
    value = Text(format_long_double(Fraction(total))) if options.is_float else int(total)
    db.assign(name, value, ctx.now_ms, until_ms)
    db.changed(name, "incrbyfloat" if options.is_float else "incrby")
    if until_ms != had_ms:
        db.changed(name, "expire" if until_ms else "persist")
    return _reply(ctx, options, total, applied)


def _parse(argv: list[bytes]) -> _Options:
    options = _Options()
    args = Args(argv, 2)
    flags: set[bytes] = set()
    has_value = False
    while args:
        word = args.take_word()
        if word in _VALUE_WORDS and not has_value:
            has_value = True
            options.is_float = word == b"BYFLOAT"
            options.by = args.take()
        elif word == b"LBOUND" and options.lower is None:
            options.lower = args.take()
        elif word == b"UBOUND" and options.upper is None:
            options.upper = args.take()
        elif word in _EXPIRY_WORDS and not options.unit:
            options.unit = word
            options.expiry = args.take()
        elif word in _FLAG_WORDS and word not in flags:
            flags.add(word)
        else:
            raise syntax_error()
    if options.unit and b"PERSIST" in flags:
        raise syntax_error()
    if b"ENX" in flags and not options.unit:
        raise syntax_error()
    options.flags = frozenset(flags)
    return options


def _numbers(options: _Options) -> tuple[LongDouble, LongDouble, LongDouble]:
    """The bounds and the increment."""
    if options.is_float:
        lower = -LARGEST if options.lower is None else _long_double(options.lower)
        upper = LARGEST if options.upper is None else _long_double(options.upper)
        increment = _long_double(options.by)
        if isinstance(increment, float):
            raise CommandError(_INFINITE)
        return max(lower, -LARGEST), min(upper, LARGEST), increment
    lower = Fraction(INTEGER_MIN if options.lower is None else parse_int(options.lower))
    upper = Fraction(INTEGER_MAX if options.upper is None else parse_int(options.upper))
    return lower, upper, Fraction(parse_int(options.by))


def _long_double(text: bytes) -> LongDouble:
    value = read_long_double(text)
    if value is None:
        raise CommandError(NOT_A_FLOAT)
    return value


def _add_integer(before: Value, increment: LongDouble) -> tuple[LongDouble, LongDouble]:
    number = integer_of(string_of(before))
    if number is None:
        raise CommandError(NOT_AN_INTEGER)
    return Fraction(number), number + increment


def _add_float(before: Value, increment: LongDouble) -> tuple[LongDouble, LongDouble]:
    number = _long_double(string_of(before))
    if isinstance(number, float):
        raise CommandError(_INFINITE)
    total = add_long_doubles(number, increment)
    if isinstance(total, float) and increment < 0:
        total = -total
    return number, total


def _reply(ctx: Context, options: _Options, value: LongDouble, applied: LongDouble) -> Reply:
    if not options.is_float:
        return [int(value), int(applied)]
    texts = [format_long_double(Fraction(number)) for number in (value, applied)]
    if ctx.resp == 2:
        return texts
    return Raw(b"*2\r\n,%b\r\n,%b\r\n" % tuple(texts))


SPECS = specs_of(increx)
