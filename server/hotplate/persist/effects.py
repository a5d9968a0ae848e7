"""What each command that writes is logged as: the table, and the plain forms.

    AS_SENT        the request itself, if it changed its database
    ANY_DATABASE   the same, if it changed any database
    ALWAYS         the request itself, if it was not refused
    TELLS          nothing here: its handler tells what came of it (keyspace.journal)
    ELSEWHERE      nothing: the KV cache keeps its own journal
    a function     (ctx, argv, reply) -> requests: what came of it, if it changed its database

A request may be logged as sent if it does the same to the same data at the same time of the clock:
nothing random, nothing relative to a time, nothing that depends on the order of a set, on how a
value is laid out, or on settings. Relative times are replaced though loading knows the time: Redis
does not.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from hotplate.engine.context import Context
from hotplate.keyspace.bucket_entry import FadingEntry
from hotplate.keyspace.database import SHARD_MASK
from hotplate.keyspace.deadlines import NEVER_MS
from hotplate.keyspace.entry import Entry, string_of
from hotplate.persist import effects_hashes as hashes
from hotplate.persist import effects_limits as rates
from hotplate.persist import effects_pops as pops
from hotplate.persist import effects_streams as streams

Requests: TypeAlias = list[list[bytes]]
Translator: TypeAlias = Callable[[Context, list[Any], Any], Requests]


class Plain:
    """An effect that is the request itself, or nothing."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


AS_SENT: Final = Plain("as sent")
ANY_DATABASE: Final = Plain("any database")
ALWAYS: Final = Plain("always")
TELLS: Final = Plain("tells")
ELSEWHERE: Final = Plain("elsewhere")


def _entry(ctx: Context, key: bytes) -> Entry | None:
    return ctx.db.shards[hash(key) & SHARD_MASK].get(key)


def _expiry_of(ctx: Context, argv: list[bytes], reply: Any) -> Requests:
    """EXPIRE and its like, GETEX: the key's expiry as it is now."""
    key = argv[1]
    entry = _entry(ctx, key)
    if entry is None:
        return [[b"DEL", key]]
    at_ms = entry.expire_at_ms
    if isinstance(entry, FadingEntry) and entry.own_ms < NEVER_MS:
        at_ms = entry.own_ms  # what was asked for, though the bucket may be empty before
    if not at_ms:
        return [[b"PERSIST", key]]
    return [[b"PEXPIREAT", key, b"%d" % at_ms]]


def _set(ctx: Context, argv: list[bytes], reply: Any) -> Requests:
    """SET with options: the value, and the expiry as it is now."""
    if len(argv) == 3:
        return [argv]
    key, value = argv[1], argv[2]
    entry = _entry(ctx, key)
    if entry is None:  # set to expire in the past
        return [[b"DEL", key]]
    if entry.expire_at_ms:
        return [[b"SET", key, value, b"PXAT", b"%d" % entry.expire_at_ms]]
    return [[b"SET", key, value]]


def _setex(ctx: Context, argv: list[bytes], reply: Any) -> Requests:
    return _set(ctx, [b"SET", argv[1], argv[3], b"PX"], reply)


def _incrbyfloat(ctx: Context, argv: list[bytes], reply: Any) -> Requests:
    entry = _entry(ctx, argv[1])
    assert entry is not None
    return [[b"SET", argv[1], string_of(entry.value), b"KEEPTTL"]]


def _increx(ctx: Context, argv: list[bytes], reply: Any) -> Requests:
    entry = _entry(ctx, argv[1])
    if entry is None:
        return [[b"DEL", argv[1]]]
    return _set(ctx, [b"SET", argv[1], string_of(entry.value), b"PX"], reply)


def _sort(ctx: Context, argv: list[bytes], reply: Any) -> Requests:
    """SORT STORE: what is stored; ties may stand in any order."""
    store = next(
        key
        for word, key in zip(argv[-2:1:-1], argv[:2:-1], strict=False)
        if word.upper() == b"STORE"
    )
    entry = _entry(ctx, store)
    requests = [[b"DEL", store]]
    if entry is not None:
        requests.append([b"RPUSH", store, *entry.value])  # type: ignore[misc]  # a list
    return requests


def _restore(ctx: Context, argv: list[bytes], reply: Any) -> Requests:
    key = argv[1]
    entry = _entry(ctx, key)
    if entry is None:
        return [[b"DEL", key]]
    return [
        [b"RESTORE", key, b"%d" % entry.expire_at_ms, argv[3], b"REPLACE", b"ABSTTL"],
    ]


def _all(effect: Plain, names: str) -> dict[str, "Plain | Translator"]:
    return dict.fromkeys(names.split(), effect)


EFFECTS: Final[Mapping[str, Plain | Translator]] = {
    **_all(AS_SENT, "unlink del rename renamenx persist setnx getset getdel mset msetnx append"),
    **_all(AS_SENT, "setrange incr decr incrby decrby hset hmset hsetnx hdel hincrby hpersist"),
    **_all(AS_SENT, "lpush rpush lpushx rpushx lpop rpop lset linsert lrem ltrim lmove rpoplpush"),
    **_all(AS_SENT, "lmpop sadd srem smove sinterstore sunionstore sdiffstore geoadd georadius"),
    **_all(AS_SENT, "georadiusbymember geosearchstore zadd zincrby zrem zrangestore zmpop"),
    **_all(AS_SENT, "zremrangebyrank zremrangebyscore zremrangebylex zpopmin zpopmax zunionstore"),
    **_all(AS_SENT, "zinterstore zdiffstore setbit bitop bitfield pfadd pfmerge pfdebug"),
    **_all(AS_SENT, "xsetid xcfgset xdel xdelex xack xackdel lb.reset"),
    **_all(AS_SENT, "xgroup|create xgroup|setid xgroup|destroy xgroup|createconsumer"),
    **_all(AS_SENT, "xgroup|delconsumer xgroup|policy"),
    **_all(ANY_DATABASE, "copy move flushdb flushall swapdb"),
    **_all(ALWAYS, "function|load function|delete function|restore function|flush"),
    **_all(TELLS, "xreadgroup xnack xrelease"),
    **_all(ELSEWHERE, "kvc.storage|add kvc.storage|update kvc.storage|enable kvc.storage|disable"),
    **_all(ELSEWHERE, "kvc.storage|remove kvc.group|create kvc.group|update kvc.group|remove"),
    **_all(ELSEWHERE, "kvc.instance|register kvc.instance|remove kvc.lease kvc.startwrite"),
    **_all(ELSEWHERE, "kvc.finish kvc.remove kvc.trim kvc.write kvc.put kvc.retain kvc.reclaim"),
    **dict.fromkeys(("expire", "pexpire", "expireat", "pexpireat", "getex"), _expiry_of),
    "set": _set,
    "setex": _setex,
    "psetex": _setex,
    "incrbyfloat": _incrbyfloat,
    "increx": _increx,
    "sort": _sort,
    "restore": _restore,
    **hashes.EFFECTS,
    **pops.EFFECTS,
    **streams.EFFECTS,
    **rates.EFFECTS,
}
"""By full name, `get` or `xgroup|create`."""

# with so many words it is logged as sent
PLAIN_WORDS: Final[Mapping[str, int]] = {"set": 3}
# one transaction each: all that their commands do is logged as a whole
UNITS: Final = ("exec", "eval", "evalsha", "fcall")
