"""Key lists of one call."""

import pytest

from hotplate.errors import CommandError
from hotplate.kvc.keys import Keys


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 600])
def test_a_packed_list_is_cut_as_it_was_joined(count: int) -> None:
    items = [b"%06d" % number for number in range(count)]
    packed = Keys.packed(6, b"".join(items))
    assert len(packed) == count
    assert packed.listing() == items
    assert packed.listing(3, 300) == items[3:300]
    assert packed.tail(min(2, count)).listing() == items[2:]


def test_keys_of_one_width_become_packed_and_others_do_not() -> None:
    same = Keys.listed([b"ab", b"cd"])
    mixed = Keys.listed([b"ab", b"c", b"de"])
    assert (same.width, same.blob) == (2, b"abcd")
    assert (mixed.width, mixed.blob) == (None, None)
    assert mixed.tail(1).listing() == [b"c", b"de"]
    assert mixed.pick([2, 0]).blob == b"deab"
    assert same.pick([1]).listing() == [b"cd"]
    assert (same[-1], mixed[1]) == (b"cd", b"c")
    with pytest.raises(IndexError):
        same[2]


@pytest.mark.parametrize(("width", "blob"), [(0, b"abc"), (2, b"abc"), (-1, b"")])
def test_a_blob_that_is_no_multiple_of_the_width_is_refused(width: int, blob: bytes) -> None:
    with pytest.raises(CommandError):
        Keys.packed(width, blob)
