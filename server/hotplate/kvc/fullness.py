"""How full the fast storages of groups with tiering are, for demotion and promotion.

Owns the hysteresis between the watermarks. What is on its way out, buried or being copied away,
counts as gone. A group without a quota of the type shares the storage's capacity with the others.
"""

from typing import Final

from hotplate.kvc.holdings import Holdings
from hotplate.kvc.model import Storage
from hotplate.kvc.moves import Moves
from hotplate.kvc.quota import GroupUse

STORAGE_HIGH: Final = 0.95  # of a capacity: demotion begins, and goes on down to STORAGE_LOW
STORAGE_LOW: Final = 0.85


class Fullness:
    """Compares what groups use of storages with what they may."""

    __slots__ = ("_holdings", "_moves", "_pressed")

    def __init__(self, holdings: Holdings, moves: Moves) -> None:
        self._holdings = holdings
        self._moves = moves
        self._pressed: set[tuple[str, int]] = set()  # (group, storage) that is being relieved

    def over(self, use: GroupUse, storage: Storage) -> int:
        """How many of a group's bytes on a storage have to go elsewhere now."""
        group, number = use.group, storage.number
        quota = group.type_quotas.get(storage.type)
        over = 0
        if quota is not None:
            used = self._quota_used(use, storage)
            over = self._above(group.name, number, used, quota, use)
        at = use.by_storage.get(number)
        serving = sum(
            item.by_storage[number].serving
            for item in self._holdings.uses.values()
            if number in item.by_storage
        )
        if at is None or not serving:
            return over
        capacity, used = storage.opened().capacity_bytes, self._capacity_used(storage)
        low = int(capacity * STORAGE_LOW)
        if used >= capacity * STORAGE_HIGH:
            self._pressed.add(("", number))
        if used <= low:
            self._pressed.discard(("", number))
        if ("", number) in self._pressed:
            over = max(over, -(-(used - low) * at.serving // serving))
        return over

    def _quota_used(self, use: GroupUse, storage: Storage) -> int:
        """A group's bytes on storages of a type, without those that are on their way out."""
        leaving = sum(at.leaving for at in use.by_storage.values() if at.type == storage.type)
        moving = self._moves.bytes_from(use, storage.number)
        return use.by_type.get(storage.type, 0) - leaving - moving

    def _capacity_used(self, storage: Storage) -> int:
        """A storage's bytes, without those that are on their way out."""
        number, store = storage.number, storage.opened()
        free_bytes: int = store.describe()["free_bytes"]
        leaving = sum(
            use.by_storage[number].leaving
            for use in self._holdings.uses.values()
            if number in use.by_storage
        )
        moving = self._moves.bytes_from(None, number)
        return store.capacity_bytes - free_bytes - leaving - moving

    def headroom(self, use: GroupUse, storage: Storage) -> int:
        """What a fast storage will take when all that is on its way out has gone."""
        room = int(storage.opened().capacity_bytes * STORAGE_HIGH) - self._capacity_used(storage)
        quota = use.group.type_quotas.get(storage.type)
        if quota is not None:
            high = int(quota * use.group.high_watermark) - 1
            room = min(room, high - self._quota_used(use, storage))
        return room

    def stays_below(self, use: GroupUse, storage: Storage, need: int) -> bool:
        """Whether a storage takes so much more without being too full at once."""
        quota = use.group.type_quotas.get(storage.type)
        used = use.by_type.get(storage.type, 0) + need
        if quota is not None and used > quota * use.group.high_watermark - 1:
            return False
        store = storage.opened()
        free_bytes: int = store.describe()["free_bytes"]
        return free_bytes - need >= store.capacity_bytes * (1 - STORAGE_HIGH)

    def _above(self, name: str, number: int, used: int, limit: int, use: GroupUse) -> int:
        """How much is above the low watermark, once the high one was reached."""
        low = int(limit * use.group.low_watermark)
        if used >= limit * use.group.high_watermark:
            self._pressed.add((name, number))
        if used <= low:
            self._pressed.discard((name, number))
        return used - low if (name, number) in self._pressed else 0
