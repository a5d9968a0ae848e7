"""The file system as the log uses it: few operations, so that tests can put faults in each.

Everything raises OSError. Paths are strings. `write` may take less than it is given, as the system
call does; `write_all` goes on until all is taken.
"""

import os
from typing import Final, Protocol

_READ_BYTES: Final = 1024 * 1024


class Files(Protocol):
    """What the log needs of a file system."""

    def make_directory(self, path: str) -> None: ...
    def names(self, directory: str) -> list[str]: ...
    def exists(self, path: str) -> bool: ...
    def size(self, path: str) -> int: ...
    def open_append(self, path: str) -> int: ...
    def write(self, handle: int, data: bytes) -> int: ...
    def sync(self, handle: int) -> None: ...
    def truncate(self, handle: int, size: int) -> None: ...
    def close(self, handle: int) -> None: ...
    def read(self, path: str, offset: int, size: int) -> bytes: ...
    def replace(self, source: str, destination: str) -> None: ...
    def remove(self, path: str) -> None: ...
    def sync_directory(self, path: str) -> None: ...


class SystemFiles:
    """The operating system's."""

    __slots__ = ()

    def make_directory(self, path: str) -> None:
        """Make a directory, unless it is there."""
        os.makedirs(path, exist_ok=True)

    def names(self, directory: str) -> list[str]:
        """What a directory holds, in order of names."""
        return sorted(os.listdir(directory))

    def exists(self, path: str) -> bool:
        """Whether there is such a file or directory."""
        return os.path.exists(path)

    def size(self, path: str) -> int:
        """Bytes of a file."""
        return os.stat(path).st_size

    def open_append(self, path: str) -> int:
        """Open for writing behind what is there; made if missing."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)

    def write(self, handle: int, data: bytes) -> int:
        """Append; how many bytes were taken."""
        return os.write(handle, data)

    def sync(self, handle: int) -> None:
        """Return when all that was written is on disk."""
        os.fdatasync(handle)

    def truncate(self, handle: int, size: int) -> None:
        """Cut the file off at `size`."""
        os.ftruncate(handle, size)

    def close(self, handle: int) -> None:
        """Give the handle back."""
        os.close(handle)

    def read(self, path: str, offset: int, size: int) -> bytes:
        """Bytes from `offset` on: `size`, or fewer at the end of the file."""
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            pieces: list[bytes] = []
            while size > 0:
                piece = os.pread(handle, min(size, _READ_BYTES * 64), offset)
                if not piece:
                    break
                pieces.append(piece)
                offset += len(piece)
                size -= len(piece)
            return b"".join(pieces)
        finally:
            os.close(handle)

    def replace(self, source: str, destination: str) -> None:
        """Rename over what is there, at once."""
        os.replace(source, destination)

    def remove(self, path: str) -> None:
        """Remove a file."""
        os.unlink(path)

    def sync_directory(self, path: str) -> None:
        """Return when the names in a directory are on disk."""
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_all(files: Files, handle: int, data: bytes) -> None:
    """Append all of `data`. After an OSError some of it may be there."""
    taken = files.write(handle, data)
    while taken < len(data):
        data = data[taken:]
        taken = files.write(handle, data)
