"""A server's log and snapshots: built, loaded, kept, stopped; and the replies that wait."""

import asyncio
import gc
import logging
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from hotplate.engine.blocking import LOG_PLACE
from hotplate.engine.context import Gate
from hotplate.engine.engine import Engine
from hotplate.persist.appendonly import AppendOnly
from hotplate.persist.background import FAILED, PAUSE_SECONDS, Background
from hotplate.persist.base import base_loader
from hotplate.persist.files import SystemFiles
from hotplate.persist.fsync import FsyncThread
from hotplate.persist.replay import LoadError, Progress
from hotplate.server.barrier import ReplyBarrier
from hotplate.server.directory import WorkingDirectory
from hotplate.server.progress import ProgressBar

log = logging.getLogger("hotplate.server")
_LOG_FAILS: Final = "Errors writing to the AOF file: "
_SAVE_FAILS: Final = (
    "Redis is configured to save RDB snapshots, but it's currently unable to persist to disk."
    " Commands that may modify the data set are disabled, because this instance is configured to"
    " report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option)."
    " Please check the Redis logs for details about the RDB error."
)


class PersistenceService:
    """Implements engine.persistence.Persistence."""

    def __init__(
        self, engine: Engine, directory: WorkingDirectory, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._engine = engine
        config = engine.config
        self.barrier = ReplyBarrier()
        self._files = SystemFiles()
        self._thread = FsyncThread(loop)
        self._snapshot_thread = FsyncThread(loop)  # its work must not delay the log's
        self._place = str(directory.path)
        self._log_failure: str | None = None
        self._refused: str | None = None
        self._progress: Progress | None = None  # while loading
        self._saves_at_end = False  # before everything is loaded
        self._loading_since_s = 0
        self._appendonly: AppendOnly | None = None
        if config.appendonly:
            self._appendonly = AppendOnly(
                engine,
                self._files,
                self._thread,
                directory=str(directory.path / config.appenddirname),
                hear=self,
                load_base=base_loader(engine, self._files, drop_expired=False),
            )
            self._appendonly.log.on_synced = self._on_synced
            self.barrier.journal = self._appendonly.journal
            self.barrier.write_log = self.flush
            self.barrier.soon = loop.call_soon
            engine.outbox.singles.came_as = self.barrier.came_as
        self._background = Background(
            engine,
            self._files,
            self._snapshot_thread,
            directory=self._place,
            appendonly=self._appendonly,
            soon=loop.call_soon,
            later=partial(loop.call_later, PAUSE_SECONDS),
        )
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
        self._log_failure = why
        self._judge()

    def _judge(self) -> None:
        """Refuse writes while they can't be made safe."""
        config = self._engine.config
        why: str | None = None
        if self._log_failure is not None:
            why = _LOG_FAILS + self._log_failure
        elif (
            self._background.saving.status == FAILED
            and config.save
            and config.stop_writes_on_bgsave_error
        ):
            why = _SAVE_FAILS
        if why != self._refused:
            self._refused = why
            self._engine.refuse_writes(why)

    def flush(self) -> None:
        """A pass is over: write what was logged in it."""
        assert self._appendonly is not None
        self._appendonly.log.flush()

    # -- the server's side ---------------------------------------------------------------------

    async def load(self, stopping: Callable[[], bool]) -> None:
        """Load what is there, then begin to log. LoadError.

        Clients are answered -LOADING meanwhile. Ends early once `stopping` says so.
        """
        engine = self._engine
        engine.gates |= Gate.LOADING
        self._loading_since_s = engine.clock.now_ms() // 1000
        gc.disable()  # what is loaded has no cycles: walking millions of keys takes seconds
        place = self._place
        try:
            self._background.remove_leftovers()
            steps, self._progress = self._begin_load()
            bar = ProgressBar(sys.stderr)
            for _ in steps:
                bar.show(self._progress)
                await asyncio.sleep(0)
                if stopping():
                    return
            bar.end(self._progress)
            if self._appendonly is not None:
                place = self._appendonly.manifest_file.directory
                self._appendonly.start()
        except OSError as error:
            raise LoadError(f"can't use {place}: {error.strerror or error}") from error
        finally:
            gc.freeze()
            gc.enable()
            self._progress = None
            engine.gates &= ~Gate.LOADING
            engine.now_ms = engine.clock.now_ms()
            engine.now_ns = engine.clock.monotonic_ns()
        self._saves_at_end = True
        self._background.saved_now()

    def _begin_load(self) -> tuple[Iterator[None], Progress]:
        """Steps, and how far they are: of the log, else of the snapshot."""
        appendonly = self._appendonly
        snapshot = f"{self._place}/{self._engine.config.dbfilename}"
        if appendonly is not None:
            if not appendonly.exists() and self._files.exists(snapshot):
                log.info("there is no log yet: it begins with what %s holds", snapshot)
                appendonly.begin_with(snapshot)
            return appendonly.load(), appendonly.progress
        progress = Progress()
        if not self._files.exists(snapshot):
            return iter(()), progress
        progress.total_bytes = self._files.size(snapshot)
        load = base_loader(self._engine, self._files, drop_expired=True)
        return load(snapshot, progress), progress

    def tick(self, now_ms: int) -> bool:
        """One beat of the server's timer."""
        if self._appendonly is not None:
            self._appendonly.log.tick()
        self._background.tick(now_ms)
        self._judge()
        return False

    def settle(self) -> None:
        """Make everything safe now, so that all replies may leave."""
        self._background.give_up()
        if self._saves_at_end and self._engine.config.save and self._background.changes:
            try:
                self._background.save_now()
            except OSError as error:
                log.error("can't save at the end: %s", error)
        if self._appendonly is not None and self._appendonly.recorder.is_on:
            try:
                self._appendonly.log.finish()
            except OSError as error:
                log.error("can't write the append-only log: %s", error)
            else:
                self.barrier.on_settled(self._appendonly.journal.taken)

    def stop(self) -> None:
        """Nothing more is logged; what was is on disk."""
        self._snapshot_thread.close()
        self._thread.close()
        if self._appendonly is not None:
            try:
                self._appendonly.stop()
            except OSError as error:
                log.error("can't write the append-only log: %s", error)

    # -- what clients may ask for --------------------------------------------------------------

    @property
    def has_log(self) -> bool:
        """Whether `appendonly` is on."""
        return self._appendonly is not None

    @property
    def logged(self) -> int:
        """How far the log goes with all that was done until now, in takes of the journal."""
        journal = self.barrier.journal
        return 0 if journal is None else journal.taken + journal.is_pending

    @property
    def synced(self) -> int:
        """How far of it is on disk."""
        return 0 if self._appendonly is None else self._appendonly.log.synced_takes

    def _on_synced(self) -> None:
        """Serve who waits for it (WAITAOF)."""
        blocking = self._engine.blocking
        if blocking.touched(*LOG_PLACE):
            blocking.serve()

    @property
    def is_rewriting(self) -> bool:
        """Whether the log is being rewritten."""
        return self._background.is_rewriting

    @property
    def is_saving(self) -> bool:
        """Whether a snapshot is being saved."""
        return self._background.is_saving

    @property
    def last_save_s(self) -> int:
        """When a snapshot was last saved, Unix seconds; else when the server started."""
        return self._background.last_save_ms // 1000

    def end_without_save(self) -> None:
        """The server is about to end, and no snapshot is to be saved."""
        self._saves_at_end = False

    def save(self) -> None:
        """Save a snapshot now. OSError."""
        self._background.save_now()

    def start_save(self) -> None:
        """Save a snapshot in the background. OSError."""
        self._background.start_save()

    def start_rewrite(self) -> None:
        """Rewrite the log in the background."""
        self._background.start_rewrite()

    def schedule_save(self) -> None:
        """Save a snapshot once what is under way is done."""
        self._background.is_save_scheduled = True

    def schedule_rewrite(self) -> None:
        """Rewrite the log once what is under way is done."""
        self._background.is_rewrite_scheduled = True

    def info(self) -> Iterator[tuple[str, Any]]:
        """INFO persistence."""
        yield from self._info_loading()
        yield from self._info_snapshots()
        yield from self._info_log()

    def _info_loading(self) -> Iterator[tuple[str, Any]]:
        progress = self._progress
        yield "loading", int(progress is not None)
        yield "async_loading", 0
        if progress is not None:
            total, loaded = progress.total_bytes, progress.loaded_bytes
            elapsed_s = max(self._engine.clock.now_ms() // 1000 - self._loading_since_s, 0)
            yield "loading_start_time", self._loading_since_s
            yield "loading_total_bytes", total
            yield "loading_rdb_used_mem", 0
            yield "loading_loaded_bytes", loaded
            yield "loading_loaded_perc", f"{100 * loaded / total if total else 100:.2f}"
            left_s = elapsed_s * (total - loaded) // loaded if loaded else 1
            yield "loading_eta_seconds", max(left_s, 0)

    def _info_snapshots(self) -> Iterator[tuple[str, Any]]:
        background = self._background
        now_ns = self._engine.clock.monotonic_ns()
        written, total = background.keys
        yield "current_cow_size", 0
        yield "current_fork_perc", f"{100 * written / total if total else 0:.2f}"
        yield "current_save_keys_processed", written
        yield "current_save_keys_total", total
        yield "rdb_changes_since_last_save", background.changes
        yield "rdb_bgsave_in_progress", int(background.is_saving)
        yield "rdb_last_save_time", self.last_save_s
        yield "rdb_last_bgsave_status", background.saving.status
        yield "rdb_last_bgsave_time_sec", background.saving.seconds
        yield "rdb_current_bgsave_time_sec", background.saving.current_seconds(now_ns)
        yield "rdb_saves", background.saves

    def _info_log(self) -> Iterator[tuple[str, Any]]:
        appendonly, background = self._appendonly, self._background
        now_ns = self._engine.clock.monotonic_ns()
        yield "aof_enabled", int(appendonly is not None)
        yield "aof_rewrite_in_progress", int(background.is_rewriting)
        yield "aof_rewrite_scheduled", int(background.is_rewrite_scheduled)
        yield "aof_last_rewrite_time_sec", background.rewriting.seconds
        yield "aof_current_rewrite_time_sec", background.rewriting.current_seconds(now_ns)
        yield "aof_last_bgrewrite_status", background.rewriting.status
        yield "aof_last_write_status", "ok" if self._log_failure is None else "err"
        if appendonly is not None:
            yield "aof_current_size", appendonly.size
            yield "aof_base_size", appendonly.rewritten_size
            yield "aof_pending_rewrite", 0
            yield "aof_buffer_length", appendonly.log.unwritten_bytes
            yield "aof_pending_bio_fsync", int(appendonly.log.is_syncing)
            yield "aof_delayed_fsync", appendonly.log.delayed_fsyncs
