"""Requests from bytes, fast: hiredis where it is harmless, the exact reader everywhere else.

                  ┌─ one small request ─► split at CRLF, compared ───┐
    feed ─► chunk ┼─ harmless ─► hiredis, the whole chunk in one go ─┤
                  │                              └ incomplete tail ┐ ├─► batch
                  └─ anything else ─► PyRequestReader ◄────────────┘─┘

A client that waits for each answer sends one small request at a time. Split at CRLF it is every
second part, provided that the other parts are exactly the headers those arguments have.

hiredis reads replies, not requests: it takes ints, maps and nested arrays, allocates lists as long
as a header says, knows no inline requests and no limit of ours. So a chunk goes there only if it
begins at a request, begins with `*`, is no single long request, and holds nothing that looks like
the header of a long array or of a large bulk string; and what comes out must be lists of bytes.

Invariants. hiredis holds nothing between two chunks: each is fed whole, then it is checked that the
chunk ended where a request ended. If not, the unfinished request goes to the exact reader, which
gives the rest back once it stands between two requests again. Payload that looks like a header
costs time only. For valid requests both readers answer the same, however the bytes are cut. Of
invalid ones hiredis lets simple strings and the like pass for bulk strings; never other types.
"""

import re
from itertools import chain
from typing import Any, Final

import hiredis

from hotplate.resp.pyreader import LargeBulk, ProtocolError, PyRequestReader, ReaderLimits

__all__ = ["LargeBulk", "ProtocolError", "ReaderLimits", "RequestReader"]

# marks as integers: `in` finds those in bytes several times as fast as a string of one byte
_STAR, _PUSH, _SET, _MAP, _ATTRIBUTE = b"*>~%|"
_PROBE: Final = b"*0\r\n"  # an empty array, if it stands where a request may begin
_NEED_DATA: Final[list[bytes]] = []  # one object for both ends of `iter(gets, ...)`
_ARGUMENT_BYTES_MIN: Final = 6  # $0, CRLF, CRLF
_HEAD_BYTES: Final = 512  # names, keys and options that stand before a large payload
_FEW: Final = re.compile(rb"\*[0-9]\r")
_NEXT: Final = b"\r\n*"  # where another request may begin
_RETURN_BYTES: Final = 256  # the exact reader has a shorter rest parsed before hiredis has it

# hiredis allocates a list of so many items before it has seen them, nine levels deep at most
_LONG_DIGITS: Final = 5
_OTHER_AGGREGATE: Final = re.compile(rb"[~>|%][0-9]").search
_FIRST_HEADER: Final = re.compile(rb"\*([1-9][0-9]{0,4})\r\n\$").match
# bytes of a header, prefix and CRLF included, by the length it tells
_HEADER_BYTES: Final = b"".join(
    bytes([3 + digits]) * (10**digits - (10 ** (digits - 1) if digits > 1 else 0))
    for digits in range(1, 6)
)
_LENGTH_MAX: Final = len(_HEADER_BYTES) - 1

_SMALL_BYTES_MAX: Final = 512  # a longer one is cheap beside what it carries
_PIPELINE_BYTES: Final = 160  # a longer chunk may be a pipeline: see whether it is
_SMALL_COUNTS: Final = tuple(b"*%d" % count for count in range(20))
_SMALL_HEADERS: Final = tuple(b"$%d" % size for size in range(_SMALL_BYTES_MAX))
_small_header: Final = _SMALL_HEADERS.__getitem__


class RequestReader:
    """Feed bytes, take requests: the interface of PyRequestReader, several times its speed.

    Call `batch` after each `feed`, and again while `ready` is set.
    """

    __slots__ = (
        "_busy",
        "_chunk",
        "_exact",
        "_large",
        "_large_from",
        "_last",
        "_last_arguments",
        "_long",
        "_may_return",
        "_parsed",
        "_parser",
        "_small_counts",
        "ready",
        "stopped",
        "whole",
    )

    def __init__(self, limits: ReaderLimits) -> None:
        self._parser = _parser()
        self._exact = PyRequestReader(limits)
        self._busy = False  # the exact reader holds bytes
        self._may_return = False  # and may give them back between two requests
        self._chunk = b""  # begins at a request, not looked at yet
        self._parsed: list[list[bytes]] = []  # by hiredis, over the limit of the last batch
        self.ready = False
        self.whole = False  # the last batch is all of what was fed last, and nothing else
        self.stopped: LargeBulk | ProtocolError | None = None
        self.limits = limits

    @property
    def limits(self) -> ReaderLimits:
        """The limits in force; after AUTH, looser ones let a refused request through."""
        return self._exact.limits

    @limits.setter
    def limits(self, limits: ReaderLimits) -> None:
        self._exact.limits = limits
        self._last: bytes | None = None  # what `single` took, under these limits
        self._last_arguments: list[bytes] = []
        self._small_counts = _SMALL_COUNTS[: limits.array_items_max + 1]
        # patterns find more than they must: every length with as many digits
        self._large_from = min(limits.large_bulk_bytes, limits.bulk_bytes_max + 1, _LENGTH_MAX)
        self._large = re.compile(rb"\$[0-9]{%d}" % len(str(self._large_from))).search
        long_digits = min(_LONG_DIGITS, len(str(limits.array_items_max)))
        self._long = re.compile(rb"\*[0-9]{%d}" % long_digits).search
        if self._busy and not self._parsed:
            self._follow()

    @property
    def partial(self) -> list[Any]:
        """The arguments of the request that is not complete, for those who must give them back."""
        return self._exact.partial

    @property
    def holds_bytes(self) -> bool:
        """Whether anything came that was not handed out; part of a request counts."""
        return bool(self._busy or self._chunk or self._parsed)

    @property
    def pending_bytes(self) -> int:
        """Bytes that came and were not handed out."""
        parsed_bytes = sum(map(len, chain.from_iterable(self._parsed)))
        return len(self._chunk) + parsed_bytes + self._exact.pending_bytes

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Add what arrived. After a ProtocolError it is dropped."""
        if not self._busy and not self._chunk and not self._parsed:
            self._chunk = data if type(data) is bytes else bytes(data)
            return
        if self._chunk:
            self._exact.feed(self._chunk)
            self._chunk = b""
        self._exact.feed(data)
        self._busy = self._may_return = True

    def batch(self, limit: int) -> list[list[Any]]:
        """At most `limit` complete requests, in order; `stopped` and `ready` tell what is next."""
        requests: list[list[Any]] = []
        chunk = self._chunk
        if chunk:
            self._chunk = b""
            parsed = self._parse(chunk)
            if parsed is None:
                self._exact.feed(chunk)
                self._busy = True
            elif not self._busy and len(parsed) <= limit:
                self.ready = False
                self.whole = not chunk.endswith(_PROBE)  # which would be no request
                return parsed
            else:
                self._parsed = parsed
        if self._parsed:
            requests = self._parsed[:limit]
            del self._parsed[:limit]
        if self._parsed or len(requests) == limit:
            self.ready = True
        else:
            requests += self._batch_exact(limit - len(requests))
        self.whole = False
        return requests

    def single(self, data: bytes) -> list[bytes] | None:
        """The request, if `data` is one small whole one and nothing waits; else it is not taken.

        The shortest way: no `feed` and no `batch`. A client that waits for work sends the same
        again and again.
        """
        if self._busy or self._chunk or self._parsed:
            return None
        if data == self._last:
            self.ready = False
            return self._last_arguments.copy()
        size = len(data)
        if size > _PIPELINE_BYTES and (size > _SMALL_BYTES_MAX or _NEXT in data):
            return None
        parts = data.split(b"\r\n")
        arguments = parts[2::2]
        counts = self._small_counts
        if (
            len(arguments) < len(counts)
            and parts[0] == counts[len(arguments)]
            and parts[1::2] == [*map(_small_header, map(len, arguments)), b""]
            and arguments
        ):
            self.ready = False
            if size <= _PIPELINE_BYTES:
                self._last, self._last_arguments = data, arguments.copy()
            return arguments
        return None

    def take_buffered(self, view: memoryview) -> int:
        """Move what was fed of the large bulk string into `view`; the number of bytes moved."""
        return self._exact.take_buffered(view)

    def resume(self, item: Any) -> None:
        """Go on behind the large bulk string, whose bytes were received as `item`."""
        self._exact.resume(item)
        self._follow()

    # -- the two readers ------------------------------------------------------------------------

    def _batch_exact(self, limit: int) -> list[list[Any]]:
        """Go on with the exact reader; behind the request that made it necessary, return once."""
        exact = self._exact
        if not self._may_return:
            requests = exact.batch(limit)
            self._follow()
            return requests
        self._may_return = False
        requests = exact.batch(1)
        self._follow()
        if not requests or limit == 1:
            return requests
        if exact.unread_bytes >= _RETURN_BYTES:
            self._chunk = exact.take_rest()
            self._follow()
        return requests + self.batch(limit - 1)

    def _follow(self) -> None:
        exact = self._exact
        self._busy = not exact.idle
        self.stopped = exact.stopped
        self.ready = exact.ready

    def _parse(self, chunk: bytes) -> list[list[bytes]] | None:
        """What hiredis finds in `chunk`; None: it must not see it, or found other than requests.

        An unfinished request at the end goes to the exact reader.
        """
        if len(chunk) > _HEAD_BYTES and _FEW.match(chunk) and chunk.find(_NEXT, 1, _HEAD_BYTES) < 0:
            return None  # few arguments and long ones: searching costs more than cutting them
        if (
            chunk[0] != _STAR
            or len(chunk) > self._large_from
            or self._long(chunk) is not None
            or _PUSH in chunk
            or _SET in chunk
            or _MAP in chunk
            or _ATTRIBUTE in chunk
        ) and not self._is_harmless(chunk):
            return None
        parser = self._parser
        next_request = parser.gets
        join = b"".join
        requests: list[list[bytes]] = []
        try:
            parser.feed(chunk)
            requests = list(iter(next_request, _NEED_DATA))
            join(map(join, requests))  # TypeError unless all are bytes in lists, or empty
            if not parser.has_data() and all(requests):
                # every byte was used; are arguments missing? Then the probe becomes one of them
                parser.feed(_PROBE)
                probe = next_request()
                if probe is not _NEED_DATA and not probe:
                    return requests
        except hiredis.ProtocolError:
            pass  # in the chunk, or in the probe: then `requests` came before it
        except TypeError:
            requests = []
        self._parser = _parser()
        end = _frames_bytes(requests)
        if not all(requests) or not chunk.startswith(b"\r\n*", end - 2):
            return None  # the exact reader says from the start what is wrong, if anything is
        self._exact.feed(chunk[end:])
        self._busy = True
        self._may_return = False
        return requests

    def _is_harmless(self, chunk: bytes) -> bool:
        """The second look, at a chunk that has something unusual."""
        if chunk[0] != _STAR:
            return False
        if len(chunk) > self._large_from and self._large(chunk, 0, _HEAD_BYTES) is not None:
            return False  # found where it usually is, before the payload is searched
        if _OTHER_AGGREGATE(chunk) is not None:
            return False
        if self._long(chunk) is not None:
            # a long array may come first, if the chunk can hold as many arguments
            first = _FIRST_HEADER(chunk)
            if first is None or self._long(chunk, 1) is not None:
                return False
            count = int(first[1])
            if count > self.limits.array_items_max or count * _ARGUMENT_BYTES_MIN > len(chunk):
                return False
        # in a shorter chunk a large bulk string is incomplete, and so found anyway
        return len(chunk) <= self._large_from or self._large(chunk) is None


def _parser() -> hiredis.Reader:
    return hiredis.Reader(notEnoughData=_NEED_DATA)


def _frames_bytes(requests: list[list[bytes]]) -> int:
    """The bytes that `requests` took on the wire."""
    header_bytes = _HEADER_BYTES.__getitem__
    counts = list(map(len, requests))
    sizes = list(map(len, chain.from_iterable(requests)))
    return (
        sum(map(header_bytes, counts)) + sum(map(header_bytes, sizes)) + sum(sizes) + 2 * len(sizes)
    )


def parse_requests(data: bytes) -> list[list[bytes]] | None:
    """All requests that `data`, written by `encode_requests`, consists of; None: it does not."""
    parser = _parser()
    parser.feed(data)
    try:
        requests: list[list[bytes]] = list(iter(parser.gets, _NEED_DATA))
    except hiredis.ProtocolError:
        return None
    return None if parser.has_data() else requests
