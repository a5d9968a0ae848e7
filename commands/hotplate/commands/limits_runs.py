"""Runs of CL.THROTTLE and of LB.ACQUIRE in one batch, handled at once (see RunHandler).

Takes requests for buckets that are there and admit them: everything else, and everything while
somebody listens to changes, is left to the ordinary handler. Must do exactly what that does.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from hotplate.keyspace.bucket import INT64_MAX, NS_PER_MS, Bucket, Hold, Limiter, Rate
from hotplate.keyspace.database import NEVER_MS, SHARD_MASK
from hotplate.resp.encoder import BULK_HEADERS, INTEGERS

if TYPE_CHECKING:
    from hotplate.engine.context import Context

_INTEGERS_END: Final = len(INTEGERS)
TTL_MS: Final = 120_000  # of a reservation, where the call does not say
TTL_NS: Final = TTL_MS * NS_PER_MS
PLAIN_WORDS: Final = 9  # LB.ACQUIRE 1 key LIMIT RATE capacity count period cost
DIGITS_MAX: Final = 18  # more may not fit in 64 bits
_ADMITTED: Final = b":-1\r\n"
_RESERVED: Final = b"*4\r\n:0\r\n"


def throttle_run(
    ctx: "Context", requests: list[Any], start: int, append: Callable[[Any], object]
) -> int:
    """CL.THROTTLE key max_burst count period, with a limit that was sent before."""
    name = requests[start][0]
    db = ctx.db
    if db.observer is not None:
        return start
    shards = db.shards
    now_ms = ctx.now_ms
    now_ns = ctx.engine.now_ns
    throttles = ctx.engine.limiter.throttles
    burst = count = period = b""
    rate: Any = None
    drained = charge = brim = period_ns = per_s = 0
    head = b""
    index = start
    for index in range(start, len(requests)):
        argv = requests[index]
        if argv[0] != name or len(argv) != 5:
            break
        if argv[2] != burst or argv[3] != count or argv[4] != period:
            _, _, burst, count, period = argv
            known = throttles.get((burst, count, period))
            if known is None:
                break
            rate = known[0]
            drained = now_ns * rate.count
            brim = rate.brim
            charge = period_ns = rate.period_ns
            per_s = rate.per_s
            head = b"*5\r\n:0\r\n:%d\r\n" % rate.limit
        key = argv[1]
        entry: Any = shards[hash(key) & SHARD_MASK].get(key)
        if entry is None:
            break
        bucket = entry.value
        if (
            bucket.__class__ is not Bucket
            or bucket.rate is not rate
            or bucket.ledger is not None
            or entry.own_ms != NEVER_MS
        ):
            break
        after = bucket.mark - drained + charge
        if after > brim or after <= charge:
            break
        remaining = (brim - after) // period_ns
        reset_s = -(-after // per_s)
        bucket.mark = drained + after
        bucket.admitted += 1
        entry.accessed_ms = now_ms
        append(head)
        if remaining < _INTEGERS_END and reset_s < _INTEGERS_END:
            append(INTEGERS[remaining])
            append(_ADMITTED)
            append(INTEGERS[reset_s])
        else:
            append(b":%d\r\n:-1\r\n:%d\r\n" % (remaining, min(reset_s, INT64_MAX)))
    else:
        index = len(requests)
    db.dirty += index - start
    return index


def acquire_run(
    ctx: "Context", requests: list[Any], start: int, append: Callable[[Any], object]
) -> int:
    """LB.ACQUIRE 1 key LIMIT RATE capacity count period cost, with a limit that was sent before."""
    name = requests[start][0]
    db = ctx.db
    if db.observer is not None:
        return start
    shards = db.shards
    now_ms = ctx.now_ms
    now_ns = ctx.engine.now_ns
    limiter = ctx.engine.limiter
    prefix = limiter.prefix
    expires_ns = now_ns + TTL_NS
    texts: list[bytes] = []
    rate: Any = None
    cost = drained = charge = brim = period_ns = per_ms = 0
    head = b""
    index = start
    for index in range(start, len(requests)):
        argv = requests[index]
        if argv[0] != name or len(argv) != PLAIN_WORDS:
            break
        if argv[3:] != texts:
            texts = argv[3:]
            rate = _plain_rate(limiter, argv)
            if rate is None:
                break
            cost = int(argv[8])
            drained = now_ns * rate.count
            brim = rate.brim
            period_ns = rate.period_ns
            charge = cost * period_ns
            per_ms = rate.per_ms
            head = b"\r\n:-1\r\n*1\r\n*5\r\n:0\r\n:%d\r\n" % rate.limit
        key = argv[2]
        entry: Any = shards[hash(key) & SHARD_MASK].get(key)
        if argv[1] != b"1" or entry is None:
            break
        bucket = entry.value
        if bucket.__class__ is not Bucket or bucket.rate is not rate or entry.own_ms != NEVER_MS:
            break
        level = bucket.mark - drained
        after = level + charge
        if level <= 0 or after > brim:
            break
        limiter.number = number = limiter.number + 1
        rid = b"%b-%x" % (prefix, number)
        hold = Hold(cost, 0, expires_ns)
        bucket.reserve(rid, hold, level, now_ns)
        entry.accessed_ms = now_ms
        hold.limit = rate.limit
        hold.remaining = remaining = (brim - after) // period_ns
        reset_ms = -(-after // per_ms)
        hold.reset_ms = reset_ms = min(reset_ms, INT64_MAX)
        append(_RESERVED)
        append(BULK_HEADERS[len(rid)])
        append(rid)
        append(head)
        if remaining < _INTEGERS_END and reset_ms < _INTEGERS_END:
            append(INTEGERS[remaining])
            append(_ADMITTED)
            append(INTEGERS[reset_ms])
        else:
            append(b":%d\r\n:-1\r\n:%d\r\n" % (remaining, reset_ms))
    else:
        index = len(requests)
    db.dirty += index - start
    return index


def _plain_rate(limiter: Limiter, argv: list[bytes]) -> Rate | None:
    """The rate of a plain LB.ACQUIRE; None where it is not plain."""
    cost = argv[8]
    if argv[3] != b"LIMIT" or argv[4] != b"RATE" or not cost.isdigit() or len(cost) > DIGITS_MAX:
        return None
    rate = limiter.rates.get((argv[5], argv[6], argv[7]))
    return rate if rate is not None and rate.count and cost == b"%d" % int(cost) else None
