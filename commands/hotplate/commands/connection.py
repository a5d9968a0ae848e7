"""HELLO, AUTH, PING, ECHO, QUIT, RESET, SELECT: what a connection says about itself."""

import hmac
from collections.abc import Callable
from typing import Any, Final

from hotplate.commands.generic import parse_database
from hotplate.commands.list_runs import count_equal
from hotplate.engine.context import Context, Gate
from hotplate.engine.info import REDIS_VERSION
from hotplate.errors import CommandError, NoAuthError, NoProtoError, WrongPassError
from hotplate.resp.types import EMPTY_ARRAY, OK, PONG, Map, Reply, Simple
from hotplate.spec.args import parse_int, syntax_error, wrong_arity
from hotplate.spec.model import Flag, block, command, integer, specs_of, string
from hotplate.spec.reply import (
    OK_REPLY,
    AnyReply,
    ArrayReply,
    BulkReply,
    MapReply,
    SimpleReply,
    one_of,
)

_ALWAYS: Final = (
    Flag.NOSCRIPT | Flag.LOADING | Flag.STALE | Flag.FAST | Flag.NO_AUTH | Flag.ALLOW_BUSY
)
_CATEGORIES: Final = ("connection",)
_DEFAULT_USER: Final = b"default"
_NO_PASSWORD: Final = (
    "AUTH <password> called without any password configured for the default user."
    " Are you sure your configuration is correct?"
)
_HELLO_NOAUTH: Final = (
    "HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH"
    " <user> <pass> option can be used to authenticate the client and select the RESP protocol"
    " version at the same time"
)


def check_printable(text: bytes, what: str) -> None:
    """Refuse names that would break the lines of CLIENT LIST."""
    if any(not 0x21 <= byte <= 0x7E for byte in text):
        raise CommandError(f"{what} cannot contain spaces, newlines or special characters.")


def _check_password(ctx: Context, user: bytes, password: bytes) -> None:
    """WrongPassError unless they fit. Takes as long for a wrong password as for the right one."""
    expected = ctx.engine.config.requirepass.encode("utf-8", "surrogateescape")
    right = hmac.compare_digest(password, expected)
    if user != _DEFAULT_USER or (expected and not right):
        ctx.engine.stats.auth_failures += 1
        raise WrongPassError("invalid username-password pair or user is disabled.")


def _let_in(ctx: Context) -> None:
    ctx.user = _DEFAULT_USER
    ctx.gates &= ~Gate.UNAUTHENTICATED


@command(
    "HELLO",
    group="connection",
    since="6.0.0",
    arity=-1,
    summary="Handshakes with the server.",
    complexity="O(1)",
    history=(
        (
            "6.2.0",
            "`protover` made optional; when called without arguments the command reports the"
            " current connection's context.",
        ),
    ),
    flags=_ALWAYS,
    acl_categories=_CATEGORIES,
    args=(
        block(
            "arguments",
            integer("protover"),
            block(
                "username_password",
                string("username"),
                string("password"),
                token="AUTH",
                optional=True,
            ),
            string("clientname", token="SETNAME", optional=True),
            optional=True,
        ),
    ),
    reply=MapReply(AnyReply()),
)
def hello(ctx: Context, argv: list[bytes]) -> Reply:
    """HELLO [protover [AUTH username password] [SETNAME clientname]]"""
    protocol = ctx.resp
    if len(argv) > 1:
        protocol = parse_int(argv[1], "Protocol version is not an integer or out of range")
        if protocol not in (2, 3):
            raise NoProtoError("unsupported protocol version")
    credentials: tuple[bytes, bytes] | None = None
    name: bytes | None = None
    at = 2
    while at < len(argv):
        word, left = argv[at].upper(), len(argv) - at - 1
        if word == b"AUTH" and left >= 2:
            credentials = argv[at + 1], argv[at + 2]
            at += 3
        elif word == b"SETNAME" and left >= 1:
            name = argv[at + 1]
            check_printable(name, "Client names")
            at += 2
        else:
            raise CommandError(b"Syntax error in HELLO option '%b'" % argv[at])
    if credentials is not None:
        _check_password(ctx, *credentials)
        _let_in(ctx)
    elif ctx.gates & Gate.UNAUTHENTICATED:
        raise NoAuthError(_HELLO_NOAUTH)
    if name is not None:
        ctx.name = name
    ctx.resp = protocol
    return Map(
        {
            b"server": b"redis",
            b"version": REDIS_VERSION.encode(),
            b"proto": protocol,
            b"id": ctx.client_id,
            b"mode": b"standalone",
            b"role": b"master",
            b"modules": EMPTY_ARRAY,
        }
    )


@command(
    "AUTH",
    group="connection",
    since="1.0.0",
    arity=-2,
    summary="Authenticates the connection.",
    complexity="O(N) where N is the number of passwords defined for the user",
    history=(("6.0.0", "Added ACL style (username and password)."),),
    flags=_ALWAYS,
    acl_categories=_CATEGORIES,
    args=(string("username", optional=True, since="6.0.0"), string("password")),
    reply=OK_REPLY,
)
def auth(ctx: Context, argv: list[bytes]) -> Reply:
    """AUTH [username] password"""
    if len(argv) > 3:
        raise syntax_error()
    if len(argv) == 2 and not ctx.engine.config.requirepass:
        raise CommandError(_NO_PASSWORD)
    user = argv[1] if len(argv) == 3 else _DEFAULT_USER
    _check_password(ctx, user, argv[-1])
    _let_in(ctx)
    return OK


def ping_run(ctx: Context, requests: list[Any], start: int, append: Callable[[Any], object]) -> int:
    """PING without a message, over and over (see string_runs.py)."""
    if len(requests[start]) != 1:
        return start
    count = count_equal(requests, start)
    append(PONG * count)
    return start + count


@command(
    "PING",
    group="connection",
    since="1.0.0",
    arity=-1,
    summary="Returns the server's liveliness response.",
    complexity="O(1)",
    flags=Flag.FAST,
    acl_categories=_CATEGORIES,
    run=ping_run,
    args=(string("message", optional=True),),
    tips=("request_policy:all_shards", "response_policy:all_succeeded"),
    reply=one_of(SimpleReply("PONG"), BulkReply(), ArrayReply(BulkReply())),
)
def ping(ctx: Context, argv: list[bytes]) -> Reply:
    """PING [message]: as a message, where the client could not tell a reply from one."""
    if len(argv) == 1 and not ctx.gates:
        return PONG
    if len(argv) > 2:
        raise wrong_arity(b"ping")
    if ctx.gates & Gate.SUBSCRIBED and ctx.resp == 2:
        return [b"pong", *(argv[1:] or [b""])]
    return PONG if len(argv) == 1 else argv[1]


@command(
    "ECHO",
    group="connection",
    since="1.0.0",
    arity=2,
    summary="Returns the given string.",
    complexity="O(1)",
    flags=Flag.LOADING | Flag.STALE | Flag.FAST,
    acl_categories=_CATEGORIES,
    args=(string("message"),),
    reply=BulkReply(),
)
def echo(ctx: Context, argv: list[bytes]) -> Reply:
    """ECHO message"""
    return argv[1]


@command(
    "QUIT",
    group="connection",
    since="1.0.0",
    arity=-1,
    summary="Closes the connection.",
    complexity="O(1)",
    flags=_ALWAYS,
    acl_categories=_CATEGORIES,
    reply=OK_REPLY,
)
def quit_(ctx: Context, argv: list[bytes]) -> Reply:
    """QUIT: answered before the connection closes."""
    ctx.gates |= Gate.CLOSING
    return OK


@command(
    "RESET",
    group="connection",
    since="6.2.0",
    arity=1,
    summary="Resets the connection.",
    complexity="O(1)",
    flags=_ALWAYS,
    acl_categories=_CATEGORIES,
    reply=SimpleReply("RESET"),
)
def reset(ctx: Context, argv: list[bytes]) -> Reply:
    """RESET: as the connection was when it was new, but for the library's name."""
    ctx.end_transaction()
    engine = ctx.engine
    engine.pubsub.forget(ctx)
    engine.tracking.end(ctx)
    ctx.db = engine.databases[0]
    ctx.resp = 2
    ctx.user = _DEFAULT_USER
    ctx.name = b""
    ctx.no_evict = ctx.no_touch = False
    ctx.gates &= ~(Gate.REPLY_OFF | Gate.REPLY_SKIP)
    engine.set_gate(ctx, Gate.UNAUTHENTICATED, bool(engine.config.requirepass))
    return Simple(b"RESET")


@command(
    "SELECT",
    group="connection",
    since="1.0.0",
    arity=2,
    summary="Changes the selected database.",
    complexity="O(1)",
    flags=Flag.LOADING | Flag.STALE | Flag.FAST,
    acl_categories=_CATEGORIES,
    args=(integer("index"),),
    reply=OK_REPLY,
)
def select(ctx: Context, argv: list[bytes]) -> Reply:
    """SELECT index"""
    ctx.db = parse_database(ctx, argv[1])
    return OK


SPECS = specs_of(hello, auth, ping, echo, quit_, reset, select)
