"""Hypothesis strategies for streams, and which of their replies differ in time only.

Ids are given, small, and few, so that commands meet. Where the server makes an id (`*`) the stream
is one that nothing else reads. What newer versions than the oracle have is left out: it has tests
of its own.
"""

from collections.abc import Sequence
from typing import Any, Final

import hiredis
from hypothesis import strategies as st
from tests.testing.commands import Words, key, number, some, value, words

_TOLERANCE_MS: Final = 2000
_ID_TEXTS: Final = [
    b"0", b"0-0", b"0-1", b"1", b"1-1", b"2-1", b"2-2", b"3", b"4-9", b"5-0", b"7", b"9-9",
    b"18446744073709551615-18446744073709551615", b"18446744073709551615", b"18446744073709551616",
    b"5-*", b"-", b"+", b"*", b"a", b"", b"1-", b"1-a", b"01-02", b" 1-1", b"1--1", b"1--01", b"-1",
    b"+1-1", b"1-1-1", b"9" * 200,
]  # fmt: skip
_small_id: Final = st.tuples(st.integers(0, 9), st.integers(0, 3)).map(lambda id_: b"%d-%d" % id_)
_id: Final = st.one_of(_small_id, _small_id, _small_id, st.sampled_from(_ID_TEXTS))
_new_id: Final = st.one_of(
    st.integers(1, 60).map(lambda time: b"%d-*" % time),
    st.integers(1, 60).map(lambda time: b"%d" % time),
    _id.filter(lambda id_: id_ != b"*"),  # what the clock makes goes to a key of its own
)
_ids: Final = st.lists(_id, min_size=1, max_size=4)
_bound: Final = st.one_of(
    st.sampled_from([b"-", b"+", b"(1", b"(1-1", b"(0-0", b"(", b"(-", b"(a",
                     b"(18446744073709551615-18446744073709551615"]),
    _id,
)  # fmt: skip
_start: Final = st.one_of(st.just(b"-"), st.just(b"-"), _bound)
_end: Final = st.one_of(st.just(b"+"), st.just(b"+"), _bound)
_count: Final = st.one_of(
    st.integers(0, 5).map(lambda count: b"%d" % count), st.sampled_from([b"-1", b"a", b"100"])
)
_pairs: Final = st.lists(value, min_size=2, max_size=6).map(lambda all_: all_[: len(all_) // 2 * 2])
_group: Final = st.sampled_from([b"g", b"g", b"g", b"h", b"missing"])
_consumer: Final = st.sampled_from([b"alice", b"bob", b"carol", b""])
_idle: Final = st.sampled_from([b"0", b"0", b"0", b"100000", b"-5", b"a"])
_operator: Final = st.sampled_from([[], [], [b"="], [b"~"], [b"~"], [b"foo"]])
_trim: Final = st.one_of(
    words(st.sampled_from([b"MAXLEN", b"maxlen"]), _operator, _count),
    words(b"MINID", _operator, _id),
    words(b"LIMIT", _count),
)
_trims: Final = st.one_of(_trim, _trim, _trim, some(_trim, 2))
_entries_read: Final = words(b"ENTRIESREAD", st.one_of(_count, st.sampled_from([b"-2", b"9"])))
_group_option: Final = st.one_of(words(b"MKSTREAM"), _entries_read, words(b"FOO"))
_read_option: Final = st.one_of(
    words(b"COUNT", _count), words(b"NOACK"), words(b"BLOCK", st.sampled_from([b"-1", b"a"]))
)
_after: Final = st.one_of(st.just(b">"), st.just(b">"), st.just(b"0"), st.just(b"$"), _small_id)
_read_after: Final = st.one_of(_id.filter(lambda text: text != b"+"), st.sampled_from([b"$", b">"]))
_claim_option: Final = st.one_of(
    words(b"IDLE", st.sampled_from([b"0", b"50000", b"a", b"-5"])),
    words(b"TIME", st.sampled_from([b"1", b"99999999999999", b"a", b"-5"])),
    words(b"RETRYCOUNT", _count),
    words(b"FORCE"),
    words(b"force"),
    words(b"JUSTID"),
    words(b"LASTID", _small_id),
    words(b"FOO"),
)


def _streams(after: st.SearchStrategy[bytes]) -> Words:
    pairs = st.lists(st.tuples(key, after), min_size=1, max_size=3)
    return pairs.map(lambda some_: [name for name, _ in some_] + [text for _, text in some_])


STREAMS: Final[list[Words]] = [
    words(b"XADD", key, _new_id, _pairs),
    words(b"XADD", key, _new_id, _pairs),
    words(b"XADD", key, _new_id, _pairs),
    words(b"XADD", key, _trims, _new_id, _pairs),
    words(b"XADD", key, some(st.one_of(_trim, words(b"NOMKSTREAM")), 3), _new_id, _pairs),
    words(b"XADD", b"clocked", _trims, b"*", _pairs),
    words(b"XADD", b"clocked", b"*", _pairs),
    words(b"XLEN", st.one_of(key, st.just(b"clocked"))),
    words(b"XRANGE", key, b"-", b"+"),
    words(b"XRANGE", key, _start, _end, some(words(b"COUNT", _count), 1)),
    words(b"XREVRANGE", key, _end, _start, some(words(b"COUNT", _count), 1)),
    words(b"XDEL", key, _ids),
    words(b"XTRIM", key, _trims),
    words(b"XTRIM", key, _trim),
    words(b"XSETID", key, _id),
    words(
        b"XSETID", key, _id,
        some(st.one_of(words(b"ENTRIESADDED", _count), words(b"MAXDELETEDID", _id)), 2),
    ),
    words(b"XREAD", some(words(b"COUNT", _count), 1), b"STREAMS", _streams(_read_after)),
    words(b"XREAD", some(_read_option, 2), b"STREAMS", _streams(_read_after)),
    words(b"XGROUP", b"CREATE", key, _group, st.sampled_from([b"0", b"$", b"2-1"]),
          some(_group_option, 2)),
    words(b"XGROUP", b"CREATE", key, _group, b"0"),
    words(b"XGROUP", b"SETID", key, _group, st.one_of(_id, st.just(b"$")), some(_entries_read, 1)),
    words(b"XGROUP", b"DESTROY", key, st.sampled_from([b"h", b"missing"])),
    words(b"XGROUP", b"CREATECONSUMER", key, _group, _consumer),
    words(b"XGROUP", b"DELCONSUMER", key, _group, _consumer),
    words(b"XREADGROUP", b"GROUP", _group, _consumer, some(words(b"COUNT", _count), 1), b"STREAMS",
          key, _after),
    words(b"XREADGROUP", b"GROUP", b"g", _consumer, b"COUNT", b"2", b"STREAMS", key, b">"),
    words(b"XREADGROUP", b"GROUP", _group, _consumer, some(_read_option, 2), b"STREAMS",
          _streams(_after)),
    words(b"XACK", key, _group, _ids),
    words(b"XPENDING", key, _group),
    words(b"XPENDING", key, b"g", b"-", b"+", b"10"),
    words(b"XPENDING", key, _group, some(words(b"IDLE", _idle), 1), _start, _end, _count,
          some(_consumer.map(lambda name: [name]), 1)),
    words(b"XCLAIM", key, _group, _consumer, _idle, _ids, some(_claim_option, 3)),
    words(b"XCLAIM", key, b"g", _consumer, b"0", _ids, b"FORCE"),
    words(b"XAUTOCLAIM", key, _group, _consumer, _idle, _start,
          some(st.one_of(words(b"COUNT", _count), words(b"JUSTID")), 2)),
    words(b"XAUTOCLAIM", key, b"g", _consumer, b"0", b"0", b"COUNT", b"2"),
    words(b"XINFO", b"STREAM", key),
    words(b"XINFO", b"STREAM", key, b"FULL"),
    words(b"XINFO", b"STREAM", key, b"FULL", b"COUNT", st.one_of(_count, number)),
    words(b"XINFO", b"GROUPS", key),
    words(b"XINFO", b"CONSUMERS", key, _group),
    words(b"XINFO", b"FOO", key),
    words(b"XINFO", b"HELP"),
]  # fmt: skip


def streams_alike(argv: Sequence[bytes], theirs: bytes, ours: bytes) -> bool:
    """Whether two replies about streams differ in time, or in what newer versions add, only."""
    name = argv[0].lower()
    if theirs[:1] == b"-":
        return all(reply.startswith(b"-ERR Unbalanced ") for reply in (theirs, ours))
    if name == b"xadd":
        return argv[1] == b"clocked" and theirs[:1] == ours[:1] == b"$"
    their_reply, our_reply = _read(theirs), _read(ours)
    if name == b"xpending":
        return _rows_alike(their_reply, our_reply)
    kind = argv[1].lower()
    if name == b"xgroup" and kind == b"createconsumer":
        return (theirs, ours) == (b":1\r\n", b":0\r\n")  # a claim of nothing had made it
    if name != b"xinfo":
        return False
    if kind == b"groups":
        return _all_alike(_group_alike, their_reply, our_reply)
    if kind == b"stream":
        return _about_alike(_fields(their_reply), _fields(our_reply))
    if kind == b"consumers":
        return _same_consumers(their_reply, our_reply)
    return False


def _read(frame: bytes) -> Any:
    reader = hiredis.Reader()
    reader.feed(frame)
    return reader.gets()


def _fields(reply: Any) -> dict[bytes, Any]:
    if isinstance(reply, dict):
        return reply
    return dict(zip(reply[::2], reply[1::2], strict=True))


def _all_alike(alike: Any, theirs: Any, ours: Any) -> bool:
    return len(theirs) == len(ours) and all(map(alike, theirs, ours))


def _near(theirs: int, ours: int) -> bool:
    return abs(theirs - ours) <= _TOLERANCE_MS


def _rows_alike(theirs: Any, ours: Any) -> bool:
    """Pending entries: the time of delivery, or since then, stands before the last item."""
    return _all_alike(
        lambda their_row, our_row: (
            their_row[:-2] == our_row[:-2]
            and their_row[-1] == our_row[-1]
            and _near(their_row[-2], our_row[-2])
        ),
        theirs,
        ours,
    )


def _alike_but(theirs: dict[bytes, Any], ours: dict[bytes, Any], *names: bytes) -> bool:
    """Equal in all fields that both have, but for some."""
    return theirs.keys() <= ours.keys() and all(
        theirs[name] == ours[name] for name in theirs if name not in names
    )


def _consumers_alike(theirs: Any, ours: Any) -> bool:
    their_fields, our_fields = _fields(theirs), _fields(ours)
    if not _alike_but(their_fields, our_fields, b"idle", b"seen-time", b"pending"):
        return False
    if b"idle" in their_fields:
        return their_fields[b"pending"] == our_fields[b"pending"] and _near(
            their_fields[b"idle"], our_fields[b"idle"]
        )
    return _near(their_fields[b"seen-time"], our_fields[b"seen-time"]) and _rows_alike(
        their_fields[b"pending"], our_fields[b"pending"]
    )


def _same_consumers(theirs: Any, ours: Any) -> bool:
    """Ours may have more: since 7.2 a claim makes its consumer even if it gets nothing."""
    known = {_fields(consumer)[b"name"] for consumer in theirs}
    common = [consumer for consumer in ours if _fields(consumer)[b"name"] in known]
    return _all_alike(_consumers_alike, theirs, common)


def _group_alike(theirs: Any, ours: Any) -> bool:
    their_fields, our_fields = _fields(theirs), _fields(ours)
    return (
        _alike_but(their_fields, our_fields, b"consumers")
        and their_fields[b"consumers"] <= our_fields[b"consumers"]
    )


def _groups_alike(theirs: Any, ours: Any) -> bool:
    their_fields, our_fields = _fields(theirs), _fields(ours)
    return (
        _alike_but(their_fields, our_fields, b"pending", b"consumers")
        and _rows_alike(their_fields[b"pending"], our_fields[b"pending"])
        and _same_consumers(their_fields[b"consumers"], our_fields[b"consumers"])
    )


def _about_alike(theirs: dict[bytes, Any], ours: dict[bytes, Any]) -> bool:
    if not _alike_but(theirs, ours, b"radix-tree-keys", b"radix-tree-nodes", b"groups"):
        return False
    if isinstance(theirs[b"groups"], int):
        return bool(theirs[b"groups"] == ours[b"groups"])
    return _all_alike(_groups_alike, theirs[b"groups"], ours[b"groups"])
