"""Snapshots, read piece by piece: ours, and those of Redis and Valkey (FORMAT.md).

`RdbReader(read).records()` gives what is in the file in order. Runs of plain strings come together
(`Strings`), for they are most of what there is. What was given is not known to be undamaged before
the last record was: the caller serves nothing of it earlier. Whatever the bytes are, the outcome is
records or RdbFileError, which knows the offset. Databases and clocks are not known here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Final, TypeAlias

from xxhash import xxh3_64

from hotplate.keyspace.crc64 import crc64
from hotplate.keyspace.rdb import Plain, PlainHash, UnreadableTypeError, read_value
from hotplate.keyspace.rdb_bytes import Cursor, RdbError
from hotplate.keyspace.rdb_module import MODULE_ID, read_rest
from hotplate.persist import rdb_fields

READ_BYTES: Final = 1024 * 1024
RUN_MAX: Final = 4096  # strings in one record
_AHEAD_BYTES: Final = 48 * 1024  # more than two short strings and what is around them take
_SUM_FIELD_BYTES: Final = 32  # more than such a field takes: no part of it may be left behind early
_REDIS_VERSION_MAX: Final = 13
_VALKEY_VERSIONS: Final = (80, 81)
_HEADER_BYTES: Final = 9
_CHECKED_FROM_VERSION: Final = 5
_TIME: Final = Struct("<q")
_SLOTS, _LIBRARY, _LIBRARY_EARLY, _MODULE, _IDLE, _FREQUENCY, _FIELD = range(0xF4, 0xFB)
_SIZES, _EXPIRY_MS, _EXPIRY_S, _DATABASE, _END = range(0xFB, 0x100)
_MODULE_VALUE: Final = 7
_NAME_LETTERS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_STATE_FIELDS: Final = (rdb_fields.STREAM, rdb_fields.FIELDS)
_KEY_FIELDS: Final = (rdb_fields.BUCKET, rdb_fields.LEASES, rdb_fields.QUEUE)


class RdbFileError(RdbError):
    """A damaged or unknown file. `offset` is where in the file what is wrong begins."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(f"{message} (at byte {offset})")
        self.offset = offset


@dataclass(slots=True)
class Strings:
    """A run of strings; `expiries_ms` 0: never."""

    database: int
    keys: list[bytes]
    values: list[bytes]
    expiries_ms: list[int]


@dataclass(slots=True)
class Keyed:
    """A key with a value of any type; `state` is what a field before it told of a stream."""

    database: int
    key: bytes
    value: Plain
    expire_at_ms: int
    idle_s: int | None
    state: dict[bytes, list[bytes]]


@dataclass(slots=True)
class Fading:
    """A key that holds a bucket, leases or a paced queue: the field's name, and its row."""

    database: int
    name: bytes
    row: list[bytes]


@dataclass(slots=True)
class Library:
    """The code of a library of Lua functions."""

    code: bytes


@dataclass(slots=True)
class Skipped:
    """What is in the file and cannot be here; `key` empty: it belongs to no key."""

    database: int
    key: bytes
    what: str


@dataclass(slots=True)
class Sizes:
    """About how many keys a database has that follows."""

    database: int
    keys: int
    expiring: int


@dataclass(slots=True)
class Field:
    """Something told about the file."""

    name: bytes
    value: bytes


Record: TypeAlias = Strings | Keyed | Fading | Library | Skipped | Sizes | Field


class _File(Cursor):
    """A cursor that reads on, and sums up what it leaves behind."""

    __slots__ = ("_crc", "_ended", "_read", "_sum", "_summed_at", "base")

    def __init__(self, read: Callable[[int], bytes]) -> None:
        super().__init__(b"")
        self._read = read
        self._ended = False
        self.base = 0  # the offset of `data` in the file
        self._sum = xxh3_64()
        self._summed_at = 0  # in `data`: from there on bytes are not in the sum yet
        self._crc: int | None = 0

    @property
    def offset(self) -> int:
        """Where in the file reading goes on."""
        return self.base + self.at

    def take(self, size: int) -> bytes:
        """The next bytes."""
        if self.at + size > len(self.data):
            self.need(size)
        return super().take(size)

    def byte(self) -> int:
        """The next byte."""
        if self.at >= len(self.data):
            self.need(1)
        return super().byte()

    def need(self, size: int) -> None:
        """Read on until there are `size` bytes ahead, or the end."""
        self._leave_behind(self.at)
        pieces = [self.data[self.at :]]
        ahead = len(pieces[0])
        self.base += self.at
        self.at = 0
        while ahead < size and not self._ended:
            piece = self._read(READ_BYTES)
            self._ended = not piece
            pieces.append(piece)
            ahead += len(piece)
        self.data = b"".join(pieces)

    def has_ahead(self, size: int) -> bool:
        """Whether there are so many bytes ahead; reads on if need be."""
        if len(self.data) - self.at < size and not self._ended:
            self.need(size)
        return len(self.data) - self.at >= size

    def _leave_behind(self, end: int) -> None:
        self._sum.update(self.data[self._summed_at : end])
        self._summed_at = 0
        if self._crc is not None:
            self._crc = crc64(memoryview(self.data)[:end], self._crc)

    def trust_sums(self) -> None:
        """Do without the CRC: every byte is covered by a sum."""
        self._crc = None

    def sum_before(self, at_offset: int) -> bytes:
        """The sum of the bytes up to an offset that is not left behind; a new one begins here."""
        self._sum.update(self.data[self._summed_at : at_offset - self.base])
        digest = self._sum.digest()
        self._sum.reset()
        self._summed_at = self.at
        return digest

    def crc(self) -> int | None:
        """Of all that was read up to here; None: not computed."""
        if self._crc is None:
            return None
        return crc64(memoryview(self.data)[: self.at], self._crc)


class RdbReader:
    """Reads one file. `read(size)` gives its next bytes, fewer than asked or none at the end."""

    __slots__ = (
        "_database",
        "_expire_at_ms",
        "_file",
        "_has_crc",
        "_idle_s",
        "_start",
        "_state",
        "_summed_to",
        "version",
    )

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._file = _File(read)
        self._start = 0  # the offset of the record that is being read
        self._has_crc: bool | None = None  # None: the file does not say
        self._database = 0
        self._expire_at_ms = 0
        self._idle_s: int | None = None
        self._state: dict[bytes, list[bytes]] = {}
        self._summed_to: int | None = None  # the offset behind the last sum, None: there was none
        self.version = 0

    @property
    def offset(self) -> int:
        """How far reading has come."""
        return self._file.offset

    @property
    def trailing(self) -> bytes:
        """What was read beyond the end of the snapshot: the log that may follow."""
        return self._file.data[self._file.at :]

    def records(self) -> Iterator[Record]:
        """All that is in the file."""
        file = self._file
        try:
            self._read_header()
            while True:
                strings = self._read_strings()
                if strings is not None:
                    yield strings
                file.has_ahead(_SUM_FIELD_BYTES)
                start = self._start = file.offset
                code = file.byte()
                if code == _END:
                    break
                record = self._read_one(code, start)
                if record is not None:
                    yield record
            self._check_end(start)
        except RdbFileError:
            raise
        except RdbError as error:
            raise RdbFileError(str(error), self._start) from error

    def _read_header(self) -> None:
        magic = self._file.take(_HEADER_BYTES)
        for word, width in ((b"REDIS", 4), (b"VALKEY", 3)):
            digits = magic[len(word) :]
            if magic.startswith(word) and digits.isdigit() and len(digits) == width:
                self.version = int(digits)
                known = 1 <= self.version <= _REDIS_VERSION_MAX
                if not known and self.version not in _VALKEY_VERSIONS:
                    raise RdbFileError(f"a snapshot of the unknown version {self.version}", 0)
                return
        raise RdbFileError("no snapshot: it does not begin with REDIS or VALKEY", 0)

    def _read_strings(self) -> Strings | None:
        """The strings that follow, as many as are in reach: the loop that loading time is made of.

        A short string has its length in one byte or two; others are left to the cursor.
        """
        file = self._file
        if self._state or self._expire_at_ms or self._idle_s is not None:
            return None
        if not file.has_ahead(_AHEAD_BYTES):
            return None  # the end is near: one by one
        data, at = file.data, file.at
        limit = len(data) - _AHEAD_BYTES
        run = Strings(self._database, [], [], [])
        add_key, add_value = run.keys.append, run.values.append
        add_expiry = run.expiries_ms.append
        for _ in range(RUN_MAX):
            if at > limit:
                break
            expire_at_ms = 0
            start = at
            if data[at]:
                if data[at] != _EXPIRY_MS or data[at + 9]:
                    break
                expire_at_ms = _TIME.unpack_from(data, at + 1)[0]
                if expire_at_ms < 1:
                    expire_at_ms = 1
                at += 9
            size = data[at + 1]
            if size < 0x40:
                key_at = at + 2
            elif size < 0x80:
                size = (size & 0x3F) << 8 | data[at + 2]
                key_at = at + 3
            else:
                file.at, self._start = at + 1, file.base + start
                add_key(file.string())
                add_value(file.string())
                add_expiry(expire_at_ms)
                data, at = file.data, file.at
                limit = len(data) - _AHEAD_BYTES
                continue
            at = key_at + size
            key = data[key_at:at]
            size = data[at]
            if size < 0x40:
                value_at = at + 1
            elif size < 0x80:
                size = (size & 0x3F) << 8 | data[at + 1]
                value_at = at + 2
            else:
                file.at, self._start = at, file.base + start
                add_value(file.string())
                add_key(key)
                add_expiry(expire_at_ms)
                data, at = file.data, file.at
                limit = len(data) - _AHEAD_BYTES
                continue
            at = value_at + size
            add_key(key)
            add_value(data[value_at:at])
            add_expiry(expire_at_ms)
        file.at = at
        return run if run.keys else None

    def _read_one(self, code: int, start: int) -> Record | None:
        """What follows `code`; None where it only says something about what comes next."""
        file = self._file
        if code < _SLOTS:
            return self._read_key(code)
        if code == _FIELD:
            return self._read_field(start)
        if code == _EXPIRY_MS:
            self._expire_at_ms = self._checked_time(file.signed(8))
        elif code == _EXPIRY_S:
            self._expire_at_ms = self._checked_time(file.signed(4) * 1000)
        elif code == _IDLE:
            self._idle_s = file.length()
        elif code == _FREQUENCY:
            file.byte()
        elif code == _DATABASE:
            self._database = file.length()
        elif code == _SIZES:
            return Sizes(self._database, file.length(), file.length())
        elif code == _LIBRARY:
            return Library(file.string())
        elif code == _MODULE:
            name = _module_name(file.length())
            _skip_module(file)
            return Skipped(self._database, b"", f"data of the module {name}")
        elif code == _SLOTS:
            for _ in range(3):
                file.length()
        else:
            raise RdbError("functions of a release candidate of Redis 7.0")
        return None

    @staticmethod
    def _checked_time(at_ms: int) -> int:
        return max(at_ms, 1)  # 0 means never; what is before 1970 is past all the same

    def _read_key(self, kind: int) -> Keyed | Skipped:
        file = self._file
        key = file.string()
        expire_at_ms, self._expire_at_ms = self._expire_at_ms, 0
        idle_s, self._idle_s = self._idle_s, None
        state, self._state = self._state, {}
        if kind == _MODULE_VALUE:
            number = file.length()
            if number == MODULE_ID:
                texts = read_rest(file)
                return Keyed(self._database, key, texts, expire_at_ms, idle_s, state)
            _skip_module(file)
            what = f"a value of the module {_module_name(number)}"
            return Skipped(self._database, key, what)
        try:
            value = read_value(file, kind, self.version)
        except UnreadableTypeError as error:
            raise RdbError(
                f"the key {key!r} holds {error}, which is not in this version"
            ) from error
        if any(row[0] != key for row in state.values()):
            raise RdbError("a field that does not belong to the key behind it")
        times = state.pop(rdb_fields.FIELDS, None)
        if times is not None:
            if not isinstance(value, PlainHash):
                raise RdbError(f"{rdb_fields.FIELDS.decode()} for a key of another type")
            rdb_fields.read_fields_row(times, value)
        return Keyed(self._database, key, value, expire_at_ms, idle_s, state)

    def _read_field(self, start: int) -> Record | None:
        file = self._file
        name = file.string()
        if name == rdb_fields.SUM:
            digest = file.string()
            covered_from = self._summed_to or 0
            if file.sum_before(start) != digest:
                size = start - covered_from
                raise RdbFileError(f"{size} bytes that do not match their sum", covered_from)
            self._summed_to = file.offset
            return None
        value = file.string()
        if name == rdb_fields.SUMS:
            version, _, checked = value.partition(b" ")
            if version != b"%d" % rdb_fields.VERSION or checked not in (b"", b"crc"):
                raise RdbError(f"a snapshot of an unknown version: {name.decode()} {value!r}")
            self._has_crc = bool(checked)
            if not checked:
                file.trust_sums()
            self._summed_to = 0
            return None
        if name in _KEY_FIELDS:
            return Fading(self._database, name, rdb_fields.read_row(value))
        if name in _STATE_FIELDS:
            self._state[name] = rdb_fields.read_row(value)
            return None
        return Field(name, value)

    def _check_end(self, start: int) -> None:
        file = self._file
        if self._state or self._expire_at_ms or self._idle_s is not None:
            raise RdbError("the end, where a key should be")
        if self._summed_to is not None and self._summed_to != start:
            raise RdbError(f"{start - self._summed_to} bytes that no sum covers")
        if self.version < _CHECKED_FROM_VERSION:
            return
        computed = file.crc()
        stored = file.unsigned(8)
        if computed is None:
            computed = 0
        elif not stored and not self._has_crc:
            return  # of a Redis that does not compute sums
        if stored != computed:
            raise RdbFileError("the file does not match its CRC-64", 0)


def _module_name(number: int) -> str:
    letters = bytes(_NAME_LETTERS[number >> 10 + 6 * place & 63] for place in range(8, -1, -1))
    return letters.decode()


def _skip_module(file: Cursor) -> None:
    while (kind := file.length()) != 0:
        if kind in (1, 2):
            file.length()
        elif kind == 3:
            file.take(4)
        elif kind == 4:
            file.take(8)
        elif kind == 5:
            file.string()
        else:
            raise RdbError("data of a module in an unknown form")
