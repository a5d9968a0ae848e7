"""Requests from bytes, exactly and in plain Python: the grammar, every limit, every error text.

    feed ─► [ unread bytes ] ─► batch ─► complete requests (lists of bytes)
                                  └────► stopped: why nothing follows for now

It is the oracle of the tests and the part of `hotplate.resp.reader` that handles whatever the fast
path does not. It must not know sockets, commands or replies.

Invariants. What has been parsed is never parsed again: a request that arrives in pieces costs what
it costs in one. No memory is taken on a client's word: lists grow with the bytes that came. As in
Redis the two bytes behind a bulk string are skipped unseen; behind a large one they must be CRLF.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from hotplate import limits as bounds
from hotplate.resp.inline import split_line

_STAR: Final = 0x2A
_DOLLAR: Final = 0x24
_LENGTH: Final = re.compile(rb"0|-?[1-9][0-9]{0,18}").fullmatch
_COUNTS: Final = {b"*%d" % count: count for count in range(1024)}
_SIZES: Final = {b"$%d" % size: size for size in range(1024)}
_INT_MAX: Final = 2**31 - 1


class ProtocolError(Exception):
    """The client does not speak the protocol; it gets `frame` and is closed."""

    def __init__(self, text: str) -> None:
        super().__init__(text)

    @property
    def frame(self) -> bytes:
        """The error reply, as Redis writes it. A byte that was quoted from the request stays it."""
        text = str(self).encode("latin-1").replace(b"\r", b" ").replace(b"\n", b" ")
        return b"-ERR %b\r\n" % text


class UnauthenticatedError(ProtocolError):
    """A header over the limits of a client that has not authenticated; it was not consumed."""


@dataclass(frozen=True, slots=True)
class ReaderLimits:
    """What one client may send. A bulk string from `large_bulk_bytes` on is a LargeBulk,
    unless all of it is there already: then it is faster to cut it out."""

    array_items_max: int = bounds.ARRAY_ITEMS_MAX
    bulk_bytes_max: int = bounds.BULK_BYTES_MAX
    inline_bytes_max: int = bounds.INLINE_BYTES_MAX
    large_bulk_bytes: int = bounds.LARGE_BULK_BYTES
    query_buffer_bytes_max: int = bounds.QUERY_BUFFER_BYTES_MAX
    authenticated: bool = True  # False: breaking a limit is reported as unauthenticated


@dataclass(frozen=True, slots=True)
class LargeBulk:
    """The reader stands behind a large bulk string's header. `argv`: the arguments before it."""

    argv: list[Any]
    size: int


class PyRequestReader:
    """Feed bytes, take requests.

    `stopped` says after each `batch` why no request follows: None (more bytes are needed, or, if
    `ready`, another batch is due), a LargeBulk (the caller receives `size` bytes: first those of
    `take_buffered`, then from its socket, then calls `resume`), or a ProtocolError (for good).
    """

    __slots__ = (
        "_argv",
        "_buffer",
        "_counted",
        "_held_bytes",
        "_limits",
        "_missing",
        "_position",
        "_size",
        "_terminator",
        "ready",
        "stopped",
    )

    def __init__(self, limits: ReaderLimits) -> None:
        self._limits = limits
        self._buffer = b""
        self._position = 0
        # the request under way: its arguments, how many are missing, the next one's size if known
        self._argv: list[Any] = []
        self._missing = 0
        self._size = -1
        self._terminator = False  # the CRLF behind a large bulk string is due
        # bytes in `_argv`, and how many of its arguments are counted in
        self._held_bytes = 0
        self._counted = 0
        self.ready = False
        self.stopped: LargeBulk | ProtocolError | None = None

    @property
    def limits(self) -> ReaderLimits:
        """The limits in force; after AUTH, looser ones let a refused request through."""
        return self._limits

    @limits.setter
    def limits(self, limits: ReaderLimits) -> None:
        if limits.authenticated and not self._limits.authenticated and self._refused_early():
            # the refused header was not consumed: AUTH ran meanwhile, it is read again
            self.stopped = None
            self.ready = True
        self._limits = limits

    def _refused_early(self) -> bool:
        return type(self.stopped) is UnauthenticatedError

    @property
    def partial(self) -> list[Any]:
        """The arguments of the request that is not complete, for those who must give them back."""
        return self._argv if self._missing else []

    @property
    def pending_bytes(self) -> int:
        """Bytes that came and were not handed out."""
        self._count_held()
        return len(self._buffer) - self._position + self._held_bytes

    @property
    def unread_bytes(self) -> int:
        """Bytes that were not parsed; 0 where a request or a large bulk string is under way."""
        if self._missing or self.stopped is not None:
            return 0
        return len(self._buffer) - self._position

    @property
    def idle(self) -> bool:
        """Nothing is pending: the next byte fed begins a request."""
        return self._position == len(self._buffer) and not self._missing and self.stopped is None

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Add what arrived. After a ProtocolError it is dropped."""
        if isinstance(self.stopped, ProtocolError) and not self._refused_early():
            return
        if self._position == len(self._buffer):
            self._buffer = bytes(data)
        else:
            self._buffer = b"".join((memoryview(self._buffer)[self._position :], data))
        self._position = 0

    def batch(self, limit: int) -> list[list[Any]]:
        """At most `limit` complete requests, in order; `stopped` and `ready` tell what is next."""
        requests: list[list[Any]] = []
        self.ready = False
        if self.stopped is not None:
            return requests
        try:
            while len(requests) < limit and self._request():
                requests.append(self._argv)
                self._argv = []
                self._held_bytes = self._counted = 0
            self.ready = self.stopped is None and len(requests) == limit
            if self.pending_bytes > self._limits.query_buffer_bytes_max:
                raise ProtocolError("Protocol error: query buffer limit exceeded")
        except UnauthenticatedError as error:
            self.stopped = error
        except ProtocolError as error:
            self.stopped = error
            self._buffer = b""
            self._position = 0
        return requests

    def take_buffered(self, view: memoryview) -> int:
        """Move what was fed of the large bulk string into `view`; the number of bytes moved."""
        count = min(len(self._buffer) - self._position, len(view))
        view[:count] = memoryview(self._buffer)[self._position : self._position + count]
        self._position += count
        return count

    def take_rest(self) -> bytes:
        """Hand out all unread bytes; only while no request is under way."""
        rest = self._buffer[self._position :]
        self._buffer = b""
        self._position = 0
        return rest

    def resume(self, item: Any) -> None:
        """Go on behind the large bulk string, whose bytes were received as `item`."""
        assert isinstance(self.stopped, LargeBulk), "no large bulk string is under way"
        self._argv.append(item)
        self._terminator = True
        self.stopped = None
        self.ready = True

    # -- the grammar ----------------------------------------------------------------------------

    def _request(self) -> bool:
        """Go on until `_argv` is a complete request; False: bytes are missing, or `stopped`."""
        while not self._missing:
            buffer, position = self._buffer, self._position
            if position == len(buffer):
                return False
            if buffer[position] != _STAR:
                if not self._inline():
                    return False
                if self._argv:
                    return True
                continue
            line_end = buffer.find(b"\r\n", position)
            length = _COUNTS.get(buffer[position:line_end])
            if length is None or length > self._limits.array_items_max or line_end < 0:
                length = self._header(bulk=False)
                if length is None:
                    return False
            else:
                self._position = line_end + 2
            self._missing = max(length, 0)  # *0 and *-1 ask for nothing
        return self._arguments()

    def _arguments(self) -> bool:
        if self._terminator and not self._end_large():
            return False
        buffer, append = self._buffer, self._argv.append
        large, size_max = self._limits.large_bulk_bytes, self._limits.bulk_bytes_max
        missing, size, end = self._missing, self._size, len(buffer)
        header, header_size = b"", 0
        try:
            while missing:
                position = self._position
                if size < 0:
                    # keys in a row mostly have one length: their headers are compared, not read
                    if header and buffer.startswith(header, position):
                        size = header_size
                        self._position = position + len(header)
                    else:
                        line_end = buffer.find(b"\r\n", position)
                        length = _SIZES.get(buffer[position:line_end])
                        if length is None or length > size_max or line_end < 0:
                            length = self._header(bulk=True)
                            if length is None:
                                break
                        else:
                            self._position = line_end + 2
                        size = header_size = length
                        header = buffer[position : self._position]
                    if size >= large and self._position + size + 2 > end:
                        self.stopped = LargeBulk(self._argv, size)
                        size = -1
                        return False
                    position = self._position
                stop = position + size
                if stop + 2 > end:
                    break
                if size >= large and buffer[stop : stop + 2] != b"\r\n":
                    raise ProtocolError("Protocol error: expected CRLF after bulk")
                append(buffer[position:stop])
                self._position = stop + 2
                size = -1
                missing -= 1
        finally:
            self._missing, self._size = missing, size
        return not missing

    def _end_large(self) -> bool:
        position = self._position
        if len(self._buffer) < position + 2:
            return False
        if self._buffer[position : position + 2] != b"\r\n":
            raise ProtocolError("Protocol error: expected CRLF after bulk")
        self._position = position + 2
        self._terminator = False
        self._missing -= 1
        return True

    def _header(self, *, bulk: bool) -> int | None:
        """The length in the header line at hand, which is consumed; None: it is not complete."""
        buffer, position, limits = self._buffer, self._position, self._limits
        line_end = buffer.find(b"\r\n", position)
        line_bytes = (len(buffer) if line_end < 0 else line_end) - position
        if line_bytes > limits.inline_bytes_max:
            raise ProtocolError(f"Protocol error: too big {'' if bulk else 'm'}bulk count string")
        if line_end < 0:
            return None
        if bulk and buffer[position] != _DOLLAR:
            raise ProtocolError(f"Protocol error: expected '$', got '{chr(buffer[position])}'")
        digits = buffer[position + 1 : line_end]
        kind = "bulk" if bulk else "multibulk"
        length = int(digits) if _LENGTH(digits) else None
        if length is None or (bulk and length < 0):
            raise ProtocolError(f"Protocol error: invalid {kind} length")
        if length > (limits.bulk_bytes_max if bulk else limits.array_items_max):
            if limits.authenticated or length > (bounds.BULK_BYTES_MAX if bulk else _INT_MAX):
                raise ProtocolError(f"Protocol error: invalid {kind} length")
            raise UnauthenticatedError(f"Protocol error: unauthenticated {kind} length")
        self._position = line_end + 2
        return length

    def _inline(self) -> bool:
        """Split the line at hand into `_argv` (empty: nothing on it); False: it is incomplete."""
        buffer, position = self._buffer, self._position
        line_end = buffer.find(b"\n", position)
        line_bytes = (len(buffer) if line_end < 0 else line_end) - position
        if line_bytes > self._limits.inline_bytes_max:
            raise ProtocolError("Protocol error: too big inline request")
        if line_end < 0:
            return False
        line = buffer[position:line_end]
        words = split_line(line.removesuffix(b"\r"))
        if words is None:
            raise ProtocolError("Protocol error: unbalanced quotes in request")
        self._argv = words
        self._position = line_end + 1
        return True

    def _count_held(self) -> None:
        argv = self._argv
        if self._counted < len(argv):
            # what was received elsewhere (a reserved slot) is not the query buffer's
            self._held_bytes += sum(
                len(item) for item in argv[self._counted :] if type(item) is bytes
            )
            self._counted = len(argv)
