"""Snapshots, written key by key (FORMAT.md).

The writer puts bytes together and hands them to `write` in pieces of about PIECE_BYTES, each with
its sum. It knows no file, no event loop and no clock. A value that takes long is written in slices
(`add_in_slices`): its elements are noted at the first one, so that changes after it do not show.
"""

from collections.abc import Callable, Iterator, Mapping
from struct import pack
from typing import Final

from xxhash import xxh3_64

from hotplate.keyspace.bucket_timebase import Timebase
from hotplate.keyspace.contents import is_compact, plain_of
from hotplate.keyspace.crc64 import crc64
from hotplate.keyspace.entry import Entry
from hotplate.keyspace.rdb import FOOTER_BYTES, PlainHash, dump, load, split
from hotplate.keyspace.rdb_bytes import pack_length, pack_string
from hotplate.keyspace.stream import Stream
from hotplate.persist import rdb_fields

PIECE_BYTES: Final = 256 * 1024
# between two moments at which the caller may do something else: so many elements, or less of those
# that were put together from many
_SLICE_WORK: Final = 512
_WORK_SHIFT: Final = 5
_NODE_WORK: Final = 64  # of counting one
_VERSION: Final = 10
_FIELD, _LIBRARY, _SIZES, _EXPIRY_MS, _DATABASE, _END = 0xFA, 0xF5, 0xFB, 0xFC, 0xFE, 0xFF
_EXPIRING_HASHES: Final = (22, 23, 24, 25)
_SHORT: Final = 64
_HEADS: Final = tuple(bytes((size,)) for size in range(_SHORT))
_DIGITS_MAX: Final = 11


class RdbWriter:
    """One snapshot: `start`, then databases and their keys, then `finish`.

    `checksum`: end with the CRC-64 that Redis checks. `for_redis_7`: hashes whose fields expire in
    the plain form, with the times where only this server looks.
    """

    __slots__ = (
        *("_crc", "_for_redis_7", "_pieces", "_size", "_sum", "_write", "moment", "written"),
    )

    def __init__(
        self,
        write: Callable[[bytes], object],
        *,
        checksum: bool = False,
        for_redis_7: bool = False,
    ) -> None:
        self._write = write
        self._crc: int | None = 0 if checksum else None
        self._for_redis_7 = for_redis_7
        self._pieces: list[bytes] = []
        self._size = 0  # of the pieces, about
        self._sum = xxh3_64()
        self.written = 0  # bytes handed to `write`
        self.moment: Timebase | None = None  # from which spans count; None: from now

    def start(self, about: Mapping[bytes, bytes]) -> None:
        """Begin the file; `about` are fields for people and tools."""
        self._pieces.append(b"REDIS%04d" % _VERSION)
        checked = b"" if self._crc is None else b" crc"
        self._add_field(rdb_fields.SUMS, b"%d%b" % (rdb_fields.VERSION, checked))
        for name, value in about.items():
            self._add_field(name, value)

    def add_library(self, code: bytes) -> None:
        """A library of Lua functions; before the first database."""
        self._pieces.append(bytes((_LIBRARY,)) + pack_string(code))

    def select(self, index: int, size: int, expiring: int) -> None:
        """The keys that follow are in that database, which has about so many."""
        self._pieces.append(bytes((_DATABASE,)) + pack_length(index))
        self._pieces.append(bytes((_SIZES,)) + pack_length(size) + pack_length(expiring))

    def add(self, key: bytes, entry: Entry) -> None:
        """A key with its value."""
        value = entry.value
        if type(value) is bytes and not entry.expire_at_ms:
            size, value_size = len(key), len(value)
            if _DIGITS_MAX < size < _SHORT and _DIGITS_MAX < value_size < _SHORT:
                self._pieces.append(b"\0%b%b%b%b" % (_HEADS[size], key, _HEADS[value_size], value))
            else:
                self._pieces.append(b"\0%b%b" % (pack_string(key), pack_string(value)))
            self._size += size + value_size
            if self._size >= PIECE_BYTES:
                self._flush()
            return
        for _ in self.add_in_slices(key, entry):
            pass

    def add_in_slices(self, key: bytes, entry: Entry) -> Iterator[None]:
        """A key with its value; each time it yields a part is written. To be run to its end."""
        fading = rdb_fields.fading_row(key, entry)
        if fading is not None:
            self._add_field(*fading)
            self._flush_if_full()
            return
        queue_row = rdb_fields.queue_row(key, entry, self.moment)
        if queue_row is not None:
            self._add_field(rdb_fields.QUEUE, queue_row)
            self._flush_if_full()
            return
        value = entry.value
        plain = plain_of(value)
        if isinstance(value, Stream):
            self._add_state(rdb_fields.STREAM, rdb_fields.stream_row(key, value))
        elif self._for_redis_7 and isinstance(plain, PlainHash):
            self._add_state(rdb_fields.FIELDS, rdb_fields.fields_row(key, plain.expiries_ms))
            plain.expiries_ms = {}
        kind, pieces = split(plain, compact=is_compact(value))
        head = b"" if not entry.expire_at_ms else pack("<Bq", _EXPIRY_MS, entry.expire_at_ms)
        self._pieces.append(head + bytes((kind,)) + pack_string(key))
        self._size += len(head) + len(key)
        work = 0
        for piece in pieces:
            self._pieces.append(piece)
            self._size += len(piece)
            work += 1 + (len(piece) >> _WORK_SHIFT if piece else _NODE_WORK)
            if work >= _SLICE_WORK:
                work = 0
                if self._size >= PIECE_BYTES:
                    self._hand_over()
                yield
        self._flush_if_full()

    def add_dumped(self, key: bytes, payload: bytes, expire_at_ms: int) -> None:
        """A key with its value as DUMP gives it; it must be intact, and one that was written here.

        RdbError for a hash with times that cannot be read.
        """
        if self._for_redis_7 and payload[0] in _EXPIRING_HASHES:
            value = load(payload)
            assert isinstance(value, PlainHash)
            self._add_state(rdb_fields.FIELDS, rdb_fields.fields_row(key, value.expiries_ms))
            payload = dump(PlainHash(value.fields), compact=False)
        head = b"" if not expire_at_ms else pack("<Bq", _EXPIRY_MS, expire_at_ms)
        self._pieces += [head, payload[:1], pack_string(key), payload[1:-FOOTER_BYTES]]
        self._size += len(key) + len(payload)
        self._flush_if_full()

    def finish(self) -> None:
        """End the file."""
        self._flush()
        crc = self._crc
        if crc is not None:
            crc = crc64(bytes((_END,)), crc)
        end = bytes((_END,)) + pack("<Q", crc or 0)
        self.written += len(end)
        self._write(end)

    def _add_field(self, name: bytes, value: bytes) -> None:
        self._pieces.append(bytes((_FIELD,)) + pack_string(name) + pack_string(value))
        self._size += len(name) + len(value)

    def _add_state(self, name: bytes, value: bytes | None) -> None:
        if value is not None:
            self._add_field(name, value)

    def _flush_if_full(self) -> None:
        if self._size >= PIECE_BYTES:
            self._flush()

    def _flush(self) -> None:
        """Hand over what there is, and its sum: not inside of a key."""
        self._hand_over()
        digest = self._sum.digest()
        field = bytes((_FIELD,)) + pack_string(rdb_fields.SUM) + _HEADS[len(digest)] + digest
        self._sum.reset()
        self._emit(field)

    def _hand_over(self) -> None:
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        self._sum.update(data)
        self._emit(data)

    def _emit(self, data: bytes) -> None:
        if self._crc is not None:
            self._crc = crc64(data, self._crc)
        self.written += len(data)
        self._write(data)
