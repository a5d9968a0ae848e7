"""FUNCTION and FCALL: libraries of functions that stay with the server."""

from typing import Any, Final

from hotplate.commands.introspect import help_reply
from hotplate.commands.scripting import (
    CALL_ARGUMENTS,
    READING_NOTE,
    RUN_FLAGS,
    WRITING_KEYS,
    WRITING_NOTE,
)
from hotplate.engine.context import Context
from hotplate.engine.scripting_functions import Function, Library
from hotplate.errors import CommandError
from hotplate.keyspace.glob import compile_glob
from hotplate.resp.types import OK, Map, Reply, Set, Simple
from hotplate.spec.args import Args, read_int
from hotplate.spec.model import (
    Flag,
    Keys,
    command,
    container,
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
    MapReply,
    SimpleReply,
)

_CALL: Final[dict[str, Any]] = {
    "group": "scripting",
    "since": "7.0.0",
    "arity": -3,
    "complexity": "Depends on the function that is executed.",
    "acl_categories": ("scripting",),
    "args": (string("function"), *CALL_ARGUMENTS),
    "reply": AnyReply(),
}
_MANAGE: Final[dict[str, Any]] = {
    "group": "scripting",
    "since": "7.0.0",
    "acl_categories": ("scripting",),
}
_ON_ALL_SHARDS: Final = ("request_policy:all_shards", "response_policy:all_succeeded")
_POLICIES: Final = (b"FLUSH", b"APPEND", b"REPLACE")

HELP: Final = (
    "FUNCTION <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "LOAD [REPLACE] <FUNCTION CODE>",
    "    Create a new library with the given library name and code.",
    "DELETE <LIBRARY NAME>",
    "    Delete the given library.",
    "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
    "    Return general information on all the libraries:",
    "    * Library name",
    "    * The engine used to run the Library",
    "    * Functions list",
    "    * Library code (if WITHCODE is given)",
    "    It also possible to get only libraries that match a pattern using LIBRARYNAME argument.",
    "STATS",
    "    Return information about the current function running:",
    "    * Function name",
    "    * Command used to run the function",
    "    * Duration in MS that the function is running",
    "    If no function is running, return nil",
    "    In addition, returns a list of available engines.",
    "KILL",
    "    Kill the current running function.",
    "FLUSH [ASYNC|SYNC]",
    "    Delete all the libraries, in one way.",
    "DUMP",
    "    Return a serialized payload representing the current libraries, can be restored using"
    " FUNCTION RESTORE command",
    "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
    "    Restore the libraries represented by the given payload, it is possible to give a restore"
    " policy to",
    "    control how to handle existing libraries (default APPEND):",
    "    * FLUSH: delete all existing libraries.",
    "    * APPEND: appends the restored libraries to the existing libraries. On collision, abort.",
    "    * REPLACE: appends the restored libraries to the existing libraries, On collision, replace"
    " the old",
    "      libraries with the new libraries (notice that even on this option there is a chance of"
    " failure",
    "      in case of functions name conflict with another library).",
    "HELP",
    "    Print this help.",
)


def _fcall(ctx: Context, argv: list[bytes], *, read_only: bool) -> Reply:
    callee = ctx.engine.libraries.find(argv[1])
    count = read_int(argv[2])
    if count is None:
        raise CommandError("Bad number of keys provided")
    if count > len(argv) - 3:
        raise CommandError("Number of keys can't be greater than number of args")
    if count < 0:
        raise CommandError("Number of keys can't be negative")
    return ctx.engine.scripts.run(ctx, callee, count, argv, read_only=read_only)


@command(
    "FCALL",
    summary="Invoke a function",
    flags=RUN_FLAGS | Flag.MAY_REPLICATE,
    keys=(Keys(**WRITING_KEYS, notes=WRITING_NOTE),),
    **_CALL,
)
def fcall(ctx: Context, argv: list[bytes]) -> Reply:
    """FCALL function numkeys [key ...] [arg ...]"""
    return _fcall(ctx, argv, read_only=False)


@command(
    "FCALL_RO",
    summary="Invoke a read-only function",
    flags=RUN_FLAGS | Flag.READONLY,
    keys=(Keys(begin=2, key_number=0, notes=READING_NOTE),),
    **_CALL,
)
def fcall_ro(ctx: Context, argv: list[bytes]) -> Reply:
    """FCALL_RO function numkeys [key ...] [arg ...]"""
    return _fcall(ctx, argv, read_only=True)


FUNCTION: Final = container(
    "FUNCTION",
    group="scripting",
    since="7.0.0",
    summary="A container for function commands",
    complexity="Depends on subcommand.",
)


@command(
    "FUNCTION|LOAD",
    arity=-3,
    summary="Create a function with the given arguments (name, code, description)",
    complexity="O(1) (considering compilation time is redundant)",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.NOSCRIPT,
    args=(token("REPLACE", optional=True), string("function-code")),
    tips=_ON_ALL_SHARDS,
    reply=BulkReply(),
    **_MANAGE,
)
def function_load(ctx: Context, argv: list[bytes]) -> Reply:
    """FUNCTION LOAD [REPLACE] code"""
    for option in argv[2:-1]:
        if option.upper() != b"REPLACE":
            raise CommandError(b"Unknown option given: " + option)
    return ctx.engine.libraries.load(argv[-1], replace=len(argv) > 3)


@command(
    "FUNCTION|LIST",
    arity=-2,
    summary="List information about all the functions",
    complexity="O(N) where N is the number of functions",
    flags=Flag.NOSCRIPT,
    args=(
        string("library-name-pattern", token="LIBRARYNAME", optional=True),
        token("WITHCODE", optional=True),
    ),
    tips=("nondeterministic_output_order",),
    reply=ArrayReply(MapReply(AnyReply())),
    **_MANAGE,
)
def function_list(ctx: Context, argv: list[bytes]) -> Reply:
    """FUNCTION LIST [LIBRARYNAME pattern] [WITHCODE]"""
    pattern: bytes | None = None
    with_code = False
    args = Args(argv, 2)
    while args:
        option = args.take()
        word = option.upper()
        if word == b"WITHCODE" and not with_code:
            with_code = True
        elif word == b"LIBRARYNAME" and pattern is None:
            if not args:
                raise CommandError("library name argument was not given")
            pattern = args.take()
        else:
            raise CommandError(b"Unknown argument " + option)
    libraries = list(ctx.engine.libraries.libraries.values())
    if pattern is not None:
        matches = compile_glob(pattern, ignore_case=True)
        libraries = [library for library in libraries if matches(library.name)]
    return [_describe_library(library, with_code=with_code) for library in libraries]


def _describe_library(library: Library, *, with_code: bool) -> Map:
    functions = [_describe_function(name, one) for name, one in library.functions.items()]
    facts = Map({b"library_name": library.name, b"engine": b"LUA", b"functions": functions})
    if with_code:
        facts[b"library_code"] = library.text
    return facts


def _describe_function(name: bytes, function: Function) -> Map:
    flags = sorted(function.callee.flags or ())
    return Map(
        {
            b"name": name,
            b"description": function.description,
            b"flags": Set(Simple(flag) for flag in flags),
        }
    )


@command(
    "FUNCTION|DELETE",
    arity=3,
    summary="Delete a function by name",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.NOSCRIPT,
    args=(string("library-name"),),
    tips=_ON_ALL_SHARDS,
    reply=OK_REPLY,
    **_MANAGE,
)
def function_delete(ctx: Context, argv: list[bytes]) -> Reply:
    """FUNCTION DELETE library"""
    ctx.engine.libraries.delete(argv[2])
    return OK


@command(
    "FUNCTION|DUMP",
    arity=2,
    summary="Dump all functions into a serialized binary payload",
    complexity="O(N) where N is the number of functions",
    flags=Flag.NOSCRIPT,
    reply=BulkReply(),
    **_MANAGE,
)
def function_dump(ctx: Context, argv: list[bytes]) -> Reply:
    """FUNCTION DUMP"""
    return ctx.engine.libraries.dump()


@command(
    "FUNCTION|RESTORE",
    arity=-3,
    summary="Restore all the functions on the given payload",
    complexity="O(N) where N is the number of functions on the payload",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.NOSCRIPT,
    args=(
        string("serialized-value"),
        oneof("policy", token("FLUSH"), token("APPEND"), token("REPLACE"), optional=True),
    ),
    tips=_ON_ALL_SHARDS,
    reply=OK_REPLY,
    **_MANAGE,
)
def function_restore(ctx: Context, argv: list[bytes]) -> Reply:
    """FUNCTION RESTORE payload [FLUSH | APPEND | REPLACE]"""
    if len(argv) > 4:
        raise _wrong_subcommand(argv)
    policy = argv[3].upper() if len(argv) == 4 else b"APPEND"
    if policy not in _POLICIES:
        raise CommandError(
            "Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE."
        )
    ctx.engine.libraries.restore(argv[2], policy)
    return OK


def _wrong_subcommand(argv: list[bytes]) -> CommandError:
    return CommandError(
        b"unknown subcommand or wrong number of arguments for '%b'. Try FUNCTION HELP." % argv[1]
    )


@command(
    "FUNCTION|FLUSH",
    arity=-2,
    summary="Deleting all functions",
    complexity="O(N) where N is the number of functions deleted",
    flags=Flag.WRITE | Flag.NOSCRIPT,
    args=(oneof("async", token("ASYNC"), token("SYNC"), optional=True),),
    tips=_ON_ALL_SHARDS,
    reply=OK_REPLY,
    **_MANAGE,
)
def function_flush(ctx: Context, argv: list[bytes]) -> Reply:
    """FUNCTION FLUSH [ASYNC | SYNC]"""
    if len(argv) > 3:
        raise _wrong_subcommand(argv)
    if len(argv) == 3 and argv[2].upper() not in (b"ASYNC", b"SYNC"):
        raise CommandError("FUNCTION FLUSH only supports SYNC|ASYNC option")
    ctx.engine.libraries.flush()
    return OK


@command(
    "FUNCTION|STATS",
    arity=2,
    summary="Return information about the function currently running (name, description, duration)",
    complexity="O(1)",
    flags=Flag.NOSCRIPT | Flag.ALLOW_BUSY,
    tips=("nondeterministic_output", "request_policy:all_shards", "response_policy:special"),
    reply=MapReply(AnyReply()),
    **_MANAGE,
)
def function_stats(ctx: Context, argv: list[bytes]) -> Reply:
    """FUNCTION STATS: while a script runs, it is as busy as everything else."""
    scripts, libraries = ctx.engine.scripts, ctx.engine.libraries
    running = scripts.running
    facts: Map | None = None
    if running is not None:
        if not running.is_function:
            raise scripts.busy_error()
        facts = Map(
            {
                b"name": running.name,
                b"command": [bytes(argument) for argument in scripts.running_argv],
                b"duration_ms": scripts.running_ms(),
            }
        )
    counts = Map(
        {
            b"libraries_count": len(libraries.libraries),
            b"functions_count": len(libraries.functions),
        }
    )
    return Map({b"running_script": facts, b"engines": Map({b"LUA": counts})})


@command(
    "FUNCTION|KILL",
    arity=2,
    summary="Kill the function currently in execution.",
    complexity="O(1)",
    flags=Flag.NOSCRIPT | Flag.ALLOW_BUSY,
    tips=("request_policy:all_shards", "response_policy:one_succeeded"),
    reply=OK_REPLY,
    **_MANAGE,
)
def function_kill(ctx: Context, argv: list[bytes]) -> Reply:
    """FUNCTION KILL"""
    ctx.engine.scripts.kill(is_function=True)
    return OK


@command(
    "FUNCTION|HELP",
    arity=2,
    summary="Show helpful text about the different subcommands",
    complexity="O(1)",
    flags=Flag.LOADING | Flag.STALE,
    reply=ArrayReply(SimpleReply(None)),
    **_MANAGE,
)
def function_help(ctx: Context, argv: list[bytes]) -> Reply:
    """FUNCTION HELP"""
    return help_reply(HELP)


SPECS = specs_of(
    fcall,
    fcall_ro,
    FUNCTION,
    function_load,
    function_list,
    function_delete,
    function_dump,
    function_restore,
    function_flush,
    function_stats,
    function_kill,
    function_help,
)
