"""Key lists are packed, sliced and made from tokens."""

import pytest

from hotplate.clients.keys import Keys, token_bytes


def test_keys_of_one_width_are_packed_and_found_again() -> None:
    keys = Keys.of([b"aa", b"bb", b"cc"])
    assert (keys.width, keys.packed, len(keys)) == (2, b"aabbcc", 3)
    assert list(keys) == [b"aa", b"bb", b"cc"]
    assert keys[-1] == b"cc"
    assert keys[1:] == Keys(2, b"bbcc")


def test_keys_travel_packed() -> None:
    assert Keys.of([b"aa", b"bb"]).arguments == [b"PACKED", b"2", b"aabb"]


def test_no_keys_are_a_list_too() -> None:
    assert Keys.of([]).arguments == [b"PACKED", b"1", b""]


def test_an_index_outside_is_refused() -> None:
    with pytest.raises(IndexError):
        Keys(2, b"aabb")[2]


def test_keys_of_different_widths_are_refused_with_the_widths() -> None:
    with pytest.raises(ValueError, match=r"\[1, 2\]"):
        Keys.of([b"a", b"bb"])


def test_a_blob_that_is_no_whole_number_of_keys_is_refused() -> None:
    with pytest.raises(ValueError, match="5 bytes are no list of keys of 2 bytes"):
        Keys(2, b"aabbc")


def test_keys_are_cut_in_one_piece_only() -> None:
    with pytest.raises(ValueError, match="steps of 1, not 2"):
        Keys(1, b"abcd")[::2]


def test_tokens_become_little_endian_words_and_bytes_are_taken_as_such() -> None:
    assert token_bytes([1, 0x01020304]) == bytes.fromhex("0100000004030201")
    assert token_bytes(b"\x01\0\0\0") == b"\x01\0\0\0"
