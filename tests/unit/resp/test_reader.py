"""Which of its two readers the fast one asks."""

import tracemalloc

import pytest

from hotplate.resp.pyreader import PyRequestReader, ReaderLimits
from hotplate.resp.reader import RequestReader

SET = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n"


@pytest.fixture
def exact_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what the exact reader was given."""
    sizes: list[int] = []
    feed = PyRequestReader.feed

    def counted(self: PyRequestReader, data: bytes) -> None:
        sizes.append(len(data))
        feed(self, data)

    monkeypatch.setattr(PyRequestReader, "feed", counted)
    return sizes


def drain(reader: RequestReader) -> int:
    count = len(reader.batch(10_000))
    assert not reader.ready
    return count


@pytest.mark.parametrize(
    "chunk",
    [
        SET,
        SET * 16,
        SET * 5000,
        b"*2\r\n$3\r\nGET\r\n$10\r\n>~|%*123 x\r\n",
        b"*20001\r\n$3\r\nDEL\r\n" + b"$1\r\nx\r\n" * 20_000,
    ],
    ids=["one", "sixteen", "thousands", "marks in payload", "a long array that is complete"],
)
def test_harmless_chunks_never_reach_the_exact_reader(chunk: bytes, exact_bytes: list[int]) -> None:
    reader = RequestReader(ReaderLimits())
    reader.feed(chunk)
    assert drain(reader) > 0
    assert exact_bytes == []


@pytest.mark.parametrize(
    "chunk",
    [
        b"PING\r\n" + SET,
        SET + b"PING\r\n",
        SET + b"*0\r\n" + SET,
        b"*2\r\n$3\r\nGET\r\n$6\r\n*99999\r\n",
        b"*2\r\n$3\r\nGET\r\n$4\r\n%1\r\n\r\n",
        SET + b"*1000000000\r\n",
        SET + b"%1\r\n",
        SET + b"+\r\n",
        SET + b"*1\r\n:5\r\n",
        b"*2\r\n$3\r\nGET\r\n$40000\r\n" + b"x" * 40_000 + b"\r\n",
    ],
)
def test_everything_unusual_is_left_to_the_exact_reader(
    chunk: bytes, exact_bytes: list[int]
) -> None:
    reader = RequestReader(ReaderLimits())
    reader.feed(chunk)
    reader.batch(10_000)
    assert sum(exact_bytes) > 0


def test_of_a_cut_pipeline_only_the_cut_request_takes_the_long_way(exact_bytes: list[int]) -> None:
    stream = SET * 1000
    for cut in range(500 * len(SET) + 1, 501 * len(SET)):
        reader = RequestReader(ReaderLimits())
        reader.feed(stream[:cut])
        assert drain(reader) == 500
        assert exact_bytes == [cut - 500 * len(SET)]
        reader.feed(stream[cut:])
        assert drain(reader) == 500
        assert reader.pending_bytes == 0
        exact_bytes.clear()


def test_behind_a_cut_request_the_fast_way_is_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    exact_requests: list[list[bytes]] = []
    batch = PyRequestReader.batch

    def watched(self: PyRequestReader, limit: int) -> list[list[bytes]]:
        requests = batch(self, limit)
        exact_requests.extend(requests)
        return requests

    monkeypatch.setattr(PyRequestReader, "batch", watched)
    reader = RequestReader(ReaderLimits())
    reader.feed(SET * 100 + SET[:9])
    assert drain(reader) == 100
    reader.feed(SET[9:] + SET * 100 + SET[:20])
    assert drain(reader) == 101
    reader.feed(SET[20:])
    assert drain(reader) == 1
    assert exact_requests == [[b"SET", b"k", b"v"]] * 2


def test_simple_strings_among_arguments_never_shift_where_the_next_request_begins() -> None:
    reader = RequestReader(ReaderLimits())
    reader.feed(SET + b"*1\r\n+OK\r\n" + SET[:20])
    assert reader.batch(10) == [[b"SET", b"k", b"v"]]
    assert str(reader.stopped) == "Protocol error: expected '$', got '+'"


@pytest.mark.parametrize("chunk", [b"*90000\r\n$1\r\na\r\n", SET + b"*90000\r\n$1\r\na\r\n"])
def test_a_long_array_is_not_allocated_before_its_arguments_came(chunk: bytes) -> None:
    reader = RequestReader(ReaderLimits())
    tracemalloc.start()
    try:
        reader.feed(chunk)
        reader.batch(10)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_a_refused_client_costs_no_list_of_the_length_it_announced() -> None:
    reader = RequestReader(ReaderLimits())
    # each of these would have hiredis allocate 8 GB
    for mark in b"*~>|":
        reader.feed(SET + b"%c1000000000\r\n" % mark)
        assert len(reader.batch(10)) >= 1
        reader = RequestReader(ReaderLimits())


def command(*arguments: bytes) -> bytes:
    bulks = b"".join(b"$%d\r\n%b\r\n" % (len(it), it) for it in arguments)
    return b"*%d\r\n%b" % (len(arguments), bulks)


@pytest.mark.parametrize(
    "arguments",
    [
        [b"PING"],
        [b"XREADGROUP", b"GROUP", b"g", b"c", b"COUNT", b"10", b"STREAMS", b"s", b">"],
        [b"XACK", b"s", b"g", *(b"%d-0" % number for number in range(1_000_000, 1_000_010))],
        [b"SET", b"k", b"x" * 300],
    ],
    ids=["shortest", "options", "ids", "value"],
)
def test_one_whole_small_request_is_taken_at_once(arguments: list[bytes]) -> None:
    assert RequestReader(ReaderLimits()).single(command(*arguments)) == arguments


@pytest.mark.parametrize(
    "data",
    [
        SET * 2,
        SET * 10,
        SET[:-1],
        command(*[b"x"] * 30),
        command(b"SET", b"k", b"x" * 600),
        command(b"SET", b"k", b"a\r\n*b" + b"x" * 200),
        b"PING\r\n",
        b"*0\r\n",
    ],
)
def test_what_is_more_or_less_than_that_goes_the_longer_way(data: bytes) -> None:
    assert RequestReader(ReaderLimits()).single(data) is None


def test_no_request_is_taken_that_has_more_arguments_than_its_client_may_send() -> None:
    reader = RequestReader(ReaderLimits(array_items_max=10))
    assert reader.single(command(*[b"x"] * 11)) is None
    reader.limits = ReaderLimits()
    assert reader.single(command(*[b"x"] * 11)) == [b"x"] * 11


def test_a_request_that_comes_again_is_a_list_of_its_own() -> None:
    reader = RequestReader(ReaderLimits())
    for _ in range(3):
        arguments = reader.single(SET)
        assert arguments == [b"SET", b"k", b"v"]
        arguments.clear()
    assert reader.single(SET.replace(b"v", b"w")) == [b"SET", b"k", b"w"]
    reader.feed(SET[:-1])
    assert reader.batch(10) == []
    assert reader.single(SET) is None  # something waits before it


def test_narrower_limits_hold_for_what_came_before() -> None:
    reader = RequestReader(ReaderLimits())
    many = command(*[b"x"] * 11)
    assert reader.single(many) == reader.single(many) == [b"x"] * 11
    reader.limits = ReaderLimits(array_items_max=10)
    assert reader.single(many) is None
