"""The append-only file as a whole: its directory, loading it, and going on with it.

    load() ─► start() ─► journal, recorder and log at work ─► stop()

It knows no event loop. `call_soon(callback)` runs a callback once the work at hand is done, `hear`
is told what a server has to know.
"""

import logging
import os
import random
from collections.abc import Iterator
from typing import Final, Protocol

from hotplate.engine.engine import Engine
from hotplate.persist.files import Files, write_all
from hotplate.persist.fsync import Worker
from hotplate.persist.group import file_header
from hotplate.persist.journal import Journal
from hotplate.persist.loader import BaseLoader, Loader
from hotplate.persist.log import AppendLog
from hotplate.persist.manifest import LogFile, Manifest, ManifestFile
from hotplate.persist.recorder import Recorder
from hotplate.persist.replay import Progress

log = logging.getLogger("hotplate.persist")

_SEED_BITS: Final = 64
_TEMPORARY: Final = "temp-"
_COPY_BYTES: Final = 16 * 1024 * 1024


class Hearer(Protocol):
    """What is told as the log goes on. `takes` counts what the journal gave (log.AppendLog)."""

    def on_pending(self) -> None: ...
    def on_settled(self, takes: int) -> None: ...
    def on_failure(self, why: str | None) -> None: ...


class NextIncrement:
    """An increment in the making."""

    def __init__(
        self,
        files: Files,
        manifest_file: ManifestFile,
        file: LogFile,
        manifest: Manifest,
        seed: int,
    ) -> None:
        self._files = files
        self._manifest_file = manifest_file
        self.manifest = manifest.with_increment(file)
        self.path = manifest_file.path(file.name)
        self.seed = seed
        self.handle = -1
        self.size = 0

    def make(self) -> None:
        """Make the file, and let the manifest name it. OSError."""
        files = self._files
        if files.exists(self.path):  # left by a crash before the manifest named it
            files.remove(self.path)
        header = file_header(self.seed)
        self.handle = files.open_append(self.path)
        try:
            write_all(files, self.handle, header)
            files.sync(self.handle)
            self._manifest_file.store(self.manifest)
        except OSError:
            files.close(self.handle)
            raise
        self.size = len(header)


class AppendOnly:
    """One server's log."""

    def __init__(
        self,
        engine: Engine,
        files: Files,
        worker: Worker,
        *,
        directory: str,
        hear: Hearer,
        load_base: BaseLoader,
    ) -> None:
        self.engine = engine
        config = engine.config
        self.files = files
        self.manifest_file = ManifestFile(files, directory, config.appendfilename)
        self.manifest = Manifest()
        clock = engine.clock
        lead_ns = clock.wall_ns() - clock.monotonic_ns()
        self.journal = Journal(engine, lead_ns, hear.on_pending)
        self.log = AppendLog(
            files,
            worker,
            self.journal,
            config,
            monotonic_ns=clock.monotonic_ns,
            settled=hear.on_settled,
            failed=hear.on_failure,
        )
        self.recorder = Recorder(engine, self.journal)
        self._loader = Loader(engine, files, self.manifest_file, load_base=load_base)
        self._rng: random.Random = engine.rng
        self._other_bytes = 0
        self.rewritten_size = 0  # when the log was last rewritten, or loaded

    @property
    def progress(self) -> Progress:
        """How far loading is."""
        return self._loader.progress

    def exists(self) -> bool:
        """Whether there is a log."""
        return self.manifest_file.exists()

    def begin_with(self, snapshot: str) -> None:
        """Begin the log with a copy of a snapshot. OSError."""
        files, manifest_file = self.files, self.manifest_file
        files.make_directory(manifest_file.directory)
        base = manifest_file.base(1)
        path = manifest_file.path(base.name)
        if files.exists(path):
            files.remove(path)
        handle = files.open_append(path)
        try:
            offset, size = 0, files.size(snapshot)
            while offset < size:
                data = files.read(snapshot, offset, _COPY_BYTES)
                write_all(files, handle, data)
                offset += len(data)
            files.sync(handle)
        finally:
            files.close(handle)
        manifest_file.store(Manifest(base))

    def load(self) -> Iterator[None]:
        """Read what is there, a step at a time. LoadError."""
        yield from self._loader.load()

    def start(self) -> None:
        """Go on with the log that was loaded, or begin one. OSError."""
        files, manifest_file = self.files, self.manifest_file
        files.make_directory(manifest_file.directory)
        self.manifest = manifest_file.load() or Manifest()
        tail = self._loader.tail
        if tail is not None and tail.file != self.manifest.increments[-1]:
            self.manifest = self.manifest.up_to(tail.file)
            self._cut(manifest_file.path(tail.file.name), tail.size)
            manifest_file.store(self.manifest)
        self._remove_leftovers()
        if tail is not None and tail.seed is not None:
            self.log.resume(manifest_file.path(tail.file.name), tail.seed, tail.size)
        else:
            if tail is not None and self.progress.dropped_bytes:
                self._cut(manifest_file.path(tail.file.name), tail.size)
            self.open_increment()
        self.count_files()
        self.rewritten_size = self.size
        self.recorder.start()

    @property
    def size(self) -> int:
        """Bytes of all files of the log."""
        return self._other_bytes + self.log.size

    def next_increment(self) -> "NextIncrement":
        """The next file, to be made on the worker's thread."""
        file = self.manifest_file.increment(self.manifest.last_sequence + 1)
        return NextIncrement(
            self.files, self.manifest_file, file, self.manifest, self._rng.getrandbits(_SEED_BITS)
        )

    def switch_to(self, next_file: "NextIncrement") -> bool:
        """Log to the file that was made from now on; whether that could be."""
        if self.log.is_distrusted:
            self.log.renew(next_file.handle, next_file.path, next_file.seed, next_file.size)
        elif not self.log.switch(next_file.handle, next_file.path, next_file.seed, next_file.size):
            return False
        self.manifest = next_file.manifest
        return True

    def without_obsolete(self, manifest: Manifest) -> Manifest:
        """Remove what a stored manifest calls obsolete; the manifest that counts then.

        What can't be removed now is at the next start.
        """
        kept = manifest.without_obsolete()
        try:
            for file in manifest.obsolete:
                path = self.manifest_file.path(file.name)
                if self.files.exists(path):
                    self.files.remove(path)
            self.manifest_file.store(kept)
        except OSError as error:
            log.warning("can't remove obsolete files of the log: %s", error)
            return manifest
        return kept

    def rebased(self, manifest: Manifest) -> None:
        """The log was rewritten: `manifest` is what counts."""
        self.manifest = manifest
        if self.log.is_distrusted:
            self.log.heal()
        self.count_files()
        self.rewritten_size = self.size

    def count_files(self) -> None:
        """Measure the files that do not grow any more."""
        manifest = self.manifest
        names = [file.name for file in manifest.increments[:-1]]
        if manifest.base is not None:
            names.append(manifest.base.name)
        paths = map(self.manifest_file.path, names)
        self._other_bytes = sum(map(self.files.size, paths))

    def _cut(self, path: str, size: int) -> None:
        """Cut off a damaged tail for good."""
        handle = self.files.open_append(path)
        try:
            self.files.truncate(handle, size)
            self.files.sync(handle)
        finally:
            self.files.close(handle)

    def open_increment(self) -> None:
        """Begin a new file. What was logged so far must be on disk. OSError."""
        made = self.next_increment()
        made.make()
        self.log.take(made.handle, made.path, made.seed, made.size)
        self.manifest = made.manifest

    def _remove_leftovers(self) -> None:
        """Remove what an unfinished rewrite left, and what no one needs any more."""
        directory = self.manifest_file.directory
        names = [name for name in self.files.names(directory) if name.startswith(_TEMPORARY)]
        names += [file.name for file in self.manifest.obsolete]
        for name in names:
            path = os.path.join(directory, name)
            if self.files.exists(path):
                self.files.remove(path)
        if self.manifest.obsolete:
            self.manifest = self.manifest.without_obsolete()
            self.manifest_file.store(self.manifest)

    def stop(self) -> None:
        """Write and sync everything, then give the files back. OSError."""
        if self.recorder.is_on:
            self.recorder.stop()
            self.log.finish()
        self.log.close()
