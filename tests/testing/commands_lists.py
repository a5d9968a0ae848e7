"""Hypothesis strategies for commands on lists and sets.

Few elements, so that they meet, at the edges of what encodings tell apart. SRANDMEMBER draws no
more than a few, and LPOS gets no rank that the oracle takes and newer servers refuse.
"""

from typing import Final

from hypothesis import strategies as st
from tests.testing.commands import Words, key, number, some, value, words

_element: Final = st.one_of(
    st.sampled_from([b"x", b"y", b"z", b"1", b"2", b"-3", b"", b"x" * 64, b"y" * 65, b"01"]), value
)
_elements: Final = st.lists(_element, min_size=1, max_size=5)
_many: Final = st.one_of(
    st.integers(100, 140).map(lambda count: [b"%d" % at for at in range(count)]),
    st.integers(500, 515).map(lambda count: [b"%d" % at for at in range(count)]),
    st.integers(120, 270).map(lambda count: [b"e%d" % (at % 200) for at in range(count)]),
    st.integers(1, 3).map(lambda count: [b"x" * 3000] * count),
)
_little: Final = st.integers(-6, 6).map(lambda count: b"%d" % count)
_count: Final = st.one_of(_little, _little, number, st.sampled_from([b"100", b"a", b""]))
_keys: Final = st.lists(key, min_size=1, max_size=4)
_counted_keys: Final = st.one_of(
    _keys.map(lambda keys: [b"%d" % len(keys), *keys]),
    _keys.map(lambda keys: [b"%d" % len(keys), *keys]),
    st.tuples(number, _keys).map(lambda pair: [pair[0], *pair[1]]),
)
_end: Final = st.sampled_from([b"LEFT", b"RIGHT", b"left", b"Right", b"LEFT", b"RIGHT", b"FOO"])
_where: Final = st.sampled_from([b"BEFORE", b"AFTER", b"before", b"FOO"])
_rank: Final = st.sampled_from([b"1", b"2", b"-1", b"-2", b"0", b"a", b"9223372036854775807"])
_lpos_option: Final = st.one_of(
    words(b"RANK", _rank), words(b"COUNT", _little), words(b"maxlen", _little), words(b"FOO")
)
_scan_option: Final = words(b"MATCH", st.sampled_from([b"*", b"x*", b"?", b"[1-9]", b"nothing"]))


LISTS: Final[list[Words]] = [
    words(b"LPUSH", key, _elements),
    words(b"RPUSH", key, _elements),
    words(b"RPUSH", key, _many),
    words(b"LPUSH", key, _many),
    words(b"LPUSHX", key, _elements),
    words(b"RPUSHX", key, _elements),
    words(b"LPOP", key),
    words(b"RPOP", key),
    words(b"LPOP", key, _count),
    words(b"RPOP", key, _count),
    words(b"LLEN", key),
    words(b"LRANGE", key, number, number),
    words(b"LRANGE", key, b"0", b"-1"),
    words(b"LRANGE", key, b"0", b"-1"),
    words(b"LINDEX", key, number),
    words(b"LSET", key, number, _element),
    words(b"LSET", key, _little, _element),
    words(b"LINSERT", key, _where, _element, _element),
    words(b"LREM", key, _count, _element),
    words(b"LTRIM", key, number, number),
    words(b"LTRIM", key, _little, b"-1"),
    words(b"LPOS", key, _element, some(_lpos_option, 3)),
    words(b"LMOVE", key, key, _end, _end),
    words(b"RPOPLPUSH", key, key),
    words(b"LMPOP", _counted_keys, _end),
    words(b"LMPOP", _counted_keys, _end, b"COUNT", _count),
    words(b"OBJECT", b"ENCODING", key),
]
SETS: Final[list[Words]] = [
    words(b"SADD", key, _elements),
    words(b"SADD", key, _elements),
    words(b"SADD", key, _many),
    words(b"SREM", key, _elements),
    words(b"SCARD", key),
    words(b"SISMEMBER", key, _element),
    words(b"SMISMEMBER", key, _elements),
    words(b"SMEMBERS", key),
    words(b"SMEMBERS", key),
    words(b"SPOP", key),
    words(b"SPOP", key, _count),
    words(b"SPOP", key, b"1000"),
    words(b"SRANDMEMBER", key),
    words(b"SRANDMEMBER", key, st.one_of(_little, st.sampled_from([b"1000", b"a", b"1.5"]))),
    words(b"SMOVE", key, key, _element),
    words(b"SINTER", _keys),
    words(b"SUNION", _keys),
    words(b"SDIFF", _keys),
    words(b"SINTERSTORE", key, _keys),
    words(b"SUNIONSTORE", key, _keys),
    words(b"SDIFFSTORE", key, _keys),
    words(b"SINTERCARD", _counted_keys),
    words(b"SINTERCARD", _counted_keys, b"LIMIT", _count),
    words(b"SSCAN", key, b"0", b"COUNT", b"1000", some(_scan_option, 1)),
    words(b"SSCAN", key, st.sampled_from([b"a", b"", b"-", b"18446744073709551616", b" 0"])),
    words(b"OBJECT", b"ENCODING", key),
]
