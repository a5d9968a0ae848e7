"""Where the server is and how to log in: taken from redis-py's settings, shared by both worlds.

Owns: reading the settings of a redis-py client, and how buffers are grouped for sending. Knows no
socket. A payload connection speaks plain RESP2 over TCP or a Unix socket.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# Buffers smaller than this are joined before they are sent: a system call costs more than the copy.
JOIN_BELOW_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Address:
    """One server. `path` is a Unix socket and goes before `host` and `port`."""

    host: str = "localhost"
    port: int = 6379
    path: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout_s: float | None = None
    connect_timeout_s: float | None = None

    @classmethod
    def of_pool(cls, pool: Any) -> "Address":
        """The address that a redis-py connection pool connects to.

        Raises ValueError for what a payload connection cannot do: TLS, credential providers.
        """
        settings: Mapping[str, Any] = pool.connection_kwargs
        if "SSL" in pool.connection_class.__name__:
            raise ValueError("TLS is not supported for KV-cache payloads; use a plain connection")
        if settings.get("credential_provider") is not None:
            raise ValueError("credential providers are not supported; give username and password")
        timeout_s = settings.get("socket_timeout")
        return cls(
            host=settings.get("host") or "localhost",
            port=int(settings.get("port") or 6379),
            path=settings.get("path"),
            username=settings.get("username"),
            password=settings.get("password"),
            timeout_s=timeout_s,
            connect_timeout_s=settings.get("socket_connect_timeout") or timeout_s,
        )

    @property
    def login(self) -> list[bytes] | None:
        """The AUTH command, or None where no password is set."""
        if self.password is None:
            return None
        name = [self.username.encode()] if self.username else []
        return [b"AUTH", *name, self.password.encode()]


def sendable(buffers: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """The same bytes in few pieces: neighbours that are small are joined, large ones stay views."""
    small: list[bytes | memoryview] = []
    for buffer in buffers:
        if len(buffer) < JOIN_BELOW_BYTES:
            small.append(buffer)
            continue
        if small:
            yield b"".join(small)
            small.clear()
        yield buffer
    if small:
        yield b"".join(small)
