"""How GETLOC and STARTWRITE show where blocks lie: entries with URIs, or spans packed by msgpack.

Both come from the cache's spans. The packed form costs a few microseconds for each span, however
many blocks it covers; the entries cost a string for each block and spec.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hotplate.kvc.answers import Span
from hotplate.kvc.catalog import Catalog
from hotplate.kvc.model import SUM_BYTES, Instance, Storage
from hotplate.wire.schema import encode_locations
from hotplate.wire.uri import uri_stem

if TYPE_CHECKING:
    from hotplate.resp.types import Reply


def storage_of(catalog: Catalog, number: int) -> Storage:
    """The storage that a span names; it cannot be gone while its copies are known."""
    storage = catalog.storage_by_number[number]
    if storage is None:
        raise RuntimeError(f"a copy lies on storage {number}, which is gone")
    return storage


def packed_locations(
    catalog: Catalog, instance: Instance, spans: Sequence[Span], wanted: int
) -> bytes:
    """The spans as one blob. `wanted` is a mask of specs (0: all that a copy holds)."""
    storages: list[tuple[str, str]] = []
    indexes: dict[int, int] = {}
    rows: list[tuple[Any, ...]] = []
    for span in file_spans(catalog, spans):
        number = span.storage
        storage = storage_of(catalog, number)
        index = indexes.get(number)
        if index is None:
            index = indexes[number] = len(storages)
            storages.append((storage.name, storage.type))
        segment, offset, stride = storage.opened().locate(span.shape, span.place)
        held = span.specs
        rows.append(
            (
                span.first,
                span.count,
                index,
                held,
                held & wanted if wanted else held,
                segment,
                offset,
                stride,
                span.generation,
                span.sums,
            )
        )
    return encode_locations(instance.packed_specs, storages, rows)


def file_spans(catalog: Catalog, spans: Sequence[Span]) -> Iterator[Span]:
    """The spans, cut where a file ends."""
    for span in spans:
        store = storage_of(catalog, span.storage).opened()
        here = store.slots_from(span.place)
        if here >= span.count:
            yield span
            continue
        width = len(span.sums) // span.count
        start = 0
        while start < span.count:
            end = min(start + here, span.count)
            yield replace(
                span,
                first=span.first + start,
                count=end - start,
                place=span.place + start,
                sums=span.sums[start * width : end * width],
            )
            start = end
            here = store.slots_from(span.place + start)


class _Entry:
    """One block's answer while its copies are put together."""

    __slots__ = ("parts", "storage")

    def __init__(self, storage: Storage) -> None:
        self.storage = storage  # of the first copy; each URI names its own
        self.parts: dict[int, list[Any]] = {}


def location_entries(
    catalog: Catalog,
    instance: Instance,
    spans: Sequence[Span],
    wanted: int,
    count: int,
) -> "list[Reply]":
    """`count` entries `[storage, type, [[spec, uri, size, sum] ...]]`, nil where no span is."""
    found: list[_Entry | None] = [None] * count
    for span in file_spans(catalog, spans):
        storage = storage_of(catalog, span.storage)
        for index in range(span.first, span.first + span.count):
            if found[index] is None:
                found[index] = _Entry(storage)
        _add_parts(found, instance, span, storage, wanted or span.specs)
    return [entry and _entry_reply(entry) for entry in found]


def _add_parts(
    found: list[_Entry | None],
    instance: Instance,
    span: Span,
    storage: Storage,
    wanted: int,
) -> None:
    segment, offset, stride = storage.opened().locate(span.shape, span.place)
    stem = uri_stem(storage.type, storage.name, segment).encode()
    held = instance.numbers_in(span.specs)
    for position, number in enumerate(held):
        if not wanted >> number & 1:
            continue
        spec = instance.specs[number]
        name, size = spec.name.encode(), spec.size_bytes
        tail = b"&size=%d&gen=%d" % (size, span.generation)
        start = offset + instance.offset_in(span.specs, number)
        for i in range(span.count):
            entry = found[span.first + i]
            assert entry is not None
            if number in entry.parts:  # a span before this one has it
                continue
            at = (i * len(held) + position) * SUM_BYTES
            known = span.sums[at : at + SUM_BYTES]
            uri = b"%b%d%b" % (stem, start + i * stride, tail)
            entry.parts[number] = [name, uri, size, _shown_sum(known, storage)]


def _shown_sum(known: bytes, storage: Storage) -> bytes | None:
    unknown = not known or (storage.type == "file" and not known.strip(b"\0"))
    return None if unknown else known.hex().encode()


def _entry_reply(entry: _Entry) -> "Reply":
    parts = [entry.parts[number] for number in sorted(entry.parts)]
    return [entry.storage.name.encode(), entry.storage.type.encode(), parts]
