"""Builds the KV cache of a server: the built-in storages, the default group, file IO, the tick."""

import asyncio
import logging
import os
from functools import partial
from pathlib import Path
from typing import Any, Final

from hotplate.engine.engine import Engine
from hotplate.engine.kvc_moves import Mover
from hotplate.kvc.cache import Cache
from hotplate.kvc.catalog import Catalog
from hotplate.kvc.model import Storage
from hotplate.kvc.restore import RestoreError
from hotplate.persist.kvc_journal import JournalError, remove_journal
from hotplate.server.directory import (
    WorkingDirectory,
    default_index_bytes,
    default_memory_bytes,
    default_ssd_bytes,
)
from hotplate.server.kvjournal import JournalKeeper
from hotplate.server.storage_health import StorageHealth
from hotplate.tiers.directory import StoreOpenError
from hotplate.tiers.file import FileStore, open_file_store
from hotplate.tiers.io import FileIo
from hotplate.tiers.memory import default_path, open_memory_store
from hotplate.tiers.ssd import open_ssd_store
from hotplate.tiers.store import SegmentStore
from hotplate.tiers.watched import Store, WatchedStore

log = logging.getLogger("hotplate.server")

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
            thread_ns=engine.clock.thread_ns,
        )
        self._io = FileIo(loop)
        self._health = StorageHealth(self._catalog, self._cache, self._io, engine.clock)
        engine.kvc = self._cache
        engine.kvc_events.configure()
        self._mover = Mover(engine)
        engine.file_io = self._io
        engine.open_store = self.open_store
        journal_path = directory.path / "kvc-journal"
        self._journal: JournalKeeper | None = None
        if config.kvc_journal:
            self._journal = JournalKeeper(self._cache, journal_path, self._io)
        elif remove_journal(journal_path):
            log.warning("kvc-journal is no: what an earlier server kept of its blocks is removed")
        try:
            now_ms = engine.clock.now_ms()
            if self._journal is None or not self._journal.restore(self._reopen_store, now_ms):
                self._add_builtin("memory", self._builtin_path("memory"))
                self._add_builtin("ssd", self._builtin_path("ssd"))
                self._cache.group_changed(self._catalog.create_group(DEFAULT_GROUP, {}))
            if self._journal is not None:
                self._journal.begin()
        except (StoreOpenError, JournalError, RestoreError, OSError) as error:
            self._close_stores(remove_memory=False)
            raise StoreOpenError(str(error)) from error

    def _builtin_path(self, kind: str) -> str | None:
        """Where a built-in storage is; None: where memory storages are without being told."""
        config = self._engine.config
        if kind == "memory":
            return config.kvc_run_dir or None
        return config.kvc_ssd_dir or str(self._directory.path / "kvc-ssd")

    def _reopen_store(self, storage: Storage) -> WatchedStore:
        """The store of a storage of before a restart, with what is there."""
        if storage.name == storage.type:  # built in: the settings say how large it is, and where
            storage.capacity_bytes = None
            storage.path = self._builtin_path(storage.type)
        return self.open_store(storage, keep=True)

    def open_store(self, storage: Storage, *, keep: bool = False) -> WatchedStore:
        """The store of a storage; StoreOpenError where it can't be. `keep`: with what is there."""
        name = storage.name
        capacity_bytes = storage.capacity_bytes or self._default_capacity(storage)
        storage.capacity_bytes = capacity_bytes
        if storage.type == "memory":
            path = storage.path or default_path(self._directory.run_name, name)
            opened: Store = open_memory_store(
                name, path, capacity_bytes, storage.segment_bytes, keep=keep
            )
        elif storage.type == "file":
            path = storage.path or ""
            keys_per_file = storage.keys_per_file = storage.keys_per_file or 1
            opened = open_file_store(name, path, capacity_bytes, keys_per_file, keep=keep)
        else:
            path = storage.path or str(self._directory.path / f"kvc-{name}")
            opened = open_ssd_store(
                name,
                path,
                capacity_bytes,
                storage.segment_bytes,
                direct=self._engine.config.kvc_direct_io,
                keep=keep,
            )
        storage.path = path
        return WatchedStore(
            opened, self._engine.clock, lambda: self._engine.config.kvc_storage_slow_ms
        )

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
        self._health.tick(now_ms, config.kvc_storage_slow_ms)
        self._make_segments_ahead()
        self._remove_files()
        more = cache.tick(now_ms)
        self._mover.run(now_ms)
        if self._engine.blocking.ready:  # events of what the tick did
            self._engine.blocking.serve()
        return (self._journal is not None and self._journal.tick(now_ms)) or more

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
        if self._journal is not None:
            self._journal.close()

    def _close_stores(self, *, remove_memory: bool) -> None:
        for storage in self._catalog.storages.values():
            try:
                storage.opened().close(remove=remove_memory and storage.type == "memory")
            except OSError as error:
                log.warning("files of storage %s stay: %s", storage.name, error)

    def _make_segments_ahead(self) -> None:
        """Make the files on a thread that writes will need soon: it takes too long in a request."""
        for storage in self._catalog.storages.values():
            if not storage.available or not isinstance(storage.store, WatchedStore):
                continue
            if isinstance(storage.store.inner, SegmentStore):
                self._make_ahead(storage.store.inner)
                self._empty(storage.store.inner)

    def _empty(self, store: SegmentStore) -> None:
        """Free what removed segments held, on a thread."""
        empty = store.begin_emptying()
        if empty is not None:
            try:
                self._io.submit(empty, done=_raise, lane=store.name)
            except OSError:
                empty()  # no thread is free: then here

    def _make_ahead(self, store: SegmentStore) -> None:
        make = store.begin_ahead()
        if make is None:
            return

        def finish(result: Any) -> None:
            store.finish_ahead(result)
            self._make_ahead(store)

        try:
            self._io.submit(make, done=finish, lane=store.name)
        except OSError as error:
            store.finish_ahead(error)

    def _remove_files(self) -> None:
        """Remove block files on a thread that no block is in any more."""
        for storage in self._catalog.storages.values():
            store = storage.store
            if not storage.available or not isinstance(store, WatchedStore):
                continue
            if (
                not isinstance(store.inner, FileStore)
                or (job := store.inner.begin_removal()) is None
            ):
                continue
            done = partial(_files_removed, store, store.inner)
            try:
                self._io.submit(job, done=done, lane=store.name)
            except OSError as error:
                store.inner.finish_removal(error)

    def _add_builtin(self, kind: str, path: str | None) -> None:
        wanted = self._engine.config.kvc_segment_bytes
        # Too large for so small a storage: then it chooses.
        storage = self._catalog.build_storage(kind, kind, path=path)
        storage.segment_bytes = wanted if wanted <= self._default_capacity(storage) else None
        storage.store = self.open_store(storage)
        self._catalog.add_storage(storage)
        self._cache.storage_changed(storage)

    def _default_capacity(self, storage: Storage) -> int:
        config = self._engine.config
        if storage.type == "file" and storage.path is not None:
            os.makedirs(storage.path, exist_ok=True)
            return default_ssd_bytes(Path(storage.path))
        if storage.type == "memory":
            return config.kvc_memory_capacity or default_memory_bytes()
        return config.kvc_ssd_capacity or default_ssd_bytes(Path(self._directory.path))


def _raise(result: Any) -> None:
    if isinstance(result, Exception):
        raise result


def _files_removed(store: WatchedStore, inner: FileStore, result: Any) -> None:
    error = inner.finish_removal(result)
    if error is not None:
        store.health.note(error)


def _readable(size_bytes: float) -> str:
    for unit in _UNITS[:-1]:
        if size_bytes < 1024:
            return f"{size_bytes:.3g} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.3g} {_UNITS[-1]}"
