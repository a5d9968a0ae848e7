"""Retention: priorities that fade.

RETAIN gives blocks a priority for a time. Its distance to 50 halves every quarter of the TTL, and
after the TTL it is 50. A hit renews a priority above 50: the time counts from the last access. It
is soft: a priority says who goes first, never that a block stays. Blocks retained above 50 take at
most the group's RETAIN fraction of each of its limits; what is beyond that is clipped.

    100 |###.                       index.priority holds what is in force: it falls when its time
     75 |   '###.                   comes (`settle`, before anything is evicted), and rises when a
     62 |       '###.               leaf comes up for eviction that was hit meanwhile (`in_force`)
     56 |           '###.
     50 |               '######
        0   1/4  1/2  3/4  TTL

Invariant: `index.kept` is the number of blocks in `index.retained` whose priority was above 50.
"""

from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Final

from hotplate.kvc.keys import Keys
from hotplate.kvc.quota import GroupUse

if TYPE_CHECKING:
    from hotplate.kvc.index import Index

NEUTRAL: Final = 50
FADED_AT_ONCE: Final = 1024
RETAINED_BYTES: Final = 320  # an estimate of what a retained block takes: object, dict slot, heap
_STAMP_SHIFT: Final = 22


def faded(priority: int, age_ms: int, ttl_ms: int) -> int:
    """The priority in force at an age."""
    if age_ms >= ttl_ms:
        return NEUTRAL
    distance = abs(priority - NEUTRAL) >> max(0, age_ms) * 4 // ttl_ms
    return NEUTRAL + distance if priority > NEUTRAL else NEUTRAL - distance


@dataclass(slots=True, eq=False)
class Retained:
    """What RETAIN asked for one block, and when the priority in force changes next."""

    book: "RetentionBook"
    priority: int
    start_ms: int
    ttl_ms: int
    due_ms: int = 0

    def start(self, index: "Index", block: int) -> int:
        """From when on its time counts."""
        if self.priority <= NEUTRAL:
            return self.start_ms
        return max(self.start_ms, index.last_access(block) >> _STAMP_SHIFT)


class RetentionBook:
    """The retained blocks of all instances, by when their priority changes."""

    __slots__ = ("_order", "_retained", "due", "now_ms")

    def __init__(self) -> None:
        self.due: list[tuple[int, int, Index, int, Retained]] = []
        self._order = count()
        self._retained = 0  # blocks
        self.now_ms = 0  # of the last look

    def retain(
        self, use: GroupUse, index: "Index", keys: Keys, retained: Retained, capacity_bytes: int
    ) -> tuple[int, int]:
        """Retain the stored blocks among some keys, in order: (accepted, clipped).

        `capacity_bytes`: the quota of the group, or what its storages hold.
        """
        accepted = clipped = 0
        now_ms = retained.start_ms
        room = self._room(use, index, capacity_bytes) if retained.priority > NEUTRAL else 1 << 62
        for block in dict.fromkeys(index.lookup_all(keys.listing())):
            if block is None or not index.state[block] or index.is_expired(block, now_ms):
                continue
            before = index.retained.get(block)
            fresh = before is None or before.priority <= NEUTRAL
            if fresh and room <= 0:
                clipped += 1
                continue
            room -= fresh
            accepted += 1
            self.forget(index, block)
            item = Retained(self, retained.priority, now_ms, retained.ttl_ms)
            index.retained[block] = item
            index.kept += item.priority > NEUTRAL
            self._retained += 1
            self._apply(index, block, item, now_ms)
        if len(self.due) > 2 * self._retained + FADED_AT_ONCE:  # retained again, or gone
            self.due = [
                entry
                for entry in self.due
                if entry[2].retained.get(entry[3]) is entry[4] and entry[4].due_ms == entry[0]
            ]
            heapify(self.due)
        return accepted, clipped

    def _room(self, use: GroupUse, index: "Index", capacity_bytes: int) -> int:
        """How many blocks of an instance may still be retained."""
        fraction, others = use.group.retain_fraction, use.indexes.values()
        kept_bytes = sum(item.kept * item.instance.total_bytes for item in others)
        room = (int(capacity_bytes * fraction) - kept_bytes) // index.instance.total_bytes
        if use.group.max_blocks is not None:
            kept = sum(item.kept for item in others)
            room = min(room, int(use.group.max_blocks * fraction) - kept)
        return room

    def forget(self, index: "Index", block: int) -> None:
        """A block is not retained any more."""
        item = index.retained.pop(block, None)
        if item is not None:
            index.kept -= item.priority > NEUTRAL
            self._retained -= 1

    def settle(self, now_ms: int) -> bool:
        """Let priorities fall whose time has come, a slice of them; whether there are more.

        Those of later slices count as they are when their leaf comes up.
        """
        self.now_ms = now_ms
        due = self.due
        for _ in range(FADED_AT_ONCE):
            if not due or due[0][0] > now_ms:
                return False
            at_ms, _, index, block, item = heappop(due)
            if index.retained.get(block) is item and item.due_ms == at_ms:
                self._apply(index, block, item, now_ms)
        return True

    def _apply(self, index: "Index", block: int, item: Retained, now_ms: int) -> None:
        """Put the priority in force into the index, and note when it changes."""
        start_ms = item.start(index, block)
        age_ms = max(0, now_ms - start_ms)
        priority = faded(item.priority, age_ms, item.ttl_ms)
        if age_ms >= item.ttl_ms:
            self.forget(index, block)
        else:
            quarter = age_ms * 4 // item.ttl_ms + 1
            item.due_ms = start_ms - (-quarter * item.ttl_ms // 4)
            heappush(self.due, (item.due_ms, next(self._order), index, block, item))
        if index.priority[block] != priority:
            index.priority[block] = priority
            index.leaves.requeue(block)


def in_force(index: "Index", block: int) -> int:
    """The priority of a leaf that comes up for eviction: a hit may have renewed it."""
    item = index.retained.get(block)
    if item is not None:
        now_ms = item.book.now_ms
        priority = faded(item.priority, now_ms - item.start(index, block), item.ttl_ms)
        index.priority[block] = priority
    return index.priority[block]


def shown(index: "Index", block: int, now_ms: int) -> int:
    """The priority in force now, for META."""
    item = index.retained.get(block)
    if item is None:
        return index.priority[block]
    return faded(item.priority, now_ms - item.start(index, block), item.ttl_ms)
