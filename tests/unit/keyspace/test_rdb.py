"""Redis' dump format: what is written is read, what others wrote is read, all else is refused."""

import random
import tracemalloc
from struct import pack

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.testing.old_encodings import pack_blob, pack_ziplist, pack_zipmap, seal

from hotplate.keyspace.crc64 import crc64
from hotplate.keyspace.rdb import (
    Plain,
    PlainHash,
    PlainList,
    PlainSet,
    PlainSortedSet,
    PlainString,
    UnreadableTypeError,
    dump,
    is_intact,
    load,
)
from hotplate.keyspace.rdb_bytes import Cursor, RdbError, lzf_expand, pack_length, pack_string
from hotplate.keyspace.rdb_packed import (
    pack_intset,
    pack_listpack,
    read_intset,
    read_listpack,
    read_ziplist,
    read_zipmap,
)

INTEGERS = [0, 1, 127, 128, -1, 4095, 4096, -4096, -4097, 2**15, -(2**15) - 1, 2**23, 2**31]
INTEGERS += [-(2**31), 2**63 - 1, -(2**63), 12, 13, 2**24]
texts = st.one_of(
    st.binary(max_size=9),
    st.sampled_from(INTEGERS).map(lambda n: b"%d" % n),
    st.sampled_from([63, 64, 127, 4095, 4096, 16380, 16383, 20_000]).map(lambda n: b"x" * n),
)
scores = st.one_of(st.floats(allow_nan=False), st.integers(-(2**60), 2**60).map(float))
values: st.SearchStrategy[Plain] = st.one_of(
    st.builds(PlainString, texts),
    st.builds(PlainList, st.lists(texts, min_size=1, max_size=12)),
    st.builds(PlainSet, st.lists(texts, min_size=1, max_size=12, unique=True)),
    st.builds(
        PlainSet,
        st.lists(st.sampled_from(INTEGERS), min_size=1, unique=True).map(
            lambda numbers: [b"%d" % number for number in numbers]
        ),
    ),
    st.builds(PlainSortedSet, st.dictionaries(texts, scores, min_size=1, max_size=8)),
    st.builds(PlainHash, st.dictionaries(texts, texts, min_size=1, max_size=8)),
    st.dictionaries(texts, st.tuples(texts, st.integers(0, 2**40)), min_size=1, max_size=8).map(
        lambda items: PlainHash(
            {name: text for name, (text, _) in items.items()},
            {name: at_ms for name, (_, at_ms) in items.items() if at_ms % 3},
        )
    ),
)


def comparable(value: Plain) -> Plain:
    return PlainSet(sorted(value.members)) if isinstance(value, PlainSet) else value


@given(values, st.booleans())
def test_what_is_written_is_read_again(value: Plain, compact: bool) -> None:
    payload = dump(value, compact=compact)
    assert is_intact(payload)
    assert comparable(load(payload)) == comparable(value)
    if isinstance(value, PlainSortedSet):
        read = load(payload)
        assert isinstance(read, PlainSortedSet)
        assert {m: repr(s) for m, s in read.scores.items()} == {
            m: repr(s) for m, s in value.scores.items()
        }


def test_the_sum_is_that_of_jones() -> None:
    assert crc64(b"123456789") == 0xE9C6D914C4B8D9CA
    text = bytes(range(256)) * 3
    assert crc64(text[100:], crc64(text[:100])) == crc64(text)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        # from the documentation of DUMP and RESTORE
        (b"\x00\xc0\n\n\x00n\x9fWE\x0e\xaec\xbb", PlainString(b"10")),
        (
            b"\n\x17\x17\x00\x00\x00\x12\x00\x00\x00\x03\x00\x00\xc0\x01\x00\x04\xc0\x02\x00\x04"
            b"\xc0\x03\x00\xff\x04\x00u#<\xc0;.\xe9\xdd",
            PlainList([b"1", b"2", b"3"]),
        ),
    ],
)
def test_documented_payloads_are_read(payload: bytes, expected: Plain) -> None:
    assert is_intact(payload)
    assert load(payload) == expected


PAIRS = [b"a", b"1", b"bc", b"-70000", b"d" * 300, b"e" * 20_000]
FIELDS = dict(zip(PAIRS[::2], PAIRS[1::2], strict=True))
FUTURE_MS = 4_102_444_800_000


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"\x01\x02\x01a\xc0\x05", PlainList([b"a", b"5"])),
        (b"\x02\x02\x01a\x01b", PlainSet([b"a", b"b"])),
        (b"\x03\x02\x01a\x031.5\x01b\xff", PlainSortedSet({b"a": 1.5, b"b": float("-inf")})),
        (b"\x04\x01\x01f\x01v", PlainHash({b"f": b"v"})),
        (b"\x09" + pack_blob(pack_zipmap(PAIRS)), PlainHash(FIELDS)),
        (b"\x0a" + pack_blob(pack_ziplist(PAIRS)), PlainList(PAIRS)),
        (b"\x0b" + pack_blob(pack_intset([3, -70000])), PlainSet([b"-70000", b"3"])),
        (
            b"\x0c" + pack_blob(pack_ziplist([b"a", b"1.5", b"b", b"-inf"])),
            PlainSortedSet({b"a": 1.5, b"b": float("-inf")}),
        ),
        (b"\x0d" + pack_blob(pack_ziplist(PAIRS)), PlainHash(FIELDS)),
        (
            b"\x0e\x02" + pack_blob(pack_ziplist(PAIRS)) + pack_blob(pack_ziplist([b"z"])),
            PlainList([*PAIRS, b"z"]),
        ),
        (b"\x12\x02\x01\x03big\x02" + pack_blob(pack_listpack([b"z"])), PlainList([b"big", b"z"])),
        (b"\x14" + pack_blob(pack_listpack([b"a", b"5"])), PlainSet([b"a", b"5"])),
        (
            b"\x16\x02" + pack_length(FUTURE_MS) + b"\x01f\x01v\x00\x01g\x01w",
            PlainHash({b"f": b"v", b"g": b"w"}, {b"f": FUTURE_MS}),
        ),
        (
            b"\x17" + pack_blob(pack_listpack([b"f", b"v", b"%d" % FUTURE_MS, b"g", b"w", b"0"])),
            PlainHash({b"f": b"v", b"g": b"w"}, {b"f": FUTURE_MS}),
        ),
        (
            b"\x18" + pack("<q", FUTURE_MS) + b"\x02\x01\x01f\x01v\x00\x01g\x01w",
            PlainHash({b"f": b"v", b"g": b"w"}, {b"f": FUTURE_MS}),
        ),
        (
            b"\x19"
            + pack("<q", FUTURE_MS)
            + pack_blob(pack_listpack([b"f", b"v", b"%d" % FUTURE_MS, b"g", b"w", b"0"])),
            PlainHash({b"f": b"v", b"g": b"w"}, {b"f": FUTURE_MS}),
        ),
    ],
    ids=lambda part: str(part[0]) if isinstance(part, bytes) else "",
)
def test_every_type_and_form_is_read(body: bytes, expected: Plain) -> None:
    assert load(seal(body, 12)) == expected


def test_type_22_is_another_one_in_valkey() -> None:
    body = b"\x16\x02\x01f\x01v" + pack("<q", FUTURE_MS) + b"\x01g\x01w" + pack("<q", -1)
    assert load(seal(body, 80)) == PlainHash({b"f": b"v", b"g": b"w"}, {b"f": FUTURE_MS})


@pytest.mark.parametrize(
    ("kind", "name"),
    [(6, "a module's value"), (7, "a module's value"), (26, "a stream of a later version")],
)
def test_types_that_are_not_here_are_refused_by_name(kind: int, name: str) -> None:
    with pytest.raises(UnreadableTypeError, match=name):
        load(seal(bytes((kind,)) + b"\x00"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x08",
        b"\x63",
        b"\x00\xc4",
        b"\x00\x82",
        b"\x00\x05abc",
        b"\x00\x80\xff\xff\xff\xffx",
        b"\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x01\x00",
        b"\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01a",
        b"\x02\x02\x01a\x01a",
        b"\x03\x01\x01a\xfd",
        b"\x03\x01\x01a\x01x",
        b"\x04\x02\x01a\x01b\x01a\x01c",
        b"\x04\xc0\x01",
        b"\x05\x01\x01a" + pack("<d", float("nan")),
        b"\x09" + pack_blob(b"\x01\x01a\x01\x00b\xff "),
        b"\x0b" + pack_blob(pack("<II", 3, 1) + b"abc"),
        b"\x0c" + pack_blob(pack_ziplist([b"a"])),
        b"\x0c" + pack_blob(pack_ziplist([b"a", b"x"])),
        b"\x0d" + pack_blob(pack_ziplist([b"a", b"1", b"b"])),
        b"\x10" + pack_blob(pack_listpack([])),
        b"\x10" + pack_blob(pack_listpack([b"a", b"1"])[:-1]),
        b"\x12\x01\x03\x01a",
        b"\x17" + pack_blob(pack_listpack([b"f", b"v", b"x"])),
        b"\x17" + pack_blob(pack_listpack([b"f", b"v"])),
        b"\x17" + pack_blob(pack_listpack([b"f", b"v", b"-5"])),
    ],
)
def test_what_makes_no_sense_is_refused(body: bytes) -> None:
    with pytest.raises(RdbError):
        load(seal(body))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x00\x01a",
        dump(PlainString(b"a"), compact=False)[:-1],
        dump(PlainString(b"a"), compact=False)[:-1] + b"\xff",
        seal(b"\x00\x01a", 14),
        seal(b"\x00\x01a", 79),
        seal(b"\x00\x01a", 0),
    ],
)
def test_a_payload_without_its_sum_or_of_another_version_is_not_intact(payload: bytes) -> None:
    assert not is_intact(payload)


def test_a_sum_of_zero_is_none() -> None:
    assert is_intact(b"\x00\x01a\x0a\x00" + bytes(8))


SEEDS = [
    dump(PlainString(b"123"), compact=True),
    dump(PlainList([b"a", b"70000", b"b" * 70]), compact=True),
    dump(PlainSet([b"a", b"b"]), compact=True),
    dump(PlainSet([b"1", b"70000"]), compact=True),
    dump(PlainSortedSet({b"a": 1.5, b"b": -3.0}), compact=True),
    dump(PlainSortedSet({b"a": 1.5, b"b": -3.0}), compact=False),
    dump(PlainHash({b"f": b"v", b"g": b"5000"}), compact=True),
    dump(PlainHash({b"f": b"v", b"g": b"w"}, {b"g": FUTURE_MS}), compact=True),
    seal(b"\x09" + pack_blob(pack_zipmap(PAIRS[:4]))),
    seal(b"\x0c" + pack_blob(pack_ziplist([b"a", b"1.5", b"b", b"70000"]))),
    seal(b"\x0e\x01" + pack_blob(pack_ziplist(PAIRS[:4]))),
    seal(b"\x19" + pack("<q", FUTURE_MS) + pack_blob(pack_listpack([b"f", b"v", b"0"])), 12),
    seal(b"\x00\xc3\x09\x40\x64\x01aa\xe0\x57\x00\x01aa"),
]


@given(st.sampled_from(SEEDS), st.randoms(use_true_random=False))
@settings(max_examples=400)
def test_damaged_payloads_are_read_or_refused_and_nothing_else(
    payload: bytes, chance: random.Random
) -> None:
    body = bytearray(payload[:-10])
    for _ in range(chance.randrange(1, 4)):
        kind = chance.randrange(4)
        at = chance.randrange(len(body)) if body else 0
        if kind == 0 and body:
            body[at] ^= 1 << chance.randrange(8)
        elif kind == 1 and body:
            body[at] = chance.choice((0, 0x80, 0x81, 0xC3, 0xFE, 0xFF, chance.randrange(256)))
        elif kind == 2:
            del body[at:]
        else:
            body[at:at] = chance.randbytes(chance.randrange(5))
    try:
        value = load(seal(bytes(body), chance.choice((10, 12, 80))))
    except RdbError:
        return
    # what is read is a value that can be written
    again = load(dump(value, compact=chance.random() < 0.5))
    assert comparable(again) == comparable(value)


@given(st.binary(max_size=60))
@example(b"\x81" + b"\xff" * 8)
def test_any_bytes_are_a_packed_form_or_refused(data: bytes) -> None:
    for read in (read_listpack, read_ziplist, read_zipmap, read_intset):
        sized = pack("<I", len(data) + 4) + data
        for some in (data, sized):
            try:
                read(some)
            except RdbError:
                continue


def test_a_length_that_lies_takes_no_memory() -> None:
    liars = [
        b"\x00\xc3\x05\x81" + b"\x7f" + b"\xff" * 7 + b"abcde",
        b"\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x00\x80\xff\xff\xff\xffx",
        b"\x12\x81\x00\x00\x00\x00\xff\xff\xff\xff\x02",
    ]
    tracemalloc.start()
    for body in liars:
        with pytest.raises(RdbError):
            load(seal(body))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize(
    ("packed", "text"),
    [
        (b"\x02abc", b"abc"),
        (b"\x00a\x20\x00", b"aaaa"),
        (b"\x01ab\xe0\x05\x01", b"ab" * 8),
        (b"\x02abc\x40\x02", b"abcabca"),
    ],
)
def test_lzf_is_expanded(packed: bytes, text: bytes) -> None:
    assert lzf_expand(packed, len(text)) == text
    for size in (len(text) - 1, len(text) + 1):
        with pytest.raises(RdbError):
            lzf_expand(packed, size)


@pytest.mark.parametrize(
    "packed", [b"\x05abc", b"\x20\x00", b"\x00a\x20\x05", b"\x00a\x20", b"\x00a\xe0"]
)
def test_lzf_that_ends_early_or_points_nowhere_is_refused(packed: bytes) -> None:
    with pytest.raises(RdbError):
        lzf_expand(packed, 4)


@pytest.mark.parametrize("length", [0, 63, 64, 16383, 16384, 2**32 - 1, 2**32, 2**64 - 1])
def test_lengths_are_written_as_they_are_read(length: int) -> None:
    assert Cursor(pack_length(length)).length() == length


@pytest.mark.parametrize("number", INTEGERS)
def test_numbers_take_few_bytes(number: int) -> None:
    packed = pack_string(b"%d" % number)
    assert Cursor(packed).string() == b"%d" % number
    assert read_listpack(pack_listpack([b"%d" % number])) == [b"%d" % number]
    assert len(packed) <= 21
