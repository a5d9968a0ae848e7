"""WAIT and WAITAOF: what is on disk; nobody replicates this server, and they say so.

Who asks for more than there is waits until the timeout, as in Redis: it may stand for "or give up".
"""

from typing import Final

from hotplate.engine.blocking import LOG_PLACE
from hotplate.engine.context import Context
from hotplate.engine.persistence import Persistence
from hotplate.errors import CommandError
from hotplate.resp.types import Reply
from hotplate.spec.args import parse_int, parse_timeout_ms
from hotplate.spec.model import Flag, command, integer, specs_of
from hotplate.spec.reply import IntegerReply, TupleReply

_NOT_POSITIVE: Final = "value is out of range, must be positive"


@command(
    "WAIT",
    group="generic",
    since="3.0.0",
    arity=3,
    summary="Wait for the synchronous replication of all the write commands sent in the context"
    " of the current connection",
    complexity="O(1)",
    flags=Flag.NOSCRIPT,
    args=(integer("numreplicas"), integer("timeout")),
    reply=IntegerReply(minimum=0),
    acl_categories=("connection",),
    tips=("request_policy:all_shards", "response_policy:agg_min"),
)
def wait(ctx: Context, argv: list[bytes]) -> Reply:
    """WAIT numreplicas timeout: 0 replicas have the writes"""
    replicas, timeout_ms = parse_int(argv[1]), parse_timeout_ms(argv[2])
    return _give_up_after(ctx, timeout_ms, 0) if replicas > 0 else 0


@command(
    "WAITAOF",
    group="generic",
    since="7.2.0",
    arity=4,
    summary="Blocks until all of the preceding write commands sent by the connection are written"
    " to the append-only file of the primary and/or replicas.",
    complexity="O(1)",
    flags=Flag.BLOCKING,
    args=(integer("numlocal"), integer("numreplicas"), integer("timeout")),
    reply=TupleReply((IntegerReply(minimum=0), IntegerReply(minimum=0))),
    acl_categories=("connection",),
    tips=("request_policy:all_shards", "response_policy:agg_min"),
)
def waitaof(ctx: Context, argv: list[bytes]) -> Reply:
    """WAITAOF numlocal numreplicas timeout: whether the log has them on disk; no replica has"""
    local = parse_int(argv[1])
    if not 0 <= local <= 1:
        raise CommandError("value is out of range, value must between 0 and 1")
    replicas = parse_int(argv[2], _NOT_POSITIVE)
    if replicas < 0:
        raise CommandError(_NOT_POSITIVE)
    timeout_ms = parse_timeout_ms(argv[3])
    persistence = ctx.engine.persistence
    if persistence is not None and persistence.has_log:
        return _wait_for_disk(ctx, persistence, (local, replicas), timeout_ms)
    if local:
        raise CommandError(
            "WAITAOF cannot be used when numlocal is set but appendonly is disabled."
        )
    return _give_up_after(ctx, timeout_ms, [0, 0]) if replicas else [0, 0]


def _wait_for_disk(
    ctx: Context, persistence: Persistence, wanted: tuple[int, int], timeout_ms: int
) -> Reply:
    local, replicas = wanted
    position = persistence.logged
    answer = [0, 0]  # a timeout's, kept up to date

    def look(ctx: Context, key: bytes) -> Reply:
        answer[0] = int(persistence.synced >= position)
        return None if replicas or answer[0] < local else answer

    found = look(ctx, b"")
    if found is not None:
        return found
    return ctx.engine.blocking.wait(
        *(ctx, (), look), timeout_ms=timeout_ms, nothing=answer, share=look, place=LOG_PLACE
    )


def _give_up_after(ctx: Context, timeout_ms: int, reply: Reply) -> Reply:
    """Wait for what can't come here; 0: until the client goes or is unblocked."""
    return ctx.engine.blocking.wait(
        ctx, (), _nothing, timeout_ms=timeout_ms, nothing=reply, share=None
    )


def _nothing(ctx: Context, key: bytes) -> Reply:
    raise AssertionError("no key wakes a client that waits for replicas")


SPECS = specs_of(wait, waitaof)
