"""Several sets at once: intersections, unions and differences, read, counted or stored.

All keys are looked at before anything else: another type among them is refused even where another
key is missing.
"""

from collections.abc import Iterable, Iterator
from itertools import chain, filterfalse, islice
from typing import Final

from hotplate.commands.sets import COUNT, MEMBERS
from hotplate.commands.values import read_value
from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.set import INTSET, Set
from hotplate.resp import types
from hotplate.resp.types import ZERO, Reply
from hotplate.spec.args import NEGATIVE_LIMIT, NO_KEY_NUMBER, Args, parse_int_from, syntax_error
from hotplate.spec.model import Flag, Keys, command, integer, key, specs_of
from hotplate.spec.reply import IntegerReply

_INTERSECTION_COMPLEXITY: Final = (
    "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets."
)
_TOTAL_COMPLEXITY: Final = "O(N) where N is the total number of elements in all given sets."


def _read_sets(ctx: Context, keys: list[bytes]) -> list[Set | None]:
    return [read_value(ctx, name, Set) for name in keys]


def _smallest_first(values: list[Set | None]) -> list[Set]:
    """The sets to intersect; none where the intersection is empty for want of a key."""
    present = [value for value in values if value is not None]
    return sorted(present, key=len) if len(present) == len(values) else []


def _intersect(ordered: list[Set]) -> Iterator[bytes]:
    """Members that all have, found one by one."""
    if not ordered:
        return iter(())
    found = iter(ordered[0])
    for value in ordered[1:]:
        found = filter(value.contains, found)
    return found


def _unite(values: list[Set | None]) -> Iterable[bytes]:
    """Members that any has."""
    return dict.fromkeys(chain.from_iterable(value for value in values if value is not None))


def _subtract(values: list[Set | None]) -> Iterable[bytes]:
    """Members of the first that no other has."""
    first = values[0]
    others = [value for value in values[1:] if value is not None]
    if first is None or any(value is first for value in others):
        return ()
    if sum(map(len, others)) < len(first):
        kept = dict.fromkeys(first)
        for member in chain.from_iterable(others):
            kept.pop(member, None)
        return kept
    found = iter(first)
    for value in sorted(others, key=len, reverse=True):
        found = filterfalse(value.contains, found)
    return found


def _store(ctx: Context, key: bytes, members: Iterable[bytes], first: bytes, event: str) -> Reply:
    """Store the outcome, which began as a set of encoding `first`; an empty one deletes the key."""
    outcome = Set()
    outcome.take_over(members, first, ctx.engine.config)
    db = ctx.db
    is_there = db.lookup_write(key, ctx.now_ms) is not None
    if outcome:
        db.assign(key, outcome, ctx.now_ms)
        db.changed(key, event)
    elif is_there:
        db.delete(key)
        db.changed(key, "del")
    return len(outcome)


@command(
    "SINTER",
    group="set",
    since="1.0.0",
    arity=-2,
    summary="Intersect multiple sets",
    complexity=_INTERSECTION_COMPLEXITY,
    flags=Flag.READONLY,
    keys=(Keys(last=-1),),
    args=(key(multiple=True),),
    reply=MEMBERS,
    acl_categories=("set",),
    tips=("nondeterministic_output_order",),
)
def sinter(ctx: Context, argv: list[bytes]) -> Reply:
    """SINTER key [key ...]"""
    return types.Set(_intersect(_smallest_first(_read_sets(ctx, argv[1:]))))


@command(
    "SINTERSTORE",
    group="set",
    since="1.0.0",
    arity=-3,
    summary="Intersect multiple sets and store the resulting set in a key",
    complexity=_INTERSECTION_COMPLEXITY,
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(Keys(flags=("RW", "UPDATE")), Keys(begin=2, last=-1)),
    args=(key("destination"), key(index=1, multiple=True)),
    reply=COUNT,
    acl_categories=("set",),
)
def sinterstore(ctx: Context, argv: list[bytes]) -> Reply:
    """SINTERSTORE destination key [key ...]"""
    ordered = _smallest_first(_read_sets(ctx, argv[2:]))
    first = ordered[0].encoding() if ordered else INTSET
    return _store(ctx, argv[1], _intersect(ordered), first, "sinterstore")


@command(
    "SINTERCARD",
    group="set",
    since="7.0.0",
    arity=-3,
    summary="Intersect multiple sets and return the cardinality of the result",
    complexity=_INTERSECTION_COMPLEXITY,
    flags=Flag.READONLY | Flag.MOVABLEKEYS,
    keys=(Keys(key_number=0),),
    args=(
        integer("numkeys"),
        key(multiple=True),
        integer("limit", token="LIMIT", optional=True),
    ),
    reply=IntegerReply(minimum=0),
    acl_categories=("set",),
)
def sintercard(ctx: Context, argv: list[bytes]) -> Reply:
    """SINTERCARD numkeys key [key ...] [LIMIT limit]: counts no further than the limit, 0: none"""
    args = Args(argv)
    key_count = parse_int_from(args.take(), 1, NO_KEY_NUMBER)
    if key_count > len(args):
        raise CommandError("Number of keys can't be greater than number of args")
    keys = args.take_many(key_count)
    limit = 0
    while args:
        if not args.accept(b"LIMIT") or not args:
            raise syntax_error()
        limit = parse_int_from(args.take(), 0, NEGATIVE_LIMIT)
    ordered = _smallest_first(_read_sets(ctx, keys))
    if not ordered:
        return ZERO
    if len(ordered) == 1:
        return min(len(ordered[0]), limit or len(ordered[0]))
    return sum(1 for _ in islice(_intersect(ordered), min(limit, len(ordered[0])) or None))


@command(
    "SUNION",
    group="set",
    since="1.0.0",
    arity=-2,
    summary="Add multiple sets",
    complexity=_TOTAL_COMPLEXITY,
    flags=Flag.READONLY,
    keys=(Keys(last=-1),),
    args=(key(multiple=True),),
    reply=MEMBERS,
    acl_categories=("set",),
    tips=("nondeterministic_output_order",),
)
def sunion(ctx: Context, argv: list[bytes]) -> Reply:
    """SUNION key [key ...]"""
    return types.Set(_unite(_read_sets(ctx, argv[1:])))


@command(
    "SUNIONSTORE",
    group="set",
    since="1.0.0",
    arity=-3,
    summary="Add multiple sets and store the resulting set in a key",
    complexity=_TOTAL_COMPLEXITY,
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(Keys(flags=("OW", "UPDATE")), Keys(begin=2, last=-1)),
    args=(key("destination"), key(index=1, multiple=True)),
    reply=COUNT,
    acl_categories=("set",),
)
def sunionstore(ctx: Context, argv: list[bytes]) -> Reply:
    """SUNIONSTORE destination key [key ...]"""
    members = _unite(_read_sets(ctx, argv[2:]))
    return _store(ctx, argv[1], members, INTSET, "sunionstore")


@command(
    "SDIFF",
    group="set",
    since="1.0.0",
    arity=-2,
    summary="Subtract multiple sets",
    complexity=_TOTAL_COMPLEXITY,
    flags=Flag.READONLY,
    keys=(Keys(last=-1),),
    args=(key(multiple=True),),
    reply=MEMBERS,
    acl_categories=("set",),
    tips=("nondeterministic_output_order",),
)
def sdiff(ctx: Context, argv: list[bytes]) -> Reply:
    """SDIFF key [key ...]"""
    return types.Set(_subtract(_read_sets(ctx, argv[1:])))


@command(
    "SDIFFSTORE",
    group="set",
    since="1.0.0",
    arity=-3,
    summary="Subtract multiple sets and store the resulting set in a key",
    complexity=_TOTAL_COMPLEXITY,
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(Keys(flags=("OW", "UPDATE")), Keys(begin=2, last=-1)),
    args=(key("destination"), key(index=1, multiple=True)),
    reply=COUNT,
    acl_categories=("set",),
)
def sdiffstore(ctx: Context, argv: list[bytes]) -> Reply:
    """SDIFFSTORE destination key [key ...]"""
    members = _subtract(_read_sets(ctx, argv[2:]))
    return _store(ctx, argv[1], members, INTSET, "sdiffstore")


SPECS = specs_of(sinter, sinterstore, sintercard, sunion, sunionstore, sdiff, sdiffstore)
