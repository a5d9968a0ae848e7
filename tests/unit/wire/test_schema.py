"""Locations packed with msgpack."""

import msgpack  # type: ignore[import-untyped]  # ships no types
import pytest

from hotplate.wire.schema import (
    BadLocationsError,
    decode_locations,
    encode_locations,
    pack_specs,
)
from hotplate.wire.uri import parse_uri

SPECS = [("tp0", 100), ("tp1", 50)]
STORAGES = [("memory", "memory"), ("disk", "ssd")]


def sums(*values: int) -> bytes:
    return b"".join(value.to_bytes(8, "big") for value in values)


def test_the_layout_is_the_documented_one() -> None:
    blob = encode_locations(
        pack_specs(SPECS), STORAGES[:1], [[0, 2, 0, 3, 1, "seg", 4096, 192, 9, sums(1, 2, 3, 4)]]
    )
    assert msgpack.unpackb(blob) == [
        1,
        [["tp0", 100], ["tp1", 50]],
        [["memory", "memory"]],
        [[0, 2, 0, 3, 1, "seg", 4096, 192, 9, sums(1, 2, 3, 4)]],
    ]


def test_no_spans_are_still_a_whole_answer() -> None:
    decoded = decode_locations(encode_locations(pack_specs(SPECS), [], []))
    assert decoded.spans == []
    assert decoded.entries() == {}
    assert [(spec.name, spec.size_bytes) for spec in decoded.specs] == SPECS


def test_a_span_expands_to_its_blocks_and_specs() -> None:
    span = [3, 2, 0, 0b11, 0b11, "seg", 4096, 192, 9, sums(1, 2, 3, 4)]
    decoded = decode_locations(encode_locations(pack_specs(SPECS), STORAGES, [span]))
    assert decoded.spans[0].block_bytes == 150
    entries = decoded.entries()
    assert list(entries) == [3, 4]
    found = [[(part.spec, part.offset, part.size, part.sum) for part in entries[i]] for i in (3, 4)]
    assert found == [
        [("tp0", 4096, 100, 1), ("tp1", 4196, 50, 2)],
        [("tp0", 4288, 100, 3), ("tp1", 4388, 50, 4)],
    ]
    uri = parse_uri(entries[4][1].uri)
    assert (uri.scheme, uri.storage, uri.segment) == ("shm", "memory", "seg")
    assert (uri.offset, uri.size, uri.generation) == (4388, 50, 9)


def test_specs_that_are_held_but_not_listed_only_move_the_offset() -> None:
    span = [0, 1, 1, 0b11, 0b10, "seg", 0, 4096, 2, sums(8, 9)]
    [part] = decode_locations(encode_locations(pack_specs(SPECS), STORAGES, [span])).entries()[0]
    assert (part.spec, part.storage, part.type) == ("tp1", "disk", "ssd")
    assert (part.offset, part.sum) == (100, 9)


def test_copies_on_several_storages_are_united_and_the_first_wins() -> None:
    spans = [
        [0, 1, 1, 0b10, 0b10, "a", 0, 64, 2, sums(8)],
        [0, 1, 0, 0b11, 0b11, "b", 640, 192, 4, sums(6, 7)],
    ]
    parts = decode_locations(encode_locations(pack_specs(SPECS), STORAGES, spans)).entries()[0]
    assert [(part.spec, part.segment, part.sum) for part in parts] == [
        ("tp0", "b", 6),
        ("tp1", "a", 8),
    ]


def test_blocks_that_are_being_written_have_no_sums() -> None:
    span = [0, 2, 0, 0b11, 0b11, "seg", 0, 192, 1, b""]
    entries = decode_locations(encode_locations(pack_specs(SPECS), STORAGES, [span])).entries()
    assert {part.sum for parts in entries.values() for part in parts} == {None}


def test_2048_blocks_of_one_run_are_one_small_span() -> None:
    span = [0, 2048, 0, 1, 1, "seg", 4096, 64, 1, bytes(8 * 2048)]
    blob = encode_locations(pack_specs(SPECS[:1]), STORAGES[:1], [span])
    assert len(blob) < 8 * 2048 + 64


@pytest.mark.parametrize(
    "value",
    [
        b"\xc1",
        b"",
        msgpack.packb({}),
        msgpack.packb([]),
        msgpack.packb([2, [], [], []]),
        msgpack.packb([1, [], []]),
        msgpack.packb([1, [["a", 1]], [], [[0, 1, 0, 1, 1, "s", 0, 1, 1, b""]]]),
        msgpack.packb([1, [["a", 1]], [["m", "memory"]], [[0, 1, 0, 1, 1, "s", 0, 1, 1, b"12"]]]),
        msgpack.packb([1, [["a", 1]], [["m", "memory"]], [[0, 1, 0]]]),
    ],
)
def test_other_blobs_are_refused(value: bytes) -> None:
    with pytest.raises(BadLocationsError):
        decode_locations(value)
