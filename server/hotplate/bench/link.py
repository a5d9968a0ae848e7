"""The benchmark's client: a blocking socket, requests encoded before the clock starts.

The same client drives both sides, so that its own cost is the same for both. Small replies are
parsed by hiredis; payloads are received into a buffer that was made before.
"""

import socket
from collections.abc import Iterable, Sequence
from typing import Any, Final, Self
from urllib.parse import urlsplit

import hiredis

RECEIVE_BYTES: Final = 1 << 20
HEADER_BYTES_MAX: Final = 64
PARTS_MAX: Final = 512  # of one sendmsg; systems allow 1024


class ReplyError(RuntimeError):
    """The server refused a request of the benchmark, or answered something else than expected."""


def frame(*arguments: bytes | str | int) -> bytes:
    """One request as it goes over the wire."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        raw = argument if isinstance(argument, bytes) else str(argument).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


class Link:
    """A connection to `redis://[[user]:password@]host:port` or `unix:///path`."""

    __slots__ = ("_reader", "_receive", "_socket")

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme == "unix":
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(parts.path)
        elif parts.scheme == "redis":
            address = (parts.hostname or "127.0.0.1", parts.port or 6379)
            self._socket = socket.create_connection(address)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            raise ValueError(f"need redis://host:port or unix:///path, not {url!r}")
        self._reader = hiredis.Reader()
        self._receive = memoryview(bytearray(RECEIVE_BYTES))
        if parts.password is not None:
            self.command("AUTH", *([parts.username] if parts.username else []), parts.password)

    def command(self, *arguments: bytes | str | int) -> Any:
        """Encode, send, answer."""
        return self.call(frame(*arguments))

    def call(self, request: bytes) -> Any:
        """The reply to one encoded request; ReplyError where it is an error."""
        self._socket.sendall(request)
        return self._reply()

    def calls(self, requests: bytes, count: int) -> list[Any]:
        """The replies to `count` requests sent at once."""
        self._socket.sendall(requests)
        return [self._reply() for _ in range(count)]

    def send_parts(
        self, parts: Sequence[bytes | memoryview], *, expected: object, replies: int = 1
    ) -> None:
        """Send requests in pieces, so that no payload is copied here; each must be answered so."""
        for first in range(0, len(parts), PARTS_MAX):
            some = parts[first : first + PARTS_MAX]
            sent = self._socket.sendmsg(some)
            if sent < sum(len(part) for part in some):
                for part in unsent(some, sent):
                    self._socket.sendall(part)
        for _ in range(replies):
            reply = self._reply()
            if reply != expected:
                raise ReplyError(f"expected {expected!r}, got {reply!r:.200}")

    def receive_bulks(self, requests: bytes, targets: Sequence[memoryview]) -> None:
        """Send requests whose replies are bulk strings that fill `targets` exactly."""
        self._socket.sendall(requests)
        early = b""  # what came with the header before
        for target in targets:
            early = self._receive_bulk(early, target)
        if early:
            raise ReplyError(f"bytes after the last reply: {early!r:.100}")

    def _receive_bulk(self, early: bytes, target: memoryview) -> bytes:
        header = b"$%d\r\n" % len(target)
        while b"\n" not in early:
            early += self._receive_some(HEADER_BYTES_MAX)
        if not early.startswith(header):
            raise ReplyError(f"expected {header!r}, got {early!r:.200}")
        early = early[len(header) :]
        filled = min(len(early), len(target))
        target[:filled] = early[:filled]
        early = early[filled:]
        while filled < len(target):
            received = self._socket.recv_into(target[filled:])
            if not received:
                raise ReplyError("the server closed the connection")
            filled += received
        while len(early) < 2:
            early += self._receive_some(HEADER_BYTES_MAX)
        return early[2:]

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _receive_some(self, size: int) -> bytes:
        received = self._socket.recv(size)
        if not received:
            raise ReplyError("the server closed the connection")
        return received

    def _reply(self) -> Any:
        reply = self._reader.gets()
        while reply is False:
            received = self._socket.recv_into(self._receive)
            if not received:
                raise ReplyError("the server closed the connection")
            self._reader.feed(self._receive[:received])  # type: ignore[arg-type]  # any buffer
            reply = self._reader.gets()
        if isinstance(reply, hiredis.ReplyError):
            raise ReplyError(str(reply))
        return reply

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def unsent(parts: Iterable[bytes | memoryview], sent: int) -> Iterable[memoryview]:
    """What is left of `parts` after their first `sent` bytes went out."""
    for part in parts:
        if sent < len(part):
            yield memoryview(part)[sent:]
        sent = max(0, sent - len(part))


def server_name(link: Link) -> str:
    """What INFO says about a server: `Redis 7.0.15`, `Hotplate 0.1.0`."""
    info: bytes = link.command("INFO", "server")
    fields = dict(
        line.split(":", 1) for line in info.decode().splitlines() if ":" in line and line[0] != "#"
    )
    for key, name in (("hotplate_version", "Hotplate"), ("valkey_version", "Valkey")):
        if key in fields:
            return f"{name} {fields[key]}"
    return f"Redis {fields.get('redis_version', 'of unknown version')}"
