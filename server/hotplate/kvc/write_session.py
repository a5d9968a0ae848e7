"""Write sessions: the reservation between STARTWRITE and FINISH.

Owns a session's states, its new keys and where their bytes go, what an outcome means, and the
memory of closed sessions that makes FINISH repeatable. It knows neither the index nor quotas.

        STARTWRITE ──► OPEN ──FINISH──► CLOSED   (remembered: the same FINISH answers the same)
                         └──deadline──► DROPPED  (forgotten: FINISH is NOSESSION)

Invariant: a part's copies are in order of the session's new keys, without gaps between parts.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from hotplate.blocks import Shape
from hotplate.errors import BadMaskError, SessionClosedError

if TYPE_CHECKING:
    from hotplate.kvc.enter import WriteRequest
    from hotplate.kvc.index import Copy, Index

_BITS: Final = bytes.maketrans(b"01", b"\0\1")


class SessionState(Enum):
    """Where a session stands."""

    OPEN = "open"
    CLOSED = "closed"
    DROPPED = "dropped"


TRANSITIONS: Final = {
    SessionState.OPEN: frozenset({SessionState.CLOSED, SessionState.DROPPED}),
    SessionState.CLOSED: frozenset[SessionState](),
    SessionState.DROPPED: frozenset[SessionState](),
}


class OutcomeKind(Enum):
    """Which form a FINISH gave its outcome in."""

    ALL = "all"
    NONE = "none"
    PREFIX = "prefix"
    MASK = "mask"
    FULLMASK = "fullmask"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Which of a session's new keys were written, as FINISH says it.

    `bits` is a string of `0` and `1` over the session's new keys (MASK) or over the keys that
    STARTWRITE was given (FULLMASK).
    """

    kind: OutcomeKind
    count: int = 0
    bits: bytes = b""


ALL: Final = Outcome(OutcomeKind.ALL)
NOTHING: Final = Outcome(OutcomeKind.NONE)


def prefix(count: int) -> Outcome:
    """The first `count` new keys were written."""
    return Outcome(OutcomeKind.PREFIX, count=count)


def mask(bits: bytes) -> Outcome:
    """The new keys at a `1` were written."""
    return Outcome(OutcomeKind.MASK, bits=bits)


def full_mask(bits: bytes) -> Outcome:
    """Of the keys as first given, those at a `1` were written."""
    return Outcome(OutcomeKind.FULLMASK, bits=bits)


def chosen(outcome: Outcome, count: int, positions: Sequence[int], given: int) -> bytes:
    """Which of `count` new keys an outcome names: one byte each, 1 = written.

    `positions` are the new keys' positions among the `given` keys of STARTWRITE. BadMaskError if
    the outcome does not fit them.
    """
    if outcome.kind is OutcomeKind.ALL:
        return b"\1" * count
    if outcome.kind is OutcomeKind.NONE:
        return bytes(count)
    if outcome.kind is OutcomeKind.PREFIX:
        if not 0 <= outcome.count <= count:
            raise BadMaskError(f"PREFIX {outcome.count} of {count} new keys")
        return b"\1" * outcome.count + bytes(count - outcome.count)
    full = outcome.kind is OutcomeKind.FULLMASK
    length = given if full else count
    bits = outcome.bits
    if len(bits) != length:
        raise BadMaskError(f"a mask of {len(bits)} bits for {length} keys")
    if bits.count(b"0") + bits.count(b"1") != length:
        raise BadMaskError("a mask holds other characters than 0 and 1")
    bits = bits.translate(_BITS)
    return bytes([bits[position] for position in positions]) if full else bits


@dataclass(slots=True, eq=False)
class Part:
    """New keys first..first+count-1 of a session: consecutive ids and consecutive slots.

    `start` is the id of the first. A block that has a detail is a part of its own, with its
    `copy` there.
    """

    first: int
    count: int
    start: int
    storage: int
    shape: Shape
    place: int
    generation: int
    specs: int
    copy: "Copy | None" = None

    def cut(self, offset: int, count: int) -> "Part":
        """The part's keys from `offset` on, at most `count`."""
        if offset == 0 and count == self.count:
            return self
        count = max(0, min(count, self.count - offset))
        return replace(
            self,
            first=self.first + offset,
            count=count,
            start=self.start + offset,
            place=self.place + offset,
        )


@dataclass(slots=True, eq=False)
class WriteSession:
    """One session. `lost` are new keys whose blocks were removed meanwhile."""

    id: bytes
    index: "Index"
    deadline_ms: int
    given: int
    new_count: int
    parts: list[Part]
    positions: Sequence[int]
    state: SessionState = SessionState.OPEN
    transfers: int = 0
    lost: set[int] = field(default_factory=set)
    sums: dict[int, dict[int, bytes]] = field(default_factory=dict)  # new key -> spec -> sum
    request: "WriteRequest | None" = None  # for the journal, where there is one

    def move_to(self, state: SessionState) -> None:
        """Change the state, along TRANSITIONS only."""
        if state not in TRANSITIONS[self.state]:
            raise RuntimeError(f"session {self.state.value} cannot become {state.value}")
        self.state = state

    def part_of(self, position: int) -> Part:
        """The part that holds a new key."""
        parts = self.parts
        return parts[bisect_right(parts, position, key=_first) - 1]

    def position_of(self, block: int) -> int | None:
        """Which of the new keys is a plain block of this id, unless it was lost."""
        for part in self.parts:
            offset = block - part.start
            if part.copy is None and 0 <= offset < part.count:
                position = part.first + offset
                if position not in self.lost:
                    return position
        return None

    def set_apart(self, position: int, copy: "Copy") -> None:
        """Give one new key a part of its own, since its block got a detail with `copy`."""
        number = bisect_right(self.parts, position, key=_first) - 1
        part = self.parts[number]
        offset = position - part.first
        apart = [part.cut(0, offset), part.cut(offset, 1), part.cut(offset + 1, part.count)]
        apart[1].copy = copy
        self.parts[number : number + 1] = [item for item in apart if item.count]

    def begin_transfer(self) -> None:
        """Bytes are on their way into a slot: its space is not reused before they have ended."""
        self.transfers += 1

    def end_transfer(self) -> None:
        """The transfer ended, well or not."""
        self.transfers -= 1


def _first(part: Part) -> int:
    return part.first


# What is remembered of a FINISH: instance number, digest of the outcome as it was given, digest of
# the new keys it named, their count, published, dropped. A bare tuple of plain values, since the
# garbage collector leaves these alone and there are many.
ClosedRow = tuple[int, bytes, bytes, int, int, int]


class ClosedSessions:
    """The last FINISHes, oldest forgotten first."""

    __slots__ = ("_by_id", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._by_id: OrderedDict[bytes, ClosedRow] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_id)

    def remember(
        self, session: WriteSession, outcome: Outcome, bits: bytes, answer: tuple[int, int]
    ) -> ClosedRow:
        """A session was finished with `outcome`, which meant `bits`; what is remembered of it."""
        row = (
            session.index.instance.number,
            _digest_outcome(outcome),
            _digest(bits),
            session.new_count,
            *answer,
        )
        self.restore(session.id, row)
        return row

    def rows(self) -> list[tuple[bytes, ClosedRow]]:
        """All that are remembered, oldest first."""
        return list(self._by_id.items())

    def restore(self, session_id: bytes, row: ClosedRow) -> None:
        """Remember a session that was finished."""
        self._by_id[session_id] = row
        while len(self._by_id) > self.limit:
            self._by_id.popitem(last=False)

    def knows(self, instance: int, session_id: bytes) -> bool:
        """Whether the instance's session was finished (and is remembered)."""
        closed = self._by_id.get(session_id)
        return closed is not None and closed[0] == instance

    def answer(self, instance: int, session_id: bytes, outcome: Outcome) -> tuple[int, int] | None:
        """The earlier answer to the same outcome, None if not known; else SessionClosedError."""
        closed = self._by_id.get(session_id)
        if closed is None or closed[0] != instance:
            return None
        _, given, meant, count, published, dropped = closed
        same = given == _digest_outcome(outcome)
        if not same and outcome.kind is not OutcomeKind.FULLMASK:
            try:
                same = meant == _digest(chosen(outcome, count, (), 0))
            except BadMaskError:
                same = False
        if not same:
            raise SessionClosedError(
                b"session %b was finished with another outcome: published=%d dropped=%d"
                % (session_id, published, dropped)
            )
        return published, dropped


def _digest(bits: bytes) -> bytes:
    return blake2b(bits, digest_size=16).digest()


def _digest_outcome(outcome: Outcome) -> bytes:
    return _digest(b"%b %d %b" % (outcome.kind.value.encode(), outcome.count, outcome.bits))
