"""Reply values: what a handler returns and the encoder turns into RESP2 or RESP3.

Plain Python values say most of it: `bytes` is a bulk string, `int` an integer, `None` a null,
`list` or `tuple` an array. The classes below say the rest. A Python `str` is refused on purpose:
guessing between simple and bulk strings from the text is a trap.

    Raw         ready-made frames of both protocols, written as they are (hot replies)
    Frames      the same for replies that may be large: counted against what one pass may answer
    Simple      +text
    Map         %n in RESP3, a flat array in RESP2
    Set         ~n in RESP3, an array in RESP2
    Double      ,x in RESP3, a bulk string in RESP2
    Bool        #t/#f in RESP3, :1/:0 in RESP2
    Verbatim    =n txt: in RESP3, a bulk string in RESP2
    Push        >n in RESP3, an array in RESP2
    NULL_ARRAY  *-1 in RESP2, _ in RESP3
    Payload     one bulk string made of views into storage, never copied by the encoder
    Payloads    an array of Payload and None
    CommandError (hotplate.errors) as a value: an error inside an array (EXEC)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

Reply: TypeAlias = Any  # one of the values named in the module docstring


class Raw(bytes):
    """Complete frames, the same in RESP2 and RESP3."""

    __slots__ = ()


class Frames(bytes):
    """Complete frames of the client's protocol, perhaps many bytes."""

    __slots__ = ()


class Simple(bytes):
    """A simple string; holds no CR or LF."""

    __slots__ = ()


class Map(dict[Any, Any]):
    """A map; keys and values are replies."""

    __slots__ = ()


class Set(list[Any]):
    """A set; the order is that of the list."""

    __slots__ = ()


class Push(list[Any]):
    """An out-of-band message (RESP3 push)."""

    __slots__ = ()


class Double(float):
    """A double."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Bool:
    """A boolean."""

    value: bool


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Text for people, with a three-letter format (`txt`, `mkd`)."""

    text: bytes
    format: bytes = b"txt"


class NullArray:
    """The type of NULL_ARRAY."""

    __slots__ = ()


@dataclass(slots=True)
class Payload:
    """A bulk string of `size` bytes, given as views that the transport writes without a copy.

    `release` is called once when the transport no longer reads the views.
    """

    size: int
    views: Sequence[memoryview]
    release: Callable[[], None]


class Payloads(list[Any]):
    """An array of Payload and None."""

    __slots__ = ()


NULL_ARRAY: Final = NullArray()
OK: Final = Raw(b"+OK\r\n")
PONG: Final = Raw(b"+PONG\r\n")
QUEUED: Final = Raw(b"+QUEUED\r\n")
ZERO: Final = Raw(b":0\r\n")
ONE: Final = Raw(b":1\r\n")
EMPTY_ARRAY: Final = Raw(b"*0\r\n")
