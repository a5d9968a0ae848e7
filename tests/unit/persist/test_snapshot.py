"""A snapshot is the state of one moment, whatever changes while it is written."""

import random
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.testing.commands import command_lists
from tests.testing.logged import Logged
from tests.testing.memory_files import MemoryFiles
from tests.testing.state import State, state_of

from hotplate.clock import ManualClock
from hotplate.errors import CommandError
from hotplate.persist.base import base_loader
from hotplate.persist.replay import Progress


def slow(files: MemoryFiles | None = None, **settings: Any) -> Logged:
    """A server whose snapshots take a pass of the loop for each key."""
    server = Logged(files or MemoryFiles(), **settings).start()
    server.background.slice_ns = 0
    server.background.keys_a_step = 1
    return server


def state_at(server: Logged) -> State:
    """The present state; limits as they are now."""
    server.engine.now_ns = server.clock.monotonic_ns()
    server.engine.now_ms = server.clock.now_ms()
    return state_of(server.engine)


def loaded(server: Logged, path: str) -> State:
    """What a snapshot holds."""
    reader = Logged(server.files.after_kill(), ManualClock(server.clock.now_ms()))
    for _ in base_loader(reader.engine, reader.files, drop_expired=False)(path, Progress()):
        pass
    return state_of(reader.engine)


def pump(server: Logged, passes: int) -> None:
    """Some passes of the loop."""
    for _ in range(passes):
        ready, server.soon[:] = list(server.soon), []
        for callback in ready:
            callback()


def run(server: Logged, argv: list[bytes]) -> None:
    """A command that may be refused."""
    if argv and argv[0].lower() not in (b"shutdown", b"debug", b"client", b"quit", b"save"):
        server.console.execute(argv)
        server.flush()


FILL = (
    *("SET a 1", "SET b 2", "RPUSH l 1 2 3", "HSET h f 1 g 2", "SADD s x y z", "ZADD z 1 m 2 n"),
    *("XADD st 1-1 f v", "XADD st 2-1 f v", "XGROUP CREATE st g 0", "SET gone 1 PX 50"),
    *("SELECT 1", "SET a other", "RPUSH l other", "SELECT 0", "HPEXPIRE h 60 FIELDS 1 f"),
    *("XREADGROUP GROUP g c COUNT 1 STREAMS st >", "SETBIT bits 9 1", "CL.THROTTLE t 5 1 60"),
)
CHANGES = (
    *("SET a changed", "DEL a", "RPUSH l 4", "LPOP l", "HSET h f 9", "HDEL h g", "SREM s x"),
    *("SPOP s", "ZADD z 9 m", "XADD st * f w", "XACK st g 1-1", "FLUSHALL", "FLUSHDB"),
    *("SWAPDB 0 1", "COPY a l REPLACE", "COPY a new DB 1", "MOVE b 1", "RENAME b a", "SET c new"),
    *("APPEND a x", "SETBIT bits 3 1", "INCR n", "MSET a 5 b 6 d 7", "SMOVE s t2 y", "GET gone"),
    *("LMOVE l l2 LEFT RIGHT", "ZUNIONSTORE z 2 z z", "SORT l STORE b", "PEXPIRE l 5"),
    *("XREADGROUP GROUP g c2 STREAMS st >", "XTRIM st MAXLEN 1", "HGETALL h", "SELECT 1"),
    *(
        "SELECT 0",
        "XGROUP POLICY st g VISIBILITY 10 MAXDELIVER 1 DEAD dead",
        "CL.THROTTLE t 5 1 60",
    ),
    *("LB.ACQUIRE 2 p q LIMIT RATE 5 1 1000 1 CONC 3", "EVAL redis.call('SET','a','s') 0"),
    *("SINTERSTORE b s s", "BITOP NOT bits2 bits", "GEOADD geo 1 2 m", "PFADD pf a"),
)


@pytest.mark.parametrize("seed", range(60))
def test_a_snapshot_is_of_its_moment_and_the_log_of_all_that_follows(seed: int) -> None:
    rng = random.Random(seed)
    server = slow()
    for line in FILL:
        server(line)
    server.background.start_rewrite()
    before = state_at(server)
    while server.background.is_busy:
        pump(server, rng.randrange(3))
        server.clock.advance(rng.choice([0, 0.3, 20]))
        if rng.random() < 0.1:
            server.engine.expire_keys(server.clock.now_ms())
            server.engine.tend_streams(server.clock.now_ms())
            server.engine.free_memory()
        if rng.random() < 0.7:
            run(server, rng.choice(CHANGES).encode().split())
    assert server.background.rewriting.status == "ok"
    base = loaded(server, "/log/appendonly.aof.3.base.rdb")
    assert without_limits(base) == without_limits(before)
    run(server, b"SET last 1".split())
    assert state_of(server.restarted().engine) == state_at(server)
    names = server.files.names("/log")
    assert names == [
        "appendonly.aof.2.incr.aof",
        "appendonly.aof.3.base.rdb",
        "appendonly.aof.manifest",
    ]


def without_limits(state: State) -> State:
    """All keys but those that drain while time passes."""
    return {place: row for place, row in state.items() if place[1] not in (b"t", b"p", b"q")}


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(command_lists(30), command_lists(30), st.randoms(use_true_random=False))
def test_any_commands_during_a_rewrite_lead_to_the_same_data(
    first: list[list[bytes]], then: list[list[bytes]], rng: random.Random
) -> None:
    server = slow()
    for argv in first:
        run(server, argv)
    server.background.start_rewrite()
    for argv in then:
        pump(server, rng.randrange(3))
        run(server, argv)
    server.run_soon()
    assert state_of(server.restarted().engine) == state_at(server)


def test_a_save_without_a_log_is_of_its_moment_too() -> None:
    server = slow()
    for line in FILL:
        server(line)
    server.appendonly.stop()
    before = state_at(server)
    server.background.start_save()
    for line in CHANGES:
        pump(server, 1)
        try:
            server.console(line)
        except CommandError:
            continue
    server.run_soon()
    assert server.background.saving.status == "ok"
    assert without_limits(loaded(server, "/data/dump.rdb")) == without_limits(before)
    assert all(database.journal is None for database in server.engine.databases)


def test_batches_about_limits_change_keys_that_are_kept() -> None:
    server = slow()
    server.appendonly.stop()
    for rid in "abc":
        server.console(f"LB.ACQUIRE 2 p q LIMIT RATE 9 1 60000 2 CONC 3 ID {rid}")
    server.console("LB.ACQUIRE 1 r LIMIT RATE 9 1 60000 2")
    before = state_at(server)
    server.background.start_save()
    server.pipeline([f"LB.SETTLE {rid} 2 p q ACTUAL 0 0" for rid in "abc"])
    server.pipeline(["LB.ACQUIRE 1 r LIMIT RATE 9 1 60000 2"] * 2)
    assert state_at(server) != before
    server.run_soon()
    assert loaded(server, "/data/dump.rdb") == before


def test_what_a_flush_left_to_the_snapshot_is_freed_in_the_end() -> None:
    server = slow()
    for number in range(50):
        server("SADD", f"s{number}", *range(100))
    server.background.start_rewrite()
    pump(server, 5)
    server("FLUSHALL")
    while server.engine.free_memory():
        continue
    server.run_soon()
    while server.engine.free_memory():
        continue
    assert server.engine.discards.pending() == 0
    assert len(loaded(server, "/log/appendonly.aof.3.base.rdb")) == 50
    assert not state_of(server.restarted().engine)


def test_a_blocked_client_that_is_served_changes_keys_that_are_kept() -> None:
    from tests.unit.persist.test_effects import blocked

    server = slow()
    server("RPUSH dst x")
    server("SET z 1")
    blocked(server, "BLMOVE src dst LEFT RIGHT 0")
    server.background.start_rewrite()
    before = state_at(server)
    server("RPUSH src y")
    server.run_soon()
    assert loaded(server, "/log/appendonly.aof.3.base.rdb") == before
    assert state_of(server.restarted().engine) == state_at(server)


def test_handlers_are_what_they_were_once_it_is_done() -> None:
    server = slow()
    server("SET a 1")
    handlers = [(command.handler, command.run) for command in server.engine.commands.walk()]
    server.rewrite()
    assert handlers == [(command.handler, command.run) for command in server.engine.commands.walk()]


def leftovers(server: Logged) -> list[str]:
    """Files of snapshots that were not finished."""
    return [path for path in server.files.inodes if "/temp-" in path]


def test_a_rewrite_that_fails_is_given_up_and_the_log_goes_on() -> None:
    server = slow()
    for line in FILL:
        server(line)
    server.background.start_rewrite()
    pump(server, 3)
    assert leftovers(server)
    server.files.failing_writes = OSError(28, "No space left on device")
    pump(server, 10_000)
    server.files.failing_writes = None
    assert server.background.rewriting.status == "err"
    assert not server.background.is_busy
    assert leftovers(server) == []  # a full disk needs the room
    server("SET a later")
    assert state_of(server.restarted().engine) == state_at(server)
    server.rewrite()
    assert server.background.rewriting.status == "ok"
    assert state_of(server.restarted().engine) == state_at(server)


def test_obsolete_files_are_gone_before_the_next_rewrite_can_begin() -> None:
    server = slow()
    server("SET a 1")
    server.worker.is_slow = True
    server.background.start_rewrite()
    while server.background.is_busy:
        server.worker.finish()
        pump(server, 1)
    assert server.worker.waiting == []
    names = {file.name for file in server.appendonly.manifest.increments}
    manifest = server.appendonly.manifest_file.load()
    assert manifest == server.appendonly.manifest
    assert names <= set(server.files.names("/log"))


def test_the_log_is_rewritten_by_itself_once_it_has_grown() -> None:
    server = slow(auto_aof_rewrite_min_size="20kb")
    for number in range(500):
        server(f"SET a {number:064}")
        server.background.tick(server.clock.now_ms())
        server.run_soon()
        if server.background.rewriting.seconds >= 0:
            break
    else:
        pytest.fail("the log grew and grew")
    assert server.appendonly.size < 2_000
    assert state_of(server.restarted().engine) == state_at(server)


def test_save_points_save() -> None:
    server = slow(save="60 3")
    server.background.saved_now()
    for line in ("SET a 1", "SET b 1"):
        server(line)
    server.clock.advance(61_000)
    server.background.tick(server.clock.now_ms())
    assert not server.background.is_busy
    server("SET c 1")
    server.background.tick(server.clock.now_ms())
    server.run_soon()
    assert (server.background.saves, server.background.changes) == (1, 0)
    assert server.background.last_save_ms == server.clock.now_ms()


def test_what_a_save_that_was_killed_has_left_is_removed_at_the_next_start() -> None:
    server = slow()
    for line in FILL:
        server(line)
    server.background.start_save()
    pump(server, 3)
    killed = Logged(server.files.after_kill(), server.clock)
    assert leftovers(killed)
    killed.background.remove_leftovers()
    assert leftovers(killed) == []
    assert not any(path.startswith("/data") for path in killed.files.inodes)


def test_a_save_that_fails_leaves_nothing_behind() -> None:
    server = slow()
    for line in FILL:
        server(line)
    server.background.start_save()
    pump(server, 3)
    server.files.failing_writes = OSError(28, "No space left on device")
    pump(server, 10_000)
    server.files.failing_writes = None
    assert server.background.saving.status == "err"
    assert leftovers(server) == []
    server.background.save_now()
    assert server.background.saving.status == "ok"


@pytest.mark.parametrize("asks", [True, False])
def test_slices_are_long_only_where_no_client_came_for_a_while(
    monkeypatch: pytest.MonkeyPatch, asks: bool
) -> None:
    server = slow()
    for number in range(2_000):
        server(f"SET k{number} 1")
    ticks = count(0, 50_000)  # each look at the clock takes 50 microseconds
    monkeypatch.setattr(ManualClock, "monotonic_ns", lambda clock: next(ticks))
    server.background.slice_ns = 200_000
    server.background.start_rewrite()
    written = [0]

    def keys_of_a_slice() -> int:
        pump(server, 1)
        written.append(server.background.keys[0])
        return written[-1] - written[-2]

    busy = set()
    for _ in range(15):
        if asks:
            server("GET k1")
        else:
            server.engine.stats.connections_received += 1  # as the table of clients counts it
        busy.add(keys_of_a_slice())
    quiet = [keys_of_a_slice() for _ in range(20)]
    assert max(busy) <= 5
    assert max(quiet[:9]) <= 5
    assert min(quiet[10:]) > 15
