"""Whether a storage works: errors and slow calls make it fail, a probe that passes brings it back.

A state machine that does no IO and reads no clock. Calls of the storage may end on any thread and
only leave a note here; the event loop's thread reads the notes and changes the state.

    working ──error, or a call over the limit──► failing ──probe passes──► working
       │ ▲                                         │ ▲
       └─┘ look for damage every CHECK_MS          └─┘ probe fails: again after twice the time

Invariants: `failure` is empty exactly while the storage works; one probe is out at a time.
"""

from collections import deque
from itertools import count
from typing import Final

CHECK_MS: Final = 10_000
PROBE_MS: Final = 1000  # after a failure
PROBE_MS_MAX: Final = 60_000
_NS_PER_MS: Final = 1_000_000


class Health:
    """Of one storage."""

    __slots__ = (
        "_delay_ms",
        "_next_ms",
        "_notes",
        "_numbers",
        "_probing",
        "_running",
        "errors",
        "failing_since_ms",
        "failure",
        "need_bytes",
    )

    def __init__(self) -> None:
        self.failure = ""
        self.failing_since_ms = 0
        self.errors = 0
        self.need_bytes = 0  # what must be free for the storage to work again
        self._notes: deque[tuple[str, int]] = deque()
        self._running: dict[int, int] = {}  # calls in other threads: when they began
        self._numbers = count()
        self._next_ms = 0
        self._delay_ms = PROBE_MS
        self._probing = False

    # any thread

    def note(self, error: OSError, need_bytes: int = 0) -> None:
        """A call failed; it needed so many bytes that were not free."""
        self._notes.append((describe_error(error), need_bytes))

    def begin(self, now_ns: int) -> int:
        """A call that takes time begins: its number, for `end`."""
        number = next(self._numbers)
        self._running[number] = now_ns
        return number

    def end(self, number: int, now_ns: int, slow_ms: int) -> None:
        """It ended. Over `slow_ms` (0: no limit) is a failure too."""
        spent_ms = (now_ns - self._running.pop(number)) // _NS_PER_MS
        if slow_ms and spent_ms > slow_ms:
            self._notes.append((f"a call took {spent_ms} ms, the limit is {slow_ms} ms", 0))

    # the event loop's thread

    def update(self, now_ms: int, now_ns: int, slow_ms: int) -> bool:
        """Read the notes and look for calls that do not end; whether it fails from now on."""
        stuck_ms = self._stuck_ms(now_ns)
        if slow_ms and stuck_ms > slow_ms and not self.failure:
            self._notes.append((f"a call has not ended for {stuck_ms} ms", 0))
        before = self.failure
        while self._notes:
            reason, need_bytes = self._notes.popleft()
            self.errors += 1
            self.failure = self.failure or reason
            self.need_bytes = max(self.need_bytes, need_bytes)
        if self.failure and not before:
            self.failing_since_ms = now_ms
            self._delay_ms = PROBE_MS
            self._next_ms = now_ms + PROBE_MS
            return True
        return False

    def begin_probe(self, now_ms: int) -> bool:
        """Whether a probe is due; if so it is taken as begun."""
        if self._probing or now_ms < self._next_ms:
            return False
        self._probing = True
        return True

    def end_probe(self, now_ms: int, now_ns: int, slow_ms: int, error: OSError | None) -> bool:
        """What a probe found; whether that changes the state. Notes left meanwhile are failures."""
        self._probing = False
        before = self.failure
        while self._notes:
            reason, _ = self._notes.popleft()
            self.errors += 1
            error = error or OSError(reason)
        if error is None and slow_ms and self._stuck_ms(now_ns) > slow_ms:
            error = OSError("calls have not ended yet")
        if error is not None:
            self.failure = before or describe_error(error)
            self.errors += not before
            self.failing_since_ms = self.failing_since_ms if before else now_ms
            self._delay_ms = min(2 * self._delay_ms, PROBE_MS_MAX) if before else PROBE_MS
            self._next_ms = now_ms + self._delay_ms
            return not before
        self.failure = ""
        self.need_bytes = 0
        self._next_ms = now_ms + CHECK_MS
        return bool(before)

    def _stuck_ms(self, now_ns: int) -> int:
        began = list(self._running.values())
        return (now_ns - min(began)) // _NS_PER_MS if began else 0


def describe_error(error: OSError) -> str:
    """In the system's words, with what we know besides."""
    return error.strerror or str(error)
