"""Effects of commands on streams whose outcome depends on the time or on how a stream is laid out.

Entries are added under the ids they got. Approximate trimming removes whole chunks, which lie
otherwise after loading: it is logged as exact trimming to the length that was left. Claims are
logged with the time and the count that the entries have now, as Redis does it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from hotplate.engine.context import Context
from hotplate.keyspace.stream import ACKNOWLEDGED_ONLY, Stream
from hotplate.keyspace.stream_entry import format_id, read_id
from hotplate.keyspace.stream_group import Group
from hotplate.keyspace.stream_pending import Delivery

Requests = list[list[bytes]]
_REFERENCES: Final = frozenset((b"KEEPREF", b"DELREF", ACKNOWLEDGED_ONLY))


def _stream(ctx: Context, key: bytes) -> Stream:
    entry = ctx.db.shard_of(key).get(key)
    assert entry is not None
    assert isinstance(entry.value, Stream)
    return entry.value


class _Options:
    """What XADD or XTRIM was told, as far as its effect needs it. `at` is behind the options."""

    __slots__ = ("at", "kept", "references", "threshold", "trims")

    def __init__(self, argv: list[bytes], *, is_add: bool) -> None:
        self.kept: list[bytes] = []  # options to log as they are
        self.references = b"KEEPREF"
        self.trims = False
        self.threshold: list[bytes] = []  # of exact trimming, as it was given; empty: approximate
        at = 2
        while at < len(argv):
            word = argv[at].upper()
            if word in _REFERENCES:
                self.references = word
                at += 1
            elif word in (b"MAXLEN", b"MINID"):
                self.trims = True
                signed = argv[at + 1] in (b"~", b"=") and at + 2 < len(argv)
                if argv[at + 1] != b"~":
                    self.threshold = [word, b"=", argv[at + 1 + signed]]
                at += 2 + signed
            elif word == b"LIMIT":
                at += 2
            elif is_add and word in (b"IDMP", b"IDMPAUTO"):
                size = 3 if word == b"IDMP" else 2
                self.kept += argv[at : at + size]
                at += size
            elif is_add and word == b"NOMKSTREAM":
                at += 1
            else:
                break
        self.at = at

    def trimming(self, stream: Stream) -> list[bytes]:
        """The rule that leaves what was left."""
        if not self.trims:
            return []
        references = [] if self.references == b"KEEPREF" else [self.references]
        if self.references == ACKNOWLEDGED_ONLY and stream.groups:
            # approximately: what went was told, entry by entry
            return [*self.threshold, *references] if self.threshold else []
        return [b"MAXLEN", b"=", b"%d" % len(stream), *references]


def _xadd(ctx: Context, argv: list[bytes], reply: Any) -> Requests:
    if reply is None:  # NOMKSTREAM, and the stream's time had come
        return []
    options = _Options(argv, is_add=True)
    trimming = options.trimming(_stream(ctx, argv[1])) if options.trims else []
    fields = argv[options.at + 1 :]
    return [[b"XADD", argv[1], *options.kept, *trimming, bytes(reply), *fields]]


def _xtrim(ctx: Context, argv: list[bytes], reply: Any) -> Requests:
    if not ctx.db.holds(argv[1]):  # the stream's time had come
        return []
    trimming = _Options(argv, is_add=False).trimming(_stream(ctx, argv[1]))
    return [[b"XTRIM", argv[1], *trimming]] if trimming else []


# -- deliveries --------------------------------------------------------------------------------


def claims(
    key: bytes, group: bytes, consumer: bytes, deliveries: list[tuple[int, Delivery]]
) -> Requests:
    """XCLAIM of entries that are pending with a consumer, as they are now."""
    requests: Requests = []
    last: tuple[int, int] | None = None
    for entry_id, delivery in deliveries:
        facts = (delivery.at_ms, delivery.deliveries)
        if facts != last:
            last = facts
            time, count = b"%d" % facts[0], b"%d" % facts[1]
            tail = [b"TIME", time, b"RETRYCOUNT", count, b"FORCE", b"JUSTID"]
            requests.append([b"XCLAIM", key, group, consumer, b"0", *tail])
        requests[-1].insert(-6, format_id(entry_id))
    return requests


def _claimed(argv: list[bytes], group: Group, shown: list[Any], gone: list[bytes]) -> Requests:
    """What XCLAIM or XAUTOCLAIM did; `shown` is its reply, entries or ids."""
    key, name, consumer = argv[1:4]
    deliveries: list[tuple[int, Delivery]] = []
    for item in shown:
        entry_id = read_id(_id_of(bytes(item)))
        delivery = None if entry_id is None else group.pending.get(entry_id)
        if entry_id is not None and delivery is not None:
            deliveries.append((entry_id, delivery))
    requests = [[b"XGROUP", b"CREATECONSUMER", key, name, consumer]]
    requests += claims(key, name, consumer, deliveries)
    if gone:
        requests.append([b"XACK", key, name, *gone])
    return requests


def _id_of(item: bytes) -> bytes:
    """The id of an entry's frame, or the id itself."""
    if not item.startswith(b"*"):
        return item
    start = item.index(b"\r\n", 4) + 2
    return item[start : item.index(b"\r\n", start)]


def _xclaim(ctx: Context, argv: list[bytes], reply: Any) -> Requests:
    stream = _stream(ctx, argv[1])
    group = stream.groups[argv[2]]
    gone: list[bytes] = []
    for text in argv[5:]:
        entry_id = read_id(text)
        if entry_id is None:
            break
        if stream.get(entry_id) is None:
            gone.append(text)
    requests = _claimed(argv, group, reply, gone)
    if b"LASTID" in map(bytes.upper, argv[6:]):
        read = b"%d" % group.entries_read
        last_id = format_id(group.last_id)
        requests.append([b"XGROUP", b"SETID", argv[1], argv[2], last_id, b"ENTRIESREAD", read])
    return requests


def _xautoclaim(ctx: Context, argv: list[bytes], reply: Any) -> Requests:
    group = _stream(ctx, argv[1]).groups[argv[2]]
    return _claimed(argv, group, reply[1], reply[2])


EFFECTS: Final[Mapping[str, Callable[[Context, list[bytes], Any], Requests]]] = {
    "xadd": _xadd,
    "xtrim": _xtrim,
    "xclaim": _xclaim,
    "xautoclaim": _xautoclaim,
}
