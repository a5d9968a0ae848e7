"""Channels: listening to them, telling them something, asking who listens."""

from typing import Any, Final

from hotplate.commands.introspect import help_reply
from hotplate.engine.context import Context
from hotplate.engine.pubsub import CHANNEL, PATTERN, SHARD_CHANNEL, Kind
from hotplate.keyspace.glob import compile_glob
from hotplate.resp.types import Reply
from hotplate.spec.args import unknown_subcommand
from hotplate.spec.model import (
    Flag,
    Keys,
    block,
    command,
    container,
    pattern,
    specs_of,
    string,
)
from hotplate.spec.reply import (
    ArrayReply,
    BulkReply,
    IntegerReply,
    MessagesReply,
    SimpleReply,
    one_of,
)

_LISTENING: Final[dict[str, Any]] = {
    "group": "pubsub",
    "flags": Flag.PUBSUB | Flag.NOSCRIPT | Flag.LOADING | Flag.STALE,
    "reply": MessagesReply(),
}
_TELLING: Final[dict[str, Any]] = {
    "group": "pubsub",
    "flags": Flag.PUBSUB | Flag.LOADING | Flag.STALE | Flag.FAST | Flag.MAY_REPLICATE,
    "reply": IntegerReply(minimum=0),
}
_ASKING: Final[dict[str, Any]] = {
    "group": "pubsub",
    "flags": Flag.PUBSUB | Flag.LOADING | Flag.STALE,
}
_COUNTS: Final = ArrayReply(one_of(BulkReply(), IntegerReply(minimum=0)))

HELP: Final = (
    "PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CHANNELS [<pattern>]",
    "    Return the currently active channels matching a <pattern> (default: '*').",
    "NUMPAT",
    "    Return number of subscriptions to patterns.",
    "NUMSUB [<channel> ...]",
    "    Return the number of subscribers for the specified channels, excluding",
    "    pattern subscriptions(default: no channels).",
    "SHARDCHANNELS [<pattern>]",
    "    Return the currently active shard level channels matching a <pattern> (default: '*').",
    "SHARDNUMSUB [<shardchannel> ...]",
    "    Return the number of subscribers for the specified shard level channel(s)",
    "HELP",
    "    Prints this help.",
)


@command(
    "SUBSCRIBE",
    since="2.0.0",
    arity=-2,
    summary="Listen for messages published to the given channels",
    complexity="O(N) where N is the number of channels to subscribe to.",
    args=(string("channel", multiple=True),),
    **_LISTENING,
)
def subscribe(ctx: Context, argv: list[bytes]) -> Reply:
    """SUBSCRIBE channel [channel ...]"""
    return ctx.engine.pubsub.subscribe(ctx, CHANNEL, argv[1:])


@command(
    "UNSUBSCRIBE",
    since="2.0.0",
    arity=-1,
    summary="Stop listening for messages posted to the given channels",
    complexity="O(N) where N is the number of clients already subscribed to a channel.",
    args=(string("channel", optional=True, multiple=True),),
    **_LISTENING,
)
def unsubscribe(ctx: Context, argv: list[bytes]) -> Reply:
    """UNSUBSCRIBE [channel ...]"""
    return ctx.engine.pubsub.unsubscribe(ctx, CHANNEL, argv[1:])


@command(
    "PSUBSCRIBE",
    since="2.0.0",
    arity=-2,
    summary="Listen for messages published to channels matching the given patterns",
    complexity="O(N) where N is the number of patterns the client is already subscribed to.",
    args=(block("pattern", pattern("pattern"), multiple=True),),
    **_LISTENING,
)
def psubscribe(ctx: Context, argv: list[bytes]) -> Reply:
    """PSUBSCRIBE pattern [pattern ...]"""
    return ctx.engine.pubsub.subscribe(ctx, PATTERN, argv[1:])


@command(
    "PUNSUBSCRIBE",
    since="2.0.0",
    arity=-1,
    summary="Stop listening for messages posted to channels matching the given patterns",
    complexity="O(N+M) where N is the number of patterns the client is already subscribed and M"
    " is the number of total patterns subscribed in the system (by any client).",
    args=(pattern(optional=True, multiple=True),),
    **_LISTENING,
)
def punsubscribe(ctx: Context, argv: list[bytes]) -> Reply:
    """PUNSUBSCRIBE [pattern ...]"""
    return ctx.engine.pubsub.unsubscribe(ctx, PATTERN, argv[1:])


@command(
    "SSUBSCRIBE",
    since="7.0.0",
    arity=-2,
    summary="Listen for messages published to the given shard channels",
    complexity="O(N) where N is the number of shard channels to subscribe to.",
    keys=(Keys(last=-1, flags=("NOT_KEY",)),),
    args=(string("shardchannel", multiple=True),),
    **_LISTENING,
)
def ssubscribe(ctx: Context, argv: list[bytes]) -> Reply:
    """SSUBSCRIBE shardchannel [shardchannel ...]"""
    return ctx.engine.pubsub.subscribe(ctx, SHARD_CHANNEL, argv[1:])


@command(
    "SUNSUBSCRIBE",
    since="7.0.0",
    arity=-1,
    summary="Stop listening for messages posted to the given shard channels",
    complexity="O(N) where N is the number of clients already subscribed to a shard channel.",
    keys=(Keys(last=-1, flags=("NOT_KEY",)),),
    args=(string("shardchannel", optional=True, multiple=True),),
    **_LISTENING,
)
def sunsubscribe(ctx: Context, argv: list[bytes]) -> Reply:
    """SUNSUBSCRIBE [shardchannel ...]"""
    return ctx.engine.pubsub.unsubscribe(ctx, SHARD_CHANNEL, argv[1:])


@command(
    "PUBLISH",
    since="2.0.0",
    arity=3,
    summary="Post a message to a channel",
    complexity="O(N+M) where N is the number of clients subscribed to the receiving channel and M"
    " is the total number of subscribed patterns (by any client).",
    args=(string("channel"), string("message")),
    **_TELLING,
)
def publish(ctx: Context, argv: list[bytes]) -> Reply:
    """PUBLISH channel message"""
    return ctx.engine.pubsub.publish(argv[1], argv[2])


@command(
    "SPUBLISH",
    since="7.0.0",
    arity=3,
    summary="Post a message to a shard channel",
    complexity="O(N) where N is the number of clients subscribed to the receiving shard channel.",
    keys=(Keys(flags=("NOT_KEY",)),),
    args=(string("shardchannel"), string("message")),
    **_TELLING,
)
def spublish(ctx: Context, argv: list[bytes]) -> Reply:
    """SPUBLISH shardchannel message"""
    return ctx.engine.pubsub.publish_to_shard(argv[1], argv[2])


PUBSUB: Final = container(
    "PUBSUB",
    group="pubsub",
    since="2.8.0",
    summary="A container for Pub/Sub commands",
    complexity="Depends on subcommand.",
)


@command(
    "PUBSUB|CHANNELS",
    since="2.8.0",
    arity=-2,
    summary="List active channels",
    complexity="O(N) where N is the number of active channels, and assuming constant time pattern"
    " matching (relatively short channels and patterns)",
    args=(pattern(optional=True),),
    reply=ArrayReply(BulkReply()),
    **_ASKING,
)
def pubsub_channels(ctx: Context, argv: list[bytes]) -> Reply:
    """PUBSUB CHANNELS [pattern]"""
    return _names(ctx, argv, CHANNEL)


@command(
    "PUBSUB|NUMSUB",
    since="2.8.0",
    arity=-2,
    summary="Get the count of subscribers for channels",
    complexity="O(N) for the NUMSUB subcommand, where N is the number of requested channels",
    args=(string("channel", optional=True, multiple=True),),
    reply=_COUNTS,
    **_ASKING,
)
def pubsub_numsub(ctx: Context, argv: list[bytes]) -> Reply:
    """PUBSUB NUMSUB [channel ...]"""
    return _counts(ctx, argv, CHANNEL)


@command(
    "PUBSUB|NUMPAT",
    since="2.8.0",
    arity=2,
    summary="Get the count of unique patterns pattern subscriptions",
    complexity="O(1)",
    reply=IntegerReply(minimum=0),
    **_ASKING,
)
def pubsub_numpat(ctx: Context, argv: list[bytes]) -> Reply:
    """PUBSUB NUMPAT"""
    return len(list(ctx.engine.pubsub.names(PATTERN)))


@command(
    "PUBSUB|SHARDCHANNELS",
    since="7.0.0",
    arity=-2,
    summary="List active shard channels",
    complexity="O(N) where N is the number of active shard channels, and assuming constant time"
    " pattern matching (relatively short shard channels).",
    args=(pattern(optional=True),),
    reply=ArrayReply(BulkReply()),
    **_ASKING,
)
def pubsub_shardchannels(ctx: Context, argv: list[bytes]) -> Reply:
    """PUBSUB SHARDCHANNELS [pattern]"""
    return _names(ctx, argv, SHARD_CHANNEL)


@command(
    "PUBSUB|SHARDNUMSUB",
    since="7.0.0",
    arity=-2,
    summary="Get the count of subscribers for shard channels",
    complexity="O(N) for the SHARDNUMSUB subcommand, where N is the number of requested shard"
    " channels",
    args=(string("shardchannel", optional=True, multiple=True),),
    reply=_COUNTS,
    **_ASKING,
)
def pubsub_shardnumsub(ctx: Context, argv: list[bytes]) -> Reply:
    """PUBSUB SHARDNUMSUB [shardchannel ...]"""
    return _counts(ctx, argv, SHARD_CHANNEL)


@command(
    "PUBSUB|HELP",
    group="pubsub",
    since="6.2.0",
    arity=2,
    summary="Show helpful text about the different subcommands",
    complexity="O(1)",
    flags=Flag.LOADING | Flag.STALE,
    reply=ArrayReply(SimpleReply(None)),
)
def pubsub_help(ctx: Context, argv: list[bytes]) -> Reply:
    """PUBSUB HELP"""
    return help_reply(HELP)


def _names(ctx: Context, argv: list[bytes], kind: Kind) -> Reply:
    if len(argv) > 3:
        raise unknown_subcommand(argv)
    names = ctx.engine.pubsub.names(kind)
    return list(names) if len(argv) == 2 else list(filter(compile_glob(argv[2]), names))


def _counts(ctx: Context, argv: list[bytes], kind: Kind) -> Reply:
    return [item for name in argv[2:] for item in (name, ctx.engine.pubsub.count(kind, name))]


SPECS = specs_of(
    subscribe,
    unsubscribe,
    psubscribe,
    punsubscribe,
    ssubscribe,
    sunsubscribe,
    publish,
    spublish,
    PUBSUB,
    pubsub_channels,
    pubsub_numsub,
    pubsub_numpat,
    pubsub_shardchannels,
    pubsub_shardnumsub,
    pubsub_help,
)
