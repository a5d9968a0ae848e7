"""Builds the KV cache of a server: the built-in storages, the default group, file IO, the tick."""

import asyncio
from pathlib import Path
from typing import Final

from hotplate.engine.engine import Engine
from hotplate.engine.kvc_moves import Mover
from hotplate.kvc.cache import Cache
from hotplate.kvc.catalog import Catalog
from hotplate.kvc.model import Storage
from hotplate.kvc.restore import RestoreError
from hotplate.persist.kvc_journal import JournalError
from hotplate.server.directory import (
    WorkingDirectory,
    default_index_bytes,
    default_memory_bytes,
    default_ssd_bytes,
)
from hotplate.server.kvjournal import JournalKeeper
from hotplate.tiers.directory import StoreOpenError
from hotplate.tiers.io import FileIo
from hotplate.tiers.memory import default_path, open_memory_store
from hotplate.tiers.ssd import open_ssd_store
from hotplate.tiers.store import SegmentStore

DEFAULT_GROUP: Final = "default"
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


class KvCacheService:
    """The cache and what it needs of the process."""

    def __init__(
        self, engine: Engine, directory: WorkingDirectory, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._engine = engine
        self._directory = directory
        config = engine.config
        self._catalog = Catalog()
        self._cache = Cache(
            self._catalog,
            index_bytes_max=config.kvc_index_max_bytes or default_index_bytes(),
            lease_ms_max=config.kvc_lease_max_ms,
            write_grace_ms=config.kvc_write_grace_ms,
            closed_sessions_max=config.kvc_closed_sessions_max,
        )
        self._io = FileIo(loop)
        engine.kvc = self._cache
        engine.kvc_events.configure()
        self._mover = Mover(engine)
        engine.file_io = self._io
        engine.open_store = self.open_store
        self._journal = JournalKeeper(self._cache, directory.path / "kvc-journal", self._io)
        try:
            now_ms = engine.clock.now_ms()
            if not self._journal.restore(self._reopen_store, now_ms):
                self._add_builtin("memory", config.kvc_run_dir or None)
                self._add_builtin("ssd", config.kvc_ssd_dir or str(directory.path / "kvc-ssd"))
                self._cache.group_changed(self._catalog.create_group(DEFAULT_GROUP, {}))
            self._journal.begin()
        except (StoreOpenError, JournalError, RestoreError, OSError) as error:
            self._close_stores(remove_memory=False)
            raise StoreOpenError(str(error)) from error

    def _reopen_store(self, storage: Storage) -> SegmentStore:
        """The store of a storage of before a restart, with what is there."""
        if storage.name == storage.type:  # built in: the settings say how large it is
            storage.capacity_bytes = None
            place = self._engine.config.kvc_run_dir, self._engine.config.kvc_ssd_dir
            storage.path = place[storage.type == "ssd"] or storage.path
        return self.open_store(storage, keep=True)

    def open_store(self, storage: Storage, *, keep: bool = False) -> SegmentStore:
        """The store of a storage; StoreOpenError where it can't be. `keep`: with what is there."""
        capacity_bytes = storage.capacity_bytes or self._default_capacity(storage.type)
        storage.capacity_bytes = capacity_bytes
        if storage.type == "memory":
            path = storage.path or default_path(self._directory.run_name, storage.name)
            opener = open_memory_store
        else:
            path = storage.path or str(self._directory.path / f"kvc-{storage.name}")
            opener = open_ssd_store
        opened = opener(storage.name, path, capacity_bytes, storage.segment_bytes, keep=keep)
        storage.path = path
        return opened

    def tick(self, now_ms: int) -> bool:
        """One slice of background work, with the settings in force."""
        config, cache = self._engine.config, self._cache
        self._engine.now_ms = now_ms
        cache.configure(
            lease_ms_max=config.kvc_lease_max_ms,
            write_grace_ms=config.kvc_write_grace_ms,
            closed_sessions_max=config.kvc_closed_sessions_max,
            promote_always=config.kvc_promotion == "always",
        )
        self._make_segments_ahead()
        more = cache.tick(now_ms)
        self._mover.run(now_ms)
        if self._engine.blocking.ready:  # events of what the tick did
            self._engine.blocking.serve()
        return self._journal.tick(now_ms) or more

    def summary(self) -> str:
        """The storages and their sizes, for the ready line."""
        return ", ".join(
            f"{storage.name} {_readable(storage.capacity_bytes or 0)}"
            for storage in self._catalog.storages.values()
        )

    def close(self) -> None:
        """Finish file IO, write down what there is. Memory is given back unless it is to stay."""
        self._mover.close()
        self._io.close()
        keep_memory = self._engine.config.kvc_memory_on_stop == "keep"
        self._close_stores(remove_memory=not keep_memory)
        self._journal.close()

    def _close_stores(self, *, remove_memory: bool) -> None:
        for storage in self._catalog.storages.values():
            storage.opened().close(remove=remove_memory and storage.type == "memory")

    def _make_segments_ahead(self) -> None:
        """Make the files on a thread that writes will need soon: it takes too long in a request."""
        for storage in self._catalog.storages.values():
            store = storage.store
            if not isinstance(store, SegmentStore) or (make := store.begin_ahead()) is None:
                continue
            try:
                self._io.submit(make, done=store.finish_ahead)
            except OSError as error:
                store.finish_ahead(error)

    def _add_builtin(self, kind: str, path: str | None) -> None:
        wanted = self._engine.config.kvc_segment_bytes
        # Too large for so small a storage: then it chooses.
        segment_bytes = wanted if wanted <= self._default_capacity(kind) else None
        storage = self._catalog.build_storage(kind, kind, path=path, segment_bytes=segment_bytes)
        storage.store = self.open_store(storage)
        self._catalog.add_storage(storage)
        self._cache.storage_changed(storage)

    def _default_capacity(self, kind: str) -> int:
        config = self._engine.config
        if kind == "memory":
            return config.kvc_memory_capacity or default_memory_bytes()
        return config.kvc_ssd_capacity or default_ssd_bytes(Path(self._directory.path))


def _readable(size_bytes: float) -> str:
    for unit in _UNITS[:-1]:
        if size_bytes < 1024:
            return f"{size_bytes:.3g} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.3g} {_UNITS[-1]}"
