"""Sets beside Python's own, their encodings beside Redis' rules, and chance beside its laws."""

import random
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hotplate.keyspace.set import HASHTABLE, INTSET, LISTPACK, Set
from hotplate.keyspace.sharded import SPREAD_FROM, ShardedDict
from hotplate.keyspace.urn import Urn


@dataclass
class Limits:
    set_max_intset_entries: int = 512
    set_max_listpack_entries: int = 128
    set_max_listpack_value: int = 64


LIMITS = Limits()


def build(members: list[bytes], limits: Limits = LIMITS) -> Set:
    made = Set()
    if members:
        made.expect(members[0], 1, limits)
    for member in members:
        made.add(member, limits)
    return made


def numbered(count: int) -> list[bytes]:
    return [b"m%d" % index for index in range(count)]


class SetBesidePython(RuleBasedStateMachine):
    """Every operation on both; some are large, so that tables spread and gather again."""

    @initialize(
        count=st.sampled_from([0, 3, 200, SPREAD_FROM - 2, SPREAD_FROM + 500]),
        seed=st.integers(0, 1000),
    )
    def start(self, count: int, seed: int) -> None:
        self.rng = random.Random(seed)
        self.naive = set(numbered(count))
        self.value = build(numbered(count))

    @rule(first=st.integers(0, 10_000), count=st.sampled_from([1, 3, 300]))
    def add(self, first: int, count: int) -> None:
        for index in range(first, first + count):
            member = b"m%d" % index
            assert self.value.add(member, LIMITS) is (member not in self.naive)
            self.naive.add(member)

    @rule(first=st.integers(0, 10_000), count=st.sampled_from([1, 300, 8000]))
    def discard(self, first: int, count: int) -> None:
        for index in range(first, first + count):
            member = b"m%d" % index
            assert self.value.discard(member) is (member in self.naive)
            self.naive.discard(member)

    @rule()
    def draw(self) -> None:
        if self.naive:
            assert self.value.draw(self.rng) in self.naive

    @rule(count=st.sampled_from([1, 50, 9000]))
    def take(self, count: int) -> None:
        for _ in range(min(count, len(self.naive))):
            member = self.value.take(self.rng)
            assert member in self.naive
            self.naive.discard(member)

    @rule(count=st.sampled_from([1, 100, 8000]))
    def take_many(self, count: int) -> None:
        taken = self.value.take_many(count, self.rng, LIMITS)
        assert len(taken) == len(set(taken)) == min(count, len(self.naive))
        assert self.naive.issuperset(taken)
        self.naive.difference_update(taken)

    @rule(count=st.sampled_from([1, 50, 5000]))
    def sample(self, count: int) -> None:
        found = self.value.sample(count, self.rng)
        assert len(found) == len(set(found)) == min(count, len(self.naive))
        assert self.naive.issuperset(found)

    @rule()
    def copy(self) -> None:
        original, self.value = self.value, self.value.copy()
        original.add(b"alien", LIMITS)
        original.shed(100_000)
        assert len(original) == 0

    @invariant()
    def holds_the_same(self) -> None:
        if hasattr(self, "naive"):
            assert len(self.value) == len(self.naive)
            assert set(self.value) == self.naive
            if isinstance(self.value.table, dict):
                assert len(self.value) <= SPREAD_FROM


TestSetBesidePython = SetBesidePython.TestCase
TestSetBesidePython.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


@pytest.mark.parametrize("count", [5, 300, SPREAD_FROM + 200])
@pytest.mark.parametrize("changes", [False, True])
def test_every_member_is_drawn_equally_often(count: int, changes: bool) -> None:
    rng = random.Random(7)
    value = build(numbered(count + 100))
    value.draw(rng)
    for member in numbered(count + 100)[count:]:
        value.discard(member)
    if changes:  # members that go and come back must not count twice
        for member in numbered(count)[::2]:
            value.discard(member)
            value.add(member, LIMITS)
    draws = 20 * count + 2000
    drawn = Counter(value.draw(rng) for _ in range(draws))
    assert set(drawn) <= set(numbered(count))
    expected = draws / count
    deviation = sum((drawn[member] - expected) ** 2 / expected for member in numbered(count))
    assert abs(deviation - count) < 5 * (2 * count) ** 0.5  # chi-squared


def test_which_member_is_taken_first_is_uniform_too() -> None:
    rng = random.Random(11)
    firsts = Counter(build(numbered(4)).take(rng) for _ in range(4000))
    assert all(abs(times - 1000) < 150 for times in firsts.values())
    assert len(firsts) == 4


def test_a_spread_set_that_is_nearly_empty_becomes_one_table_again() -> None:
    rng = random.Random(3)
    value = build(numbered(SPREAD_FROM + 1))
    assert isinstance(value.table, ShardedDict)
    while len(value) > 1:
        value.take(rng)
    assert isinstance(value.table, dict)
    assert value.encoding() == HASHTABLE


def test_an_urn_forgets_members_that_left_long_ago() -> None:
    rng = random.Random(3)
    value = build(numbered(1000))
    value.draw(rng)
    for member in numbered(990):
        value.discard(member)
    urn = value._urn
    assert isinstance(urn, Urn)
    assert len(urn._order) < 150
    assert {value.draw(rng) for _ in range(500)} == set(numbered(1000)[990:])


@pytest.mark.parametrize(
    ("members", "encoding"),
    [
        ([b"1", b"-5", b"9223372036854775807"], INTSET),
        ([b"1", b"a"], LISTPACK),
        ([b"a", b"1"], LISTPACK),
        ([b"01"], LISTPACK),
        ([b"9223372036854775808"], LISTPACK),
        ([b"a" * 64], LISTPACK),
        ([b"a" * 65], HASHTABLE),
        ([b"1", b"a" * 65], HASHTABLE),
        ([b"%d" % index for index in range(512)], INTSET),
        ([b"%d" % index for index in range(513)], HASHTABLE),
        ([b"%d" % index for index in range(127)] + [b"a"], LISTPACK),
        ([b"%d" % index for index in range(128)] + [b"a"], HASHTABLE),
        (numbered(128), LISTPACK),
        (numbered(129), HASHTABLE),
    ],
)
def test_what_is_added_decides_the_encoding(members: list[bytes], encoding: bytes) -> None:
    value = build(members)
    assert value.encoding() == encoding
    for member in members[1:]:
        value.discard(member)
    assert value.encoding() == encoding  # never back
    assert value.copy().encoding() == encoding


def test_numbers_too_long_for_a_listpack_skip_it() -> None:
    limits = Limits(set_max_listpack_value=3)
    assert build([b"123", b"a"], limits).encoding() == LISTPACK
    assert build([b"1234", b"a"], limits).encoding() == HASHTABLE


@pytest.mark.parametrize(
    ("first", "count", "encoding"),
    [
        (b"1", 512, INTSET),
        (b"1", 513, HASHTABLE),
        (b"a", 128, LISTPACK),
        (b"a", 129, HASHTABLE),
    ],
)
def test_how_many_are_announced_decides_too(first: bytes, count: int, encoding: bytes) -> None:
    value = Set()
    value.expect(first, count, LIMITS)
    assert value.encoding() == encoding
    for existing in ([b"1"], [b"a"]):
        value = build(existing)
        before = value.encoding()
        value.expect(first, 100, LIMITS)
        assert value.encoding() == before
        value.expect(first, 1000, LIMITS)
        assert value.encoding() == HASHTABLE


@pytest.mark.parametrize(
    ("members", "first", "encoding"),
    [
        ([b"1"], HASHTABLE, INTSET),
        ([b"1"], LISTPACK, INTSET),
        ([b"1", b"a"], INTSET, LISTPACK),
        ([b"a"], LISTPACK, LISTPACK),
        ([b"a"], HASHTABLE, HASHTABLE),
        ([b"a" * 65], INTSET, HASHTABLE),
        (numbered(129), INTSET, HASHTABLE),
        ([b"%d" % index for index in range(600)], INTSET, HASHTABLE),
    ],
)
def test_what_became_of_several_sets_has_the_encoding_it_grew_into(
    members: list[bytes], first: bytes, encoding: bytes
) -> None:
    value = Set()
    value.take_over(members, first, LIMITS)
    assert value.encoding() == encoding
    assert set(value) == set(members)


def test_a_large_outcome_is_spread() -> None:
    value = Set()
    value.take_over(numbered(SPREAD_FROM + 1), INTSET, LIMITS)
    assert isinstance(value.table, ShardedDict)
    assert len(value) == SPREAD_FROM + 1


def test_few_that_are_left_make_a_new_set() -> None:
    value = build([b"a", *(b"%d" % index for index in range(599))])
    value.take_many(595, random.Random(1), LIMITS)
    assert (len(value), value.encoding()) == (5, LISTPACK)
    value = build([b"%d" % index for index in range(500)])
    value.take_many(495, random.Random(1), LIMITS)
    assert (len(value), value.encoding()) == (5, INTSET)


@pytest.mark.parametrize("count", [10, 1000, 20_000])
@pytest.mark.parametrize("drawn", [False, True])
def test_the_memory_estimate_covers_members_and_tables(count: int, drawn: bool) -> None:
    value = build(numbered(count))
    if drawn:
        value.draw(random.Random(1))
    whole = value.sample_bytes(0)
    assert count * 60 < whole < count * 200 + 100_000
    assert abs(value.sample_bytes(5) - whole) < whole * 0.2
    assert value.sample_bytes(0) - build(numbered(count)).sample_bytes(0) == 8 * count * drawn


def test_shedding_goes_in_steps() -> None:
    for count in (1000, SPREAD_FROM + 1000):
        value = build(numbered(count))
        value.shed(300)
        assert len(value) == count - 300
        value.shed(100_000)
        assert not value
