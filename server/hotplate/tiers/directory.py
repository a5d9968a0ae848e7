"""A storage's directory: locked to one server, swept at the start, with the generation's bound.

Owns the file names, the modes, the `lock` file and the making and removing of segment files. Knows
nothing of slots. FORMAT.md says what the files hold.

Invariants: a name is used once (it is the generation counter at the file's birth); no generation
is handed out that is not below the bound in the lock file; foreign files are never touched.
"""

import errno
import fcntl
import os
import re
import struct
import sys
from contextlib import ExitStack
from typing import Final

from xxhash import xxh3_64_intdigest

from hotplate.wire.segment import MAGIC

FILE_MODE: Final = 0o660
DIRECTORY_MODE: Final = 0o770
LOCK_NAME: Final = "lock"
PROBE_NAME: Final = "probe"  # while it is there, a storage that failed is being tried
GENERATION_LEAP: Final = 1 << 20  # of the bound: one small write per million reservations
GENERATION_MAX: Final = (1 << 53) - 1  # a double holds it, whatever language reads the URI
GENERATIONS_PER_SECOND: Final = 1 << 20  # what no storage reaches: a reservation takes over 1 us

_SEGMENT_NAME: Final = re.compile(r"[0-9a-f]{16}\.segment")
_PROBE_BYTES: Final = 4096
_BOUND: Final = struct.Struct("<QQ")


class StoreOpenError(ValueError):
    """A storage cannot be opened as asked; the text names the value and what is there."""


class DirectoryGoneError(OSError):
    """The storage's directory is not there any more, or is another one."""


class SegmentFile:
    """An open segment file. The descriptor closes with its last user.

    A thread may be reading while the event loop drops the segment: were the descriptor closed by
    hand, its number could be another file's by the time of the read.
    """

    __slots__ = ("birth", "descriptor", "file_bytes", "name", "path")

    def __init__(self, path: str, name: str, descriptor: int, birth: int, file_bytes: int) -> None:
        self.path = path
        self.name = name
        self.descriptor = descriptor
        self.birth = birth
        self.file_bytes = file_bytes

    def __del__(self) -> None:
        os.close(self.descriptor)


class Directory:
    """One storage's directory, locked. `close` gives it back.

    Opening sweeps segment files that an earlier server left: `removed_files`, `removed_bytes`; with
    `keep` only those without a header, and the others are `kept`. `is_new` says that the directory
    was not there before. No generation that was ever given is above `given_max`.
    """

    __slots__ = (
        "_bound",
        "_descriptor",
        "_generation",
        "_lock_descriptor",
        "_unsynced",
        "given_max",
        "is_new",
        "kept",
        "path",
        "removed_bytes",
        "removed_files",
    )

    def __init__(self, path: str, now_ms: int, *, keep: bool = False) -> None:
        self.path = os.path.abspath(path)
        self.kept: list[SegmentFile] = []
        self._unsynced: set[int] = set()  # births of files whose names may not be durable
        with ExitStack() as undo:
            try:
                self.is_new = _make_directory(self.path)
                self._descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                undo.callback(os.close, self._descriptor)
                self._lock_descriptor = _lock(self.path)
                undo.callback(os.close, self._lock_descriptor)
                self.removed_files, self.removed_bytes = self._sweep(keep=keep)
                by_clock = now_ms // 1000 * GENERATIONS_PER_SECOND
                earlier = _read_bound(self._lock_descriptor)
                self.given_max = earlier or GENERATION_MAX
                self._bound = max(earlier, by_clock)
                self._generation = self._bound
                self._raise_bound()
            except OSError as error:
                raise StoreOpenError(f"cannot use directory '{path}': {error.strerror}") from error
            undo.pop_all()

    @property
    def free_bytes(self) -> int:
        """What the file system has left for us."""
        figures = os.fstatvfs(self._descriptor)
        if not figures.f_blocks:
            return sys.maxsize  # a tmpfs without a limit says 0 of 0
        return figures.f_bavail * figures.f_frsize

    def skip_generations(self, seen: int) -> None:
        """Give no generation up to `seen`. It is in a file, though neither bound nor clock says so
        if the lock file was lost and the clock went back."""
        if seen > self._generation:
            self._generation = self._bound = seen
            self._raise_bound()

    def next_generation(self) -> int:
        """A value that was never given before, here or before a restart."""
        generation = self._generation + 1
        if generation >= self._bound:
            self._raise_bound()
        self._generation = generation
        return generation

    def next_generations(self, count: int) -> int:
        """The first of `count` values in a row that were never given before."""
        first = self._generation + 1
        while first + count >= self._bound:
            self._raise_bound()
        self._generation = first + count - 1
        return first

    def create(self, birth: int, file_bytes: int) -> SegmentFile:
        """(any thread) Make a segment file of zeros, all of its space allocated.

        `birth` is a generation of its own. Space that is missing later would be a SIGBUS in a
        mapping; so it is OSError here, and then no file is left behind.
        """
        name = f"{birth:016x}.segment"
        path = os.path.join(self.path, name)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        file = SegmentFile(path, name, os.open(path, flags, FILE_MODE), birth, file_bytes)
        try:
            os.fchmod(file.descriptor, FILE_MODE)  # whatever the umask is
            os.posix_fallocate(file.descriptor, 0, file_bytes)
        except BaseException:
            os.unlink(path)
            raise
        self._unsynced.add(birth)
        return file

    def remove(self, file: SegmentFile) -> None:
        """Unlink the file; who has it open or mapped keeps it."""
        self._unsynced.discard(file.birth)
        try:
            os.unlink(file.path)
        except FileNotFoundError:
            return  # someone else removed it: what was asked for is so

    def is_there(self) -> bool:
        """(any thread) Whether the path still names this directory. Raises OSError."""
        return _is_same_file(self._descriptor, self.path)

    def has(self, file: SegmentFile) -> bool:
        """(any thread) Whether the file is in its place and as long as it was. Raises OSError."""
        try:
            found = os.stat(file.path)
        except FileNotFoundError:
            return False
        same = os.path.samestat(found, os.fstat(file.descriptor))
        return same and found.st_size == file.file_bytes

    def probe(self, need_bytes: int) -> None:
        """(any thread) Write, sync, read and remove a small file. OSError if any of it fails."""
        if self.free_bytes < need_bytes:
            raise OSError(errno.ENOSPC, f"{self.free_bytes} bytes are free, need {need_bytes}")
        path = os.path.join(self.path, PROBE_NAME)
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, FILE_MODE)
        try:
            content = os.urandom(_PROBE_BYTES)
            written = os.pwrite(descriptor, content, 0)
            os.fsync(descriptor)
            if written != len(content) or os.pread(descriptor, _PROBE_BYTES, 0) != content:
                raise OSError(errno.EIO, "a file does not hold what was written to it")
        finally:
            os.close(descriptor)
            os.unlink(path)

    def reopen(self) -> bool:
        """Lock the directory anew after it vanished; whether it is the one that we had.

        That is told by the bound in its lock file: something that was mounted there is mounted
        again. Else an empty directory is made. OSError if that cannot be, and where a mount is
        missing: what is at the path then is another place.
        """
        device = os.fstat(self._descriptor).st_dev
        _make_directory(self.path)
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            is_same = _bound_in(self.path) == self._bound
            if not is_same and os.fstat(descriptor).st_dev != device:
                raise OSError(errno.EXDEV, f"{self.path} is on another file system than before")
            lock_descriptor = _lock(self.path)
        except StoreOpenError as error:
            os.close(descriptor)
            raise OSError(errno.EBUSY, str(error)) from error
        except OSError:
            os.close(descriptor)
            raise
        for old in (self._descriptor, self._lock_descriptor):
            os.close(old)
        self._descriptor, self._lock_descriptor = descriptor, lock_descriptor
        self._unsynced.clear()
        self._raise_bound()
        return is_same

    def sync(self) -> None:
        """(any thread) Make the names of new files durable."""
        births = tuple(self._unsynced)
        if births:
            os.fsync(self._descriptor)
            # Only now: until it is done, another thread's sync must not find nothing to do.
            self._unsynced.difference_update(births)

    def close(self, *, remove: bool) -> None:
        """Give up the lock. With `remove` all files go, and the directory if it holds no others.

        OSError if files cannot be removed; the lock is given up nevertheless.
        """
        try:
            if remove and self.is_there():
                self._sweep(keep=False)
                os.unlink(os.path.join(self.path, LOCK_NAME))
                _remove_if_empty(self.path)
        finally:
            os.close(self._lock_descriptor)
            os.close(self._descriptor)

    def _raise_bound(self) -> None:
        bound = self._bound + GENERATION_LEAP
        encoded = bound.to_bytes(8, "little")
        record = _BOUND.pack(bound, xxh3_64_intdigest(encoded))
        written = os.pwrite(self._lock_descriptor, record, 0)
        if written != len(record):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._bound = bound

    def _sweep(self, *, keep: bool) -> tuple[int, int]:
        """Remove all segment files, or open those with a header: how many went, how many bytes."""
        file_count = total_bytes = 0
        with os.scandir(self.path) as entries:
            ours = sorted(entry.name for entry in entries if _is_regular_segment(entry))
        for name in ours:
            path = os.path.join(self.path, name)
            start = _read_start(path)
            if keep and start == MAGIC:
                self.kept.append(_open_existing(path, name))
            elif start == MAGIC or not start.strip(b"\0"):
                total_bytes += os.stat(path).st_size
                os.unlink(path)
                file_count += 1
        return file_count, total_bytes


def _make_directory(path: str) -> bool:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        os.mkdir(path, DIRECTORY_MODE)
    except FileExistsError:
        return False  # its mode stays; whether it is a directory shows when it is opened
    os.chmod(path, DIRECTORY_MODE)  # whatever the umask is
    return True


def _remove_if_empty(path: str) -> None:
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _lock(path: str) -> int:
    lock_path = os.path.join(path, LOCK_NAME)
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(lock_path, flags, FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_same_file(descriptor, lock_path):
                return descriptor
        except BlockingIOError as error:
            os.close(descriptor)
            raise StoreOpenError(f"directory '{path}' is in use by another server") from error
        except BaseException:
            os.close(descriptor)
            raise
        # The server before us removed the file after we had opened it: lock the one that is there.
        os.close(descriptor)


def _is_same_file(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _read_bound(descriptor: int) -> int:
    record = os.pread(descriptor, _BOUND.size, 0)
    if len(record) != _BOUND.size:
        return 0
    bound: int
    bound, found = _BOUND.unpack(record)
    return bound if found == xxh3_64_intdigest(record[:8]) else 0


def _bound_in(path: str) -> int:
    """The bound in a directory's lock file, 0 where there is none."""
    try:
        descriptor = os.open(os.path.join(path, LOCK_NAME), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        return _read_bound(descriptor)
    finally:
        os.close(descriptor)


def _is_regular_segment(entry: os.DirEntry[str]) -> bool:
    return bool(_SEGMENT_NAME.fullmatch(entry.name)) and entry.is_file(follow_symlinks=False)


def _read_start(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return os.pread(descriptor, len(MAGIC), 0)
    finally:
        os.close(descriptor)


def _open_existing(path: str, name: str) -> SegmentFile:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    birth = int(name.partition(".")[0], 16)
    return SegmentFile(path, name, descriptor, birth, os.fstat(descriptor).st_size)
