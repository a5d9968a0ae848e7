"""The state of all databases at one moment, written while they go on changing.

    begin ─► the moment: which shards there are                       (nothing is copied)
    steps ─► shard after shard, key after key ─► RdbWriter
    keep  ─► a key that is about to change and was not written yet is copied first

Whoever changes a key calls `keep` (persist.guard does it around commands, `Database.journal` for
the rest). A key that was not there at the moment is remembered as such. A database that is flushed
leaves its shards here; one that is swapped takes its list of shards along, which is how it is
known.

Costs: a dict copy of references for each database, and for each key that changes before the sweep
reaches it a copy of its value. Values are noted whole when their turn comes: one with millions of
elements stops the server for as long as copying references to them takes.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from hotplate.keyspace.bucket_entry import FadingEntry
from hotplate.keyspace.bucket_queue import BucketQueue
from hotplate.keyspace.database import SHARD_MASK, SHARDS, Database, Shard
from hotplate.keyspace.entry import Entry, copy_of
from hotplate.persist.rdb_writer import RdbWriter

KEYS_A_STEP: Final = 64


class Moment:
    """Both clocks as they were when the snapshot began."""

    def __init__(self, now_ms: int, now_ns: int) -> None:
        self.now_ms = now_ms
        self.now_ns = now_ns


class _Table:
    """One database as it was. Shards before `position` are written; of others `seen` keys are."""

    __slots__ = ("expiring", "home", "index", "owned", "position", "seen", "shards", "size")

    def __init__(self, database: Database) -> None:
        self.index = database.index
        self.home = database.shards  # goes with the data when databases are swapped
        self.shards = list(database.shards)
        self.size = database.size()
        self.expiring = database.expiring_count
        self.position = 0
        self.seen: dict[int, set[bytes]] = {}
        self.owned: Database | None = None  # flushed: where the shards go to be freed


class Snapshot:
    """One snapshot. `steps` is to be run to its end, unless the snapshot is given up."""

    def __init__(
        self, databases: Sequence[Database], libraries: Sequence[bytes], moment: Moment
    ) -> None:
        self._libraries = libraries
        self._moment = moment
        self._tables = [_Table(database) for database in databases if database.size()]
        self._by_home = {id(table.home): table for table in self._tables}
        self._kept: deque[tuple[_Table, bytes, Entry]] = deque()
        self._selected = -1
        self.keys_a_step = KEYS_A_STEP
        self._until_yield = 0
        self.keys_total = sum(table.size for table in self._tables)
        self.keys_written = 0
        self.keys_kept = 0

    # -- before changes ------------------------------------------------------------------------

    def keep(self, database: Database, key: bytes) -> None:
        """`key` of `database` is about to change."""
        table = self._by_home.get(id(database.shards))
        if table is None:
            return
        index = hash(key) & SHARD_MASK
        if index < table.position:
            return
        shard = table.shards[index]
        if shard is not database.shards[index]:
            return  # flushed: what is there now came later
        seen = table.seen.get(index)
        if seen is None:
            seen = table.seen[index] = set()
        if key in seen:
            return
        seen.add(key)
        entry = shard.get(key)
        if entry is not None:
            self._kept.append((table, key, self._copy(entry)))
            self.keys_kept += 1

    def keep_database(self, database: Database) -> None:
        """All keys of `database` are about to go: take over what is not written yet."""
        table = self._by_home.get(id(database.shards))
        if table is None:
            return
        table.owned = database
        for index in range(table.position, SHARDS):
            if table.shards[index] and table.shards[index] is database.shards[index]:
                database.shards[index] = {}
                # the entries are shared: freeing them there would take the values apart
                database.expiring[index] = {}

    def _copy(self, entry: Entry) -> Entry:
        value = copy_of(entry.value)
        if isinstance(entry, FadingEntry):
            return self._fading(entry, value)
        if isinstance(value, BucketQueue):
            value.timebase = self._moment
        return Entry(value, entry.expire_at_ms, entry.accessed_ms)

    def _fading(self, entry: FadingEntry, value: object) -> FadingEntry:
        """The entry as it was at the moment: what drained since is not taken off."""
        twin = FadingEntry(value, self._moment, entry.accessed_ms)  # type: ignore[arg-type]
        twin.own_ms = entry.own_ms
        return twin

    # -- the sweep -----------------------------------------------------------------------------

    def steps(self, writer: RdbWriter) -> Iterator[None]:
        """Write everything, a few hundred microseconds between two yields."""
        writer.moment = self._moment
        for code in self._libraries:
            writer.add_library(code)
        for table in self._tables:
            for index in range(SHARDS):
                shard = table.shards[index]
                if shard:
                    yield from self._write_shard(writer, table, index, shard)
                table.position = index + 1
                table.seen.pop(index, None)
                self._leave(table, index)
                if self._kept:
                    yield from self._write_kept(writer)
        yield from self._write_kept(writer)
        writer.finish()

    def _write_shard(
        self, writer: RdbWriter, table: _Table, index: int, shard: Shard
    ) -> Iterator[None]:
        seen = table.seen.setdefault(index, set())
        self._select(writer, table)
        for key in list(shard):  # not the entries, too: making so many pairs takes a while
            if key in seen:
                continue
            seen.add(key)
            entry = shard.get(key)
            if entry is None:
                continue  # a limiter that held nothing any more: it goes without a word
            if type(entry.value) is bytes:
                writer.add(key, entry)
            else:
                yield from self._write_entry(writer, key, entry)
            self.keys_written += 1
            self._until_yield -= 1
            if self._until_yield <= 0:
                self._until_yield = self.keys_a_step
                yield
                if self._kept:
                    yield from self._write_kept(writer)
                    self._select(writer, table)

    def _write_entry(self, writer: RdbWriter, key: bytes, entry: Entry) -> Iterator[None]:
        value = entry.value
        if isinstance(entry, FadingEntry):
            entry = self._fading(entry, value)
        if not isinstance(value, BucketQueue):
            yield from writer.add_in_slices(key, entry)
            return
        present, value.timebase = value.timebase, self._moment
        try:
            for _ in writer.add_in_slices(key, entry):  # its times are those of the moment
                pass
        finally:
            value.timebase = present

    def _write_kept(self, writer: RdbWriter) -> Iterator[None]:
        while self._kept:
            table, key, entry = self._kept.popleft()
            self._select(writer, table)
            yield from writer.add_in_slices(key, entry)
            self.keys_written += 1

    def _select(self, writer: RdbWriter, table: _Table) -> None:
        if self._selected != table.index:
            self._selected = table.index
            writer.select(table.index, table.size, table.expiring)

    def _leave(self, table: _Table, index: int) -> None:
        """A shard is written: if the database gave it up, let it be freed."""
        shard = table.shards[index]
        if table.owned is not None and shard and shard is not table.home[index]:
            table.owned.discarded.append(shard)
        table.shards[index] = {}

    def abandon(self) -> None:
        """The snapshot is given up: let go of everything."""
        for table in self._tables:
            for index in range(table.position, SHARDS):
                self._leave(table, index)
        self._by_home.clear()
        self._kept.clear()
