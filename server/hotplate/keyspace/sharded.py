"""The table of a large collection: one dict spread over many, and a cursor over either form.

    small collection   dict            up to SPREAD_FROM entries, the owner's plain dict
    large collection   ShardedDict     SHARDS dicts, the highest bits of a key's hash choose one

Growing or freeing one dict of a million entries stops the server for tens of milliseconds; a shard
of ten million entries takes half of one. An owner converts once, `ShardedDict(table)`, and never
back.

A key stands at the 48 highest bits of its hash, which never change while the server runs. A scan
goes through these places in ascending order, in both forms alike; its cursor is the lowest place
not returned yet, 0 being the beginning and the end. So a key that is there from the first call to
the last is returned, whatever is added, removed or converted meanwhile; and no key is returned
twice, unless it was removed and added again. A cursor stays below 2**53, which every client can
hold in a double.

Knows no value, key of a database or command.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from random import Random
from typing import Any, Final, Generic, TypeAlias, TypeVar, overload

Value = TypeVar("Value")
Other = TypeVar("Other")

SPREAD_FROM: Final = 8192  # converting that many takes about a millisecond
SHARD_BITS: Final = 10
SHARDS: Final = 1 << SHARD_BITS
# where hot code inlines the lookup: shards[hash(key) >> SHARD_SHIFT & SHARD_MASK]
SHARD_SHIFT: Final = 64 - SHARD_BITS
SHARD_MASK: Final = SHARDS - 1

_PLACE_BITS: Final = 48
_PLACES: Final = 1 << _PLACE_BITS
_PLACE_SHIFT: Final = 64 - _PLACE_BITS
_PLACE_MASK: Final = _PLACES - 1
_SHARD_PLACE_BITS: Final = _PLACE_BITS - SHARD_BITS
_SHARD_PLACES: Final = 1 << _SHARD_PLACE_BITS
_CHUNKS_MAX: Final = 64  # a dict is returned in about so many calls at most: each reads all of it
_TRIES_MAX: Final = 64
_MISSING: Final = object()


class ShardedDict(Generic[Value]):
    """A map from bytes, as far as a dict's interface is needed; `shards` is for inlined lookups.

    Only its own methods add and remove. Iterating while keys are added or removed is an error or
    misses some, as with a dict.
    """

    __slots__ = ("_count", "_longest", "shards")

    def __init__(self, items: Mapping[bytes, Value] | None = None) -> None:
        self.shards: list[dict[bytes, Value]] = [{} for _ in range(SHARDS)]
        self._count = 0
        self._longest = 0  # no shard holds more; may be too large
        if items:
            shards = self.shards
            for key, value in items.items():
                shards[hash(key) >> SHARD_SHIFT & SHARD_MASK][key] = value
            self._count = len(items)
            self._longest = max(map(len, shards))

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: object) -> bool:
        return key in self.shards[hash(key) >> SHARD_SHIFT & SHARD_MASK]

    def __getitem__(self, key: bytes) -> Value:
        return self.shards[hash(key) >> SHARD_SHIFT & SHARD_MASK][key]

    def __setitem__(self, key: bytes, value: Value) -> None:
        shard = self.shards[hash(key) >> SHARD_SHIFT & SHARD_MASK]
        before = len(shard)
        shard[key] = value
        size = len(shard)
        if size != before:
            self._count += 1
            if size > self._longest:
                self._longest = size

    def __delitem__(self, key: bytes) -> None:
        del self.shards[hash(key) >> SHARD_SHIFT & SHARD_MASK][key]
        self._count -= 1

    def __iter__(self) -> Iterator[bytes]:
        return chain.from_iterable(self.shards)

    @overload
    def get(self, key: bytes) -> Value | None: ...
    @overload
    def get(self, key: bytes, default: Value | Other) -> Value | Other: ...
    def get(self, key: bytes, default: Any = None) -> Any:
        """The value of `key`, or `default`."""
        return self.shards[hash(key) >> SHARD_SHIFT & SHARD_MASK].get(key, default)

    @overload
    def pop(self, key: bytes) -> Value: ...
    @overload
    def pop(self, key: bytes, default: Value | Other) -> Value | Other: ...
    def pop(self, key: bytes, default: Any = _MISSING) -> Any:
        """Remove `key` and answer its value; `default`, or KeyError, where it is missing."""
        value: Any = self.shards[hash(key) >> SHARD_SHIFT & SHARD_MASK].pop(key, _MISSING)
        if value is not _MISSING:
            self._count -= 1
            return value
        if default is _MISSING:
            raise KeyError(key)
        return default

    def keys(self) -> Iterable[bytes]:
        """Every key, in no order that means anything."""
        return chain.from_iterable(self.shards)

    def values(self) -> Iterable[Value]:
        """Every value, in the order of the keys."""
        return chain.from_iterable(map(_values_of, self.shards))

    def items(self) -> Iterable[tuple[bytes, Value]]:
        """Every key with its value, in the order of the keys."""
        return chain.from_iterable(map(_items_of, self.shards))

    def copy(self) -> "ShardedDict[Value]":
        """An equal map with the same values."""
        other = ShardedDict[Value]()
        other.shards = [shard.copy() for shard in self.shards]
        other._count = self._count
        other._longest = self._longest
        return other

    def shed(self, count: int) -> None:
        """Forget `count` entries, any of them: O(count). Afterwards only `len` may be asked."""
        shards = self.shards
        while count > 0 and shards:
            shard = shards[-1]
            size = min(len(shard), count)
            if size == len(shard):
                shards.pop()
            else:
                shed_entries(shard, size)
            count -= size
            self._count -= size

    def random_key(self, rng: Random) -> bytes:
        """Any key, all equally likely; there must be one. The cost of a few steps in one shard."""
        if self._count < SHARDS:
            return self._key_at(int(rng.random() * self._count))
        # a place in a table of SHARDS rows, tried again where the row is not that long
        for _ in range(_TRIES_MAX):
            place = int(rng.random() * (SHARDS * self._longest))
            shard = self.shards[place & SHARD_MASK]
            place >>= SHARD_BITS
            if place < len(shard):
                return next(islice(shard, place, None))
        self._longest = max(map(len, self.shards))
        return self._key_at(int(rng.random() * self._count))

    def _key_at(self, position: int) -> bytes:
        for shard in self.shards:
            if position < len(shard):
                return next(islice(shard, position, None))
            position -= len(shard)
        raise AssertionError("the sizes of the shards do not add up to the size")


Table: TypeAlias = dict[bytes, Value] | ShardedDict[Value]

_values_of: Final = dict.values
_items_of: Final = dict.items


def random_key(table: Table[Value], rng: Random) -> bytes:
    """Any key of either form, all equally likely; there must be one."""
    if isinstance(table, ShardedDict):
        return table.random_key(rng)
    return next(islice(table, int(rng.random() * len(table)), None))


def shed_entries(table: Table[Value], count: int) -> None:
    """Forget `count` entries of a table that nobody asks for anything any more."""
    if isinstance(table, ShardedDict):
        table.shed(count)
    elif len(table) <= count:
        table.clear()
    else:
        for _ in range(count):
            table.popitem()


def scan_table(table: Table[Value], cursor: int, count: int) -> tuple[int, list[bytes]]:
    """About `count` keys from `cursor` on, and the next cursor. Any cursor is valid.

    May answer fewer, even none, before the end; at the end the cursor is 0. A dict is read whole by
    each call.
    """
    if not 0 <= cursor < _PLACES:
        return 0, []
    if isinstance(table, ShardedDict):
        return _scan_shards(table.shards, cursor, count)
    place, found = _chunk(table, cursor, range(_PLACES), count)
    return place & _PLACE_MASK, found


def _scan_shards(
    shards: list[dict[bytes, Value]], cursor: int, count: int
) -> tuple[int, list[bytes]]:
    found: list[bytes] = []
    place = cursor
    for index in range(cursor >> _SHARD_PLACE_BITS, SHARDS):
        places = range(index << _SHARD_PLACE_BITS, index + 1 << _SHARD_PLACE_BITS)
        place, keys = _chunk(shards[index], place, places, count - len(found))
        found.extend(keys)
        if place < places.stop or len(found) >= count:
            break
    return place & _PLACE_MASK, found


def _chunk(
    shard: dict[bytes, Value], place: int, places: range, wanted: int
) -> tuple[int, list[bytes]]:
    """About `wanted` keys of the dict that owns `places`, from `place` on; the place to go on."""
    size = len(shard)
    wanted = max(wanted, size // _CHUNKS_MAX, 1)
    if size <= wanted:
        stop = places.stop
        if place == places.start:
            return stop, list(shard)
    else:
        stop = min(place + len(places) * wanted // size, places.stop)
    keys = [key for key in shard if place <= (hash(key) >> _PLACE_SHIFT & _PLACE_MASK) < stop]
    return stop, keys
