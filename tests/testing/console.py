"""A client of an engine in the same process: commands in, raw frames out, no socket."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import hiredis
from tests.testing.reply_schema import check_replies, check_reply

from hotplate.clock import Clock, ManualClock
from hotplate.commands import build_registry
from hotplate.config import Config
from hotplate.engine.dispatch import run
from hotplate.engine.engine import Engine
from hotplate.errors import CommandError
from hotplate.spec.model import Command


class NoLink:
    """A connection that nobody is at the other end of."""

    peer = "127.0.0.1:1"
    local = "127.0.0.1:2"
    kind = "tcp"
    descriptor = -1

    def close_now(self) -> None:
        """Nothing to close."""

    def close(self) -> None:
        """Nothing to send first."""

    def hold(self, release: Callable[[], None]) -> None:
        """Replies are taken at once."""
        release()

    def push(self, frames: bytes) -> None:
        """Nobody subscribes."""
        raise AssertionError(frames)

    def output_bytes(self) -> int:
        """Replies are taken at once."""
        return 0

    def query_bytes(self) -> int:
        """Commands are run at once."""
        return 0


def build_engine(clock: Clock, *, seed: int = 1) -> Engine:
    """An engine with all commands, and no storage for the KV cache."""
    return Engine(commands=build_registry(), config=Config(), clock=clock, rng=random.Random(seed))


def encode_argument(argument: bytes | str | float) -> bytes:
    """An argument as clients send it."""
    return argument if isinstance(argument, bytes) else str(argument).encode()


class Console:
    """One client. Calling it runs a command given as words, or as one line of words."""

    def __init__(self, engine: Engine | None = None, *, resp: int = 2) -> None:
        self.clock = ManualClock()
        self.engine = engine if engine is not None else build_engine(self.clock)
        self.ctx = self.engine.connect(NoLink())
        self.ctx.resp = resp

    def execute(self, argv: Sequence[bytes]) -> bytes:
        """The frames that answer one command, held against its schema."""
        queued = self._queued(argv)
        frames = self.run_unchecked(argv)
        self._check(argv, frames, queued)
        return frames

    def run_unchecked(self, argv: Sequence[bytes]) -> bytes:
        """The same where what comes is no reply to the command."""
        self.ctx.now_ms = self.engine.clock.now_ms()
        out: list[Any] = []
        run(self.ctx, [list(argv)], out)
        return b"".join(out)

    def _queued(self, argv: Sequence[bytes]) -> list[Command] | None:
        """What EXEC is about to run."""
        if argv[0].upper() != b"EXEC" or self.ctx.queue is None:
            return None
        return [command for command, _ in self.ctx.queue]

    def _check(self, argv: Sequence[bytes], frames: bytes, queued: list[Command] | None) -> None:
        """Every reply fits the schema of its command."""
        if not frames or frames == b"+QUEUED\r\n":
            return
        command = self.engine.commands.find(b"|".join(argv[:2])) if len(argv) > 1 else None
        command = command or self.engine.commands.find(argv[0])
        if command is None or command.handler is None:
            return
        if queued is not None:
            check_replies([command.spec.reply for command in queued], frames, self.ctx.resp)
        else:
            check_reply(command.spec.reply, frames, self.ctx.resp)

    def __call__(self, *words: bytes | str | float) -> Any:
        """The reply as Python values; an error reply is raised as CommandError with its text."""
        if len(words) == 1 and isinstance(words[0], str):
            words = tuple(words[0].split())
        reader = hiredis.Reader(replyError=_refusal)
        reader.feed(self.execute([encode_argument(word) for word in words]))
        reply = reader.gets()
        if isinstance(reply, CommandError):
            raise reply
        return reply


def _refusal(text: str) -> CommandError:
    return CommandError(text)
