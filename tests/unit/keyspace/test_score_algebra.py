"""Unions, intersections and differences of tables of scores."""

import math

import pytest

from hotplate.keyspace.score_algebra import (
    Aggregate,
    EvenScores,
    Source,
    add,
    difference,
    higher,
    in_order,
    intersection,
    intersection_size,
    lower,
    union,
)

FIRST = {b"a": 1.0, b"b": 2.0, b"c": 3.0}
SECOND = {b"b": 10.0, b"c": -1.0}
PLAIN = EvenScores({b"c": None, b"d": None})


@pytest.mark.parametrize(
    ("aggregate", "b", "c"), [(add, 12.0, 2.0), (lower, 2.0, -1.0), (higher, 10.0, 3.0)]
)
def test_scores_are_joined_as_told(aggregate: Aggregate, b: float, c: float) -> None:
    sources: list[Source] = [(FIRST, 1.0), (SECOND, 1.0), (PLAIN, 1.0)]
    joined = union(sources, aggregate)
    assert joined.keys() == {b"a", b"b", b"c", b"d"}
    assert (joined[b"a"], joined[b"b"], joined[b"d"]) == (1.0, b, 1.0)
    assert intersection(sources[:2], aggregate) == {b"b": b, b"c": c}


def test_weights_multiply_scores() -> None:
    assert union([(FIRST, 2.0), (PLAIN, 5.0)], add) == {b"a": 2, b"b": 4, b"c": 11, b"d": 5}
    assert intersection([(FIRST, 2.0), (PLAIN, 5.0)], add) == {b"c": 11}


def test_what_is_no_number_is_zero() -> None:
    infinite = {b"a": math.inf}
    assert union([(infinite, 1.0), ({b"a": -math.inf}, 1.0)], add) == {b"a": 0.0}
    assert union([(infinite, 0.0)], add) == {b"a": 0.0}
    assert intersection([(infinite, 0.0), (infinite, -1.0)], add) == {b"a": -math.inf}


def test_a_limit_ends_the_counting() -> None:
    assert intersection_size([FIRST, SECOND], 0) == 2
    assert intersection_size([FIRST, SECOND], 1) == 1
    assert intersection_size([PLAIN], 0) == 2
    assert intersection_size([FIRST, {}], 0) == 0


def test_a_difference_keeps_the_scores_of_the_first() -> None:
    assert difference(FIRST, [SECOND]) == {b"a": 1.0}
    assert difference(FIRST, [PLAIN, {}]) == {b"a": 1.0, b"b": 2.0}
    assert difference(PLAIN, [FIRST]) == {b"d": 1.0}


def test_results_stand_in_order_of_score_then_bytes() -> None:
    assert in_order({b"b": 1.0, b"c": 0.0, b"a": 1.0}) == ([b"c", b"a", b"b"], [0.0, 1.0, 1.0])
