"""Groups of requests in an increment file, as FORMAT-LOG.md has them: building and checking.

Knows no file and no command: bytes in, bytes out.
"""

from typing import Final, NamedTuple

import xxhash

VERSION: Final = 1
HEADER_BYTES_MAX: Final = 127  # Redis reads lines that begin with # into a buffer of 128
_MASK: Final = 2**64 - 1
_FILE_MARK: Final = b"#HOTPLATE-AOF "
_GROUP_MARK: Final = b"#GROUP "
_MARK_BYTES_MIN: Final = 4  # enough to tell a damaged mark from a file of Redis
_SMALL_BYTES: Final = 4096  # joining costs less than a hash object


class FormatVersionError(Exception):
    """The file was written by a later version; the text names both."""


class HeaderError(Exception):
    """The first line of a file of ours is damaged."""


class Head(NamedTuple):
    """What the line before a group says. `size` is the length of the line."""

    sum: int
    length: int
    synced: int
    now_ms: int
    exact_ns: int
    size: int
    rest: bytes  # of the line, behind the sum: it is summed, too


def file_header(seed: int) -> bytes:
    """The first line of an increment file."""
    text = b"%b%d %016x" % (_FILE_MARK, VERSION, seed)
    return b"%b %016x\r\n" % (text, xxhash.xxh3_64_intdigest(text))


def parse_file_header(data: bytes) -> tuple[int, int] | None:
    """(seed, size of the line) of a file that begins with `data`; None: the file is not ours.

    FormatVersionError for one of a later version, HeaderError for a line that is damaged.
    """
    if not data.startswith(_FILE_MARK[:_MARK_BYTES_MIN]):
        return None
    line, found, _ = data[:HEADER_BYTES_MAX].partition(b"\r\n")
    text, _, total = line.rpartition(b" ")
    if not found or _read_hex(total) != xxhash.xxh3_64_intdigest(text):
        raise HeaderError("the first line of the file is damaged")
    version, seed = text[len(_FILE_MARK) :].split(b" ", 1)
    if int(version) > VERSION:
        raise FormatVersionError(
            f"format {int(version)} is newer than this server, which reads up to {VERSION}"
        )
    return int(seed, 16), len(line) + 2


def _read_hex(text: bytes) -> int | None:
    """A number as `%016x` writes it, and in no other way."""
    try:
        number = int(text, 16)
    except ValueError:
        return None
    return number if text == b"%016x" % number else None


def _sum(rest: bytes, body: bytes, seed: int) -> int:
    if len(body) <= _SMALL_BYTES:
        return xxhash.xxh3_64_intdigest(rest + body, seed=seed & _MASK)
    state = xxhash.xxh3_64(rest, seed=seed & _MASK)
    state.update(body)
    return state.intdigest()


def group_header(
    body: bytes, *, seed: int, offset: int, synced: int, now_ms: int, exact_ns: int
) -> bytes:
    """The line to stand before `body`, itself at `offset` of the file."""
    rest = b"%d %d %d %d\r\n" % (len(body), synced, now_ms, exact_ns)
    return b"#GROUP %016x %b" % (_sum(rest, body, seed + offset), rest)


def parse_group_header(data: bytes) -> Head | None:
    """The line that `data` begins with; None: it is none, or not complete."""
    if not data.startswith(_GROUP_MARK):
        return None
    end = data.find(b"\r\n", 0, HEADER_BYTES_MAX + 2)
    if end < 0:
        return None
    text, _, rest = data[len(_GROUP_MARK) : end].partition(b" ")
    total = _read_hex(text)
    words = rest.split(b" ")
    if total is None or len(words) != 4 or not all(word.isdigit() for word in words):
        return None
    length, synced, now_ms, exact_ns = map(int, words)
    return Head(total, length, synced, now_ms, exact_ns, end + 2, rest + b"\r\n")


def is_right(head: Head, body: bytes, *, seed: int, offset: int) -> bool:
    """Whether a group is as it was written, and where it was written."""
    return len(body) == head.length and _sum(head.rest, body, seed + offset) == head.sum
