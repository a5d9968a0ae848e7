"""Hypothesis strategies for commands on sorted sets and points.

Scores from few values, so that equal ones meet; sums exact enough that both sides round alike;
counts of random members small. Keys are those of all other types.
"""

from itertools import chain
from typing import Final

from hypothesis import strategies as st
from tests.testing.commands import Words, key, number, some, value, words

_SCORES: Final = [
    *(b"0", b"1", b"1", b"2", b"2", b"3", b"-1", b"10", b"1.5", b"-0.25", b"1e3", b"100"),
    *(b"inf", b"-inf", b"+inf", b"1e300", b"3.0e2", b"0x10", b"16777217"),
]
_NOT_SCORES: Final = [b"nan", b"", b"abc", b"1 ", b" 1", b"1e400", b"(1", b"1_0", b"1e-400"]
_ENDS: Final = [
    *(b"-inf", b"+inf", b"inf", b"0", b"1", b"2", b"(1", b"(2", b"-1", b"3", b"(inf", b"1.5"),
    *(b"(-inf", b"10", b"", b"(", b" 1", b"(0", b"1e400", b"-1e400", b"1e-400", b"0x1"),
]
_NOT_ENDS: Final = [b"nan", b"abc", b"((1", b"[1", b"1 ", b"1_0", b"-"]
_MEMBERS: Final = [b"a", b"b", b"c", b"d", b"e", b"f", b"", b"\xff", b"1", b"-5", b"a\x00b", b"m"]
_LEX_ENDS: Final = [
    *(b"-", b"+", b"[a", b"(a", b"[c", b"(c", b"[e", b"(", b"[", b"[\xff", b"(\xff", b"[b\x00"),
]
_NOT_LEX_ENDS: Final = [b"a", b"", b"-a", b"+a", b"1"]
_LONG_MEMBERS: Final = [b"x" * 64, b"y" * 65]

score: Final = st.one_of(*[st.sampled_from(_SCORES)] * 9, st.sampled_from(_NOT_SCORES))
member: Final = st.one_of(*[st.sampled_from(_MEMBERS)] * 12, st.sampled_from(_LONG_MEMBERS), value)
_end: Final = st.one_of(*[st.sampled_from(_ENDS)] * 9, st.sampled_from(_NOT_ENDS))
_lex_end: Final = st.one_of(*[st.sampled_from(_LEX_ENDS)] * 9, st.sampled_from(_NOT_LEX_ENDS))
_rank: Final = st.one_of(*[st.integers(-5, 12).map(lambda rank: b"%d" % rank)] * 6, number)
_members: Final = st.lists(member, min_size=1, max_size=4)


def _joined(strategy: Words, least: int, most: int) -> Words:
    return st.lists(strategy, min_size=least, max_size=most).map(
        lambda lists: list(chain.from_iterable(lists))
    )


_pairs: Final = _joined(words(score, member), 1, 5)
_many: Final = st.integers(120, 140).map(
    lambda count: list(chain.from_iterable((b"%d" % (at % 7), b"m%d" % at) for at in range(count)))
)
_add_option: Final = st.sampled_from([[b"NX"], [b"xx"], [b"GT"], [b"lt"], [b"CH"], [b"ch"]])
_limit: Final = words(b"LIMIT", st.one_of(st.sampled_from([b"0", b"1"]), _rank), _rank)
_range_option: Final = st.one_of(
    _limit, st.sampled_from([[b"WITHSCORES"], [b"rev"], [b"REV"], [b"BYSCORE"], [b"BYLEX"]])
)
_old_option: Final = st.one_of(_limit, st.sampled_from([[b"WITHSCORES"], [b"withscores"]]))
_any_ends: Final = st.one_of(words(_rank, _rank), words(_end, _end), words(_lex_end, _lex_end))
_sources: Final = st.lists(key, min_size=1, max_size=3).flatmap(
    lambda keys: words(
        b"%d" % len(keys),
        st.just(keys),
        some(
            st.one_of(
                words(b"WEIGHTS", st.lists(score, min_size=len(keys), max_size=len(keys))),
                words(b"AGGREGATE", st.sampled_from([b"SUM", b"min", b"MAX", b"AVG"])),
                words(b"WITHSCORES"),
            ),
            2,
        ),
    )
)
_wrong_sources: Final = words(st.sampled_from([b"0", b"-1", b"3", b"a"]), key, key)
_counted: Final = st.lists(key, min_size=1, max_size=3).flatmap(
    lambda keys: words(b"%d" % len(keys), st.just(keys), some(words(b"LIMIT", _rank), 1))
)
_popped: Final = st.lists(key, min_size=1, max_size=3).flatmap(
    lambda keys: words(
        b"%d" % len(keys),
        st.just(keys),
        st.sampled_from([b"MIN", b"max", b"FOO"]),
        some(words(b"COUNT", _rank), 2),
    )
)
_random_count: Final = st.sampled_from(
    [b"0", b"1", b"3", b"100", b"-1", b"-7", b"a", b"-9223372036854775808", b"9223372036854775807"]
)
_scan_option: Final = st.one_of(
    words(b"MATCH", st.sampled_from([b"*", b"?", b"[a-c]", b"", b"m1*"])),
    words(b"COUNT", st.sampled_from([b"1001", b"0", b"a"])),
)

_ZADD: Final = words(b"ZADD", key, _pairs)
SORTED_SETS: Final = [
    *[_ZADD] * 6,
    words(b"ZADD", key, some(_add_option, 3), _pairs),
    words(b"ZADD", key, some(_add_option, 2), b"INCR", score, member),
    words(b"ZADD", key, _many),
    words(b"ZINCRBY", key, score, member),
    words(b"ZREM", key, _members),
    words(b"ZCARD", key),
    words(b"ZSCORE", key, member),
    words(b"ZMSCORE", key, _members),
    words(b"ZCOUNT", key, _end, _end),
    words(b"ZLEXCOUNT", key, _lex_end, _lex_end),
    words(b"ZRANK", key, member),
    words(b"ZREVRANK", key, member),
    words(b"ZRANGE", key, _rank, _rank),
    words(b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"),
    words(b"ZRANGE", key, _any_ends, some(_range_option, 4)),
    words(b"ZRANGE", key, _end, _end, b"BYSCORE", some(_range_option, 2)),
    words(b"ZRANGE", key, _lex_end, _lex_end, b"BYLEX", some(_range_option, 2)),
    words(b"ZRANGESTORE", key, key, _any_ends, some(_range_option, 3)),
    words(b"ZRANGESTORE", key, key, _end, _end, b"BYSCORE", some(_range_option, 2)),
    words(b"ZREVRANGE", key, _rank, _rank, some(_old_option, 1)),
    words(b"ZRANGEBYSCORE", key, _end, _end, some(_old_option, 2)),
    words(b"ZREVRANGEBYSCORE", key, _end, _end, some(_old_option, 2)),
    words(b"ZRANGEBYLEX", key, _lex_end, _lex_end, some(_limit, 1)),
    words(b"ZREVRANGEBYLEX", key, _lex_end, _lex_end, some(_old_option, 1)),
    words(b"ZREMRANGEBYRANK", key, _rank, _rank),
    words(b"ZREMRANGEBYSCORE", key, _end, _end),
    words(b"ZREMRANGEBYLEX", key, _lex_end, _lex_end),
    words(b"ZPOPMIN", key, some(words(_rank), 1)),
    words(b"ZPOPMAX", key, some(words(_rank), 1)),
    words(b"ZMPOP", _popped),
    words(b"ZMPOP", _wrong_sources, b"MIN"),
    words(b"ZRANDMEMBER", key),
    words(b"ZRANDMEMBER", key, _random_count, some(words(b"WITHSCORES"), 1)),
    words(b"ZUNION", _sources),
    words(b"ZINTER", _sources),
    words(b"ZDIFF", _sources),
    words(b"ZUNIONSTORE", key, _sources),
    words(b"ZINTERSTORE", key, _sources),
    words(b"ZDIFFSTORE", key, _sources),
    words(st.sampled_from([b"ZUNION", b"ZINTER", b"ZDIFF", b"ZINTERCARD"]), _wrong_sources),
    words(b"ZINTERCARD", _counted),
    words(b"ZSCAN", key, b"0", b"COUNT", b"1000", some(_scan_option, 2)),
    words(b"ZSCAN", key, st.sampled_from([b"a", b"0 ", b"18446744073709551616"])),
]

_LONGITUDES: Final = [
    b"13.361389",
    b"15.087269",
    b"13.5",
    b"0",
    b"-0.1",
    b"179.9",
    b"-179.9",
    b"2.35",
]
_LATITUDES: Final = [b"38.115556", b"37.502669", b"0", b"85", b"-85", b"48.85", b"-33.9", b"38"]
_BAD_COORDINATES: Final = [b"181", b"-181", b"86", b"-85.06", b"x", b"nan", b"", b"inf"]


def _coordinate(good: list[bytes]) -> st.SearchStrategy[bytes]:
    return st.one_of(*[st.sampled_from(good)] * 12, st.sampled_from(_BAD_COORDINATES))


_point: Final = words(_coordinate(_LONGITUDES), _coordinate(_LATITUDES))
_points: Final = _joined(words(_point, st.sampled_from(_MEMBERS[:6])), 1, 4)
_unit: Final = st.sampled_from([b"m", b"km", b"KM", b"ft", b"Mi", b"M", b"km", b"yd"])
_length: Final = st.one_of(
    *[st.sampled_from([b"0", b"1", b"200", b"500.5", b"3000", b"20000"])] * 5,
    st.sampled_from([b"-1", b"x", b"nan", b"1e9", b"inf"]),
)
_shown: Final = [[b"WITHDIST"], [b"WITHHASH"], [b"withcoord"], [b"ASC"], [b"DESC"]]
_geo_option: Final = st.one_of(
    st.sampled_from(_shown),
    words(b"COUNT", st.sampled_from([b"1", b"2", b"100", b"0", b"-1", b"a"])),
)
_any_option: Final = st.sampled_from([[b"COUNT", b"2", b"ANY"], [b"ANY"], [b"ANY", b"COUNT", b"1"]])
_store_option: Final = st.one_of(
    words(b"STORE", key), words(b"STOREDIST", key), st.sampled_from(_shown)
)
_from: Final = st.one_of(words(b"FROMLONLAT", _point), words(b"frommember", member))
_by: Final = st.one_of(words(b"BYRADIUS", _length, _unit), words(b"bybox", _length, _length, _unit))
GEO: Final = [
    *[words(b"GEOADD", key, _points)] * 4,
    words(b"GEOADD", key, some(st.sampled_from([[b"NX"], [b"xx"], [b"CH"]]), 2), _points),
    words(b"GEOPOS", key, _members),
    words(b"GEOHASH", key, _members),
    words(b"GEODIST", key, member, member, some(words(_unit), 1)),
    *[words(b"GEOSEARCH", key, _from, _by, some(_geo_option, 3))] * 3,
    words(b"GEOSEARCH", key, _from, _by, some(_any_option, 1), some(_geo_option, 2)),
    words(b"GEOSEARCH", key, some(_from, 2), some(_by, 2), some(_geo_option, 1)),
    words(b"GEOSEARCHSTORE", key, key, _from, _by, some(_geo_option, 2)),
    words(b"GEOSEARCHSTORE", key, key, _from, _by, b"STOREDIST"),
    words(b"GEORADIUS", key, _point, _length, _unit, some(_geo_option, 3)),
    words(b"GEORADIUS", key, _point, _length, _unit, some(_store_option, 2)),
    words(b"GEORADIUS_RO", key, _point, _length, _unit, some(_geo_option, 2)),
    words(b"GEORADIUSBYMEMBER", key, member, _length, _unit, some(_geo_option, 3)),
    words(b"GEORADIUSBYMEMBER", key, member, _length, _unit, some(_store_option, 2)),
    words(b"GEORADIUSBYMEMBER_RO", key, member, _length, _unit, some(_geo_option, 2)),
]
