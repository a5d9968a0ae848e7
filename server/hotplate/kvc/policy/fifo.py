"""FIFO among leaves: the leaf goes that was stored first, however often it was used."""

from typing import ClassVar

from hotplate.kvc.policy.base import Policy


class Fifo(Policy):
    """By creation."""

    name: ClassVar[str] = "fifo"

    def order(self, block: int) -> int:
        """The stamp of the call that stored it."""
        return self.forest.created[block]
