"""Giving memory back in slices: what was deleted, overwritten, expired, flushed or evicted.

Freeing a value of ten million elements, or a database of as many keys, at once stops the server
for seconds. A database puts both into its queue, `Database.discarded`; a pass here takes them apart
a few hundred elements at a time until its budget is spent. Small values never come here.

What is in a queue is no key's any more. It knows no key, no client and no event.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from hotplate.keyspace.entry import Entry, Value

if TYPE_CHECKING:
    from hotplate.keyspace.database import Database

LARGE_ELEMENTS: Final = 64  # a value with more is taken apart, as in Redis' lazy freeing
GROUP: Final = 256  # elements between two looks at the clock
BUDGET_NS: Final = 2_000_000  # of one pass


class Shedding(Protocol):
    """What can be taken apart: a collection, or what a database knew beside its keys."""

    def __len__(self) -> int: ...
    def shed(self, count: int) -> None: ...


Discarded: TypeAlias = dict[bytes, Entry] | Shedding


def is_large(value: Value) -> bool:
    """Whether freeing the value takes long enough to be done in slices."""
    return not isinstance(value, (bytes, int, bytearray)) and len(value) > LARGE_ELEMENTS


def free_group(discarded: list[Discarded]) -> None:
    """Free the next few hundred elements of what was discarded last."""
    value = discarded.pop()
    large: list[Discarded] = []
    if isinstance(value, dict):
        for _ in range(min(GROUP, len(value))):
            _, entry = value.popitem()
            if type(entry.value) is not bytes and is_large(entry.value):
                large.append(entry.value)  # type: ignore[arg-type]  # no string is large
    else:
        value.shed(GROUP)
    if value:
        discarded.append(value)
    discarded.extend(large)


class DiscardCycle:
    """The pass over all databases' queues. `monotonic_ns` measures what it spends."""

    __slots__ = ("_databases", "_monotonic_ns")

    def __init__(self, databases: Sequence["Database"], monotonic_ns: Callable[[], int]) -> None:
        self._databases = databases
        self._monotonic_ns = monotonic_ns

    def run(self, budget_ns: int = BUDGET_NS) -> bool:
        """One pass; whether there is more to free."""
        deadline_ns = self._monotonic_ns() + budget_ns
        for database in self._databases:
            discarded = database.discarded
            while discarded:
                free_group(discarded)
                if self._monotonic_ns() >= deadline_ns:
                    return any(other.discarded for other in self._databases)
        return False

    def pending(self) -> int:
        """How many values and shards of flushed databases wait."""
        return sum(len(database.discarded) for database in self._databases)
