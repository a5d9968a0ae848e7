"""The time that limits are computed with: both clocks, read at one moment."""

from typing import Protocol


class Timebase(Protocol):
    """Both clocks, read at one moment: wall time, and the clock that never steps."""

    now_ms: int
    now_ns: int
