"""Jobs beside the loop: bounded, answered once, on the loop's thread."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from hotplate.tiers.io import FileIo, FileIoClosedError, FileIoFullError


class Answers:
    """Collects what `done` is called with; `all_of(n)` waits for n of them."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.threads: set[int] = set()
        self._changed = asyncio.Event()

    def __call__(self, result: Any) -> None:
        self.got.append(result)
        self.threads.add(threading.get_ident())
        self._changed.set()

    async def all_of(self, count: int) -> list[Any]:
        while len(self.got) < count:
            self._changed.clear()
            await self._changed.wait()
        return self.got


def boom(text: str) -> None:
    """Fail."""
    raise OSError(5, text)


def test_a_job_runs_on_a_thread_and_is_answered_on_the_loops() -> None:
    async def scenario() -> None:
        io = FileIo(asyncio.get_running_loop(), threads=1)
        answers = Answers()
        io.submit(threading.get_ident, done=answers)
        io.submit(divmod, 17, 5, done=answers)
        assert answers.got == []
        assert io.in_flight == 2
        first, second = await answers.all_of(2)
        assert first != threading.get_ident()
        assert second == (3, 2)
        assert answers.threads == {threading.get_ident()}
        assert io.in_flight == 0
        io.close()

    asyncio.run(scenario())


def test_a_jobs_exception_is_its_answer() -> None:
    async def scenario() -> None:
        io = FileIo(asyncio.get_running_loop(), threads=1)
        answers = Answers()
        io.submit(boom, "the disk is gone", done=answers)
        (error,) = await answers.all_of(1)
        assert isinstance(error, OSError)
        assert error.errno == 5
        io.close()

    asyncio.run(scenario())


def test_more_jobs_than_may_wait_are_refused_and_later_taken_again() -> None:
    async def scenario() -> None:
        io = FileIo(asyncio.get_running_loop(), threads=2, queue_max=3)
        answers = Answers()
        gate = threading.Event()
        for _ in range(5):
            io.submit(gate.wait, done=answers)
        with pytest.raises(FileIoFullError, match="5 jobs"):
            io.submit(gate.wait, done=answers)
        assert io.in_flight == 5
        gate.set()
        assert await answers.all_of(5) == [True] * 5
        io.submit(gate.wait, done=answers)
        await answers.all_of(6)
        io.close()

    asyncio.run(scenario())


def test_closing_waits_for_what_runs_and_refuses_what_waits() -> None:
    async def scenario() -> None:
        io = FileIo(asyncio.get_running_loop(), threads=1)
        answers = Answers()
        started = threading.Event()
        gate = threading.Event()
        ran: list[str] = []

        def slow() -> str:
            started.set()
            gate.wait()
            return "finished"

        job: Callable[[str], None] = ran.append
        io.submit(slow, done=answers)
        io.submit(job, "never", done=answers)
        started.wait()
        # Opened only once close() has begun: shutdown is what close() calls after marking itself.
        executor = io._lanes[""].executor
        real_shutdown = executor.shutdown

        def shutdown(**options: Any) -> None:
            gate.set()
            real_shutdown(**options)

        executor.shutdown = shutdown  # type: ignore[method-assign, assignment]
        io.close()
        first, second = await answers.all_of(2)
        assert first == "finished"
        assert isinstance(second, FileIoClosedError)
        assert ran == []
        with pytest.raises(FileIoClosedError):
            io.submit(slow, done=answers)
        assert io.in_flight == 0

    asyncio.run(scenario())


def test_a_lane_that_hangs_or_is_full_keeps_no_other_from_working() -> None:
    async def scenario() -> None:
        io = FileIo(asyncio.get_running_loop(), threads=2, queue_max=1)
        hang, answers, hung = threading.Event(), Answers(), Answers()
        for _ in range(3):
            io.submit(hang.wait, done=hung, lane="mount")
        with pytest.raises(FileIoFullError, match="3 jobs"):
            io.submit(hang.wait, done=hung, lane="mount")
        for _ in range(3):
            io.submit(divmod, 17, 5, done=answers, lane="disk")
        assert io.in_flight == 6
        assert await answers.all_of(3) == [(3, 2)] * 3
        assert (io.in_flight, hung.got) == (3, [])
        hang.set()
        await hung.all_of(3)
        io.close()

    asyncio.run(scenario())
