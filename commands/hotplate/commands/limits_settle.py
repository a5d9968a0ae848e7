"""What follows an LB.ACQUIRE: LB.SETTLE, LB.CANCEL, LB.EXTEND.

They name the reservation and the keys it is on. A key that does not know the reservation (settled
before, its time come, the key deleted) is left as it is.
"""

from typing import Final

from hotplate.commands.limits_rows import (
    GROUP,
    SINCE,
    UNKNOWN,
    find_entry,
    take_id,
    take_keys,
    take_word,
)
from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.bucket import NS_PER_MS, Bucket, Hold
from hotplate.keyspace.bucket_entry import FadingEntry, follow_fading
from hotplate.keyspace.bucket_leases import Leases
from hotplate.resp.types import ONE, ZERO, Raw, Reply
from hotplate.spec.args import Args, parse_int_within
from hotplate.spec.model import Flag, Keys, command, integer, key, specs_of, string
from hotplate.spec.reply import ArrayReply, IntegerReply, TupleReply

_COUNT: Final = IntegerReply(minimum=0)
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
    args = Args(argv)
    rid = take_id(args)
    keys = take_keys(args)
    take_word(args, b"ACTUAL")
    costs = [parse_int_within(text, "ACTUAL", 0) for text in args.take_many(len(keys))]
    args.finish()
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
    args = Args(argv)
    rid = take_id(args)
    keys = take_keys(args)
    args.finish()
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
        refunded = overage = 0
        remaining, reset_ms = UNKNOWN, 0
        if entry is not None:
            value = entry.value
            assert isinstance(value, (Bucket, Leases))
            known = _hold(entry, rid, now_ns) is not None
            if isinstance(value, Bucket):
                if known:
                    refunded, overage = value.settle(rid, actual, now_ns)
                rate = value.rate
                level = value.level(now_ns)
                remaining, reset_ms = rate.remaining(level, rate.brim), rate.drain_ms(level)
            else:
                if known:
                    value.release(rid)
                remaining = max(0, value.limit - value.used_at(now_ns))
                reset_ms = value.reset_ms(now_ns)
            if known:
                settled = 1
                _leave(ctx, name, entry, value)
        rows.append(
            b"*4\r\n:%d\r\n:%d\r\n:%d\r\n:%d\r\n" % (refunded, overage, remaining, reset_ms)
        )
    return Raw(b"*2\r\n:%d\r\n*%d\r\n%b" % (settled, len(rows), b"".join(rows)))


def _leave(ctx: Context, name: bytes, entry: FadingEntry, value: Bucket | Leases) -> None:
    """The value was changed, and may be as good as none."""
    db = ctx.db
    entry.accessed_ms = ctx.now_ms
    db.changed(name, "settle")
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
    args = Args(argv)
    rid = take_id(args)
    ttl_ms = args.take_int_within("ttl", 1)
    keys = take_keys(args)
    args.finish()
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
