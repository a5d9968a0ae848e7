"""The chunks of a sorted set, held against a dict that is sorted each time."""

from bisect import bisect_left
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotplate.keyspace import sorted_set
from hotplate.keyspace.sharded import SPREAD_FROM, ShardedDict
from hotplate.keyspace.sorted_set import SortedSet
from hotplate.keyspace.sorted_set_range import LexRange

scores = st.sampled_from([float("-inf"), -2.5, -0.0, 0.0, 1.0, 1.0, 2.0, 3.0, 1e300, float("inf")])
members = st.integers(0, 60).map(lambda number: b"%d" % number)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), members, scores),
        st.tuples(st.just("put"), members, scores),
        st.tuples(st.just("put"), members, scores),
        st.tuples(st.just("remove"), members),
        st.tuples(st.just("ranks"), st.integers(0, 40), st.integers(0, 12)),
        st.tuples(st.just("scores"), scores, scores, st.booleans(), st.booleans()),
    ),
    max_size=120,
)
SMALL = patch.multiple(
    sorted_set, CHUNK_MAX=6, _CHUNK_MIN=2, _CHUNK_FILL=4, _TALLY_SHIFT=1, _TALLY_CHUNKS=2
)
SPREAD = patch.object(sorted_set, "SPREAD_FROM", 20)


class Model:
    """The same by sorting everything each time."""

    def __init__(self) -> None:
        self.scores: dict[bytes, float] = {}

    def pairs(self) -> list[tuple[float, bytes]]:
        return sorted((score, member) for member, score in self.scores.items())

    def put(self, member: bytes, score: float) -> None:
        self.scores[member] = score


def put(made: SortedSet, member: bytes, score: float) -> None:
    """Add or move."""
    before = made.scores.get(member)
    if before is None:
        made.insert(member, score)
    elif before != score:
        made.move(member, before, score)


def check(made: SortedSet, model: Model) -> None:
    """Order, chunks, bounds and counts are what they should be."""
    pairs = model.pairs()
    assert [(score, member) for member, score in made.items()] == pairs
    assert len(made) == len(pairs)
    assert dict(made.scores.items()) == model.scores
    chunks = made.score_chunks
    assert [len(chunk) for chunk in chunks] == [len(chunk) for chunk in made.member_chunks]
    assert len(made.bound_scores) == len(made.bound_members) == len(chunks) - 1
    assert all(chunks) or not pairs
    assert all(len(chunk) <= sorted_set.CHUNK_MAX for chunk in chunks)
    for at, bound in enumerate(zip(made.bound_scores, made.bound_members, strict=True)):
        assert (chunks[at][-1], made.member_chunks[at][-1]) < bound
        assert bound <= (chunks[at + 1][0], made.member_chunks[at + 1][0])
    for rank, (score, member) in enumerate(pairs):
        assert made.rank(member) == rank
        assert made.rank(member, reverse=True) == len(pairs) - 1 - rank
        assert made.at_rank(rank) == (member, score)


def apply(made: SortedSet, model: Model, step: tuple[Any, ...]) -> None:
    """One step on both."""
    pairs = model.pairs()
    match step:
        case ("put", member, score):
            put(made, member, score)
            if model.scores.get(member) != score:
                model.put(member, score)
        case ("remove", member):
            assert made.remove(member) is (model.scores.pop(member, None) is not None)
        case ("ranks", start, count):
            start = min(start, len(pairs))
            stop = min(start + count, len(pairs))
            assert made.remove_span(made.rank_span(start, stop)) == stop - start
            for _, member in pairs[start:stop]:
                del model.scores[member]
        case ("scores", low, high, low_open, high_open):
            span = made.score_span((low, high, low_open, high_open))
            if not (low_open or high_open):
                assert made.members_between(low, high) == made.members_of(span)
            found = [
                (score, member)
                for score, member in pairs
                if (score > low if low_open else score >= low)
                and (score < high if high_open else score <= high)
            ]
            assert made.count(span) == len(found)
            assert made.members_of(span) == [member for _, member in found]
            assert made.scores_of(span) == [score for score, _ in found]


@settings(max_examples=200, deadline=None)
@given(steps, st.booleans())
def test_it_holds_what_a_sorted_dict_would_hold(sent: list[tuple[Any, ...]], spread: bool) -> None:
    made, model = SortedSet(), Model()
    with SMALL, patch.object(sorted_set, "SPREAD_FROM", 20 if spread else 1000):
        for number, step in enumerate(sent):
            apply(made, model, step)
            if number % 5 == 0:
                check(made, model)
        check(made, model)
        check(made.copy(), model)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(members, scores, max_size=40),
    scores,
    scores,
    st.integers(-1, 12),
    st.integers(-1, 12),
    st.booleans(),
)
def test_a_limit_cuts_a_span_from_either_end(
    table: dict[bytes, float], low: float, high: float, offset: int, count: int, reverse: bool
) -> None:
    with SMALL:
        made = SortedSet.of(table.items())
        span = made.score_span((low, high, False, False))
        everything = made.members_of(span)[:: -1 if reverse else 1]
        kept = everything[offset:] if offset >= 0 else []
        kept = kept if count < 0 else kept[:count]
        found = made.members_of(made.cut(span, offset, count, reverse=reverse))
        assert found[:: -1 if reverse else 1] == kept


@settings(max_examples=150, deadline=None)
@given(
    st.sets(members, max_size=40),
    st.one_of(st.none(), members),
    st.one_of(st.none(), members),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_a_range_of_bytes_is_found_in_both_encodings(
    names: set[bytes], low: bytes | None, high: bytes | None, switches: tuple[bool, bool, bool]
) -> None:
    low_open, high_open, packed = switches
    with SMALL:
        made = SortedSet.of((name, 1.0) for name in names)
        made.packed = packed
        wanted = LexRange(low, high, low_open, high_open)
        expected = [
            name
            for name in sorted(names)
            if (low is None or (name > low if low_open else name >= low))
            and (high is None or (name < high if high_open else name <= high))
        ]
        for reverse in (False, True):
            span = made.lex_span(wanted, reverse=reverse)
            assert made.members_of(span) == expected
            assert made.count(span) == len(expected)


def test_a_range_of_bytes_over_different_scores_never_fails() -> None:
    with SMALL:
        made = SortedSet.of((b"%d" % (at * 7 % 50), float(at)) for at in range(50))
        made.packed = False
        for low in (b"1", b"25", b"4"):
            for high in (b"0", b"3", b"49"):
                span = made.lex_span(LexRange(low, high))
                assert len(made.members_of(span)) == made.count(span)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(members, scores, max_size=50), st.integers(1, 9))
def test_shedding_forgets_all_in_slices(table: dict[bytes, float], count: int) -> None:
    with SMALL, SPREAD:
        made = SortedSet.of(table.items())
        for _ in range(len(table) // count + 2):
            made.shed(count)
        assert len(made) == 0
        assert made.score_chunks == []


def test_many_members_are_spread_over_many_tables() -> None:
    made = SortedSet()
    for number in range(SPREAD_FROM + 10):
        made.insert(b"%d" % number, float(number % 100))
    assert isinstance(made.scores, ShardedDict)
    assert made.remove(b"5")
    assert made.rank(b"100") == 0 + bisect_left(
        sorted(b"%d" % n for n in range(0, 8200, 100)), b"100"
    )
    copy = made.copy()
    copy.insert(b"new", 1.0)
    assert b"new" not in made.scores
    assert len(copy) == len(made) + 1
    again = SortedSet.of(made.items())
    assert isinstance(again.scores, ShardedDict)
    assert list(again.items()) == list(made.items())


def test_a_set_stored_whole_gets_the_encoding_of_its_size() -> None:
    made = SortedSet.of([(b"a", 1.0), (b"long" * 20, 2.0)])
    for entries_max, bytes_max, packed in ((2, 80, True), (1, 80, False), (2, 79, False)):
        made.pack(entries_max, bytes_max)
        assert made.packed is packed
        assert made.encoding() == (b"listpack" if packed else b"skiplist")


@pytest.mark.parametrize("count", [1, 100, 20_000])
def test_the_memory_is_told_from_a_few_members(count: int) -> None:
    made = SortedSet.of((b"%d" % at, float(at)) for at in range(count))
    everything = made.sample_bytes(0)
    assert everything > count * 80
    assert abs(made.sample_bytes(5) - everything) < everything * 0.1 + 100


def test_an_empty_set_has_a_size_too() -> None:
    assert SortedSet().sample_bytes(5) > 0
