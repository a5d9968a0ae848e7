"""The error codes of the KV cache as clients meet them: code, meaning, and what a retry can do.

The code is the first word of an error reply; the rest is text, partly `name=value` fields.
The server's own classes are in hotplate.errors; a test keeps the two in step.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Code:
    """One error code. `retryable`: the same call may succeed later, unchanged."""

    name: str
    meaning: str
    retryable: bool = False


KVC_CODES: Final = {
    code.name: code
    for code in (
        Code("NOINSTANCE", "the instance is not registered"),
        Code("NOKVGROUP", "the group does not exist"),
        Code("NOSTORAGE", "the storage does not exist, or none can take the write"),
        Code("NOSESSION", "the write session is unknown or past its deadline"),
        Code("SESSIONCLOSED", "the write session was finished with another outcome"),
        Code("DUPLICATE", "the name exists, or is registered with other content"),
        Code("VERSION", "an optimistic update lost"),
        Code("INUSE", "something still refers to it"),
        Code("BADMASK", "SKIP or MASK does not fit the number of keys"),
        Code("BADCHAIN", "a key is stored under another parent"),
        Code("CHECKSUM", "bytes and sum disagree, or a sum is missing"),
        Code("STORAGEIO", "the storage failed to read or write", retryable=True),
        Code("QUOTA", "the request does not fit the quota now", retryable=True),
        Code("NOSPACE", "the storage or the index has no room", retryable=True),
    )
}


def parse_fields(text: str) -> dict[str, int]:
    """The `name=value` words of an error text whose values are integers (`retry_ms=250`)."""
    found: dict[str, int] = {}
    for word in text.split():
        name, equals, value = word.partition("=")
        if equals and value.lstrip("-").isdecimal():
            found[name] = int(value)
    return found
