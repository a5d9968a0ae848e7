"""Ranges, writing in place, common subsequences."""

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.testing.box import Box

from hotplate.errors import WrongTypeError
from hotplate.keyspace.entry import Value
from hotplate.keyspace.string import (
    CommonSubsequence,
    growable,
    length_of,
    range_of,
    write_at,
)

texts = st.text("abc", max_size=12).map(str.encode)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, -1, b"hello"),
        (1, 3, b"ell"),
        (-3, -2, b"ll"),
        (3, 1, b""),
        (-2, -3, b""),
        (0, 100, b"hello"),
        (-100, 1, b"he"),
        (0, -100, b"h"),  # as Redis: an end before the beginning is the first byte
        (5, 5, b""),
        (2**62, 2**62 + 1, b""),
    ],
)
def test_ranges_include_both_ends_and_count_from_both(
    start: int, end: int, expected: bytes
) -> None:
    assert range_of(b"hello", start, end) == expected
    assert range_of(bytearray(b"hello"), start, end) == expected
    assert type(range_of(bytearray(b"hello"), start, end)) is bytes


def test_numbers_have_the_length_of_their_text() -> None:
    assert length_of(-120) == 4
    assert range_of(-120, 0, 1) == b"-1"


def test_writing_past_the_end_fills_with_zeros() -> None:
    data = bytearray(b"ab")
    write_at(data, 4, b"xy")
    assert data == b"ab\0\0xy"
    write_at(data, 1, b"ZZ")
    assert data == b"aZZ\0xy"


def test_a_grown_string_stays_the_same_object() -> None:
    data = bytearray(b"ab")
    assert growable(data) is data
    assert growable(12) == bytearray(b"12")


def test_a_collection_has_no_length_as_a_string() -> None:
    value: Value = Box([])
    with pytest.raises(WrongTypeError):
        length_of(value)


@given(texts, texts)
def test_the_common_subsequence_is_as_long_as_can_be_and_in_both(
    first: bytes, second: bytes
) -> None:
    @cache
    def longest(i: int, j: int) -> int:
        if not i or not j:
            return 0
        if first[i - 1] == second[j - 1]:
            return longest(i - 1, j - 1) + 1
        return max(longest(i - 1, j), longest(i, j - 1))

    common = CommonSubsequence(first, second)
    text = common.text()
    assert common.length == len(text) == longest(len(first), len(second))
    for whole in (first, second):
        rest = iter(whole)
        assert all(byte in rest for byte in text)
    for at_first, at_second, size in common.ranges():
        assert first[at_first : at_first + size] == second[at_second : at_second + size]
