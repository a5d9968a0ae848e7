"""XINFO: what is known about a stream, its groups and their consumers."""

from itertools import islice
from typing import Final

from hotplate.commands.stream_arguments import (
    ENTRIES_REPLY,
    ENTRY_REPLY,
    entries_reply,
    get_stream,
    no_group_in_stream,
    subcommand_syntax,
)
from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.stream import Stream
from hotplate.keyspace.stream_entry import ID_MAX, format_id
from hotplate.keyspace.stream_group import NOT_READ, Consumer, Group
from hotplate.keyspace.stream_producers import Producers
from hotplate.resp.types import Map, Raw, Reply, Simple
from hotplate.spec.args import parse_int
from hotplate.spec.model import (
    Flag,
    Keys,
    block,
    command,
    container,
    integer,
    key,
    specs_of,
    string,
)
from hotplate.spec.reply import (
    AnyReply,
    ArrayReply,
    BulkReply,
    IntegerReply,
    MapReply,
    NullReply,
    SimpleReply,
    one_of,
)

_FULL_COUNT: Final = 10
_NUMBER_OR_TEXT: Final = one_of(IntegerReply(), BulkReply(), NullReply())
_HELP: Final = (
    b"XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    b"CONSUMERS <key> <groupname>",
    b"    Show consumers of <groupname>.",
    b"GROUPS <key>",
    b"    Show the stream consumer groups.",
    b"STREAM <key> [FULL [COUNT <count>]",
    b"    Show information about the stream.",
    b"HELP",
    b"    Prints this help.",
)
_XINFO = container(
    "XINFO",
    group="stream",
    since="5.0.0",
    arity=-2,
    summary="A container for stream introspection commands",
    complexity="Depends on subcommand.",
)


def _find(ctx: Context, key: bytes) -> Stream:
    stream = get_stream(ctx, key)
    if stream is None:
        raise CommandError("no such key")
    return stream


@command(
    "XINFO|STREAM",
    group="stream",
    since="5.0.0",
    arity=-3,
    summary="Get information about a stream",
    complexity="O(1)",
    flags=Flag.READONLY,
    keys=(Keys(begin=2),),
    args=(
        key(),
        block("full", integer("count", token="COUNT", optional=True), token="FULL", optional=True),
    ),
    reply=MapReply(one_of(_NUMBER_OR_TEXT, ENTRY_REPLY, ENTRIES_REPLY, ArrayReply(AnyReply()))),
    acl_categories=("stream",),
    history=(
        ("6.0.0", "Added the `FULL` modifier."),
        (
            "7.0.0",
            "Added the `max-deleted-entry-id`, `entries-added`, `recorded-first-entry-id`,"
            " `entries-read` and `lag` fields",
        ),
        ("7.2.0", "Added the `active-time` field, and changed the meaning of `seen-time`."),
        (
            "8.6.0",
            "Added the `idmp-duration`, `idmp-maxsize`, `pids-tracked`, `iids-tracked`,"
            " `iids-added` and `iids-duplicates` fields",
        ),
    ),
)
def xinfo_stream(ctx: Context, argv: list[bytes]) -> Reply:
    """XINFO STREAM key [FULL [COUNT count]]"""
    stream = _find(ctx, argv[2])
    if len(argv) == 3:
        out = _about(ctx, stream)
        out[b"groups"] = len(stream.groups)
        out[b"first-entry"] = _entry(stream, stream.first_id)
        out[b"last-entry"] = _entry(stream, stream.top_id)
        return out
    count = _FULL_COUNT
    if len(argv) not in (4, 6) or argv[3].upper() != b"FULL":
        raise subcommand_syntax(argv)
    if len(argv) == 6:
        if argv[4].upper() != b"COUNT":
            raise subcommand_syntax(argv)
        count = parse_int(argv[5])
        count = _FULL_COUNT if count < 0 else count
    out = _about(ctx, stream)
    out[b"entries"] = entries_reply(stream.between(0, ID_MAX, count)[1])
    out[b"groups"] = [
        _full_group(stream, name, group, count) for name, group in sorted(stream.groups.items())
    ]
    return out


def _about(ctx: Context, stream: Stream) -> Map:
    producers = stream.producers or Producers()
    producers_tracked, messages_tracked = producers.tracked(ctx.now_ms)
    chunks = stream.chunk_count
    return Map(
        {
            b"length": len(stream),
            b"radix-tree-keys": chunks,
            b"radix-tree-nodes": chunks + 1,
            b"last-generated-id": format_id(stream.last_id),
            b"max-deleted-entry-id": format_id(stream.max_deleted_id),
            b"entries-added": stream.entries_added,
            b"recorded-first-entry-id": format_id(stream.first_id),
            b"idmp-duration": producers.duration_s,
            b"idmp-maxsize": producers.size_max,
            b"pids-tracked": producers_tracked,
            b"iids-tracked": messages_tracked,
            b"iids-added": producers.added,
            b"iids-duplicates": producers.duplicates,
        }
    )


def _entry(stream: Stream, entry_id: int) -> Reply:
    frame = stream.get(entry_id)
    return None if frame is None else Raw(frame)


def _full_group(stream: Stream, name: bytes, group: Group, count: int) -> Map:
    stop = count or None
    return Map(
        {
            b"name": name,
            b"last-delivered-id": format_id(group.last_id),
            b"entries-read": None if group.entries_read == NOT_READ else group.entries_read,
            b"lag": stream.lag_of(group),
            b"pel-count": len(group.pending),
            b"pending": [
                [
                    format_id(entry_id),
                    b"" if delivery.consumer is None else delivery.consumer.name,
                    delivery.at_ms,
                    delivery.deliveries,
                ]
                for entry_id, delivery in islice(group.pending.walk(), stop)
            ],
            b"consumers": [
                _full_consumer(consumer, stop) for _, consumer in sorted(group.consumers.items())
            ],
        }
    )


def _full_consumer(consumer: Consumer, stop: int | None) -> Map:
    return Map(
        {
            b"name": consumer.name,
            b"seen-time": consumer.seen_ms,
            b"active-time": consumer.active_ms,
            b"pel-count": len(consumer.pending),
            b"pending": [
                [format_id(entry_id), delivery.at_ms, delivery.deliveries]
                for entry_id, delivery in islice(consumer.pending.walk(), stop)
            ],
        }
    )


@command(
    "XINFO|GROUPS",
    group="stream",
    since="5.0.0",
    arity=3,
    summary="List the consumer groups of a stream",
    complexity="O(1)",
    flags=Flag.READONLY,
    keys=(Keys(begin=2),),
    args=(key(),),
    reply=ArrayReply(MapReply(_NUMBER_OR_TEXT)),
    acl_categories=("stream",),
    history=(("7.0.0", "Added the `entries-read` and `lag` fields"),),
)
def xinfo_groups(ctx: Context, argv: list[bytes]) -> Reply:
    """XINFO GROUPS key: the policy, where a group has one, in fields at the end"""
    stream = _find(ctx, argv[2])
    return [_group(stream, name, group) for name, group in sorted(stream.groups.items())]


def _group(stream: Stream, name: bytes, group: Group) -> Map:
    out = Map(
        {
            b"name": name,
            b"consumers": len(group.consumers),
            b"pending": len(group.pending),
            b"last-delivered-id": format_id(group.last_id),
            b"entries-read": None if group.entries_read == NOT_READ else group.entries_read,
            b"lag": stream.lag_of(group),
        }
    )
    policy = group.policy
    if policy is not None:
        out[b"visibility-ms"] = policy.visibility_ms
        out[b"max-deliver"] = policy.deliveries_max
        out[b"dead"] = policy.dead
        out[b"backoff-base-ms"] = policy.backoff_ms
        out[b"backoff-max-ms"] = policy.backoff_max_ms
    return out


@command(
    "XINFO|CONSUMERS",
    group="stream",
    since="5.0.0",
    arity=4,
    summary="List the consumers in a consumer group",
    complexity="O(1)",
    flags=Flag.READONLY,
    keys=(Keys(begin=2),),
    args=(key(), string("groupname")),
    reply=ArrayReply(MapReply(_NUMBER_OR_TEXT)),
    acl_categories=("stream",),
    tips=("nondeterministic_output",),
    history=(("7.2.0", "Added the `inactive` field, and changed the meaning of `idle`."),),
)
def xinfo_consumers(ctx: Context, argv: list[bytes]) -> Reply:
    """XINFO CONSUMERS key group"""
    stream = _find(ctx, argv[2])
    group = stream.groups.get(argv[3])
    if group is None:
        raise no_group_in_stream(argv[2], argv[3])
    now_ms = ctx.now_ms
    return [
        Map(
            {
                b"name": name,
                b"pending": len(consumer.pending),
                b"idle": max(now_ms - consumer.seen_ms, 0),
                b"inactive": -1 if consumer.active_ms < 0 else max(now_ms - consumer.active_ms, 0),
            }
        )
        for name, consumer in sorted(group.consumers.items())
    ]


@command(
    "XINFO|HELP",
    group="stream",
    since="5.0.0",
    arity=2,
    summary="Show helpful text about the different subcommands",
    complexity="O(1)",
    flags=Flag.LOADING | Flag.STALE,
    reply=ArrayReply(SimpleReply(None)),
    acl_categories=("stream",),
)
def xinfo_help(ctx: Context, argv: list[bytes]) -> Reply:
    """XINFO HELP"""
    return [Simple(line) for line in _HELP]


SPECS = specs_of(_XINFO, xinfo_stream, xinfo_groups, xinfo_consumers, xinfo_help)
