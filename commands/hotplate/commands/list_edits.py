"""Changes inside of lists: LSET, LINSERT, LREM, LTRIM."""

from itertools import islice
from typing import Final

from hotplate.commands.lists import fill_of, slice_bounds
from hotplate.commands.values import settle, write_value
from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.list import List
from hotplate.resp.types import OK, ZERO, Reply
from hotplate.spec.args import NO_SUCH_KEY, parse_int, syntax_error
from hotplate.spec.model import Flag, Keys, command, integer, key, oneof, specs_of, string, token
from hotplate.spec.reply import OK_REPLY, IntegerReply

_NO_PIVOT: Final = -1


@command(
    "LSET",
    group="list",
    since="1.0.0",
    arity=4,
    summary="Set the value of an element in a list by its index",
    complexity=(
        "O(N) where N is the length of the list. Setting either the first or the last element of"
        " the list is O(1)."
    ),
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(Keys(flags=("RW", "UPDATE")),),
    args=(key(), integer("index"), string("element")),
    reply=OK_REPLY,
    acl_categories=("list",),
)
def lset(ctx: Context, argv: list[bytes]) -> Reply:
    """LSET key index element"""
    value = write_value(ctx, argv[1], List)
    if value is None:
        raise CommandError(NO_SUCH_KEY)
    index = parse_int(argv[2])
    if index < 0:
        index += len(value)
    if not 0 <= index < len(value):
        raise CommandError("index out of range")
    value.replace(index, argv[3], fill_of(ctx))
    ctx.db.changed(argv[1], "lset")
    return OK


@command(
    "LINSERT",
    group="list",
    since="2.2.0",
    arity=5,
    summary="Insert an element before or after another element in a list",
    complexity=(
        "O(N) where N is the number of elements to traverse before seeing the value pivot. This"
        " means that inserting somewhere on the left end on the list (head) can be considered O(1)"
        " and inserting somewhere on the right end (tail) is O(N)."
    ),
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(Keys(flags=("RW", "INSERT")),),
    args=(
        key(),
        oneof("where", token("BEFORE"), token("AFTER")),
        string("pivot"),
        string("element"),
    ),
    reply=IntegerReply(minimum=_NO_PIVOT),
    acl_categories=("list",),
)
def linsert(ctx: Context, argv: list[bytes]) -> Reply:
    """LINSERT key BEFORE | AFTER pivot element: the new length, 0 without key, -1 without pivot"""
    _, key, where, pivot, element = argv
    where = where.upper()
    if where not in (b"BEFORE", b"AFTER"):
        raise syntax_error()
    value = write_value(ctx, key, List)
    if value is None:
        return ZERO
    index = next(value.positions(pivot, len(value)), None)
    if index is None:
        return _NO_PIVOT
    value.insert(index + (where == b"AFTER"), element, fill_of(ctx))
    ctx.db.changed(key, "linsert")
    return len(value)


@command(
    "LREM",
    group="list",
    since="1.0.0",
    arity=4,
    summary="Remove elements from a list",
    complexity=(
        "O(N+M) where N is the length of the list and M is the number of elements removed."
    ),
    flags=Flag.WRITE,
    keys=(Keys(flags=("RW", "DELETE")),),
    args=(key(), integer("count"), string("element")),
    reply=IntegerReply(minimum=0),
    acl_categories=("list",),
)
def lrem(ctx: Context, argv: list[bytes]) -> Reply:
    """LREM key count element: the first `count`, the last -`count`, or (0) all of them"""
    count = parse_int(argv[2])
    value = write_value(ctx, argv[1], List)
    if value is None:
        return ZERO
    find = value.positions if count >= 0 else value.last_positions
    most = min(abs(count), len(value)) or None
    positions = list(islice(find(argv[3], len(value)), most))
    if not positions:
        return ZERO
    value.remove(positions, fill_of(ctx))
    settle(ctx, argv[1], value, "lrem")
    return len(positions)


@command(
    "LTRIM",
    group="list",
    since="1.0.0",
    arity=4,
    summary="Trim a list to the specified range",
    complexity="O(N) where N is the number of elements to be removed by the operation.",
    flags=Flag.WRITE,
    keys=(Keys(flags=("RW", "DELETE")),),
    args=(key(), integer("start"), integer("stop")),
    reply=OK_REPLY,
    acl_categories=("list",),
)
def ltrim(ctx: Context, argv: list[bytes]) -> Reply:
    """LTRIM key start stop: nothing within the range deletes the key"""
    start, stop = parse_int(argv[2]), parse_int(argv[3])
    value = write_value(ctx, argv[1], List)
    if value is None:
        return OK
    value.keep(*slice_bounds(len(value), start, stop), fill_of(ctx))
    settle(ctx, argv[1], value, "ltrim")
    return OK


SPECS = specs_of(lset, linsert, lrem, ltrim)
