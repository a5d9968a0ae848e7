"""The system calls of the storages, each counted, any of them made to fail, to halt or to do half.

with FaultySystem() as system:      every call is counted, in order, over all kinds
    system.fail_at(7, errno.EIO)    the eighth call fails, whatever it is
    system.fail("pwrite", errno.EROFS)   all calls of one kind fail from now on
    system.cut = 100                pread and pwrite move at most so many bytes
    system.slow = clock.advance     called with the name of each call, before it
"""

import mmap
import os
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Self

import pytest

CALLS: Final = (
    "open",
    "pread",
    "preadv",
    "pwrite",
    "pwritev",
    "posix_fallocate",
    "ftruncate",
    "fsync",
    "fdatasync",
    "unlink",
    "rename",
    "mkdir",
    "rmdir",
    "mmap",
)


class FaultySystem:
    """A context manager that stands between the storages and the system."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.cut = 0
        self.slow: Callable[[str], None] = lambda _name: None
        self._failing: dict[str, int] = {}
        self._fail_at: tuple[int, int] | None = None
        self._patch = pytest.MonkeyPatch()

    def fail(self, name: str, number: int) -> None:
        """From now on every call of one kind fails."""
        assert name in CALLS
        self._failing[name] = number

    def fail_at(self, position: int, number: int) -> None:
        """The call at this position of all fails."""
        self._fail_at = position, number

    def heal(self) -> None:
        """Everything works again."""
        self._failing.clear()
        self._fail_at = None
        self.cut = 0

    def counted(self) -> Counter[str]:
        """How many calls of each kind there were."""
        return Counter(self.calls)

    def __enter__(self) -> Self:
        for name in CALLS:
            module = mmap if name == "mmap" else os
            self._patch.setattr(module, name, self._wrapped(name, getattr(module, name)))
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            position = len(self.calls)
            self.calls.append(name)
            self.slow(name)
            number = self._failing.get(name, 0)
            if self._fail_at is not None and self._fail_at[0] == position:
                number = self._fail_at[1]
            if number:
                raise OSError(number, os.strerror(number))
            if self.cut and name == "pwrite":
                return real(args[0], memoryview(args[1]).cast("B")[: self.cut], args[2])
            if self.cut and name == "pread":
                return real(args[0], min(args[1], self.cut), args[2])
            if name in ("fsync", "fdatasync"):
                return None  # nothing here loses power, and a test has no time for the device
            return real(*args, **kwargs)

        return call
