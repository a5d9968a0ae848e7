"""Traces of requests: which chain of blocks each one asked for.

Reads the JSON lines of the Mooncake traces (FAST'25), plain or gzipped, one request a line:
`timestamp` (ms), `input_length` (tokens), `hash_ids` (the blocks of the input; the same id is the
same prefix, so an id stands behind the same id wherever it stands).
"""

import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Final

BLOCK_TOKENS: Final = 512  # of the Mooncake traces
_GZIP_MAGIC: Final = b"\x1f\x8b"


class TraceError(Exception):
    """A trace that can't be read; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request: its input in tokens, and the blocks of it from the first on.

    The last `extra` of them were not asked for: the answer, or what else was written behind it.
    """

    tokens: int
    blocks: list[int]
    extra: int = 0

    @property
    def asked(self) -> int:
        """Blocks asked for."""
        return len(self.blocks) - self.extra


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests in the order they came; blocks are numbered 0..distinct - 1."""

    requests: list[Request]
    block_tokens: int
    distinct: int

    @property
    def accesses(self) -> int:
        """Blocks asked for or written, all requests together."""
        return sum(len(request.blocks) for request in self.requests)


def read_trace(path: Path, *, block_tokens: int = BLOCK_TOKENS, limit: int | None = None) -> Trace:
    """The trace in a file, or its first `limit` requests. OSError, TraceError."""
    requests = [
        _request(number, line, block_tokens)
        for number, line in enumerate(islice(_lines(path), limit), 1)
    ]
    check_chains(requests)
    return numbered(requests, block_tokens)


def numbered(requests: Iterable[Request], block_tokens: int) -> Trace:
    """The trace of some requests, whose blocks get numbers in the order they come up."""
    numbers: dict[int, int] = {}
    renamed = [
        replace(item, blocks=[numbers.setdefault(name, len(numbers)) for name in item.blocks])
        for item in requests
    ]
    return Trace(renamed, block_tokens, len(numbers))


def _lines(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP_MAGIC
    try:
        with gzip.open(path, "rt") if packed else path.open() as lines:
            for line in lines:
                if line.strip():
                    yield line
    except (gzip.BadGzipFile, EOFError, UnicodeDecodeError) as error:
        raise TraceError(f"{path}: {error}") from None


def _request(number: int, line: str, block_tokens: int) -> Request:
    try:
        record: Any = json.loads(line)
        blocks = record["hash_ids"]
        tokens = record.get("input_length", len(blocks) * block_tokens)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise TraceError(f"request {number}: no JSON object with hash_ids") from None
    if not isinstance(blocks, list) or not all(isinstance(block, int) for block in blocks):
        raise TraceError(f"request {number}: hash_ids is not a list of numbers")
    if not isinstance(tokens, int) or tokens < 0:
        raise TraceError(f"request {number}: input_length {tokens!r} is not a number of tokens")
    if len(set(blocks)) != len(blocks):
        raise TraceError(f"request {number}: an id stands twice in hash_ids")
    return Request(tokens, blocks)


def check_chains(requests: Iterable[Request]) -> None:
    """TraceError unless every block stands behind the same block wherever it stands."""
    parents: dict[int, int | None] = {}
    for number, request in enumerate(requests, 1):
        blocks = request.blocks
        if blocks and parents.setdefault(blocks[0], None) is not None:
            raise TraceError(f"request {number}: block {blocks[0]} was no first block before")
        for above, block in pairwise(blocks):
            known = parents.setdefault(block, above)
            if known != above:
                raise TraceError(
                    f"request {number}: block {block} follows {above}, but {known} before"
                )
