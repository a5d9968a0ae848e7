"""Numbers of any width inside strings: BITFIELD, BITFIELD_RO."""

from dataclasses import dataclass
from typing import Final

from hotplate.commands.bitmaps import BAD_OFFSET, bits_of, parse_bit_offset
from hotplate.commands.values import read_entry
from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.bitmap import FieldType, read_field, write_field
from hotplate.keyspace.string import growable
from hotplate.resp.types import Reply
from hotplate.spec.args import Args, read_int, syntax_error
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
from hotplate.spec.reply import ArrayReply, IntegerReply, NullReply, one_of

_BAD_TYPE: Final = (
    "Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is."
)
_REPLY: Final = ArrayReply(one_of(IntegerReply(), NullReply()))
_OVERFLOWS: Final = frozenset((b"WRAP", b"SAT", b"FAIL"))


@dataclass(frozen=True, slots=True)
class _Operation:
    name: bytes  # GET | SET | INCRBY
    kind: FieldType
    offset: int
    number: int  # the value or the increment
    overflow: bytes  # WRAP | SAT | FAIL

    def apply(self, before: int) -> int | None:
        """The number after SET or INCRBY; None where it does not fit and that fails."""
        number = self.number + (before if self.name == b"INCRBY" else 0)
        kind = self.kind
        if kind.minimum <= number <= kind.maximum:
            return number
        if self.overflow == b"FAIL":
            return None
        if self.overflow == b"WRAP":
            return kind.wrap(number)
        # Redis reads the value of an unsigned SET as unsigned: a negative one is too large
        is_below = number < kind.minimum and not (self.name == b"SET" and not kind.signed)
        return kind.minimum if is_below else kind.maximum


def _parse_type(text: bytes) -> FieldType:
    bits = read_int(text[1:])
    signed = text[:1] == b"i"
    if bits is None or text[:1] not in (b"i", b"u") or not 1 <= bits <= 63 + signed:
        raise CommandError(_BAD_TYPE)
    return FieldType(signed, bits)


def _parse_offset(ctx: Context, text: bytes, kind: FieldType) -> int:
    if text[:1] != b"#":
        return parse_bit_offset(ctx, text)
    index = read_int(text[1:])
    if index is None:
        raise CommandError(BAD_OFFSET)
    return parse_bit_offset(ctx, b"%d" % (index * kind.bits))


def _parse_operations(ctx: Context, argv: list[bytes]) -> list[_Operation]:
    operations: list[_Operation] = []
    overflow = b"WRAP"
    args = Args(argv, 2)
    while args:
        name = args.take_word()
        if name == b"OVERFLOW" and args:
            overflow = args.take_word()
            if overflow not in _OVERFLOWS:
                raise CommandError("Invalid OVERFLOW type specified")
            continue
        # with a number too few Redis sees no operation at all, and says so before the others
        needed = {b"GET": 2, b"SET": 3, b"INCRBY": 3}.get(name)
        if needed is None or len(args) < needed:
            raise syntax_error()
        kind = _parse_type(args.take())
        offset = _parse_offset(ctx, args.take(), kind)
        number = 0 if name == b"GET" else args.take_int()
        operations.append(_Operation(name, kind, offset, number, overflow))
    return operations


@command(
    "BITFIELD",
    group="bitmap",
    since="3.2.0",
    arity=-2,
    summary="Perform arbitrary bitfield integer operations on strings",
    complexity="O(1) for each subcommand specified",
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(
        Keys(
            flags=("RW", "ACCESS", "UPDATE", "VARIABLE_FLAGS"),
            notes="This command allows both access and modification of the key",
        ),
    ),
    args=(
        key(),
        oneof(
            "operation",
            block("encoding_offset", string("encoding"), integer("offset"), token="GET"),
            block(
                "write",
                oneof(
                    "wrap_sat_fail",
                    token("WRAP"),
                    token("SAT"),
                    token("FAIL"),
                    token="OVERFLOW",
                    optional=True,
                ),
                oneof(
                    "write_operation",
                    block(
                        "encoding_offset_value",
                        string("encoding"),
                        integer("offset"),
                        integer("value"),
                        token="SET",
                    ),
                    block(
                        "encoding_offset_increment",
                        string("encoding"),
                        integer("offset"),
                        integer("increment"),
                        token="INCRBY",
                    ),
                ),
            ),
            optional=True,
            multiple=True,
        ),
    ),
    reply=_REPLY,
    acl_categories=("bitmap",),
)
def bitfield(ctx: Context, argv: list[bytes]) -> Reply:
    """BITFIELD key [GET type offset | [OVERFLOW o] SET type offset n | INCRBY ...] ..."""
    operations = _parse_operations(ctx, argv)
    written = [operation for operation in operations if operation.name != b"GET"]
    if not written:
        return _get_fields(ctx, argv[1], operations)
    size = max(operation.offset + operation.kind.bits + 7 >> 3 for operation in written)
    db = ctx.db
    entry = db.lookup_write(argv[1], ctx.now_ms)
    data = bytearray() if entry is None else growable(entry.value)
    has_changed = size > len(data)
    if has_changed:
        data.extend(bytes(size - len(data)))
    if entry is None:
        db.assign(argv[1], data, ctx.now_ms)
    else:
        entry.value = data
        entry.accessed_ms = ctx.now_ms
    replies: list[int | None] = []
    for operation in operations:
        kind, offset = operation.kind, operation.offset
        before = read_field(data, kind, offset)
        if operation.name == b"GET":
            replies.append(before)
            continue
        after = operation.apply(before)
        if after is not None and after != before:
            write_field(data, kind, offset, after)
            has_changed = True
        replies.append(before if operation.name == b"SET" and after is not None else after)
    if has_changed:
        db.changed(argv[1], "setbit")
    return replies


def _get_fields(ctx: Context, key: bytes, operations: list[_Operation]) -> Reply:
    entry = read_entry(ctx, key)
    data = b"" if entry is None else bits_of(entry.value)
    return [read_field(data, operation.kind, operation.offset) for operation in operations]


@command(
    "BITFIELD_RO",
    group="bitmap",
    since="6.0.0",
    arity=-2,
    summary="Perform arbitrary bitfield integer operations on strings."
    " Read-only variant of BITFIELD",
    complexity="O(1) for each subcommand specified",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(),),
    args=(
        key(),
        block(
            "encoding_offset",
            string("encoding"),
            integer("offset"),
            token="GET",
            optional=True,
            multiple=True,
            multiple_token=True,
        ),
    ),
    reply=ArrayReply(IntegerReply()),
    acl_categories=("bitmap",),
)
def bitfield_ro(ctx: Context, argv: list[bytes]) -> Reply:
    """BITFIELD_RO key [GET type offset] ..."""
    operations = _parse_operations(ctx, argv)
    if any(operation.name != b"GET" for operation in operations):
        raise CommandError("BITFIELD_RO only supports the GET subcommand")
    return _get_fields(ctx, argv[1], operations)


SPECS = specs_of(bitfield, bitfield_ro)
