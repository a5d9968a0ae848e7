"""BGSAVE, SAVE, BGREWRITEAOF and LASTSAVE: snapshots and the log, asked for by a client."""

import logging

from hotplate.engine.context import Context
from hotplate.engine.persistence import Persistence
from hotplate.errors import CommandError
from hotplate.resp.types import OK, Reply, Simple
from hotplate.spec.args import syntax_error
from hotplate.spec.model import Flag, command, specs_of, token
from hotplate.spec.reply import OK_REPLY, IntegerReply, SimpleReply

log = logging.getLogger("hotplate.commands")


def persistence_of(ctx: Context) -> Persistence:
    """What the server has; an engine alone keeps nothing."""
    found = ctx.engine.persistence
    if found is None:
        raise CommandError("this server keeps nothing")
    return found


@command(
    "SAVE",
    group="server",
    since="1.0.0",
    arity=1,
    summary="Synchronously saves the database(s) to disk.",
    complexity="O(N) where N is the total number of keys in all databases",
    flags=Flag.ADMIN | Flag.NOSCRIPT | Flag.NO_ASYNC_LOADING | Flag.NO_MULTI,
    reply=OK_REPLY,
)
def save(ctx: Context, argv: list[bytes]) -> Reply:
    """SAVE: nobody is served meanwhile."""
    persistence = persistence_of(ctx)
    if persistence.is_saving:
        raise CommandError("Background save already in progress")
    if persistence.is_rewriting:
        raise CommandError("the log is being rewritten: save when that is done")
    try:
        persistence.save()
    except OSError as error:
        raise CommandError(f"the snapshot can't be saved: {error.strerror or error}") from error
    return OK


@command(
    "BGSAVE",
    group="server",
    since="1.0.0",
    arity=-1,
    summary="Asynchronously saves the database(s) to disk.",
    complexity="O(1)",
    flags=Flag.ADMIN | Flag.NOSCRIPT | Flag.NO_ASYNC_LOADING,
    args=(token("SCHEDULE", optional=True, since="3.2.2"),),
    reply=SimpleReply(None),
    history=(("3.2.2", "Added the `SCHEDULE` option."),),
)
def bgsave(ctx: Context, argv: list[bytes]) -> Reply:
    """BGSAVE [SCHEDULE]"""
    is_scheduled = len(argv) == 2 and argv[1].upper() == b"SCHEDULE"
    if len(argv) > 1 and not is_scheduled:
        raise syntax_error()
    persistence = persistence_of(ctx)
    if persistence.is_saving:
        raise CommandError("Background save already in progress")
    if persistence.is_rewriting or ctx.deny_blocking:  # a transaction is to change first
        if not is_scheduled and not ctx.deny_blocking:
            raise CommandError(
                "Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE"
                " SCHEDULE in order to schedule a BGSAVE whenever possible."
            )
        persistence.schedule_save()
        return Simple(b"Background saving scheduled")
    try:
        persistence.start_save()
    except OSError as error:
        raise CommandError(f"the snapshot can't be saved: {error.strerror or error}") from error
    return Simple(b"Background saving started")


@command(
    "BGREWRITEAOF",
    group="server",
    since="1.0.0",
    arity=1,
    summary="Asynchronously rewrites the append-only file to disk.",
    complexity="O(1)",
    flags=Flag.ADMIN | Flag.NOSCRIPT | Flag.NO_ASYNC_LOADING,
    reply=SimpleReply(None),
)
def bgrewriteaof(ctx: Context, argv: list[bytes]) -> Reply:
    """BGREWRITEAOF"""
    persistence = persistence_of(ctx)
    if not persistence.has_log:
        raise CommandError("there is no append-only file to rewrite: appendonly is no")
    if persistence.is_rewriting:
        raise CommandError("Background append only file rewriting already in progress")
    if persistence.is_saving or ctx.deny_blocking:
        persistence.schedule_rewrite()
        return Simple(b"Background append only file rewriting scheduled")
    persistence.start_rewrite()
    return Simple(b"Background append only file rewriting started")


@command(
    "LASTSAVE",
    group="server",
    since="1.0.0",
    arity=1,
    summary="Returns the Unix timestamp of the last successful save to disk.",
    complexity="O(1)",
    flags=Flag.LOADING | Flag.STALE | Flag.FAST,
    reply=IntegerReply(0),
    acl_categories=("admin", "dangerous"),
    tips=("nondeterministic_output",),
)
def lastsave(ctx: Context, argv: list[bytes]) -> Reply:
    """LASTSAVE: Unix seconds"""
    return persistence_of(ctx).last_save_s


SPECS = specs_of(save, bgsave, bgrewriteaof, lastsave)
