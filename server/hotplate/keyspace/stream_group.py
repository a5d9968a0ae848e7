"""Consumer groups: what was delivered to whom, and is not acknowledged yet.

    group.pending      id -> Delivery       every pending entry, in order of ids
    consumer.pending   id -> Delivery       those of one consumer
    group.order        order -> Delivery    in order of time: first what was released, as it becomes
                                            available, then what is owned, longest idle first

An entry is pending with one owner, or released (XNACK, or its visibility ran out) and nobody's.
A Delivery is shared by the entries of one read: reading, and looking at many, costs little. When
one of them changes it gets a Delivery of its own; `left` counts what the old one still has.

It knows no stream: whether an entry still exists is the caller's question. Callers pass the time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from hotplate.keyspace.stream_entry import ID_MAX
from hotplate.keyspace.stream_pending import CHUNK_MAX, Delivery, DeliveryMap

NOT_READ: Final = -1  # entries_read is not known
DELIVERIES_MAX: Final = 2**63 - 1
_SERIAL_BITS: Final = 64
_OWNED_MS: Final = 2**63  # owned entries stand behind all released ones


class Consumer:
    """One consumer: when it last tried to get entries, and when it last got some (-1: never)."""

    __slots__ = ("active_ms", "name", "pending", "seen_ms")

    def __init__(self, name: bytes, now_ms: int) -> None:
        self.name = name
        self.seen_ms = now_ms
        self.active_ms = -1
        self.pending = DeliveryMap()


@dataclass(frozen=True, slots=True)
class Policy:
    """What the server does by itself with entries of a group that are not acknowledged.

    After `visibility_ms` (0: never) they are released. After `deliveries_max` deliveries (0: no
    limit) they move to the stream `dead`. A released entry waits `backoff_ms`, doubled with every
    delivery up to `backoff_max_ms`.
    """

    visibility_ms: int = 0
    deliveries_max: int = 0
    dead: bytes = b""
    backoff_ms: int = 0
    backoff_max_ms: int = 0

    def delay_ms(self, deliveries: int) -> int:
        """How long an entry waits that was delivered so often."""
        doublings = min(max(deliveries - 1, 0), 63)
        return min(self.backoff_ms << doublings, self.backoff_max_ms)

    def is_dead(self, deliveries: int) -> bool:
        """Whether an entry that was delivered so often is not to be tried again."""
        return 0 < self.deliveries_max <= deliveries


class Group:
    """One consumer group."""

    __slots__ = (
        "_serial",
        "consumers",
        "entries_read",
        "last_id",
        "order",
        "pending",
        "policy",
    )

    def __init__(self, last_id: int, entries_read: int = NOT_READ) -> None:
        self.last_id = last_id
        self.entries_read = entries_read
        self.consumers: dict[bytes, Consumer] = {}
        self.pending = DeliveryMap()
        self.order = DeliveryMap()
        self.policy: Policy | None = None
        self._serial = 0

    def create_consumer(self, name: bytes, now_ms: int) -> Consumer:
        """A new consumer."""
        consumer = self.consumers[name] = Consumer(name, now_ms)
        return consumer

    def delete_consumer(self, name: bytes) -> int | None:
        """Remove a consumer, and what is pending with it; how many entries, None: no consumer."""
        consumer = self.consumers.pop(name, None)
        if consumer is None:
            return None
        return self.forget([entry_id for entry_id, _ in consumer.pending.walk()])

    def deliver(self, consumer: Consumer, ids: list[int], now_ms: int) -> None:
        """Hand out entries, ids ascending, for the first time."""
        consumer.active_ms = now_ms
        if ids[0] <= self.pending.last:  # the group was set back: some may be pending already
            self.forget(ids)
        for start in range(0, len(ids), CHUNK_MAX):
            batch = tuple(ids[start : start + CHUNK_MAX] if len(ids) > CHUNK_MAX else ids)
            self._serial += 1
            order = _OWNED_MS + now_ms << _SERIAL_BITS | self._serial
            delivery = Delivery(consumer, now_ms, 1, batch, order)
            self.order.put(order, delivery)
            for pending in (self.pending, consumer.pending):
                if batch[0] > pending.last:
                    pending.extend(batch, delivery)
                else:
                    for entry_id in batch:
                        pending.put(entry_id, delivery)

    def claim(self, entry_id: int, consumer: Consumer, at_ms: int, deliveries: int) -> None:
        """Give an entry, pending or not, to `consumer`, as if delivered at a time."""
        self._serial += 1
        order = _OWNED_MS + at_ms << _SERIAL_BITS | self._serial
        count = min(deliveries, DELIVERIES_MAX)
        self._set(entry_id, Delivery(consumer, at_ms, count, (entry_id,), order))

    def release(self, entry_id: int, deliveries: int, available_ms: int = 0) -> None:
        """Take an entry, pending or not, from its owner; `>` may hand it out from a time on."""
        self._serial += 1
        order = available_ms << _SERIAL_BITS | self._serial
        self._set(entry_id, Delivery(None, 0, deliveries, (entry_id,), order))

    def _set(self, entry_id: int, delivery: Delivery) -> None:
        old = self.pending.get(entry_id)
        consumer = delivery.consumer
        if old is not None:
            self._leave(old)
            if old.consumer is not None and old.consumer is not consumer:
                old.consumer.pending.pop(entry_id)
        self.order.put(delivery.order, delivery)
        self.pending.put(entry_id, delivery)
        if consumer is not None:
            consumer.pending.put(entry_id, delivery)

    def forget(self, ids: Sequence[int]) -> int:
        """Entries are pending no more; how many were."""
        if not ids:
            return 0
        delivery = self.pending.get(ids[0])
        if delivery is not None and delivery.left == len(ids) and delivery.ids == tuple(ids):
            return self.forget_all(delivery)
        found = self.pending.pop_many(ids)
        if not found:
            return 0
        owner = found[0][1].consumer
        mine: list[int] = []  # of the first one's owner, who mostly has them all
        for entry_id, delivery in found:
            delivery.left -= 1
            if delivery.left == 0:
                self.order.pop_many((delivery.order,))
            consumer = delivery.consumer
            if consumer is owner:
                mine.append(entry_id)
            elif consumer is not None:
                consumer.pending.pop_many((entry_id,))
        if owner is not None:
            owner.pending.pop_many(mine)
        return len(found)

    def forget_all(self, delivery: Delivery) -> int:
        """All of a whole delivery is acknowledged together, as most consumers do."""
        ids = delivery.ids
        self.pending.drop_many(ids)
        if delivery.consumer is not None:
            delivery.consumer.pending.drop_many(ids)
        delivery.left = 0
        self.order.drop_many((delivery.order,))
        return len(ids)

    def _leave(self, delivery: Delivery) -> None:
        delivery.left -= 1
        if delivery.left == 0:
            self.order.pop(delivery.order)

    def released(self, now_ms: int) -> Iterator[tuple[int, Delivery]]:
        """Entries that are nobody's and available, the first released or available first."""
        return self._in_time(0, (now_ms + 1 << _SERIAL_BITS) - 1)

    def released_at(self, available_ms: int) -> Iterator[tuple[int, Delivery]]:
        """Entries that are nobody's and available from exactly that time on."""
        start = available_ms << _SERIAL_BITS
        return self._in_time(start, start + (1 << _SERIAL_BITS) - 1)

    def owned_since(self, until_ms: int) -> Iterator[tuple[int, Delivery]]:
        """Entries that were delivered at `until_ms` or before, longest ago first.

        Not those that are delivered while the iterator is at work.
        """
        until = _OWNED_MS + until_ms << _SERIAL_BITS | self._serial
        return self._in_time(_OWNED_MS << _SERIAL_BITS, until)

    def release_of(self, entry_id: int) -> tuple[int, int]:
        """Of a released entry: how often it was delivered, and from when on it is available."""
        delivery = self.pending.get(entry_id)
        assert delivery is not None
        return delivery.deliveries, delivery.order >> _SERIAL_BITS

    def is_available(self, delivery: Delivery, now_ms: int) -> bool:
        """False for a released entry whose time has not come."""
        return delivery.consumer is not None or delivery.order >> _SERIAL_BITS <= now_ms

    def in_order(self) -> Iterator[tuple[int, Delivery]]:
        """All pending entries: released ones, then owned ones, each in order of time."""
        return self._in_time(0, ID_MAX)

    def available_ms(self, delivery: Delivery) -> int:
        """From when on a released entry may be handed out again."""
        return delivery.order >> _SERIAL_BITS

    def _in_time(self, start: int, end: int) -> Iterator[tuple[int, Delivery]]:
        for _, delivery in self.order.walk(start, end):
            for entry_id in delivery.ids:
                if self.pending.get(entry_id) is delivery:
                    yield entry_id, delivery

    def copy(self) -> "Group":
        """An equal one that shares nothing that can change."""
        copied = Group(self.last_id, self.entries_read)
        copied.policy = self.policy
        copied._serial = self._serial
        owners: dict[bytes | None, Consumer | None] = {None: None}
        for name, consumer in self.consumers.items():
            owners[name] = twin = copied.create_consumer(name, consumer.seen_ms)
            twin.active_ms = consumer.active_ms
        twins: dict[int, Delivery] = {}
        for order, delivery in self.order.walk():
            owner = owners[None if delivery.consumer is None else delivery.consumer.name]
            ids = tuple(it for it in delivery.ids if self.pending.get(it) is delivery)
            twins[order] = twin_delivery = Delivery(
                owner, delivery.at_ms, delivery.deliveries, ids, order
            )
            copied.order.put(order, twin_delivery)
        for entry_id, delivery in self.pending.walk():
            twin_delivery = twins[delivery.order]
            copied.pending.put(entry_id, twin_delivery)
            if twin_delivery.consumer is not None:
                twin_delivery.consumer.pending.put(entry_id, twin_delivery)
        return copied

    def shed(self, count: int) -> int:
        """Forget about `count` pending entries, any of them; how many there were."""
        shed = self.order.shed(count) + self.pending.shed(count)
        for consumer in self.consumers.values():
            if shed >= count:
                break
            shed += consumer.pending.shed(count - shed)
        return shed
