"""The fast reader against the exact one, on pipelines and on garbage, however the bytes are cut."""

from itertools import pairwise
from typing import TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.protocol.pieces import drive, request

from hotplate.resp.pyreader import PyRequestReader, ReaderLimits
from hotplate.resp.reader import RequestReader
from hotplate.resp.request import encode_requests, is_as_encoded

LIMITS = ReaderLimits(bulk_bytes_max=100_000, large_bulk_bytes=2000)

lookalikes = st.sampled_from(
    b"*99999 *123456\r\n $99999\r\n >99999\r\n ~9\r\n %1\r\n |12\r\n *0\r\n *-1\r\n \r\n \r"
    b" *1\r\n$1\r\na\r\n $-1\r\n :1\r\n".split(b" ")
)
payloads = st.one_of(
    st.binary(max_size=12),
    st.lists(lookalikes | st.binary(max_size=4), max_size=6).map(b"".join),
    st.integers(0, 5000).map(lambda size: b"*99999" * (size // 6)),
)
arrays = st.lists(payloads, min_size=1, max_size=8)
word = st.text("abcXYZ019:*$", min_size=1, max_size=8).map(str.encode)
inline_requests = st.lists(word, min_size=1, max_size=4).filter(lambda w: not w[0].startswith(b"*"))
Frame: TypeAlias = tuple[bytes, list[list[bytes]]]  # and the requests it holds
frames: st.SearchStrategy[Frame] = st.one_of(
    arrays.map(lambda argv: (request(*argv), [argv])),
    inline_requests.map(lambda words: (b" ".join(words) + b"\r\n", [words])),
    st.sampled_from([(b"*0\r\n", []), (b"*-1\r\n", []), (b"\r\n", []), (b"\n", [])]),
)
pipelines = st.lists(frames, max_size=12)
cut_points = st.lists(st.floats(0, 1), max_size=8)


def cut(data: bytes, points: list[float]) -> list[bytes]:
    """`data` in pieces, cut at these parts of its length."""
    edges = [0, *sorted(int(point * len(data)) for point in points), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@settings(max_examples=300, deadline=None)
@given(pipeline=pipelines, points=cut_points, limit=st.integers(1, 20))
def test_both_readers_give_the_requests_that_were_sent(
    pipeline: list[Frame], points: list[float], limit: int
) -> None:
    data = b"".join(frame for frame, _ in pipeline)
    sent = [argv for _, requests in pipeline for argv in requests]
    for kind in (PyRequestReader, RequestReader):
        outcome = drive(kind, cut(data, points), LIMITS, limit)
        assert (outcome.error, outcome.pending_bytes) == (None, 0)
        assert outcome.requests == sent
        large_sizes = [len(a) for argv in sent for a in argv if len(a) >= 2000]
        rest = iter(large_sizes)  # those that came whole are not announced
        assert all(size in rest for size in outcome.large_sizes)


@settings(max_examples=300, deadline=None)
@given(pipeline=pipelines, points=cut_points, limit=st.integers(1, 20))
def test_what_came_whole_is_as_it_would_be_encoded(
    pipeline: list[Frame], points: list[float], limit: int
) -> None:
    check_whole(cut(b"".join(frame for frame, _ in pipeline), points), limit)


def check_whole(pieces: list[bytes], limit: int = 20) -> None:
    """A batch that is said to be all of a piece is that piece, unless the piece is doubtful."""
    reader = RequestReader(LIMITS)
    for piece in pieces:
        reader.feed(piece)
        requests = reader.batch(limit)
        if requests and reader.whole and is_as_encoded(piece):
            assert encode_requests(requests) == piece
        while reader.ready:
            reader.batch(limit)
            assert not reader.whole
        if reader.stopped is not None:
            return


def test_an_empty_array_at_the_end_is_no_request_and_the_piece_not_whole() -> None:
    reader = RequestReader(LIMITS)
    reader.feed(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*0\r\n")
    assert reader.batch(20) == [[b"GET", b"a"]]
    assert not reader.whole
    reader.feed(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n")
    assert reader.batch(20) == [[b"GET", b"a"]]
    assert reader.whole


garbage = st.one_of(
    st.binary(max_size=200),
    st.lists(
        lookalikes | st.sampled_from([b"*2\r\n", b"$3\r\nabc\r\n", b"_\r\n", b"+a\r\n", b"-E\r\n"]),
        max_size=20,
    ).map(b"".join),
)
# what hiredis takes for strings, in place of bulk strings
doubtful = st.lists(
    st.tuples(
        st.just(b"*2\r\n$1\r\nx\r\n"),
        st.sampled_from(
            [
                b"$1\r\na\r\n",
                b"+a\r\n",
                b"(12\r\n",
                b"=5\r\ntxt:a\r\n",
                b"$03\r\nabc\r\n",
                b",1\r\n",
            ]
        ),
    ).map(b"".join),
    max_size=5,
).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(pipeline=pipelines, noise=garbage | doubtful, points=cut_points)
def test_garbage_that_came_whole_is_as_it_would_be_encoded(
    pipeline: list[Frame], noise: bytes, points: list[float]
) -> None:
    check_whole(cut(b"".join(frame for frame, _ in pipeline) + noise, points))


@settings(max_examples=400, deadline=None)
@given(pipeline=pipelines, noise=garbage, points=cut_points)
def test_garbage_gives_requests_or_a_protocol_error_and_nothing_else(
    pipeline: list[Frame], noise: bytes, points: list[float]
) -> None:
    data = b"".join(frame for frame, _ in pipeline) + noise
    sent = [argv for _, requests in pipeline for argv in requests]
    for kind in (PyRequestReader, RequestReader):
        outcome = drive(kind, cut(data, points), LIMITS)
        assert outcome.requests[: len(sent)] == sent
        assert all(type(argv) is list and argv for argv in outcome.requests)
        assert all(type(item) is bytes for argv in outcome.requests for item in argv)
        assert outcome.error is None or outcome.error.startswith("Protocol error: ")


@settings(max_examples=200, deadline=None)
@given(noise=garbage, points=cut_points)
def test_the_exact_reader_does_not_care_where_garbage_is_cut(
    noise: bytes, points: list[float]
) -> None:
    whole = drive(PyRequestReader, [noise], LIMITS)
    pieces = drive(PyRequestReader, cut(noise, points), LIMITS)
    assert (pieces.requests, pieces.error) == (whole.requests, whole.error)
