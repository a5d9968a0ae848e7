"""Recording: while the log is on, handlers that write are replaced by ones that also log.

Nothing is paid while it is off, and the dispatcher knows nothing of it: it calls what the command
table holds. `persist.effects` says what each command is logged as.
"""

from collections.abc import Callable
from typing import Any

from hotplate.engine.context import Context, Deferred
from hotplate.engine.engine import Engine
from hotplate.errors import CommandError
from hotplate.persist.effects import (
    ALWAYS,
    ANY_DATABASE,
    AS_SENT,
    EFFECTS,
    ELSEWHERE,
    PLAIN_WORDS,
    TELLS,
    UNITS,
    Plain,
    Translator,
)
from hotplate.persist.effects_limits import EXACT
from hotplate.persist.effects_runs import RUNS
from hotplate.persist.journal import Journal
from hotplate.resp.types import NullArray
from hotplate.spec.model import Command, Handler, RunHandler


class Recorder:
    """Puts the recording handlers in place, and takes them away."""

    def __init__(self, engine: Engine, journal: Journal) -> None:
        self._engine = engine
        self._journal = journal
        self._originals: list[tuple[Command, Handler, RunHandler | None]] = []

    @property
    def is_on(self) -> bool:
        """Whether changes are recorded."""
        return bool(self._originals)

    def start(self) -> None:
        """Record every change from now on."""
        assert not self._originals
        for command in self._engine.commands.walk():
            handler = command.handler
            name = command.name.decode()
            if handler is None:
                continue
            if name in UNITS:
                recording = _unit(self._journal, handler)
            elif name in EFFECTS and EFFECTS[name] is not ELSEWHERE:
                recording = self._recording(name, handler)
            else:
                continue
            self._originals.append((command, handler, command.run))
            command.handler = recording
            if command.run is not None:
                command.run = _recording_run(self._journal, name, command.run)
        for database in self._engine.databases:
            database.journal = self._journal

    def stop(self) -> None:
        """Record no more."""
        for command, handler, run in self._originals:
            command.handler = handler
            command.run = run
        self._originals.clear()
        for database in self._engine.databases:
            database.journal = None

    def _recording(self, name: str, handler: Handler) -> Handler:
        effect = EFFECTS[name]
        if effect is AS_SENT:
            return _as_sent(self._journal, handler)
        if effect is ANY_DATABASE:
            return _any_database(self._journal, handler)
        if effect is ALWAYS:
            return _always(self._journal, handler)
        if effect is TELLS:
            return _unit(self._journal, handler)
        assert not isinstance(effect, Plain)
        plain_words = PLAIN_WORDS.get(name, 0)
        return _translated(
            self._journal, handler, effect, exact=name in EXACT, plain_words=plain_words
        )


def _as_sent(journal: Journal, handler: Handler) -> Handler:
    def record(ctx: Context, argv: list[bytes]) -> Any:
        db = ctx.db
        dirty = db.dirty
        reply = handler(ctx, argv)
        if db.dirty != dirty:
            journal.append(db.index, argv)
        return reply

    return record


def _any_database(journal: Journal, handler: Handler) -> Handler:
    def record(ctx: Context, argv: list[bytes]) -> Any:
        databases = ctx.engine.databases
        dirty = [database.dirty for database in databases]
        reply = handler(ctx, argv)
        if dirty != [database.dirty for database in databases]:
            journal.append(ctx.db.index, argv)
        return reply

    return record


def _always(journal: Journal, handler: Handler) -> Handler:
    def record(ctx: Context, argv: list[bytes]) -> Any:
        reply = handler(ctx, argv)
        journal.append(ctx.db.index, argv)
        return reply

    return record


def _unit(journal: Journal, handler: Handler) -> Handler:
    def record(ctx: Context, argv: list[bytes]) -> Any:
        journal.begin_unit()
        try:
            return handler(ctx, argv)
        finally:
            journal.end_unit()

    return record


def _translated(
    journal: Journal, handler: Handler, translate: Translator, *, exact: bool, plain_words: int
) -> Handler:
    append = journal.append_exact if exact else journal.append

    def log(ctx: Context, argv: list[bytes], reply: Any) -> None:
        requests = translate(ctx, argv, reply)
        for request in requests:
            b"".join(
                request
            )  # TypeError here, where one client hears of it, not when all is written
        if len(requests) == 1:
            append(ctx.db.index, requests[0])
            return
        journal.begin_unit()
        for request in requests:
            append(ctx.db.index, request)
        journal.end_unit()

    def record(ctx: Context, argv: list[bytes]) -> Any:
        db = ctx.db
        dirty = db.dirty
        reply = handler(ctx, argv)
        if isinstance(reply, Deferred):
            return _when_served(ctx, argv, reply, log)
        if db.dirty != dirty:
            if len(argv) == plain_words:
                append(db.index, argv)
            else:
                log(ctx, argv, reply)
        return reply

    return record


def _when_served(
    ctx: Context,
    argv: list[bytes],
    deferred: Deferred,
    log: Callable[[Context, list[bytes], Any], None],
) -> Deferred:
    """The same wait; what serves it is logged before anything else can happen."""

    def start(done: Callable[[Any], None]) -> None:
        def finish(reply: Any) -> None:
            if not isinstance(reply, (NullArray, CommandError)) and reply is not None:
                log(ctx, argv, reply)
            done(reply)

        deferred.start(finish)

    return Deferred(start, deferred.cancel, reads_on=deferred.reads_on)


def _recording_run(journal: Journal, name: str, run: RunHandler) -> RunHandler | None:
    """A run is logged as sent, or translated; where neither can be, there are no runs."""
    translate = RUNS.get(name)
    if translate is None and EFFECTS.get(name) is not AS_SENT:
        return None

    def record(
        ctx: Context, requests: list[Any], start: int, append: Callable[[Any], object]
    ) -> int:
        db = ctx.db
        dirty = db.dirty
        end = run(ctx, requests, start, append)
        if db.dirty != dirty:
            journal.append_many(db.index, requests[start:end])
        return end

    def record_translated(
        ctx: Context, requests: list[Any], start: int, append: Callable[[Any], object]
    ) -> int:
        db = ctx.db
        dirty = db.dirty
        frames: list[Any] = []
        end = run(ctx, requests, start, frames.append)
        for frame in frames:
            append(frame)
        if db.dirty != dirty:
            assert translate is not None
            journal.append_many(db.index, translate(ctx, requests[start:end], frames))
        return end

    return record if translate is None or name == "set" else record_translated
