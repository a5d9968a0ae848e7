"""A cache on real storages that fail, lose files and come back, against a dictionary.

What is promised: READ answers what was written, or a miss, or an error that says why; the group's
bytes are those of the blocks that are there; a storage's reserved slots are the slots that somebody
holds; and when everything works again, everything is available again.
"""

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.fault.test_failing_storage import SEGMENT, Place
from tests.testing.faulty_system import FaultySystem
from tests.testing.kvc_cache import keys

from hotplate.errors import ChecksumError, CommandError
from hotplate.tiers.health import CHECK_MS, PROBE_MS_MAX
from hotplate.tiers.store import SegmentStore

NAMES = [f"n{number}" for number in range(12)]
CALLS = ["pwrite", "pread", "posix_fallocate", "open", "unlink", "fsync"]
ERRORS = [errno.EIO, errno.ENOSPC, errno.EROFS, errno.EDQUOT]


class StorageLife(RuleBasedStateMachine):
    """Blocks of ten bytes; a storage has room for more of them than are ever written."""

    @initialize()
    def begin(self) -> None:
        """A fresh place; calls can be made to fail from here on."""
        self.directory = TemporaryDirectory()
        self.place = Place(Path(self.directory.name))
        self.system = FaultySystem()
        self.system.__enter__()
        self.stored: set[str] = set()  # at some time

    @rule(name=st.sampled_from(NAMES), again=st.sampled_from(NAMES))
    def put_two(self, name: str, again: str) -> None:
        """Two blocks, so that there is something to lose."""
        self.put(name)
        self.put(again)

    @rule(name=st.sampled_from(NAMES))
    def put(self, name: str) -> None:
        """Store a block, or hear why not."""
        if self.place.user.matched(keys(name)):
            return
        try:
            self.place.put(name)
        except (CommandError, OSError):
            self.place.user.now += 31_000  # the session it may have left ends
            self.place.clock.advance(31_000)
            self.place.user.tick()
            return
        self.stored.add(name)

    @rule(name=st.sampled_from(NAMES))
    def read(self, name: str) -> None:
        """`Place.read` compares what comes with what must come."""
        try:
            data = self.place.read(name)
        except (CommandError, OSError):
            return
        assert data is None or name in self.stored

    @rule(name=st.sampled_from(NAMES))
    def remove(self, name: str) -> None:
        """A block goes."""
        self.place.user.cache.remove(self.place.user.instance, keys(name), self.place.user.now)
        assert self.place.user.matched(keys(name)) == 0

    @rule(name=st.sampled_from(CALLS), number=st.sampled_from(ERRORS))
    def fail(self, name: str, number: int) -> None:
        """Calls of one kind fail."""
        self.system.fail(name, number)

    @rule()
    def heal(self) -> None:
        """They work again."""
        self.system.heal()

    @rule(ms=st.sampled_from([1, 1000, CHECK_MS]))
    def advance(self, ms: int) -> None:
        """Time goes on."""
        self.place.advance(ms)

    @rule(data=st.data(), size=st.sampled_from([0, 5000, SEGMENT // 2]))
    def cut(self, data: st.DataObject, size: int) -> None:
        """Someone cuts a segment file."""
        files = sorted(self.place.path.glob("*/*.segment"))
        if files:
            os.truncate(data.draw(st.sampled_from(files)), size)

    @rule(name=st.sampled_from(["ssd", "memory"]))
    def lose(self, name: str) -> None:
        """Someone removes a directory."""
        shutil.rmtree(self.place.path / name, ignore_errors=True)

    @rule()
    def recover(self) -> None:
        """Once the system works, so does everything, without a restart."""
        self.system.heal()
        for _ in range(4):
            self.place.advance(PROBE_MS_MAX)
        assert set(self.place.states().values()) == {"available"}
        if not self.place.user.matched(keys("fresh")):
            self.place.put("fresh")
        self.stored.add("fresh")
        with suppress(ChecksumError):
            assert self.place.read("fresh") is not None
        for name in sorted(self.stored):
            with suppress(ChecksumError):  # a file that was cut, and grew again before it was seen
                self.place.read(name)

    @invariant()
    def bytes_and_slots_add_up(self) -> None:
        """Of the group, and of each storage."""
        if not hasattr(self, "place"):
            return
        stats: dict[str, Any] = self.place.user.cache.stats(self.place.user.group)
        by_storage = stats["bytes"]
        assert stats["used_bytes"] == sum(sum(each.values()) for each in by_storage.values())
        for name, states in by_storage.items():
            store = self.place.stores[name].inner
            assert isinstance(store, SegmentStore)
            used = sum(segment.used for segment in store._segments.values())
            assert used * 10 == sum(states.values())
            assert store.allocated_bytes <= store.capacity_bytes

    def teardown(self) -> None:
        """Let go of everything."""
        if hasattr(self, "system"):
            self.system.__exit__()
            for store in self.place.stores.values():
                store.close(remove=True)
            self.directory.cleanup()


StorageLife.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestStorageLife = StorageLife.TestCase
