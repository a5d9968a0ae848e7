"""File IO beside the event loop: a bounded number of jobs on a few threads, apart for each storage.

The only module of the storages that knows an event loop. Owns the threads and the count of jobs;
knows nothing of what they do. Jobs of one *lane* share its threads and its bound: a mount that
hangs holds those of its storage, and no others.

Invariants: all methods are called on the loop's thread, which alone changes the counts; `done` is
called once for every job that `submit` took, on the loop's thread and never inside `submit`.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

THREADS: Final = 4  # of a lane
QUEUE_MAX: Final = 1024  # jobs of a lane that wait for a thread; a client has one at a time

T = TypeVar("T")


class FileIoFullError(BlockingIOError):
    """Too many jobs wait already."""


class FileIoClosedError(OSError):
    """The server is stopping: the job was not run."""


class Lane:
    """The threads of one storage. They come with the jobs."""

    __slots__ = ("executor", "in_flight")

    def __init__(self, threads: int) -> None:
        self.executor = ThreadPoolExecutor(threads, thread_name_prefix="hotplate-file-io")
        self.in_flight = 0


class FileIo:
    """Runs blocking functions on threads."""

    __slots__ = ("_closed", "_in_flight_max", "_lanes", "_loop", "_threads")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        threads: int = THREADS,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        self._loop = loop
        self._threads = threads
        self._lanes: dict[str, Lane] = {}
        self._in_flight_max = threads + queue_max
        self._closed = False

    @property
    def in_flight(self) -> int:
        """Jobs that wait or run, of all lanes."""
        return sum(lane.in_flight for lane in self._lanes.values())

    def submit(
        self,
        function: Callable[..., T],
        *args: Any,
        done: Callable[[T | Exception], None],
        lane: str = "",
    ) -> None:
        """Run `function(*args)` on a thread, then `done` with its result or exception on the loop.

        `lane` is the name of the storage that the job is about; one that is about several names the
        slowest. FileIoFullError or FileIoClosedError if the job is not taken; `done` is not called
        then.
        """
        if self._closed:
            raise FileIoClosedError("file IO is closed")
        chosen = self._lanes.get(lane)
        if chosen is None:
            chosen = self._lanes[lane] = Lane(self._threads)
        if chosen.in_flight >= self._in_flight_max:
            raise FileIoFullError(f"{chosen.in_flight} jobs of file IO are waiting or running")
        chosen.executor.submit(self._run, partial(function, *args), done, chosen)
        chosen.in_flight += 1

    def close(self) -> None:
        """Wait for running jobs; those that wait get FileIoClosedError. Needs the loop open still.

        The last `done` calls come with the loop's next pass.
        """
        self._closed = True
        for lane in self._lanes.values():
            lane.executor.shutdown(wait=True)

    def _run(
        self, function: Callable[[], T], done: Callable[[T | Exception], None], lane: Lane
    ) -> None:
        result: T | Exception
        if self._closed:
            result = FileIoClosedError("file IO was closed before the job ran")
        else:
            try:
                result = function()
            except Exception as error:
                result = error
        self._loop.call_soon_threadsafe(self._finish, done, result, lane)

    def _finish(
        self, done: Callable[[T | Exception], None], result: T | Exception, lane: Lane
    ) -> None:
        lane.in_flight -= 1
        done(result)
