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
from hotplate.persist.files import Files
from hotplate.persist.fsync import Worker
from hotplate.persist.journal import Journal
from hotplate.persist.loader import BaseLoader, Loader, Progress
from hotplate.persist.log import AppendLog
from hotplate.persist.manifest import Manifest, ManifestFile
from hotplate.persist.recorder import Recorder

log = logging.getLogger("hotplate.persist")

_SEED_BITS: Final = 64
_TEMPORARY: Final = "temp-"


class Hearer(Protocol):
    """What is told as the log goes on. `takes` counts what the journal gave (log.AppendLog)."""

    def on_pending(self) -> None: ...
    def on_settled(self, takes: int) -> None: ...
    def on_failure(self, why: str | None) -> None: ...


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

    @property
    def progress(self) -> Progress:
        """How far loading is."""
        return self._loader.progress

    def load(self) -> Iterator[None]:
        """Read what is there, a step at a time. LoadError."""
        yield from self._loader.load()

    def start(self) -> None:
        """Go on with the log that was loaded, or begin one. OSError."""
        files, manifest_file = self.files, self.manifest_file
        files.make_directory(manifest_file.directory)
        self.manifest = manifest_file.load() or Manifest()
        self._remove_leftovers()
        tail = self._loader.tail
        if tail is not None and tail.seed is not None:
            self.log.resume(manifest_file.path(tail.file.name), tail.seed, tail.size)
        else:
            if tail is not None and self.progress.dropped_bytes:
                self._cut(manifest_file.path(tail.file.name), tail.size)
            self.open_increment()
        self.recorder.start()

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
        file = self.manifest_file.increment(self.manifest.last_sequence + 1)
        path = self.manifest_file.path(file.name)
        if self.files.exists(path):  # left by a crash before the manifest named it
            self.files.remove(path)
        self.log.open(path, self._rng.getrandbits(_SEED_BITS))
        manifest = self.manifest.with_increment(file)
        self.manifest_file.store(manifest)
        self.manifest = manifest

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
