"""Who has something to send when a pass of the loop has heard every client.

Nothing is written before: a client's process that is woken by its reply while the others still wait
for theirs goes to sleep again and has to be woken anew, at a cost of several requests each time.
"""

from collections.abc import Callable
from typing import Any, Protocol


class Sender(Protocol):
    """A connection, or what tells several of them."""

    def flush(self) -> None:
        """Send what there is, all at once."""
        ...


class Outbox:
    """The senders of one server. Each is listed once a pass; listing it again does no harm."""

    __slots__ = ("_listed", "soon")

    def __init__(self) -> None:
        self._listed: list[Sender] = []
        # calls back when the pass is over; the server sets it
        self.soon: Callable[[Callable[[], None]], Any] = _nobodys_pass

    def add(self, sender: Sender) -> None:
        """Let it flush when this pass is over."""
        if not self._listed:
            self.soon(self.flush)
        self._listed.append(sender)

    def flush(self) -> None:
        """Let all that are listed flush; what one adds on the way is flushed too."""
        for sender in self._listed:
            sender.flush()
        self._listed.clear()


def _nobodys_pass(flush: Callable[[], None]) -> None:
    """Without a loop, whoever drives the engine flushes."""
