"""Scripts: the cache, running them, and ending them.

A script runs inside one command of one client, on the loop's thread: nothing else happens between
two of its commands, and all of them see one time.

    idle ──run──► running ──busy-reply-threshold──► busy: others are answered BUSY by `busy_poll`
     ▲               │                                │
     └───────────────┴── the script ends, or is made to: SCRIPT KILL, SHUTDOWN, no memory

Always holds: at most one script runs; the Lua state exists from the first script on; scripts that
came with EVAL are forgotten, oldest use first, beyond EVAL_SCRIPTS_MAX or EVAL_BYTES_MAX.
"""

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from hotplate.engine.context import Context, Gate
from hotplate.engine.gates import find
from hotplate.engine.info import REDIS_VERSION
from hotplate.engine.scripting_host import WRITE, Caller, build_call, host_functions
from hotplate.engine.scripting_locks import LockScripts, Native
from hotplate.engine.scripting_runtime import FAILED, FRAMES, NO_MEMORY, Host, Runtime
from hotplate.engine.scripting_shebang import read_script
from hotplate.errors import (
    BusyError,
    CommandError,
    NoScriptError,
    NotBusyError,
    OutOfMemoryError,
    UnkillableError,
)
from hotplate.resp.types import Bool, Raw, Reply
from hotplate.spec.args import parse_int
from hotplate.spec.model import Command

if TYPE_CHECKING:
    from hotplate.engine.engine import Engine

log = logging.getLogger("hotplate.engine")

EVAL_SCRIPTS_MAX: Final = 500  # as Redis 7.4
EVAL_BYTES_MAX: Final = 16 * 1024 * 1024
_LOADING_MAX_NS: Final = 500_000_000  # for the code of a library
_MS_NS: Final = 1_000_000
_COUNTS: Final = {b"%d" % count: count for count in range(16)}
_ARGUMENTS_MAX: Final = 200  # more are handed over in pieces
_SHA_BYTES: Final = 40
_INT64_MIN: Final = -(2**63)
# why a script has to end, as sandbox.lua numbers the texts
KILLED: Final = 1
NO_MEMORY_LEFT: Final = 3
LOADED_TOO_LONG: Final = 4
STOPPED: Final = 5


class Callee:
    """A script or function at hand: what is needed to run it."""

    __slots__ = ("flags", "is_function", "name", "native", "number", "size_bytes")

    def __init__(
        self, name: bytes, number: int, flags: frozenset[bytes] | None, *, is_function: bool
    ) -> None:
        self.name = name  # a function's; the SHA-1 of a script
        self.number = number  # in the Lua state
        self.flags = flags  # None: a script without a shebang
        self.is_function = is_function
        self.size_bytes = 0
        self.native: Native | None = None  # a function that does the same as a rule


class Scripts:
    """The scripts of one server."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self.caller = Caller(engine)
        self._locks = LockScripts(engine.commands)
        self._runtime: Runtime | None = None
        self._loaded: dict[bytes, Callee] = {}  # by SCRIPT LOAD: kept until a flush
        self._evaluated: OrderedDict[bytes, Callee] = OrderedDict()  # by EVAL, oldest use first
        self._evaluated_bytes = 0
        self._last_number = 0
        self.evicted = 0
        # the script under way
        self.running: Callee | None = None
        self.running_ctx: Context | None = None  # of the client that runs it
        self.running_argv: list[bytes] = []
        self._started_ns = 0  # 0: the hook has not looked yet
        self._ending = 0  # why it must end
        self._is_loading = False
        self._is_busy = False
        # set by the server: one bounded look at the sockets while a script is busy, and its end
        self.busy_poll: Callable[[], None] = _nobody
        self.busy_end: Callable[[], None] = _nobody
        # set by the libraries of functions
        self.declare: Callable[..., bytes | None] = _no_library

    @property
    def runtime(self) -> Runtime:
        """The Lua state, made when it is first needed."""
        if self._runtime is None:
            self._runtime = self._build_runtime()
        return self._runtime

    def _build_runtime(self) -> Runtime:
        engine, caller = self._engine, self.caller

        def build_host(runtime: Runtime) -> Host:
            return {
                **host_functions(engine, caller, runtime.checked),
                "call": build_call(engine, caller, runtime, raises=True),
                "pcall": build_call(engine, caller, runtime, raises=False),
                "tick": self._tick,
                "declare": runtime.checked(lambda *values: self.declare(*values)),
            }

        major, minor, patch = map(int, REDIS_VERSION.split("."))
        number = major << 16 | minor << 8 | patch
        return Runtime(build_host, version=REDIS_VERSION, version_number=number)

    @property
    def cached(self) -> int:
        """How many scripts are known."""
        return len(self._loaded) + len(self._evaluated)

    @property
    def lua_bytes(self) -> int:
        """What the Lua state takes."""
        return 0 if self._runtime is None else self._runtime.used_bytes()

    # -- the cache ---------------------------------------------------------------------------------

    def load(self, text: bytes) -> bytes:
        """Keep a script until a flush; its SHA-1."""
        sha = _sha(text)
        if sha not in self._loaded:
            callee = self._evaluated.pop(sha, None)
            if callee is None:
                callee = self._compile(sha, text)
            else:
                self._evaluated_bytes -= callee.size_bytes
            self._loaded[sha] = callee
        return sha

    def knows(self, sha: bytes) -> bool:
        """Whether EVALSHA would find it."""
        sha = sha.lower()
        return sha in self._loaded or sha in self._evaluated

    def only_reads(self, command: Command, argv: list[bytes]) -> bool:
        """Whether a call is that of a script or function that declares `no-writes`."""
        flags: frozenset[bytes] | None = None
        if command.name == b"eval":
            try:
                flags = read_script(argv[1]).flags
            except CommandError:
                return True  # it is refused when it is called
        elif command.name == b"evalsha":
            sha = argv[1].lower()
            callee = self._loaded.get(sha) or self._evaluated.get(sha)
            flags = None if callee is None else callee.flags
        elif command.name == b"fcall":
            function = self._engine.libraries.functions.get(argv[1])
            flags = None if function is None else function.callee.flags
        return flags is not None and b"no-writes" in flags

    def flush(self) -> None:
        """Forget all scripts."""
        for callee in (*self._loaded.values(), *self._evaluated.values()):
            self.runtime.forget_script(callee.number)
        self._loaded.clear()
        self._evaluated.clear()
        self._evaluated_bytes = 0
        if self._runtime is not None:
            self._runtime.collect()

    def _compile(self, sha: bytes, text: bytes) -> Callee:
        shebang = read_script(text)
        self._last_number += 1
        problem = self.runtime.compile_script(self._last_number, shebang.code)
        if problem is not None:
            raise CommandError(b"Error compiling script (new function): " + problem)
        callee = Callee(sha, self._last_number, shebang.flags, is_function=False)
        callee.size_bytes = len(text)
        callee.native = self._locks.find(text)
        return callee

    def _remember(self, callee: Callee) -> None:
        """A new script of EVAL; others may have to go for it."""
        evaluated = self._evaluated
        evaluated[callee.name] = callee
        self._evaluated_bytes += callee.size_bytes
        while len(evaluated) > EVAL_SCRIPTS_MAX or (
            self._evaluated_bytes > EVAL_BYTES_MAX and len(evaluated) > 1
        ):
            _, oldest = evaluated.popitem(last=False)
            self._evaluated_bytes -= oldest.size_bytes
            self.runtime.forget_script(oldest.number)
            self.evicted += 1

    # -- running -----------------------------------------------------------------------------------

    def evaluate(self, ctx: Context, argv: list[bytes], *, read_only: bool = False) -> Reply:
        """EVAL: the script's text is argv[1]."""
        count = count_of_keys(argv)
        text = argv[1]
        sha = _sha(text)
        callee = self._loaded.get(sha) or self._evaluated.get(sha)
        if callee is None:
            callee = self._compile(sha, text)
            self._remember(callee)
        elif sha in self._evaluated:
            self._evaluated.move_to_end(sha)
        return self.run(ctx, callee, count, argv, read_only=read_only)

    def evaluate_known(self, ctx: Context, argv: list[bytes], *, read_only: bool = False) -> Reply:
        """EVALSHA: argv[1] is the SHA-1."""
        sha = argv[1]
        callee = self._loaded.get(sha)
        if callee is None:
            sha = sha.lower()
            callee = self._loaded.get(sha) or self._evaluated.get(sha)
            if callee is None:
                if len(sha) == _SHA_BYTES:
                    count_of_keys(argv)
                raise NoScriptError("No matching script. Please use EVAL.")
            if sha in self._evaluated:
                self._evaluated.move_to_end(sha)
        native = callee.native
        if native is not None and argv[2] == b"1" and not (ctx.gates | self._engine.gates):
            reply = None if read_only else native(ctx, argv)
            if reply is not None:
                return reply
        count = _COUNTS.get(argv[2], -1)
        if not 0 <= count <= len(argv) - 3:
            count = count_of_keys(argv)
        return self.run(ctx, callee, count, argv, read_only=read_only)

    def run(
        self, ctx: Context, callee: Callee, count: int, argv: list[bytes], *, read_only: bool
    ) -> Reply:
        """Run it with `count` keys from argv[3] on."""
        flags = callee.flags
        allow_oom = False
        if flags is not None:
            read_only, allow_oom = self._judge(flags, read_only)
        runtime = self._runtime or self.runtime
        arguments = argv[3:]
        size_bytes = 64 * len(arguments)
        for argument in arguments:
            size_bytes += len(argument)
        if runtime.used_bytes() + 2 * size_bytes >= runtime.soft_bytes and not runtime.has_room(
            size_bytes
        ):
            raise CommandError("not enough memory for the arguments of a script")
        self.caller.begin(ctx, read_only=read_only, allow_oom=allow_oom)
        self.running = callee
        self.running_ctx = ctx
        self.running_argv = argv
        self._started_ns = self._ending = 0
        enter = runtime.run_function if callee.is_function else runtime.run_script
        try:
            if len(arguments) > _ARGUMENTS_MAX:
                runtime.stage(arguments)
                arguments = []
            result = enter(callee.number, ctx.resp, count, *arguments)
        except Exception as error:
            result = self._escaped(error)
        finally:
            self.running = None
            if self._is_busy:
                self._leave_busy()
        if runtime.doomed:
            result = (FAILED, NO_MEMORY, b"=?", -1)
            runtime.recover()
        kind = result.__class__
        if kind is bytes or kind is int or result is None:
            return result
        return self._answer(ctx, callee, result)

    def _judge(self, flags: frozenset[bytes], read_only: bool) -> tuple[bool, bool]:
        """Whether a script with flags may run; whether it only reads, whether it may allocate."""
        no_writes = b"no-writes" in flags
        if read_only and not no_writes:
            raise CommandError("Can not execute a script with write flag using *_ro command.")
        allow_oom = b"allow-oom" in flags or no_writes
        if self._engine.gates & Gate.FULL and not allow_oom:
            raise OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")
        return no_writes, allow_oom

    def _escaped(self, error: Exception) -> Any:
        """What came out of Lua outside of any script: no memory, or an end at the last moment."""
        text = NO_MEMORY
        if not isinstance(error, MemoryError):
            text = b"ERR Script killed by user with SCRIPT KILL..."
            if not self._ending:
                log.error("a script ended in an unusual way", exc_info=error)
                text = b"ERR internal error"
        self.runtime.recover()
        return FAILED, text, b"=?", -1

    def _answer(self, ctx: Context, callee: Callee, result: Any) -> Reply:
        """A reply of what is neither text nor a whole number."""
        if isinstance(result, tuple):
            if result[0] == FRAMES:
                return Raw(result[1])
            _, text, source, line = result
            text = b"%b script: %b" % (text, callee.name)
            if line > 0:
                text = b"%b, on %b:%d." % (text, source, line)
            return self._failed(ctx, text)
        if isinstance(result, bool):
            if self.caller.ctx.resp == 3:
                return Bool(result)
            return 1 if result else None
        if result != result or not -(2.0**63) <= result < 2.0**63:
            return _INT64_MIN
        return int(result)

    def _failed(self, ctx: Context, text: bytes) -> Raw:
        if text.startswith(NO_MEMORY):
            log.warning("a script ran out of memory")
            if not self.runtime.has_room(0):
                self.runtime.recover()
        self._engine.stats.count_error(text.partition(b" ")[0].decode("ascii", "replace"))
        command = find(self._engine, self.running_argv)
        if command is not None:
            command.failed += 1
        return Raw(b"-%b\r\n" % text.replace(b"\r", b" ").replace(b"\n", b" "))

    def load_functions(self, code: bytes) -> tuple[bytes, bool] | None:
        """Run a library's code; what went wrong, and whether already before it ran."""
        runtime = self.runtime
        self._started_ns = self._ending = 0
        self._is_loading = True
        try:
            problem = runtime.load_functions(code)
        except Exception as error:
            problem = self._escaped(error)[1], False
        finally:
            self._is_loading = False
        if runtime.doomed:
            problem = NO_MEMORY, False
            runtime.recover()
        return problem

    # -- ending ------------------------------------------------------------------------------------

    def kill(self, *, is_function: bool) -> None:
        """SCRIPT KILL and FUNCTION KILL: refused once the script has written."""
        running = self.running
        if running is None:
            raise NotBusyError("No scripts in execution right now.")
        if self.caller.seen_flags & WRITE:
            raise UnkillableError(
                "Sorry the script already executed write commands against the dataset. You can"
                " either wait the script termination or kill the server in a hard way using the"
                " SHUTDOWN NOSAVE command."
            )
        if running.is_function is not is_function:
            raise self.busy_error()
        self._ending = KILLED

    def stop(self) -> None:
        """The server ends: so does the script, whatever it did."""
        if self.running is not None:
            self._ending = STOPPED

    def busy_error(self) -> BusyError:
        """What everybody is answered meanwhile."""
        is_function = self.running is not None and self.running.is_function
        word = "FUNCTION" if is_function else "SCRIPT"
        return BusyError(
            f"Redis is busy running a script. You can only call {word} KILL or SHUTDOWN NOSAVE."
        )

    def running_ms(self) -> int:
        """How long the script has been running."""
        if not self._started_ns:
            return 0
        return (self._engine.clock.monotonic_ns() - self._started_ns) // _MS_NS

    def _tick(self) -> int | None:
        """The hook's question: why the script must end now, None: it may go on. Never raises."""
        try:
            return self._look()
        except Exception:
            log.exception("looking after a busy script failed")
            return None

    def _look(self) -> int | None:
        if self.runtime.starved():
            return NO_MEMORY_LEFT
        now_ns = self._engine.clock.monotonic_ns()
        if not self._started_ns:
            self._started_ns = now_ns
            return self._ending or None
        spent_ns = now_ns - self._started_ns
        if self._is_loading:
            return LOADED_TOO_LONG if spent_ns >= _LOADING_MAX_NS else None
        threshold_ms = self._engine.config.busy_reply_threshold
        if threshold_ms > 0 and spent_ns >= threshold_ms * _MS_NS and self.running is not None:
            if not self._is_busy:
                self._enter_busy()
            self.busy_poll()
        return self._ending or None

    def _enter_busy(self) -> None:
        assert self.running is not None
        self._is_busy = True
        self._engine.gates |= Gate.BUSY
        log.warning(
            "Slow script detected: still in execution after %d milliseconds. You can try killing"
            " the script using the %s KILL command. Script name is: %s.",
            self.running_ms(),
            "FUNCTION" if self.running.is_function else "SCRIPT",
            self.running.name.decode("ascii", "backslashreplace"),
        )

    def _leave_busy(self) -> None:
        self._is_busy = False
        self._engine.gates &= ~Gate.BUSY
        self.busy_end()


def _sha(text: bytes) -> bytes:
    return hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()


def count_of_keys(argv: list[bytes]) -> int:
    """The number of keys that argv[2] says."""
    count = parse_int(argv[2])
    if count > len(argv) - 3:
        raise CommandError("Number of keys can't be greater than number of args")
    if count < 0:
        raise CommandError("Number of keys can't be negative")
    return count


def _nobody() -> None:
    """No server runs this engine: there are no sockets to look at."""


def _no_library(*values: Any) -> bytes | None:
    return b"no library is being loaded"
