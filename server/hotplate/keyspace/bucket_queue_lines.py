"""The waiting lines of a paced queue, one a class, and whose turn it is.

Turns go by deficit round robin (Shreedhar and Varghese, 1995): a class whose turn comes gets its
weight as credit, hands out entries while the credit pays for their cost, and keeps the rest. A
class with nothing in it keeps none. While two classes have entries, what they handed out differs
from the ratio of their weights by no more than an entry and a turn of each.

No clock, no key, no reply.
"""

import sys
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final

# of one entry beside its bytes: its place in the line, its deadline if it has one
_PLACE_BYTES: Final = 180


class Item:
    """One queued entry. `body` is its fields as frames, `size_bytes` what they are without.

    Times are nanoseconds of a clock that never steps. `ready_ns` is when it may be released at the
    earliest, `expires_ns` when it is dropped (0: never). `turn` and `cost_before` say where in its
    line it stood when it joined it: entries and their costs since the line was made.
    """

    __slots__ = (
        "added_ns",
        "body",
        "cost",
        "cost_before",
        "expires_ns",
        "field_count",
        "line",
        "producer",
        "ready_ns",
        "serial",
        "size_bytes",
        "ticket",
        "turn",
    )

    def __init__(self, ticket: bytes, line: int, cost: int, body: bytes, field_count: int) -> None:
        self.ticket = ticket
        self.line = line
        self.cost = cost
        self.body = body
        self.field_count = field_count
        self.size_bytes = 0
        self.added_ns = self.ready_ns = self.expires_ns = 0
        self.serial = self.turn = self.cost_before = 0
        self.producer: tuple[bytes, bytes] | None = None  # and its id for the entry (IDMP)

    def copy(self) -> "Item":
        """An equal one."""
        twin = Item(self.ticket, self.line, self.cost, self.body, self.field_count)
        for name in ("size_bytes", "added_ns", "ready_ns", "expires_ns", "serial"):
            setattr(twin, name, getattr(self, name))
        twin.turn, twin.cost_before, twin.producer = self.turn, self.cost_before, self.producer
        return twin

    def memory_bytes(self) -> int:
        """The memory it takes."""
        return sys.getsizeof(self) + sys.getsizeof(self.body) + _PLACE_BYTES


class Line:
    """The entries of one class that may be released, oldest first."""

    __slots__ = (
        *("cost", "cost_joined", "deficit", "delayed", "items", "joined", "released", "weight"),
    )

    def __init__(self, weight: int) -> None:
        self.weight = weight
        self.deficit = 0
        self.items: OrderedDict[bytes, Item] = OrderedDict()
        self.cost = 0  # of all of them
        self.delayed = 0  # entries of the class that are to join later
        self.joined = 0  # entries ever
        self.cost_joined = 0
        self.released = 0

    def join(self, item: Item) -> None:
        """An entry comes last."""
        item.turn, item.cost_before = self.joined, self.cost_joined
        self.items[item.ticket] = item
        self.joined += 1
        self.cost_joined += item.cost
        self.cost += item.cost

    def leave(self, item: Item) -> None:
        """An entry goes, wherever it stands."""
        del self.items[item.ticket]
        self.cost -= item.cost
        if not self.items:
            self.deficit = 0

    def head(self) -> Item:
        """The oldest; there is one."""
        return next(iter(self.items.values()))

    def copy(self) -> "Line":
        """An equal line that shares nothing."""
        twin = Line(self.weight)
        twin.deficit, twin.cost = self.deficit, self.cost
        twin.joined, twin.cost_joined = self.joined, self.cost_joined
        twin.released, twin.delayed = self.released, self.delayed
        twin.items = OrderedDict((ticket, item.copy()) for ticket, item in self.items.items())
        return twin


class Rotation:
    """Whose turn it is among lines."""

    __slots__ = ("at", "lines")

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines = list(lines)
        self.at = len(self.lines) - 1  # the first turn is that of the first line

    def begin(self) -> None:
        """Nobody waits: start over with the first line."""
        self.at = len(self.lines) - 1

    def next(self) -> Line:
        """The line that hands out next; one of them has entries. Looking changes nothing."""
        lines = self.lines
        if len(lines) == 1:
            return lines[0]
        return lines[_turn(self.at, self._costs(), self._deficits(), self._weights())]

    def take(self) -> None:
        """The line whose turn it is hands out its oldest entry, which is still there."""
        lines = self.lines
        if len(lines) > 1:
            costs, deficits = self._costs(), self._deficits()
            at = self.at = _turn(self.at, costs, deficits, self._weights())
            deficits[at] -= costs[at]
            for line, deficit in zip(lines, deficits, strict=True):
                line.deficit = deficit

    def order(self) -> Iterator[Item]:
        """All entries in the order in which they would go if nothing else came."""
        if len(self.lines) == 1:
            yield from self.lines[0].items.values()
            return
        rests = [iter(line.items.values()) for line in self.lines]
        heads = [next(rest, None) for rest in rests]
        costs = [0 if head is None else head.cost for head in heads]
        at, deficits, weights = self.at, self._deficits(), self._weights()
        while any(costs):
            at = _turn(at, costs, deficits, weights)
            head = heads[at]
            assert head is not None
            yield head
            deficits[at] -= head.cost
            head = heads[at] = next(rests[at], None)
            costs[at] = 0
            if head is None:
                deficits[at] = 0
            else:
                costs[at] = head.cost

    def _costs(self) -> list[int]:
        return [line.head().cost if line.items else 0 for line in self.lines]

    def _deficits(self) -> list[int]:
        return [line.deficit for line in self.lines]

    def _weights(self) -> list[int]:
        return [line.weight for line in self.lines]


def _turn(at: int, costs: list[int], deficits: list[int], weights: list[int]) -> int:
    """Pass the turn on until a line can pay for its oldest entry; `costs` 0: it has none.

    Changes the deficits as that goes.
    """
    count = len(costs)
    while True:
        for _ in range(count):
            if costs[at] and deficits[at] >= costs[at]:
                return at
            at = (at + 1) % count
            if costs[at]:
                deficits[at] += weights[at]
        if costs[at] and deficits[at] >= costs[at]:
            return at
        # nobody could: that many rounds more would change nothing else, so take them at once
        there = [number for number in range(count) if costs[number]]
        rounds = min(-((deficits[each] - costs[each]) // weights[each]) for each in there)
        for each in there:
            deficits[each] += max(0, rounds - 1) * weights[each]
