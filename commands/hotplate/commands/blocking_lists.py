"""Commands that wait for an element of a list: BLPOP, BRPOP, BLMOVE, BRPOPLPUSH, BLMPOP.

Each tries as its namesake without B does, and waits where there is nothing (engine/blocking.py).
"""

from typing import Any, Final

from hotplate.commands.list_moves import move_element, parse_pop
from hotplate.commands.lists import ELEMENT_OR_NULL, fill_of, parse_end, pop_elements
from hotplate.commands.values import (
    TIMEOUT_HISTORY,
    first_or_wait,
    settle,
    write_value,
)
from hotplate.engine.blocking import Retry
from hotplate.engine.context import Context
from hotplate.keyspace.list import List
from hotplate.resp.types import NULL_ARRAY, Reply
from hotplate.spec.args import parse_timeout_s
from hotplate.spec.model import Flag, Keys, command, double, integer, key, oneof, specs_of, token
from hotplate.spec.reply import ArrayReply, BulkReply, NullReply, TupleReply, one_of

_BLOCKING: Final = Flag.WRITE | Flag.NOSCRIPT | Flag.BLOCKING
_MOVING: Final = _BLOCKING | Flag.DENYOOM
_POPPED: Final = one_of(TupleReply((BulkReply(), BulkReply())), NullReply())
_POPPED_MANY: Final = one_of(TupleReply((BulkReply(), ArrayReply(BulkReply()))), NullReply())


def _popping(*, at_head: bool) -> Retry:
    """What pops: [key, element], None where there is no key. WrongTypeError."""
    event = "lpop" if at_head else "rpop"

    def pop(ctx: Context, name: bytes) -> Reply:
        value = write_value(ctx, name, List)
        if value is None:
            return None
        element = value.pop_head(fill_of(ctx)) if at_head else value.pop_tail(fill_of(ctx))
        settle(ctx, name, value, event)
        return [name, element]

    return pop


_pop_head: Final = _popping(at_head=True)
_pop_tail: Final = _popping(at_head=False)


def _pop_or_wait(ctx: Context, argv: list[bytes], pop: Retry) -> Reply:
    timeout_ms = parse_timeout_s(argv[-1])
    return first_or_wait(ctx, argv[1:-1], List, pop, timeout_ms=timeout_ms, takes_one=True)


@command(
    "BLPOP",
    group="list",
    since="2.0.0",
    arity=-3,
    summary="Remove and get the first element in a list, or block until one is available",
    complexity="O(N) where N is the number of provided keys.",
    flags=_BLOCKING,
    keys=(Keys(last=-2, flags=("RW", "ACCESS", "DELETE")),),
    args=(key(multiple=True), double("timeout")),
    reply=_POPPED,
    acl_categories=("list",),
    history=TIMEOUT_HISTORY,
)
def blpop(ctx: Context, argv: list[bytes]) -> Reply:
    """BLPOP key [key ...] timeout"""
    return _pop_or_wait(ctx, argv, _pop_head)


@command(
    "BRPOP",
    group="list",
    since="2.0.0",
    arity=-3,
    summary="Remove and get the last element in a list, or block until one is available",
    complexity="O(N) where N is the number of provided keys.",
    flags=_BLOCKING,
    keys=(Keys(last=-2, flags=("RW", "ACCESS", "DELETE")),),
    args=(key(multiple=True), double("timeout")),
    reply=_POPPED,
    acl_categories=("list",),
    history=TIMEOUT_HISTORY,
)
def brpop(ctx: Context, argv: list[bytes]) -> Reply:
    """BRPOP key [key ...] timeout"""
    return _pop_or_wait(ctx, argv, _pop_tail)


def _move_or_wait(ctx: Context, argv: list[bytes], *, from_head: bool, to_head: bool) -> Reply:
    timeout_ms = parse_timeout_s(argv[-1])
    source, destination = argv[1], argv[2]
    moved = move_element(ctx, source, destination, from_head, to_head)
    if moved is not None or ctx.deny_blocking:
        return moved

    return ctx.engine.blocking.wait(
        ctx,
        [source],
        lambda ctx, _: move_element(ctx, source, destination, from_head, to_head),
        timeout_ms=timeout_ms,
        nothing=NULL_ARRAY,
        share=List,
        kind=List,
        changes=[destination],
    )


@command(
    "BLMOVE",
    group="list",
    since="6.2.0",
    arity=6,
    summary="Move an element between two lists and return it; or block until one is available",
    complexity="O(1)",
    flags=_MOVING,
    keys=(
        Keys(flags=("RW", "ACCESS", "DELETE")),
        Keys(begin=2, flags=("RW", "INSERT")),
    ),
    args=(
        key("source"),
        key("destination", index=1),
        oneof("wherefrom", token("LEFT"), token("RIGHT")),
        oneof("whereto", token("LEFT"), token("RIGHT")),
        double("timeout"),
    ),
    reply=ELEMENT_OR_NULL,
    acl_categories=("list",),
)
def blmove(ctx: Context, argv: list[bytes]) -> Reply:
    """BLMOVE source destination LEFT | RIGHT LEFT | RIGHT timeout"""
    from_head, to_head = parse_end(argv[3]), parse_end(argv[4])
    return _move_or_wait(ctx, argv, from_head=from_head, to_head=to_head)


@command(
    "BRPOPLPUSH",
    group="list",
    since="2.2.0",
    arity=4,
    summary="Move the last element of a list to another and return it; or block until there is one",
    complexity="O(1)",
    flags=_MOVING,
    keys=(
        Keys(flags=("RW", "ACCESS", "DELETE")),
        Keys(begin=2, flags=("RW", "INSERT")),
    ),
    args=(key("source"), key("destination", index=1), double("timeout")),
    reply=ELEMENT_OR_NULL,
    acl_categories=("list",),
    history=TIMEOUT_HISTORY,
    deprecated_since="6.2.0",
    replaced_by="`BLMOVE` with the `RIGHT` and `LEFT` arguments",
)
def brpoplpush(ctx: Context, argv: list[bytes]) -> Reply:
    """BRPOPLPUSH source destination timeout"""
    return _move_or_wait(ctx, argv, from_head=False, to_head=True)


@command(
    "BLMPOP",
    group="list",
    since="7.0.0",
    arity=-5,
    summary="Pop elements from a list, or block until one is available",
    complexity="O(N+M) where N is the number of provided keys and M is the number of elements"
    " returned.",
    flags=Flag.WRITE | Flag.BLOCKING | Flag.MOVABLEKEYS,
    keys=(Keys(begin=2, key_number=0, flags=("RW", "ACCESS", "DELETE")),),
    args=(
        double("timeout"),
        integer("numkeys"),
        key(multiple=True),
        oneof("where", token("LEFT"), token("RIGHT")),
        integer("count", token="COUNT", optional=True),
    ),
    reply=_POPPED_MANY,
    acl_categories=("list",),
)
def blmpop(ctx: Context, argv: list[bytes]) -> Reply:
    """BLMPOP timeout numkeys key [key ...] LEFT | RIGHT [COUNT count]"""
    timeout_ms = parse_timeout_s(argv[1])
    names, at_head, count = parse_pop(argv, 2)

    def attempt(ctx: Context, name: bytes) -> Any:
        value = write_value(ctx, name, List)
        if value is None:
            return None
        return [name, pop_elements(ctx, name, value, at_head, count)]

    return first_or_wait(ctx, names, List, attempt, timeout_ms=timeout_ms)


SPECS = specs_of(blpop, brpop, blmove, brpoplpush, blmpop)
