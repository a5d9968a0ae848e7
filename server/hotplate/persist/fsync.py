"""Syncing files to disk off the event loop's thread: the one place here that knows asyncio.

One thread, one file after the other. A sync may take seconds while the disk is busy; the loop goes
on meanwhile, and hears of the end in a pass of its own.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeAlias

from hotplate.persist.files import Files

log = logging.getLogger("hotplate.persist")

Done: TypeAlias = Callable[[OSError | None], None]
"""Called on the loop's thread: None, or why it failed."""


class Worker(Protocol):
    """Runs what blocks elsewhere, and tells when it is done."""

    def run(self, work: Callable[[], None], done: Done) -> None:
        """Run `work`, which may raise OSError, after what was given before; then `done`."""
        ...


class FsyncThread:
    """The worker of a running server."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="fsync")

    def run(self, work: Callable[[], None], done: Done) -> None:
        """Run `work` on the thread; `done` on the loop."""

        def task() -> None:
            error: OSError | None = None
            try:
                work()
            except OSError as failure:
                error = failure
            self._loop.call_soon_threadsafe(done, error)

        self._pool.submit(task)

    def close(self) -> None:
        """Wait for what was given."""
        self._pool.shutdown(wait=True)


def sync_with(files: Files, handle: int) -> Callable[[], None]:
    """The work of syncing one file."""
    return lambda: files.sync(handle)
