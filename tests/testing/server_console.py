"""An in-process client of an engine with every command, whose replies are checked by schema."""

import random
from typing import Any

from tests.testing.console import Console, NoLink

from hotplate.clock import ManualClock
from hotplate.commands import build_registry
from hotplate.config import Config
from hotplate.engine.engine import Engine


class FakeLink(NoLink):
    """A connection that remembers being closed."""

    def __init__(self, peer: str = "127.0.0.1:5000") -> None:
        self.peer = peer
        self.closed = False

    def close_now(self) -> None:
        """Remember it."""
        self.closed = True


class ServerConsole(Console):
    """A Console with all commands. `link` is its connection; `other()` gives one more client."""

    def __init__(
        self, *, resp: int = 2, config: Config | None = None, engine: Engine | None = None
    ) -> None:
        self.clock = ManualClock()
        self.engine = engine or Engine(
            commands=build_registry(),
            config=config or Config(),
            clock=self.clock,
            rng=random.Random(7),
        )
        number = 5000 + len(self.engine.clients)
        self.link = FakeLink(f"127.0.0.1:{number}")
        self.ctx = self.engine.connect(self.link)
        self.ctx.resp = resp

    def other(self) -> "ServerConsole":
        """Another client of the same engine."""
        return ServerConsole(resp=self.ctx.resp, engine=self.engine)

    def refused(self, *words: bytes | str | float) -> str:
        """The text of the error that a command is refused with, code included."""
        if len(words) == 1 and isinstance(words[0], str):
            words = tuple(words[0].split())
        frames = self.execute([_encode(word) for word in words])
        assert frames.startswith(b"-"), frames
        return frames[1:-2].decode()


def _encode(word: Any) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()
