"""Retention where the commands do not reach."""

from tests.testing.kvc_cache import CacheUser, keys

from hotplate.kvc.keys import Keys
from hotplate.kvc.retention import FADED_AT_ONCE, faded


def retain(
    user: CacheUser, wanted: Keys, priority: int = 90, ttl_ms: int = 1000
) -> tuple[int, int]:
    return user.cache.retain(
        user.instance, wanted, priority=priority, ttl_ms=ttl_ms, now_ms=user.now
    )


def test_the_distance_to_50_halves_every_quarter() -> None:
    assert [faded(100, age, 8) for age in range(9)] == [100, 100, 75, 75, 62, 62, 56, 56, 50]
    assert [faded(0, age, 8) for age in range(9)] == [0, 0, 25, 25, 38, 38, 44, 44, 50]
    assert faded(90, -5, 8) == 90, "a clock that was set back"
    assert [faded(90, age, 1) for age in (0, 1)] == [90, 50]


def test_many_priorities_fall_in_slices() -> None:
    count = 3 * FADED_AT_ONCE
    user = CacheUser(chained=False, quota_bytes=10 * count, retain_fraction=1.0)
    names = Keys.listed([b"%08d" % number for number in range(count)])
    user.store(names)
    assert retain(user, names) == (count, 0)
    index = user.cache.index_of(user.instance)
    user.now += 250
    kept = []
    for _ in range(4):
        user.cache.session_count(user.now)  # any call
        kept.append(index.priority.count(90))
    assert kept == [2 * FADED_AT_ONCE, FADED_AT_ONCE, 0, 0]


def test_retaining_again_and_again_does_not_pile_up() -> None:
    user = CacheUser(quota_bytes=1000)
    user.store(keys("a"))
    for _ in range(5000):
        assert retain(user, keys("a"), ttl_ms=10_000_000) == (1, 0)
    assert len(user.cache.index_of(user.instance).retained) == 1
    assert len(next(iter(user.cache.index_of(user.instance).retained.values())).book.due) < 3000


def test_a_block_that_goes_gives_its_room_back() -> None:
    user = CacheUser(quota_bytes=100)
    user.store(keys("a", "b"))
    user.store(keys("c"))
    assert retain(user, keys("a", "b", "c")) == (2, 1)
    user.cache.trim_all(user.instance, user.now)
    user.store(keys("d", "e"))
    assert retain(user, keys("d", "e")) == (2, 0)


def test_maxblocks_bounds_it_too() -> None:
    user = CacheUser(max_blocks=10, retain_fraction=0.2)
    user.store(keys(*"abcdef"))
    assert retain(user, keys(*"abcdef")) == (2, 4)
