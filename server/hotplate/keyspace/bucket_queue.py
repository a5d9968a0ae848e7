"""The paced queue: a bucket whose water is the entries themselves, which drip into a stream.

    add ─► delayed ─► line of its class ─┐ weighted turns,            ┌─► stream
             │            │              ├─ one after the other, ─────┤
             └─ expired ──┴─ displaced   ┘ never faster than the rate └─ dead letters

An entry of cost c is due c * period / count after the one before it, or after the queue ceased to
be empty. `anchor` is when the last one was due, in nanoseconds * count, so that nothing is rounded
for any rate. Who comes late (a busy server, one that stood still) may catch up by `burst` tokens
and no more: an entry counts as due no earlier than max(0, burst - c) periods before it is released.
From that follows for every window of t: released costs <= max(burst, largest cost) + rate * t, for
each entry is due c periods after the one before, and the first of the window is late by at most
what the burst leaves beside its own cost.

Times are nanoseconds of a clock that never steps, given by the caller. It knows no key, no stream
and no client; `bucket_queue_release` moves what is due.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar, Final

from hotplate.keyspace.bucket import INT64_MAX, NEVER_MS, NEVER_USED, NS_PER_MS, Rate
from hotplate.keyspace.bucket_queue_lines import Item, Line, Rotation
from hotplate.keyspace.bucket_timebase import Timebase
from hotplate.keyspace.deadlines import Deadlines

UNKNOWN_MS: Final = -1  # to wait: nobody knows
REJECT: Final = b"REJECT"
DROP_OLDEST: Final = b"DROPOLDEST"
DROP_LOWEST: Final = b"DROPLOWEST"
SPILL: Final = b"SPILL"
# what producers sent stays known while it waits, and so long after it was released
KNOWN_NS: Final = 100_000_000_000
KNOWN_MAX: Final = 10_000  # of those released
_TEND_MAX: Final = 1_000  # delayed and expired entries that one pass looks at


@dataclass(frozen=True, slots=True)
class Settings:
    """What LBQ.CREATE said, the rate and its burst aside."""

    into: bytes
    weights: tuple[int, ...] = (1,)  # one a class, the most important class first
    capacity: int = INT64_MAX  # entries
    capacity_bytes: int = INT64_MAX
    overflow: bytes = REJECT
    spill: bytes = b""  # another queue's key
    group: bytes = b""  # of the stream; nothing is released while `credit` of its entries are open
    credit: int = 0  # 0: no such limit
    age_max_ns: int = 0  # who waits for longer goes first; 0: nobody
    dead: bytes | None = None  # a stream for what is dropped


@dataclass(slots=True)
class Figures:
    """What happened since the queue was made."""

    added: int = 0
    released: int = 0
    rejected: int = 0
    displaced: int = 0
    expired: int = 0
    cancelled: int = 0
    duplicates: int = 0
    spilled: int = 0


class BucketQueue:
    """One key's queue."""

    __slots__ = (
        "_delayed",
        "_expiries",
        "_known",
        "_oldest_turn",
        "_recent",
        "_rotation",
        "anchor",
        "figures",
        "held_by",
        "held_ns",
        "is_paused",
        "length",
        "rate",
        "ready",
        "serial",
        "settings",
        "size_bytes",
        "timebase",
        "waiting",
    )
    type_name: ClassVar[bytes] = b"leakyqueue"

    def __init__(self, settings: Settings, rate: Rate) -> None:
        self.settings = settings
        self.rate = rate  # its `limit` is the burst
        self.anchor = NEVER_USED
        self.is_paused = False
        self.held_by = b""  # what keeps due entries back: `credit` or `stream`
        self.held_ns = 0  # for how long to wait before looking again
        self.length = 0  # all entries, `ready` those that are not delayed
        self.ready = 0
        self.size_bytes = 0
        self.waiting: OrderedDict[bytes, Item] = OrderedDict()  # delayed, by ticket
        self.figures = Figures()
        self._rotation = Rotation([Line(weight) for weight in settings.weights])
        self._oldest_turn = False  # whether the next one goes by age
        self._delayed = Deadlines()  # ticket -> nanoseconds
        self._expiries = Deadlines()  # ticket -> nanoseconds
        self._known: dict[tuple[bytes, bytes], bytes] = {}  # producer and id -> ticket, waiting
        # the same of those released, and when
        self._recent: OrderedDict[tuple[bytes, bytes], tuple[bytes, int]] = OrderedDict()
        self.serial = 0  # of the entry that came last
        self.timebase: Timebase | None = None  # for who saves it; nothing here looks at it

    @property
    def lines(self) -> list[Line]:
        """One a class."""
        return self._rotation.lines

    # -- coming in -----------------------------------------------------------------------------

    def add(self, item: Item, now_ns: int) -> None:
        """An entry comes in; whether there is room was asked before."""
        self.serial += 1
        item.serial = self.serial
        self.figures.added += 1
        self.put_back(item, now_ns)

    def put_back(self, item: Item, now_ns: int) -> None:
        """The same with an entry that was in this queue before."""
        self.length += 1
        self.size_bytes += item.size_bytes
        if item.producer is not None:
            self._known[item.producer] = item.ticket
        if item.expires_ns is not None:
            self._expiries.set(item.ticket, item.expires_ns)
        if item.ready_ns > now_ns:
            self._delay(item)
        else:
            self._join(item)

    def _delay(self, item: Item) -> None:
        self.waiting[item.ticket] = item
        self.lines[item.line].delayed += 1
        self._delayed.set(item.ticket, item.ready_ns)

    def _join(self, item: Item) -> None:
        if not self.ready:
            self._rotation.begin()
            self.anchor = max(self.anchor, item.ready_ns * self.rate.count)
        self.ready += 1
        self.lines[item.line].join(item)

    def known(self, producer: tuple[bytes, bytes], now_ns: int) -> bytes | None:
        """The ticket of an entry that a producer added under the same id."""
        ticket = self._known.get(producer)
        if ticket is None:
            self._forget_recent(now_ns)
            recent = self._recent.get(producer)
            ticket = None if recent is None else recent[0]
        return ticket

    def has_room(self, size_bytes: int) -> bool:
        """Whether one more entry of that size fits."""
        settings = self.settings
        return (
            self.length < settings.capacity
            and self.size_bytes + size_bytes <= settings.capacity_bytes
        )

    def victims(self, size_bytes: int, line: int) -> list[Item] | None:
        """Who must go to let an entry in, as the overflow rule says; None: it can't be let in."""
        settings = self.settings
        if self.has_room(size_bytes):
            return []
        if size_bytes > settings.capacity_bytes or not settings.capacity:
            return None
        if settings.overflow == DROP_OLDEST:
            candidates = self._oldest_first()
        elif settings.overflow == DROP_LOWEST:
            candidates = self._lowest_first(line)
        else:
            return None
        victims: list[Item] = []
        count, total_bytes = self.length, self.size_bytes + size_bytes
        for item in candidates:
            victims.append(item)
            count -= 1
            total_bytes -= item.size_bytes
            if count < settings.capacity and total_bytes <= settings.capacity_bytes:
                return victims
        return None

    def _oldest_first(self) -> Iterator[Item]:
        """Those that may be released, then the delayed ones."""
        rests = [iter(line.items.values()) for line in self.lines]
        heads = [next(rest, None) for rest in rests]
        while True:
            there = [(item.serial, at) for at, item in enumerate(heads) if item is not None]
            if not there:
                break
            at = min(there)[1]
            head = heads[at]
            assert head is not None
            yield head
            heads[at] = next(rests[at], None)
        yield from self.waiting.values()

    def _lowest_first(self, line: int) -> Iterator[Item]:
        """Those of less important classes, the least important first, the youngest of it first."""
        for other in range(len(self.lines) - 1, line, -1):
            yield from reversed(self.lines[other].items.values())

    # -- going out -----------------------------------------------------------------------------

    def find(self, ticket: bytes) -> Item | None:
        """An entry by its ticket."""
        item = self.waiting.get(ticket)
        if item is None:
            for line in self.lines:
                item = line.items.get(ticket)
                if item is not None:
                    break
        return item

    def remove(self, item: Item) -> None:
        """An entry leaves and is forgotten."""
        if self.waiting.pop(item.ticket, None) is not None:
            self._delayed.discard(item.ticket)
            self.lines[item.line].delayed -= 1
        else:
            self.lines[item.line].leave(item)
            self.ready -= 1
        self.length -= 1
        self.size_bytes -= item.size_bytes
        if item.expires_ns is not None:
            self._expiries.discard(item.ticket)
        if item.producer is not None:
            self._known.pop(item.producer, None)

    def tend(self, now_ns: int) -> list[Item]:
        """Let delayed entries join whose time has come; remove and answer those that expired."""
        expired: list[Item] = []
        if self._expiries.first_ms <= now_ns:
            for ticket in self._expiries.pop_due(now_ns + 1, _TEND_MAX):
                item = self.find(ticket)
                if item is not None:
                    self.remove(item)
                    expired.append(item)
            self.figures.expired += len(expired)
        if self._delayed.first_ms <= now_ns:
            due = self._delayed.pop_due(now_ns + 1, _TEND_MAX)
            for item in sorted(map(self.waiting.pop, due), key=_age_order):
                self.lines[item.line].delayed -= 1
                self._join(item)
        return expired

    def due_item(self, now_ns: int) -> Item | None:
        """The entry to release now, if one is due."""
        rate = self.rate
        if not self.ready or self.is_paused or not rate.count:
            return None
        item = self._next_item(now_ns)
        now = now_ns * rate.count
        if self._anchor_for(item, now) + item.cost * rate.period_ns > now:
            return None
        return item

    def _next_item(self, now_ns: int) -> Item:
        """Whose turn it is: who waited for too long, else by weight."""
        self._oldest_turn = False
        age_max_ns = self.settings.age_max_ns
        if age_max_ns:
            heads = (line.head() for line in self.lines if line.items)
            oldest = min(heads, key=_age_order)
            if now_ns - oldest.ready_ns >= age_max_ns:
                self._oldest_turn = True
                return oldest
        return self._rotation.next().head()

    def _anchor_for(self, item: Item, now: int) -> int:
        """What the entry's time counts from: no further back than the burst lets it catch up."""
        rate = self.rate
        return max(self.anchor, now - max(item.cost, rate.limit) * rate.period_ns)

    def released(self, item: Item, now_ns: int) -> None:
        """The entry that `due_item` gave is in the stream."""
        rate = self.rate
        anchor = self._anchor_for(item, now_ns * rate.count)
        self.anchor = anchor + item.cost * rate.period_ns
        line = self.lines[item.line]
        producer = item.producer
        if not self._oldest_turn:
            self._rotation.take()
        self.remove(item)
        line.released += 1
        self.figures.released += 1
        if producer is not None:
            self._recent[producer] = (item.ticket, now_ns)
            self._forget_recent(now_ns)

    def _forget_recent(self, now_ns: int) -> None:
        recent = self._recent
        while recent:
            producer, (_, at_ns) = next(iter(recent.items()))
            if len(recent) <= KNOWN_MAX and now_ns - at_ns < KNOWN_NS:
                return
            del recent[producer]

    # -- when ----------------------------------------------------------------------------------

    def wake_ns(self, now_ns: int) -> int | None:
        """When there is something to do next; None: not before something comes in."""
        wakes = [deadlines.first_ms for deadlines in (self._delayed, self._expiries) if deadlines]
        rate = self.rate
        if self.ready and rate.count and not self.is_paused:
            if self.held_by:
                wakes.append(now_ns + self.held_ns)
            else:
                item = self._next_item(now_ns)
                wakes.append(-(-(self.anchor + item.cost * rate.period_ns) // rate.count))
        return min(wakes, default=None)

    def estimate(self, item: Item, now_ns: int) -> tuple[int, int]:
        """How many entries go before this one, and in how many ms it goes, if nothing else comes.

        Exact for a queue of one class from which nothing was cancelled; with several the others'
        share is counted by their weights. UNKNOWN_MS while the queue is paused.
        """
        own = self.lines[item.line]
        if item.ticket in self.waiting:
            ahead, cost = len(own.items), own.cost
        else:
            head = own.head()
            ahead, cost = item.turn - head.turn, item.cost_before - head.cost_before
        cost += item.cost
        others = 0
        for line in self.lines:
            if line is not own and line.items:
                share = (ahead + 1) * line.weight // own.weight
                ahead_there = min(len(line.items), share)
                others += ahead_there
                cost += min(line.cost, cost * line.weight // own.weight)
        return ahead + others, self._wait_ms(max(0, item.ready_ns - now_ns), cost, now_ns)

    def room_ms(self, now_ns: int) -> int:
        """When the next entry leaves: then a full queue has room."""
        if not self.ready:
            first_ns = self._delayed.first_ms
            return max(0, -((now_ns - first_ns) // NS_PER_MS)) if self._delayed else UNKNOWN_MS
        return self._wait_ms(0, self._next_item(now_ns).cost, now_ns)

    def _wait_ms(self, delay_ns: int, cost: int, now_ns: int) -> int:
        rate = self.rate
        if not rate.count:
            return NEVER_MS
        if self.is_paused:
            return UNKNOWN_MS
        now = now_ns * rate.count
        since = self.anchor - now if self.ready else max(0, self.anchor - now)
        start = max(since, delay_ns * rate.count) if delay_ns else since
        return rate.drain_ms(max(0, start + cost * rate.period_ns))

    # -- orders --------------------------------------------------------------------------------

    def alter(self, settings: Settings, rate: Rate, now_ns: int) -> None:
        """Go on with other settings; entries of classes that are gone join the last one."""
        self.set_rate(rate, now_ns)
        self.settings = settings
        old = self._rotation
        lines = [Line(weight) for weight in settings.weights]
        for at, line in enumerate(old.lines):
            target = lines[min(at, len(lines) - 1)]
            target.released += line.released
            for item in line.items.values():
                item.line = min(at, len(lines) - 1)
                target.join(item)
        for item in self.waiting.values():
            item.line = min(item.line, len(lines) - 1)
            lines[item.line].delayed += 1
        self._rotation = Rotation(lines)
        self.held_by = b""

    def set_rate(self, rate: Rate, now_ns: int) -> None:
        """Go on at another rate; what is due since the last release is never more for it."""
        old = self.rate
        if old.count:
            self.anchor = -(-self.anchor * rate.count // old.count)
        else:
            self.anchor = now_ns * rate.count
        self.rate = rate

    def pause(self) -> None:
        """Release nothing until `resume`."""
        self.is_paused = True

    def resume(self, now_ns: int) -> None:
        """Release again; the first one is due as if the queue began now."""
        if self.is_paused:
            self.is_paused = False
            self.anchor = max(self.anchor, now_ns * self.rate.count)

    def items(self) -> Iterator[Item]:
        """All entries in the order in which they are to go, delayed ones last, as they came."""
        return chain(self._rotation.order(), self.waiting.values())

    # -- state that outlives the process, see limits_state -------------------------------------

    def recent(self) -> Iterator[tuple[tuple[bytes, bytes], bytes, int]]:
        """Producers' ids of what was released, their tickets, and when (ns)."""
        return ((key, ticket, at_ns) for key, (ticket, at_ns) in self._recent.items())

    def remember(self, producer: tuple[bytes, bytes], ticket: bytes, at_ns: int) -> None:
        """The same, put back."""
        self._recent[producer] = (ticket, at_ns)

    @property
    def turn_at(self) -> int:
        """The class that has the turn."""
        return self._rotation.at

    def set_turn(self, at: int, turns: list[tuple[int, int]]) -> None:
        """Put the turns back as they were: the deficit and the number of released entries."""
        self._rotation.at = at
        for line, (deficit, released) in zip(self.lines, turns, strict=True):
            line.deficit = deficit if line.items else 0
            line.released = released

    # -- what every type of value can say ------------------------------------------------------

    def __len__(self) -> int:
        """Its entries, and what is known of released ones. A queue stays when it is empty."""
        return self.length + len(self._recent)

    def encoding(self) -> bytes:
        """There is only one."""
        return b"leakyqueue"

    def copy(self) -> "BucketQueue":
        """An equal queue that shares nothing that can change."""
        twin = BucketQueue(self.settings, self.rate)
        twin.anchor, twin.is_paused = self.anchor, self.is_paused
        twin.length, twin.ready, twin.size_bytes = self.length, self.ready, self.size_bytes
        twin.waiting = OrderedDict((name, item.copy()) for name, item in self.waiting.items())
        twin._rotation = Rotation([line.copy() for line in self.lines])
        twin._rotation.at = self._rotation.at
        twin._delayed, twin._expiries = self._delayed.copy(), self._expiries.copy()
        twin._known, twin._recent = self._known.copy(), self._recent.copy()
        twin.serial, twin.timebase = self.serial, self.timebase
        return twin

    def shed(self, count: int) -> None:
        """Forget about `count` entries, any of them."""
        tables: list[OrderedDict[Any, Any]] = [self._recent, self.waiting]
        for table in (*tables, *(line.items for line in self.lines)):
            some = min(count, len(table))
            for _ in range(some):
                table.popitem()
            count -= some
        self.length = len(self.waiting) + sum(len(line.items) for line in self.lines)

    def sample_bytes(self, samples: int) -> int:
        """The memory in use, judged by at most `samples` entries (0: by every one)."""
        seen = size_bytes = 0
        for item in self.items():
            size_bytes += item.memory_bytes()
            seen += 1
            if seen == samples:
                break
        known = len(self._known) + len(self._recent)
        return (size_bytes * self.length // seen if seen else 0) + known * 300 + 1000


def _age_order(item: Item) -> tuple[int, int]:
    return item.ready_ns, item.serial
