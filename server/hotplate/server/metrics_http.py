"""GET /metrics over HTTP, on loopback only, for Prometheus.

Owns one listener and nothing else. It understands just enough HTTP/1.1 to answer one GET and close;
a request head is bounded, and whoever does not send it in time is closed.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from hotplate.server.listener import ListenError

ADDRESS: Final = "127.0.0.1"
HEAD_BYTES_MAX: Final = 16 * 1024
HEAD_SECONDS_MAX: Final = 5.0


class MetricsServer:
    """Serves what `build` gives, a text of `content_type`."""

    def __init__(self, build: Callable[[], str], content_type: str) -> None:
        self._build = build
        self._content_type = content_type
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, port: int) -> None:
        """Listen; ListenError where that can't be."""
        try:
            self._server = await asyncio.start_server(
                self._serve, ADDRESS, port, limit=HEAD_BYTES_MAX
            )
        except OSError as error:
            reason = error.strerror or error
            raise ListenError(f"can't listen on {ADDRESS}:{port}: {reason}") from error
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_SECONDS_MAX):
                head = await reader.readuntil(b"\r\n\r\n")
            writer.write(self._answer(head))
            await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass  # it said nothing that can be answered, or has gone
        finally:
            writer.close()

    def _answer(self, head: bytes) -> bytes:
        words = head.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return _response("400 Bad Request", "this speaks HTTP/1.1\n")
        if words[0] not in (b"GET", b"HEAD"):
            return _response("405 Method Not Allowed", "GET only\n")
        if words[1].partition(b"?")[0] != b"/metrics":
            return _response("404 Not Found", "figures are at /metrics\n")
        return _response("200 OK", self._build(), self._content_type, body=words[0] == b"GET")


def _response(
    status: str, text: str, content_type: str = "text/plain; charset=utf-8", *, body: bool = True
) -> bytes:
    data = text.encode("utf-8", "surrogateescape")
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (data if body else b"")
