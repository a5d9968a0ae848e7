"""A server's log: built, loaded, kept, stopped; and the replies that wait for it."""

import asyncio
import gc
import logging
from collections.abc import Callable, Iterator
from typing import Any, Final

from hotplate.engine.context import Gate
from hotplate.engine.engine import Engine
from hotplate.persist.appendonly import AppendOnly
from hotplate.persist.files import SystemFiles
from hotplate.persist.fsync import FsyncThread
from hotplate.persist.loader import LoadError, Progress
from hotplate.server.barrier import ReplyBarrier
from hotplate.server.directory import WorkingDirectory

log = logging.getLogger("hotplate.server")
_UNSAFE: Final = "Errors writing to the AOF file: "


class PersistenceService:
    """Implements engine.persistence.Persistence."""

    def __init__(
        self, engine: Engine, directory: WorkingDirectory, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._engine = engine
        self.barrier = ReplyBarrier()
        self._files = SystemFiles()
        self._thread: FsyncThread | None = None
        self._appendonly: AppendOnly | None = None
        if engine.config.appendonly:
            self._thread = FsyncThread(loop)
            self._appendonly = AppendOnly(
                engine,
                self._files,
                self._thread,
                directory=str(directory.path / engine.config.appenddirname),
                hear=self,
                load_base=_no_base,
            )
            self.barrier.journal = self._appendonly.journal
            self.barrier.write_log = self.flush
        engine.persistence = self

    # -- what the log tells --------------------------------------------------------------------

    def on_pending(self) -> None:
        """Something was logged that is not in the file: it will be when this pass is over."""
        self.barrier.on_pending()
        self._engine.outbox.add(self)

    def on_settled(self, takes: int) -> None:
        """What was logged is safe."""
        self.barrier.on_settled(takes)

    def on_failure(self, why: str | None) -> None:
        """The log can't be written, or can again."""
        self.barrier.on_failure(why)
        self._engine.refuse_writes(None if why is None else _UNSAFE + why)

    def flush(self) -> None:
        """A pass is over: write what was logged in it."""
        assert self._appendonly is not None
        self._appendonly.log.flush()

    # -- the server's side ---------------------------------------------------------------------

    async def load(self, stopping: Callable[[], bool]) -> None:
        """Load what is there, then begin to log. LoadError.

        Clients are answered -LOADING meanwhile. Ends early once `stopping` says so.
        """
        appendonly = self._appendonly
        if appendonly is None:
            return
        self._engine.gates |= Gate.LOADING
        gc.disable()  # what is loaded has no cycles, and would be walked again and again
        try:
            for _ in appendonly.load():
                await asyncio.sleep(0)
                if stopping():
                    return
            appendonly.start()
        except OSError as error:
            place = appendonly.manifest_file.directory
            raise LoadError(f"can't use {place}: {error.strerror or error}") from error
        finally:
            gc.enable()
            self._engine.gates &= ~Gate.LOADING

    def tick(self, now_ms: int) -> bool:
        """One beat of the server's timer."""
        if self._appendonly is not None:
            self._appendonly.log.tick()
        return False

    def settle(self) -> None:
        """Make everything safe now, so that all replies may leave."""
        if self._appendonly is not None and self._appendonly.recorder.is_on:
            try:
                self._appendonly.log.finish()
            except OSError as error:
                log.error("can't write the append-only log: %s", error)
            else:
                self.barrier.on_settled(self._appendonly.journal.taken)

    def stop(self) -> None:
        """Nothing more is logged; what was is on disk."""
        if self._thread is not None:
            self._thread.close()
        if self._appendonly is not None:
            try:
                self._appendonly.stop()
            except OSError as error:
                log.error("can't write the append-only log: %s", error)

    def info(self) -> Iterator[tuple[str, Any]]:
        """INFO persistence."""
        appendonly = self._appendonly
        yield "aof_enabled", int(appendonly is not None)
        yield "aof_rewrite_in_progress", 0
        yield "aof_rewrite_scheduled", 0
        yield "aof_last_rewrite_time_sec", -1
        yield "aof_current_rewrite_time_sec", -1
        yield "aof_last_bgrewrite_status", "ok"
        failure = None if appendonly is None else appendonly.log.failure
        yield "aof_last_write_status", "ok" if failure is None else "err"
        if appendonly is not None:
            yield "aof_current_size", appendonly.log.size
            yield "aof_buffer_length", appendonly.log.unwritten_bytes
            yield "aof_pending_bio_fsync", int(appendonly.log.is_syncing)
            yield "aof_delayed_fsync", appendonly.log.delayed_fsyncs


def _no_base(path: str, progress: Progress) -> Iterator[None]:
    raise LoadError(f"{path}: base files can't be read in this version")
