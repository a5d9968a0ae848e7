"""Looking at paced queues: LBQ.LEN, LBQ.RANGE, LBQ.INFO."""

from itertools import islice
from typing import Any, Final

from hotplate.commands.limits_queue import get_queue
from hotplate.commands.limits_rows import GROUP, SINCE
from hotplate.commands.values import read_value
from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.bucket import INT64_MAX, NS_PER_MS
from hotplate.keyspace.bucket_queue import UNKNOWN_MS, BucketQueue
from hotplate.keyspace.bucket_queue_lines import Item
from hotplate.keyspace.stream_entry import bulk
from hotplate.resp.types import EMPTY_ARRAY, ZERO, Map, Raw, Reply
from hotplate.spec.args import Args, parse_int
from hotplate.spec.model import Flag, Keys, command, integer, key, specs_of
from hotplate.spec.reply import (
    ArrayReply,
    BulkReply,
    IntegerReply,
    MapReply,
    NullReply,
    TupleReply,
    one_of,
)

_COUNT: Final = IntegerReply(0)


@command(
    "LBQ.LEN",
    group=GROUP,
    since=SINCE,
    arity=-2,
    summary="How many entries are in a paced queue, delayed ones included.",
    complexity="O(1)",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(flags=("RO",)),),
    args=(key(), integer("class", token="CLASS", optional=True)),
    reply=_COUNT,
    acl_categories=("limits",),
)
def lbq_len(ctx: Context, argv: list[bytes]) -> Reply:
    """LBQ.LEN key [CLASS c]"""
    args = Args(argv, 2)
    number = args.take_int_within("CLASS", 0) if args.accept(b"CLASS") else None
    args.finish()
    queue = read_value(ctx, argv[1], BucketQueue)
    if queue is None:
        return ZERO
    if number is None:
        return queue.length
    lines = queue.lines
    if number >= len(lines):
        raise CommandError(f"CLASS must be 0 to {len(lines) - 1}, not {number}")
    return len(lines[number].items) + lines[number].delayed


@command(
    "LBQ.RANGE",
    group=GROUP,
    since=SINCE,
    arity=4,
    summary="Entries of a paced queue in the order in which they are to go.",
    complexity="O(S*K), S being how far the range reaches, K the number of classes",
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(key(), integer("start"), integer("stop")),
    reply=ArrayReply(
        TupleReply((BulkReply(), _COUNT, IntegerReply(1), _COUNT, _COUNT, ArrayReply(BulkReply())))
    ),
    acl_categories=("limits",),
)
def lbq_range(ctx: Context, argv: list[bytes]) -> Reply:
    """LBQ.RANGE key start stop: [ticket, class, cost, waited ms, ms of delay left, fields]"""
    start, stop = parse_int(argv[2]), parse_int(argv[3])
    queue = read_value(ctx, argv[1], BucketQueue)
    if queue is None:
        return EMPTY_ARRAY
    length = queue.length
    start = max(start + length, 0) if start < 0 else start
    stop = min(stop + length if stop < 0 else stop, length - 1)
    if start > stop:
        return EMPTY_ARRAY
    now_ns = ctx.engine.now_ns
    rows = [_row(item, now_ns) for item in islice(queue.items(), start, stop + 1)]
    return Raw(b"*%d\r\n%b" % (len(rows), b"".join(rows)))


def _row(item: Item, now_ns: int) -> bytes:
    waited_ms = (now_ns - item.added_ns) // NS_PER_MS
    delay_ms = max(0, -((now_ns - item.ready_ns) // NS_PER_MS))
    return b"*6\r\n%b\r\n:%d\r\n:%d\r\n:%d\r\n:%d\r\n*%d\r\n%b" % (
        *(bulk(item.ticket), item.line, item.cost, waited_ms, delay_ms),
        *(2 * item.field_count, item.body),
    )


@command(
    "LBQ.INFO",
    group=GROUP,
    since=SINCE,
    arity=2,
    summary="Settings and figures of a paced queue.",
    complexity="O(K), K being the number of classes",
    flags=Flag.READONLY,
    keys=(Keys(flags=("RO", "ACCESS")),),
    args=(key(),),
    reply=MapReply(
        one_of(IntegerReply(), BulkReply(), NullReply(), ArrayReply(MapReply(IntegerReply())))
    ),
    acl_categories=("limits",),
)
def lbq_info(ctx: Context, argv: list[bytes]) -> Reply:
    """LBQ.INFO key; what is not set is nil"""
    queue = get_queue(ctx, argv[1])
    settings, rate = queue.settings, queue.rate
    now_ns = ctx.engine.now_ns
    wait_ms = queue.room_ms(now_ns) if queue.length else UNKNOWN_MS
    state = b"paused" if queue.is_paused else queue.held_by or b"running"
    facts: dict[str, Any] = {
        "stream": settings.into,
        "count": rate.count,
        "period_ms": rate.period_ns // NS_PER_MS,
        "burst": rate.limit,
        "capacity": settings.capacity,
        "capbytes": None if settings.capacity_bytes == INT64_MAX else settings.capacity_bytes,
        "overflow": settings.overflow,
        "spill": settings.spill or None,
        "credit_group": settings.group or None,
        "credit": settings.credit or None,
        "maxage_ms": settings.age_max_ns // NS_PER_MS or None,
        "dead": settings.dead,
        "state": state,
        "length": queue.length,
        "delayed": len(queue.waiting),
        "bytes": queue.size_bytes,
        "next_release_ms": wait_ms,
    }
    figures = queue.figures
    for name in figures.__slots__:
        facts[name] = getattr(figures, name)
    facts["classes"] = [
        Map(
            (
                (b"weight", line.weight),
                (b"length", len(line.items) + line.delayed),
                (b"cost", min(line.cost, INT64_MAX)),
                (b"released", line.released),
            )
        )
        for line in queue.lines
    ]
    return Map((name.encode(), fact) for name, fact in facts.items())


SPECS = specs_of(lbq_len, lbq_range, lbq_info)
