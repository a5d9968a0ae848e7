"""What a write would do: which keys are masked, which blocks are new, which need another copy.

Changes nothing but that new keys claim their ids: enter the plan or `give_up`. BadChainError for
keys that are stored under another parent. Duplicates within a call fold into their first
occurrence.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hotplate.blocks import Shape
from hotplate.errors import BadChainError
from hotplate.kvc.claim import Claim, claim
from hotplate.kvc.holdings import Holdings
from hotplate.kvc.index import ABSENT, DETAILED, SERVING, WRITING, Index
from hotplate.kvc.keys import Keys
from hotplate.kvc.match import Matcher


@dataclass(slots=True)
class Item:
    """A key to be written: its id if it has one, and the specs that are missing."""

    position: int
    key: bytes
    block: int | None
    specs: int
    above: int  # the id of the key before it, where that has one (else the item before is above)


@dataclass(slots=True)
class Plan:
    """A call's keys, sorted out.

    Where `items` is None, the keys from `fresh_from` on are all new, of the index's width and in
    need of all specs: the usual case, in which most have a claim. `path` are the existing ids that
    the call names (of a chained index only the deepest); they must outlive the making of room.
    """

    above: int = -1
    fresh_from: int = 0
    fresh_keys: list[bytes] = field(default_factory=list)
    fresh_blob: bytes = b""  # the same, packed
    claim: Claim | None = None
    items: list[Item] | None = None
    path: list[int] = field(default_factory=list)
    expired: list[int] = field(default_factory=list)
    names: list[bytes] = field(default_factory=list)  # with items: the call's distinct keys

    @property
    def count(self) -> int:
        """How many keys have to be written."""
        return len(self.fresh_keys) if self.items is None else len(self.items)

    def positions(self) -> Sequence[int]:
        """Their positions in the call."""
        if self.items is None:
            return range(self.fresh_from, self.fresh_from + len(self.fresh_keys))
        return [item.position for item in self.items]

    def mask(self, count: int) -> bytes:
        """`1` for each of the call's `count` keys that needs no write, `0` for the others."""
        if self.items is None:
            return b"1" * self.fresh_from + b"0" * len(self.fresh_keys)
        bits = bytearray(b"1" * count)
        for item in self.items:
            bits[item.position] = 48
        return bytes(bits)

    def give_up(self) -> None:
        """Nothing of the plan will be done."""
        if self.claim is not None:
            self.claim.give_up()


class Planner:
    """Sorts out the keys of one write."""

    __slots__ = ("_holdings", "_index", "_keys", "_now_ms", "_plan", "_whole")

    def __init__(
        self, holdings: Holdings, index: Index, keys: Keys, now_ms: int, *, whole: bool = False
    ) -> None:
        """`whole`: a key that lacks any spec gets a copy of all of them (PUT)."""
        self._holdings = holdings
        self._index = index
        self._keys = keys
        self._now_ms = now_ms
        self._whole = whole
        self._plan = Plan()

    def plan(self, spec_masks: list[int] | None, parent: bytes | None) -> Plan:
        """The plan; BadChainError if a key is stored under another parent."""
        index, keys, plan = self._index, self._keys, self._plan
        above = self._root(parent)
        known = 0
        if index.chained and spec_masks is None and len(keys) and index.lookup(keys[0]) is not None:
            matcher = Matcher(self._holdings, index, index.instance.all_specs, self._now_ms)
            found = matcher.prefix(keys)
            if found.matched and not found.walked:
                first = found.pieces[0][1]
                if index.parent_of(first) != above:
                    raise self._bad_chain(keys[0], first)
                known = found.matched
                above = found.pieces[-1][2] - 1
        plan.above = above
        if above >= 0:
            plan.path.append(above)
        rest = keys.listing(known)
        if spec_masks is not None or not self._take_fresh(rest, known):
            self._sort_out(rest, index.lookup_all(rest), known, spec_masks)
        return plan

    def _take_fresh(self, rest: list[bytes], known: int) -> bool:
        """Plan plain new blocks for the keys after the known ones, if that is what they are."""
        index, keys, plan = self._index, self._keys, self._plan
        blob, width = keys.blob, keys.width
        if blob is None or width is None or (width != index.width and index.ids):
            return False
        if len(rest) > 1 and not self._whole:  # PUT grows a run block by block, where it can
            for key in (rest[0], rest[-1]):  # the likeliest to be there already
                if index.lookup(key) is not None:
                    return False
            plan.claim = claim(index, rest)
        if plan.claim is None and not self._are_new(rest):
            return False
        plan.fresh_from, plan.fresh_keys = known, rest
        plan.fresh_blob = blob[known * width :] if known else blob
        return True

    def _are_new(self, rest: list[bytes]) -> bool:
        """Whether keys that could not be claimed are new all the same."""
        ids = self._index.lookup_all(rest)
        return ids.count(None) == len(ids) and len(set(rest)) == len(rest)

    def _root(self, parent: bytes | None) -> int:
        if parent is None or not self._index.chained:
            return -1
        above = self._index.lookup(parent)
        if above is None:
            raise BadChainError(f"PARENT {parent.hex()} (hex) is not stored")
        return above

    def _bad_chain(self, key: bytes, block: int) -> BadChainError:
        above = self._index.parent_of(block)
        stored = f"under {self._index.key_of(above).hex()}" if above >= 0 else "as a root"
        return BadChainError(f"key {key.hex()} is stored {stored} (keys in hex)")

    def _sort_out(
        self, keys: list[bytes], ids: list[int | None], known: int, spec_masks: list[int] | None
    ) -> None:
        """Key by key: masked, new, or in need of specs."""
        index, plan = self._index, self._plan
        everything = index.instance.all_specs
        items: list[Item] = []
        wanted: dict[bytes, int] = {}
        order: list[tuple[int, bytes, int | None]] = []
        for offset, key in enumerate(keys):
            mask = everything if spec_masks is None else spec_masks[known + offset]
            if key not in wanted:
                order.append((known + offset, key, ids[offset]))
            wanted[key] = wanted.get(key, 0) | mask
        above = plan.above
        above_is_new = False
        for position, key, block in order:
            if block is None:
                items.append(Item(position, key, None, wanted[key], above))
                above, above_is_new = -1, True
                continue
            if index.chained:
                if above_is_new or index.parent_of(block) != above:
                    if key in self._keys.listing(0, known):
                        continue  # a duplicate of a key further up
                    raise self._bad_chain(key, block)
                plan.path[:] = [block]
            else:
                plan.path.append(block)
            missing = wanted[key] & ~self._held(block)
            if missing:
                specs = everything if self._whole else missing
                items.append(Item(position, key, block, specs, above))
            above = block
        plan.items = items
        plan.names = [key for _, key, _ in order]

    def _held(self, block: int) -> int:
        """The specs of a block that are stored or being written on available storages."""
        index = self._index
        state = index.state[block]
        available = self._holdings.is_available
        if state == ABSENT:
            return 0
        if state == WRITING:
            storage = index.sums[block * index.sum_bytes]
            return index.instance.all_specs if available(storage) else 0
        if index.is_expired(block, self._now_ms):
            self._plan.expired.append(block)
            return 0
        if state >= SERVING:
            return index.instance.all_specs if available(state - SERVING) else 0
        held = 0
        for copy in index.details[block].copies:
            if available(copy.storage):
                held |= copy.specs
        return held


def shapes_of(index: Index, plan: Plan) -> tuple[dict[Shape, int], int, int]:
    """How many slots of which shape a plan needs, how many blocks and details are new."""
    instance = index.instance
    if plan.items is None:
        count, width = len(plan.fresh_keys), len(plan.fresh_keys[0])
        shape = instance.shape(instance.all_specs, width) if width != index.width else index.shape
        return {shape: count}, count, 0
    shapes: dict[Shape, int] = {}
    blocks = details = 0
    for item in plan.items:
        shape = instance.shape(item.specs, len(item.key))
        shapes[shape] = shapes.get(shape, 0) + 1
        if item.block is None or index.state[item.block] == ABSENT:
            blocks += 1
        if item.block is not None or item.specs != instance.all_specs:
            details += item.block is None or index.state[item.block] != DETAILED
    return shapes, blocks, details
