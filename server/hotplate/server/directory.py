"""The server's directories: `--dir`, locked to one server, and what is derived from it."""

import fcntl
import hashlib
import os
from pathlib import Path
from typing import Final

LOCK_NAME: Final = "hotplate.lock"
SHARED_MEMORY: Final = Path("/dev/shm")


class DirectoryError(Exception):
    """The directory can't be used; the text names it and says why."""


class WorkingDirectory:
    """`--dir`, created if missing, locked while this object is open."""

    def __init__(self, path: str) -> None:
        self.path = Path(path).resolve()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(
                self.path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640
            )
        except OSError as error:
            raise DirectoryError(
                f"can't use directory {path}: {error.strerror or error}"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise DirectoryError(
                f"directory {self.path} is in use by another server: each needs its own --dir"
            ) from error

    @property
    def run_name(self) -> str:
        """A name for this directory's shared memory: its own, and the same after a restart."""
        return hashlib.sha256(str(self.path).encode()).hexdigest()[:12]

    def close(self) -> None:
        """Let another server have it."""
        os.close(self._lock)


def default_memory_bytes() -> int:
    """A quarter of RAM, at most half of what shared memory has free."""
    ram = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(ram // 4, free_bytes(SHARED_MEMORY) // 2)


def default_ssd_bytes(path: Path) -> int:
    """A tenth of the free disk."""
    return free_bytes(path) // 10


def default_index_bytes() -> int:
    """A quarter of RAM."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4


def free_bytes(path: Path) -> int:
    """What an unprivileged process may still write there."""
    figures = os.statvfs(path)
    return figures.f_bavail * figures.f_frsize
