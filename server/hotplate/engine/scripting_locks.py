"""The three scripts of redis-py's Lock as functions, for they run as often as commands do.

A script is one of them if its text is, white space aside (none of them has any in a string). The
function calls the same commands in the same order. It leaves to Lua whatever is out of the
ordinary, before anything is changed: other arguments, an error of a command.
"""

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.resp.types import ONE, ZERO, Raw
from hotplate.spec.model import Command
from hotplate.spec.registry import Registry

Native: TypeAlias = Callable[[Context, list[bytes]], Raw | None]
"""(ctx, argv of EVALSHA with one key) -> the reply, or None: run the script."""

RELEASE: Final = b"""
local token = redis.call('get', KEYS[1])
if not token or token ~= ARGV[1] then
    return 0
end
redis.call('del', KEYS[1])
return 1
"""
EXTEND: Final = b"""
local token = redis.call('get', KEYS[1])
if not token or token ~= ARGV[1] then
    return 0
end
local expiration = redis.call('pttl', KEYS[1])
if not expiration then
    expiration = 0
end
if expiration < 0 then
    return 0
end
local newttl = ARGV[2]
if ARGV[3] == "0" then
    newttl = ARGV[2] + expiration
end
redis.call('pexpire', KEYS[1], newttl)
return 1
"""
REACQUIRE: Final = b"""
local token = redis.call('get', KEYS[1])
if not token or token ~= ARGV[1] then
    return 0
end
redis.call('pexpire', KEYS[1], ARGV[2])
return 1
"""
_MS_DIGITS_MAX: Final = 15  # of whole numbers that Lua keeps exactly


class LockScripts:
    """The functions, by their scripts' text."""

    __slots__ = ("_by_text", "_delete", "_expire", "_get", "_left")

    def __init__(self, commands: Registry) -> None:
        names = (b"get", b"del", b"pttl", b"pexpire")
        found: list[Any] = [commands.find(name) for name in names]
        self._get, self._delete, self._left, self._expire = found
        self._by_text: dict[bytes, Native] = {}
        if None not in found:
            self._by_text = {
                _words(RELEASE): self._release,
                _words(EXTEND): self._extend,
                _words(REACQUIRE): self._reacquire,
            }

    def find(self, text: bytes) -> Native | None:
        """What stands for the script, if anything does."""
        return self._by_text.get(_words(text)) if len(text) < len(EXTEND) * 4 else None

    def _release(self, ctx: Context, argv: list[bytes]) -> Raw | None:
        if len(argv) != 5:
            return None
        _, _, _, key, token = argv
        try:
            self._get.calls += 1  # `_call` in place: no script runs as often
            if self._get.handler(ctx, [b"get", key]) != token:
                return ZERO
            self._delete.calls += 1
            self._delete.handler(ctx, [b"del", key])
        except CommandError:
            return None
        return ONE

    def _extend(self, ctx: Context, argv: list[bytes]) -> Raw | None:
        if len(argv) != 7 or not argv[5].isdigit() or len(argv[5]) > _MS_DIGITS_MAX:
            return None
        key = argv[3]
        try:
            if _call(self._get, ctx, key) != argv[4]:
                return ZERO
            left_ms: int = _call(self._left, ctx, key)
            if left_ms < 0:
                return ZERO
            span = b"%d" % (int(argv[5]) + left_ms) if argv[6] == b"0" else argv[5]
            _call(self._expire, ctx, key, span)
        except CommandError:
            return None
        return ONE

    def _reacquire(self, ctx: Context, argv: list[bytes]) -> Raw | None:
        if len(argv) != 6:
            return None
        try:
            if _call(self._get, ctx, argv[3]) != argv[4]:
                return ZERO
            _call(self._expire, ctx, argv[3], argv[5])
        except CommandError:
            return None
        return ONE


def _call(command: Command, ctx: Context, *arguments: bytes) -> Any:
    assert command.handler is not None
    command.calls += 1
    return command.handler(ctx, [command.name, *arguments])


def _words(text: bytes) -> bytes:
    return b" ".join(text.split())
