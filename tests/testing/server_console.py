"""An in-process client of an engine with every command, whose replies are checked by schema."""

import random
from collections.abc import Sequence
from typing import Any

from tests.testing.console import Console, NoLink
from tests.testing.reply_schema import check_reply

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

    def execute(self, argv: Sequence[bytes]) -> bytes:
        """The frames that answer one command, checked against its schema where it answers."""
        frames = super().execute(argv)
        name = argv[0] if len(argv) < 2 else b"%b|%b" % (argv[0], argv[1])
        command = self.engine.commands.find(name) or self.engine.commands.find(argv[0])
        if frames and command is not None and command.spec.reply is not None:
            queued = self.ctx.queue is not None and frames == b"+QUEUED\r\n"
            if not queued:
                check_reply(command.spec.reply, frames, self.ctx.resp)
        return frames

    def refused(self, *words: bytes | str | float) -> str:
        """The text of the error that a command is refused with, code included."""
        if len(words) == 1 and isinstance(words[0], str):
            words = tuple(words[0].split())
        frames = self.execute([_encode(word) for word in words])
        assert frames.startswith(b"-"), frames
        return frames[1:-2].decode()


def _encode(word: Any) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()
