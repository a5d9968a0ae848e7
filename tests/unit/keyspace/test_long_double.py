"""The numbers of INCRBYFLOAT. Expected texts were printed by redis-server 7.0 on x86-64."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotplate.keyspace.long_double import (
    add_long_doubles,
    format_long_double,
    read_long_double,
    round_long_double,
)


def add(first: bytes, second: bytes) -> bytes:
    left, right = read_long_double(first), read_long_double(second)
    assert left is not None
    assert right is not None
    total = add_long_doubles(left, right)
    assert isinstance(total, Fraction)
    return format_long_double(total)


@pytest.mark.parametrize(
    ("first", "second", "total"),
    [
        (b"10.1", b"0x1p3", b"18.1"),
        (b"18.1", b"3.0e3", b"3018.10000000000000009"),
        (b"5", b"5", b"10"),
        (b"10.50", b"0.1", b"10.6"),
        (b"1", b"-1", b"0"),
        (b"0", b"-1e-30", b"0"),
        (b"9223372036854775807", b"1", b"9223372036854775808"),
        (b"18446744073709551616", b"1", b"18446744073709551616"),
    ],
)
def test_sums_are_those_of_redis(first: bytes, second: bytes, total: bytes) -> None:
    assert add(first, second) == total


@pytest.mark.parametrize(
    "text",
    [b"", b".", b"-", b"e5", b"5e", b" 1", b"1 ", b"1_0", b"nan", b"0x", b"0x.", b"1e5000",
     b"-1.2e4932", b"1e-4951", b"0x1p16384", b"0x1p-16446", b"1e99999999999", b"9" * 5120,
     b"1\0"],
)  # fmt: skip
def test_what_is_no_long_double_is_refused(text: bytes) -> None:
    assert read_long_double(text) is None


@pytest.mark.parametrize("text", [b"1e4932", b"0x1p-16445", b".5", b"5.", b"+5", b"0e99999999999"])
def test_every_form_of_a_number_is_read(text: bytes) -> None:
    assert isinstance(read_long_double(text), Fraction)


@pytest.mark.parametrize("text", [b"inf", b"-INF", b"+Infinity"])
def test_infinite_numbers_are_read_as_such(text: bytes) -> None:
    assert isinstance(read_long_double(text), float)


def test_nothing_finite_comes_of_an_infinite_term_however_large_the_other_is() -> None:
    largest = read_long_double(b"1e4932")
    assert largest is not None
    assert isinstance(add_long_doubles(largest, float("inf")), float)
    assert isinstance(add_long_doubles(float("-inf"), float("inf")), float)
    assert isinstance(add_long_doubles(largest, largest), float)


def test_thousands_of_digits_are_read_and_printed() -> None:
    largest = read_long_double(b"1" + b"0" * 4900)
    assert isinstance(largest, Fraction)
    assert len(format_long_double(largest)) == 4901


def test_beyond_the_largest_number_lies_infinity() -> None:
    largest = Fraction(2**64 - 1) * Fraction(2) ** (16383 - 63)
    assert round_long_double(largest) == largest
    assert round_long_double(largest + largest) == float("inf")
    assert round_long_double(-largest - largest) == float("-inf")


@given(st.fractions())
def test_rounding_keeps_64_bits_and_is_stable(value: Fraction) -> None:
    rounded = round_long_double(value)
    assert isinstance(rounded, Fraction)
    assert round_long_double(rounded) == rounded
    assert abs(rounded - value) * 2**64 <= abs(value)


@given(st.integers(-(2**63), 2**63))
def test_whole_numbers_are_exact(number: int) -> None:
    assert format_long_double(Fraction(number)) == b"%d" % number
