"""The files of the KV cache's journal (FORMAT-KVC.md): reading, writing, rolling, dropping.

    read ──► begin ──► append ... roll ──► append ... drop_before
                          └─ a write that fails is kept, and tried again before the next

It knows no operation but `ba` and `en`, no cache and no clock. One thread appends; `sync` may run
on another. Reading raises JournalError for damage, which says file and offset; a torn end of the
last file is no damage: it is cut off and told in `torn`. After a kill that is the last record;
after a loss of power all that was not known to be on disk, for the system writes in any order. How
far it was known stands behind the header, in two marks that are written in turn.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Any, Final

from xxhash import xxh3_64_intdigest

from hotplate.wire.journal import BadOperationsError, pack_operations, unpack_operations

VERSION: Final = 2
MAGIC: Final = b"HOTPJRNL"
_HEAD: Final = Struct("<8sII16s")
_SUM: Final = Struct("<Q")
_RECORD: Final = Struct("<IIQ")
_LENGTH: Final = Struct("<QI")
_MARK: Final = Struct("<QQ")
_MARKS_AT: Final = _HEAD.size + _SUM.size
_MARKS: Final = 2
HEAD_BYTES: Final = _MARKS_AT + _MARKS * _MARK.size
_HEAD_BYTES_1: Final = _MARKS_AT  # version 1 has no marks
_NAME: Final = "{:016x}.journal"
_BASE: Final = b"\x92\xa2ba"  # how the operation `ba` begins in a record
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


def base_of(files: list[tuple[int, Path]]) -> int:
    """The file that the last `ba` names, with which reading begins; 1 where there is none.

    Damage is left to reading: what stands behind it does not count here either.
    """
    if len(files) == 1:
        return files[0][0]  # as nearly always: it is read once
    for _, path in reversed(files):
        base = 0
        with suppress(JournalError):
            for end, number, payload in _payloads(path):
                if _BASE in payload:
                    operations = _unpack(path, payload, end, number)
                    named = (op[1] for op in operations if op[0] == "ba")
                    base = max(named, default=base)
        if base:
            return base
    return 1


def read_file(path: Path) -> Iterator[tuple[int, list[list[Any]]]]:
    """The records of a file: where each ends, and its operations; first the header, without any.

    JournalError where a record is not whole, or not what was written.
    """
    for end, number, payload in _payloads(path):
        yield end, [] if number < 0 else _unpack(path, payload, end, number)


def _payloads(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Where each record of a file ends, its number, its bytes; first the header, as number -1."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = _check_head(path, file.read(HEAD_BYTES))
        if not head.lost_power:
            head.check_marks(path)
        at, number = head.size, 0
        file.seek(at)
        yield at, -1, b""
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
            at = start + length
            yield at, number, payload
            number += 1


def _unpack(path: Path, payload: bytes, end: int, number: int) -> list[list[Any]]:
    try:
        return unpack_operations(payload)
    except BadOperationsError as error:
        at = end - len(payload) - _RECORD.size
        raise JournalError(path, at, str(error), number) from error


def _check_of(number: int, length: int) -> int:
    return xxh3_64_intdigest(_LENGTH.pack(number, length)) & 0xFFFFFFFF


def _sum_of(number: int, payload: bytes) -> int:
    return xxh3_64_intdigest(_SUM.pack(number) + payload)


class _Head:
    """What stands before the records of a file."""

    __slots__ = ("boot", "marks", "size")

    def __init__(self, data: bytes, version: int, boot: bytes) -> None:
        self.boot = boot
        self.size = HEAD_BYTES if version > 1 else _HEAD_BYTES_1
        self.marks = [_MARK.unpack_from(data, at) for at in range(_MARKS_AT, self.size, _MARK.size)]

    @property
    def lost_power(self) -> bool:
        """Whether the file may lack what was written last: the system was started anew since."""
        return self.boot != boot_id() or not any(self.boot)

    def known(self) -> int:
        """The file was known to be on disk up to here, at the least."""
        ends = [end for end, expected in self.marks if expected == _mark_sum(end)]
        return max(ends, default=self.size)

    def check_marks(self, path: Path) -> None:
        """JournalError for one that is damaged."""
        for slot, (end, expected) in enumerate(self.marks):
            if (end or expected) and expected != _mark_sum(end):
                raise JournalError(path, _MARKS_AT + slot * _MARK.size, "a mark with another sum")


def _mark_sum(end: int) -> int:
    return xxh3_64_intdigest(_SUM.pack(end), seed=1)


def _check_head(path: Path, data: bytes) -> _Head:
    """The header of a file. JournalError, JournalVersionError."""
    if len(data) < _HEAD_BYTES_1:
        raise JournalError(path, 0, f"a header of {len(data)} bytes")
    magic, version, _, boot = _HEAD.unpack_from(data)
    if magic != MAGIC:
        raise JournalError(path, 0, "another magic")
    if version > VERSION:
        raise JournalVersionError(path, 8, f"version {version}, newer than {VERSION},")
    if xxh3_64_intdigest(data[: _HEAD.size]) != _SUM.unpack_from(data, _HEAD.size)[0]:
        raise JournalError(path, 0, "a header with another sum")
    if version > 1 and len(data) < HEAD_BYTES:
        raise JournalError(path, 0, f"a header of {len(data)} bytes")
    return _Head(data, version, bytes(boot))


class JournalFiles:
    """The journal in a directory."""

    __slots__ = (
        "_directory",
        "_end",
        "_file",
        "_known",
        "_lock",
        "_marked",
        "_next_mark",
        "_pending",
        "_records",
        "_sizes",
        "_write",
        "boot",
        "clean",
        "number",
        "torn",
        "trouble",
    )

    def __init__(
        self, directory: Path, *, write: Callable[[int, bytes, int], int] | None = None
    ) -> None:
        self._directory = directory
        self._write = write or os.pwrite
        self._lock = threading.Lock()  # which file is written to does not change in a sync
        self._file: int | None = None
        self._end = 0  # of what is written whole
        self._known = 0  # up to here it is on disk
        self._marked = 0  # and this is what the marks say
        self._next_mark = 0
        self._records = 0
        self._pending: list[bytes] = []
        self._sizes: dict[int, int] = {}  # of the files before, by number
        self.number = 0  # of the file that is written to; before that, of the last there is
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

    def read(self) -> Iterator[list[list[Any]]]:
        """All records from the base on, oldest first, each with its operations.

        Cuts off a torn end. Files before the base are left from a removal that was cut short: they
        may depend on files that are gone, and are not read.
        """
        files = files_of(self._directory)
        base = base_of(files)
        for number, path in files:
            if number < base:
                self._sizes[number] = path.stat().st_size  # to be dropped with the next ones
                continue
            is_last = number == files[-1][0]
            end = 0
            try:
                for reached, operations in read_file(path):
                    end = reached
                    if operations:
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
                self.number = number
                self._sizes[number] = path.stat().st_size
                with path.open("rb") as file:
                    self.boot = _check_head(path, file.read(HEAD_BYTES)).boot
        if files and files[0][0] > base:
            raise JournalError(files[0][1], 0, "the files before it are missing")

    def _cut_off(self, path: Path, end: int) -> None:
        """Remove what was torn, and the file if that is all of it."""
        self.torn = Torn(path, end, path.stat().st_size - end)
        if end == 0:
            path.unlink()
        else:
            os.truncate(path, end)
            _sync_file(path)
        self._sync_directory()

    @property
    def is_open(self) -> bool:
        """Whether there is a file to write to."""
        return self._file is not None

    def begin(self) -> None:
        """Begin a file; the one before is complete. OSError: then that one goes on."""
        number = self.number + 1
        if self._file is not None:
            self._flush_or_raise()
            os.fdatasync(self._file)
        elif self._sizes:  # what an earlier server wrote last, before anything follows it
            _sync_file(self._directory / _NAME.format(self.number))
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._directory / _NAME.format(number)
        # a file that is there was begun in vain, and could not be removed
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        file = os.open(path, flags, 0o640)
        try:
            head = _HEAD.pack(MAGIC, VERSION, 0, boot_id())
            head += _SUM.pack(xxh3_64_intdigest(head)) + bytes(HEAD_BYTES - _MARKS_AT)
            self._write_at(file, head, 0)
            os.fdatasync(file)
            self._sync_directory()
        except OSError:
            os.close(file)
            with suppress(OSError):  # the caller hears of the first one
                path.unlink()
                self._sync_directory()
            raise
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._sizes[self.number] = self._end
            self._file, self.number = file, number
            self._end = self._known = self._marked = HEAD_BYTES
        self._records = 0

    def _write_at(self, file: int, data: bytes, offset: int) -> None:
        """Write all of it; a part that was written before an error is written again."""
        done = 0
        while done < len(data):
            done += self._write(file, data[done:], offset + done)

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
        """Write what could not be written before, and how far it is on disk; whether all is."""
        try:
            self._flush_or_raise()
        except OSError as error:
            self.trouble = error.strerror or str(error)
            return False
        self.trouble = None
        return True

    def _flush_or_raise(self) -> None:
        assert self._file is not None
        if self._pending:
            data = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
            self._write_at(self._file, data, self._end)
            self._end += len(data)
            self._pending.clear()
        if self._known > self._marked:  # over the older mark
            known = self._known
            self._next_mark = (self._next_mark + 1) % _MARKS
            at = _MARKS_AT + self._next_mark * _MARK.size
            self._write_at(self._file, _MARK.pack(known, _mark_sum(known)), at)
            self._marked = known

    def sync(self) -> None:
        """(any thread) Let what is written be safe from a loss of power. OSError."""
        with self._lock:
            end = self._end
            if self._file is not None:
                os.fdatasync(self._file)
                self._known = max(self._known, end)

    def drop_before(self, number: int) -> None:
        """Remove the files before that number, oldest first. OSError."""
        for old in sorted(self._sizes):
            if old < number:
                (self._directory / _NAME.format(old)).unlink(missing_ok=True)  # tried before
                self._sync_directory()
                del self._sizes[old]

    def _sync_directory(self) -> None:
        _sync_file(self._directory)

    def close(self) -> None:
        """Write the rest and close. OSError."""
        if self._file is not None:
            try:
                self._flush_or_raise()
                self.sync()
                self._flush_or_raise()  # the mark
                self.sync()
            finally:
                os.close(self._file)
                self._file = None


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_torn(error: JournalError) -> bool:
    """Whether the damage is what a kill or a loss of power leaves."""
    size = error.path.stat().st_size
    with error.path.open("rb") as file:
        data = file.read(HEAD_BYTES)
        try:
            head = _check_head(error.path, data)
        except JournalError:
            return size <= HEAD_BYTES  # there is no record
        if error.offset < head.size:
            return size == head.size
        if head.lost_power and head.marks:
            return error.offset >= head.known()
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
