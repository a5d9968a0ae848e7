"""Scenes with several clients, played on a real Redis and on Hotplate: frames must be equal.

A scene is a list of steps `client: command`, joined by `|`. `client~ command` blocks: the scene
goes on once the server shows one blocked client more; `client<` takes the reply that such a command
got meanwhile. `client!` takes a message that was pushed. `client-` goes away.

Clients' ids are counted as on a fresh server with the scene's director as client 2: the first that
speaks is 3.
"""

import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from tests.testing.differential import frame_end

from hotplate.bench.link import frame
from hotplate.bench.process import ServerProcess

_TELLS_ID = b">2\r\n$21\r\ntracking-redir-broken\r\n:"


class Scene:
    """One server and the clients of a scene. Client ids are counted from the scene's first."""

    def __init__(self, stack: ExitStack, port: int, resp: int) -> None:
        self._stack = stack
        self._port = port
        self._resp = resp
        self._clients: dict[str, socket.socket] = {}
        self._buffers: dict[str, bytes] = {}
        self._blocked = 0
        self.ask("admin", "FLUSHALL")
        self._first_id = int(self.ask("admin", "CLIENT ID")[1:-2]) - 2  # as on a fresh server

    def play(self, steps: str) -> list[tuple[str, bytes]]:
        """All replies in the order of the steps that take them."""
        replies = []
        for step in steps.split("|"):
            name, rest = step[0], step[1:]
            if rest == "<":
                self._blocked -= 1
                replies.append((step, self._take(name)))
            elif rest == "!":
                replies.append((step, self._take(name)))
            elif rest == "-":
                self._leave(name)
            elif rest.startswith("~"):
                self._blocked += 1
                self._send(name, rest[1:].strip())
                self._wait_blocked()
            else:
                replies.append((step, self._shown(self.ask(name, rest[1:].strip()))))
        return replies

    def ask(self, name: str, line: str) -> bytes:
        """One command's frame."""
        self._send(name, line)
        return self._receive(name)

    def _take(self, name: str) -> bytes:
        return self._shown(self._receive(name))

    def _shown(self, reply: bytes) -> bytes:
        """A reply that tells a client's id tells its number in the scene."""
        if reply.startswith(_TELLS_ID):
            return reply[: len(_TELLS_ID)]
        if reply[:1] == b":" and (number := int(reply[1:-2]) - self._first_id) > 2:
            return b":%d\r\n" % number
        return reply

    def _leave(self, name: str) -> None:
        """The client goes, and the server has seen it."""
        self._clients.pop(name).close()
        gone = b"connected_clients:%d\r\n" % (len(self._clients))
        wait_until(lambda: gone in self.ask("admin", "INFO clients"), f"{name} is still there")

    def _client(self, name: str) -> socket.socket:
        if name not in self._clients:
            client = socket.create_connection(("127.0.0.1", self._port), timeout=10)
            self._clients[name] = self._stack.enter_context(client)
            self._buffers[name] = b""
            client.sendall(frame("HELLO", self._resp))
            self._receive(name)
        return self._clients[name]

    def _send(self, name: str, line: str) -> None:
        client = self._client(name)
        words = line.split()
        if words[0] == "CLIENT" and words[1] in ("UNBLOCK", "KILL", "TRACKING"):
            words = [str(int(w) + self._first_id) if w.isdigit() else w for w in words]
        client.sendall(frame(*words))

    def _receive(self, name: str) -> bytes:
        data = self._buffers[name]
        while (end := frame_end(data, 0)) is None:
            received = self._clients[name].recv(1 << 16)
            assert received, f"the server closed the connection of {name}"
            data += received
        self._buffers[name] = data[end:]
        return data[:end]

    def _wait_blocked(self) -> None:
        blocked = b"blocked_clients:%d\r\n" % self._blocked
        what = f"{self._blocked} clients are not blocked"
        wait_until(lambda: blocked in self.ask("admin", "INFO clients"), what)


def wait_until(is_so: Callable[[], bool], otherwise: str) -> None:
    """Ask again and again, a bounded number of times."""
    for _ in range(10_000):
        if is_so():
            return
    raise AssertionError(otherwise)


def different_scenes(
    scenes: Mapping[str, str], resp: int, theirs: ServerProcess, ours: ServerProcess
) -> dict[str, Any]:
    """The scenes whose frames differ, by title: what each server answered."""
    different = {}
    for title, steps in scenes.items():
        played = []
        for server in (theirs, ours):
            with ExitStack() as stack:
                played.append(Scene(stack, server.port, resp).play(steps))
        if played[0] != played[1]:
            different[title] = played
    return different
