"""Keeps the KV cache's journal: restores the cache from it, writes on, compacts it in slices.

    restore ──► begin ──► tick: try again, sync, one slice of a compaction ──► close: all once more

A compaction is due when the files are twice as large as what the last one wrote, and some more.
It begins a file, writes down everything there is slice by slice, and then drops the files before.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hotplate.kvc.cache import Cache
from hotplate.kvc.journal import Journal, Operation, everything
from hotplate.kvc.restore import OpenStore, Restored, Restorer
from hotplate.persist.kvc_journal import JournalFiles, boot_id
from hotplate.tiers.io import FileIo

log = logging.getLogger("hotplate.kvc")

_SLACK_BYTES: Final = 64 * 1024 * 1024  # a journal no larger is left alone
_FILES_MAX: Final = 8  # each start begins one
_SLICE_BYTES: Final = 256 * 1024  # of a compaction, in one tick
_SYNC_MS: Final = 1000
_REPORT_MS: Final = 60_000


class JournalKeeper:
    """The journal of one server."""

    def __init__(self, cache: Cache, directory: Path, io: FileIo) -> None:
        self._cache = cache
        self._io = io
        self._files = JournalFiles(directory)
        self._journal = Journal(self._append)
        self._journal.sync = self._files.sync
        self._compaction: Iterator[list[Operation]] | None = None
        self._base = 0  # the file that the compaction began
        self._base_bytes = 0  # what the last compaction wrote
        self._unsynced = False
        self._syncing = False
        self._may_roll = False  # little is unsynced: beginning a file does not take long
        self._sync_again = False
        self._told_all = False  # a compaction is written, and waits to be safe
        self._synced_ms = 0
        self._reported_ms: int | None = None

    def restore(self, open_store: OpenStore, now_ms: int) -> bool:
        """Rebuild the cache; False where there is no journal. JournalError, RestoreError, OSError,
        and what `open_store` raises."""
        files = self._files
        restorer = Restorer(self._cache, open_store)
        found = False
        for operations in files.read():
            found = True
            for operation in operations:
                restorer.apply(operation)
        if files.torn is not None:
            torn = files.torn
            log.warning(
                "%s: %d bytes at byte %d were not written whole: cut off",
                *(torn.path, torn.size, torn.offset),
            )
        if found:
            self._report(restorer.settle(now_ms))
        return found

    def _report(self, restored: Restored) -> None:
        lines = [f"{restored.blocks} blocks and {restored.sessions} write sessions are back"]
        if restored.lost_blocks:
            lines.append(f"{restored.lost_blocks} blocks whose bytes are gone were dropped")
        if restored.lost_sessions:
            lines.append(f"{restored.lost_sessions} write sessions could not be opened again")
        if self._files.boot not in (None, boot_id()):
            lines.append("the system was started anew: what was in memory is gone")
        if restored.blocks or len(lines) > 1:
            level = logging.WARNING if len(lines) > 1 else logging.INFO
            log.log(level, "KV cache: %s", "; ".join(lines))

    def begin(self) -> None:
        """Write from now on. OSError."""
        self._files.begin()
        first = self._files.number == 1
        self._cache.keep_journal(self._journal)
        if first:
            self._append(next(everything(self._cache)))

    def _append(self, operations: list[Operation]) -> None:
        self._files.append(operations)
        self._journal.trouble = self._files.trouble
        self._unsynced = True

    def tick(self, now_ms: int) -> bool:
        """What is due; whether there is more to do at once."""
        files = self._files
        if files.trouble is not None:
            files.flush()
            self._journal.trouble = files.trouble
            if files.trouble is not None:
                self._complain(files.trouble, now_ms)
                return False
        if self._unsynced and not self._syncing and now_ms - self._synced_ms >= _SYNC_MS:
            self._sync(now_ms)
        try:
            return self._compact(now_ms)
        except OSError as error:
            self._complain(error.strerror or str(error), now_ms)
            self._compaction = None
            return False

    def _sync(self, now_ms: int) -> None:
        self._synced_ms = now_ms
        self._unsynced, self._syncing = False, True
        try:
            self._io.submit(self._files.sync, done=lambda result: self._synced(result, now_ms))
        except OSError as error:
            self._synced(error, now_ms)

    def _synced(self, result: Exception | None, now_ms: int) -> None:
        self._syncing = False
        if result is not None:
            self._unsynced = True
            self._complain(str(result), now_ms)
            return
        if self._files.is_open:
            self._files.flush()  # writes down how far it is on disk
            self._journal.trouble = self._files.trouble
        if self._sync_again:
            self._sync_again = False
            self._sync(now_ms)
        else:
            self._may_roll = True

    def _complain(self, what: str, now_ms: int) -> None:
        before_ms = self._reported_ms
        if before_ms is None or now_ms - before_ms >= _REPORT_MS:
            self._reported_ms = now_ms
            log.error("the KV cache's journal cannot be written: %s", what)

    def _compact(self, now_ms: int) -> bool:
        """A slice of a compaction, if one is due or under way. Files are synced on a thread."""
        files = self._files
        self._journal.commit()  # what calls that only read let end
        if self._told_all:
            if self._may_roll and not self._syncing:
                self._told_all = False
                files.drop_before(self._base)
            return False
        if self._compaction is None:
            limit = 2 * self._base_bytes + _SLACK_BYTES
            if files.size_bytes < limit and files.files < _FILES_MAX:
                return False
            if self._syncing:
                return False
            if not self._may_roll:
                self._sync_now(now_ms)
                return False
            files.begin()
            self._base, self._base_bytes = files.number, 0
            self._compaction = everything(self._cache)
        size_bytes = files.size_bytes
        for operations in self._compaction:
            if operations:
                self._append(operations)
            if files.size_bytes - size_bytes >= _SLICE_BYTES:
                self._base_bytes += files.size_bytes - size_bytes
                return True
        self._base_bytes += files.size_bytes - size_bytes
        self._compaction = None
        self._append([["ba", self._base]])
        self._told_all = True
        self._sync_now(now_ms)
        return False

    def _sync_now(self, now_ms: int) -> None:
        """Sync; `_may_roll` is True once that is done."""
        self._may_roll = False
        self._sync_again = self._syncing  # what is under way began before
        if not self._syncing:
            self._sync(now_ms)

    def close(self) -> None:
        """Write everything once more, so that the next start is quick, and end."""
        self._journal.commit()
        files = self._files
        try:
            files.begin()
            number = files.number
            for operations in everything(self._cache):
                if operations:
                    files.append(operations)
            files.append([["ba", number], ["en"]])
            files.close()
            files.drop_before(number)
        except OSError as error:
            log.error("the KV cache's journal cannot be written: %s", error.strerror or error)
