"""Which blocks move between the storages of a group, and when.

Owns the plans. A group with TIERING keeps its fast storage below the high watermark by moving the
blocks that were used longest ago to a slower one, tails of chains first, and brings blocks back
that are hit there. Where the slower storage has no room, reclaim drops blocks as without tiering.

    exclusive   a block is on one storage: both directions move it
    inclusive   written through: blocks get a second copy on the slower storage in the background;
                leaving the fast one then costs nothing, and a hit adds a copy there again

Nothing here waits or copies: `next_move` reserves the target and says what to copy (moves.py).
What is leased stays where it is.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from hotplate.kvc.burial import Burial
from hotplate.kvc.cold import ColdQueues, order, served_copies
from hotplate.kvc.fullness import Fullness
from hotplate.kvc.holdings import Holdings, plain_copy
from hotplate.kvc.index import DETAILED, SERVING, STAMP_SHIFT, Copy, Index
from hotplate.kvc.match import Piece
from hotplate.kvc.model import Group, Storage
from hotplate.kvc.moves import CorruptError, Move, Moves
from hotplate.kvc.ports import StoreFullError
from hotplate.kvc.quota import GroupUse, group_shortage, type_shortage

MOVE_BYTES_MAX: Final = 8 << 20  # of one move: a thread is busy with it for some milliseconds
MOVE_BLOCKS_MAX: Final = 256
_MOVABLE: Final = frozenset(("memory", "ssd"))  # types whose bytes the server itself places
_STUCK_MS: Final = 1000  # after a demotion found no room, reclaim drops blocks for so long
_RETRY_MS: Final = 200  # of a promotion whose blocks are leased, or that finds no room
_TRIES_MAX: Final = 300
_PROMOTIONS_MAX: Final = 4096
_MIRRORS_MAX: Final = 65_536
_ARRIVALS_MAX: Final = 65_536
_LOOKS_MAX: Final = 256  # entries looked at in one call
_PATH_MAX: Final = 4096  # ids whose accesses are read for an admission
_HEAP_ENTRY_BYTES: Final = 56
_DETAIL_BYTES: Final = 512

Wanted = tuple[int, int, int]  # instance number, low, high


class Tiering:
    """Plans the moves of all groups."""

    __slots__ = (
        "_arrived",
        "_cold",
        "_colder",
        "_fullness",
        "_has_index_room",
        "_holdings",
        "_mirrors",
        "_missing",
        "_paused",
        "_promotions",
        "_ready",
        "_stuck",
        "_wanted",
        "moves",
        "promote_always",
    )

    def __init__(self, holdings: Holdings, has_index_room: Callable[[int], bool]) -> None:
        self._holdings = holdings
        self._has_index_room = has_index_room
        self.moves = Moves(holdings)
        self._fullness = Fullness(holdings, self.moves)
        self.promote_always = False
        self._cold = ColdQueues()
        self._missing: dict[tuple[str, int], int] = {}  # bytes that have to leave it
        # bytes that promotions need on it, and in what order the hottest of them stands
        self._wanted: dict[tuple[str, int], tuple[int, int]] = {}
        self._colder: dict[tuple[str, int], int] = {}  # only what stands before has to leave
        self._stuck: dict[str, int] = {}  # group -> until when reclaim is to help itself
        self._paused: dict[str, int] = {}  # group -> until when nothing is demoted
        self._promotions: OrderedDict[Wanted, tuple[int, int]] = OrderedDict()  # due, tries
        self._mirrors: OrderedDict[Wanted, None] = OrderedDict()
        self._arrived: OrderedDict[tuple[int, int], tuple[int, int]] = OrderedDict()
        self._ready: list[Move] = []

    def size_bytes(self) -> int:
        """An estimate of the memory of all plans."""
        entries = len(self._cold) + len(self._promotions) + len(self._mirrors)
        return (entries + 2 * len(self._arrived)) * _HEAP_ENTRY_BYTES

    # what happens

    def published(self, index: Index, start: int, end: int) -> None:
        """Blocks of a group with tiering are served now."""
        storages = self._storages(index.instance.group)
        if not storages:
            return
        first = end - 1 if index.chained else start
        if index.state[start] < SERVING:
            self._enqueue(index, start)
        elif self._tier(number := index.state[start] - SERVING) == storages[0].tier:
            for block in range(first, end):
                self._cold.push(index, block, number)
        if index.instance.group.tiering == "inclusive":
            self._mirrors[index.instance.number, start, end] = None
            if len(self._mirrors) > _MIRRORS_MAX:  # its demotion will copy it
                self._mirrors.popitem(last=False)

    def hit(self, index: Index, pieces: list[Piece], tiers: dict[int, int]) -> None:
        """A lookup matched; to be called before it counts as an access."""
        if all(self._tier(number) == 0 for number in tiers):
            return
        storages = self._storages(index.instance.group)
        if not storages or all(self._tier(number) <= storages[0].tier for number in tiers):
            return
        number = index.instance.number
        fast = frozenset(
            SERVING + item.number for item in storages if item.tier == storages[0].tier
        )
        for _, low, high in pieces:
            if fast.issuperset(index.state[low:high]) or not self._is_admitted(index, high - 1):
                continue
            if (number, low, high) not in self._promotions:
                self._promotions[number, low, high] = (0, 0)
        while len(self._promotions) > _PROMOTIONS_MAX:
            self._promotions.popitem(last=False)

    def _tier(self, number: int) -> int:
        return self._holdings.storage(number).tier

    def _is_admitted(self, index: Index, block: int) -> bool:
        """Whether this hit brings a block back: it is the second since it came where it is."""
        if self.promote_always:
            return True
        run = index.run[block]
        end = min(index.tail[run], block + _PATH_MAX) if index.chained else block + 1
        arrived = self._arrived.get((index.instance.number, run))
        if arrived is not None and arrived[0] == index.generation[run]:
            return max(index.accessed[block:end]) > arrived[1]
        return any(index.hits[block:end])

    def forget_instance(self, instance: int) -> None:
        """An instance is gone."""
        for plans in (self._promotions, self._mirrors):
            for wanted in [item for item in plans if item[0] == instance]:
                del plans[wanted]
        self._cold.forget_instance(instance)

    # how full it is

    def look(self, now_ms: int) -> None:
        """See which fast storages are too full, and leave those to demotion that it can relieve."""
        self._missing.clear()
        self._colder.clear()
        for name, use in self._holdings.uses.items():
            use.demotes = frozenset()
            if use.group.tiering == "none":
                continue
            storages = self._storages(use.group)
            fast = [item for item in storages if item.tier == storages[0].tier]
            if len(fast) == len(storages):
                continue
            for storage in fast:
                key = name, storage.number
                missing = self._fullness.over(use, storage)
                wanted, before = self._wanted.pop(key, (0, 0))
                if wanted and missing <= 0:
                    missing = wanted - self._fullness.headroom(use, storage)
                    self._colder[key] = before
                if missing > 0:
                    self._missing[key] = missing
            if self._stuck.get(name, 0) <= now_ms:
                use.demotes = frozenset(item.number for item in fast)

    def _storages(self, group: Group) -> list[Storage]:
        """The available ones that blocks can move between, the fastest first."""
        catalog = self._holdings.catalog
        found = [catalog.get_storage(name) for name in group.storages]
        found = [item for item in found if item.available and item.type in _MOVABLE]
        if group.always_type is not None:
            found = [item for item in found if item.type == group.always_type]
        found.sort(key=lambda item: item.tier)
        return found

    # what to do next

    def next_move(self, now_ms: int) -> Move | None:
        """The next copy to make; its target is reserved. None: nothing to do now."""
        if self._ready:
            return self._ready.pop()
        return self._promotion(now_ms) or self._demotion(now_ms) or self._mirror()

    def end(self, move: Move, error: Exception | None, now_ms: int) -> int:
        """The copy was made, or not. How many blocks have moved."""
        index, number = move.index, move.index.instance.number
        moved = self.moves.end(move, error, now_ms)
        if error is not None and not move.faster and not isinstance(error, CorruptError):
            self._paused[move.use.group.name] = now_ms + _STUCK_MS
        if self._holdings.indexes.get(number) is not index:
            return moved
        if moved and not move.faster and not move.adds:
            stamp = now_ms << STAMP_SHIFT
            self._arrived[number, index.run[move.low]] = move.target_generation, stamp
            while len(self._arrived) > _ARRIVALS_MAX:
                self._arrived.popitem(last=False)
        for block in (move.low, move.high - 1):
            self._enqueue(index, block)
        return moved

    def _enqueue(self, index: Index, block: int) -> None:
        """A block may be one that leaves a fast storage next."""
        if not 0 <= block < index.size:
            return
        storages = self._storages(index.instance.group)
        for copy in served_copies(index, block):
            if storages and self._tier(copy.storage) == storages[0].tier:
                self._cold.push(index, block, copy.storage)

    # demotion

    def _demotion(self, now_ms: int) -> Move | None:
        for key, missing in list(self._missing.items()):
            use = self._holdings.uses.get(key[0])
            if use is None or key[1] not in use.demotes or missing <= 0:
                continue
            if self._paused.get(key[0], 0) > now_ms:
                continue
            move = self._demote(use, key[1], now_ms)
            if move is not None:
                return move
        return None

    def _demote(self, use: GroupUse, number: int, now_ms: int) -> Move | None:
        """Let the oldest of a group's blocks on a storage go to a slower one."""
        key = use.group.name, number
        for _ in range(_LOOKS_MAX):
            if self._missing[key] <= 0:
                return None
            coldest = self._cold.coldest(use, number, now_ms)
            if coldest is None or coldest[0] >= self._colder.get(key, coldest[0] + 1):
                return None
            index = coldest[1]
            block = self._cold.pop(index, number)
            copy = next(item for item in served_copies(index, block) if item.storage == number)
            above = block - 1 if index.chained else -1
            if self._has_slower(index, block, copy):
                burial = Burial(self._holdings, use, now_ms, use.group.grace_ms)
                self._holdings.discard_copy(index, block, copy, burial)
                burial.close()
                self._holdings.counters[index.instance.number].demoted += 1
                self._missing[key] -= copy.shape.payload_bytes
                self._enqueue(index, above)
                continue
            low = self._stretch_up(index, block, copy, self._missing[key])
            if self._is_moving(index, low, block + 1):
                continue
            moves = self._reserve(use, index, (low, block + 1), copy, faster=False)
            while not moves and low < block:
                low += (block + 1 - low) // 2
                moves = self._reserve(use, index, (low, block + 1), copy, faster=False)
            if not moves:
                self._enqueue(index, block)
                self._stuck[use.group.name] = now_ms + _STUCK_MS
                use.demotes = frozenset()
                return None
            self._missing[key] -= sum(move.size_bytes for move in moves)
            self._enqueue(index, low - 1 if index.chained else -1)
            return self._begin(moves)
        return None

    def _is_moving(self, index: Index, low: int, high: int) -> bool:
        """Whether one of these blocks is being copied already."""
        return any(
            move.index is index and move.low < high and low < move.high
            for move in self.moves.under_way
        )

    def _begin(self, moves: list[Move]) -> Move:
        """Charge the targets; the first move is for now, the others come next."""
        for move in moves:
            self.moves.begin(move)
        self._ready.extend(reversed(moves))
        return self._ready.pop()

    def _has_slower(self, index: Index, block: int, copy: Copy) -> bool:
        """Whether another available copy holds what this one does."""
        if index.state[block] != DETAILED or index.details[block].writing:
            return False
        return any(
            not copy.specs & ~other.specs and self._holdings.is_available(other.storage)
            for other in served_copies(index, block)
            if other is not copy and self._tier(other.storage) > self._tier(copy.storage)
        )

    def _stretch_up(self, index: Index, block: int, copy: Copy, missing: int) -> int:
        """From where on the blocks up to `block` are as old as it, and lie beside it."""
        if index.state[block] == DETAILED:
            return block
        state, generation = index.state[block], index.generation[block]
        stamp = index.last_access(block)
        most = min(_most(copy), -(-missing // copy.shape.payload_bytes))
        first = index.run[block] if index.chained else 0
        low, place = block, copy.place
        while (
            low > first
            and block - low + 1 < most
            and index.state[low - 1] == state
            and index.generation[low - 1] == generation
            and index.place_of(low - 1) == place - 1
            and index.accessed[low - 1] >> STAMP_SHIFT <= stamp >> STAMP_SHIFT
            and index.priority[low - 1] <= index.priority[block]
            and not index.is_leased(low - 1)
        ):
            low -= 1
            place -= 1
        return low

    # promotion

    def _promotion(self, now_ms: int) -> Move | None:
        """Bring back blocks that were hit on a slow storage."""
        for _ in range(min(_LOOKS_MAX, len(self._promotions))):
            wanted, (due_ms, tries) = self._promotions.popitem(last=False)
            index = self._holdings.indexes.get(wanted[0])
            if index is None:
                continue
            if due_ms > now_ms:
                self._promotions[wanted] = due_ms, tries
                continue
            move = self._promote(index, wanted, tries, now_ms)
            if move is not None:
                return move
        return None

    def _promote(self, index: Index, wanted: Wanted, tries: int, now_ms: int) -> Move | None:
        """The last stretch of blocks that is on a slow storage moves; the rest stays wanted."""
        number, low, high = wanted
        use = self._holdings.use(index)
        storages = self._storages(use.group)
        slow = {item.number for item in storages if item.tier > storages[0].tier}
        last = min(high, index.size) - 1
        while last >= low and not self._slow_copy(index, last, slow):
            last -= 1
        if last < low or use.group.tiering == "none":
            return None
        copy = self._slow_copy(index, last, slow)
        assert copy is not None
        first = self._stretch_slow(index, low, last, copy)
        if self._is_moving(index, first, last + 1):
            moves: list[Move] = []
        elif use.group.tiering == "exclusive" and any(
            index.is_leased(block) for block in range(first, last + 1)
        ):
            moves = []
        else:
            high = last + 1
            moves = self._reserve(use, index, (first, high), copy, faster=True)
            while not moves and high - first > 1:  # as many as find room, from the front on
                high -= (high - first) // 2
                moves = self._reserve(use, index, (first, high), copy, faster=True)
            if moves and high <= last:
                self._promotions[number, high, last + 1] = 0, 0
            if not moves and not self._make_way(use, index, (first, last + 1), copy, now_ms):
                return None
        if moves:
            if first > low:
                self._promotions[number, low, first] = 0, 0
            return self._begin(moves)
        if tries < _TRIES_MAX:
            self._promotions[number, low, last + 1] = now_ms + _RETRY_MS, tries + 1
        return None

    def _make_way(
        self, use: GroupUse, index: Index, blocks: tuple[int, int], copy: Copy, now_ms: int
    ) -> bool:
        """Whether there will be room on the fast storage for at least one of some blocks.

        Room for all of them is asked for, if a block there is colder.
        """
        fast = self._storages(use.group)[0]
        low, high = blocks
        size_bytes = copy.shape.payload_bytes
        room = self._fullness.headroom(use, fast)
        if room < size_bytes * (high - low):
            coldest = self._cold.coldest(use, fast.number, now_ms)
            if coldest is not None and coldest[0] < order(index, high - 1):
                key = use.group.name, fast.number
                wanted, before = self._wanted.get(key, (0, 0))
                before = max(before, order(index, high - 1))
                self._wanted[key] = wanted + size_bytes * (high - low), before
                return True
        return room >= size_bytes

    def _slow_copy(self, index: Index, block: int, slow: set[int]) -> Copy | None:
        """The copy to bring back, unless a fast one has what it has."""
        copies = [
            item
            for item in served_copies(index, block)
            if self._holdings.is_available(item.storage)
        ]
        for copy in copies:
            if copy.storage in slow and not any(
                other.storage not in slow and not copy.specs & ~other.specs for other in copies
            ):
                return copy
        return None

    def _stretch_slow(self, index: Index, low: int, last: int, copy: Copy) -> int:
        """Where the stretch begins that ends with `last` and can be copied at once."""
        if index.state[last] == DETAILED:
            return last
        state, generation = index.state[last], index.generation[last]
        most = _most(copy)
        low = max(low, last - most + 1, index.run[last] if index.chained else 0)
        first, place = last, copy.place
        while (
            first > low
            and index.state[first - 1] == state
            and index.generation[first - 1] == generation
            and index.place_of(first - 1) == place - 1
        ):
            first -= 1
            place -= 1
        return first

    # inclusive

    def _mirror(self) -> Move | None:
        """Write through: a second copy of what was published on a fast storage."""
        for _ in range(min(_LOOKS_MAX, len(self._mirrors))):
            (number, low, high), _ = self._mirrors.popitem(last=False)
            index = self._holdings.indexes.get(number)
            if index is None or index.instance.group.tiering != "inclusive":
                continue
            while low < min(high, index.size) and index.state[low] < SERVING:
                low += 1
            if low >= min(high, index.size):
                continue
            copy = plain_copy(index, low)
            end = low + 1
            most = _most(copy)
            while (
                end < min(high, index.size, low + most)
                and index.state[end] == index.state[low]
                and index.generation[end] == index.generation[low]
                and index.place_of(end) == copy.place + end - low
            ):
                end += 1
            use = self._holdings.use(index)
            moves = self._reserve(use, index, (low, end), copy, faster=False, adds=True)
            if not moves:
                self._holdings.counters[number].mirrors_skipped += high - low
                continue
            if end < high:
                self._mirrors[number, end, high] = None
            return self._begin(moves)
        return None

    # the target

    def _reserve(
        self,
        use: GroupUse,
        index: Index,
        blocks: tuple[int, int],
        copy: Copy,
        *,
        faster: bool,
        adds: bool = False,
    ) -> list[Move]:
        """Slots for blocks that lie beside each other, `copy` being of one of them.

        A move for each extent; none where no storage has room.
        """
        low, high = blocks
        adds = adds or (faster and use.group.tiering == "inclusive")
        if adds and not self._has_index_room((high - low) * _DETAIL_BYTES):
            return []
        need = copy.shape.payload_bytes * (high - low)
        tier = self._tier(copy.storage)
        for storage in self._storages(use.group):
            if storage.tier == tier or (storage.tier < tier) != faster:
                continue
            if group_shortage(use, need) or type_shortage(use, storage.type, need):
                continue
            if faster and not self._fullness.stays_below(use, storage, need):
                continue
            try:
                extents = storage.opened().reserve(copy.shape, high - low)
            except (StoreFullError, OSError):
                continue
            moves: list[Move] = []
            for extent in extents:
                move = self._move(use, index, (low, low + extent.count), copy)
                move.target, move.target_store = storage.number, storage.opened()
                move.target_place, move.target_generation = extent.place, extent.generation
                move.adds, move.faster = adds, faster
                moves.append(move)
                low += extent.count
            return moves
        return []

    def _move(self, use: GroupUse, index: Index, blocks: tuple[int, int], copy: Copy) -> Move:
        """A move from where blocks are; where to is the caller's."""
        low, high = blocks
        instance, source = index.instance, self._holdings.storage(copy.storage)
        detailed = index.state[low] == DETAILED
        if detailed or high - low == 1:
            keys = index.key_of(low)
        else:
            keys = bytes(index.keys[low * index.width : high * index.width])
        sum_bytes = index.sum_bytes
        return Move(
            use,
            index,
            low,
            high,
            copy.shape,
            copy.storage,
            copy.place if detailed else index.place_of(low),
            copy.generation,
            -1,
            -1,
            -1,
            keys,
            copy.sums if detailed else bytes(index.sums[low * sum_bytes : high * sum_bytes]),
            [instance.specs[number].size_bytes for number in instance.numbers_in(copy.specs)],
            source.opened(),
            source.opened(),
            copy if detailed else None,
        )


def _most(copy: Copy) -> int:
    """How many slots like a copy's one move takes."""
    return min(MOVE_BLOCKS_MAX, max(1, MOVE_BYTES_MAX // copy.shape.payload_bytes))
