"""Hypothesis strategies for bitmaps, HyperLogLogs, SORT, and values that travel (DUMP, RESTORE).

Where our answer is newer than that of the oracle, on purpose, the strategies stay away: BITCOUNT
and BITPOS parse their arguments even where there is no key.
"""

from typing import Final

from hypothesis import strategies as st
from tests.testing.commands import Words, key, number, some, value, words

from hotplate.keyspace.rdb import (
    Plain,
    PlainHash,
    PlainList,
    PlainSet,
    PlainSortedSet,
    PlainString,
    dump,
)

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

_pattern: Final = st.sampled_from(
    [b"*", b"w_*", b"a*", b"h->*", b"h*->f", b"*->", b"nosort", b"#", b"", b"{tag}*", b"*->a"]
)
_sort_option: Final = st.one_of(
    st.sampled_from([[b"ASC"], [b"desc"], [b"DESC"], [b"ALPHA"], [b"alpha"], [b"ALPHA"]]),
    words(b"LIMIT", _small, _small),
    words(b"LIMIT", number, number),
    words(b"GET", _pattern),
    words(b"get", st.sampled_from([b"#", b"*"])),
)
_sort_by: Final[Words] = st.one_of(st.just([]), words(b"BY", _pattern))
# with STORE and BY and ALPHA, equal weights would store the members of a set in any order
_sort_store: Final = st.one_of(
    st.lists(_sort_option.filter(lambda parts: parts[0].upper() != b"ALPHA"), max_size=3).map(
        lambda lists: [word for parts in lists for word in parts]
    ),
    words(b"ALPHA"),
)
_SORTS: Final = [
    words(b"SORT", key, _sort_by, some(_sort_option, 4)),
    words(b"SORT", key, some(_sort_option, 4)),
    words(b"SORT_RO", key, some(_sort_option, 4)),
    words(b"SORT", key, some(_sort_option, 3), b"STORE", key),
    words(b"SORT", key, words(b"BY", _pattern), _sort_store, b"STORE", key),
]

_texts: Final = st.one_of(
    st.sampled_from([b"a", b"b", b"c", b"1", b"2", b"10", b"-3.5", b"x" * 70, b"w_1", b""]),
    st.integers(-70_000, 70_000).map(lambda n: b"%d" % n),
)
_plain: Final[st.SearchStrategy[Plain]] = st.one_of(
    st.builds(PlainString, _texts),
    st.builds(PlainList, st.lists(_texts, min_size=1, max_size=9)),
    st.builds(PlainSet, st.lists(_texts, min_size=1, max_size=9, unique=True)),
    st.builds(
        PlainSortedSet,
        st.dictionaries(_texts, st.sampled_from([0.0, 1.0, -2.5, 1e300, float("inf")]), min_size=1),
    ),
    st.builds(PlainHash, st.dictionaries(_texts, _texts, min_size=1, max_size=9)),
)


@st.composite
def _payload(draw: st.DrawFn) -> bytes:
    """A payload of DUMP, sometimes with a byte too few or a wrong one."""
    payload = dump(draw(_plain), compact=draw(st.booleans()))
    damage = draw(st.sampled_from(["none"] * 8 + ["cut", "flip"]))
    at = draw(st.integers(0, len(payload) - 1))
    if damage == "cut":
        return payload[:at]
    return payload[:at] + b"\xf7" + payload[at + 1 :] if damage == "flip" else payload


_restore_option: Final = st.one_of(
    st.sampled_from([[b"REPLACE"], [b"replace"], [b"REPLACE"], [b"FOO"]]),
    words(b"IDLETIME", st.sampled_from([b"0", b"100", b"-1", b"a"])),
    words(b"FREQ", st.sampled_from([b"0", b"255", b"256", b"-1", b"a"])),
)
_ttl: Final = st.sampled_from([b"0", b"0", b"100000", b"999999", b"-1", b"a", b"1.5"])
_time: Final = st.sampled_from([b"0", b"1", b"4102444800000", b"-1", b"a"])
_TRAVELS: Final = [
    words(b"DUMP", key),
    words(b"RESTORE", key, b"0", _payload(), b"REPLACE"),
    words(b"RESTORE", key, b"0", _payload(), b"REPLACE"),
    words(b"RESTORE", key, _ttl, _payload(), some(_restore_option, 3)),
    words(b"RESTORE", key, _time, _payload(), b"ABSTTL", some(_restore_option, 2)),
]
_LOOKS: Final = [
    words(b"LRANGE", key, b"0", b"-1"),
    words(b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"),
    words(b"SCARD", key),
    words(b"HLEN", key),
]

VALUES: Final[list[Words]] = [*_BITMAPS, *_HYPERLOGLOGS, *_SORTS, *_TRAVELS]
