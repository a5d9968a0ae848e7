"""While a snapshot is taken: keys are kept before commands change them.

Handlers of commands that write are replaced by ones that first tell the snapshot which keys they
name, on top of those that record for the log. What changes without a command tells by itself,
through `Database.journal`; blocked clients that are served, through `Blocking.before_retry`.
"""

from collections.abc import Callable
from typing import Any, Final

from hotplate.engine.context import Context
from hotplate.engine.engine import Engine
from hotplate.errors import CommandError
from hotplate.keyspace.database import Database
from hotplate.persist.effects import EFFECTS, ELSEWHERE
from hotplate.persist.journal import Journal
from hotplate.persist.snapshot import Snapshot
from hotplate.spec.docs import key_positions
from hotplate.spec.model import Command, CommandSpec, Flag, Handler, RunHandler

# they may name a key of another database: the key is kept in all of them
_ACROSS: Final = frozenset((b"copy", b"move"))
_WRITE: Final = int(Flag.WRITE)


class Guard:
    """Puts the keeping handlers in place, and takes them away."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._originals: list[tuple[Command, Handler, RunHandler | None]] = []
        self._quiet: QuietJournal | None = None

    def start(self, snapshot: Snapshot, journal: Journal | None) -> None:
        """Let `snapshot` keep what changes. `journal`: the log's, if there is one."""
        engine = self._engine
        for command in engine.commands.walk():
            handler = command.handler
            if handler is None or not command.flags & _WRITE:
                continue
            if EFFECTS.get(command.name.decode()) is ELSEWHERE:
                continue
            self._originals.append((command, handler, command.run))
            command.handler = _keeping(snapshot, command, handler)
            run = command.run
            if run is not None:
                # others name more keys than their second word, or none there
                is_plain = _names_one_key_first(command.spec)
                command.run = _keeping_run(snapshot, run) if is_plain else None
        if journal is not None:
            journal.keeper = snapshot
        else:
            self._quiet = QuietJournal(snapshot)
            for database in engine.databases:
                database.journal = self._quiet
        engine.blocking.before_retry = snapshot.keep

    def stop(self, journal: Journal | None) -> None:
        """The snapshot is done with."""
        for command, handler, run in self._originals:
            command.handler = handler
            command.run = run
        self._originals.clear()
        if journal is not None:
            journal.keeper = None
        if self._quiet is not None:
            self._quiet = None
            for database in self._engine.databases:
                database.journal = None
        self._engine.blocking.before_retry = None


class QuietJournal:
    """Where there is no log: keys are kept, and nothing is noted."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.keep = snapshot.keep
        self.keep_database = snapshot.keep_database

    def note(self, index: int, *argv: bytes) -> None:
        """Nobody keeps a log."""

    def note_exact(self, index: int, *argv: bytes) -> None:
        """Nobody keeps a log."""


def keys_of(spec: CommandSpec, argv: list[Any]) -> list[bytes]:
    """The keys that a request names; none where its handler will refuse it."""
    if not spec.keys:
        return []
    try:
        return [argv[position] for position, _ in key_positions(spec, argv)]
    except (CommandError, IndexError):
        return []


def _keeping(snapshot: Snapshot, command: Command, handler: Handler) -> Handler:
    spec = command.spec
    keep = snapshot.keep

    def keep_one(ctx: Context, argv: list[Any]) -> Any:
        keep(ctx.db, argv[1])
        return handler(ctx, argv)

    def keep_all(ctx: Context, argv: list[Any]) -> Any:
        for key in keys_of(spec, argv):
            keep(ctx.db, key)
        return handler(ctx, argv)

    def keep_everywhere(ctx: Context, argv: list[Any]) -> Any:
        for database in ctx.engine.databases:
            for key in argv[1:3]:
                keep(database, key)
        return handler(ctx, argv)

    if command.name in _ACROSS:
        return keep_everywhere
    if _names_one_key_first(spec):
        return keep_one
    return keep_all


def _names_one_key_first(spec: CommandSpec) -> bool:
    if len(spec.keys) != 1:
        return False
    keys = spec.keys[0]
    return (
        (keys.begin, keys.last, keys.keyword, keys.key_number) == (1, 0, None, None)
        and not keys.unknown
        and spec.get_keys is None
    )


def _keeping_run(snapshot: Snapshot, run: RunHandler) -> RunHandler:
    keep: Callable[[Database, bytes], None] = snapshot.keep

    def keep_run(
        ctx: Context, requests: list[Any], start: int, append: Callable[[Any], object]
    ) -> int:
        name = requests[start][0]
        for index in range(start, len(requests)):
            argv = requests[index]
            if argv[0] != name or len(argv) < 2:
                break
            keep(ctx.db, argv[1])
        return run(ctx, requests, start, append)

    return keep_run
