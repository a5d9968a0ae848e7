"""Who has something to send when a pass of the loop has heard every client.

Nothing is written before: a client's process that is woken by its reply while the others still wait
for theirs goes to sleep again and has to be woken anew, at a cost of several requests each time.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from hotplate.engine.singles import Single, Singles


class Sender(Protocol):
    """A connection, or what tells several of them."""

    def flush(self) -> None:
        """Send what there is, all at once."""
        ...


class Outbox:
    """The pass of one server: requests that came alone, and who has something to send."""

    __slots__ = ("_heard", "_is_due", "_listed", "singles", "soon")

    def __init__(self, singles: Singles) -> None:
        self.singles = singles
        self._heard = singles.heard
        self._listed: deque[Sender] = deque()
        self._is_due = False
        # calls back when the pass is over; the server sets it
        self.soon: Callable[[Callable[[], None]], Any] = _nobodys_pass

    def add(self, sender: Sender) -> None:
        """Let it flush when this pass is over; listing it again does no harm."""
        if not self._is_due:
            self._is_due = True
            self.soon(self.flush)
        self._listed.append(sender)

    def hear(self, single: Single) -> None:
        """Run its request when this pass is over."""
        if not self._is_due:
            self._is_due = True
            self.soon(self.flush)
        self._heard.append(single)

    def flush_listed(self) -> None:
        """Let all that are listed flush now."""
        while self._listed:
            self._listed.popleft().flush()

    def flush(self) -> None:
        """Run what was heard and let all that are listed flush; new ones on the way, too."""
        self._is_due = True
        singles, heard, listed = self.singles, self._heard, self._listed
        if singles.answered:
            singles.send_answered()  # this is called amid a pass
        try:
            while heard or listed:
                if heard:
                    singles.run()
                if listed:
                    self.flush_listed()
        finally:
            self._is_due = bool(heard or listed)
            if self._is_due:  # one failed, which is logged; the others are not to wait for it
                self.soon(self.flush)


def _nobodys_pass(flush: Callable[[], None]) -> None:
    """Without a loop, whoever drives the engine flushes."""
