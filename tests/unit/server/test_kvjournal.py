"""The keeper of the KV cache's journal: compaction in slices; trouble is said, and heals."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.testing.kept_store import opener
from tests.testing.kvc_cache import CacheUser, keys

from hotplate.errors import CommandError
from hotplate.kvc.cache import Cache
from hotplate.kvc.catalog import Catalog
from hotplate.server import kvjournal
from hotplate.server.kvjournal import JournalKeeper


class FakeIo:
    """Runs jobs when told to."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []

    def submit(self, function: Callable[[], Any], *, done: Callable[[Any], None]) -> None:
        self.jobs.append((function, done))

    def run(self) -> int:
        jobs, self.jobs = self.jobs, []
        for function, done in jobs:
            done(function())
        return len(jobs)


class Server:
    """A cache with a journal in a directory."""

    def __init__(self, directory: Path) -> None:
        self.user = CacheUser()
        self.io = FakeIo()
        self.keeper = JournalKeeper(self.user.cache, directory, self.io)  # type: ignore[arg-type]
        nothing: Any = None
        assert not self.keeper.restore(nothing, self.user.now)
        self.keeper.begin()

    def tick(self) -> None:
        """Until nothing is due at once."""
        self.user.now += 1001
        while self.keeper.tick(self.user.now):
            pass
        self.io.run()


def blocks_after_restart(server: Server, directory: Path) -> int:
    cache = Cache(Catalog(), index_bytes_max=1 << 30)
    keeper = JournalKeeper(cache, directory, FakeIo())  # type: ignore[arg-type]
    stores = server.user.stores
    assert keeper.restore(opener(stores), server.user.now)
    return cache.block_count(cache.catalog.get_instance(b"one"))


def store(server: Server, start: int, count: int) -> None:
    server.user.store(keys(*(f"k{number}" for number in range(start, start + count))))


@pytest.mark.slow
def test_a_compaction_goes_on_in_slices_and_drops_what_it_makes_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kvjournal, "_SLACK_BYTES", 20_000)
    monkeypatch.setattr(kvjournal, "_SLICE_BYTES", 1_000)
    server = Server(tmp_path)
    for number in range(0, 3000, 50):
        user = server.user
        store(server, number, 50)
        assert blocks_after_restart(server, tmp_path) == number + 50
        user.now += 1001
        server.keeper.tick(user.now)  # one slice
        assert blocks_after_restart(server, tmp_path) == number + 50
        server.io.run()
        if number % 200 == 0:
            user.cache.remove(user.instance, keys(f"k{number + 49}"), user.now)
            store(server, number + 49, 1)
    server.tick()
    server.tick()
    server.tick()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[0] > "0000000000000001.journal"
    assert blocks_after_restart(server, tmp_path) == 3000


def test_a_stop_after_compactions_leaves_one_file_that_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kvjournal, "_SLACK_BYTES", 500)
    server = Server(tmp_path)
    for number in range(40):
        store(server, number, 1)
        for _ in range(3):  # one syncs, one compacts, one drops
            server.tick()
    server.keeper.close()
    (path,) = tmp_path.iterdir()
    assert path.name > "0000000000000003.journal"  # there were several
    assert blocks_after_restart(server, tmp_path) == 40


def test_a_stop_says_all_once_more(tmp_path: Path) -> None:
    server = Server(tmp_path)
    store(server, 0, 30)
    server.keeper.close()
    assert [path.name for path in tmp_path.iterdir()] == ["0000000000000002.journal"]
    assert blocks_after_restart(server, tmp_path) == 30


def test_while_nothing_can_be_written_writes_are_refused_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(tmp_path)
    full = [False]

    def write(file: int, data: bytes, offset: int) -> int:
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.pwrite(file, data, offset)

    monkeypatch.setattr(server.keeper._files, "_write", write)
    store(server, 0, 5)
    full[0] = True
    session = server.user.start(keys("x0")).session_id  # it finds out
    with pytest.raises(CommandError, match="journal cannot be written: No space left on device"):
        server.user.start(keys("x1"))
    assert server.user.finish(session, sums=b"\x01" * 8) == (1, 0)
    assert server.user.matched(keys("k0", "k1")) == 2
    assert not server.keeper.tick(server.user.now)
    full[0] = False
    server.keeper.tick(server.user.now)
    store(server, 5, 5)
    assert blocks_after_restart(server, tmp_path) == 11
