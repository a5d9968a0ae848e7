"""Ids as Redis reads them, and entries kept as frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotplate.keyspace.stream_entry import (
    ID_MAX,
    build_frame,
    fields_of,
    format_id,
    read_id,
    read_ids,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"0-0", 0),
        (b"1-2", 1 << 64 | 2),
        (b"7", 7 << 64),
        (b"01-02", 1 << 64 | 2),
        (b"18446744073709551615-18446744073709551615", ID_MAX),
        (b"18446744073709551616", None),
        (b"1-18446744073709551616", None),
        (b" 1-+2", 1 << 64 | 2),
        (b"1\x00junk", 1 << 64),
        (b"1--1", None),
        (b"1--01", 1 << 64 | 2**64 - 1),
        (b"1--0", 1 << 64),
        (b"", None),
        (b"-", None),
        (b"+", None),
        (b"1-", None),
        (b"1-*", None),
        (b"1-1-1", None),
        (b"a", None),
        (b"1 ", None),
        (b"0" * 128, None),
        (b"0" * 127, 0),
    ],
)
def test_an_id_is_read_as_c_reads_its_numbers(text: bytes, expected: int | None) -> None:
    assert read_id(text) == expected
    assert read_ids([b"1-1", text]) == (None if expected is None else [1 << 64 | 1, expected])


def test_a_missing_sequence_is_what_the_caller_says() -> None:
    assert read_id(b"5", 9) == 5 << 64 | 9
    assert read_id(b"5-1", 9) == 5 << 64 | 1


@given(st.integers(0, ID_MAX))
def test_an_id_that_is_written_is_read_again(entry_id: int) -> None:
    assert read_id(format_id(entry_id)) == entry_id


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**64 - 1)), max_size=8))
def test_several_ids_are_read_like_one_after_the_other(parts: list[tuple[int, int]]) -> None:
    texts = [b"%d-%d" % part for part in parts]
    assert read_ids(texts) == [read_id(text) for text in texts]


_FIELD = st.one_of(st.binary(max_size=20), st.sampled_from([b"x" * 1023, b"\r\n" * 3000]))


@given(st.lists(_FIELD, min_size=2, max_size=9))
def test_a_frame_holds_its_fields_whatever_they_are(fields: list[bytes]) -> None:
    frame = build_frame(b"1-1", fields)
    assert frame.startswith(b"*2\r\n$3\r\n1-1\r\n*%d\r\n" % len(fields))
    assert fields_of(frame) == fields
