"""The KV cache: what the KVC commands call.

(The surface; bodies follow within minutes.)
"""

from collections.abc import Sequence
from typing import Any

from hotplate.kvc.answers import BlockMeta, Match, Mode, ReadSlot, Reservation, Slot
from hotplate.kvc.catalog import Catalog
from hotplate.kvc.keys import Keys
from hotplate.kvc.model import Group, Instance, Storage
from hotplate.kvc.write_session import Outcome, WriteSession


class Cache:
    """Blocks of every instance, over the storages of the catalog."""

    catalog: Catalog

    def __init__(
        self,
        catalog: Catalog,
        *,
        index_bytes_max: int,
        lease_ms_max: int = 60_000,
        write_grace_ms: int = 60_000,
        closed_sessions_max: int = 100_000,
    ) -> None:
        raise NotImplementedError

    # reading

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
        raise NotImplementedError

    def read(
        self,
        instance: Instance,
        key: bytes,
        spec: int | None,
        now_ms: int,
        lease_id: bytes | None = None,
    ) -> ReadSlot | None:
        """Where a block's bytes (of one spec, or all) lie; None is a miss."""
        raise NotImplementedError

    def pin(self, slot: Slot) -> None:
        """Keep a slot's bytes while they travel; each pin needs one unpin."""
        raise NotImplementedError

    def unpin(self, slot: Slot) -> None:
        """The bytes have left."""
        raise NotImplementedError

    def meta(self, instance: Instance, keys: Keys, now_ms: int) -> list[BlockMeta | None]:
        """What is known of each key."""
        raise NotImplementedError

    # writing

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
        """STARTWRITE."""
        raise NotImplementedError

    def finish(
        self,
        instance: Instance,
        session_id: bytes,
        outcome: Outcome,
        sums: bytes | None,
        now_ms: int,
    ) -> tuple[int, int]:
        """FINISH: (published, dropped)."""
        raise NotImplementedError

    def session(self, instance: Instance, session_id: bytes, now_ms: int) -> WriteSession:
        """The open session, or NoSessionError, or SessionClosedError."""
        raise NotImplementedError

    def slot(self, session: WriteSession, index: int, spec: int | None) -> Slot:
        """Where the bytes of the session's new key `index` go. CommandError for a bad index/spec."""
        raise NotImplementedError

    def written(
        self, session: WriteSession, index: int, spec: int | None, sums: Sequence[int]
    ) -> None:
        """Bytes of a new key have landed; `sums` per spec held (one if `spec` is given)."""
        raise NotImplementedError

    def drop_copy(self, instance: Instance, key: bytes, slot: Slot, now_ms: int) -> None:
        """A copy's bytes are not what was published: drop it."""
        raise NotImplementedError

    def stage(self, instance: Instance, key_bytes: int, now_ms: int) -> Slot:
        """PUT: a slot for all specs of one block whose key is not accepted yet. QuotaError etc."""
        raise NotImplementedError

    def unstage(self, instance: Instance, slot: Slot) -> None:
        """Give a staged slot back."""
        raise NotImplementedError

    def put(
        self,
        instance: Instance,
        keys: Keys,
        staged: Sequence[Slot],
        sums: bytes,
        *,
        now_ms: int,
        ttl_ms: int | None = None,
        priority: int = 50,
        parent: bytes | None = None,
    ) -> int:
        """Publish staged slots (one per key, bytes in place, `sums` for key x spec).

        The number newly stored; slots of keys that are stored already are given back. On an
        error nothing has changed and the slots are still staged.
        """
        raise NotImplementedError

    # leases, removal

    def extend_lease(self, instance: Instance, lease_id: bytes, ms: int, now_ms: int) -> bool:
        """Whether the lease existed; it now ends no sooner than `ms` from now."""
        raise NotImplementedError

    def release_lease(self, instance: Instance, lease_id: bytes, now_ms: int) -> bool:
        """Whether the lease existed."""
        raise NotImplementedError

    def remove(self, instance: Instance, keys: Keys, now_ms: int) -> int:
        """REMOVE: how many blocks were removed."""
        raise NotImplementedError

    def trim_all(self, instance: Instance, now_ms: int) -> int:
        """TRIM ALL and META."""
        raise NotImplementedError

    def trim_created(self, instance: Instance, from_ms: int, to_ms: int, now_ms: int) -> int:
        """TRIM BEFORE (from 0) and BETWEEN: blocks created in [from_ms, to_ms)."""
        raise NotImplementedError

    def trim_idle(self, instance: Instance, idle_ms: int, now_ms: int) -> int:
        """TRIM IDLE: blocks whose last access is at least `idle_ms` ago."""
        raise NotImplementedError

    # administration, background

    def create_index(self, instance: Instance) -> None:
        """An instance was registered."""
        raise NotImplementedError

    def drop_index(self, instance: Instance, now_ms: int) -> int:
        """An instance goes: its blocks are trimmed, its sessions and leases end. Blocks dropped."""
        raise NotImplementedError

    def block_count(self, instance: Instance) -> int:
        """Blocks of the instance, those being written included."""
        raise NotImplementedError

    def storage_changed(self, storage: Storage) -> None:
        """A storage was added, enabled or disabled."""
        raise NotImplementedError

    def storage_blocks(self, storage: Storage) -> int:
        """Copies that lie on the storage, and slots not freed yet."""
        raise NotImplementedError

    def drop_storage(self, storage: Storage, now_ms: int) -> int:
        """A storage goes (REMOVE FORCE): its copies are dropped at once, without grace."""
        raise NotImplementedError

    def group_changed(self, group: Group) -> None:
        """A group was created or updated."""
        raise NotImplementedError

    def drop_group(self, group: Group) -> None:
        """A group without instances goes."""
        raise NotImplementedError

    def stats(self, of: Instance | Group | Storage | None = None) -> dict[str, Any]:
        """STATS."""
        raise NotImplementedError

    def tick(self, now_ms: int) -> bool:
        """One bounded slice of background work; True if more is due now."""
        raise NotImplementedError
