"""Hypothesis strategies for commands on keys and strings: mostly right, sometimes quite wrong.

Few keys, so that commands meet; numbers at every edge; expiries far away or long past, so that no
reply depends on when exactly a command ran. One in ten commands gets a word too many, one too few
or a wrong one.
"""

from itertools import chain
from typing import Final, TypeAlias

from hypothesis import strategies as st

Words: TypeAlias = st.SearchStrategy[list[bytes]]

_KEYS: Final = [b"a", b"b", b"c", b"{tag}d", b"", b"k\x00\r\n"]
_EDGES: Final = [
    b"0", b"1", b"-1", b"9", b"-0", b"+1", b" 1", b"1 ", b"01", b"0x10", b"1_0", b"",
    b"2147483647", b"2147483648", b"-2147483649", b"4294967296",
    b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808",
    b"-9223372036854775809", b"18446744073709551615", b"18446744073709551616",
    b"9999", b"10000", b"99999999999999999999999999",
]  # fmt: skip
_FLOATS: Final = [
    b"3.0e3", b".5", b"5.", b"-.5", b"1e-17", b"1e-18", b"0.1", b"1e300", b"1e4932", b"1e5000",
    b"1e-5000", b"inf", b"-inf", b"nan", b"infinity", b"0x1p3", b"1e", b"1.5 ", b"-0.0",
]  # fmt: skip
_TEXTS: Final = [
    b"",
    b"hello",
    b"hello world",
    b"ohmytext",
    b"mynewtext",
    b"abcbdab",
    b"x" * 44,
    b"x" * 45,
    b"\x00\xff\r\n",
    b"10.50",
]
_PATTERNS: Final = [
    b"*",
    b"a*",
    b"?",
    b"[a-c]",
    b"[^a]",
    b"\\a",
    b"[",
    b"*d",
    b"{tag}*",
    b"",
    b"[]",
]
_JUNK: Final = [b"NX", b"XX", b"GET", b"EX", b"LT", b"KEEPTTL", b"foo", b"", b"1", b"-1", b"a\r\nb"]
_FUTURE_S: Final = [b"100", b"1000", b"999999"]
_FUTURE_AT_S: Final = [b"4102444800", b"4102444801", b"9223372036854775", b"9223372036854776"]
_FUTURE_AT_MS: Final = [b"4102444800000", b"4102444800001", b"9223372036854775807"]
_PAST: Final = [b"1", b"1000"]
_NOT_A_TIME: Final = [b"0", b"-1", b"abc", b"9223372036854775807", b"-9223372036854775808", b"1.5"]

key: Final = st.sampled_from(_KEYS)
number: Final = st.one_of(
    st.sampled_from(_EDGES), st.integers(-20, 20).map(lambda value: b"%d" % value)
)
value: Final = st.one_of(
    number, st.sampled_from(_TEXTS), st.sampled_from(_FLOATS), st.binary(max_size=12)
)


def words(*parts: bytes | st.SearchStrategy[bytes] | Words) -> Words:
    """The parts in order; a strategy may give one word or several."""
    strategies = [st.just(part) if isinstance(part, bytes) else part for part in parts]
    return st.tuples(*strategies).map(_flatten)


def _flatten(parts: tuple[bytes | list[bytes], ...]) -> list[bytes]:
    flat: list[bytes] = []
    for part in parts:
        flat.extend([part] if isinstance(part, bytes) else part)
    return flat


def some(strategy: Words, most: int) -> Words:
    """None, one or several of the options, in any order."""
    return st.lists(strategy, max_size=most).map(lambda lists: list(chain.from_iterable(lists)))


def _pool(*pools: list[bytes]) -> st.SearchStrategy[bytes]:
    return st.sampled_from([word for pool in pools for word in pool])


_expiry: Final = st.one_of(
    words(b"EX", _pool(_FUTURE_S, _FUTURE_S, _NOT_A_TIME)),
    words(b"px", _pool([b"100000", b"999999"], _NOT_A_TIME)),
    words(b"EXAT", _pool(_FUTURE_AT_S, _PAST, _NOT_A_TIME)),
    words(b"PXAT", _pool(_FUTURE_AT_MS, _PAST, _NOT_A_TIME)),
)
_set_option: Final = st.one_of(
    _expiry, st.sampled_from([[b"NX"], [b"xx"], [b"GET"], [b"KEEPTTL"], [b"PERSIST"]])
)
# GT only beside fixed times: the same span twice may or may not end a millisecond later
_condition: Final = st.sampled_from([[b"NX"], [b"xx"], [b"LT"], [b"FOO"]])
_any_condition: Final = st.sampled_from([[b"NX"], [b"XX"], [b"GT"], [b"lt"]])
_lcs_option: Final = st.one_of(
    st.sampled_from([[b"LEN"], [b"IDX"], [b"IDX"], [b"WITHMATCHLEN"]]),
    words(b"MINMATCHLEN", number),
)
_database: Final = st.sampled_from([b"0", b"1", b"2", b"15", b"16", b"-1", b"a", b"4294967296"])
_copy_option: Final = st.one_of(words(b"REPLACE"), words(b"DB", _database))
_scan_option: Final = st.one_of(
    words(b"MATCH", st.sampled_from(_PATTERNS)),
    words(b"TYPE", st.sampled_from([b"string", b"STRING", b"list", b"foo"])),
)
_keys: Final = st.lists(key, min_size=1, max_size=4)
_pairs: Final = st.lists(words(key, value), min_size=1, max_size=3).map(
    lambda lists: list(chain.from_iterable(lists))
)

_STRINGS: Final = [
    words(b"GET", key),
    words(b"SET", key, value),
    words(b"SET", key, value, some(_set_option, 3)),
    words(b"SETNX", key, value),
    words(b"SETEX", key, _pool(_FUTURE_S, _NOT_A_TIME), value),
    words(b"PSETEX", key, _pool([b"100000"], _NOT_A_TIME), value),
    words(b"GETSET", key, value),
    words(b"GETDEL", key),
    words(b"GETEX", key, some(st.one_of(_expiry, words(b"PERSIST")), 2)),
    words(b"APPEND", key, value),
    words(b"STRLEN", key),
    words(b"SETRANGE", key, st.one_of(number, st.just(b"536870912")), value),
    words(b"GETRANGE", key, number, number),
    words(b"SUBSTR", key, number, number),
    words(b"INCR", key),
    words(b"DECR", key),
    words(b"INCRBY", key, number),
    words(b"DECRBY", key, number),
    words(b"INCRBYFLOAT", key, st.one_of(st.sampled_from(_FLOATS), number)),
    words(b"MGET", _keys),
    words(b"MSET", _pairs),
    words(b"MSETNX", _pairs),
    words(b"LCS", key, key, some(_lcs_option, 3)),
]
_GENERIC: Final = [
    words(b"DEL", _keys),
    words(b"UNLINK", _keys),
    words(b"EXISTS", _keys),
    words(b"TOUCH", _keys),
    words(b"TYPE", key),
    words(b"RENAME", key, key),
    words(b"RENAMENX", key, key),
    words(b"COPY", key, key, some(_copy_option, 2)),
    words(b"MOVE", key, _database),
    words(b"KEYS", st.sampled_from(_PATTERNS)),
    words(b"SCAN", b"0", b"COUNT", b"1000", some(_scan_option, 2)),
    words(b"SCAN", st.sampled_from([b"a", b"", b"-", b"18446744073709551616", b" 0", b"+0"])),
    words(b"SCAN", b"0", b"COUNT", st.sampled_from([b"0", b"-1", b"a"])),
    words(b"RANDOMKEY"),
    words(b"EXPIRE", key, _pool(_FUTURE_S, _NOT_A_TIME), some(_condition, 2)),
    words(b"PEXPIRE", key, _pool([b"100000"], _NOT_A_TIME), some(_condition, 2)),
    words(b"EXPIREAT", key, _pool(_FUTURE_AT_S, _NOT_A_TIME), some(_any_condition, 2)),
    words(b"PEXPIREAT", key, _pool(_FUTURE_AT_MS, _NOT_A_TIME), some(_any_condition, 2)),
    words(b"TTL", key),
    words(b"PTTL", key),
    words(b"EXPIRETIME", key),
    words(b"PEXPIRETIME", key),
    words(b"PERSIST", key),
    words(b"OBJECT", st.sampled_from([b"ENCODING", b"encoding", b"FREQ", b"IDLETIME"]), key),
    words(b"OBJECT", st.sampled_from([b"REFCOUNT", b"FOO", b"HELP"]), key),
    words(b"OBJECT", b"HELP"),
    words(b"DBSIZE"),
]
_RARE: Final = [
    words(b"FLUSHDB", some(st.sampled_from([[b"ASYNC"], [b"sync"], [b"foo"]]), 2)),
    words(b"FLUSHALL", some(st.sampled_from([[b"ASYNC"], [b"SYNC"]]), 1)),
    words(b"SWAPDB", _database, _database),
    words(b"SELECT", _database),
    words(b"SELECT", st.sampled_from([b"0", b"1", b"2"])),
    words(b"MULTI"),
    words(b"EXEC"),
    words(b"EXEC"),
    words(b"DISCARD"),
    words(b"WATCH", _keys),
    words(b"UNWATCH"),
]


@st.composite
def damaged(draw: st.DrawFn, commands: Words) -> list[bytes]:
    """One of `commands` with a word too many, too few or wrong, or its name in another case."""
    argv = list(draw(commands))
    kind = draw(st.sampled_from(["extra", "missing", "wrong", "case"]))
    if kind == "extra":
        argv.append(draw(st.sampled_from(_JUNK)))
    elif kind == "missing" and len(argv) > 1:
        argv.pop()
    elif kind == "wrong" and len(argv) > 1:
        argv[draw(st.integers(1, len(argv) - 1))] = draw(st.sampled_from(_JUNK))
    else:
        argv[0] = argv[0].swapcase() if draw(st.booleans()) else argv[0].title()
    return argv


def command_lists(length_max: int) -> st.SearchStrategy[list[list[bytes]]]:
    """Sequences of commands for one client."""
    # these are made of the strategies above
    # these are made of the strategies above
    from tests.testing.commands_hashes import HASHES
    from tests.testing.commands_lists import LISTS, SETS
    from tests.testing.commands_sorted_sets import GEO, SORTED_SETS
    from tests.testing.commands_values import VALUES

    families = (_STRINGS, _GENERIC, HASHES, LISTS, SETS, SORTED_SETS, GEO, VALUES)
    plain = st.one_of([st.one_of(family) for family in families])
    some_command = st.one_of(*[plain] * 8, damaged(plain), st.one_of(_RARE))
    return st.lists(some_command, min_size=length_max // 3, max_size=length_max)
