"""ZUNION, ZINTER, ZDIFF and their kin: sorted sets made of others, or of plain sets."""

from dataclasses import dataclass, field
from typing import Final

from hotplate.commands.sorted_set_forms import (
    COUNT,
    MEMBERS,
    PAIRS,
    pairs_reply,
    parse_score,
    store_result,
)
from hotplate.commands.values import read_entry
from hotplate.engine.context import Context
from hotplate.errors import CommandError, WrongTypeError
from hotplate.keyspace.score_algebra import (
    Aggregate,
    EvenScores,
    Scores,
    add,
    difference,
    higher,
    in_order,
    intersection,
    intersection_size,
    lower,
    union,
)
from hotplate.keyspace.set import Set
from hotplate.keyspace.sorted_set import SortedSet
from hotplate.resp.types import Reply
from hotplate.spec.args import NEGATIVE_LIMIT, Args, parse_int, parse_int_from, syntax_error
from hotplate.spec.model import Flag, Keys, command, integer, key, oneof, specs_of, token
from hotplate.spec.reply import one_of

_MEMBERS_OR_PAIRS: Final = one_of(MEMBERS, PAIRS)
_AGGREGATES: Final[dict[bytes, Aggregate]] = {b"SUM": add, b"MIN": lower, b"MAX": higher}


@dataclass(slots=True)
class AlgebraOptions:
    """What a command was told about its sources and its result."""

    weights: list[float] = field(default_factory=list)
    aggregate: Aggregate = add
    with_scores: bool = False


def _take_sources(ctx: Context, args: Args, name: bytes) -> list[Scores]:
    """numkeys key [key ...]: what is stored there; nothing counts as an empty set."""
    key_count = parse_int(args.take())
    if key_count < 1:
        raise CommandError(b"at least 1 input key is needed for '%b' command" % name)
    return [_scores_of(ctx, name) for name in args.take_many(key_count)]


def _scores_of(ctx: Context, key: bytes) -> Scores:
    entry = read_entry(ctx, key)
    if entry is None:
        return {}
    value = entry.value
    if isinstance(value, SortedSet):
        return value.scores
    if isinstance(value, Set):
        return EvenScores(value.table)
    raise WrongTypeError


def _parse_options(args: Args, key_count: int, *, weighted: bool, store: bool) -> AlgebraOptions:
    options = AlgebraOptions([1.0] * key_count)
    while args:
        word = args.take_word()
        if word == b"WEIGHTS" and weighted and len(args) >= key_count:
            texts = args.take_many(key_count)
            options.weights = [parse_score(text, "weight value is not a float") for text in texts]
        elif word == b"AGGREGATE" and weighted and args:
            aggregate = _AGGREGATES.get(args.take_word())
            if aggregate is None:
                raise syntax_error()
            options.aggregate = aggregate
        elif word == b"WITHSCORES" and not store:
            options.with_scores = True
        else:
            raise syntax_error()
    return options


def _combine(ctx: Context, argv: list[bytes], operation: bytes, *, store: bool) -> Reply:
    name = argv[0].lower()
    args = Args(argv, 2 if store else 1)
    tables = _take_sources(ctx, args, name)
    weighted = operation != b"diff"
    options = _parse_options(args, len(tables), weighted=weighted, store=store)
    if operation == b"diff":
        found = difference(tables[0], tables[1:])
    else:
        sources = zip(tables, options.weights, strict=True)
        combine = union if operation == b"union" else intersection
        found = combine(sources, options.aggregate)
    members, scores = in_order(found)
    if store:
        result = SortedSet.of_ordered(members, scores)
        return store_result(ctx, argv[1], result, name.decode())
    return pairs_reply(ctx, members, scores) if options.with_scores else members


@command(
    "ZUNION",
    group="sorted-set",
    since="6.2.0",
    arity=-3,
    summary="Add multiple sorted sets",
    complexity=(
        "O(N)+O(M*log(M)) with N being the sum of the sizes of the input sorted sets, and M "
        "being the number of elements in the resulting sorted set."
    ),
    flags=Flag.READONLY | Flag.MOVABLEKEYS,
    keys=(Keys(key_number=0),),
    args=(
        integer("numkeys"),
        key(multiple=True),
        integer("weight", token="WEIGHTS", optional=True, multiple=True),
        oneof(
            "aggregate", token("SUM"), token("MIN"), token("MAX"), token="AGGREGATE", optional=True
        ),
        token("WITHSCORES", optional=True),
    ),
    reply=_MEMBERS_OR_PAIRS,
    acl_categories=("sortedset",),
)
def zunion(ctx: Context, argv: list[bytes]) -> Reply:
    """ZUNION numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]"""
    return _combine(ctx, argv, b"union", store=False)


@command(
    "ZUNIONSTORE",
    group="sorted-set",
    since="2.0.0",
    arity=-4,
    summary="Add multiple sorted sets and store the resulting sorted set in a new key",
    complexity=(
        "O(N)+O(M log(M)) with N being the sum of the sizes of the input sorted sets, and M "
        "being the number of elements in the resulting sorted set."
    ),
    flags=Flag.WRITE | Flag.DENYOOM | Flag.MOVABLEKEYS,
    keys=(Keys(flags=("OW", "UPDATE")), Keys(begin=2, key_number=0)),
    args=(
        key("destination"),
        integer("numkeys"),
        key(index=1, multiple=True),
        integer("weight", token="WEIGHTS", optional=True, multiple=True),
        oneof(
            "aggregate", token("SUM"), token("MIN"), token("MAX"), token="AGGREGATE", optional=True
        ),
    ),
    reply=COUNT,
    acl_categories=("sortedset",),
)
def zunionstore(ctx: Context, argv: list[bytes]) -> Reply:
    """ZUNIONSTORE destination numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE ...]"""
    return _combine(ctx, argv, b"union", store=True)


@command(
    "ZINTER",
    group="sorted-set",
    since="6.2.0",
    arity=-3,
    summary="Intersect multiple sorted sets",
    complexity=(
        "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being "
        "the number of input sorted sets and M being the number of elements in the resulting "
        "sorted set."
    ),
    flags=Flag.READONLY | Flag.MOVABLEKEYS,
    keys=(Keys(key_number=0),),
    args=(
        integer("numkeys"),
        key(multiple=True),
        integer("weight", token="WEIGHTS", optional=True, multiple=True),
        oneof(
            "aggregate", token("SUM"), token("MIN"), token("MAX"), token="AGGREGATE", optional=True
        ),
        token("WITHSCORES", optional=True),
    ),
    reply=_MEMBERS_OR_PAIRS,
    acl_categories=("sortedset",),
)
def zinter(ctx: Context, argv: list[bytes]) -> Reply:
    """ZINTER numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]"""
    return _combine(ctx, argv, b"inter", store=False)


@command(
    "ZINTERSTORE",
    group="sorted-set",
    since="2.0.0",
    arity=-4,
    summary="Intersect multiple sorted sets and store the resulting sorted set in a new key",
    complexity=(
        "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being "
        "the number of input sorted sets and M being the number of elements in the resulting "
        "sorted set."
    ),
    flags=Flag.WRITE | Flag.DENYOOM | Flag.MOVABLEKEYS,
    keys=(Keys(flags=("OW", "UPDATE")), Keys(begin=2, key_number=0)),
    args=(
        key("destination"),
        integer("numkeys"),
        key(index=1, multiple=True),
        integer("weight", token="WEIGHTS", optional=True, multiple=True),
        oneof(
            "aggregate", token("SUM"), token("MIN"), token("MAX"), token="AGGREGATE", optional=True
        ),
    ),
    reply=COUNT,
    acl_categories=("sortedset",),
)
def zinterstore(ctx: Context, argv: list[bytes]) -> Reply:
    """ZINTERSTORE destination numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE ...]"""
    return _combine(ctx, argv, b"inter", store=True)


@command(
    "ZDIFF",
    group="sorted-set",
    since="6.2.0",
    arity=-3,
    summary="Subtract multiple sorted sets",
    complexity=(
        "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the "
        "sets, N is the size of the first set, and K is the size of the result set."
    ),
    flags=Flag.READONLY | Flag.MOVABLEKEYS,
    keys=(Keys(key_number=0),),
    args=(
        integer("numkeys"),
        key(multiple=True),
        token("WITHSCORES", optional=True),
    ),
    reply=_MEMBERS_OR_PAIRS,
    acl_categories=("sortedset",),
)
def zdiff(ctx: Context, argv: list[bytes]) -> Reply:
    """ZDIFF numkeys key [key ...] [WITHSCORES]"""
    return _combine(ctx, argv, b"diff", store=False)


@command(
    "ZDIFFSTORE",
    group="sorted-set",
    since="6.2.0",
    arity=-4,
    summary="Subtract multiple sorted sets and store the resulting sorted set in a new key",
    complexity=(
        "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the "
        "sets, N is the size of the first set, and K is the size of the result set."
    ),
    flags=Flag.WRITE | Flag.DENYOOM | Flag.MOVABLEKEYS,
    keys=(Keys(flags=("OW", "UPDATE")), Keys(begin=2, key_number=0)),
    args=(
        key("destination"),
        integer("numkeys"),
        key(index=1, multiple=True),
    ),
    reply=COUNT,
    acl_categories=("sortedset",),
)
def zdiffstore(ctx: Context, argv: list[bytes]) -> Reply:
    """ZDIFFSTORE destination numkeys key [key ...]"""
    return _combine(ctx, argv, b"diff", store=True)


@command(
    "ZINTERCARD",
    group="sorted-set",
    since="7.0.0",
    arity=-3,
    summary="Intersect multiple sorted sets and return the cardinality of the result",
    complexity=(
        "O(N*K) worst case with N being the smallest input sorted set, K being the number of "
        "input sorted sets."
    ),
    flags=Flag.READONLY | Flag.MOVABLEKEYS,
    keys=(Keys(key_number=0),),
    args=(
        integer("numkeys"),
        key(multiple=True),
        integer("limit", token="LIMIT", optional=True),
    ),
    reply=COUNT,
    acl_categories=("sortedset",),
)
def zintercard(ctx: Context, argv: list[bytes]) -> Reply:
    """ZINTERCARD numkeys key [key ...] [LIMIT limit]"""
    args = Args(argv, 1)
    tables = _take_sources(ctx, args, b"zintercard")
    limit = 0
    while args:
        if not args.accept(b"LIMIT") or not args:
            raise syntax_error()
        limit = parse_int_from(args.take(), 0, NEGATIVE_LIMIT)
    return intersection_size(tables, limit)


SPECS = specs_of(
    *(zunion, zunionstore, zinter, zinterstore, zdiff, zdiffstore, zintercard),
)
