"""The fast reader against the exact one, on pipelines and on garbage, however the bytes are cut."""

from itertools import pairwise
from typing import TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.protocol.pieces import drive, request

from hotplate.resp.pyreader import PyRequestReader, ReaderLimits
from hotplate.resp.reader import RequestReader

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


garbage = st.one_of(
    st.binary(max_size=200),
    st.lists(
        lookalikes | st.sampled_from([b"*2\r\n", b"$3\r\nabc\r\n", b"_\r\n", b"+a\r\n", b"-E\r\n"]),
        max_size=20,
    ).map(b"".join),
)


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
