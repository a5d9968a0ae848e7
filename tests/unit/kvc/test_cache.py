"""Cases of the cache that the walk beside the naive one does not reach or does not name."""

from typing import Any

import pytest
from tests.testing.kvc_cache import CacheUser, keys

from hotplate.errors import (
    BadChainError,
    BadMaskError,
    ChecksumError,
    CommandError,
    InUseError,
    NoSessionError,
    NoSpaceError,
    QuotaError,
    SessionClosedError,
)
from hotplate.kvc import write_session as outcomes
from hotplate.kvc.answers import Mode
from hotplate.kvc.keys import Keys
from hotplate.kvc.model import StorageState

CHAIN = keys("a", "b", "c", "d")


def test_zero_keys_match_nothing_and_reserve_nothing() -> None:
    user = CacheUser()
    none = keys()
    answer = user.match(none, lease_ms=1000)
    assert (answer.matched, answer.start, answer.spans, answer.lease_id) == (0, 0, [], None)
    reserved = user.start(none)
    assert (reserved.session_id, reserved.mask, reserved.spans) == (None, b"", [])


def test_a_chain_written_at_once_is_answered_as_one_span_with_its_sums() -> None:
    user = CacheUser()
    reserved = user.start(CHAIN)
    sums = b"".join(number.to_bytes(8, "big") for number in (1 << 60, 2 << 60, 3 << 60, 4 << 60))
    assert user.matched(CHAIN) == 0, "WRITING is a miss"
    assert user.finish(reserved.session_id, sums=sums) == (4, 0)
    (span,) = user.match(CHAIN).spans
    assert (span.first, span.count, span.sums) == (0, 4, sums)
    assert user.stores["memory"].published[span.place + 3] == (CHAIN[3], sums[24:])


def test_a_chain_that_grows_block_by_block_stays_one_run() -> None:
    user = CacheUser()
    user.store(keys("a", "b"))
    user.store(keys("c"), parent=keys("b")[0])
    user.store(keys("d"), parent=keys("c")[0])
    assert len(list(user.cache.index_of(user.instance).runs())) == 1
    answer = user.match(CHAIN)
    assert [(span.first, span.count) for span in answer.spans] == [(0, 2), (2, 1), (3, 1)]
    assert [span.generation for span in answer.spans] == [1, 2, 3]


def test_a_key_repeated_below_itself_folds_whether_found_by_bisection_or_not() -> None:
    user = CacheUser()
    user.store(keys("a", "b"))
    reserved = user.start(keys("a", "b", "a", "x"))
    assert reserved.mask == b"1110"
    assert user.finish(reserved.session_id, sums=b"\x01" * 8) == (1, 0)
    assert user.matched(keys("a", "b", "x")) == 3


def test_a_zero_key_does_not_stand_for_a_key_of_another_width() -> None:
    user = CacheUser()
    user.store(keys("a"))
    user.store(Keys.listed([b"odd"]), parent=keys("a")[0])
    below = Keys.listed([b"belowodd"])
    user.store(below, parent=b"odd")
    real = Keys.listed([keys("a")[0], b"odd", b"belowodd"])
    assert user.matched(real) == 3
    assert user.matched(Keys.listed([keys("a")[0], bytes(8), b"belowodd"])) == 1


def test_a_key_under_another_parent_is_refused_and_nothing_changes() -> None:
    user = CacheUser()
    user.store(CHAIN)
    used = user.used()
    for wanted, parent in ((keys("a", "c"), None), (keys("x", "b"), None), (keys("y"), b"no")):
        with pytest.raises(BadChainError):
            user.start(wanted, parent=parent)
    assert user.used() == used
    assert user.cache.session_count(user.now) == 0


def test_a_request_larger_than_the_quota_can_never_fit() -> None:
    user = CacheUser(quota_bytes=30)
    with pytest.raises(QuotaError, match="group g used=0 limit=30 need=40 retry_ms=-1"):
        user.start(CHAIN)


def test_with_grace_the_victims_are_on_their_way_and_the_call_says_when() -> None:
    user = CacheUser(quota_bytes=40, grace_ms=700)
    user.store(CHAIN)
    with pytest.raises(QuotaError, match="used=40 limit=40 need=20 retry_ms=700"):
        user.start(keys("x", "y"))
    assert user.matched(CHAIN) == 2, "no more victims than the request needs"
    user.now += 300
    with pytest.raises(QuotaError, match="retry_ms=400"):
        user.start(keys("x", "y"))
    assert user.matched(CHAIN) == 2, "what is on its way out is credited"
    user.now += 400
    user.tick()
    assert user.start(keys("x", "y")).mask == b"00"


def test_the_blocks_a_write_builds_on_are_not_its_victims() -> None:
    user = CacheUser(quota_bytes=40)
    user.store(CHAIN)
    with pytest.raises(QuotaError):
        user.start(keys("a", "b", "c", "d", "e"))
    assert user.matched(CHAIN) == 4
    user.store(keys("a", "b", "z"))
    assert user.matched(keys("a", "b", "z")) == 3
    assert user.matched(CHAIN) == 3, "the last of the other branch made room"


def test_a_block_that_becomes_a_leaf_during_a_refused_write_still_expires() -> None:
    marks: dict[str, Any] = {"high_watermark": 1.0, "low_watermark": 1.0}
    user = CacheUser(max_blocks=2, quota_bytes=25, grace_ms=1000, **marks)
    user.store(keys("a"), ttl_ms=1_000)
    user.store(keys("a", "b"), ttl_ms=100_000)
    user.now += 2_000
    user.tick()
    assert user.matched(keys("a", "b"), touch=False) == 2
    with pytest.raises(QuotaError, match="group g"):
        user.start(keys("a", "c"))
    assert user.matched(keys("a", "b"), touch=False) == 1, "b made room among the blocks"
    user.now += 100_000
    user.tick()
    assert user.cache.block_count(user.instance) == 0


def test_a_full_storage_is_passed_over_and_then_made_room_on() -> None:
    user = CacheUser(capacity_bytes=40)
    user.store(keys("a", "b", "c"))
    user.store(keys("x", "y", "z"))
    assert {span.storage for span in user.match(keys("x", "y", "z")).spans} == {1}
    user.store(keys("p", "q", "r"))
    assert user.matched(keys("p", "q", "r")) == 3
    assert user.matched(keys("a", "b", "c")) == 1
    with pytest.raises(NoSpaceError, match="storage memory need=50"):
        user.start(keys("1", "2", "3", "4", "5"))


def test_reclaim_keeps_headroom_on_a_storage_whose_groups_have_no_quota() -> None:
    user = CacheUser(capacity_bytes=200, storages=("memory",))
    user.store(Keys.listed([b"block%03d" % number for number in range(20)]))
    user.tick()
    assert user.used() == 170


def test_watermarks_reclaim_down_to_the_low_one() -> None:
    user = CacheUser(quota_bytes=200, high_watermark=0.9, low_watermark=0.5)
    user.store(Keys.listed([b"block%03d" % number for number in range(17)]))
    user.tick()
    assert user.used() == 170
    user.store(keys("x"))
    user.tick()
    assert user.used() == 100


def test_the_index_is_bounded() -> None:
    user = CacheUser(cache={"index_bytes_max": 200_000})
    with pytest.raises(NoSpaceError, match="index g need="):
        user.store(Keys.listed([b"%08d" % number for number in range(2_000)]))
    assert user.used() == 0
    assert user.cache.block_count(user.instance) == 0


def test_sessions_of_a_group_are_bounded() -> None:
    user = CacheUser(max_sessions=1)
    user.start(keys("a"), timeout_ms=5_000)
    with pytest.raises(QuotaError, match="sessions g used=1 limit=1 need=1 retry_ms=5000"):
        user.start(keys("b"))
    user.now += 5_000
    assert user.start(keys("b")).mask == b"0"


def test_leased_bytes_stay_under_half_of_the_quota() -> None:
    user = CacheUser(quota_bytes=100)
    user.store(keys(*"abcdefgh"))
    assert user.match(keys(*"abcde"), lease_ms=1000).lease_id is None
    first = user.match(keys(*"abcd"), lease_ms=1000)
    again = user.match(keys(*"abcd"), lease_ms=1000)
    assert first.lease_id is not None
    assert again.lease_id is not None, "the same blocks count once"
    assert user.cache.stats(user.group)["leased_bytes"] == 40
    assert user.match(keys(*"abcde"), lease_ms=1000).lease_id is None
    user.now += 1000
    user.tick()
    assert user.cache.stats(user.group)["leased_bytes"] == 0


def test_a_removed_leased_block_is_read_until_the_lease_ends() -> None:
    user = CacheUser()
    user.store(CHAIN)
    lease = user.match(CHAIN, lease_ms=1000).lease_id
    assert user.cache.remove(user.instance, keys("d"), user.now) == 1
    key = keys("d")[0]
    assert user.cache.read(user.instance, key, None, user.now) is None
    slot = user.cache.read(user.instance, key, None, user.now, lease)
    assert slot is not None
    assert user.used() == 40
    user.now += 1000
    assert user.cache.read(user.instance, key, None, user.now, lease) is None
    assert user.used() == 30


def test_a_pinned_slot_is_not_given_back_while_its_bytes_travel() -> None:
    user = CacheUser()
    user.store(CHAIN)
    slot = user.cache.read(user.instance, CHAIN[3], None, user.now)
    assert slot is not None
    user.cache.pin(slot)
    user.cache.remove(user.instance, keys("d"), user.now)
    assert slot.place in user.stores["memory"].slots
    user.cache.unpin(slot)
    user.now += 10
    user.tick()
    assert slot.place not in user.stores["memory"].slots


def test_an_overdue_session_is_dropped_and_its_space_stays_for_slow_writers() -> None:
    user = CacheUser()
    reserved = user.start(CHAIN, timeout_ms=1_000)
    assert reserved.session_id is not None
    session = user.cache.session(user.instance, reserved.session_id, user.now)
    session.begin_transfer()
    user.now += 1_000
    assert user.start(CHAIN).mask == b"0000", "no WRITING copy masks a key for ever"
    with pytest.raises(NoSessionError):
        user.finish(reserved.session_id)
    assert user.used() == 80
    user.now += 60_000
    user.tick()
    assert user.used() == 80, "the transfer has not ended; the second session is in quarantine"
    session.end_transfer()
    user.now += 60_000
    user.tick()
    assert user.used() == 0


def test_settings_that_change_hold_from_now_on() -> None:
    user = CacheUser()
    user.cache.configure(lease_ms_max=500, write_grace_ms=5, closed_sessions_max=0)
    reserved = user.start(CHAIN, timeout_ms=1_000)
    assert reserved.session_id is not None
    user.now += 1_000
    user.tick()
    assert user.used() == 40
    user.now += 5
    user.tick()
    assert user.used() == 0, "the quarantine is 5 ms now"
    again = user.start(CHAIN)
    assert again.session_id is not None
    user.finish(again.session_id, outcomes.NOTHING)
    with pytest.raises(NoSessionError):
        user.finish(again.session_id, outcomes.NOTHING)  # nothing is remembered of it
    with pytest.raises(CommandError, match="501"):
        user.match(CHAIN, lease_ms=501)


def test_a_session_is_not_published_while_bytes_arrive_in_it() -> None:
    user = CacheUser()
    session_id = user.start(CHAIN).session_id
    assert session_id is not None
    session = user.cache.session(user.instance, session_id, user.now)
    session.begin_transfer()
    with pytest.raises(InUseError, match="1 KVC"):
        user.finish(session_id, sums=b"\x01" * 32)
    assert user.matched(CHAIN) == 0
    session.end_transfer()
    assert user.finish(session_id, sums=b"\x01" * 32) == (4, 0)
    assert user.matched(CHAIN) == 4


def test_a_session_can_be_dropped_while_bytes_arrive_in_it() -> None:
    user = CacheUser()
    session_id = user.start(CHAIN).session_id
    assert session_id is not None
    session = user.cache.session(user.instance, session_id, user.now)
    session.begin_transfer()
    assert user.finish(session_id, outcomes.NOTHING) == (0, 4)
    assert user.used() == 40
    session.end_transfer()
    user.now += 10
    user.tick()
    assert user.used() == 0


@pytest.mark.parametrize("limit", [{"quota_bytes": 40}, {"type_quotas": {"memory": 40}}, {}])
def test_what_is_due_is_given_back_to_a_write_that_needs_it(limit: dict[str, Any]) -> None:
    user = CacheUser(capacity_bytes=40, storages=("memory",), **limit)
    user.store(CHAIN)
    assert user.cache.trim_all(user.instance, user.now) == 4
    assert user.used() == 40, "no background work was done"
    user.store(keys("e", "f", "g"))
    assert user.matched(keys("e", "f", "g")) == 3
    user.tick()
    assert user.used() == 30


def test_what_a_write_needs_waits_for_the_grace() -> None:
    user = CacheUser(quota_bytes=40, grace_ms=500)
    user.store(CHAIN)
    user.cache.trim_all(user.instance, user.now)
    with pytest.raises(QuotaError, match="retry_ms=500"):
        user.start(keys("e"))
    user.now += 500
    user.store(keys("e"))


def test_why_a_prefix_ended_is_counted() -> None:
    user = CacheUser(specs=2)
    user.store(keys("a", "b"), ttl_ms=1_000)
    user.store(keys("c"), parent=keys("b")[0], spec_masks=[1])
    user.start(keys("w"))
    names = ("absent", "writing", "expired", "unavailable", "incomplete")

    def stops(wanted: Keys, **options: Any) -> dict[str, int]:
        before = user.cache.stats(user.instance)
        user.matched(wanted, **options)
        after = user.cache.stats(user.instance)
        each = {name: after[f"stops_{name}"] - before[f"stops_{name}"] for name in names}
        return {name: count for name, count in each.items() if count}

    assert stops(keys("a", "b")) == {}
    assert stops(keys("a", "b", "n", "m")) == {"absent": 1}
    assert stops(keys("w")) == {"writing": 1}
    assert stops(keys("a", "b", "c"), specs=2) == {"incomplete": 1}
    for failure, expected in (("Input/output error", {"unavailable": 1}), ("", {})):
        user.catalog.get_storage("memory").failure = failure
        user.cache.storage_changed(user.catalog.get_storage("memory"))
        assert stops(keys("a")) == expected
    user.store(keys("e", "f"), ttl_ms=1_000)
    user.now += 1_000
    assert stops(keys("e", "f")) == {"expired": 1}


def test_the_same_finish_answers_the_same_and_another_is_refused() -> None:
    user = CacheUser(cache={"closed_sessions_max": 2})
    session = user.start(CHAIN).session_id
    answer = user.finish(session, outcomes.prefix(2), b"\x01" * 16)
    assert answer == (2, 2)
    assert user.finish(session, outcomes.prefix(2)) == answer
    assert user.finish(session, outcomes.mask(b"1100")) == answer
    with pytest.raises(SessionClosedError):
        user.finish(session, outcomes.ALL)
    other = user.register(b"other")
    assert session is not None
    with pytest.raises(NoSessionError):
        user.cache.finish(other, session, outcomes.prefix(2), None, user.now)
    for name in "xy":
        user.store(keys(name))
    with pytest.raises(NoSessionError):
        user.finish(session, outcomes.prefix(2))


@pytest.mark.parametrize(
    ("outcome", "sums", "error"),
    [
        (outcomes.ALL, None, ChecksumError),
        (outcomes.ALL, b"\x01" * 24, ChecksumError),
        (outcomes.ALL, b"\x01" * 24 + bytes(8), ChecksumError),
        (outcomes.prefix(5), b"", BadMaskError),
        (outcomes.prefix(-1), b"", BadMaskError),
        (outcomes.mask(b"111"), b"", BadMaskError),
        (outcomes.mask(b"11x1"), b"", BadMaskError),
        (outcomes.full_mask(b"11111"), b"", BadMaskError),
    ],
)
def test_a_finish_that_is_refused_leaves_the_session_open(
    outcome: outcomes.Outcome, sums: bytes | None, error: type[CommandError]
) -> None:
    user = CacheUser()
    session = user.start(CHAIN).session_id
    with pytest.raises(error):
        user.finish(session, outcome, sums)
    assert user.matched(CHAIN) == 0
    assert user.finish(session, sums=b"\x01" * 32) == (4, 0)


def test_sums_of_the_server_fill_zeros_and_refuse_others() -> None:
    user = CacheUser(specs=2)
    reserved = user.start(keys("a"))
    assert reserved.session_id is not None
    session = user.cache.session(user.instance, reserved.session_id, user.now)
    slot = user.cache.slot(session, 0, 1)
    assert (slot.offset, slot.size) == (10, 10)
    user.cache.written(session, 0, 1, [(7).to_bytes(8, "big")])
    with pytest.raises(ChecksumError, match="s0"):
        user.finish(session.id)
    with pytest.raises(ChecksumError, match="0000000000000007"):
        user.finish(session.id, sums=b"\x01" * 16)
    user.finish(session.id, sums=b"\x01" * 8 + bytes(8))
    (span,) = user.match(keys("a")).spans
    assert span.sums == b"\x01" * 8 + (7).to_bytes(8, "big")
    with pytest.raises(CommandError, match="index 1 of 1"):
        user.cache.slot(session, 1, None)


def test_put_keeps_new_blocks_and_gives_the_other_slots_back() -> None:
    user = CacheUser()
    user.store(keys("a", "b"))
    staged = [user.cache.stage(user.instance, 8, user.now) for _ in range(4)]
    assert user.used() == 60
    new = user.cache.put(user.instance, CHAIN, staged, b"\x02" * 32, now_ms=user.now)
    assert new == 2
    assert user.used() == 40
    assert user.matched(CHAIN) == 4
    slot = user.cache.read(user.instance, CHAIN[3], None, user.now)
    assert slot is not None
    assert slot.place == staged[3].place


def test_a_refused_put_leaves_its_slots_staged() -> None:
    user = CacheUser(quota_bytes=20)
    staged = [user.cache.stage(user.instance, 8, user.now) for _ in range(2)]
    with pytest.raises(QuotaError):
        user.cache.stage(user.instance, 8, user.now)
    with pytest.raises(BadChainError):
        user.cache.put(
            user.instance, keys("a", "b"), staged, b"\x01" * 16, now_ms=user.now, parent=b"none"
        )
    assert user.used() == 20
    for slot in staged:
        user.cache.unstage(user.instance, slot)
    assert user.used() == 0


def test_copies_that_hold_the_asked_specs_together_are_a_hit() -> None:
    user = CacheUser(specs=2)
    first = user.start(keys("a"), spec_masks=[1])
    user.finish(first.session_id, sums=b"\x01" * 8)
    assert user.matched(keys("a")) == 1
    assert user.matched(keys("a"), specs=3) == 0
    second = user.start(keys("a"))
    assert [span.specs for span in second.spans] == [2]
    user.finish(second.session_id, sums=b"\x02" * 8)
    answer = user.match(keys("a"), specs=3)
    assert sorted(span.specs for span in answer.spans) == [1, 2]


def test_copies_on_a_disabled_storage_are_misses_until_it_is_back() -> None:
    user = CacheUser()
    user.store(CHAIN)
    memory = user.catalog.set_storage_state("memory", StorageState.DISABLED)
    user.cache.storage_changed(memory)
    assert user.matched(CHAIN) == 0
    user.store(CHAIN)
    assert user.matched(CHAIN) == 4
    user.catalog.set_storage_state("memory", StorageState.AVAILABLE)
    user.cache.storage_changed(memory)
    assert {span.storage for span in user.match(CHAIN).spans} == {0}, "the fastest tier"
    assert user.used() == 80


def test_dropping_a_storage_drops_its_copies_and_frees_every_slot() -> None:
    user = CacheUser(grace_ms=60_000)
    user.store(keys("a", "b"))
    user.store(keys("c"), parent=keys("b")[0], storage="ssd")
    user.store(keys("old"))
    user.cache.remove(user.instance, keys("old"), user.now)
    user.match(keys("a"), lease_ms=1_000)
    user.start(keys("w"))
    memory = user.catalog.storages["memory"]
    assert user.cache.drop_storage(memory, user.now) == 2
    assert user.cache.storage_bytes(memory) == 0
    assert user.stores["memory"].slots == {}
    assert user.matched(keys("c"), Mode.EXACT) == 1


def test_trim_all_hides_at_once_and_frees_in_slices() -> None:
    user = CacheUser()
    many = Keys.listed([b"%08d" % number for number in range(3_000)])
    user.store(many)
    session = user.start(keys("w")).session_id
    assert user.cache.trim_all(user.instance, user.now) == 3_001
    assert user.matched(many) == 0
    assert user.cache.tick(user.now), "more is to do"
    user.tick()
    assert user.used() == 10, "the session's slot is its own until it ends"
    assert user.finish(session, sums=b"\x01" * 8) == (0, 1)
    assert user.used() == 0
    user.store(many)
    assert user.matched(many) == 3_000


def test_dropping_an_instance_frees_everything_it_held() -> None:
    user = CacheUser()
    user.store(CHAIN)
    user.start(keys("w"))
    lease = user.match(CHAIN, lease_ms=1000).lease_id
    assert lease is not None
    assert user.cache.drop_index(user.instance, user.now) == 5
    user.now += 60_000
    user.tick()
    assert user.used() == 0


def test_a_window_is_the_right_most_run_of_hits() -> None:
    user = CacheUser()
    user.store(CHAIN)
    user.cache.remove(user.instance, keys("c"), user.now)
    answer = user.match(CHAIN, Mode.WINDOW, window=2)
    assert (answer.matched, answer.start) == (2, 0)
    assert [(span.first, span.count) for span in answer.spans] == [(0, 2)]
    answer = user.match(CHAIN, Mode.WINDOW, window=1)
    assert (answer.matched, answer.start) == (1, 3)
    answer = user.match(CHAIN, Mode.WINDOW, window=3)
    assert (answer.matched, answer.start, answer.spans) == (0, -1, [])
    with pytest.raises(CommandError, match="WINDOW 5 of 4"):
        user.match(CHAIN, Mode.WINDOW, window=5)


def test_a_hole_elsewhere_does_not_send_a_prefix_walking() -> None:
    user = CacheUser()
    user.store(CHAIN)
    user.store(keys("a", "b", "x", "y"))
    user.cache.remove(user.instance, keys("x"), user.now)
    before = user.cache.stats(user.instance)["walks"]
    assert user.matched(CHAIN) == 4
    assert user.matched(keys("a", "b", "x", "y")) == 2
    assert user.cache.stats(user.instance)["walks"] == before
