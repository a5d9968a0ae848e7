"""Requests as bytes, the way clients send them; and back, from bytes that are known to be right.

`encode_request` is what the log is written with, a command at a time; the usual lengths are spelled
out because they run once for every write of every client. `resp.reader` parses them again.
"""

from collections.abc import Sequence
from typing import Final

from hotplate.resp.shared import ARRAY_HEADERS, BULK_HEADERS, CRLF, NEXT_BULK_HEADERS

_SIZES_END: Final = len(BULK_HEADERS)
_COUNTS_END: Final = len(ARRAY_HEADERS)


def encode_request(argv: Sequence[bytes]) -> bytes:
    """One request in RESP."""
    count = len(argv)
    try:
        if count == 3:
            name, key, value = argv
            return b"".join(
                (
                    b"*3\r\n",
                    BULK_HEADERS[len(name)],
                    name,
                    NEXT_BULK_HEADERS[len(key)],
                    key,
                    NEXT_BULK_HEADERS[len(value)],
                    value,
                    CRLF,
                )
            )
        if count == 2:
            name, key = argv
            return b"".join(
                (b"*2\r\n", BULK_HEADERS[len(name)], name, NEXT_BULK_HEADERS[len(key)], key, CRLF)
            )
    except IndexError:
        pass  # an argument too long for the tables
    parts = [ARRAY_HEADERS[count] if count < _COUNTS_END else b"*%d\r\n" % count]
    for argument in argv:
        size = len(argument)
        parts += (
            BULK_HEADERS[size] if size < _SIZES_END else b"$%d\r\n" % size,
            argument,
            CRLF,
        )
    return b"".join(parts)


def encode_requests(requests: Sequence[Sequence[bytes]]) -> bytes:
    """Several requests of one command, in order."""
    if len(requests[0]) == 3:
        try:
            return b"".join(
                [
                    part
                    for name, key, value in requests
                    for part in (
                        b"*3\r\n",
                        BULK_HEADERS[len(name)],
                        name,
                        NEXT_BULK_HEADERS[len(key)],
                        key,
                        NEXT_BULK_HEADERS[len(value)],
                        value,
                        CRLF,
                    )
                ]
            )
        except (IndexError, ValueError):
            pass  # a long argument, or another number of them
    return b"".join(map(encode_request, requests))
