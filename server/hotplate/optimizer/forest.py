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

    # what a request does

    def matched(self, blocks: list[int]) -> tuple[int, int]:
        """How many leading blocks are there, and the stem of the last of them."""
        where, end = self._where, self._end
        low, high, found = 0, len(blocks), -1
        while low < high:
            middle = (low + high) >> 1
            stem = where[blocks[middle]]
            if stem >= 0 and middle < end[stem]:
                low, found = middle + 1, stem
            else:
                high = middle
        return low, found

    def touch(self, stem: int, depth: int) -> None:
        """A request found the block at a depth of a stem, and all above it."""
        stamp, tick = self.stamp, self.clock
        base, end, above = self._base, self._end, self._above
        while stem >= 0:
            if depth == end[stem] - 1:
                self.accessed[stem] = stamp
                self.ticks[stem] = tick
                self.hits[stem] += 1
            else:
                marks = self._marks[stem]
                if marks is None:
                    self._marks[stem] = {depth: (stamp, tick, 1)}
                else:
                    old = marks.get(depth)
                    marks[depth] = (stamp, tick, old[2] + 1 if old is not None else 1)
            depth = base[stem] - 1
            stem = above[stem]

    def store(self, blocks: list[int], depths: range, above: int, room: int) -> None:
        """Store the blocks of a chain at some depths, behind a stem.

        All blocks but `room` are evicted first.
        """
        start = depths.start
        if above >= 0:
            self._fork(above, start - 1)
        if self.blocks > room:
            self.queues.begin(self.stamp - 1)
            self._evict(self.blocks - room)
        ghosts = self.queues.policy.ghosts
        known = 0
        if ghosts is not None and (flags := ghosts.take(blocks[start : depths.stop])):
            known = flags[0]
            if flags.count(known) != len(flags):
                for number in range(1, len(flags)):
                    if flags[number] != known:
                        depth = depths.start + number
                        above = self._grow(blocks, range(start, depth), above, known)
                        self._fork(above, depth - 1)
                        start, known = depth, flags[number]
        self.queues.push(self._grow(blocks, range(start, depths.stop), above, known))

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

    def _grow(self, names: list[int], depths: range, above: int, known: int) -> int:
        """A new stem, and its number."""
        stem = self._stems
        self._stems += 1
        if stem == len(self._end):
            self._make_columns()
        self.accessed[stem] = self.created[stem] = self.stamp
        self.ticks[stem] = self.clock
        self._above[stem] = above
        self._base[stem] = depths.start
        self._end[stem] = depths.stop
        self._names[stem] = names
        self._queue[stem] = _QUEUE
        where = self._where
        for block in names[depths.start : depths.stop]:
            where[block] = stem
        count = len(depths)
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
        queues = self.queues
        policy, next_stem = queues.policy, queues.victim
        ends, bases, forks, marks = self._end, self._base, self._forks, self._marks
        while missing > 0:
            stem = next_stem(PRIORITY, None)
            end, low = ends[stem], bases[stem]
            marked, forked = marks[stem], forks[stem]
            # the last blocks that are alike to every policy go one after the other
            if self._alone[stem] or policy.counts:
                low = end - 1
            if marked:
                low = max(low, max(marked) + 1)
            if forked:
                low = max(low, max(forked) + 1)
            count = end - low
            if count > missing:
                low = end - missing
                count = missing
            missing -= count
            self.blocks -= count
            if policy.ghosts is not None:
                policy.evicted(self._names[stem][low:end][::-1], stem)
            alone = self._alone[stem]
            if self.proven[stem]:
                self.proven_blocks -= count
                self.proven[stem] = self._known[stem]
                self._alone[stem] = 0
            ends[stem] = low
            if low == bases[stem]:
                self._queue[stem] = 0
                self._names[stem] = _NONE
                if low:
                    self._unfork(self._above[stem], low - 1)
                continue
            if marked or forked:
                self._settle_leaf(stem, low - 1)
            if alone:  # its new last block is another, in another lane
                queues.requeue(stem)

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
