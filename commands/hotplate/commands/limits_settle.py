"""What follows an LB.ACQUIRE: LB.SETTLE, LB.CANCEL, LB.EXTEND.

They name the reservation and the keys it is on. A key that does not know the reservation (settled
before, its time come, the key deleted) is left as it is.
"""

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from hotplate.commands.limits_rows import (
    GROUP,
    SINCE,
    UNKNOWN,
    check_id,
    find_entry,
    number_of,
    read_count,
    read_keys,
)
from hotplate.commands.limits_usual import KEYS_FEW
from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.bucket import NS_PER_MS, Bucket
from hotplate.keyspace.bucket_entry import FadingEntry, follow_fading, remove_faded
from hotplate.keyspace.bucket_leases import Leases
from hotplate.keyspace.bucket_ledger import Hold
from hotplate.keyspace.database import NEVER_MS, SHARD_MASK
from hotplate.resp.types import ONE, ZERO, Raw, Reply
from hotplate.spec.args import parse_int_within, syntax_error
from hotplate.spec.model import Flag, Keys, command, integer, key, specs_of, string
from hotplate.spec.reply import ArrayReply, IntegerReply, TupleReply

_COUNT: Final = IntegerReply(minimum=0)
_ABSENT_ROW: Final = f"*4\r\n:0\r\n:0\r\n:{UNKNOWN}\r\n:0\r\n"
_SETTLE_WORDS_MIN: Final = 6
Found: TypeAlias = tuple[bytes, FadingEntry | None, int, Hold | None]
"""A key, what is there, what it cost, and the reservation if it is open."""
_SETTLED: Final = TupleReply(
    (
        IntegerReply(0, 1),
        ArrayReply(
            TupleReply((_COUNT, _COUNT, IntegerReply(minimum=UNKNOWN), IntegerReply(minimum=-2)))
        ),
    )
)


def _settle_as_told(ctx: Context, argv: list[bytes]) -> bytes:
    found = _find_usual(ctx, argv)
    if found is not None:
        return _close(ctx, argv[1], found)
    rid = check_id(argv[1])
    keys = read_keys(argv, 2)
    after = 3 + len(keys)
    if len(argv) != after + 1 + len(keys) or argv[after].upper() != b"ACTUAL":
        raise syntax_error()
    costs = [read_count(text, "ACTUAL") for text in argv[after + 1 :]]
    found = [_found(ctx, rid, key, cost) for key, cost in zip(keys, costs, strict=True)]
    for _, entry, cost, _ in found:
        if cost and entry is not None and entry.value.__class__ is Leases:
            raise CommandError(f"ACTUAL of a CONC must be 0, not {cost}")
    return _close(ctx, rid, found)


def _found(ctx: Context, rid: bytes, key: bytes, cost: int) -> Found:
    entry = find_entry(ctx, key)
    value: Any = None if entry is None else entry.value
    hold = None if value is None else value.hold(rid, ctx.engine.now_ns)
    return key, entry, cost, hold


def _find_usual(ctx: Context, argv: list[bytes]) -> list[Found] | None:
    """What is to be settled, in one pass over the words; None: something is unusual or wrong."""
    count = number_of(argv[2])
    at = 3 + count
    if not 0 < count <= KEYS_FEW or len(argv) != at + 1 + count or argv[at] != b"ACTUAL":
        return None
    keys = argv[3:at]
    if count > 1 and len(set(keys)) < count:
        return None
    shards = ctx.db.shards
    now_ns = ctx.engine.now_ns
    rid = argv[1]
    found: list[Found] = []
    for name in keys:
        at += 1
        actual = number_of(argv[at])
        entry: Any = shards[hash(name) & SHARD_MASK].get(name)
        if entry is None:
            return None
        value: Any = entry.value
        if value.__class__ is Bucket:
            ledger: Any = value.ledger
            if ledger.__class__ is list:
                ledger = value.book()
            hold = None if ledger is None else ledger.holds.get(rid)
        elif value.__class__ is Leases and not actual:
            hold = value.holds.get(rid)
        else:
            return None
        if hold is None or hold.expires_ns <= now_ns or actual < 0 or entry.own_ms != NEVER_MS:
            return None
        found.append((name, entry, actual, hold))
    return found


def settle_run(
    ctx: Context, requests: list[Any], start: int, append: Callable[[Any], object]
) -> int:
    """LB.SETTLE, while all keys know the reservations."""
    name = requests[start][0]
    index = start
    for index in range(start, len(requests)):
        argv = requests[index]
        if argv[0] != name or len(argv) < _SETTLE_WORDS_MIN:
            break
        found = _find_usual(ctx, argv)
        if found is None:
            break
        append(_close(ctx, argv[1], found))
    else:
        index = len(requests)
    return index


@command(
    "LB.SETTLE",
    group=GROUP,
    since=SINCE,
    arity=-6,
    summary="Says what a reservation really cost: the rest comes back, its leases are freed.",
    complexity="O(N+M), N being the number of keys, M of later open reservations on them",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(begin=2, key_number=0, first=1, flags=("RW", "ACCESS", "UPDATE")),),
    args=(
        string("id"),
        integer("numkeys"),
        key(multiple=True),
        integer("actual", token="ACTUAL", multiple=True),
    ),
    reply=_SETTLED,
    acl_categories=("limits",),
    run=settle_run,
)
def lb_settle(ctx: Context, argv: list[bytes]) -> Reply:
    """LB.SETTLE rid numkeys key ... ACTUAL n ..., one per key"""
    return Raw(_settle_as_told(ctx, argv))


@command(
    "LB.CANCEL",
    group=GROUP,
    since=SINCE,
    arity=-4,
    summary="Gives a reservation back: it cost nothing.",
    complexity="O(N+M), N being the number of keys, M of later open reservations on them",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(begin=2, key_number=0, first=1, flags=("RW", "ACCESS", "UPDATE")),),
    args=(string("id"), integer("numkeys"), key(multiple=True)),
    reply=_SETTLED,
    acl_categories=("limits",),
)
def lb_cancel(ctx: Context, argv: list[bytes]) -> Reply:
    """LB.CANCEL rid numkeys key ..."""
    rid = check_id(argv[1])
    keys = read_keys(argv, 2)
    if len(argv) != 3 + len(keys):
        raise syntax_error()
    return Raw(_close(ctx, rid, [_found(ctx, rid, key, 0) for key in keys]))


def _close(ctx: Context, rid: bytes, found: list[Found]) -> bytes:
    now_ns = ctx.engine.now_ns
    db = ctx.db
    settled = 0
    rows = ""
    for name, entry, actual, hold in found:
        if entry is None:
            rows += _ABSENT_ROW
            continue
        value: Any = entry.value
        refunded = overage = 0
        if value.__class__ is Bucket:
            rate = value.rate
            if hold is not None:
                refunded, overage, level = value.settle(rid, hold, actual, now_ns)
            else:
                level = value.level(now_ns)
            remaining = (rate.brim - level) // rate.period_ns if level < rate.brim else 0
            reset_ms = rate.drain_ms(level)
            has_ended = value.ledger is None
        else:
            if hold is not None:
                value.release(rid)
            remaining = max(0, value.limit - value.used_at(now_ns))
            reset_ms = value.reset_ms(now_ns)
            has_ended = not value.holds
        rows += f"*4\r\n:{refunded}\r\n:{overage}\r\n:{remaining}\r\n:{reset_ms}\r\n"
        if hold is not None:
            settled = 1
            entry.accessed_ms = ctx.now_ms
            db.dirty += 1
            if db.observer is not None:
                db.observer(db.index, name, "settle")
            # while something is reserved it lasts for that: the last one sees to its end
            if has_ended or not entry.own_ms:
                _leave(ctx, name, entry)
    return f"*2\r\n:{settled}\r\n*{len(found)}\r\n{rows}".encode()


def _leave(ctx: Context, name: bytes, entry: FadingEntry) -> None:
    """Let the key last as long as the value, on which nothing is reserved any more."""
    value: Any = entry.value
    if value.is_idle(ctx.engine.now_ns):
        remove_faded(ctx.db, name, entry)
        ctx.db.changed(name, "del")
    else:
        follow_fading(ctx.db, name, entry)


@command(
    "LB.EXTEND",
    group=GROUP,
    since=SINCE,
    arity=-5,
    summary="Lets a reservation last longer, on all of its keys or on none.",
    complexity="O(N), N being the number of keys",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(begin=3, key_number=0, first=1, flags=("RW", "UPDATE")),),
    args=(string("id"), integer("ttl-milliseconds"), integer("numkeys"), key(multiple=True)),
    reply=IntegerReply(0, 1),
    acl_categories=("limits",),
)
def lb_extend(ctx: Context, argv: list[bytes]) -> Reply:
    """LB.EXTEND rid ttl_ms numkeys key ...: ends at the later of its end and now + ttl"""
    rid = check_id(argv[1])
    ttl_ms = parse_int_within(argv[2], "ttl", 1)
    keys = read_keys(argv, 3)
    if len(argv) != 4 + len(keys):
        raise syntax_error()
    now_ns = ctx.engine.now_ns
    entries = [find_entry(ctx, name) for name in keys]
    if not all(entry is not None and _hold(entry, rid, now_ns) for entry in entries):
        return ZERO
    for name, entry in zip(keys, entries, strict=True):
        assert entry is not None
        value = entry.value
        assert isinstance(value, (Bucket, Leases))
        value.extend(rid, now_ns + ttl_ms * NS_PER_MS)
        entry.accessed_ms = ctx.now_ms
        follow_fading(ctx.db, name, entry)
        ctx.db.changed(name, "extend")
    return ONE


def _hold(entry: FadingEntry, rid: bytes, now_ns: int) -> Hold | None:
    value = entry.value
    assert isinstance(value, (Bucket, Leases))
    return value.hold(rid, now_ns)


SPECS = specs_of(lb_settle, lb_cancel, lb_extend)
