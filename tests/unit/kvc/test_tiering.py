"""TIERING: what goes to the slower storage, what comes back, and what a move must never do."""

import pytest
from tests.testing.kvc_cache import keys
from tests.testing.tiers import TierUser, content

from hotplate.kvc.answers import Mode
from hotplate.kvc.keys import Keys

NAMES = [f"b{number}" for number in range(30)]
BOTH = pytest.mark.parametrize("tiering", ["exclusive", "inclusive"])


def chain(count: int, start: int = 0) -> Keys:
    return keys(*NAMES[start : start + count])


def check(user: TierUser, wanted: Keys) -> None:
    """Every key that is a hit reads its own bytes, and the bytes are counted exactly."""
    for key in wanted.listing():
        if user.matched(Keys.listed([key]), Mode.EXACT, touch=False):
            specs = range(len(user.instance.specs))
            assert user.read(key) == b"".join(content(key, spec) for spec in specs)
    user.used()


def test_below_the_high_watermark_nothing_moves() -> None:
    user = TierUser()
    user.put(chain(7))
    assert user.settle() == 0
    assert user.where(chain(7)) == ["memory"] * 7


def test_at_the_high_watermark_tails_go_to_the_slower_storage_down_to_the_low_one() -> None:
    user = TierUser()
    user.put(chain(8))
    assert user.settle() == 3
    assert user.where(chain(8)) == ["memory"] * 5 + ["ssd"] * 3
    assert user.matched(chain(8)) == 8
    check(user, chain(8))
    stats = user.cache.stats()
    assert (stats["demoted"], stats["evictions"]) == (3, 0)
    assert stats["bytes"]["memory"]["serving"] == 50
    assert stats["bytes"]["ssd"]["serving"] == 30


@pytest.mark.parametrize("chained", [True, False])
def test_what_was_used_longest_ago_goes_first(chained: bool) -> None:
    user = TierUser(chained=chained)
    for name in ("a", "b", "c", "d", "e", "f", "g", "h"):
        user.put(keys(name))
        user.now += 1
    user.match(keys("a"))
    user.match(keys("c"))
    user.settle()
    names = ("a", "b", "c", "d", "e", "f", "g", "h")
    slow = {name for name, at in zip(names, user.where(keys(*names)), strict=True) if at == "ssd"}
    assert slow == {"b", "d", "e"}
    check(user, keys(*names))


def test_a_lower_priority_goes_before_an_older_one() -> None:
    user = TierUser()
    user.put(keys("old"), priority=90)
    user.now += 10
    for number in range(7):
        user.put(keys(f"n{number}"), priority=10)
    user.settle()
    assert user.where(keys("old")) == ["memory"]


def test_lookups_and_reads_go_on_while_a_copy_is_made() -> None:
    user = TierUser()
    user.put(chain(8))
    user.cache.tick(user.now)
    move = user.next_move()
    assert move is not None
    assert user.where(chain(8)) == ["memory"] * 8, "the source serves until the copy is there"
    assert user.cache.stats()["used_bytes"] == 80 + move.size_bytes, "both copies count"
    check(user, chain(8))
    assert user.copy(move) == move.count
    assert user.cache.stats()["used_bytes"] == 80
    check(user, chain(8))


def test_the_source_stays_readable_for_the_grace_of_its_group() -> None:
    user = TierUser(grace_ms=1_000)
    user.put(chain(8))
    before = {span.place: span for span in user.match(chain(8)).spans}
    user.cache.tick(user.now)
    move = user.next_move()
    assert move is not None
    user.copy(move)
    source = user.stores["memory"]
    assert bytes(source.view(move.shape, move.source_place)) == content(move.keys[:8])
    assert user.cache.stats()["used_bytes"] == 80 + move.size_bytes
    user.now += 1_000
    user.tick()
    assert move.source_place not in source.slots
    assert before


@BOTH
def test_the_second_hit_brings_a_block_back(tiering: str) -> None:
    user = TierUser(tiering)
    user.put(chain(8))
    user.settle()
    back = {"exclusive": "memory", "inclusive": "memory+ssd"}[tiering]
    assert user.where(chain(8))[5:] == ["ssd"] * 3
    user.now += 1
    user.match(chain(6))
    assert user.settle() == 0
    user.now += 1
    assert user.match(chain(6)).matched == 6
    assert user.settle() == 1
    assert user.where(chain(8))[5:] == [back, "ssd", "ssd"]
    check(user, chain(8))
    assert user.cache.stats()["promoted"] == 1


def test_where_always_is_set_the_first_hit_brings_it_back() -> None:
    user = TierUser()
    user.cache.configure(
        lease_ms_max=60_000, write_grace_ms=0, closed_sessions_max=9, promote_always=True
    )
    user.put(chain(8))
    user.settle()
    user.now += 1
    user.match(chain(8))
    user.settle()
    assert user.where(chain(8)) == ["memory"] * 7 + ["ssd"], "as many as stay below the watermark"


def test_a_lookup_that_does_not_touch_brings_nothing_back() -> None:
    user = TierUser()
    user.put(chain(8))
    user.settle()
    for _ in range(3):
        user.now += 1
        user.match(chain(8), touch=False)
    assert user.settle() == 0


def test_blocks_written_to_the_slow_storage_come_up_at_their_second_hit() -> None:
    user = TierUser()
    user.put(chain(4), storage="ssd")
    user.match(chain(4))
    assert user.settle() == 0
    user.match(chain(4))
    assert user.settle() == 4
    assert user.where(chain(4)) == ["memory"] * 4
    check(user, chain(4))


def test_promotion_into_a_full_memory_lets_colder_blocks_go() -> None:
    user = TierUser(high_watermark=0.8, low_watermark=0.8)
    user.put(chain(8))
    user.settle()
    user.put(keys("x", "y", "z"), storage="ssd")
    for _ in range(2):
        user.now += 1
        user.match(keys("x", "y", "z"))
    for _ in range(20):
        user.now += 200
        user.settle()
    assert user.where(keys("x", "y", "z")) == ["memory"] * 3
    assert user.where(chain(8)).count("ssd") >= 3
    assert user.cache.stats()["evictions"] == 0
    check(user, keys("x", "y", "z"))


def test_promotion_asks_for_no_more_room_than_it_needs_while_bytes_are_on_their_way_out() -> None:
    user = TierUser(memory_blocks=20, high_watermark=0.8, low_watermark=0.6, grace_ms=1_000)
    user.put(chain(16))
    user.settle()
    user.now += 1_000
    user.settle()
    hot = keys("x", "y", "z")
    user.put(hot, storage="ssd")
    for _ in range(2):
        user.now += 1
        user.match(hot)
    demoted = user.cache.stats()["demoted"]
    for _ in range(30):
        user.now += 100
        user.settle()
    assert user.where(hot) == ["memory"] * 3
    assert user.cache.stats()["demoted"] - demoted <= 3


def test_promotion_waits_for_bytes_that_are_on_their_way_out() -> None:
    user = TierUser(memory_blocks=10, high_watermark=0.8, low_watermark=0.6, grace_ms=1_000)
    user.put(chain(6))
    user.settle()
    user.put(keys(*"pqrstuvw"), storage="ssd")
    for _ in range(2):
        user.now += 1
        user.match(keys(*"pqrstuvw"))
    for _ in range(40):
        user.now += 100
        user.settle()
    assert user.where(keys(*"pqrstuvw")) == ["memory"] * 7 + ["ssd"], "as many as there is room for"
    assert user.where(chain(6)) == ["ssd"] * 6


@BOTH
def test_what_is_leased_stays_where_it_is(tiering: str) -> None:
    user = TierUser(tiering, quota_bytes=1_000)
    user.put(chain(8))
    if tiering == "inclusive":
        user.settle()
        user = TierUser(tiering, quota_bytes=1_000)
        user.put(chain(8))
    answer = user.match(chain(8), lease_ms=1_000)
    assert answer.lease_id is not None
    user.settle()
    assert [where.split("+")[0] for where in user.where(chain(8))] == ["memory"] * 8
    user.now += 1_000
    user.settle()
    assert user.where(chain(8))[-1] == "ssd"


def test_a_lease_that_comes_while_the_copy_is_made_stops_the_move() -> None:
    user = TierUser(quota_bytes=1_000)
    user.put(chain(8))
    user.cache.tick(user.now)
    move = user.next_move()
    assert move is not None
    lease = user.match(chain(8), lease_ms=1_000).lease_id
    assert user.copy(move) == 0
    assert user.where(chain(8)) == ["memory"] * 8
    assert user.cache.stats()["used_bytes"] == 80
    assert lease is not None
    user.cache.release_lease(user.instance, lease, user.now)
    user.now += 5_000
    user.settle()
    assert user.where(chain(8))[-1] == "ssd"


def test_a_leased_block_on_the_slow_storage_comes_up_when_the_lease_is_over() -> None:
    user = TierUser(quota_bytes=1_000)
    user.put(chain(4), storage="ssd")
    for _ in range(2):
        user.now += 1
        user.match(chain(4), lease_ms=500)
    user.settle()
    assert user.where(chain(4)) == ["ssd"] * 4
    user.now += 1_000
    user.settle()
    assert user.where(chain(4)) == ["memory"] * 4


@pytest.mark.parametrize("how", ["remove", "trim", "drop"])
def test_blocks_that_go_while_they_are_copied_give_their_target_back(how: str) -> None:
    user = TierUser()
    user.put(chain(8))
    user.cache.tick(user.now)
    move = user.next_move()
    assert move is not None
    if how == "remove":
        user.cache.remove(user.instance, keys(NAMES[7]), user.now)
    elif how == "trim":
        user.cache.trim_all(user.instance, user.now)
    else:
        user.cache.drop_index(user.instance, user.now)
        user.catalog.instances.pop(b"one")
    user.tick()
    slots = user.stores["memory"].slots
    assert all(move.source_place + offset in slots for offset in range(move.count)), "being read"
    moved = user.copy(move)
    assert moved == (move.count - 1 if how == "remove" else 0)
    user.now += 1_000
    user.tick()
    left = sum(store.used_bytes for store in user.stores.values())
    assert left == (70 if how == "remove" else 0)


def test_an_id_that_got_a_new_owner_is_not_taken_for_the_old_one() -> None:
    user = TierUser(chained=False, memory_blocks=20, high_watermark=0.4, low_watermark=0.2)
    user.put(chain(8))
    user.cache.tick(user.now)
    move = user.next_move()
    assert move is not None
    user.cache.remove(user.instance, chain(8), user.now)
    user.put(chain(8, 10))
    assert user.copy(move) == 0
    assert user.where(chain(8, 10)) == ["memory"] * 8
    check(user, chain(8, 10))


def test_a_copy_that_fails_leaves_the_source_and_demotion_waits_a_while() -> None:
    user = TierUser()
    user.put(chain(8))
    user.cache.tick(user.now)
    move = user.next_move()
    assert move is not None
    assert user.cache.end_move(move, OSError(5, "EIO"), user.now) == 0
    check(user, chain(8))
    assert user.matched(chain(8)) == 8
    stats = user.cache.stats()
    assert (stats["moves_failed"], stats["used_bytes"]) == (1, 80)
    user.cache.tick(user.now)
    assert user.next_move() is None
    user.now += 1_000
    user.settle()
    assert user.where(chain(8)).count("ssd") == 3
    check(user, chain(8))


def test_damaged_bytes_are_not_published_elsewhere() -> None:
    user = TierUser()
    user.put(chain(8))
    span = user.match(chain(8)).spans[0]
    user.stores["memory"].view(span.shape, span.place + 6)[0] ^= 1
    user.settle()
    assert user.where(chain(8))[6] == "", "the damaged copy was dropped"
    [item] = user.cache.explain(user.instance, keys(NAMES[6]), user.now)
    assert item.reason == "corrupt"
    check(user, chain(8))


@BOTH
def test_a_quota_of_everything_is_never_overshot_by_a_move(tiering: str) -> None:
    user = TierUser(tiering, quota_bytes=90, high_watermark=0.8, low_watermark=0.3)
    user.put(chain(8))
    for _ in range(10):
        user.cache.tick(user.now)
        move = user.next_move()
        if move is None:
            break
        assert user.cache.stats()["used_bytes"] <= 90
        user.copy(move)
        assert user.cache.stats()["used_bytes"] <= 90
    check(user, chain(8))


def test_where_the_slow_storage_is_full_reclaim_drops_blocks_as_before() -> None:
    user = TierUser(type_quotas={"ssd": 5})
    user.put(chain(8))
    user.settle()
    user.settle()
    assert user.cache.stats()["evictions"] == 3
    assert user.where(chain(8)) == ["memory"] * 5 + [""] * 3


def test_without_another_storage_reclaim_drops_blocks() -> None:
    user = TierUser(storages=("memory",))
    user.put(chain(8))
    user.settle()
    assert user.where(chain(8)) == ["memory"] * 5 + [""] * 3


def test_a_target_that_is_disabled_meanwhile_gets_nothing() -> None:
    user = TierUser()
    user.put(chain(8))
    user.cache.tick(user.now)
    move = user.next_move()
    assert move is not None
    user.catalog.get_storage("ssd").enabled = False
    user.cache.storage_changed(user.catalog.get_storage("ssd"))
    assert user.copy(move) == 0
    assert user.matched(chain(8)) == 8
    assert user.stores["ssd"].used_bytes == 0


def test_a_target_that_is_removed_meanwhile_is_not_touched_again() -> None:
    user = TierUser()
    user.put(chain(8))
    user.cache.tick(user.now)
    move = user.next_move()
    assert move is not None
    user.cache.drop_storage(user.catalog.get_storage("ssd"), user.now)
    assert user.stores["ssd"].used_bytes == 0
    assert user.copy(move) == 0
    assert user.matched(chain(8)) == 8
    user.used()


def test_what_was_copied_into_a_file_that_is_lost_does_not_count() -> None:
    user = TierUser()
    user.put(chain(8))
    user.cache.tick(user.now)
    move = user.next_move()
    assert move is not None
    disk = user.catalog.get_storage("ssd")
    assert user.cache.drop_lost(disk, {move.target_place >> 32}, user.now) == 0
    assert user.copy(move) == 0
    assert user.where(chain(8)) == ["memory"] * 8
    assert user.stores["ssd"].used_bytes == 0


def test_a_storage_that_refuses_slots_with_an_error_is_like_a_full_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    user = TierUser()
    user.put(chain(8))

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(user.stores["ssd"], "reserve", refuse)
    user.settle()
    user.settle()
    assert user.where(chain(8)) == ["memory"] * 5 + [""] * 3


def test_inclusive_writes_through_and_then_leaves_memory_without_a_copy() -> None:
    user = TierUser("inclusive", memory_blocks=10)
    user.put(chain(5))
    assert user.settle() == 5
    assert user.where(chain(5)) == ["memory+ssd"] * 5
    assert user.cache.stats()["mirrored"] == 5
    user.put(keys(*NAMES[:5], *NAMES[10:13]))
    user.settle()
    assert user.where(keys(*NAMES[10:13]))[-1] == "ssd"
    check(user, keys(*NAMES[:13]))
    assert user.matched(chain(5)) == 5
    user.cache.remove(user.instance, keys(*NAMES[:13]), user.now)
    user.settle()
    assert user.used() == 0


def test_written_through_blocks_survive_the_loss_of_memory() -> None:
    user = TierUser("inclusive")
    user.put(chain(5))
    user.settle()
    user.cache.drop_storage(user.catalog.get_storage("memory"), user.now)
    assert user.matched(chain(5)) == 5
    assert user.cache.stats()["hits_by_type"] == {"ssd": 5}


def test_parts_of_blocks_move_too() -> None:
    user = TierUser(specs=2, memory_blocks=4)
    for number, name in enumerate(NAMES[:8]):
        user.put(keys(*NAMES[:number], name), spec_masks=[1] * (number + 1))
    user.settle()
    assert user.where(chain(8)).count("ssd") >= 3
    assert user.matched(chain(8), specs=1) == 8


def test_hits_are_attributed_to_where_the_blocks_are() -> None:
    user = TierUser()
    user.put(chain(8))
    user.settle()
    user.match(chain(8))
    assert user.cache.stats()["hits_by_type"] == {"memory": 5, "ssd": 3}


def test_an_extent_in_pieces_becomes_several_moves() -> None:
    user = TierUser(memory_blocks=20)
    user.stores["ssd"].linear = False
    user.put(chain(6))
    user.settle()
    first = keys(*[f"s{number}" for number in range(4)])
    user.put(first, storage="ssd")
    user.cache.remove(user.instance, first, user.now)
    user.put(keys(*NAMES[:16]))
    user.settle()
    assert user.where(chain(16)).count("ssd") == 6
    check(user, chain(16))
    assert user.matched(chain(16)) == 16


def test_a_write_that_finds_memory_full_goes_to_the_slow_storage() -> None:
    user = TierUser()
    user.put(chain(10))
    user.put(keys("x"))
    assert user.where(keys("x")) == ["ssd"]


def test_switching_tiering_on_later_finds_what_is_there() -> None:
    user = TierUser("none")
    user.put(chain(7))
    user.group.tiering = "exclusive"
    user.put(keys(*NAMES[:7], "z"))
    user.settle()
    assert user.where(chain(7)).count("ssd") >= 2
    check(user, chain(7))
