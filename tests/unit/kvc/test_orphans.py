"""Writers that vanish: no key stays masked past its deadline, no byte of theirs is given away."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.testing.kvc_cache import CacheUser, keys

from hotplate.errors import NoSessionError, QuotaError
from hotplate.kvc.answers import Reservation
from hotplate.kvc.keys import Keys

GRACE_MS = 60_000
CHAIN = keys("a", "b", "c")


def places(reserved: Reservation) -> set[tuple[int, int]]:
    """The slots that a reservation names."""
    return {
        (span.storage, span.place + offset)
        for span in reserved.spans
        for offset in range(span.count)
    }


def test_until_its_deadline_a_writer_has_its_keys_to_itself() -> None:
    user = CacheUser()
    user.start(CHAIN, timeout_ms=5_000)
    user.now += 4_999
    assert user.start(CHAIN).mask == b"111"


def test_at_the_deadline_another_writer_takes_over_in_other_slots() -> None:
    user = CacheUser()
    first = user.start(CHAIN, timeout_ms=5_000)
    user.now += 5_000
    second = user.start(CHAIN)
    assert second.mask == b"000"
    assert not places(first) & places(second), "the first writer may still be writing"
    with pytest.raises(NoSessionError):
        user.finish(first.session_id, sums=b"\x01" * 24)
    assert user.finish(second.session_id, sums=b"\x02" * 24) == (3, 0)
    (span,) = user.match(CHAIN).spans
    assert span.sums == b"\x02" * 24


def test_a_partial_copy_past_its_deadline_is_preempted_and_the_other_stays() -> None:
    user = CacheUser(specs=2)
    user.finish(user.start(keys("a"), spec_masks=[1]).session_id, sums=b"\x01" * 8)
    user.start(keys("a"), spec_masks=[2], timeout_ms=1_000)
    assert user.start(keys("a")).mask == b"1"
    user.now += 1_000
    again = user.start(keys("a"))
    assert (again.mask, [span.specs for span in again.spans]) == (b"0", [2])
    assert user.matched(keys("a"), specs=1) == 1


@pytest.mark.parametrize("transfers", [0, 1, 2])
def test_the_space_is_counted_and_kept_until_grace_and_transfers_are_over(transfers: int) -> None:
    user = CacheUser(cache={"write_grace_ms": GRACE_MS})
    first = user.start(CHAIN, timeout_ms=1_000)
    assert first.session_id is not None
    session = user.cache.session(user.instance, first.session_id, user.now)
    for _ in range(transfers):
        session.begin_transfer()
    user.now += 1_000
    user.tick()
    taken = places(first)
    for step in range(3):
        assert user.used() == 30 * (step + 1), "dropped space counts"
        reserved = user.start(CHAIN, timeout_ms=1_000)
        assert not places(reserved) & taken
        taken |= places(reserved)
        user.now += 1_000
        user.tick()
    user.now += GRACE_MS
    user.tick()
    for left in range(transfers, 0, -1):
        assert user.used() == 30, f"{left} transfers still run"
        user.now += GRACE_MS
        session.end_transfer()
    user.now += 1_000
    user.tick()
    assert user.used() == 0


def test_where_the_orphans_space_fills_the_quota_the_refusal_says_when_to_come_back() -> None:
    user = CacheUser(quota_bytes=30, cache={"write_grace_ms": GRACE_MS})
    user.start(CHAIN, timeout_ms=1_000)
    user.now += 1_000
    with pytest.raises(QuotaError, match=r"retry_ms=60000") as refused:
        user.start(CHAIN)
    retry_ms = re.search(r"retry_ms=(\d+)", str(refused.value))
    assert retry_ms is not None
    user.now += int(retry_ms[1])
    assert user.start(CHAIN).mask == b"000"


WRITES = st.lists(
    st.tuples(
        st.lists(st.sampled_from("abcde"), min_size=1, max_size=5, unique=True),
        st.sampled_from([1_000, 2_000, 30_000]),
        st.integers(0, 2_500),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


@given(WRITES, st.booleans())
def test_no_walk_of_vanishing_writers_masks_a_key_for_ever(
    writes: list[tuple[list[str], int, int, bool]], ticks: bool
) -> None:
    user = CacheUser(chained=False, specs=2, cache={"write_grace_ms": GRACE_MS})
    for names, timeout_ms, span_ms, partial in writes:
        masks = [1 + number % 2 for number in range(len(names))] if partial else None
        user.start(keys(*names), timeout_ms=timeout_ms, spec_masks=masks)
        user.now += span_ms
        if ticks:
            user.tick()
    user.now += 30_000
    everything = Keys.listed([name.encode().rjust(8, b".") for name in "abcde"])
    reserved = user.start(everything)
    assert reserved.mask == b"00000"
    assert user.finish(reserved.session_id, sums=b"\x01" * 80) == (5, 0)
    assert user.matched(everything) == 5
    user.now += GRACE_MS
    user.tick()
    assert user.used() == 100, "only what was published is left"
