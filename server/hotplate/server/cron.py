"""The one timer: background work in bounded slices, `hz` times a second.

Each job gets a budget and says whether it has more to do; then the timer comes back at once (after
the clients had their turn) instead of at the next beat. A job that fails is logged and goes on at
the next beat: one broken job must not stop expiry for all.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TypeAlias

log = logging.getLogger("hotplate.server")

Job: TypeAlias = Callable[[int], bool]
"""(now_ms) -> whether there is more to do right now."""


class Cron:
    """Runs jobs on the event loop until stopped."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, now_ms: Callable[[], int], hz: Callable[[], int]
    ) -> None:
        self._loop = loop
        self._now_ms = now_ms
        self._hz = hz
        self._jobs: list[Job] = []
        self._handle: asyncio.Handle | None = None

    def add(self, job: Job) -> None:
        """Run `job` at every beat."""
        self._jobs.append(job)

    def start(self) -> None:
        """Begin; the first beat is due after one period."""
        self._handle = self._loop.call_later(1 / self._hz(), self._beat)

    def stop(self) -> None:
        """No further beat."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _beat(self) -> None:
        now_ms = self._now_ms()
        more = False
        for job in self._jobs:
            try:
                more |= job(now_ms)
            except Exception:
                log.exception("background work failed")
        if more:
            self._handle = self._loop.call_soon(self._beat)
        else:
            self._handle = self._loop.call_later(1 / self._hz(), self._beat)
