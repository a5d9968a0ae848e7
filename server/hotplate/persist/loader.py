"""Loading: the files that the manifest names, applied to an engine that nobody else uses.

    base (RDB) ─► keys        increments ─► pieces ─► the commands' own handlers

`load` is a generator, so that the server can answer -LOADING between two steps; a step takes a few
milliseconds. Requests run at the time they ran first (FORMAT-LOG.md). A damaged tail is cut off
where `aof-load-truncated` allows it, and always told; all other damage is a LoadError.
"""

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from hotplate.engine.context import Context
from hotplate.engine.engine import Engine
from hotplate.errors import CommandError
from hotplate.persist.files import Files
from hotplate.persist.group import FormatVersionError
from hotplate.persist.log_reader import DamageError, LogReader, Piece
from hotplate.persist.manifest import LogFile, ManifestError, ManifestFile
from hotplate.persist.nobody import NoLink

log = logging.getLogger("hotplate.persist")

# a time of day one, larger than any word that counts uses: where the log does not say when a
# request ran, no key may expire while it is read
DAY_ONE_MS: Final = 2**24
_STEP_NS: Final = 10_000_000  # of work between two looks at clients
_REFUSALS_TOLD: Final = 10
_RDB_MARK: Final = b"REDIS"


_Steps: TypeAlias = Generator[None, None, int]


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


@dataclass(slots=True)
class Tail:
    """The last file of the log, and whether it can be gone on with (`seed` None: it can't)."""

    file: LogFile
    seed: int | None
    size: int


class Player:
    """Runs logged requests."""

    def __init__(self, engine: Engine, progress: Progress) -> None:
        self._engine = engine
        self._progress = progress
        self.ctx = Context(engine, 0, NoLink(), engine.now_ms)
        self.ctx.deny_blocking = True
        self._lead_ns = engine.clock.wall_ns() - engine.clock.monotonic_ns()

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
        lookup = engine.commands.table.get
        requests = iter(piece.requests)
        argv: list[bytes] = []
        while True:
            try:
                for argv in requests:
                    command = lookup(argv[0])
                    if command is None or not command.arity_min <= len(argv) <= command.arity_max:
                        self._run_rare(argv)
                    else:
                        command.handler(ctx, argv)  # type: ignore[misc]  # only containers lack it
                break
            except CommandError as error:
                self._refused(argv, error)
        self._progress.requests += len(piece.requests)

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


class Loader:
    """Loads the files of one log."""

    def __init__(
        self,
        engine: Engine,
        files: Files,
        manifest_file: ManifestFile,
        *,
        load_base: "BaseLoader",
    ) -> None:
        self._engine = engine
        self._files = files
        self._manifest_file = manifest_file
        self._load_base = load_base
        self.progress = Progress()
        self.tail: Tail | None = None

    def load(self) -> Iterator[None]:
        """Load everything, a step at a time. LoadError."""
        try:
            manifest = self._manifest_file.load()
        except ManifestError as error:
            raise LoadError(f"{self._manifest_file.directory}: {error}") from error
        if manifest is None:
            return
        names = [manifest.base] if manifest.base is not None else []
        names += manifest.increments
        paths = [self._manifest_file.path(file.name) for file in names]
        for path in paths:
            if not self._files.exists(path):
                raise LoadError(f"{path} is missing, and the manifest names it")
            self.progress.total_bytes += self._files.size(path)
        frozen = self._engine.stream_policies
        frozen.is_frozen = True
        try:
            if manifest.base is not None:
                yield from self._load_first(paths[0])
            for number, file in enumerate(manifest.increments, 1):
                yield from self._load_increment(file, manifest.increments[number:])
                if self.progress.dropped_bytes:
                    break
        finally:
            frozen.is_frozen = False
            self._engine.now_ms = self._engine.clock.now_ms()
            self._engine.now_ns = self._engine.clock.monotonic_ns()

    def _load_first(self, path: str) -> Iterator[None]:
        if self._files.read(path, 0, len(_RDB_MARK)) == _RDB_MARK:
            yield from self._load_base(path, self.progress)
        else:  # Redis with aof-use-rdb-preamble no
            reader = self._open(path)
            yield from self._play(reader, later=None)

    def _load_increment(self, file: LogFile, later: Sequence[LogFile]) -> Iterator[None]:
        reader = self._open(self._manifest_file.path(file.name))
        before = self.tail
        if before is not None and before.size < reader.size_before():
            why = f"{reader.path} follows {reader.size_before()} bytes of it"
            path = self._manifest_file.path(before.file.name)
            error = DamageError(path, before.size, before.size, why, is_tail=True)
            self._drop(error, [file, *later])
            return
        end = yield from self._play(reader, later=later)
        self.tail = Tail(file, reader.seed, end)

    def _knew_before(self, later: Sequence[LogFile]) -> LogFile | None:
        """The first of later files that says that the files before it were on disk."""
        for file in later:
            reader = self._open(self._manifest_file.path(file.name))
            if reader.seed is None or reader.knows_files_before():
                return file
        return None

    def _open(self, path: str) -> LogReader:
        try:
            return LogReader(self._files, path)
        except DamageError as error:
            raise self._damaged(error) from error
        except FormatVersionError as error:
            raise LoadError(f"{path}: {error}") from error

    def _play(self, reader: LogReader, *, later: Sequence[LogFile] | None) -> _Steps:
        """Run a file; its end, without a tail that was cut off. `later` None: nothing may be."""
        player = Player(self._engine, self.progress)
        player.begin_file()
        clock_ns = self._engine.clock.monotonic_ns
        until_ns = clock_ns() + _STEP_NS
        end = reader.start
        before = self.progress.loaded_bytes
        try:
            for piece in reader.pieces():
                player.play(piece)
                end = piece.end
                self.progress.loaded_bytes = before + end
                if clock_ns() >= until_ns:
                    yield
                    until_ns = clock_ns() + _STEP_NS
        except DamageError as error:
            if later is None:
                raise self._damaged(error) from error
            self._drop(error, later)
            end = error.offset
        return end

    def _drop(self, error: DamageError, later: Sequence[LogFile]) -> None:
        """Drop what is behind the damage, if it may be: LoadError."""
        if not error.is_tail or self._knew_before(later) is not None:
            raise self._damaged(error) from error
        if not self._engine.config.aof_load_truncated:
            raise self._damaged(error, " or set aof-load-truncated to yes") from error
        sizes = [self._files.size(self._manifest_file.path(file.name)) for file in later]
        self.progress.dropped_bytes = error.dropped + sum(sizes)
        log.warning(
            "%s; %d bytes from there on are dropped (aof-load-truncated)",
            error,
            self.progress.dropped_bytes,
        )

    def _damaged(self, error: DamageError, otherwise: str = "") -> LoadError:
        directory = self._manifest_file.directory
        return LoadError(f"{error}; run `hotplate check {directory}`{otherwise}")


BaseLoader = Callable[[str, Progress], Iterator[None]]
"""(path, progress) -> steps: loads an RDB file into the engine. LoadError."""
