"""A cache whose storages fail: where writes go, what reads see, and how it comes back by itself."""

import errno
import logging
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.testing.faulty_system import FaultySystem
from tests.testing.kvc_cache import CacheUser, keys
from xxhash import xxh3_64_digest

from hotplate.clock import ManualClock
from hotplate.errors import ChecksumError, StorageIOError
from hotplate.kvc.keys import Keys
from hotplate.kvc.model import Storage, StorageState
from hotplate.server.storage_health import StorageHealth
from hotplate.tiers.health import CHECK_MS, PROBE_MS
from hotplate.tiers.io import FileIoFullError
from hotplate.tiers.memory import open_memory_store
from hotplate.tiers.ssd import open_ssd_store
from hotplate.tiers.watched import WatchedStore

SEGMENT = 64 * 1024
SLOW_MS = 500


class Jobs:
    """File IO that happens when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []
        self.full = False

    def submit(
        self, function: Callable[..., Any], *args: Any, done: Callable[[Any], None], lane: str
    ) -> None:
        """Keep a job."""
        assert lane in ("ssd", "memory")
        if self.full:
            raise FileIoFullError("full")
        self.waiting.append((partial(function, *args), done))

    def run(self) -> int:
        """Do all that wait."""
        jobs, self.waiting = self.waiting, []
        for job, done in jobs:
            try:
                result = job()
            except Exception as error:
                result = error
            done(result)
        return len(jobs)


class Place:
    """A group with storages ssd (first) and memory on real files."""

    def __init__(self, path: Path) -> None:
        self.user = CacheUser(storages=("ssd", "memory"))
        self.clock = ManualClock(self.user.now)
        self.path = path
        self.stores: dict[str, WatchedStore] = {}
        for name, opener in (("memory", open_memory_store), ("ssd", open_ssd_store)):
            store = opener(name, str(path / name), 4 * SEGMENT, SEGMENT, clock=self.clock)
            self.stores[name] = WatchedStore(store, self.clock, lambda: SLOW_MS)
            self.storage(name).store = self.stores[name]
        self.jobs = Jobs()
        self.health = StorageHealth(
            self.user.catalog,
            self.user.cache,
            self.jobs,  # type: ignore[arg-type]
            self.clock,
        )
        self.storage("ssd").enabled = False
        self.put("m")  # memory has its segment before calls begin to fail
        self.storage("ssd").enabled = True

    def storage(self, name: str) -> Storage:
        """The record."""
        return self.user.catalog.get_storage(name)

    def states(self) -> dict[str, str]:
        """As INFO and STATS show them."""
        shown: dict[str, str] = self.user.cache.stats()["storage_state"]
        assert shown == {name: self.storage(name).state.value for name in shown}
        return shown

    def advance(self, ms: int) -> None:
        """Time goes on, background work is done."""
        self.clock.advance(ms)
        self.user.now = self.clock.now_ms()
        self.health.tick(self.user.now, SLOW_MS)
        self.jobs.run()
        self.user.tick()

    def put(self, *names: str) -> str:
        """Store blocks whose bytes are their names; the storage they went to."""
        wanted = keys(*names)
        reserved = self.user.start(wanted)
        sums = b""
        for span in reserved.spans:
            store = self.user.catalog.storage_by_number[span.storage]
            assert store is not None
            for i in range(span.count):
                payload = content(wanted, span.first + i)
                store.opened().write(span.shape, span.place + i, 0, payload)
                sums += xxh3_64_digest(payload)
        self.user.finish(reserved.session_id, sums=sums)
        storage = self.user.catalog.storage_by_number[reserved.spans[0].storage]
        assert storage is not None
        return storage.name

    def read(self, name: str) -> bytes | None:
        """What READ answers: verified bytes, or None for a miss, or ChecksumError."""
        wanted = keys(name)
        slot = self.user.cache.read(self.user.instance, wanted[0], None, self.user.now, None)
        if slot is None:
            return None
        data = bytes(slot.store.read(slot.shape, slot.place, slot.offset, slot.size))
        if xxh3_64_digest(data) != slot.parts[0][2].to_bytes(8, "big"):
            raise ChecksumError("as KVC.READ says")
        assert data == content(wanted, 0)
        return data


def content(wanted: Keys, index: int) -> bytes:
    """Ten bytes that are the block's."""
    return wanted[index].ljust(10, b"!")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    for store in made.stores.values():
        store.close(remove=True)


@pytest.fixture
def system() -> Iterator[FaultySystem]:
    with FaultySystem() as made:
        yield made


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_fails_is_passed_over_hidden_tried_and_used_again(
    place: Place, system: FaultySystem, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert place.put("a", "b") == "ssd"
    assert place.user.matched(keys("a", "b")) == 2
    system.fail("posix_fallocate", number)
    system.fail("pwrite", number)
    assert place.put("x") == "memory", "the next candidate takes it at once"
    place.advance(1)
    assert place.states() == {"memory": "available", "ssd": "failing"}
    assert place.user.matched(keys("a", "b")) == 0
    assert place.read("a") is None
    assert place.read("x") is not None
    assert place.user.cache.stats(place.user.instance)["stops_unavailable"] == 1
    described = place.stores["ssd"].describe()
    assert described["failure"] == place.storage("ssd").failure != ""
    assert described["failing_since_ms"] == place.user.now
    assert place.put("y") == "memory"
    assert place.put("a", "b") == "memory", "what is hidden may be written again"
    for _ in range(5):
        place.advance(PROBE_MS)
        assert place.states()["ssd"] == "failing"
    system.heal()
    place.advance(10 * PROBE_MS)
    assert place.states() == {"memory": "available", "ssd": "available"}
    assert place.stores["ssd"].describe()["failure"] is None
    assert place.user.matched(keys("a", "b")) == 2
    assert place.put("z") == "ssd"
    lines = [record.message for record in caplog.records]
    assert len(lines) == 2
    assert lines[0].startswith("storage ssd is failing: ")
    assert lines[1] == "storage ssd works again"


def test_a_storage_that_fails_alone_is_an_error_and_reserves_nothing(
    place: Place, system: FaultySystem
) -> None:
    place.storage("memory").enabled = False
    system.fail("posix_fallocate", errno.EIO)
    used = place.user.cache.stats(place.user.group)["used_bytes"]
    with pytest.raises(StorageIOError, match=r"ssd.*Input/output error"):
        place.put("a")
    assert place.user.cache.stats(place.user.group)["used_bytes"] == used
    place.advance(1)
    assert place.storage("ssd").state is StorageState.FAILING
    place.storage("ssd").enabled = False
    assert place.storage("ssd").state is StorageState.DISABLED
    system.heal()
    place.advance(PROBE_MS)
    place.storage("ssd").enabled = True
    assert place.storage("ssd").state is StorageState.AVAILABLE
    assert place.put("a") == "ssd"


@pytest.mark.parametrize("name", ["pread", "pwrite"])
def test_a_slow_disk_fails_and_comes_back_when_it_is_fast_again(
    place: Place, system: FaultySystem, name: str
) -> None:
    assert place.put("a") == "ssd"

    def slow(call: str) -> None:
        if call == name:
            place.clock.advance(SLOW_MS + 1)

    system.slow = slow
    if name == "pread":
        assert place.read("a") is not None
    else:
        assert place.put("b") == "ssd"
    place.advance(1)
    assert place.states()["ssd"] == "failing"
    assert "501 ms" in place.storage("ssd").failure
    place.advance(PROBE_MS)
    assert place.states()["ssd"] == "failing", "the probe was slow too"
    system.slow = lambda _call: None
    place.advance(2 * PROBE_MS + SLOW_MS)
    assert place.states()["ssd"] == "available"
    assert place.read("a") is not None


def test_shared_memory_that_is_full_is_a_full_storage_that_still_works(
    place: Place, system: FaultySystem
) -> None:
    place.storage("ssd").enabled = False
    assert place.put("a") == "memory"
    system.fail("posix_fallocate", errno.ENOSPC)
    place.put(*(f"k{number}" for number in range(100)))
    place.advance(1)
    assert place.states()["memory"] == "available"
    assert place.read("a") is not None


@pytest.mark.parametrize("name", ["ssd", "memory"])
def test_a_directory_that_vanishes_costs_its_blocks_and_is_made_again(
    place: Place, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    if name == "memory":
        place.storage("ssd").enabled = False
    assert place.put("a", "b") == name
    shutil.rmtree(place.path / name)
    place.advance(CHECK_MS)
    assert place.read("a") is None
    assert place.user.matched(keys("a", "b")) == 0
    assert place.states()[name] == "available"
    blocks = 2 + (name == "memory")
    assert f"storage {name} lost 1 segment files: {blocks} blocks dropped" in caplog.text
    assert len(caplog.records) == 1
    assert place.put("a") == name
    assert place.read("a") is not None
    assert list((place.path / name).glob("*.segment"))
    assert place.user.cache.stats(place.user.group)["used_bytes"] == 10 + 10 * (name == "ssd")


@pytest.mark.parametrize("name", ["ssd", "memory"])
def test_a_segment_that_is_cut_costs_its_blocks_and_no_others(place: Place, name: str) -> None:
    if name == "memory":
        place.storage("ssd").enabled = False
    assert place.put("a", "b") == name
    other = place.user.register(b"two", specs=2)
    first, place.user.instance = place.user.instance, other
    place.user.store(keys("c"))
    place.user.instance = first
    path = min((place.path / name).glob("*.segment"))
    with path.open("r+b") as file:
        file.truncate(8192)
    with pytest.raises((OSError, StorageIOError)):
        place.read("a")
    place.advance(1)
    assert place.states()[name] == "failing"
    assert place.read("a") is None
    place.advance(PROBE_MS)
    assert place.states()[name] == "available"
    assert place.read("a") is None
    place.user.instance = other
    assert place.user.matched(keys("c")) == 1
    place.user.instance = first
    assert place.put("d") == name


def test_an_open_session_on_lost_bytes_ends_and_its_slots_are_not_used_again(
    place: Place,
) -> None:
    reserved = place.user.start(keys("a", "b"))
    shutil.rmtree(place.path / "ssd")
    place.advance(CHECK_MS)
    session = place.user.cache.session
    with pytest.raises(Exception, match="session"):
        session(place.user.instance, reserved.session_id or b"", place.user.now)
    assert place.put("a", "b") == "ssd"
    assert place.read("b") is not None


def test_a_storage_that_goes_while_it_is_probed_is_left_alone(
    place: Place, system: FaultySystem
) -> None:
    system.fail("posix_fallocate", errno.EIO)
    place.put("a")
    place.advance(1)
    system.heal()
    place.clock.advance(PROBE_MS)
    place.health.tick(place.clock.now_ms(), SLOW_MS)
    ssd = place.user.catalog.storages.pop("ssd")
    place.jobs.run()
    assert ssd.state is StorageState.FAILING


def test_a_probe_that_finds_no_thread_is_tried_again(place: Place, system: FaultySystem) -> None:
    system.fail("posix_fallocate", errno.EIO)
    place.put("a")
    place.advance(1)
    system.heal()
    place.jobs.full = True
    place.advance(PROBE_MS)
    assert place.states() == {"memory": "available", "ssd": "failing"}
    place.jobs.full = False
    place.advance(4 * PROBE_MS)
    assert place.states()["ssd"] == "available"
