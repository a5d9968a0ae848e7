"""What the server's error replies become: one exception class per code of its own.

Every class is a `redis.exceptions.ResponseError` too, so that code which handles redis-py's errors
handles these. Two are raised by the client itself: `StaleBlockError` and `TransportError`.
"""

from typing import ClassVar

from redis.exceptions import RedisError, ResponseError

from hotplate.wire.codes import parse_fields

# The plain code of Redis; redis-py cuts it off, other first words it keeps.
_PLAIN = "ERR"


class KVCacheError(ResponseError):
    """The server refused a command. `code` is the first word of its reply, `message` the rest."""

    code: ClassVar[str] = _PLAIN

    def __init__(self, message: str, code: str | None = None) -> None:
        self.message = message
        self.reply_code = code or self.code
        super().__init__(f"{self.reply_code} {message}".strip())

    @property
    def figures(self) -> dict[str, int]:
        """The `name=value` figures that explain the refusal, e.g. used, limit, need, retry_ms."""
        return parse_fields(self.message)


class NoInstanceError(KVCacheError):
    """The instance is not registered."""

    code = "NOINSTANCE"


class NoGroupError(KVCacheError):
    """The group does not exist."""

    code = "NOKVGROUP"


class NoStorageError(KVCacheError):
    """The storage does not exist, or none of the group's can take the write."""

    code = "NOSTORAGE"


class NoSessionError(KVCacheError):
    """The write session is unknown or past its deadline."""

    code = "NOSESSION"


class SessionClosedError(KVCacheError):
    """The write session was finished with another outcome."""

    code = "SESSIONCLOSED"


class DuplicateError(KVCacheError):
    """The name exists, or the instance is registered with other content."""

    code = "DUPLICATE"


class VersionError(KVCacheError):
    """An optimistic update lost."""

    code = "VERSION"


class InUseError(KVCacheError):
    """Something still refers to what should be removed."""

    code = "INUSE"


class BadMaskError(KVCacheError):
    """The mask does not fit the number of keys."""

    code = "BADMASK"


class BadChainError(KVCacheError):
    """A key is stored under another parent."""

    code = "BADCHAIN"


class ChecksumError(KVCacheError):
    """Bytes and sum disagree, or a sum is missing."""

    code = "CHECKSUM"


class StorageIOError(KVCacheError):
    """The storage failed to read or write."""

    code = "STORAGEIO"


class QuotaError(KVCacheError):
    """The request does not fit the quota now."""

    code = "QUOTA"

    @property
    def retry_ms(self) -> int | None:
        """Until enough will be free; None where the request can never fit."""
        value = self.figures.get("retry_ms", -1)
        return None if value < 0 else value


class NoSpaceError(KVCacheError):
    """The storage or the index has no room."""

    code = "NOSPACE"


class StaleBlockError(RedisError):
    """A mapped block was reused or damaged before its bytes were read to the end: a miss."""


class TransportError(RedisError):
    """`transport="mapped"` was asked for, and the bytes cannot be reached that way."""


ERRORS: dict[str, type[KVCacheError]] = {
    kind.code: kind
    for kind in (
        KVCacheError,
        NoInstanceError,
        NoGroupError,
        NoStorageError,
        NoSessionError,
        SessionClosedError,
        DuplicateError,
        VersionError,
        InUseError,
        BadMaskError,
        BadChainError,
        ChecksumError,
        StorageIOError,
        QuotaError,
        NoSpaceError,
    )
}


def error_of_text(text: str) -> KVCacheError:
    """The exception that an error reply says (without its `-`).

    A text whose first word is not a code is of the plain code: redis-py leaves that one out.
    """
    word, _, rest = text.partition(" ")
    if word in ERRORS:
        return ERRORS[word](rest)
    if word.isupper():
        return KVCacheError(rest, code=word)
    return KVCacheError(text)
