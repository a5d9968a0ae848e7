"""The memory of blocks that left: ranges in, the latest departure out, within its bounds."""

import pytest
from tests.testing.kvc_cache import CacheUser

from hotplate.kvc.departed import Departed, Departure, Reason, mark_of
from hotplate.kvc.index import Index
from hotplate.kvc.keys import Keys
from hotplate.limits import EXPLAINED_CALLS_MAX, EXPLAINED_KEY_BYTES_MAX

MEBIBYTE = 1 << 20


def named(number: int) -> bytes:
    return b"%08d" % number


def index_of(count: int, number: int = 0) -> Index:
    """An index whose ids 0..count-1 have the keys `named` gives."""
    user = CacheUser()
    for other in range(number):
        user.register(b"more%d" % other)
    instance = list(user.catalog.instances.values())[number]
    index = Index(instance)
    index.settle_width(8)
    index.keys[: count * 8] = b"".join(map(named, range(count)))
    return index


@pytest.fixture
def departed() -> Departed:
    return Departed(64 * MEBIBYTE)


def test_a_range_that_left_is_found_key_by_key(departed: Departed) -> None:
    index = index_of(10)
    departed.add(index, 2, 5, mark_of(Reason.EVICTED, 1_000, 3))
    found = departed.find(index.instance.number, {named(i) for i in range(10)})
    assert found == dict.fromkeys(map(named, (2, 3, 4)), Departure(1_000, Reason.EVICTED, 3))


def test_the_latest_of_several_departures_counts_even_if_written_down_earlier(
    departed: Departed,
) -> None:
    index = index_of(4)
    departed.add(index, 0, 2, mark_of(Reason.REMOVED, 5_000))
    departed.add(index, 0, 4, mark_of(Reason.TRIMMED, 4_000))
    found = departed.find(index.instance.number, {named(0), named(3)})
    assert [found[named(i)].reason for i in (0, 3)] == [Reason.REMOVED, Reason.TRIMMED]


@pytest.mark.parametrize("more", [0, 40])
def test_a_key_across_two_others_is_not_found(departed: Departed, more: int) -> None:
    index = index_of(10)
    departed.add(index, 0, 10, mark_of(Reason.REMOVED, 1))
    across = (named(1) + named(2))[3:11]
    absent = {b"none%04d" % number for number in range(more)}  # few or many are sought otherwise
    assert departed.find(index.instance.number, {across} | absent) == {}
    assert list(departed.find(index.instance.number, {across, named(9)} | absent)) == [named(9)]


def test_keys_of_other_widths_are_kept_beside(departed: Departed) -> None:
    index = index_of(3)
    index.odd_keys[1] = b"odd"
    departed.add(index, 0, 3, mark_of(Reason.DROPPED, 7))
    found = departed.find(index.instance.number, {named(0), named(1), named(2), b"odd"})
    assert sorted(found) == sorted([named(0), named(2), b"odd"])


def test_an_instance_keeps_its_latest_keys_only() -> None:
    departed = Departed(64 * MEBIBYTE)
    count = EXPLAINED_KEY_BYTES_MAX // 8
    index = index_of(2 * count)
    for low in range(0, 2 * count, 64):
        departed.add(index, low, low + 64, mark_of(Reason.REMOVED, low))
    found = departed.find(index.instance.number, set(map(named, range(2 * count))))
    assert count <= len(found) <= count + (1 << 16) // 8
    assert min(found) == named(2 * count - len(found)), "the oldest were forgotten"
    assert departed.size_bytes < 1.3 * (EXPLAINED_KEY_BYTES_MAX + (1 << 16))


def test_a_range_larger_than_all_that_is_kept_leaves_its_end(departed: Departed) -> None:
    count = EXPLAINED_KEY_BYTES_MAX // 8
    index = index_of(count + 5)
    departed.add(index, 0, count + 5, mark_of(Reason.TRIMMED, 1))
    found = departed.find(index.instance.number, {named(4), named(5), named(count + 4)})
    assert sorted(found) == [named(5), named(count + 4)]


def test_all_together_stay_within_the_bound_and_the_oldest_instance_pays() -> None:
    departed = Departed(256 * 1024)
    indexes = [index_of(8192, number) for number in range(5)]
    for index in indexes:
        departed.add(index, 0, 8192, mark_of(Reason.REMOVED, 1))
        assert departed.size_bytes <= departed.bytes_max
    known = [len(departed.find(index.instance.number, {named(1)})) for index in indexes]
    assert known == [0, 0, 1, 1, 1]


def test_what_is_forgotten_is_not_counted_any_more(departed: Departed) -> None:
    index = index_of(100)
    departed.add(index, 0, 100, mark_of(Reason.REMOVED, 1))
    departed.refuse(index.instance.number, Keys.listed([named(7)]), "QUOTA", 1)
    assert departed.size_bytes > 800
    departed.forget_instance(index.instance.number)
    assert departed.size_bytes == 0
    assert departed.find(index.instance.number, {named(1)}) == {}
    assert departed.refusals(index.instance.number, {named(7)}) == {}


def test_a_call_refused_again_and_again_is_one(departed: Departed) -> None:
    keys = Keys.listed([named(1), named(2)])
    departed.refuse(0, keys, "QUOTA first", 1)
    size = departed.size_bytes
    departed.refuse(0, keys, "QUOTA second", 2)
    assert departed.size_bytes == size
    assert departed.refusals(0, {named(2), named(3)}) == {
        named(2): Departure(2, Reason.UNSAID, 0, "QUOTA second")
    }


def test_of_refused_calls_the_last_are_kept(departed: Departed) -> None:
    for number in range(EXPLAINED_CALLS_MAX + 2):
        departed.refuse(0, Keys.listed([named(number)]), "QUOTA", number)
    known = departed.refusals(0, set(map(named, range(EXPLAINED_CALLS_MAX + 2))))
    assert sorted(known) == [named(number) for number in range(2, EXPLAINED_CALLS_MAX + 2)]


def test_the_first_of_keys_of_several_widths_speaks_for_a_refused_call(departed: Departed) -> None:
    departed.refuse(0, Keys.listed([b"odd", named(1)]), "NOSPACE", 1)
    departed.refuse(0, Keys.listed([]), "NOSPACE", 1)
    assert list(departed.refusals(0, {b"odd", named(1)})) == [b"odd"]
