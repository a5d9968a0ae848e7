"""What the commands of every type share: finding a key's value, and settling what they did to it.

A handler parses and checks all its arguments, finds its value here, changes it through the type's
own methods, and settles. Values know no key and no client; this module knows no type.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from hotplate.engine.context import Context
from hotplate.errors import WrongTypeError
from hotplate.keyspace.database import SHARD_MASK
from hotplate.keyspace.entry import Collection, Entry
from hotplate.resp.types import NULL_ARRAY, Reply

# of the commands that may block
TIMEOUT_HISTORY: Final = (("6.0.0", "`timeout` is interpreted as a double instead of an integer."),)

CollectionType = TypeVar("CollectionType", bound=Collection)


def read_entry(ctx: Context, key: bytes) -> Entry | None:
    """The entry of a key that is read, which counts as a use of it."""
    entry = ctx.db.lookup(key, ctx.now_ms)
    if entry is not None and not ctx.no_touch:
        entry.accessed_ms = ctx.now_ms
    return entry


def read_value(ctx: Context, key: bytes, kind: type[CollectionType]) -> CollectionType | None:
    """The collection that is read, None where there is no key. WrongTypeError for another type."""
    db = ctx.db
    entry = db.shards[hash(key) & SHARD_MASK].get(key)
    if entry is None or entry.expire_at_ms:
        entry = read_entry(ctx, key)
        if entry is None:
            return None
    else:  # the usual key, found without a further call
        db.hits += 1
        if not ctx.no_touch:
            entry.accessed_ms = ctx.now_ms
    value: Any = entry.value
    if type(value) is not kind:
        raise WrongTypeError
    return value


def write_value(ctx: Context, key: bytes, kind: type[CollectionType]) -> CollectionType | None:
    """The collection that is changed, None where there is no key. WrongTypeError for another type.

    Not counted as a hit or a miss.
    """
    entry = ctx.db.shards[hash(key) & SHARD_MASK].get(key)
    if entry is None:
        return None
    if entry.expire_at_ms:
        entry = ctx.db.lookup_write(key, ctx.now_ms)
        if entry is None:
            return None
    value: Any = entry.value
    if type(value) is not kind:
        raise WrongTypeError
    if not ctx.no_touch:
        entry.accessed_ms = ctx.now_ms
    return value


def create_value(ctx: Context, key: bytes, kind: type[CollectionType]) -> CollectionType:
    """The collection that is changed, made and stored where there is none. Something must go in."""
    value = write_value(ctx, key, kind)
    if value is None:
        value = kind()
        ctx.db.assign(key, value, ctx.now_ms)
    return value


def first_or_wait(
    ctx: Context,
    keys: list[bytes],
    kind: type[Collection],
    attempt: Callable[[Context, bytes], Reply],
    *,
    timeout_ms: int,
    takes_one: bool = False,
) -> Reply:
    """What `attempt` gets of the first of `keys` that has something, now or later.

    It answers None where there is no key, and raises WrongTypeError: at once, but not of a key that
    came to hold another type while the client waited. Who gets nothing of a key leaves nothing for
    others of that kind.
    """
    shards = ctx.db.shards
    for key in keys:
        if key in shards[hash(key) & SHARD_MASK]:
            found = attempt(ctx, key)
            if found is not None:
                return found
    return ctx.engine.blocking.wait(
        ctx,
        keys,
        attempt,
        timeout_ms=timeout_ms,
        nothing=NULL_ARRAY,
        share=kind,
        kind=kind,
        takes_one=takes_one,
    )


def settle(ctx: Context, key: bytes, value: Collection, event: str) -> None:
    """Tell that `key` changed. A collection that lost its last element goes, and that is told."""
    ctx.db.changed(key, event)
    if not value:
        ctx.db.delete(key)
        ctx.db.changed(key, "del")
