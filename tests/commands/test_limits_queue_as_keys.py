"""Paced queues as values of keys: generic commands, saved state, who is told and woken."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.testing.limits_console import listen, released, tick
from tests.testing.manual_timers import ManualTimers
from tests.testing.server_console import ServerConsole
from tests.testing.snapshots import load_snapshot, write_snapshot

from hotplate.engine.dispatch import run


@pytest.fixture(params=[2, 3])
def console(request: pytest.FixtureRequest) -> ServerConsole:
    return ServerConsole(resp=request.param)


def fill(console: ServerConsole, key: str = "q", count: int = 3) -> None:
    """A queue of ten a second with some entries."""
    console(f"LBQ.CREATE {key} INTO s RATE 10 1000 CLASSES 2 DEAD dead")
    for number in range(count):
        console(f"LBQ.ADD {key} CLASS {number % 2} TTL 60000 IDMP p {number} FIELDS 1 n {number}")


def test_a_queue_is_a_value_with_a_name(console: ServerConsole) -> None:
    fill(console, count=0)
    assert console("TYPE q") == b"leakyqueue"
    assert console("OBJECT ENCODING q") == b"leakyqueue"
    assert console("SCAN 0 TYPE leakyqueue COUNT 10") == [b"0", [b"q"]]
    assert console("EXISTS q") == 1  # an empty one stays
    assert console("TTL q") == -1
    assert "WRONGTYPE" in console.refused("GET q")
    assert "WRONGTYPE" in console.refused("LB.INFO q")
    empty = console("MEMORY USAGE q")
    fill(console, count=100)
    assert console("MEMORY USAGE q") > empty + 100 * 200


def test_a_queue_may_expire_and_be_deleted(console: ServerConsole) -> None:
    fill(console)
    assert console("PEXPIRE q 50") == 1
    console.clock.advance(51)
    tick(console, 1000)
    assert console("EXISTS q s") == 0
    fill(console)
    assert console("DEL q") == 1
    tick(console, 1000)
    assert console("EXISTS s") == 0
    fill(console, count=500)
    console("FLUSHALL")
    while console.engine.free_memory():
        pass
    tick(console, 1000)
    assert console("DBSIZE") == 0


def test_a_renamed_queue_goes_on(console: ServerConsole) -> None:
    fill(console)
    tick(console, 50)
    assert console("RENAME q other") == b"OK"
    for _ in range(3):
        tick(console, 50)
    assert console("XLEN s") == 2
    assert console("LBQ.LEN other") == 1


def test_a_queue_moves_to_another_database_with_its_stream_there(console: ServerConsole) -> None:
    fill(console)
    assert console("MOVE q 1") == 1
    tick(console, 100)
    assert console("XLEN s") == 0
    console("SELECT 1")
    assert console("XLEN s") == 1
    console("SWAPDB 0 1")
    tick(console, 100)
    assert console("EXISTS s") == 0
    console("SELECT 0")
    assert console("XLEN s") == 2


def test_a_copy_shares_nothing(console: ServerConsole) -> None:
    fill(console)
    assert console("COPY q twin") == 1
    console("DEL q")
    console("LBQ.CREATE q INTO elsewhere RATE 1 1000")
    for _ in range(3):
        tick(console, 100)
    assert sorted(entry[b"n"] for entry in released(console, "s")) == [b"0", b"1", b"2"]


def test_events_tell_what_happens(console: ServerConsole) -> None:
    events = listen(console)
    fill(console, count=1)
    tick(console, 100)
    console("LBQ.ADD q TTL 10 FIELDS 1 n x")
    tick(console, 10)
    ticket = console("LBQ.ADD q FIELDS 1 n y")[1]
    console("LBQ.CANCEL", "q", ticket)
    console("LBQ.PAUSE q")
    console("LBQ.RESUME q")
    console("LBQ.RATE q 1 1")
    assert events == [
        *((b"q", "queue-create"), (b"q", "enqueue")),
        *((b"s", "xadd"), (b"q", "release")),
        *((b"q", "enqueue"), (b"dead", "xadd"), (b"q", "expire-entry")),
        *((b"q", "enqueue"), (b"q", "cancel")),
        *((b"q", "queue-pause"), (b"q", "queue-resume"), (b"q", "queue-rate")),
    ]


def test_the_timer_wakes_who_waits_for_the_stream(console: ServerConsole) -> None:
    timers = ManualTimers(console.clock)
    console.engine.pacing.after = timers.after
    console.engine.after = timers.after
    fill(console, count=2)
    console("XGROUP CREATE s g $ MKSTREAM")
    reader = console.other()
    reader.ctx.now_ms = console.clock.now_ms()
    deferred: Any = run(reader.ctx, [b"XREADGROUP GROUP g c BLOCK 0 STREAMS s >".split()], [])
    got: list[Any] = []
    deferred.start(got.append)
    assert timers.pending() == 1
    timers.advance(99)
    assert not got
    timers.advance(1)
    assert len(got) == 1
    assert timers.pending() == 1  # for the next entry
    timers.advance(100)
    assert console("XLEN s") == 2
    timers.advance(60_000)
    assert timers.pending() == 0


def test_a_pause_of_writing_holds_the_queue_back(console: ServerConsole) -> None:
    timers = ManualTimers(console.clock)
    console.engine.after = timers.after
    fill(console)
    console("CLIENT PAUSE 150 WRITE")
    tick(console, 100)
    assert console("EXISTS s") == 0
    timers.advance(150)
    tick(console)
    assert console("XLEN s") == 1


def test_an_acknowledgement_lets_the_next_entry_go_at_once(console: ServerConsole) -> None:
    timers = ManualTimers(console.clock)
    console.engine.pacing.after = timers.after
    console("LBQ.CREATE q INTO s RATE 1000 1000 CREDIT g 1")
    console("XGROUP CREATE s g 0 MKSTREAM")
    for number in range(3):
        console("LBQ.ADD", "q", "FIELDS", 1, "n", number)
    for _ in range(9):
        timers.advance(100)  # it looks again ever less often
    assert console("XLEN s") == 1
    console("XREADGROUP GROUP g c STREAMS s >")
    (first,) = console("XRANGE s - +")
    assert console("XACK", "s", "g", first[0]) == 1
    timers.advance(0)
    assert console("XLEN s") == 2
    console("XREADGROUP GROUP g c STREAMS s >")
    timers.advance(1)
    assert console("XLEN s") == 2
    (_, second) = console("XRANGE s - +")
    console("XACKDEL", "s", "g", "IDS", 1, second[0])
    timers.advance(0)
    assert console("XINFO STREAM s") is not None
    assert console("LBQ.LEN q") == 0


def test_a_timer_is_set_anew_only_where_something_is_due_earlier(console: ServerConsole) -> None:
    timers = ManualTimers(console.clock)
    console.engine.pacing.after = timers.after
    console("LBQ.CREATE slow INTO s RATE 1 10000")
    console("LBQ.ADD slow FIELDS 1 n slow")
    console("LBQ.CREATE fast INTO s RATE 1 10")
    console("LBQ.ADD fast FIELDS 1 n fast")
    assert timers.pending() == 1
    timers.advance(10)
    assert [entry[b"n"] for entry in released(console, "s")] == [b"fast"]
    assert timers.pending() == 1
    timers.advance(9990)
    assert console("XLEN s") == 2


def test_many_due_entries_come_in_slices(console: ServerConsole) -> None:
    console("LBQ.CREATE q INTO s RATE 1000000 1 BURST 1000000")
    for number in range(600):
        console("LBQ.ADD", "q", "FIELDS", 1, "n", number)
    console.clock.advance(1)
    assert console.engine.tend_queues(console.clock.now_ms()) is True
    assert console("XLEN s") == 256
    tick(console)
    assert console("XLEN s") == 600


def test_a_saved_queue_is_the_same_when_it_is_loaded(console: ServerConsole) -> None:
    fill(console, count=10)
    console("LBQ.ADD", "q", "DELAY", 700, "FIELDS", 2, "a", 1, "b", "")
    console("LBQ.ADD q COST 5 FIELDS 1 n x")
    tick(console, 230)
    payload = console("DUMP q")
    rows = console("LBQ.RANGE q 0 -1")
    console("DEL q")
    assert console("RESTORE", "q", 0, payload) == b"OK"
    assert console("DUMP q") == payload
    assert console("LBQ.RANGE q 0 -1") == rows
    assert console("LBQ.ADD q IDMP p 9 FIELDS 1 n again")[0] == 3  # waits
    assert console("LBQ.ADD q IDMP p 0 FIELDS 1 n again")[0] == 3  # was released


def test_a_restart_loses_nothing_doubles_nothing_and_floods_nobody(
    console: ServerConsole,
) -> None:
    fill(console, count=20)
    for _ in range(5):
        tick(console, 100)
    streams = released(console, "s")
    payload = console("DUMP q")
    later = ServerConsole(resp=console.ctx.resp)
    later.clock.advance(500 + 1_000)  # a second passed while nobody ran
    later("RESTORE", "q", 0, payload)
    tick(later)
    assert later("XLEN s") == 1  # as after any delay: the burst
    for _ in range(30):
        tick(later, 100)
    everything = [entry[b"n"] for entry in streams + released(later, "s")]
    assert sorted(map(int, everything)) == list(range(20))


def test_a_wall_clock_that_was_set_back_releases_nothing_early(console: ServerConsole) -> None:
    fill(console, count=2)
    tick(console, 60)
    payload = console("DUMP q")
    later = ServerConsole()
    later.clock.step_wall(-3_600_000)
    later("RESTORE", "q", 0, payload)
    tick(later, 39)
    assert later("XLEN s") == 0
    tick(later, 1)
    assert later("XLEN s") == 1


def test_damaged_state_is_refused(console: ServerConsole) -> None:
    fill(console)
    payload = console("DUMP q")
    assert "DUMP payload version or checksum" in console.refused("RESTORE", "x", 0, payload[:-1])
    assert console("EXISTS x") == 0


def test_keys_and_rights_of_the_commands_are_known(console: ServerConsole) -> None:
    create = "LBQ.CREATE q INTO s RATE 1 1 OVERFLOW SPILL q2 DEAD d"
    assert console(f"COMMAND GETKEYS {create}") == [b"q", b"s", b"q2", b"d"]
    assert console("COMMAND GETKEYS LBQ.ADD q FIELDS 1 a b") == [b"q"]
    listed = console("COMMAND LIST FILTERBY PATTERN lbq.*")
    assert len(listed) == 10


def test_a_snapshot_holds_queues_that_go_on(console: ServerConsole) -> None:
    fill(console, count=5)
    console("LBQ.CREATE mortal INTO s2 RATE 1 1000")
    console("PEXPIRE mortal 5000")
    console("COPY q twin")
    tick(console, 130)
    data = write_snapshot(console.engine)
    loaded = load_snapshot(data, ServerConsole(resp=console.ctx.resp), prepare=same_time(130))
    for key in ("q", "twin"):
        assert loaded("LBQ.RANGE", key, 0, -1) == console("LBQ.RANGE", key, 0, -1)
    assert loaded("PTTL mortal") == 4870
    for _ in range(5):
        tick(loaded, 100)
        tick(console, 100)
    assert released(loaded, "s") == released(console, "s")
    assert len(released(loaded, "s")) == 10


def same_time(span_ms: int) -> Callable[[ServerConsole], None]:
    """Let a server's clock be so far on, and the server know it."""

    def prepare(console: ServerConsole) -> None:
        console.clock.advance(span_ms)
        console("PING")

    return prepare
