"""The KV cache: what the KVC commands call.

Owns nothing but the order of things: every call first lets sessions and leases end that are due,
then does its work through the parts (match, writer, leasing, removal, reclaim). Calls are
synchronous and atomic; a call that raises has changed nothing but what was due anyway, and blocks
that made room. It must not know arguments, replies or sockets.
"""

from collections.abc import Sequence
from typing import Final

from hotplate.errors import (
    CommandError,
    NoSpaceError,
    NoStorageError,
    QuotaError,
)
from hotplate.kvc.answers import BlockMeta, Match, Mode, ReadSlot, Reservation, Slot
from hotplate.kvc.counters import Counters
from hotplate.kvc.describe import block_meta, read_slot, write_slot
from hotplate.kvc.enter import WriteRequest
from hotplate.kvc.explain import Explainer, Explanation
from hotplate.kvc.index import Copy, Index
from hotplate.kvc.journal import committed
from hotplate.kvc.keys import Keys
from hotplate.kvc.match import Matcher
from hotplate.kvc.model import Instance
from hotplate.kvc.retention import Retained
from hotplate.kvc.upkeep import Upkeep
from hotplate.kvc.write_session import Outcome, WriteSession

LOOKUPS_A_SAMPLE_MASK: Final = 15  # of 16 lookups one is timed: two looks at a clock
REUSE_LOOKS: Final = 256  # blocks that a sample of reuse may look at without being made rarer


class Cache(Upkeep):
    """Blocks of every instance, over the storages of the catalog."""

    _lookups: int = 0

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
                self._sample_reuse(index, found.pieces[-1][2] - 1, counters)
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

    def _sample_reuse(self, index: Index, block: int, counters: Counters) -> None:
        """Count how long ago a block was used before, at a cost that does not grow with its run.

        To find that takes a look at every block behind it in its run. Where these are many fewer
        samples are taken, and each counts for more.
        """
        weight = 1 + index.blocks_behind(block) // REUSE_LOOKS
        if self._lookups // (LOOKUPS_A_SAMPLE_MASK + 1) % weight == 0:
            counters.reuse_blocks.add(index.reuse_distance(block), weight)

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
