"""A cache over fake storages, and a user of one instance of it who writes little code."""

from typing import Any

from tests.testing.block_store import FakeBlockStore

from hotplate.kvc import write_session as outcomes
from hotplate.kvc.answers import Match, Mode, Reservation
from hotplate.kvc.cache import Cache
from hotplate.kvc.catalog import Catalog
from hotplate.kvc.keys import Keys
from hotplate.kvc.model import Instance, Registration, Spec

START_MS = 1_700_000_000_000


def keys(*names: str) -> Keys:
    """Keys of eight bytes."""
    return Keys.listed([name.encode().rjust(8, b".") for name in names])


class CacheUser:
    """One instance (blocks of ten bytes a spec) in one group; `now` moves only when told to."""

    def __init__(
        self,
        *,
        specs: int = 1,
        chained: bool = True,
        capacity_bytes: int = 1 << 30,
        storages: tuple[str, ...] = ("memory", "ssd"),
        cache: dict[str, Any] | None = None,
        **group: Any,
    ) -> None:
        self.now = START_MS
        self.catalog = Catalog()
        self.stores: dict[str, FakeBlockStore] = {}
        for name in ("memory", "ssd"):
            storage = self.catalog.build_storage(name, name)
            store = FakeBlockStore(name, name, capacity_bytes)
            storage.store = self.stores[name] = store
            self.catalog.add_storage(storage)
        options = {"grace_ms": 0, "storages": storages, **group}
        self.group = self.catalog.create_group("g", options)
        self.cache = Cache(self.catalog, **{"index_bytes_max": 1 << 30, **(cache or {})})
        self.cache.group_changed(self.group)
        self.instance = self.register(b"one", specs=specs, chained=chained)

    def register(self, name: bytes, *, specs: int = 1, chained: bool = True) -> Instance:
        """One more instance of the group."""
        content = Registration(
            id=name,
            group="g",
            block_tokens=16,
            specs=tuple(Spec(f"s{number}", 10) for number in range(specs)),
            chained=chained,
        )
        instance, _ = self.catalog.register(content, b"")
        self.cache.create_index(instance)
        return instance

    def start(self, wanted: Keys, **options: Any) -> Reservation:
        """STARTWRITE."""
        options = {"timeout_ms": 30_000, **options}
        return self.cache.start_write(self.instance, wanted, now_ms=self.now, **options)

    def finish(
        self,
        session: bytes | None,
        outcome: outcomes.Outcome = outcomes.ALL,
        sums: bytes | None = None,
    ) -> tuple[int, int]:
        """FINISH."""
        assert session is not None
        return self.cache.finish(self.instance, session, outcome, sums, self.now)

    def store(self, wanted: Keys, **options: Any) -> None:
        """STARTWRITE and FINISH ALL."""
        reserved = self.start(wanted, **options)
        per_block = [span.count * span.specs.bit_count() for span in reserved.spans]
        self.finish(reserved.session_id, sums=b"\x01" * 8 * sum(per_block))

    def match(self, wanted: Keys, mode: Mode = Mode.PREFIX, **options: Any) -> Match:
        """GETLOC."""
        return self.cache.match(self.instance, wanted, mode=mode, now_ms=self.now, **options)

    def matched(self, wanted: Keys, mode: Mode = Mode.PREFIX, **options: Any) -> int:
        """GETLOC COUNT."""
        return self.match(wanted, mode, spans=False, **options).matched

    def tick(self) -> None:
        """Background work until none is due."""
        for _ in range(1_000):
            if not self.cache.tick(self.now):
                return
        raise AssertionError("background work does not end")

    def used(self) -> int:
        """The group's bytes."""
        used = self.cache.stats(self.group)["used_bytes"]
        assert isinstance(used, int)
        assert used == sum(store.used_bytes for store in self.stores.values())
        return used
