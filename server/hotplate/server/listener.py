"""The sockets a server listens on: TCP addresses and one unix socket."""

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

# What an optional address may be refused with: this machine does not have it.
_MISSING: Final = frozenset(
    (
        errno.EADDRNOTAVAIL,
        errno.ENOPROTOOPT,
        errno.EPROTONOSUPPORT,
        errno.ESOCKTNOSUPPORT,
        errno.EPFNOSUPPORT,
        errno.EAFNOSUPPORT,
    )
)


# libuv takes one client of a listening descriptor, then hears all others: the last of many that
# come at once would wait as many passes. So it gets each socket that often.
DESCRIPTORS_A_SOCKET: Final = 8


class ListenError(Exception):
    """An address can't be listened on; the text names it and says why."""


def tcp_sockets(addresses: Sequence[str], port: int, backlog: int) -> list[socket.socket]:
    """Bound, listening sockets for every address; with port 0 all on one free port.

    An address that begins with `-` may be missing on this machine, as in Redis.
    """
    sockets: list[socket.socket] = []
    try:
        for address in addresses:
            optional = address.startswith("-")
            try:
                sock = _bind(address.removeprefix("-"), port, backlog)
            except OSError as error:
                if optional and error.errno in _MISSING:
                    continue
                raise ListenError(
                    f"can't listen on {address}:{port}: {error.strerror or error}"
                ) from error
            sockets.append(sock)
            port = port or sock.getsockname()[1]
        if not sockets:
            raise ListenError(f"none of the addresses to bind exists: {' '.join(addresses)}")
    except ListenError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _bind(address: str, port: int, backlog: int) -> socket.socket:
    wildcard = {"*": ("0.0.0.0", socket.AF_INET), "::*": ("::", socket.AF_INET6)}
    host, family = wildcard.get(
        address, (address, socket.AF_INET6 if ":" in address else socket.AF_INET)
    )
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def unix_socket(path: str, permissions: int, backlog: int) -> socket.socket:
    """A bound, listening unix socket. A socket file that nobody answers on is taken over."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        sock.bind(path)
        if permissions:
            os.chmod(path, permissions)
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ListenError(f"can't listen on {path}: {error.strerror or error}") from error
    except ListenError:
        sock.close()
        raise
    return sock


def _remove_stale(path: str) -> None:
    file = Path(path)
    if not file.exists():
        return
    if not stat.S_ISSOCK(file.stat().st_mode):
        raise ListenError(f"can't listen on {path}: a file of that name is there")
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.connect(path)
    except ConnectionRefusedError:
        file.unlink()
    else:
        raise ListenError(f"can't listen on {path}: another process does")
    finally:
        probe.close()


async def serve(
    sockets: Sequence[socket.socket],
    build: Callable[[str], asyncio.BaseProtocol],
) -> list[asyncio.Server]:
    """Accept on every socket; `build(kind)` makes the protocol, kind being `tcp` or `unix`."""
    loop = asyncio.get_running_loop()
    servers: list[asyncio.Server] = []
    for sock in sockets:
        for each in (sock, *(sock.dup() for _ in range(DESCRIPTORS_A_SOCKET - 1))):
            if sock.family == socket.AF_UNIX:
                servers.append(await loop.create_unix_server(lambda: build("unix"), sock=each))
            else:
                servers.append(await loop.create_server(lambda: build("tcp"), sock=each))
    return servers


def remove_socket_file(path: str) -> None:
    """The listener is closed: nobody should find its file."""
    Path(path).unlink(missing_ok=True)
