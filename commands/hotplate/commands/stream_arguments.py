"""What stream commands read from their arguments alike, and refuse in the same words."""

from typing import Final

from hotplate.engine.context import Context
from hotplate.errors import CommandError, NoConsumerGroupError, WrongTypeError
from hotplate.keyspace.stream import (
    ACKNOWLEDGED_ONLY,
    CHUNK_ENTRIES,
    DELETE_REFERENCES,
    KEEP_REFERENCES,
    Stream,
    Trim,
)
from hotplate.keyspace.stream_entry import ID_MAX, SEQUENCE_MAX, read_id, read_ids
from hotplate.keyspace.stream_group import Group
from hotplate.keyspace.stream_producers import DURATION_S, SIZE, Producers
from hotplate.resp.encoder import ready
from hotplate.resp.types import Frames, Raw
from hotplate.spec.args import Args, parse_int
from hotplate.spec.model import Arg, block, integer, oneof, string, token
from hotplate.spec.reply import (
    ArrayReply,
    BulkReply,
    IntegerReply,
    NullReply,
    TupleReply,
    one_of,
)

ID_REPLY: Final = BulkReply(rb"\d+-\d+")
ENTRY_REPLY: Final = TupleReply((ID_REPLY, ArrayReply(BulkReply())))
DELETED_ENTRY_REPLY: Final = TupleReply((ID_REPLY, NullReply()))
CLAIMED_ENTRY_REPLY: Final = TupleReply(
    (ID_REPLY, ArrayReply(BulkReply()), IntegerReply(), IntegerReply(0))
)
ENTRIES_REPLY: Final = ArrayReply(ENTRY_REPLY)
OUTCOMES_REPLY: Final = ArrayReply(one_of(IntegerReply(-1, -1), IntegerReply(1, 2)))
REFERENCE_WORDS: Final = frozenset((KEEP_REFERENCES, DELETE_REFERENCES, ACKNOWLEDGED_ONLY))
TRIM_LIMIT: Final = 100 * CHUNK_ENTRIES  # entries that `~` removes at most without LIMIT
_SHOWN_BYTES_MAX: Final = 128

REFERENCES_ARG: Final[Arg] = oneof(
    "condition",
    token("KEEPREF"),
    token("DELREF"),
    token("ACKED"),
    optional=True,
    since="8.2.0",
)
IDS_ARG: Final[Arg] = block("ids", integer("numids"), string("id", multiple=True), token="IDS")


def new_stream(ctx: Context) -> Stream:
    """An empty one, with the server's settings for new streams."""
    stream = Stream()
    limits = ctx.engine.config.stream_idmp_duration, ctx.engine.config.stream_idmp_maxsize
    if limits != (DURATION_S, SIZE):
        stream.producers = Producers()
        stream.producers.configure(*limits)
    return stream


def invalid_id() -> CommandError:
    """Not an id."""
    return CommandError("Invalid stream ID specified as stream command argument")


def parse_id(text: bytes) -> int:
    """One entry's id; without a sequence it is 0."""
    entry_id = read_id(text)
    if entry_id is None:
        raise invalid_id()
    return entry_id


def parse_ids(texts: list[bytes]) -> list[int]:
    """Several ids."""
    ids = read_ids(texts)
    if ids is None:
        raise invalid_id()
    return ids


def parse_interval(start_text: bytes, end_text: bytes) -> tuple[int, int]:
    """Both ends, included: `-`, `+`, ids, and `(` before an id that is left out."""
    return parse_start(start_text), _parse_end(end_text)


def parse_start(text: bytes) -> int:
    """The lower end of an interval."""
    is_exclusive = len(text) > 1 and text[:1] == b"("
    start = parse_id(text[1:]) if is_exclusive else _parse_bound(text, 0)
    if is_exclusive and start == ID_MAX:
        raise CommandError("invalid start ID for the interval")
    return start + is_exclusive


def _parse_end(text: bytes) -> int:
    is_exclusive = len(text) > 1 and text[:1] == b"("
    if is_exclusive:
        end = read_id(text[1:], SEQUENCE_MAX)
        if end is None:
            raise invalid_id()
        if end == 0:
            raise CommandError("invalid end ID for the interval")
        return end - 1
    return _parse_bound(text, SEQUENCE_MAX)


def _parse_bound(text: bytes, missing_sequence: int) -> int:
    if text == b"-":
        return 0
    if text == b"+":
        return ID_MAX
    entry_id = read_id(text, missing_sequence)
    if entry_id is None:
        raise invalid_id()
    return entry_id


def no_such_group(key: bytes, group: bytes, where: bytes = b"") -> NoConsumerGroupError:
    """Neither is there without the other."""
    return NoConsumerGroupError(
        b"No such key '%b' or consumer group '%b'%b" % (_shown(key), _shown(group), where)
    )


def no_group_in_stream(key: bytes, group: bytes) -> NoConsumerGroupError:
    """The stream is there."""
    return NoConsumerGroupError(
        b"No such consumer group '%b' for key name '%b'" % (_shown(group), _shown(key))
    )


def _shown(name: bytes) -> bytes:
    return name.split(b"\0", 1)[0]  # as Redis, whose names in errors end at a zero


def get_stream(ctx: Context, key: bytes) -> Stream | None:
    """The stream of a key, counted as a hit or a miss as Redis does for nearly all of them."""
    entry = ctx.db.lookup(key, ctx.now_ms)
    if entry is None:
        return None
    stream = entry.value
    if type(stream) is not Stream:
        raise WrongTypeError
    if not ctx.no_touch:
        entry.accessed_ms = ctx.now_ms
    return stream


def get_group(ctx: Context, key: bytes, name: bytes) -> tuple[Stream, Group]:
    """A stream and one of its groups, or the error that there is none."""
    stream = get_stream(ctx, key)
    group = None if stream is None else stream.groups.get(name)
    if stream is None or group is None:
        raise no_such_group(key, name)
    return stream, group


def take_ids(args: Args) -> list[bytes]:
    """`numids id [id ...]`, what follows IDS; not parsed yet."""
    count = args.take_int("Number of IDs must be a positive integer")
    if count <= 0:
        raise CommandError("Number of IDs must be a positive integer")
    if count > len(args):
        raise CommandError("The `numids` parameter must match the number of arguments")
    return args.take_many(count)


class TrimReader:
    """Collects what XADD and XTRIM say about trimming, option by option."""

    __slots__ = ("_limit", "_references", "trim")

    def __init__(self) -> None:
        self.trim: Trim | None = None
        self._limit: int | None = None
        self._references = KEEP_REFERENCES

    def take(self, word: bytes, args: Args) -> bool:
        """Take the option `word` if it is one of trimming, and what follows it."""
        if word in REFERENCE_WORDS:
            self._references = word
            return True
        if not args or word not in (b"MAXLEN", b"MINID", b"LIMIT"):
            return False
        if word == b"LIMIT":
            self._limit = args.take_int()
            if self._limit < 0:
                raise CommandError("The LIMIT argument must be >= 0.")
            return True
        if self.trim is not None:
            raise CommandError(
                "syntax error, MAXLEN and MINID options at the same time are not compatible"
            )
        self.trim = Trim()
        if len(args) >= 2 and args.peek() in (b"~", b"="):
            self.trim.approximate = args.take() == b"~"
        if word == b"MINID":
            self.trim.min_id = parse_id(args.take())
        else:
            self.trim.length_max = args.take_int()
            if self.trim.length_max < 0:
                raise CommandError("The MAXLEN argument must be >= 0.")
        return True

    def finish(self, *, is_needed: bool = False) -> Trim | None:
        """The rule, None where nothing was said."""
        trim = self.trim
        if trim is None and self._limit:
            raise CommandError(
                "syntax error, LIMIT cannot be used without specifying a trimming strategy"
            )
        if trim is None and is_needed:
            raise CommandError("syntax error, XTRIM must be called with a trimming strategy")
        if self._limit is not None and not (trim is not None and trim.approximate):
            raise CommandError("syntax error, LIMIT cannot be used without the special ~ option")
        if trim is None:
            return None
        if trim.approximate:
            trim.limit = TRIM_LIMIT if self._limit is None else self._limit
        trim.references = self._references
        return trim


def take_count(args: Args) -> int:
    """COUNT of the reading commands: less than 0 is 0."""
    return max(args.take_int(), 0)


def entries_reply(frames: list[bytes]) -> Raw | Frames:
    """An array of entries."""
    return ready(b"*%d\r\n%b" % (len(frames), b"".join(frames)))


def parse_min_idle_ms(text: bytes, command: str) -> int:
    """How long entries must have been idle, of XCLAIM and XAUTOCLAIM."""
    return max(parse_int(text, f"Invalid min-idle-time argument for {command}"), 0)


def subcommand_syntax(argv: list[bytes]) -> CommandError:
    """Arguments of a subcommand of XGROUP or XINFO that fit no form of it."""
    return CommandError(
        b"unknown subcommand or wrong number of arguments for '%b'. Try %b HELP."
        % (argv[1][:_SHOWN_BYTES_MAX], argv[0].upper())
    )
