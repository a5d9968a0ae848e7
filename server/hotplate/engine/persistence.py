"""What commands see of persistence: INFO's figures, and what clients may ask for."""

from collections.abc import Iterator
from typing import Any, Protocol


class Persistence(Protocol):
    """The server's log and snapshots. A server has one; an engine alone has none."""

    def info(self) -> Iterator[tuple[str, Any]]:
        """The rows of INFO's section."""
        ...
