"""LB.ACQUIRE as it is mostly sent, in one pass over its words.

Usual is: every limit was sent before, no option but ID and TTL, keys without an expiry of their
own, a new id, and nobody listens to changes. Everything else, mistakes included, is left to the
general way with nothing changed. Must answer and do exactly what that does.
"""

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from hotplate.commands.limits_rows import NUMBERS, number_of
from hotplate.keyspace.bucket import INT64_MAX, NEVER_MS, NOW_MS, NS_PER_MS, Bucket, Rate
from hotplate.keyspace.bucket_entry import store_fading
from hotplate.keyspace.bucket_leases import Leases
from hotplate.keyspace.bucket_ledger import Hold
from hotplate.keyspace.database import NEVER_MS as NO_EXPIRY
from hotplate.keyspace.database import SHARD_MASK
from hotplate.limits import NAME_BYTES_MAX

if TYPE_CHECKING:
    from hotplate.engine.context import Context

TTL_MS: Final = 120_000  # of a reservation, where the call does not say
TTL_NS: Final = TTL_MS * NS_PER_MS
Asked: TypeAlias = tuple[bytes, Any, Rate | None, int, int, int, int]
"""Key, entry, rate, cost, floor, level, level then; of leases no rate, places, limit, places used,
0."""
KEYS_FEW: Final = 64  # the general way looks at more


def acquire_usual(ctx: "Context", argv: list[bytes]) -> bytes | None:
    """The frame that answers LB.ACQUIRE; None: the call is not usual."""
    count = NUMBERS.get(argv[1], 0)
    start, end = 3 + count, len(argv)
    if not 0 < count <= KEYS_FEW or start > end or argv[start - 1] != b"LIMIT":
        return None
    rid, ttl_ns = b"", TTL_NS
    word = argv[-2]
    if word == b"TTL":
        ttl_ns = number_of(argv[-1]) * NS_PER_MS
        end -= 2
        word = argv[end - 2]
    if word == b"ID":
        rid = argv[end - 1]
        end -= 2
        if not 0 < len(rid) <= NAME_BYTES_MAX:
            return None
    if ttl_ns <= 0 or ctx.db.observer is not None:
        return None
    seen = _look(ctx, argv, start, end, rid)
    if seen is None:
        return None
    asked, is_limited = seen
    if is_limited:
        return _refuse(ctx, asked)
    if rid:
        rows = _reserve(ctx, asked, rid, ctx.engine.now_ns + ttl_ns, False)
    else:
        rid = ctx.engine.limiter.next_id()  # its number is the limiter's now
        rows = _reserve(ctx, asked, rid, ctx.engine.now_ns + ttl_ns, ttl_ns == TTL_NS)
    return b"*4\r\n:0\r\n$%d\r\n%b\r\n:-1\r\n*%d\r\n%b" % (len(rid), rid, count, rows.encode())


def _look(
    ctx: "Context", argv: list[bytes], at: int, end: int, rid: bytes
) -> tuple[list[Asked], bool] | None:
    """What each key is to give, and whether one of them can't. `at`, `end`: the limits' words."""
    keys = argv[2 : at - 1]
    if len(keys) > 1 and len(set(keys)) < len(keys):
        return None
    shards = ctx.db.shards
    rates = ctx.engine.limiter.rates
    now_ns = ctx.engine.now_ns
    asked: list[Asked] = []
    is_limited = False
    for key in keys:
        entry: Any = shards[hash(key) & SHARD_MASK].get(key)
        value: Any = None if entry is None else entry.value
        kind = argv[at] if at + 1 < end else b""
        if kind == b"RATE" and at + 4 < end:
            rate = rates.get((argv[at + 1], argv[at + 2], argv[at + 3]))
            cost = NUMBERS.get(argv[at + 4], -1)
            if cost < 0:
                cost = number_of(argv[at + 4])
            at += 5
            floor = level = 0
            if at < end and argv[at].isdigit():
                floor = number_of(argv[at])
                at += 1
            if rate is None or not rate.count or not 0 <= floor <= cost:
                return None
            if value is not None:
                if value.__class__ is not Bucket or value.rate is not rate:
                    return None
                level = value.mark - now_ns * rate.count
                if level < 0:
                    level = 0
                if rid:
                    ledger: Any = value.ledger
                    if ledger.__class__ is list:
                        ledger = value.book()
                    if ledger is not None and rid in ledger.holds:
                        return None
            after = level + cost * rate.period_ns
            if after > rate.brim or not rate.brim:
                is_limited = True
            asked.append((key, entry, rate, cost, floor, level, after))
        elif kind == b"CONC":
            limit, places = number_of(argv[at + 1]), 1
            at += 2
            if at < end and argv[at].isdigit():
                places = number_of(argv[at])
                at += 1
            used = 0
            if value is not None:
                if value.__class__ is not Leases or rid in value.holds:
                    return None
                used = value.used_at(now_ns)
            if places < 1 or limit < 0:
                return None
            if used + places > limit:
                is_limited = True
            asked.append((key, entry, None, places, limit, used, 0))
        else:
            return None
        if entry is not None and entry.own_ms != NO_EXPIRY:
            return None
    return (asked, is_limited) if at == end else None


def _reserve(
    ctx: "Context", asked: list[Asked], rid: bytes, expires_ns: int, is_plain: bool
) -> str:
    """Take it; the rows. `is_plain`: a new id, and the usual time to live."""
    now_ms, now_ns = ctx.now_ms, ctx.engine.now_ns
    db = ctx.db
    rows = ""
    for key, entry, rate, cost, floor, level, after in asked:
        value: Any = None
        if entry is not None:
            value = entry.value
            entry.accessed_ms = now_ms
            if not level and value.is_idle(now_ns):
                value.begin()
                db.expired += 1
                if db.witness is not None:
                    db.witness(db.index, key, "new")
        if rate is None:
            limit = floor
            if value is None:
                value = Leases(limit)
            hold = Hold(cost, 0, expires_ns)
            value.reserve(rid, hold, now_ns)
            value.limit = hold.limit = limit
            value.admitted += 1
            hold.remaining = remaining = limit - value.used
            reset_ms = -((now_ns - value.latest_ns) // NS_PER_MS)
            if reset_ms > INT64_MAX:
                reset_ms = INT64_MAX
            hold.reset_ms = reset_ms
        else:
            if value is None:
                value = Bucket(rate)
            limit = rate.limit
            remaining = (rate.brim - after) // rate.period_ns
            reset_ms = (after + rate.per_ms - 1) // rate.per_ms
            if reset_ms > INT64_MAX:
                reset_ms = INT64_MAX
            if is_plain and not floor:
                value.note(ctx.engine.limiter, cost, level, now_ns, expires_ns)
            else:
                hold = Hold(cost, floor, expires_ns)
                hold.limit, hold.remaining, hold.reset_ms = limit, remaining, reset_ms
                value.enter(rid, hold, level, now_ns)
                value.mark = value.mark + after - level if level else now_ns * rate.count + after
                value.admitted += 1
        if entry is None:
            store_fading(db, key, value, ctx.engine)
        rows += f"*5\r\n:0\r\n:{limit}\r\n:{remaining}\r\n:-1\r\n:{reset_ms}\r\n"
    db.dirty += len(asked)
    return rows


def _refuse(ctx: "Context", asked: list[Asked]) -> bytes | None:
    """The frame that answers a call that not all limits admit."""
    now_ns = ctx.engine.now_ns
    values = [None if each[1] is None else each[1].value for each in asked]
    if any(value is not None and value.is_idle(now_ns) for value in values):
        return None  # it is to be no key any more
    waits: list[int] = []
    rows = ""
    for value, (_, _, rate, cost, floor, level, after) in zip(values, asked, strict=True):
        if rate is None:
            limit, remaining, reset_ms = floor, max(0, floor - level), 0
            wait_ms = NOW_MS if 0 < cost <= limit else NEVER_MS
            if value is not None:
                wait_ms, reset_ms = value.retry_ms(cost, limit, now_ns), value.reset_ms(now_ns)
        else:
            limit, remaining = rate.limit, rate.remaining(level, rate.brim)
            wait_ms = rate.retry_ms(level, after - level, rate.brim)
            reset_ms = rate.drain_ms(level)
        limited = int(wait_ms != NOW_MS)
        if value is not None:
            value.limited += limited
        waits.append(wait_ms)
        rows += f"*5\r\n:{limited}\r\n:{limit}\r\n:{remaining}\r\n:{wait_ms}\r\n"
        rows += f":{reset_ms}\r\n"
    nobody = "$-1" if ctx.resp == 2 else "_"
    wait_ms = NEVER_MS if NEVER_MS in waits else max(waits)
    return f"*4\r\n:1\r\n{nobody}\r\n:{wait_ms}\r\n*{len(asked)}\r\n{rows}".encode()
