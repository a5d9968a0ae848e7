"""What follows an LB.ACQUIRE: LB.SETTLE, LB.CANCEL, LB.EXTEND.

They name the reservation and the keys it is on. A key that does not know the reservation (settled
before, its time come, the key deleted) is left as it is.
"""

from typing import Any, Final

from hotplate.commands.limits_rows import (
    GROUP,
    SINCE,
    UNKNOWN,
    check_id,
    find_entry,
    read_count,
    read_keys,
)
from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.bucket import NS_PER_MS, Bucket, Hold
from hotplate.keyspace.bucket_entry import FadingEntry, follow_fading
from hotplate.keyspace.bucket_leases import Leases
from hotplate.resp.types import ONE, ZERO, Raw, Reply
from hotplate.spec.args import parse_int_within, syntax_error
from hotplate.spec.model import Flag, Keys, command, integer, key, specs_of, string
from hotplate.spec.reply import ArrayReply, IntegerReply, TupleReply

_COUNT: Final = IntegerReply(minimum=0)
_LEASES_ROW: Final = b"*4\r\n:0\r\n:0\r\n:%d\r\n:%d\r\n"
_ABSENT_ROW: Final = b"*4\r\n:0\r\n:0\r\n:%d\r\n:0\r\n" % UNKNOWN
_SETTLED: Final = TupleReply(
    (
        IntegerReply(0, 1),
        ArrayReply(
            TupleReply((_COUNT, _COUNT, IntegerReply(minimum=UNKNOWN), IntegerReply(minimum=-2)))
        ),
    )
)


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
)
def lb_settle(ctx: Context, argv: list[bytes]) -> Reply:
    """LB.SETTLE rid numkeys key ... ACTUAL n ..., one per key"""
    rid = check_id(argv[1])
    keys = read_keys(argv, 2)
    after = 3 + len(keys)
    if len(argv) != after + 1 + len(keys) or argv[after].upper() != b"ACTUAL":
        raise syntax_error()
    costs = [read_count(text, "ACTUAL") for text in argv[after + 1 :]]
    return _settle(ctx, rid, keys, costs)


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
    return _settle(ctx, rid, keys, [0] * len(keys))


def _settle(ctx: Context, rid: bytes, keys: list[bytes], costs: list[int]) -> Reply:
    now_ns = ctx.engine.now_ns
    entries = [find_entry(ctx, name) for name in keys]
    for entry, actual in zip(entries, costs, strict=True):
        if actual and entry is not None and entry.value.__class__ is Leases:
            raise CommandError(f"ACTUAL of a CONC must be 0, not {actual}")
    settled = 0
    rows: list[bytes] = []
    for name, entry, actual in zip(keys, entries, costs, strict=True):
        if entry is None:
            rows.append(_ABSENT_ROW)
            continue
        value: Any = entry.value
        known = value.hold(rid, now_ns) is not None
        settled |= known
        if value.__class__ is Bucket:
            refunded, overage = value.settle(rid, actual, now_ns) if known else (0, 0)
            rate = value.rate
            level = value.mark - now_ns * rate.count
            remaining = rate.limit
            if level > 0:
                remaining = (rate.brim - level) // rate.period_ns if level < rate.brim else 0
            rows.append(
                b"*4\r\n:%d\r\n:%d\r\n:%d\r\n:%d\r\n"
                % (refunded, overage, remaining, rate.drain_ms(level))
            )
            ended = value.ledger is None
        else:
            if known:
                value.release(rid)
            remaining = max(0, value.limit - value.used_at(now_ns))
            rows.append(_LEASES_ROW % (remaining, value.reset_ms(now_ns)))
            ended = not value.holds
        if known:
            _leave(ctx, name, entry, ended)
    return Raw(b"*2\r\n:%d\r\n*%d\r\n%b" % (settled, len(rows), b"".join(rows)))


def _leave(ctx: Context, name: bytes, entry: FadingEntry, ended: bool) -> None:
    """The value was changed; `ended`: nothing is reserved on it any more.

    While something is, it lasts for that: the last one to settle sees to its end.
    """
    db = ctx.db
    entry.accessed_ms = ctx.now_ms
    db.dirty += 1
    if db.observer is not None:
        db.observer(db.index, name, "settle")
    if ended or not entry.own_ms:
        value: Any = entry.value
        if value.is_idle(ctx.engine.now_ns):
            db.delete(name)
            db.changed(name, "del")
        else:
            follow_fading(db, name, entry)


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
