"""The table of a large collection: a dict's behaviour, fair choice, a scan's guarantees."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotplate.keyspace.sharded import (
    SHARDS,
    ShardedDict,
    Table,
    random_key,
    scan_table,
    shed_entries,
)


def names(count: int) -> dict[bytes, int]:
    return {b"%d" % number: number for number in range(count)}


def whole(table: Table[int], count: int) -> list[bytes]:
    """A complete iteration."""
    cursor, found = scan_table(table, 0, count)
    while cursor:
        assert cursor < 2**53
        cursor, more = scan_table(table, cursor, count)
        found += more
    return found


@given(
    st.lists(
        st.tuples(st.sampled_from(["set", "del", "pop", "get"]), st.integers(0, 30)), max_size=60
    )
)
def test_it_does_what_a_dict_does(steps: list[tuple[str, int]]) -> None:
    model: dict[bytes, int] = {}
    table = ShardedDict[int]()
    for step, (action, number) in enumerate(steps):
        key = b"%d" % number
        if action == "set":
            model[key] = table[key] = step
        elif action == "del" and key in model:
            del model[key]
            del table[key]
        elif action == "pop":
            assert table.pop(key, None) == model.pop(key, None)
        assert table.get(key) == model.get(key)
        assert table.get(key, -1) == model.get(key, -1)
        assert (key in table) is (key in model)
        assert len(table) == len(model)
    assert dict(table.items()) == model
    assert sorted(table) == sorted(table.keys()) == sorted(model)
    assert sorted(table.values()) == sorted(model.values())
    assert list(zip(table.keys(), table.values(), strict=True)) == list(table.items())


def test_missing_keys_are_key_errors_and_change_nothing() -> None:
    table = ShardedDict(names(3))
    with pytest.raises(KeyError):
        table[b"other"]
    with pytest.raises(KeyError):
        table.pop(b"other")
    with pytest.raises(KeyError):
        del table[b"other"]
    assert len(table) == 3


def test_a_dict_is_converted_and_a_copy_shares_nothing() -> None:
    table = ShardedDict(names(5000))
    other = table.copy()
    other[b"new"] = 1
    del other[b"7"]
    assert dict(table.items()) == names(5000)
    assert len(table) == len(other) == 5000
    assert random_key(other, random.Random(1)) in other


@pytest.mark.parametrize("size", [10, 20_000])
def test_shedding_ends_with_nothing_and_is_never_much_more_than_asked(size: int) -> None:
    for table in (names(size), ShardedDict(names(size))):
        shed_entries(table, 7)
        assert len(table) == size - 7
        while table:
            before = len(table)
            shed_entries(table, 3000)
            assert before - len(table) == min(before, 3000)
        assert list(table) == []


@pytest.mark.parametrize("size", [1, 50, 3000])
def test_every_key_is_equally_likely(size: int) -> None:
    rng = random.Random(3)
    for table in (names(size), ShardedDict(names(size))):
        picks = Counter(random_key(table, rng) for _ in range(size * 20))
        assert set(picks) <= set(table)
        # chi-squared over its degrees of freedom: 1 on average, here within six deviations
        excess = sum((picks[key] - 20) ** 2 / 20 for key in table) / size - 1
        assert abs(excess) < 6 * (2 / size) ** 0.5 or size == 1


def test_a_choice_stays_fair_after_most_of_the_keys_left() -> None:
    table = ShardedDict(names(100_000))
    for number in range(98_000):
        del table[b"%d" % number]
    assert len(table) > SHARDS
    rng = random.Random(4)
    picks = Counter(random_key(table, rng) for _ in range(40_000))
    assert len(picks) == 2000
    assert max(picks.values()) < 50


@pytest.mark.parametrize("count", [1, 3, 10, 1000, 10**18])
@pytest.mark.parametrize("size", [0, 1, 50, 3000])
def test_a_quiet_iteration_returns_every_key_once(size: int, count: int) -> None:
    for table in (names(size), ShardedDict(names(size))):
        assert sorted(whole(table, count)) == sorted(table)


def test_a_call_returns_about_count_keys() -> None:
    for table in (names(3000), ShardedDict(names(3000))):
        cursor, found = scan_table(table, 0, 100)
        assert cursor
        assert 50 <= len(found) < 200


@pytest.mark.parametrize("cursor", [-1, 2**48, 2**64])
def test_a_cursor_from_elsewhere_is_at_the_end(cursor: int) -> None:
    assert scan_table(names(10), cursor, 10) == (0, [])
    assert scan_table(ShardedDict(names(10)), cursor, 10) == (0, [])


def test_keys_that_stay_are_returned_once_whatever_else_comes_and_goes() -> None:
    rng = random.Random(5)
    table: Table[int] = names(2000)
    staying = {b"%d" % number for number in range(0, 2000, 3)}
    others = [b"%d" % number for number in range(6000) if b"%d" % number not in staying]
    cursor, found = scan_table(table, 0, 7)
    while cursor:
        if isinstance(table, dict) and len(found) > 300:
            table = ShardedDict(table)  # an owner converts in the middle of a scan
        for _ in range(20):
            name = rng.choice(others)
            if rng.random() < 0.5:
                table.pop(name, None)
            else:
                table[name] = 1
        cursor, more = scan_table(table, cursor, 7)
        found += more
    assert isinstance(table, ShardedDict)
    returned = [key for key in found if key in staying]
    assert len(returned) == len(staying)
    assert set(returned) == staying
