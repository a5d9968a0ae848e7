"""Runs of CL.THROTTLE in one batch, handled at once (see the dispatcher's RunHandler).

Takes requests for buckets that are there and admit them: everything else, and everything while
somebody listens to changes, is left to the ordinary handler. Must do exactly what that does.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from hotplate.keyspace.bucket import INT64_MAX, Bucket
from hotplate.keyspace.database import NEVER_MS, SHARD_MASK
from hotplate.resp.encoder import INTEGERS

if TYPE_CHECKING:
    from hotplate.engine.context import Context

_INTEGERS_END: Final = len(INTEGERS)
_ADMITTED: Final = b":-1\r\n"


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
        entry = shards[hash(key) & SHARD_MASK].get(key)
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
