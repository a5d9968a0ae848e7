"""Saved state of limits that makes no sense: refused, whatever it is."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotplate.keyspace.bucket import Bucket, Rate
from hotplate.keyspace.bucket_leases import Leases
from hotplate.keyspace.bucket_ledger import Hold
from hotplate.keyspace.bucket_queue import BucketQueue, Settings
from hotplate.keyspace.bucket_queue_lines import Item
from hotplate.keyspace.limits_state import Limit, texts_of, value_of_texts
from hotplate.keyspace.rdb_bytes import RdbError


@dataclass
class Now:
    """A timebase."""

    now_ms: int = 1_700_000_000_000
    now_ns: int = 5_000_000_000


def bucket() -> Bucket:
    value = Bucket(Rate(100, 10, 1000))
    hold = Hold(5, 1, 10**10)
    hold.answered(100, 95, 7)
    value.reserve(b"id", hold, 0, 5_000_000_000)
    return value


def leases() -> Leases:
    value = Leases(3)
    hold = Hold(1, 0, 10**10)
    hold.answered(3, 2, 7)
    value.reserve(b"id", hold, 5_000_000_000)
    return value


def queue() -> BucketQueue:
    value = BucketQueue(Settings(b"s", weights=(2, 1), dead=b"d"), Rate(3, 10, 1000))
    item = Item(b"t", 1, 2, b"$1\r\na\r\n$1\r\nb\r\n", 1)
    item.producer = (b"p", b"1")
    value.add(item, 5_000_000_000)
    return value


VALUES: list[Limit] = [bucket(), leases(), queue()]
JUNK = st.one_of(
    st.integers(-(2**70), 2**70).map(lambda number: b"%d" % number),
    st.sampled_from([b"", b"-", b"x", b"9" * 100, b"1.5", b"-1", b"0", b"1", b"2"]),
)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.type_name.decode())
def test_state_that_ends_early_or_late_is_refused(value: Limit) -> None:
    texts = texts_of(value, Now())
    assert texts_of(value_of_texts(texts, Now()), Now()) == texts
    for end in range(len(texts)):
        with pytest.raises(RdbError):
            value_of_texts(texts[:end], Now())
    with pytest.raises(RdbError):
        value_of_texts([*texts, b"0"], Now())


@given(which=st.integers(0, 2), at=st.integers(0, 60), junk=JUNK)
def test_any_other_text_gives_a_value_or_is_refused(which: int, at: int, junk: bytes) -> None:
    texts = texts_of(VALUES[which], Now())
    texts[at % len(texts)] = junk
    try:
        value = value_of_texts(texts, Now())
    except RdbError:
        return
    texts_of(value, Now(now_ns=9_000_000_000))
    if isinstance(value, BucketQueue):
        value.tend(9_000_000_000)
        value.due_item(9_000_000_000)
        value.wake_ns(9_000_000_000)


def test_the_same_entry_or_reservation_twice_is_refused() -> None:
    twin = Item(b"t2", 1, 2, b"$1\r\na\r\n$1\r\nb\r\n", 1)
    value = queue()
    value.add(twin, 5_000_000_000)
    texts = texts_of(value, Now())
    with pytest.raises(RdbError, match="twice"):
        value_of_texts([b"t" if text == b"t2" else text for text in texts], Now())
    two = bucket()
    hold = Hold(5, 1, 10**10)
    hold.answered(100, 95, 7)
    two.reserve(b"id2", hold, 0, 5_000_000_000)
    texts = texts_of(two, Now())
    with pytest.raises(RdbError, match="twice"):
        value_of_texts([b"id" if text == b"id2" else text for text in texts], Now())


def test_another_form_is_refused() -> None:
    texts = texts_of(bucket(), Now())
    with pytest.raises(RdbError, match="unknown kind"):
        value_of_texts([texts[0], b"2", *texts[2:]], Now())
