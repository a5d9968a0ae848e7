"""Entering planned blocks into an index, as WRITING copies of a session.

Everything was checked and the slots are taken: nothing here can fail. Plain new blocks go in as
runs, one slice assignment a column; what has or needs a detail goes in one by one.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from hotplate.blocks import Shape
from hotplate.kvc.allocate import Allocation
from hotplate.kvc.answers import Slot, Span
from hotplate.kvc.holdings import Holdings, plain_copy
from hotplate.kvc.index import ABSENT, DETAILED, NEVER, SERVING, WRITING, Copy, Detail, Index
from hotplate.kvc.keys import Keys
from hotplate.kvc.plan import Item, Plan
from hotplate.kvc.write_session import Part, WriteSession


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """What STARTWRITE and PUT ask for."""

    keys: Keys
    now_ms: int
    timeout_ms: int
    spec_masks: list[int] | None = None
    storage: str | None = None
    ttl_ms: int | None = None
    priority: int = 50
    parent: bytes | None = None


class Feed(Protocol):
    """Where the slots come from: (storage, place, count, generation), `count` at most `slots`."""

    def take(self, shape: Shape, slots: int) -> tuple[int, int, int, int]:
        """The next consecutive slots of a shape."""
        ...


class SlotFeed:
    """Hands out the slots of an allocation, shape by shape, in order."""

    __slots__ = ("_allocation", "_next")

    def __init__(self, allocation: Allocation) -> None:
        self._allocation = allocation
        start = (0, 0)  # extent, slots of it that are gone
        self._next: dict[Shape, tuple[int, int]] = dict.fromkeys(allocation.extents, start)

    def take(self, shape: Shape, slots: int) -> tuple[int, int, int, int]:
        """The next consecutive slots of a shape."""
        number, gone = self._next[shape]
        extent = self._allocation.extents[shape][number]
        taken = min(slots, extent.count - gone)
        place = extent.place + gone
        gone += taken
        self._next[shape] = (number, gone) if gone < extent.count else (number + 1, 0)
        return self._allocation.storage.number, place, taken, extent.generation


class StagedFeed:
    """Hands out slots that were staged one by one, in order."""

    __slots__ = ("_slots",)

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = iter(slots)

    def take(self, shape: Shape, slots: int) -> tuple[int, int, int, int]:
        """The next slot."""
        slot = next(self._slots)
        assert slot.shape == shape
        assert slots
        return slot.storage, slot.place, 1, slot.store.generation(shape, slot.place)


class Guard:
    """Keeps the blocks that a plan builds on from going while room is made.

    An expired one is a tombstone when the guard ends; the write then fills it again. Where the
    write was refused, it goes.
    """

    __slots__ = ("_blocks", "_index", "_leaves")

    def __init__(self, index: Index, plan: Plan) -> None:
        self._index = index
        self._blocks = list(plan.path)
        self._leaves = {block for block in self._blocks if not index.children[block]}

    def __enter__(self) -> None:
        children = self._index.children
        for block in self._blocks:
            children[block] += 1

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        index = self._index
        for block in self._blocks:
            index.children[block] -= 1
            if index.children[block]:
                continue
            if index.state[block] != ABSENT:
                if block in self._leaves:
                    index.leaves.push(block)
                else:  # what was behind it has gone meanwhile
                    index.became_leaf(block)
            elif kind is not None:
                index.unlink(block)


class Entry:
    """One write's entering."""

    __slots__ = (
        "_expiry",
        "_feed",
        "_index",
        "_plan",
        "_remembered",
        "_request",
        "_session",
        "_stamp",
    )

    def __init__(
        self, holdings: Holdings, session: WriteSession, plan: Plan, request: WriteRequest
    ) -> None:
        self._session = session
        self._index = session.index
        self._plan = plan
        self._request = request
        ttl_ms = request.ttl_ms
        if ttl_ms is None and self._index.instance.group.ttl_s is not None:
            ttl_ms = self._index.instance.group.ttl_s * 1000
        self._expiry = NEVER if ttl_ms is None else request.now_ms + ttl_ms
        # of the call; without chains every key has one of its own, from this one on
        stamps = 1 if self._index.chained else len(request.keys)
        self._stamp = holdings.stamp(request.now_ms, stamps)
        self._remembered = True  # all new blocks so far were known to the policy

    def enter(self, feed: Feed) -> None:
        """Enter everything that the plan wants written, and count it as accessed."""
        index, plan = self._index, self._plan
        self._feed = feed
        if self._request.keys.width is not None:
            index.settle_width(self._request.keys.width)
        if plan.items is None:
            last = self._enter_run(plan.above, plan.fresh_keys, 0)
        else:
            last = self._enter_items(plan.items)
        touch_entered(self._session, plan, last, self._stamp)

    def _enter_items(self, items: list[Item]) -> int:
        """Items one by one, plain new ones together. The last id of the path."""
        index = self._index
        everything, width = index.instance.all_specs, index.width
        last, last_is_new = -1, False
        number = 0
        while number < len(items):
            item = items[number]
            above = last if index.chained and last_is_new else item.above
            if item.block is not None:
                self._add_copy(item, item.block, number)
                last, last_is_new = item.block, False
                number += 1
                continue
            end = number
            while (
                end < len(items)
                and items[end].block is None
                and items[end].specs == everything
                and len(items[end].key) == width
            ):
                end += 1
            if end > number:
                keys = [item.key for item in items[number:end]]
                last = self._enter_run(above, keys, number)
                number = end
            else:
                last = self._enter_alone(above, item, number)
                number += 1
            last_is_new = True
        return last if last_is_new else self._plan.path[-1]

    def _enter_run(self, above: int, keys: list[bytes], first: int) -> int:
        """Plain new blocks, each the parent of the next. The last one's id."""
        index, claim = self._index, self._plan.claim
        count, width = len(keys), index.width
        packed = self._plan.fresh_blob or b"".join(keys)
        offset = 0
        if not index.chained:
            above = -1
        while offset < count:
            storage, place, slots, generation = self._feed.take(index.shape, count - offset)
            extend = False
            if claim is not None:
                ranges = [(claim.start + offset, claim.start + offset + slots)]
            elif slots == 1 and index.chained and index.extend_run(above, storage, place):
                ranges = [(above + 1, above + 2)]
                extend = True
            else:
                ranges = list(index.take_ids(slots))
            for ids in ranges:
                length = ids[1] - ids[0]
                if claim is None:
                    index.name(ids[0], keys[offset : offset + length])
                if above >= 0:
                    index.raise_expiry(above, self._expiry)
                index.enter(
                    ids,
                    packed[offset * width : (offset + length) * width],
                    above=above,
                    extend=extend,
                    place=place,
                    generation=generation,
                )
                self._describe(ids, storage)
                self._remember(ids[0], keys[offset : offset + length])
                self._session.parts.append(
                    Part(
                        first + offset,
                        length,
                        ids[0],
                        storage,
                        index.shape,
                        place,
                        generation,
                        index.instance.all_specs,
                    )
                )
                offset += length
                place += length
                if index.chained:
                    above = ids[1] - 1
        return above

    def _describe(self, ids: tuple[int, int], storage: int) -> None:
        """The columns of plain blocks that are being written."""
        index = self._index
        start, end = ids
        count = end - start
        size = index.sum_bytes
        index.blocks += count
        if count == 1:
            index.state[start] = WRITING
            index.sums[start * size] = storage
            index.priority[start] = self._request.priority
            index.created[start] = self._stamp
            index.expires[start] = self._expiry
            return
        index.state[start:end] = bytes((WRITING,)) * count
        index.sums[start * size : end * size : size] = bytes((storage,)) * count
        index.priority[start:end] = bytes((self._request.priority,)) * count
        index.created[start:end] = array("Q", (self._stamp,)) * count
        index.expires[start:end] = array("q", (self._expiry,)) * count

    def _remember(self, start: int, keys: list[bytes]) -> None:
        """New blocks stand from `start` on: the policy may know them from before."""
        if self._remembered:
            self._remembered = self._index.remember(start, keys)

    def _enter_alone(self, above: int, item: Item, number: int) -> int:
        """A new block that is not plain: another key width, or not all specs."""
        index = self._index
        (ids,) = index.take_ids(1)
        if not index.chained:
            above = -1
        if above >= 0:
            index.raise_expiry(above, self._expiry)
        block = ids[0]
        odd = len(item.key) != index.width
        if odd:
            index.odd_keys[block] = item.key
        index.name(block, [item.key])
        index.enter(ids, bytes(index.width) if odd else item.key, above=above)
        index.state[block] = ABSENT
        index.expires[block] = self._expiry
        self._add_copy(item, block, number)
        return block

    def _add_copy(self, item: Item, block: int, number: int) -> None:
        """A WRITING copy beside what a block has; a tombstone becomes a block again."""
        index, session = self._index, self._session
        shape = index.instance.shape(item.specs, len(item.key))
        storage, place, _, generation = self._feed.take(shape, 1)
        copy = Copy(storage, item.specs, shape, place, generation, b"", session, number)
        self._detail(block).copies.append(copy)
        index.state[block] = DETAILED
        index.raise_expiry(block, self._expiry)
        session.parts.append(
            Part(number, 1, block, storage, shape, place, generation, item.specs, copy)
        )

    def _detail(self, block: int) -> Detail:
        """The block's detail, made if it has none."""
        index = self._index
        state = index.state[block]
        if state == DETAILED:
            return index.details[block]
        detail = Detail()
        if state == ABSENT:
            detail.hits_before = index.hit_count(block)
            index.blocks += 1
            index.created[block] = self._stamp
            index.priority[block] = self._request.priority
            index.queued[block] = index.proven[block] = 0
            self._remember(block, [index.key_of(block)])
        else:
            copy = plain_copy(index, block)
            detail.copies.append(copy)
            if state < SERVING:
                copy.session, copy.position = writer_of(index, block)
                copy.session.set_apart(copy.position, copy)
        index.details[block] = detail
        return detail


def writer_of(index: Index, block: int) -> tuple[WriteSession, int]:
    """The session that writes a plain block, and the block's place among its new keys."""
    for session in index.sessions.values():
        position = session.position_of(block)
        if position is not None:
            return session, position
    raise RuntimeError("a block is being written by no session")


def touch_entered(session: WriteSession, plan: Plan, last: int, stamp: int) -> None:
    """A write's access: all its keys, tail first. Its new blocks let the clock go on."""
    index = session.index
    index.clock += session.new_count
    if index.chained:
        index.touch_path(last, stamp, 0)
        return
    if plan.items is not None:
        touch_names(index, plan.names, stamp)
        return
    for part in reversed(session.parts):
        start, end = part.start, part.start + part.count
        index.accessed[start:end] = array("Q", range(stamp + part.count - 1, stamp - 1, -1))
        index.ticks[start:end] = array("Q", (index.clock,)) * part.count
        stamp += part.count


def touch_planned(holdings: Holdings, index: Index, plan: Plan, now_ms: int) -> None:
    """The access of a write that has nothing to write."""
    if not index.chained:
        names = plan.names
        touch_names(index, names, holdings.stamp(now_ms, len(names)) if names else 0)
    elif plan.path:
        index.touch_path(plan.path[-1], holdings.stamp(now_ms), 0)


def touch_names(index: Index, names: list[bytes], stamp: int) -> None:
    """An access to independent blocks, the last first, with stamps from `stamp` on."""
    for block in reversed(index.lookup_all(names)):
        if block is not None:
            index.accessed[block] = stamp
            index.ticks[block] = index.clock
            stamp += 1


def spans_of(session: WriteSession) -> list[Span]:
    """Where the session's new keys go."""
    return [
        Span(
            part.first,
            part.count,
            part.storage,
            part.shape,
            part.place,
            part.generation,
            b"",
            part.specs,
        )
        for part in session.parts
    ]
