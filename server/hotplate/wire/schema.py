"""Locations packed with msgpack: what GETLOC and STARTWRITE answer with FORMAT msgpack.

Blocks that lie one after the other in a segment are one span, so that the answer's size follows
the number of spans, not of blocks. docs/locations.md describes the layout for other languages:

    [version, [[spec, bytes] ...], [[storage, type] ...], [span ...]]
    span: [first, count, storage, held, listed, segment, offset, stride, generation, sums]

`first` counts the answer's entries, `storage` indexes the storages of this answer; `held` is the
bit mask of the specs that the copies hold (in registration order, concatenated), `listed` those
that the answer is about. Block i of a span begins at `offset + i * stride`. `sums` holds 8 bytes
big-endian for each block and each held spec, block by block; empty where nothing is known yet.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import msgpack  # type: ignore[import-untyped]  # ships no types

from hotplate.wire.uri import uri_stem

LOCATIONS_VERSION: Final = 1
SUM_BYTES: Final = 8
_ARRAY_OF_FOUR: Final = b"\x94"
_SPAN_FIELDS: Final = 10


class BadLocationsError(ValueError):
    """The blob is no locations, or of a version that is not known here."""


@dataclass(frozen=True, slots=True)
class SpecLayout:
    """One registered spec: its name and the bytes it takes in every block."""

    name: str
    size_bytes: int


@dataclass(slots=True)
class Part:
    """One spec's bytes of one block. `sum` is None where it is not known yet."""

    spec: str
    storage: str
    type: str
    segment: str
    offset: int
    size: int
    generation: int
    sum: int | None

    @property
    def uri(self) -> str:
        """The same place as an URI."""
        stem = uri_stem(self.type, self.storage, self.segment)
        return f"{stem}{self.offset}&size={self.size}&gen={self.generation}"


@dataclass(slots=True)
class Span:
    """Consecutive entries whose blocks lie `stride` bytes apart in one segment."""

    first: int
    count: int
    storage: str
    type: str
    held: int
    listed: int
    segment: str
    offset: int
    stride: int
    generation: int
    sums: bytes
    block_bytes: int  # of one copy: all held specs together

    def offset_of(self, index: int) -> int:
        """Where entry `index` of the answer begins in the segment."""
        return self.offset + (index - self.first) * self.stride


@dataclass(slots=True)
class Locations:
    """A decoded answer."""

    specs: list[SpecLayout]
    spans: list[Span]

    def parts(self, span: Span, index: int) -> Iterator[Part]:
        """The listed specs of entry `index`, which lies in `span`, in registration order."""
        start = span.offset_of(index)
        sums_at = (index - span.first) * span.held.bit_count() * SUM_BYTES
        for number, spec in enumerate(self.specs):
            if not span.held >> number & 1:
                continue
            if span.listed >> number & 1:
                known = span.sums[sums_at : sums_at + SUM_BYTES]
                yield Part(
                    spec.name,
                    span.storage,
                    span.type,
                    span.segment,
                    start,
                    spec.size_bytes,
                    span.generation,
                    int.from_bytes(known, "big") if known else None,
                )
            start += spec.size_bytes
            sums_at += SUM_BYTES

    def entries(self) -> dict[int, list[Part]]:
        """The parts of each entry by its index; an index that is absent is a miss.

        A spec that several spans offer comes from the first of them.
        """
        found: dict[int, dict[str, Part]] = {}
        for span in self.spans:
            for index in range(span.first, span.first + span.count):
                parts = found.setdefault(index, {})
                for part in self.parts(span, index):
                    parts.setdefault(part.spec, part)
        order = {spec.name: number for number, spec in enumerate(self.specs)}
        return {
            index: sorted(parts.values(), key=lambda part: order[part.spec])
            for index, parts in sorted(found.items())
        }


_pack = cast("Callable[[Any], bytes]", msgpack.packb)  # None only with autoreset off


def pack_specs(specs: Sequence[tuple[str, int]]) -> bytes:
    """The part of the answer that is the same for every answer about one instance."""
    return _pack([[name, size] for name, size in specs])


_VERSION: Final = _pack(LOCATIONS_VERSION)
_EMPTY: Final = _pack([])


def encode_locations(
    packed_specs: bytes, storages: Sequence[tuple[str, str]], spans: Sequence[Sequence[Any]]
) -> bytes:
    """A whole answer; `spans` hold their ten fields in the order of the layout."""
    if not spans:
        return b"".join((_ARRAY_OF_FOUR, _VERSION, packed_specs, _EMPTY, _EMPTY))
    return b"".join(
        (
            _ARRAY_OF_FOUR,
            _VERSION,
            packed_specs,
            _pack(storages),
            _pack(spans),
        )
    )


def decode_locations(blob: bytes | memoryview) -> Locations:
    """The spans of an answer, or BadLocationsError."""
    try:
        value = msgpack.unpackb(blob, use_list=True)
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise BadLocationsError(f"not msgpack: {error}") from error
    if not isinstance(value, list) or not value or value[0] != LOCATIONS_VERSION:
        shown = value[0] if isinstance(value, list) and value else value
        raise BadLocationsError(f"locations of version {shown!r}, need {LOCATIONS_VERSION}")
    try:
        _, packed_specs, storages, packed_spans = value
        specs = [SpecLayout(name, size) for name, size in packed_specs]
        spans = [_decode_span(fields, specs, storages) for fields in packed_spans]
    except (ValueError, TypeError, IndexError) as error:
        raise BadLocationsError(f"bad locations: {error}") from error
    return Locations(specs, spans)


def _decode_span(fields: Any, specs: list[SpecLayout], storages: Any) -> Span:
    if len(fields) != _SPAN_FIELDS:
        raise ValueError(f"a span of {len(fields)} fields, need {_SPAN_FIELDS}")
    first, count, storage, held, listed, segment, offset, stride, generation, sums = fields
    name, kind = storages[storage]
    held_specs = [spec for number, spec in enumerate(specs) if held >> number & 1]
    if len(sums) not in (0, count * len(held_specs) * SUM_BYTES):
        raise ValueError(f"{len(sums)} bytes of sums for {count} blocks")
    block_bytes = sum(spec.size_bytes for spec in held_specs)
    return Span(
        first,
        count,
        name,
        kind,
        held,
        listed,
        segment,
        offset,
        stride,
        generation,
        sums,
        block_bytes,
    )
