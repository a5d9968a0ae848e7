"""Histograms, and what lookups are counted as."""

import pytest
from tests.testing.kvc_cache import CacheUser, keys

from hotplate.kvc.answers import Mode
from hotplate.kvc.counters import Counters, Histogram, describe
from hotplate.kvc.index import Index
from hotplate.kvc.keys import Keys
from hotplate.kvc.model import StorageState

CHAIN = keys("a", "b", "c", "d")


def test_a_histogram_says_how_many_values_are_below_powers_of_two() -> None:
    histogram = Histogram()
    for value in (0, 1, 2, 3, 900, 1023, 1024):
        histogram.add(value)
    described = histogram.describe()
    assert described["buckets"] == {"1": 1, "2": 1, "4": 2, "1024": 2, "2048": 1}
    assert described["count"] == 7
    assert described["mean"] == pytest.approx(sum((0, 1, 2, 3, 900, 1023, 1024)) / 7)


def test_quantiles_lie_in_the_bucket_of_their_rank() -> None:
    histogram = Histogram()
    histogram.add(100, times=98)
    histogram.add(5_000)
    histogram.add(70_000)
    described = histogram.describe()
    assert 64 <= described["p50"] <= 128
    assert 4_096 <= described["p99"] <= 8_192
    assert Histogram().describe()["p99"] == 0


def test_histograms_add_up() -> None:
    one, two = Counters(), Counters()
    one.lookup_ns.add(5)
    two.lookup_ns.add(6)
    one.hits, two.hits = 2, 4
    one.hits_by_type["memory"] = 2
    two.hits_by_type |= {"memory": 3, "ssd": 1}
    total = describe([one, two])
    assert total["lookup_ns"]["count"] == 2
    assert (total["hits"], total["hits_by_type"]) == (6, {"memory": 5, "ssd": 1})
    assert one.hits_by_type == {"memory": 2}, "adding up changes nothing"


def test_misses_have_a_reason_in_every_mode() -> None:
    user = CacheUser()
    user.store(keys("a", "b"))
    user.match(keys("a", "b", "c", "d"))
    user.start(keys("a", "b", "c"))
    user.match(keys("a", "b", "c", "d"), Mode.EXACT)
    user.match(keys("x", "a", "b", "y"), Mode.WINDOW, window=2)
    stats = user.cache.stats()
    assert stats["requested"] == 12
    assert (stats["hits"], stats["hits_by_type"]) == (6, {"memory": 6})
    assert stats["misses_absent"] == 2
    assert stats["misses_writing"] == 1
    assert stats["misses_behind"] == 1 + 2
    assert stats["stops_absent"] == 1


def test_hits_go_to_the_storage_that_is_named_first() -> None:
    user = CacheUser()
    user.store(keys("a"), storage="ssd")
    user.store(keys("a", "b"), storage="memory")
    user.match(keys("a", "b"))
    assert user.cache.stats()["hits_by_type"] == {"ssd": 1, "memory": 1}
    user.catalog.set_storage_state("ssd", StorageState.DISABLED)
    user.cache.storage_changed(user.catalog.get_storage("ssd"))
    user.store(keys("a"), storage="memory")
    user.catalog.set_storage_state("ssd", StorageState.AVAILABLE)
    user.cache.storage_changed(user.catalog.get_storage("ssd"))
    user.match(keys("a", "b"))
    assert user.cache.stats()["hits_by_type"] == {"ssd": 1, "memory": 3}, "the fastest of two"


def test_evictions_have_a_cause() -> None:
    user = CacheUser(quota_bytes=80, high_watermark=0.9, low_watermark=0.5)
    user.store(keys(*"abcdefgh"))
    user.store(keys("x"))
    assert user.cache.stats()["evictions_by_cause"] == {"room": 1}
    user.tick()
    assert user.cache.stats()["evictions_by_cause"] == {"room": 1, "watermark": 4}
    assert user.cache.stats()["evictions"] == 5
    full = CacheUser(capacity_bytes=80, storages=("memory",))
    full.store(keys(*"abcdefgh"))
    full.tick()
    assert full.cache.stats()["evictions_by_cause"] == {"storage": 2}


def test_residence_is_counted_for_blocks_that_were_evicted_or_expired() -> None:
    user = CacheUser(quota_bytes=40)
    user.store(keys("a", "b"), ttl_ms=1_000)
    user.now += 400
    user.store(keys("c", "d"))
    user.now += 600
    user.tick()
    described = user.cache.stats()["residence_ms"]
    assert (described["count"], described["mean"]) == (2, 1_000.0)
    user.now += 100
    user.store(keys("e", "f", "g", "h"))
    described = user.cache.stats()["residence_ms"]
    assert (described["count"], described["mean"]) == (4, (2_000 + 2 * 700) / 4)
    user.cache.remove(user.instance, keys("e"), user.now)
    assert user.cache.stats()["residence_ms"]["count"] == 4


@pytest.mark.parametrize("chained", [True, False])
def test_reuse_distance_is_how_many_blocks_were_accessed_in_between(chained: bool) -> None:
    user = CacheUser(chained=chained)
    user.store(keys("a", "b"))
    user.match(keys("a", "b"))
    user.store(keys("x", "y", "z"))
    user.cache.times_lookup()
    user.match(keys("a", "b"))
    described = user.cache.stats()["reuse_blocks"]
    assert (described["count"], described["mean"]) == (1, 3.0)


def test_a_sample_of_reuse_costs_the_same_wherever_its_run_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a block with thousands behind it fewer samples are taken, and count for more."""
    user = CacheUser()
    chain = Keys.listed([b"%08d" % number for number in range(2049)])
    user.store(chain)
    measured: list[int] = []
    distance = Index.reuse_distance

    def reuse_distance(index: Index, block: int) -> int:
        measured.append(block)
        return distance(index, block)

    monkeypatch.setattr(Index, "reuse_distance", reuse_distance)
    rounds = 36
    for _ in range(rounds * 16):
        user.cache.times_lookup()
        user.match(chain)
    assert len(measured) == rounds, "the last block has none behind it"
    measured.clear()
    for _ in range(rounds * 16):
        user.cache.times_lookup()
        user.match(Keys.listed([b"%08d" % 0]))
    assert len(measured) == rounds // 9
    assert user.cache.stats()["reuse_blocks"]["count"] == 2 * rounds
