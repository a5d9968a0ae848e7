"""EXPLAIN: every way in which a block comes to be there, or not."""

import pytest
from tests.testing.kvc_cache import START_MS, CacheUser, keys

from hotplate.errors import NoStorageError, QuotaError
from hotplate.kvc import write_session as outcomes
from hotplate.kvc.explain import Explanation
from hotplate.kvc.keys import Keys
from hotplate.kvc.model import StorageState

CHAIN = keys("a", "b", "c", "d")


def explain(user: CacheUser, wanted: Keys = CHAIN) -> list[Explanation]:
    return user.cache.explain(user.instance, wanted, user.now)


def reasons(user: CacheUser, wanted: Keys = CHAIN) -> list[str]:
    return [item.reason for item in explain(user, wanted)]


def test_what_was_never_written_says_so() -> None:
    assert reasons(CacheUser()) == ["never-stored"] * 4
    assert explain(CacheUser(), keys()) == []


def test_a_served_block_names_its_storage_and_masks_a_write() -> None:
    user = CacheUser()
    user.store(keys("a"))
    [item] = explain(user, keys("a"))
    assert (item.state, item.reason, item.masked) == ("serving", "serving", True)
    assert (item.storages, item.at_ms) == (["memory"], START_MS)
    before = user.cache.meta(user.instance, keys("a"), user.now)
    explain(user, keys("a"))
    assert user.cache.meta(user.instance, keys("a"), user.now) == before, "it is no access"


def test_a_block_being_written_names_the_session_and_its_deadline() -> None:
    user = CacheUser()
    first = user.start(keys("a", "b"), timeout_ms=5_000)
    second = user.start(keys("a", "b", "c", "d"), timeout_ms=9_000)
    items = explain(user)
    assert [item.session for item in items] == [first.session_id] * 2 + [second.session_id] * 2
    assert [item.deadline_ms for item in items] == [START_MS + 5_000] * 2 + [START_MS + 9_000] * 2
    assert {(item.state, item.reason, item.masked) for item in items} == {
        ("writing", "being-written", True)
    }
    assert first.session_id is not None
    assert first.session_id.decode() in items[0].why


def test_a_second_copy_being_written_does_not_hide_the_first() -> None:
    user = CacheUser(specs=2)
    reserved = user.start(keys("a"), spec_masks=[1])
    user.finish(reserved.session_id, sums=b"\x01" * 8)
    [item] = explain(user, keys("a"))
    assert (item.state, item.reason, item.masked) == ("incomplete", "specs-missing", False)
    assert "s1" in item.why
    user.start(keys("a"), spec_masks=[2])
    [item] = explain(user, keys("a"))
    assert (item.state, item.masked) == ("incomplete", True), "both specs are there or coming"


def test_a_partial_copy_being_written_names_its_session() -> None:
    user = CacheUser(specs=2)
    reserved = user.start(keys("a"), spec_masks=[1])
    [item] = explain(user, keys("a"))
    assert (item.state, item.session) == ("writing", reserved.session_id)


def test_eviction_names_the_policy_and_the_time() -> None:
    user = CacheUser(quota_bytes=40, policy="lru")
    user.store(CHAIN)
    user.now += 77
    user.store(keys("x", "y"))
    items = explain(user)
    assert [item.reason for item in items] == ["serving", "serving", "reclaimed", "reclaimed"]
    assert (items[3].policy, items[3].at_ms) == ("lru", START_MS + 77)
    assert items[3].why == f"reclaimed by policy lru at {START_MS + 77}"


def test_expiry_is_told_before_and_after_the_block_has_gone() -> None:
    user = CacheUser()
    user.store(CHAIN, ttl_ms=1_000)
    user.now += 1_000
    items = explain(user)
    assert {(item.state, item.reason, item.at_ms) for item in items} == {
        ("expired", "expired", START_MS + 1_000)
    }
    user.tick()
    assert {(item.state, item.reason) for item in explain(user)} == {("absent", "expired")}


@pytest.mark.parametrize("chained", [True, False])
def test_removal_and_trim(chained: bool) -> None:
    user = CacheUser(chained=chained)
    user.store(CHAIN)
    user.cache.remove(user.instance, keys("d"), user.now)
    assert reasons(user) == ["serving", "serving", "serving", "removed"]
    user.now += 10
    user.cache.trim_created(user.instance, 0, user.now, user.now)
    assert reasons(user) == ["trimmed", "trimmed", "trimmed", "removed"]


def test_trim_all_is_told_while_the_old_index_goes_and_after() -> None:
    user = CacheUser(grace_ms=500)
    user.store(CHAIN)
    user.cache.remove(user.instance, keys("d"), user.now)
    user.start(keys("w"))
    user.now += 1
    user.cache.trim_all(user.instance, user.now)
    wanted = keys("a", "b", "c", "d", "w")
    expected = ["trimmed", "trimmed", "trimmed", "removed", "trimmed"]
    assert reasons(user, wanted) == expected
    user.store(keys("a"))
    user.cache.remove(user.instance, keys("a"), user.now + 1)
    user.now += 1_000
    user.tick()
    assert reasons(user, wanted) == ["removed", *expected[1:]]
    assert explain(user, keys("b"))[0].at_ms == START_MS + 1


def test_a_leased_block_that_a_trim_took_is_explained_too() -> None:
    user = CacheUser()
    user.store(CHAIN)
    user.match(keys("a", "b"), lease_ms=1_000)
    user.cache.trim_all(user.instance, user.now)
    user.tick()
    assert reasons(user) == ["trimmed"] * 4


def test_a_dropped_write_and_one_that_timed_out() -> None:
    user = CacheUser()
    reserved = user.start(CHAIN)
    user.finish(reserved.session_id, outcomes.prefix(2), sums=b"\x01" * 16)
    assert reasons(user) == ["serving", "serving", "write-dropped", "write-dropped"]
    user.start(keys("a", "b", "x"), timeout_ms=1_000)
    user.now += 1_000
    [item] = explain(user, keys("x"))
    assert (item.state, item.reason, item.masked) == ("absent", "write-timed-out", False)


def test_a_refused_write_says_why_until_the_block_is_there() -> None:
    user = CacheUser(quota_bytes=40)
    user.store(CHAIN)
    user.match(CHAIN)
    with pytest.raises(QuotaError):
        user.start(keys("a", "b", "c", "d", "e"))
    [item] = explain(user, keys("e"))
    assert (item.state, item.reason, item.at_ms) == ("absent", "quota-refused", START_MS)
    assert "used=40 limit=40 need=10" in item.why
    user.store(keys("e"))
    assert reasons(user, keys("e")) == ["serving"]
    user.now += 1
    user.cache.remove(user.instance, keys("e"), user.now)
    assert reasons(user, keys("e")) == ["removed"], "what happened last counts"


def test_a_storage_that_is_not_available_makes_its_blocks_misses() -> None:
    user = CacheUser()
    user.store(CHAIN)
    for name in ("memory", "ssd"):
        user.catalog.set_storage_state(name, StorageState.DISABLED)
        user.cache.storage_changed(user.catalog.get_storage(name))
    [item] = explain(user, keys("a"))
    assert (item.state, item.reason, item.masked) == ("unavailable", "storage-disabled", False)
    assert item.why == "storage memory is disabled"
    with pytest.raises(NoStorageError):
        user.start(keys("z"))
    assert reasons(user, keys("z")) == ["nostorage-refused"]


def test_a_storage_that_fails_says_why() -> None:
    user = CacheUser()
    user.store(keys("a"))
    memory = user.catalog.get_storage("memory")
    memory.failure = "EIO"
    user.cache.storage_changed(memory)
    [item] = explain(user, keys("a"))
    assert (item.reason, item.why) == ("storage-failing", "storage memory is failing: EIO")


def test_a_storage_that_was_removed_took_its_blocks() -> None:
    user = CacheUser()
    user.store(CHAIN)
    user.cache.drop_storage(user.catalog.get_storage("memory"), user.now)
    assert reasons(user) == ["storage-removed"] * 4


def test_a_corrupt_copy_was_dropped() -> None:
    user = CacheUser()
    user.store(keys("a"))
    slot = user.cache.read(user.instance, keys("a")[0], None, user.now)
    assert slot is not None
    user.cache.drop_copy(user.instance, keys("a")[0], slot, user.now)
    assert reasons(user, keys("a")) == ["corrupt"]


def test_explanations_count_as_index_memory_and_give_way_to_blocks() -> None:
    user = CacheUser(cache={"index_bytes_max": 300_000})
    names = [f"k{number}" for number in range(256)]
    user.store(keys(*names))
    before = user.cache.index_bytes()
    index_bytes = user.cache.index_of(user.instance).size_bytes()
    user.cache.remove(user.instance, keys(*names), user.now)
    shrunk = index_bytes - user.cache.index_of(user.instance).size_bytes()
    assert user.cache.index_bytes() > before - shrunk + 256 * 8, "what left is counted"
    assert reasons(user, keys("k9")) == ["removed"]
    free = 300_000 - user.cache.index_bytes()
    per_block = user.cache.index_of(user.instance).need_bytes(100_000, 0, 8) // 100_000
    fill = [f"f{number}" for number in range(free // per_block + 256 + 5)]
    user.store(keys(*fill[:256]))
    wanted = 300_000 - user.cache.index_bytes() - 1600 + 200
    count = 256 + max(1, wanted // per_block)
    user.store(keys(*fill[:count]))
    assert reasons(user, keys("k9")) == ["never-stored"]


def test_what_an_instance_that_is_gone_held_is_forgotten() -> None:
    user = CacheUser()
    user.store(CHAIN)
    user.cache.remove(user.instance, keys("d"), user.now)
    user.cache.drop_index(user.instance, user.now)
    user.tick()
    user.cache.create_index(user.instance)
    assert reasons(user) == ["never-stored"] * 4
