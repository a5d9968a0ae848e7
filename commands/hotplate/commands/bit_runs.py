"""Runs of GETBIT, SETBIT and PFADD: what a pipeline of equal plain requests costs least.

As in string_runs: a run handler takes requests that are plain, appends their frames, and leaves
the others to the ordinary handlers, with which it must agree. Requests of a run mostly name one
key, so that it is looked up once.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from hotplate.keyspace.database import SHARD_MASK
from hotplate.keyspace.hyperloglog import add_to_dense, is_sketch, is_sparse
from hotplate.resp.types import ONE, ZERO

if TYPE_CHECKING:
    from hotplate.engine.context import Context

SHORT_OFFSET_DIGITS: Final = 6  # offsets so short are within every setting's limit
_MASKS: Final = (0x80, 0x40, 0x20, 0x10, 8, 4, 2, 1)


def getbit_run(
    ctx: "Context", requests: list[Any], start: int, append: Callable[[Any], object]
) -> int:
    """GETBIT key offset, for strings kept as bytes that don't expire."""
    name = requests[start][0]
    shards = ctx.db.shards
    index = start
    last_key: bytes | None = None
    value: Any = b""
    if ctx.no_touch:
        return start
    for index in range(start, len(requests)):
        argv = requests[index]
        if argv[0] != name or len(argv) != 3:
            break
        _, key, text = argv
        if len(text) > SHORT_OFFSET_DIGITS or not text.isdigit() or (text < b"1" and text != b"0"):
            break
        if key != last_key:
            entry = shards[hash(key) & SHARD_MASK].get(key)
            if entry is None or entry.expire_at_ms:
                break
            value = entry.value
            if value.__class__ is not bytearray and value.__class__ is not bytes:
                break
            entry.accessed_ms = ctx.now_ms
            last_key = key
        offset = int(text)
        at = offset >> 3
        append(ONE if at < len(value) and value[at] & _MASKS[offset & 7] else ZERO)
    else:
        index = len(requests)
    ctx.db.hits += index - start
    return index


def setbit_run(
    ctx: "Context", requests: list[Any], start: int, append: Callable[[Any], object]
) -> int:
    """SETBIT key offset value, for bitmaps that are long enough and don't expire."""
    name = requests[start][0]
    db = ctx.db
    shards = db.shards
    index = start
    last_key: bytes | None = None
    value: Any = b""
    entry: Any = None
    now_ms = ctx.now_ms
    changes = 0
    if db.observer is not None:
        return start
    for index in range(start, len(requests)):
        argv = requests[index]
        if argv[0] != name or len(argv) != 4:
            break
        _, key, text, bit = argv
        if len(text) > SHORT_OFFSET_DIGITS or not text.isdigit() or (text < b"1" and text != b"0"):
            break
        if key != last_key:
            entry = shards[hash(key) & SHARD_MASK].get(key)
            if entry is None or entry.expire_at_ms or entry.value.__class__ is not bytearray:
                break
            value = entry.value
            last_key = key
        offset = int(text)
        at = offset >> 3
        if at >= len(value) or (bit != b"1" and bit != b"0"):
            break
        entry.accessed_ms = now_ms
        mask = _MASKS[offset & 7]
        if value[at] & mask:
            append(ONE)
            if bit == b"0":
                value[at] ^= mask
                changes += 1
        else:
            append(ZERO)
            if bit == b"1":
                value[at] ^= mask
                changes += 1
    else:
        index = len(requests)
    db.dirty += changes
    return index


def pfadd_run(
    ctx: "Context", requests: list[Any], start: int, append: Callable[[Any], object]
) -> int:
    """PFADD key element, for one dense HyperLogLog that doesn't expire."""
    name, key = requests[start][:2]
    db = ctx.db
    entry = db.shards[hash(key) & SHARD_MASK].get(key)
    if db.observer is not None or ctx.no_touch or entry is None or entry.expire_at_ms:
        return start
    value: Any = entry.value
    if value.__class__ is not bytearray or not is_sketch(value) or is_sparse(value):
        return start
    elements: list[bytes] = []
    for index in range(start, len(requests)):
        argv = requests[index]
        if len(argv) != 3 or argv[1] != key or argv[0] != name:
            break
        elements.append(argv[2])
    changes = add_to_dense(value, elements)
    for has_changed in changes:
        append(ONE if has_changed else ZERO)
    db.dirty += changes.count(True)
    entry.accessed_ms = ctx.now_ms
    return start + len(elements)
