"""CL.THROTTLE, and looking at limits: LB.INFO, LB.RESET.

CL.THROTTLE speaks redis-cell's wire format. What it waits for is rounded up to seconds on any
remainder, so that waiting as long always helps. Arithmetic and state are in keyspace.bucket.
"""

from typing import Any

from hotplate.commands.limits_rows import GROUP, LIMITED_ROW, SINCE, find_entry
from hotplate.commands.limits_runs import throttle_run
from hotplate.engine.context import Context
from hotplate.errors import CommandError, WrongTypeError
from hotplate.keyspace.bucket import INT64_MAX, NS_PER_S, Bucket, Rate
from hotplate.keyspace.bucket_entry import follow_fading, store_fading
from hotplate.keyspace.bucket_leases import Leases
from hotplate.keyspace.database import NEVER_MS as NO_EXPIRY
from hotplate.keyspace.database import SHARD_MASK
from hotplate.resp.types import ONE, ZERO, Map, Raw, Reply
from hotplate.spec.args import parse_int, parse_int_within, wrong_arity
from hotplate.spec.model import Flag, Keys, command, integer, key, specs_of
from hotplate.spec.reply import IntegerReply, MapReply, NullReply, one_of


@command(
    "CL.THROTTLE",
    group=GROUP,
    since=SINCE,
    arity=-5,
    summary="Takes from a rate limit, in redis-cell's format.",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "ACCESS", "UPDATE")),),
    args=(
        key(),
        integer("max-burst"),
        integer("count"),
        integer("period-seconds"),
        integer("quantity", optional=True),
    ),
    reply=LIMITED_ROW,
    acl_categories=("limits",),
    run=throttle_run,
)
def cl_throttle(ctx: Context, argv: list[bytes]) -> Reply:
    """CL.THROTTLE key max_burst count period_seconds [quantity]"""
    engine = ctx.engine
    known = engine.limiter.throttles.get((*argv[2:],))
    if known is None:
        known = _parse_throttle(ctx, argv)
    rate, cost = known
    name = argv[1]
    db = ctx.db
    entry: Any = db.shards[hash(name) & SHARD_MASK].get(name)
    if entry is None:
        return _throttle(ctx, name, rate, cost)
    bucket = entry.value
    if (
        bucket.__class__ is not Bucket
        or bucket.rate is not rate
        or bucket.ledger is not None
        or entry.own_ms != NO_EXPIRY
        or not cost
    ):
        return _throttle(ctx, name, rate, cost)
    drained = engine.now_ns * rate.count
    level = bucket.mark - drained
    if level <= 0:
        if db.observer is not None or db.witness is not None:
            return _throttle(ctx, name, rate, cost)
        # the key is absent: another begins in its place
        bucket.begin()
        level = 0
        db.expired += 1
    after = level + cost * rate.period_ns
    brim = rate.brim
    if after > brim:
        bucket.limited += 1
        return _verdict(rate, level, cost)
    reset_s = -(-after // rate.per_s)
    if reset_s > INT64_MAX:
        reset_s = INT64_MAX
    bucket.mark = drained + after
    bucket.admitted += 1
    entry.accessed_ms = ctx.now_ms
    db.dirty += 1
    if db.observer is not None:
        db.observer(db.index, name, "throttle")
    return Raw(
        b"*5\r\n:0\r\n:%d\r\n:%d\r\n:-1\r\n:%d\r\n"
        % (rate.limit, (brim - after) // rate.period_ns, reset_s)
    )


def _parse_throttle(ctx: Context, argv: list[bytes]) -> tuple[Rate, int]:
    if len(argv) > 6:
        raise wrong_arity(b"cl.throttle")
    count, period_s = parse_int(argv[3]), parse_int(argv[4])
    limit = 1 + parse_int_within(argv[2], "max_burst", 0, INT64_MAX - 1)
    if count == 0 or period_s == 0:
        raise CommandError("Zero rates are not supported")
    count = parse_int_within(argv[3], "count", 1)
    period_s = parse_int_within(argv[4], "period", 1)
    cost = parse_int_within(argv[5], "quantity", 0) if len(argv) == 6 else 1
    rate = Rate(limit, count, period_s * NS_PER_S)
    limiter = ctx.engine.limiter
    # one Rate for every quantity of it
    rate = limiter.throttles.get((*argv[2:5],), (rate, 1))[0]
    limiter.remember_throttle((*argv[2:5],), rate, 1)
    limiter.remember_throttle((*argv[2:],), rate, cost)
    return rate, cost


def _throttle(ctx: Context, name: bytes, rate: Rate, cost: int) -> Reply:
    """The same without haste: keys that are new, change their rate, or are told about."""
    now_ns = ctx.engine.now_ns
    entry = find_entry(ctx, name)
    bucket = None
    level = 0
    if entry is not None:
        value = entry.value
        if not isinstance(value, Bucket):
            raise WrongTypeError
        bucket = value
        level = bucket.level_in(rate, now_ns)
    charge = cost * rate.period_ns
    if level + charge > rate.brim:
        if bucket is not None:
            bucket.limited += 1
        return _verdict(rate, level, cost)
    if not cost:
        return _verdict(rate, level, 0)
    if bucket is None:
        bucket = Bucket(rate)
    elif bucket.rate is not rate:
        bucket.adopt(rate, now_ns)
    level = bucket.charge(charge, now_ns)
    bucket.admitted += 1
    if entry is None:
        store_fading(ctx.db, name, bucket, ctx.engine)
    else:
        entry.accessed_ms = ctx.now_ms
        follow_fading(ctx.db, name, entry)
    ctx.db.changed(name, "throttle")
    return _verdict(rate, level, 0)


def _verdict(rate: Rate, level: int, cost: int) -> Reply:
    """The reply to a call that would still pour in `cost`."""
    excess = level + cost * rate.period_ns - rate.brim
    if excess <= 0:
        limited, retry_s = 0, -1
    elif cost > rate.limit:
        limited, retry_s = 1, -1
    else:
        limited, retry_s = 1, min(-(-excess // rate.per_s), INT64_MAX)
    reset_s = min(-(-level // rate.per_s), INT64_MAX)
    return [limited, rate.limit, rate.remaining(level, rate.brim), retry_s, reset_s]


@command(
    "LB.INFO",
    group=GROUP,
    since=SINCE,
    arity=2,
    summary="Figures of a limit.",
    complexity="O(N), N being the number of open reservations",
    flags=Flag.READONLY,
    keys=(Keys(flags=("RO", "ACCESS")),),
    args=(key(),),
    reply=one_of(MapReply(IntegerReply()), NullReply()),
    acl_categories=("limits",),
)
def lb_info(ctx: Context, argv: list[bytes]) -> Reply:
    """LB.INFO key: nil for a key that is not there, as a drained bucket's is not"""
    now_ns = ctx.engine.now_ns
    entry = ctx.db.lookup(argv[1], ctx.now_ms)
    if entry is None:
        return None
    value = entry.value
    if isinstance(value, Bucket):
        rate = value.rate
        level = value.level(now_ns)
        figures = (
            *(-(-level // rate.period_ns), rate.limit, rate.count, rate.period_ns // 1_000_000),
            *(rate.remaining(level, rate.brim), rate.drain_ms(level)),
            *(value.open_holds(now_ns), 0, value.admitted, value.limited, value.refunded),
            max(0, -((rate.brim - level) // rate.period_ns)),
        )
    elif isinstance(value, Leases):
        used, limit, held = value.used_at(now_ns), value.limit, value.open_holds(now_ns)
        figures = (
            *(used, limit, 0, 0, max(0, limit - used), value.reset_ms(now_ns)),
            *(held, held, value.admitted, value.limited, 0, max(0, used - limit)),
        )
    else:
        raise WrongTypeError
    names = (
        *(b"level", b"capacity", b"count", b"period_ms", b"remaining", b"reset_after_ms"),
        *(b"outstanding", b"leases", b"admitted", b"limited", b"refunded", b"debt"),
    )
    shown = (min(figure, INT64_MAX) for figure in figures)  # a period of ages is no 64-bit number
    return Map(zip(names, shown, strict=True))


@command(
    "LB.RESET",
    group=GROUP,
    since=SINCE,
    arity=2,
    summary="Empties a limit and forgets its reservations.",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RM", "DELETE")),),
    args=(key(),),
    reply=IntegerReply(0, 1),
    acl_categories=("limits",),
)
def lb_reset(ctx: Context, argv: list[bytes]) -> Reply:
    """LB.RESET key"""
    if find_entry(ctx, argv[1]) is None:
        return ZERO
    ctx.db.delete(argv[1])
    ctx.db.changed(argv[1], "del")
    return ONE


SPECS = specs_of(cl_throttle, lb_info, lb_reset)
