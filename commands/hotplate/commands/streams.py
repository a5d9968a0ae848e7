"""Streams as logs: adding, ranges, and what is set about them.

XADD looks its key up in place: it is what producers send all the time.
"""

from typing import Final

from hotplate.commands.stream_arguments import (
    ENTRIES_REPLY,
    ID_REPLY,
    REFERENCES_ARG,
    TRIM_LIMIT,
    TrimReader,
    entries_reply,
    get_stream,
    new_stream,
    parse_id,
    parse_interval,
    take_count,
)
from hotplate.commands.stream_deletes import trim_arg, trim_stream
from hotplate.commands.stream_runs import plain_form, xadd_run
from hotplate.commands.values import write_value
from hotplate.engine.context import Context, Gate
from hotplate.errors import CommandError, WrongTypeError
from hotplate.keyspace.database import SHARD_MASK
from hotplate.keyspace.stream import (
    Stream,
    Trim,
)
from hotplate.keyspace.stream_entry import (
    ID_MAX,
    SEQUENCE_BITS,
    SEQUENCE_MAX,
    build_frame,
    format_id,
    read_whole_id,
)
from hotplate.keyspace.stream_producers import DURATION_S_MAX, SIZE_MAX, Producers, digest_of
from hotplate.resp.types import EMPTY_ARRAY, NULL_ARRAY, OK, ZERO, Reply
from hotplate.spec.args import Args, syntax_error, wrong_arity
from hotplate.spec.model import (
    Flag,
    Keys,
    block,
    command,
    integer,
    key,
    oneof,
    specs_of,
    string,
    token,
)
from hotplate.spec.reply import OK_REPLY, IntegerReply, NullReply, one_of

_XADD: Final = b"xadd"
_NO_SUCH_KEY: Final = "no such key"


class _Addition:
    """What XADD was told."""

    __slots__ = ("create", "entry_id", "fields", "message", "producer", "sequence_given", "trim")

    def __init__(self, argv: list[bytes], *, is_loading: bool) -> None:
        self.create = True
        self.entry_id: int | None = None  # None: `*`
        self.sequence_given = True
        self.producer = b""
        self.message: bytes | None = None  # None: no IDMP; empty: IDMPAUTO
        reader = TrimReader()
        args = Args(argv, 2)
        while True:
            text = args.take()
            if text == b"*":
                break
            word = text.upper()
            if reader.take(word, args):
                continue
            if word == b"NOMKSTREAM":
                self.create = False
            elif word in (b"IDMP", b"IDMPAUTO"):
                self._take_producer(word, args)
            else:
                self._set_id(text)
                break
        self.trim = reader.finish()
        if self.message is not None and self.entry_id is not None and not is_loading:
            raise CommandError("IDMP/IDMPAUTO can be used only with auto-generated IDs")
        self.fields = args.take_rest()
        if len(self.fields) < 2 or len(self.fields) % 2:
            raise wrong_arity(_XADD)
        if self.entry_id == 0 and self.sequence_given:
            raise CommandError("The ID specified in XADD must be greater than 0-0")
        if self.message == b"":
            self.message = digest_of(self.fields)

    def _take_producer(self, word: bytes, args: Args) -> None:
        if self.message is not None:
            raise CommandError("IDMP/IDMPAUTO specified multiple times")
        self.producer = args.take()
        if not self.producer:
            raise CommandError(b"%b requires a non-empty producer ID" % word)
        self.message = b""
        if word == b"IDMP":
            self.message = args.take()
            if not self.message:
                raise CommandError("IDMP requires a non-empty idempotent ID")

    def _set_id(self, text: bytes) -> None:
        time, dash, sequence = text.partition(b"-")
        if dash and sequence == b"*":
            self.sequence_given = False
            text = time
        self.entry_id = parse_id(text)

    def next_id(self, stream: Stream, now_ms: int) -> int:
        """The id of the new entry; CommandError where there is none."""
        last_id = stream.last_id
        if last_id == ID_MAX:
            raise CommandError(
                "The stream has exhausted the last possible ID, unable to add more items"
            )
        entry_id = self.entry_id
        if entry_id is None:
            return max(now_ms << SEQUENCE_BITS, last_id + 1)
        if not self.sequence_given and entry_id >> SEQUENCE_BITS == last_id >> SEQUENCE_BITS:
            entry_id = last_id + (last_id & SEQUENCE_MAX != SEQUENCE_MAX)
        if entry_id <= last_id:
            raise CommandError(
                "The ID specified in XADD is equal or smaller than the target stream top item"
            )
        return entry_id


@command(
    "XADD",
    group="stream",
    since="5.0.0",
    arity=-5,
    summary="Appends a new entry to a stream",
    complexity="O(1) when adding a new entry, O(N) when trimming where N being the number of"
    " entries evicted.",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(
        Keys(
            flags=("RW", "UPDATE"),
            notes="UPDATE instead of INSERT because of the optional trimming feature",
        ),
    ),
    args=(
        key(),
        token("NOMKSTREAM", optional=True, since="6.2.0"),
        REFERENCES_ARG,
        oneof(
            "idmp",
            block("idmp-manual", string("pid"), string("iid"), token="IDMP"),
            string("pid", token="IDMPAUTO"),
            optional=True,
            since="8.6.0",
        ),
        trim_arg(optional=True, references=False),
        oneof("id_or_auto", token("*", "auto_id"), string("id")),
        block("field_value", string("field"), string("value"), multiple=True),
    ),
    reply=one_of(ID_REPLY, NullReply()),
    acl_categories=("stream",),
    tips=("nondeterministic_output",),
    history=(
        (
            "6.2.0",
            "Added the `NOMKSTREAM` option, `MINID` trimming strategy and the `LIMIT` option.",
        ),
        ("7.0.0", "Added support for the `<ms>-*` explicit ID form."),
        ("8.2.0", "Added the `KEEPREF`, `DELREF` and `ACKED` options."),
        ("8.6.0", "Added the `IDMP` and `IDMPAUTO` options."),
    ),
    run=xadd_run,
)
def xadd(ctx: Context, argv: list[bytes]) -> Reply:
    """XADD key [options] <* | id> field value [field value ...]"""
    fields_at, length_max = plain_form(argv)
    given_id: int | None = None  # `*`
    if not fields_at:
        fields_at, given_id = 3, read_whole_id(argv[2])
        if given_id is None:
            return _add_with_options(ctx, argv)
    if len(argv) - fields_at & 1:
        return _add_with_options(ctx, argv)
    key = argv[1]
    db = ctx.db
    entry = db.shards[hash(key) & SHARD_MASK].get(key)
    if entry is None or (entry.expire_at_ms and entry.expire_at_ms < ctx.now_ms):
        return _add_with_options(ctx, argv)
    stream = entry.value
    if type(stream) is not Stream:
        raise WrongTypeError
    last_id = stream.last_id
    now_ms = ctx.now_ms
    if given_id is not None:
        if given_id <= last_id:
            return _add_with_options(ctx, argv)
        entry_id = given_id
        text = b"%d-%d" % (entry_id >> SEQUENCE_BITS, entry_id & SEQUENCE_MAX)
    elif now_ms > last_id >> SEQUENCE_BITS:
        entry_id = now_ms << SEQUENCE_BITS
        text = b"%d-0" % now_ms
    elif last_id != ID_MAX:
        entry_id = last_id + 1
        text = b"%d-%d" % (entry_id >> SEQUENCE_BITS, entry_id & SEQUENCE_MAX)
    else:
        return _add_with_options(ctx, argv)
    stream.append(entry_id, build_frame(text, argv[fields_at:]))
    entry.accessed_ms = now_ms
    db.dirty += 1
    if db.observer is not None:
        db.observer(db.index, key, "xadd")
    if length_max >= 0 and stream.has_spare_chunk(length_max):
        trim_stream(ctx, key, stream, Trim(length_max, approximate=True, limit=TRIM_LIMIT))
    return text


def _add_with_options(ctx: Context, argv: list[bytes]) -> Reply:
    # the log has the id that a message got
    addition = _Addition(argv, is_loading=bool(ctx.engine.gates & Gate.LOADING))
    key = argv[1]
    db = ctx.db
    stream = write_value(ctx, key, Stream)
    is_new = stream is None
    if stream is None:
        if not addition.create:
            return None
        stream = new_stream(ctx)
    producers = stream.producers
    if addition.message is not None and producers is not None:
        known = producers.known(addition.producer, addition.message, ctx.now_ms)
        if known is not None:
            return format_id(known)
    entry_id = addition.next_id(stream, ctx.now_ms)
    text = format_id(entry_id)
    if is_new:
        db.assign(key, stream, ctx.now_ms)
    stream.append(entry_id, build_frame(text, addition.fields))
    if addition.message is not None:
        if producers is None:
            producers = stream.producers = Producers()
        producers.remember(addition.producer, addition.message, entry_id, ctx.now_ms)
    db.changed(key, "xadd")
    if addition.trim is not None:
        trim_stream(ctx, key, stream, addition.trim)
    return text


@command(
    "XLEN",
    group="stream",
    since="5.0.0",
    arity=2,
    summary="Return the number of entries in a stream",
    complexity="O(1)",
    flags=Flag.READONLY | Flag.FAST,
    keys=(Keys(flags=("RO",)),),
    args=(key(),),
    reply=IntegerReply(0),
    acl_categories=("stream",),
)
def xlen(ctx: Context, argv: list[bytes]) -> Reply:
    """XLEN key"""
    stream = get_stream(ctx, argv[1])
    return ZERO if stream is None else len(stream)


@command(
    "XRANGE",
    group="stream",
    since="5.0.0",
    arity=-4,
    summary="Return a range of elements in a stream, with IDs matching the specified IDs interval",
    complexity="O(N) with N being the number of elements being returned. If N is constant (e.g."
    " always asking for the first 10 elements with COUNT), you can consider it O(1).",
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(
        key(),
        string("start"),
        string("end"),
        integer("count", token="COUNT", optional=True),
    ),
    reply=one_of(ENTRIES_REPLY, NullReply()),
    acl_categories=("stream",),
    history=(("6.2.0", "Added exclusive ranges."),),
)
def xrange(ctx: Context, argv: list[bytes]) -> Reply:
    """XRANGE key start end [COUNT count]"""
    start, end = parse_interval(argv[2], argv[3])
    count = _take_range_count(argv)
    stream = get_stream(ctx, argv[1])
    if stream is None:
        return EMPTY_ARRAY
    if count == 0:
        return NULL_ARRAY
    return entries_reply(stream.between(start, end, max(count, 0))[1])


@command(
    "XREVRANGE",
    group="stream",
    since="5.0.0",
    arity=-4,
    summary="Return a range of elements in a stream, with IDs matching the specified IDs interval,"
    " in reverse order (from greater to smaller IDs) compared to XRANGE",
    complexity="O(N) with N being the number of elements returned. If N is constant (e.g. always"
    " asking for the first 10 elements with COUNT), you can consider it O(1).",
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(
        key(),
        string("end"),
        string("start"),
        integer("count", token="COUNT", optional=True),
    ),
    reply=one_of(ENTRIES_REPLY, NullReply()),
    acl_categories=("stream",),
    history=(("6.2.0", "Added exclusive ranges."),),
)
def xrevrange(ctx: Context, argv: list[bytes]) -> Reply:
    """XREVRANGE key end start [COUNT count]"""
    start, end = parse_interval(argv[3], argv[2])
    count = _take_range_count(argv)
    stream = get_stream(ctx, argv[1])
    if stream is None:
        return EMPTY_ARRAY
    if count == 0:
        return NULL_ARRAY
    return entries_reply(stream.between_reversed(start, end, max(count, 0)))


def _take_range_count(argv: list[bytes]) -> int:
    """COUNT, -1 without one."""
    count = -1
    args = Args(argv, 4)
    while args:
        if args.take_word() != b"COUNT" or not args:
            raise syntax_error()
        count = take_count(args)
    return count


@command(
    "XSETID",
    group="stream",
    since="5.0.0",
    arity=-3,
    summary="An internal command for replicating stream values",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "UPDATE")),),
    args=(
        key(),
        string("last-id"),
        integer("entries_added", token="ENTRIESADDED", optional=True, since="7.0.0"),
        string("max_deleted_entry_id", token="MAXDELETEDID", optional=True, since="7.0.0"),
    ),
    reply=OK_REPLY,
    acl_categories=("stream",),
    history=(("7.0.0", "Added the `entries_added` and `max_deleted_entry_id` arguments."),),
)
def xsetid(ctx: Context, argv: list[bytes]) -> Reply:
    """XSETID key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]"""
    last_id = parse_id(argv[2])
    entries_added: int | None = None
    max_deleted_id = 0
    args = Args(argv, 3)
    while args:
        word = args.take_word()
        if word == b"ENTRIESADDED" and args:
            entries_added = args.take_int()
            if entries_added < 0:
                raise CommandError("entries_added must be positive")
        elif word == b"MAXDELETEDID" and args:
            max_deleted_id = parse_id(args.take())
            if last_id < max_deleted_id:
                raise CommandError(
                    "The ID specified in XSETID is smaller than the provided max_deleted_entry_id"
                )
        else:
            raise syntax_error()
    stream = write_value(ctx, argv[1], Stream)
    if stream is None:
        raise CommandError(_NO_SUCH_KEY)
    if last_id < stream.max_deleted_id:
        raise CommandError(
            "The ID specified in XSETID is smaller than current max_deleted_entry_id"
        )
    if last_id < stream.top_id:
        raise CommandError("The ID specified in XSETID is smaller than the target stream top item")
    if entries_added is not None and entries_added < len(stream):
        raise CommandError(
            "The entries_added specified in XSETID is smaller than the target stream length"
        )
    stream.last_id = last_id
    if entries_added is not None:
        stream.entries_added = entries_added
    stream.max_deleted_id = max_deleted_id or stream.max_deleted_id
    ctx.db.changed(argv[1], "xsetid")
    return OK


@command(
    "XCFGSET",
    group="stream",
    since="8.6.0",
    arity=-2,
    summary="Sets the IDMP configuration parameters for a stream.",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "UPDATE")),),
    args=(
        key(),
        integer("idmp-duration", token="IDMP-DURATION", optional=True),
        integer("idmp-maxsize", token="IDMP-MAXSIZE", optional=True),
    ),
    reply=OK_REPLY,
    acl_categories=("stream",),
)
def xcfgset(ctx: Context, argv: list[bytes]) -> Reply:
    """XCFGSET key [IDMP-DURATION seconds] [IDMP-MAXSIZE size]: new limits forget all messages"""
    duration_s: int | None = None
    size_max: int | None = None
    args = Args(argv, 2)
    if not args:
        raise syntax_error()
    while args:
        word = args.take_word()
        if word == b"IDMP-DURATION":
            duration_s = _take_within(args, DURATION_S_MAX, "invalid duration")
        elif word == b"IDMP-MAXSIZE":
            size_max = _take_within(args, SIZE_MAX, "invalid maxsize")
        else:
            raise syntax_error()
    stream = write_value(ctx, argv[1], Stream)
    if stream is None:
        raise CommandError(_NO_SUCH_KEY)
    producers = stream.producers
    if producers is None:
        producers = stream.producers = Producers()
    producers.configure(duration_s or producers.duration_s, size_max or producers.size_max)
    ctx.db.dirty += 1
    return OK


def _take_within(args: Args, maximum: int, message: str) -> int:
    value = args.take_int()
    if not 1 <= value <= maximum:
        raise CommandError(message)
    return value


SPECS = specs_of(xadd, xlen, xrange, xrevrange, xsetid, xcfgset)
