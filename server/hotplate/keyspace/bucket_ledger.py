"""The open reservations of a bucket, so that unused tokens can come back exactly.

What is reserved can be settled: unused tokens come back, but only those that have not leaked away
meanwhile. To give back exactly what a replay of all charges with the actual cost would, each open
reservation (`Hold`) keeps its `slack`: the least level that any charge found since the reservation
before it. Setting back a charge by d lowers the later ones by the smallest of d and the levels they
found (Lindley's recursion); so the refund is the smallest of what is unused, the slacks of later
holds, and the level now. Charges that nobody settles any more leave only their slack behind.

Times are nanoseconds of a clock that never steps, given by the caller.
"""

import sys
from itertools import islice
from typing import Final, TypeAlias

# open reservations of a bucket that are kept at least, for settling looks at all later ones; and
# how many more may be there, so that making room is rare
HOLDS_MAX: Final = 1024
HOLDS_OVER_MAX: Final = 128
_LATEST_NS: Final = 2**63 - 1
# the log runs calls of before the machine started again: at times below zero
_LONG_AGO_NS: Final = -(2**63)

HoldState: TypeAlias = tuple[bytes, int, int, int, int, int, int, int]
"""id, cost, floor, slack, nanoseconds left, and what was answered: limit, remaining, reset_ms."""


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
        self.due_ns = _LATEST_NS
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

    def scale(self, new: int, old: int) -> None:
        """Levels are `new / old` of what they were, rounded down."""
        for hold in self.holds.values():
            hold.slack = hold.slack * new // old
        if self.slack is not None:
            self.slack = self.slack * new // old

    def close(self, rid: bytes, hold: Hold, unused: int) -> int:
        """End one of several holds of which `unused` is to be given back: how much of it no later
        charge has used to leak away."""
        holds = self.holds
        later = iter(holds.values())
        for other in later:
            if other is hold:
                break
        heir = None
        for other in later:
            slack = other.slack
            if slack < unused:
                unused = slack
            other.slack = slack - unused
            if heir is None:
                heir = other
        slack_after = self.slack
        if slack_after is not None:
            if slack_after < unused:
                unused = slack_after
            self.slack = slack_after - unused
        # what limits older holds still does, without this one
        if heir is None:
            self.saw(hold.slack)
        elif hold.slack < heir.slack:
            heir.slack = hold.slack
        del holds[rid]
        if hold.expires_ns == self.latest_ns:
            youngest = next(reversed(holds.values()))
            if youngest.expires_ns != hold.expires_ns:
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
        self.due_ns = min(ends, default=_LATEST_NS)
        self.latest_ns = max(ends, default=_LONG_AGO_NS)

    def copy(self) -> "Ledger":
        """An equal ledger that shares nothing."""
        twin = Ledger()
        twin.holds = {rid: hold.copy() for rid, hold in self.holds.items()}
        twin.slack, twin.due_ns, twin.latest_ns = self.slack, self.due_ns, self.latest_ns
        return twin


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
