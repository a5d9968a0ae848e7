"""Write sessions: the reservation between STARTWRITE and FINISH.

Owns a session's states, its new keys and where their bytes go, what an outcome means, and the
memory of closed sessions that makes FINISH repeatable. It knows neither the index nor quotas.

        STARTWRITE ──► OPEN ──FINISH──► CLOSED   (remembered: the same FINISH answers the same)
                         └──deadline──► DROPPED  (forgotten: FINISH is NOSESSION)

Invariant: a part's copies are in order of the session's new keys, without gaps between parts.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import Enum
from hashlib import blake2b
from itertools import compress
from typing import Final

from hotplate.blocks import Shape
from hotplate.errors import BadMaskError, SessionClosedError

_ZERO: Final = ord("0")
_ONE: Final = ord("1")


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


class WriteSession:
    """One session."""
