"""Snapshots in the background: BGREWRITEAOF, BGSAVE, SAVE, and what starts them by itself.

One at a time, on the event loop, in slices between which clients are served:

    rewrite   next increment made ─► log switches to it: the moment ─► slices
                (worker)                        ─► (worker) sync, rename, manifest
    save      the moment ─► slices ─► (worker) sync, rename

A crash at any point leaves the files that the last manifest names, which are whole. What fails is
given up, told, and tried again later. It knows no event loop: `soon(callback)` calls back after
clients had their turn.
"""

import errno
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from hotplate.engine.engine import Engine
from hotplate.engine.info import HOTPLATE_VERSION
from hotplate.persist.appendonly import AppendOnly
from hotplate.persist.files import Files, write_all
from hotplate.persist.fsync import Worker
from hotplate.persist.guard import Guard
from hotplate.persist.manifest import LogFile, Manifest
from hotplate.persist.rdb_writer import RdbWriter
from hotplate.persist.snapshot import KEYS_A_STEP, Moment, Snapshot

log = logging.getLogger("hotplate.persist")

# of work between two turns of the clients. They get a millisecond: a server that never sleeps is
# made to wait by the system where others want the processor, and its clients with it
SLICE_NS: Final = 400_000
PAUSE_SECONDS: Final = 0.001
IDLE_SLICES: Final = 5  # in one go, where none came for so many slices
_IDLE_AFTER: Final = 10  # clients that were just answered come again within a millisecond or two
MOMENT: Final = b"hotplate-moment-ns"
_WAITING_BYTES_MAX: Final = 4 * 1024 * 1024
_SYNC_BYTES: Final = 32 * 1024 * 1024  # written between two syncs, so that the last one is short
_SECOND_NS: Final = 1_000_000_000
_TEMPORARY: Final = "temp-save-"
_RETRY_NS: Final = 5 * _SECOND_NS  # after a failure

Soon: TypeAlias = Callable[[Callable[[], None]], object]
OK: Final = "ok"
FAILED: Final = "err"


class Outcomes:
    """How the last one of a kind went, for INFO."""

    def __init__(self) -> None:
        self.status = OK
        self.seconds = -1
        self.started_ns: int | None = None  # of the one under way
        self.failed_ns: int | None = None

    def current_seconds(self, now_ns: int) -> int:
        """How long the one under way has been; -1: there is none."""
        return -1 if self.started_ns is None else (now_ns - self.started_ns) // _SECOND_NS

    def may_start(self, now_ns: int) -> bool:
        """Whether by itself: not right after a failure."""
        return self.failed_ns is None or now_ns - self.failed_ns >= _RETRY_NS


class Background:
    """All snapshots of one server. `appendonly` None: there is no log."""

    def __init__(
        self,
        engine: Engine,
        files: Files,
        worker: Worker,
        *,
        directory: str,
        appendonly: AppendOnly | None,
        soon: Soon,
        later: Soon,
    ) -> None:
        self._engine = engine
        self._files = files
        self._worker = worker
        self._directory = directory
        self._appendonly = appendonly
        self._soon = soon
        self._later = later
        self.slice_ns = SLICE_NS
        self._clients_seen = 0  # how often one came or asked
        self._quiet_slices = 0  # on end, in which no client came
        self.keys_a_step = KEYS_A_STEP
        self._guard = Guard(engine)
        self._snapshot: Snapshot | None = None
        self._steps: Iterator[None] | None = None
        self._attempts = 0
        self._path = ""  # of the file that is written, until it has its name
        self._handle = -1
        self._written = 0
        self._synced = 0
        self._waiting_bytes = 0  # handed to the worker and not written yet
        self._is_stalled = False  # until some of them are
        self._is_alone = False  # SAVE: nobody is served, nothing is handed over
        self._finish: Callable[[], None] = _nothing
        self.rewriting = Outcomes()
        self.saving = Outcomes()
        self.is_rewrite_scheduled = False
        self.is_save_scheduled = False
        self.last_save_ms = engine.started_ms
        self.saves = 0
        self._dirty_saved = 0
        self._dirty_moment = 0

    # -- what is asked for ---------------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        """Whether a snapshot is under way."""
        return self.rewriting.started_ns is not None or self.saving.started_ns is not None

    @property
    def is_rewriting(self) -> bool:
        """Whether the log is being rewritten."""
        return self.rewriting.started_ns is not None

    @property
    def is_saving(self) -> bool:
        """Whether a snapshot is being saved."""
        return self.saving.started_ns is not None

    @property
    def keys(self) -> tuple[int, int]:
        """Of the snapshot under way: how many keys are written, of how many."""
        snapshot = self._snapshot
        return (0, 0) if snapshot is None else (snapshot.keys_written, snapshot.keys_total)

    @property
    def changes(self) -> int:
        """Changes since the last snapshot that was saved."""
        return self._dirty() - self._dirty_saved

    def _dirty(self) -> int:
        return sum(database.dirty for database in self._engine.databases)

    def remove_leftovers(self) -> None:
        """Remove what saves that were cut short have left. OSError."""
        for name in self._files.names(self._directory):
            if name.startswith(_TEMPORARY):
                self._files.remove(os.path.join(self._directory, name))

    def _next_temporary(self) -> str:
        """A name of its own: what a failed save left is removed later, on the worker."""
        self._attempts += 1
        return os.path.join(self._directory, f"{_TEMPORARY}{self._attempts}.rdb")

    def saved_now(self) -> None:
        """What is in memory is what was loaded: nothing has changed since."""
        self._dirty_saved = self._dirty()

    def start_save(self) -> None:
        """Save a snapshot in the background. OSError where it can't begin."""
        assert not self.is_busy
        self.is_save_scheduled = False
        self.saving.started_ns = self._engine.clock.monotonic_ns()
        target = os.path.join(self._directory, self._engine.config.dbfilename)
        temporary = self._next_temporary()
        try:
            self._begin(temporary, for_redis_7=False)
        except OSError as error:
            self._fail(self.saving, "save a snapshot", error)
            raise
        self._finish = lambda: self._worker.run(
            self._completed(temporary, target, self._directory), self._on_saved
        )
        self._soon(self._pump)

    def save_now(self) -> None:
        """Save a snapshot before anything else happens; one under way is given up. OSError."""
        self.give_up()
        self.saving.started_ns = self._engine.clock.monotonic_ns()
        target = os.path.join(self._directory, self._engine.config.dbfilename)
        temporary = self._next_temporary()
        try:
            self._begin(temporary, for_redis_7=False)
            self._is_alone = True
            for _ in self._steps or ():
                pass
            self._steps = None
            self._end_snapshot()
            self._completed(temporary, target, self._directory)()
        except OSError as error:
            self._fail(self.saving, "save a snapshot", error)
            raise
        finally:
            self._is_alone = False
        self._on_saved(None)

    def start_rewrite(self) -> None:
        """Rewrite the log in the background."""
        appendonly = self._appendonly
        assert appendonly is not None
        assert not self.is_busy
        self.is_rewrite_scheduled = False
        self.rewriting.started_ns = self._engine.clock.monotonic_ns()
        next_file = appendonly.next_increment()
        self._worker.run(next_file.make, lambda error: self._on_ready(next_file, error))

    # -- rewriting -----------------------------------------------------------------------------

    def _on_ready(self, next_file: Any, error: OSError | None) -> None:
        appendonly = self._appendonly
        assert appendonly is not None
        if error is not None:
            self._fail(self.rewriting, "rewrite the log", error)
            return
        if not appendonly.switch_to(next_file):
            self._soon(lambda: self._on_ready(next_file, None))  # an fsync is under way
            return
        manifest = appendonly.manifest
        base = appendonly.manifest_file.base(manifest.last_sequence + 1)
        directory = appendonly.manifest_file.directory
        temporary = os.path.join(directory, f"temp-rewrite-{base.sequence}.rdb")
        try:
            self._begin(temporary, for_redis_7=True)
        except OSError as failure:
            self._fail(self.rewriting, "rewrite the log", failure)
            return
        rebased = manifest.rebased(base, kept=1)
        self._finish = lambda: self._complete_rewrite(temporary, base, rebased)
        self._soon(self._pump)

    def _complete_rewrite(self, temporary: str, base: LogFile, rebased: Manifest) -> None:
        appendonly = self._appendonly
        assert appendonly is not None
        manifest_file = appendonly.manifest_file
        complete = self._completed(
            temporary, manifest_file.path(base.name), manifest_file.directory
        )

        stored = rebased

        def work() -> None:
            nonlocal stored
            complete()
            manifest_file.store(rebased)
            # here, where nothing else can store a manifest meanwhile
            stored = appendonly.without_obsolete(rebased)

        def done(error: OSError | None) -> None:
            if error is not None:
                self._fail(self.rewriting, "rewrite the log", error)
                return
            appendonly.rebased(stored)
            self._succeed(self.rewriting)
            log.info("the log is rewritten: %s", base.name)

        self._worker.run(work, done)

    # -- the snapshot --------------------------------------------------------------------------

    def _begin(self, path: str, *, for_redis_7: bool) -> None:
        """The moment: from here on changes are kept apart."""
        engine, files = self._engine, self._files
        if files.exists(path):
            files.remove(path)
        self._path, self._handle = path, files.open_append(path)
        self._written = self._synced = self._waiting_bytes = 0
        self._is_stalled = False
        self._dirty_moment = self._dirty()
        writer = RdbWriter(self._write, for_redis_7=for_redis_7)
        clock = engine.clock
        wall_ns = clock.wall_ns()
        writer.start(
            {
                b"hotplate-ver": HOTPLATE_VERSION.encode(),
                b"ctime": b"%d" % (wall_ns // _SECOND_NS),
                MOMENT: b"%d" % wall_ns,
            }
        )
        moment = Moment(wall_ns // 1_000_000, clock.monotonic_ns())
        self._snapshot = Snapshot(engine.databases, engine.libraries.sources(), moment)
        self._snapshot.keys_a_step = self.keys_a_step
        self._guard.start(self._snapshot, self._journal())
        self._steps = self._snapshot.steps(writer)

    def _journal(self) -> Any:
        appendonly = self._appendonly
        if appendonly is None or not appendonly.recorder.is_on:
            return None
        return appendonly.journal

    def _write(self, data: bytes) -> None:
        """A piece of the file: the worker writes it, so that a busy disk stops nobody."""
        files, handle = self._files, self._handle
        if handle < 0:
            return  # it was given up
        self._written += len(data)
        syncs = self._written - self._synced >= _SYNC_BYTES
        if syncs:
            self._synced = self._written

        def work() -> None:
            write_all(files, handle, data)
            if syncs:
                files.sync(handle)

        if self._is_alone:
            work()
        else:
            self._waiting_bytes += len(data)
            self._worker.run(work, lambda error: self._on_written(handle, len(data), error))

    def _on_written(self, handle: int, size: int, error: OSError | None) -> None:
        if handle != self._handle or self._steps is None:
            return  # it was given up, or the last pieces came: then completing it tells
        self._waiting_bytes -= size
        if error is not None:
            outcomes = self.rewriting if self.is_rewriting else self.saving
            self._fail(outcomes, "write a snapshot", error)
        elif self._is_stalled and self._waiting_bytes <= _WAITING_BYTES_MAX:
            self._is_stalled = False
            self._soon(self._pump)

    def _pump(self) -> None:
        """One slice."""
        steps = self._steps
        if steps is None:
            return
        clock_ns = self._engine.clock.monotonic_ns
        stats = self._engine.stats
        seen = stats.commands_processed + stats.connections_received
        self._quiet_slices = self._quiet_slices + 1 if seen == self._clients_seen else 0
        self._clients_seen = seen
        slices = IDLE_SLICES if self._quiet_slices >= _IDLE_AFTER else 1
        until_ns = clock_ns() + self.slice_ns * slices
        try:
            for _ in steps:
                if self._steps is not steps:
                    return  # given up
                if self._waiting_bytes > _WAITING_BYTES_MAX:
                    self._is_stalled = True
                    return
                if clock_ns() >= until_ns:
                    (self._later if slices == 1 else self._soon)(self._pump)
                    return
        except OSError as error:
            outcomes = self.rewriting if self.is_rewriting else self.saving
            self._fail(outcomes, "write a snapshot", error)
            return
        if self._steps is not steps:
            return
        self._steps = None
        self._end_snapshot()
        self._finish()

    def _end_snapshot(self) -> None:
        self._guard.stop(self._journal())
        self._snapshot = None

    def _completed(self, temporary: str, target: str, directory: str) -> Callable[[], None]:
        """The work of making a written file the one that counts."""
        files, handle = self._files, self._handle

        size = self._written

        def work() -> None:
            try:
                files.sync(handle)
            finally:
                files.close(handle)
            if files.size(temporary) != size:
                raise OSError(errno.EIO, "a part of the snapshot is missing")
            files.replace(temporary, target)
            files.sync_directory(directory)

        return work

    def _on_saved(self, error: OSError | None) -> None:
        if error is not None:
            self._fail(self.saving, "save a snapshot", error)
            return
        self._succeed(self.saving)
        self.last_save_ms = self._engine.clock.now_ms()
        self.saves += 1
        self._dirty_saved = self._dirty_moment

    def _succeed(self, outcomes: Outcomes) -> None:
        now_ns = self._engine.clock.monotonic_ns()
        outcomes.seconds = outcomes.current_seconds(now_ns)
        outcomes.started_ns = outcomes.failed_ns = None
        self._path = ""
        outcomes.status = OK

    def _fail(self, outcomes: Outcomes, what: str, error: OSError) -> None:
        log.error("can't %s: %s", what, error.strerror or error)
        if self._snapshot is not None:
            self._snapshot.abandon()
            self._guard.stop(self._journal())
            self._snapshot = None
        handle = -1 if self._steps is None else self._handle
        self._steps, self._handle = None, -1
        self._worker.run(self._removal(handle), _on_removed)  # behind the writes under way
        now_ns = self._engine.clock.monotonic_ns()
        outcomes.seconds = outcomes.current_seconds(now_ns)
        outcomes.started_ns = None
        outcomes.failed_ns = now_ns
        outcomes.status = FAILED

    def _removal(self, handle: int) -> Callable[[], None]:
        """The work of removing a file that was begun: a full disk needs the room."""
        files, path = self._files, self._path
        self._path = ""

        def work() -> None:
            if handle >= 0:
                files.close(handle)
            if path and files.exists(path):
                files.remove(path)

        return work

    def give_up(self) -> None:
        """The server ends: what is under way is not finished."""
        if self._steps is not None:
            outcomes = self.rewriting if self.is_rewriting else self.saving
            self._fail(outcomes, "finish a snapshot", OSError(0, "the server ends"))

    # -- by itself -----------------------------------------------------------------------------

    def tick(self, now_ms: int) -> None:
        """Now and then: begin what is due."""
        if self.is_busy:
            return
        now_ns = self._engine.clock.monotonic_ns()
        if self._appendonly is not None and (
            self.is_rewrite_scheduled or self._needs_rewrite(self._appendonly, now_ns)
        ):
            self.start_rewrite()
        elif self.is_save_scheduled or self._needs_save(now_ms, now_ns):
            try:
                self.start_save()
            except OSError:
                return  # told, and tried again later

    def _needs_rewrite(self, appendonly: AppendOnly, now_ns: int) -> bool:
        if not appendonly.recorder.is_on or not self.rewriting.may_start(now_ns):
            return False
        if appendonly.log.is_distrusted:
            return True
        config = self._engine.config
        percentage = config.auto_aof_rewrite_percentage
        size = appendonly.size
        if not percentage or size < config.auto_aof_rewrite_min_size:
            return False
        return (size - appendonly.rewritten_size) * 100 >= percentage * max(
            appendonly.rewritten_size, 1
        )

    def _needs_save(self, now_ms: int, now_ns: int) -> bool:
        if not self.saving.may_start(now_ns):
            return False
        elapsed_ms = now_ms - self.last_save_ms
        changes = self.changes
        return any(
            changes >= count and elapsed_ms > seconds * 1000
            for seconds, count in self._engine.config.save
        )


def _on_removed(error: OSError | None) -> None:
    if error is not None:
        log.warning("can't remove an unfinished snapshot: %s", error.strerror or error)


def _nothing() -> None:
    """There is nothing to finish."""
