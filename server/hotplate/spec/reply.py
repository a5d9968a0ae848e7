"""Reply schemas: what a command may answer, in both protocols.

A schema describes the RESP3 reply; the RESP2 form follows from the encoder's downgrades. Tests
check every reply they see against the command's schema.
"""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class SimpleReply:
    """A simple string: exactly `text`, or any where None."""

    text: str | None = "OK"


@dataclass(frozen=True, slots=True)
class BulkReply:
    """A bulk string, full match of `pattern` where given."""

    pattern: bytes | None = None


@dataclass(frozen=True, slots=True)
class IntegerReply:
    """An integer within [minimum, maximum]."""

    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class DoubleReply:
    """A double (a bulk string in RESP2)."""


@dataclass(frozen=True, slots=True)
class BoolReply:
    """A boolean (an integer in RESP2)."""


@dataclass(frozen=True, slots=True)
class NullReply:
    """A null."""


@dataclass(frozen=True, slots=True)
class VerbatimReply:
    """Text for people (a bulk string in RESP2)."""


@dataclass(frozen=True, slots=True)
class ArrayReply:
    """An array whose items all match `item`."""

    item: "ReplySchema | None" = None


@dataclass(frozen=True, slots=True)
class SetReply:
    """A set whose items all match `item`."""

    item: "ReplySchema | None" = None


@dataclass(frozen=True, slots=True)
class TupleReply:
    """An array of fixed length."""

    items: tuple["ReplySchema", ...]


@dataclass(frozen=True, slots=True)
class MapReply:
    """A map; values match `value`, keys are bulk strings unless `key` says otherwise."""

    value: "ReplySchema | None" = None
    key: "ReplySchema | None" = None


@dataclass(frozen=True, slots=True)
class AnyReply:
    """Anything: replies that carry other commands' replies (EXEC)."""


@dataclass(frozen=True, slots=True)
class OneOfReply:
    """One of several."""

    options: tuple["ReplySchema", ...]


@dataclass(frozen=True, slots=True)
class MessagesReply:
    """Not one reply but several messages: pushes (arrays in RESP2)."""


ReplySchema: TypeAlias = (
    SimpleReply
    | BulkReply
    | IntegerReply
    | DoubleReply
    | BoolReply
    | NullReply
    | VerbatimReply
    | ArrayReply
    | SetReply
    | TupleReply
    | MapReply
    | AnyReply
    | OneOfReply
    | MessagesReply
)

OK_REPLY = SimpleReply("OK")


def one_of(*options: ReplySchema) -> OneOfReply:
    """One of `options`."""
    return OneOfReply(options)
