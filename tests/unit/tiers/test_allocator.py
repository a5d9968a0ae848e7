"""Free ranges against a set of numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotplate.tiers.allocator import FreeRanges

SPACE = 64


def runs(free: set[int]) -> list[tuple[int, int]]:
    """The (start, length) of every run of adjacent numbers."""
    found: list[tuple[int, int]] = []
    for number in sorted(free):
        if found and sum(found[-1]) == number:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((number, 1))
    return found


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 20), st.integers(0, 1000)), max_size=80))
def test_any_taking_and_giving_back_keeps_the_ranges_whole(
    steps: list[tuple[bool, int, int]],
) -> None:
    ranges = FreeRanges()
    ranges.add(0, SPACE)
    free = set(range(SPACE))
    owned: list[tuple[int, int]] = []
    for take, count, pick in steps:
        if take:
            fits = [length for _, length in runs(free) if length >= count]
            start = ranges.take(count)
            assert (start is None) == (not fits)
            if start is not None:
                taken = set(range(start, start + count))
                run = next(run for run in runs(free) if start in range(run[0], sum(run)))
                assert run[1] == min(fits), "the best fit"
                assert taken <= free
                free -= taken
                owned.append((start, count))
        elif owned:
            start, count = owned.pop(pick % len(owned))
            cut = pick % count  # given back in two pieces
            for piece, length in ((start, cut), (start + cut, count - cut)):
                if length:
                    ranges.add(piece, length)
            free |= set(range(start, start + count))
        assert ranges.ranges() == runs(free)
        assert ranges.total == len(free)
        assert len(ranges) == len(runs(free))
        assert ranges.longest == max((length for _, length in runs(free)), default=0)


def test_a_whole_range_can_be_removed_and_a_part_cannot() -> None:
    ranges = FreeRanges()
    ranges.add(10, 5)
    ranges.add(20, 5)
    with pytest.raises(KeyError):
        ranges.remove(10, 4)
    with pytest.raises(KeyError):
        ranges.remove(11, 4)
    assert ranges.ranges() == [(10, 5), (20, 5)]
    ranges.remove(10, 5)
    assert ranges.ranges() == [(20, 5)]
    assert ranges.total == 5


def test_ranges_that_do_not_touch_stay_apart() -> None:
    ranges = FreeRanges()
    ranges.add(0, 5)
    ranges.add(6, 5)
    assert ranges.take(6) is None
    ranges.add(5, 1)
    assert ranges.ranges() == [(0, 11)]
    assert ranges.take(11) == 0
    assert ranges.take(1) is None
