"""The cache as a whole: its parts, how it changes with its catalog, and its background.

Calls on blocks are cache.py's. Every call first lets sessions and leases end that are due.
"""

from collections.abc import Callable, Collection
from typing import Any, Final

from hotplate.errors import StorageIOError
from hotplate.kvc import metrics
from hotplate.kvc.answers import Reclaimed
from hotplate.kvc.budget import Budget
from hotplate.kvc.catalog import Catalog
from hotplate.kvc.counters import Counters
from hotplate.kvc.departed import Departed
from hotplate.kvc.holdings import Holdings
from hotplate.kvc.index import Index
from hotplate.kvc.journal import Journal, committed
from hotplate.kvc.leasing import LeaseBook
from hotplate.kvc.model import Group, Instance, Storage
from hotplate.kvc.moves import Move
from hotplate.kvc.ports import Listener
from hotplate.kvc.quota import GroupUse
from hotplate.kvc.reclaim import LEAVES_QUEUED_AT_ONCE, Reclaimer
from hotplate.kvc.removal import Remover
from hotplate.kvc.retention import RetentionBook
from hotplate.kvc.tiering import Tiering
from hotplate.kvc.writer import Writer

DEPARTED_SHARE: Final = 16  # of the index's memory, for explanations of what left


class Upkeep:
    """What every cache has, whatever is asked of it."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        index_bytes_max: int,
        lease_ms_max: int = 60_000,
        write_grace_ms: int = 60_000,
        closed_sessions_max: int = 100_000,
        thread_ns: Callable[[], int] = int,
    ) -> None:
        """`thread_ns`: the thread's CPU time, which bounds background work; 0 (int) bounds none."""
        self._thread_ns = thread_ns
        self.catalog = catalog
        self.lease_ms_max = lease_ms_max
        self.index_bytes_max = index_bytes_max
        self.longest_slice_ns = 0  # of the background, in the thread's CPU time
        self._holdings = Holdings(catalog, Departed(index_bytes_max // DEPARTED_SHARE))
        self._reclaimer = Reclaimer(self._holdings)
        self._retention = RetentionBook()
        self._leases = LeaseBook(self._holdings)
        self._remover = Remover(self._holdings, self._leases)
        self._writer = Writer(
            self._holdings,
            self._reclaimer,
            index_bytes_max=index_bytes_max,
            write_grace_ms=write_grace_ms,
            closed_sessions_max=closed_sessions_max,
        )
        self._tiering = Tiering(self._holdings, self._writer.has_index_room)
        self._holdings.tiering = self._tiering
        for group in catalog.groups.values():
            self.group_changed(group)
        for instance in catalog.instances.values():
            self.create_index(instance)

    def configure(
        self,
        *,
        lease_ms_max: int,
        write_grace_ms: int,
        closed_sessions_max: int,
        promote_always: bool = False,
    ) -> None:
        """Settings that may change while the cache is in use; they hold from now on."""
        self._tiering.promote_always = promote_always
        self.lease_ms_max = lease_ms_max
        self._writer.write_grace_ms = write_grace_ms
        self._writer.closed.limit = closed_sessions_max

    def listen(self, listener: Listener | None) -> None:
        """Who hears of evictions, expiry and sessions that time out; None: nobody."""
        self._holdings.listener = listener

    def _settle(self, now_ms: int) -> None:
        """End what is due: sessions past their deadline, leases past their end, retention."""
        if self._retention.due:
            self._retention.settle(now_ms)
        self._writer.expire(now_ms)
        self._leases.expire(now_ms)

    # across restarts

    @property
    def holdings(self) -> Holdings:
        """All state, for the journal."""
        return self._holdings

    @property
    def writer(self) -> Writer:
        """The sessions, for the journal."""
        return self._writer

    def keep_journal(self, journal: Journal) -> None:
        """Tell a journal of every change from now on."""
        self._holdings.journal = journal

    def _check_journal(self) -> None:
        journal = self._holdings.journal
        if journal is not None and journal.trouble:
            raise StorageIOError(f"the KV cache's journal cannot be written: {journal.trouble}")

    # with the catalog

    @committed
    def create_index(self, instance: Instance) -> None:
        """An instance was registered, or given other userdata."""
        holdings = self._holdings
        is_new = instance.number not in holdings.indexes
        if is_new:
            self.group_changed(instance.group)
        if holdings.journal is not None:
            holdings.journal.instance(instance)
        if not is_new:
            return
        index = Index(instance)
        holdings.indexes[instance.number] = index
        holdings.counters[instance.number] = Counters()
        holdings.uses[instance.group.name].indexes[instance.number] = index

    @committed
    def drop_index(self, instance: Instance, now_ms: int) -> int:
        """An instance goes: its blocks are trimmed, its sessions and leases end. Blocks dropped."""
        holdings = self._holdings
        self._settle(now_ms)
        dropped = self._remover.trim_all(holdings.indexes[instance.number], now_ms)
        index = holdings.indexes[instance.number]  # a fresh one; open sessions went with it
        self._leases.end_all(instance, now_ms)
        for session in list(index.sessions.values()):
            self._writer.drop(session, now_ms)
        del holdings.indexes[instance.number]
        use = holdings.uses[instance.group.name]
        del use.indexes[instance.number]
        use.turns.given.pop(instance.number, None)
        del holdings.counters[instance.number]
        holdings.departed.forget_instance(instance.number)
        self._tiering.forget_instance(instance.number)
        if holdings.journal is not None:
            holdings.journal.removed("i-", instance.number)
        return dropped

    def index_of(self, instance: Instance) -> Index:
        """The instance's index, to look at."""
        return self._holdings.indexes[instance.number]

    def session_count(self, now_ms: int) -> int:
        """Open sessions of all instances."""
        self._settle(now_ms)
        return len(self._writer.sessions)

    def block_count(self, instance: Instance) -> int:
        """Blocks of the instance, those being written included."""
        return self._holdings.indexes[instance.number].blocks

    @committed
    def storage_changed(self, storage: Storage) -> None:
        """A storage was added, enabled or disabled."""
        self._holdings.refresh_storages()
        if self._holdings.journal is not None:
            self._holdings.journal.storage(storage)

    def storage_bytes(self, storage: Storage) -> int:
        """Bytes of all copies on a storage, those on their way out included."""
        return self._holdings.storage_bytes(storage.number)

    @committed
    def drop_storage(self, storage: Storage, now_ms: int) -> int:
        """A storage goes (REMOVE FORCE): its copies are dropped at once. Blocks that lost one.

        Call it while the storage is still in the catalog and open.
        """
        self._tiering.moves.leave(storage)
        dropped = self._remover.drop_storage(storage, self._writer, now_ms)
        if self._holdings.journal is not None:
            self._holdings.journal.removed("s-", storage.number)
        return dropped

    @committed
    def drop_lost(self, storage: Storage, segments: Collection[int], now_ms: int) -> int:
        """The bytes in some segments of a storage are gone: so are their blocks; how many."""
        self._tiering.moves.lose(storage, segments)
        return self._remover.drop_lost(storage, segments, self._writer, now_ms)

    @committed
    def group_changed(self, group: Group) -> None:
        """A group was created or updated."""
        if self._holdings.journal is not None:
            self._holdings.journal.group(group)
        use = self._holdings.uses.get(group.name)
        if use is None:
            self._holdings.uses[group.name] = GroupUse(group)
            return
        for index in use.indexes.values():
            if index.leaves.policy.name != group.policy:
                index.change_policy(group.policy)
                index.queue_leaves(LEAVES_QUEUED_AT_ONCE)

    @committed
    def drop_group(self, group: Group) -> None:
        """A group without instances goes; what is on its way out still goes."""
        use = self._holdings.uses.pop(group.name)
        if self._holdings.journal is not None:
            self._holdings.journal.removed("g-", group.name)
        if use.used:
            self._holdings.orphans.append(use)

    # figures and background

    def stats(self, of: Instance | Group | Storage | None = None) -> dict[str, Any]:
        """STATS of an instance, a group, a storage, or everything: flat names and numbers."""
        figures = metrics.stats(self._holdings, of)
        if of is None:
            figures["longest_slice_us"] = self.longest_slice_ns // 1000
        return figures

    def index_bytes(self) -> int:
        """An estimate of what all indexes and sessions take in memory."""
        self._writer.recount()
        return self._writer.index_bytes

    @committed
    def tick(self, now_ms: int) -> bool:
        """One bounded slice of background work; True if more is due now."""
        begun_ns = self._thread_ns()
        self._settle(now_ms)
        self._writer.recount()
        self._tiering.look(now_ms)
        fading = bool(self._retention.due) and self._retention.due[0][0] <= now_ms
        more = self._remover.tick(self._reclaimer, now_ms, Budget(self._thread_ns))
        self.longest_slice_ns = max(self.longest_slice_ns, self._thread_ns() - begun_ns)
        return more or fading

    @committed
    def reclaim(
        self, group: Group, size_bytes: int | None, now_ms: int, *, dry_run: bool = False
    ) -> Reclaimed:
        """RECLAIM: evict so many bytes, or (None) down to the low watermarks; a bounded slice."""
        self._settle(now_ms)
        use = self._holdings.uses[group.name]
        return self._reclaimer.reclaim_now(use, size_bytes, now_ms, dry_run=dry_run)

    # moves between storages

    def next_move(self, now_ms: int) -> Move | None:
        """The next blocks to copy to another storage; each answer needs one `end_move`."""
        return self._tiering.next_move(now_ms)

    @committed
    def end_move(self, move: Move, error: Exception | None, now_ms: int) -> int:
        """The bytes are there, or the copy failed. How many blocks have their new place."""
        return self._tiering.end(move, error, now_ms)
