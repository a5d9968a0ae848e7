"""Hypothesis strategies for commands on hashes that redis-server 7.0 knows.

Few fields, some of them with long values, so that encodings change; now and then so many at once
that they do. A walk asks for all fields at once, since its pieces are chance.
"""

from itertools import chain
from typing import Final

from hypothesis import strategies as st
from tests.testing.commands import Words, key, number, some, value, words

_FIELDS: Final = [b"a", b"b", b"c", b"d", b"e", b"f", b"", b"\xff", b"12", b"a\x00b"]
_LONG: Final = [b"x" * 64, b"y" * 65]
_FLOATS: Final = [
    *(b"1.5", b"-0.25", b"3.0e3", b"1e-17", b"1e300", b"1e4932", b"inf", b"-inf", b"nan", b"0x1p3"),
    *(b"", b"1 ", b"abc", b"5.", b".5", b"-0.0", b"1e5000"),
]
_GLOBS: Final = [b"*", b"a*", b"?", b"[a-c]", b"f1?", b"\\a", b""]

field: Final = st.one_of(*[st.sampled_from(_FIELDS)] * 20, st.sampled_from(_LONG))
item: Final = st.one_of(*[value] * 20, st.sampled_from(_LONG))
_fields: Final = st.lists(field, min_size=1, max_size=4)
_pairs: Final = st.lists(words(field, item), min_size=1, max_size=5).map(
    lambda lists: list(chain.from_iterable(lists))
)
_many: Final = st.sampled_from([3, 40, 505, 512, 513, 600]).map(
    lambda count: list(chain.from_iterable((b"f%d" % at, b"v%d" % at) for at in range(count)))
)
_count: Final = st.one_of(
    st.integers(-12, 12).map(lambda count: b"%d" % count),
    st.sampled_from([b"9223372036854775807", b"9223372036854775808", b"a", b"", b"1.5"]),
    st.sampled_from([b"4611686018427387904", b"-9223372036854775808"]),
)
_scan_option: Final[Words] = words(b"MATCH", st.sampled_from(_GLOBS))

HASHES: Final = [
    words(b"HSET", key, _pairs),
    words(b"HSET", key, field, item),
    words(b"HSET", key, _pairs, field),
    words(b"HSET", key, _many),
    words(b"HMSET", key, _pairs),
    words(b"HSETNX", key, field, item),
    words(b"HGET", key, field),
    words(b"HMGET", key, _fields),
    words(b"HGETALL", key),
    words(b"HKEYS", key),
    words(b"HVALS", key),
    words(b"HLEN", key),
    words(b"HSTRLEN", key, field),
    words(b"HEXISTS", key, field),
    words(b"HDEL", key, _fields),
    words(b"HINCRBY", key, field, number),
    words(b"HINCRBYFLOAT", key, field, st.one_of(st.sampled_from(_FLOATS), number)),
    words(b"HRANDFIELD", key),
    words(b"HRANDFIELD", key, _count),
    words(b"HRANDFIELD", key, _count, st.sampled_from([b"WITHVALUES", b"withvalues", b"foo"])),
    words(b"HSCAN", key, b"0", b"COUNT", b"1000", some(_scan_option, 1)),
    words(b"HSCAN", key, st.sampled_from([b"a", b"", b"-", b"18446744073709551616", b"+0"])),
    words(b"HSCAN", key, b"0", b"COUNT", st.sampled_from([b"0", b"-1", b"a"])),
    words(b"OBJECT", b"ENCODING", key),
]
