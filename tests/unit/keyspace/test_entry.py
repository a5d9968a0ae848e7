"""Values: types, encodings, copies."""

import pytest
from tests.testing.box import Box

from hotplate.errors import WrongTypeError
from hotplate.keyspace.entry import (
    Text,
    Value,
    copy_of,
    encoding_of,
    integer_of,
    string_of,
    type_of,
)


@pytest.mark.parametrize(
    ("value", "encoding"),
    [
        (b"12", b"int"),
        (b"-9223372036854775808", b"int"),
        (b"9223372036854775807", b"int"),
        (b"9223372036854775808", b"embstr"),
        (b"012", b"embstr"),
        (b"-0", b"embstr"),
        (b"", b"embstr"),
        (b"x" * 44, b"embstr"),
        (b"x" * 45, b"raw"),
        (12, b"int"),
        (bytearray(b"12"), b"raw"),
        (Text(b"12"), b"embstr"),
        (Text(b"1" * 45), b"raw"),
        (Box([]), b"cardboard"),
    ],
)
def test_encodings_are_those_of_redis(value: Value, encoding: bytes) -> None:
    assert encoding_of(value) == encoding


@pytest.mark.parametrize(
    "text", [b"", b"-", b"+1", b" 1", b"1 ", b"1_0", b"00", b"\xb2", b"1" * 21]
)
def test_only_the_printed_form_of_a_number_is_a_number(text: bytes) -> None:
    assert integer_of(text) is None


def test_every_string_reads_as_bytes() -> None:
    for value in (b"-5", -5, bytearray(b"-5"), Text(b"-5")):
        assert string_of(value) == b"-5"
        assert type(string_of(value)) is bytes
        assert type_of(value) == b"string"


def test_a_collection_is_no_string() -> None:
    assert type_of(Box([])) == b"box"
    with pytest.raises(WrongTypeError):
        string_of(Box([]))


def test_copies_share_nothing_that_can_change() -> None:
    grown = bytearray(b"ab")
    copy = copy_of(grown)
    grown += b"c"
    assert copy == bytearray(b"ab")
    box = Box([1])
    box_copy = copy_of(box)
    box.content.append(2)
    assert isinstance(box_copy, Box)
    assert box_copy.content == [1]
    assert copy_of(7) == 7
