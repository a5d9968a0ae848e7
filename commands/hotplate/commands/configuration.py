"""CONFIG: settings while the server runs, and the counters' reset."""

from typing import Any, Final

from hotplate.commands.introspect import help_reply
from hotplate.config import ALIASES, OPTIONS, ConfigError, UnknownSettingError
from hotplate.config_file import rewrite_file
from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.glob import compile_glob
from hotplate.resp.types import OK, Map, Reply
from hotplate.spec.args import wrong_arity
from hotplate.spec.model import Flag, block, command, container, specs_of, string
from hotplate.spec.reply import OK_REPLY, ArrayReply, BulkReply, MapReply, SimpleReply

_ADMIN: Final[dict[str, Any]] = {
    "group": "server",
    "flags": Flag.ADMIN | Flag.NOSCRIPT | Flag.LOADING | Flag.STALE,
}

_GLOB_BYTES: Final = frozenset(b"*?[\\")

HELP: Final = (
    "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET <pattern>",
    "    Return parameters matching the glob-like <pattern> and their values.",
    "SET <directive> <value>",
    "    Set the configuration <directive> to <value>.",
    "RESETSTAT",
    "    Reset statistics reported by the INFO command.",
    "REWRITE",
    "    Rewrite the configuration file.",
    "HELP",
    "    Print this help.",
)

CONFIG: Final = container(
    "CONFIG",
    group="server",
    since="2.0.0",
    summary="A container for server configuration commands.",
    complexity="Depends on subcommand.",
)


@command(
    "CONFIG|GET",
    since="2.0.0",
    arity=-3,
    summary="Returns the effective values of configuration parameters.",
    complexity="O(N) when N is the number of configuration parameters provided",
    history=(("7.0.0", "Added the ability to pass multiple pattern parameters in one call"),),
    args=(block("parameter", string("parameter"), multiple=True),),
    reply=MapReply(BulkReply()),
    **_ADMIN,
)
def config_get(ctx: Context, argv: list[bytes]) -> Reply:
    """CONFIG GET parameter [parameter ...]: globs, or names that come back as given."""
    config = ctx.engine.config
    names = {name.encode(): name for name in config.names()}
    found: dict[bytes, str] = {}
    for argument in argv[2:]:
        if not _GLOB_BYTES.isdisjoint(argument):
            matches = compile_glob(argument, ignore_case=True)
            found |= {shown: name for shown, name in names.items() if matches(shown)}
        elif argument.lower() in names:
            found[argument] = names[argument.lower()]
    return Map(
        {
            shown: config.show(name).encode("utf-8", "surrogateescape")
            for shown, name in found.items()
        }
    )


@command(
    "CONFIG|SET",
    since="2.0.0",
    arity=-4,
    summary="Sets configuration parameters in-flight.",
    complexity="O(N) when N is the number of configuration parameters provided",
    history=(("7.0.0", "Added the ability to set multiple parameters in one call."),),
    args=(block("data", string("parameter"), string("value"), multiple=True),),
    tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
    reply=OK_REPLY,
    **_ADMIN,
)
def config_set(ctx: Context, argv: list[bytes]) -> Reply:
    """CONFIG SET parameter value [parameter value ...]: all of them or none."""
    if len(argv) % 2:
        raise wrong_arity(b"config|set")
    words = [argument.decode("utf-8", "surrogateescape") for argument in argv[2:]]
    for name in words[::2]:
        lower = name.lower()
        if ALIASES.get(lower, lower) not in OPTIONS:
            raise _refused(UnknownSettingError(name))
    try:
        ctx.engine.config.change(
            [(name, [value]) for name, value in zip(words[::2], words[1::2], strict=True)]
        )
    except ConfigError as error:
        raise _refused(error) from error
    return OK


def _refused(error: ConfigError) -> CommandError:
    if isinstance(error, UnknownSettingError):
        text = f"Unknown option or number of arguments for CONFIG SET - '{error.name}'"
    else:
        text = f"CONFIG SET failed (possibly related to argument '{error.name}') - {error.reason}"
    return CommandError(text.encode("utf-8", "surrogateescape"))


@command(
    "CONFIG|RESETSTAT",
    since="2.0.0",
    arity=2,
    summary="Resets the server's statistics.",
    complexity="O(1)",
    tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
    reply=OK_REPLY,
    **_ADMIN,
)
def config_resetstat(ctx: Context, argv: list[bytes]) -> Reply:
    """CONFIG RESETSTAT"""
    engine = ctx.engine
    engine.stats.reset()
    engine.memory.evictor.evicted = engine.memory.exceeded_ns = 0
    for known in engine.commands.walk():
        known.calls = known.time_ns = known.rejected = known.failed = 0
    for database in engine.databases:
        database.hits = database.misses = database.expired = 0
    return OK


@command(
    "CONFIG|REWRITE",
    since="2.8.0",
    arity=2,
    summary="Persists the effective configuration to file.",
    complexity="O(1)",
    tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
    reply=OK_REPLY,
    **_ADMIN,
)
def config_rewrite(ctx: Context, argv: list[bytes]) -> Reply:
    """CONFIG REWRITE"""
    try:
        rewrite_file(ctx.engine.config)
    except ConfigError as error:
        raise CommandError(error.reason) from error
    except OSError as error:
        raise CommandError(f"Rewriting config file: {error.strerror or error}") from error
    return OK


@command(
    "CONFIG|HELP",
    group="server",
    since="5.0.0",
    arity=2,
    summary="Returns helpful text about the different subcommands.",
    complexity="O(1)",
    flags=Flag.LOADING | Flag.STALE,
    reply=ArrayReply(SimpleReply(None)),
)
def config_help(ctx: Context, argv: list[bytes]) -> Reply:
    """CONFIG HELP"""
    return help_reply(HELP)


SPECS = specs_of(CONFIG, config_get, config_set, config_resetstat, config_rewrite, config_help)
