"""New keys are entered while it is found out that they are new: a refusal takes all of it back."""

from typing import Any

import pytest
from tests.testing.kvc_cache import CacheUser, keys

from hotplate.errors import (
    BadChainError,
    CommandError,
    NoSpaceError,
    NoStorageError,
    QuotaError,
)
from hotplate.kvc.claim import claim
from hotplate.kvc.keys import Keys

COLUMNS = (
    *("state", "keys", "sums", "priority", "run", "parent", "tail", "place", "generation"),
    *("created", "accessed", "hits", "expires", "children", "queued"),
)


def picture(user: CacheUser) -> dict[str, Any]:
    """Everything that a refused write must not change."""
    index = user.cache.index_of(user.instance)
    width = {"keys": index.width, "sums": index.sum_bytes}
    return {
        **{
            name: bytes(getattr(index, name)[: index.size * width.get(name, 1)]) for name in COLUMNS
        },
        "known": {key: block for shard in index.shards for key, block in shard.items()},
        "free": dict(index.free.ends()),
        "numbers": (index.size, index.ids, index.blocks, index.free.count),
        "heaps": {queue: sorted(heap) for queue, heap in index.leaves.heaps.items()},
        "bytes": (dict(index.writing), dict(index.serving), user.used()),
        "slots": {name: set(store.slots) for name, store in user.stores.items()},
        "generations": {name: dict(store.generations) for name, store in user.stores.items()},
        "sessions": (set(index.sessions), user.cache.stats(user.group)["sessions"]),
    }


def stored(**group: Any) -> CacheUser:
    """A chain a-b-c-d with a second branch x-y-z below b, and a hole of free ids."""
    user = CacheUser(**group)
    user.store(keys("h", "i", "j", "k"))
    user.store(keys("a", "b", "c", "d"))
    user.store(keys("x", "y", "z"), parent=keys("b")[0])
    user.cache.remove(user.instance, keys("h", "i", "j", "k"), user.now)
    return user


@pytest.mark.parametrize(
    "wanted",
    [
        keys("n", "c", "o"),
        keys("n", "o", "d", "p"),
        keys("a", "b", "n", "y", "o"),
        keys("a", "b", "x", "n", "c", "o"),
        keys("n", "o", "n", "z", "p"),
    ],
)
def test_a_stored_key_behind_a_new_one_is_refused_and_nothing_is_changed(wanted: Keys) -> None:
    user = stored()
    before = picture(user)
    with pytest.raises(BadChainError):
        user.start(wanted)
    assert picture(user) == before


def test_a_new_key_that_comes_twice_is_written_once() -> None:
    user = stored()
    known = set(picture(user)["known"])
    reserved = user.start(keys("a", "b", "n", "o", "n", "p", "o"))
    assert reserved.mask == b"1100101"
    assert [(span.first, span.count) for span in reserved.spans] == [(0, 3)]
    assert set(picture(user)["known"]) - known == {keys(name)[0] for name in "nop"}
    assert user.finish(reserved.session_id, sums=b"\1" * 24) == (3, 0)
    assert user.matched(keys("a", "b", "n", "o", "p")) == 5


def test_without_chains_stored_keys_between_new_ones_are_masked() -> None:
    user = CacheUser(chained=False)
    user.store(keys("b", "d"))
    reserved = user.start(keys("a", "b", "c", "d", "e", "a"))
    assert reserved.mask == b"010101"
    assert user.finish(reserved.session_id, sums=b"\1" * 24) == (3, 0)


def sessions_used_up() -> CacheUser:
    """One session open, one allowed."""
    user = stored(max_sessions=1)
    user.start(keys("q"))
    return user


def index_full() -> CacheUser:
    """An index that must not grow."""
    user = stored(cache={"index_bytes_max": 1 << 30})
    cache = user.cache
    cache._writer._index_bytes_max = cache.index_bytes()
    return user


def quota_taken_by_writers() -> CacheUser:
    """A quota that is written to in full."""
    user = CacheUser(quota_bytes=100)
    user.start(keys("h", "i", "j", "k", "l", "m", "n", "o"))
    return user


def blocks_used_up() -> CacheUser:
    """As many blocks as are allowed, all being written."""
    user = CacheUser(max_blocks=3)
    user.start(keys("h", "i"))
    return user


def capacity_taken_by_writers() -> CacheUser:
    """Storages that are written to in full."""
    user = CacheUser(capacity_bytes=80, storages=("memory",))
    user.start(keys("h", "i", "j", "k", "l"))
    return user


def no_storage() -> CacheUser:
    """A group all of whose storages are disabled."""
    user = stored()
    for storage in user.catalog.storages.values():
        storage.enabled = False
        user.cache.storage_changed(storage)
    return user


@pytest.mark.parametrize(
    ("prepare", "error"),
    [
        (sessions_used_up, QuotaError),
        (index_full, NoSpaceError),
        (quota_taken_by_writers, QuotaError),
        (blocks_used_up, QuotaError),
        (capacity_taken_by_writers, NoSpaceError),
        (no_storage, NoStorageError),
    ],
)
def test_new_keys_that_do_not_fit_are_forgotten_again(
    prepare: Any, error: type[CommandError]
) -> None:
    user = prepare()
    before = picture(user)
    with pytest.raises(error):
        user.start(keys("1", "2", "3", "4"))
    assert picture(user) == before
    index = user.cache.index_of(user.instance)
    assert all(index.lookup(key) is None for key in keys("1", "2", "3", "4").listing())


def test_a_write_that_makes_room_keeps_its_ids_apart_from_those_that_are_freed() -> None:
    user = CacheUser(quota_bytes=80)
    user.store(keys("a", "b", "c", "d"))
    user.store(keys("e", "f", "g", "h"))
    user.store(keys("1", "2", "3", "4", "5", "6"))
    assert user.matched(keys("1", "2", "3", "4", "5", "6")) == 6
    assert user.used() == 80
    assert user.matched(keys("e", "f", "g", "h")) == 2
    assert user.matched(keys("a", "b", "c", "d")) == 0


def test_a_claim_that_is_given_up_leaves_its_ids_to_the_next() -> None:
    user = stored()
    index = user.cache.index_of(user.instance)
    wanted = keys("1", "2", "3").listing()
    before = picture(user)
    claimed = claim(index, wanted)
    assert claimed is not None
    claimed.take_ids()
    assert [index.lookup(key) for key in wanted] == list(range(claimed.start, claimed.end))
    claimed.give_up()
    assert picture(user) == before
    again = claim(index, wanted)
    assert again is not None
    assert again.start == claimed.start
    again.give_up()
    assert picture(user) == before


def test_a_claim_of_ids_that_were_taken_meanwhile_is_an_error() -> None:
    user = CacheUser()
    index = user.cache.index_of(user.instance)
    claimed = claim(index, [b"one", b"two"])
    assert claimed is not None
    list(index.take_ids(1))
    with pytest.raises(RuntimeError, match="claimed"):
        claimed.take_ids()
