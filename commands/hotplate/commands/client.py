"""CLIENT: who is connected, by what name, and how to be rid of them."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from hotplate.commands.connection import check_printable
from hotplate.commands.introspect import help_reply
from hotplate.engine.context import Context, Gate
from hotplate.engine.gates import NO_REPLY
from hotplate.engine.pubsub import counts
from hotplate.errors import CommandError
from hotplate.resp.types import OK, ONE, ZERO, Reply, Verbatim
from hotplate.spec.args import Args, parse_int, read_int, syntax_error
from hotplate.spec.model import (
    Flag,
    command,
    container,
    integer,
    oneof,
    specs_of,
    string,
    token,
)
from hotplate.spec.reply import (
    OK_REPLY,
    ArrayReply,
    BulkReply,
    IntegerReply,
    NullReply,
    SimpleReply,
    VerbatimReply,
    one_of,
)

_OPEN: Final[dict[str, Any]] = {
    "group": "connection",
    "flags": Flag.NOSCRIPT | Flag.LOADING | Flag.STALE,
    "acl_categories": ("connection",),
}
_ADMIN: Final[dict[str, Any]] = _OPEN | {"flags": _OPEN["flags"] | Flag.ADMIN}
_CLIENT_TYPES: Final = (b"normal", b"master", b"replica", b"slave", b"pubsub")

HELP: Final = (
    "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CACHING (YES|NO)",
    "    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT modes.",
    "GETREDIR",
    "    Return the client ID we are redirecting to when tracking is enabled.",
    "GETNAME",
    "    Return the name of the current connection.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "KILL <ip:port>",
    "    Kill connection made from <ip:port>.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Kill connections. Options are:",
    "    * ADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made from the specified address",
    "    * LADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made to specified local address",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Kill connections by type.",
    "    * USER <username>",
    "      Kill connections authenticated by <username>.",
    "    * SKIPME (YES|NO)",
    "      Skip killing current connection (default: yes).",
    "    * ID <client-id>",
    "      Kill connections by client id.",
    "    * MAXAGE <maxage>",
    "      Kill connections older than the specified age in seconds.",
    "LIST [options ...]",
    "    Return information about client connections. Options:",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Return clients of specified type.",
    "    * ID <client-id> [<client-id> [...]]",
    "      Return clients of specified IDs only.",
    "NO-EVICT (ON|OFF)",
    "    Protect current client connection from eviction.",
    "NO-TOUCH (ON|OFF)",
    "    Will not touch LRU/LFU stats when this mode is on.",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Suspend all, or just write, clients for <timeout> milliseconds.",
    "REPLY (ON|OFF|SKIP)",
    "    Control the replies sent to the current connection.",
    "SETINFO <option> <value>",
    "    Set client meta attr. Options are:",
    "    * LIB-NAME: the client lib name.",
    "    * LIB-VER: the client lib version.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
    "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
    "         [OPTIN] [OPTOUT] [NOLOOP]",
    "    Control server assisted client side caching.",
    "TRACKINGINFO",
    "    Report tracking status for the current connection.",
    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
    "    Unblock the specified blocked client.",
    "UNPAUSE",
    "    Stop the current client pause, resuming traffic.",
    "HELP",
    "    Print this help.",
)

CLIENT: Final = container(
    "CLIENT",
    group="connection",
    since="2.4.0",
    summary="A container for client connection commands.",
    complexity="Depends on subcommand.",
)


def client_line(ctx: Context, now_ms: int) -> bytes:
    """One client as CLIENT LIST shows it."""
    link = ctx.link
    output_bytes = link.output_bytes()
    query_bytes = link.query_bytes()
    channels, patterns, shard_channels = counts(ctx)
    fields: tuple[tuple[str, bytes | int | str], ...] = (
        ("id", ctx.client_id),
        ("addr", link.peer),
        ("laddr", link.local),
        ("fd", link.descriptor),
        ("name", ctx.name),
        ("age", max(0, now_ms - ctx.connected_at_ms) // 1000),
        ("idle", max(0, now_ms - ctx.last_seen_ms) // 1000),
        ("flags", _flags(ctx)),
        ("db", ctx.db.index),
        ("sub", channels),
        ("psub", patterns),
        ("ssub", shard_channels),
        ("multi", -1 if ctx.queue is None else len(ctx.queue)),
        ("watch", len(ctx.watched)),
        ("qbuf", query_bytes),
        ("qbuf-free", 0),
        ("argv-mem", 0),
        ("multi-mem", 0),
        ("rbs", 0),
        ("rbp", 0),
        ("obl", 0),
        ("oll", 1 if output_bytes else 0),
        ("omem", output_bytes),
        ("tot-mem", query_bytes + output_bytes),
        ("events", "rw" if output_bytes else "r"),
        ("cmd", ctx.last_command or "NULL"),
        ("user", ctx.user),
        ("redir", -1 if ctx.tracking is None else ctx.tracking.redirect),
        ("resp", ctx.resp),
        ("lib-name", ctx.library_name),
        ("lib-ver", ctx.library_version),
    )
    return b" ".join(
        b"%b=%b" % (name.encode(), value if isinstance(value, bytes) else str(value).encode())
        for name, value in fields
    )


def _flags(ctx: Context) -> str:
    letters = (
        ("P", bool(ctx.gates & Gate.SUBSCRIBED)),
        ("x", ctx.queue is not None),
        ("b", ctx.engine.blocking.blocks(ctx) or ctx.engine.pause.holds(ctx)),
        ("t", ctx.tracking is not None),
        ("R", ctx.tracking is not None and ctx.tracking.broken),
        ("B", ctx.tracking is not None and ctx.tracking.mode == b"bcast"),
        ("d", ctx.watch_broken),
        ("c", bool(ctx.gates & Gate.CLOSING)),
        ("U", ctx.link.kind == "unix"),
        ("e", ctx.no_evict),
        ("T", ctx.no_touch),
    )
    return "".join(letter for letter, on in letters if on) or "N"


def _lines(ctx: Context, clients: Iterable[Context]) -> Verbatim:
    now_ms = ctx.engine.clock.now_ms()
    return Verbatim(b"".join(client_line(client, now_ms) + b"\n" for client in clients))


def _parse_type(text: bytes) -> bytes:
    kind = text.lower()
    if kind not in _CLIENT_TYPES:
        raise CommandError(b"Unknown client type '%b'" % text)
    return kind


def _type_of(ctx: Context) -> bytes:
    return b"pubsub" if ctx.gates & Gate.SUBSCRIBED else b"normal"


def _parse_switch(text: bytes) -> bool:
    word = text.upper()
    if word not in (b"ON", b"OFF"):
        raise syntax_error()
    return word == b"ON"


@command(
    "CLIENT|ID",
    since="5.0.0",
    arity=2,
    summary="Returns the unique client ID of the connection.",
    complexity="O(1)",
    reply=IntegerReply(minimum=1),
    **_OPEN,
)
def client_id(ctx: Context, argv: list[bytes]) -> Reply:
    """CLIENT ID"""
    return ctx.client_id


@command(
    "CLIENT|INFO",
    since="6.2.0",
    arity=2,
    summary="Returns information about the connection.",
    complexity="O(1)",
    tips=("nondeterministic_output",),
    reply=VerbatimReply(),
    **_OPEN,
)
def client_info(ctx: Context, argv: list[bytes]) -> Reply:
    """CLIENT INFO"""
    ctx.last_command = b"client|info"
    return _lines(ctx, [ctx])


@command(
    "CLIENT|LIST",
    since="2.4.0",
    arity=-2,
    summary="Lists open connections.",
    complexity="O(N) where N is the number of client connections",
    history=(
        ("2.8.12", "Added unique client `id` field."),
        ("5.0.0", "Added optional `TYPE` filter."),
        ("6.0.0", "Added `user` field."),
        (
            "6.2.0",
            "Added `argv-mem`, `tot-mem`, `laddr` and `redir` fields and the optional `ID` filter.",
        ),
        ("7.0.0", "Added `resp`, `multi-mem`, `rbs` and `rbp` fields."),
        ("7.0.3", "Added `ssub` field."),
        ("7.2.0", "Added `lib-name` and `lib-ver` fields."),
        ("7.4.0", "Added `watch` field."),
    ),
    args=(
        oneof(
            "client-type",
            token("NORMAL"),
            token("MASTER"),
            token("REPLICA"),
            token("PUBSUB"),
            token="TYPE",
            optional=True,
            since="5.0.0",
        ),
        integer("client-id", token="ID", optional=True, multiple=True, since="6.2.0"),
    ),
    tips=("nondeterministic_output",),
    reply=VerbatimReply(),
    **_ADMIN,
)
def client_list(ctx: Context, argv: list[bytes]) -> Reply:
    """CLIENT LIST [TYPE type] [ID client-id [client-id ...]]"""
    clients: list[Context] = list(ctx.engine.client_list())
    if len(argv) == 4 and argv[2].upper() == b"TYPE":
        kind = _parse_type(argv[3])
        clients = [client for client in clients if _type_of(client) == kind]
    elif len(argv) > 3 and argv[2].upper() == b"ID":
        ids = [parse_int(text, "Invalid client ID") for text in argv[3:]]
        known = ctx.engine.clients
        clients = [known[id_] for id_ in ids if id_ in known]
    elif len(argv) != 2:
        raise syntax_error()
    ctx.last_command = b"client|list"
    return _lines(ctx, clients)


@command(
    "CLIENT|SETNAME",
    since="2.6.9",
    arity=3,
    summary="Sets the connection name.",
    complexity="O(1)",
    args=(string("connection-name"),),
    reply=OK_REPLY,
    **_OPEN,
)
def client_setname(ctx: Context, argv: list[bytes]) -> Reply:
    """CLIENT SETNAME connection-name: an empty one takes the name away."""
    check_printable(argv[2], "Client names")
    ctx.name = argv[2]
    return OK


@command(
    "CLIENT|GETNAME",
    since="2.6.9",
    arity=2,
    summary="Returns the name of the connection.",
    complexity="O(1)",
    reply=one_of(BulkReply(), NullReply()),
    **_OPEN,
)
def client_getname(ctx: Context, argv: list[bytes]) -> Reply:
    """CLIENT GETNAME"""
    return ctx.name or None


@command(
    "CLIENT|SETINFO",
    since="7.2.0",
    arity=4,
    summary="Sets information specific to the client or connection.",
    complexity="O(1)",
    args=(oneof("attr", string("libname", token="LIB-NAME"), string("libver", token="LIB-VER")),),
    reply=OK_REPLY,
    **_OPEN,
)
def client_setinfo(ctx: Context, argv: list[bytes]) -> Reply:
    """CLIENT SETINFO LIB-NAME libname | LIB-VER libver"""
    attribute = argv[2].upper()
    if attribute == b"LIB-NAME":
        check_printable(argv[3], "lib-name")
        ctx.library_name = argv[3]
    elif attribute == b"LIB-VER":
        check_printable(argv[3], "lib-ver")
        ctx.library_version = argv[3]
    else:
        raise CommandError(b"Unrecognized option '%b'" % argv[2])
    return OK


@command(
    "CLIENT|NO-EVICT",
    since="7.0.0",
    arity=3,
    summary="Sets the client eviction mode of the connection.",
    complexity="O(1)",
    args=(oneof("enabled", token("ON"), token("OFF")),),
    reply=OK_REPLY,
    **_ADMIN,
)
def client_no_evict(ctx: Context, argv: list[bytes]) -> Reply:
    """CLIENT NO-EVICT ON | OFF"""
    ctx.no_evict = _parse_switch(argv[2])
    return OK


@command(
    "CLIENT|NO-TOUCH",
    since="7.2.0",
    arity=3,
    summary="Controls whether commands sent by the client affect the LRU/LFU of accessed keys.",
    complexity="O(1)",
    args=(oneof("enabled", token("ON"), token("OFF")),),
    reply=OK_REPLY,
    **_OPEN,
)
def client_no_touch(ctx: Context, argv: list[bytes]) -> Reply:
    """CLIENT NO-TOUCH ON | OFF"""
    ctx.no_touch = _parse_switch(argv[2])
    return OK


@command(
    "CLIENT|REPLY",
    since="3.2.0",
    arity=3,
    summary="Instructs the server whether to reply to commands.",
    complexity="O(1)",
    args=(oneof("on_off_skip", token("ON"), token("OFF"), token("SKIP")),),
    reply=OK_REPLY,
    **_OPEN,
)
def client_reply(ctx: Context, argv: list[bytes]) -> Reply:
    """CLIENT REPLY ON | OFF | SKIP: only ON is answered."""
    mode = argv[2].upper()
    if mode == b"ON":
        ctx.gates &= ~(Gate.REPLY_OFF | Gate.REPLY_SKIP)
        return OK
    if mode == b"OFF":
        ctx.gates |= Gate.REPLY_OFF
    elif mode != b"SKIP":
        raise syntax_error()
    elif not ctx.gates & Gate.REPLY_OFF:
        ctx.gates |= Gate.REPLY_SKIP
    return NO_REPLY


@command(
    "CLIENT|KILL",
    since="2.4.0",
    arity=-3,
    summary="Terminates open connections.",
    complexity="O(N) where N is the number of client connections",
    history=(
        ("2.8.12", "Added new filter format."),
        ("2.8.12", "`ID` option."),
        ("3.2.0", "Added `master` type in for `TYPE` option."),
        (
            "5.0.0",
            "Replaced `slave` `TYPE` with `replica`. `slave` still supported for backward"
            " compatibility.",
        ),
        ("6.2.0", "`LADDR` option."),
        ("7.4.0", "`MAXAGE` option."),
    ),
    args=(
        oneof(
            "filter",
            string("ip:port", deprecated_since="2.8.12"),
            oneof(
                "new-format",
                integer("client-id", token="ID", optional=True, since="2.8.12"),
                oneof(
                    "client-type",
                    token("NORMAL"),
                    token("MASTER", since="3.2.0"),
                    token("SLAVE"),
                    token("REPLICA", since="5.0.0"),
                    token("PUBSUB"),
                    token="TYPE",
                    optional=True,
                    since="2.8.12",
                ),
                string("username", token="USER", optional=True),
                string("ip:port", token="ADDR", optional=True),
                string("ip:port", token="LADDR", optional=True, since="6.2.0"),
                oneof("skipme", token("YES"), token("NO"), token="SKIPME", optional=True),
                integer("maxage", token="MAXAGE", optional=True, since="7.4.0"),
                multiple=True,
            ),
        ),
    ),
    reply=one_of(OK_REPLY, IntegerReply(minimum=0)),
    **_ADMIN,
)
def client_kill(ctx: Context, argv: list[bytes]) -> Reply:
    """CLIENT KILL ip:port | filter value [filter value ...]"""
    if len(argv) == 3:
        address = argv[2].decode("utf-8", "surrogateescape")
        victims = [other for other in ctx.engine.client_list() if other.link.peer == address]
        if not victims:
            raise CommandError("No such client")
        _kill(ctx, victims)
        return OK
    tests, skip_me = _parse_kill_filters(ctx, argv)
    victims = [
        other
        for other in ctx.engine.client_list()
        if all(test(other) for test in tests) and not (skip_me and other is ctx)
    ]
    _kill(ctx, victims)
    return len(victims)


def _kill(ctx: Context, victims: Iterable[Context]) -> None:
    for victim in victims:
        if victim is ctx:
            ctx.gates |= Gate.CLOSING  # it gets its answer first
        else:
            victim.link.close_now()


_Test = Callable[[Context], bool]


def _parse_kill_filters(ctx: Context, argv: list[bytes]) -> tuple[list[_Test], bool]:
    args = Args(argv, 2)
    tests: list[_Test] = []
    skip_me = True
    while args:
        name, value = args.take_word(), args.take()
        if name == b"SKIPME":
            skip_me = _parse_yes_no(value)
        else:
            tests.append(_kill_filter(ctx, name, value))
    return tests, skip_me


def _parse_yes_no(value: bytes) -> bool:
    word = value.upper()
    if word not in (b"YES", b"NO"):
        raise syntax_error()
    return word == b"YES"


def _kill_filter(ctx: Context, name: bytes, value: bytes) -> _Test:
    text = value.decode("utf-8", "surrogateescape")
    if name == b"ID":
        id_ = read_int(value)
        if id_ is None or id_ < 1:
            raise CommandError("client-id should be greater than 0")
        return lambda other: other.client_id == id_
    if name == b"TYPE":
        kind = _parse_type(value)
        return lambda other: _type_of(other) == kind
    if name == b"ADDR":
        return lambda other: other.link.peer == text
    if name == b"LADDR":
        return lambda other: other.link.local == text
    if name == b"USER":
        if value != b"default":
            raise CommandError(b"No such user '%b'" % value)
        return lambda other: other.user == value
    if name == b"MAXAGE":
        age_s = parse_int(value, "maxage is not an integer or out of range")
        if age_s < 1:
            raise CommandError("maxage should be greater than 0")
        since_ms = ctx.engine.clock.now_ms() - age_s * 1000
        return lambda other: other.connected_at_ms <= since_ms
    raise syntax_error()


@command(
    "CLIENT|UNBLOCK",
    since="5.0.0",
    arity=-3,
    summary="Unblocks a client blocked by a blocking command from a different connection.",
    complexity="O(log N) where N is the number of client connections",
    args=(
        integer("client-id"),
        oneof("unblock-type", token("TIMEOUT"), token("ERROR"), optional=True),
    ),
    reply=IntegerReply(minimum=0, maximum=1),
    **_ADMIN,
)
def client_unblock(ctx: Context, argv: list[bytes]) -> Reply:
    """CLIENT UNBLOCK client-id [TIMEOUT | ERROR]"""
    if len(argv) > 4 or (len(argv) == 4 and argv[3].upper() not in (b"TIMEOUT", b"ERROR")):
        raise CommandError("CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
    client_id = parse_int(argv[2])
    as_error = len(argv) == 4 and argv[3].upper() == b"ERROR"
    return ONE if ctx.engine.blocking.unblock(client_id, as_error=as_error) else ZERO


@command(
    "CLIENT|HELP",
    group="connection",
    since="5.0.0",
    arity=2,
    summary="Returns helpful text about the different subcommands.",
    complexity="O(1)",
    flags=Flag.LOADING | Flag.STALE,
    acl_categories=("connection",),
    reply=ArrayReply(SimpleReply(None)),
)
def client_help(ctx: Context, argv: list[bytes]) -> Reply:
    """CLIENT HELP"""
    return help_reply(HELP)


SPECS = specs_of(
    CLIENT,
    client_id,
    client_info,
    client_list,
    client_setname,
    client_getname,
    client_setinfo,
    client_no_evict,
    client_no_touch,
    client_reply,
    client_kill,
    client_unblock,
    client_help,
)
