"""Every fault at every operation of the log's files leaves a state that the policy allows.

A run is a few commands, a rewrite, more commands and a clean end, on files in memory. The same run
is repeated with a fault at its first operation, its second, and so on: the process is killed there,
the power fails there (and of what was not synced any part is left), or the operation fails.
Whoever starts afterwards must find, in order, all that had to be kept, and nothing else.
"""

import errno
import os
from collections.abc import Callable
from itertools import count

import pytest
from tests.testing.logged import Logged
from tests.testing.memory_files import MemoryFiles, Stopped
from tests.testing.state import State, state_of

from hotplate.errors import CommandError

pytestmark = pytest.mark.slow

LINES = (
    *("SET a 1", "RPUSH l x y", "INCR a", "HSET h f v", "XADD s 1-1 f v", "SPOP missing"),
    *("MULTI", "SET m1 1", "SET m2 1", "EXEC", "DEL l"),
)
LATER = ("SET b 1", "RPUSH l z", "APPEND b 2", "XGROUP CREATE s g 0", "SET last 1")
STEPS_A_SECOND = 3  # so many writes no fsync covers, with everysec


class Run:
    """One server's life: what it held after each step, and what it had acknowledged."""

    def __init__(self, files: MemoryFiles, policy: str) -> None:
        self.files = files
        self.server = Logged(files, appendfsync=policy, databases=1)
        self.states: list[State] = [{}]
        self.acknowledged = 0  # the last state whose reply left
        self.synced = 0  # the last state that was known to be on disk
        self.refused = 0
        self.steps = 0

    def live(self) -> None:
        """All of it."""
        server = self.server.start()
        server.background.slice_ns = 0
        server.background.keys_a_step = 1
        for line in LINES:
            self.step(line)
        self.passes(10_000)
        server.background.start_rewrite()
        for line in LATER:
            self.step(line)
            self.passes(3)
        for _ in range(10):  # long enough for what failed to be tried again
            self.passes(10_000)
            self.second()
        server.appendonly.stop()
        self.acknowledged = self.synced = len(self.states) - 1

    def step(self, line: str) -> None:
        """A command, in a pass of its own."""
        server = self.server
        server.clock.advance(100)
        try:
            server.console(line)
        except CommandError as error:
            if not str(error).startswith("MISCONF"):
                raise
            self.refused += 1
            return
        state = state_of(server.engine)
        if state != self.states[-1]:
            self.states.append(state)
        before = server.hears.settled
        server.flush()
        if server.appendonly.log.is_settled and server.hears.settled >= before:
            self.acknowledged = len(self.states) - 1
            if server.appendonly.log.synced_to_end:
                self.synced = len(self.states) - 1
        self.steps += 1
        if self.steps % STEPS_A_SECOND == 0:
            self.second()

    def second(self) -> None:
        """The timer's beat, a second later."""
        self.server.clock.advance(1000)
        self.server.appendonly.log.tick()
        self.server.background.tick(self.server.clock.now_ms())
        if self.server.appendonly.log.is_settled and self.server.appendonly.log.synced_to_end:
            self.synced = len(self.states) - 1
            self.acknowledged = len(self.states) - 1

    def passes(self, number: int) -> None:
        """Passes of the loop."""
        soon = self.server.soon
        for _ in range(number):
            if not soon:
                return
            ready, soon[:] = list(soon), []
            for callback in ready:
                callback()

    def found(self, files: MemoryFiles) -> int:
        """Which of the states a server finds that starts on these files."""
        return self.index_of(self.loaded(files))

    def loaded(self, files: MemoryFiles) -> State:
        """What a server finds that starts on these files; it goes on from there."""
        server = Logged(files, self.server.clock, databases=1).start()
        state = state_of(server.engine)
        server("SET proof 1")
        server.appendonly.stop()
        again = Logged(server.files.after_kill(), self.server.clock, databases=1).load()
        assert state_of(again.engine) == {**state, (0, b"proof"): (0, b"1")}
        return state

    def index_of(self, state: State) -> int:
        """Which of the states it is; the last one, where it came more than once."""
        assert state in self.states, state
        return len(self.states) - 1 - self.states[::-1].index(state)


def each_operation(policy: str, arrange: Callable[[MemoryFiles, int], None]) -> list[Run]:
    """The run again and again, with a fault at each of its operations."""
    whole = Run(MemoryFiles(), policy)
    whole.live()
    runs: list[Run] = []
    for number in range(1, whole.files.operations + 1):
        files = MemoryFiles()
        arrange(files, number)
        runs.append(Run(files, policy))
    return runs


@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_a_kill_at_any_operation_loses_nothing_acknowledged(policy: str) -> None:
    for run in each_operation(policy, lambda files, number: setattr(files, "stop_at", number)):
        with pytest.raises(Stopped):
            run.live()
        assert run.found(run.files.after_kill()) >= run.acknowledged


@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_a_power_failure_at_any_operation_loses_no_more_than_the_policy_says(policy: str) -> None:
    known: dict[frozenset[tuple[str, bytes]], State] = {}
    for run in each_operation(policy, lambda files, number: setattr(files, "stop_at", number)):
        with pytest.raises(Stopped):
            run.live()
        for files in run.files.outcomes():
            key = frozenset(files.items())
            if key not in known:  # most are the same as after the operation before
                known[key] = run.loaded(run.files.found(files))
            kept = run.index_of(known[key])
            assert kept >= (run.acknowledged if policy == "always" else run.synced)
    assert len(known) > (90 if policy == "always" else 200)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_an_error_at_any_operation_is_told_and_heals(policy: str, code: int) -> None:
    def arrange(files: MemoryFiles, number: int) -> None:
        files.fail_at[number] = OSError(code, os.strerror(code))

    for run in each_operation(policy, arrange):
        try:
            run.live()
        except OSError as error:  # at the start or the end of the server, which tell
            if error.errno != code:
                raise
            assert run.found(run.files.after_kill()) >= run.acknowledged
            continue
        server = run.server
        assert server.appendonly.log.failure is None
        assert run.found(run.files.after_kill()) == len(run.states) - 1


@pytest.mark.parametrize("policy", ["always", "everysec"])
def test_writes_that_take_only_a_part_are_completed(policy: str) -> None:
    for run in each_operation(policy, lambda files, number: setattr(files, "short_at", number)):
        run.live()
        assert not run.refused
        assert run.found(run.files.after_kill()) == len(run.states) - 1


def test_nothing_is_acknowledged_between_a_failed_fsync_and_a_new_log() -> None:
    server = Logged(MemoryFiles(), appendfsync="always").start()
    server("SET a 1")
    settled = server.hears.settled
    server.files.fail_at[server.files.operations + 2] = OSError(errno.EIO, "it is gone")
    server("SET b 1")
    assert server.hears.settled == settled
    assert server.hears.failures[-1] == "it is gone (fsync)"
    server.clock.advance(1000)
    server.background.tick(server.clock.now_ms())
    server.run_soon()
    assert server.hears.failures[-1] is None
    assert server.hears.settled > settled
    assert not any(server.files.log[-1:]) or server.appendonly.log.failure is None
    for files in server.files.outcomes():
        found = Logged(server.files.found(files)).load()
        assert state_of(found.engine) == state_of(server.engine)


def test_a_slow_fsync_is_counted_and_holds_nobody_up_but_always() -> None:
    for policy, waits in (("everysec", False), ("always", True)):
        server = Logged(MemoryFiles(), appendfsync=policy).start()
        server("SET a 1")
        server.worker.is_slow = True
        before = server.hears.settled
        for number in count():
            server(f"SET a {number}")
            server.clock.advance(1100)
            server.appendonly.log.tick()
            if number == 5:
                break
        assert server.appendonly.log.delayed_fsyncs > 0
        assert (server.hears.settled == before) is waits
        server.worker.is_slow = False
        server.worker.finish()
        server.flush()
        assert server.hears.settled > before
        assert server.appendonly.log.is_settled


def test_always_syncs_in_place_while_the_disk_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Logged(MemoryFiles(), appendfsync="always").start()
    for number in range(20):
        server(f"SET a {number}")
    server.worker.is_slow = True
    before = server.hears.settled
    server("SET a quick")
    assert server.hears.settled > before  # nobody waited for the worker
    sync = server.files.sync

    def slowly(handle: int) -> None:
        server.clock.advance(5)
        sync(handle)

    monkeypatch.setattr(server.files, "sync", slowly)
    server("SET a slow")
    before = server.hears.settled
    server("SET a slower")
    assert server.hears.settled == before
    server.worker.finish()
    assert server.hears.settled > before


def test_a_failed_fsync_in_place_is_as_one_of_the_worker() -> None:
    server = Logged(MemoryFiles(), appendfsync="always").start()
    for number in range(20):
        server(f"SET a {number}")
    settled = server.hears.settled
    server.files.fail_at[server.files.operations + 2] = OSError(errno.EIO, "it is gone")
    server("SET b 1")
    assert server.hears.settled == settled
    assert server.hears.failures[-1] == "it is gone (fsync)"
