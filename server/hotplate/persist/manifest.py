"""The manifest: which files of the log count, in order (FORMAT-LOG.md).

    load ─► Manifest(base, increments, obsolete) ─► changed copies ─► store

A Manifest never changes; storing one is what makes it so. Names in it are plain file names of the
log's directory.
"""

import os
import re
from dataclasses import dataclass, replace
from typing import Final

from hotplate.persist.files import Files, write_all

_LINE: Final = re.compile(r'file (?:"((?:[^"\\]|\\.)*)"|(\S+)) seq ([0-9]+) type ([bih])\s*')
_ESCAPE: Final = re.compile(r"\\(x[0-9a-fA-F]{2}|.)")
_CONTROLS: Final = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b"}


class ManifestError(Exception):
    """The manifest can't be read; the text names the line."""


@dataclass(frozen=True, slots=True)
class LogFile:
    """One file of the log."""

    name: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files that make up the log. Loading reads the base, then the increments in order."""

    base: LogFile | None = None
    increments: tuple[LogFile, ...] = ()
    obsolete: tuple[LogFile, ...] = ()

    def text(self) -> bytes:
        """The file's content."""
        rows = [(self.base, "b")] if self.base is not None else []
        rows += [(file, "h") for file in self.obsolete]
        rows += [(file, "i") for file in self.increments]
        return "".join(
            f"file {_quoted(file.name)} seq {file.sequence} type {kind}\n"
            for file, kind in rows
            if file is not None
        ).encode()

    def with_increment(self, file: LogFile) -> "Manifest":
        """One increment more, the last."""
        return replace(self, increments=(*self.increments, file))

    def rebased(self, base: LogFile, kept: int) -> "Manifest":
        """A new base that stands for all increments but the last `kept`."""
        split = len(self.increments) - kept
        gone = (*self.obsolete, *self.increments[:split])
        if self.base is not None:
            gone = (self.base, *gone)
        return Manifest(base, self.increments[split:], gone)

    def up_to(self, last: LogFile) -> "Manifest":
        """Without the increments behind `last`."""
        split = self.increments.index(last) + 1
        gone = (*self.obsolete, *self.increments[split:])
        return replace(self, increments=self.increments[:split], obsolete=gone)

    def without_obsolete(self) -> "Manifest":
        """The same, once the obsolete files are removed."""
        return replace(self, obsolete=())

    @property
    def last_sequence(self) -> int:
        """The highest number in use."""
        files = [*self.increments, *self.obsolete]
        if self.base is not None:
            files.append(self.base)
        return max((file.sequence for file in files), default=0)


def _quoted(name: str) -> str:
    if re.fullmatch(r"[!#-\[\]-~]+", name):
        return name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _unquoted(text: str) -> str:
    def plain(match: re.Match[str]) -> str:
        escape = match[1]
        return chr(int(escape[1:], 16)) if len(escape) == 3 else _CONTROLS.get(escape, escape)

    return _ESCAPE.sub(plain, text)


def parse_manifest(data: bytes) -> Manifest:
    """What a manifest says. ManifestError names the line that can't be."""
    base: LogFile | None = None
    increments: list[LogFile] = []
    obsolete: list[LogFile] = []
    for number, line in enumerate(data.decode(errors="surrogateescape").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        name = "" if match is None else match[2] or _unquoted(match[1] or "")
        if match is None or not name or os.path.basename(name) != name:
            raise ManifestError(f"line {number} is not the manifest of a log: {line[:80]!r}")
        file = LogFile(name, int(match[3]))
        if match[4] == "b":
            if base is not None:
                raise ManifestError(f"line {number} names a second base file: {name}")
            base = file
        elif match[4] == "i":
            if increments and file.sequence <= increments[-1].sequence:
                raise ManifestError(f"line {number}: the increments are not in order: {name}")
            increments.append(file)
        else:
            obsolete.append(file)
    return Manifest(base, tuple(increments), tuple(obsolete))


class ManifestFile:
    """The manifest on disk, and the names of the log's files."""

    def __init__(self, files: Files, directory: str, prefix: str) -> None:
        self._files = files
        self.directory = directory
        self._prefix = prefix
        self._path = os.path.join(directory, f"{prefix}.manifest")

    def path(self, name: str) -> str:
        """Where a file of the log lies."""
        return os.path.join(self.directory, name)

    def increment(self, sequence: int) -> LogFile:
        """The increment of that number."""
        return LogFile(f"{self._prefix}.{sequence}.incr.aof", sequence)

    def base(self, sequence: int) -> LogFile:
        """The base of that number."""
        return LogFile(f"{self._prefix}.{sequence}.base.rdb", sequence)

    def exists(self) -> bool:
        """Whether there is a manifest."""
        return self._files.exists(self._path)

    def load(self) -> Manifest | None:
        """What is on disk; None: there is no log. ManifestError, OSError."""
        if not self._files.exists(self._path):
            return None
        data = self._files.read(self._path, 0, self._files.size(self._path))
        manifest = parse_manifest(data)
        if manifest.base is None and not manifest.increments:
            raise ManifestError("the manifest names no file to read")
        return manifest

    def store(self, manifest: Manifest) -> None:
        """Make `manifest` what counts, at once and for good. OSError: the old one still does."""
        files = self._files
        temporary = self.path(f"temp-{self._prefix}.manifest")
        if files.exists(temporary):
            files.remove(temporary)
        handle = files.open_append(temporary)
        try:
            write_all(files, handle, manifest.text())
            files.sync(handle)
        finally:
            files.close(handle)
        files.replace(temporary, self._path)
        files.sync_directory(self.directory)
