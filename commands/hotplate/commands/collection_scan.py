"""What HSCAN, SSCAN and ZSCAN share: their options, and one step over a collection's table.

A collection whose encoding is a compact one is returned whole with cursor 0, as Redis does; the
handler says which. Redis looks for the key between cursor and options, so that options beside a
missing key are not read.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from hotplate.errors import CommandError
from hotplate.keyspace.glob import compile_glob
from hotplate.keyspace.sharded import Table, scan_table
from hotplate.resp.types import EMPTY_ARRAY, Reply
from hotplate.spec.args import Args, syntax_error
from hotplate.spec.model import Arg, integer, pattern

SCAN_ARGS: Final[tuple[Arg, ...]] = (
    integer("cursor"),
    pattern(token="MATCH", optional=True),
    integer("count", token="COUNT", optional=True),
)
_COUNT: Final = 10


@dataclass(slots=True)
class ScanOptions:
    """What was asked for beside key and cursor."""

    count: int = _COUNT
    matches: Callable[[bytes], object] | None = None
    values: bool = True


def nothing_to_scan() -> Reply:
    """The reply where there is no key."""
    return [b"0", EMPTY_ARRAY]


def parse_scan_options(argv: list[bytes], *, is_hash: bool = False) -> ScanOptions:
    """[MATCH pattern] [COUNT count], and NOVALUES for a hash, after key and cursor."""
    options = ScanOptions()
    args = Args(argv, 3)
    while args:
        word = args.take_word()
        if word == b"COUNT" and args:
            options.count = args.take_int()
            if options.count < 1:
                raise syntax_error()
        elif word == b"MATCH" and args:
            glob = args.take()
            options.matches = None if glob == b"*" else compile_glob(glob)
        elif word == b"NOVALUES":
            if not is_hash:
                raise CommandError("NOVALUES option can only be used in HSCAN")
            options.values = False
        else:
            raise syntax_error()
    return options


def scan_step(
    table: Table[Any], cursor: int, options: ScanOptions, *, whole: bool
) -> tuple[bytes, Iterable[bytes]]:
    """The next cursor as clients get it, and the names found that match."""
    found: Iterable[bytes]
    if whole:
        cursor, found = 0, table.keys()
    else:
        cursor, found = scan_table(table, cursor, options.count)
    if options.matches is not None:
        found = filter(options.matches, found)
    return b"%d" % cursor, found
