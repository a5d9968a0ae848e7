"""A directory whose writes are watched, and all that a loss of power may leave of it.

    create, write, cut, unlink ──► what a process sees
                 └─ fsync of a file: its content is safe; of the directory: its names are

with PowerWatch(directory) as watch:    calls of `os` on files there are counted, in order
    watch.stop_at = 7                   the seventh one is not made: Stopped
    watch.fail_at = 7, errno.EIO        the seventh one fails
    watch.short_at = 7                  if the seventh one writes, it takes half
for files in watch.outcomes(): ...      name -> content, each different
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Self

import pytest
from tests.testing.unsynced import Content, Files, after_power_failure

_WATCHED: Final = {
    "open": "_open_file",
    "pwrite": "_pwrite",
    "fdatasync": "_sync",
    "fsync": "_sync",
    "unlink": "_unlink",
    "truncate": "_truncate",
    "close": "_close",
}


class Stopped(BaseException):
    """The power fails here."""


class PowerWatch:
    """A context manager that stands between a directory and the system."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.calls: list[str] = []
        self.stop_at: int | None = None
        self.fail_at: tuple[int, int] | None = None
        self.short_at: int | None = None
        self._patch = pytest.MonkeyPatch()
        self._open: dict[int, str] = {}  # descriptor -> name; empty: the directory itself
        self._names: dict[str, Content] = {}
        self._safe_names: dict[str, Content] = {}
        self._history: list[dict[str, Content]] = []  # of names, since they were safe

    def __enter__(self) -> Self:
        for name in _WATCHED:
            self._patch.setattr(
                os, name, self._wrapped(getattr(self, _WATCHED[name]), getattr(os, name))
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()

    def outcomes(self) -> Iterator[Files]:
        """What may be found if the power fails now, each outcome once."""
        return after_power_failure([self._safe_names, *self._history])

    def _wrapped(self, watched: Callable[..., Any], real: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: watched(real, *args, **kwargs)

    def _count(self, what: str) -> None:
        self.calls.append(what)
        number = len(self.calls)
        if number == self.stop_at:
            raise Stopped
        if self.fail_at is not None and number == self.fail_at[0]:
            raise OSError(self.fail_at[1], os.strerror(self.fail_at[1]))

    def _name(self, path: Any) -> str | None:
        """The name of a file in the directory; empty: the directory itself; None: elsewhere."""
        path = Path(path)
        if path == self.directory:
            return ""
        return path.name if path.parent == self.directory else None

    def _open_file(self, real: Callable[..., int], path: Any, flags: int, mode: int = 0o777) -> int:
        name = self._name(path)
        creates = name and flags & os.O_CREAT and name not in self._names
        if creates:
            self._count(f"create {name}")
        descriptor = real(path, flags, mode)
        if name is not None:
            self._open[descriptor] = name
        if creates and name:
            self._names[name] = Content()
            self._history.append(dict(self._names))
        return descriptor

    def _pwrite(self, real: Callable[..., int], file: int, data: Any, offset: int) -> int:
        name = self._open.get(file)
        if not name:
            return real(file, data, offset)
        self._count(f"write {name}")
        taken = bytes(data)
        if len(self.calls) == self.short_at:
            taken = taken[: len(taken) // 2]
        self._names[name].write(offset, taken)
        return real(file, taken, offset)

    def _sync(self, real: Callable[..., None], file: int) -> None:
        name = self._open.get(file)
        if name is None:
            real(file)
            return
        self._count(f"sync {name or 'names'}")
        if name:
            self._names[name].sync()
        else:
            self._safe_names = dict(self._names)
            self._history.clear()

    def _unlink(self, real: Callable[..., None], path: Any) -> None:
        name = self._name(path)
        if name in self._names:
            self._count(f"unlink {name}")
            del self._names[name]
            self._history.append(dict(self._names))
        real(path)

    def _truncate(self, real: Callable[..., None], path: Any, size: int) -> None:
        name = self._name(path)
        if name in self._names:
            self._count(f"truncate {name}")
            self._names[name].cut(size)
        real(path, size)

    def _close(self, real: Callable[..., None], file: int) -> None:
        self._open.pop(file, None)
        real(file)
