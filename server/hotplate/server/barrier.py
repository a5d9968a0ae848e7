"""Replies wait until what was logged before them is as safe as the policy says.

    commands run ─► something is logged ─► closed
                                             │ the pass ends: the first reply asks `opens`
                       the log's write ◄─────┘
                          ├ safe now (everysec, no) ─► open, and all replies leave
                          └ an fsync is needed (always) ─► replies are kept by their connections
                                  until on_settled, and leave in order

One write, and with `always` one fsync, serves all clients whose commands came in one pass of the
loop. While the log can't be written the barrier is open for those who only read; what is kept
stays until the log heals.
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hotplate.persist.journal import Journal
    from hotplate.server.output import Output


class ReplyBarrier:
    """What keeps replies back. Without a log it is never closed."""

    __slots__ = ("_fails", "_waiting", "closed", "journal", "soon", "write_log")

    def __init__(self) -> None:
        self.closed = False
        self.journal: Journal | None = None
        self.write_log: Callable[[], object] = _no_log
        self.soon: Callable[[Callable[[], None]], object] = _no_loop
        self._waiting: deque[tuple[int, Output]] = deque()
        self._fails = False

    def opens(self) -> bool:
        """Write what is logged; whether replies of who may have written can leave now."""
        journal = self.journal
        if journal is not None and journal.is_pending:
            self.write_log()
        return not (self.closed or self._fails)

    def came_as(self, requests: list[list[bytes]], pieces: list[bytes]) -> None:
        """How clients sent these requests: whoever logs them need not put them together again."""
        journal = self.journal
        if self.closed and journal is not None:
            journal.came_as(requests, pieces)

    def hold(self, connection: "Output") -> None:
        """Call the connection's `release_kept` when all that was logged so far is safe."""
        journal = self.journal
        assert journal is not None
        self._waiting.append((journal.taken + journal.is_pending, connection))

    def on_pending(self) -> None:
        """Something was logged."""
        self.closed = not self._fails

    def on_settled(self, takes: int) -> None:
        """The journal's first `takes` takes are safe."""
        journal = self.journal
        assert journal is not None
        self.closed = journal.is_pending or takes < journal.taken
        waiting = self._waiting
        while waiting and waiting[0][0] <= takes:
            waiting.popleft()[1].release_kept()

    def on_failure(self, why: str | None) -> None:
        """The log can't be written, or (None) can again."""
        self._fails = why is not None
        if self._fails:
            self.soon(self._open)  # who wrote in this pass has not been heard yet
        else:
            self.closed = False

    def _open(self) -> None:
        """The pass in which the log failed is over: what comes only reads."""
        if self._fails:
            self.closed = False


def _no_loop(callback: Callable[[], None]) -> None:
    raise RuntimeError("no log is kept")


def _no_log() -> None:
    raise RuntimeError("no log is kept")
