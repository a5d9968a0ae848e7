"""What a check finds, and how a damaged end is cut off."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Finding:
    """Something that is wrong: bytes of a file from `offset` on. `repair` says what it did."""

    path: Path
    offset: int
    size: int
    what: str
    repair: Callable[[], str] | None = None

    def __str__(self) -> str:
        return f"{self.path}: {self.what} (at byte {self.offset}, {self.size} bytes)"


@dataclass(slots=True)
class Report:
    """What was looked at, and what was found."""

    sound: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def cut_off(path: Path, offset: int) -> str:
    """Let a file end at `offset`; what is cut off is kept beside it. OSError."""
    size = path.stat().st_size
    kept = path.with_name(f"{path.name}.cut-at-{offset}")
    number = 1
    while kept.exists():
        number += 1
        kept = path.with_name(f"{path.name}.cut-at-{offset}.{number}")
    with path.open("rb") as source, kept.open("xb") as target:
        source.seek(offset)
        shutil.copyfileobj(source, target)
        target.flush()
        os.fsync(target.fileno())
    os.truncate(path, offset)
    for synced in (path, path.parent):
        descriptor = os.open(synced, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return f"{size - offset} bytes were cut off, and are kept in {kept.name}"
