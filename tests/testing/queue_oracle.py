"""What a paced queue must release, computed the slow way in fractions.

It follows the rules as docs/limits.md tells them, not the implementation: lists instead of ordered
tables, round robin one round at a time, times as fractions of a millisecond.
"""

from dataclasses import dataclass, field
from fractions import Fraction


@dataclass(slots=True)
class Waiting:
    """One entry."""

    name: int
    line: int
    cost: int
    ready: Fraction
    ends: Fraction | None


@dataclass(slots=True)
class QueueOracle:
    """A queue. `period` in milliseconds; weights one a class."""

    count: int
    period: int
    burst: int
    weights: list[int]
    age_max: int = 0
    paused: bool = False
    last_due: Fraction = Fraction(0)
    lines: list[list[Waiting]] = field(default_factory=list)
    delayed: list[Waiting] = field(default_factory=list)
    deficits: list[int] = field(default_factory=list)
    turn: int = 0
    expired: list[int] = field(default_factory=list)
    released: list[tuple[Fraction, Waiting]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lines = [[] for _ in self.weights]
        self.deficits = [0 for _ in self.weights]
        self.turn = len(self.weights) - 1

    def add(self, entry: Waiting, now: Fraction) -> None:
        """An entry comes."""
        self.tend(now)
        if entry.ready > now:
            self.delayed.append(entry)
        else:
            self._join(entry)

    def _join(self, entry: Waiting) -> None:
        if not any(self.lines):
            self.last_due = max(self.last_due, entry.ready)
            self.turn = len(self.weights) - 1
        self.lines[entry.line].append(entry)

    def everything(self) -> list[Waiting]:
        """All that wait."""
        return [entry for line in self.lines for entry in line] + self.delayed

    def cancel(self, name: int) -> bool:
        """An entry is taken out; whether it was there."""
        for at, line in enumerate(self.lines):
            kept = [entry for entry in line if entry.name != name]
            if len(kept) < len(line):
                self.lines[at] = kept
                if not kept:
                    self.deficits[at] = 0
                return True
        kept = [entry for entry in self.delayed if entry.name != name]
        found = len(kept) < len(self.delayed)
        self.delayed = kept
        return found

    def tend(self, now: Fraction) -> None:
        """What is over goes, what is ready joins."""
        for entry in self.everything():
            if entry.ends is not None and entry.ends <= now:
                self.cancel(entry.name)
                self.expired.append(entry.name)
        ready = [entry for entry in self.delayed if entry.ready <= now]
        for entry in sorted(ready, key=lambda entry: (entry.ready, entry.name)):
            self.delayed.remove(entry)
            self._join(entry)

    def visit(self, now: Fraction) -> None:
        """The timer comes by."""
        self.tend(now)
        while any(self.lines) and self.count and not self.paused:
            entry, turn, deficits = self._next(now)
            span = Fraction(entry.cost * self.period, self.count)
            catch_up = Fraction(max(entry.cost, self.burst) * self.period, self.count)
            due = max(self.last_due, now - catch_up) + span
            if due > now:
                return
            self.last_due, self.turn, self.deficits = due, turn, deficits
            line = self.lines[entry.line]
            line.remove(entry)
            if not line:
                self.deficits[entry.line] = 0
            self.released.append((now, entry))

    def _next(self, now: Fraction) -> tuple[Waiting, int, list[int]]:
        """Who goes next, and the turn and the deficits once it has; looking changes nothing."""
        turn, deficits = self.turn, list(self.deficits)
        heads = [line[0] for line in self.lines if line]
        oldest = min(heads, key=lambda entry: (entry.ready, entry.name))
        if self.age_max and now - oldest.ready >= self.age_max:
            return oldest, turn, deficits
        if len(self.lines) == 1:
            return heads[0], turn, deficits
        while True:
            line = self.lines[turn]
            if line and deficits[turn] >= line[0].cost:
                deficits[turn] -= line[0].cost
                return line[0], turn, deficits
            turn = (turn + 1) % len(self.lines)
            if self.lines[turn]:
                deficits[turn] += self.weights[turn]
