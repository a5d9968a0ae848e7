"""Free ids as ranges."""

from hypothesis import given
from hypothesis import strategies as st

from hotplate.kvc.free_ids import FreeIds

SIZE = 40


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, SIZE - 1), st.integers(1, 9))))
def test_ranges_are_what_a_set_of_ids_says(
    steps: list[tuple[int, int, int]],
) -> None:
    free = FreeIds()
    model: set[int] = set()
    for kind, start, count in steps:
        taken: tuple[int, int] | None = None
        if kind == 0:
            end = min(SIZE, start + count)
            if model.isdisjoint(range(start, end)):
                free.give(start, end)
                model.update(range(start, end))
        elif kind == 1:
            taken = free.take(count)
            assert taken is None or taken[1] - taken[0] == count
        elif kind == 2:
            taken = free.take_some(count)
            assert (taken is None) == (not model)
        else:
            first = start in model and start - 1 not in model
            assert free.take_at(start) == first
            if first:
                model.discard(start)
        if taken is not None:
            assert model.issuperset(range(*taken))
            model.difference_update(range(*taken))
        assert free.count == len(model)
        listed = {item for low, high in free.ends().items() for item in range(low, high)}
        assert listed == model
        assert all(high not in model for high in free.ends().values()), "neighbours coalesce"
