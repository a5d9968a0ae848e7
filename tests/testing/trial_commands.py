"""Commands made for tests of what runs commands: they fail, wait, and hold on to memory on cue."""

import random
from collections.abc import Callable
from typing import Any

from hotplate.clock import Clock
from hotplate.commands import build_registry
from hotplate.config import Config
from hotplate.engine.context import Deferred
from hotplate.engine.engine import Engine
from hotplate.errors import CommandError, StorageIOError, WrongTypeError
from hotplate.resp.types import Payload, Reply
from hotplate.spec.model import CommandSpec, Flag, Handler, string
from hotplate.spec.registry import Registry
from hotplate.spec.reply import AnyReply


class Target:
    """Where a large bulk string goes. Remembers how often it was given back."""

    def __init__(self, size: int) -> None:
        self.view = memoryview(bytearray(size))
        self.abandoned = 0
        self.arrivals: list[int] = []

    def __len__(self) -> int:
        return len(self.view)

    def arrived(self, filled: int) -> None:
        """Remember it."""
        self.arrivals.append(filled)

    def abandon(self) -> None:
        """Count it."""
        self.abandoned += 1


class Trial:
    """What the trial commands did, and the switches they listen to."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[Any], None]] = []  # the `done` of each TRIAL.LATER
        self.cancelled = 0
        self.targets: list[Target] = []
        self.sink_times_ms: list[int] = []
        self.received: list[bytes] = []
        self.view = memoryview(b"")  # what TRIAL.VIEW shows
        self.released = 0
        self.start_fails = False
        self.attempts = 0  # of TRIAL.TAKE

    def fail(self, ctx: Any, argv: list[Any]) -> Reply:
        """TRIAL.FAIL: a bug."""
        raise ValueError("a bug of ours")

    def refuse(self, ctx: Any, argv: list[Any]) -> Reply:
        """TRIAL.REFUSE: a refusal."""
        raise StorageIOError("refused")

    def later(self, ctx: Any, argv: list[Any]) -> Reply:
        """TRIAL.LATER: answers when the test says so."""

        def start(done: Callable[[Any], None]) -> None:
            if self.start_fails:
                raise OSError("no thread")
            self.waiting.append(done)

        def cancel() -> None:
            self.cancelled += 1

        return Deferred(start, cancel)

    def show(self, ctx: Any, argv: list[Any]) -> Reply:
        """TRIAL.VIEW: views into memory that somebody holds."""
        return self.payload()

    def payload(self) -> Payload:
        """What TRIAL.VIEW answers."""
        return Payload(len(self.view), [self.view], self._release)

    def _release(self) -> None:
        self.released += 1

    def sink(self, ctx: Any, argv: list[Any], size: int) -> Target | None:
        """Of TRIAL.KEEP: every payload has a place."""
        self.sink_times_ms.append(ctx.now_ms)
        target = Target(size)
        self.targets.append(target)
        return target

    def keep(self, ctx: Any, argv: list[Any]) -> Reply:
        """TRIAL.KEEP payload [payload ...]: answers their sizes."""
        for item in argv[1:]:
            self.received.append(item if isinstance(item, bytes) else bytes(item.view))
        return [len(item) for item in argv[1:]]

    def take(self, ctx: Any, argv: list[Any]) -> Reply:
        """TRIAL.TAKE timeout-ms key [key ...]: one off the first counter that has some; waits."""

        def attempt(ctx: Any, key: bytes) -> Reply:
            self.attempts += 1
            entry = ctx.db.lookup_write(key, ctx.now_ms)
            if entry is None:
                return None
            if not isinstance(entry.value, int):
                raise WrongTypeError
            if entry.value == 1:
                ctx.db.delete(key)
            else:
                entry.value -= 1
            ctx.db.changed(key, "taken")
            return key

        for key in argv[2:]:
            taken = attempt(ctx, key)
            if taken is not None:
                return taken
        return ctx.engine.blocking.wait(
            ctx, argv[2:], attempt, timeout_ms=int(argv[1]), nothing=None, share="counter"
        )

    def specs(self) -> tuple[CommandSpec, ...]:
        """Their declarations."""
        return (
            _spec("TRIAL.FAIL", self.fail),
            _spec("TRIAL.REFUSE", self.refuse),
            _spec("TRIAL.LATER", self.later, flags=Flag.NO_MULTI),
            _spec("TRIAL.TAKE", self.take, arity=-2, args=(string("key", multiple=True),)),
            _spec("TRIAL.VIEW", self.show, flags=Flag.NO_MULTI),
            _spec(
                "TRIAL.KEEP",
                self.keep,
                arity=-2,
                args=(string("payload", multiple=True),),
                sink=self.sink,
            ),
        )


def _spec(name: str, handler: Handler, **more: Any) -> CommandSpec:
    facts: dict[str, Any] = {"arity": 1, "group": "server", "since": "0.1.0", "complexity": "O(1)"}
    facts |= {"summary": "For tests.", "reply": AnyReply(), **more}
    return CommandSpec(name=name, handler=handler, **facts)


def build_trial_engine(clock: Clock, config: Config | None = None) -> tuple[Engine, Trial]:
    """An engine with all commands and those of a Trial."""
    trial = Trial()
    specs = [command.spec for command in build_registry().walk()]
    registry = Registry.build([*specs, *trial.specs()])
    engine = Engine(commands=registry, config=config or Config(), clock=clock, rng=random.Random(1))
    return engine, trial


def refusal(text: str) -> CommandError:
    """An error as a reply that came late."""
    return StorageIOError(text)
