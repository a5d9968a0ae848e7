"""An engine that keeps a log in memory, and others that load what it left. No socket, no thread."""

import random
from collections.abc import Callable, Sequence
from typing import Any

from tests.testing.console import Console, NoLink, encode_argument
from tests.testing.memory_files import MemoryFiles

from hotplate.clock import ManualClock
from hotplate.commands import build_registry
from hotplate.config import Config
from hotplate.engine.context import Gate
from hotplate.engine.dispatch import run
from hotplate.engine.engine import Engine
from hotplate.persist.appendonly import AppendOnly
from hotplate.persist.background import Background
from hotplate.persist.base import base_loader
from hotplate.persist.fsync import Done

DIRECTORY = "/log"


class InstantWorker:
    """Does everything at once, or when told to."""

    def __init__(self) -> None:
        self.is_slow = False
        self.waiting: list[Callable[[], None]] = []

    def run(self, work: Callable[[], None], done: Done) -> None:
        """Run now, or keep it for `finish`."""

        def task() -> None:
            error: OSError | None = None
            try:
                work()
            except OSError as failure:
                error = failure
            done(error)

        self.waiting.append(task)
        if not self.is_slow:
            self.finish()

    def finish(self) -> None:
        """Do what waits."""
        while self.waiting:
            self.waiting.pop(0)()


class Hears:
    """Remembers what the log tells."""

    def __init__(self) -> None:
        self.is_pending = False
        self.settled = 0
        self.failures: list[str | None] = []

    def on_pending(self) -> None:
        self.is_pending = True

    def on_settled(self, takes: int) -> None:
        self.settled = takes

    def on_failure(self, why: str | None) -> None:
        self.failures.append(why)


class Logged:
    """One server's engine with its log: `console` runs commands, `flush` writes what they did."""

    def __init__(
        self, files: MemoryFiles, clock: ManualClock | None = None, **settings: Any
    ) -> None:
        self.files = files
        self.clock = clock or ManualClock()
        config = Config()
        config.apply([(name.replace("_", "-"), [str(text)]) for name, text in settings.items()])
        self.engine = Engine(
            commands=build_registry(), config=config, clock=self.clock, rng=random.Random(7)
        )
        self.worker = InstantWorker()
        self.hears = Hears()
        self.appendonly = AppendOnly(
            self.engine,
            files,
            self.worker,
            directory=DIRECTORY,
            hear=self.hears,
            load_base=base_loader(self.engine, files, drop_expired=False),
        )
        self.soon: list[Callable[[], None]] = []
        self.background = Background(
            self.engine,
            files,
            self.worker,
            directory="/data",
            appendonly=self.appendonly,
            soon=self.soon.append,
            later=self.soon.append,
        )
        self.console = Console(self.engine)

    def load(self) -> "Logged":
        """Read what is there."""
        self.engine.gates |= Gate.LOADING
        try:
            for _ in self.appendonly.load():
                pass
        finally:
            self.engine.gates &= ~Gate.LOADING
        return self

    def start(self) -> "Logged":
        """Load, then log."""
        self.load()
        self.appendonly.start()
        return self

    def flush(self) -> None:
        """What a pass of the loop ends with."""
        if self.hears.is_pending:
            self.hears.is_pending = False
            self.appendonly.log.flush()

    def run_soon(self, passes_max: int = 1_000_000) -> None:
        """What was to be done after clients had their turn, over and over."""
        for _ in range(passes_max):
            if not self.soon:
                return
            ready, self.soon[:] = list(self.soon), []
            for callback in ready:
                callback()

    def rewrite(self) -> None:
        """Rewrite the log to its end."""
        self.background.start_rewrite()
        self.run_soon()
        assert not self.background.is_busy

    def __call__(self, *words: bytes | str | float) -> Any:
        """Run a command, as one pass of the loop."""
        try:
            return self.console(*words)
        finally:
            self.flush()

    def pipeline(self, requests: Sequence[str | Sequence[bytes]]) -> None:
        """Run several in one pass."""
        argvs = [
            [encode_argument(word) for word in (it.split() if isinstance(it, str) else it)]
            for it in requests
        ]
        ctx = self.console.ctx
        ctx.now_ms = self.clock.now_ms()
        out: list[Any] = []
        done = 0
        while done < len(argvs):
            outcome = run(ctx, argvs, out, done)
            done = outcome if isinstance(outcome, int) else ctx.resume_at
        self.flush()

    def another_client(self) -> Console:
        """A second client of the same engine."""
        console = Console(self.engine)
        console.clock = self.clock
        return console

    def log_text(self) -> bytes:
        """All increments, one after the other."""
        paths = sorted(path for path in self.files.inodes if path.endswith(".incr.aof"))
        return b"".join(bytes(self.files.inodes[path].data) for path in paths)

    def restarted(self, **settings: Any) -> "Logged":
        """A new engine that loads what a killed process left, at the present time."""
        clock = ManualClock(self.clock.now_ms() - self.clock.monotonic_ns() // 1_000_000)
        clock.advance((self.clock.monotonic_ns() + 0.5) / 1_000_000)  # the machine stayed up
        return Logged(self.files.after_kill(), clock, **settings).load()


__all__ = ["DIRECTORY", "Logged", "NoLink"]
