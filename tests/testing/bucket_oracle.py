"""A leaky bucket that remembers every charge and replays them all, in fractions.

The other way to say what keyspace.bucket says with a mark and slacks: exact, slow, and obviously
what serving limits mean. Times are nanoseconds, levels tokens.
"""

from dataclasses import dataclass, field
from fractions import Fraction


@dataclass(slots=True)
class Charge:
    """Some tokens that were poured in."""

    at_ns: int
    tokens: Fraction
    rid: bytes | None = None
    expires_ns: int = 0
    floor: int = 0


@dataclass(slots=True)
class BucketOracle:
    """One bucket: `count` tokens drain in `period_ns`."""

    limit: int
    count: int
    period_ns: int
    charges: list[Charge] = field(default_factory=list)

    def level(self, now_ns: int) -> Fraction:
        """Tokens in the bucket: everything again, from the first charge on."""
        rate = Fraction(self.count, self.period_ns)
        level, last_ns = Fraction(0), 0
        for charge in self.charges:
            level = max(Fraction(0), level - rate * (charge.at_ns - last_ns)) + charge.tokens
            last_ns = charge.at_ns
        return max(Fraction(0), level - rate * (now_ns - last_ns))

    def admits(self, cost: int, now_ns: int, share: int = 1000) -> bool:
        """Whether the cost fits."""
        return self.limit > 0 and self.level(now_ns) + cost <= Fraction(self.limit * share, 1000)

    def charge(self, charge: Charge) -> None:
        """Pour it in."""
        self.charges.append(charge)

    def settle(self, rid: bytes, actual: int, now_ns: int) -> tuple[Fraction, int] | None:
        """Write the charge anew and see how far the level drops; more than reserved comes on top.

        None: nothing is open under that id.
        """
        for charge in self.charges:
            if charge.rid == rid and charge.expires_ns > now_ns:
                before = self.level(now_ns)
                reserved = charge.tokens
                charge.tokens = min(reserved, Fraction(max(actual, charge.floor)))
                charge.rid = None
                refund = before - self.level(now_ns)
                over = max(0, actual - int(reserved))
                if over:
                    self.charge(Charge(now_ns, Fraction(over)))
                return refund, over
        return None

    def remaining(self, now_ns: int) -> int:
        """Whole tokens that still fit."""
        return max(0, int((self.limit - self.level(now_ns)) // 1))

    def wait(self, excess: Fraction, unit_ns: int) -> int:
        """Whole units until so many tokens have drained."""
        span_ns = excess * self.period_ns / self.count
        return -int(-span_ns // unit_ns)
