"""Reading traces."""

import gzip
from pathlib import Path

import pytest
from tests.testing.traces import conversations, write_trace

from hotplate.optimizer.trace import TraceError, read_trace

LINE = '{"timestamp": 0, "input_length": 700, "output_length": 5, "hash_ids": [7, 9]}\n'


def test_a_trace_is_read_and_its_blocks_are_numbered(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(LINE + "\n" + '{"hash_ids": [7, 3, 5]}\n')
    trace = read_trace(path)
    assert [request.blocks for request in trace.requests] == [[0, 1], [0, 2, 3]]
    assert [request.tokens for request in trace.requests] == [700, 3 * 512]
    assert (trace.accesses, trace.distinct, trace.block_tokens) == (5, 4, 512)
    assert len(read_trace(path, limit=1).requests) == 1


def test_a_gzipped_trace_is_read_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_bytes(gzip.compress(LINE.encode()))
    assert read_trace(path).accesses == 2


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    trace = conversations(1, 50)
    write_trace(tmp_path / "t", trace)
    assert read_trace(tmp_path / "t", block_tokens=16) == trace


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]\n", "request 1: no JSON object"),
        ("{nonsense\n", "request 1: no JSON object"),
        (LINE + '{"hash_ids": 5}\n', "request 2: no JSON object"),
        ('{"hash_ids": ["a"]}\n', "request 1: hash_ids is not a list of numbers"),
        ('{"hash_ids": [1], "input_length": -1}\n', "request 1: input_length -1"),
        ('{"hash_ids": [1, 1]}\n', "request 1: an id stands twice"),
        (LINE + '{"hash_ids": [8, 9]}\n', "request 2: block 9 follows 8, but 7 before"),
        (LINE + '{"hash_ids": [9]}\n', "request 2: block 9 was no first block before"),
        (LINE + '{"hash_ids": [9, 7]}\n', "request 2: block 9 was no first block"),
        (LINE + '{"hash_ids": [8, 7]}\n', "request 2: block 7 follows 8, but None before"),
    ],
)
def test_a_trace_that_cannot_be_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(text)
    with pytest.raises(TraceError, match=message):
        read_trace(path)


def test_a_broken_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.gz"
    path.write_bytes(gzip.compress(LINE.encode())[:-6])
    with pytest.raises(TraceError, match=r"trace\.gz"):
        read_trace(path)
