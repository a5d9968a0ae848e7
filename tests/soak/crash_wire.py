"""Requests and replies of the crash run: bytes on a socket that may end at any moment."""

import socket
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import hiredis

from hotplate.errors import CommandError

REPLY_SECONDS_MAX: Final = 300.0  # on a machine that has better things to do

Argv: TypeAlias = list[bytes]
Asker: TypeAlias = Callable[..., Any]
"""Words in, a reply out; an error comes as its text."""


class LostError(Exception):
    """Something acknowledged is not there, or something is there in part."""


def encode(argv: Sequence[bytes]) -> bytes:
    """A request."""
    return b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in argv)


def take(sock: socket.socket, reader: hiredis.Reader) -> Any:
    """The next reply. ConnectionError when the server is gone."""
    while True:
        reply = reader.gets()
        if reply is not False:
            return reply
        data = sock.recv(1 << 16)
        if not data:
            raise ConnectionResetError
        reader.feed(data)


def talk(port: int, act: Callable[[socket.socket, hiredis.Reader], None]) -> Exception | None:
    """Let `act` use a connection, over and over, until the server is gone; what else ended it."""
    try:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.settimeout(REPLY_SECONDS_MAX)
            reader = hiredis.Reader()
            while True:
                act(sock, reader)
    except ConnectionError:
        return None
    except Exception as error:
        return error


def asker(sock: socket.socket) -> Asker:
    """Asks a server."""
    reader = hiredis.Reader(replyError=_refusal)

    def ask(*words: bytes) -> Any:
        sock.sendall(encode(words))
        reply = take(sock, reader)
        return str(reply) if isinstance(reply, CommandError) else reply

    return ask


def _refusal(text: str) -> CommandError:
    return CommandError(text)
