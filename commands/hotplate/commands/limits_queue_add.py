"""Entries of paced queues: LBQ.ADD and LBQ.CANCEL.

    fits? ─ yes ─► queued
      └ no ─► OVERFLOW: rejected | queued in place of others, which go to the dead stream
                                 | spilled: added to another queue, if it has room

A rejection is a reply, no error. The key spec names the queue alone: that its stream, its dead
stream and the queue it spills into are written to was settled by LBQ.CREATE, which names them.
"""

from typing import Final

from hotplate.commands.limits_queue import find_queue, get_queue
from hotplate.commands.limits_rows import GROUP, SINCE
from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.bucket import NEVER_MS, NS_PER_MS
from hotplate.keyspace.bucket_queue import SPILL, BucketQueue
from hotplate.keyspace.bucket_queue_lines import Item
from hotplate.keyspace.bucket_queue_release import Outlet
from hotplate.keyspace.stream_entry import join_fields
from hotplate.limits import ARRAY_ITEMS_MAX, NAME_BYTES_MAX
from hotplate.resp.types import ZERO, Reply
from hotplate.spec.args import Args, syntax_error
from hotplate.spec.model import Flag, Keys, block, command, integer, key, specs_of, string
from hotplate.spec.reply import BulkReply, IntegerReply, NullReply, TupleReply, one_of

REJECTED: Final = 0
QUEUED: Final = 1
SPILLED: Final = 2
DUPLICATE: Final = 3
_NO_POSITION: Final = -1
_TICKET: Final = one_of(BulkReply(), NullReply())


class _Addition:
    """What LBQ.ADD was told."""

    __slots__ = ("cost", "delay_ns", "fields", "line", "producer", "ticket", "ttl_ns")

    def __init__(self, argv: list[bytes]) -> None:
        self.line = 0
        self.cost = 1
        self.delay_ns = self.ttl_ns = 0
        self.producer: tuple[bytes, bytes] | None = None
        self.ticket: bytes | None = None  # None: one is made
        args = Args(argv, 2)
        seen: set[bytes] = set()
        while True:
            word = args.take_word()
            if word == b"FIELDS":
                break
            if word in seen:
                raise syntax_error()
            seen.add(word)
            if word == b"CLASS":
                self.line = args.take_int_within("CLASS", 0)
            elif word == b"COST":
                self.cost = args.take_int_within("COST", 1)
            elif word == b"DELAY":
                self.delay_ns = args.take_int_within("DELAY", 0) * NS_PER_MS
            elif word == b"TTL":
                self.ttl_ns = args.take_int_within("TTL", 1) * NS_PER_MS
            elif word == b"IDMP":
                self.producer = (_name(args, "IDMP"), _name(args, "IDMP"))
            elif word == b"TICKET":
                self.ticket = _name(args, "TICKET")
            else:
                raise syntax_error()
        count = args.take_int_within("the number of fields", 1, ARRAY_ITEMS_MAX)
        self.fields = args.take_rest()
        if len(self.fields) != 2 * count:
            raise CommandError(
                f"FIELDS {count} must be followed by {2 * count} arguments, not {len(self.fields)}"
            )

    def item(self, ctx: Context, line: int) -> Item:
        """The entry, not in a queue yet."""
        now_ns = ctx.engine.now_ns
        ticket = self.ticket
        if ticket is None:
            limiter = ctx.engine.limiter
            limiter.number += 1
            ticket = b"%b-%012x" % (limiter.prefix, limiter.number)
        item = Item(ticket, line, self.cost, join_fields(self.fields), len(self.fields) // 2)
        item.size_bytes = self.size_bytes()
        item.added_ns = now_ns
        item.ready_ns = now_ns + self.delay_ns
        item.expires_ns = now_ns + self.ttl_ns if self.ttl_ns else 0
        item.producer = self.producer
        return item

    def size_bytes(self) -> int:
        """Names and values."""
        return sum(map(len, self.fields))


def _name(args: Args, word: str) -> bytes:
    name = args.take()
    if not 1 <= len(name) <= NAME_BYTES_MAX:
        raise CommandError(f"{word} takes names of 1 to {NAME_BYTES_MAX} bytes, not {len(name)}")
    return name


@command(
    "LBQ.ADD",
    group=GROUP,
    since=SINCE,
    arity=-6,
    summary="Adds an entry to a paced queue.",
    complexity="O(K), K being the number of classes, and O(D) where D entries are displaced",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "INSERT")),),
    args=(
        key(),
        integer("class", token="CLASS", optional=True),
        integer("cost", token="COST", optional=True),
        integer("delay-milliseconds", token="DELAY", optional=True),
        integer("ttl-milliseconds", token="TTL", optional=True),
        block("idempotence", string("producer"), string("id"), token="IDMP", optional=True),
        string("ticket", token="TICKET", optional=True),
        block(
            "fields",
            integer("numfields"),
            block("data", string("field"), string("value"), multiple=True),
            token="FIELDS",
        ),
    ),
    reply=TupleReply(
        (IntegerReply(0, 3), _TICKET, IntegerReply(_NO_POSITION), IntegerReply(NEVER_MS), _TICKET)
    ),
    acl_categories=("limits",),
)
def lbq_add(ctx: Context, argv: list[bytes]) -> Reply:
    """LBQ.ADD key [option ...] FIELDS n field value ..."""
    addition = _Addition(argv)
    name = argv[1]
    queue = get_queue(ctx, name)
    classes = len(queue.settings.weights)
    if addition.line >= classes:
        raise CommandError(f"CLASS must be 0 to {classes - 1}, not {addition.line}")
    other = None
    if queue.settings.overflow == SPILL:
        other = find_queue(ctx, queue.settings.spill)
    db, now_ns = ctx.db, ctx.engine.now_ns
    if addition.producer is not None:
        ticket = queue.known(addition.producer, now_ns)
        if ticket is not None:
            return _duplicate(queue, ticket, now_ns)
    if addition.ticket is not None:
        for known in (queue, other):
            if known is not None and known.find(addition.ticket) is not None:
                raise CommandError("an entry with that ticket is in the queue")
    outlet = Outlet(db, name, queue, ctx.engine)
    outlet.tend()
    size_bytes = addition.size_bytes()
    victims = queue.victims(size_bytes, addition.line)
    if victims is not None:
        for victim in victims:
            queue.remove(victim)
            queue.figures.displaced += 1
            outlet.bury(victim, b"displaced")
        item = addition.item(ctx, addition.line)
        displaced = victims[0].ticket if victims else None
        return [QUEUED, *_queue_up(ctx, name, queue, item), displaced]
    if other is not None:
        Outlet(db, queue.settings.spill, other, ctx.engine).tend()
        if other.has_room(size_bytes):
            queue.figures.spilled += 1
            line = min(addition.line, len(other.settings.weights) - 1)
            item = addition.item(ctx, line)
            return [SPILLED, *_queue_up(ctx, queue.settings.spill, other, item), None]
    queue.figures.rejected += 1
    ctx.engine.pacing.follow(db, name, queue)
    fits = size_bytes <= queue.settings.capacity_bytes and queue.settings.capacity > 0
    return [REJECTED, None, _NO_POSITION, queue.room_ms(now_ns) if fits else NEVER_MS, None]


def _queue_up(ctx: Context, name: bytes, queue: BucketQueue, item: Item) -> tuple[bytes, int, int]:
    """Add an entry: its ticket, position, and when it is to go."""
    now_ns = ctx.engine.now_ns
    queue.add(item, now_ns)
    position, eta_ms = queue.estimate(item, now_ns)
    ctx.db.changed(name, "enqueue")
    ctx.engine.pacing.follow(ctx.db, name, queue)
    return item.ticket, position, eta_ms


def _duplicate(queue: BucketQueue, ticket: bytes, now_ns: int) -> Reply:
    queue.figures.duplicates += 1
    item = queue.find(ticket)
    position, eta_ms = (_NO_POSITION, 0) if item is None else queue.estimate(item, now_ns)
    return [DUPLICATE, ticket, position, eta_ms, None]


@command(
    "LBQ.CANCEL",
    group=GROUP,
    since=SINCE,
    arity=-3,
    summary="Takes entries out of a paced queue.",
    complexity="O(N*K), N being the number of tickets, K of classes",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "DELETE")),),
    args=(key(), string("ticket", multiple=True)),
    reply=IntegerReply(0),
    acl_categories=("limits",),
)
def lbq_cancel(ctx: Context, argv: list[bytes]) -> Reply:
    """LBQ.CANCEL key ticket ...: how many of them were still in the queue"""
    name = argv[1]
    queue = find_queue(ctx, name)
    if queue is None:
        return ZERO
    cancelled = 0
    for ticket in argv[2:]:
        item = queue.find(ticket)
        if item is not None:
            queue.remove(item)
            cancelled += 1
    if cancelled:
        queue.figures.cancelled += cancelled
        ctx.db.changed(name, "cancel")
        ctx.engine.pacing.follow(ctx.db, name, queue)
    return cancelled


SPECS = specs_of(lbq_add, lbq_cancel)
