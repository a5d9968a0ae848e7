"""From a snapshot's records to databases.

Keys go in without word of it: nobody watches a server that loads. Databases must be empty and
without observers or meter. `finish` settles their counts.
"""

from collections.abc import Sequence

from hotplate.keyspace.bucket import Bucket
from hotplate.keyspace.bucket_entry import Timebase, fading_entry
from hotplate.keyspace.bucket_leases import Leases
from hotplate.keyspace.contents import Limits, value_of
from hotplate.keyspace.database import SHARD_MASK, Database
from hotplate.keyspace.entry import Entry, Value
from hotplate.keyspace.rdb_bytes import RdbError
from hotplate.keyspace.stream import Stream
from hotplate.persist import rdb_fields
from hotplate.persist.rdb_reader import Fading, Field, Keyed, Library, Record, Skipped, Strings


class RdbLoader:
    """Takes records. Libraries and what is told about the file are left to the caller.

    `drop_expired`: keys whose time is past are left out, as a master does with a snapshot; before
    a log that goes on from the snapshot they must be there.
    """

    __slots__ = (
        "_databases",
        "_drop_before_ms",
        "_limits",
        "_timebase",
        "about",
        "dropped",
        "libraries",
        "loaded",
        "skipped",
        "streams",
    )

    def __init__(
        self,
        databases: Sequence[Database],
        limits: Limits,
        timebase: Timebase,
        *,
        drop_expired: bool,
    ) -> None:
        self._databases = databases
        self._limits = limits
        self._timebase = timebase
        self._drop_before_ms = timebase.now_ms if drop_expired else 0
        self.about: dict[bytes, bytes] = {}
        self.libraries: list[bytes] = []
        self.streams: list[tuple[Database, bytes]] = []  # their groups may have policies
        self.skipped: list[str] = []  # modules' data that belongs to no key
        self.loaded = 0
        self.dropped = 0  # expired already

    def take(self, record: Record) -> None:
        """One record. RdbError for what cannot be here."""
        if isinstance(record, Strings):
            self._take_strings(record)
        elif isinstance(record, Keyed):
            self._take_keyed(record)
        elif isinstance(record, Fading) and record.name == rdb_fields.QUEUE:
            self._take_queue(record)
        elif isinstance(record, Fading):
            entry = rdb_fields.read_fading(record.name, record.row, self._timebase)
            if not entry.value.is_idle(self._timebase.now_ns):  # type: ignore[union-attr]
                self._store(record.database, record.row[0], entry)
        elif isinstance(record, Library):
            self.libraries.append(record.code)
        elif isinstance(record, Field):
            self.about[record.name] = record.value
        elif isinstance(record, Skipped):
            if record.key:
                raise RdbError(
                    f"the key {record.key!r} holds {record.what}, which is not supported"
                )
            self.skipped.append(record.what)

    def finish(self) -> None:
        """Settle the counts of the databases. RdbError where a key came twice."""
        stored = 0
        for database in self._databases:
            size = sum(map(len, database.shards))
            stored += size
            database.added = database.removed + size
            database.expiring_count = sum(map(len, database.expiring))
        if stored != self.loaded:
            raise RdbError(f"{self.loaded - stored} keys that are in the file twice")

    def _database(self, index: int) -> Database:
        if index >= len(self._databases):
            raise RdbError(f"database {index}, of {len(self._databases)} (see `databases`)")
        return self._databases[index]

    def _take_strings(self, run: Strings) -> None:
        database = self._database(run.database)
        now_ms = self._timebase.now_ms
        shards = database.shards
        if not any(run.expiries_ms):
            for key, value in zip(run.keys, run.values, strict=True):
                shards[hash(key) & SHARD_MASK][key] = Entry(value, 0, now_ms)
            self.loaded += len(run.keys)
            return
        for key, value, expire_at_ms in zip(run.keys, run.values, run.expiries_ms, strict=True):
            entry = Entry(value, 0, now_ms)
            if not expire_at_ms:
                shards[hash(key) & SHARD_MASK][key] = entry
                self.loaded += 1
            else:
                self._store_expiring(database, key, entry, expire_at_ms)

    def _store_expiring(
        self, database: Database, key: bytes, entry: Entry, expire_at_ms: int
    ) -> None:
        if expire_at_ms < self._drop_before_ms:
            self.dropped += 1
            return
        index = hash(key) & SHARD_MASK
        entry.expire_at_ms = expire_at_ms
        database.shards[index][key] = entry
        database.expiring[index][key] = entry
        if expire_at_ms < database.earliest_ms[index]:
            database.earliest_ms[index] = expire_at_ms
        self.loaded += 1

    def _take_keyed(self, record: Keyed) -> None:
        database = self._database(record.database)
        now_ms = self._timebase.now_ms
        value: Value = value_of(record.value, self._limits, database.field_names, self._timebase)
        for name, row in record.state.items():
            if name != rdb_fields.STREAM or not isinstance(value, Stream):
                raise RdbError(f"{name.decode()} for a key of another type")
            rdb_fields.read_stream_row(row, value)
        if isinstance(value, (Bucket, Leases)):
            if not value.is_idle(self._timebase.now_ns):
                self._store(record.database, record.key, fading_entry(value, self._timebase))
            return
        accessed_ms = now_ms if record.idle_s is None else max(now_ms - record.idle_s * 1000, 0)
        entry = Entry(value, 0, accessed_ms)
        if isinstance(value, Stream):
            self.streams.append((database, record.key))
        if record.expire_at_ms:
            self._store_expiring(database, record.key, entry, record.expire_at_ms)
        else:
            self._store(record.database, record.key, entry)
        database.track_fields(record.key, value)
        database.track_queue(record.key, value)

    def _take_queue(self, record: Fading) -> None:
        database = self._database(record.database)
        key, entry = record.row[0], rdb_fields.read_queue(record.row, self._timebase)
        expire_at_ms = entry.expire_at_ms
        if expire_at_ms:
            entry.expire_at_ms = 0
            self._store_expiring(database, key, entry, expire_at_ms)
        else:
            self._store(record.database, key, entry)
        database.track_queue(key, entry.value)

    def _store(self, index: int, key: bytes, entry: Entry) -> None:
        database = self._database(index)
        expire_at_ms = entry.expire_at_ms
        if expire_at_ms:
            shard_index = hash(key) & SHARD_MASK
            database.shards[shard_index][key] = entry
            database.expiring[shard_index][key] = entry
            database.earliest_ms[shard_index] = min(database.earliest_ms[shard_index], expire_at_ms)
        else:
            database.shards[hash(key) & SHARD_MASK][key] = entry
        self.loaded += 1
