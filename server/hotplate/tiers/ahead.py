"""Segment files made before they are needed, on a thread: a request need not wait for that.

Making a file of 64 MiB of shared memory takes 30 milliseconds of processor time. One is kept; up to
AHEAD_MAX once they were found to be used up faster than they are made.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hotplate.tiers.directory import Directory, SegmentFile
from hotplate.tiers.segment import Backing, Medium

AHEAD_MAX: Final = 4


@dataclass(frozen=True, slots=True)
class Blank:
    """A file made ahead, with no layout yet."""

    file: SegmentFile
    backing: Backing


class FilesAhead:
    """Of one storage. All but the jobs on one thread."""

    __slots__ = (
        "_blanks",
        "_closed",
        "_directory",
        "_making_bytes",
        "_medium",
        "_wanted",
        "blank_bytes",
        "failed",
    )

    def __init__(self, directory: Directory, medium: Medium) -> None:
        self._directory = directory
        self._medium = medium
        self._blanks: list[Blank] = []
        self._making_bytes = 0
        self._wanted = 1
        self._closed = False
        self.blank_bytes = 0
        self.failed = False  # none is begun until a file could be made elsewhere

    @property
    def held_bytes(self) -> int:
        """What the files take, one that is being made included."""
        return self.blank_bytes + self._making_bytes

    def begin(self, size: int) -> Callable[[], Blank] | None:
        """The job of making a file of `size` bytes; None if there are enough, or one is out."""
        if len(self._blanks) >= self._wanted or self._making_bytes or self.failed:
            return None
        birth = self._directory.next_generation()
        self._making_bytes = size

        def make() -> Blank:
            file = self._directory.create(birth, size)
            try:
                return Blank(file, self._medium.open_warm(file))
            except BaseException:
                self._directory.remove(file)
                raise
            finally:
                if self._closed:  # meanwhile, and perhaps swept before this file was there
                    self._directory.remove(file)

        return make

    def finish(self, result: Blank | Exception) -> None:
        """Take what the job answered.

        After an OSError none is begun until `failed` is cleared: if the storage is failing, the
        next reservation is where it shows. Any other exception is raised again.
        """
        self._making_bytes = 0
        if self._closed:
            return
        if isinstance(result, Blank):
            self._blanks.append(result)
            self.blank_bytes += result.file.file_bytes
            return
        self.failed = True
        if not isinstance(result, OSError):
            raise result

    def take(self, file_bytes: int) -> Blank | None:
        """A file that is large enough and not far too large."""
        for number, blank in enumerate(self._blanks):
            if file_bytes <= blank.file.file_bytes <= 2 * file_bytes:
                del self._blanks[number]
                self.blank_bytes -= blank.file.file_bytes
                return blank
        if file_bytes <= self._making_bytes:
            self._wanted = min(self._wanted + 1, AHEAD_MAX)  # it comes too late
        return None

    def drop(self) -> bool:
        """Remove a file that nobody took; whether there was one. Raises OSError."""
        if not self._blanks:
            return False
        blank = self._blanks.pop()
        self.blank_bytes -= blank.file.file_bytes
        self._directory.remove(blank.file)
        return True

    def close(self, *, remove: bool) -> None:
        """Let go of all; with `remove` each file is removed here."""
        self._closed = True
        while remove and self.drop():
            pass
        self._blanks.clear()
        self.blank_bytes = 0
