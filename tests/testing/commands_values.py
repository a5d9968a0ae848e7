"""Hypothesis strategies for bitmaps, HyperLogLogs, SORT, and values that travel (DUMP, RESTORE).

Where our answer is newer than that of the oracle, on purpose, the strategies stay away: BITCOUNT
and BITPOS parse their arguments even where there is no key.
"""

from typing import Final

from hypothesis import strategies as st
from tests.testing.commands import Words, key, number, some, value, words

_offset: Final = st.one_of(
    st.integers(0, 80).map(lambda bit: b"%d" % bit),
    number.filter(lambda text: text not in (b"2147483647", b"2147483648")),
)
_bit: Final = st.sampled_from([b"0", b"1", b"1", b"2", b"-1", b"a", b"", b"01"])
_unit: Final = st.sampled_from([[b"BIT"], [b"byte"], [b"BYTE"], [b"bit"]])
_small: Final = st.integers(-40, 40).map(lambda bit: b"%d" % bit)
_operation: Final = st.sampled_from([b"AND", b"or", b"XOR", b"NOT", b"not", b"NAND", b""])
_keys: Final = st.lists(key, min_size=1, max_size=4)
_field_type: Final = st.one_of(
    st.tuples(st.sampled_from("iu"), st.integers(1, 64)).map(lambda t: f"{t[0]}{t[1]}".encode()),
    st.sampled_from([b"u8", b"i8", b"i64", b"u63", b"u64", b"i65", b"u0", b"x8", b"i", b"u 8"]),
)
_field_offset: Final = st.one_of(_small, st.integers(0, 9).map(lambda at: b"#%d" % at))
_field: Final = st.one_of(
    words(b"GET", _field_type, _field_offset),
    words(b"SET", _field_type, _field_offset, number),
    words(b"incrby", _field_type, _field_offset, number),
    words(b"OVERFLOW", st.sampled_from([b"WRAP", b"sat", b"FAIL", b"FAIL", b"foo"])),
)
_BITMAPS: Final = [
    words(b"SETBIT", key, _offset, _bit),
    words(b"GETBIT", key, _offset),
    words(b"BITCOUNT", key),
    words(b"BITCOUNT", key, _small, _small),
    words(b"BITCOUNT", key, _small, _small, _unit),
    words(b"BITPOS", key, st.sampled_from([b"0", b"1"])),
    words(b"BITPOS", key, _bit, _small),
    words(b"BITPOS", key, st.sampled_from([b"0", b"1"]), _small, _small),
    words(b"BITPOS", key, st.sampled_from([b"0", b"1"]), _small, _small, _unit),
    words(b"BITOP", _operation, key, _keys),
    words(b"BITFIELD", key, some(_field, 4)),
    words(b"BITFIELD_RO", key, some(words(b"GET", _field_type, _field_offset), 3)),
    words(b"BITFIELD_RO", key, some(_field, 2)),
]

_element: Final = st.one_of(value, st.integers(0, 100_000).map(lambda n: b"%d" % n))
_elements: Final = st.one_of(
    st.lists(_element, max_size=6),
    st.tuples(st.integers(0, 10_000), st.integers(100, 900)).map(
        lambda span: [b"%d" % (span[0] + n) for n in range(span[1])]
    ),
)
_sketch: Final = st.one_of(key, st.sampled_from([b"h1", b"h2", b"h3"]))
_sketches: Final = st.lists(_sketch, max_size=4)
_HYPERLOGLOGS: Final = [
    words(b"PFADD", _sketch, _elements),
    words(b"PFADD", _sketch, _elements),
    words(b"PFCOUNT", _sketch, _sketches),
    words(b"PFCOUNT", _sketch),
    words(b"PFMERGE", _sketch, _sketches),
    words(b"GET", st.sampled_from([b"h1", b"h2", b"h3"])),
    words(b"PFDEBUG", st.sampled_from([b"DECODE", b"encoding", b"FOO"]), _sketch),
]

VALUES: Final[list[Words]] = [*_BITMAPS, *_HYPERLOGLOGS]
