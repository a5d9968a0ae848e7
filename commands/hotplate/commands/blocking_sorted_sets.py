"""Commands that wait for a member of a sorted set: BZPOPMIN, BZPOPMAX, BZMPOP.

Each tries as its namesake without B does, and waits where there is nothing (engine/blocking.py).
"""

from typing import Any, Final

from hotplate.commands.sorted_set_forms import PAIR
from hotplate.commands.sorted_set_picks import parse_pop, pop, pop_first
from hotplate.commands.values import TIMEOUT_HISTORY, first_or_wait, write_value
from hotplate.engine.context import Context
from hotplate.keyspace.sorted_set import SortedSet
from hotplate.resp.types import Double, Reply
from hotplate.spec.args import parse_timeout_s
from hotplate.spec.model import Flag, Keys, command, double, integer, key, oneof, specs_of, token
from hotplate.spec.reply import (
    ArrayReply,
    BulkReply,
    DoubleReply,
    NullReply,
    TupleReply,
    one_of,
)

_POPPED: Final = one_of(TupleReply((BulkReply(), BulkReply(), DoubleReply())), NullReply())


def _pop_or_wait(ctx: Context, argv: list[bytes], *, highest: bool) -> Reply:
    timeout_ms = parse_timeout_s(argv[-1])

    def attempt(ctx: Context, name: bytes) -> Any:
        value = write_value(ctx, name, SortedSet)
        if value is None:
            return None
        members, scores = pop(ctx, name, value, 1, highest=highest)
        return [name, members[0], Double(scores[0])]

    return first_or_wait(ctx, argv[1:-1], SortedSet, attempt, timeout_ms=timeout_ms)


@command(
    "BZPOPMIN",
    group="sorted-set",
    since="5.0.0",
    arity=-3,
    summary="Remove and return the member with the lowest score, or block until there is one",
    complexity="O(log(N)) with N being the number of elements in the sorted set.",
    flags=Flag.WRITE | Flag.NOSCRIPT | Flag.BLOCKING | Flag.FAST,
    keys=(Keys(last=-2, flags=("RW", "ACCESS", "DELETE")),),
    args=(key(multiple=True), double("timeout")),
    reply=_POPPED,
    acl_categories=("sortedset",),
    history=TIMEOUT_HISTORY,
)
def bzpopmin(ctx: Context, argv: list[bytes]) -> Reply:
    """BZPOPMIN key [key ...] timeout"""
    return _pop_or_wait(ctx, argv, highest=False)


@command(
    "BZPOPMAX",
    group="sorted-set",
    since="5.0.0",
    arity=-3,
    summary="Remove and return the member with the highest score, or block until there is one",
    complexity="O(log(N)) with N being the number of elements in the sorted set.",
    flags=Flag.WRITE | Flag.NOSCRIPT | Flag.BLOCKING | Flag.FAST,
    keys=(Keys(last=-2, flags=("RW", "ACCESS", "DELETE")),),
    args=(key(multiple=True), double("timeout")),
    reply=_POPPED,
    acl_categories=("sortedset",),
    history=TIMEOUT_HISTORY,
)
def bzpopmax(ctx: Context, argv: list[bytes]) -> Reply:
    """BZPOPMAX key [key ...] timeout"""
    return _pop_or_wait(ctx, argv, highest=True)


@command(
    "BZMPOP",
    group="sorted-set",
    since="7.0.0",
    arity=-5,
    summary="Remove and return members with scores in a sorted set or block until there is one",
    complexity=(
        "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of "
        "elements in the sorted set, and M being the number of elements popped."
    ),
    flags=Flag.WRITE | Flag.BLOCKING | Flag.MOVABLEKEYS,
    keys=(Keys(begin=2, key_number=0, flags=("RW", "ACCESS", "DELETE")),),
    args=(
        double("timeout"),
        integer("numkeys"),
        key(multiple=True),
        oneof("where", token("MIN"), token("MAX")),
        integer("count", token="COUNT", optional=True),
    ),
    reply=one_of(TupleReply((BulkReply(), ArrayReply(PAIR))), NullReply()),
    acl_categories=("sortedset",),
)
def bzmpop(ctx: Context, argv: list[bytes]) -> Reply:
    """BZMPOP timeout numkeys key [key ...] MIN | MAX [COUNT count]"""
    timeout_ms = parse_timeout_s(argv[1])
    names, highest, count = parse_pop(argv, 2)
    return first_or_wait(
        ctx,
        names,
        SortedSet,
        lambda ctx, name: pop_first(ctx, [name], count, highest=highest),
        timeout_ms=timeout_ms,
    )


SPECS = specs_of(bzpopmin, bzpopmax, bzmpop)
