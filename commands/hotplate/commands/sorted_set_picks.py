"""Members by the choice of the sorted set: the lowest, the highest, a random one, the next."""

from typing import Any, Final

from hotplate.commands.collection_scan import (
    SCAN_ARGS,
    nothing_to_scan,
    parse_scan_options,
    scan_step,
)
from hotplate.commands.databases import parse_cursor
from hotplate.commands.sorted_set_forms import MEMBERS, PAIR, PAIRS, nested_reply, pairs_reply
from hotplate.commands.values import read_value, settle, write_value
from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.sorted_set import SortedSet
from hotplate.resp.encoder import double_text
from hotplate.resp.types import EMPTY_ARRAY, NULL_ARRAY, Double, Reply
from hotplate.spec.args import (
    INT64_MAX,
    NEGATIVE_COUNT,
    NO_COUNT,
    NO_KEY_NUMBER,
    Args,
    parse_int_between,
    parse_int_from,
    syntax_error,
)
from hotplate.spec.model import (
    Flag,
    Keys,
    block,
    command,
    integer,
    key,
    oneof,
    specs_of,
    token,
)
from hotplate.spec.reply import ArrayReply, BulkReply, NullReply, TupleReply, one_of

_POPPED: Final = one_of(ArrayReply(PAIR), PAIR, MEMBERS)
_RANDOM: Final = one_of(BulkReply(), NullReply(), MEMBERS, PAIRS)
_SAMPLED_FROM: Final = 3  # asked for a third of the members or more, Redis removes instead


def pop(
    ctx: Context, key: bytes, value: SortedSet, count: int, *, highest: bool
) -> tuple[list[bytes], list[float]]:
    """Take out up to `count` members from one end, the outermost first, and tell."""
    size = len(value)
    count = min(count, size)
    span = value.rank_span(size - count, size) if highest else value.rank_span(0, count)
    members, scores = value.members_of(span), value.scores_of(span)
    value.remove_span(span)
    if highest:
        members.reverse()
        scores.reverse()
    settle(ctx, key, value, "zpopmax" if highest else "zpopmin")
    return members, scores


def _pop_generic(ctx: Context, argv: list[bytes], *, highest: bool) -> Reply:
    if len(argv) > 3:
        raise syntax_error()
    count = 1
    if len(argv) == 3:
        count = parse_int_from(argv[2], 0, NEGATIVE_COUNT)
    value = write_value(ctx, argv[1], SortedSet)
    if value is None or not count:
        return EMPTY_ARRAY
    members, scores = pop(ctx, argv[1], value, count, highest=highest)
    if len(argv) == 3:
        return pairs_reply(ctx, members, scores)
    return [members[0], Double(scores[0])]


@command(
    "ZPOPMIN",
    group="sorted-set",
    since="5.0.0",
    arity=-2,
    summary="Remove and return members with the lowest scores in a sorted set",
    complexity=(
        "O(log(N)*M) with N being the number of elements in the sorted set, and M being the "
        "number of elements popped."
    ),
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "ACCESS", "DELETE")),),
    args=(
        key(),
        integer("count", optional=True),
    ),
    reply=_POPPED,
    acl_categories=("sortedset",),
)
def zpopmin(ctx: Context, argv: list[bytes]) -> Reply:
    """ZPOPMIN key [count]"""
    return _pop_generic(ctx, argv, highest=False)


@command(
    "ZPOPMAX",
    group="sorted-set",
    since="5.0.0",
    arity=-2,
    summary="Remove and return members with the highest scores in a sorted set",
    complexity=(
        "O(log(N)*M) with N being the number of elements in the sorted set, and M being the "
        "number of elements popped."
    ),
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "ACCESS", "DELETE")),),
    args=(
        key(),
        integer("count", optional=True),
    ),
    reply=_POPPED,
    acl_categories=("sortedset",),
)
def zpopmax(ctx: Context, argv: list[bytes]) -> Reply:
    """ZPOPMAX key [count]"""
    return _pop_generic(ctx, argv, highest=True)


def parse_pop(argv: list[bytes], start: int) -> tuple[list[bytes], bool, int]:
    """numkeys key [key ...] MIN | MAX [COUNT count]: the keys, whether the highest, how many."""
    key_count = parse_int_from(argv[start], 1, NO_KEY_NUMBER)
    args = Args(argv, start + 1)
    if key_count >= len(args):
        raise syntax_error()
    keys = args.take_many(key_count)
    where = args.take_word()
    if where not in (b"MIN", b"MAX"):
        raise syntax_error()
    count = 0
    while args:
        if count or not args.accept(b"COUNT"):
            raise syntax_error()
        count = parse_int_from(args.take(), 1, NO_COUNT)
    return keys, where == b"MAX", count or 1


def pop_first(ctx: Context, keys: list[bytes], count: int, *, highest: bool) -> list[Any] | None:
    """Pop from the first of `keys` that is there: its name and pairs. None where none is."""
    for name in keys:
        value = write_value(ctx, name, SortedSet)
        if value is not None:
            return [name, nested_reply(*pop(ctx, name, value, count, highest=highest))]
    return None


@command(
    "ZMPOP",
    group="sorted-set",
    since="7.0.0",
    arity=-4,
    summary="Remove and return members with scores in a sorted set",
    complexity=(
        "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of "
        "elements in the sorted set, and M being the number of elements popped."
    ),
    flags=Flag.WRITE | Flag.MOVABLEKEYS,
    keys=(Keys(key_number=0, flags=("RW", "ACCESS", "DELETE")),),
    args=(
        integer("numkeys"),
        key(multiple=True),
        oneof("where", token("MIN"), token("MAX")),
        integer("count", token="COUNT", optional=True),
    ),
    reply=one_of(TupleReply((BulkReply(), ArrayReply(PAIR))), NullReply()),
    acl_categories=("sortedset",),
)
def zmpop(ctx: Context, argv: list[bytes]) -> Reply:
    """ZMPOP numkeys key [key ...] MIN | MAX [COUNT count]"""
    keys, highest, count = parse_pop(argv, 1)
    popped = pop_first(ctx, keys, count, highest=highest)
    return NULL_ARRAY if popped is None else popped


@command(
    "ZRANDMEMBER",
    group="sorted-set",
    since="6.2.0",
    arity=-2,
    summary="Get one or multiple random elements from a sorted set",
    complexity="O(N) where N is the number of elements returned",
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(
        key(),
        block("options", integer("count"), token("WITHSCORES", optional=True), optional=True),
    ),
    reply=_RANDOM,
    acl_categories=("sortedset",),
    tips=("nondeterministic_output",),
)
def zrandmember(ctx: Context, argv: list[bytes]) -> Reply:
    """ZRANDMEMBER key [count [WITHSCORES]]"""
    random = ctx.engine.rng.random
    if len(argv) == 2:
        value = read_value(ctx, argv[1], SortedSet)
        return None if value is None else value.at_rank(int(random() * len(value)))[0]
    count, with_scores = _parse_random(argv)
    value = read_value(ctx, argv[1], SortedSet)
    if value is None or not count:
        return EMPTY_ARRAY
    size = len(value)
    if count < 0:
        picked = [value.at_rank(int(random() * size)) for _ in range(-count)]
    elif count >= size:
        picked = list(value.items())
    elif count * _SAMPLED_FROM > size:
        ranks = set(ctx.engine.rng.sample(range(size), count))
        picked = [pair for rank, pair in enumerate(value.items()) if rank in ranks]
    else:
        picked = [value.at_rank(rank) for rank in ctx.engine.rng.sample(range(size), count)]
    members = [member for member, _ in picked]
    if not with_scores:
        return members
    return pairs_reply(ctx, members, [score for _, score in picked])


def _parse_random(argv: list[bytes]) -> tuple[int, bool]:
    count = parse_int_between(argv[2], -INT64_MAX, INT64_MAX)
    if len(argv) == 3:
        return count, False
    if len(argv) > 4 or argv[3].upper() != b"WITHSCORES":
        raise syntax_error()
    if abs(count) > INT64_MAX // 2:
        raise CommandError("value is out of range")
    return count, True


@command(
    "ZSCAN",
    group="sorted-set",
    since="2.8.0",
    arity=-3,
    summary="Incrementally iterate sorted sets elements and associated scores",
    complexity=(
        "O(1) for every call. O(N) for a complete iteration, including enough command calls "
        "for the cursor to return back to 0. N is the number of elements inside the "
        "collection.."
    ),
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(key(), *SCAN_ARGS),
    reply=TupleReply((BulkReply(rb"[0-9]+"), MEMBERS)),
    acl_categories=("sortedset",),
    tips=("nondeterministic_output",),
)
def zscan(ctx: Context, argv: list[bytes]) -> Reply:
    """ZSCAN key cursor [MATCH pattern] [COUNT count]"""
    cursor = parse_cursor(argv[2])
    value = read_value(ctx, argv[1], SortedSet)
    if value is None:
        return nothing_to_scan()
    options = parse_scan_options(argv)
    # a small one in its order, as Redis reads a listpack
    scores = dict(value.items()) if value.packed else value.scores
    after, found = scan_step(scores, cursor, options, whole=value.packed)
    flat: list[bytes] = []
    for member in found:
        flat += (member, double_text(scores[member]))
    return [after, flat]


SPECS = specs_of(zpopmin, zpopmax, zmpop, zrandmember, zscan)
