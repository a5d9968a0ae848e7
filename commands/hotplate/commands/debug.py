"""DEBUG: the harmless parts, which test tools use. Off unless `enable-debug-command` allows it."""

from collections.abc import Callable
from typing import Final

from hotplate.commands.introspect import help_reply
from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.entry import encoding_of
from hotplate.keyspace.glob import compile_glob
from hotplate.keyspace.string import length_of
from hotplate.resp.types import NULL_ARRAY, OK, Bool, Double, Map, Raw, Reply, Set, Simple, Verbatim
from hotplate.spec.args import parse_bool, parse_int, read_float
from hotplate.spec.model import Flag, command, specs_of, string
from hotplate.spec.reply import AnyReply

_NOT_ALLOWED: Final = (
    'DEBUG command not allowed. If the enable-debug-command option is set to "local", you can'
    " run it from a local connection, otherwise you need to set this option in the configuration"
    " file, and then restart the server."
)
_SLEEP_SECONDS_MAX: Final = 3600.0  # a typing error must not stop the server for years
HELP: Final = (
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ERROR <string>",
    "    Return a Redis protocol error with <string> as message. Useful for clients",
    "    unit tests to simulate Redis errors.",
    "OBJECT <key>",
    "    Show low level info about `key` and associated value.",
    "PROTOCOL <type>",
    "    Reply with a test value of the specified type. <type> can be: string,",
    "    integer, double, null, array, set, map, verbatim, true, false.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Setting it to 0 disables expiring keys in background when they are not",
    "    accessed. Setting it to 1 reenables back the default.",
    "SLEEP <seconds>",
    "    Stop the server for <seconds>. Decimals allowed.",
    "STRINGMATCH-LEN <length> <pattern>",
    "    Match that many x against a glob.",
    "HELP",
    "    Print this help.",
)
_PROTOCOL_VALUES: Final[dict[bytes, Reply]] = {
    b"string": b"Hello World",
    b"integer": 12345,
    b"double": Double(3.141),
    b"null": None,
    b"array": [0, 1, 2],
    b"set": Set([0, 1, 2]),
    b"map": Map({0: Bool(False), 1: Bool(True), 2: Bool(False)}),
    b"verbatim": Verbatim(b"This is a verbatim\nstring"),
    b"true": Bool(True),
    b"false": Bool(False),
    b"null-array": NULL_ARRAY,
}


@command(
    "DEBUG",
    group="server",
    since="1.0.0",
    arity=-2,
    is_internal=True,
    summary="A container for debugging commands.",
    complexity="Depends on subcommand.",
    flags=Flag.ADMIN | Flag.NOSCRIPT | Flag.LOADING | Flag.STALE,
    args=(string("subcommand"), string("arg", optional=True, multiple=True)),
    reply=AnyReply(),
)
def debug(ctx: Context, argv: list[bytes]) -> Reply:
    """DEBUG subcommand [arg ...]"""
    if not _is_allowed(ctx):
        raise CommandError(_NOT_ALLOWED)
    found = _SUBCOMMANDS.get(argv[1].upper())
    if found is None or len(argv) - 2 != found[0]:
        raise CommandError(
            b"unknown subcommand or wrong number of arguments for '%b'. Try DEBUG HELP."
            % argv[1][:128]
        )
    return found[1](ctx, argv[2:])


def _is_allowed(ctx: Context) -> bool:
    allowed = ctx.engine.config.enable_debug_command
    if allowed == "local":
        host = ctx.link.peer.rpartition(":")[0]
        return ctx.link.kind == "unix" or host.startswith("127.") or host == "[::1]"
    return allowed == "yes"


def _error(ctx: Context, arguments: list[bytes]) -> Reply:
    # without our code: the text is the whole error, as a client's test wants it
    return Raw(b"-%b\r\n" % arguments[0].replace(b"\r", b" ").replace(b"\n", b" "))


def _object(ctx: Context, arguments: list[bytes]) -> Reply:
    entry = ctx.db.lookup_write(arguments[0], ctx.now_ms)
    if entry is None:
        raise CommandError("no such key")
    idle_s = max(0, ctx.now_ms - entry.accessed_ms) // 1000
    encoding = encoding_of(entry.value)
    size = length_of(entry.value)
    return Simple(
        b"Value at:0x%x refcount:1 encoding:%b serializedlength:%d lru:%d lru_seconds_idle:%d"
        % (id(entry.value), encoding, size, entry.accessed_ms // 1000 % (1 << 24), idle_s)
    )


def _protocol(ctx: Context, arguments: list[bytes]) -> Reply:
    kind = arguments[0].lower()
    if kind not in _PROTOCOL_VALUES:
        raise CommandError(
            "Wrong protocol type name. Please use one of the following: "
            + "|".join(name.decode() for name in _PROTOCOL_VALUES)
        )
    return _PROTOCOL_VALUES[kind]


def _set_active_expire(ctx: Context, arguments: list[bytes]) -> Reply:
    ctx.engine.active_expire = parse_bool(arguments[0], "SET-ACTIVE-EXPIRE")
    return OK


def _sleep(ctx: Context, arguments: list[bytes]) -> Reply:
    seconds = read_float(arguments[0])
    if seconds is None or not 0 <= seconds <= _SLEEP_SECONDS_MAX:
        raise CommandError(
            b"SLEEP takes 0 to %d seconds, not '%b'" % (_SLEEP_SECONDS_MAX, arguments[0][:128])
        )
    ctx.engine.clock.block(seconds * 1000)  # the point of it: nobody is served meanwhile
    return OK


def _stringmatch_len(ctx: Context, arguments: list[bytes]) -> Reply:
    length = parse_int(arguments[0])
    if not 0 <= length <= 1024 * 1024:
        raise CommandError(f"the length must be 0 to 1048576, not {length}")
    return int(bool(compile_glob(arguments[1])(b"x" * length)))


def _help(ctx: Context, arguments: list[bytes]) -> Reply:
    return help_reply(HELP)


_SUBCOMMANDS: Final[dict[bytes, tuple[int, Callable[[Context, list[bytes]], Reply]]]] = {
    b"ERROR": (1, _error),
    b"OBJECT": (1, _object),
    b"PROTOCOL": (1, _protocol),
    b"SET-ACTIVE-EXPIRE": (1, _set_active_expire),
    b"SLEEP": (1, _sleep),
    b"STRINGMATCH-LEN": (2, _stringmatch_len),
    b"HELP": (0, _help),
}

SPECS = specs_of(debug)
