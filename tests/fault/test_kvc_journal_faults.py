"""Every fault at every call of the KV cache's journal leaves a state that was promised.

A run stores and removes blocks, second by second, through a compaction to a clean end. It is
repeated with a fault at its first call of the system, its second, and so on: the process is killed
there; the power fails there, and of what no fsync covered any part is left; the call fails; it
takes half. Whoever starts afterwards must find what there was after some step, and none before
what had to be kept.
"""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.testing.kept_store import opener
from tests.testing.kvc_cache import CacheUser, keys
from tests.testing.power import PowerWatch, Stopped
from tests.testing.unsynced import Files
from tests.unit.server.test_kvjournal import FakeIo

from hotplate.errors import CommandError
from hotplate.kvc.answers import Mode
from hotplate.kvc.cache import Cache
from hotplate.kvc.catalog import Catalog
from hotplate.kvc.keys import Keys
from hotplate.persist import kvc_journal
from hotplate.server import kvjournal
from hotplate.server.kvjournal import JournalKeeper

pytestmark = pytest.mark.slow

NAMES = [f"k{number}" for number in range(8)]
ANOTHER_BOOT = bytes(range(16))
State = frozenset[str]


@pytest.fixture(autouse=True)
def small_compactions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kvjournal, "_SLACK_BYTES", 900)
    monkeypatch.setattr(kvjournal, "_SLICE_BYTES", 100)


class Run:
    """One server's life: what it held after each step, and how far that was safe."""

    def __init__(self, directory: Path) -> None:
        self.watch = PowerWatch(directory)
        self.directory = directory
        self.user = CacheUser(chained=False, grace_ms=10**9)  # what was removed keeps its slots
        self.io = FakeIo()
        self.states: list[State] = [frozenset()]
        self.acknowledged = self.synced = 0
        self.refused = 0

    def live(self) -> None:
        """All of it."""
        with self.watch:
            self.keeper = keeper_of(self.user.cache, self.directory, self.io)
            nothing: Any = None
            self.keeper.restore(nothing, self.user.now)
            self.keeper.begin()
            self.keeper.begin()  # as the next start does: several files go at once later
            self.user.register(b"two")  # and this one builds on what the first file says
            self.store("k0", "k1")
            self.remove("k0")
            self.second()
            self.store("k2", "k3")
            self.store("k0")
            self.second()
            self.remove("k2")
            self.store("k4", "k5")
            self.second()
            self.remove("k4")
            self.store("k6", "k7")
            self.second()
            self.store("k2", "k4")
            self.keeper.close()
            self.acknowledged = self.synced = len(self.states) - 1

    def store(self, *names: str) -> None:
        """Write some blocks."""
        self.step(lambda: self.user.store(keys(*names)))

    def remove(self, name: str) -> None:
        """Remove one."""
        self.step(lambda: self.user.cache.remove(self.user.instance, keys(name), self.user.now))

    def step(self, call: Any) -> None:
        """One call, which is acknowledged when it returns."""
        journal = self.user.cache.holdings.journal
        assert journal is not None
        try:
            call()
        except CommandError as error:
            if error.code != "STORAGEIO":
                raise
            self.refused += 1
        state = held(self.user.cache, self.user.instance.id, self.user.now)
        if state != self.states[-1]:
            self.states.append(state)
        if journal.trouble is None:  # otherwise it is told to the server's log
            self.acknowledged = len(self.states) - 1

    def second(self) -> None:
        """The timer's beats of a second, and the fsyncs that they asked for."""
        journal = self.user.cache.holdings.journal
        assert journal is not None
        for _ in range(3):
            self.user.now += 1001
            while self.keeper.tick(self.user.now):
                continue
            jobs, self.io.jobs = self.io.jobs, []
            for function, done in jobs:
                told = len(self.states) - 1 if journal.trouble is None else self.acknowledged
                error: OSError | None = None
                try:
                    function()
                except OSError as failure:
                    error = failure
                done(error)
                if error is None:
                    self.synced = max(self.synced, told)

    def found(self, files: Files, directory: Path) -> int:
        """Which of the states a server finds that starts on these files."""
        directory.mkdir()
        for name, data in files.items():
            (directory / name).write_bytes(data)
        cache = Cache(Catalog(), index_bytes_max=1 << 30)
        keeper = keeper_of(cache, directory, FakeIo())
        stores = self.user.stores
        keeper.restore(opener(stores), self.user.now)
        state = held(cache, self.user.instance.id, self.user.now)
        assert state in self.states, (sorted(state), self.states, self.watch.calls)
        keeper.begin()  # it can go on
        again = keeper_of(Cache(Catalog(), index_bytes_max=1 << 30), directory, FakeIo())
        again.restore(opener(stores), self.user.now)
        return len(self.states) - 1 - self.states[::-1].index(state)


def keeper_of(cache: Cache, directory: Path, io: Any) -> JournalKeeper:
    return JournalKeeper(cache, directory, io)


def held(cache: Cache, instance: bytes, now_ms: int) -> State:
    """The blocks that are served."""
    known = cache.catalog.instances.get(instance)
    if known is None:
        return frozenset()
    return frozenset(
        name
        for name in NAMES
        if cache.match(
            known, Keys.listed(keys(name).listing()), mode=Mode.EXACT, now_ms=now_ms
        ).matched
    )


def runs(tmp_path: Path) -> Iterator[tuple[int, Run]]:
    """The run, to be lived again for each of its calls; and the number of the call."""
    whole = Run(tmp_path / "whole")
    whole.directory.mkdir()
    whole.live()
    assert any(name.startswith("unlink") for name in whole.watch.calls)
    for number in range(1, len(whole.watch.calls) + 1):
        run = Run(tmp_path / f"run{number}")
        run.directory.mkdir()
        yield number, run


def left_by_kill(run: Run) -> Files:
    return {path.name: path.read_bytes() for path in run.directory.iterdir()}


def test_a_kill_at_any_call_loses_nothing_acknowledged(tmp_path: Path) -> None:
    for number, run in runs(tmp_path):
        run.watch.stop_at = number
        with pytest.raises(Stopped):
            run.live()
        assert run.found(left_by_kill(run), tmp_path / f"next{number}") >= run.acknowledged


def test_a_power_failure_at_any_call_loses_nothing_that_was_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = 0
    for number, run in runs(tmp_path):
        run.watch.stop_at = number
        with pytest.raises(Stopped):
            run.live()
        with monkeypatch.context() as patch:
            patch.setattr(kvc_journal, "boot_id", lambda: ANOTHER_BOOT)
            for files in run.watch.outcomes():
                tried += 1
                assert run.found(files, tmp_path / f"next{tried}") >= run.synced
    assert tried > 300


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_an_error_at_any_call_is_told_and_heals(tmp_path: Path, code: int) -> None:
    for number, run in runs(tmp_path):
        run.watch.fail_at = number, code
        try:
            run.live()
        except OSError as error:  # at the start, which tells
            if error.errno != code:
                raise
            assert run.acknowledged == 0
            continue
        found = run.found(left_by_kill(run), tmp_path / f"next{number}")
        assert found == len(run.states) - 1


def test_writes_that_take_only_a_part_are_completed(tmp_path: Path) -> None:
    for number, run in runs(tmp_path):
        run.watch.short_at = number
        run.live()
        assert not run.refused
        found = run.found(left_by_kill(run), tmp_path / f"next{number}")
        assert found == len(run.states) - 1
