"""FINISH with `appendfsync always`: the bytes on disk first, then the index, then the reply."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from hotplate.engine.context import Deferred
from hotplate.errors import CommandError, StorageIOError
from hotplate.kvc.ports import BlockStore
from hotplate.kvc.write_session import WriteSession
from hotplate.resp.types import Reply

if TYPE_CHECKING:
    from hotplate.engine.context import Context


def finish_safely(
    ctx: "Context", session: WriteSession | None, finish: Callable[[], Reply]
) -> Reply:
    """What `finish` answers, once it is safe from a loss of power where it has to be."""
    if session is None or ctx.engine.config.appendfsync != "always":
        return finish()
    cache = ctx.engine.kvc
    assert cache is not None
    places: dict[str, tuple[BlockStore, list[int]]] = {}
    for part in session.parts:
        storage = cache.catalog.storage_by_number[part.storage]
        if storage is not None and storage.opened().blocking:
            places.setdefault(storage.name, (storage.opened(), []))[1].append(part.place)
    if not places:
        return finish()
    return Deferred(partial(_Finish(ctx, places, finish).start))


class _Finish:
    """One FINISH on its way: sync, publish, sync the journal, answer."""

    __slots__ = ("_ctx", "_done", "_finish", "_lane", "_places")

    def __init__(
        self,
        ctx: "Context",
        places: dict[str, tuple[BlockStore, list[int]]],
        finish: Callable[[], Reply],
    ) -> None:
        self._ctx = ctx
        self._places = places
        self._finish = finish
        self._lane = next(iter(places))

    def start(self, done: Callable[[Any], None]) -> None:
        """Begin with the bytes."""
        self._done = done
        self._submit(self._sync_bytes, self._publish)

    def _submit(self, job: Callable[[], None], then: Callable[[Any], None]) -> None:
        try:
            self._ctx.engine.file_io.submit(job, done=then, lane=self._lane)
        except OSError as error:
            then(error)

    def _sync_bytes(self) -> None:
        for store, places in self._places.values():
            store.sync(places)

    def _publish(self, result: Any) -> None:
        """The bytes are safe: now the index may say so."""
        if isinstance(result, Exception):
            self._done(StorageIOError(f"syncing failed: {result}"))
            return
        try:
            reply = self._finish()
        except CommandError as error:
            self._done(error)
            return
        cache = self._ctx.engine.kvc
        journal = None if cache is None else cache.holdings.journal
        if journal is None or journal.sync is None:
            self._done(reply)
            return
        self._submit(journal.sync, partial(self._answer, reply))

    def _answer(self, reply: Reply, result: Any) -> None:
        failed = isinstance(result, Exception)
        self._done(StorageIOError(f"syncing failed: {result}") if failed else reply)
