"""Registrations, replies and runs."""

from hotplate.clients.keys import Keys
from hotplate.clients.records import (
    PIECE_BYTES,
    Registration,
    Run,
    instance_of,
    is_complete,
    mapping_of,
    runs_of,
)
from hotplate.wire.hashing import hash_tokens, pack_tokens
from hotplate.wire.schema import Locations, Span, SpecLayout


def span(first: int, count: int, *, stride: int = 64, size: int = 64, held: int = 1) -> Span:
    sums = b"".join(number.to_bytes(8, "big") for number in range(count * held.bit_count()))
    return Span(first, count, "memory", "memory", held, held, "s", 4096, stride, 7, sums, size)


def test_a_registration_names_everything_it_was_given_and_nothing_else() -> None:
    registration = Registration(
        block_tokens=16,
        specs={"a": 10, "b": 20},
        spec_groups={"half": ["a"]},
        hash_scheme="xxh3",
        model="m",
        mla=False,
    )
    assert registration.arguments(b"id") == [
        *("KVC.INSTANCE", "REGISTER", b"id", "GROUP", "default", "BLOCKTOKENS", 16),
        *("SPEC", "a", 10, "SPEC", "b", 20, "SPECGROUP", "half", 1, "a"),
        *("CHAINED", 1, "HASH", "xxh3", "MODEL", "m", "MLA", 0),
    ]


def test_an_instance_is_read_from_a_flat_reply_and_from_a_map() -> None:
    storage = [b"name", b"ssd", b"type", b"ssd", b"state", b"available", b"map", 1, b"path", b"/d"]
    flat = [
        *(b"id", b"i", b"group", b"g", b"block_tokens", 2, b"specs", [b"kv", 8]),
        *(b"hash", b"xxh3", b"hash_seed", b"", b"storages", [storage]),
    ]
    nested = {**mapping_of(flat), "specs": {b"kv": 8}, "storages": [mapping_of(storage)]}
    instance = instance_of(flat)
    assert instance == instance_of(nested)
    assert (instance.block_bytes, instance.storages["ssd"].path) == (8, "/d")


def test_tokens_become_the_keys_of_the_instance_s_scheme() -> None:
    registration = Registration(block_tokens=2, specs={"kv": 8}, hash_scheme="xxh3")
    instance = registration.registered(b"i", [])
    tokens = [5, 6, 7, 8, 9]
    expected = hash_tokens("xxh3", pack_tokens(tokens), 2)
    assert instance.keys(tokens) == Keys(8, expected)
    assert len(instance.keys([5])) == 0


def test_a_span_is_one_run_where_its_keys_are_consecutive() -> None:
    runs = runs_of(Locations([SpecLayout("kv", 64)], [span(0, 3)]), range(10, 13))
    assert [(run.first, run.count, run.offset) for run in runs] == [(10, 3, 4096)]


def test_a_span_is_cut_where_its_keys_are_not_consecutive() -> None:
    runs = runs_of(Locations([SpecLayout("kv", 64)], [span(0, 4)]), [0, 1, 5, 6])
    cut = [(run.first, run.count, run.offset) for run in runs]
    assert cut == [(0, 2, 4096), (5, 2, 4096 + 2 * 64)]
    assert runs[1].sums_of(1) == (3).to_bytes(8, "big")


def test_blocks_with_nothing_between_them_are_moved_together_up_to_a_bound() -> None:
    size = PIECE_BYTES // 2
    run = Run(4, 5, span(0, 5, stride=size, size=size), 4096)
    pieces = [(piece.first, piece.count, piece.offset) for piece in run.pieces()]
    assert pieces == [(4, 2, 4096), (6, 2, 4096 + 2 * size), (8, 1, 4096 + 4 * size)]


def test_blocks_with_padding_between_them_are_moved_one_by_one() -> None:
    run = Run(0, 2, span(0, 2, stride=128, size=100), 4096)
    assert [(piece.first, piece.count) for piece in run.pieces()] == [(0, 1), (1, 1)]


def test_a_copy_that_lacks_a_spec_is_not_complete() -> None:
    specs = [SpecLayout("a", 32), SpecLayout("b", 32)]
    for held, complete in ((0b11, True), (0b01, False)):
        locations = Locations(specs, [span(0, 1, held=held)])
        [run] = runs_of(locations, range(1))
        assert is_complete(locations, run) is complete
