"""Lists from their ends, and what can be read of them.

Pushes and pops look their key up in place: clients send them most.
"""

from itertools import islice
from typing import Final

from hotplate.commands.list_runs import lpop_run, lpush_run, rpop_run, rpush_run
from hotplate.commands.values import create_value, read_value, settle, write_value
from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.database import SHARD_MASK
from hotplate.keyspace.list import List
from hotplate.resp.encoder import bulk_array, ready
from hotplate.resp.types import EMPTY_ARRAY, NULL_ARRAY, ZERO, Reply
from hotplate.spec.args import (
    INT64_MAX,
    NEGATIVE_COUNT,
    Args,
    parse_int,
    parse_int_between,
    parse_int_from,
    syntax_error,
    wrong_arity,
)
from hotplate.spec.model import Flag, Keys, command, integer, key, specs_of, string
from hotplate.spec.reply import ArrayReply, BulkReply, IntegerReply, NullReply, one_of

ELEMENT_OR_NULL: Final = one_of(BulkReply(), NullReply())
_ELEMENTS: Final = ArrayReply(BulkReply())
_LENGTH: Final = IntegerReply(minimum=0)
_RANK_ZERO: Final = (
    "RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use"
    " negative to start from the end of the list"
)
_PUSH_COMPLEXITY: Final = (
    "O(1) for each element added, so O(N) to add N elements when the command is called with"
    " multiple arguments."
)


def fill_of(ctx: Context) -> int:
    """How large a list may be as a listpack."""
    return ctx.engine.config.list_max_listpack_size


def pop_elements(ctx: Context, key: bytes, value: List, at_head: bool, count: int) -> list[bytes]:
    """Take up to `count` elements, at least one, from an end of the list at `key`, and tell."""
    if at_head:
        taken = value.take_head(count, fill_of(ctx))
        settle(ctx, key, value, "lpop")
    else:
        taken = value.take_tail(count, fill_of(ctx))
        settle(ctx, key, value, "rpop")
    return taken


def push_element(ctx: Context, key: bytes, element: bytes, at_head: bool) -> None:
    """Put an element to an end of the list at `key`, made where there is none, and tell."""
    value = create_value(ctx, key, List)
    if at_head:
        value.push_head((element,), fill_of(ctx))
        ctx.db.changed(key, "lpush")
    else:
        value.push_tail((element,), fill_of(ctx))
        ctx.db.changed(key, "rpush")


def parse_end(word: bytes) -> bool:
    """LEFT or RIGHT, as whether it is the head."""
    word = word.upper()
    if word not in (b"LEFT", b"RIGHT"):
        raise syntax_error()
    return word == b"LEFT"


def slice_bounds(length: int, start: int, stop: int) -> tuple[int, int]:
    """An inclusive range of indexes, negative ones from the end, as start and end of a slice."""
    if start < 0:
        start = max(start + length, 0)
    if stop < 0:
        stop += length
    end = min(stop + 1, length)
    return (start, end) if start < end else (0, 0)


def _is_handed_over(ctx: Context, argv: list[bytes]) -> bool:
    """Whether somebody waited for the one element that is pushed, and has it now."""
    if len(argv) != 3 or ctx.deny_blocking:  # a script or transaction goes on first
        return False
    if not ctx.engine.blocking.hand_over(ctx.db, argv[1], argv[2]):
        return False
    ctx.db.dirty += 3  # it was pushed and popped, and the key is gone
    return True


@command(
    "LPUSH",
    group="list",
    since="1.0.0",
    arity=-3,
    summary="Prepend one or multiple elements to a list",
    complexity=_PUSH_COMPLEXITY,
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "INSERT")),),
    args=(key(), string("element", multiple=True)),
    reply=_LENGTH,
    acl_categories=("list",),
    history=(("2.4.0", "Accepts multiple `element` arguments."),),
    run=lpush_run,
)
def lpush(ctx: Context, argv: list[bytes]) -> Reply:
    """LPUSH key element [element ...]"""
    key = argv[1]
    db = ctx.db
    entry = db.shards[hash(key) & SHARD_MASK].get(key)
    if entry is None or entry.expire_at_ms or type(entry.value) is not List or ctx.no_touch:
        if entry is None and db.observer is not None and _is_handed_over(ctx, argv):
            return 1
        value = create_value(ctx, key, List)
    else:
        value = entry.value
        entry.accessed_ms = ctx.now_ms
    value.push_head(argv[2:], ctx.engine.config.list_max_listpack_size)
    db.dirty += 1
    if db.observer is not None:
        db.observer(db.index, key, "lpush")
    return len(value)


@command(
    "RPUSH",
    group="list",
    since="1.0.0",
    arity=-3,
    summary="Append one or multiple elements to a list",
    complexity=_PUSH_COMPLEXITY,
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "INSERT")),),
    args=(key(), string("element", multiple=True)),
    reply=_LENGTH,
    acl_categories=("list",),
    history=(("2.4.0", "Accepts multiple `element` arguments."),),
    run=rpush_run,
)
def rpush(ctx: Context, argv: list[bytes]) -> Reply:
    """RPUSH key element [element ...]"""
    key = argv[1]
    db = ctx.db
    entry = db.shards[hash(key) & SHARD_MASK].get(key)
    if entry is None or entry.expire_at_ms or type(entry.value) is not List or ctx.no_touch:
        if entry is None and db.observer is not None and _is_handed_over(ctx, argv):
            return 1
        value = create_value(ctx, key, List)
    else:
        value = entry.value
        entry.accessed_ms = ctx.now_ms
    value.push_tail(argv[2:], ctx.engine.config.list_max_listpack_size)
    db.dirty += 1
    if db.observer is not None:
        db.observer(db.index, key, "rpush")
    return len(value)


@command(
    "LPUSHX",
    group="list",
    since="2.2.0",
    arity=-3,
    summary="Prepend an element to a list, only if the list exists",
    complexity=_PUSH_COMPLEXITY,
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "INSERT")),),
    args=(key(), string("element", multiple=True)),
    reply=_LENGTH,
    acl_categories=("list",),
    history=(("4.0.0", "Accepts multiple `element` arguments."),),
)
def lpushx(ctx: Context, argv: list[bytes]) -> Reply:
    """LPUSHX key element [element ...]"""
    value = write_value(ctx, argv[1], List)
    if value is None:
        return ZERO
    value.push_head(argv[2:], fill_of(ctx))
    ctx.db.changed(argv[1], "lpush")
    return len(value)


@command(
    "RPUSHX",
    group="list",
    since="2.2.0",
    arity=-3,
    summary="Append an element to a list, only if the list exists",
    complexity=_PUSH_COMPLEXITY,
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "INSERT")),),
    args=(key(), string("element", multiple=True)),
    reply=_LENGTH,
    acl_categories=("list",),
    history=(("4.0.0", "Accepts multiple `element` arguments."),),
)
def rpushx(ctx: Context, argv: list[bytes]) -> Reply:
    """RPUSHX key element [element ...]"""
    value = write_value(ctx, argv[1], List)
    if value is None:
        return ZERO
    value.push_tail(argv[2:], fill_of(ctx))
    ctx.db.changed(argv[1], "rpush")
    return len(value)


@command(
    "LPOP",
    group="list",
    since="1.0.0",
    arity=-2,
    summary="Remove and get the first elements in a list",
    complexity="O(N) where N is the number of elements returned",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "ACCESS", "DELETE")),),
    args=(key(), integer("count", optional=True, since="6.2.0")),
    reply=one_of(BulkReply(), NullReply(), _ELEMENTS),
    acl_categories=("list",),
    history=(("6.2.0", "Added the `count` argument."),),
    run=lpop_run,
)
def lpop(ctx: Context, argv: list[bytes]) -> Reply:
    """LPOP key [count]"""
    if len(argv) != 2:
        return _pop_count(ctx, argv, b"lpop")
    key = argv[1]
    entry = ctx.db.shards[hash(key) & SHARD_MASK].get(key)
    if entry is None:
        return None
    if entry.expire_at_ms or type(entry.value) is not List or ctx.no_touch:
        value = write_value(ctx, key, List)
        if value is None:
            return None
    else:
        value = entry.value
        entry.accessed_ms = ctx.now_ms
    element = value.pop_head(ctx.engine.config.list_max_listpack_size)
    settle(ctx, key, value, "lpop")
    return element


@command(
    "RPOP",
    group="list",
    since="1.0.0",
    arity=-2,
    summary="Remove and get the last elements in a list",
    complexity="O(N) where N is the number of elements returned",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "ACCESS", "DELETE")),),
    args=(key(), integer("count", optional=True, since="6.2.0")),
    reply=one_of(BulkReply(), NullReply(), _ELEMENTS),
    acl_categories=("list",),
    history=(("6.2.0", "Added the `count` argument."),),
    run=rpop_run,
)
def rpop(ctx: Context, argv: list[bytes]) -> Reply:
    """RPOP key [count]"""
    if len(argv) != 2:
        return _pop_count(ctx, argv, b"rpop")
    key = argv[1]
    entry = ctx.db.shards[hash(key) & SHARD_MASK].get(key)
    if entry is None:
        return None
    if entry.expire_at_ms or type(entry.value) is not List or ctx.no_touch:
        value = write_value(ctx, key, List)
        if value is None:
            return None
    else:
        value = entry.value
        entry.accessed_ms = ctx.now_ms
    element = value.pop_tail(ctx.engine.config.list_max_listpack_size)
    settle(ctx, key, value, "rpop")
    return element


def _pop_count(ctx: Context, argv: list[bytes], name: bytes) -> Reply:
    if len(argv) > 3:
        raise wrong_arity(name)
    count = parse_int_from(argv[2], 0, NEGATIVE_COUNT)
    value = write_value(ctx, argv[1], List)
    if value is None:
        return NULL_ARRAY
    if not count:
        return EMPTY_ARRAY
    return pop_elements(ctx, argv[1], value, name == b"lpop", count)


@command(
    "LLEN",
    group="list",
    since="1.0.0",
    arity=2,
    summary="Get the length of a list",
    complexity="O(1)",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(flags=("RO",)),),
    args=(key(),),
    reply=_LENGTH,
    acl_categories=("list",),
)
def llen(ctx: Context, argv: list[bytes]) -> Reply:
    """LLEN key"""
    value = read_value(ctx, argv[1], List)
    return ZERO if value is None else len(value)


@command(
    "LRANGE",
    group="list",
    since="1.0.0",
    arity=4,
    summary="Get a range of elements from a list",
    complexity=(
        "O(S+N) where S is the distance of start offset from HEAD for small lists, from nearest"
        " end (HEAD or TAIL) for large lists; and N is the number of elements in the specified"
        " range."
    ),
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(key(), integer("start"), integer("stop")),
    reply=_ELEMENTS,
    acl_categories=("list",),
)
def lrange(ctx: Context, argv: list[bytes]) -> Reply:
    """LRANGE key start stop"""
    start, stop = parse_int(argv[2]), parse_int(argv[3])
    value = read_value(ctx, argv[1], List)
    if value is None:
        return EMPTY_ARRAY
    return ready(bulk_array(value.slice(*slice_bounds(len(value), start, stop))))


@command(
    "LINDEX",
    group="list",
    since="1.0.0",
    arity=3,
    summary="Get an element from a list by its index",
    complexity=(
        "O(N) where N is the number of elements to traverse to get to the element at index. This"
        " makes asking for the first or the last element of the list O(1)."
    ),
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(key(), integer("index")),
    reply=ELEMENT_OR_NULL,
    acl_categories=("list",),
)
def lindex(ctx: Context, argv: list[bytes]) -> Reply:
    """LINDEX key index"""
    value = read_value(ctx, argv[1], List)
    if value is None:
        return None
    index = parse_int(argv[2])
    if index < 0:
        index += len(value)
    return value.get(index) if 0 <= index < len(value) else None


@command(
    "LPOS",
    group="list",
    since="6.0.6",
    arity=-3,
    summary="Return the index of matching elements on a list",
    complexity=(
        "O(N) where N is the number of elements in the list, for the average case. When searching"
        " for elements near the head or the tail of the list, or when the MAXLEN option is"
        " provided, the command may run in constant time."
    ),
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(
        key(),
        string("element"),
        integer("rank", token="RANK", optional=True),
        integer("num-matches", token="COUNT", optional=True),
        integer("len", token="MAXLEN", optional=True),
    ),
    reply=one_of(_LENGTH, NullReply(), ArrayReply(_LENGTH)),
    acl_categories=("list",),
)
def lpos(ctx: Context, argv: list[bytes]) -> Reply:
    """LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len]"""
    rank, count, compared_max = 1, -1, 0
    args = Args(argv, 3)
    while args:
        word = args.take_word()
        if word == b"RANK" and args:
            rank = parse_int_between(args.take(), -INT64_MAX, INT64_MAX)
            if rank == 0:
                raise CommandError(_RANK_ZERO)
        elif word == b"COUNT" and args:
            count = parse_int_from(args.take(), 0, "COUNT can't be negative")
        elif word == b"MAXLEN" and args:
            compared_max = parse_int_from(args.take(), 0, "MAXLEN can't be negative")
        else:
            raise syntax_error()
    value = read_value(ctx, argv[1], List)
    if value is None:
        return None if count < 0 else EMPTY_ARRAY
    find = value.positions if rank > 0 else value.last_positions
    found = find(argv[2], compared_max or len(value))
    skipped = abs(rank) - 1
    if count < 0:
        return next(islice(found, skipped, None), None)
    return list(islice(found, skipped, skipped + count if count else None))


SPECS = specs_of(lpush, rpush, lpushx, rpushx, lpop, rpop, llen, lrange, lindex, lpos)
