"""The leaky bucket against a replay of every charge in fractions; its state, saved and loaded."""

from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.testing.bucket_oracle import BucketOracle, Charge

from hotplate.keyspace.bucket import (
    NEVER_MS,
    NOTE_ITEMS,
    NOTES_END,
    NOW_MS,
    Bucket,
    Limiter,
    Rate,
    id_of,
)
from hotplate.keyspace.bucket_leases import Leases
from hotplate.keyspace.bucket_ledger import HOLDS_MAX, HOLDS_OVER_MAX, Hold

MS = 1_000_000
HOUR = 3_600_000 * MS

SPANS = st.one_of(st.integers(0, 50), st.integers(0, 5_000_000_000), st.integers(0, 10**14))
RATES = st.tuples(
    st.integers(1, 200),
    st.sampled_from([1, 3, 7, 10, 700_000_000, 10**12]),
    st.sampled_from([1 * MS, 7 * MS, 1000 * MS, 60_000 * MS, 10**10 * MS]),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("charge"), SPANS, st.integers(0, 120)),
        st.tuples(st.just("reserve"), SPANS, st.integers(0, 120)),
        st.tuples(st.just("brief"), SPANS, st.integers(0, 120)),
        st.tuples(st.just("note"), SPANS, st.integers(0, 120)),
        st.tuples(st.just("settle"), SPANS, st.integers(0, 140)),
    ),
    max_size=30,
)


def reserve(bucket: Bucket, rid: bytes, cost: int, now_ns: int, ttl_ns: int = HOUR) -> None:
    hold = Hold(cost, 0, now_ns + ttl_ns)
    hold.answered(bucket.rate.limit, 0, 0)
    bucket.reserve(rid, hold, bucket.level(now_ns), now_ns)


def note(bucket: Bucket, number: int, cost: int, now_ns: int, ttl_ns: int) -> int:
    made = Limiter(b"made")
    made.number = number
    return bucket.note(made, cost, bucket.level(now_ns), now_ns, now_ns + ttl_ns)


def settle(bucket: Bucket, rid: bytes, actual: int, now_ns: int) -> tuple[int, int]:
    hold = bucket.hold(rid, now_ns)
    assert hold is not None
    given_back, over, level = bucket.settle(rid, hold, actual, now_ns)
    assert level == bucket.level(now_ns)
    return given_back, over


@given(RATES, STEPS, st.randoms(use_true_random=False))
def test_a_bucket_is_the_replay_of_its_charges(
    rates: tuple[int, int, int], steps: list[tuple[str, int, int]], rng: Random
) -> None:
    rate = Rate(*rates)
    bucket = Bucket(rate)
    oracle = BucketOracle(*rates)
    now_ns = rng.randrange(10**12)
    rids: list[bytes] = []
    for number, (kind, span_ns, amount) in enumerate(steps):
        now_ns += span_ns
        rid = b"%d" % number
        if kind == "charge":
            bucket.charge(amount * rate.period_ns, now_ns)
            oracle.charge(Charge(now_ns, Fraction(amount)))
        elif kind == "settle" and rids:
            rid = rng.choice(rids)
            expected = oracle.settle(rid, amount, now_ns)
            assert (bucket.hold(rid, now_ns) is None) == (expected is None)
            if expected is not None:
                refund, over = expected
                assert settle(bucket, rid, amount, now_ns) == (int(refund // 1), over)
        elif kind in ("reserve", "brief", "note"):
            ttl_ns = 1000 if kind == "brief" else HOUR
            if kind == "note":
                note(bucket, number, amount, now_ns, ttl_ns)
                rid = id_of(b"made", number)
            else:
                reserve(bucket, rid, amount, now_ns, ttl_ns)
            oracle.charge(Charge(now_ns, Fraction(amount), rid, now_ns + ttl_ns))
            rids.append(rid)
        assert Fraction(bucket.level(now_ns), rate.period_ns) == oracle.level(now_ns)


def test_refunding_what_has_leaked_would_let_150_tokens_through_a_limit_of_100() -> None:
    """The counterexample to `level -= reserved - actual`: 100 tokens, 10 a second."""
    rate = Rate(100, 10, 1000 * MS)
    bucket = Bucket(rate)
    reserve(bucket, b"first", 100, 0)
    now_ns = 5000 * MS
    assert bucket.level(now_ns) == 50 * rate.period_ns
    reserve(bucket, b"second", 50, now_ns)
    # of the 100 unused ones 50 had leaked: they are gone, and so is the room for another 100
    assert settle(bucket, b"first", 0, now_ns) == (50, 0)
    assert bucket.level(now_ns) == 50 * rate.period_ns
    assert rate.retry_ms(bucket.level(now_ns), 100 * rate.period_ns, rate.brim) == 5000
    assert rate.retry_ms(bucket.level(now_ns), 50 * rate.period_ns, rate.brim) == NOW_MS


@given(RATES, st.integers(0, 300), st.integers(1, 10**10), st.integers(0, 10**12))
def test_another_rate_never_grants_credit(
    rates: tuple[int, int, int], tokens: int, period_ms: int, later_ns: int
) -> None:
    old = Rate(*rates)
    bucket = Bucket(old)
    bucket.charge(tokens * old.period_ns, 0)
    before = Fraction(bucket.level(later_ns), old.period_ns)
    new = Rate(1, 5, period_ms * MS)
    bucket.adopt(new, later_ns)
    after = Fraction(bucket.level(later_ns), new.period_ns)
    assert before <= after < before + Fraction(1, new.period_ns)


def test_slacks_follow_another_period() -> None:
    bucket = Bucket(Rate(100, 10, 1000 * MS))
    reserve(bucket, b"a", 60, 0)
    reserve(bucket, b"b", 10, 3000 * MS)  # finds 30
    bucket.charge(5 * 1000 * MS, 4000 * MS)  # finds 30
    bucket.adopt(Rate(100, 20, 2000 * MS), 4000 * MS)
    assert settle(bucket, b"a", 0, 4000 * MS) == (30, 0)


def test_a_count_of_zero_never_drains() -> None:
    rate = Rate(10, 0, 1000 * MS)
    bucket = Bucket(rate)
    bucket.charge(4 * rate.period_ns, 0)
    assert bucket.level(HOUR * 10**6) == 4 * rate.period_ns
    assert rate.drain_ms(bucket.level(HOUR)) == NEVER_MS
    assert bucket.fades_ns() is None


def test_the_oldest_reservation_is_frozen_when_there_are_too_many() -> None:
    rate = Rate(10**6, 1, 1000 * MS)
    bucket = Bucket(rate)
    for number in range(HOLDS_MAX + HOLDS_OVER_MAX):
        reserve(bucket, b"%d" % number, 10, 0)
    assert bucket.hold(b"0", 0) is not None
    reserve(bucket, b"last", 10, 0)
    assert bucket.open_holds(0) == HOLDS_MAX
    assert bucket.hold(b"0", 0) is None
    assert bucket.hold(b"%d" % (HOLDS_OVER_MAX + 1), 0) is not None
    assert bucket.level(0) == 10 * (HOLDS_MAX + HOLDS_OVER_MAX + 1) * rate.period_ns


def test_what_is_noted_is_known_as_what_is_reserved() -> None:
    rate = Rate(10**6, 1, 1000 * MS)
    noted, reserved = Bucket(rate), Bucket(rate)
    for number in range(NOTES_END // NOTE_ITEMS + 10):  # the last ones find a Ledger
        rid, level, now_ns = id_of(b"made", number), noted.level(number), number
        hold = Hold(3, 0, now_ns + HOUR)
        after = reserved.reserve(rid, hold, level, now_ns)
        hold.answered(rate.limit, rate.remaining(after, rate.brim), rate.drain_ms(after))
        assert note(noted, number, 3, now_ns, HOUR) == after
        assert len(noted) == number + 1
        assert noted.fades_ns() == reserved.fades_ns()
        if number in (1, 20):
            assert noted.copy().dump(now_ns, 0) == reserved.dump(now_ns, 0)
    assert noted.sample_bytes(0) > 90 * len(noted)
    twin = noted.copy()
    assert twin.dump(HOUR, 0) == reserved.dump(HOUR, 0)
    assert not noted.is_idle(HOUR)
    assert twin.admitted == reserved.admitted


def test_reservations_whose_time_has_come_make_room_first() -> None:
    bucket = Bucket(Rate(10**6, 1, 1000 * MS))
    reserve(bucket, b"long", 10, 0)
    reserve(bucket, b"short", 10, 7000 * MS, ttl_ns=5)  # finds 3
    reserve(bucket, b"young", 10, 8000 * MS)
    assert len(bucket) == 2
    # what `short` found still limits what `long` gets back
    assert settle(bucket, b"long", 0, 8000 * MS) == (3, 0)


@given(RATES, STEPS, st.integers(0, 10**13), st.integers(-(10**13), 10**13))
def test_a_loaded_bucket_goes_on_as_the_saved_one(
    rates: tuple[int, int, int],
    steps: list[tuple[str, int, int]],
    later_ns: int,
    wall_step_ns: int,
) -> None:
    rate = Rate(*rates)
    bucket = Bucket(rate)
    now_ns = 0
    for number, (kind, span_ns, amount) in enumerate(steps):
        now_ns += span_ns
        rid = b"%d" % number
        if kind == "charge":
            bucket.charge(amount * rate.period_ns, now_ns)
        elif kind == "note":
            note(bucket, number, amount, now_ns, 10**12)
        elif kind != "settle":
            reserve(bucket, rid, amount, now_ns, ttl_ns=10**12)
    wall_ns = 1_700_000_000 * 10**9
    state = bucket.dump(now_ns, wall_ns)
    fresh_ns = 77  # another process: its monotonic clock began anew
    at_once = Bucket.load(state, fresh_ns, wall_ns)
    assert at_once.level(fresh_ns) == bucket.level(now_ns)
    later = Bucket.load(state, fresh_ns, wall_ns + later_ns)
    assert later.level(fresh_ns) == bucket.level(now_ns + later_ns)
    assert later.open_holds(fresh_ns) == bucket.open_holds(now_ns + later_ns)
    stepped = Bucket.load(state, fresh_ns, wall_ns + wall_step_ns)
    assert 0 <= stepped.level(fresh_ns) <= bucket.level(now_ns)
    numbers = range(len(steps))
    for rid in (*(b"%d" % number for number in numbers), *(id_of(b"made", n) for n in numbers)):
        if bucket.hold(rid, now_ns + later_ns) is not None:
            mine = settle(bucket, rid, 1, now_ns + later_ns)
            assert settle(later, rid, 1, fresh_ns) == mine
            assert later.level(fresh_ns) == bucket.level(now_ns + later_ns)


def test_state_is_plain_numbers_and_bytes() -> None:
    bucket = Bucket(Rate(100, 10, 1000 * MS))
    reserve(bucket, b"a", 60, 0, ttl_ns=500)
    bucket.charge(1000 * MS, 0)
    assert bucket.dump(100, 5) == (
        *(5, 61 * 1000 * MS - 1000, 100, 10, 1000 * MS, 60 * 1000 * MS),
        ((b"a", 60, 0, 0, 400, 100, 0, 0),),
    )


def test_a_copy_shares_nothing() -> None:
    bucket = Bucket(Rate(100, 10, 1000 * MS))
    reserve(bucket, b"a", 60, 0)
    twin = bucket.copy()
    settle(bucket, b"a", 0, 0)
    assert bucket.level(0) == 0
    assert twin.level(0) == 60 * 1000 * MS
    assert twin.hold(b"a", 0) is not None
    assert settle(twin, b"a", 10, 0) == (50, 0)


@pytest.mark.parametrize("samples", [0, 2])
def test_memory_grows_with_reservations_and_shedding_takes_them(samples: int) -> None:
    bucket = Bucket(Rate(100, 10, 1000 * MS))
    bucket.charge(1, 0)
    small = bucket.sample_bytes(samples)
    assert 80 <= small <= 200
    for number in range(10):
        reserve(bucket, b"%d" % number, 1, 0)
    assert bucket.sample_bytes(samples) > small + 10 * 100
    bucket.shed(4)
    assert len(bucket) == 6
    bucket.shed(40)
    assert len(bucket) == 0


def lease(leases: Leases, rid: bytes, places: int, now_ns: int, ttl_ns: int) -> None:
    hold = Hold(places, 0, now_ns + ttl_ns)
    hold.answered(leases.limit, 0, 0)
    leases.reserve(rid, hold, now_ns)


LEASE_STEPS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 4), st.integers(1, 100), st.booleans()),
    max_size=20,
)


@given(LEASE_STEPS, st.integers(1, 8), st.integers(1, 8))
def test_leases_are_the_sum_of_those_that_last(
    steps: list[tuple[int, int, int, bool]], limit: int, places: int
) -> None:
    leases = Leases(limit)
    naive: dict[bytes, tuple[int, int]] = {}
    now_ns = 0
    for number, (span_ns, cost, ttl_ns, release) in enumerate(steps):
        now_ns += span_ns
        rid = b"%d" % number
        if release and naive:
            gone = next(iter(naive))
            if leases.hold(gone, now_ns) is not None:
                leases.release(gone)
            del naive[gone]
        else:
            lease(leases, rid, cost, now_ns, ttl_ns)
            naive[rid] = (cost, now_ns + ttl_ns)
        naive = {rid: held for rid, held in naive.items() if held[1] > now_ns}
        assert leases.used_at(now_ns) == sum(cost for cost, _ in naive.values())
        assert leases.open_holds(now_ns) == len(naive)
        assert leases.is_idle(now_ns) == (not naive)
        wait_ms = leases.retry_ms(places, limit, now_ns)
        if places > limit:
            assert wait_ms == NEVER_MS
        elif leases.used_at(now_ns) + places <= limit:
            assert wait_ms == NOW_MS
        else:
            assert leases.used_at(now_ns + wait_ms * MS) + places <= limit


def test_loaded_leases_end_when_they_would_have() -> None:
    leases = Leases(5)
    lease(leases, b"a", 2, 100, 1000)
    lease(leases, b"b", 3, 100, 5000)
    state = leases.dump(600, wall_ns=10_000)
    loaded = Leases.load(state, 7, wall_ns=10_400)
    assert loaded.used_at(7) == 5
    assert loaded.used_at(7 + 100) == 3
    assert Leases.load(state, 7, wall_ns=10_500).used_at(7) == 3
    assert Leases.load(state, 7, wall_ns=0).used_at(7 + 499) == 5
    twin = leases.copy()
    leases.release(b"b")
    assert twin.used_at(600) == 5
    twin.shed(1)
    assert len(twin) == 1
    assert twin.sample_bytes(0) > 100
