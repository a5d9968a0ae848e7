"""A directory whose writes are watched, and all that a loss of power may leave of it.

    create, write, cut, unlink ──► what a process sees
                 └─ fsync of a file: its content is safe; of the directory: its names are

with PowerWatch(directory) as watch:    calls of `os` on files there are counted, in order
    watch.stop_at = 7                   the seventh one is not made: Stopped
    watch.fail_at = 7, errno.EIO        the seventh one fails
    watch.short_at = 7                  if the seventh one writes, it takes half
for files in watch.outcomes(): ...      name -> content, each different

Of the writes that no fsync covered, any may be there without the others, the last one of them in
part; where one is missing before another, there are zeros. Names change in order.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Final, Self

import pytest

Files = dict[str, bytes]
_ALL_SUBSETS_OF: Final = 4  # so many writes; of more, some of their subsets are tried
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


class _Content:
    """One file: what is safe, and what was done since, as (offset, bytes) or (size, None)."""

    def __init__(self) -> None:
        self.safe = b""
        self.since: list[tuple[int, bytes | None]] = []

    def after(self, kept: Sequence[int], torn: bool) -> bytes:
        """With those of the changes; the last of them in half where `torn`."""
        data = bytearray(self.safe)
        for position in kept:
            offset, written = self.since[position]
            if written is None:
                del data[offset:]
                continue
            if torn and position == kept[-1]:
                written = written[: len(written) // 2]
            data += bytes(max(0, offset - len(data)))
            data[offset : offset + len(written)] = written
        return bytes(data)

    def outcomes(self) -> Iterator[bytes]:
        """All that may be found."""
        for kept in _subsets(len(self.since)):
            yield self.after(kept, torn=False)
            if kept:
                yield self.after(kept, torn=True)
        whole = self.after(range(len(self.since)), torn=False)
        if len(whole) > len(self.safe):  # it got its length, but none of its bytes
            yield self.safe + bytes(len(whole) - len(self.safe))


def _subsets(count: int) -> Iterator[Sequence[int]]:
    everything = range(count)
    if count <= _ALL_SUBSETS_OF:
        for size in range(count + 1):
            yield from combinations(everything, size)
        return
    for position in range(count + 1):
        yield everything[:position]
        yield everything[position:]
    for position in everything:
        yield [position]
        yield [other for other in everything if other != position]


def _outcomes(names: dict[str, _Content]) -> Iterator[Files]:
    """One file in all its ways, the others with all that was written, or with nothing."""
    if not names:
        yield {}
    kept = {name: file.after(range(len(file.since)), torn=False) for name, file in names.items()}
    lost = {name: file.safe for name, file in names.items()}
    for name, file in names.items():
        for data in file.outcomes():
            yield kept | {name: data}
            yield lost | {name: data}


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
        self._names: dict[str, _Content] = {}
        self._safe_names: dict[str, _Content] = {}
        self._history: list[dict[str, _Content]] = []  # of names, since they were safe

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
        seen: set[frozenset[tuple[str, bytes]]] = set()
        for names in (self._safe_names, *self._history):
            for files in _outcomes(names):
                key = frozenset(files.items())
                if key not in seen:
                    seen.add(key)
                    yield files

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
            self._names[name] = _Content()
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
        self._names[name].since.append((offset, taken))
        return real(file, taken, offset)

    def _sync(self, real: Callable[..., None], file: int) -> None:
        name = self._open.get(file)
        if name is None:
            real(file)
            return
        self._count(f"sync {name or 'names'}")
        if name:
            content = self._names[name]
            content.safe = content.after(range(len(content.since)), torn=False)
            content.since.clear()
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
            self._names[name].since.append((size, None))
        real(path, size)

    def _close(self, real: Callable[..., None], file: int) -> None:
        self._open.pop(file, None)
        real(file)
