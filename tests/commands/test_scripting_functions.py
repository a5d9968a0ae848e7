"""FUNCTION and FCALL: libraries, whole or not at all."""

import pytest
from tests.testing.console import Console
from tests.testing.server_console import ServerConsole

from hotplate.errors import CommandError

LIBRARY = (
    "#!lua name=lib\n"
    "local count = 0\n"
    "redis.register_function('next', function() count = count + 1 return count end)\n"
    "redis.register_function{function_name='get', description='Reads.', flags={'no-writes'},\n"
    " callback=function(keys, args) return {redis.call('get', keys[1]), args[1]} end}"
)
OTHER = "#!lua name=other\nredis.register_function('other', function() return 1 end)"


@pytest.fixture(params=[2, 3])
def console(request: pytest.FixtureRequest) -> ServerConsole:
    return ServerConsole(resp=request.param)


def refused(console: Console, *words: str | bytes) -> str:
    with pytest.raises(CommandError) as caught:
        console(*words)
    return caught.value.message.decode()


def names(console: Console) -> list[bytes]:
    return list(console.engine.libraries.functions)


def test_functions_are_called_by_name_and_keep_their_state(console: ServerConsole) -> None:
    assert console("FUNCTION", "LOAD", LIBRARY) == b"lib"
    assert [console("FCALL next 0"), console("FCALL next 0")] == [1, 2]
    console("SET a x")
    assert console("FCALL get 1 a b") == [b"x", b"b"]
    assert console("FCALL_RO get 1 a b") == [b"x", b"b"]
    text = "ERR Can not execute a script with write flag using *_ro command."
    assert refused(console, "FCALL_RO", "next", "0") == text
    assert refused(console, "FCALL", "nope", "0") == "ERR Function not found"


def test_a_library_is_replaced_only_when_asked_and_only_by_a_good_one(
    console: ServerConsole,
) -> None:
    console("FUNCTION", "LOAD", LIBRARY)
    assert refused(console, "FUNCTION", "LOAD", LIBRARY) == "ERR Library 'lib' already exists"
    broken = LIBRARY + "\nerror('x')"
    assert "nonexistent global variable 'error'" in refused(
        console, "FUNCTION", "LOAD", "REPLACE", broken
    )
    console("FCALL next 0")
    assert console("FCALL next 0") == 2
    assert console("FUNCTION", "LOAD", "REPLACE", LIBRARY) == b"lib"
    assert console("FCALL next 0") == 1


def test_function_names_are_unique_among_libraries(console: ServerConsole) -> None:
    console("FUNCTION", "LOAD", OTHER)
    clash = OTHER.replace("name=other", "name=third")
    assert refused(console, "FUNCTION", "LOAD", clash) == "ERR Function other already exists"
    assert names(console) == [b"other"]


def test_dumped_libraries_come_back(console: ServerConsole) -> None:
    console("FUNCTION", "LOAD", LIBRARY)
    console("FUNCTION", "LOAD", OTHER)
    payload = console("FUNCTION DUMP")
    text = refused(console, "FUNCTION", "RESTORE", payload)
    assert text == "ERR Library 'lib' already exists"
    console("FUNCTION DELETE lib")
    assert names(console) == [b"other"]
    assert console("FUNCTION", "RESTORE", payload, "REPLACE") == b"OK"
    assert sorted(names(console)) == [b"get", b"next", b"other"]
    console("FUNCTION FLUSH")
    assert console("FUNCTION", "RESTORE", payload, "FLUSH") == b"OK"
    assert console("FCALL next 0") == 1
    damaged = payload[:-1] + bytes((payload[-1] ^ 1,))
    text = refused(console, "FUNCTION", "RESTORE", damaged)
    assert text == "ERR DUMP payload version or checksum are wrong"


def test_a_restore_that_fails_half_way_changes_nothing(console: ServerConsole) -> None:
    console("FUNCTION", "LOAD", LIBRARY)
    console("FUNCTION", "LOAD", OTHER)
    payload = console("FUNCTION DUMP")
    console("FUNCTION DELETE lib")
    refused(console, "FUNCTION", "RESTORE", payload, "APPEND")
    assert names(console) == [b"other"]
    assert console("FCALL other 0") == 1


def test_libraries_are_listed(console: ServerConsole) -> None:
    console("FUNCTION", "LOAD", LIBRARY)
    console.ctx.resp = 2
    (found,) = console("FUNCTION LIST LIBRARYNAME L* WITHCODE")
    assert found == [
        *(b"library_name", b"lib", b"engine", b"LUA", b"functions"),
        [
            [b"name", b"next", b"description", None, b"flags", []],
            [b"name", b"get", b"description", b"Reads.", b"flags", [b"no-writes"]],
        ],
        *(b"library_code", LIBRARY.encode()),
    ]
    assert console("FUNCTION LIST LIBRARYNAME x*") == []


def test_the_code_of_a_library_may_not_run_for_long() -> None:
    import time

    from hotplate.clock import ManualClock

    class RunningClock(ManualClock):
        def monotonic_ns(self) -> int:
            return time.monotonic_ns() * 1000

    console = Console()
    console.engine.clock = RunningClock()
    text = refused(console, "FUNCTION", "LOAD", "#!lua name=l\nwhile true do end")
    assert text == "ERR Error registering functions: ERR FUNCTION LOAD timeout"
    console("FUNCTION", "LOAD", OTHER)
    assert console("FCALL other 0") == 1


def test_what_scripts_take_is_shown(console: ServerConsole) -> None:
    console("EVAL", "return 1", 0)
    console("SCRIPT", "LOAD", "return 2")
    console("FUNCTION", "LOAD", LIBRARY)
    info = console("INFO memory").decode()
    rows = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    assert rows["number_of_cached_scripts"] == "2"
    assert (rows["number_of_functions"], rows["number_of_libraries"]) == ("2", "1")
    assert int(rows["used_memory_lua"]) > 10_000
