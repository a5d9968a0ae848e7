"""Pending entries of consumer groups in order: by id, and by when they were delivered.

    Delivery    to whom, when, how often: one object for all entries of a read
    DeliveryMap ordered int -> Delivery, in small dicts:

        lower bounds   [0,      b1,      b2 ...]      ids of chunk i lie in [b_i, b_i+1)
        chunks         [{id: d}, {id: d}, {id: d}]    at most CHUNK_MAX ids, one or more
        fresh          {id: (ids, d), ...}            behind all of them, as they came

Looking up, putting and removing cost O(log n + CHUNK_MAX); ascending ids, as deliveries come, are
appended. No dict grows large, so none takes long to grow or to free.

What comes together mostly goes together, and soon: the fresh ids, at most FRESH_MAX, are no more
than noted under the first of each lot. They are put in their places when something else is asked.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hotplate.keyspace.stream_group import Consumer

CHUNK_MAX: Final = 256
FRESH_MAX: Final = 1024
_SHRINKING: Final = (0, CHUNK_MAX // 8)  # a chunk goes, or is rebuilt: dicts stay as large as ever


class Delivery:
    """What is known of entries that were handed out together.

    `consumer` None: released, nobody's. `order` is the place among the group's deliveries. `ids`
    are the entries handed out, ascending; `left` of them still belong to this delivery.
    """

    __slots__ = ("at_ms", "consumer", "deliveries", "ids", "left", "order")

    def __init__(
        self,
        consumer: "Consumer | None",
        at_ms: int,
        deliveries: int,
        ids: tuple[int, ...],
        order: int,
    ) -> None:
        self.consumer = consumer
        self.at_ms = at_ms
        self.deliveries = deliveries
        self.ids = ids
        self.left = len(ids)
        self.order = order

    @property
    def is_whole(self) -> bool:
        """Whether all of it is still pending."""
        return self.left == len(self.ids)


class DeliveryMap:
    """Ordered int -> Delivery. `last` is no less than any key."""

    __slots__ = ("_chunks", "_fresh", "_fresh_size", "_in_order", "_size", "_starts", "last")

    def __init__(self) -> None:
        self._starts = [0]
        self._chunks: list[dict[int, Delivery]] = [{}]
        self._in_order = [True]  # whether the dict's own order is that of its keys
        self._fresh: dict[int, tuple[Sequence[int], Delivery]] = {}
        self._fresh_size = 0
        self._size = 0
        self.last = -1

    def __len__(self) -> int:
        return self._size

    def get(self, key: int) -> Delivery | None:
        """The delivery of a key."""
        if self._fresh:
            lot = self._fresh.get(key)
            if lot is not None:
                return lot[1]
            self._place()
        return self._chunks[bisect_right(self._starts, key) - 1].get(key)

    def extend(self, keys: Sequence[int], delivery: Delivery) -> None:
        """Add at most CHUNK_MAX keys, ascending, above `last`; nobody may change `keys` later."""
        self._fresh[keys[0]] = keys, delivery
        count = len(keys)
        self._size += count
        self._fresh_size += count
        self.last = keys[-1]
        if self._fresh_size > FRESH_MAX:
            self._place()

    def _place(self) -> None:
        """Put the fresh keys in their places."""
        for keys, delivery in self._fresh.values():
            tail = self._chunks[-1]
            if len(tail) + len(keys) <= CHUNK_MAX:
                tail.update(dict.fromkeys(keys, delivery))
            else:
                self._starts.append(keys[0])
                self._chunks.append(dict.fromkeys(keys, delivery))
                self._in_order.append(True)
        self._fresh.clear()
        self._fresh_size = 0

    def put(self, key: int, delivery: Delivery) -> None:
        """Set the delivery of a key, new or not."""
        if key > self.last:
            self.extend((key,), delivery)
            return
        if self._fresh:
            self._place()
        index = bisect_right(self._starts, key) - 1
        chunk = self._chunks[index]
        if key in chunk:
            chunk[key] = delivery
            return
        chunk[key] = delivery
        self._in_order[index] = False
        self._size += 1
        if len(chunk) > CHUNK_MAX:
            self._split(index)

    def pop(self, key: int) -> Delivery | None:
        """Remove a key; its delivery, if it was there."""
        found = self.pop_many((key,))
        return found[0][1] if found else None

    def pop_many(self, keys: Iterable[int]) -> list[tuple[int, Delivery]]:
        """Remove keys; those that were there, with their deliveries."""
        if self._fresh:
            self._place()
        starts = self._starts
        chunks = self._chunks
        found: list[tuple[int, Delivery]] = []
        for key in keys:
            index = bisect_right(starts, key) - 1
            chunk = chunks[index]
            delivery = chunk.pop(key, None)
            if delivery is not None:
                found.append((key, delivery))
                if len(chunk) in _SHRINKING:
                    self._shrink(index)
        self._size -= len(found)
        return found

    def drop_many(self, keys: Sequence[int]) -> None:
        """Remove keys, ascending, that are all there."""
        if self._fresh:
            lot = self._fresh.get(keys[0])
            if lot is not None and lot[0] == keys:
                del self._fresh[keys[0]]
                self._fresh_size -= len(keys)
                self._size -= len(keys)
                return
            self._place()
        index = bisect_right(self._starts, keys[0]) - 1
        if index + 1 < len(self._starts) and self._starts[index + 1] <= keys[-1]:
            self.pop_many(keys)
            return
        chunk = self._chunks[index]
        before = len(chunk)
        for key in keys:
            del chunk[key]
        self._size -= len(keys)
        if not chunk or len(chunk) <= _SHRINKING[1] < before:
            self._shrink(index)

    def _shrink(self, index: int) -> None:
        chunk = self._chunks[index]
        if chunk:
            self._chunks[index] = dict(chunk)
        else:
            self._drop(index)

    def walk(self, start: int = 0, end: int | None = None) -> Iterator[tuple[int, Delivery]]:
        """Keys from `start` to `end`, both included. Keys may come and go meanwhile."""
        following: int | None = start
        while following is not None:
            if self._fresh:
                self._place()
            start = following
            index = bisect_right(self._starts, start) - 1
            pairs = list(self._ordered(index).items())
            following = self._starts[index + 1] if index + 1 < len(self._starts) else None
            for pair in pairs:
                if end is not None and pair[0] > end:
                    return
                if pair[0] >= start:
                    yield pair

    def first_key(self) -> int | None:
        """The least key."""
        self._place()
        return next(iter(self._ordered(0)), None)

    def last_key(self) -> int | None:
        """The greatest key."""
        self._place()
        return next(reversed(self._ordered(len(self._chunks) - 1)), None)

    def shed(self, count: int) -> int:
        """Forget about `count` keys, the greatest first; how many there were."""
        self._place()
        before = self._size
        while self._size and before - self._size < count:
            index = len(self._chunks) - 1
            self._size -= len(self._chunks[index])
            self._chunks[index] = {}
            self._drop(index)
        return before - self._size

    def _ordered(self, index: int) -> dict[int, Delivery]:
        chunk = self._chunks[index]
        if not self._in_order[index]:
            chunk = self._chunks[index] = {key: chunk[key] for key in sorted(chunk)}
            self._in_order[index] = True
        return chunk

    def _split(self, index: int) -> None:
        pairs = list(self._ordered(index).items())
        middle = len(pairs) // 2
        self._chunks[index : index + 1] = [dict(pairs[:middle]), dict(pairs[middle:])]
        self._starts.insert(index + 1, pairs[middle][0])
        self._in_order.insert(index + 1, True)

    def _drop(self, index: int) -> None:
        """Remove an empty chunk; the one before, or after the first, takes its range."""
        if len(self._chunks) > 1:
            del self._chunks[index]
            del self._in_order[index]
            del self._starts[index or 1]
