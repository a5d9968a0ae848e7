"""Paced queues: making one, and changing how it runs. Entries come in through limits_queue_add.

A queue is a value like any other; it stays when it is empty. What is due is released by the
server's timer (engine.pacing), never within a command.
"""

from typing import Final

from hotplate.commands.limits_rows import GROUP, SINCE
from hotplate.engine.context import Context
from hotplate.errors import CommandError, WrongTypeError
from hotplate.keyspace.bucket import NS_PER_MS, Rate
from hotplate.keyspace.bucket_queue import (
    DROP_LOWEST,
    DROP_OLDEST,
    REJECT,
    SPILL,
    BucketQueue,
    Settings,
)
from hotplate.keyspace.bucket_queue_release import Outlet
from hotplate.keyspace.entry import Collection
from hotplate.keyspace.stream import Stream
from hotplate.limits import (
    QUEUE_BURST_MAX,
    QUEUE_CLASSES_MAX,
    QUEUE_ENTRIES_MAX,
    QUEUE_WEIGHT_MAX,
)
from hotplate.resp.types import OK, ZERO, Reply
from hotplate.spec.args import INT64_MAX, NO_SUCH_KEY, Args, syntax_error
from hotplate.spec.model import (
    Flag,
    Keys,
    block,
    command,
    integer,
    key,
    oneof,
    specs_of,
    string,
    token,
)
from hotplate.spec.reply import OK_REPLY, IntegerReply

_OVERFLOWS: Final = frozenset((REJECT, DROP_OLDEST, DROP_LOWEST, SPILL))


def find_queue(ctx: Context, name: bytes) -> BucketQueue | None:
    """The queue of a key, None where there is no key. WrongTypeError for another type."""
    entry = ctx.db.lookup_write(name, ctx.now_ms)
    if entry is None:
        return None
    queue = entry.value
    if not isinstance(queue, BucketQueue):
        raise WrongTypeError
    if not ctx.no_touch:
        entry.accessed_ms = ctx.now_ms
    return queue


def get_queue(ctx: Context, name: bytes) -> BucketQueue:
    """The same; it is an error if there is no key."""
    queue = find_queue(ctx, name)
    if queue is None:
        raise CommandError(NO_SUCH_KEY)
    return queue


def read_rate(args: Args, burst: int) -> Rate:
    """`count period_ms`; a count of 0 releases nothing."""
    count = args.take_int_within("count", 0)
    return Rate(burst, count, args.take_int_within("period", 1) * NS_PER_MS)


class _Options:
    """What LBQ.CREATE was told."""

    def __init__(self, argv: list[bytes]) -> None:
        self.into: bytes | None = None
        self.rate: Rate | None = None
        self.burst = 1
        self.capacity = QUEUE_ENTRIES_MAX
        self.capacity_bytes = INT64_MAX
        self.classes = 1
        self.weights: list[int] = []
        self.overflow = REJECT
        self.spill = self.group = b""
        self.credit = self.age_max_ns = 0
        self.dead: bytes | None = None
        args = Args(argv, 2)
        seen: set[bytes] = set()
        while args:
            word = args.take_word()
            if word in seen:
                raise syntax_error()
            seen.add(word)
            self._take(word, args)
        if self.into is None or self.rate is None:
            raise syntax_error()
        self.rate = Rate(self.burst, self.rate.count, self.rate.period_ns)

    def _take(self, word: bytes, args: Args) -> None:
        if word == b"INTO":
            self.into = args.take()
        elif word == b"RATE":
            self.rate = read_rate(args, 1)
        elif word == b"BURST":
            self.burst = args.take_int_within("BURST", 1, QUEUE_BURST_MAX)
        elif word == b"CAPACITY":
            self.capacity = args.take_int_within("CAPACITY", 0, QUEUE_ENTRIES_MAX)
        elif word == b"CAPBYTES":
            self.capacity_bytes = args.take_int_within("CAPBYTES", 0)
        elif word == b"CLASSES":
            self.classes = args.take_int_within("CLASSES", 1, QUEUE_CLASSES_MAX)
        elif word == b"OVERFLOW":
            self.overflow = args.take_word()
            if self.overflow not in _OVERFLOWS:
                raise syntax_error()
            if self.overflow == SPILL:
                self.spill = args.take()
        elif word == b"CREDIT":
            self.group = args.take()
            self.credit = args.take_int_within("CREDIT", 1)
        elif word == b"MAXAGE":
            self.age_max_ns = args.take_int_within("MAXAGE", 1) * NS_PER_MS
        elif word == b"DEAD":
            self.dead = args.take()
        elif word == b"WEIGHTS":
            self._take_weights(args)
        else:
            raise syntax_error()

    def _take_weights(self, args: Args) -> None:
        """One a class, so that CLASSES stands before."""
        for _ in range(self.classes):
            self.weights.append(args.take_int_within("weight", 1, QUEUE_WEIGHT_MAX))

    def settings(self) -> Settings:
        """What the queue keeps."""
        assert self.into is not None
        if self.weights and len(self.weights) != self.classes:
            raise syntax_error()  # WEIGHTS before CLASSES
        return Settings(
            into=self.into,
            weights=tuple(self.weights or [1] * self.classes),
            capacity=self.capacity,
            capacity_bytes=self.capacity_bytes,
            overflow=self.overflow,
            spill=self.spill,
            group=self.group,
            credit=self.credit,
            age_max_ns=self.age_max_ns,
            dead=self.dead,
        )


@command(
    "LBQ.CREATE",
    group=GROUP,
    since=SINCE,
    arity=-7,
    summary="Makes a queue whose entries drip into a stream at a rate, or changes its settings.",
    complexity="O(1), O(N) where there are N entries in it",
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(
        Keys(flags=("RW", "UPDATE")),
        Keys(keyword="INTO", start_from=2, flags=("RW", "INSERT")),
        Keys(keyword="SPILL", start_from=2, flags=("RW", "INSERT")),
        Keys(keyword="DEAD", start_from=2, flags=("RW", "INSERT")),
    ),
    args=(
        key(),
        key("stream", index=1, token="INTO"),
        block("rate", integer("count"), integer("period-milliseconds"), token="RATE"),
        integer("burst", token="BURST", optional=True),
        integer("entries", token="CAPACITY", optional=True),
        integer("bytes", token="CAPBYTES", optional=True),
        integer("classes", token="CLASSES", optional=True),
        integer("weight", token="WEIGHTS", optional=True, multiple=True),
        oneof(
            "overflow",
            token("REJECT"),
            token("DROPOLDEST"),
            token("DROPLOWEST"),
            key("queue", index=2, token="SPILL"),
            token="OVERFLOW",
            optional=True,
        ),
        block("credit", string("group"), integer("open"), token="CREDIT", optional=True),
        integer("milliseconds", token="MAXAGE", optional=True),
        key("dead-stream", index=3, token="DEAD", optional=True),
    ),
    reply=OK_REPLY,
    acl_categories=("limits",),
)
def lbq_create(ctx: Context, argv: list[bytes]) -> Reply:
    """LBQ.CREATE key INTO stream RATE count period_ms [option ...]"""
    options = _Options(argv)
    settings = options.settings()
    rate = options.rate
    assert rate is not None
    name = argv[1]
    queue = find_queue(ctx, name)
    _check_type(ctx, settings.into, Stream)
    if settings.dead is not None:
        _check_type(ctx, settings.dead, Stream)
    if settings.overflow == SPILL:
        _check_type(ctx, settings.spill, BucketQueue)
    if name in (settings.into, settings.dead) or (settings.spill == name and settings.spill):
        raise CommandError("a queue can't be its own stream, and can't spill into itself")
    if queue is None:
        queue = BucketQueue(settings, rate)
        queue.timebase = ctx.engine
        ctx.db.assign(name, queue, ctx.now_ms)
    else:
        queue.alter(settings, rate, ctx.engine.now_ns)
    ctx.db.changed(name, "queue-create")
    ctx.engine.pacing.follow(ctx.db, name, queue)
    return OK


def _check_type(ctx: Context, name: bytes, kind: type[Collection]) -> None:
    entry = ctx.db.lookup_write(name, ctx.now_ms)
    if entry is not None and not isinstance(entry.value, kind):
        raise WrongTypeError


@command(
    "LBQ.RATE",
    group=GROUP,
    since=SINCE,
    arity=4,
    summary="Changes the rate of a queue.",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "UPDATE")),),
    args=(key(), integer("count"), integer("period-milliseconds")),
    reply=OK_REPLY,
    acl_categories=("limits",),
)
def lbq_rate(ctx: Context, argv: list[bytes]) -> Reply:
    """LBQ.RATE key count period_ms"""
    rate = read_rate(Args(argv, 2), 1)
    queue = get_queue(ctx, argv[1])
    rate = Rate(queue.rate.limit, rate.count, rate.period_ns)
    queue.set_rate(rate, ctx.engine.now_ns)
    return _changed(ctx, argv[1], queue, "queue-rate")


@command(
    "LBQ.PAUSE",
    group=GROUP,
    since=SINCE,
    arity=2,
    summary="Lets a queue release nothing until it is resumed.",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "UPDATE")),),
    args=(key(),),
    reply=OK_REPLY,
    acl_categories=("limits",),
)
def lbq_pause(ctx: Context, argv: list[bytes]) -> Reply:
    """LBQ.PAUSE key"""
    queue = get_queue(ctx, argv[1])
    queue.pause()
    return _changed(ctx, argv[1], queue, "queue-pause")


@command(
    "LBQ.RESUME",
    group=GROUP,
    since=SINCE,
    arity=2,
    summary="Lets a paused queue release again.",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "UPDATE")),),
    args=(key(),),
    reply=OK_REPLY,
    acl_categories=("limits",),
)
def lbq_resume(ctx: Context, argv: list[bytes]) -> Reply:
    """LBQ.RESUME key"""
    queue = get_queue(ctx, argv[1])
    queue.resume(ctx.engine.now_ns)
    return _changed(ctx, argv[1], queue, "queue-resume")


def _changed(ctx: Context, name: bytes, queue: BucketQueue, event: str) -> Reply:
    ctx.db.changed(name, event)
    ctx.engine.pacing.follow(ctx.db, name, queue)
    return OK


@command(
    "LBQ.RELEASE",
    group=GROUP,
    since=SINCE,
    arity=2,
    summary="Releases what is due in a queue, as the server's timer does.",
    complexity="O(N), N being the number of entries that are due",
    flags=Flag.WRITE,
    keys=(Keys(flags=("RW", "UPDATE")),),
    args=(key(),),
    reply=IntegerReply(0),
    acl_categories=("limits",),
)
def lbq_release(ctx: Context, argv: list[bytes]) -> Reply:
    """LBQ.RELEASE key: how many entries went. At most those of one pass of the timer."""
    name = argv[1]
    queue = find_queue(ctx, name)
    if queue is None:
        return ZERO
    before = queue.figures.released
    Outlet(ctx.db, name, queue, ctx.engine).release_due()
    ctx.engine.pacing.follow(ctx.db, name, queue)
    return queue.figures.released - before


SPECS = specs_of(lbq_create, lbq_rate, lbq_pause, lbq_resume, lbq_release)
