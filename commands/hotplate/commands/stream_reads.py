"""XREAD and XREADGROUP: entries that come after what the caller, or its group, has seen.

A call is parsed into a `Reading`, which holds all that serving it needs; with BLOCK it is served
again whenever one of its keys has changed.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Final

from hotplate.commands.stream_arguments import (
    CLAIMED_ENTRY_REPLY,
    DELETED_ENTRY_REPLY,
    ENTRIES_REPLY,
    ENTRY_REPLY,
    get_stream,
    no_such_group,
    parse_id,
)
from hotplate.engine.context import Context
from hotplate.errors import CommandError, WrongTypeError
from hotplate.keyspace.stream import Stream
from hotplate.keyspace.stream_entry import ID_MAX, format_id
from hotplate.keyspace.stream_group import Consumer, Group
from hotplate.keyspace.stream_pending import Delivery
from hotplate.persist.effects_streams import claims
from hotplate.resp.encoder import ready
from hotplate.resp.types import NULL_ARRAY, Reply
from hotplate.spec.args import parse_int, parse_timeout_ms, syntax_error
from hotplate.spec.model import Flag, Keys, block, command, integer, key, specs_of, string, token
from hotplate.spec.reply import (
    ArrayReply,
    BulkReply,
    MapReply,
    NullReply,
    ReplySchema,
    TupleReply,
    one_of,
)

_NEW: Final = ID_MAX  # `>`
_LAST: Final = -1  # `+`
_UNLIMITED: Final = 2**63
_KNOWN_BYTES_MAX: Final = 512  # of a call that is remembered
_IN_MAP: Final = b"$%d\r\n%b\r\n*%d\r\n"  # of a stream's name and its entries
_PAIR: Final = b"*2\r\n" + _IN_MAP
_ONE_PAIR: Final = b"*1\r\n" + _PAIR + b"%b"
_ONE_IN_MAP: Final = b"%%1\r\n" + _IN_MAP + b"%b"
_IN_READ: Final = b" in XREADGROUP with GROUP option"


def _reply(entries: ReplySchema) -> ReplySchema:
    # RESP2 has an array of pairs where RESP3 has a map
    pairs = ArrayReply(TupleReply((BulkReply(), entries)))
    return one_of(MapReply(entries), pairs, NullReply())


class Reading:
    """One call of XREAD or XREADGROUP. Counts and sizes of 0 are no limits.

    `sources` are keys, each with the id after which to read, `_NEW` or `_LAST`.
    """

    __slots__ = (
        "_bytes_left",
        "_entries_left",
        "_is_full",
        "block_ms",
        "claim_ms",
        "consumer",
        "count",
        "count_max",
        "group",
        "is_plain",
        "no_acknowledge",
        "size_max",
        "sources",
    )

    def __init__(self) -> None:
        self.group: bytes | None = None
        self.consumer = b""
        self.count = 0
        self.count_max = 0
        self.size_max = 0
        self.block_ms: int | None = None
        self.claim_ms: int | None = None
        self.no_acknowledge = False
        self.is_plain = False  # for a group: what is new in one stream, with no limit but COUNT
        self.sources: list[tuple[bytes, int]] = []
        self._entries_left = 0
        self._bytes_left = 0
        self._is_full = False

    def serve_again(self, ctx: Context, name: bytes) -> Reply | None:
        """The reply once a key has changed. What ended the wait for a group is an error."""
        if self.is_plain:
            return self._serve_plain(ctx)
        sources = [source for source in self.sources if source[0] == name]
        try:
            return self.serve(ctx, sources)
        except WrongTypeError:
            if self.group is None:  # a stream may take the key's place again
                return None
            raise

    def serve(self, ctx: Context, sources: list[tuple[bytes, int]]) -> Reply | None:
        """The reply; None where there is nothing to read yet."""
        if self.is_plain:
            return self._serve_plain(ctx)
        parts: list[bytes] = []
        streams = 0
        self._entries_left = self.count_max or _UNLIMITED
        self._bytes_left = self.size_max or _UNLIMITED
        self._is_full = False
        for name, after in sources:
            if self._is_full or not self._entries_left:
                break
            stream = get_stream(ctx, name)
            if self.group is not None:
                group = None if stream is None else stream.groups.get(self.group)
                if stream is None or group is None:
                    raise no_such_group(name, self.group, _IN_READ)
                frames = self._read_group(ctx, name, stream, group, after)
            elif stream is None:
                continue
            else:
                frames = self._read(stream, after)
            if frames is not None:
                head = _PAIR if ctx.resp == 2 else _IN_MAP
                parts.append(head % (len(name), name, len(frames)))
                parts += frames
                streams += 1
        if not streams:
            return None
        header = b"*%d\r\n" if ctx.resp == 2 else b"%%%d\r\n"
        parts[0] = header % streams + parts[0]
        return ready(b"".join(parts))

    def _serve_plain(self, ctx: Context) -> Reply | None:
        """As `serve`, shorter."""
        name = self.sources[0][0]
        stream = get_stream(ctx, name)
        assert self.group is not None
        group = None if stream is None else stream.groups.get(self.group)
        if stream is None or group is None:
            raise no_such_group(name, self.group, _IN_READ)
        frames = self._read_group(ctx, name, stream, group, _NEW)
        if frames is None:
            return None
        head = _ONE_PAIR if ctx.resp == 2 else _ONE_IN_MAP
        return ready(head % (len(name), name, len(frames), b"".join(frames)))

    def _limit(self) -> int:
        """How many entries the next stream may give."""
        count = self.count or _UNLIMITED
        return min(count, self._entries_left) if self.count_max else count

    def _fitting(self, frames: list[bytes]) -> int:
        """How many of the next entries are answered: the first of all is never too large."""
        if not self.size_max:
            self._entries_left -= len(frames)
            return len(frames)
        for index, frame in enumerate(frames):
            if len(frame) > self._bytes_left and self._bytes_left != self.size_max:
                self._is_full = True
                return index
            self._bytes_left -= len(frame)
            self._entries_left -= 1
        return len(frames)

    def _read(self, stream: Stream, after: int) -> list[bytes] | None:
        if after == _LAST:
            after = stream.top_id - 1 if len(stream) else ID_MAX
        if not len(stream) or stream.top_id <= after:
            return None
        frames = stream.between(after + 1, ID_MAX, self._limit())[1]
        return frames[: self._fitting(frames)] or None

    # -- for a group ---------------------------------------------------------------------------

    def _read_group(
        self, ctx: Context, name: bytes, stream: Stream, group: Group, after: int
    ) -> list[bytes] | None:
        """What the consumer gets of one stream; None where there is nothing new."""
        now_ms = ctx.now_ms
        db = ctx.db
        consumer = group.consumers.get(self.consumer)
        if consumer is None:
            consumer = group.create_consumer(self.consumer, now_ms)
            db.noted(name, "xgroup-createconsumer")
            self._tell(ctx, b"XGROUP", b"CREATECONSUMER", name, self.consumer)
        consumer.seen_ms = now_ms
        if after != _NEW:
            db.dirty += 1
            return self._read_history(ctx, name, stream, group, consumer=consumer, after=after)
        frames: list[bytes] = []
        limit = self._limit()
        if group.policy is not None or self.claim_ms is not None:
            frames = self._take_pending(ctx, name, stream, group, consumer)
            limit -= len(frames)
        if limit and not self._is_full and stream.last_id > group.last_id:
            ids, fresh = stream.between(group.last_id + 1, ID_MAX, limit)
            if self.size_max or self.count_max:
                fitting = self._fitting(fresh)
                ids, fresh = ids[:fitting], fresh[:fitting]
            if fresh:
                stream.note_read(group, ids)
                if not self.no_acknowledge:
                    group.deliver(consumer, ids, now_ms)
                if db.journal is not None:
                    self._tell_read(ctx, name, group, ids)
                frames = frames + fresh if frames else fresh
        if not frames:
            return None
        db.dirty += 1
        return frames

    def _tell(self, ctx: Context, *words: bytes) -> None:
        """Note what became of the group: `words` are the command as far as the key, and the rest
        behind the group's name."""
        journal = ctx.db.journal
        if journal is not None:
            assert self.group is not None
            at = 3 if words[0] == b"XGROUP" else 2
            journal.note(ctx.db.index, *words[:at], self.group, *words[at:])

    def _tell_read(self, ctx: Context, name: bytes, group: Group, ids: list[int]) -> None:
        """Note that the group has read entries."""
        if not self.no_acknowledge:
            self._tell_claims(ctx, name, group, ids)
        position = (format_id(group.last_id), b"ENTRIESREAD", b"%d" % group.entries_read)
        self._tell(ctx, b"XGROUP", b"SETID", name, *position)

    def _tell_claims(self, ctx: Context, name: bytes, group: Group, ids: list[int]) -> None:
        """Note that these entries are pending with the consumer."""
        journal = ctx.db.journal
        if journal is not None and ids:
            assert self.group is not None
            found = [(it, delivery) for it in ids if (delivery := group.pending.get(it))]
            for argv in claims(name, self.group, self.consumer, found):
                journal.note(ctx.db.index, *argv)

    def _read_history(
        self,
        ctx: Context,
        name: bytes,
        stream: Stream,
        group: Group,
        *,
        consumer: Consumer,
        after: int,
    ) -> list[bytes]:
        """Entries that are pending with the consumer; looking at them again counts as delivery."""
        limit = self._limit()
        null = b"*-1\r\n" if ctx.resp == 2 else b"_\r\n"
        frames: list[bytes] = []
        claimed: list[int] = []
        for entry_id, delivery in consumer.pending.walk(after + 1):
            frame = stream.get(entry_id)
            shown = frame
            if shown is None:
                text = format_id(entry_id)
                shown = b"*2\r\n$%d\r\n%b\r\n%b" % (len(text), text, null)
            if not self._fitting([shown]):
                break
            frames.append(shown)
            if frame is not None:
                group.claim(entry_id, consumer, ctx.now_ms, delivery.deliveries + 1)
                claimed.append(entry_id)
            if len(frames) == limit:
                break
        self._tell_claims(ctx, name, group, claimed)
        return frames

    def _take_pending(
        self, ctx: Context, name: bytes, stream: Stream, group: Group, consumer: Consumer
    ) -> list[bytes]:
        """Pending entries that are to be handed out again, before what is new."""
        now_ms = ctx.now_ms
        ctx.engine.stream_policies.apply(ctx.db, name, stream, group, now_ms)
        due: Iterator[tuple[int, Delivery]] = group.released(now_ms)
        if self.claim_ms is not None:
            due = chain(due, group.owned_since(now_ms - self.claim_ms))
        frames: list[bytes] = []
        claimed: list[int] = []
        limit = self._limit()
        for entry_id, delivery in due:
            frame = stream.get(entry_id)
            if frame is None:
                group.forget((entry_id,))
                self._tell(ctx, b"XACK", name, format_id(entry_id))
                continue
            deliveries = delivery.deliveries
            if self.claim_ms is not None:
                idle_ms = -1 if delivery.consumer is None else max(now_ms - delivery.at_ms, 0)
                frame = b"*4%b:%d\r\n:%d\r\n" % (frame[2:], idle_ms, deliveries)
            if not self._fitting([frame]):
                break
            frames.append(frame)
            group.claim(entry_id, consumer, now_ms, deliveries + 1)
            consumer.active_ms = now_ms
            claimed.append(entry_id)
            if len(frames) == limit:
                break
        self._tell_claims(ctx, name, group, claimed)
        return frames


def _parse(ctx: Context, argv: list[bytes]) -> Reading:
    """Everything checked, `$` turned into the id that it means now."""
    name = argv[0].upper()
    is_group = name == b"XREADGROUP"
    reading = Reading()
    at, last = 1, len(argv) - 1
    while True:
        if at > last:
            raise syntax_error()
        word = argv[at].upper()
        at += 1
        if at > last and word != b"NOACK":
            raise syntax_error()
        if word == b"STREAMS":
            break
        if word == b"COUNT":
            reading.count = max(parse_int(argv[at]), 0)
            at += 1
        elif word == b"GROUP" and is_group and at < last:
            reading.group, reading.consumer = argv[at], argv[at + 1]
            at += 2
        else:
            at = _take_option(reading, word, argv, at, is_group=is_group)
    half, rest = divmod(last + 1 - at, 2)
    if rest:
        symbol = b">" if is_group else b"$"
        raise CommandError(
            b"Unbalanced '%b' list of streams: for each stream key an ID or '%b' must be specified."
            % (name.lower(), symbol)
        )
    if is_group and reading.group is None:
        raise CommandError("Missing GROUP option for XREADGROUP")
    for index in range(at, at + half):
        key_name = argv[index]
        reading.sources.append((key_name, _parse_after(ctx, reading, key_name, argv[index + half])))
    is_limited = reading.count_max or reading.size_max or reading.claim_ms is not None
    reading.is_plain = half == 1 and reading.sources[0][1] == _NEW and not is_limited
    return reading


def _take_option(
    reading: Reading, word: bytes, argv: list[bytes], at: int, *, is_group: bool
) -> int:
    """Take one of the rarer options; where the next one stands."""
    if word in (b"GROUP", b"NOACK", b"CLAIM") and not is_group:
        if word != b"GROUP" or at + 1 < len(argv):
            raise CommandError(
                b"The %b option is only supported by XREADGROUP. You called XREAD instead." % word
            )
        raise syntax_error()
    if word == b"NOACK":
        reading.no_acknowledge = True
        return at
    if word == b"BLOCK":
        reading.block_ms = parse_timeout_ms(argv[at])
    elif word == b"MAXCOUNT":
        reading.count_max = max(parse_int(argv[at]), 0)
    elif word == b"MAXSIZE":
        reading.size_max = max(parse_int(argv[at]), 0)
    elif word == b"CLAIM":
        reading.claim_ms = parse_int(argv[at], "min-idle-time is not an integer or out of range")
        if reading.claim_ms < 0:
            raise CommandError("min-idle-time must be a positive integer")
    else:
        raise syntax_error()
    return at + 1


def _parse_after(ctx: Context, reading: Reading, name: bytes, text: bytes) -> int:
    stream = get_stream(ctx, name)
    is_group = reading.group is not None
    if is_group and (stream is None or reading.group not in stream.groups):
        raise no_such_group(name, reading.group or b"", _IN_READ)
    if text == b">":
        if not is_group:
            raise CommandError(
                "The > ID can be specified only when calling XREADGROUP using the GROUP <group>"
                " <consumer> option."
            )
        return _NEW
    if text == b"$":
        if is_group:
            raise CommandError(
                "The $ ID is meaningless in the context of XREADGROUP: you want to read the"
                " history of this consumer by specifying a proper ID, or use the > ID to get new"
                " messages. The $ ID would just return an empty result set."
            )
        return 0 if stream is None else stream.last_id
    if text == b"+" and not is_group:
        return _LAST
    return parse_id(text)


def _serve(ctx: Context, argv: list[bytes]) -> Reply:
    known = ctx.reading
    if known is not None and known[0] == argv:
        reading: Reading = known[1]
        reply = reading.serve(ctx, reading.sources)
        ctx.db.hits += 1  # parsing looks the key up, too
    else:
        reading = _parse(ctx, argv)
        if reading.is_plain and sum(map(len, argv)) <= _KNOWN_BYTES_MAX:
            ctx.reading = argv, reading
        reply = reading.serve(ctx, reading.sources)
    if reply is not None:
        return reply
    if reading.block_ms is None:
        return NULL_ARRAY
    if reading.claim_ms is not None:
        for name, _ in reading.sources:
            ctx.engine.stream_policies.watch_claim(ctx.db, name)
    # readers of a group share its entries; every XREAD is for itself
    share = reading if reading.group is None else (reading.group, reading.claim_ms)
    return ctx.engine.blocking.wait(
        ctx,
        [name for name, _ in reading.sources],
        reading.serve_again,
        timeout_ms=reading.block_ms,
        nothing=NULL_ARRAY,
        share=share,
    )


@command(
    "XREAD",
    group="stream",
    since="5.0.0",
    arity=-4,
    summary="Return never seen elements in multiple streams, with IDs greater than the ones"
    " reported by the caller for each stream. Can block.",
    complexity="For each stream mentioned: O(N) with N being the number of elements being"
    " returned, it means that XREAD-ing with a fixed COUNT is O(1). Note that when the BLOCK"
    " option is used, XADD will pay O(M) time in order to serve the M clients blocked on the"
    " stream getting new data.",
    flags=Flag.READONLY | Flag.BLOCKING | Flag.MOVABLEKEYS,
    keys=(Keys(keyword="STREAMS", start_from=1, last=-1, limit=2),),
    args=(
        integer("count", token="COUNT", optional=True),
        integer("maxcount", token="MAXCOUNT", optional=True, since="8.10.0"),
        integer("maxsize", token="MAXSIZE", optional=True, since="8.10.0"),
        integer("milliseconds", token="BLOCK", optional=True),
        block("streams", key(multiple=True), string("id", multiple=True), token="STREAMS"),
    ),
    reply=_reply(ENTRIES_REPLY),
    acl_categories=("stream",),
    history=(("8.10.0", "Added the `MAXCOUNT` and `MAXSIZE` options."),),
)
def xread(ctx: Context, argv: list[bytes]) -> Reply:
    """XREAD [COUNT n] [MAXCOUNT n] [MAXSIZE bytes] [BLOCK ms] STREAMS key [key ...] id [id ...]"""
    return _serve(ctx, argv)


@command(
    "XREADGROUP",
    group="stream",
    since="5.0.0",
    arity=-7,
    summary="Return new entries from a stream using a consumer group, or access the history of the"
    " pending entries for a given consumer. Can block.",
    complexity="For each stream mentioned: O(M) with M being the number of elements returned. If M"
    " is constant (e.g. always asking for the first 10 elements with COUNT), you can consider it"
    " O(1). On the other side when XREADGROUP blocks, XADD will pay the O(N) time in order to"
    " serve the N clients blocked on the stream getting new data.",
    flags=Flag.WRITE | Flag.BLOCKING | Flag.MOVABLEKEYS,
    keys=(Keys(keyword="STREAMS", start_from=4, last=-1, limit=2),),
    args=(
        block("group_consumer", string("group"), string("consumer"), token="GROUP"),
        integer("count", token="COUNT", optional=True),
        integer("maxcount", token="MAXCOUNT", optional=True, since="8.10.0"),
        integer("maxsize", token="MAXSIZE", optional=True, since="8.10.0"),
        integer("milliseconds", token="BLOCK", optional=True),
        integer("min-idle-time", token="CLAIM", optional=True, since="8.4.0"),
        token("NOACK", optional=True),
        block("streams", key(multiple=True), string("id", multiple=True), token="STREAMS"),
    ),
    reply=_reply(ArrayReply(one_of(ENTRY_REPLY, DELETED_ENTRY_REPLY, CLAIMED_ENTRY_REPLY))),
    acl_categories=("stream",),
    history=(
        ("8.4.0", "Added the `CLAIM` option."),
        ("8.10.0", "Added the `MAXCOUNT` and `MAXSIZE` options."),
    ),
)
def xreadgroup(ctx: Context, argv: list[bytes]) -> Reply:
    """XREADGROUP GROUP group consumer [options] STREAMS key [key ...] id [id ...]"""
    return _serve(ctx, argv)


SPECS = specs_of(xread, xreadgroup)
