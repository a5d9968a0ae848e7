"""WATCH: which clients wait for which keys, and the observer of database changes.

A database tells its observer of every change, and has none while nobody asks: the usual write pays
one test. While keys of a database are watched, this table is its observer and passes changes on to
the engine's observer, if there is one (log, notifications).
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from hotplate.keyspace.database import Database

if TYPE_CHECKING:
    from hotplate.engine.context import Context

Observer: TypeAlias = Callable[[int, bytes, str], None]


class WatchTable:
    """Watched keys of all databases."""

    def __init__(self, databases: Sequence[Database]) -> None:
        self._databases = databases
        self._watchers: dict[tuple[int, bytes], set[Context]] = {}
        self._observer: Observer | None = None

    def watch(self, ctx: "Context", key: bytes) -> None:
        """`ctx` watches `key` of its current database."""
        entry = (ctx.db.index, key)
        if entry not in ctx.watched:
            ctx.watched[entry] = None
            self._watchers.setdefault(entry, set()).add(ctx)
            ctx.db.observer = self._on_change

    def forget(self, ctx: "Context") -> None:
        """`ctx` watches nothing any more."""
        for entry in ctx.watched:
            watchers = self._watchers[entry]
            watchers.discard(ctx)
            if not watchers:
                del self._watchers[entry]
        ctx.watched.clear()
        ctx.watch_broken = False
        if not self._watchers:
            for database in self._databases:
                database.observer = self._observer

    def set_observer(self, observer: Observer | None) -> None:
        """Who else sees every change: one function for all of them, or nobody."""
        self._observer = observer
        for database in self._databases:
            if database.observer != self._on_change:
                database.observer = observer

    def broken(self, ctx: "Context") -> bool:
        """Whether a key that `ctx` watches changed; a key whose time has come counts as changed."""
        for index, key in ctx.watched:
            self._databases[index].lookup_write(key, ctx.now_ms)  # expires it, which is a change
        return ctx.watch_broken

    def touch_database(self, index: int, *, other: int | None = None) -> None:
        """Database `index` is about to be flushed (or swapped with `other`): every watched key that
        is there, or will be, changes."""
        sources = [self._databases[i] for i in (index, other) if i is not None]
        for (at, key), watchers in self._watchers.items():
            if at == index and any(database.holds(key) for database in sources):
                for ctx in watchers:
                    ctx.watch_broken = True

    def _on_change(self, index: int, key: bytes, event: str) -> None:
        for ctx in self._watchers.get((index, key), ()):
            ctx.watch_broken = True
        if self._observer is not None:
            self._observer(index, key, event)
