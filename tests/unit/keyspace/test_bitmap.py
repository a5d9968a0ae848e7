"""Bits of strings against the same strings as texts of 0 and 1."""

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotplate.keyspace.bitmap import (
    FieldType,
    combine,
    count_bits,
    find_bit,
    invert,
    read_field,
    write_field,
)

strings = st.one_of(
    st.binary(max_size=12),
    st.tuples(
        st.sampled_from([b"\0", b"\xff"]), st.integers(0, 150_000), st.binary(max_size=2)
    ).map(lambda parts: parts[0] * parts[1] + parts[2]),
)
kinds = st.one_of(
    st.integers(1, 64).map(lambda bits: FieldType(True, bits)),
    st.integers(1, 63).map(lambda bits: FieldType(False, bits)),
)


def text_of(data: bytes | bytearray) -> str:
    return "".join(f"{byte:08b}" for byte in data)


@given(strings, st.integers(0, 1_200_000), st.integers(0, 1_200_000), st.sampled_from([0, 1]))
def test_bits_are_counted_and_found_where_the_text_has_them(
    data: bytes, start: int, end: int, bit: int
) -> None:
    total = len(data) * 8
    first, last = (start % total, end % total) if total else (0, -1)
    part = text_of(data)[first : last + 1]
    assert count_bits(data, first, last) == part.count("1")
    assert count_bits(bytearray(data), first, last) == part.count("1")
    at = part.find(str(bit))
    assert find_bit(data, bit, first, last) == (first + at if at >= 0 else -1)


def test_an_empty_range_holds_no_bit() -> None:
    assert count_bits(b"\xff", 0, -1) == 0
    assert find_bit(b"\xff", 1, 0, -1) == -1


@given(st.lists(strings, min_size=2, max_size=4))
def test_strings_combine_bit_by_bit(sources: list[bytes]) -> None:
    size = max(map(len, sources))
    numbers = [int.from_bytes(source.ljust(size, b"\0"), "big") for source in sources]
    ones = [sum(number >> at & 1 for number in numbers) for at in range(min(size * 8, 64))]
    others = reduce(lambda a, b: a | b, numbers[1:])
    everything = (1 << size * 8) - 1

    def combined(operation: bytes) -> int:
        return int.from_bytes(combine(operation, sources), "big")

    assert combined(b"AND") == reduce(lambda a, b: a & b, numbers)
    assert combined(b"OR") == reduce(lambda a, b: a | b, numbers)
    assert combined(b"XOR") == reduce(lambda a, b: a ^ b, numbers)
    assert combined(b"DIFF") == numbers[0] & (everything ^ others)
    assert combined(b"DIFF1") == (everything ^ numbers[0]) & others
    assert combined(b"ANDOR") == numbers[0] & others
    assert [combined(b"ONE") >> at & 1 for at in range(len(ones))] == [n == 1 for n in ones]
    assert len(combine(b"AND", sources)) == size


@given(strings)
def test_inverting_turns_every_bit(data: bytes) -> None:
    assert invert(data) == bytes(byte ^ 0xFF for byte in data)


@given(st.binary(min_size=1, max_size=24), kinds, st.integers(0, 120), st.integers())
def test_a_field_keeps_what_is_written_and_nothing_beside_it_changes(
    data: bytes, kind: FieldType, offset: int, number: int
) -> None:
    size = max(len(data), (offset + kind.bits + 7) // 8)
    grown = bytearray(data.ljust(size, b"\0"))
    before = text_of(grown)
    assert read_field(data, kind, offset) == read_field(grown, kind, offset)
    write_field(grown, kind, offset, number)
    assert read_field(grown, kind, offset) == kind.wrap(number)
    after = text_of(grown)
    assert after[:offset] == before[:offset]
    assert after[offset + kind.bits :] == before[offset + kind.bits :]


@pytest.mark.parametrize(
    ("kind", "least", "greatest"),
    [
        (FieldType(True, 1), -1, 0),
        (FieldType(False, 1), 0, 1),
        (FieldType(True, 8), -128, 127),
        (FieldType(True, 64), -(2**63), 2**63 - 1),
        (FieldType(False, 63), 0, 2**63 - 1),
    ],
)
def test_the_bounds_of_a_field_follow_from_its_bits(
    kind: FieldType, least: int, greatest: int
) -> None:
    assert (kind.minimum, kind.maximum) == (least, greatest)
    assert kind.wrap(greatest + 1) == least
    assert kind.wrap(least - 1) == greatest
