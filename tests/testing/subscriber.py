"""A client of an engine in the same process that hears what is pushed to it."""

from typing import Any

import hiredis
from tests.testing.server_console import FakeLink, ServerConsole

from hotplate.engine.engine import Engine


class Ear(FakeLink):
    """A connection that keeps what is pushed."""

    def __init__(self) -> None:
        super().__init__()
        self.frames = b""

    def push(self, frames: bytes) -> None:
        """Keep it."""
        self.frames += frames


class Subscriber(ServerConsole):
    """A client that hears messages. `heard()` gives those since the last call."""

    def __init__(self, engine: Engine | None = None, *, resp: int = 2) -> None:
        super().__init__(resp=resp, engine=engine)
        self.ear = Ear()
        self.ctx.link = self.ear

    def heard(self) -> list[Any]:
        """The messages, each a list of its words."""
        frames, self.ear.frames = self.ear.frames, b""
        return messages(frames)

    def listen(self, *words: str) -> list[Any]:
        """What one command answers, all messages of it."""
        return messages(self.execute([word.encode() for word in words]))


def messages(frames: bytes) -> list[Any]:
    """The messages, one after the other."""
    reader = hiredis.Reader()
    reader.feed(frames)
    found = []
    while (message := reader.gets()) is not False:
        found.append(message)
    return found
