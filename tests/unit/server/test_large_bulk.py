"""Large bulk strings that have no place of their own."""

import pytest

from hotplate.server.large_bulk import HeapTarget


@pytest.mark.parametrize("size", [1, 4 * 1024 * 1024, 4 * 1024 * 1024 + 1])
def test_what_was_received_is_taken_as_bytes(size: int) -> None:
    target = HeapTarget(size)
    assert len(target) == len(target.view) == size
    target.view[:] = b"x" * size
    taken = target.take()
    assert type(taken) is bytes
    assert taken == b"x" * size


def test_a_target_that_is_given_up_needs_nothing_more() -> None:
    target = HeapTarget(10)
    target.abandon()
    assert len(target) == 10
