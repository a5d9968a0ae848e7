"""Members of sorted sets: adding, scoring, counting, removing, ranking."""

from dataclasses import dataclass
from typing import Any, Final

from hotplate.commands.sorted_set_forms import (
    COUNT,
    NAN_SCORE,
    SCORE_OR_NULL,
    keep_packed,
    parse_lex_range,
    parse_score,
    parse_score_range,
    score_reply,
)
from hotplate.commands.sorted_set_runs import zadd_run
from hotplate.commands.values import create_value, read_value, settle, write_value
from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.database import SHARD_MASK
from hotplate.keyspace.sorted_set import SortedSet
from hotplate.resp.types import NULL_ARRAY, ONE, ZERO, Double, Reply
from hotplate.spec.args import syntax_error
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
from hotplate.spec.reply import (
    ArrayReply,
    DoubleReply,
    IntegerReply,
    NullReply,
    TupleReply,
    one_of,
)

_RANK: Final = one_of(IntegerReply(minimum=0), TupleReply((COUNT, DoubleReply())), NullReply())
_DIGITS_MAX: Final = 17


@dataclass(slots=True)
class AddOptions:
    """What ZADD was told beyond scores and members."""

    only_new: bool = False
    only_old: bool = False
    greater: bool = False
    less: bool = False
    changed: bool = False
    increment: bool = False


def parse_add_options(argv: list[bytes]) -> tuple[AddOptions, int]:
    """ZADD's options, and where the first score stands."""
    options = AddOptions()
    names = {
        b"NX": "only_new",
        b"XX": "only_old",
        b"GT": "greater",
        b"LT": "less",
        b"CH": "changed",
        b"INCR": "increment",
    }
    at = 2
    while at < len(argv) and (name := names.get(argv[at].upper())) is not None:
        setattr(options, name, True)
        at += 1
    count = len(argv) - at
    if not count or count % 2:
        raise syntax_error()
    if options.only_new and options.only_old:
        raise CommandError("XX and NX options at the same time are not compatible")
    if options.greater + options.less + options.only_new > 1:
        raise CommandError("GT, LT, and/or NX options at the same time are not compatible")
    if options.increment and count > 2:
        raise CommandError("INCR option supports a single increment-element pair")
    return options, at


@command(
    "ZADD",
    group="sorted-set",
    since="1.2.0",
    arity=-4,
    summary="Add one or more members to a sorted set, or update its score if it already exists",
    complexity=(
        "O(log(N)) for each item added, where N is the number of elements in the sorted set."
    ),
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "UPDATE")),),
    args=(
        key(),
        oneof("condition", token("NX"), token("XX"), optional=True, since="3.0.2"),
        oneof("comparison", token("GT"), token("LT"), optional=True, since="6.2.0"),
        token("CH", "change", optional=True, since="3.0.2"),
        token("INCR", "increment", optional=True, since="3.0.2"),
        block("score_member", double("score"), string("member"), multiple=True),
    ),
    reply=one_of(COUNT, DoubleReply(), NullReply()),
    acl_categories=("sortedset",),
    history=(
        ("2.4.0", "Accepts multiple elements."),
        ("3.0.2", "Added the `XX`, `NX`, `CH` and `INCR` options."),
        ("6.2.0", "Added the `GT` and `LT` options."),
    ),
    run=zadd_run,
)
def zadd(ctx: Context, argv: list[bytes]) -> Reply:
    """ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]"""
    if len(argv) == 4:
        _, key, text, member = argv
        # one new score for a set that is there: the usual call
        if text.isdigit() and len(text) <= _DIGITS_MAX:
            score = float(text)
            db = ctx.db
            entry = db.shards[hash(key) & SHARD_MASK].get(key)
            if entry is not None and not entry.expire_at_ms:
                value: Any = entry.value
                if value.__class__ is SortedSet:
                    if not ctx.no_touch:
                        entry.accessed_ms = ctx.now_ms
                    before = value.scores.get(member)
                    if before == score:
                        return ZERO
                    if before is None:
                        value.insert(member, score)
                        if value.packed:
                            keep_packed(ctx, value, member)
                    else:
                        value.move(member, before, score)
                    db.dirty += 1
                    if db.observer is not None:
                        db.observer(db.index, key, "zadd")
                    return ONE if before is None else ZERO
    return _zadd_any(ctx, argv)


def _zadd_any(ctx: Context, argv: list[bytes]) -> Reply:
    options, at = parse_add_options(argv)
    scores = [parse_score(text) for text in argv[at::2]]
    members = argv[at + 1 :: 2]
    if options.increment:
        return _increment(ctx, argv[1], members[0], scores[0], options)
    return add_members(ctx, argv[1], members, scores, options)


def add_members(
    ctx: Context, key: bytes, members: list[bytes], scores: list[float], options: AddOptions
) -> Reply:
    """Add or update members, as far as the options let; how many were added, or changed."""
    value = write_value(ctx, key, SortedSet)
    if value is None:
        if options.only_old:
            return 0
        value = create_value(ctx, key, SortedSet)
    if len(members) > ctx.engine.config.zset_max_listpack_entries:
        value.packed = False
    added = updated = 0
    for member, score in zip(members, scores, strict=True):
        before = value.scores.get(member)
        if before is None:
            if not options.only_old:
                value.insert(member, score)
                added += 1
                if value.packed:
                    keep_packed(ctx, value, member)
        elif before != score and _may_replace(options, before, score):
            value.move(member, before, score)
            updated += 1
    if added or updated:
        ctx.db.changed(key, "zadd")
    return added + updated if options.changed else added


def _may_replace(options: AddOptions, before: float, score: float) -> bool:
    if options.only_new:
        return False
    return not ((options.greater and score <= before) or (options.less and score >= before))


def _increment(
    ctx: Context, key: bytes, member: bytes, increment: float, options: AddOptions
) -> Reply:
    """Add to a member's score; the new one, or null where the options forbid it."""
    value = write_value(ctx, key, SortedSet)
    before = None if value is None else value.scores.get(member)
    if before is None:
        if options.only_old:
            return None
        value = value if value is not None else create_value(ctx, key, SortedSet)
        value.insert(member, increment)
        if value.packed:
            keep_packed(ctx, value, member)
        ctx.db.changed(key, "zincr")
        return score_reply(ctx, increment)
    if options.only_new:
        return None
    score = before + increment
    if score != score:
        raise CommandError(NAN_SCORE)
    if not _may_replace(options, before, score):
        return None
    if score != before and value is not None:
        value.move(member, before, score)
        ctx.db.changed(key, "zincr")
    return score_reply(ctx, score)


@command(
    "ZINCRBY",
    group="sorted-set",
    since="1.2.0",
    arity=4,
    summary="Increment the score of a member in a sorted set",
    complexity="O(log(N)) where N is the number of elements in the sorted set.",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "ACCESS", "UPDATE")),),
    args=(
        key(),
        integer("increment"),
        string("member"),
    ),
    reply=DoubleReply(),
    acl_categories=("sortedset",),
)
def zincrby(ctx: Context, argv: list[bytes]) -> Reply:
    """ZINCRBY key increment member"""
    return _increment(ctx, argv[1], argv[3], parse_score(argv[2]), AddOptions())


@command(
    "ZREM",
    group="sorted-set",
    since="1.2.0",
    arity=-3,
    summary="Remove one or more members from a sorted set",
    complexity=(
        "O(M*log(N)) with N being the number of elements in the sorted set and M the number "
        "of elements to be removed."
    ),
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "DELETE")),),
    args=(
        key(),
        string("member", multiple=True),
    ),
    reply=COUNT,
    acl_categories=("sortedset",),
    history=(("2.4.0", "Accepts multiple elements."),),
)
def zrem(ctx: Context, argv: list[bytes]) -> Reply:
    """ZREM key member [member ...]"""
    key = argv[1]
    value = write_value(ctx, key, SortedSet)
    if value is None:
        return ZERO
    removed = sum([value.remove(member) for member in argv[2:]])
    if removed:
        settle(ctx, key, value, "zrem")
    return removed


@command(
    "ZCARD",
    group="sorted-set",
    since="1.2.0",
    arity=2,
    summary="Get the number of members in a sorted set",
    complexity="O(1)",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(flags=("RO",)),),
    args=(key(),),
    reply=COUNT,
    acl_categories=("sortedset",),
)
def zcard(ctx: Context, argv: list[bytes]) -> Reply:
    """ZCARD key"""
    value = read_value(ctx, argv[1], SortedSet)
    return 0 if value is None else len(value)


@command(
    "ZSCORE",
    group="sorted-set",
    since="1.2.0",
    arity=3,
    summary="Get the score associated with the given member in a sorted set",
    complexity="O(1)",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(),),
    args=(
        key(),
        string("member"),
    ),
    reply=SCORE_OR_NULL,
    acl_categories=("sortedset",),
)
def zscore(ctx: Context, argv: list[bytes]) -> Reply:
    """ZSCORE key member"""
    value = read_value(ctx, argv[1], SortedSet)
    score = None if value is None else value.scores.get(argv[2])
    return None if score is None else score_reply(ctx, score)


@command(
    "ZMSCORE",
    group="sorted-set",
    since="6.2.0",
    arity=-3,
    summary="Get the score associated with the given members in a sorted set",
    complexity="O(N) where N is the number of members being requested.",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(),),
    args=(
        key(),
        string("member", multiple=True),
    ),
    reply=ArrayReply(SCORE_OR_NULL),
    acl_categories=("sortedset",),
)
def zmscore(ctx: Context, argv: list[bytes]) -> Reply:
    """ZMSCORE key member [member ...]"""
    value = read_value(ctx, argv[1], SortedSet)
    if value is None:
        return [None] * (len(argv) - 2)
    found = [value.scores.get(member) for member in argv[2:]]
    return [None if score is None else Double(score) for score in found]


@command(
    "ZCOUNT",
    group="sorted-set",
    since="2.0.0",
    arity=4,
    summary="Count the members in a sorted set with scores within the given values",
    complexity="O(log(N)) with N being the number of elements in the sorted set.",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(),),
    args=(
        key(),
        double("min"),
        double("max"),
    ),
    reply=COUNT,
    acl_categories=("sortedset",),
)
def zcount(ctx: Context, argv: list[bytes]) -> Reply:
    """ZCOUNT key min max"""
    wanted = parse_score_range(argv[2], argv[3])
    value = read_value(ctx, argv[1], SortedSet)
    return 0 if value is None else value.count(value.score_span(wanted))


@command(
    "ZLEXCOUNT",
    group="sorted-set",
    since="2.8.9",
    arity=4,
    summary="Count the number of members in a sorted set between a given lexicographical range",
    complexity="O(log(N)) with N being the number of elements in the sorted set.",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(),),
    args=(
        key(),
        string("min"),
        string("max"),
    ),
    reply=COUNT,
    acl_categories=("sortedset",),
)
def zlexcount(ctx: Context, argv: list[bytes]) -> Reply:
    """ZLEXCOUNT key min max"""
    wanted = parse_lex_range(argv[2], argv[3])
    value = read_value(ctx, argv[1], SortedSet)
    return 0 if value is None else value.count(value.lex_span(wanted))


def _rank_generic(ctx: Context, argv: list[bytes], *, reverse: bool) -> Reply:
    with_score = len(argv) > 3
    if with_score and (len(argv) > 4 or argv[3].upper() != b"WITHSCORE"):
        raise syntax_error()
    value = read_value(ctx, argv[1], SortedSet)
    rank = None if value is None else value.rank(argv[2], reverse=reverse)
    if value is None or rank is None:
        return NULL_ARRAY if with_score else None
    return [rank, Double(value.scores[argv[2]])] if with_score else rank


@command(
    "ZRANK",
    group="sorted-set",
    since="2.0.0",
    arity=-3,
    summary="Determine the index of a member in a sorted set",
    complexity="O(log(N))",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(),),
    args=(
        key(),
        string("member"),
        token("WITHSCORE", optional=True, since="7.2.0"),
    ),
    reply=_RANK,
    acl_categories=("sortedset",),
    history=(("7.2.0", "Added the optional `WITHSCORE` argument."),),
)
def zrank(ctx: Context, argv: list[bytes]) -> Reply:
    """ZRANK key member [WITHSCORE]"""
    return _rank_generic(ctx, argv, reverse=False)


@command(
    "ZREVRANK",
    group="sorted-set",
    since="2.0.0",
    arity=-3,
    summary="Determine the index of a member in a sorted set, with scores ordered from high to low",
    complexity="O(log(N))",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(),),
    args=(
        key(),
        string("member"),
        token("WITHSCORE", optional=True, since="7.2.0"),
    ),
    reply=_RANK,
    acl_categories=("sortedset",),
    history=(("7.2.0", "Added the optional `WITHSCORE` argument."),),
)
def zrevrank(ctx: Context, argv: list[bytes]) -> Reply:
    """ZREVRANK key member [WITHSCORE]"""
    return _rank_generic(ctx, argv, reverse=True)


SPECS = specs_of(
    *(zadd, zincrby, zrem, zcard, zscore, zmscore, zcount, zlexcount, zrank, zrevrank),
)
