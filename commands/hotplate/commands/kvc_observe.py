"""KVC.STATS and KVC.EXPLAIN: how the KV cache is used, and why a block is there or not."""

from typing import TYPE_CHECKING, Any

from hotplate.commands.kvc_arguments import (
    INSTANCE_ARG,
    KEYS_ARG,
    READS_INSTANCE,
    SINCE,
    cache_of,
    parse_keys,
    parse_text,
)
from hotplate.kvc.explain import Explanation
from hotplate.kvc.model import Group, Instance, Storage
from hotplate.resp.types import Double, Map, Reply
from hotplate.spec.args import syntax_error
from hotplate.spec.model import Flag, command, oneof, specs_of, string
from hotplate.spec.reply import AnyReply, ArrayReply, MapReply

if TYPE_CHECKING:
    from hotplate.engine.context import Context


@command(
    "KVC.STATS",
    group="kvc",
    since=SINCE,
    arity=-1,
    flags=Flag.READONLY,
    summary="Figures of the KV cache, or of one instance, group or storage.",
    complexity="O(N), N being the number of instances.",
    args=(
        oneof(
            "of",
            string("instance", token="INSTANCE"),
            string("group", token="GROUP"),
            string("storage", token="STORAGE"),
            optional=True,
        ),
    ),
    reply=MapReply(AnyReply()),
)
def kvc_stats(ctx: "Context", argv: list[bytes]) -> Reply:
    """Counters count from the start of the server."""
    cache = cache_of(ctx)
    catalog = cache.catalog
    of: Instance | Group | Storage | None = None
    if len(argv) == 3:
        word = argv[1].upper()
        if word == b"INSTANCE":
            of = catalog.get_instance(argv[2])
        elif word == b"GROUP":
            of = catalog.get_group(parse_text(argv[2], "group name"))
        elif word == b"STORAGE":
            of = catalog.get_storage(parse_text(argv[2], "storage name"))
        else:
            raise syntax_error()
    elif len(argv) != 1:
        raise syntax_error()
    figures = cache.stats(of)
    if of is None:
        events = ctx.engine.kvc_events
        figures |= {"events_written": events.written, "events_dropped": events.dropped}
    return figures_reply(figures)


def figures_reply(value: Any) -> Reply:
    """Figures as the cache gives them (text keys, numbers, nested) as a reply."""
    if isinstance(value, dict):
        return Map({str(name).encode(): figures_reply(item) for name, item in value.items()})
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        return Double(value)
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, list | tuple):
        return [figures_reply(item) for item in value]
    return value


@command(
    "KVC.EXPLAIN",
    group="kvc",
    since=SINCE,
    arity=-4,
    flags=Flag.READONLY,
    summary="Says of each key whether its block is cached, and why it is not.",
    complexity="O(N + M), N being the number of keys and M the keys that are remembered of blocks "
    "that left.",
    keys=READS_INSTANCE,
    args=(INSTANCE_ARG, KEYS_ARG),
    reply=ArrayReply(MapReply(AnyReply())),
)
def kvc_explain(ctx: "Context", argv: list[bytes]) -> Reply:
    """It is no access. What left long ago is forgotten: it reads as never stored."""
    cache = cache_of(ctx)
    instance = cache.catalog.get_instance(argv[1])
    keys = parse_keys(instance, argv, 2, None)
    return [_explanation_reply(item) for item in cache.explain(instance, keys, ctx.now_ms)]


def _explanation_reply(item: Explanation) -> Map:
    return Map(
        {
            b"state": item.state.encode(),
            b"reason": item.reason.encode(),
            b"why": item.why.encode(),
            b"at": item.at_ms,
            b"masked": int(item.masked),
            b"storages": [name.encode() for name in item.storages],
            b"session": item.session,
            b"deadline": item.deadline_ms,
            b"policy": None if item.policy is None else item.policy.encode(),
        }
    )


SPECS = specs_of(kvc_stats, kvc_explain)
