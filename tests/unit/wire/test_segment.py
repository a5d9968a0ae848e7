"""The segment layout: golden bytes, and what a layout must hold for any shape."""

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from hotplate.wire.segment import (
    HEADER_BYTES,
    STATE_SERVING,
    STATE_WRITING,
    SegmentFormatError,
    SegmentVersionError,
    file_bytes_for,
    parse_layout,
    plan_layout,
)

LAYOUT = plan_layout(
    1 << 20,
    payload_bytes=1000,
    key_bytes=16,
    sum_count=2,
    alignment=64,
    birth=0x1122334455667788,
    index=0x99AABBCC,
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
        + bytes.fromhex("0200000000100000")  # version, header bytes
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
        + bytes.fromhex("ccbbaa9900000000")  # index
    )
    header = LAYOUT.pack()
    assert header[:112] == expected
    assert header[112:4088] == bytes(3976)
    assert header[4088:] == struct.pack("<Q", xxh3_64_intdigest(header[:4088]))
    assert len(header) == HEADER_BYTES


def test_a_header_is_read_back() -> None:
    assert parse_layout(LAYOUT.pack()) == LAYOUT
    assert parse_layout(memoryview(LAYOUT.pack() + b"columns")) == LAYOUT


@pytest.mark.parametrize(("start", "end"), [(0, 8), (8, 112), (112, 4088), (4088, 4096)])
def test_a_flipped_bit_anywhere_in_a_header_is_noticed(start: int, end: int) -> None:
    for bit in range(8 * start, 8 * end, 1 if end <= 112 else 61):
        header = bytearray(LAYOUT.pack())
        header[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SegmentFormatError, match="magic" if end == 8 else "checksum"):
            parse_layout(header)


def resealed(header: bytearray) -> bytes:
    """A header with a checksum that fits, whatever it says."""
    return bytes(header[:4088]) + struct.pack("<Q", xxh3_64_intdigest(bytes(header[:4088])))


def with_number(offset: int, form: str, value: int) -> bytes:
    """A header that means what it says, with one other number."""
    header = bytearray(LAYOUT.pack())
    struct.pack_into(form, header, offset, value)
    return resealed(header)


def test_a_newer_version_is_refused_by_its_name() -> None:
    with pytest.raises(SegmentVersionError, match="version is 3, the newest known is 2"):
        parse_layout(with_number(8, "<I", 3))


def test_version_1_is_read_and_has_no_index() -> None:
    header = bytearray(with_number(104, "<Q", 0))
    struct.pack_into("<I", header, 8, 1)
    assert parse_layout(resealed(header)) == replace(LAYOUT, index=0)


@pytest.mark.parametrize(
    ("offset", "form", "value"),
    [
        (8, "<I", 0),  # version
        (12, "<I", 8192),  # header bytes
        (16, "<Q", LAYOUT.file_bytes - 4096),
        (32, "<Q", 0),  # payload bytes
        (32, "<Q", LAYOUT.stride + 1),
        (40, "<I", LAYOUT.key_bytes + 16),
        (44, "<I", LAYOUT.sum_count + 2),
        (48, "<Q", LAYOUT.stride * 2),
        (56, "<Q", 0),  # slot count
        (56, "<Q", LAYOUT.slot_count * 2),
        (64, "<Q", 4000),  # generations
        (72, "<Q", LAYOUT.state_offset - 64),
        (80, "<Q", LAYOUT.sum_offset - 64),
        (88, "<Q", LAYOUT.key_offset - 64),
        (96, "<Q", LAYOUT.payload_offset - 4096),
    ],
)
def test_a_header_whose_numbers_contradict_each_other_is_refused(
    offset: int, form: str, value: int
) -> None:
    with pytest.raises(SegmentFormatError, match=r"version|overlap"):
        parse_layout(with_number(offset, form, value))


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
    size = file_bytes_for(1, **shape, alignment=alignment)
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
