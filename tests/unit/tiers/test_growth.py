"""How large the next segment is: large where there is room, small where it is scarce."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotplate.bench.space import lost_at_refusal
from hotplate.blocks import Shape
from hotplate.tiers.growth import ROOM_SHARE, SHARE_BYTES_MIN, Growth

MIB = 1 << 20
GROWTH = Growth(64 * MIB, 4096)
BLOCK = Shape(payload_bytes=2 * MIB, key_bytes=16, sum_count=1)


def file_bytes(room_bytes: int, wanted: int = 1, least_bytes: int = 0) -> int:
    """Of the next file for blocks of 2 MiB."""
    return GROWTH.next_layout(BLOCK, room_bytes, wanted, least_bytes).file_bytes


def test_with_much_room_a_file_has_the_usual_size_and_ends_with_its_last_slot() -> None:
    layout = GROWTH.next_layout(BLOCK, 100_000 * MIB, 1, 0)
    assert layout.slot_count == 31
    assert layout.file_bytes == layout.payload_offset + 31 * layout.stride <= 64 * MIB


def test_it_takes_a_64th_of_the_room_but_what_is_wanted_and_one_slot_at_least() -> None:
    assert ROOM_SHARE == 64
    assert 18 * MIB < file_bytes(64 * 20 * MIB) <= 20 * MIB
    assert file_bytes(64 * 20 * MIB, wanted=15) > 30 * MIB
    assert file_bytes(64 * 20 * MIB, wanted=1000) > 60 * MIB
    assert 2 * MIB < file_bytes(10 * MIB) < 2 * MIB + 16384
    assert 7 * MIB < file_bytes(10 * MIB, least_bytes=9 * MIB) <= 9 * MIB
    assert GROWTH.next_layout(BLOCK, 2 * MIB, 1, 0).slot_count == 0


def test_small_blocks_share_a_file_however_little_room_is_left() -> None:
    small = Shape(payload_bytes=100, key_bytes=16, sum_count=1)
    layout = Growth(64 * MIB, 64).next_layout(small, 2 * SHARE_BYTES_MIN, 1, 0)
    assert layout.file_bytes == SHARE_BYTES_MIN


def test_a_block_that_is_larger_than_the_usual_file_gets_one_for_itself() -> None:
    large = Shape(payload_bytes=100 * MIB, key_bytes=16, sum_count=1)
    layout = GROWTH.next_layout(large, 1000 * MIB, 5, 0)
    assert layout.slot_count == 1
    assert layout.file_bytes < 101 * MIB


@given(
    payload_bytes=st.integers(1, 300_000),
    room_bytes=st.integers(0, 5 * MIB),
    wanted=st.integers(1, 300),
    least_bytes=st.integers(0, MIB),
)
def test_what_slots_says_can_be_had_by_files_that_fit(
    payload_bytes: int, room_bytes: int, wanted: int, least_bytes: int
) -> None:
    growth = Growth(MIB, 4096)
    shape = Shape(payload_bytes, 16, 1)
    said = growth.slots(shape, room_bytes, wanted)
    got = 0
    while got < min(said, wanted):
        layout = growth.next_layout(shape, room_bytes, wanted - got, least_bytes)
        assert layout.slot_count > 0
        assert layout.file_bytes <= room_bytes
        room_bytes -= layout.file_bytes
        got += layout.slot_count


@pytest.mark.parametrize(("size", "lost_max"), [((2 * MIB, 2 * MIB), 0.01), ((MIB, 8 * MIB), 0.25)])
def test_the_allocator_leaves_little_unused(size: tuple[int, int], lost_max: float) -> None:
    def size_of(rng: random.Random) -> int:
        return rng.randint(*size)

    lost, files = lost_at_refusal(size_of, 1024 * 8 * MIB, 12_000)
    assert sorted(lost)[len(lost) // 2] <= lost_max
    assert files < 3000
