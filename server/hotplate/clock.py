"""Time, injected: nothing else in the server reads a clock.

`now_ms` is Unix time for expiry and for what is shown; `monotonic_ns` never steps and is for
durations. Tests use ManualClock and never sleep.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """What the server needs of time."""

    def now_ms(self) -> int:
        """Unix time in milliseconds."""
        ...

    def now_us(self) -> int:
        """Unix time in microseconds (TIME)."""
        ...

    def wall_ns(self) -> int:
        """Unix time in nanoseconds."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds that never go back."""
        ...

    def thread_ns(self) -> int:
        """CPU time of the calling thread, in nanoseconds."""
        ...

    def block(self, span_ms: float) -> None:
        """Do nothing for so long, and let nobody else (DEBUG SLEEP)."""
        ...


class SystemClock:
    """The machine's clocks."""

    __slots__ = ()

    def now_ms(self) -> int:
        """Unix time in milliseconds."""
        return time.time_ns() // 1_000_000

    def now_us(self) -> int:
        """Unix time in microseconds."""
        return time.time_ns() // 1_000

    # the built-ins themselves: both are read for every batch of commands
    wall_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.monotonic_ns)
    thread_ns = staticmethod(time.thread_time_ns)

    def block(self, span_ms: float) -> None:
        """Stop the calling thread."""
        time.sleep(span_ms / 1000)


class ManualClock:
    """A clock that moves only when told to."""

    __slots__ = ("_monotonic_ns", "_wall_us")

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._wall_us = now_ms * 1000
        self._monotonic_ns = 0

    def now_ms(self) -> int:
        """Unix time in milliseconds."""
        return self._wall_us // 1000

    def now_us(self) -> int:
        """Unix time in microseconds."""
        return self._wall_us

    def wall_ns(self) -> int:
        """Unix time in nanoseconds."""
        return self._wall_us * 1000

    def monotonic_ns(self) -> int:
        """Nanoseconds since this clock was made."""
        return self._monotonic_ns

    def thread_ns(self) -> int:
        """As much as the time that has passed: whoever works lets it pass."""
        return self._monotonic_ns

    def advance(self, span_ms: float) -> None:
        """Let `span_ms` milliseconds pass on both clocks."""
        self._wall_us += int(span_ms * 1000)
        self._monotonic_ns += int(span_ms * 1_000_000)

    def block(self, span_ms: float) -> None:
        """Let the time pass at once."""
        self.advance(span_ms)

    def step_wall(self, span_ms: int) -> None:
        """Step the wall clock alone, as an administrator or NTP may."""
        self._wall_us += span_ms * 1000
