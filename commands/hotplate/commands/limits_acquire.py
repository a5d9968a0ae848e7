"""LB.ACQUIRE: taking from several limits at once, all of them or none.

    parse ─► look at every key (types, levels, known ids) ─► all admit? ─► charge all ─► reply
                                                              └─ no, PEEK ─► charge none ─► reply

Nothing changes before the last key has been looked at. A key that holds the call's id already is
not charged again and answers what it answered then.
"""

from typing import Any, Final, TypeAlias

from hotplate.commands.limits_rows import (
    GROUP,
    LIMITED_ROW,
    SINCE,
    check_id,
    find_entry,
    read_count,
    read_keys,
    row,
)
from hotplate.commands.limits_runs import acquire_run
from hotplate.commands.limits_usual import TTL_MS
from hotplate.engine.context import Context
from hotplate.errors import WrongTypeError
from hotplate.keyspace.bucket import NEVER_MS, NOW_MS, NS_PER_MS, Bucket, Rate
from hotplate.keyspace.bucket_entry import FadingEntry, follow_fading, store_fading
from hotplate.keyspace.bucket_leases import Leases
from hotplate.keyspace.bucket_ledger import Hold
from hotplate.resp.types import Raw, Reply
from hotplate.spec.args import parse_int_within, syntax_error
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
from hotplate.spec.reply import (
    ArrayReply,
    BulkReply,
    IntegerReply,
    NullReply,
    TupleReply,
    one_of,
)

SHARE_ALL: Final = 1000
_FLAGS: Final = frozenset((b"OVERDRAFT", b"PEEK", b"SHADOW"))
_LIMITS: Final = frozenset((b"RATE", b"CONC"))
_OPTIONS: Final = _FLAGS | {b"LIMIT", b"ID", b"TTL", b"SHARE"}
_NUMBER_STARTS: Final = frozenset(b"%c" % digit for digit in b"-+0123456789")


class _Call:
    """The options of one call."""

    __slots__ = ("flags", "rid", "share", "ttl_ms")

    def __init__(self) -> None:
        self.rid: bytes | None = None
        self.ttl_ms = TTL_MS
        self.share = SHARE_ALL
        self.flags: set[bytes] = set()


class _RateRow:
    """One key with a RATE."""

    __slots__ = ("bucket", "ceiling", "cost", "entry", "floor", "key", "known", "level", "rate")

    def __init__(self, rate: Rate, cost: int, floor: int) -> None:
        self.rate = rate
        self.cost = cost
        self.floor = floor

    def look(self, ctx: Context, key: bytes, call: _Call) -> int:
        """Find the key: how long the call must wait for it."""
        self.key = key
        rate = self.rate
        self.known = None
        self.level = level = 0
        bucket: Any = None
        entry = self.entry = find_entry(ctx, key)
        if entry is not None:
            now_ns = ctx.engine.now_ns
            bucket = entry.value
            if bucket.__class__ is not Bucket:
                raise WrongTypeError
            if bucket.rate is rate:
                level = bucket.mark - now_ns * rate.count
                self.level = level = max(0, level)
            else:
                self.level = level = bucket.level_in(rate, now_ns)
            if call.rid is not None and bucket.ledger is not None:
                self.known = bucket.hold(call.rid, now_ns)
        self.bucket: Bucket | None = bucket
        ceiling = rate.brim
        if call.share != SHARE_ALL:
            ceiling = ceiling * call.share // SHARE_ALL
        self.ceiling = ceiling
        charge = self.cost * rate.period_ns
        if self.known is not None or (level + charge <= ceiling and ceiling):
            return NOW_MS
        find_wait = rate.overdraft_ms if b"OVERDRAFT" in call.flags else rate.retry_ms
        return find_wait(level, charge, ceiling)

    def charge(self, ctx: Context, rid: bytes, expires_ns: int) -> bytes:
        """Reserve the cost; the row."""
        known = self.known
        if known is not None:
            return row(0, known.limit, known.remaining, NOW_MS, known.reset_ms)
        rate = self.rate
        bucket = self.bucket
        now_ns = ctx.engine.now_ns
        if bucket is None:
            bucket = Bucket(rate)
        elif bucket.rate is not rate:
            bucket.adopt(rate, now_ns)
        hold = Hold(self.cost, self.floor, expires_ns)
        level = bucket.reserve(rid, hold, self.level, now_ns)
        _store(ctx, self.key, self.entry, bucket, rate.count == 0)
        ceiling = self.ceiling
        period_ns = rate.period_ns
        limit = rate.limit if ceiling == rate.brim else ceiling // period_ns
        remaining = (ceiling - level) // period_ns if level < ceiling else 0
        hold.limit = limit
        hold.remaining = remaining
        hold.reset_ms = reset_ms = rate.drain_ms(level)
        return b"*5\r\n:0\r\n:%d\r\n:%d\r\n:-1\r\n:%d\r\n" % (limit, remaining, reset_ms)

    def show(self, ctx: Context, wait_ms: int) -> bytes:
        """The row of a key that is not charged."""
        rate = self.rate
        return row(
            int(wait_ms != NOW_MS),
            self.ceiling // rate.period_ns,
            rate.remaining(self.level, self.ceiling),
            wait_ms,
            rate.drain_ms(self.level),
        )

    def count_limited(self) -> None:
        """The call was not admitted because of this key."""
        if self.bucket is not None:
            self.bucket.limited += 1


class _LeaseRow:
    """One key with a CONC."""

    __slots__ = ("ceiling", "entry", "key", "known", "leases", "limit", "places")

    def __init__(self, limit: int, places: int) -> None:
        self.limit = limit
        self.places = places

    def look(self, ctx: Context, key: bytes, call: _Call) -> int:
        """Find the key: how long the call must wait for it."""
        self.key = key
        now_ns = ctx.engine.now_ns
        self.entry = find_entry(ctx, key)
        self.leases: Leases | None = None
        if self.entry is not None:
            value = self.entry.value
            if not isinstance(value, Leases):
                raise WrongTypeError
            self.leases = value
        self.ceiling = self.limit * call.share // SHARE_ALL
        self.known: Hold | None = None
        if self.leases is not None and call.rid is not None:
            self.known = self.leases.hold(call.rid, now_ns)
            if self.known is not None:
                return NOW_MS
        if self.leases is not None:
            return self.leases.retry_ms(self.places, self.ceiling, now_ns)
        return NOW_MS if self.places <= self.ceiling else NEVER_MS

    def charge(self, ctx: Context, rid: bytes, expires_ns: int) -> bytes:
        """Take the places; the row."""
        known = self.known
        if known is not None:
            return row(0, known.limit, known.remaining, NOW_MS, known.reset_ms)
        leases = self.leases
        if leases is None:
            leases = self.leases = Leases(self.limit)
        now_ns = ctx.engine.now_ns
        hold = Hold(self.places, 0, expires_ns)
        leases.limit = self.limit
        leases.reserve(rid, hold, now_ns)
        leases.admitted += 1
        _store(ctx, self.key, self.entry, leases, False)
        hold.answered(self.ceiling, self.ceiling - leases.used, leases.reset_ms(now_ns))
        return row(0, hold.limit, hold.remaining, NOW_MS, hold.reset_ms)

    def show(self, ctx: Context, wait_ms: int) -> bytes:
        """The row of a key that is not charged."""
        now_ns = ctx.engine.now_ns
        used = reset_ms = 0
        if self.leases is not None:
            used, reset_ms = self.leases.used_at(now_ns), self.leases.reset_ms(now_ns)
        remaining = max(0, self.ceiling - used)
        return row(int(wait_ms != NOW_MS), self.ceiling, remaining, wait_ms, reset_ms)

    def count_limited(self) -> None:
        """The call was not admitted because of this key."""
        if self.leases is not None:
            self.leases.limited += 1


_Row: TypeAlias = _RateRow | _LeaseRow


def _store(
    ctx: Context, key: bytes, entry: FadingEntry | None, value: Bucket | Leases, stays: bool
) -> None:
    """The value was charged; `stays`: it does not drain."""
    db = ctx.db
    if entry is None:
        store_fading(db, key, value, ctx.engine)
    else:
        entry.accessed_ms = ctx.now_ms
        # what lasts longer than before needs nothing, unless it lasts for ever or did
        if stays or not entry.own_ms:
            follow_fading(db, key, entry)
    db.dirty += 1
    if db.observer is not None:
        db.observer(db.index, key, "acquire")


@command(
    "LB.ACQUIRE",
    group=GROUP,
    since=SINCE,
    arity=-6,
    summary="Takes from several limits at once, from all of them or from none.",
    complexity="O(N), N being the number of keys, while no CONC is full",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(begin=1, key_number=0, first=1, flags=("RW", "ACCESS", "UPDATE")),),
    args=(
        integer("numkeys"),
        key(multiple=True),
        oneof(
            "limit",
            block(
                "rate",
                token("RATE"),
                integer("capacity"),
                integer("count"),
                integer("period-milliseconds"),
                integer("cost"),
                integer("floor", optional=True),
            ),
            block("leases", token("CONC"), integer("limit"), integer("places", optional=True)),
            token="LIMIT",
            multiple=True,
        ),
        string("id", token="ID", optional=True),
        integer("milliseconds", token="TTL", optional=True),
        integer("permille", token="SHARE", optional=True),
        token("OVERDRAFT", optional=True),
        token("PEEK", optional=True),
        token("SHADOW", optional=True),
    ),
    reply=TupleReply(
        (
            IntegerReply(0, 1),
            one_of(BulkReply(), NullReply()),
            IntegerReply(minimum=-2),
            ArrayReply(LIMITED_ROW),
        )
    ),
    acl_categories=("limits",),
    run=acquire_run,
)
def lb_acquire(ctx: Context, argv: list[bytes]) -> Reply:
    """LB.ACQUIRE numkeys key ... LIMIT <RATE ... | CONC ...> ... [option ...]"""
    frames: list[bytes] = []
    if acquire_run(ctx, [argv], 0, frames.append):
        return Raw(frames[0])
    keys = read_keys(argv, 1)
    call = _Call()
    rows = _parse(ctx, argv, len(keys), call)
    return _acquire(ctx, keys, rows, call)


def _acquire(ctx: Context, keys: list[bytes], rows: list[_Row], call: _Call) -> Reply:
    waits = [asked.look(ctx, name, call) for asked, name in zip(rows, keys, strict=True)]
    wait_ms = NEVER_MS if NEVER_MS in waits else max(waits)
    admitted = wait_ms == NOW_MS
    rid = call.rid
    if admitted and b"PEEK" not in call.flags:
        if rid is None:
            rid = ctx.engine.limiter.next_id()
        expires_ns = ctx.engine.now_ns + call.ttl_ms * NS_PER_MS
        frames = [asked.charge(ctx, rid, expires_ns) for asked in rows]
        return _reply(ctx, rid, NOW_MS, frames)
    if not admitted and b"PEEK" not in call.flags:
        for asked, wait in zip(rows, waits, strict=True):
            if wait != NOW_MS:
                asked.count_limited()
    frames = [asked.show(ctx, wait) for asked, wait in zip(rows, waits, strict=True)]
    if b"SHADOW" in call.flags:
        wait_ms = NOW_MS
        if b"PEEK" not in call.flags:
            return _reply(ctx, rid or ctx.engine.limiter.next_id(), wait_ms, frames)
    return _reply(ctx, None, wait_ms, frames)


def _reply(ctx: Context, rid: bytes | None, wait_ms: int, frames: list[bytes]) -> Raw:
    if rid is not None:
        shown = b"$%d\r\n%b\r\n" % (len(rid), rid)
    else:
        shown = b"$-1\r\n" if ctx.resp == 2 else b"_\r\n"
    return Raw(
        b"*4\r\n:%d\r\n%b:%d\r\n*%d\r\n%b"
        % (wait_ms != NOW_MS, shown, wait_ms, len(frames), b"".join(frames))
    )


def _parse(ctx: Context, argv: list[bytes], count: int, call: _Call) -> list[_Row]:
    rows: list[_Row] = []
    seen: set[bytes] = set()
    position = 2 + count
    end = len(argv)
    while position < end:
        word = argv[position]
        if word not in _OPTIONS:
            word = word.upper()
        if word in seen or word not in _OPTIONS:
            raise syntax_error()
        seen.add(word)
        position += 1
        if word == b"LIMIT":
            position = _parse_limits(ctx, argv, position, count, rows)
        elif word in _FLAGS:
            call.flags.add(word)
        elif position == end:
            raise syntax_error()
        else:
            text = argv[position]
            position += 1
            if word == b"ID":
                call.rid = check_id(text)
            elif word == b"TTL":
                call.ttl_ms = parse_int_within(text, "TTL", 1)
            else:
                call.share = parse_int_within(text, "SHARE", 1, SHARE_ALL)
    if not rows:
        raise syntax_error()
    return rows


def _parse_limits(
    ctx: Context, argv: list[bytes], position: int, count: int, rows: list[_Row]
) -> int:
    """`count` limits from a position on; the position after them."""
    rates = ctx.engine.limiter.rates
    end = len(argv)
    for _ in range(count):
        word = argv[position] if position < end else b""
        if word not in _LIMITS:
            word = word.upper()
        if word == b"RATE" and position + 4 < end:
            texts = (argv[position + 1], argv[position + 2], argv[position + 3])
            rate = rates.get(texts)
            if rate is None:
                rate = _parse_rate(ctx, texts)
            cost = read_count(argv[position + 4], "cost")
            position += 5
            floor = 0
            if position < end and argv[position][:1] in _NUMBER_STARTS:
                floor = parse_int_within(argv[position], "floor", 0, cost)
                position += 1
            rows.append(_RateRow(rate, cost, floor))
        elif word == b"CONC" and position + 1 < end:
            limit = read_count(argv[position + 1], "limit")
            position += 2
            places = 1
            if position < end and argv[position][:1] in _NUMBER_STARTS:
                places = parse_int_within(argv[position], "places", 1)
                position += 1
            rows.append(_LeaseRow(limit, places))
        else:
            raise syntax_error()
    return position


def _parse_rate(ctx: Context, texts: tuple[bytes, ...]) -> Rate:
    capacity = parse_int_within(texts[0], "capacity", 0)
    count = parse_int_within(texts[1], "count", 0)
    rate = Rate(capacity, count, parse_int_within(texts[2], "period", 1) * NS_PER_MS)
    ctx.engine.limiter.remember_rate(texts, rate)
    return rate


SPECS = specs_of(lb_acquire)
