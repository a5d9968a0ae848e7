"""Requests as bytes, the way clients send them.

What the log is written with, so that each costs little: most have two or three short words, and
those that came in one go are kept as they came.
"""

from collections.abc import Sequence
from typing import Final

from hotplate.resp.shared import ARRAY_HEADERS, BULK_HEADERS, CRLF, NEXT_BULK_HEADERS

_SIZES_END: Final = len(BULK_HEADERS)
_COUNTS_END: Final = len(ARRAY_HEADERS)
# the types of RESP that hiredis reads as bytes though no request holds them; integers, for `in`
# then looks for one byte
_STATUS, _BIG_NUMBER, _VERBATIM = b"+(="
_LINE: Final = b"\r\n"


def encode_requests(requests: Sequence[Sequence[bytes] | bytes]) -> bytes:
    """Requests in RESP, one after the other; bytes are requests that are in RESP already."""
    parts: list[bytes] = []
    for argv in requests:
        if isinstance(argv, bytes):
            parts.append(argv)
            continue
        count = len(argv)
        if count == 3:
            name, key, value = argv
            if len(name) < _SIZES_END > len(key) and len(value) < _SIZES_END:
                parts += (
                    b"*3\r\n",
                    BULK_HEADERS[len(name)],
                    name,
                    NEXT_BULK_HEADERS[len(key)],
                    key,
                    NEXT_BULK_HEADERS[len(value)],
                    value,
                    CRLF,
                )
                continue
        parts.append(ARRAY_HEADERS[count] if count < _COUNTS_END else b"*%d\r\n" % count)
        for argument in argv:
            size = len(argument)
            parts += (
                BULK_HEADERS[size] if size < _SIZES_END else b"$%d\r\n" % size,
                argument,
                CRLF,
            )
    return b"".join(parts)


def is_as_encoded(data: bytes) -> bool:
    """Whether requests that hiredis read from `data` are encoded so. It may say no for too many."""
    return not (
        (_STATUS in data and _LINE + b"+" in data)
        or (_BIG_NUMBER in data and _LINE + b"(" in data)
        or (_VERBATIM in data and _LINE + b"=" in data)
    )
