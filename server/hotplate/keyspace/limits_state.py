"""What outlives the process of buckets, leases and paced queues: texts, written and read.

    value     kind, form of the texts (1), wall time in ns when they were written, rounded up, then
    bucket    level, limit, count, period_ns, slack, number of holds, holds
    leases    limit, number of holds, holds
    hold      id, cost, floor, slack, ns left, limit, remaining, reset_ms
    queue     count, period_ns, burst, settings, paused, anchor, turn, serial, eight figures,
              number of items, items, number of released ones that are known, those
    settings  stream, number of classes, weights, capacity, bytes, overflow, spill, group, credit,
              ns of age, dead stream or nothing (preceded by 0 or 1); each class its deficit and how
              many it released
    item      ticket, class, cost, number of fields, names and values, ns since added, ns to ready,
              ns to its end (0: none), serial, producer and its id or nothing (0 or 1 before)
    released  producer, its id, ticket, ns since

Numbers are decimal. Spans count from the moment of writing; reading takes the wall time since then
off, never less than nothing. A bucket has then drained, a lease may be over, an entry be due; what
was due meanwhile the queue releases no faster than after any other delay. Reading bytes that make
no sense raises RdbError and nothing else.
"""

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from hotplate.keyspace.bucket import INT64_MAX, NS_PER_MS, Bucket, BucketState, Rate
from hotplate.keyspace.bucket_leases import Leases
from hotplate.keyspace.bucket_ledger import HoldState
from hotplate.keyspace.bucket_queue import BucketQueue, Settings
from hotplate.keyspace.bucket_queue_lines import Item
from hotplate.keyspace.bucket_timebase import Timebase
from hotplate.keyspace.rdb_bytes import RdbError
from hotplate.keyspace.stream_entry import fields_of, join_fields
from hotplate.limits import QUEUE_BURST_MAX, QUEUE_CLASSES_MAX, QUEUE_WEIGHT_MAX

Limit: TypeAlias = Bucket | Leases | BucketQueue
FORM: Final = 1
_DIGITS_MAX: Final = 80  # a level is a product of two 64-bit numbers and a million
_OVERFLOWS: Final = (b"REJECT", b"DROPOLDEST", b"DROPLOWEST", b"SPILL")
_SPAN_MAX: Final = INT64_MAX * NS_PER_MS


def texts_of(value: Limit, timebase: Timebase) -> list[bytes]:
    """A value as texts, at the timebase's time."""
    now_ns, wall_ns = timebase.now_ns, (timebase.now_ms + 1) * NS_PER_MS
    head = [value.type_name, b"%d" % FORM, b"%d" % wall_ns]
    if isinstance(value, BucketQueue):
        return head + list(_queue_texts(value, now_ns))
    if isinstance(value, Leases):
        _, limit, holds = value.dump(now_ns, wall_ns)
        return [*head, b"%d" % limit, *_hold_texts(holds)]
    _, *numbers, slack, holds = value.dump(now_ns, wall_ns)
    texts = [b"%d" % number for number in numbers]
    return [*head, *texts, b"" if slack is None else b"%d" % slack, *_hold_texts(holds)]


def value_of_texts(texts: list[bytes], timebase: Timebase) -> Limit:
    """The value that texts tell of, the time since they were written taken off. RdbError."""
    reader = _Reader(texts)
    kind = reader.text()
    read = _READERS.get(kind)
    if read is None or reader.number(0, INT64_MAX) != FORM:
        raise RdbError("an unknown kind of limit")
    wall_ns = timebase.now_ms * NS_PER_MS
    saved_ns = reader.number(0, _SPAN_MAX)
    value = read(reader, timebase.now_ns, saved_ns, wall_ns)
    if isinstance(value, BucketQueue):
        value.timebase = timebase
    reader.finish()
    return value


class _Reader:
    """A place in texts."""

    __slots__ = ("_at", "_texts")

    def __init__(self, texts: list[bytes]) -> None:
        self._texts = texts
        self._at = 0

    def text(self) -> bytes:
        """The next one."""
        if self._at >= len(self._texts):
            raise RdbError("the state ends too early")
        self._at += 1
        return self._texts[self._at - 1]

    def number(self, minimum: int, maximum: int) -> int:
        """The next one, a number within bounds."""
        text = self.text()
        digits = text[1:] if text[:1] == b"-" else text
        if not digits.isdigit() or len(digits) > _DIGITS_MAX:
            raise RdbError("no number")
        number = int(text)
        if not minimum <= number <= maximum:
            raise RdbError("a number out of range")
        return number

    def count(self) -> int:
        """How many of something follow: each takes a text at least."""
        return self.number(0, len(self._texts) - self._at)

    def finish(self) -> None:
        """Nothing may be left."""
        if self._at != len(self._texts):
            raise RdbError("the state goes on too long")


# -- buckets and leases ----------------------------------------------------------------------------


def _hold_texts(holds: tuple[HoldState, ...]) -> Iterator[bytes]:
    yield b"%d" % len(holds)
    for rid, *numbers in holds:
        yield rid
        for number in numbers:
            yield b"%d" % number


def _read_holds(reader: _Reader, level_max: int) -> tuple[HoldState, ...]:
    holds: dict[bytes, HoldState] = {}
    for _ in range(reader.count()):
        rid = reader.text()
        cost = reader.number(0, INT64_MAX)
        floor = reader.number(0, cost)
        slack = reader.number(0, level_max)
        left_ns = reader.number(-_SPAN_MAX, 2 * _SPAN_MAX)
        limit, remaining = reader.number(0, INT64_MAX), reader.number(0, INT64_MAX)
        reset_ms = reader.number(-2, INT64_MAX)
        if rid in holds:
            raise RdbError("a reservation twice")
        holds[rid] = (rid, cost, floor, slack, left_ns, limit, remaining, reset_ms)
    return tuple(holds.values())


def _read_bucket(reader: _Reader, now_ns: int, saved_ns: int, wall_ns: int) -> Bucket:
    level_max: int = 10**_DIGITS_MAX
    level = reader.number(0, level_max)
    limit, count = reader.number(0, INT64_MAX), reader.number(0, INT64_MAX)
    period_ns = reader.number(1, _SPAN_MAX)
    text = reader.text()
    slack = _Reader([text]).number(0, level_max) if text else None
    holds = _read_holds(reader, level_max)
    state: BucketState = (saved_ns, level, limit, count, period_ns, slack, holds)
    return Bucket.load(state, now_ns, wall_ns)


def _read_leases(reader: _Reader, now_ns: int, saved_ns: int, wall_ns: int) -> Leases:
    limit = reader.number(0, INT64_MAX)
    return Leases.load((saved_ns, limit, _read_holds(reader, 0)), now_ns, wall_ns)


# -- queues ----------------------------------------------------------------------------------------


def _queue_texts(queue: BucketQueue, now_ns: int) -> Iterator[bytes]:
    settings, rate = queue.settings, queue.rate
    for number in (rate.count, rate.period_ns, rate.limit):
        yield b"%d" % number
    yield settings.into
    yield b"%d" % len(settings.weights)
    for line in queue.lines:
        for number in (line.weight, line.deficit, line.released):
            yield b"%d" % number
    yield b"%d" % settings.capacity
    yield b"%d" % settings.capacity_bytes
    yield from (settings.overflow, settings.spill, settings.group)
    yield b"%d" % settings.credit
    yield b"%d" % settings.age_max_ns
    yield from (b"0",) if settings.dead is None else (b"1", settings.dead)
    lead = queue.anchor - now_ns * rate.count
    turn = queue.turn_at
    if not queue.ready:  # who was released last, and how long ago, does not matter any more
        # since when somebody could be, though nobody came yet to see it
        due = (item.ready_ns for item in queue.waiting.values() if item.ready_ns <= now_ns)
        lead = max(lead, (min(due, default=now_ns) - now_ns) * rate.count)
        turn = len(queue.lines) - 1
    for number in (queue.is_paused, lead, turn, queue.serial):
        yield b"%d" % number
    for name in queue.figures.__slots__:
        yield b"%d" % getattr(queue.figures, name)
    yield b"%d" % queue.length
    for item in queue.items():
        yield from _item_texts(item, now_ns)
    recent = list(queue.recent())
    yield b"%d" % len(recent)
    for producer, ticket, at_ns in recent:
        yield from (*producer, ticket, b"%d" % (now_ns - at_ns))


def _item_texts(item: Item, now_ns: int) -> Iterator[bytes]:
    yield item.ticket
    for number in (item.line, item.cost, item.field_count):
        yield b"%d" % number
    yield from fields_of(b"*2\r\n$0\r\n\r\n*%d\r\n%b" % (2 * item.field_count, item.body))
    end_ns = 0
    if item.expires_ns is not None:
        end_ns = item.expires_ns - now_ns or -1  # over, though nobody came yet
    for number in (now_ns - item.added_ns, item.ready_ns - now_ns, end_ns, item.serial):
        yield b"%d" % number
    yield from (b"0",) if item.producer is None else (b"1", *item.producer)


def _read_settings(reader: _Reader) -> tuple[Settings, list[tuple[int, int]]]:
    """The settings, and of each class its deficit and how many entries it released."""
    into = reader.text()
    weights: list[int] = []
    turns: list[tuple[int, int]] = []
    for _ in range(reader.number(1, QUEUE_CLASSES_MAX)):
        weights.append(reader.number(1, QUEUE_WEIGHT_MAX))
        turns.append((reader.number(0, 2 * INT64_MAX), reader.number(0, INT64_MAX)))
    capacity, capacity_bytes = reader.number(0, INT64_MAX), reader.number(0, INT64_MAX)
    overflow, spill, group = reader.text(), reader.text(), reader.text()
    if overflow not in _OVERFLOWS:
        raise RdbError("an unknown rule for what does not fit")
    credit, age_max_ns = reader.number(0, INT64_MAX), reader.number(0, _SPAN_MAX)
    dead = reader.text() if reader.number(0, 1) else None
    settings = Settings(
        into=into,
        weights=tuple(weights),
        capacity=capacity,
        capacity_bytes=capacity_bytes,
        overflow=overflow,
        spill=spill,
        group=group,
        credit=credit,
        age_max_ns=age_max_ns,
        dead=dead,
    )
    return settings, turns


def _read_queue(reader: _Reader, now_ns: int, saved_ns: int, wall_ns: int) -> BucketQueue:
    then_ns = now_ns - max(0, wall_ns - saved_ns)  # when it was written, by this clock
    count, period_ns = reader.number(0, INT64_MAX), reader.number(1, _SPAN_MAX)
    rate = Rate(reader.number(1, QUEUE_BURST_MAX), count, period_ns)
    settings, turns = _read_settings(reader)
    queue = BucketQueue(settings, rate)
    is_paused = bool(reader.number(0, 1))
    lead = reader.number(-(10**_DIGITS_MAX), 10**_DIGITS_MAX)
    turn = reader.number(0, len(turns) - 1)
    serial = reader.number(0, INT64_MAX)
    figures = [reader.number(0, INT64_MAX) for _ in queue.figures.__slots__]
    tickets: set[bytes] = set()
    for _ in range(reader.count()):
        item = _read_item(reader, then_ns, len(turns))
        if item.ticket in tickets:
            raise RdbError("an entry twice")
        tickets.add(item.ticket)
        queue.put_back(item, then_ns)
    for _ in range(reader.count()):
        producer, ticket = (reader.text(), reader.text()), reader.text()
        queue.remember(producer, ticket, then_ns - reader.number(0, 2 * _SPAN_MAX))
    for name, figure in zip(queue.figures.__slots__, figures, strict=True):
        setattr(queue.figures, name, figure)
    queue.is_paused = is_paused
    queue.serial = serial
    # it may be due, but the future can't have been
    queue.anchor = min(then_ns * count + lead, now_ns * count)
    queue.set_turn(turn, turns)
    return queue


def _read_item(reader: _Reader, then_ns: int, classes: int) -> Item:
    ticket = reader.text()
    line = reader.number(0, classes - 1)
    cost = reader.number(1, INT64_MAX)
    fields = [reader.text() for _ in range(2 * reader.count())]
    item = Item(ticket, line, cost, join_fields(fields), len(fields) // 2)
    item.size_bytes = sum(map(len, fields))
    item.added_ns = then_ns - reader.number(0, 2 * _SPAN_MAX)
    item.ready_ns = then_ns + reader.number(-2 * _SPAN_MAX, _SPAN_MAX)
    end_ns = reader.number(-2 * _SPAN_MAX, _SPAN_MAX)
    item.expires_ns = then_ns + end_ns if end_ns else None
    item.serial = reader.number(0, INT64_MAX)
    if reader.number(0, 1):
        item.producer = (reader.text(), reader.text())
    return item


_READERS: Final[dict[bytes, Callable[[_Reader, int, int, int], Limit]]] = {
    Bucket.type_name: _read_bucket,
    Leases.type_name: _read_leases,
    BucketQueue.type_name: _read_queue,
}
