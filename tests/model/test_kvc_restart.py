"""The cache comes back from its journal: what a restart finds is what there was."""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule
from tests.model import test_kvc_walk
from tests.model.test_kvc_cache import CacheMachine
from tests.testing.kept_store import opener

from hotplate.kvc.cache import Cache
from hotplate.kvc.catalog import Catalog
from hotplate.kvc.index import ABSENT, STAMP_SHIFT, Index
from hotplate.kvc.journal import Journal, Operation, everything
from hotplate.kvc.keys import Keys
from hotplate.kvc.restore import Restored, Restorer
from hotplate.wire.journal import pack_operations, unpack_operations


def blocks_of(index: Index) -> dict[bytes, Any]:
    """All that an index says of its blocks, access aside, by key."""
    found: dict[bytes, Any] = {}
    for shard in index.shards:
        for key, block in shard.items():
            if index.state[block] == ABSENT:
                continue
            parent = index.parent_of(block)
            found[key] = (
                index.key_of(parent) if parent >= 0 else None,
                index.created[block] >> STAMP_SHIFT,
                index.expires[block],
                index.priority[block],
            )
    return found


class RestartMachine(CacheMachine):
    """The calls of CacheMachine; now and then the journal is read into another cache."""

    def __init__(self) -> None:
        super().__init__()
        self.journal: list[bytes] = []
        self.cache.keep_journal(Journal(self.write))
        self.begin_compaction()
        self.say_all()

    def retain(self, *_: Any, **__: Any) -> None:
        """Not called: what RETAIN says ends with the server."""

    def write(self, operations: list[Operation]) -> None:
        self.journal.append(pack_operations(operations))

    def say_all(self) -> None:
        for operations in everything(self.cache):
            self.write(operations)

    def restored(self, journal: list[bytes]) -> tuple[Cache, Restored]:
        cache = Cache(Catalog(), index_bytes_max=1 << 40, write_grace_ms=2_500)
        restorer = Restorer(cache, opener(self.stores))
        for record in journal:
            for operation in unpack_operations(record):
                restorer.apply(operation)
        return cache, restorer.settle(self.now)

    @rule()
    def restart(self) -> None:
        assert self.cache.holdings.journal is not None
        self.cache.holdings.journal.commit()  # what reading let end
        cache, restored = self.restored(self.journal)
        self.compare(cache, restored)

    @rule()
    def compact_and_restart(self) -> None:
        self.journal.clear()
        self.say_all()
        self.restart()
        self.begin_compaction()

    @rule(steps=st.integers(1, 6))
    def compact_a_little(self, steps: int) -> None:
        """A compaction goes on; once it is through, what was said before it began is not needed."""
        for _ in range(steps):
            operations = next(self.base, None)
            if operations is None:
                self.journal = self.journal[self.base_from :]
                self.restart()
                self.begin_compaction()
                return
            self.write(operations)

    @rule()
    def begin_compaction(self) -> None:
        self.base = everything(self.cache)
        self.base_from = len(self.journal)
        self.write(next(self.base))

    base_from = 0

    def compare(self, cache: Cache, restored: Restored) -> None:
        assert restored.lost_blocks == 0
        serving = 0
        for instance, _ in self.instances:
            again = cache.catalog.instances[instance.id]
            assert again.registration == instance.registration
            mine, theirs = self.cache.index_of(instance), cache.index_of(again)
            keys = Keys.listed(sorted(blocks_of(mine)))
            before = self.cache.meta(instance, keys, self.now)
            after = cache.meta(again, keys, self.now)
            if restored.lost_sessions == 0:
                here, there = blocks_of(mine), blocks_of(theirs)
                assert here.keys() == there.keys()
                serves = {
                    key: served(meta) for key, meta in zip(keys.listing(), before, strict=True)
                }
                for key, (parent, created, expires, priority) in here.items():
                    again_created, again_expires = there[key][1:3]
                    if not serves[key]:  # entered once more, when other stamps had been given
                        assert again_created >= created
                        created = again_created
                    # a child that was given up may have let it last longer: that is forgotten
                    assert again_expires <= expires
                    assert there[key] == (parent, created, again_expires, priority), key
            for key, one, other in zip(keys.listing(), before, after, strict=True):
                assert served(one) == served(other), key
                serving += len(served(one))
            assert theirs.blocks == len(blocks_of(theirs))
            self.compare_bytes(cache, mine, theirs, restored)
        assert set(cache.writer.sessions) <= set(self.cache.writer.sessions)
        assert restored.sessions + restored.lost_sessions == len(self.cache.writer.sessions)
        for session_id, row in self.cache.writer.closed.rows():
            assert dict(cache.writer.closed.rows())[session_id] == row

    def compare_bytes(self, cache: Cache, mine: Index, theirs: Index, restored: Restored) -> None:
        names = {storage.number: storage.name for storage in self.catalog.storages.values()}
        there = {storage.number: storage.name for storage in cache.catalog.storages.values()}

        def by_name(counts: dict[int, int], numbers: dict[int, str]) -> dict[str, int]:
            return {numbers[number]: size for number, size in counts.items() if size}

        assert by_name(theirs.serving, there) == by_name(mine.serving, names)
        if not restored.lost_sessions:
            assert by_name(theirs.writing, there) == by_name(mine.writing, names)


def served(meta: Any) -> list[Any]:
    """The copies that are served."""
    if meta is None:
        return []
    return sorted(
        (copy.specs, copy.place, copy.generation, copy.sums, copy.size_bytes)
        for copy in meta.copies
        if copy.state == "serving"
    )


RestartMachine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=40, suppress_health_check=list(HealthCheck)
)
TestRestarts = RestartMachine.TestCase


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_long_walk_comes_back_after_every_step(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(test_kvc_walk, "CacheMachine", RestartMachine)
    walk = test_kvc_walk.Walk(seed)
    machine: Any = walk.machine
    for number in range(150):
        walk.step()
        machine.restart()
        if number % 7 == 0:
            machine.compact_and_restart()
        machine.compact_a_little(2)
