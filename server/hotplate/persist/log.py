"""The append-only log at work: groups to the file, the file to the disk, and what fails.

    journal ─► flush(): one write ─► (always) one fsync ─► settled(): replies may leave
                          │            on the worker, unless the disk is quick
                          └► (everysec, no) settled() at once; tick() sees to the fsync

A write that fails leaves the file as it was before (it is cut back), keeps the bytes, and is tried
again by `tick`; until it succeeds `failure` says why, and clients' writes are refused. An fsync
that fails is worse: what the kernel forgot then, nobody knows. From then on the file is not
trusted, and only a new one heals the log (`renew`).

What holds: whatever was settled is in the file (and with `always` on disk); a file's groups are
written only after the previous file was synced to its end.
"""

import logging
from collections.abc import Callable
from typing import Final, Protocol

from hotplate.persist.files import Files, write_all
from hotplate.persist.fsync import Worker
from hotplate.persist.group import group_header
from hotplate.persist.journal import Group, Journal

log = logging.getLogger("hotplate.persist")

ALWAYS: Final = "always"
EVERYSEC: Final = "everysec"
_SECOND_NS: Final = 1_000_000_000
# with `no` the kernel decides; asking as often as it does by itself costs nothing and tells what is
# on disk, which is what tells a power failure from damage
_LAZY_NS: Final = 30 * _SECOND_NS
_LATE_NS: Final = 2 * _SECOND_NS
# a disk that is so quick, so many times on end: handing the fsync over would cost more
_QUICK_NS: Final = 1_000_000
_QUICK_SYNCS: Final = 16


class Settings(Protocol):
    """The settings that the log reads."""

    appendfsync: str


class AppendLog:
    """One increment file that grows. Times are nanoseconds of the clock that never steps.

    `settled(takes)`: what the journal's first `takes` takes gave is as safe as the policy says.
    `failed(why)`: the log can't be written; None: it can again.
    """

    def __init__(
        self,
        files: Files,
        worker: Worker,
        journal: Journal,
        settings: Settings,
        *,
        monotonic_ns: Callable[[], int],
        settled: Callable[[int], None],
        failed: Callable[[str | None], None],
    ) -> None:
        self._files = files
        self._worker = worker
        self._journal = journal
        self._settings = settings
        self._monotonic_ns = monotonic_ns
        self._settled = settled
        self._failed = failed
        # the file
        self._path = ""
        self._handle = -1
        self._seed = 0
        self.size = 0
        self._synced = 0
        self._data_end = 0  # of the last group that is not empty
        self._marked_end = 0  # what an empty group told to be on disk
        self._size_before = 0  # of the file before, to be told in the first group
        self._unwritten = b""  # complete groups that a failed write left
        # the fsync under way, and how far it reaches
        self._syncing_since_ns: int | None = None
        self._syncing_to = 0
        self._synced_at_ns = 0
        self._unsettled = False  # written, with `always`, not synced yet
        self._quick_syncs = 0  # so many were quick since one was not
        self._syncing_takes = 0  # what the fsync under way settles
        self.synced_takes = 0  # so many takes of the journal are known to be on disk
        self.on_synced: Callable[[], object] = _nobody  # hears that they have become more
        # what INFO tells
        self.failure: str | None = None
        self.is_distrusted = False  # an fsync failed: nobody knows what is on disk
        self.delayed_fsyncs = 0
        self.writes = 0
        self.fsyncs = 0

    @property
    def is_syncing(self) -> bool:
        """Whether an fsync is under way."""
        return self._syncing_since_ns is not None

    @property
    def unwritten_bytes(self) -> int:
        """What waits for a write to succeed."""
        return len(self._unwritten)

    @property
    def synced_to_end(self) -> bool:
        """Whether all that is in the file, and in those before, is known to be on disk."""
        return self._synced >= self._data_end

    @property
    def is_settled(self) -> bool:
        """Whether all that was logged is as safe as the policy says."""
        return not (self._journal.is_pending or self._unwritten or self._unsettled)

    def take(self, handle: int, path: str, seed: int, size: int) -> None:
        """Write to a new file, which is on disk up to `size`; nothing may be pending."""
        self._take(path, handle, seed, size)
        self._synced = size

    def switch(self, handle: int, path: str, seed: int, size: int) -> bool:
        """Go on in a new file. False: not now, an fsync is under way or a write failed.

        The old file is synced meanwhile. Until it is, groups of the new one say that nothing was
        known to be on disk: what they say of their own file goes for those before it, too.
        """
        if self._syncing_since_ns is not None or self.failure is not None:
            return False
        self.flush()
        if self.is_syncing or not self.is_settled or self.failure is not None:
            return False
        old, files = self._handle, self._files
        self._handle = -1
        size_before = self.size
        self._take(path, handle, seed, size)
        self._synced = 0
        self._size_before = size_before
        self._syncing_since_ns = self._monotonic_ns()
        self._syncing_takes = self._journal.taken
        self._worker.run(lambda: files.sync(old), lambda error: self._on_left(old, size, error))
        return True

    def _on_left(self, old: int, size: int, error: OSError | None) -> None:
        """The old file is on disk."""
        self._files.close(old)
        self._syncing_since_ns = None
        if error is not None:
            self.is_distrusted = True
            self._fail(f"{error.strerror or error} (fsync)")
            return
        self._synced = size
        self._reached(self._syncing_takes)
        if self._journal.is_pending:
            self.flush()

    def renew(self, handle: int, path: str, seed: int, size: int) -> None:
        """Begin anew in a new file: a snapshot of this moment will stand for all that came before.

        Nothing is written until `heal`.
        """
        self._unwritten = b""
        if self._journal.is_pending:
            self._journal.take()
        self._take(path, handle, seed, size)
        self._synced = size
        self._unsettled = False
        self._syncing_since_ns = None

    def heal(self) -> None:
        """The snapshot is on disk, and what `renew` left behind with it."""
        self.is_distrusted = False
        takes = self._journal.taken
        self._heal()
        self._reached(takes)
        self._settled(takes)
        self.flush()

    def resume(self, path: str, seed: int, size: int) -> None:
        """Go on with a file that was read, up to `size`. OSError."""
        handle = self._files.open_append(path)
        if self._files.size(path) != size:
            self._files.truncate(handle, size)
        self._files.sync(handle)
        self._take(path, handle, seed, size)
        self._synced = size

    def _take(self, path: str, handle: int, seed: int, size: int) -> None:
        if self._handle >= 0:
            self._files.close(self._handle)
        self._path, self._handle, self._seed, self.size = path, handle, seed, size
        self._data_end = self._marked_end = size
        self._size_before = 0
        self._journal.begin_file()
        self._synced_at_ns = self._monotonic_ns()

    def flush(self) -> None:
        """Write all that is pending, in one go, and settle it as the policy says."""
        if self.is_distrusted or self.is_settled:
            return
        if self._syncing_since_ns is not None and self._settings.appendfsync == ALWAYS:
            return  # goes on with the next group when the fsync is done
        if not self._write():
            return
        if self._settings.appendfsync == ALWAYS and self._synced < self._data_end:
            self._unsettled = True
            self._sync()
        else:
            self._settled(self._journal.taken)

    def _write(self) -> bool:
        """Whether all is in the file."""
        data = self._unwritten + self._encode(len(self._unwritten))
        if data:
            try:
                write_all(self._files, self._handle, data)
            except OSError as error:
                self._unwritten = data
                self._cut_back()
                self._fail(f"{error.strerror or error} (write)")
                return False
            self.size += len(data)
            self._data_end = self.size
            self.writes += 1
            self._unwritten = b""
        if self.failure is not None and not self.is_distrusted:
            self._heal()
        return True

    def _encode(self, ahead: int) -> bytes:
        """The pending groups, to be written `ahead` bytes behind the end of the file."""
        if not self._journal.is_pending:
            return b""
        parts: list[bytes] = []
        offset = self.size + ahead
        groups = self._journal.take()
        if self._size_before:
            groups.insert(0, Group(0, self._size_before, b""))
            self._size_before = 0
        for group in groups:
            header = group_header(
                group.body,
                seed=self._seed,
                offset=offset,
                synced=self._synced,
                now_ms=group.now_ms,
                exact_ns=group.exact_ns,
            )
            parts += (header, group.body)
            offset += len(header) + len(group.body)
        return b"".join(parts)

    def _cut_back(self) -> None:
        """Remove what a failed write left."""
        try:
            self._files.truncate(self._handle, self.size)
        except OSError as error:
            # the groups that come later would stand behind a wrong one
            self.is_distrusted = True
            log.error("can't cut %s back to %d bytes: %s", self._path, self.size, error)

    def _fail(self, why: str) -> None:
        if self.failure is None:
            log.error("can't write to the append-only log: %s", why)
        self.failure = why
        self._failed(why)

    def _heal(self) -> None:
        log.info("the append-only log can be written again")
        self.failure = None
        self._failed(None)

    # -- to the disk ---------------------------------------------------------------------------

    def _sync(self) -> None:
        if self._syncing_since_ns is not None:
            return
        self._syncing_since_ns = self._monotonic_ns()
        self._syncing_to = self.size
        self._syncing_takes = self._journal.taken
        handle = self._handle
        if self._unsettled and self._quick_syncs >= _QUICK_SYNCS:
            error: OSError | None = None
            try:
                self._sync_timed(handle)
            except OSError as failure:
                error = failure
            self._on_synced(handle, error)
        else:
            self._worker.run(
                lambda: self._sync_timed(handle), lambda error: self._on_synced(handle, error)
            )

    def _sync_timed(self, handle: int) -> None:
        """(any thread) fsync, and see whether that is quick. OSError."""
        began_ns = self._monotonic_ns()
        self._files.sync(handle)
        is_quick = self._monotonic_ns() - began_ns < _QUICK_NS
        self._quick_syncs = self._quick_syncs + 1 if is_quick else 0

    def _on_synced(self, handle: int, error: OSError | None) -> None:
        if handle != self._handle:
            return  # the log was begun anew meanwhile
        self._syncing_since_ns = None
        if error is not None:
            self.is_distrusted = True
            self._fail(f"{error.strerror or error} (fsync)")
            return
        self.fsyncs += 1
        self._synced_at_ns = self._monotonic_ns()
        self._synced = max(self._synced, self._syncing_to)
        self._reached(self._syncing_takes)
        if self._unsettled and not self.is_distrusted and self._synced >= self._data_end:
            self._unsettled = False
            self._settled(self._syncing_takes)
            if self._journal.is_pending:
                self.flush()

    def _reached(self, takes: int) -> None:
        if takes > self.synced_takes:
            self.synced_takes = takes
            self.on_synced()

    def tick(self) -> None:
        """Now and then: fsync as the policy says, and try again what failed."""
        if self.failure is not None and not self.is_distrusted:
            self.flush()
        if self._handle < 0 or self.is_distrusted:
            return
        now_ns = self._monotonic_ns()
        if self._syncing_since_ns is not None:
            if now_ns - self._syncing_since_ns >= _LATE_NS:
                self.delayed_fsyncs += 1
                log.warning("an fsync takes long (disk is busy?): it may slow the server down")
                self._syncing_since_ns = now_ns
            return
        span_ns = _SECOND_NS if self._settings.appendfsync == EVERYSEC else _LAZY_NS
        if self._synced < self._data_end and now_ns - self._synced_at_ns >= span_ns:
            self._sync()
        elif self._synced >= self._data_end > self._marked_end and not self._journal.is_pending:
            self._mark()

    def _mark(self) -> None:
        """Write down that all is on disk, so that damage to it can be told from a lost tail."""
        self._marked_end = self._data_end
        header = group_header(
            b"", seed=self._seed, offset=self.size, synced=self._synced, now_ms=0, exact_ns=0
        )
        try:
            write_all(self._files, self._handle, header)
        except OSError as error:
            log.warning("can't mark the end of the append-only log: %s", error)
            self._cut_back()
        else:
            self.size += len(header)

    def finish(self) -> None:
        """Write and sync everything, and wait for it. OSError."""
        data = self._unwritten + self._encode(len(self._unwritten))
        if data:
            write_all(self._files, self._handle, data)
            self.size += len(data)
            self._data_end = self.size
            self._unwritten = b""
        self._files.sync(self._handle)
        self._synced = self.size
        self._unsettled = False
        if self._data_end > self._marked_end:
            self._mark()

    def close(self) -> None:
        """Give the file back."""
        if self._handle >= 0:
            self._files.close(self._handle)
            self._handle = -1


def _nobody() -> None:
    """Nobody asks what is on disk."""
