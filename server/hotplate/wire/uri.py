"""Location URIs: where one spec's bytes of one block lie, for a client on the same host.

    shm://<storage>/<segment>?offset=<bytes>&size=<bytes>&gen=<generation>
    file://<storage>/<segment>?offset=<bytes>&size=<bytes>&gen=<generation>

`storage` is the storage's name, `segment` a file name in its directory; both are percent-encoded.
The directory itself comes from KVC.STORAGE INFO or the registration, never from the URI.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

SCHEMES: Final = {"memory": "shm", "ssd": "file", "file": "file"}  # storage type -> scheme
_NUMBERS: Final = ("offset", "size", "gen")


class BadUriError(ValueError):
    """The text is not a location URI."""


@dataclass(frozen=True, slots=True)
class LocationUri:
    """A parsed URI. `scheme` is shm for a file to map, file for one to read; the storage's type
    comes with its path."""

    scheme: str
    storage: str
    segment: str
    offset: int
    size: int
    generation: int

    def __str__(self) -> str:
        stem = _stem(self.scheme, self.storage, self.segment)
        return f"{stem}{self.offset}&size={self.size}&gen={self.generation}"


def uri_stem(storage_type: str, storage: str, segment: str) -> str:
    """The URI up to `offset=`, the same for all blocks of a segment; the rest follows as
    `<offset>&size=<size>&gen=<generation>`."""
    return _stem(SCHEMES[storage_type], storage, segment)


def _stem(scheme: str, storage: str, segment: str) -> str:
    return f"{scheme}://{quote(storage, safe='')}/{quote(segment, safe='/')}?offset="


def parse_uri(text: str | bytes) -> LocationUri:
    """The parts of a location URI, or BadUriError."""
    uri = text.decode() if isinstance(text, bytes) else text
    scheme, separator, rest = uri.partition("://")
    place, question, query = rest.partition("?")
    storage, slash, segment = place.partition("/")
    if scheme not in SCHEMES.values() or not (
        separator and question and slash and storage and segment
    ):
        raise BadUriError(f"not a location: {uri!r}")
    values: dict[str, int] = {}
    for part in query.split("&"):
        name, equals, number = part.partition("=")
        if name not in _NUMBERS or name in values or not (equals and number.isdecimal()):
            raise BadUriError(f"bad {part!r} in location {uri!r}")
        values[name] = int(number)
    if len(values) != len(_NUMBERS):
        raise BadUriError(f"offset, size and gen are all needed: {uri!r}")
    return LocationUri(
        scheme,
        unquote(storage),
        unquote(segment),
        values["offset"],
        values["size"],
        values["gen"],
    )
