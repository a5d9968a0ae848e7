"""The files of the KV cache's journal (FORMAT-KVC.md): reading, writing, rolling, dropping.

    read ──► begin ──► append ... roll ──► append ... drop_before
                          └─ a write that fails is kept, and tried again before the next

It knows no operation but `ba` and `en`, no cache and no clock. One thread appends; `sync` may run
on another. Reading raises JournalError for damage, which says file and offset; a torn end of the
last file is no damage: it is cut off and told in `torn`.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Any, Final

from xxhash import xxh3_64_intdigest

from hotplate.wire.journal import BadOperationsError, pack_operations, unpack_operations

VERSION: Final = 1
MAGIC: Final = b"HOTPJRNL"
_HEAD: Final = Struct("<8sII16s")
_SUM: Final = Struct("<Q")
_RECORD: Final = Struct("<IIQ")
_LENGTH: Final = Struct("<QI")
HEAD_BYTES: Final = _HEAD.size + _SUM.size
_NAME: Final = "{:016x}.journal"
_READ_BYTES: Final = 1 << 20
_RECORD_BYTES_MAX: Final = 1 << 31


class JournalError(ValueError):
    """A journal that cannot be read: where, and what is wrong."""

    def __init__(self, path: Path, offset: int, what: str, number: int = 0) -> None:
        super().__init__(f"{path}: {what} at byte {offset}")
        self.path = path
        self.offset = offset
        self.what = what
        self.number = number  # of the record


class JournalVersionError(JournalError):
    """A journal of a newer version."""


@dataclass(frozen=True, slots=True)
class Torn:
    """The end of the last file, which was not written whole."""

    path: Path
    offset: int
    size: int


def boot_id() -> bytes:
    """Which run of the system this is: 16 bytes; zeros where it does not say."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return bytes.fromhex(text.replace("-", ""))
    except (OSError, ValueError):
        return bytes(16)


def files_of(directory: Path) -> list[tuple[int, Path]]:
    """The journal's files by number. JournalError where one is missing."""
    found = sorted(directory.glob("*.journal")) if directory.is_dir() else []
    numbered: list[tuple[int, Path]] = []
    for path in found:
        try:
            number = int(path.stem, 16)
        except ValueError:
            number = -1
        if path.name != _NAME.format(number):
            raise JournalError(path, 0, "no name of a journal's file")
        if numbered and number != numbered[-1][0] + 1:
            missing = _NAME.format(numbered[-1][0] + 1)
            raise JournalError(path, 0, f"the file before it, {missing}, is missing")
        numbered.append((number, path))
    return numbered


def remove_journal(directory: Path) -> bool:
    """Remove a journal that is not to be read again; whether there was one. OSError."""
    numbered = files_of(directory)
    for _, path in reversed(numbered):  # what an interruption leaves can be read
        path.unlink()
    return bool(numbered)


def read_file(path: Path) -> Iterator[tuple[int, list[list[Any]]]]:
    """The records of a file: where each ends, and its operations; first the header, without any.

    JournalError where a record is not whole, or not what was written.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        _check_head(path, file.read(HEAD_BYTES))
        at, number = HEAD_BYTES, 0
        yield at, []
        data, base = b"", at
        while at < size:
            if at + _RECORD.size - base > len(data):
                data, base = data[at - base :] + file.read(_READ_BYTES), at
            if at + _RECORD.size - base > len(data):
                raise JournalError(path, at, f"{size - at} bytes that are no whole record", number)
            length, checked, expected = _RECORD.unpack_from(data, at - base)
            start = at + _RECORD.size
            if checked != _check_of(number, length):
                raise JournalError(path, at, "a record whose length does not fit its sum", number)
            if length > _RECORD_BYTES_MAX or start + length > size:
                what = f"a record of {length} bytes, of which {size - start} are there,"
                raise JournalError(path, at, what, number)
            if start + length - base > len(data):
                wanted = start + length - base - len(data)
                data, base = data[at - base :] + file.read(max(wanted, _READ_BYTES)), at
            payload = data[start - base : start - base + length]
            if _sum_of(number, payload) != expected:
                raise JournalError(path, at, f"a record of {length} bytes with another sum", number)
            try:
                operations = unpack_operations(payload)
            except BadOperationsError as error:
                raise JournalError(path, at, str(error), number) from error
            at, number = start + length, number + 1
            yield at, operations


def _check_of(number: int, length: int) -> int:
    return xxh3_64_intdigest(_LENGTH.pack(number, length)) & 0xFFFFFFFF


def _sum_of(number: int, payload: bytes) -> int:
    return xxh3_64_intdigest(_SUM.pack(number) + payload)


def _check_head(path: Path, head: bytes) -> bytes:
    """The boot id in a file's header."""
    if len(head) < HEAD_BYTES:
        raise JournalError(path, 0, f"a header of {len(head)} bytes")
    magic, version, _, boot = _HEAD.unpack_from(head)
    if magic != MAGIC:
        raise JournalError(path, 0, "another magic")
    if version > VERSION:
        raise JournalVersionError(path, 8, f"version {version}, newer than {VERSION},")
    if xxh3_64_intdigest(head[: _HEAD.size]) != _SUM.unpack_from(head, _HEAD.size)[0]:
        raise JournalError(path, 0, "a header with another sum")
    return bytes(boot)


class JournalFiles:
    """The journal in a directory."""

    __slots__ = (
        "_directory",
        "_end",
        "_file",
        "_pending",
        "_records",
        "_sizes",
        "_write",
        "boot",
        "clean",
        "torn",
        "trouble",
    )

    def __init__(
        self, directory: Path, *, write: Callable[[int, bytes, int], int] = os.pwrite
    ) -> None:
        self._directory = directory
        self._write = write
        self._file: int | None = None
        self._end = 0  # of what is written whole
        self._records = 0
        self._pending: list[bytes] = []
        self._sizes: dict[int, int] = {}  # of all files, by number
        self.torn: Torn | None = None
        self.clean = False  # the server before ended as it should
        self.boot: bytes | None = None  # of the last file that was read
        self.trouble: str | None = None  # why the last write failed

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(self._sizes.values()) + self._end

    @property
    def files(self) -> int:
        """How many there are."""
        return len(self._sizes) + (self._file is not None)

    @property
    def number(self) -> int:
        """Of the file that is written to."""
        return max(self._sizes, default=0) + 1

    def read(self) -> Iterator[list[list[Any]]]:
        """All records, oldest first, each with its operations. Cuts off a torn end."""
        files = files_of(self._directory)
        base = 1
        for number, path in files:
            is_last = number == files[-1][0]
            end = 0
            try:
                for reached, operations in read_file(path):
                    end = reached
                    if operations:
                        base = max(base, _base_of(operations))
                        self.clean = operations[-1][0] == "en"
                        yield operations
            except JournalVersionError:
                raise
            except JournalError as error:
                if not is_last or not _is_torn(error):
                    raise
                self._cut_off(path, end)
                self.clean = False
            if path.exists():
                self._sizes[number] = path.stat().st_size
                with path.open("rb") as file:
                    self.boot = _check_head(path, file.read(HEAD_BYTES))
        if files and files[0][0] > base:
            raise JournalError(files[0][1], 0, "the files before it are missing")

    def _cut_off(self, path: Path, end: int) -> None:
        """Remove what was torn, and the file if that is all of it."""
        self.torn = Torn(path, end, path.stat().st_size - end)
        if end == 0:
            path.unlink()
        else:
            os.truncate(path, end)
        self._sync_directory()

    def begin(self) -> None:
        """Begin a file; the one before is complete. OSError."""
        number = self.number
        if self._file is not None:
            self._flush_or_raise()
            os.fdatasync(self._file)
            os.close(self._file)
            self._sizes[number], self._file = self._end, None
            number += 1
        elif self._sizes:  # what an earlier server wrote last, before anything follows it
            _sync_file(self._directory / _NAME.format(number - 1))
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._directory / _NAME.format(number)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o640)
        head = _HEAD.pack(MAGIC, VERSION, 0, boot_id())
        self._records = self._end = 0
        self._pending.append(head + _SUM.pack(xxh3_64_intdigest(head)))
        self._flush_or_raise()
        self._sync_directory()

    def append(self, operations: list[list[Any]]) -> None:
        """One record. It is in the file when this returns, unless `trouble` says why not."""
        payload = pack_operations(operations)
        number = self._records
        checked = _check_of(number, len(payload))
        head = _RECORD.pack(len(payload), checked, _sum_of(number, payload))
        self._records += 1
        self._pending.append(head + payload)
        self.flush()

    def flush(self) -> bool:
        """Write what could not be written before; whether all is."""
        try:
            self._flush_or_raise()
        except OSError as error:
            self.trouble = error.strerror or str(error)
            return False
        self.trouble = None
        return True

    def _flush_or_raise(self) -> None:
        assert self._file is not None
        while self._pending:
            data = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
            done = 0
            while done < len(data):  # a part that was written is written again after an error
                done += self._write(self._file, data[done:], self._end + done)
            self._end += len(data)
            self._pending.clear()

    def sync(self) -> None:
        """(any thread) Let what is written be safe from a loss of power. OSError."""
        file = self._file
        if file is not None:
            os.fdatasync(file)

    def drop_before(self, number: int) -> None:
        """Remove the files before that number, oldest first. OSError."""
        for old in sorted(self._sizes):
            if old < number:
                (self._directory / _NAME.format(old)).unlink()
                self._sync_directory()
                del self._sizes[old]

    def _sync_directory(self) -> None:
        _sync_file(self._directory)

    def close(self) -> None:
        """Write the rest and close. OSError."""
        if self._file is not None:
            try:
                self._flush_or_raise()
                os.fdatasync(self._file)
            finally:
                os.close(self._file)
                self._file = None


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _base_of(operations: list[list[Any]]) -> int:
    return max((operation[1] for operation in operations if operation[0] == "ba"), default=1)


def _is_torn(error: JournalError) -> bool:
    """Whether nothing follows the damage: then the last write did not get through."""
    size = error.path.stat().st_size
    if error.offset < HEAD_BYTES:
        return size < HEAD_BYTES
    with error.path.open("rb") as file:
        file.seek(error.offset)
        rest = file.read(_RECORD.size)
        if len(rest) < _RECORD.size:
            return True
        length, checked, _ = _RECORD.unpack(rest)
        known = checked == _check_of(error.number, length)
        if known:
            return int(error.offset + _RECORD.size + length) >= size
        # a file may have got its length, but not its bytes: zeros up to the end
        return not any(rest) and not any(file.read().strip(b"\0"))
