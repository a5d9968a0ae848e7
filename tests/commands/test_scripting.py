"""EVAL, EVALSHA and SCRIPT, alone; tests/commands/test_scripts_beside_redis.py compares replies."""

import hashlib
import time
from collections.abc import Callable

import pytest
from tests.testing.console import Console, build_engine
from tests.testing.server_console import ServerConsole

from hotplate.clock import ManualClock
from hotplate.engine import scripting
from hotplate.engine.context import Gate
from hotplate.engine.scripting_busy import answer_while_busy
from hotplate.errors import CommandError


@pytest.fixture(params=[2, 3])
def console(request: pytest.FixtureRequest) -> ServerConsole:
    return ServerConsole(resp=request.param)


STANDING = """
    local before = redis.call('time')
    for i = 1, 10000 do redis.call('get', 'a') end
    local after = redis.call('time')
    return before[1] == after[1] and redis.call('exists', 'a')"""


def run(console: Console, script: str, *arguments: str, keys: int = 0) -> object:
    return console("EVAL", script, keys, *arguments)


def refused(console: Console, script: str) -> str:
    with pytest.raises(CommandError) as caught:
        run(console, script)
    return caught.value.message.decode()


def test_a_script_has_keys_and_arguments(console: ServerConsole) -> None:
    script = "return {KEYS[1], KEYS[2], ARGV[1], #KEYS, #ARGV}"
    assert console("EVAL", script, 2, "a", "b", "c", "d") == [b"a", b"b", b"c", 2, 2]


def test_more_arguments_than_a_call_holds_arrive_all(console: ServerConsole) -> None:
    many = [str(number) for number in range(20_000)]
    script = "return {#KEYS, #ARGV, KEYS[7], ARGV[19993]}"
    assert console("EVAL", script, 7, *many) == [7, 19_993, b"6", b"19999"]
    assert run(console, "return #ARGV") == 0


def test_evalsha_runs_what_eval_or_load_brought(console: ServerConsole) -> None:
    script = "return redis.call('incr', KEYS[1])"
    sha = hashlib.sha1(script.encode()).hexdigest()
    with pytest.raises(CommandError, match="NOSCRIPT No matching script"):
        console("EVALSHA", sha, 1, "n")
    assert console("EVAL", script, 1, "n") == 1
    assert console("EVALSHA", sha.upper(), 1, "n") == 2
    assert console("SCRIPT", "LOAD", script) == sha.encode()
    assert console("SCRIPT", "EXISTS", sha, "0" * 40) == [1, 0]
    assert console("SCRIPT", "FLUSH") == b"OK"
    assert console("SCRIPT", "EXISTS", sha) == [0]


def test_scripts_of_eval_are_forgotten_oldest_use_first(
    console: ServerConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripting, "EVAL_SCRIPTS_MAX", 2)
    loaded = console("SCRIPT", "LOAD", "return 0")
    for script in ("return 1", "return 2", "return 1", "return 3"):
        run(console, script)
    known = [hashlib.sha1(b"return %d" % number).hexdigest() for number in (1, 2, 3)]
    assert console("SCRIPT", "EXISTS", loaded, *known) == [1, 1, 0, 1]
    assert console.engine.scripts.evicted == 1


def test_a_database_that_a_script_selects_is_its_own(console: ServerConsole) -> None:
    console("SET a zero")
    assert run(console, "redis.call('select', 3) redis.call('set', 'a', 'three')") is None
    assert console("GET a") == b"zero"
    assert run(console, "return redis.call('get', 'a')") == b"zero"


def test_time_stands_still_inside_a_script(console: ServerConsole) -> None:
    console("SET a 1 PX 10")
    assert run(console, STANDING) == 1


def test_a_script_in_a_transaction_runs_with_it(console: ServerConsole) -> None:
    console("MULTI")
    console("EVAL", "return redis.call('incr', 'n')", 0)
    console("EVAL", "return nonsense", 0)
    console("INCR n")
    frames = console.execute([b"EXEC"])
    assert frames.startswith(b"*3\r\n:1\r\n-ERR user_script:1: Script attempted to access")
    assert frames.endswith(b":2\r\n")


def test_a_script_breaks_the_watch_of_others_and_of_its_own_client(console: ServerConsole) -> None:
    other = console.other()
    other("WATCH a")
    console("WATCH a")
    run(console, "redis.call('set', 'a', 1)")
    for one in (other, console):
        one("MULTI")
        assert one("EXEC") is None


def test_a_failing_script_keeps_what_it_did_before(console: ServerConsole) -> None:
    text = refused(console, "redis.call('set', 'a', 1) redis.call('incr', 'a', 'b')")
    assert text.startswith("ERR Wrong number of args calling Redis command from script script: ")
    assert console("GET a") == b"1"


@pytest.mark.parametrize(
    "command", ["'eval', 'return 1', 0", "'multi'", "'config', 'get', 'x'", "'kvc.get', 'i'"]
)
def test_some_commands_are_not_for_scripts(console: ServerConsole, command: str) -> None:
    text = refused(console, f"return redis.call({command})")
    assert text.startswith(("ERR This Redis command is not allowed", "ERR Unknown Redis command"))


def test_what_only_reads_may_not_write(console: ServerConsole) -> None:
    text = "Write commands are not allowed from read-only scripts."
    with pytest.raises(CommandError, match=text):
        console("EVAL_RO", "return redis.call('set', 'a', 1)", 0)
    with pytest.raises(CommandError, match=text):
        console("EVAL", "#!lua flags=no-writes\nreturn redis.call('set', 'a', 1)", 0)
    with pytest.raises(CommandError, match="Can not execute a script with write flag"):
        console("EVAL_RO", "#!lua\nreturn 1", 0)
    assert console("EXISTS a") == 0
    assert console("EVAL_RO", "return redis.call('get', 'a')", 0) is None


def test_without_memory_a_script_writes_nothing_unless_it_may(console: ServerConsole) -> None:
    console("SET", "a", "x" * 1000)
    console("CONFIG SET maxmemory 1")
    assert console.engine.gates & Gate.FULL
    assert refused(console, "return redis.call('set', 'b', 1)").startswith(
        "OOM command not allowed"
    )
    assert refused(console, "#!lua\nreturn 1").startswith("OOM command not allowed")
    assert run(console, "redis.call('del', 'a') return redis.call('set', 'b', 1)") == b"OK"
    assert run(console, "#!lua flags=allow-oom\nreturn redis.call('set', 'b', 2)") == b"OK"
    assert run(console, "#!lua flags=no-writes\nreturn redis.call('get', 'b')") == b"2"


def test_math_random_differs_from_call_to_call(console: ServerConsole) -> None:
    drawn = run(console, "local t = {} for i = 1, 50 do t[i] = math.random(1, 6) end return t")
    assert isinstance(drawn, list)
    assert set(drawn) == {1, 2, 3, 4, 5, 6}


# what must not be possible; each has to end with an error, or to answer "no"

ESCAPES = """
return io.open('/etc/passwd')
return os.execute('true')
return os.getenv('HOME')
return os.remove('/tmp/x')
return require('os')
return package.loaded
return dofile('/etc/passwd')
return loadfile('/etc/passwd')
return debug.getregistry()
return python
return print('x')
return module('x')
return newproxy(true)
return getfenv(1)
return setfenv(1, {})
return loadstring('return io')().open
return loadstring('return debug')().getinfo
return load(function() return 'return io' end)()
return getmetatable('').__index.rep and getmetatable('').__index.dump()
return ('x').dump(function() end)
return string.dump(function() end)
x = 1
_G.x = 1
rawset(_G, 'x', 1)
redis.call = 1
string.rep = nil
table.insert(table, 1)
table.sort(setmetatable(string, {}))
setmetatable(_G, {})
setmetatable(redis, {})
getmetatable('').__index = {}
getmetatable('').x = 1
for k, v in pairs(redis) do redis[k] = nil end
local f = next(redis) rawset(redis, f, nil)
KEYS = {}
return redis.call.__class__
return redis.call.x
redis.call.x = 1
return redis.sha1hex.__globals__
local ok, e = pcall(redis.call, 'nope') return e.__class__
local ok, e = pcall(redis.call, 'nope') return e.args[1]
local ok, e = pcall(struct.pack, 'z') return e.__traceback__
local e = select(2, xpcall(function() redis.call('nope') end, function(e) return e end))
 return e.args
local co = coroutine.create(function() redis.call('nope') end)
 local ok, e = coroutine.resume(co) return e.__class__
local ok, e = pcall(coroutine.wrap(function() redis.call('nope') end)) return e.__class__
local ok, e = pcall(error, cjson.null) return e.x
return cjson.null.x
return redis.call({redis.call})
return redis.call(redis.call)
return redis.call(setmetatable({}, {__tostring = function() return 'get' end}), 'a')
return cjson.encode(redis.call)
return table.concat({redis.call})
return loadstring('\\27Lua\\81\\0\\1\\4\\4\\4\\8\\0')()
return string.format('%d', io)
return collectgarbage('stop').x
return struct.unpack('c2147483647', 'x')
return cmsgpack.unpack('\\219\\127\\255\\255\\255')
return cmsgpack.unpack('\\221\\127\\255\\255\\255')
"""
_SCRIPTS = ESCAPES.strip().replace("\n ", " ").split("\n")


@pytest.mark.parametrize("script", _SCRIPTS)
def test_a_script_cannot_leave_the_sandbox(script: str) -> None:
    console = Console()
    before = snapshot(console)
    frame = console.execute([b"EVAL", script.encode(), b"0"])
    assert frame.startswith(b"-ERR ") or frame == b"$-1\r\n"  # a field that is not there
    assert snapshot(console) == before


def snapshot(console: Console) -> object:
    """What scripts share."""
    return run(
        console,
        "local t = {} for name, value in pairs(_G) do"
        " t[#t + 1] = name if type(value) == 'table' and name ~= '_G' then"
        " for field, member in pairs(value) do t[#t + 1] = name .. '.' .. tostring(field)"
        " .. tostring(member) end end end table.sort(t) return t",
    )


def test_no_value_that_a_script_can_reach_is_an_object_of_the_host() -> None:
    script = """
        local seen, bad = {}, {}
        local function walk(value, path)
          local kind = type(value)
          if kind == 'userdata' and value ~= cjson.null then bad[#bad + 1] = path end
          if kind ~= 'table' or seen[value] then return end
          seen[value] = true
          for key, member in pairs(value) do
            walk(key, path .. '/key') walk(member, path .. '/' .. tostring(key))
          end
          walk(getmetatable(value), path .. '/meta')
        end
        walk(_G, '') walk(getmetatable(''), 'string')
        for _, call in ipairs({function() redis.call('x') end, function() struct.pack('z') end}) do
          walk({pcall(call)}, 'pcall')
          walk({xpcall(call, function(e) walk(e, 'h') return e end)}, 'x')
          walk({coroutine.resume(coroutine.create(call))}, 'co')
          walk({pcall(coroutine.wrap(call))}, 'wrap')
        end
        return bad"""
    assert run(Console(), script) == []


# limits


class Busy:
    """A console whose scripts are busy at once; `act` is what others do the third time around."""

    def __init__(self, act: Callable[["Busy"], object]) -> None:
        self.console = Console(build_engine(ManualClock()))
        self.scripts = self.console.engine.scripts
        self.console.engine.config.busy_reply_threshold = 1
        self.rounds = 0
        self.ended = 0
        self.heard: list[bytes] = []
        self._act = act
        self.scripts.busy_poll = self._poll
        self.scripts.busy_end = self._end
        # time goes on while the script runs
        self.console.engine.clock = _RunningClock()

    def _poll(self) -> None:
        self.rounds += 1
        if self.rounds == 3:
            self._act(self)

    def _end(self) -> None:
        self.ended += 1

    def other(self, line: bytes) -> bytes:
        """Another client's command in the meantime."""
        out: list[bytes] = []
        answer_while_busy(Console(self.console.engine).ctx, [line.split()], out)
        self.heard.append(b"".join(out))
        return self.heard[-1]


class _RunningClock(ManualClock):
    def monotonic_ns(self) -> int:
        return time.monotonic_ns()


KILL = "ERR Script killed by user with SCRIPT KILL... script: "
ENDLESS = (
    "while true do end",
    "while true do pcall(function() while true do end end) end",
    "repeat until false",
    "local f f = function() return f() end f()",
    "coroutine.wrap(function() while true do end end)()",
    "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
    "xpcall(function() while true do end end, function() while true do end end)",
    "setmetatable({}, {__index = function() while true do end end}).x()",
    "local t = {} t[1] = t t[2] = t return t",
    "table.sort({3, 2, 1}, function() while true do end end)",
    "('x'):gsub('x', function() while true do end end)",
    "while true do redis.pcall('get', 'a') end",
)


@pytest.mark.parametrize("script", ENDLESS)
def test_script_kill_ends_a_script_that_never_would(script: str) -> None:
    busy = Busy(lambda busy: busy.other(b"SCRIPT KILL"))
    assert refused(busy.console, script).startswith(KILL)
    assert busy.heard == [b"+OK\r\n"]
    assert busy.ended == 1
    assert not busy.console.engine.gates & Gate.BUSY
    assert run(busy.console, "return 1") == 1


def test_others_are_told_that_the_server_is_busy() -> None:
    def act(busy: Busy) -> None:
        for line in (b"GET a", b"NOPE", b"MULTI", b"FUNCTION KILL", b"SCRIPT KILL"):
            busy.other(line)

    busy = Busy(act)
    assert refused(busy.console, "while true do end").startswith(KILL)
    text = (
        b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
    )
    assert busy.heard == [
        text + b"\r\n",
        b"-ERR unknown command 'NOPE', with args beginning with: \r\n",
        b"+OK\r\n",
        text + b"\r\n",
        b"+OK\r\n",
    ]


def test_a_script_that_has_written_is_not_killed_but_ends_with_the_server() -> None:
    def act(busy: Busy) -> None:
        busy.other(b"SCRIPT KILL")
        busy.scripts.stop()

    busy = Busy(act)
    text = refused(busy.console, "redis.call('set', 'a', 1) while true do end")
    assert text.startswith("ERR the server is shutting down")
    assert busy.heard[0].startswith(b"-UNKILLABLE Sorry the script already executed write")


def test_without_a_script_there_is_nothing_to_kill(console: ServerConsole) -> None:
    for line in ("SCRIPT KILL", "FUNCTION KILL"):
        with pytest.raises(CommandError, match="NOTBUSY No scripts in execution right now"):
            console(line)


@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    [
        "local s = 'x' while true do s = s .. s end",
        "local t = {} for i = 1, 1e9 do t[i] = i .. string.rep('x', 1e6) end",
        "while true do pcall(function() local s = 'x' while true do s = s .. s end end) end",
        "return string.rep('x', 2e9)",
        "local t = {} for i = 1, 40 do t[i] = redis.call('get', 'big') .. i end",
    ],
)
def test_a_script_ends_when_it_has_no_memory_left(script: str) -> None:
    console = Console()
    console("SET", "big", b"x" * 16_000_000)
    assert refused(console, script).startswith("ERR not enough memory")
    assert run(console, "return redis.call('strlen', 'big')") == 16_000_000


def test_arguments_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console()
    run(console, "return 1")
    runtime = console.engine.scripts.runtime
    monkeypatch.setattr(runtime, "soft_bytes", runtime.used_bytes() + 1_000_000)
    with pytest.raises(CommandError, match="not enough memory for the arguments"):
        console("EVAL", "return 1", 0, b"x" * 1_000_000)
    assert run(console, "return 1") == 1
