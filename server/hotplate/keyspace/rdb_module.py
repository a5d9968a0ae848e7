"""Values of types that Redis does not have, in the form that Redis gives to those of modules.

    module's name and version 9 | (5 string) ... | 0

The name is `hotplate-`. Other readers pass over such a value, or say whose it is.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from hotplate.keyspace.rdb_bytes import Cursor, RdbError, pack_length, pack_string

MODULE_TYPE: Final = 7
_CHARACTERS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_STRING, _END = b"\x05", b"\x00"


class UnreadableTypeError(RdbError):
    """A value of a type that this version does not have."""


@dataclass(slots=True)
class PlainTexts:
    """A value in texts (`limits_state`)."""

    texts: list[bytes]


def _module_id(name: bytes, version: int) -> int:
    """As Redis tells modules apart: nine characters of six bits, ten bits of version."""
    number = 0
    for character in name:
        number = number << 6 | _CHARACTERS.index(character)
    return number << 10 | version


MODULE_ID: Final = _module_id(b"hotplate-", 1)


def pack_texts(texts: Iterable[bytes]) -> Iterator[bytes]:
    """The value in pieces."""
    yield pack_length(MODULE_ID)
    for text in texts:
        yield _STRING + pack_string(text)
    yield _END


def read_texts(cursor: Cursor) -> PlainTexts:
    """What `pack_texts` made; another module's value is an UnreadableTypeError."""
    if cursor.length() != MODULE_ID:
        raise UnreadableTypeError("a module's value")
    return read_rest(cursor)


def read_rest(cursor: Cursor) -> PlainTexts:
    """The same behind the module's name."""
    texts: list[bytes] = []
    while (code := cursor.take(1)) == _STRING:
        texts.append(cursor.string())
    if code != _END:
        raise RdbError("an unknown part of a module's value")
    return PlainTexts(texts)
