"""The KV cache: what the KVC commands call.

Owns nothing but the order of things: every call first lets sessions and leases end that are due,
then does its work through the parts (match, writer, leasing, removal, reclaim). Calls are
synchronous and atomic; a call that raises has changed nothing but what was due anyway, and blocks
that made room. It must not know arguments, replies or sockets.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from hotplate.errors import (
    CommandError,
    NoSpaceError,
    NoStorageError,
    QuotaError,
    StorageIOError,
)
from hotplate.kvc import metrics
from hotplate.kvc.answers import BlockMeta, Match, Mode, ReadSlot, Reclaimed, Reservation, Slot
from hotplate.kvc.budget import Budget
from hotplate.kvc.catalog import Catalog
from hotplate.kvc.counters import Counters
from hotplate.kvc.departed import Departed
from hotplate.kvc.describe import block_meta, read_slot, write_slot
from hotplate.kvc.enter import WriteRequest
from hotplate.kvc.explain import Explainer, Explanation
from hotplate.kvc.holdings import Holdings
from hotplate.kvc.index import Copy, Index
from hotplate.kvc.journal import Journal, committed
from hotplate.kvc.keys import Keys
from hotplate.kvc.leasing import LeaseBook
from hotplate.kvc.match import Matcher
from hotplate.kvc.model import Group, Instance, Storage
from hotplate.kvc.moves import Move
from hotplate.kvc.ports import Listener
from hotplate.kvc.quota import GroupUse
from hotplate.kvc.reclaim import LEAVES_QUEUED_AT_ONCE, Reclaimer
from hotplate.kvc.removal import Remover
from hotplate.kvc.retention import Retained, RetentionBook
from hotplate.kvc.tiering import Tiering
from hotplate.kvc.write_session import Outcome, WriteSession
from hotplate.kvc.writer import Writer

DEPARTED_SHARE: Final = 16  # of the index's memory, for explanations of what left
LOOKUPS_A_SAMPLE_MASK: Final = 15  # of 16 lookups one is timed: two looks at a clock


class Cache:
    """Blocks of every instance, over the storages of the catalog."""

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
        self._lookups = 0
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

    # reading

    def times_lookup(self) -> bool:
        """Whether the lookup that comes now is one of those whose time is taken."""
        self._lookups += 1
        return self._lookups & LOOKUPS_A_SAMPLE_MASK == 1

    def counters_of(self, instance: Instance) -> Counters:
        """What is counted of an instance."""
        return self._holdings.counters[instance.number]

    @committed
    def match(
        self,
        instance: Instance,
        keys: Keys,
        *,
        mode: Mode,
        now_ms: int,
        start: int = 0,
        window: int = 0,
        specs: int = 0,
        touch: bool = True,
        lease_ms: int | None = None,
        spans: bool = True,
    ) -> Match:
        """GETLOC. PREFIX: pass only the unmasked keys, `start` comes back in the answer."""
        self._settle(now_ms)
        index = self._holdings.indexes[instance.number]
        matcher = Matcher(self._holdings, index, specs, now_ms)
        counters = self._holdings.counters[instance.number]
        if mode is Mode.PREFIX:
            found = matcher.prefix(keys)
            if found.matched < len(keys):
                reason = matcher.why_missed(index.lookup(keys[found.matched]))
                counters.stop(reason, len(keys) - found.matched)
        elif mode is Mode.EXACT:
            start, found = 0, matcher.exact(keys)
            for reason, count in (found.missed or {}).items():
                counters.miss(reason, count)
        else:
            if not 1 <= window <= len(keys):
                raise CommandError(f"WINDOW {window} of {len(keys)} keys")
            start, found = matcher.window(keys, window)
            counters.miss("behind", len(keys) - found.matched)
        matched = found.matched
        tiers = matcher.tiers(found)
        counters.requested += len(keys)
        counters.walks += found.walked
        counters.hit(tiers, self._holdings.types, matched, matched * instance.block_tokens)
        if touch:
            if found.pieces and self._lookups & LOOKUPS_A_SAMPLE_MASK == 1:
                counters.reuse_blocks.add(index.reuse_distance(found.pieces[-1][2] - 1))
            if instance.group.tiering != "none":
                self._tiering.hit(index, found.pieces, tiers)
            matcher.touch(found.pieces, 1)
        answer = Match(matched, start)
        if spans:
            answer.spans = matcher.spans(found.pieces)
        if lease_ms is not None:
            if not 1 <= lease_ms <= self.lease_ms_max:
                raise CommandError(f"LEASE {lease_ms} is out of range")
            answer.lease_id = self._leases.grant(index, found.pieces, lease_ms, now_ms)
        return answer

    def read(
        self,
        instance: Instance,
        key: bytes,
        spec: int | None,
        now_ms: int,
        lease_id: bytes | None = None,
    ) -> ReadSlot | None:
        """Where a block's bytes (of one spec, or all) lie; None is a miss.

        All specs are answered only where one copy holds them all. A read is no access: engines
        ask with GETLOC first.
        """
        self._settle(now_ms)
        index = self._holdings.indexes[instance.number]
        mask = instance.all_specs if spec is None else 1 << spec
        matcher = Matcher(self._holdings, index, mask, now_ms)
        block = index.lookup(key)
        copies: list[Copy] = []
        if block is not None and matcher.is_hit(block):
            copies = matcher.copies(block)
        elif lease_id is not None:
            lease = self._leases.find(index, lease_id)
            if lease is not None:
                copies = lease.removed.get(key, [])
        for copy in copies:
            if not mask & ~copy.specs and self._holdings.is_available(copy.storage):
                return read_slot(self._holdings, instance, copy, spec)
        return None

    def lacking(self, instance: Instance, keys: Keys, now_ms: int) -> list[int]:
        """The positions of keys whose blocks are not served with all specs; no access."""
        self._settle(now_ms)
        index = self._holdings.indexes[instance.number]
        is_hit = Matcher(self._holdings, index, instance.all_specs, now_ms).is_hit
        return [
            position
            for position, block in enumerate(index.lookup_all(keys.listing()))
            if block is None or not is_hit(block)
        ]

    def pin(self, slot: Slot) -> None:
        """Keep a slot's bytes while they travel; each pin needs one unpin."""
        self._holdings.pin(slot.storage, slot.place)

    def unpin(self, slot: Slot) -> None:
        """The bytes have left."""
        self._holdings.unpin(slot.storage, slot.place)

    def meta(self, instance: Instance, keys: Keys, now_ms: int) -> list[BlockMeta | None]:
        """What is known of each key; no access."""
        self._settle(now_ms)
        index = self._holdings.indexes[instance.number]
        return [
            None if block is None else block_meta(index, block, now_ms)
            for block in index.lookup_all(keys.listing())
        ]

    def explain(self, instance: Instance, keys: Keys, now_ms: int) -> list[Explanation]:
        """EXPLAIN: what each key is now and why; no access."""
        self._settle(now_ms)
        index = self._holdings.indexes[instance.number]
        return Explainer(self._holdings, index, now_ms).explain(keys.listing())

    # writing

    @committed
    def start_write(
        self,
        instance: Instance,
        keys: Keys,
        *,
        now_ms: int,
        timeout_ms: int,
        spec_masks: list[int] | None = None,
        storage: str | None = None,
        ttl_ms: int | None = None,
        priority: int = 50,
        parent: bytes | None = None,
    ) -> Reservation:
        """STARTWRITE. `spec_masks`: one per key. BadChain, Quota, NoSpace, NoStorage errors."""
        self._settle(now_ms)
        self._check_journal()
        request = WriteRequest(
            keys, now_ms, timeout_ms, spec_masks, storage, ttl_ms, priority, parent
        )
        try:
            return self._writer.start(self._holdings.indexes[instance.number], request)
        except CommandError as error:
            self.note_refused(instance, keys, error, now_ms)
            raise

    def note_refused(
        self, instance: Instance, keys: Keys, error: CommandError, now_ms: int
    ) -> None:
        """Remember for EXPLAIN that a write of `keys` was refused, if it was for want of room."""
        if isinstance(error, QuotaError | NoSpaceError | NoStorageError):
            text = f"{error.code} {error.message.decode(errors='replace')}"
            self._holdings.departed.refuse(instance.number, keys, text, now_ms)

    @committed
    def finish(
        self,
        instance: Instance,
        session_id: bytes,
        outcome: Outcome,
        sums: bytes | None,
        now_ms: int,
    ) -> tuple[int, int]:
        """FINISH: (published, dropped). NoSession, SessionClosed, BadMask, InUse, Checksum."""
        self._settle(now_ms)
        index = self._holdings.indexes[instance.number]
        return self._writer.finish(index, session_id, outcome, sums, now_ms)

    def session(self, instance: Instance, session_id: bytes, now_ms: int) -> WriteSession:
        """The open session, or NoSessionError, or SessionClosedError."""
        self._settle(now_ms)
        return self._writer.session(self._holdings.indexes[instance.number], session_id)

    def open_session(self, session_id: bytes) -> WriteSession | None:
        """The session, if it is open, whatever its instance."""
        return self._writer.sessions.get(session_id)

    def slot(self, session: WriteSession, index: int, spec: int | None) -> Slot:
        """Where the bytes of the session's new key `index` go, of one spec or of all it holds."""
        return write_slot(self._holdings, session, index, spec)

    def written(
        self, session: WriteSession, index: int, spec: int | None, sums: Sequence[bytes]
    ) -> None:
        """Bytes of a new key have landed; `sums` per spec held (one if `spec` is given)."""
        part = session.part_of(index)
        numbers = session.index.instance.numbers_in(part.specs) if spec is None else [spec]
        session.sums.setdefault(index, {}).update(zip(numbers, sums, strict=True))

    def stage(self, instance: Instance, key_bytes: int, now_ms: int) -> Slot:
        """PUT: a slot for all specs of one block whose key (of `key_bytes`) is not accepted yet.

        It is charged to the group until `put` or `unstage`.
        """
        self._settle(now_ms)
        self._check_journal()
        return self._writer.stage(self._holdings.indexes[instance.number], key_bytes, now_ms)

    def unstage(self, instance: Instance, slot: Slot) -> None:
        """Give a staged slot back."""
        self._writer.unstage(self._holdings.indexes[instance.number], slot)

    @committed
    def put(
        self,
        instance: Instance,
        keys: Keys,
        staged: Sequence[Slot | None],
        sums: bytes,
        *,
        now_ms: int,
        ttl_ms: int | None = None,
        priority: int = 50,
        parent: bytes | None = None,
    ) -> int:
        """Publish staged slots (one per key, bytes in place, `sums` 8 bytes for key x spec).

        A key whose block is stored on an available storage needs no slot (None).
        The number newly stored; slots of keys that are stored already are given back. On an
        error nothing has changed and the slots are still staged.
        """
        self._settle(now_ms)
        request = WriteRequest(keys, now_ms, 0, None, None, ttl_ms, priority, parent)
        return self._writer.put(self._holdings.indexes[instance.number], request, staged, sums)

    @committed
    def put_alone(
        self,
        instance: Instance,
        key: bytes,
        slot: Slot,
        sums: bytes,
        *,
        now_ms: int,
        ttl_ms: int | None,
        priority: int,
        parent: bytes | None,
    ) -> bool:
        """The same for one staged slot, if that is plain enough to be short; else use `put`."""
        self._settle(now_ms)
        return self._writer.put_alone(
            self._holdings.indexes[instance.number],
            key,
            slot,
            sums,
            now_ms=now_ms,
            ttl_ms=ttl_ms,
            priority=priority,
            parent=parent,
        )

    @committed
    def drop_copy(self, instance: Instance, key: bytes, slot: Slot, now_ms: int) -> None:
        """A copy's bytes are not what was published: drop that copy, if it is still there."""
        self._remover.drop_copy(self._holdings.indexes[instance.number], key, slot, now_ms)

    def retain(
        self, instance: Instance, keys: Keys, *, priority: int, ttl_ms: int, now_ms: int
    ) -> tuple[int, int]:
        """RETAIN: (accepted, clipped) of the blocks that are stored."""
        self._settle(now_ms)
        index = self._holdings.indexes[instance.number]
        use = self._holdings.use(index)
        wanted = Retained(self._retention, priority, now_ms, ttl_ms)
        limit_bytes = self._holdings.limit_bytes(use)
        return self._retention.retain(use, index, keys, wanted, limit_bytes)

    # leases, removal

    @committed
    def extend_lease(self, instance: Instance, lease_id: bytes, ms: int, now_ms: int) -> bool:
        """Whether the lease existed; it now ends no sooner than `ms` from now."""
        if not 1 <= ms <= self.lease_ms_max:
            raise CommandError(f"EXTEND {ms} is out of range")
        self._settle(now_ms)
        lease = self._leases.find(self._holdings.indexes[instance.number], lease_id)
        if lease is None:
            return False
        self._leases.extend(lease, ms, now_ms)
        return True

    def release_lease(self, instance: Instance, lease_id: bytes, now_ms: int) -> bool:
        """Whether the lease existed."""
        self._settle(now_ms)
        lease = self._leases.find(self._holdings.indexes[instance.number], lease_id)
        if lease is None:
            return False
        self._leases.end(lease, now_ms)
        return True

    @committed
    def remove(self, instance: Instance, keys: Keys, now_ms: int) -> int:
        """REMOVE: how many blocks were removed."""
        self._settle(now_ms)
        return self._remover.remove(self._holdings.indexes[instance.number], keys, now_ms)

    @committed
    def trim_all(self, instance: Instance, now_ms: int) -> int:
        """TRIM ALL and META."""
        self._settle(now_ms)
        return self._remover.trim_all(self._holdings.indexes[instance.number], now_ms)

    @committed
    def trim_created(self, instance: Instance, from_ms: int, to_ms: int, now_ms: int) -> int:
        """TRIM BEFORE (from 0) and BETWEEN: blocks created in [from_ms, to_ms)."""
        self._settle(now_ms)
        index = self._holdings.indexes[instance.number]
        return self._remover.trim_created(index, from_ms, to_ms, now_ms)

    @committed
    def trim_idle(self, instance: Instance, idle_ms: int, now_ms: int) -> int:
        """TRIM IDLE: blocks whose last access is at least `idle_ms` ago."""
        self._settle(now_ms)
        index = self._holdings.indexes[instance.number]
        return self._remover.trim_idle(index, idle_ms, now_ms)

    # administration, background

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
        dropped = self.trim_all(instance, now_ms)
        index = holdings.indexes[instance.number]
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

    def stats(self, of: Instance | Group | Storage | None = None) -> dict[str, Any]:
        """STATS of an instance, a group, a storage, or everything: flat names and numbers."""
        return metrics.stats(self._holdings, of)

    def index_bytes(self) -> int:
        """An estimate of what all indexes and sessions take in memory."""
        self._writer.recount()
        return self._writer.index_bytes

    @committed
    def tick(self, now_ms: int) -> bool:
        """One bounded slice of background work; True if more is due now."""
        self._settle(now_ms)
        self._writer.recount()
        self._tiering.look(now_ms)
        fading = bool(self._retention.due) and self._retention.due[0][0] <= now_ms
        return self._remover.tick(self._reclaimer, now_ms, Budget(self._thread_ns)) or fading

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
