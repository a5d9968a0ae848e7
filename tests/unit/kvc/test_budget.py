"""Slices of background work end when their CPU time is spent."""

from dataclasses import replace

from tests.testing.kvc_cache import CacheUser, keys

from hotplate.kvc.budget import SLICE_NS, Budget
from hotplate.kvc.keys import Keys


class ThreadTime:
    """CPU time of a thread that works `step_ns` between two looks."""

    def __init__(self, step_ns: int) -> None:
        self.now_ns = 0
        self.step_ns = step_ns
        self.looks = 0

    def __call__(self) -> int:
        self.looks += 1
        self.now_ns += self.step_ns
        return self.now_ns


def test_the_clock_is_looked_at_now_and_then() -> None:
    time = ThreadTime(SLICE_NS // 10)
    budget = Budget(time)
    asked = 0
    while not budget.spent():
        asked += 1
    assert (asked, time.looks) == (32 * 10 - 1, 11)
    assert budget.spent()
    assert budget.over()
    assert time.looks == 11, "what is over stays over"


def test_a_slice_of_reclaim_ends_with_its_time_and_the_next_goes_on() -> None:
    time = ThreadTime(SLICE_NS)
    user = CacheUser(
        max_blocks=1000, policy="fifo", chained=False, cache={"thread_ns": time}, low_watermark=0.1
    )
    user.store(Keys.listed([b"%08d" % number for number in range(1000)]))
    sizes = []
    for _ in range(1000):
        more = user.cache.tick(user.now)
        sizes.append(user.cache.block_count(user.instance))
        if not more:
            break
    assert len(sizes) > 10
    assert sizes[-1] == 100
    assert sizes == sorted(sizes, reverse=True)
    evicted = [before - after for before, after in zip([1000, *sizes], sizes, strict=False)]
    assert max(evicted) <= 32


def test_a_stretch_that_goes_at_once_counts_as_all_its_blocks() -> None:
    time = ThreadTime(SLICE_NS)
    user = CacheUser(max_blocks=1280, cache={"thread_ns": time}, low_watermark=0.1)
    for chain in range(20):
        user.store(Keys.listed([b"%03d-%04d" % (chain, number) for number in range(64)]))
    before = 1280
    while user.cache.tick(user.now):
        left = user.cache.block_count(user.instance)
        assert before - left <= 64
        before = left
    assert user.cache.block_count(user.instance) == 128


def test_no_group_waits_for_all_others() -> None:
    time = ThreadTime(SLICE_NS)
    user = CacheUser(max_blocks=1000, cache={"thread_ns": time}, low_watermark=0.0)
    first = user.instance
    for number in range(1000):
        user.store(keys(f"a{number}"))
    other = user.catalog.create_group(
        "h", {"max_blocks": 50, "storages": ("memory",), "grace_ms": 0}
    )
    user.cache.group_changed(other)
    content = replace(first.registration, id=b"second", group="h")
    second, _ = user.catalog.register(content, b"")
    user.cache.create_index(second)
    user.instance = second
    for number in range(50):
        user.store(keys(f"b{number}"))
    for _ in range(4):
        assert user.cache.tick(user.now)
    assert user.cache.block_count(second) < 50
    assert 0 < user.cache.block_count(first) < 1000


def test_the_longest_slice_is_told() -> None:
    """Of all together only: a slice is nobody's."""
    time = ThreadTime(7_000)
    user = CacheUser(cache={"thread_ns": time})
    user.store(keys("a"))
    user.cache.tick(user.now)
    looks = time.looks
    figures = user.cache.stats()
    assert figures["longest_slice_us"] == 7 * (looks - 1)
    time.step_ns = 0
    user.cache.tick(user.now)
    assert user.cache.stats()["longest_slice_us"] == figures["longest_slice_us"]
    assert "longest_slice_us" not in user.cache.stats(user.instance)
