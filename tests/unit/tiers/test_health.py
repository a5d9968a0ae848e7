"""A storage's health: what makes it fail, when it is tried, what brings it back."""

import errno
import os

from hotplate.tiers.health import CHECK_MS, PROBE_MS, PROBE_MS_MAX, Health

MS = 1_000_000  # nanoseconds
EIO = OSError(errno.EIO, os.strerror(errno.EIO))


def failing(now_ms: int = 0) -> Health:
    """A storage that failed."""
    health = Health()
    health.note(EIO)
    assert health.update(now_ms, 0, 0)
    return health


def test_an_error_makes_it_fail_once_however_many_follow() -> None:
    health = Health()
    assert not health.update(0, 0, 0)
    health.note(OSError(errno.EROFS, "Read-only file system"))
    health.note(EIO)
    assert health.update(5, 0, 0)
    assert (health.failure, health.failing_since_ms, health.errors) == (
        "Read-only file system",
        5,
        2,
    )
    health.note(EIO)
    assert not health.update(6, 0, 0)
    assert (health.failure, health.failing_since_ms, health.errors) == (
        "Read-only file system",
        5,
        3,
    )


def test_a_probe_comes_after_a_while_and_later_each_time_it_fails() -> None:
    health = failing(now_ms=100)
    due: list[int] = []
    now_ms = 100
    while len(due) < 9:
        if health.begin_probe(now_ms):
            due.append(now_ms)
            assert not health.begin_probe(now_ms + 10 * PROBE_MS_MAX), "one at a time"
            assert not health.end_probe(now_ms, 0, 0, EIO), "it was failing already"
        now_ms += 100
    waits = [after - before for before, after in zip([100, *due], due, strict=False)]
    assert waits == [PROBE_MS * min(2**i, 60) for i in range(9)]


def test_a_probe_that_passes_brings_it_back_and_the_next_failure_is_tried_soon_again() -> None:
    health = failing()
    for now_ms in (PROBE_MS, 3 * PROBE_MS):
        assert health.begin_probe(now_ms)
        health.end_probe(now_ms, 0, 0, EIO)
    assert health.begin_probe(7 * PROBE_MS)
    assert health.end_probe(7 * PROBE_MS, 0, 0, None)
    assert health.failure == ""
    health.note(EIO)
    assert health.update(8 * PROBE_MS, 0, 0)
    assert not health.begin_probe(9 * PROBE_MS - 1)
    assert health.begin_probe(9 * PROBE_MS)


def test_a_working_storage_is_looked_at_now_and_then_and_may_turn_out_to_fail() -> None:
    health = Health()
    assert health.begin_probe(0)
    assert not health.end_probe(0, 0, 0, None)
    assert not health.begin_probe(CHECK_MS - 1)
    assert health.begin_probe(CHECK_MS)
    assert health.end_probe(CHECK_MS, 0, 0, EIO)
    assert (health.failure, health.errors) == ("Input/output error", 1)
    assert health.begin_probe(CHECK_MS + PROBE_MS)


def test_calls_over_the_limit_are_failures_and_zero_is_no_limit() -> None:
    health = Health()
    number = health.begin(0)
    health.end(number, 500 * MS, 0)
    number = health.begin(0)
    health.end(number, 500 * MS, 500)
    assert not health.update(0, 0, 500)
    number = health.begin(0)
    health.end(number, 501 * MS, 500)
    assert health.update(0, 0, 500)
    assert health.failure == "a call took 501 ms, the limit is 500 ms"


def test_a_call_that_does_not_end_is_a_failure_while_it_lasts() -> None:
    health = Health()
    number = health.begin(0)
    assert not health.update(0, 500 * MS, 500)
    assert health.update(1, 501 * MS, 500)
    assert health.failure == "a call has not ended for 501 ms"
    assert health.begin_probe(1 + PROBE_MS)
    assert not health.end_probe(1 + PROBE_MS, 900 * MS, 500, None)
    assert health.failure, "the probe passed, the call is still out"
    health.end(number, 1000 * MS, 500)
    health.update(2000, 1000 * MS, 500)
    assert health.begin_probe(1 + 3 * PROBE_MS)
    assert health.end_probe(1 + 3 * PROBE_MS, 1000 * MS, 500, None)
    assert health.failure == ""


def test_what_must_be_free_is_remembered_until_it_works() -> None:
    health = Health()
    health.note(OSError(errno.ENOSPC, "No space left on device"), 100)
    health.note(OSError(errno.ENOSPC, "No space left on device"), 50)
    health.update(0, 0, 0)
    assert health.need_bytes == 100
    health.begin_probe(PROBE_MS)
    health.end_probe(PROBE_MS, 0, 0, None)
    assert health.need_bytes == 0
