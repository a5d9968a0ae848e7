"""How long one slice of background work may take: thread CPU time, so that others do not count."""

from collections.abc import Callable
from typing import Final

SLICE_NS: Final = 3_500_000  # a client waits for a slice 5 ms at most, what runs over included
_ITEMS_A_LOOK: Final = 32  # a look at the clock is a system call


class Budget:
    """Counts down; `spent` is asked for every item of work, or told of several."""

    __slots__ = ("_deadline_ns", "_items", "_over", "_thread_ns")

    def __init__(self, thread_ns: Callable[[], int], span_ns: int = SLICE_NS) -> None:
        self._thread_ns = thread_ns
        self._deadline_ns = thread_ns() + span_ns
        self._items = 0
        self._over = False

    def spent(self, items: int = 1) -> bool:
        """Whether the time is over, once so many items more were worked on."""
        self._items += items
        if self._items >= _ITEMS_A_LOOK and not self._over:
            self._items = 0
            self._over = self._thread_ns() >= self._deadline_ns
        return self._over

    @property
    def ended(self) -> bool:
        """Whether it was found spent."""
        return self._over

    def over(self) -> bool:
        """The same, with a look at the clock now."""
        self._over = self._over or self._thread_ns() >= self._deadline_ns
        return self._over
