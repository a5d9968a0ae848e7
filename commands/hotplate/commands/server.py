"""INFO, TIME, SHUTDOWN, LOLWUT, ROLE and the commands of features that this server lacks."""

import logging
import math
from random import Random
from typing import Any, Final

from hotplate.engine.context import Context, Gate
from hotplate.engine.gates import NO_REPLY
from hotplate.engine.info import HOTPLATE_VERSION, info_text
from hotplate.errors import CommandError
from hotplate.resp.types import EMPTY_ARRAY, OK, Reply, Verbatim
from hotplate.spec.args import parse_int, syntax_error
from hotplate.spec.model import (
    Flag,
    block,
    command,
    integer,
    oneof,
    specs_of,
    string,
    token,
)
from hotplate.spec.reply import (
    OK_REPLY,
    AnyReply,
    ArrayReply,
    BulkReply,
    IntegerReply,
    SimpleReply,
    TupleReply,
    VerbatimReply,
)

_PLATE_COLUMNS: Final = 42
_PLATE_ROWS: Final = 15
_RINGS: Final = " .:-=+*#%@"

log = logging.getLogger("hotplate.commands")


@command(
    "INFO",
    group="server",
    since="1.0.0",
    arity=-1,
    summary="Returns information and statistics about the server.",
    complexity="O(1)",
    history=(("7.0.0", "Added support for taking multiple section arguments."),),
    flags=Flag.LOADING | Flag.STALE,
    acl_categories=("dangerous",),
    args=(string("section", optional=True, multiple=True),),
    tips=("nondeterministic_output", "request_policy:all_shards", "response_policy:special"),
    reply=VerbatimReply(),
)
def info(ctx: Context, argv: list[bytes]) -> Reply:
    """INFO [section ...]"""
    wanted = [argument.decode("utf-8", "surrogateescape") for argument in argv[1:]]
    return Verbatim(info_text(ctx.engine, wanted))


@command(
    "TIME",
    group="server",
    since="2.6.0",
    arity=1,
    summary="Returns the server time.",
    complexity="O(1)",
    flags=Flag.LOADING | Flag.STALE | Flag.FAST,
    tips=("nondeterministic_output",),
    reply=TupleReply((BulkReply(rb"\d+"), BulkReply(rb"\d{1,6}"))),
)
def time_(ctx: Context, argv: list[bytes]) -> Reply:
    """TIME: Unix seconds, and microseconds of the present second."""
    seconds, microseconds = divmod(ctx.engine.clock.now_us(), 1_000_000)
    return [b"%d" % seconds, b"%d" % microseconds]


@command(
    "SHUTDOWN",
    group="server",
    since="1.0.0",
    arity=-1,
    summary="Shuts down the server.",
    complexity="O(N) when saving, where N is the total number of keys in all databases when"
    " saving data, otherwise O(1)",
    history=(("7.0.0", "Added the `NOW`, `FORCE` and `ABORT` modifiers."),),
    flags=Flag.ADMIN | Flag.NOSCRIPT | Flag.LOADING | Flag.STALE | Flag.NO_MULTI | Flag.ALLOW_BUSY,
    args=(
        oneof("save-selector", token("NOSAVE"), token("SAVE"), optional=True),
        token("NOW", optional=True, since="7.0.0"),
        token("FORCE", optional=True, since="7.0.0"),
        token("ABORT", optional=True, since="7.0.0"),
    ),
    reply=OK_REPLY,
)
def shutdown(ctx: Context, argv: list[bytes]) -> Reply:
    """SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] | ABORT: no answer, the connection ends."""
    words = [argument.upper() for argument in argv[1:]]
    if not set(words) <= {b"NOSAVE", b"SAVE", b"NOW", b"FORCE", b"ABORT"}:
        raise syntax_error()
    if (b"ABORT" in words and len(words) > 1) or {b"NOSAVE", b"SAVE"} <= set(words):
        raise syntax_error()
    if b"ABORT" in words:
        raise CommandError("No shutdown in progress.")
    persistence = ctx.engine.persistence
    if b"NOSAVE" in words and persistence is not None:
        persistence.end_without_save()
    wants_save = b"SAVE" in words or (bool(ctx.engine.config.save) and b"NOSAVE" not in words)
    if wants_save and persistence is not None:
        try:
            persistence.save()
        except OSError as error:
            log.error("can't save at shutdown: %s", error)
            if b"FORCE" not in words:
                raise CommandError("Errors trying to SHUTDOWN. Check logs.") from error
    ctx.engine.request_shutdown()
    ctx.engine.scripts.stop()
    ctx.gates |= Gate.CLOSING
    return NO_REPLY


@command(
    "LOLWUT",
    group="server",
    since="5.0.0",
    arity=-1,
    summary="Displays computer art and the server version",
    complexity="",
    flags=Flag.READONLY | Flag.FAST,
    args=(integer("version", token="VERSION", optional=True),),
    reply=VerbatimReply(),
)
def lolwut(ctx: Context, argv: list[bytes]) -> Reply:
    """LOLWUT [VERSION version]: a plate, and what steams on it."""
    if len(argv) > 1:
        if len(argv) != 3 or argv[1].upper() != b"VERSION":
            raise syntax_error()
        parse_int(argv[2])
    picture = _draw_plate(ctx.engine.rng)
    return Verbatim(f"{picture}\n\nHotplate ver. {HOTPLATE_VERSION}\n".encode())


def _draw_plate(rng: Random) -> str:
    """Rings around a centre, warmer inside, and three wisps of steam."""
    heat = rng.uniform(2.0, 5.0)
    phase = rng.uniform(0, math.tau)
    wisps = sorted(rng.sample(range(10, _PLATE_COLUMNS - 10), 3))
    lines: list[str] = []
    for row in range(4):
        line = [" "] * _PLATE_COLUMNS
        for number, column in enumerate(wisps):
            line[column + round(math.sin(row * 1.6 + phase + number) * 1.4)] = (
                "(" if row % 2 else ")"
            )
        lines.append("".join(line).rstrip())
    for row in range(_PLATE_ROWS):
        y = (row - _PLATE_ROWS // 2) / (_PLATE_ROWS / 2)
        line = []
        for column in range(_PLATE_COLUMNS):
            distance = math.hypot((column - _PLATE_COLUMNS / 2) / (_PLATE_COLUMNS / 2), y)
            glow = (1 - distance) * (0.7 + 0.3 * math.cos(distance * heat * math.tau + phase))
            level = 1 + int(glow * (len(_RINGS) - 1)) if distance <= 1 else 0
            line.append(_RINGS[min(level, len(_RINGS) - 1)])
        lines.append("".join(line).rstrip())
    return "\n".join(lines)


@command(
    "ROLE",
    group="server",
    since="2.8.12",
    arity=1,
    summary="Returns the replication role.",
    complexity="O(1)",
    flags=Flag.NOSCRIPT | Flag.LOADING | Flag.STALE | Flag.FAST,
    acl_categories=("admin", "dangerous"),
    reply=TupleReply((BulkReply(b"master"), IntegerReply(), ArrayReply(AnyReply()))),
)
def role(ctx: Context, argv: list[bytes]) -> Reply:
    """ROLE: a master without replicas."""
    return [b"master", 0, EMPTY_ARRAY]


_REPLICATION: Final[dict[str, Any]] = {
    "group": "server",
    "flags": Flag.ADMIN | Flag.NOSCRIPT | Flag.STALE | Flag.NO_ASYNC_LOADING,
}
_MASTER_OF: Final = (
    oneof(
        "args",
        block("host-port", string("host"), integer("port")),
        block("no-one", token("NO"), token("ONE")),
    ),
)


def _replication_missing(name: str) -> CommandError:
    return CommandError(f"{name} needs replication, which this version does not have")


@command(
    "REPLICAOF",
    since="5.0.0",
    arity=3,
    summary="Configures a server as replica of another, or promotes it to a master.",
    complexity="O(1)",
    args=_MASTER_OF,
    reply=OK_REPLY,
    **_REPLICATION,
)
@command(
    "SLAVEOF",
    since="1.0.0",
    arity=3,
    summary="Sets a server as a replica of another, or promotes it to being a master.",
    complexity="O(1)",
    deprecated_since="5.0.0",
    replaced_by="`REPLICAOF`",
    args=_MASTER_OF,
    reply=OK_REPLY,
    **_REPLICATION,
)
def replicaof(ctx: Context, argv: list[bytes]) -> Reply:
    """REPLICAOF NO ONE: it is a master already."""
    if argv[1].upper() == b"NO" and argv[2].upper() == b"ONE":
        return OK
    raise _replication_missing(argv[0].decode("ascii", "replace").upper())


@command(
    "PSYNC",
    group="server",
    since="2.8.0",
    arity=-3,
    summary="An internal command used in replication.",
    complexity="",
    flags=Flag.ADMIN | Flag.NOSCRIPT | Flag.NO_ASYNC_LOADING | Flag.NO_MULTI,
    args=(
        string("replicationid"),
        integer("offset"),
    ),
    reply=SimpleReply(None),
)
@command(
    "SYNC",
    group="server",
    since="1.0.0",
    arity=1,
    summary="An internal command used in replication.",
    complexity="",
    flags=Flag.ADMIN | Flag.NOSCRIPT | Flag.NO_ASYNC_LOADING | Flag.NO_MULTI,
    reply=SimpleReply(None),
)
def sync(ctx: Context, argv: list[bytes]) -> Reply:
    """SYNC and PSYNC: refused."""
    raise _replication_missing(argv[0].decode("ascii", "replace").upper())


@command(
    "CLUSTER",
    group="cluster",
    since="3.0.0",
    arity=-2,
    summary="A container for Redis Cluster commands.",
    complexity="Depends on subcommand.",
    args=(string("subcommand"), string("arg", optional=True, multiple=True)),
    reply=AnyReply(),
)
def cluster(ctx: Context, argv: list[bytes]) -> Reply:
    """CLUSTER: there is none."""
    raise CommandError("This instance has cluster support disabled")


SPECS = specs_of(info, time_, shutdown, lolwut, role, replicaof, sync, cluster)
