"""The leaky bucket that rate limits are kept in: exact integers, no clock, no client, no reply.

    level = tokens in the bucket * period     a whole number of token nanoseconds
    mark  = now * count + level               what is stored: it does not change while time passes

A bucket drains `count` tokens a period and holds at most `limit`. The level at any moment is
`max(0, mark - now * count)`: nothing is rounded, for any rate, and a bucket that is not used costs
nothing. A charge is admitted if the level stays at or under a ceiling. A bucket with nothing in it
and nothing reserved is the same as no bucket.

What is reserved can be settled: unused tokens come back, but only those that have not leaked away
meanwhile. To give back exactly what a replay of all charges with the actual cost would, each open
reservation (`Hold`) keeps its `slack`: the least level that any charge found since the reservation
before it. Setting back a charge by d lowers the later ones by the smallest of d and the levels they
found (Lindley's recursion); so the refund is the smallest of what is unused, the slacks of later
holds, and the level now. Charges that nobody settles any more leave only their slack behind.

Times are nanoseconds of a clock that never steps, given by the caller. Wall time occurs only in
`dump` and `load`.
"""

import sys
from itertools import islice
from typing import ClassVar, Final, TypeAlias

NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
INT64_MAX: Final = 2**63 - 1  # replies are no larger; nobody waits so long
NOW_MS: Final = -1  # to wait: nothing, the call is admitted
NEVER_MS: Final = -2  # no wait helps
# open reservations of a bucket that are kept at least, for settling looks at all later ones; and
# how many more may be there, so that making room is rare
HOLDS_MAX: Final = 1024
HOLDS_OVER_MAX: Final = 128
# the log runs calls of before the machine started again: at times below zero
_LONG_AGO_NS: Final = -(2**63)
_NEVER_USED: Final = -(2**126)  # no greater than any time by any count
RATES_MAX: Final = 4096  # distinct limits that are remembered

HoldState: TypeAlias = tuple[bytes, int, int, int, int, int, int, int]
"""id, cost, floor, slack, nanoseconds left, and what was answered: limit, remaining, reset_ms."""
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


class Hold:
    """An open reservation. `limit`, `remaining` and `reset_ms` are what its call was answered."""

    __slots__ = ("cost", "expires_ns", "floor", "limit", "remaining", "reset_ms", "slack")

    limit: int
    remaining: int
    reset_ms: int

    def __init__(self, cost: int, floor: int, expires_ns: int) -> None:
        self.cost = cost
        self.floor = floor
        self.expires_ns = expires_ns
        self.slack = 0

    def answered(self, limit: int, remaining: int, reset_ms: int) -> None:
        """Remember the answer, so that a repeated call gets it again."""
        self.limit = limit
        self.remaining = remaining
        self.reset_ms = reset_ms

    def state(self, rid: bytes, now_ns: int) -> HoldState:
        """For `dump`."""
        left_ns = self.expires_ns - now_ns
        answer = (self.limit, self.remaining, self.reset_ms)
        return (rid, self.cost, self.floor, self.slack, left_ns, *answer)

    @classmethod
    def of(cls, state: HoldState, now_ns: int) -> "Hold":
        """What `state` gave, its time left counted from now."""
        _, cost, floor, slack, left_ns, *answer = state
        hold = cls(cost, floor, now_ns + left_ns)
        hold.slack = slack
        hold.answered(*answer)
        return hold

    def copy(self) -> "Hold":
        """An equal hold."""
        return Hold.of(self.state(b"", 0), 0)


class Ledger:
    """The open reservations of a bucket, oldest first; never empty between two calls.

    `slack` is the least level that a charge found since the youngest of them; None: no charge.
    No hold ends before `due_ns` (which may be too early) or after `latest_ns` (which is exact).
    """

    __slots__ = ("due_ns", "holds", "latest_ns", "slack")

    def __init__(self) -> None:
        self.holds: dict[bytes, Hold] = {}
        self.slack: int | None = None
        self.due_ns = INT64_MAX
        self.latest_ns = _LONG_AGO_NS

    def saw(self, level: int) -> None:
        """A charge came that nobody will settle, and found `level`."""
        if self.slack is None or level < self.slack:
            self.slack = level

    def extend(self, hold: Hold, expires_ns: int) -> None:
        """Let a hold end later."""
        if expires_ns > hold.expires_ns:
            hold.expires_ns = expires_ns
            self.latest_ns = max(self.latest_ns, expires_ns)

    def close(self, rid: bytes, unused: int, level: int) -> int:
        """End a hold of which `unused` is to be given back: how much of it has not leaked away."""
        holds = self.holds
        if len(holds) == 1:
            slack = self.slack
            if slack is not None and slack < unused:
                unused = slack
            del holds[rid]
        else:
            unused = self._close_among(rid, unused)
        return min(level, unused)

    def _close_among(self, rid: bytes, unused: int) -> int:
        holds = self.holds
        hold = holds[rid]
        ordered = list(holds.values())
        later = ordered[ordered.index(hold) + 1 :]
        for other in later:
            if other.slack < unused:
                unused = other.slack
            other.slack -= unused
        if self.slack is not None:
            unused = min(unused, self.slack)
            self.slack -= unused
        # what limits older holds still does, without this one
        if later:
            later[0].slack = min(later[0].slack, hold.slack)
        else:
            self.saw(hold.slack)
        del holds[rid]
        if hold.expires_ns == self.latest_ns:
            self.latest_ns = max(other.expires_ns for other in holds.values())
        return unused

    def make_room(self, now_ns: int) -> None:
        """Forget the holds whose time has come; if there still are too many, the oldest."""
        kept: dict[bytes, Hold] = {}
        slack: int | None = None  # of those gone since the last one kept
        for rid, hold in self.holds.items():
            if slack is not None and slack < hold.slack:
                hold.slack = slack
            slack = None
            if hold.expires_ns > now_ns:
                kept[rid] = hold
            elif kept:
                slack = hold.slack
        if slack is not None:
            self.saw(slack)
        # the oldest are frozen: their charges stand as if their time had come
        self.holds = dict(islice(kept.items(), max(0, len(kept) - HOLDS_MAX + 1), None))
        ends = [hold.expires_ns for hold in self.holds.values()]
        self.due_ns = min(ends, default=INT64_MAX)
        self.latest_ns = max(ends, default=_LONG_AGO_NS)

    def copy(self) -> "Ledger":
        """An equal ledger that shares nothing."""
        twin = Ledger()
        twin.holds = {rid: hold.copy() for rid, hold in self.holds.items()}
        twin.slack, twin.due_ns, twin.latest_ns = self.slack, self.due_ns, self.latest_ns
        return twin


class Bucket:
    """One key's bucket. `admitted` and `limited` count calls, `refunded` tokens, since it began."""

    __slots__ = ("admitted", "ledger", "limited", "mark", "rate", "refunded")

    type_name: ClassVar[bytes] = b"leakybucket"

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.mark = _NEVER_USED
        self.ledger: Ledger | None = None
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
        ledger = self.ledger
        level = self.level_in(rate, now_ns)
        if ledger is not None and rate.period_ns != self.rate.period_ns:
            new, old = rate.period_ns, self.rate.period_ns
            for hold in ledger.holds.values():
                hold.slack = hold.slack * new // old
            if ledger.slack is not None:
                ledger.slack = ledger.slack * new // old
        self.rate = rate
        self.mark = now_ns * rate.count + level

    def charge(self, amount: int, now_ns: int) -> int:
        """Pour in an amount that nobody will settle; the level then."""
        level = self.level(now_ns)
        if self.ledger is not None:
            self.ledger.saw(level)
        self.mark = now_ns * self.rate.count + level + amount
        return level + amount

    def reserve(self, rid: bytes, hold: Hold, level: int, now_ns: int) -> int:
        """Pour a hold's cost upon `level`, the level now, and remember it; the level then."""
        ledger = self.ledger
        rate = self.rate
        if ledger is None:
            ledger = self.ledger = Ledger()
        elif now_ns >= ledger.due_ns or len(ledger.holds) >= HOLDS_MAX + HOLDS_OVER_MAX:
            ledger.make_room(now_ns)
        slack = ledger.slack
        if slack is None:
            hold.slack = level
        else:
            hold.slack = min(slack, level)
            ledger.slack = None
        expires_ns = hold.expires_ns
        if expires_ns > ledger.latest_ns:
            ledger.latest_ns = expires_ns
        if expires_ns < ledger.due_ns:
            ledger.due_ns = expires_ns
        ledger.holds[rid] = hold
        after = level + hold.cost * rate.period_ns
        self.mark = now_ns * rate.count + after
        self.admitted += 1
        return after

    def hold(self, rid: bytes, now_ns: int) -> Hold | None:
        """The open reservation of that id; None if there is none or its time has come."""
        ledger = self.ledger
        if ledger is None:
            return None
        hold = ledger.holds.get(rid)
        return hold if hold is not None and hold.expires_ns > now_ns else None

    def extend(self, rid: bytes, expires_ns: int) -> None:
        """Let an open reservation end at that time, unless it ends later anyway."""
        assert self.ledger is not None
        self.ledger.extend(self.ledger.holds[rid], expires_ns)

    def settle(self, rid: bytes, actual: int, now_ns: int) -> tuple[int, int]:
        """Close an open reservation that cost `actual`: whole tokens given back, and tokens over.

        No less than the hold's floor is kept. What it cost over its reservation is charged now and
        may fill the bucket over its brim.
        """
        ledger = self.ledger
        assert ledger is not None
        hold = ledger.holds[rid]
        rate = self.rate
        period_ns = rate.period_ns
        drained = now_ns * rate.count
        level = self.mark - drained
        if level < 0:
            level = 0
        spare = hold.cost - (max(hold.floor, actual))
        refund = ledger.close(rid, spare * period_ns if spare > 0 else 0, level)
        level -= refund
        over = 0
        if not ledger.holds:
            self.ledger = None
        if spare < 0:
            over = -spare
            if self.ledger is not None:
                ledger.saw(level)
            level += over * period_ns
        self.mark = drained + level
        given_back = refund // period_ns
        self.refunded += given_back
        return given_back, over

    def is_idle(self, now_ns: int) -> bool:
        """Whether it is the same as no bucket."""
        if self.mark > now_ns * self.rate.count:
            return False
        return self.ledger is None or self.ledger.latest_ns <= now_ns

    def open_holds(self, now_ns: int) -> int:
        """How many reservations are open."""
        if self.ledger is None:
            return 0
        return sum(hold.expires_ns > now_ns for hold in self.ledger.holds.values())

    def fades_ns(self) -> int | None:
        """When it is empty and nothing is reserved any more; None: never."""
        count = self.rate.count
        if count:
            empty_ns = -(-self.mark // count)
        elif self.mark > 0:
            return None
        else:
            empty_ns = 0
        ledger = self.ledger
        if ledger is not None and ledger.latest_ns > empty_ns:
            return ledger.latest_ns
        return empty_ns

    # -- state that outlives the process ---------------------------------------------------------

    def dump(self, now_ns: int, wall_ns: int) -> BucketState:
        """Everything that decides about later calls, as plain numbers."""
        holds: tuple[HoldState, ...] = ()
        slack = None
        if self.ledger is not None:
            slack = self.ledger.slack
            holds = tuple(hold.state(rid, now_ns) for rid, hold in self.ledger.holds.items())
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
            bucket.ledger = Ledger()
            bucket.ledger.slack = slack
            then_ns = now_ns - elapsed_ns
            bucket.ledger.holds = {held[0]: Hold.of(held, then_ns) for held in holds}
            bucket.ledger.make_room(now_ns)
            if not bucket.ledger.holds:
                bucket.ledger = None
        return bucket

    # -- what every type of value can say --------------------------------------------------------

    def __len__(self) -> int:
        """Its open reservations, those included whose time has come unseen."""
        return 0 if self.ledger is None else len(self.ledger.holds)

    def encoding(self) -> bytes:
        """There is only one."""
        return b"leakybucket"

    def copy(self) -> "Bucket":
        """An equal bucket."""
        twin = Bucket(self.rate)
        twin.mark = self.mark
        twin.ledger = None if self.ledger is None else self.ledger.copy()
        twin.admitted, twin.limited, twin.refunded = self.admitted, self.limited, self.refunded
        return twin

    def shed(self, count: int) -> None:
        """Forget about `count` reservations."""
        shed_holds(self.ledger.holds if self.ledger is not None else {}, count)

    def sample_bytes(self, samples: int) -> int:
        """The memory in use."""
        size = sys.getsizeof(self) + sys.getsizeof(self.mark)
        if self.ledger is not None:
            size += sys.getsizeof(self.ledger) + holds_bytes(self.ledger.holds, samples)
        return size


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
        return b"%b-%x" % (self.prefix, self.number)

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


def shed_holds(holds: dict[bytes, Hold], count: int) -> None:
    """Forget about `count` holds."""
    for _ in range(min(count, len(holds))):
        holds.popitem()


def holds_bytes(holds: dict[bytes, Hold], samples: int) -> int:
    """The memory of a table of holds, judged by at most `samples` of them (0: by every one)."""
    size = sys.getsizeof(holds)
    if not holds:
        return size
    some = list(holds.items())[: samples or len(holds)]
    each = sum(
        sys.getsizeof(rid) + sys.getsizeof(hold) + sys.getsizeof(hold.slack) for rid, hold in some
    )
    return size + each * len(holds) // len(some)
