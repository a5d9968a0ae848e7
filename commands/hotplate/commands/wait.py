"""WAIT and WAITAOF: nobody replicates this server and no file keeps its writes, and they say so.

Neither waits: what they would wait for can not come.
"""

from typing import Final

from hotplate.engine.context import Context
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
    parse_int(argv[1])
    parse_timeout_ms(argv[2])
    return 0


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
    """WAITAOF numlocal numreplicas timeout: neither a file here nor one elsewhere has them"""
    local = parse_int(argv[1])
    if not 0 <= local <= 1:
        raise CommandError("value is out of range, value must between 0 and 1")
    if parse_int(argv[2], _NOT_POSITIVE) < 0:
        raise CommandError(_NOT_POSITIVE)
    parse_timeout_ms(argv[3])
    if local:
        raise CommandError(
            "WAITAOF cannot be used when numlocal is set but appendonly is disabled."
        )
    return [0, 0]


SPECS = specs_of(wait, waitaof)
