"""MULTI, EXEC, DISCARD, WATCH, UNWATCH."""

from typing import Any, Final

from hotplate.engine.context import Context, Deferred, Gate
from hotplate.engine.gates import call
from hotplate.errors import CommandError, ExecAbortError
from hotplate.resp.types import NULL_ARRAY, OK, Raw, Reply
from hotplate.spec.model import Flag, Keys, command, key, specs_of
from hotplate.spec.reply import OK_REPLY, AnyReply, ArrayReply, NullReply, one_of

_ALWAYS: Final = Flag.NOSCRIPT | Flag.LOADING | Flag.STALE | Flag.FAST | Flag.ALLOW_BUSY


@command(
    "MULTI",
    group="transactions",
    since="1.2.0",
    arity=1,
    summary="Starts a transaction.",
    complexity="O(1)",
    flags=_ALWAYS,
    acl_categories=("transaction",),
    reply=OK_REPLY,
)
def multi(ctx: Context, argv: list[bytes]) -> Reply:
    """MULTI"""
    if ctx.queue is not None:
        raise CommandError("MULTI calls can not be nested")
    ctx.queue = []
    ctx.tainted = False
    ctx.gates |= Gate.TRANSACTION
    return OK


@command(
    "EXEC",
    group="transactions",
    since="1.2.0",
    arity=1,
    summary="Executes all commands in a transaction.",
    complexity="Depends on commands in the transaction",
    flags=Flag.NOSCRIPT | Flag.LOADING | Flag.STALE | Flag.SKIP_SLOWLOG,
    acl_categories=("transaction",),
    reply=one_of(ArrayReply(AnyReply()), NullReply()),
)
def exec_(ctx: Context, argv: list[bytes]) -> Reply:
    """EXEC: all of it at one time; an error of one command does not stop the others."""
    queue = ctx.queue
    if queue is None:
        raise CommandError("EXEC without MULTI")
    tainted = ctx.tainted
    broken = not tainted and ctx.engine.watches.broken(ctx)
    ctx.end_transaction()
    if tainted:
        raise ExecAbortError("Transaction discarded because of previous errors.")
    if broken:
        return NULL_ARRAY
    ctx.deny_blocking = True
    try:
        return [_run(ctx, queued, queued_argv) for queued, queued_argv in queue]
    finally:
        ctx.deny_blocking = False


def _run(ctx: Context, queued: Any, argv: list[bytes]) -> Reply:
    clock = ctx.engine.clock.monotonic_ns
    started_ns = clock()
    try:
        reply = call(ctx, queued, argv)
        assert type(reply) is not Deferred, f"{queued.spec.name} needs the flag NO_MULTI"
    except CommandError as error:
        queued.failed += 1
        ctx.engine.stats.count_error(error.code)
        reply = Raw(error.frame)
    spent_ns = clock() - started_ns
    queued.calls += 1
    queued.time_ns += spent_ns
    if spent_ns >= ctx.engine.slow_ns:
        ctx.engine.slowlog.note(ctx, queued, [argv], spent_ns)
    return reply


@command(
    "DISCARD",
    group="transactions",
    since="2.0.0",
    arity=1,
    summary="Discards a transaction.",
    complexity="O(N), when N is the number of queued commands",
    flags=_ALWAYS,
    acl_categories=("transaction",),
    reply=OK_REPLY,
)
def discard(ctx: Context, argv: list[bytes]) -> Reply:
    """DISCARD"""
    if ctx.queue is None:
        raise CommandError("DISCARD without MULTI")
    ctx.end_transaction()
    return OK


@command(
    "WATCH",
    group="transactions",
    since="2.2.0",
    arity=-2,
    summary="Monitors changes to keys to determine the execution of a transaction.",
    complexity="O(1) for every key.",
    flags=_ALWAYS,
    keys=(Keys(begin=1, last=-1, step=1, flags=("RO",)),),
    args=(key(multiple=True),),
    acl_categories=("transaction",),
    reply=OK_REPLY,
)
def watch(ctx: Context, argv: list[bytes]) -> Reply:
    """WATCH key [key ...]"""
    if ctx.queue is not None:
        raise CommandError("WATCH inside MULTI is not allowed")
    for watched in argv[1:]:
        # a key whose time has come is gone before it is watched
        ctx.db.lookup_write(watched, ctx.now_ms)
        ctx.engine.watches.watch(ctx, watched)
    return OK


@command(
    "UNWATCH",
    group="transactions",
    since="2.2.0",
    arity=1,
    summary="Forgets about watched keys of a transaction.",
    complexity="O(1)",
    flags=_ALWAYS,
    acl_categories=("transaction",),
    reply=OK_REPLY,
)
def unwatch(ctx: Context, argv: list[bytes]) -> Reply:
    """UNWATCH"""
    ctx.engine.watches.forget(ctx)
    return OK


SPECS = specs_of(multi, exec_, discard, watch, unwatch)
