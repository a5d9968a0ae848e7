"""Drives a reader the way a connection does: pieces in, large bulk strings received apart."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from hotplate.resp.pyreader import LargeBulk, ProtocolError, PyRequestReader, ReaderLimits
from hotplate.resp.reader import RequestReader

Reader: TypeAlias = PyRequestReader | RequestReader
READERS: tuple[type[Reader], ...] = (PyRequestReader, RequestReader)


@dataclass
class Outcome:
    """What a reader made of its input."""

    requests: list[list[bytes]] = field(default_factory=list)
    error: str | None = None
    pending_bytes: int = 0
    large_sizes: list[int] = field(default_factory=list)


class Driver:
    """One reader, and the large bulk string under way."""

    def __init__(self, kind: type[Reader], limits: ReaderLimits, batch_limit: int = 100) -> None:
        self.reader = kind(limits)
        self.batch_limit = batch_limit
        self.outcome = Outcome()
        self._target = bytearray()
        self._filled = 0
        self._receives = False

    def feed(self, piece: bytes) -> None:
        """What the socket gave: to the large bulk string first, then to the reader."""
        if self._receives:
            taken = piece[: len(self._target) - self._filled]
            self._target[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            piece = piece[len(taken) :]
            self._finish_large()
        if not self._receives:
            if piece:
                self.reader.feed(piece)
            self._take()

    def _take(self) -> None:
        while True:
            self.outcome.requests += self.reader.batch(self.batch_limit)
            stopped = self.reader.stopped
            if isinstance(stopped, ProtocolError):
                self.outcome.error = str(stopped)
                return
            if isinstance(stopped, LargeBulk):
                self.outcome.large_sizes.append(stopped.size)
                self._target = bytearray(stopped.size)
                self._filled = self.reader.take_buffered(memoryview(self._target))
                self._receives = True
                self._finish_large()
                if self._receives:
                    return
            elif not self.reader.ready:
                return

    def _finish_large(self) -> None:
        if self._filled == len(self._target):
            self._receives = False
            self.reader.resume(bytes(self._target))


def drive(
    kind: type[Reader],
    pieces: Iterable[bytes],
    limits: ReaderLimits | None = None,
    batch_limit: int = 100,
) -> Outcome:
    """All that a reader of `kind` makes of `pieces`."""
    driver = Driver(kind, limits or ReaderLimits(), batch_limit)
    for piece in pieces:
        driver.feed(piece)
    driver.outcome.pending_bytes = driver.reader.pending_bytes
    return driver.outcome


def request(*argv: bytes) -> bytes:
    """A request as clients write it."""
    return b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(a), a) for a in argv)


def byte_by_byte(data: bytes) -> list[bytes]:
    """Every byte a piece."""
    return [data[i : i + 1] for i in range(len(data))]


def cuts_in_two(data: bytes) -> Iterator[list[bytes]]:
    """Every way to cut once, the empty ones too."""
    for cut in range(len(data) + 1):
        yield [data[:cut], data[cut:]]
