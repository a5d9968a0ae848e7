"""KVC.RECLAIM and KVC.RETAIN: what goes now, and what is to stay longer.

Parsing and wording only: which blocks go first is the group's policy.
"""

from typing import TYPE_CHECKING, Any, Final

from hotplate.commands.kvc_arguments import (
    INSTANCE_ARG,
    KEY_WORDS,
    KEYS_ARG,
    SINCE,
    WRITES_INSTANCE,
    argument,
    cache_of,
    parse_keys,
    parse_priority,
    parse_ttl_ms,
    take_size,
    take_text,
)
from hotplate.errors import CommandError
from hotplate.resp.types import Map, Reply
from hotplate.spec.args import Args, syntax_error
from hotplate.spec.model import Flag, command, integer, specs_of, string, token
from hotplate.spec.reply import AnyReply, IntegerReply, MapReply, TupleReply

if TYPE_CHECKING:
    from hotplate.engine.context import Context

KEYS_SHOWN_MAX: Final = 1000  # of a dry run


@command(
    "KVC.RECLAIM",
    group="kvc",
    since=SINCE,
    arity=-2,
    flags=Flag.WRITE | Flag.ADMIN,
    summary="Evicts blocks of a group now, or shows which would be evicted.",
    complexity="O(N), N being the evicted blocks, at most 1024; with DRYRUN also O(L), L being the"
    " blocks of the group without children.",
    args=(
        string("group"),
        integer("bytes", token="BYTES", optional=True),
        token("DRYRUN", optional=True),
    ),
    reply=MapReply(AnyReply()),
)
def kvc_reclaim(ctx: "Context", argv: list[bytes]) -> Reply:
    """Without BYTES down to the low watermarks. At most 1024 blocks a call: call again for more."""
    cache = cache_of(ctx)
    args = Args(argv, 1)
    group = cache.catalog.get_group(take_text(args, "group name"))
    size_bytes: int | None = None
    dry_run = False
    while args:
        word = args.take_word()
        if word == b"BYTES" and size_bytes is None:
            size_bytes = take_size(args, "BYTES", 1)
        elif word == b"DRYRUN" and not dry_run:
            dry_run = True
        else:
            raise syntax_error()
    answer = cache.reclaim(group, size_bytes, ctx.now_ms, dry_run=dry_run)
    by_storage: dict[bytes, Reply] = {}
    for number, freed in sorted(answer.by_storage.items()):
        storage = cache.catalog.storage_by_number[number]
        if storage is not None:
            by_storage[storage.name.encode()] = freed
    reply = Map({b"victims": answer.victims, b"bytes": Map(by_storage)})
    if answer.keys is not None:
        reply[b"keys"] = list(answer.keys[:KEYS_SHOWN_MAX])
    return reply


@command(
    "KVC.RETAIN",
    group="kvc",
    since=SINCE,
    arity=-8,
    flags=Flag.WRITE,
    summary="Gives blocks a priority that fades, within the group's RETAIN fraction.",
    complexity="O(N), N being the number of keys.",
    keys=WRITES_INSTANCE,
    args=(
        INSTANCE_ARG,
        integer("priority", token="PRIORITY"),
        integer("ttl-seconds", token="TTL"),
        KEYS_ARG,
    ),
    reply=TupleReply((IntegerReply(0), IntegerReply(0))),
)
def kvc_retain(ctx: "Context", argv: list[Any]) -> Reply:
    """How many stored blocks were accepted, and how many had no room within the fraction."""
    cache = cache_of(ctx)
    instance = cache.catalog.get_instance(argv[1])
    priority = ttl_ms = None
    at = 2
    while (word := argument(argv, at).upper()) not in KEY_WORDS:
        value = argument(argv, at + 1)
        if word == b"PRIORITY" and priority is None:
            priority = parse_priority(value)
        elif word == b"TTL" and ttl_ms is None:
            ttl_ms = parse_ttl_ms(value)
        else:
            raise syntax_error()
        at += 2
    if priority is None or ttl_ms is None:
        raise CommandError("RETAIN needs PRIORITY and TTL")
    keys = parse_keys(instance, argv, at, None)
    accepted, clipped = cache.retain(
        instance, keys, priority=priority, ttl_ms=ttl_ms, now_ms=ctx.now_ms
    )
    return [accepted, clipped]


SPECS = specs_of(kvc_reclaim, kvc_retain)
