"""CLIENT TRACKING and what belongs to it: clients that cache, told when keys change."""

from dataclasses import dataclass, field
from typing import Any, Final

from hotplate.engine.context import Context
from hotplate.engine.tracking import ClientTracking
from hotplate.errors import CommandError
from hotplate.resp.types import EMPTY_ARRAY, OK, Map, Reply, Set
from hotplate.spec.args import Args, parse_int, syntax_error
from hotplate.spec.model import Flag, command, integer, oneof, specs_of, string, token
from hotplate.spec.reply import OK_REPLY, AnyReply, IntegerReply, MapReply

_OPEN: Final[dict[str, Any]] = {
    "group": "connection",
    "flags": Flag.NOSCRIPT | Flag.LOADING | Flag.STALE,
    "acl_categories": ("connection",),
    "since": "6.0.0",
}
_MODES: Final = (b"BCAST", b"OPTIN", b"OPTOUT")
_SWITCHED: Final = (
    "You can't switch %s before disabling tracking for this client, and then"
    " re-enabling it with a different mode."
)
_OVERLAP: Final = (
    b"Prefix '%b' overlaps with %b prefix '%b'. Prefixes for a single client must not overlap."
)


@dataclass(slots=True)
class _Options:
    redirect: int = 0
    modes: set[bytes] = field(default_factory=set)
    no_loop: bool = False
    prefixes: list[bytes] = field(default_factory=list)


@command(
    "CLIENT|TRACKING",
    arity=-3,
    summary="Controls server-assisted client-side caching for the connection.",
    complexity="O(1). Some options may introduce additional complexity.",
    args=(
        oneof("status", token("ON"), token("OFF")),
        integer("client-id", token="REDIRECT", optional=True),
        string("prefix", token="PREFIX", optional=True, multiple=True, multiple_token=True),
        token("BCAST", optional=True),
        token("OPTIN", optional=True),
        token("OPTOUT", optional=True),
        token("NOLOOP", optional=True),
    ),
    reply=OK_REPLY,
    **_OPEN,
)
def client_tracking(ctx: Context, argv: list[bytes]) -> Reply:
    """CLIENT TRACKING ON | OFF [REDIRECT id] [PREFIX p ...] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]"""
    options = _parse_options(ctx, argv)
    switch = argv[2].upper()
    if switch == b"OFF":
        ctx.engine.tracking.end(ctx)
        return OK
    if switch != b"ON":
        raise syntax_error()
    modes, prefixes = options.modes, options.prefixes
    _check_modes(modes, bool(prefixes), ctx.tracking)
    if b"BCAST" in modes:
        _check_prefixes(prefixes, ctx.tracking)
    ctx.engine.tracking.begin(
        ctx,
        mode=next(iter(modes), b"").lower(),
        no_loop=options.no_loop,
        redirect=options.redirect,
        prefixes=(prefixes or [b""]) if b"BCAST" in modes else (),
    )
    return OK


def _parse_options(ctx: Context, argv: list[bytes]) -> _Options:
    args = Args(argv, 3)
    options = _Options()
    while args:
        word = args.take_word()
        if word == b"REDIRECT" and args:
            if options.redirect:
                raise CommandError("A client can only redirect to a single other client")
            options.redirect = parse_int(args.take())
            if options.redirect not in ctx.engine.clients:
                raise CommandError("The client ID you want redirect to does not exist")
        elif word in _MODES:
            options.modes.add(word)
        elif word == b"NOLOOP":
            options.no_loop = True
        elif word == b"PREFIX" and args:
            options.prefixes.append(args.take())
        else:
            raise syntax_error()
    return options


def _check_modes(modes: set[bytes], has_prefixes: bool, mine: ClientTracking | None) -> None:
    """Refuse modes that do not go together, or not with the one under way."""
    broadcasts = b"BCAST" in modes
    before = b"" if mine is None else mine.mode
    if has_prefixes and not broadcasts:
        raise CommandError("PREFIX option requires BCAST mode to be enabled")
    if mine is not None and broadcasts != (before == b"bcast"):
        raise CommandError(_SWITCHED % "BCAST mode on/off")
    if broadcasts and len(modes) > 1:
        raise CommandError("OPTIN and OPTOUT are not compatible with BCAST")
    if len(modes) > 1:
        raise CommandError("You can't specify both OPTIN mode and OPTOUT mode")
    if (before, modes) in ((b"optin", {b"OPTOUT"}), (b"optout", {b"OPTIN"})):
        raise CommandError(_SWITCHED % "OPTIN/OPTOUT mode")


def _check_prefixes(prefixes: list[bytes], mine: ClientTracking | None) -> None:
    """No prefix may begin another of the same client, or a key were told twice."""
    for at, prefix in enumerate(prefixes):
        for other in () if mine is None else mine.prefixes:
            if _overlap(prefix, other):
                raise CommandError(_OVERLAP % (prefix, b"an existing", other))
        for other in prefixes[at + 1 :]:
            if _overlap(prefix, other):
                raise CommandError(_OVERLAP % (prefix, b"another provided", other))


def _overlap(one: bytes, other: bytes) -> bool:
    return one.startswith(other) or other.startswith(one)


@command(
    "CLIENT|CACHING",
    arity=3,
    summary="Instructs the server whether to track the keys in the next request.",
    complexity="O(1)",
    args=(oneof("mode", token("YES"), token("NO")),),
    reply=OK_REPLY,
    **_OPEN,
)
def client_caching(ctx: Context, argv: list[bytes]) -> Reply:
    """CLIENT CACHING YES | NO: whether what the next command reads is remembered"""
    mine = ctx.tracking
    if mine is None:
        raise CommandError(
            "CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or"
            " OPTOUT mode enabled"
        )
    word = argv[2].upper()
    if word == b"YES":
        if mine.mode != b"optin":
            raise CommandError(
                "CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode."
            )
    elif word != b"NO":
        raise syntax_error()
    elif mine.mode != b"optout":
        raise CommandError(
            "CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode."
        )
    mine.caching = True
    return OK


@command(
    "CLIENT|GETREDIR",
    arity=2,
    summary="Returns the client ID to which tracking notifications are redirected.",
    complexity="O(1)",
    reply=IntegerReply(),
    **_OPEN,
)
def client_getredir(ctx: Context, argv: list[bytes]) -> Reply:
    """CLIENT GETREDIR: 0 without a redirection, -1 where tracking is off"""
    return -1 if ctx.tracking is None else ctx.tracking.redirect


@command(
    "CLIENT|TRACKINGINFO",
    arity=2,
    summary="Returns information about server-assisted client-side caching for the connection.",
    complexity="O(1)",
    reply=MapReply(AnyReply()),
    **(_OPEN | {"since": "6.2.0"}),
)
def client_trackinginfo(ctx: Context, argv: list[bytes]) -> Reply:
    """CLIENT TRACKINGINFO"""
    mine = ctx.tracking
    if mine is None:
        return Map({b"flags": Set([b"off"]), b"redirect": -1, b"prefixes": EMPTY_ARRAY})
    flags = [b"on"]
    if mine.mode:
        flags.append(mine.mode)
    if mine.caching:
        flags.append(b"caching-yes" if mine.mode == b"optin" else b"caching-no")
    if mine.no_loop:
        flags.append(b"noloop")
    if mine.broken:
        flags.append(b"broken_redirect")
    return Map(
        {b"flags": Set(flags), b"redirect": mine.redirect, b"prefixes": sorted(mine.prefixes)}
    )


SPECS = specs_of(client_tracking, client_caching, client_getredir, client_trackinginfo)
