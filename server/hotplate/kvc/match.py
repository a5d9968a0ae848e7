"""Finding the blocks that a list of keys names, and where they lie.

Pure functions over an Index. A *piece* is (position, low, high): keys position.. are the ids
low..high-1, all of one run. PREFIX bisects over the keys and proves its answer by comparing whole
runs of stored keys with the asked ones; what is no chain as asked for is walked key by key.
Availability comes in as the table that maps a state byte to MISS, HIT or LOOK.
"""

from dataclasses import dataclass

from hotplate.kvc.answers import Span
from hotplate.kvc.holdings import HIT, LOOK, Holdings, plain_copy
from hotplate.kvc.index import ABSENT, DETAILED, SERVING, SHARD_MASK, Copy, Index
from hotplate.kvc.keys import Keys

_WALK_KEYS = 256  # looked up together when a prefix is walked

Piece = tuple[int, int, int]


@dataclass(slots=True)
class Found:
    """Which keys are hits: `matched` of them, in `pieces` by position. `walked`: key by key.

    `tiers`: how many are served by each storage number, None where that is not counted yet.
    `missed`: EXACT's misses by reason.
    """

    matched: int
    pieces: list[Piece]
    walked: bool = False
    tiers: dict[int, int] | None = None
    missed: dict[str, int] | None = None


class Matcher:
    """Matches keys against one index, as its copies count now."""

    __slots__ = ("_holdings", "_index", "_now_ms", "_specs", "_table")

    def __init__(self, holdings: Holdings, index: Index, specs: int, now_ms: int) -> None:
        self._holdings = holdings
        self._index = index
        self._table = holdings.hit_table
        self._specs = specs
        self._now_ms = now_ms

    # single blocks

    def is_hit(self, block: int) -> bool:
        """Whether a block has an available copy with what is asked for, and has not expired."""
        index = self._index
        meaning = self._table[index.state[block]]
        if meaning == HIT or (meaning == LOOK and self.serves(block)):
            return index.expires[block] > self._now_ms
        return False

    def serves(self, block: int) -> bool:
        """Whether a DETAILED block's available copies together hold what is asked for."""
        held = 0
        for copy in self._index.details[block].copies:
            if copy.session is None and self._holdings.is_available(copy.storage):
                held |= copy.specs
        return held != 0 and not self._specs & ~held

    def why_missed(self, block: int | None) -> str:
        """Why a block is no hit."""
        index = self._index
        if block is None or index.state[block] == ABSENT:
            return "absent"
        state = index.state[block]
        if state >= SERVING:
            copies: list[Copy] = [plain_copy(index, block)]
        elif state == DETAILED:
            copies = [copy for copy in index.details[block].copies if copy.session is None]
        else:
            copies = []
        if not copies:
            return "writing"
        if index.expires[block] <= self._now_ms:
            return "expired"
        if not any(self._holdings.is_available(copy.storage) for copy in copies):
            return "unavailable"
        return "incomplete"

    def tiers(self, found: Found) -> dict[int, int]:
        """How many hits each storage serves: of several copies, the one that is named first."""
        if found.tiers is None:
            found.tiers = {}
            for _, low, high in found.pieces:
                self._add_tiers(found.tiers, low, high)
        return found.tiers

    def _add_tiers(self, tiers: dict[int, int], low: int, high: int) -> None:
        """Add the blocks low..high-1, which are hits."""
        states = self._index.state[low:high]
        for state in set(states):
            if state >= SERVING:
                tiers[state - SERVING] = tiers.get(state - SERVING, 0) + states.count(state)
        detailed = states.find(DETAILED)
        while detailed >= 0:
            storage = self.copies(low + detailed)[0].storage
            tiers[storage] = tiers.get(storage, 0) + 1
            detailed = states.find(DETAILED, detailed + 1)

    # lists of keys

    def prefix(self, keys: Keys) -> Found:
        """The hits up to the first miss."""
        count = len(keys)
        index = self._index
        if count == 0 or index.blocks == 0:
            return Found(0, [])
        if index.chained and keys.width == index.width:
            deepest, block = self._bisect(keys, count)
            if deepest < 0:
                return Found(0, [])
            pieces = self._verify(keys, deepest + 1, block)
            if pieces is not None:
                return self._until_hole(pieces)
        return self._walk(keys)

    def _bisect(self, keys: Keys, count: int) -> tuple[int, int]:
        """A hit after which comes a miss or nothing: its position and id, or (-1, -1).

        -1 only if the first key is a miss.
        """
        blob, width = keys.blob, keys.width
        assert blob is not None
        assert width is not None
        shards, is_hit = self._index.shards, self.is_hit
        low, low_block, high = -1, -1, count
        probe = count - 1
        while True:
            key = blob[probe * width : (probe + 1) * width]
            block = shards[hash(key) & SHARD_MASK].get(key)
            if block is not None and is_hit(block):
                low, low_block = probe, block
            else:
                high = probe
            if high - low == 1:
                return low, low_block
            probe = (low + high) >> 1

    def _verify(self, keys: Keys, count: int, block: int) -> list[Piece] | None:
        """The pieces of the first `count` keys if they are the stored chain down to `block`."""
        index = self._index
        blob, width = keys.blob, index.width
        assert blob is not None
        stored, run, parent, odd = index.keys, index.run, index.parent, index.odd_keys
        pieces: list[Piece] = []
        while True:
            start, high = run[block], block + 1
            low = max(start, high - count)
            position = count - (high - low)
            if stored[low * width : high * width] != blob[position * width : count * width]:
                return None
            if odd and low in odd:
                return None
            pieces.append((position, low, high))
            if position == 0:
                pieces.reverse()
                return pieces
            count = position
            block = parent[start]
            if block < 0:
                return None

    def _until_hole(self, pieces: list[Piece]) -> Found:
        """Cut a proven chain at the first block that is no hit. Its deepest has not expired."""
        state, table = self._index.state, self._table
        position = 0
        tiers: dict[int, int] = {}
        for number, (position, low, high) in enumerate(pieces):
            states = state[low:high]
            first, count = states[0], high - low
            if table[first] == HIT and states.count(first) == count:
                tiers[first - SERVING] = tiers.get(first - SERVING, 0) + count
                continue
            meanings = states.translate(table)
            end = meanings.find(0)
            if end < 0:
                end = high - low
            look = meanings.find(LOOK, 0, end)
            while look >= 0 and self.serves(low + look):
                look = meanings.find(LOOK, look + 1, end)
            if look >= 0:
                end = look
            if end < high - low:
                kept = pieces[:number]
                if end:
                    kept.append((position, low, low + end))
                    self._add_tiers(tiers, low, low + end)
                return Found(position + end, kept, tiers=tiers)
            self._add_tiers(tiers, low, high)
        position, low, high = pieces[-1]
        return Found(position + high - low, pieces, tiers=tiers)

    def _walk(self, keys: Keys) -> Found:
        """Key by key until the first miss, in growing batches."""
        hits: list[int] = []
        count = len(keys)
        start, batch = 0, _WALK_KEYS
        while start < count:
            wanted = keys.listing(start, start + batch)
            for block in self._index.lookup_all(wanted):
                if block is None or not self.is_hit(block):
                    return Found(len(hits), self.pieces_of(0, hits), walked=True)
                hits.append(block)
            start += len(wanted)
            batch *= 2
        return Found(len(hits), self.pieces_of(0, hits), walked=True)

    def exact(self, keys: Keys) -> Found:
        """Every hit."""
        count = len(keys)
        found = self._whole(keys, count)
        if found is not None:
            return found
        pieces: list[Piece] = []
        matched = 0
        missed: dict[str, int] = {}
        stretch: list[int] = []
        first = 0
        for position, block in enumerate(self._index.lookup_all(keys.listing())):
            if block is not None and self.is_hit(block):
                if not stretch:
                    first = position
                stretch.append(block)
                continue
            reason = self.why_missed(block)
            missed[reason] = missed.get(reason, 0) + 1
            if stretch:
                matched += len(stretch)
                pieces += self.pieces_of(first, stretch)
                stretch = []
        pieces += self.pieces_of(first, stretch)
        return Found(matched + len(stretch), pieces, walked=count > 0, missed=missed)

    def window(self, keys: Keys, length: int) -> tuple[int, Found]:
        """The right-most `length` consecutive hits, and where they begin; -1: there are none."""
        count = len(keys)
        found = self._whole(keys, count)
        if found is not None:
            first = count - length
            kept: list[Piece] = []
            for position, low, high in found.pieces:
                skip = max(0, first - position)
                if low + skip < high:
                    kept.append((position + skip - first, low + skip, high))
            return first, Found(length, kept)
        blocks = self._index.lookup_all(keys.listing())
        is_hit = self.is_hit
        hits: list[int] = []
        for position in range(count - 1, -1, -1):
            block = blocks[position]
            if block is None or not is_hit(block):
                hits.clear()
                if position < length:
                    break
                continue
            hits.append(block)
            if len(hits) == length:
                hits.reverse()
                return position, Found(length, self.pieces_of(0, hits), walked=True)
        return -1, Found(0, [], walked=True)

    def _whole(self, keys: Keys, count: int) -> Found | None:
        """The answer if all keys are hits of one chain, found without looking each up."""
        index = self._index
        if not (index.chained and count and keys.width == index.width):
            return None
        block = index.lookup(keys[count - 1])
        if block is None or not self.is_hit(block):
            return None
        pieces = self._verify(keys, count, block)
        if pieces is None:
            return None
        found = self._until_hole(pieces)
        return found if found.matched == count else None

    def pieces_of(self, first: int, blocks: list[int]) -> list[Piece]:
        """Consecutive ids of one run, put together; in a chainless index, consecutive ids."""
        pieces: list[Piece] = []
        if not blocks:
            return pieces
        index = self._index
        run, chained = index.run, index.chained
        position, low = first, blocks[0]
        previous = low
        for offset, block in enumerate(blocks):
            if offset and (block != previous + 1 or (chained and run[block] != run[previous])):
                pieces.append((position, low, previous + 1))
                position, low = first + offset, block
            previous = block
        pieces.append((position, low, previous + 1))
        return pieces

    # access

    def touch(self, pieces: list[Piece], hits: int) -> None:
        """One access to every block of the pieces and what is above them, tail first."""
        if not pieces:
            return
        index = self._index
        accessed, ticks, counts = index.accessed, index.ticks, index.hits
        total = sum([high - low for _, low, high in pieces])
        index.clock += total
        tick = index.clock
        if not index.chained:
            stamp = self._holdings.stamp(self._now_ms, total)
            for _, low, high in reversed(pieces):
                for block in range(high - 1, low - 1, -1):
                    accessed[block] = stamp
                    ticks[block] = tick
                    counts[block] += hits
                    stamp += 1
            return
        stamp = self._holdings.stamp(self._now_ms)
        last = pieces[-1][2] - 1
        if len(pieces) == 1:
            index.touch_path(last, stamp, hits)
            return
        run, parent = index.run, index.parent
        left: dict[int, int] = {}  # run -> where this access leaves it
        for _, _, high in reversed(pieces):
            block = high - 1
            while block >= 0:
                start = run[block]
                leave = left.get(start, -1)
                if leave >= block:
                    break
                left[start] = block
                accessed[block] = stamp
                ticks[block] = tick
                counts[block] += hits
                if leave >= 0:
                    counts[leave] -= hits
                    break
                block = parent[start]

    # where they lie

    def spans(self, pieces: list[Piece]) -> list[Span]:
        """The pieces as spans; DETAILED blocks one by one."""
        index = self._index
        state = index.state
        spans: list[Span] = []
        for position, low, high in pieces:
            states = state[low:high]
            offset = 0
            while offset < high - low:
                first = states[offset]
                end = offset + 1
                if first < SERVING:
                    self._add_copies(spans, position + offset, low + offset)
                else:
                    same = len(states) - offset - len(states[offset:].lstrip(bytes((first,))))
                    end = offset + same
                    self._add_plain(spans, position + offset, low + offset, low + end)
                offset = end
        return spans

    def _add_plain(self, spans: list[Span], position: int, low: int, high: int) -> None:
        """Plain blocks on one storage: one span for each stretch of slots of one generation."""
        index = self._index
        generation = index.generation
        while low < high:
            first = generation[low]
            end = high
            if not index.chained:
                end = self._linear_end(low, high)
            elif generation[high - 1] != first:
                # a run grows at its end only, and generations with it
                end = low + 1
                while generation[end] == first:
                    end += 1
            spans.append(
                Span(
                    position,
                    end - low,
                    index.state[low] - SERVING,
                    index.shape,
                    index.place_of(low),
                    first,
                    bytes(index.sums[low * index.sum_bytes : end * index.sum_bytes]),
                    index.instance.all_specs,
                )
            )
            position += end - low
            low = end

    def _linear_end(self, low: int, high: int) -> int:
        place, generation = self._index.place, self._index.generation
        end = low + 1
        while (
            end < high and place[end] == place[end - 1] + 1 and generation[end] == generation[low]
        ):
            end += 1
        return end

    def _add_copies(self, spans: list[Span], position: int, block: int) -> None:
        spans.extend(
            Span(
                position,
                1,
                copy.storage,
                copy.shape,
                copy.place,
                copy.generation,
                copy.sums,
                copy.specs,
            )
            for copy in self.copies(block)
        )

    def copies(self, block: int) -> list[Copy]:
        """The copies to answer for a hit: the fastest, or as many as hold the asked specs."""
        index, holdings = self._index, self._holdings
        if index.state[block] == ABSENT:
            return []
        if index.state[block] >= SERVING:
            return [plain_copy(index, block)]
        usable = [
            copy
            for copy in index.details[block].copies
            if copy.session is None and holdings.is_available(copy.storage)
        ]
        usable.sort(key=lambda copy: (holdings.storage(copy.storage).tier, -copy.specs.bit_count()))
        if not self._specs:
            return usable[:1]
        missing = self._specs
        needed: list[Copy] = []
        for copy in usable:
            if copy.specs & missing:
                needed.append(copy)
                missing &= ~copy.specs
        return needed
