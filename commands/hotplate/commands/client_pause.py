"""CLIENT PAUSE and UNPAUSE: let commands wait for a while."""

from typing import Any, Final

from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.resp.types import OK, Reply
from hotplate.spec.args import parse_timeout_ms
from hotplate.spec.model import Flag, command, integer, oneof, specs_of, token
from hotplate.spec.reply import OK_REPLY

_ADMIN: Final[dict[str, Any]] = {
    "group": "connection",
    "flags": Flag.ADMIN | Flag.NOSCRIPT | Flag.LOADING | Flag.STALE,
    "acl_categories": ("connection",),
    "reply": OK_REPLY,
}


@command(
    "CLIENT|PAUSE",
    since="2.9.50",
    arity=-3,
    summary="Suspends commands processing.",
    complexity="O(1)",
    history=(("6.2.0", "`CLIENT PAUSE WRITE` mode added along with the `mode` option."),),
    args=(
        integer("timeout"),
        oneof("mode", token("WRITE"), token("ALL"), optional=True, since="6.2.0"),
    ),
    **_ADMIN,
)
def client_pause(ctx: Context, argv: list[bytes]) -> Reply:
    """CLIENT PAUSE timeout_ms [WRITE | ALL]"""
    if len(argv) > 4:
        raise CommandError(
            b"unknown subcommand or wrong number of arguments for '%b'. Try CLIENT HELP." % argv[1]
        )
    mode = argv[3].upper() if len(argv) == 4 else b"ALL"
    if mode not in (b"WRITE", b"ALL"):
        raise CommandError("CLIENT PAUSE mode must be WRITE or ALL")
    ctx.engine.pause.begin(parse_timeout_ms(argv[2]), stops_all=mode == b"ALL")
    return OK


@command(
    "CLIENT|UNPAUSE",
    since="6.2.0",
    arity=2,
    summary="Resumes processing commands from paused clients.",
    complexity="O(N) Where N is the number of paused clients",
    **_ADMIN,
)
def client_unpause(ctx: Context, argv: list[bytes]) -> Reply:
    """CLIENT UNPAUSE"""
    ctx.engine.pause.end()
    return OK


SPECS = specs_of(client_pause, client_unpause)
