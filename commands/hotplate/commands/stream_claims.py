"""Pending entries of a group: looking at them, and giving them to another consumer."""

from dataclasses import dataclass
from itertools import islice
from typing import Final

from hotplate.commands.stream_arguments import (
    ENTRY_REPLY,
    ID_REPLY,
    get_group,
    parse_id,
    parse_interval,
    parse_min_idle_ms,
    parse_start,
)
from hotplate.engine.context import Context, Gate
from hotplate.errors import CommandError
from hotplate.keyspace.stream import Stream
from hotplate.keyspace.stream_entry import format_id, read_id
from hotplate.keyspace.stream_group import Consumer, Group
from hotplate.keyspace.stream_pending import Delivery
from hotplate.resp.types import EMPTY_ARRAY, NULL_ARRAY, Raw, Reply
from hotplate.spec.args import Args, syntax_error
from hotplate.spec.model import (
    Flag,
    Keys,
    block,
    command,
    integer,
    key,
    specs_of,
    string,
    token,
    unix_time,
)
from hotplate.spec.reply import (
    ArrayReply,
    BulkReply,
    IntegerReply,
    NullReply,
    TupleReply,
    one_of,
)

_COUNT_REFUSED: Final = "COUNT must be > 0"
_ATTEMPTS: Final = 10  # entries that XAUTOCLAIM looks at for each that it may claim
_COUNT_MAX: Final = (2**63 - 1) // 16


# -- XPENDING ----------------------------------------------------------------------------------


@command(
    "XPENDING",
    group="stream",
    since="5.0.0",
    arity=-3,
    summary="Return information and entries from a stream consumer group pending entries list,"
    " that are messages fetched but never acknowledged.",
    complexity="O(N) with N being the number of elements returned, so asking for a small fixed"
    " number of entries per call is O(1). O(M), where M is the total number of entries scanned when"
    " used with the IDLE filter. When the command returns just the summary and the list of"
    " consumers is small, it runs in O(1) time; otherwise, an additional O(N) time for iterating"
    " every consumer.",
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(
        key(),
        string("group"),
        block(
            "filters",
            integer("min-idle-time", token="IDLE", optional=True, since="6.2.0"),
            string("start"),
            string("end"),
            integer("count"),
            string("consumer", optional=True),
            optional=True,
        ),
    ),
    reply=one_of(
        TupleReply(
            (
                IntegerReply(0),
                one_of(ID_REPLY, NullReply()),
                one_of(ID_REPLY, NullReply()),
                one_of(ArrayReply(TupleReply((BulkReply(), BulkReply(rb"\d+")))), NullReply()),
            )
        ),
        ArrayReply(TupleReply((ID_REPLY, BulkReply(), IntegerReply(-1), IntegerReply(0)))),
    ),
    acl_categories=("stream",),
    tips=("nondeterministic_output",),
    history=(("6.2.0", "Added the `IDLE` option and exclusive range intervals."),),
)
def xpending(ctx: Context, argv: list[bytes]) -> Reply:
    """XPENDING key group [[IDLE min-idle-time] start end count [consumer]]"""
    if len(argv) == 3:
        _, group = get_group(ctx, argv[1], argv[2])
        return _summary(group)
    if not 6 <= len(argv) <= 9:
        raise syntax_error()
    min_idle_ms = 0
    args = Args(argv, 3)
    if args.accept(b"IDLE"):
        min_idle_ms = args.take_int()
        if len(argv) < 8:
            raise syntax_error()
    start_text, end_text = args.take(), args.take()
    count = max(args.take_int(), 0)
    start, end = parse_interval(start_text, end_text)
    name = args.take() if args else None
    _, group = get_group(ctx, argv[1], argv[2])
    pending = group.pending
    if name is not None:
        if name not in group.consumers:
            return EMPTY_ARRAY
        pending = group.consumers[name].pending
    now_ms = ctx.now_ms
    found = (
        _row(entry_id, delivery, now_ms)
        for entry_id, delivery in pending.walk(start, end)
        if not min_idle_ms or now_ms - delivery.at_ms >= min_idle_ms
    )
    return list(islice(found, count))


def _row(entry_id: int, delivery: Delivery, now_ms: int) -> list[Reply]:
    consumer = delivery.consumer
    if consumer is None:
        return [format_id(entry_id), b"", -1, delivery.deliveries]
    idle_ms = max(now_ms - delivery.at_ms, 0)
    return [format_id(entry_id), consumer.name, idle_ms, delivery.deliveries]


def _summary(group: Group) -> Reply:
    first, last = group.pending.first_key(), group.pending.last_key()
    if first is None or last is None:
        return [0, None, None, NULL_ARRAY]
    counts = [
        [name, b"%d" % len(consumer.pending)]
        for name, consumer in sorted(group.consumers.items())
        if len(consumer.pending)
    ]
    return [len(group.pending), format_id(first), format_id(last), counts]


# -- XCLAIM and XAUTOCLAIM ---------------------------------------------------------------------


@dataclass(slots=True)
class _Claim:
    """What XCLAIM was told beside the entries."""

    at_ms: int
    retry_count: int = -1  # less than 0: one more than before
    is_forced: bool = False
    ids_only: bool = False
    last_id: int = 0


def _take_over(
    ctx: Context,
    stream: Stream,
    group: Group,
    *,
    consumer: Consumer,
    entry_id: int,
    claim: _Claim,
) -> Reply:
    """Give an entry to the consumer; what the reply says of it."""
    delivery = group.pending.get(entry_id)
    deliveries = 1 if delivery is None else delivery.deliveries
    if claim.retry_count >= 0:
        deliveries = claim.retry_count
    elif not claim.ids_only:
        deliveries += 1
    group.claim(entry_id, consumer, claim.at_ms, deliveries)
    consumer.active_ms = ctx.now_ms
    ctx.db.dirty += 1
    frame = stream.get(entry_id)
    assert frame is not None
    return format_id(entry_id) if claim.ids_only else Raw(frame)


def _consumer(ctx: Context, group: Group, argv: list[bytes]) -> Consumer:
    """The consumer that claims, made where there is none."""
    consumer = group.consumers.get(argv[3])
    if consumer is None:
        consumer = group.create_consumer(argv[3], ctx.now_ms)
        ctx.db.noted(argv[1], "xgroup-createconsumer")
    consumer.seen_ms = ctx.now_ms
    return consumer


@command(
    "XCLAIM",
    group="stream",
    since="5.0.0",
    arity=-6,
    summary="Changes (or acquires) ownership of a message in a consumer group, as if the message"
    " was delivered to the specified consumer.",
    complexity="O(log N) with N being the number of messages in the PEL of the consumer group.",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "UPDATE")),),
    args=(
        key(),
        string("group"),
        string("consumer"),
        string("min-idle-time"),
        string("id", multiple=True),
        integer("ms", token="IDLE", optional=True),
        unix_time("unix-time-milliseconds", token="TIME", optional=True),
        integer("count", token="RETRYCOUNT", optional=True),
        token("FORCE", optional=True),
        token("JUSTID", optional=True),
        string("id", token="LASTID", optional=True),
    ),
    reply=one_of(ArrayReply(ENTRY_REPLY), ArrayReply(ID_REPLY)),
    acl_categories=("stream",),
    tips=("nondeterministic_output",),
)
def xclaim(ctx: Context, argv: list[bytes]) -> Reply:
    """XCLAIM key group consumer min-idle-time id [id ...] [options]"""
    stream, group = get_group(ctx, argv[1], argv[2])
    min_idle_ms = parse_min_idle_ms(argv[4], "XCLAIM")
    ids: list[int] = []
    for text in argv[5:]:
        entry_id = read_id(text)
        if entry_id is None:
            break
        ids.append(entry_id)
    is_loading = bool(ctx.engine.gates & Gate.LOADING)  # at times that may be later than its own
    claim = _parse_claim(argv, 5 + len(ids), ctx.now_ms, is_loading=is_loading)
    if claim.last_id > group.last_id:
        group.last_id = claim.last_id
        ctx.db.dirty += 1
    consumer = _consumer(ctx, group, argv)
    reply: list[Reply] = []
    for entry_id in ids:
        delivery = group.pending.get(entry_id)
        if stream.get(entry_id) is None:
            ctx.db.dirty += group.forget((entry_id,))
        elif delivery is None:
            if claim.is_forced:
                reply.append(
                    _take_over(
                        ctx, stream, group, consumer=consumer, entry_id=entry_id, claim=claim
                    )
                )
        elif (
            not min_idle_ms
            or delivery.consumer is None
            or ctx.now_ms - delivery.at_ms >= min_idle_ms
        ):
            reply.append(
                _take_over(ctx, stream, group, consumer=consumer, entry_id=entry_id, claim=claim)
            )
    return reply


def _parse_claim(argv: list[bytes], start: int, now_ms: int, *, is_loading: bool) -> _Claim:
    claim = _Claim(now_ms)
    at_ms = now_ms
    args = Args(argv, start)
    while args:
        text = args.take()
        word = text.upper()
        if word == b"FORCE":
            claim.is_forced = True
        elif word == b"JUSTID":
            claim.ids_only = True
        elif word == b"IDLE" and args:
            at_ms = now_ms - args.take_int("Invalid IDLE option argument for XCLAIM")
        elif word == b"TIME" and args:
            at_ms = args.take_int("Invalid TIME option argument for XCLAIM")
        elif word == b"RETRYCOUNT" and args:
            claim.retry_count = args.take_int("Invalid RETRYCOUNT option argument for XCLAIM")
        elif word == b"LASTID" and args:
            claim.last_id = parse_id(args.take())
        else:
            raise CommandError(b"Unrecognized XCLAIM option '%b'" % text)
    if 0 <= at_ms <= now_ms or is_loading:
        claim.at_ms = at_ms
    return claim


@command(
    "XAUTOCLAIM",
    group="stream",
    since="6.2.0",
    arity=-6,
    summary="Changes (or acquires) ownership of messages in a consumer group, as if the messages"
    " were delivered to the specified consumer.",
    complexity="O(1) if COUNT is small.",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "DELETE")),),
    args=(
        key(),
        string("group"),
        string("consumer"),
        string("min-idle-time"),
        string("start"),
        integer("count", token="COUNT", optional=True),
        token("JUSTID", optional=True),
    ),
    reply=TupleReply(
        (
            ID_REPLY,
            one_of(ArrayReply(ENTRY_REPLY), ArrayReply(ID_REPLY)),
            ArrayReply(ID_REPLY),
        )
    ),
    acl_categories=("stream",),
    tips=("nondeterministic_output",),
    history=(
        (
            "7.0.0",
            "Added an element to the reply array, containing deleted entries the command cleared"
            " from the PEL",
        ),
    ),
)
def xautoclaim(ctx: Context, argv: list[bytes]) -> Reply:
    """XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID]"""
    min_idle_ms = parse_min_idle_ms(argv[4], "XAUTOCLAIM")
    start = parse_start(argv[5])
    count = 100
    claim = _Claim(ctx.now_ms)
    args = Args(argv, 6)
    while args:
        word = args.take_word()
        if word == b"COUNT" and args:
            count = args.take_int(_COUNT_REFUSED)
            if not 1 <= count <= _COUNT_MAX:
                raise CommandError(_COUNT_REFUSED)
        elif word == b"JUSTID":
            claim.ids_only = True
        else:
            raise syntax_error()
    stream, group = get_group(ctx, argv[1], argv[2])
    ctx.engine.stream_policies.apply(ctx.db, argv[1], stream, group, ctx.now_ms)
    consumer = _consumer(ctx, group, argv)
    reply: list[Reply] = []
    deleted: list[bytes] = []
    attempts = count * _ATTEMPTS
    entries = group.pending.walk(start)
    for entry_id, delivery in entries:
        attempts -= 1
        if stream.get(entry_id) is None:
            ctx.db.dirty += group.forget((entry_id,))
            deleted.append(format_id(entry_id))
            count -= 1
        elif _is_idle(group, delivery, ctx.now_ms, min_idle_ms):
            reply.append(
                _take_over(ctx, stream, group, consumer=consumer, entry_id=entry_id, claim=claim)
            )
            count -= 1
        if not attempts or not count:
            break
    following = next(entries, None)
    cursor = b"0-0" if following is None else format_id(following[0])
    return [cursor, reply, deleted]


def _is_idle(group: Group, delivery: Delivery, now_ms: int, min_idle_ms: int) -> bool:
    if delivery.consumer is None:
        return group.is_available(delivery, now_ms)
    return not min_idle_ms or now_ms - delivery.at_ms >= min_idle_ms


SPECS = specs_of(xpending, xclaim, xautoclaim)
