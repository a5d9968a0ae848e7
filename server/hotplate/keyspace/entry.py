"""What a key holds: the entry, and what every type of value can say of itself.

A string is kept as one of four Python types, each an encoding of Redis; collections are classes
that follow `Collection`. Nothing here knows a database, a client or a reply.

    bytes      as the client sent it: `int`, `embstr` or `raw` by its content
    int        what a counter left: `int`
    bytearray  grown or written in place: `raw`
    Text       never tried as a whole number (INCRBYFLOAT): `embstr` or `raw`
"""

from typing import ClassVar, Final, Protocol, TypeAlias

from hotplate.errors import WrongTypeError

EMBEDDED_BYTES_MAX: Final = 44  # longer strings are `raw`, as in Redis
INTEGER_MIN: Final = -(2**63)
INTEGER_MAX: Final = 2**63 - 1
_INTEGER_DIGITS_MAX: Final = 20


class Text(bytes):
    """A string that Redis would not try to keep as a whole number."""

    __slots__ = ()


class Collection(Protocol):
    """A value that is not a string. An empty one is never stored, unless it is a stream."""

    type_name: ClassVar[bytes]

    def __len__(self) -> int:
        """How many elements there are."""
        ...

    def encoding(self) -> bytes:
        """The name that OBJECT ENCODING shows."""
        ...

    def copy(self) -> "Collection":
        """An equal value that shares nothing that can change."""
        ...

    def shed(self, count: int) -> None:
        """Forget about `count` elements, any of them, in time O(count).

        For a value that is no key's any more: its memory is given back slice by slice.
        """
        ...

    def sample_bytes(self, samples: int) -> int:
        """The memory in use, all of it, judged by at most `samples` elements (0: by every one)."""
        ...


StringValue: TypeAlias = bytes | int | bytearray
Value: TypeAlias = StringValue | Collection


class Entry:
    """One key's value, when it expires (Unix ms, 0: never) and when it was last used.

    `measured` belongs to the meter of memory and is unset until it counts.
    """

    __slots__ = ("accessed_ms", "expire_at_ms", "measured", "value")

    value: Value
    expire_at_ms: int
    accessed_ms: int
    measured: int

    def __init__(self, value: Value, expire_at_ms: int, accessed_ms: int) -> None:
        self.value = value
        self.expire_at_ms = expire_at_ms
        self.accessed_ms = accessed_ms

    def duplicate(self, accessed_ms: int) -> "Entry":
        """An entry for a copy of the value, with the same expiry."""
        return Entry(copy_of(self.value), self.expire_at_ms, accessed_ms)


def string_of(value: Value) -> bytes:
    """The bytes of a string. WrongTypeError for a collection."""
    if type(value) is bytes:
        return value
    if isinstance(value, int):
        return b"%d" % value
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    raise WrongTypeError


def integer_of(data: bytes | bytearray) -> int | None:
    """The number that `data` spells exactly as Redis prints it (64 bits, signed), or None."""
    if 0 < len(data) <= _INTEGER_DIGITS_MAX:
        digits = data[1:] if data[:1] == b"-" else data
        if digits.isdigit() and (digits[:1] != b"0" or data == b"0"):
            number = int(data)
            if INTEGER_MIN <= number <= INTEGER_MAX:
                return number
    return None


def type_of(value: Value) -> bytes:
    """The name that TYPE shows."""
    return b"string" if isinstance(value, (bytes, int, bytearray)) else value.type_name


def encoding_of(value: Value) -> bytes:
    """The name that OBJECT ENCODING shows."""
    if isinstance(value, int):
        return b"int"
    if isinstance(value, bytearray):
        return b"raw"
    if isinstance(value, bytes):
        if type(value) is bytes and integer_of(value) is not None:
            return b"int"
        return b"embstr" if len(value) <= EMBEDDED_BYTES_MAX else b"raw"
    return value.encoding()


def copy_of(value: Value) -> Value:
    """A value for another key."""
    if isinstance(value, bytearray):
        return bytearray(value)
    return value if isinstance(value, (bytes, int)) else value.copy()
