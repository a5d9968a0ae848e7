"""Running logged requests: in their order, at their time, equal ones in one loop.

Nobody waits for a reply and nobody watches a server that loads. So a run of SET, which most logs
are made of, stores keys without asking its handler, and runs of other commands go to the handler
that pipelines go to. What those leave, the command's own handler takes.
"""

import logging
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from hotplate.engine.context import Context
from hotplate.engine.engine import Engine
from hotplate.engine.nobody import NOBODY
from hotplate.errors import CommandError
from hotplate.keyspace.database import SHARD_MASK
from hotplate.keyspace.entry import Entry
from hotplate.persist.log_reader import Piece
from hotplate.spec.model import RunHandler

log = logging.getLogger("hotplate.persist")

# a time of day one, larger than any word that counts uses: where the log does not say when a
# request ran, no key may expire while it is read
DAY_ONE_MS: Final = 2**24
_REFUSALS_TOLD: Final = 10
_DROP: Final = deque[Any](maxlen=0).append  # takes the frames of replies


class LoadError(Exception):
    """The data can't be loaded; the text says what to do."""


@dataclass(slots=True)
class Progress:
    """How far loading is. Bytes are those of all files together."""

    total_bytes: int = 0
    loaded_bytes: int = 0
    requests: int = 0
    refused: int = 0
    dropped_bytes: int = 0  # of a damaged tail


def set_run(ctx: Context, requests: list[Any], start: int, append: object) -> int:
    """SET key value, for keys that are missing or don't expire: the index after the last one."""
    del append
    name = requests[start][0]
    db = ctx.db
    shards, now_ms = db.shards, ctx.now_ms
    if db.observer is not None or db.witness is not None:
        return start
    index, added = start, 0
    for index in range(start, len(requests)):
        argv = requests[index]
        if argv[0] != name or len(argv) != 3:
            break
        _, key, value = argv
        shard = shards[hash(key) & SHARD_MASK]
        entry = shard.get(key)
        if entry is None:
            shard[key] = Entry(value, 0, now_ms)
            added += 1
        elif entry.expire_at_ms:
            break
        else:
            if type(entry.value) is not bytes:
                db.discard(entry.value)
            entry.value = value
            entry.accessed_ms = now_ms
    else:
        index = len(requests)
    db.added += added
    db.dirty += index - start
    return index


class Player:
    """Runs logged requests."""

    def __init__(self, engine: Engine, progress: Progress) -> None:
        self._engine = engine
        self._progress = progress
        self.ctx = Context(engine, 0, NOBODY, engine.now_ms)
        self.ctx.deny_blocking = True
        self._lead_ns = engine.clock.wall_ns() - engine.clock.monotonic_ns()
        self._runs: dict[bytes, RunHandler] = {
            command.name: command.run
            for command in engine.commands.walk()
            if command.run is not None
        }
        self._runs[b"set"] = set_run

    def begin_file(self) -> None:
        """A new file: no database is selected."""
        self.ctx.db = self._engine.databases[0]

    def play(self, piece: Piece) -> None:
        """Run a piece at its time. LoadError for a request that can't be run."""
        engine, ctx = self._engine, self.ctx
        ctx.now_ms = engine.now_ms = piece.now_ms or DAY_ONE_MS
        if piece.now_ms:
            exact_ns = piece.exact_ns or piece.now_ms * 1_000_000
            engine.now_ns = exact_ns - self._lead_ns
        requests = piece.requests
        index = 0
        while index < len(requests):
            index = self._play_some(requests, index)
        self._progress.requests += len(requests)

    def _play_some(self, requests: list[list[bytes]], start: int) -> int:
        """Run requests from `start` on, up to a run or one that is refused; the next index."""
        ctx, runs = self.ctx, self._runs
        lookup = self._engine.commands.table.get
        last = len(requests) - 1
        current: object = None
        run: RunHandler | None = None
        for index in range(start, len(requests)):
            argv = requests[index]
            command = lookup(argv[0])
            if command is not current:
                current, run = command, None if command is None else runs.get(command.name)
            if run is not None and index < last:  # it looks at the next one, too
                end = run(ctx, requests, index, _DROP)
                if end > index:
                    return end
                run = None  # it takes none of these
            try:
                if command is None or not command.arity_min <= len(argv) <= command.arity_max:
                    self._run_rare(argv)
                else:
                    command.handler(ctx, argv)  # type: ignore[misc]  # only containers lack it
            except CommandError as error:
                self._refused(argv, error)
        return len(requests)

    def _run_rare(self, argv: list[bytes]) -> None:
        """A subcommand, or an unusual spelling."""
        command = self._engine.commands.lookup(argv[0])
        if command is not None and command.subcommands is not None and len(argv) > 1:
            command = command.subcommands.get(argv[1].lower())
        if command is None or command.handler is None:
            name = b" ".join(argv[:2])[:80]
            raise LoadError(f"the log holds a command that this server does not have: {name!r}")
        if not command.arity_min <= len(argv) <= command.arity_max:
            raise LoadError(f"the log holds a {argv[0]!r} with {len(argv) - 1} arguments")
        command.handler(self.ctx, argv)

    def _refused(self, argv: list[bytes], error: CommandError) -> None:
        self._progress.refused += 1
        if self._progress.refused <= _REFUSALS_TOLD:
            log.warning(
                "a logged %r was refused: %s", argv[0], error.frame.decode(errors="replace")
            )
