"""The segment layout: golden bytes, and what a layout must hold for any shape."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from hotplate.wire.segment import (
    HEADER_BYTES,
    STATE_SERVING,
    STATE_WRITING,
    SegmentFormatError,
    file_bytes_for_one,
    parse_layout,
    plan_layout,
)

LAYOUT = plan_layout(
    1 << 20, payload_bytes=1000, key_bytes=16, sum_count=2, alignment=64, birth=0x1122334455667788
)
CLASSES = {
    "payload_bytes": st.integers(1, 100_000),
    "key_bytes": st.integers(1, 128),
    "sum_count": st.integers(0, 20),
    "alignment": st.sampled_from([64, 4096]),
}


def test_a_header_has_these_very_bytes() -> None:
    expected = (
        b"HOTPLATE"
        + bytes.fromhex("0100000000100000")  # version, header bytes
        + bytes.fromhex("0000100000000000")  # file bytes
        + bytes.fromhex("8877665544332211")  # birth
        + bytes.fromhex("e803000000000000")  # payload bytes
        + bytes.fromhex("1000000002000000")  # key bytes, sum count
        + bytes.fromhex("0004000000000000")  # stride
        + bytes.fromhex("d403000000000000")  # slot count
        + bytes.fromhex("0010000000000000")  # generations
        + bytes.fromhex("c02e000000000000")  # states
        + bytes.fromhex("c032000000000000")  # sums
        + bytes.fromhex("0070000000000000")  # keys
        + bytes.fromhex("00b0000000000000")  # slot 0
    )
    header = LAYOUT.pack()
    assert header[:104] == expected
    assert header[104:4088] == bytes(3984)
    assert header[4088:] == struct.pack("<Q", xxh3_64_intdigest(header[:4088]))
    assert len(header) == HEADER_BYTES


def test_a_header_is_read_back() -> None:
    assert parse_layout(LAYOUT.pack()) == LAYOUT
    assert parse_layout(memoryview(LAYOUT.pack() + b"columns")) == LAYOUT


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, b"X", "magic"),
        (8, b"\x02", "version 2"),
        (12, b"\x01", "4097 bytes"),
        (56, b"\x00", "checksum"),
        (2000, b"\x01", "checksum"),
    ],
)
def test_a_header_that_is_not_ours_is_refused(position: int, value: bytes, message: str) -> None:
    header = bytearray(LAYOUT.pack())
    header[position : position + 1] = value
    with pytest.raises(SegmentFormatError, match=message):
        parse_layout(header)


def test_a_flipped_bit_in_the_checksum_is_refused() -> None:
    header = bytearray(LAYOUT.pack())
    header[4095] ^= 1
    with pytest.raises(SegmentFormatError, match="checksum"):
        parse_layout(header)


def test_a_header_that_is_cut_short_is_refused() -> None:
    with pytest.raises(SegmentFormatError, match="4095"):
        parse_layout(LAYOUT.pack()[:-1])


@given(file_bytes=st.integers(0, 4_000_000), **CLASSES)
def test_columns_and_slots_never_overlap_and_fit_the_file(
    file_bytes: int, payload_bytes: int, key_bytes: int, sum_count: int, alignment: int
) -> None:
    layout = plan_layout(
        file_bytes,
        payload_bytes=payload_bytes,
        key_bytes=key_bytes,
        sum_count=sum_count,
        alignment=alignment,
    )
    count = layout.slot_count
    assert layout.generation_offset == HEADER_BYTES
    assert layout.generation_offset + 8 * count <= layout.state_offset
    assert layout.state_offset + count <= layout.sum_offset
    assert layout.sum_offset + 8 * sum_count * count <= layout.key_offset
    assert layout.key_offset + key_bytes * count <= layout.payload_offset
    assert layout.stride >= payload_bytes
    assert layout.stride % alignment == 0
    assert layout.payload_offset % 4096 == 0
    if count:
        assert layout.payload_offset + count * layout.stride <= file_bytes


@given(**CLASSES)
def test_the_smallest_file_holds_one_slot_and_a_page_less_holds_none(
    payload_bytes: int, key_bytes: int, sum_count: int, alignment: int
) -> None:
    shape = {"payload_bytes": payload_bytes, "key_bytes": key_bytes, "sum_count": sum_count}
    size = file_bytes_for_one(**shape, alignment=alignment)
    assert plan_layout(size, **shape, alignment=alignment).slot_count >= 1
    assert plan_layout(size - 4096, **shape, alignment=alignment).slot_count == 0


def test_an_offset_names_its_slot_and_others_are_refused() -> None:
    first = LAYOUT.payload_offset
    assert LAYOUT.slot_at(first) == 0
    assert LAYOUT.slot_at(first + LAYOUT.stride - 1) == 0
    assert LAYOUT.slot_at(first + LAYOUT.stride * (LAYOUT.slot_count - 1)) == LAYOUT.slot_count - 1
    for outside in (first - 1, first + LAYOUT.stride * LAYOUT.slot_count):
        with pytest.raises(IndexError, match=str(outside)):
            LAYOUT.slot_at(outside)


def test_a_slot_serves_only_the_generation_it_was_stored_as() -> None:
    segment = bytearray(LAYOUT.file_bytes)
    offset = LAYOUT.generation_offset + 8 * 3
    segment[offset : offset + 8] = (77).to_bytes(8, "little")
    assert not LAYOUT.is_serving(segment, 3, 77)
    segment[LAYOUT.state_offset + 3] = STATE_WRITING
    assert not LAYOUT.is_serving(segment, 3, 77)
    segment[LAYOUT.state_offset + 3] = STATE_SERVING
    assert LAYOUT.is_serving(segment, 3, 77)
    assert not LAYOUT.is_serving(segment, 3, 76)
    assert not LAYOUT.is_serving(segment, 2, 77)


def test_key_and_sums_are_read_from_their_columns() -> None:
    segment = bytearray(LAYOUT.file_bytes)
    segment[LAYOUT.key_offset + 32 : LAYOUT.key_offset + 48] = b"sixteen bytes ok"
    segment[LAYOUT.sum_offset + 32 : LAYOUT.sum_offset + 48] = struct.pack(">QQ", 5, 1 << 63)
    assert LAYOUT.key(segment, 2) == b"sixteen bytes ok"
    assert LAYOUT.sums(segment, 2) == (5, 1 << 63)
