"""Sets: members without order, found, added, removed and drawn at random in O(1).

    table   member -> None: a dict, spread over many beyond some thousand members (keyspace.sharded)
    urn     what drawing at random needs, from the first time on (keyspace.urn)

OBJECT ENCODING's name is kept track of as Redis does since 7.2: `intset` while all members are
whole numbers, `listpack` while they are few and short, else `hashtable`, and never back. Knows no
key, no client and no settings beyond the three limits that callers pass.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import filterfalse, islice
from random import Random
from typing import ClassVar, Final, Protocol

from hotplate.keyspace.entry import integer_of
from hotplate.keyspace.sharded import (
    SHARD_MASK,
    SHARD_SHIFT,
    SHARDS,
    SPREAD_FROM,
    ShardedDict,
    Table,
    shed_entries,
)
from hotplate.keyspace.urn import ShardedUrn, Urn

INTSET: Final = b"intset"
LISTPACK: Final = b"listpack"
HASHTABLE: Final = b"hashtable"

_GATHER_BELOW: Final = SHARDS  # a spread table with fewer members becomes one dict again
_INTEGER_TEXT_MAX: Final = 20
_FEW_LEFT: Final = 5  # times as many to remove: those that stay are chosen instead
_PLACE_BYTES: Final = 8  # of a member in an urn
_DENSE_SAMPLE: Final = 3  # a sample of more than a third is taken from a list of all


class Limits(Protocol):
    """The settings that name encodings, as the configuration has them."""

    set_max_intset_entries: int
    set_max_listpack_entries: int
    set_max_listpack_value: int


class Set:
    """A set of byte strings."""

    type_name: ClassVar[bytes] = b"set"
    __slots__ = ("_encoding", "_urn", "table")

    def __init__(self) -> None:
        self.table: Table[None] = {}
        self._encoding = INTSET
        self._urn: Urn | ShardedUrn | None = None

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.table)

    def __contains__(self, member: bytes) -> bool:
        return member in self.table

    @property
    def contains(self) -> Callable[[bytes], bool]:
        """Whether a member is there, as the fastest function that tells."""
        return self.table.__contains__

    # -- changing --------------------------------------------------------------------------------

    def expect(self, first: bytes, count: int, limits: Limits) -> None:
        """`count` members are about to be added, `first` first: it decides what a new set is."""
        if not self.table:
            if count <= limits.set_max_intset_entries and integer_of(first) is not None:
                self._encoding = INTSET
            else:
                is_small = count <= limits.set_max_listpack_entries
                self._encoding = LISTPACK if is_small else HASHTABLE
        elif (self._encoding is LISTPACK and count > limits.set_max_listpack_entries) or (
            self._encoding is INTSET and count > limits.set_max_intset_entries
        ):
            self._encoding = HASHTABLE

    def add(self, member: bytes, limits: Limits) -> bool:
        """Add a member; whether it is new."""
        table = self.table
        if isinstance(table, dict):
            if member in table:
                return False
        elif member in table.shards[hash(member) >> SHARD_SHIFT & SHARD_MASK]:
            return False
        if self._encoding is not HASHTABLE:
            self._encoding = self._encoding_with(member, limits)
        table[member] = None
        if self._urn is not None:
            self._urn.added(member)
        if isinstance(table, dict) and len(table) > SPREAD_FROM:
            self._spread()
        return True

    def discard(self, member: bytes) -> bool:
        """Remove a member; whether it was there."""
        table = self.table
        if member not in table:
            return False
        del table[member]
        if self._urn is not None:
            self._urn.removed(member)
        if type(table) is ShardedDict and len(table) < _GATHER_BELOW:
            self._gather()
        return True

    # -- at random -------------------------------------------------------------------------------

    def draw(self, rng: Random) -> bytes:
        """Any member; there must be one."""
        return (self._urn or self._make_urn()).draw(rng)

    def take(self, rng: Random) -> bytes:
        """Remove any member; there must be one."""
        urn = self._urn or self._make_urn()
        member = urn.take(rng)
        del self.table[member]
        if urn.is_sparse:
            self._gather()
        return member

    def take_many(self, count: int, rng: Random, limits: Limits) -> list[bytes]:
        """Remove `count` members, or all there are."""
        table = self.table
        left = len(table) - count
        if left <= 0:
            taken = list(table)
            self.table = {}
            self._urn = None
        elif left * _FEW_LEFT > count:
            taken = [self.take(rng) for _ in range(count)]
        else:  # few are left: choose them instead; they make a new set, as in Redis
            kept = self.sample(left, rng)
            first = INTSET if self._encoding is INTSET else LISTPACK
            taken = list(filterfalse(frozenset(kept).__contains__, table))
            self.table = {}
            self._urn = None
            self._encoding = first
            for member in kept:
                self.add(member, limits)
        return taken

    def sample(self, count: int, rng: Random) -> list[bytes]:
        """`count` different members, or all there are."""
        if count >= len(self):
            return list(self.table)
        if count * _DENSE_SAMPLE > len(self):
            return rng.sample(list(self.table), count)
        urn = self._urn or self._make_urn()
        found: dict[bytes, None] = {}
        while len(found) < count:
            found[urn.draw(rng)] = None
        return list(found)

    # -- beside other sets -----------------------------------------------------------------------

    def take_over(self, members: Iterable[bytes], first: bytes, limits: Limits) -> None:
        """Be what one set became of several: `members`, by an encoding to begin with (`first`)."""
        table = dict.fromkeys(members)
        self.table = table
        self._urn = None
        self._encoding = _encoding_of(table, first, limits)
        if len(table) > SPREAD_FROM:
            self._spread()

    # -- as every collection ---------------------------------------------------------------------

    def encoding(self) -> bytes:
        """`intset`, `listpack` or `hashtable`."""
        return self._encoding

    def copy(self) -> "Set":
        """An equal set."""
        twin = Set()
        twin.table = self.table.copy()
        twin._encoding = self._encoding
        return twin

    def shed(self, count: int) -> None:
        """Forget `count` members."""
        self._urn = None
        shed_entries(self.table, count)

    def sample_bytes(self, samples: int) -> int:
        """The memory in use; members are judged by the first `samples`."""
        table = self.table
        total = sys.getsizeof(self)
        if isinstance(table, ShardedDict):
            total += sum(map(sys.getsizeof, table.shards))
        else:
            total += sys.getsizeof(table)
        if self._urn is not None:
            total += _PLACE_BYTES * len(table)
        sampled = list(islice(table, samples or None))
        if sampled:
            total += sum(map(sys.getsizeof, sampled)) * len(table) // len(sampled)
        return total

    # -- inside ----------------------------------------------------------------------------------

    def _encoding_with(self, member: bytes, limits: Limits) -> bytes:
        """The encoding of a set that is no hashtable, once it has a new `member`."""
        count = len(self.table)
        if self._encoding is INTSET and integer_of(member) is not None:
            return INTSET if count < limits.set_max_intset_entries else HASHTABLE
        longest = len(member)
        if self._encoding is INTSET and limits.set_max_listpack_value < _INTEGER_TEXT_MAX:
            longest = max(longest, *map(len, self.table))
        if count < limits.set_max_listpack_entries and longest <= limits.set_max_listpack_value:
            return LISTPACK
        return HASHTABLE

    def _make_urn(self) -> Urn | ShardedUrn:
        table = self.table
        self._urn = ShardedUrn(table) if isinstance(table, ShardedDict) else Urn(table)
        return self._urn

    def _spread(self) -> None:
        self.table = ShardedDict(dict.fromkeys(self.table))
        self._urn = None

    def _gather(self) -> None:
        self.table = dict.fromkeys(self.table)
        self._urn = None


def _encoding_of(table: dict[bytes, None], first: bytes, limits: Limits) -> bytes:
    """What a set is that began as `first` and was given all of `table`."""
    count = len(table)
    intset_max = limits.set_max_intset_entries
    listpack_max = limits.set_max_listpack_entries
    if count > max(intset_max, listpack_max):
        return HASHTABLE
    are_integers = all(integer_of(member) is not None for member in table)
    if are_integers and (count <= intset_max or first is INTSET):
        return INTSET if count <= intset_max else HASHTABLE
    if first is HASHTABLE or count > listpack_max:
        return HASHTABLE
    return LISTPACK if max(map(len, table)) <= limits.set_max_listpack_value else HASHTABLE
