"""A sorted set: members with scores, in the order of score, then of the member's bytes.

    scores          member -> score: one dict, or many where there are thousands of members
    score_chunks    [[1.0, 1.0, 2.5], [2.5, 7.0], ...]     the order, cut into chunks:
    member_chunks   [[b"a", b"c", b"b"], [b"x", b"d"], ...]     two lists side by side for each
    bound_scores    [                2.5, ...]             bound i is between chunks i and i + 1,
    bound_members   [                b"c", ...]            above the one, not above the other
    tally           how many members are in each 64 chunks, counted when a rank is asked for

A place is found by bisecting the bounds, then one chunk: O(log n), in C. Scores of a chunk lie in
an array: of a list each float that a bisection looks at would be elsewhere in memory. What is
inserted or removed moves at most a chunk. Bounds need not be members: they change only when a chunk
is split or joined. No chunk is empty, except the one of a set of no members; what a caller empties
it throws away.

Knows no key, client or reply. Scores are never NaN; callers see to it. -0.0 and 0.0 are equal.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate, chain
from sys import getsizeof
from typing import ClassVar, Final

from hotplate.keyspace.sharded import (
    SHARD_MASK,
    SHARD_SHIFT,
    SPREAD_FROM,
    ShardedDict,
    Table,
    shed_entries,
)
from hotplate.keyspace.sorted_set_range import LexRange, ScoreRange, Span

CHUNK_MAX: Final = 512
_CHUNK_MIN: Final = 64  # below, a chunk is joined with its neighbour
_CHUNK_FILL: Final = 384  # of chunks made at once: room to grow
_TALLY_SHIFT: Final = 6
_TALLY_CHUNKS: Final = 1 << _TALLY_SHIFT
_FLOAT_BYTES: Final = 24
_POINTER_BYTES: Final = 8
_COLLECTED_BYTES: Final = 16  # what Python's collector puts in front of an object
_LIST_BYTES: Final = getsizeof([]) + _COLLECTED_BYTES
_OBJECTS_BYTES: Final = 72 + 2 * _COLLECTED_BYTES + 5 * _LIST_BYTES  # the set, its table, its lists


class SortedSet:
    """Members and scores. `scores` may be read by anyone; only methods change it."""

    __slots__ = (
        "bound_members",
        "bound_scores",
        "member_chunks",
        "packed",
        "score_chunks",
        "scores",
        "tally",
    )

    type_name: ClassVar[bytes] = b"zset"

    def __init__(self) -> None:
        self.scores: Table[float] = {}
        self.score_chunks: list[array[float]] = [array("d")]
        self.member_chunks: list[list[bytes]] = [[]]
        self.bound_scores: list[float] = []
        self.bound_members: list[bytes] = []
        self.tally: list[int] = []
        self.packed = True  # Redis would keep it in a listpack; never true again

    @classmethod
    def of(cls, pairs: Iterable[tuple[bytes, float]]) -> "SortedSet":
        """A set of different members, given in any order."""
        ordered = sorted((score, member) for member, score in pairs)
        return cls.of_ordered([member for _, member in ordered], [score for score, _ in ordered])

    @classmethod
    def of_ordered(cls, members: list[bytes], scores: list[float]) -> "SortedSet":
        """A set of different members that stand in order already."""
        made = cls()
        table = dict(zip(members, scores, strict=True))
        made.scores = table if len(table) < SPREAD_FROM else ShardedDict(table)
        if len(members) > CHUNK_MAX:
            starts = range(0, len(members), _CHUNK_FILL)
            made.score_chunks = [array("d", scores[at : at + _CHUNK_FILL]) for at in starts]
            made.member_chunks = [members[at : at + _CHUNK_FILL] for at in starts]
            made.bound_scores = [chunk[0] for chunk in made.score_chunks[1:]]
            made.bound_members = [chunk[0] for chunk in made.member_chunks[1:]]
        else:
            made.score_chunks = [array("d", scores)]
            made.member_chunks = [members]
        return made

    def __len__(self) -> int:
        return len(self.scores)

    def encoding(self) -> bytes:
        """Small sets are told as `listpack`, others as `skiplist`, as in Redis."""
        return b"listpack" if self.packed else b"skiplist"

    def pack(self, entries_max: int, value_bytes_max: int) -> None:
        """Take the encoding that Redis gives a set that is stored whole."""
        longest = max(map(len, self.scores), default=0)
        self.packed = len(self.scores) <= entries_max and longest <= value_bytes_max

    def items(self) -> Iterator[tuple[bytes, float]]:
        """All members with their scores, in order."""
        return zip(
            chain.from_iterable(self.member_chunks),
            chain.from_iterable(self.score_chunks),
            strict=True,
        )

    # -- one member ------------------------------------------------------------------------------

    def insert(self, member: bytes, score: float) -> None:
        """Add a member that is not there."""
        table = self.scores
        table[member] = score
        if type(table) is dict and len(table) >= SPREAD_FROM:
            self.scores = ShardedDict(table)
        self._place(member, score)

    def _place(self, member: bytes, score: float) -> None:
        bounds = self.bound_scores
        at = 0
        if bounds:
            at = bisect_left(bounds, score)
            if at < len(bounds) and bounds[at] == score:
                end = bisect_right(bounds, score, at)
                at = bisect_right(self.bound_members, member, at, end)
        scores = self.score_chunks[at]
        index = bisect_left(scores, score)
        if index < len(scores) and scores[index] == score:
            end = bisect_right(scores, score, index)
            index = bisect_left(self.member_chunks[at], member, index, end)
        scores.insert(index, score)
        self.member_chunks[at].insert(index, member)
        if len(scores) > CHUNK_MAX:
            self._split(at)
        elif self.tally:
            self.tally[at >> _TALLY_SHIFT] += 1

    def move(self, member: bytes, before: float, score: float) -> None:
        """Give a member that is there another score."""
        table = self.scores
        if isinstance(table, ShardedDict):  # no entry is new, so the shard alone need know
            table.shards[hash(member) >> SHARD_SHIFT & SHARD_MASK][member] = score
        else:
            table[member] = score
        at, index = self._locate(member, before)
        scores = self.score_chunks[at]
        if 0 < index < len(scores) - 1 and scores[index - 1] < score < scores[index + 1]:
            scores[index] = score  # it stays where it is
            return
        if len(scores) > _CHUNK_MIN:
            del scores[index]
            del self.member_chunks[at][index]
            if self.tally:
                self.tally[at >> _TALLY_SHIFT] -= 1
        else:
            self._displace(at, index)
        self._place(member, score)

    def remove(self, member: bytes) -> bool:
        """Take a member out; whether it was there."""
        score = self.scores.pop(member, None)
        if score is None:
            return False
        self._displace(*self._locate(member, score))
        return True

    def _locate(self, member: bytes, score: float) -> tuple[int, int]:
        """Chunk and index of a member that is there."""
        bounds = self.bound_scores
        at = 0
        if bounds:
            at = bisect_left(bounds, score)
            if at < len(bounds) and bounds[at] == score:
                end = bisect_right(bounds, score, at)
                at = bisect_right(self.bound_members, member, at, end)
        scores = self.score_chunks[at]
        members = self.member_chunks[at]
        index = bisect_left(scores, score)
        if members[index] != member:
            end = bisect_right(scores, score, index)
            index = bisect_left(members, member, index, end)
        return at, index

    def _displace(self, at: int, index: int) -> None:
        scores = self.score_chunks[at]
        del scores[index]
        del self.member_chunks[at][index]
        if len(scores) < _CHUNK_MIN and self.bound_scores:
            self._join(at)
        elif self.tally:
            self.tally[at >> _TALLY_SHIFT] -= 1

    def _split(self, at: int) -> None:
        scores, members = self.score_chunks[at], self.member_chunks[at]
        half = len(scores) // 2
        self.score_chunks.insert(at + 1, scores[half:])
        self.member_chunks.insert(at + 1, members[half:])
        self.bound_scores.insert(at, scores[half])
        self.bound_members.insert(at, members[half])
        del scores[half:]
        del members[half:]
        self.tally = []

    def _join(self, at: int) -> None:
        """Unite a small chunk with the one before it, or the first with the one behind it."""
        left = max(at - 1, 0)
        self.score_chunks[left] += self.score_chunks.pop(left + 1)
        self.member_chunks[left] += self.member_chunks.pop(left + 1)
        del self.bound_scores[left]
        del self.bound_members[left]
        self.tally = []
        if len(self.score_chunks[left]) > CHUNK_MAX:
            self._split(left)

    # -- ranks -----------------------------------------------------------------------------------

    def rank(self, member: bytes, *, reverse: bool = False) -> int | None:
        """How many members stand before it, from either end. None where it is not there."""
        score = self.scores.get(member)
        if score is None:
            return None
        rank = self._rank_at(*self._locate(member, score))
        return len(self.scores) - 1 - rank if reverse else rank

    def _rank_at(self, at: int, index: int) -> int:
        if not at:
            return index
        tally = self._tallied()
        block = at >> _TALLY_SHIFT
        within = self.score_chunks[block << _TALLY_SHIFT : at]
        return sum(tally[:block]) + sum(map(len, within)) + index

    def at_rank(self, rank: int) -> tuple[bytes, float]:
        """The member that `rank` others stand before, and its score."""
        at, index = self._at_rank(rank)
        if index == len(self.score_chunks[at]):
            at, index = at + 1, 0
        return self.member_chunks[at][index], self.score_chunks[at][index]

    def _tallied(self) -> list[int]:
        if not self.tally:
            chunks = self.score_chunks
            starts = range(0, len(chunks), _TALLY_CHUNKS)
            self.tally = [sum(map(len, chunks[at : at + _TALLY_CHUNKS])) for at in starts]
        return self.tally

    def _at_rank(self, rank: int) -> tuple[int, int]:
        """Chunk and index of the member that `rank` members stand before; or the end."""
        if rank <= len(self.score_chunks[0]):
            return 0, rank
        tally = self._tallied()
        ends = list(accumulate(tally))
        block = min(bisect_left(ends, rank), len(ends) - 1)
        rank -= ends[block] - tally[block]
        first = block << _TALLY_SHIFT
        within = self.score_chunks[first : first + _TALLY_CHUNKS]
        ends = list(accumulate(map(len, within)))
        at = bisect_left(ends, rank)
        return first + at, rank - (ends[at] - len(within[at]))

    # -- spans of neighbours ---------------------------------------------------------------------

    def rank_span(self, start: int, stop: int) -> Span:
        """From rank `start` up to, not including, `stop`; both within the set."""
        return (*self._at_rank(start), *self._at_rank(stop))

    def score_span(self, wanted: ScoreRange) -> Span:
        """The members whose scores are within a range."""
        low, high, low_open, high_open = wanted
        bounds = self.bound_scores
        if low > high or (low == high and (low_open or high_open)):
            return 0, 0, 0, 0
        if low_open:
            first = bisect_right(bounds, low) if bounds else 0
            start = bisect_right(self.score_chunks[first], low)
        else:
            first = bisect_left(bounds, low) if bounds else 0
            start = bisect_left(self.score_chunks[first], low)
        if high_open:
            last = bisect_left(bounds, high) if bounds else 0
            stop = bisect_left(self.score_chunks[last], high)
        else:
            last = bisect_right(bounds, high) if bounds else 0
            stop = bisect_right(self.score_chunks[last], high)
        return first, start, last, stop

    def members_between(self, low: float, high: float) -> list[bytes]:
        """The members whose scores are from `low` to `high`, in order."""
        bounds = self.bound_scores
        first = last = 0
        if bounds:
            first = bisect_left(bounds, low)
            last = bisect_right(bounds, high, first)
        scores = self.score_chunks[first]
        start = bisect_left(scores, low)
        if first == last:
            return self.member_chunks[first][start : bisect_right(scores, high, start)]
        stop = bisect_right(self.score_chunks[last], high)
        return self.members_of((first, start, last, stop))

    def lex_span(self, wanted: LexRange, *, reverse: bool = False) -> Span:
        """The members within a range, all scores being equal.

        Where they are not, the result means nothing; in a small set it is the one that Redis finds
        by stepping through a listpack.
        """
        if wanted.empty():
            return 0, 0, 0, 0
        if self.packed:
            return self._stepped_span(wanted, reverse=reverse)
        bounds = self.bound_members
        low, high = wanted.low, wanted.high
        if low is None:
            first, start = 0, 0
        else:
            bisect = bisect_right if wanted.low_open else bisect_left
            first = bisect(bounds, low)
            start = bisect(self.member_chunks[first], low)
        if high is None:
            last = len(bounds)
            stop = len(self.member_chunks[last])
        else:
            bisect = bisect_left if wanted.high_open else bisect_right
            last = bisect(bounds, high)
            stop = bisect(self.member_chunks[last], high)
        return (first, start, last, stop) if (first, start) <= (last, stop) else (0, 0, 0, 0)

    def _stepped_span(self, wanted: LexRange, *, reverse: bool) -> Span:
        members = list(chain.from_iterable(self.member_chunks))
        enough, within = wanted.reaches_low, wanted.reaches_high
        start = stop = 0
        if members and enough(members[-1]) and within(members[0]):
            if reverse:
                stop = max(at for at, member in enumerate(members, 1) if within(member))
                start = stop
                while start and enough(members[start - 1]):
                    start -= 1
            else:
                start = next(at for at, member in enumerate(members) if enough(member))
                stop = start
                while stop < len(members) and within(members[stop]):
                    stop += 1
        return self.rank_span(start, stop)

    def count(self, span: Span) -> int:
        """How many members a span has."""
        first, start, last, stop = span
        if first == last:
            return max(stop - start, 0)
        return max(self._rank_at(last, stop) - self._rank_at(first, start), 0)

    def cut(self, span: Span, offset: int, count: int, *, reverse: bool) -> Span:
        """At most `count` members of a span (negative: all) behind the first `offset`.

        In reverse, counted from its end. A negative offset leaves nothing.
        """
        size = self.count(span)
        taken = max(size - offset, 0) if offset >= 0 else 0
        if 0 <= count < taken:
            taken = count
        if not taken:
            return 0, 0, 0, 0
        first, start, last, stop = span
        if first == last:
            start = stop - offset - taken if reverse else start + offset
            return first, start, first, start + taken
        rank = self._rank_at(first, start)
        rank += size - offset - taken if reverse else offset
        return self.rank_span(rank, rank + taken)

    def members_of(self, span: Span) -> list[bytes]:
        """The members of a span, in order."""
        first, start, last, stop = span
        chunks = self.member_chunks
        if first == last:
            return chunks[first][start:stop]
        if first > last:
            return []
        found = chunks[first][start:]
        for chunk in chunks[first + 1 : last]:
            found += chunk
        found += chunks[last][:stop]
        return found

    def scores_of(self, span: Span) -> list[float]:
        """The scores of a span, in order."""
        first, start, last, stop = span
        chunks = self.score_chunks
        if first == last:
            return chunks[first][start:stop].tolist()
        if first > last:
            return []
        found = chunks[first][start:]
        for chunk in chunks[first + 1 : last]:
            found += chunk
        found += chunks[last][:stop]
        return found.tolist()

    def remove_span(self, span: Span) -> int:
        """Take out the members of a span; how many there were."""
        members = self.members_of(span)
        if not members:
            return 0
        table = self.scores
        for member in members:
            del table[member]
        first, start, last, stop = span
        if first == last:
            del self.score_chunks[first][start:stop]
            del self.member_chunks[first][start:stop]
        else:
            # the chunks between go, what is left of the last moves to the end of the first
            self.score_chunks[first][start:] = self.score_chunks[last][stop:]
            self.member_chunks[first][start:] = self.member_chunks[last][stop:]
            del self.score_chunks[first + 1 : last + 1]
            del self.member_chunks[first + 1 : last + 1]
            del self.bound_scores[first:last]
            del self.bound_members[first:last]
        self.tally = []
        size = len(self.score_chunks[first])
        if size > CHUNK_MAX:
            self._split(first)
        elif size < _CHUNK_MIN and self.bound_scores:
            self._join(first)
        return len(members)

    # -- as every collection ---------------------------------------------------------------------

    def copy(self) -> "SortedSet":
        """An equal set that shares nothing that can change."""
        other = SortedSet()
        other.scores = self.scores.copy()
        other.score_chunks = [chunk[:] for chunk in self.score_chunks]
        other.member_chunks = [chunk.copy() for chunk in self.member_chunks]
        other.bound_scores = self.bound_scores.copy()
        other.bound_members = self.bound_members.copy()
        other.packed = self.packed
        return other

    def shed(self, count: int) -> None:
        """Forget `count` members or a few more; afterwards only this and `len` make sense."""
        shed_entries(self.scores, count)
        while count > 0 and self.score_chunks:
            scores, members = self.score_chunks[-1], self.member_chunks[-1]
            dropped = min(count, len(scores))
            del scores[len(scores) - dropped :]
            del members[len(members) - dropped :]
            count -= max(dropped, 1)
            if not scores:
                self.score_chunks.pop()
                self.member_chunks.pop()

    def sample_bytes(self, samples: int) -> int:
        """The memory in use, members judged by at most `samples` of them (0: by every one)."""
        size = len(self.scores)
        table = self.scores
        tables = table.shards if isinstance(table, ShardedDict) else [table]
        total = _OBJECTS_BYTES + sum(map(getsizeof, tables))
        # chunks have room to grow: an eighth more than the pointers in them
        total += size * (2 * _POINTER_BYTES * 9 // 8 + _FLOAT_BYTES)
        total += len(self.score_chunks) * 2 * (_LIST_BYTES + _POINTER_BYTES)
        if not size:
            return total
        looked = bytes_seen = 0
        for member in chain.from_iterable(self.member_chunks):
            looked += 1
            bytes_seen += getsizeof(member)
            if looked == samples:
                break
        return total + bytes_seen * size // looked
