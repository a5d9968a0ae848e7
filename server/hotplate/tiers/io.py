"""File IO beside the event loop: a bounded number of jobs on a few threads.

The only module of the storages that knows an event loop. Owns the threads and the count of jobs;
knows nothing of what they do.

Invariants: all methods are called on the loop's thread, which alone changes the counts; `done` is
called once for every job that `submit` took, on the loop's thread and never inside `submit`.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

THREADS: Final = 4
QUEUE_MAX: Final = 1024  # jobs that wait for a thread; a client has one at a time

T = TypeVar("T")


class FileIoFullError(BlockingIOError):
    """Too many jobs wait already."""


class FileIoClosedError(OSError):
    """The server is stopping: the job was not run."""


class FileIo:
    """Runs blocking functions on threads."""

    __slots__ = ("_closed", "_executor", "_in_flight_max", "_loop", "in_flight")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        threads: int = THREADS,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        self._loop = loop
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="hotplate-file-io")
        self._in_flight_max = threads + queue_max
        self._closed = False
        self.in_flight = 0

    def submit(
        self,
        function: Callable[..., T],
        *args: Any,
        done: Callable[[T | Exception], None],
        **kwargs: Any,
    ) -> None:
        """Call the function on a thread, then `done` with its result or exception on the loop.

        FileIoFullError or FileIoClosedError if the job is not taken; `done` is not called then.
        """
        if self._closed:
            raise FileIoClosedError("file IO is closed")
        if self.in_flight >= self._in_flight_max:
            raise FileIoFullError(f"{self.in_flight} jobs of file IO are waiting or running")
        self._executor.submit(self._run, partial(function, *args, **kwargs), done)
        self.in_flight += 1

    def close(self) -> None:
        """Wait for running jobs; those that wait get FileIoClosedError. Needs the loop open still.

        The last `done` calls come with the loop's next pass.
        """
        self._closed = True
        self._executor.shutdown(wait=True)

    def _run(
        self,
        function: Callable[[], T],
        done: Callable[[T | Exception], None],
    ) -> None:
        result: T | Exception
        if self._closed:
            result = FileIoClosedError("file IO was closed before the job ran")
        else:
            try:
                result = function()
            except Exception as error:
                result = error
        self._loop.call_soon_threadsafe(self._finish, done, result)

    def _finish(self, done: Callable[[T | Exception], None], result: T | Exception) -> None:
        self.in_flight -= 1
        done(result)
