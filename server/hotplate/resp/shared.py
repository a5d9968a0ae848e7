"""Ready-made frames: headers and small numbers that are written far more often than made.

Indexed by the number itself; the tables' lengths are their bounds.
"""

from typing import Final

CRLF: Final = b"\r\n"
INTEGERS: Final = tuple(b":%d\r\n" % number for number in range(10_000))
BULK_HEADERS: Final = tuple(b"$%d\r\n" % size for size in range(4096))
NEXT_BULK_HEADERS: Final = tuple(CRLF + header for header in BULK_HEADERS)  # after another bulk
ARRAY_HEADERS: Final = tuple(b"*%d\r\n" % count for count in range(1024))
NULL_BULK: Final = b"$-1\r\n"
NULL_ARRAY: Final = b"*-1\r\n"
NULL: Final = b"_\r\n"
