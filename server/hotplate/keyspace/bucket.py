"""The leaky bucket that rate limits are kept in: exact integers, no clock, no client, no reply.

    level = tokens in the bucket * period     a whole number of token nanoseconds
    mark  = now * count + level               what is stored: it does not change while time passes

A bucket drains `count` tokens a period and holds at most `limit`. The level at any moment is
`max(0, mark - now * count)`: nothing is rounded, for any rate, and a bucket that is not used costs
nothing. A charge is admitted if the level stays at or under a ceiling. A bucket with nothing in it
and nothing reserved is the same as no bucket.

What is reserved can be settled, see `bucket_ledger`. Most reservations are alike (one limit, no
floor, the usual time to live), and many are gone before anybody asks for them: these are only noted
in a list, which becomes a Ledger where one is needed (`book`).

Times are nanoseconds of a clock that never steps, given by the caller. Wall time occurs only in
`dump` and `load`.
"""

import sys
from typing import Any, ClassVar, Final, TypeAlias

from hotplate.keyspace.bucket_ledger import (
    HOLDS_MAX,
    HOLDS_OVER_MAX,
    Hold,
    HoldState,
    Ledger,
    holds_bytes,
    shed_holds,
)

NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
INT64_MAX: Final = 2**63 - 1  # replies are no larger; nobody waits so long
NOW_MS: Final = -1  # to wait: nothing, the call is admitted
NEVER_MS: Final = -2  # no wait helps
NEVER_USED: Final = -(2**126)  # no greater than any time by any count
RATES_MAX: Final = 4096  # distinct limits that are remembered
NOTE_ITEMS: Final = 4
NOTES_END: Final = 256 * NOTE_ITEMS  # longer lists are made a Ledger
_NOTE_BYTES: Final = 64  # two numbers

Notes: TypeAlias = list[Any]
"""Usual reservations: the prefix of their ids, then of each four items: the number of its id, the
level it found, its cost, its end, which is no earlier than that of the one before.

One flat list, as every object more is one more to miss in the processor's cache, and one for the
garbage collector to visit."""
BucketState: TypeAlias = tuple[int, int, int, int, int, int | None, tuple[HoldState, ...]]
"""wall_ns when saved, level, limit, count, period_ns, slack, holds in order."""


class Rate:
    """A limit: at most `limit` tokens in the bucket, `count` drain in `period_ns`."""

    __slots__ = ("brim", "count", "limit", "per_ms", "per_s", "period_ns")

    def __init__(self, limit: int, count: int, period_ns: int) -> None:
        self.limit = limit
        self.count = count
        self.period_ns = period_ns
        self.brim = limit * period_ns  # the level of a full bucket
        self.per_ms = count * NS_PER_MS  # what drains from a level
        self.per_s = count * NS_PER_S

    def same_as(self, other: "Rate") -> bool:
        """Whether both say the same."""
        return (
            self.limit == other.limit
            and self.count == other.count
            and self.period_ns == other.period_ns
        )

    def remaining(self, level: int, ceiling: int) -> int:
        """Whole tokens that fit under `ceiling`."""
        return (ceiling - level) // self.period_ns if level < ceiling else 0

    def drain_ms(self, level: int) -> int:
        """Milliseconds, rounded up, until `level` is gone; NEVER_MS if it stays."""
        if level <= 0:
            return 0
        per_ms = self.per_ms
        if not per_ms:
            return NEVER_MS
        span_ms = -(-level // per_ms)
        return min(span_ms, INT64_MAX)

    def retry_ms(self, level: int, charge: int, ceiling: int) -> int:
        """How long until `charge` fits: NOW_MS, NEVER_MS, or milliseconds, rounded up."""
        if not self.limit or charge > ceiling:
            return NEVER_MS
        excess = level + charge - ceiling
        return NOW_MS if excess <= 0 else self.drain_ms(excess)

    def overdraft_ms(self, level: int, charge: int, ceiling: int) -> int:
        """`retry_ms` where a charge over the ceiling is let into an empty bucket."""
        if not self.limit or charge <= ceiling:
            return self.retry_ms(level, charge, ceiling)
        return NOW_MS if level <= 0 else self.drain_ms(level)


class Limiter:
    """What the limit commands of one server share beside their buckets.

    Equal limits are mostly one `Rate`, found by the arguments' own bytes: those that were sent
    before are not parsed again. `next_id` makes ids that no other run of a server makes.
    """

    __slots__ = ("number", "prefix", "rates", "throttles")

    def __init__(self, prefix: bytes) -> None:
        self.prefix = prefix
        self.number = 0  # of the id made last
        self.rates: dict[tuple[bytes, ...], Rate] = {}
        self.throttles: dict[tuple[bytes, ...], tuple[Rate, int]] = {}

    def next_id(self) -> bytes:
        """A new reservation's id."""
        self.number += 1
        return id_of(self.prefix, self.number)

    @property
    def id_bytes(self) -> int:
        """The size of every id."""
        return len(id_of(self.prefix, 0))

    def remember_throttle(self, text: tuple[bytes, ...], rate: Rate, cost: int) -> None:
        """Know the arguments of a CL.THROTTLE from now on."""
        if len(self.throttles) >= RATES_MAX:
            self.throttles.clear()
        self.throttles[text] = (rate, cost)

    def remember_rate(self, text: tuple[bytes, ...], rate: Rate) -> None:
        """Know the arguments of a RATE from now on."""
        if len(self.rates) >= RATES_MAX:
            self.rates.clear()
        self.rates[text] = rate


def id_of(prefix: bytes, number: int) -> bytes:
    """The reservation's id that a server made from a number."""
    return b"%b-%012x" % (prefix, number)


class Bucket:
    """One key's bucket. `admitted` and `limited` count calls, `refunded` tokens, since it began."""

    __slots__ = ("admitted", "ledger", "limited", "mark", "rate", "refunded")

    type_name: ClassVar[bytes] = b"leakybucket"

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.mark = NEVER_USED
        self.ledger: Ledger | Notes | None = None
        self.admitted = self.limited = self.refunded = 0

    def begin(self) -> None:
        """It was the same as no bucket; another begins in its place."""
        self.ledger = None
        self.admitted = self.limited = self.refunded = 0

    def level(self, now_ns: int) -> int:
        """How full it is, in tokens * period."""
        return max(0, self.mark - now_ns * self.rate.count)

    def level_in(self, rate: Rate, now_ns: int) -> int:
        """How full it would be under another rate: the same tokens, rounded up."""
        level = self.level(now_ns)
        if rate.period_ns != self.rate.period_ns:
            level = -(-level * rate.period_ns // self.rate.period_ns)
        return level

    def adopt(self, rate: Rate, now_ns: int) -> None:
        """Go on with another rate; never grants credit."""
        ledger = self.book()  # of answers that this rate gave
        level = self.level_in(rate, now_ns)
        if ledger is not None and rate.period_ns != self.rate.period_ns:
            ledger.scale(rate.period_ns, self.rate.period_ns)
        self.rate = rate
        self.mark = now_ns * rate.count + level

    def charge(self, amount: int, now_ns: int) -> int:
        """Pour in an amount that nobody will settle; the level then."""
        level = self.level(now_ns)
        ledger = self.book()
        if ledger is not None:
            ledger.saw(level)
        self.mark = now_ns * self.rate.count + level + amount
        return level + amount

    def book(self) -> Ledger | None:
        """The open reservations as a Ledger, which they may become only now."""
        notes = self.ledger
        if not isinstance(notes, list):
            return notes
        rate = self.rate
        self.ledger = ledger = Ledger()
        prefix, *items = notes
        ledger.due_ns, ledger.latest_ns = items[NOTE_ITEMS - 1], items[-1]
        for number, level, cost, expires_ns in zip(*[iter(items)] * NOTE_ITEMS, strict=True):
            hold = Hold(cost, 0, expires_ns)
            hold.slack = level
            after = level + cost * rate.period_ns
            hold.answered(rate.limit, rate.remaining(after, rate.brim), rate.drain_ms(after))
            ledger.holds[id_of(prefix, number)] = hold
        return ledger

    def note(self, made: Limiter, cost: int, level: int, now_ns: int, expires_ns: int) -> int:
        """`reserve` for a usual hold, whose id the limiter made last: it ends no earlier than any
        that was noted before, and was answered what `level` and the rate say."""
        ledger = self.ledger
        rate = self.rate
        after = level + cost * rate.period_ns
        if ledger is None:
            self.ledger = [made.prefix, made.number, level, cost, expires_ns]
        elif isinstance(ledger, list) and len(ledger) < NOTES_END:
            ledger += (made.number, level, cost, expires_ns)
        else:
            hold = Hold(cost, 0, expires_ns)
            hold.answered(rate.limit, rate.remaining(after, rate.brim), rate.drain_ms(after))
            return self.reserve(id_of(made.prefix, made.number), hold, level, now_ns)
        self.mark = now_ns * rate.count + after
        self.admitted += 1
        return after

    def reserve(self, rid: bytes, hold: Hold, level: int, now_ns: int) -> int:
        """Pour a hold's cost upon `level`, the level now, and remember it; the level then."""
        self.enter(rid, hold, level, now_ns)
        after = level + hold.cost * self.rate.period_ns
        self.mark = now_ns * self.rate.count + after
        self.admitted += 1
        return after

    def enter(self, rid: bytes, hold: Hold, level: int, now_ns: int) -> None:
        """Remember a hold that found `level`."""
        ledger: Any = self.ledger
        if ledger is None:
            ledger = self.ledger = Ledger()
        else:
            if ledger.__class__ is list:
                ledger = self.book()
            if now_ns >= ledger.due_ns or len(ledger.holds) >= HOLDS_MAX + HOLDS_OVER_MAX:
                ledger.make_room(now_ns)
        slack = ledger.slack
        if slack is None:
            hold.slack = level
        else:
            hold.slack = min(level, slack)
            ledger.slack = None
        expires_ns = hold.expires_ns
        if expires_ns > ledger.latest_ns:
            ledger.latest_ns = expires_ns
        if expires_ns < ledger.due_ns:
            ledger.due_ns = expires_ns
        ledger.holds[rid] = hold

    def hold(self, rid: bytes, now_ns: int) -> Hold | None:
        """The open reservation of that id; None if there is none or its time has come."""
        ledger = self.book()
        if ledger is None:
            return None
        hold = ledger.holds.get(rid)
        return hold if hold is not None and hold.expires_ns > now_ns else None

    def extend(self, rid: bytes, expires_ns: int) -> None:
        """Let an open reservation end at that time, unless it ends later anyway."""
        ledger = self.book()
        assert ledger is not None
        ledger.extend(ledger.holds[rid], expires_ns)

    def settle(self, rid: bytes, hold: Hold, actual: int, now_ns: int) -> tuple[int, int, int]:
        """Close an open reservation that cost `actual`: whole tokens given back, tokens over, and
        the level then.

        No less than the hold's floor is kept. What it cost over its reservation is charged now and
        may fill the bucket over its brim.
        """
        ledger: Any = self.ledger
        rate = self.rate
        period_ns = rate.period_ns
        drained = now_ns * rate.count
        level = self.mark - drained
        if level < 0:
            level = 0
        spare = hold.cost - (max(hold.floor, actual))
        refund = spare * period_ns if spare > 0 else 0
        if len(ledger.holds) == 1:
            self.ledger = None
            slack = ledger.slack
            if slack is not None and slack < refund:
                refund = slack
        else:
            refund = ledger.close(rid, hold, refund)
        if refund > level:
            refund = level
        level -= refund
        over = 0
        if spare < 0:
            over = -spare
            if self.ledger is not None:
                ledger.saw(level)
            level += over * period_ns
        self.mark = drained + level
        given_back: int = refund // period_ns
        self.refunded += given_back
        return given_back, over, level

    def is_idle(self, now_ns: int) -> bool:
        """Whether it is the same as no bucket."""
        return self.mark <= now_ns * self.rate.count and self._latest_ns() <= now_ns

    def _latest_ns(self) -> int:
        """When nothing is reserved any more."""
        ledger: Any = self.ledger
        if ledger is None:
            return NEVER_USED
        end_ns: int = ledger[-1] if ledger.__class__ is list else ledger.latest_ns
        return end_ns

    def open_holds(self, now_ns: int) -> int:
        """How many reservations are open."""
        ledger = self.book()
        if ledger is None:
            return 0
        return sum(hold.expires_ns > now_ns for hold in ledger.holds.values())

    def fades_ns(self) -> int | None:
        """When it is empty and nothing is reserved any more; None: never."""
        count = self.rate.count
        if count:
            empty_ns = -(-self.mark // count)
        elif self.mark > 0:
            return None
        else:
            empty_ns = 0
        return max(empty_ns, self._latest_ns())

    # -- state that outlives the process ---------------------------------------------------------

    def dump(self, now_ns: int, wall_ns: int) -> BucketState:
        """Everything that decides about later calls, as plain numbers."""
        holds: tuple[HoldState, ...] = ()
        slack = None
        ledger = self.book()
        if ledger is not None:
            slack = ledger.slack
            holds = tuple(hold.state(rid, now_ns) for rid, hold in ledger.holds.items())
        rate = self.rate
        level = self.level(now_ns)
        return (wall_ns, level, rate.limit, rate.count, rate.period_ns, slack, holds)

    @classmethod
    def load(cls, state: BucketState, now_ns: int, wall_ns: int) -> "Bucket":
        """A bucket as it was, drained for the time since. A wall clock set back drains nothing."""
        saved_ns, level, limit, count, period_ns, slack, holds = state
        elapsed_ns = max(0, wall_ns - saved_ns)
        bucket = cls(Rate(limit, count, period_ns))
        bucket.mark = now_ns * count + max(0, level - elapsed_ns * count)
        if holds:
            ledger = Ledger()
            ledger.slack = slack
            then_ns = now_ns - elapsed_ns
            ledger.holds = {held[0]: Hold.of(held, then_ns) for held in holds}
            ledger.make_room(now_ns)
            bucket.ledger = ledger if ledger.holds else None
        return bucket

    # -- what every type of value can say --------------------------------------------------------

    def __len__(self) -> int:
        """Its open reservations, those included whose time has come unseen."""
        ledger = self.ledger
        if isinstance(ledger, list):
            return len(ledger) // NOTE_ITEMS
        return 0 if ledger is None else len(ledger.holds)

    def encoding(self) -> bytes:
        """There is only one."""
        return b"leakybucket"

    def copy(self) -> "Bucket":
        """An equal bucket."""
        twin = Bucket(self.rate)
        twin.mark = self.mark
        ledger = self.ledger
        twin.ledger = None if ledger is None else ledger.copy()
        twin.admitted, twin.limited, twin.refunded = self.admitted, self.limited, self.refunded
        return twin

    def shed(self, count: int) -> None:
        """Forget about `count` reservations."""
        ledger = self.book()
        shed_holds({} if ledger is None else ledger.holds, count)

    def sample_bytes(self, samples: int) -> int:
        """The memory in use."""
        size = sys.getsizeof(self) + sys.getsizeof(self.mark)
        ledger = self.ledger
        if isinstance(ledger, list):
            size += sys.getsizeof(ledger) + len(self) * _NOTE_BYTES
        elif ledger is not None:
            size += sys.getsizeof(ledger) + holds_bytes(ledger.holds, samples)
        return size
