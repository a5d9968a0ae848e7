"""MEMORY: what keys and the server take."""

from typing import Any, Final

from hotplate.commands.introspect import help_reply
from hotplate.engine.context import Context
from hotplate.engine.info import human_bytes, memory_bytes
from hotplate.keyspace.meter import BASE_BYTES, SAMPLES, key_bytes
from hotplate.resp.types import OK, Double, Map, Reply, Verbatim
from hotplate.spec.args import Args, syntax_error
from hotplate.spec.model import Flag, Keys, command, container, integer, key, specs_of
from hotplate.spec.reply import (
    OK_REPLY,
    AnyReply,
    ArrayReply,
    IntegerReply,
    MapReply,
    NullReply,
    SimpleReply,
    VerbatimReply,
    one_of,
)

_FACTS: Final[dict[str, Any]] = {"group": "server", "since": "4.0.0"}
_SHOWING: Final = (
    "nondeterministic_output",
    "request_policy:all_shards",
    "response_policy:special",
)
_SMALL_BYTES: Final = 5 * 1024 * 1024
HELP: Final = (
    "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DOCTOR",
    "    Return memory problems reports.",
    "MALLOC-STATS",
    "    Return internal statistics report from the memory allocator.",
    "PURGE",
    "    Attempt to purge dirty pages for reclamation by the allocator.",
    "STATS",
    "    Return information about the memory usage of the server.",
    "USAGE <key> [SAMPLES <count>]",
    "    Return memory in bytes used by <key> and its value. Nested values are",
    "    sampled up to <count> times (default: 5, 0 means sample all).",
    "HELP",
    "    Prints this help.",
)

MEMORY: Final = container(
    "MEMORY",
    summary="A container for memory diagnostics commands",
    complexity="Depends on subcommand.",
    **_FACTS,
)


@command(
    "MEMORY|USAGE",
    arity=-3,
    summary="Estimate the memory usage of a key",
    complexity="O(N) where N is the number of samples.",
    flags=Flag.READONLY,
    keys=(Keys(begin=2, flags=("RO",)),),
    args=(key(), integer("count", token="SAMPLES", optional=True)),
    reply=one_of(IntegerReply(minimum=1), NullReply()),
    **_FACTS,
)
def memory_usage(ctx: Context, argv: list[bytes]) -> Reply:
    """MEMORY USAGE key [SAMPLES count]"""
    samples = SAMPLES
    args = Args(argv, 3)
    while args:
        if args.take_word() != b"SAMPLES" or not args:
            raise syntax_error()
        samples = args.take_int()
        if samples < 0:
            raise syntax_error()
    entry = ctx.db.lookup_write(argv[2], ctx.now_ms)
    return None if entry is None else key_bytes(argv[2], entry, samples)


@command(
    "MEMORY|DOCTOR",
    arity=2,
    summary="Outputs memory problems report",
    complexity="O(1)",
    tips=_SHOWING,
    reply=VerbatimReply(),
    **_FACTS,
)
def memory_doctor(ctx: Context, argv: list[bytes]) -> Reply:
    """MEMORY DOCTOR"""
    engine = ctx.engine
    limit, used = engine.config.maxmemory, engine.memory.meter.used_bytes
    waiting = sum(client.link.output_bytes() for client in engine.client_list())
    found: list[str] = []
    if limit and used > limit:
        found.append(
            f"Keys take {human_bytes(used)}, more than maxmemory ({human_bytes(limit)}), and the"
            f" policy {engine.config.maxmemory_policy} has nothing left to evict."
        )
    if waiting > _SMALL_BYTES:
        found.append(f"Clients leave {human_bytes(waiting)} of replies and messages unread.")
    if engine.discards.pending():
        found.append("Deleted values are still being freed in the background.")
    return Verbatim("\n".join(found or ["No memory problem is known."]).encode() + b"\n")


@command(
    "MEMORY|STATS",
    arity=2,
    summary="Show memory usage details",
    complexity="O(1)",
    tips=_SHOWING,
    reply=MapReply(AnyReply()),
    **_FACTS,
)
def memory_stats(ctx: Context, argv: list[bytes]) -> Reply:
    """MEMORY STATS: of the fields of Redis those that mean something here"""
    engine = ctx.engine
    resident, own = memory_bytes()
    used = engine.memory.meter.used_bytes if engine.config.maxmemory else own
    clients = sum(c.link.query_bytes() + c.link.output_bytes() for c in engine.client_list())
    keys = sum(database.size() for database in engine.databases)
    dataset = max(used - BASE_BYTES, 0)
    return Map(
        {
            b"peak.allocated": max(own, used),
            b"total.allocated": used,
            b"startup.allocated": BASE_BYTES,
            b"replication.backlog": 0,
            b"clients.slaves": 0,
            b"clients.normal": clients,
            b"cluster.links": 0,
            b"aof.buffer": 0,
            b"overhead.total": BASE_BYTES + clients,
            b"keys.count": keys,
            b"keys.bytes-per-key": dataset // keys if keys else 0,
            b"dataset.bytes": dataset,
            b"dataset.percentage": Double(dataset / used * 100 if used else 0.0),
            b"rss-overhead.bytes": resident - own,
            b"fragmentation": Double(resident / used if used else 1.0),
            b"fragmentation.bytes": resident - used,
        }
    )


@command(
    "MEMORY|MALLOC-STATS",
    arity=2,
    summary="Show allocator internal stats",
    complexity="Depends on how much memory is allocated, could be slow",
    tips=_SHOWING,
    reply=VerbatimReply(),
    **_FACTS,
)
def memory_malloc_stats(ctx: Context, argv: list[bytes]) -> Reply:
    """MEMORY MALLOC-STATS"""
    return Verbatim(b"Stats not supported for the current allocator")


@command(
    "MEMORY|PURGE",
    arity=2,
    summary="Ask the allocator to release memory",
    complexity="Depends on how much memory is allocated, could be slow",
    tips=("request_policy:all_shards", "response_policy:all_succeeded"),
    reply=OK_REPLY,
    **_FACTS,
)
def memory_purge(ctx: Context, argv: list[bytes]) -> Reply:
    """MEMORY PURGE: Python's allocator gives back what it can by itself"""
    return OK


@command(
    "MEMORY|HELP",
    arity=2,
    summary="Show helpful text about the different subcommands",
    complexity="O(1)",
    flags=Flag.LOADING | Flag.STALE,
    reply=ArrayReply(SimpleReply(None)),
    **_FACTS,
)
def memory_help(ctx: Context, argv: list[bytes]) -> Reply:
    """MEMORY HELP"""
    return help_reply(HELP)


SPECS = specs_of(
    MEMORY,
    memory_usage,
    memory_doctor,
    memory_stats,
    memory_malloc_stats,
    memory_purge,
    memory_help,
)
