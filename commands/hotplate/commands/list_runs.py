"""Runs of LPUSH, RPUSH, LPOP and RPOP: what a pipeline of them on one list costs least.

A run handler takes consecutive requests of its command for one list that exists and doesn't expire,
each with one element, and answers the index after the last one it took (see string_runs). None is
taken where the next request is another command. The ordinary handlers take the rest; the two must
agree.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from hotplate.keyspace.database import SHARD_MASK
from hotplate.keyspace.list import List
from hotplate.resp.encoder import BULK_HEADERS, INTEGERS, bulks
from hotplate.resp.shared import NULL, NULL_BULK

if TYPE_CHECKING:
    from hotplate.engine.context import Context

Append = Callable[[Any], object]

SIZES_END: Final = len(BULK_HEADERS)
_INTEGERS_END: Final = len(INTEGERS)
_LAST_DIGITS: Final = tuple(b"%02d\r\n" % number for number in range(100))


def _find(ctx: "Context", key: bytes) -> List | None:
    """The list at `key`, if nothing about it is special."""
    db = ctx.db
    entry = db.shards[hash(key) & SHARD_MASK].get(key)
    if entry is None or entry.expire_at_ms or ctx.no_touch or db.observer is not None:
        return None
    value = entry.value
    if type(value) is not List:
        return None
    entry.accessed_ms = ctx.now_ms
    return value


def _pushed(requests: list[Any], start: int) -> list[bytes]:
    """The elements of the requests that push one to the same list as the first does."""
    name, key = requests[start][:2]
    elements: list[bytes] = []
    for index in range(start, len(requests)):
        argv = requests[index]
        if len(argv) != 3 or argv[1] != key or argv[0] != name:
            break
        elements.append(argv[2])
    return elements


def lpush_run(ctx: "Context", requests: list[Any], start: int, append: Append) -> int:
    """LPUSH key element."""
    return _push_run(ctx, requests, start, append, at_head=True)


def rpush_run(ctx: "Context", requests: list[Any], start: int, append: Append) -> int:
    """RPUSH key element."""
    return _push_run(ctx, requests, start, append, at_head=False)


def _push_run(
    ctx: "Context", requests: list[Any], start: int, append: Append, *, at_head: bool
) -> int:
    argv = requests[start]
    if len(argv) != 3 or requests[start + 1][0] != argv[0]:
        return start
    value = _find(ctx, argv[1])
    if value is None:
        return start
    elements = _pushed(requests, start)
    first = len(value) + 1
    value.push_singly(elements, at_head, ctx.engine.config.list_max_listpack_size)
    ctx.db.dirty += len(elements)
    append(_ascending(first, first + len(elements)))
    return start + len(elements)


def _ascending(first: int, end: int) -> bytes:
    """The frames of the integers from `first` up to `end`, that one not included."""
    if end <= _INTEGERS_END:
        return b"".join(INTEGERS[first:end])
    hundreds, offset = divmod(first, 100)
    ending = _LAST_DIGITS[offset : offset + end - first]
    if len(ending) < end - first:
        return b"".join([b":%d\r\n" % number for number in range(first, end)])
    return (b":%d" % hundreds).join((b"", *ending))


def lpop_run(ctx: "Context", requests: list[Any], start: int, append: Append) -> int:
    """LPOP key, as long as it leaves an element; or where there is no key."""
    return _pop_run(ctx, requests, start, append, at_head=True)


def rpop_run(ctx: "Context", requests: list[Any], start: int, append: Append) -> int:
    """RPOP key, as long as it leaves an element; or where there is no key."""
    return _pop_run(ctx, requests, start, append, at_head=False)


def _pop_run(
    ctx: "Context", requests: list[Any], start: int, append: Append, *, at_head: bool
) -> int:
    argv = requests[start]
    if len(argv) != 2 or requests[start + 1][0] != argv[0]:
        return start
    value = _find(ctx, argv[1])
    if value is None:
        return absent_run(ctx, requests, start, append)
    length = len(value)
    count = min(count_equal(requests, start), length - 1)
    elements = value.slice(0, count) if at_head else value.slice(length - count, length)
    if not elements or max(map(len, elements)) >= SIZES_END:
        return start
    fill = ctx.engine.config.list_max_listpack_size
    taken = value.take_head(count, fill) if at_head else value.take_tail(count, fill)
    ctx.db.dirty += count
    append(bulks(taken))
    return start + count


def count_equal(requests: list[Any], start: int) -> int:
    """How many requests from `start` on are the same."""
    first = requests[start]
    rest = requests[start:] if start else requests
    if rest.count(first) == len(rest):
        return len(rest)
    return next(index for index, argv in enumerate(rest) if argv != first)


def absent_run(ctx: "Context", requests: list[Any], start: int, append: Append) -> int:
    """Requests that are answered with a null where there is no key, and there is none."""
    if ctx.db.holds(requests[start][1]):
        return start
    count = count_equal(requests, start)
    append((NULL_BULK if ctx.resp == 2 else NULL) * count)
    return start + count
