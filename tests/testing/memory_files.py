"""A file system in memory that can fail, stop, and forget what was not synced.

    write ──► volatile content of a file ──sync──► durable content
    names ──► volatile directory ──sync_directory──► durable directory

Every operation that changes something is counted. One of them can be made to fail with an error,
to take only part of what it is given, or to be the last one before the power fails (`Stopped`).
`after_kill` is what a process finds that follows one killed there: all that was written.
`outcomes` are what a machine may find after the power failed (tests.testing.unsynced).
"""

import errno
import os
from collections.abc import Iterator

from tests.testing.unsynced import Content, Files, after_power_failure


class Stopped(BaseException):
    """The process, or the machine, stops here."""


class Inode:
    """A file: its content, and what of it is on disk."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self.disk = Content(data)


class MemoryFiles:
    """Implements persist.files.Files."""

    def __init__(self) -> None:
        self.inodes: dict[str, Inode] = {}
        self.directories: set[str] = set()
        self.history: list[dict[str, Inode]] = []  # of names, since the last sync of the directory
        self.durable_names: dict[str, Inode] = {}
        self.handles: dict[int, Inode] = {}
        self._next_handle = 3
        self.operations = 0
        self.log: list[str] = []
        self.stop_at: int | None = None
        self.fail_at: dict[int, OSError] = {}
        self.short_at: int | None = None
        self.failing: OSError | None = None  # every operation, until it is None again
        self.failing_writes: OSError | None = None  # a full disk: writes, and no others

    # -- faults --------------------------------------------------------------------------------

    def _count(self, what: str) -> int:
        self.operations += 1
        self.log.append(what)
        if self.operations == self.stop_at:
            raise Stopped
        error = self.fail_at.pop(self.operations, None) or self.failing
        if error is not None:
            raise error
        return self.operations

    def after_kill(self) -> "MemoryFiles":
        """What the next process finds."""
        found = MemoryFiles()
        found.directories = set(self.directories)
        for path, inode in self.inodes.items():
            found.inodes[path] = Inode(bytes(inode.data))
        found.durable_names = dict(found.inodes)
        return found

    def outcomes(self) -> Iterator[Files]:
        """What may be found if the power fails now, each outcome once."""
        ways = [self.durable_names, *self.history]
        disks = [{path: inode.disk for path, inode in names.items()} for names in ways]
        return after_power_failure(disks)

    def found(self, files: Files) -> "MemoryFiles":
        """What the machine finds, one of the outcomes."""
        found = MemoryFiles()
        found.directories = set(self.directories)
        found.inodes = {path: Inode(data) for path, data in files.items()}
        found.durable_names = dict(found.inodes)
        return found

    def _named(self) -> None:
        self.history.append(dict(self.inodes))

    # -- Files ---------------------------------------------------------------------------------

    def make_directory(self, path: str) -> None:
        self._count(f"mkdir {path}")
        self.directories.add(path)

    def names(self, directory: str) -> list[str]:
        prefix = directory + "/"
        return sorted(path[len(prefix) :] for path in self.inodes if path.startswith(prefix))

    def exists(self, path: str) -> bool:
        return path in self.inodes or path in self.directories

    def size(self, path: str) -> int:
        return len(self._inode(path).data)

    def open_append(self, path: str) -> int:
        self._count(f"open {path}")
        if path not in self.inodes:
            self.inodes[path] = Inode()
            self._named()
        self._next_handle += 1
        self.handles[self._next_handle] = self.inodes[path]
        return self._next_handle

    def write(self, handle: int, data: bytes) -> int:
        number = self._count(f"write {len(data)}")
        if self.failing_writes is not None:
            raise self.failing_writes
        taken = len(data) // 2 if number == self.short_at else len(data)
        inode = self.handles[handle]
        inode.disk.write(len(inode.data), data[:taken])
        inode.data += data[:taken]
        return taken

    def sync(self, handle: int) -> None:
        self._count("sync")
        self.handles[handle].disk.sync()

    def truncate(self, handle: int, size: int) -> None:
        self._count(f"truncate {size}")
        inode = self.handles[handle]
        assert size <= len(inode.data)
        inode.disk.cut(size)
        del inode.data[size:]

    def close(self, handle: int) -> None:
        del self.handles[handle]

    def read(self, path: str, offset: int, size: int) -> bytes:
        return bytes(self._inode(path).data[offset : offset + size])

    def replace(self, source: str, destination: str) -> None:
        self._count(f"rename {source}")
        self._inode(source)
        self.inodes[destination] = self.inodes.pop(source)
        self._named()

    def remove(self, path: str) -> None:
        self._count(f"remove {path}")
        self._inode(path)
        del self.inodes[path]
        self._named()

    def sync_directory(self, path: str) -> None:
        self._count(f"sync {path}")
        self.durable_names = dict(self.inodes)
        self.history.clear()

    def _inode(self, path: str) -> Inode:
        if path not in self.inodes:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return self.inodes[path]
