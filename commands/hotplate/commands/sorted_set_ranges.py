"""Ranges of sorted sets, by rank, score or bytes: reading, storing and removing them.

All readings of a range are one ZRANGE with other defaults: `_range` parses, looks the set up, finds
the span and answers or stores it. ZRANGE by rank and ZRANGEBYSCORE in their short forms take a
shorter way to the same answer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from hotplate.commands.sorted_set_forms import (
    COUNT,
    MEMBERS,
    PAIRS,
    pairs_reply,
    parse_lex_range,
    parse_score_range,
    store_result,
)
from hotplate.commands.sorted_set_runs import zrangebyscore_run
from hotplate.commands.values import read_value, settle, write_value
from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.sorted_set import SortedSet
from hotplate.keyspace.sorted_set_range import Span
from hotplate.resp.encoder import bulk_array, ready
from hotplate.resp.types import EMPTY_ARRAY, ZERO, Reply
from hotplate.spec.args import Args, parse_int, syntax_error
from hotplate.spec.model import (
    Flag,
    Keys,
    block,
    command,
    double,
    integer,
    key,
    oneof,
    specs_of,
    string,
    token,
)
from hotplate.spec.reply import one_of

_Find: TypeAlias = Callable[[SortedSet], Span]
_MEMBERS_OR_PAIRS: Final = one_of(MEMBERS, PAIRS)


@dataclass(slots=True)
class RangeOptions:
    """What a command of ZRANGE's family was told, or stands for."""

    by: bytes = b""  # BYSCORE | BYLEX, or by rank
    reverse: bool = False
    with_scores: bool = False
    offset: int = 0
    count: int = -1


def _parse_options(
    argv: list[bytes], start: int, options: RangeOptions, *, fixed: bool, store: bool
) -> None:
    """The options behind both ends; where `fixed`, the command's name says kind and direction."""
    args = Args(argv, start)
    while args:
        word = args.take_word()
        if word == b"WITHSCORES" and not store:
            options.with_scores = True
        elif word == b"LIMIT" and len(args) >= 2:
            options.offset = args.take_int()
            options.count = args.take_int()
        elif word == b"REV" and not fixed and not options.reverse:
            options.reverse = True
        elif word in (b"BYSCORE", b"BYLEX") and not fixed and not options.by:
            options.by = word
        else:
            raise syntax_error()
    if options.count != -1 and not options.by:
        raise CommandError(
            "syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
        )
    if options.with_scores and options.by == b"BYLEX":
        raise CommandError("syntax error, WITHSCORES not supported in combination with BYLEX")


def _parse_ends(first: bytes, last: bytes, options: RangeOptions) -> _Find:
    """How to find the span that two ends mean."""
    if not options.by:
        start, stop = parse_int(first), parse_int(last)
        return lambda value: rank_span(value, start, stop, reverse=options.reverse)
    low, high = (last, first) if options.reverse else (first, last)
    if options.by == b"BYSCORE":
        scores = parse_score_range(low, high)
        return lambda value: value.score_span(scores)
    members = parse_lex_range(low, high)
    return lambda value: value.lex_span(members, reverse=options.reverse)


def rank_span(value: SortedSet, start: int, stop: int, *, reverse: bool = False) -> Span:
    """The span between two ranks, both included, negative ones counted from the end."""
    size = len(value)
    start = max(start + size, 0) if start < 0 else start
    stop = stop + size + 1 if stop < 0 else min(stop + 1, size)
    if start >= stop:
        return 0, 0, 0, 0
    if reverse:
        start, stop = size - stop, size - start
    return value.rank_span(start, stop)


def _range(ctx: Context, argv: list[bytes], options: RangeOptions, *, fixed: bool) -> Reply:
    """ZRANGE and its older forms: key, two ends, options."""
    _parse_options(argv, 4, options, fixed=fixed, store=False)
    find = _parse_ends(argv[2], argv[3], options)
    value = read_value(ctx, argv[1], SortedSet)
    if value is None:
        return EMPTY_ARRAY
    span = _cut(value, find(value), options)
    members = value.members_of(span)
    if options.reverse:
        members.reverse()
    if not options.with_scores:
        return ready(bulk_array(members))
    scores = value.scores_of(span)
    if options.reverse:
        scores.reverse()
    return pairs_reply(ctx, members, scores)


def _cut(value: SortedSet, span: Span, options: RangeOptions) -> Span:
    if not options.by or (not options.offset and options.count < 0):
        return span
    return value.cut(span, options.offset, options.count, reverse=options.reverse)


@command(
    "ZRANGE",
    group="sorted-set",
    since="1.2.0",
    arity=-4,
    summary="Return a range of members in a sorted set",
    complexity=(
        "O(log(N)+M) with N being the number of elements in the sorted set and M the number "
        "of elements returned."
    ),
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(
        key(),
        string("start"),
        string("stop"),
        oneof("sortby", token("BYSCORE"), token("BYLEX"), optional=True, since="6.2.0"),
        token("REV", optional=True, since="6.2.0"),
        block(
            "offset_count",
            integer("offset"),
            integer("count"),
            token="LIMIT",
            optional=True,
            since="6.2.0",
        ),
        token("WITHSCORES", optional=True),
    ),
    reply=_MEMBERS_OR_PAIRS,
    acl_categories=("sortedset",),
    history=(("6.2.0", "Added the `REV`, `BYSCORE`, `BYLEX` and `LIMIT` options."),),
)
def zrange(ctx: Context, argv: list[bytes]) -> Reply:
    """ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]"""
    if len(argv) == 4:
        start, stop = parse_int(argv[2]), parse_int(argv[3])
        value = read_value(ctx, argv[1], SortedSet)
        if value is None:
            return EMPTY_ARRAY
        return ready(bulk_array(value.members_of(rank_span(value, start, stop))))
    return _range(ctx, argv, RangeOptions(), fixed=False)


@command(
    "ZRANGESTORE",
    group="sorted-set",
    since="6.2.0",
    arity=-5,
    summary="Store a range of members from sorted set into another key",
    complexity=(
        "O(log(N)+M) with N being the number of elements in the sorted set and M the number "
        "of elements stored into the destination key."
    ),
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(Keys(flags=("OW", "UPDATE")), Keys(begin=2)),
    args=(
        key("dst"),
        key("src", index=1),
        string("min"),
        string("max"),
        oneof("sortby", token("BYSCORE"), token("BYLEX"), optional=True),
        token("REV", optional=True),
        block("offset_count", integer("offset"), integer("count"), token="LIMIT", optional=True),
    ),
    reply=COUNT,
    acl_categories=("sortedset",),
)
def zrangestore(ctx: Context, argv: list[bytes]) -> Reply:
    """ZRANGESTORE dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]"""
    options = RangeOptions()
    _parse_options(argv, 5, options, fixed=False, store=True)
    find = _parse_ends(argv[3], argv[4], options)
    value = read_value(ctx, argv[2], SortedSet)
    stored = SortedSet()
    if value is not None:
        span = _cut(value, find(value), options)
        stored = SortedSet.of_ordered(value.members_of(span), value.scores_of(span))
    return store_result(ctx, argv[1], stored, "zrangestore")


@command(
    "ZREVRANGE",
    group="sorted-set",
    since="1.2.0",
    arity=-4,
    summary=(
        "Return a range of members in a sorted set, by index, with scores ordered from high to low"
    ),
    complexity=(
        "O(log(N)+M) with N being the number of elements in the sorted set and M the number "
        "of elements returned."
    ),
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(
        key(),
        integer("start"),
        integer("stop"),
        token("WITHSCORES", optional=True),
    ),
    reply=_MEMBERS_OR_PAIRS,
    acl_categories=("sortedset",),
    deprecated_since="6.2.0",
    replaced_by="`ZRANGE` with the `REV` argument",
)
def zrevrange(ctx: Context, argv: list[bytes]) -> Reply:
    """ZREVRANGE key start stop [WITHSCORES]"""
    return _range(ctx, argv, RangeOptions(reverse=True), fixed=True)


@command(
    "ZRANGEBYSCORE",
    group="sorted-set",
    since="1.0.5",
    arity=-4,
    summary="Return a range of members in a sorted set, by score",
    complexity=(
        "O(log(N)+M) with N being the number of elements in the sorted set and M the number "
        "of elements being returned. If M is constant (e.g. always asking for the first 10 "
        "elements with LIMIT), you can consider it O(log(N))."
    ),
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(
        key(),
        double("min"),
        double("max"),
        token("WITHSCORES", optional=True, since="2.0.0"),
        block("offset_count", integer("offset"), integer("count"), token="LIMIT", optional=True),
    ),
    reply=_MEMBERS_OR_PAIRS,
    acl_categories=("sortedset",),
    history=(("2.0.0", "Added the `WITHSCORES` modifier."),),
    deprecated_since="6.2.0",
    replaced_by="`ZRANGE` with the `BYSCORE` argument",
    run=zrangebyscore_run,
)
def zrangebyscore(ctx: Context, argv: list[bytes]) -> Reply:
    """ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]"""
    if len(argv) == 4:
        wanted = parse_score_range(argv[2], argv[3])
        value = read_value(ctx, argv[1], SortedSet)
        if value is None:
            return EMPTY_ARRAY
        low, high, low_open, high_open = wanted
        if not (low_open or high_open):
            return ready(bulk_array(value.members_between(low, high)))
        return ready(bulk_array(value.members_of(value.score_span(wanted))))
    return _range(ctx, argv, RangeOptions(b"BYSCORE"), fixed=True)


@command(
    "ZREVRANGEBYSCORE",
    group="sorted-set",
    since="2.2.0",
    arity=-4,
    summary=(
        "Return a range of members in a sorted set, by score, with scores ordered from high to low"
    ),
    complexity=(
        "O(log(N)+M) with N being the number of elements in the sorted set and M the number "
        "of elements being returned. If M is constant (e.g. always asking for the first 10 "
        "elements with LIMIT), you can consider it O(log(N))."
    ),
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(
        key(),
        double("max"),
        double("min"),
        token("WITHSCORES", optional=True),
        block("offset_count", integer("offset"), integer("count"), token="LIMIT", optional=True),
    ),
    reply=_MEMBERS_OR_PAIRS,
    acl_categories=("sortedset",),
    history=(("2.1.6", "`min` and `max` can be exclusive."),),
    deprecated_since="6.2.0",
    replaced_by="`ZRANGE` with the `REV` and `BYSCORE` arguments",
)
def zrevrangebyscore(ctx: Context, argv: list[bytes]) -> Reply:
    """ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]"""
    return _range(ctx, argv, RangeOptions(b"BYSCORE", reverse=True), fixed=True)


@command(
    "ZRANGEBYLEX",
    group="sorted-set",
    since="2.8.9",
    arity=-4,
    summary="Return a range of members in a sorted set, by lexicographical range",
    complexity=(
        "O(log(N)+M) with N being the number of elements in the sorted set and M the number "
        "of elements being returned. If M is constant (e.g. always asking for the first 10 "
        "elements with LIMIT), you can consider it O(log(N))."
    ),
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(
        key(),
        string("min"),
        string("max"),
        block("offset_count", integer("offset"), integer("count"), token="LIMIT", optional=True),
    ),
    reply=MEMBERS,
    acl_categories=("sortedset",),
    deprecated_since="6.2.0",
    replaced_by="`ZRANGE` with the `BYLEX` argument",
)
def zrangebylex(ctx: Context, argv: list[bytes]) -> Reply:
    """ZRANGEBYLEX key min max [LIMIT offset count]"""
    return _range(ctx, argv, RangeOptions(b"BYLEX"), fixed=True)


@command(
    "ZREVRANGEBYLEX",
    group="sorted-set",
    since="2.8.9",
    arity=-4,
    summary=(
        "Return a range of members in a sorted set, by lexicographical range, ordered from "
        "higher to lower strings."
    ),
    complexity=(
        "O(log(N)+M) with N being the number of elements in the sorted set and M the number "
        "of elements being returned. If M is constant (e.g. always asking for the first 10 "
        "elements with LIMIT), you can consider it O(log(N))."
    ),
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(
        key(),
        string("max"),
        string("min"),
        block("offset_count", integer("offset"), integer("count"), token="LIMIT", optional=True),
    ),
    reply=MEMBERS,
    acl_categories=("sortedset",),
    deprecated_since="6.2.0",
    replaced_by="`ZRANGE` with the `REV` and `BYLEX` arguments",
)
def zrevrangebylex(ctx: Context, argv: list[bytes]) -> Reply:
    """ZREVRANGEBYLEX key max min [LIMIT offset count]"""
    return _range(ctx, argv, RangeOptions(b"BYLEX", reverse=True), fixed=True)


def _remove(ctx: Context, key: bytes, find: _Find, event: str) -> Reply:
    value = write_value(ctx, key, SortedSet)
    if value is None:
        return ZERO
    removed = value.remove_span(find(value))
    if removed:
        settle(ctx, key, value, event)
    return removed


@command(
    "ZREMRANGEBYRANK",
    group="sorted-set",
    since="2.0.0",
    arity=4,
    summary="Remove all members in a sorted set within the given indexes",
    complexity=(
        "O(log(N)+M) with N being the number of elements in the sorted set and M the number "
        "of elements removed by the operation."
    ),
    flags=Flag.WRITE,
    keys=(Keys(flags=("RW", "DELETE")),),
    args=(
        key(),
        integer("start"),
        integer("stop"),
    ),
    reply=COUNT,
    acl_categories=("sortedset",),
)
def zremrangebyrank(ctx: Context, argv: list[bytes]) -> Reply:
    """ZREMRANGEBYRANK key start stop"""
    find = _parse_ends(argv[2], argv[3], RangeOptions())
    return _remove(ctx, argv[1], find, "zremrangebyrank")


@command(
    "ZREMRANGEBYSCORE",
    group="sorted-set",
    since="1.2.0",
    arity=4,
    summary="Remove all members in a sorted set within the given scores",
    complexity=(
        "O(log(N)+M) with N being the number of elements in the sorted set and M the number "
        "of elements removed by the operation."
    ),
    flags=Flag.WRITE,
    keys=(Keys(flags=("RW", "DELETE")),),
    args=(
        key(),
        double("min"),
        double("max"),
    ),
    reply=COUNT,
    acl_categories=("sortedset",),
)
def zremrangebyscore(ctx: Context, argv: list[bytes]) -> Reply:
    """ZREMRANGEBYSCORE key min max"""
    find = _parse_ends(argv[2], argv[3], RangeOptions(b"BYSCORE"))
    return _remove(ctx, argv[1], find, "zremrangebyscore")


@command(
    "ZREMRANGEBYLEX",
    group="sorted-set",
    since="2.8.9",
    arity=4,
    summary="Remove all members in a sorted set between the given lexicographical range",
    complexity=(
        "O(log(N)+M) with N being the number of elements in the sorted set and M the number "
        "of elements removed by the operation."
    ),
    flags=Flag.WRITE,
    keys=(Keys(flags=("RW", "DELETE")),),
    args=(
        key(),
        string("min"),
        string("max"),
    ),
    reply=COUNT,
    acl_categories=("sortedset",),
)
def zremrangebylex(ctx: Context, argv: list[bytes]) -> Reply:
    """ZREMRANGEBYLEX key min max"""
    find = _parse_ends(argv[2], argv[3], RangeOptions(b"BYLEX"))
    return _remove(ctx, argv[1], find, "zremrangebylex")


SPECS = specs_of(
    *(zrange, zrangestore, zrevrange, zrangebyscore, zrevrangebyscore),
    *(zrangebylex, zrevrangebylex, zremrangebyrank, zremrangebyscore, zremrangebylex),
)
