"""FIFO among leaves: the leaf goes that was stored first, however often it was used."""

from typing import ClassVar

from hotplate.kvc.policy.base import Forest, Policy


class Fifo(Policy):
    """By creation."""

    name: ClassVar[str] = "fifo"

    def __init__(self, forest: Forest) -> None:
        super().__init__(forest, forest.created.__getitem__)
