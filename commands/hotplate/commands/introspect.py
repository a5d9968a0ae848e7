"""COMMAND: what commands there are, told from their specs."""

from collections.abc import Iterable
from typing import Final

from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.glob import compile_glob
from hotplate.resp.types import Map, Reply, Set, Simple
from hotplate.spec.args import syntax_error, unknown_subcommand
from hotplate.spec.docs import (
    command_docs,
    command_info,
    has_movable_keys,
    key_flag_names,
    key_positions,
)
from hotplate.spec.model import (
    Command,
    Flag,
    Keys,
    command,
    oneof,
    pattern,
    specs_of,
    string,
)
from hotplate.spec.registry import categories_of
from hotplate.spec.reply import (
    AnyReply,
    ArrayReply,
    BulkReply,
    IntegerReply,
    MapReply,
    NullReply,
    SimpleReply,
    one_of,
)

_FLAGS: Final = Flag.LOADING | Flag.STALE
_FACTS: Final = {"group": "server", "flags": _FLAGS, "acl_categories": ("connection",)}
_UNORDERED: Final = ("nondeterministic_output_order",)
_INFO_REPLY: Final = ArrayReply(one_of(ArrayReply(AnyReply()), NullReply()))

HELP: Final = (
    "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "(no subcommand)",
    "    Return details about all commands.",
    "COUNT",
    "    Return the total number of commands in this server.",
    "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
    "    Return a list of all commands in this server.",
    "INFO [<command-name> ...]",
    "    Return details about multiple commands.",
    "    If no command names are given, details for all commands are returned.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about multiple commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "GETKEYS <full-command>",
    "    Return the keys from a full command.",
    "GETKEYSANDFLAGS <full-command>",
    "    Return the keys and the access flags from a full command.",
    "HELP",
    "    Print this help.",
)


def help_reply(lines: Iterable[str]) -> Reply:
    """A container's HELP."""
    return [Simple(line.encode()) for line in lines]


@command(
    "COMMAND",
    since="2.8.13",
    arity=-1,
    summary="Returns detailed information about all commands.",
    complexity="O(N) where N is the total number of Redis commands",
    tips=_UNORDERED,
    reply=_INFO_REPLY,
    **_FACTS,
)
def command_(ctx: Context, argv: list[bytes]) -> Reply:
    """COMMAND"""
    if len(argv) > 1:
        raise unknown_subcommand(argv)
    return [command_info(known) for known in ctx.engine.commands.commands.values()]


@command(
    "COMMAND|COUNT",
    since="2.8.13",
    arity=2,
    summary="Returns a count of commands.",
    complexity="O(1)",
    reply=IntegerReply(minimum=1),
    **_FACTS,
)
def command_count(ctx: Context, argv: list[bytes]) -> Reply:
    """COMMAND COUNT"""
    return len(ctx.engine.commands)


@command(
    "COMMAND|INFO",
    since="2.8.13",
    arity=-2,
    summary="Returns information about one, multiple or all commands.",
    complexity="O(N) where N is the number of commands to look up",
    history=(("7.0.0", "Allowed to be called with no argument to get info on all commands."),),
    args=(string("command-name", optional=True, multiple=True),),
    tips=_UNORDERED,
    reply=_INFO_REPLY,
    **_FACTS,
)
def command_info_(ctx: Context, argv: list[bytes]) -> Reply:
    """COMMAND INFO [command-name ...]: nil for an unknown one."""
    registry = ctx.engine.commands
    if len(argv) == 2:
        return [command_info(known) for known in registry.commands.values()]
    named = (registry.find(bytes(name)) for name in argv[2:])
    return [None if known is None else command_info(known) for known in named]


@command(
    "COMMAND|DOCS",
    since="7.0.0",
    arity=-2,
    summary="Returns documentary information about one, multiple or all commands.",
    complexity="O(N) where N is the number of commands to look up",
    args=(string("command-name", optional=True, multiple=True),),
    tips=_UNORDERED,
    reply=MapReply(MapReply(AnyReply())),
    **_FACTS,
)
def command_docs_(ctx: Context, argv: list[bytes]) -> Reply:
    """COMMAND DOCS [command-name ...]: unknown ones are left out."""
    registry = ctx.engine.commands
    if len(argv) == 2:
        return Map({known.name: command_docs(known) for known in registry.commands.values()})
    named = (registry.find(bytes(name)) for name in argv[2:])
    return Map({known.name: command_docs(known) for known in named if known is not None})


@command(
    "COMMAND|LIST",
    since="7.0.0",
    arity=-2,
    summary="Returns a list of command names.",
    complexity="O(N) where N is the total number of Redis commands",
    args=(
        oneof(
            "filterby",
            string("module-name", token="MODULE"),
            string("category", token="ACLCAT"),
            pattern(token="PATTERN"),
            token="FILTERBY",
            optional=True,
        ),
    ),
    tips=_UNORDERED,
    reply=ArrayReply(BulkReply()),
    **_FACTS,
)
def command_list(ctx: Context, argv: list[bytes]) -> Reply:
    """COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]"""
    everything = list(ctx.engine.commands.walk())
    if len(argv) == 2:
        return [known.name for known in everything]
    if len(argv) != 5 or argv[2].upper() != b"FILTERBY":
        raise syntax_error()
    kind, wanted = argv[3].upper(), bytes(argv[4])
    if kind == b"MODULE":
        return []  # there are no modules
    if kind == b"ACLCAT":
        category = wanted.lower().decode("ascii", "replace")
        return [known.name for known in everything if category in categories_of(known.spec)]
    if kind == b"PATTERN":
        matches = compile_glob(wanted, ignore_case=True)
        return [known.name for known in everything if matches(known.name)]
    raise syntax_error()


def _keys_of(ctx: Context, argv: list[bytes]) -> list[tuple[bytes, Keys]]:
    """The keys of the command in argv[2:]."""
    call = [bytes(argument) for argument in argv[2:]]
    known: Command | None = ctx.engine.commands.lookup(call[0])
    if known is not None and known.subcommands is not None and len(call) > 1:
        known = known.subcommands.get(call[1].lower(), known)
    if known is None:
        raise CommandError("Invalid command specified")
    if not known.spec.keys and not has_movable_keys(known.spec):
        raise CommandError("The command has no key arguments")
    if not known.arity_min <= len(call) <= known.arity_max:
        raise CommandError("Invalid number of arguments specified for command")
    found = key_positions(known.spec, call)
    if not found:
        if known.flags & Flag.NO_MANDATORY_KEYS:
            return []
        raise CommandError("The command has no key arguments")
    return [(call[position], keys) for position, keys in found]


_CALL: Final = (string("command"), string("arg", optional=True, multiple=True))


@command(
    "COMMAND|GETKEYS",
    since="2.8.13",
    arity=-3,
    summary="Extracts the key names from an arbitrary command.",
    complexity="O(N) where N is the number of arguments to the command",
    args=_CALL,
    reply=ArrayReply(BulkReply()),
    **_FACTS,
)
def command_getkeys(ctx: Context, argv: list[bytes]) -> Reply:
    """COMMAND GETKEYS command [arg ...]"""
    return [key for key, _ in _keys_of(ctx, argv)]


@command(
    "COMMAND|GETKEYSANDFLAGS",
    since="7.0.0",
    arity=-3,
    summary="Extracts the key names and access flags for an arbitrary command.",
    complexity="O(N) where N is the number of arguments to the command",
    args=_CALL,
    reply=ArrayReply(ArrayReply(AnyReply())),
    **_FACTS,
)
def command_getkeysandflags(ctx: Context, argv: list[bytes]) -> Reply:
    """COMMAND GETKEYSANDFLAGS command [arg ...]"""
    return [[key, Set(map(Simple, key_flag_names(keys)))] for key, keys in _keys_of(ctx, argv)]


@command(
    "COMMAND|HELP",
    since="5.0.0",
    arity=2,
    summary="Returns helpful text about the different subcommands.",
    complexity="O(1)",
    reply=ArrayReply(SimpleReply(None)),
    **_FACTS,
)
def command_help(ctx: Context, argv: list[bytes]) -> Reply:
    """COMMAND HELP"""
    return help_reply(HELP)


SPECS = specs_of(
    command_,
    command_count,
    command_info_,
    command_docs_,
    command_list,
    command_getkeys,
    command_getkeysandflags,
    command_help,
)
