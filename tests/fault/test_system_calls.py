"""Every system call of a storage's life made to fail, one after the other, with every error.

What must hold whatever fails: nothing but OSError, StoreFullError and StoreOpenError comes out; a
block that was acknowledged is read as it was written, or not at all; places and bytes add up; the
storage works again once the system does, and so does one that is opened on what is there.
"""

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.testing.faulty_system import CALLS, FaultySystem
from xxhash import xxh3_64_digest

from hotplate.blocks import Shape, StoreFullError
from hotplate.clock import ManualClock
from hotplate.tiers.directory import StoreOpenError
from hotplate.tiers.memory import open_memory_store
from hotplate.tiers.ssd import open_ssd_store
from hotplate.tiers.store import SegmentStore

Opener = Callable[..., SegmentStore]

SEGMENT = 64 * 1024
SHAPE = Shape(payload_bytes=4000, key_bytes=16, sum_count=1)
OTHER = Shape(payload_bytes=900, key_bytes=16, sum_count=1)
FAILURES = [errno.EIO, errno.ENOSPC, errno.EROFS, errno.EDQUOT]
HARMLESS = (OSError, StoreFullError, StoreOpenError)


@dataclass
class Life:
    """A storage's life, and what its owner would believe of it."""

    opener: Opener
    path: Path
    store: SegmentStore | None = None
    live: dict[int, tuple[Shape, int, bytes]] = field(default_factory=dict)
    number: int = 0
    failures: int = 0

    def attempt(self, step: Callable[[], None]) -> None:
        """One step; a failure that is an answer is one."""
        try:
            step()
        except HARMLESS:
            self.failures += 1

    def run(self) -> None:
        """Everything a storage does, each step whether or not the one before it failed."""
        self.attempt(self.open)
        if self.store is not None:
            self.live_once()

    def live_once(self) -> None:
        """(the same, once it is open)"""
        for _ in range(3):
            self.attempt(lambda: self.put(SHAPE, 9))
        self.attempt(lambda: self.put(OTHER, 3))
        self.attempt(self.make_ahead)
        self.attempt(lambda: self.remove(5))
        self.attempt(lambda: self.put(SHAPE, 4))
        self.attempt(lambda: self.remove(20))
        self.attempt(self.close)
        self.attempt(self.open)
        if self.store is not None:
            self.attempt(lambda: self.put(SHAPE, 2))
            self.attempt(self.check)

    def open(self) -> None:
        """On what is there; of the blocks that are known, those that are found stay."""
        self.store = None
        self.store = self.opener(
            "blocks", str(self.path), 4 * SEGMENT, SEGMENT, clock=ManualClock(), keep=True
        )
        known, self.live = self.live, {}
        for place, (shape, generation, payload) in known.items():
            for found in self.store.adopt(place, 1, generation):
                assert found.shape == shape
                if found.serving:
                    assert found.sums == xxh3_64_digest(payload)
                    self.live[place] = shape, generation, payload
        unknown = {found.place for found in self.store.found()} & self.live.keys()
        assert not unknown
        self.store.settle()

    def put(self, shape: Shape, count: int) -> None:
        """Blocks that are known once they are synced."""
        assert self.store is not None
        extents = self.store.reserve(shape, count)
        stored: dict[int, tuple[Shape, int, bytes]] = {}
        try:
            for extent in extents:
                for place in range(extent.place, extent.place + extent.count):
                    self.number += 1
                    payload = self.number.to_bytes(4, "big") * (shape.payload_bytes // 4)
                    self.store.write(shape, place, 0, payload)
                    key = self.number.to_bytes(16, "big")
                    self.store.publish(shape, place, key, xxh3_64_digest(payload))
                    stored[place] = shape, extent.generation, payload
            self.store.sync([extent.place for extent in extents])
            assert not stored.keys() & self.live.keys(), "a slot that was somebody's"
            self.live |= stored
        except OSError:
            for extent in extents:
                self.release(shape, extent.place, extent.count)
            raise

    def remove(self, count: int) -> None:
        """The oldest blocks."""
        for place in list(self.live)[:count]:
            shape, _, _ = self.live.pop(place)
            self.release(shape, place, 1)

    def release(self, shape: Shape, place: int, count: int) -> None:
        """Slots are free, whatever the storage says."""
        assert self.store is not None
        try:
            self.store.release(shape, place, count)
        except OSError:
            self.failures += 1

    def make_ahead(self) -> None:
        """As the server does between requests."""
        assert self.store is not None
        make = self.store.begin_ahead()
        if make is not None:
            try:
                self.store.finish_ahead(make())
            except OSError as error:
                self.store.finish_ahead(error)
                raise

    def close(self) -> None:
        """To come back."""
        store, self.store = self.store, None
        if store is not None:
            store.close(remove=False)

    def check(self) -> None:
        """What the owner believes is so."""
        if self.store is None:
            return
        for place, (shape, generation, payload) in self.live.items():
            assert self.store.generation(shape, place) == generation
            assert self.store.read(shape, place, 0, shape.payload_bytes) == payload
        figures = self.store.describe()
        files = sum(path.stat().st_size for path in self.path.glob("*.segment"))
        assert files <= figures["allocated_bytes"] <= 4 * SEGMENT


@pytest.fixture(params=[open_memory_store, open_ssd_store], ids=["memory", "ssd"])
def opener(request: pytest.FixtureRequest) -> Opener:
    chosen: Opener = request.param
    return chosen


def calls_of_a_life(opener: Opener, path: Path) -> list[str]:
    """The names of all calls, where nothing fails."""
    life = Life(opener, path)
    with FaultySystem() as system:
        life.run()
        assert life.failures == 0
        assert len(life.live) == 3 * 9 + 3 - 5 + 4 - 20 + 2
        assert life.store is not None
        life.store.close(remove=True)
    return system.calls


def test_a_life_uses_the_calls_that_can_be_made_to_fail(opener: Opener, tmp_path: Path) -> None:
    calls = set(calls_of_a_life(opener, tmp_path / "store"))
    always = {"open", "pread", "pwrite", "posix_fallocate", "unlink", "mkdir", "rmdir", "fsync"}
    assert calls == always | ({"mmap"} if opener is open_memory_store else {"fdatasync"})
    assert calls < set(CALLS)


@pytest.mark.parametrize("number", FAILURES, ids=errno.errorcode.get)
def test_one_call_that_fails_does_no_harm(opener: Opener, tmp_path: Path, number: int) -> None:
    calls = calls_of_a_life(opener, tmp_path / "whole")
    felt = 0
    for position in range(len(calls)):
        life = Life(opener, tmp_path / str(position))
        with FaultySystem() as system:
            system.fail_at(position, number)
            life.run()
            system.heal()
            felt += life.failures > 0
            life.attempt(life.close)
            life.open()
            life.put(SHAPE, 5)
            life.check()
            assert life.store is not None
            life.store.close(remove=True)
        assert not life.path.exists()
    assert felt > len(calls) / 2


@pytest.mark.parametrize("number", FAILURES, ids=errno.errorcode.get)
@pytest.mark.parametrize("name", ["pwrite", "posix_fallocate", "open", "unlink", "fsync", "pread"])
def test_a_kind_of_call_that_fails_for_long_does_no_harm(
    opener: Opener, tmp_path: Path, name: str, number: int
) -> None:
    life = Life(opener, tmp_path / "store")
    life.open()
    life.put(SHAPE, 3)
    with FaultySystem() as system:
        system.fail(name, number)
        life.attempt(lambda: life.put(SHAPE, 9))
        life.attempt(lambda: life.put(OTHER, 9))
        life.attempt(lambda: life.remove(1))
        life.attempt(life.make_ahead)
        system.heal()
        life.put(SHAPE, 9)
        life.check()
        assert life.store is not None
        life.store.close(remove=True)


def test_calls_that_move_half_of_what_they_could_are_carried_on(
    opener: Opener, tmp_path: Path
) -> None:
    for cut in (1000, 701):
        life = Life(opener, tmp_path / str(cut))
        with FaultySystem() as system:
            system.cut = cut
            life.run()
            assert life.failures == 0
            assert life.store is not None
            life.store.close(remove=True)


def test_segments_that_vanish_or_are_cut_are_lost_and_the_others_stay(
    opener: Opener, tmp_path: Path
) -> None:
    life = Life(opener, tmp_path)
    life.open()
    for shape in (SHAPE, OTHER, Shape(800, 16, 1)):
        life.put(shape, 3)
    store = life.store
    assert store is not None
    assert store.examine(0, probe=True) == frozenset()
    files = sorted(tmp_path.glob("*.segment"))
    files[0].unlink()
    os.truncate(files[1], 10_000)
    lost = store.examine(0, probe=True)
    assert lost == {place >> 32 for place in list(life.live)[:6]}
    store.lose(lost)
    assert store.examine(0, probe=True) == frozenset(), "each is lost once"
    gone = list(life.live)[:6]
    for place in gone:
        shape, _, _ = life.live.pop(place)
        with pytest.raises(OSError, match="gone or was cut"):
            store.read(shape, place, 0, 10)
        with pytest.raises(OSError, match="gone or was cut"):
            store.publish(shape, place, bytes(16), bytes(8))
        if not store.blocking:
            with pytest.raises(OSError, match="gone or was cut"):
                store.view(shape, place)
        store.release(shape, place, 1)
    life.check()
    assert store.describe()["allocated_bytes"] == SEGMENT
    life.put(SHAPE, 9)
    assert not {place >> 32 for place in life.live} & lost
    store.close(remove=True)


def test_a_cut_segment_is_an_error_before_it_is_noticed(opener: Opener, tmp_path: Path) -> None:
    life = Life(opener, tmp_path)
    life.open()
    life.put(SHAPE, 3)
    os.truncate(next(tmp_path.glob("*.segment")), 4096 + 100)
    place = next(iter(life.live))
    assert life.store is not None
    with pytest.raises(OSError, match=r"was cut|ends \d+ bytes early"):
        life.store.read(SHAPE, place, 0, 4000)
    if not life.store.blocking:  # touching the columns would be a signal
        os.truncate(next(tmp_path.glob("*.segment")), 0)
        store = life.store
        attempts: list[Callable[[], object]] = [
            lambda: store.view(SHAPE, place),
            lambda: life.put(SHAPE, 1),
            lambda: store.write(SHAPE, place, 0, b"x"),
            lambda: store.publish(SHAPE, place, bytes(16), bytes(8)),
            lambda: store.release(SHAPE, place, 1),
        ]
        for attempt in attempts:
            with pytest.raises(OSError, match="was cut"):
                attempt()
        life.live.pop(place)
        life.store.lose(life.store.examine(0, probe=True))
        for place in life.live:
            life.store.release(SHAPE, place, 1)
        life.live.clear()
        life.put(SHAPE, 1)
        life.check()


def test_a_directory_that_vanished_is_made_anew_and_is_empty(
    opener: Opener, tmp_path: Path
) -> None:
    life = Life(opener, tmp_path / "store")
    life.open()
    life.put(SHAPE, 3)
    before = life.store.generation(SHAPE, next(iter(life.live))) if life.store else 0
    for path in life.path.iterdir():
        path.unlink()
    life.path.rmdir()
    store = life.store
    assert store is not None
    with pytest.raises(OSError, match="is gone"):
        store.examine(0, probe=False)
    with pytest.raises(HARMLESS):
        life.put(OTHER, 1)
    lost = store.reopen()
    store.lose(lost)
    for place in list(life.live):
        store.release(life.live.pop(place)[0], place, 1)
    life.put(OTHER, 3)
    life.check()
    assert store.generation(OTHER, next(iter(life.live))) > before
    with pytest.raises(StoreOpenError, match="in use"):
        opener("second", str(life.path), 4 * SEGMENT, SEGMENT)
    life.close()
    life.open()
    assert len(life.live) == 3


def test_a_probe_finds_a_file_system_that_is_full_or_lies(opener: Opener, tmp_path: Path) -> None:
    life = Life(opener, tmp_path / "store")
    life.open()
    store = life.store
    assert store is not None
    with pytest.raises(OSError, match=f"need {1 << 62}"):
        store.examine(1 << 62, probe=True)
    store.examine(1 << 62, probe=False)
    with FaultySystem() as system:
        system.cut = 100
        with pytest.raises(OSError, match="does not hold"):
            store.examine(0, probe=True)
        for name in ("open", "pwrite", "fsync", "pread", "unlink"):
            system.heal()
            system.fail(name, errno.EIO)
            with pytest.raises(OSError, match="Input/output error"):
                store.examine(0, probe=True)
    assert store.examine(0, probe=True) == frozenset()
    assert not (life.path / "probe").exists()


def test_columns_that_did_not_reach_the_file_do_once_it_is_restored(tmp_path: Path) -> None:
    life = Life(open_ssd_store, tmp_path)
    life.open()
    life.put(SHAPE, 3)
    store = life.store
    assert store is not None
    kept, released = list(life.live)[1:], next(iter(life.live))
    with FaultySystem() as system:
        system.fail("pwrite", errno.EIO)
        life.remove(1)
        assert life.failures == 1
    store.restore()
    life.close()
    store = open_ssd_store("again", str(tmp_path), 4 * SEGMENT, SEGMENT, keep=True)
    found = {each.place + i for each in store.found() for i in range(each.count)}
    assert found == set(kept)
    assert released not in found


def test_closing_gives_up_the_lock_even_if_files_cannot_be_removed(
    opener: Opener, tmp_path: Path
) -> None:
    life = Life(opener, tmp_path / "store")
    life.open()
    life.put(SHAPE, 1)
    assert life.store is not None
    with FaultySystem() as system:
        system.fail("unlink", errno.EROFS)
        with pytest.raises(OSError, match="Read-only"):
            life.store.close(remove=True)
    life.store = None
    life.open()
    assert len(life.live) == 1


def test_closing_a_storage_whose_directory_is_gone_is_no_error(
    opener: Opener, tmp_path: Path
) -> None:
    life = Life(opener, tmp_path / "store")
    life.open()
    life.put(SHAPE, 1)
    shutil.rmtree(life.path)
    assert life.store is not None
    life.store.close(remove=True)
