"""What only the owner of a reader sees: limits, large bulk strings, what is pending."""

import dataclasses
import tracemalloc

import pytest

from hotplate.resp.pyreader import LargeBulk, ProtocolError, PyRequestReader, ReaderLimits
from hotplate.resp.reader import RequestReader

UNAUTHENTICATED = ReaderLimits(array_items_max=10, bulk_bytes_max=16_384, authenticated=False)
AUTH = b"*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n"

Reader = PyRequestReader | RequestReader
both_readers = pytest.mark.parametrize("kind", [PyRequestReader, RequestReader])


@both_readers
@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"*11\r\n", "Protocol error: unauthenticated multibulk length"),
        (b"*1\r\n$16385\r\n", "Protocol error: unauthenticated bulk length"),
        (b"*2147483648\r\n", "Protocol error: invalid multibulk length"),
        (b"*1\r\n$536870913\r\n", "Protocol error: invalid bulk length"),
    ],
)
def test_a_client_without_authentication_has_tighter_limits(
    kind: type[Reader], data: bytes, text: str
) -> None:
    reader = kind(UNAUTHENTICATED)
    reader.feed(data)
    assert reader.batch(10) == []
    assert str(reader.stopped) == text


@both_readers
@pytest.mark.parametrize("authenticated", [False, True])
def test_requests_that_came_whole_are_held_to_the_limits_too(
    kind: type[Reader], authenticated: bool
) -> None:
    for limits, data in (
        (ReaderLimits(array_items_max=20), b"*21\r\n" + b"$1\r\na\r\n" * 21),
        (ReaderLimits(bulk_bytes_max=50), b"*1\r\n$51\r\n" + b"x" * 51 + b"\r\n"),
    ):
        reader = kind(dataclasses.replace(limits, authenticated=authenticated))
        reader.feed(data)
        assert reader.batch(10) == []
        assert isinstance(reader.stopped, ProtocolError)


@both_readers
def test_a_header_refused_before_auth_is_taken_after_it(kind: type[Reader]) -> None:
    reader = kind(UNAUTHENTICATED)
    reader.feed(AUTH + b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$17000\r\n" + b"x" * 17_000 + b"\r\n")
    assert reader.batch(10) == [[b"AUTH", b"x"]]
    assert isinstance(reader.stopped, ProtocolError)
    reader.limits = ReaderLimits()
    assert reader.stopped is None
    assert reader.ready
    assert reader.batch(10) == [[b"SET", b"k", b"x" * 17_000]]


@both_readers
def test_an_error_that_auth_does_not_lift_stays(kind: type[Reader]) -> None:
    reader = kind(UNAUTHENTICATED)
    reader.feed(AUTH + b"*x\r\n")
    reader.batch(10)
    reader.limits = ReaderLimits()
    assert str(reader.stopped) == "Protocol error: invalid multibulk length"
    reader.feed(AUTH)
    assert reader.batch(10) == []


@both_readers
def test_looser_limits_hold_from_the_next_request_on(kind: type[Reader]) -> None:
    reader = kind(ReaderLimits(array_items_max=2))
    reader.feed(b"*2\r\n$1\r\na\r\n$1\r\nb\r\n")
    assert reader.batch(1) == [[b"a", b"b"]]
    reader.limits = ReaderLimits(array_items_max=3)
    reader.feed(b"*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n")
    assert reader.batch(1) == [[b"a", b"b", b"c"]]


@both_readers
def test_a_batch_of_limited_size_says_that_another_is_due(kind: type[Reader]) -> None:
    reader = kind(ReaderLimits())
    reader.feed(b"*1\r\n$1\r\na\r\n" * 5)
    assert [len(reader.batch(2)), reader.ready] == [2, True]
    assert [len(reader.batch(2)), reader.ready] == [2, True]
    assert [len(reader.batch(2)), reader.ready] == [1, False]


@both_readers
def test_bytes_fed_between_two_batches_keep_their_order(kind: type[Reader]) -> None:
    reader = kind(ReaderLimits())
    for name in (b"a", b"b", b"c"):
        reader.feed(b"*1\r\n$1\r\n%b\r\n" % name)
    assert reader.batch(1) == [[b"a"]]
    reader.feed(b"*1\r\n$1\r\nd\r\n")
    assert reader.batch(9) == [[b"b"], [b"c"], [b"d"]]


@both_readers
@pytest.mark.parametrize("cast", [bytes, bytearray, memoryview])
def test_fed_buffers_may_be_reused_at_once(kind: type[Reader], cast: type) -> None:
    buffer = bytearray(b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI")
    reader = kind(ReaderLimits())
    reader.feed(cast(buffer))
    buffer[:] = b"x" * len(buffer)
    assert reader.batch(9) == [[b"PING"]]
    reader.feed(b"NG\r\n")
    assert reader.batch(9) == [[b"PING"]]


@both_readers
def test_a_large_bulk_string_is_left_to_the_caller_and_stands_in_its_place(
    kind: type[Reader],
) -> None:
    reader = kind(ReaderLimits(large_bulk_bytes=100))
    reader.feed(b"*1\r\n$1\r\na\r\n*4\r\n$1\r\nb\r\n$100\r\n" + b"x" * 30)
    assert reader.batch(9) == [[b"a"]]
    assert reader.stopped == LargeBulk([b"b"], 100)
    assert reader.partial == [b"b"]
    target = memoryview(bytearray(100))
    assert reader.take_buffered(target) == 30
    assert bytes(target[:30]) == b"x" * 30
    assert reader.take_buffered(target[30:]) == 0
    item = object()
    reader.resume(item)
    assert reader.partial == [b"b", item]
    assert reader.batch(9) == []
    reader.feed(b"\r\n$101\r\n" + b"y" * 101)
    assert reader.batch(9) == []
    assert reader.stopped == LargeBulk([b"b", item], 101)
    second = memoryview(bytearray(101))
    assert reader.take_buffered(second) == 101
    reader.resume(bytes(second))
    reader.feed(b"\r\n$1\r\nc\r\n*1\r\n$1\r\nd\r\n")
    assert reader.stopped is None
    assert reader.ready
    assert reader.batch(9) == [[b"b", item, b"y" * 101, b"c"], [b"d"]]
    assert reader.partial == []
    assert reader.pending_bytes == 0


@both_readers
def test_a_large_bulk_string_that_came_whole_is_cut_out_like_any_other(kind: type[Reader]) -> None:
    reader = kind(ReaderLimits(large_bulk_bytes=100))
    reader.feed(b"*2\r\n$1\r\nb\r\n$100\r\n" + b"x" * 100 + b"\r\n")
    assert reader.batch(9) == [[b"b", b"x" * 100]]
    assert reader.stopped is None


@both_readers
def test_a_request_cut_off_by_an_error_still_tells_its_arguments(kind: type[Reader]) -> None:
    reader = kind(ReaderLimits(large_bulk_bytes=100))
    reader.feed(b"*3\r\n$1\r\nb\r\n$100\r\n")
    reader.batch(9)
    item = object()
    reader.resume(item)
    reader.feed(b"XX")
    reader.batch(9)
    assert isinstance(reader.stopped, ProtocolError)
    assert reader.partial == [b"b", item]


@both_readers
def test_pending_bytes_are_those_not_handed_out(kind: type[Reader]) -> None:
    reader = kind(ReaderLimits())
    reader.feed(b"*1\r\n$1\r\na\r\n*3\r\n$4\r\nabcd\r\n$10\r\n0123456")
    assert reader.pending_bytes == 11 + 4 + 10 + 5 + 7
    assert reader.batch(9) == [[b"a"]]
    assert reader.pending_bytes == 4 + 7  # the argument that is parsed, and bytes that are not
    reader.feed(b"789\r\n$1\r\nx\r\n")
    reader.batch(9)
    assert reader.pending_bytes == 0


@both_readers
def test_a_request_under_way_may_not_grow_over_the_query_buffer(kind: type[Reader]) -> None:
    reader = kind(ReaderLimits(query_buffer_bytes_max=1000))
    reader.feed(b"*100\r\n")
    for _ in range(9):
        reader.feed(b"$100\r\n" + b"x" * 100 + b"\r\n")
        assert reader.batch(9) == []
        assert reader.stopped is None
    reader.feed(b"$100\r\n" + b"x" * 100 + b"\r\n$100\r\n")
    reader.batch(9)
    assert reader.stopped is None
    reader.feed(b"x")
    reader.batch(9)
    assert str(reader.stopped) == "Protocol error: query buffer limit exceeded"


@both_readers
def test_an_announced_length_takes_no_memory(kind: type[Reader]) -> None:
    reader = kind(ReaderLimits())
    tracemalloc.start()
    try:
        for data in (b"*1048576\r\n", b"$30000\r\n", b"x" * 100):
            reader.feed(data)
            assert reader.batch(9) == []
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_an_error_frame_keeps_the_byte_that_it_quotes_and_stays_one_line() -> None:
    assert ProtocolError("expected '$', got '\xff'").frame == b"-ERR expected '$', got '\xff'\r\n"
    assert ProtocolError("got '\r\n'").frame == b"-ERR got '  '\r\n"
