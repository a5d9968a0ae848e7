"""Leases: how many calls run at a time. Exact, no clock, no client, no reply.

Each call holds some of a limit's places until it gives them back or its time comes. Times are
nanoseconds of a clock that never steps, given by the caller; wall time occurs only in `dump` and
`load`. Leases with nobody in them are the same as none.
"""

import sys
from collections.abc import Iterable
from typing import ClassVar, TypeAlias

from hotplate.keyspace.bucket import INT64_MAX, NEVER_MS, NOW_MS, NS_PER_MS
from hotplate.keyspace.bucket_ledger import Hold, HoldState, holds_bytes, shed_holds

LeasesState: TypeAlias = tuple[int, int, tuple[HoldState, ...]]
"""wall_ns when saved, limit, holds in order."""


class Leases:
    """One key's leases. `used` is the sum of the holds' costs; `limit` is that of the last call;
    `latest_ns` is when the last one ends, exactly."""

    __slots__ = ("_soonest_ns", "admitted", "holds", "latest_ns", "limit", "limited", "used")

    type_name: ClassVar[bytes] = b"leases"

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.holds: dict[bytes, Hold] = {}
        self.used = 0
        self.admitted = self.limited = 0
        self._soonest_ns = INT64_MAX  # nothing ends before; may be too early
        self.latest_ns = -INT64_MAX

    def begin(self) -> None:
        """They were the same as none; others begin in their place."""
        self.admitted = self.limited = 0

    def expire(self, now_ns: int) -> None:
        """Free the places of those whose time has come."""
        if now_ns < self._soonest_ns:
            return
        for rid in [rid for rid, hold in self.holds.items() if hold.expires_ns <= now_ns]:
            self.used -= self.holds.pop(rid).cost
        self._soonest_ns = min(_ends(self.holds.values()), default=INT64_MAX)

    def used_at(self, now_ns: int) -> int:
        """How many places are taken, without freeing any."""
        if now_ns < self._soonest_ns:
            return self.used
        return sum(hold.cost for hold in self.holds.values() if hold.expires_ns > now_ns)

    def reserve(self, rid: bytes, hold: Hold, now_ns: int) -> None:
        """Take a hold's places."""
        if now_ns >= self._soonest_ns:
            self.expire(now_ns)
        self.holds[rid] = hold
        self.used += hold.cost
        expires_ns = hold.expires_ns
        if expires_ns < self._soonest_ns:
            self._soonest_ns = expires_ns
        if expires_ns > self.latest_ns:
            self.latest_ns = expires_ns

    def release(self, rid: bytes) -> None:
        """Give a hold's places back."""
        holds = self.holds
        hold = holds.pop(rid)
        self.used -= hold.cost
        if hold.expires_ns == self.latest_ns:
            if not holds:
                self.latest_ns = -INT64_MAX
            elif next(reversed(holds.values())).expires_ns != hold.expires_ns:
                self.latest_ns = max(_ends(holds.values()))

    def extend(self, rid: bytes, expires_ns: int) -> None:
        """Let a lease end at that time, unless it ends later anyway."""
        hold = self.holds[rid]
        hold.expires_ns = max(hold.expires_ns, expires_ns)
        self.latest_ns = max(self.latest_ns, expires_ns)

    def hold(self, rid: bytes, now_ns: int) -> Hold | None:
        """The lease of that id; None if there is none or its time has come."""
        hold = self.holds.get(rid)
        return hold if hold is not None and hold.expires_ns > now_ns else None

    def retry_ms(self, places: int, ceiling: int, now_ns: int) -> int:
        """How long until `places` are free at the latest: NOW_MS, NEVER_MS, or milliseconds."""
        if not ceiling or places > ceiling:
            return NEVER_MS
        excess = self.used_at(now_ns) + places - ceiling
        if excess <= 0:
            return NOW_MS
        for hold in sorted(self.holds.values(), key=_end):
            if hold.expires_ns > now_ns:
                excess -= hold.cost
                if excess <= 0:
                    return _span_ms(hold.expires_ns - now_ns)
        raise AssertionError("the leases do not add up to what is used")

    def reset_ms(self, now_ns: int) -> int:
        """How long until nobody is left, at the latest."""
        span_ms = -((now_ns - self.latest_ns) // NS_PER_MS)
        return 0 if span_ms < 0 else min(span_ms, INT64_MAX)

    def open_holds(self, now_ns: int) -> int:
        """How many calls hold places."""
        return sum(hold.expires_ns > now_ns for hold in self.holds.values())

    def is_idle(self, now_ns: int) -> bool:
        """Whether it is the same as no leases."""
        return self.latest_ns <= now_ns

    def fades_ns(self) -> int:
        """When the last lease ends."""
        return self.latest_ns

    # -- state that outlives the process ---------------------------------------------------------

    def dump(self, now_ns: int, wall_ns: int) -> LeasesState:
        """Everything that decides about later calls, as plain numbers."""
        holds = tuple(hold.state(rid, now_ns) for rid, hold in self.holds.items())
        return (wall_ns, self.limit, holds)

    @classmethod
    def load(cls, state: LeasesState, now_ns: int, wall_ns: int) -> "Leases":
        """Leases as they were, the time since taken off. A wall clock set back takes nothing."""
        saved_ns, limit, holds = state
        leases = cls(limit)
        then_ns = now_ns - max(0, wall_ns - saved_ns)
        for held in holds:
            leases.reserve(held[0], Hold.of(held, then_ns), then_ns)
        leases.expire(now_ns)
        return leases

    # -- what every type of value can say --------------------------------------------------------

    def __len__(self) -> int:
        """How many calls are in it, those included whose time has come unseen."""
        return len(self.holds)

    def encoding(self) -> bytes:
        """There is only one."""
        return b"leases"

    def copy(self) -> "Leases":
        """Equal leases that share nothing."""
        twin = Leases(self.limit)
        twin.holds = {rid: hold.copy() for rid, hold in self.holds.items()}
        twin.used = self.used
        twin.admitted, twin.limited = self.admitted, self.limited
        twin._soonest_ns, twin.latest_ns = self._soonest_ns, self.latest_ns
        return twin

    def shed(self, count: int) -> None:
        """Forget about `count` leases."""
        shed_holds(self.holds, count)

    def sample_bytes(self, samples: int) -> int:
        """The memory in use."""
        return sys.getsizeof(self) + holds_bytes(self.holds, samples)


def _end(hold: Hold) -> int:
    return hold.expires_ns


def _ends(holds: Iterable[Hold]) -> Iterable[int]:
    return map(_end, holds)


def _span_ms(span_ns: int) -> int:
    return min(-(-span_ns // NS_PER_MS), INT64_MAX)
