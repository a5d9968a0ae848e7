"""Ratios and quartiles."""

import pytest

from hotplate.bench.measure import Spread, alternate, compare_rates, compare_times, repeat


def test_the_ratio_is_over_one_where_we_serve_more() -> None:
    line = compare_rates("SET", [(200.0, 100.0), (300.0, 100.0), (100.0, 100.0)], target=0.9)
    assert line.ratio == Spread(1.5, 2.0, 2.5)
    assert line.met


def test_the_ratio_is_over_one_where_we_take_less_time() -> None:
    line = compare_times("MGET", [(1e-6, 4e-6), (2e-6, 4e-6), (4e-6, 4e-6)], target=8.0)
    assert line.ratio.median == 2.0
    assert line.ours.median == pytest.approx(2.0)
    assert line.unit == "us"
    assert line.met is False


def test_ratios_are_taken_pair_by_pair_so_that_a_slow_minute_hits_both_sides() -> None:
    line = compare_rates("GET", [(100.0, 100.0), (10.0, 10.0), (50.0, 50.0)], target=None)
    assert line.ratio == Spread(1.0, 1.0, 1.0)
    assert line.met is None


def test_neither_side_is_always_the_first_of_a_pair() -> None:
    order = []

    def side(name: str, value: float) -> float:
        order.append(name)
        return value

    pairs = alternate(lambda: side("a", 1.0), lambda: side("b", 2.0), 4)
    assert "".join(order) == "abbaabba"
    assert pairs == [(1.0, 2.0)] * 4


def test_one_value_is_its_own_quartiles() -> None:
    assert Spread.of([3.0]) == Spread(3.0, 3.0, 3.0)


def test_a_measurement_calls_at_least_a_few_times_however_slow_the_call_is() -> None:
    calls = []
    measure = repeat(lambda: calls.append(1), seconds=0.0)
    warmed = len(calls)
    assert measure() >= 0
    assert len(calls) - warmed == 3
