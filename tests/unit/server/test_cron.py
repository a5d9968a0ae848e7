"""The timer: one beat after the other, whatever jobs do."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from hotplate.server.cron import Cron


class Handle:
    """A callback that is due."""

    def __init__(self, delay: float, callback: Callable[[], Any]) -> None:
        self.delay = delay
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        """Not any more."""
        self.cancelled = True


class Timers:
    """A loop that remembers the one callback it was given."""

    def __init__(self) -> None:
        self.handle: Handle | None = None

    def call_later(self, delay: float, callback: Callable[[], Any]) -> Handle:
        """Later."""
        self.handle = Handle(delay, callback)
        return self.handle

    def call_soon(self, callback: Callable[[], Any]) -> Handle:
        """In the next pass."""
        return self.call_later(0, callback)

    def beat(self) -> float:
        """Run what is due; the delay of what comes next."""
        assert self.handle is not None
        assert not self.handle.cancelled
        self.handle.callback()
        return self.handle.delay


def build(timers: Timers, hz: list[int]) -> Cron:
    return Cron(cast("asyncio.AbstractEventLoop", timers), lambda: 42, lambda: hz[0])


def test_jobs_run_in_turn_as_often_as_hz_says() -> None:
    timers, hz, calls = Timers(), [10], list[tuple[str, int]]()

    def first(now_ms: int) -> bool:
        calls.append(("first", now_ms))
        return False

    def second(now_ms: int) -> bool:
        calls.append(("second", now_ms))
        return False

    cron = build(timers, hz)
    cron.add(first)
    cron.add(second)
    cron.start()
    assert calls == []
    assert timers.beat() == 0.1
    assert calls == [("first", 42), ("second", 42)]
    hz[0] = 100
    assert timers.beat() == 0.01


def test_a_job_with_more_to_do_runs_again_in_the_next_pass() -> None:
    timers, left = Timers(), [3]

    def job(now_ms: int) -> bool:
        left[0] -= 1
        return left[0] > 0

    cron = build(timers, [10])
    cron.add(job)
    cron.add(lambda now_ms: False)
    cron.start()
    assert [timers.beat() for _ in range(3)] == [0, 0, 0.1]


def test_a_job_that_fails_is_logged_and_keeps_nobody_from_running(
    caplog: pytest.LogCaptureFixture,
) -> None:
    timers, calls = Timers(), list[int]()

    def broken(now_ms: int) -> bool:
        raise ValueError("out of order")

    def sound(now_ms: int) -> bool:
        calls.append(now_ms)
        return False

    cron = build(timers, [10])
    cron.add(broken)
    cron.add(sound)
    cron.start()
    assert timers.beat() == timers.beat() == 0.1
    assert calls == [42, 42]
    assert caplog.text.count("ValueError: out of order") == 2


def test_nothing_runs_after_stop() -> None:
    timers = Timers()
    cron = build(timers, [10])
    cron.start()
    timers.beat()
    cron.stop()
    assert timers.handle is not None
    assert timers.handle.cancelled
    cron.stop()
