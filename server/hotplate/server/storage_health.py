"""Looks after the storages' health: hides those that fail, probes them, drops what they lost.

The probe runs on a file-IO thread; everything else here on the event loop. What makes a storage
fail or work again is hotplate.tiers.health; here that becomes the storage's state, a line in the
log, and blocks that leave the index.
"""

import logging
from functools import partial

from hotplate.clock import Clock
from hotplate.kvc.cache import Cache
from hotplate.kvc.catalog import Catalog
from hotplate.kvc.model import Storage
from hotplate.tiers.directory import DirectoryGoneError
from hotplate.tiers.io import FileIo
from hotplate.tiers.watched import WatchedStore

log = logging.getLogger("hotplate.server")


class StorageHealth:
    """Of all storages of a server."""

    def __init__(self, catalog: Catalog, cache: Cache, file_io: FileIo, clock: Clock) -> None:
        self._catalog = catalog
        self._cache = cache
        self._io = file_io
        self._clock = clock

    def tick(self, now_ms: int, slow_ms: int) -> None:
        """Take note of failures, begin probes that are due."""
        for storage in list(self._catalog.storages.values()):
            store = storage.store
            if not isinstance(store, WatchedStore):
                continue
            health = store.health
            if health.update(now_ms, self._clock.monotonic_ns(), slow_ms):
                self._show(storage, store)
            if health.begin_probe(now_ms):
                done = partial(self._probed, storage, store, slow_ms)
                try:
                    examine = partial(store.examine, health.need_bytes, probe=bool(health.failure))
                    self._io.submit(examine, done=done, lane=storage.name)
                except OSError as error:  # nothing is wrong with the storage: only try later
                    health.end_probe(
                        now_ms, self._clock.monotonic_ns(), 0, error if health.failure else None
                    )

    def _probed(
        self,
        storage: Storage,
        store: WatchedStore,
        slow_ms: int,
        result: frozenset[int] | Exception,
    ) -> None:
        if self._catalog.storages.get(storage.name) is not storage:
            return
        now_ms = self._clock.now_ms()
        error: OSError | None = None
        try:
            if isinstance(result, DirectoryGoneError):
                self._lose(storage, store, store.inner.reopen(), now_ms)
            elif isinstance(result, Exception):
                raise result
            elif result:
                self._lose(storage, store, result, now_ms)
            if store.health.failure:
                store.inner.restore()
        except OSError as failed:
            error = failed
        if store.health.end_probe(now_ms, self._clock.monotonic_ns(), slow_ms, error):
            self._show(storage, store)

    def _lose(
        self, storage: Storage, store: WatchedStore, lost: frozenset[int], now_ms: int
    ) -> None:
        store.inner.lose(lost)
        dropped = self._cache.drop_lost(storage, lost, now_ms) if lost else 0
        log.warning(
            "storage %s lost %d segment files: %d blocks dropped", storage.name, len(lost), dropped
        )

    def _show(self, storage: Storage, store: WatchedStore) -> None:
        storage.failure = store.health.failure
        self._cache.storage_changed(storage)
        if storage.failure:
            log.warning("storage %s is failing: %s", storage.name, storage.failure)
        else:
            log.warning("storage %s works again", storage.name)
