"""How much memory keys take: an estimate of each, and their sum while there is a limit.

    a key     its bytes, its entry, its place in a shard; one place more and a number if it expires
    a string  its bytes and Python's header, as the allocator rounds them
    others    what the type says of itself by a few samples (`Collection.sample_bytes`)

The sum is kept up to date by what databases tell (`observe`, and `forget` where a key goes), and by
a count of the keys that were there before, a slice at a time. An entry remembers what it was
counted with, and in which generation: a new one begins whenever counting is switched on.

docs/memory.md says how far the estimate is off. No client, no clock, no limit here.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from hotplate.keyspace.entry import Entry, Value

if TYPE_CHECKING:
    from hotplate.keyspace.database import Database

SAMPLES: Final = 5  # elements of a collection that are looked at
BASE_BYTES: Final = 1024 * 1024  # an empty server counts as one, as it does in Redis
ENTRY_BYTES: Final = 64
PLACE_BYTES: Final = 48  # in a dict that is filled to its average
NUMBER_BYTES: Final = 32
_BYTES_HEADER: Final = 33
_BYTEARRAY_HEADER: Final = 57
_ROUNDING: Final = 16  # of Python's allocator
_KEY_BYTES: Final = ENTRY_BYTES + PLACE_BYTES + 2 * NUMBER_BYTES  # last use, and this estimate
_EXPIRY_BYTES: Final = PLACE_BYTES + NUMBER_BYTES
_GENERATION_BITS: Final = 32
_GENERATION_MASK: Final = 2**_GENERATION_BITS - 1
_GROUP: Final = 64  # keys between two looks at the clock

_Group: TypeAlias = tuple["Database", list[bytes]]


def value_bytes(value: Value, samples: int = SAMPLES) -> int:
    """The memory of a value; `samples` 0 looks at every element."""
    if isinstance(value, bytes):
        return (_BYTES_HEADER + len(value) + _ROUNDING - 1) // _ROUNDING * _ROUNDING
    if isinstance(value, int):
        return NUMBER_BYTES
    if isinstance(value, bytearray):
        return _BYTEARRAY_HEADER + len(value)
    return value.sample_bytes(samples)


def key_bytes(key: bytes, entry: Entry, samples: int = SAMPLES) -> int:
    """The memory of a key with all that belongs to it."""
    size_bytes = _KEY_BYTES + value_bytes(key) + value_bytes(entry.value, samples)
    return size_bytes + _EXPIRY_BYTES if entry.expire_at_ms else size_bytes


class Meter:
    """The sum over all databases. It counts between `start` and `stop`."""

    __slots__ = ("_at", "_databases", "_generation", "_sums_bytes", "used_bytes")

    def __init__(self, databases: Sequence["Database"]) -> None:
        self._databases = databases
        self._generation = 0
        self._sums_bytes: list[int] = []
        self.used_bytes = 0
        self._at: Iterator[_Group] | None = None  # the count under way

    def start(self) -> None:
        """Count from now on; `count` adds what is there already."""
        self._generation = (self._generation + 1) & _GENERATION_MASK
        self._sums_bytes = [0] * len(self._databases)
        self.used_bytes = BASE_BYTES
        self._at = self._groups()
        for database in self._databases:
            database.meter = self

    def stop(self) -> None:
        """Count no more."""
        self._at = None
        self.used_bytes = 0
        for database in self._databases:
            database.meter = None

    def observe(self, index: int, key: bytes, event: str) -> None:
        """A key changed."""
        database = self._databases[index]
        entry = database.shard_of(key).get(key)
        if entry is not None:
            self._measure(index, key, entry)

    def forget(self, index: int, entry: Entry) -> None:
        """A key is removed."""
        size_bytes = self._measured(entry)
        entry.measured = 0
        self._sums_bytes[index] -= size_bytes
        self.used_bytes -= size_bytes

    def flushed(self, index: int) -> None:
        """All keys of a database are removed."""
        self.used_bytes -= self._sums_bytes[index]
        self._sums_bytes[index] = 0

    def swapped(self, index: int, other: int) -> None:
        """Two databases exchanged their keys."""
        sums = self._sums_bytes
        sums[index], sums[other] = sums[other], sums[index]
        if self._at is not None:
            self._at = self._groups()  # what is counted already is passed over

    def count(self, is_over: Callable[[], bool]) -> bool:
        """Add keys that were there before, until `is_over`; whether more of them are left."""
        if self._at is None:
            return False
        for database, keys in self._at:
            for key in keys:
                self.observe(database.index, key, "")
            if is_over():
                return True
        self._at = None
        return False

    def _groups(self) -> Iterator[_Group]:
        for database in self._databases:
            for shard_index in range(len(database.shards)):
                keys = list(database.shards[shard_index])
                for start in range(0, len(keys), _GROUP):
                    yield database, keys[start : start + _GROUP]

    def _measured(self, entry: Entry) -> int:
        """What the entry is counted with in this generation."""
        try:
            measured = entry.measured
        except AttributeError:  # never set: that keeps making an entry cheap
            return 0
        if measured & _GENERATION_MASK != self._generation:
            return 0
        return measured >> _GENERATION_BITS

    def _measure(self, index: int, key: bytes, entry: Entry) -> None:
        size_bytes = key_bytes(key, entry)
        difference = size_bytes - self._measured(entry)
        if difference:
            entry.measured = size_bytes << _GENERATION_BITS | self._generation
            self._sums_bytes[index] += difference
            self.used_bytes += difference
