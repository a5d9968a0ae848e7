"""Timers that fire when a test lets time pass."""

from collections.abc import Callable

from hotplate.clock import ManualClock


class ManualTimer:
    """One call that was arranged."""

    def __init__(self, due_ms: float, callback: Callable[[], None]) -> None:
        self.due_ms = due_ms
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """It will not happen."""
        self.callback = None


class ManualTimers:
    """What `engine.after` is in tests. Moves the clock it is given."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._timers: list[ManualTimer] = []
        self._now_ms = 0.0

    def after(self, seconds: float, callback: Callable[[], None]) -> ManualTimer:
        """Call back once when so much time has passed."""
        timer = ManualTimer(self._now_ms + seconds * 1000, callback)
        self._timers.append(timer)
        return timer

    def pending(self) -> int:
        """How many calls are arranged."""
        return sum(1 for timer in self._timers if timer.callback is not None)

    def advance(self, span_ms: float) -> None:
        """Let time pass; what is due happens in order."""
        self._now_ms += span_ms
        self._clock.advance(span_ms)
        for timer in sorted(self._timers, key=lambda timer: timer.due_ms):
            callback = timer.callback
            if callback is not None and timer.due_ms <= self._now_ms:
                timer.callback = None
                callback()
        self._timers = [timer for timer in self._timers if timer.callback is not None]
