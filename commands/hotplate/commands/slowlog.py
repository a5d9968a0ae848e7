"""SLOWLOG: the commands that took long."""

from typing import Any, Final

from hotplate.commands.introspect import help_reply
from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.resp.types import OK, Reply
from hotplate.spec.args import read_int
from hotplate.spec.model import Flag, command, container, integer, specs_of
from hotplate.spec.reply import (
    OK_REPLY,
    ArrayReply,
    BulkReply,
    IntegerReply,
    SimpleReply,
    TupleReply,
)

_ADMIN: Final[dict[str, Any]] = {
    "group": "server",
    "since": "2.2.12",
    "flags": Flag.ADMIN | Flag.LOADING | Flag.STALE,
}
_ENTRIES_SHOWN: Final = 10
HELP: Final = (
    "SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET [<count>]",
    "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
    "    Entries are made of:",
    "    id, timestamp, time in microseconds, arguments array, client IP and port,",
    "    client name",
    "LEN",
    "    Return the length of the slowlog.",
    "RESET",
    "    Reset the slowlog.",
    "HELP",
    "    Prints this help.",
)

SLOWLOG: Final = container(
    "SLOWLOG",
    group="server",
    since="2.2.12",
    summary="A container for slow log commands",
    complexity="Depends on subcommand.",
)


@command(
    "SLOWLOG|GET",
    arity=-2,
    summary="Get the slow log's entries",
    complexity="O(N) where N is the number of entries returned",
    args=(integer("count", optional=True),),
    tips=("request_policy:all_nodes", "nondeterministic_output"),
    history=(("4.0.0", "Added client IP address, port and name to the reply."),),
    reply=ArrayReply(
        TupleReply(
            (
                IntegerReply(minimum=0),
                IntegerReply(),
                IntegerReply(minimum=0),
                ArrayReply(BulkReply()),
                BulkReply(),
                BulkReply(),
            )
        )
    ),
    **_ADMIN,
)
def slowlog_get(ctx: Context, argv: list[bytes]) -> Reply:
    """SLOWLOG GET [count]: the newest first"""
    count: int | None = _ENTRIES_SHOWN
    if len(argv) > 2:
        count = read_int(argv[2])
        if len(argv) > 3 or count is None or count < -1:
            raise CommandError("count should be greater than or equal to -1")
    assert count is not None
    return [list(entry) for entry in ctx.engine.slowlog.entries(count)]


@command(
    "SLOWLOG|LEN",
    arity=2,
    summary="Get the slow log's length",
    complexity="O(1)",
    tips=("request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"),
    reply=IntegerReply(minimum=0),
    **_ADMIN,
)
def slowlog_len(ctx: Context, argv: list[bytes]) -> Reply:
    """SLOWLOG LEN"""
    return len(ctx.engine.slowlog)


@command(
    "SLOWLOG|RESET",
    arity=2,
    summary="Clear all entries from the slow log",
    complexity="O(N) where N is the number of entries in the slowlog",
    tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
    reply=OK_REPLY,
    **_ADMIN,
)
def slowlog_reset(ctx: Context, argv: list[bytes]) -> Reply:
    """SLOWLOG RESET"""
    ctx.engine.slowlog.clear()
    return OK


@command(
    "SLOWLOG|HELP",
    group="server",
    since="6.2.0",
    arity=2,
    summary="Show helpful text about the different subcommands",
    complexity="O(1)",
    flags=Flag.LOADING | Flag.STALE,
    reply=ArrayReply(SimpleReply(None)),
)
def slowlog_help(ctx: Context, argv: list[bytes]) -> Reply:
    """SLOWLOG HELP"""
    return help_reply(HELP)


SPECS = specs_of(SLOWLOG, slowlog_get, slowlog_len, slowlog_reset, slowlog_help)
