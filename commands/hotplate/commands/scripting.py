"""EVAL and SCRIPT: scripts by their text or their SHA-1."""

from typing import Any, Final

from hotplate.commands.introspect import help_reply
from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.resp.types import OK, Reply
from hotplate.spec.model import (
    Flag,
    Keys,
    command,
    container,
    integer,
    key,
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
)

RUN_FLAGS: Final = (
    Flag.NOSCRIPT | Flag.STALE | Flag.SKIP_MONITOR | Flag.NO_MANDATORY_KEYS | Flag.MOVABLEKEYS
)
WRITING_KEYS: Final[dict[str, Any]] = {
    "begin": 2,
    "key_number": 0,
    "flags": ("RW", "ACCESS", "UPDATE"),
}
WRITING_NOTE: Final = (
    "We cannot tell how the keys will be used so we assume the worst, RW and UPDATE"
)
READING_NOTE: Final = (
    "We cannot tell how the keys will be used so we assume the worst, RO and ACCESS"
)
CALL_ARGUMENTS: Final = (
    integer("numkeys"),
    key(optional=True, multiple=True),
    string("arg", optional=True, multiple=True),
)
_RUN: Final[dict[str, Any]] = {
    "group": "scripting",
    "arity": -3,
    "complexity": "Depends on the script that is executed.",
    "acl_categories": ("scripting",),
    "reply": AnyReply(),
}
_MANAGE: Final[dict[str, Any]] = {"group": "scripting", "acl_categories": ("scripting",)}

HELP: Final = (
    "SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DEBUG (YES|SYNC|NO)",
    "    Refused, but for NO: there is no debugger for scripts.",
    "EXISTS <sha1> [<sha1> ...]",
    "    Return information about the existence of the scripts in the script cache.",
    "FLUSH [ASYNC|SYNC]",
    "    Flush the Lua scripts cache, in one way.",
    "KILL",
    "    Kill the currently executing Lua script.",
    "LOAD <script>",
    "    Load a script into the scripts cache without executing it.",
    "HELP",
    "    Print this help.",
)


@command(
    "EVAL",
    since="2.6.0",
    summary="Execute a Lua script server side",
    flags=RUN_FLAGS | Flag.MAY_REPLICATE,
    keys=(Keys(**WRITING_KEYS, notes=WRITING_NOTE),),
    args=(string("script"), *CALL_ARGUMENTS),
    **_RUN,
)
def eval_(ctx: Context, argv: list[bytes]) -> Reply:
    """EVAL script numkeys [key ...] [arg ...]"""
    return ctx.engine.scripts.evaluate(ctx, argv)


@command(
    "EVALSHA",
    since="2.6.0",
    summary="Execute a Lua script server side",
    flags=RUN_FLAGS | Flag.MAY_REPLICATE,
    keys=(Keys(**WRITING_KEYS),),
    args=(string("sha1"), *CALL_ARGUMENTS),
    **_RUN,
)
def evalsha(ctx: Context, argv: list[bytes]) -> Reply:
    """EVALSHA sha1 numkeys [key ...] [arg ...]"""
    return ctx.engine.scripts.evaluate_known(ctx, argv)


@command(
    "EVAL_RO",
    since="7.0.0",
    summary="Execute a read-only Lua script server side",
    flags=RUN_FLAGS | Flag.READONLY,
    keys=(Keys(begin=2, key_number=0, notes=READING_NOTE),),
    args=(string("script"), *CALL_ARGUMENTS),
    **_RUN,
)
def eval_ro(ctx: Context, argv: list[bytes]) -> Reply:
    """EVAL_RO script numkeys [key ...] [arg ...]"""
    return ctx.engine.scripts.evaluate(ctx, argv, read_only=True)


@command(
    "EVALSHA_RO",
    since="7.0.0",
    summary="Execute a read-only Lua script server side",
    flags=RUN_FLAGS | Flag.READONLY,
    keys=(Keys(begin=2, key_number=0),),
    args=(string("sha1"), *CALL_ARGUMENTS),
    **_RUN,
)
def evalsha_ro(ctx: Context, argv: list[bytes]) -> Reply:
    """EVALSHA_RO sha1 numkeys [key ...] [arg ...]"""
    return ctx.engine.scripts.evaluate_known(ctx, argv, read_only=True)


SCRIPT: Final = container(
    "SCRIPT",
    group="scripting",
    since="2.6.0",
    summary="A container for Lua scripts management commands",
    complexity="Depends on subcommand.",
)


@command(
    "SCRIPT|LOAD",
    since="2.6.0",
    arity=3,
    summary="Load the specified Lua script into the script cache.",
    complexity="O(N) with N being the length in bytes of the script body.",
    flags=Flag.NOSCRIPT | Flag.STALE,
    args=(string("script"),),
    tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
    reply=BulkReply(),
    **_MANAGE,
)
def script_load(ctx: Context, argv: list[bytes]) -> Reply:
    """SCRIPT LOAD script"""
    return ctx.engine.scripts.load(argv[2])


@command(
    "SCRIPT|EXISTS",
    since="2.6.0",
    arity=-3,
    summary="Check existence of scripts in the script cache.",
    complexity="O(N) with N being the number of scripts to check (so checking a single script is an"
    " O(1) operation).",
    flags=Flag.NOSCRIPT,
    args=(string("sha1", multiple=True),),
    tips=("request_policy:all_shards", "response_policy:agg_logical_and"),
    reply=ArrayReply(IntegerReply(0, 1)),
    **_MANAGE,
)
def script_exists(ctx: Context, argv: list[bytes]) -> Reply:
    """SCRIPT EXISTS sha1 [sha1 ...]"""
    return [int(ctx.engine.scripts.knows(sha)) for sha in argv[2:]]


@command(
    "SCRIPT|FLUSH",
    since="2.6.0",
    arity=-2,
    summary="Remove all the scripts from the script cache.",
    complexity="O(N) with N being the number of scripts in cache",
    history=(("6.2.0", "Added the `ASYNC` and `SYNC` flushing mode modifiers."),),
    flags=Flag.NOSCRIPT,
    args=(oneof("async", token("ASYNC"), token("SYNC"), optional=True, since="6.2.0"),),
    tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
    reply=OK_REPLY,
    **_MANAGE,
)
def script_flush(ctx: Context, argv: list[bytes]) -> Reply:
    """SCRIPT FLUSH [ASYNC | SYNC]"""
    if len(argv) > 3 or (len(argv) == 3 and argv[2].upper() not in (b"ASYNC", b"SYNC")):
        raise CommandError("SCRIPT FLUSH only support SYNC|ASYNC option")
    ctx.engine.scripts.flush()
    return OK


@command(
    "SCRIPT|KILL",
    since="2.6.0",
    arity=2,
    summary="Kill the script currently in execution.",
    complexity="O(1)",
    flags=Flag.NOSCRIPT | Flag.ALLOW_BUSY,
    tips=("request_policy:all_shards", "response_policy:one_succeeded"),
    reply=OK_REPLY,
    **_MANAGE,
)
def script_kill(ctx: Context, argv: list[bytes]) -> Reply:
    """SCRIPT KILL"""
    ctx.engine.scripts.kill(is_function=False)
    return OK


@command(
    "SCRIPT|DEBUG",
    since="3.2.0",
    arity=3,
    summary="Set the debug mode for executed scripts.",
    complexity="O(1)",
    flags=Flag.NOSCRIPT,
    args=(oneof("mode", token("YES"), token("SYNC"), token("NO")),),
    reply=OK_REPLY,
    **_MANAGE,
)
def script_debug(ctx: Context, argv: list[bytes]) -> Reply:
    """SCRIPT DEBUG YES | SYNC | NO: NO is what it is."""
    mode = argv[2].upper()
    if mode == b"NO":
        return OK
    if mode in (b"YES", b"SYNC"):
        raise CommandError("SCRIPT DEBUG is not in this version: scripts have no debugger")
    raise CommandError("Use SCRIPT DEBUG YES/SYNC/NO")


@command(
    "SCRIPT|HELP",
    since="5.0.0",
    arity=2,
    summary="Show helpful text about the different subcommands",
    complexity="O(1)",
    flags=Flag.LOADING | Flag.STALE,
    reply=ArrayReply(SimpleReply(None)),
    **_MANAGE,
)
def script_help(ctx: Context, argv: list[bytes]) -> Reply:
    """SCRIPT HELP"""
    return help_reply(HELP)


SPECS = specs_of(
    eval_,
    evalsha,
    eval_ro,
    evalsha_ro,
    SCRIPT,
    script_load,
    script_exists,
    script_flush,
    script_kill,
    script_debug,
    script_help,
)
