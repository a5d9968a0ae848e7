"""Runs of CL.THROTTLE and of LB.ACQUIRE in one batch, handled at once (see RunHandler).

Takes requests for buckets that are there and admit them: everything else, and everything while
somebody listens to changes, is left to the ordinary handler. Must do exactly what that does.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from hotplate.commands.limits_rows import number_of
from hotplate.commands.limits_usual import TTL_NS, acquire_usual
from hotplate.keyspace.bucket import INT64_MAX, NOTES_END, Bucket, Limiter, Rate
from hotplate.keyspace.database import NEVER_MS, SHARD_MASK
from hotplate.resp.encoder import INTEGERS

if TYPE_CHECKING:
    from hotplate.engine.context import Context

_INTEGERS_END: Final = len(INTEGERS)
PLAIN_WORDS: Final = 9  # LB.ACQUIRE 1 key LIMIT RATE capacity count period cost
_ADMITTED: Final = b":-1\r\n"
# the size of ids, their prefix, the limit; then the id's number, what remains, when it is empty
_PLAIN: Final = (
    b"*4\r\n:0\r\n$%d\r\n%b-%%012x\r\n:-1\r\n*1\r\n*5\r\n:0\r\n:%d\r\n:%%d\r\n:-1\r\n:%%d\r\n"
)
_ACQUIRE_WORDS_MIN: Final = 6


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
    drained = before = charge = brim = period_ns = per_s = up_s = 0
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
            before = drained - charge
            per_s = rate.per_s
            up_s = per_s - 1
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
        mark = bucket.mark
        after = mark - before
        if after > brim or mark <= drained:
            break
        remaining = (brim - after) // period_ns
        reset_s = (after + up_s) // per_s
        bucket.mark = mark + charge
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
    """LB.ACQUIRE, the plainest form of it (one RATE, no option) faster than other usual ones."""
    name = requests[start][0]
    db = ctx.db
    if db.observer is not None:
        return start
    shards = db.shards
    now_ms = ctx.now_ms
    now_ns = ctx.engine.now_ns
    limiter = ctx.engine.limiter
    number = limiter.number
    template = b""
    expires_ns = now_ns + TTL_NS
    texts: list[bytes] = []
    rate: Any = None
    cost = drained = charge = brim = period_ns = per_ms = 0
    index = start
    for index in range(start, len(requests)):
        argv = requests[index]
        if argv[0] != name or len(argv) < _ACQUIRE_WORDS_MIN:
            break
        if len(argv) == PLAIN_WORDS:
            if argv[3:] != texts:
                texts = argv[3:]
                rate, cost = _plain_limit(limiter, argv)
                brim, period_ns, per_ms = rate.brim, rate.period_ns, rate.per_ms
                drained = now_ns * rate.count
                charge = cost * period_ns
                template = _PLAIN % (limiter.id_bytes, limiter.prefix, rate.limit)
            key = argv[2]
            entry: Any = shards[hash(key) & SHARD_MASK].get(key)
            bucket: Any = None if entry is None else entry.value
            if (
                entry is not None
                and bucket.__class__ is Bucket
                and bucket.rate is rate
                and entry.own_ms == NEVER_MS
                and argv[1] == b"1"
            ):
                level = bucket.mark - drained
                after = level + charge
                ledger = bucket.ledger
                if (
                    level > 0
                    and after <= brim
                    and ledger.__class__ is list
                    and len(ledger) < NOTES_END
                ):
                    number += 1
                    ledger += (number, level, cost, expires_ns)
                    bucket.mark = drained + after
                    bucket.admitted += 1
                    entry.accessed_ms = now_ms
                    reset_ms = (after + per_ms - 1) // per_ms
                    append(template % (number, (brim - after) // period_ns, reset_ms))
                    continue
        db.dirty += number - limiter.number
        limiter.number = number
        frame = acquire_usual(ctx, argv)
        if frame is None:
            return index
        append(frame)
        number = limiter.number
    else:
        index = len(requests)
    db.dirty += number - limiter.number
    limiter.number = number
    return index


_NO_RATE: Final = Rate(0, 0, 1)


def _plain_limit(limiter: Limiter, argv: list[bytes]) -> tuple[Rate, int]:
    """The rate and the cost of a plain LB.ACQUIRE; where it is not plain, a rate of nobody's."""
    cost = number_of(argv[8])
    if argv[3] == b"LIMIT" and argv[4] == b"RATE" and cost >= 0:
        rate = limiter.rates.get((argv[5], argv[6], argv[7]))
        if (
            rate is not None
            and rate.count
            and rate.brim // rate.per_ms < INT64_MAX  # no answer is too long a number
        ):
            return rate, cost
    return _NO_RATE, 0
