"""The blocks of a replay: what a policy sees of a cache's index, and nothing of its bytes.

A *stem* is a stretch of blocks that were stored together, each the parent of the next; it shrinks
at its end only. Policies and queues (hotplate.kvc.policy) see the stem's number where they see a
block's id in the server: it stands for the stem's last block, the only one that may be evicted.
Blocks above it are touched by a *mark* where a path leaves the stem, as in the server's index.

    stem   base ............ fork ........ mark ....... end - 1
           depth of its      another       a request    the leaf: its values stand in
           first block       stem begins   ended here   the columns

Depths count from the root of the chain. A block stands at one depth only, so `_where[block]` and
the stem's end say whether it is there: evicting a stretch writes one number.
"""

from collections.abc import Sequence
from typing import Final

from hotplate.kvc.policy import build_policy
from hotplate.kvc.policy.base import PRIORITY_SHIFT
from hotplate.kvc.policy.queues import LeafQueues

PRIORITY: Final = 50
_QUEUE: Final = PRIORITY << PRIORITY_SHIFT | 1
_NEVER: Final = (1 << 63) - 1
_GROWTH: Final = 4096  # stems
_NONE: Final[list[int]] = []


class _Endless(Sequence[int]):
    """The expiry of every block: never."""

    def __getitem__(self, index: int) -> int:  # type: ignore[override]
        return _NEVER

    def __len__(self) -> int:
        return 0


class Stems:
    """The forest of one replay, with the queues of one policy."""

    __slots__ = (
        "_above",
        "_alone",
        "_base",
        "_end",
        "_forks",
        "_known",
        "_marks",
        "_names",
        "_queue",
        "_stems",
        "_where",
        "accessed",
        "blocks",
        "clock",
        "created",
        "expires",
        "hits",
        "leaf_hits",
        "proven",
        "proven_blocks",
        "queue_of",
        "queued",
        "queues",
        "stamp",
        "ticks",
    )

    def __init__(self, policy: str, distinct: int) -> None:
        """For blocks 0..distinct - 1."""
        self.blocks = 0
        self.clock = 0
        self.stamp = 0
        self.proven_blocks = 0
        self._where = [-1] * distinct  # by block: the stem it was stored in last
        self._stems = 0
        # the columns that policies see, by stem: of its last block
        self.accessed: list[int] = []
        self.ticks: list[int] = []
        self.created: list[int] = []
        self.expires: Sequence[int] = _Endless()
        self.hits: list[int] = []
        self.proven: list[int] = []
        self.queued: list[int] = []
        self.leaf_hits = self.hits.__getitem__
        self._queue: list[int] = []  # _QUEUE, or 0 where others grow from its last block
        self.queue_of = self._queue.__getitem__
        # by stem
        self._above: list[int] = []  # the stem it grows from, -1: none
        self._base: list[int] = []
        self._end: list[int] = []
        self._names: list[list[int]] = []  # all blocks of the chain, by depth
        self._known: list[int] = []  # `proven` of all its blocks, when they were stored
        self._alone: list[int] = []  # 1: its last block is proven, those above it are not
        self._marks: list[dict[int, tuple[int, int, int]] | None] = []  # depth -> stamp, tick, hits
        self._forks: list[dict[int, int] | None] = []  # depth -> stems that grow from there
        self.queues = LeafQueues(self, build_policy(policy, self))

    # what requests do

    def replay(self, requests: Sequence[list[int]], capacity: int) -> list[int]:
        """How many leading blocks each request found, in a cache of `capacity` blocks.

        A request is a lookup and a write of the rest, as GETLOC, STARTWRITE and FINISH do it: what
        was found is used first, then room is made, then the rest is stored, as much as fits.
        """
        where, ends, bases, above = self._where, self._end, self._base, self._above
        accessed, ticks, hits, marks = self.accessed, self.ticks, self.hits, self._marks
        found: list[int] = []
        for blocks in requests:
            low, high, last = 0, len(blocks), -1
            stored = high
            if stored > capacity:
                stored = capacity
            middle = 0
            while middle < high:  # most find little: look near the root first
                stem = where[blocks[middle]]
                if stem < 0 or middle >= ends[stem]:
                    high = middle
                    break
                low, last = middle + 1, stem
                middle += low
            while low < high:
                middle = (low + high) >> 1
                stem = where[blocks[middle]]
                if stem >= 0 and middle < ends[stem]:
                    low, last = middle + 1, stem
                else:
                    high = middle
            found.append(low)
            stamp = self.stamp = self.stamp + 2  # one for the lookup, whose place its write takes
            tick = self.clock = self.clock + max(low, stored)
            depth, stem = low - 1, last
            while stem >= 0:
                if depth == ends[stem] - 1:
                    accessed[stem] = stamp
                    ticks[stem] = tick
                    hits[stem] += 1
                elif (marked := marks[stem]) is None:
                    marks[stem] = {depth: (stamp, tick, 1)}
                else:
                    old = marked.get(depth)
                    marked[depth] = (stamp, tick, 1 if old is None else old[2] + 1)
                depth = bases[stem] - 1
                stem = above[stem]
            if low < stored:
                if last >= 0:
                    self._fork(last, low - 1)
                if self.blocks + stored - low > capacity:
                    self.queues.begin(stamp - 1)
                    self._evict(self.blocks + stored - low - capacity)
                self._store(blocks, low, stored, last)
        return found

    def _store(self, blocks: list[int], start: int, stop: int, above: int) -> None:
        """Store the blocks of a chain at depths start..stop-1, behind a stem that was forked."""
        ghosts = self.queues.policy.ghosts
        known = 0
        if ghosts is not None and (flags := ghosts.take(blocks[start:stop])):
            known, first = flags[0], start
            for number in range(1, len(flags)):
                if flags[number] != known:
                    depth = first + number
                    above = self._grow(blocks, start, depth, above, known)
                    self._fork(above, depth - 1)
                    start, known = depth, flags[number]
        self.queues.push(self._grow(blocks, start, stop, above, known))

    def _fork(self, stem: int, depth: int) -> None:
        """Another stem grows from there."""
        if depth == self._end[stem] - 1:
            self._queue[stem] = 0
        forks = self._forks[stem]
        if forks is None:
            self._forks[stem] = {depth: 1}
        else:
            forks[depth] = forks.get(depth, 0) + 1

    def _unfork(self, stem: int, depth: int) -> None:
        """A stem that grew from there is gone."""
        forks = self._forks[stem]
        assert forks is not None
        forks[depth] -= 1
        if not forks[depth]:
            del forks[depth]
            if depth == self._end[stem] - 1:
                self._queue[stem] = _QUEUE
                self.queues.push(stem)

    def _grow(self, names: list[int], start: int, stop: int, above: int, known: int) -> int:
        """A new stem, and its number."""
        stem = self._stems
        self._stems += 1
        if stem == len(self._end):
            self._make_columns()
        self.accessed[stem] = self.created[stem] = self.stamp
        self.ticks[stem] = self.clock
        self._above[stem] = above
        self._base[stem] = start
        self._end[stem] = stop
        self._names[stem] = names
        self._queue[stem] = _QUEUE
        where, count = self._where, stop - start
        first, last = names[start], names[stop - 1]
        if last - first == count - 1:  # numbers grow along a chain, so these are consecutive
            where[first : last + 1] = [stem] * count
        else:
            for block in names[start:stop]:
                where[block] = stem
        self.blocks += count
        if known:
            self.proven[stem] = self._known[stem] = known
            self.proven_blocks += count
        return stem

    def _make_columns(self) -> None:
        """Room for more stems."""
        nothing = [0] * _GROWTH
        for column in (self.accessed, self.ticks, self.created, self.hits, self.proven):
            column += nothing
        for column in (
            self.queued,
            self._queue,
            self._above,
            self._base,
            self._end,
            self._known,
            self._alone,
        ):
            column += nothing
        self._names += [_NONE] * _GROWTH
        self._marks += [None] * _GROWTH
        self._forks += [None] * _GROWTH

    # eviction

    def _evict(self, missing: int) -> None:
        """At least one stem must be left that may go."""
        policy, next_stem = self.queues.policy, self.queues.victim
        counts, remembers, alone = policy.counts, policy.ghosts is not None, self._alone
        ends, bases, forks, marks = self._end, self._base, self._forks, self._marks
        proven, blocks = self.proven, self.blocks
        while missing > 0:
            stem = next_stem(PRIORITY, None)
            end, base = ends[stem], bases[stem]
            marked, forked, single = marks[stem], forks[stem], alone[stem]
            # the last blocks that are alike to every policy go one after the other
            low = end - 1 if single else base
            if counts:
                low = max(low, end - policy.in_a_row(stem))
            if marked and (lowest := max(marked) + 1) > low:
                low = lowest
            if forked and (lowest := max(forked) + 1) > low:
                low = lowest
            count = end - low
            if count > missing:
                count = missing
                low = end - count
            missing -= count
            blocks -= count
            self.blocks = blocks
            if remembers:
                policy.evicted(self._names[stem][end - 1 : low - 1 if low else None : -1], stem)
            if proven[stem]:
                self.proven_blocks -= count
                proven[stem] = self._known[stem]
                alone[stem] = 0
            ends[stem] = low
            if low == base:
                self._queue[stem] = 0
                self._names[stem] = _NONE
                if low:
                    self._unfork(self._above[stem], low - 1)
                continue
            if marked or forked:
                self._settle_leaf(stem, low - 1)
            if single:  # its new last block is another, in another lane
                self.queues.requeue(stem)

    def _settle_leaf(self, stem: int, depth: int) -> None:
        """The block at a depth is a stem's last now: it may have been marked, or be a fork."""
        marks, forks = self._marks[stem], self._forks[stem]
        mark = marks.pop(depth, None) if marks else None
        if mark is not None:
            self.hits[stem] += mark[2]
            if mark[0] > self.accessed[stem]:
                self.accessed[stem], self.ticks[stem] = mark[:2]
        if forks and depth in forks:
            self._queue[stem] = 0

    # what policies and queues ask

    def prove(self, block: int) -> None:
        """A stem's last block is proven from now on."""
        if not self.proven[block]:
            self.proven[block] = 1
            self.proven_blocks += 1
            self._alone[block] = 1
