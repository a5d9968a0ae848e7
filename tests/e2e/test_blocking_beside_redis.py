"""Clients that wait, on a real Redis and on Hotplate: the same scenes get the same frames.

A scene is a list of steps `client: command`. `client~ command` blocks: the scene goes on once the
server shows one blocked client more. `client<` takes the reply that such a command got meanwhile.
"""

import socket
from contextlib import ExitStack

import pytest
from tests.testing.differential import frame_end

from hotplate.bench.link import frame
from hotplate.bench.process import ServerProcess

pytestmark = pytest.mark.e2e

SCENES = {
    "an element goes to the one who waits": "a~ BLPOP l 0|b: RPUSH l x|a<|b: EXISTS l",
    "the rest of a push stays": "a~ BRPOP l 0|b: RPUSH l x y z|a<|b: LRANGE l 0 -1",
    "the oldest is served first": "a~ BLPOP l 0|b~ BLPOP l 0|c: RPUSH l 1 2|a<|b<",
    "several keys": "a~ BLPOP l1 l2 l3 0|b: RPUSH l2 x|a<|b: RPUSH l1 y|a: BLPOP l1 l2 0",
    "nothing waits that is there": "a: RPUSH l x|a: BLPOP none l 0|a: BLPOP none l 0.01",
    "timeouts": "a: BLPOP l 0.01|a: BRPOP l 0.01|a: BLMOVE l m LEFT RIGHT 0.01"
    "|a: BRPOPLPUSH l m 0.01|a: BLMPOP 0.01 1 l LEFT",
    "bad timeouts": "a: BLPOP l -1|a: BLPOP l x|a: BLMOVE l m x y z"
    "|a: BLMPOP -1 1 l LEFT|a: BLMPOP 1 0 l LEFT|a: BLMPOP 1 1 l UP|a: BLMPOP 1 1 l LEFT COUNT 0",
    "moving": "a~ BLMOVE l m RIGHT LEFT 0|b: RPUSH l x y|a<|b: LRANGE m 0 -1|b: LRANGE l 0 -1",
    "moving serves the next": "a~ BLMOVE l m LEFT LEFT 0|b~ BLPOP m 0|c: RPUSH l x|a<|b<"
    "|c: EXISTS l m",
    "moving to another type": "a~ BRPOPLPUSH l m 0|b: SET m x|b: RPUSH l y|a<|b: LRANGE l 0 -1",
    "popping many": "a~ BLMPOP 0 2 l m RIGHT COUNT 2|b: RPUSH m 1 2 3|a<|b: LRANGE m 0 -1",
    "another type does not end a wait": "a~ BLPOP l 0|b: SET l x|b: DEL l|b: RPUSH l y|a<",
    "another type at once": "a: SET l x|a: BLPOP l 0|a: BLMOVE l m LEFT LEFT 0|a: BLPOP n l 0",
    "a member goes to the one who waits": "a~ BZPOPMIN z 0|b: ZADD z 2 x 1 y|a<|b: ZRANGE z 0 -1",
    "members of several keys": "a~ BZPOPMAX z1 z2 0|b: ZADD z2 1 x 2 y|a<|a: BZPOPMAX z1 z2 0",
    "popping many members": "a~ BZMPOP 0 2 z1 z2 MAX COUNT 2|b: ZADD z2 1 x 2 y 3 z|a<",
    "no member": "a: BZPOPMIN z 0.01|a: BZPOPMAX z 0.01|a: BZMPOP 0.01 1 z MIN|a: MULTI"
    "|a: BZPOPMIN z 0|a: BZMPOP 0 1 z MIN|a: EXEC",
    "bad waits for members": "a: BZPOPMIN z x|a: BZMPOP x 1 z MIN|a: BZMPOP 0 0 z MIN"
    "|a: BZMPOP 0 1 z UP|a: BZMPOP 0 2 z MIN|a: SET s x|a: BZPOPMIN s 0|a: BZPOPMAX n s 0",
    "a stored result": "a~ BZPOPMIN z 0|b: ZADD x 1 m|b: ZUNIONSTORE z 1 x|a<",
    "a sorted result": "a~ BLPOP l 0|b: RPUSH m 2 1|b: SORT m STORE l|a<",
    "a renamed list": "a~ BLPOP l 0|b: RPUSH m x|b: RENAME m l|a<",
    "a copied list": "a~ BLPOP l 0|b: RPUSH m x|b: COPY m l|a<|b: EXISTS l m",
    "a swapped database": "a~ BLPOP l 0|b: SELECT 1|b: RPUSH l x|b: SWAPDB 0 1|a<",
    "a moved list": "a~ BLPOP l 0|b: SELECT 1|b: RPUSH l x|b: MOVE l 0|a<",
    "in a transaction": "a: MULTI|a: BLPOP l 0|a: BLMOVE l m LEFT LEFT 0|a: BLMPOP 0 1 l LEFT"
    "|a: BRPOPLPUSH l m 0|a: EXEC",
    "pushed and popped in a transaction": "a~ BLPOP l 0|b: MULTI|b: RPUSH l x|b: LPOP l|b: EXEC"
    "|b: RPUSH l y|a<",
    "let go": "a~ BLPOP l 0|b: CLIENT UNBLOCK 3|a<|a: PING",
    "let go with an error": "a~ BLPOP l 0|b: CLIENT UNBLOCK 3 ERROR|a<|a: PING",
    "a killed client takes nothing": "a~ BLPOP l 0|b~ BLPOP l 0|c: CLIENT KILL ID 3|c: RPUSH l x"
    "|b<",
}


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
                replies.append((step, self._receive(name)))
            elif rest.startswith("~"):
                self._blocked += 1
                self._send(name, rest[1:].strip())
                self._wait_blocked()
            else:
                replies.append((step, self.ask(name, rest[1:].strip())))
        return replies

    def ask(self, name: str, line: str) -> bytes:
        """One command's frame."""
        self._send(name, line)
        return self._receive(name)

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
        if words[:2] in (["CLIENT", "UNBLOCK"], ["CLIENT", "KILL"]):
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
        for _ in range(10_000):
            if b"blocked_clients:%d\r\n" % self._blocked in self.ask("admin", "INFO clients"):
                return
        raise AssertionError(f"{self._blocked} clients are not blocked")


@pytest.mark.parametrize("resp", [2, 3])
def test_the_same_scenes_get_the_same_frames(
    resp: int, redis_server: ServerProcess, hotplate_server: ServerProcess
) -> None:
    different = {}
    for title, steps in SCENES.items():
        played = []
        for server in (redis_server, hotplate_server):
            with ExitStack() as stack:
                played.append(Scene(stack, server.port, resp).play(steps))
        if played[0] != played[1]:
            different[title] = played
    assert different == {}
