"""What commands see of persistence: INFO's figures, and what clients may ask for."""

from collections.abc import Iterator
from typing import Any, Protocol


class Persistence(Protocol):
    """The server's log and snapshots. A server has one; an engine alone has none."""

    @property
    def has_log(self) -> bool:
        """Whether `appendonly` is on."""
        ...

    @property
    def logged(self) -> int:
        """How far the log goes with all that was done until now."""
        ...

    @property
    def synced(self) -> int:
        """How far of it is on disk."""
        ...

    @property
    def is_rewriting(self) -> bool:
        """Whether the log is being rewritten."""
        ...

    @property
    def is_saving(self) -> bool:
        """Whether a snapshot is being saved."""
        ...

    @property
    def last_save_s(self) -> int:
        """When a snapshot was last saved, Unix seconds; else when the server started."""
        ...

    def end_without_save(self) -> None:
        """The server is about to end, and no snapshot is to be saved."""
        ...

    def save(self) -> None:
        """Save a snapshot now. OSError."""
        ...

    def start_save(self) -> None:
        """Save a snapshot in the background. OSError."""
        ...

    def start_rewrite(self) -> None:
        """Rewrite the log in the background."""
        ...

    def schedule_save(self) -> None:
        """Save a snapshot once what is under way is done."""
        ...

    def schedule_rewrite(self) -> None:
        """Rewrite the log once what is under way is done."""
        ...

    def info(self) -> Iterator[tuple[str, Any]]:
        """The rows of INFO's section."""
        ...
