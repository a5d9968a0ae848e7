"""redis-py's lock scripts: the functions that stand for them do what Lua does."""

from itertools import product
from typing import Any

import pytest
from redis.lock import Lock
from tests.testing.server_console import ServerConsole

from hotplate.engine.context import Gate
from hotplate.engine.scripting_locks import EXTEND, REACQUIRE, RELEASE, LockScripts

SCRIPTS: dict[str, tuple[bytes, str, list[tuple[bytes, ...]]]] = {
    "release": (RELEASE, Lock.LUA_RELEASE_SCRIPT, [()]),
    "reacquire": (REACQUIRE, Lock.LUA_REACQUIRE_SCRIPT, [(b"5000",), (b"0",), (b"x",), ()]),
    "extend": (
        EXTEND,
        Lock.LUA_EXTEND_SCRIPT,
        [*product([b"5000", b"0", b"007", b"1.5", b"x", b"-5"], [b"0", b"1", b""]), (b"5",)],
    ),
}
STATES = ["", "SET k token", "SET k token PX 1000", "SET k other", "RPUSH k token"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_text_is_that_of_redis_py(name: str) -> None:
    ours, theirs, _ = SCRIPTS[name]
    assert ours.split() == theirs.encode().split()


@pytest.fixture(scope="module")
def consoles() -> tuple[ServerConsole, ServerConsole]:
    """One whose lock scripts are functions, one that leaves all to Lua."""
    functions, lua = ServerConsole(), ServerConsole()
    lua.engine.set_gate(lua.ctx, Gate.TRACKING, True)  # what a script reads is to be remembered
    return functions, lua


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("state", STATES)
def test_the_function_does_what_the_script_does(
    consoles: tuple[ServerConsole, ServerConsole], name: str, state: str
) -> None:
    text, _, argument_lists = SCRIPTS[name]
    for more in argument_lists:
        outcomes = [outcome(console, text, state, more) for console in consoles]
        assert outcomes[0] == outcomes[1], more


def outcome(console: ServerConsole, text: bytes, state: str, more: tuple[bytes, ...]) -> list[Any]:
    """The reply, and what is stored afterwards."""
    console("FLUSHALL")
    if state:
        console(state)
    sha = console("SCRIPT", "LOAD", text)
    changes = console.engine.databases[0].dirty
    frames = console.execute([b"EVALSHA", sha, b"1", b"k", b"token", *more])
    changes = console.engine.databases[0].dirty - changes
    return [frames, console("EXISTS k"), console("PTTL k"), changes]


def test_functions_are_used_and_count_as_their_commands_do() -> None:
    console = ServerConsole()
    sha = console("SCRIPT", "LOAD", RELEASE)
    console("SET k token")
    assert console("EVALSHA", sha, 1, "k", "other") == 0
    assert console("EVALSHA", sha, 1, "k", "token") == 1
    assert console("EXISTS k") == 0
    info = console("INFO commandstats")
    assert b"cmdstat_get:calls=2," in info
    assert b"cmdstat_del:calls=1," in info
    assert console.engine.scripts.running is None


def test_what_is_out_of_the_ordinary_is_left_to_lua() -> None:
    console = ServerConsole()
    console("SET k token")
    sha = console("SCRIPT", "LOAD", RELEASE)
    assert "Write commands are not allowed" in console.refused("EVALSHA_RO", sha, 1, "k", "token")
    assert console("EVALSHA", sha, 1, "k") == 0
    assert "keys can't be greater" in console.refused("EVALSHA", sha, 1)
    assert console("EVALSHA", sha, 1, "k", "token", "more") == 1
    assert LockScripts(console.engine.commands).find(RELEASE + b"-- x") is None
