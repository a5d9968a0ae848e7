"""A blocking client of raw bytes, for tests that count frames and watch connections end."""

import socket
from types import TracebackType
from typing import Final, Self

from tests.testing.differential import frame_end

TIMEOUT_SECONDS: Final = 20.0  # a server that does not answer fails the test, it does not hang it
_RECEIVE_BYTES: Final = 1 << 20


def request(*words: bytes | str | int) -> bytes:
    """A request on the wire."""
    argv = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(a), a) for a in argv)


class WireClient:
    """One connection. `address` is a port of 127.0.0.1 or the path of a unix socket."""

    def __init__(self, address: int | str) -> None:
        self._buffer = bytearray()
        if isinstance(address, int):
            self.socket = socket.create_connection(("127.0.0.1", address), TIMEOUT_SECONDS)
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(TIMEOUT_SECONDS)
            self.socket.connect(address)

    def send(self, data: bytes) -> None:
        """All of it."""
        self.socket.sendall(data)

    def receive(self, count: int) -> bytes:
        """Exactly so many bytes; fewer where the connection ends before."""
        while len(self._buffer) < count and self._read():
            pass
        return self._take(count)

    def receive_frame(self) -> bytes:
        """One reply; what is there of it where the connection ends."""
        while (end := frame_end(bytes(self._buffer), 0)) is None:
            if not self._read():
                return self._take(len(self._buffer))
        return self._take(end)

    def receive_all(self) -> bytes:
        """Everything up to the end of the connection."""
        while self._read():
            pass
        return self._take(len(self._buffer))

    def ask(self, *words: bytes | str | int) -> bytes:
        """One command's reply."""
        self.send(request(*words))
        return self.receive_frame()

    def _read(self) -> bool:
        part = self.socket.recv(_RECEIVE_BYTES)
        self._buffer += part
        return bool(part)

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()
