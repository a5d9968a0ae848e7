"""What a script can do: its commands and the other `redis.*` functions, as Lua calls them.

A script's commands run with a context of their own, through the same handlers as a client's. The
plain case (known command, right arity, nothing forbidden) is decided in `call` itself; everything
else goes through `Caller.admit`. Arguments are bytes and numbers; a handler gets bytes only.
"""

import hashlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from hotplate.engine.context import Context, Gate
from hotplate.engine.gates import call as run_command
from hotplate.engine.gates import find
from hotplate.engine.nobody import NoLink
from hotplate.engine.scripting_packing import (
    BIT_FUNCTIONS,
    double_bytes,
    double_value,
    struct_pack,
    struct_size,
    struct_unpack,
)
from hotplate.engine.scripting_reply import size_of, to_lua
from hotplate.engine.scripting_runtime import Host, Runtime, ScriptError
from hotplate.errors import CommandError
from hotplate.resp.encoder import double_text
from hotplate.resp.types import ONE, ZERO, Raw
from hotplate.spec.model import Command, Flag

if TYPE_CHECKING:
    from hotplate.engine.engine import Engine

log = logging.getLogger("hotplate.engine")
_script_log = logging.getLogger("hotplate.script")

WRITE: Final = int(Flag.WRITE)
_DENYOOM: Final = int(Flag.DENYOOM)
_NEVER: Final = int(Flag.NOSCRIPT | Flag.NO_MULTI)  # what waits outside MULTI does so here
_SMALL_BYTES: Final = 4096  # a reply that the reserve of memory has room for
_WHOLE_TEXT_MAX: Final = 10**17  # integers that %.17g writes as such
_LEVELS: Final = (logging.DEBUG, logging.DEBUG, logging.INFO, logging.WARNING)
_REPLICATION_FLAGS_MAX: Final = 3
_RANDOM_START: Final = 0x330E  # the low bits that srand48 sets
_RANDOM_MASK: Final = 2**48 - 1
_RAW_VALUES: Final[dict[bytes, int]] = {ONE: 1, ZERO: 0}
_RESP_VERSIONS: Final = (2, 3)

_NO_ARGUMENTS: Final = b"ERR Please specify at least one argument for this redis lib call"
_BAD_ARGUMENTS: Final = b"ERR Lua redis lib command arguments must be strings or integers"
_UNKNOWN_COMMAND: Final = b"ERR Unknown Redis command called from script"
_WRONG_ARITY: Final = b"ERR Wrong number of args calling Redis command from script"
_NOT_ALLOWED: Final = b"ERR This Redis command is not allowed from script"
_READ_ONLY: Final = b"ERR Write commands are not allowed from read-only scripts."
_OUT_OF_MEMORY: Final = b"OOM command not allowed when used memory > 'maxmemory'."
_INTERNAL_ERROR: Final = b"ERR internal error"


class Caller:
    """The running script as a client of the engine."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self.ctx = Context(engine, 0, NoLink("script"), 0)
        self.ctx.deny_blocking = True
        self.forbidden = _NEVER  # flags of commands that need a second look
        self.seen_flags = 0  # of the commands that ran
        self._is_read_only = False
        self._is_full = False
        self._is_unsafe = False
        self.random = engine.rng.getrandbits(48)  # goes on from script to script, as in Redis

    def begin(self, ctx: Context, *, read_only: bool, allow_oom: bool) -> None:
        """A script of `ctx` begins."""
        own = self.ctx
        own.db = ctx.db
        own.now_ms = ctx.now_ms
        own.user = ctx.user
        own.no_touch = ctx.no_touch
        own.tracking = ctx.tracking
        own.gates = ctx.gates & Gate.TRACKING
        own.resp = 2
        self.seen_flags = 0
        # whether memory is short is decided once, before the script, so that it runs as a whole
        self._is_full = bool(self._engine.gates & Gate.FULL) and not allow_oom
        self._is_read_only = read_only
        self._is_unsafe = bool(self._engine.gates & Gate.UNSAFE)
        may_not_write = read_only or self._is_unsafe
        self.forbidden = (
            _NEVER | (WRITE if may_not_write else 0) | (_DENYOOM if self._is_full else 0)
        )

    def admit(self, argv: list[bytes]) -> Command:
        """The command that `argv` names, if it may run. ScriptError says why not."""
        if not argv:
            raise ScriptError(_NO_ARGUMENTS)
        command = find(self._engine, argv)
        if command is None or (command.subcommands is not None and len(argv) > 1):
            raise ScriptError(_UNKNOWN_COMMAND)
        if command.handler is None or not command.arity_min <= len(argv) <= command.arity_max:
            raise ScriptError(_WRONG_ARITY)
        why = None
        if command.flags & _NEVER:
            why = _NOT_ALLOWED
        elif command.flags & WRITE and self._is_read_only:
            why = _READ_ONLY
        elif command.flags & WRITE and self._is_unsafe:
            why = b"MISCONF " + self._engine.unsafe.encode()
        elif self._is_full and command.flags & _DENYOOM and not self.seen_flags & WRITE:
            why = _OUT_OF_MEMORY
        if why is not None:
            command.rejected += 1
            raise ScriptError(why)
        return command


def as_texts(arguments: tuple[Any, ...]) -> list[bytes]:
    """A command's arguments: numbers as Redis writes a script's."""
    texts: list[bytes] = []
    for argument in arguments:
        kind = argument.__class__
        if kind is bytes:
            texts.append(argument)
        elif kind is int and -_WHOLE_TEXT_MAX < argument < _WHOLE_TEXT_MAX:
            texts.append(b"%d" % argument)
        elif kind is float or kind is int:
            texts.append(b"%.17g" % argument)
        else:
            raise ScriptError(_BAD_ARGUMENTS)
    return texts


def build_call(
    engine: "Engine", caller: Caller, runtime: Runtime, *, raises: bool
) -> Callable[..., Any]:
    """`redis.call`, or `redis.pcall` that answers errors instead."""
    lookup = engine.commands.table.get
    ctx = caller.ctx
    used_bytes, soft_bytes, starved = runtime.used_bytes, runtime.soft_bytes, runtime.starved

    def call(*arguments: Any) -> Any:
        command: Command | None = None
        try:
            if used_bytes() > soft_bytes and starved():
                return None
            argv: list[bytes] = list(arguments)
            for argument in argv:
                if argument.__class__ is not bytes:
                    argv = as_texts(arguments)
                    break
            command = lookup(argv[0]) if argv else None
            if (
                command is None
                or not command.arity_min <= len(argv) <= command.arity_max
                or command.flags & caller.forbidden
            ):
                command = caller.admit(argv)
            caller.seen_flags |= command.flags
            command.calls += 1
            handler: Any = command.handler
            gates = ctx.gates or engine.gates
            reply = run_command(ctx, command, argv) if gates else handler(ctx, argv)
            kind = reply.__class__
            if kind is bytes:
                if len(reply) > _SMALL_BYTES and starved(len(reply)):
                    return None
                return reply
            if kind is int:
                return reply
            if kind is Raw:
                number = _RAW_VALUES.get(reply)
                if number is not None:
                    return number
            elif reply is None and ctx.resp == 2:
                return False
            value = to_lua(reply, ctx.resp)
            if isinstance(value, (dict, list)):
                return None if starved(size_of(value)) else runtime.table(value)
            return None if isinstance(value, bytes) and starved(len(value)) else value
        except ScriptError as error:
            text = error.text
        except CommandError as error:
            text = error.frame[1:-2]
            if command is not None:
                command.failed += 1
        except Exception:
            log.exception("%s failed in a script", "?" if command is None else command.spec.name)
            text = _INTERNAL_ERROR
        if raises:
            raise ScriptError(text)
        engine.stats.count_error(text.partition(b" ")[0].decode("ascii", "replace"))
        return runtime.table({b"err": text})

    return call


class _Functions:
    """The rest of `redis.*`, and what the sandbox itself asks for."""

    def __init__(self, engine: "Engine", caller: Caller) -> None:
        self._engine = engine
        self._caller = caller

    def log(self, *values: Any) -> None:
        """redis.log(level, text ...)"""
        if len(values) < 2:
            raise ScriptError(b"ERR redis.log() requires two arguments or more.")
        level = values[0]
        if not isinstance(level, (int, float)) or isinstance(level, bool):
            raise ScriptError(b"ERR First argument must be a number (log level).")
        if not 0 <= level < len(_LEVELS):
            raise ScriptError(b"ERR Invalid debug level.")
        texts = [_text_of(value) for value in values[1:]]
        shown = b" ".join(text for text in texts if text is not None)
        _script_log.log(_LEVELS[int(level)], "%s", shown.decode("utf-8", "backslashreplace"))

    def sha1hex(self, *values: Any) -> bytes:
        """redis.sha1hex(text)"""
        if len(values) != 1:
            raise ScriptError(b"ERR wrong number of arguments")
        text = _text_of(values[0]) or b""
        return hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()

    def setresp(self, *values: Any) -> None:
        """redis.setresp(2 | 3)"""
        if len(values) != 1:
            raise ScriptError(b"ERR redis.setresp() requires one argument.")
        if values[0] not in _RESP_VERSIONS:
            raise ScriptError(b"ERR RESP version must be 2 or 3.")
        self._caller.ctx.resp = int(values[0])

    def set_repl(self, *values: Any) -> None:
        """redis.set_repl(flags): there are no replicas."""
        if len(values) != 1:
            raise ScriptError(b"ERR redis.set_repl() requires one argument.")
        flags = values[0]
        if not isinstance(flags, (int, float)) or not 0 <= flags <= _REPLICATION_FLAGS_MAX:
            raise ScriptError(
                b"ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE."
            )

    def acl_check_cmd(self, *values: Any) -> bool:
        """redis.acl_check_cmd(command, argument ...)"""
        if not values:
            raise ScriptError(_NO_ARGUMENTS)
        command = find(self._engine, list(as_texts(values)))
        if command is None or command.handler is None:
            raise ScriptError(b"ERR Invalid command passed to redis.acl_check_cmd()")
        return True

    def random31(self) -> int:
        """lrand48."""
        caller = self._caller
        caller.random = caller.random * 0x5DEECE66D + 0xB & _RANDOM_MASK
        return caller.random >> 17

    def seed(self, *values: Any) -> None:
        """math.randomseed(number)"""
        if not values or not isinstance(values[0], (int, float)) or values[0] != values[0]:
            raise ScriptError(b"ERR math.randomseed() requires a number")
        number = int(max(min(values[0], 2**63), -(2**63)))
        self._caller.random = (number & 0xFFFFFFFF) << 16 | _RANDOM_START

    def script_resp(self) -> int:
        """What setresp was told."""
        return self._caller.ctx.resp


def _text_of(value: Any) -> bytes | None:
    """A string or number as Lua's own conversion gives it."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return b"%.14g" % value
    return None


def host_functions(
    engine: "Engine",
    caller: Caller,
    checked: Callable[[Callable[..., Any]], Callable[..., Any]],
) -> Host:
    """All but `call`, `pcall`, `tick` and `declare`; `checked` bounds memory and places errors."""
    functions = _Functions(engine, caller)
    plain: Host = {
        "log": functions.log,
        "sha1hex": functions.sha1hex,
        "setresp": functions.setresp,
        "set_repl": functions.set_repl,
        "acl_check_cmd": functions.acl_check_cmd,
        "random31": functions.random31,
        "seed": functions.seed,
        "script_resp": functions.script_resp,
        "double_text": double_text,
        "double_bytes": double_bytes,
        "double_value": double_value,
        "struct_pack": struct_pack,
        "struct_unpack": struct_unpack,
        "struct_size": struct_size,
    }
    plain.update({f"bit_{name}": function for name, function in BIT_FUNCTIONS.items()})
    return {name: checked(function) for name, function in plain.items()}
