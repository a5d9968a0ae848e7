"""The Lua state that scripts run in: the only module that touches lupa.

    Scripts ─► Runtime.run_script ─► Lua (lua/sandbox.lua) ─► host functions ─► commands

Three facts about lupa and Lua 5.1 decide how it is done:

- An allocation that fails while lupa itself talks to Lua (arguments, results) is not inside a
  protected call: it would end the process, or leave the interpreter's lock taken. So Lua's memory
  has a hard limit, and nothing is handed over unless RESERVE_BYTES are free below it: a call is
  refused, and a host function then does nothing and dooms the script. References to tables need
  no memory, their slots are made in advance.
- What a host function raises reaches Lua as an object. Scripts never see it: every way to catch an
  error is wrapped (sandbox.lua), and objects have no attributes there.
- A hook runs every HOOK_INTERVAL instructions, in coroutines too. It asks `tick` whether the script
  may go on; the error that it raises comes again on each line, so that no pcall survives it.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import lupa.lua51 as lua

from hotplate.engine.scripting_packing import PackingError

log = logging.getLogger("hotplate.engine")

MEMORY_BYTES_MAX: Final = 512 * 1024 * 1024  # of all scripts, their data and garbage
RESERVE_BYTES: Final = 2 * 1024 * 1024
HOOK_INTERVAL: Final = 10_000  # instructions: 0.1 ms, but each may copy a string of megabytes
ARGUMENTS_A_CALL: Final = 200  # more are staged: a call has limited room
_REFERENCES: Final = 8200  # more than the arguments of any call
_CODE: Final = Path(__file__).parent / "lua"
NO_MEMORY: Final = b"ERR not enough memory"

FRAMES: Final = 0
FAILED: Final = 1

Host = dict[str, Callable[..., Any]]


class ScriptError(Exception):
    """Raised by host functions: an error of the script's making.

    `is_reply` errors are a command's, their text begins with a code; the others are Lua's own kind.
    """

    def __init__(self, text: bytes, *, is_reply: bool = True) -> None:
        super().__init__(text)
        self.text = text
        self.is_reply = is_reply


class Runtime:
    """One Lua state with the sandbox in it."""

    def __init__(
        self,
        build_host: Callable[["Runtime"], Host],
        *,
        version: str,
        version_number: int,
        memory_bytes: int = MEMORY_BYTES_MAX,
    ) -> None:
        make: Any = lua.LuaRuntime  # known stubs are older than the library
        self._lua: Any = make(
            encoding=None,
            unpack_returned_tuples=True,
            register_eval=False,
            register_builtins=False,
            attribute_filter=_no_attributes,
            max_memory=memory_bytes,
        )
        self.used_bytes: Callable[[], int] = self._lua.get_memory_used
        self._limit_bytes = memory_bytes
        self.soft_bytes = memory_bytes - RESERVE_BYTES
        self.doomed = False  # a host function found no memory: the script has to end
        host = build_host(self)
        table: dict[bytes, Any] = {name.encode(): function for name, function in host.items()}
        table[b"describe"] = _describe
        table[b"version"] = version.encode()
        table[b"version_number"] = version_number
        sources = [(_CODE / f"{name}.lua").read_bytes() for name in ("cjson", "cmsgpack")]
        load = self._lua.execute(b"return (loadstring(..., '=sandbox'))", _read("sandbox"))
        (
            self._compile_script,
            self.run_script,
            self.forget_script,
            self._load_functions,
            self.run_function,
            self.forget_function,
            self._stage,
            self._prefix,
            self._stop,
        ) = load(self._lua.table_from(table), *sources, HOOK_INTERVAL)
        references = [self._lua.table() for _ in range(_REFERENCES)]
        del references

    # -- memory ------------------------------------------------------------------------------------

    def has_room(self, size_bytes: int) -> bool:
        """Whether so much may be handed to Lua, after a collection if need be."""
        if self.used_bytes() + 2 * size_bytes < self.soft_bytes:
            return True
        self.collect()
        return self.used_bytes() + 2 * size_bytes < self.soft_bytes

    def collect(self) -> None:
        """A full collection."""
        self._lua.gccollect()

    def recover(self) -> None:
        """After a script that ran out of memory, or that ended in a way of its own."""
        self.doomed = False
        self._lua.set_max_memory(0)
        try:
            self._stop()
            self.collect()
        finally:
            self._lua.set_max_memory(self._limit_bytes)

    def table(self, value: Any) -> Any:
        """A Lua table made of dicts and lists."""
        return self._lua.table_from(value, recursive=True)

    # -- code --------------------------------------------------------------------------------------

    def compile_script(self, number: int, text: bytes) -> bytes | None:
        """Keep a script under a number; or what is wrong with it."""
        if not self.has_room(8 * len(text)):
            return NO_MEMORY[4:]
        problem: bytes | None = self._compile_script(number, text)
        return problem

    def load_functions(self, text: bytes) -> tuple[bytes, bool] | None:
        """Run a library's code, which declares functions. What went wrong; and whether already
        before anything ran."""
        if not self.has_room(8 * len(text)):
            return NO_MEMORY, True
        problem: tuple[bytes, bool] | None = self._load_functions(text)
        return problem

    def stage(self, arguments: list[bytes]) -> None:
        """Hand over many arguments before a call."""
        for start in range(0, len(arguments), ARGUMENTS_A_CALL):
            self._stage(*arguments[start : start + ARGUMENTS_A_CALL])

    # -- for host functions ------------------------------------------------------------------------

    def checked(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A library function made fit for Lua: bounded memory, errors with their place."""

        def run(*values: Any) -> Any:
            try:
                if self.starved(_bytes_in(values)):
                    return None
                return function(*values)
            except PackingError as error:
                raise ScriptError(self._placed(error), is_reply=False) from None
            except ScriptError:
                raise
            except Exception:
                log.exception("a library function of scripts failed")
                raise ScriptError(b"ERR internal error") from None

        return run

    def starved(self, size_bytes: int = 0) -> bool:
        """Whether there is too little memory to answer Lua. Then the script is at its end."""
        if self.doomed:
            return True
        if self.used_bytes() + 2 * size_bytes < self.soft_bytes:
            return False
        self.collect()
        self.doomed = self.used_bytes() + 2 * size_bytes >= self.soft_bytes
        return self.doomed

    def _placed(self, error: PackingError) -> bytes:
        place, name = self._prefix()
        text = error.text.encode("latin-1")
        if error.argument is not None:
            text = b"bad argument #%d to '%b' (%b)" % (error.argument, name, text)
        return bytes(place + text)


def _read(name: str) -> bytes:
    return (_CODE / f"{name}.lua").read_bytes()


def _bytes_in(values: tuple[Any, ...]) -> int:
    return sum(len(value) for value in values if isinstance(value, bytes))


def _no_attributes(*_: object) -> object:
    raise AttributeError("scripts see no attributes")


def _describe(problem: Any) -> tuple[bytes, bool]:
    """The text of what a host function raised, and whether it is a command's error."""
    if isinstance(problem, ScriptError):
        return problem.text, problem.is_reply
    return b"ERR internal error", True
