"""The connection of a context that no client is behind: one that has gone, loading, a script."""

from collections.abc import Callable
from typing import Final


class NoLink:
    """Nobody at the other end."""

    local = ""
    descriptor = -1

    def __init__(self, kind: str) -> None:
        self.peer = kind
        self.kind = kind

    def close_now(self) -> None:
        """There is nothing to drop."""

    def close(self) -> None:
        """There is nothing to close."""

    def hold(self, release: Callable[[], None]) -> None:
        """Nobody reads what is answered."""
        release()

    def push(self, frames: bytes) -> None:
        """It subscribes to nothing."""

    def output_bytes(self) -> int:
        """Nothing waits."""
        return 0

    def query_bytes(self) -> int:
        """Nothing waits."""
        return 0


NOBODY: Final = NoLink("nobody")
