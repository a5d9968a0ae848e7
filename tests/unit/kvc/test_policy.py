"""The reclaim policies one by one, on small forests where the victims can be told by hand."""

from typing import Any

import pytest
from tests.testing.kvc_cache import CacheUser, keys

from hotplate.kvc.keys import Keys
from hotplate.kvc.policy import POLICIES
from hotplate.kvc.policy.ghosts import Ghosts


def lone(*names: str) -> list[Keys]:
    """Chains of one block each."""
    return [keys(name) for name in names]


def stored(user: CacheUser, *names: str) -> str:
    """Which of some roots are there."""
    found = [name for name in names if user.matched(keys(name), touch=False)]
    return "".join(found)


def fill(policy: str, names: str = "abcd") -> CacheUser:
    """As many roots as there is room for, stored in this order."""
    user = CacheUser(max_blocks=len(names), policy=policy)
    for root in lone(*names):
        user.store(root)
    return user


def test_lru_takes_what_was_used_longest_ago() -> None:
    user = fill("lru")
    user.matched(keys("a"))
    user.store(keys("e"))
    user.store(keys("f"))
    assert stored(user, *"abcdef") == "adef"


def test_fifo_takes_what_was_stored_first_however_often_it_was_used() -> None:
    user = fill("fifo")
    user.matched(keys("a"))
    user.store(keys("e"))
    user.store(keys("f"))
    assert stored(user, *"abcdef") == "cdef"


def test_lfu_takes_what_was_found_least_often_and_then_longest_ago() -> None:
    user = fill("lfu")
    for name in "aabbc":
        user.matched(keys(name))
    user.store(keys("e"))
    assert stored(user, *"abcde") == "abce", "d was never found"
    user.store(keys("f"))
    assert stored(user, *"abcef") == "abcf", "e was never found"
    user.matched(keys("f"))
    user.store(keys("g"))
    assert stored(user, *"abcfg") == "abfg", "c and f were found once, c longer ago"


def test_ttl_takes_what_ends_first_and_then_what_was_used_longest_ago() -> None:
    user = CacheUser(max_blocks=4, policy="ttl")
    for name, ttl_ms in (("a", None), ("b", 9000), ("c", 5000), ("d", None)):
        user.store(keys(name), ttl_ms=ttl_ms)
    user.matched(keys("a"))
    for name in "efg":
        user.store(keys(name), ttl_ms=20_000)
    assert stored(user, *"abcdefg") == "adfg"
    user.store(keys("h"))
    user.store(keys("i"))
    user.store(keys("j"))
    assert stored(user, *"adhij") == "ahij", "without an end, d was used longest ago"


def test_hslru_keeps_what_was_seen_again_for_a_capacity_of_accesses() -> None:
    user = fill("hslru")
    user.matched(keys("a"))  # the fifth access: four accesses of head start
    for name in "efgh":
        user.store(keys(name))
    assert stored(user, *"abcdefgh") == "afgh"
    user.store(keys("i"))
    user.store(keys("j"))
    assert stored(user, *"afghij") == "ahij", "g, the seventh access, is older than 5 + 4"
    for name in "kl":
        user.store(keys(name))
    assert stored(user, *"ahijkl") == "ijkl", "its head start is over"


def test_hslru_knows_a_block_that_comes_back() -> None:
    user = fill("hslru")
    user.store(keys("e"))
    assert stored(user, *"abcde") == "bcde"
    user.store(keys("a"))  # the sixth access, and seen again
    for name in "fgh":
        user.store(keys(name))
    assert stored(user, *"abcdefgh") == "afgh"


def test_s3fifo_drops_what_passes_once_and_keeps_what_is_found_twice() -> None:
    user = fill("s3fifo", "abcdefghij")
    for name in "aab":
        user.matched(keys(name))
    for name in "klmnopqrst":
        user.store(keys(name))
    assert stored(user, *"abc") == "a"


def test_s3fifo_lets_a_block_that_comes_back_into_the_main_queue() -> None:
    user = fill("s3fifo", "abcdefghij")
    user.store(keys("k"))
    assert stored(user, "a") == ""
    user.store(keys("a"))
    for name in "lmnopqrs":
        user.store(keys(name))
    assert stored(user, "a") == "a"


@pytest.mark.parametrize("policy", POLICIES)
def test_no_policy_takes_a_parent_before_its_child(policy: str) -> None:
    user = CacheUser(max_blocks=9, policy=policy)
    chain = keys("a", "b", "c", "d", "e")
    user.store(chain)
    user.store(keys("x"))
    for _ in range(3):
        user.matched(keys("a"))
    for number in range(30):
        user.store(keys(f"new{number}"))
        held = [user.matched(keys(*"abcde"[: end + 1]), touch=False) for end in range(5)]
        depth = max(held)
        assert held == [min(end + 1, depth) for end in range(5)]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_lower_priority_goes_first_under_every_policy(policy: str) -> None:
    user = CacheUser(max_blocks=6, policy=policy)
    for name, priority in zip("abcdef", (90, 10, 50, 90, 10, 50), strict=True):
        user.store(keys(name), priority=priority, ttl_ms=1000 if priority == 90 else None)
    for name in "bbbeee":
        user.matched(keys(name))
    for name in "gh":
        user.store(keys(name), priority=100)
    assert stored(user, *"abcdefgh") == "acdfgh"
    for name in "ij":
        user.store(keys(name), priority=100)
    assert stored(user, *"acdfghij") == "adghij"


@pytest.mark.parametrize("policy", POLICIES)
def test_the_policy_of_a_live_group_can_change(policy: str) -> None:
    user = CacheUser(max_blocks=6, policy="lru" if policy != "lru" else "fifo")
    chain = keys("a", "b", "c")
    user.store(chain)
    user.store(keys("a", "b", "x"))
    user.store(keys("y"))
    for _ in range(3):
        user.matched(chain)
    user.catalog.update_group("g", 1, {"policy": policy})
    user.cache.group_changed(user.group)
    user.store(keys("p", "q"))
    kept = [user.matched(wanted) for wanted in (chain, keys("a", "b", "x"), keys("y"))]
    assert kept == ([2, 3, 1] if policy == "fifo" else [3, 2, 1]), "c was stored first, x not found"
    assert user.matched(keys("p", "q")) == 2
    assert user.cache.stats(user.group)["blocks"] == 6


def test_a_change_of_policy_goes_through_many_leaves_in_slices() -> None:
    marks: dict[str, Any] = {"high_watermark": 1.0, "low_watermark": 1.0}
    user = CacheUser(max_blocks=20_000, policy="fifo", chained=False, **marks)
    names = [b"%08d" % number for number in range(20_000)]
    user.store(Keys.listed(names))
    user.matched(Keys.listed(names[:1]))
    user.catalog.update_group("g", 1, {"policy": "lru"})
    user.cache.group_changed(user.group)
    index = user.cache.index_of(user.instance)
    assert index.queued_upto is not None, "not all at once"
    user.tick()
    assert index.queued_upto is None
    queued = sum(map(len, index.leaves.heaps.values()))
    assert queued == 20_000
    user.store(keys("new"))
    assert not user.matched(Keys.listed(names[-1:])), "the last key of a call is its oldest"
    assert user.matched(Keys.listed(names[:1]))


def test_a_write_finds_victims_while_leaves_are_queued_anew() -> None:
    user = CacheUser(max_blocks=20_000, policy="fifo", chained=False)
    user.store(Keys.listed([b"%08d" % number for number in range(20_000)]))
    user.catalog.update_group("g", 1, {"policy": "lru"})
    user.cache.group_changed(user.group)
    user.store(Keys.listed([b"new%05d" % number for number in range(1000)]))
    assert user.cache.stats(user.group)["blocks"] == 20_000


def test_ghosts_are_bounded_and_taken_once() -> None:
    ghosts = Ghosts()
    ghosts.bound(3)
    for name in "abcd":
        ghosts.add((name,))
    assert len(ghosts) == 3
    assert ghosts.take("abd", chained=False) == b"\0\1\1"
    assert len(ghosts) == 1
    assert ghosts.take("abd", chained=False) == b"", "they are remembered no longer"


def test_of_a_chain_only_the_leading_names_are_remembered() -> None:
    ghosts = Ghosts()
    ghosts.bound(10)
    ghosts.add("cba")
    ghosts.add("e")
    assert ghosts.take("abxe") == b"\1\1\0\0"
    assert len(ghosts) == 2


def test_ghosts_go_by_whole_generations() -> None:
    ghosts = Ghosts()
    ghosts.bound(64)
    sizes = []
    for number in range(200):
        ghosts.add((number,))
        sizes.append(len(ghosts))
    assert max(sizes) == 64
    assert set(sizes[100:]) == {61, 62, 63, 64}
    assert ghosts.take(range(190, 200), chained=False) == b"\1" * 10
    ghosts.bound(20)
    for number in range(200, 220):
        ghosts.add((number,))
    assert len(ghosts) == 20


def test_instances_of_a_group_give_in_proportion_to_what_they_hold() -> None:
    user = CacheUser(max_blocks=100)
    large, small = user.instance, user.register(b"two")
    for number in range(90):
        user.store(keys(f"a{number}"))
    user.instance = small
    for number in range(10):
        user.store(keys(f"b{number}"))
    user.instance = large
    for number in range(20):
        user.store(keys(f"c{number}"))
    counts = [user.cache.block_count(item) for item in (large, small)]
    assert sum(counts) == 100
    assert counts[1] == 8, "a tenth of twenty, though its blocks are the newest"


def test_an_instance_that_comes_late_does_not_pay_for_what_others_gave() -> None:
    user = CacheUser(max_blocks=40)
    first = user.instance
    for number in range(200):
        user.store(keys(f"a{number}"))
    user.instance = second = user.register(b"two")
    for number in range(20):
        user.store(keys(f"b{number}"))
    for number in range(20, 24):
        user.store(keys(f"b{number}"))
    counts = [user.cache.block_count(item) for item in (first, second)]
    assert sum(counts) == 40
    assert counts[1] >= 15
