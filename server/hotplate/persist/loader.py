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

from hotplate.engine.engine import Engine
from hotplate.persist.files import Files
from hotplate.persist.group import FormatVersionError
from hotplate.persist.log_reader import DamageError, LogReader
from hotplate.persist.manifest import LogFile, ManifestError, ManifestFile
from hotplate.persist.replay import LoadError, Player, Progress

log = logging.getLogger("hotplate.persist")

_STEP_NS: Final = 10_000_000  # of work between two looks at clients
_RDB_MARK: Final = b"REDIS"


_Steps: TypeAlias = Generator[None, None, int]


@dataclass(slots=True)
class Tail:
    """The last file of the log, and whether it can be gone on with (`seed` None: it can't)."""

    file: LogFile
    seed: int | None
    size: int


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
