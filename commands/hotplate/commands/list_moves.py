"""Elements taken from one of several lists, or moved to another: LMPOP, LMOVE, RPOPLPUSH.

What a blocking form shares stands in `parse_pop`, `move_element` and lists.pop_elements.
"""

from hotplate.commands.lists import (
    ELEMENT_OR_NULL,
    fill_of,
    parse_end,
    pop_elements,
    push_element,
)
from hotplate.commands.values import settle, write_value
from hotplate.engine.context import Context
from hotplate.keyspace.list import List
from hotplate.resp.types import NULL_ARRAY, Reply
from hotplate.spec.args import NO_COUNT, NO_KEY_NUMBER, Args, parse_int_from
from hotplate.spec.model import Flag, Keys, command, integer, key, oneof, specs_of, token
from hotplate.spec.reply import ArrayReply, BulkReply, NullReply, TupleReply, one_of


def move_element(
    ctx: Context, source: bytes, destination: bytes, from_head: bool, to_head: bool
) -> bytes | None:
    """Move an element between two lists, or within one; None where there is no source."""
    value = write_value(ctx, source, List)
    if value is None:
        return None
    write_value(ctx, destination, List)  # refuses another type before anything is taken
    element = value.pop_head(fill_of(ctx)) if from_head else value.pop_tail(fill_of(ctx))
    push_element(ctx, destination, element, to_head)
    settle(ctx, source, value, "lpop" if from_head else "rpop")
    return element


def parse_pop(argv: list[bytes], start: int) -> tuple[list[bytes], bool, int]:
    """numkeys key [key ...] LEFT | RIGHT [COUNT count], as keys, whether at the head, count."""
    args = Args(argv, start)
    key_count = parse_int_from(args.take(), 1, NO_KEY_NUMBER)
    keys = args.take_many(key_count)
    at_head = parse_end(args.take())
    count = 1
    if args.accept(b"COUNT"):
        count = parse_int_from(args.take(), 1, NO_COUNT)
    args.finish()
    return keys, at_head, count


@command(
    "LMOVE",
    group="list",
    since="6.2.0",
    arity=5,
    summary="Pop an element from a list, push it to another list and return it",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(
        Keys(flags=("RW", "ACCESS", "DELETE")),
        Keys(begin=2, flags=("RW", "INSERT")),
    ),
    args=(
        key("source"),
        key("destination", index=1),
        oneof("wherefrom", token("LEFT"), token("RIGHT")),
        oneof("whereto", token("LEFT"), token("RIGHT")),
    ),
    reply=ELEMENT_OR_NULL,
    acl_categories=("list",),
)
def lmove(ctx: Context, argv: list[bytes]) -> Reply:
    """LMOVE source destination LEFT | RIGHT LEFT | RIGHT"""
    return move_element(ctx, argv[1], argv[2], parse_end(argv[3]), parse_end(argv[4]))


@command(
    "RPOPLPUSH",
    group="list",
    since="1.2.0",
    arity=3,
    summary="Remove the last element in a list, prepend it to another list and return it",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(
        Keys(flags=("RW", "ACCESS", "DELETE")),
        Keys(begin=2, flags=("RW", "INSERT")),
    ),
    args=(key("source"), key("destination", index=1)),
    reply=ELEMENT_OR_NULL,
    acl_categories=("list",),
    deprecated_since="6.2.0",
    replaced_by="`LMOVE` with the `RIGHT` and `LEFT` arguments",
)
def rpoplpush(ctx: Context, argv: list[bytes]) -> Reply:
    """RPOPLPUSH source destination"""
    return move_element(ctx, argv[1], argv[2], from_head=False, to_head=True)


@command(
    "LMPOP",
    group="list",
    since="7.0.0",
    arity=-4,
    summary="Pop elements from a list",
    complexity=(
        "O(N+M) where N is the number of provided keys and M is the number of elements returned."
    ),
    flags=Flag.WRITE | Flag.MOVABLEKEYS,
    keys=(Keys(key_number=0, flags=("RW", "ACCESS", "DELETE")),),
    args=(
        integer("numkeys"),
        key(multiple=True),
        oneof("where", token("LEFT"), token("RIGHT")),
        integer("count", token="COUNT", optional=True),
    ),
    reply=one_of(NullReply(), TupleReply((BulkReply(), ArrayReply(BulkReply())))),
    acl_categories=("list",),
)
def lmpop(ctx: Context, argv: list[bytes]) -> Reply:
    """LMPOP numkeys key [key ...] LEFT | RIGHT [COUNT count]: of the first list that there is"""
    keys, at_head, count = parse_pop(argv, 1)
    for name in keys:
        value = write_value(ctx, name, List)
        if value is not None:
            return [name, pop_elements(ctx, name, value, at_head, count)]
    return NULL_ARRAY


SPECS = specs_of(lmove, rpoplpush, lmpop)
