"""What is logged does the same again: for every command, and for what the server does by itself."""

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.testing.commands import command_lists, words
from tests.testing.logged import Logged
from tests.testing.memory_files import MemoryFiles
from tests.testing.state import state_of

from hotplate.commands import build_registry
from hotplate.engine.context import Deferred
from hotplate.engine.dispatch import run
from hotplate.persist.effects import EFFECTS, ELSEWHERE, UNITS
from hotplate.spec.model import Flag

_NOT_HERE = frozenset((b"shutdown", b"debug", b"client", b"quit"))


def check(logged: Logged) -> Logged:
    """A server that loads what this one logged holds the same."""
    restarted = logged.restarted()
    logged.engine.now_ns = logged.clock.monotonic_ns()
    assert state_of(restarted.engine) == state_of(logged.engine)
    assert restarted.appendonly.progress.refused == 0
    return restarted


def logged() -> Logged:
    return Logged(MemoryFiles()).start()


def test_every_command_that_writes_says_what_it_is_logged_as() -> None:
    registry = build_registry()
    writing = {
        command.name.decode() for command in registry.walk() if command.flags & int(Flag.WRITE)
    }
    missing = writing - set(EFFECTS)
    assert not missing, f"add them to persist.effects: {sorted(missing)}"
    known = {command.name.decode() for command in registry.walk()}
    later = {name for name, effect in EFFECTS.items() if effect is ELSEWHERE}
    assert set(EFFECTS) - later <= writing
    assert set(UNITS) <= known


def test_reading_logs_nothing() -> None:
    server = logged()
    before = server.log_text()
    for line in ("GET a", "LRANGE a 0 -1", "XLEN a", "TTL a", "DBSIZE", "LPOP a", "DEL a"):
        server(line)
    assert server.log_text() == before


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(command_lists(40))
def test_any_commands_lead_to_the_same_data(commands: list[list[bytes]]) -> None:
    server = logged()
    for argv in commands:
        if not argv or argv[0].lower() in _NOT_HERE:
            continue
        server.clock.advance(1.3)
        server.console.execute(argv)
        server.flush()
    restarted = server.restarted()
    assert state_of(restarted.engine) == state_of(server.engine)


_KEYS = st.sampled_from([b"a", b"b", b"s", b"t"])
_FIELD = st.sampled_from([b"f", b"g", b"h"])
_SPAN = st.sampled_from([b"1", b"5", b"50", b"100000"])
_ID = st.sampled_from([b"1", b"2", b"3", b"r1"])
_GROUP = st.sampled_from([b"g", b"h"])
_NAME = st.sampled_from([b"alice", b"bob"])
_STREAM_ID = st.integers(1, 12).map(lambda number: b"%d-1" % number)
_OURS = (
    words(b"CL.THROTTLE", _KEYS, st.sampled_from([b"0", b"3"]), b"2", b"1"),
    words(b"LB.ACQUIRE", b"1", _KEYS, b"LIMIT", b"RATE", b"5", b"10", b"1000", _ID),
    words(b"LB.ACQUIRE", b"1", _KEYS, b"LIMIT", b"RATE", b"5", b"10", b"1000", b"1", b"ID", _ID),
    words(b"LB.ACQUIRE", b"1", _KEYS, b"LIMIT", b"CONC", b"4", b"ID", _ID, b"TTL", _SPAN),
    words(
        *(b"LB.ACQUIRE", b"2", b"a", b"b", b"LIMIT", b"RATE", b"9", b"1", b"1000", b"2"),
        *(b"CONC", b"3", b"SHADOW"),
    ),
    words(b"LB.SETTLE", _ID, b"1", _KEYS, b"ACTUAL", st.sampled_from([b"0", b"1", b"9"])),
    words(b"LB.CANCEL", _ID, b"1", _KEYS),
    words(b"LB.EXTEND", _ID, b"5000", b"1", _KEYS),
    words(b"LB.RESET", _KEYS),
    words(b"INCREX", _KEYS, b"BYINT", b"3", b"UBOUND", b"20", b"PX", _SPAN, b"ENX"),
    words(b"INCREX", _KEYS, b"BYFLOAT", b"0.1"),
    words(b"SET", _KEYS, b"5", b"PX", _SPAN),
    words(b"GETEX", _KEYS, b"PX", _SPAN),
    words(b"PEXPIRE", _KEYS, _SPAN),
    words(b"HSET", _KEYS, _FIELD, b"1"),
    words(b"HSETEX", _KEYS, b"FNX", b"PX", _SPAN, b"FIELDS", b"1", _FIELD, b"7"),
    words(b"HSETEX", _KEYS, b"KEEPTTL", b"FIELDS", b"2", b"f", b"1", b"h", b"2"),
    words(b"HGETEX", _KEYS, b"PX", _SPAN, b"FIELDS", b"2", b"f", b"g"),
    words(b"HGETEX", _KEYS, b"PERSIST", b"FIELDS", b"2", b"f", b"g"),
    words(b"HGETDEL", _KEYS, b"FIELDS", b"1", _FIELD),
    words(b"HPEXPIRE", _KEYS, _SPAN, b"FIELDS", b"2", b"f", b"g"),
    words(b"HINCRBYFLOAT", _KEYS, _FIELD, b"0.5"),
    words(b"SADD", _KEYS, b"m1", b"m2", b"m3"),
    words(b"SPOP", _KEYS, b"2"),
    words(b"RESTORE", _KEYS, _SPAN, b"\x00\xc0\x05\x0a\x00\x1a\xf2\xb3\x01\xee\xf6\xd3\xaa"),
    words(b"SORT", b"s", b"BY", b"nosort", b"STORE", b"a"),
    words(b"DEL", _KEYS),
    words(b"XADD", b"t", b"*", b"f", b"v"),
    words(b"XADD", b"t", b"MAXLEN", b"~", b"3", b"*", b"f", b"v"),
    words(b"XADD", b"t", b"ACKED", b"MAXLEN", b"~", b"1", b"*", b"f", b"v"),
    words(b"XADD", b"t", b"ACKED", b"MAXLEN", b"=", b"2", b"*", b"f", b"v"),
    words(b"XADD", b"t", b"IDMP", _NAME, _ID, b"*", b"f", b"v"),
    words(b"XADD", b"t", b"IDMPAUTO", _NAME, b"*", b"f", _ID),
    words(b"XTRIM", b"t", b"MINID", b"~", b"1700000000500", b"LIMIT", b"2"),
    words(b"XGROUP", b"CREATE", b"t", _GROUP, b"0", b"MKSTREAM"),
    words(
        *(b"XGROUP", b"POLICY", b"t", _GROUP, b"VISIBILITY", _SPAN, b"MAXDELIVER", b"2"),
        *(b"DEAD", b"dead", b"BACKOFF", b"3", b"20"),
    ),
    words(b"XGROUP", b"POLICY", b"t", _GROUP, b"VISIBILITY", b"10"),
    words(b"XREADGROUP", b"GROUP", _GROUP, _NAME, b"COUNT", b"2", b"STREAMS", b"t", b">"),
    words(b"XREADGROUP", b"GROUP", _GROUP, _NAME, b"NOACK", b"STREAMS", b"t", b">"),
    words(b"XREADGROUP", b"GROUP", _GROUP, _NAME, b"CLAIM", b"5", b"STREAMS", b"t", b">"),
    words(b"XREADGROUP", b"GROUP", _GROUP, _NAME, b"STREAMS", b"t", b"0"),
    words(b"XCLAIM", b"t", _GROUP, _NAME, b"0", _STREAM_ID, b"FORCE", b"LASTID", b"9-9"),
    words(b"XAUTOCLAIM", b"t", _GROUP, _NAME, b"2", b"0", b"COUNT", b"2"),
    words(b"XNACK", b"t", _GROUP, st.sampled_from([b"SILENT", b"FAIL", b"FATAL"]), b"IDS", b"1",
          _STREAM_ID, b"FORCE"),
    words(b"XADD", b"t", _STREAM_ID, b"f", b"v"),
    words(b"EVAL", b"redis.call('SET','a','1') redis.call('LPUSH','b','x')", b"0"),
    words(b"MULTI"),
    words(b"EXEC"),
    words(
        *(b"LBQ.CREATE", b"lq", b"INTO", b"out", b"RATE", b"50", b"1000", b"CAPACITY", b"4"),
        *(b"CLASSES", b"2", b"OVERFLOW", b"DROPLOWEST", b"DEAD", b"dead"),
    ),
    words(b"LBQ.ADD", b"lq", b"CLASS", b"1", b"TTL", _SPAN, b"FIELDS", b"1", b"f", b"v"),
    words(b"LBQ.ADD", b"lq", b"DELAY", b"5", b"IDMP", _NAME, _ID, b"FIELDS", b"1", b"f", b"v"),
    words(b"LBQ.PAUSE", b"lq"),
    words(b"LBQ.RESUME", b"lq"),
    words(b"LBQ.RATE", b"lq", b"9", b"100"),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.one_of(_OURS), st.sampled_from([0.0, 0.4, 1.0, 7.0, 60.0])), min_size=10)
)
def test_what_depends_on_time_and_chance_leads_to_the_same_data(
    steps: list[tuple[list[bytes], float]],
) -> None:
    server = logged()
    for argv, span_ms in steps:
        server.clock.advance(span_ms)
        if span_ms == 7.0:
            server.engine.expire_keys(server.clock.now_ms())
            server.engine.tend_streams(server.clock.now_ms())
        server.engine.tend_queues(server.clock.now_ms())
        server.console.execute(argv)
        server.flush()
    restarted = server.restarted()
    for one in (server, restarted):  # entries of queues whose delay is over join by the timer
        one.engine.tend_queues(one.clock.now_ms())
    assert state_of(restarted.engine) == state_of(server.engine)


@pytest.mark.parametrize("span_ms", [1, 500, 100_000])
def test_an_expiry_set_on_a_bucket_is_logged_as_it_was_asked_for(span_ms: int) -> None:
    server = logged()
    server("CL.THROTTLE a 0 2 1")  # empty after 500 ms
    server("PEXPIRE", "a", span_ms)
    server.flush()
    check(server)


_ON_EXPIRED = (
    *("SPOP a", "SPOP a 2", "SPOP a 0", "BLPOP a 0.001", "BRPOP a 0.001", "GETEX a EX 5"),
    *("BLMOVE a b LEFT LEFT 0.001", "BLMPOP 0.001 1 a LEFT", "BRPOPLPUSH a b 0.001", "EXPIRE a 5"),
    *("BZPOPMIN a 0.001", "BZMPOP 0.001 1 a MIN", "INCRBYFLOAT a 1.5", "HINCRBYFLOAT a f 1.5"),
    *("HEXPIRE a 5 FIELDS 1 f", "HGETEX a EX 5 FIELDS 1 f", "HGETDEL a FIELDS 1 f", "GETDEL a"),
    *("HSETEX a EX 5 FIELDS 1 f v", "SET a 1 NX GET EX 5", "SORT a STORE b", "COPY a b"),
    *("XREADGROUP GROUP g c STREAMS a >", "XCLAIM a g c 0 1-1", "XAUTOCLAIM a g c 0 0"),
    *("XADD a NOMKSTREAM * f v", "XADD a MAXLEN ~ 1 * f v", "XTRIM a MAXLEN 0", "XDEL a 1-1"),
    *("XNACK a g FAIL IDS 1 1-1", "LMPOP 1 a LEFT", "ZMPOP 1 a MIN", "PFADD a x", "EXPIREAT a 1"),
    *("GEOSEARCHSTORE b a FROMLONLAT 0 0 BYRADIUS 1 m", "INCREX a EX 5", "CL.THROTTLE a 1 1 1"),
    *("LB.RESET a", "RESTORE a 0 x"),
)


@pytest.mark.parametrize("line", _ON_EXPIRED)
def test_a_command_on_a_key_whose_time_has_come_is_logged_as_what_it_did(line: str) -> None:
    server = logged()
    for value in (
        "SET a 1",
        "SADD a x y",
        "RPUSH a x",
        "ZADD a 1 x",
        "HSET a f 1",
        "XADD a 1-1 f v",
    ):
        server(value)
        server("PEXPIRE a 5")
        server.clock.advance(10)
        reply = server.console.execute(line.encode().split())
        assert b"internal error" not in repr(reply).encode()
        server.flush()
        check(server)
        server("DEL a b")
    check(server)


def blocked(server: Logged, *lines: str) -> None:
    """Clients that wait with these commands."""
    server.engine.after = lambda seconds, callback: _NoTimer()
    for line in lines:
        ctx = server.another_client().ctx
        outcome = run(ctx, [line.encode().split()], [])
        assert isinstance(outcome, Deferred)
        outcome.start(lambda reply: None)


class _NoTimer:
    def cancel(self) -> None:
        """Nothing was arranged."""


@pytest.mark.parametrize(
    ("waits", "serves", "effect"),
    [
        ("BLPOP x a 0", ["RPUSH a 1 2 3"], b"LPOP\r\n$1\r\na\r\n"),
        ("BRPOP a 0", ["RPUSH a 1 2 3"], b"RPOP\r\n$1\r\na\r\n"),
        ("BRPOP a 0", ["LPUSH a 1"], b"RPOP\r\n$1\r\na\r\n"),
        ("BLMOVE a b LEFT RIGHT 0", ["RPUSH a 1 2 3"], b"LMOVE"),
        ("BRPOPLPUSH a b 0", ["RPUSH a 1 2 3"], b"RPOPLPUSH"),
        ("BLMPOP 0 2 x a RIGHT COUNT 2", ["RPUSH a 1 2 3"], b"RPOP\r\n$1\r\na\r\n$1\r\n2\r\n"),
        ("BZPOPMIN a 0", ["ZADD a 1 m 2 n"], b"ZPOPMIN"),
        ("BZPOPMAX a 0", ["ZADD a 1 m 2 n"], b"ZPOPMAX"),
        ("BZMPOP 0 1 a MAX COUNT 9", ["ZADD a 1 m 2 n"], b"ZPOPMAX\r\n$1\r\na\r\n$1\r\n2\r\n"),
        (
            "XREADGROUP GROUP g c BLOCK 0 STREAMS st >",
            ["XADD st 1-1 f v"],
            b"XCLAIM",
        ),
    ],
)
def test_what_a_blocked_client_gets_is_logged(
    waits: str, serves: Sequence[str], effect: bytes
) -> None:
    server = logged()
    server("XGROUP CREATE st g 0 MKSTREAM")
    blocked(server, waits)
    for line in serves:
        server(line)
    assert effect in server.log_text()
    check(server)


def test_a_wait_that_ends_without_anything_logs_nothing() -> None:
    server = logged()
    blocked(server, "BLPOP a 0")
    before = server.log_text()
    server.engine.blocking.unblock(server.engine.client_list()[-1].client_id, as_error=False)
    server.flush()
    assert server.log_text() == before


def test_keys_and_fields_that_expire_are_logged_as_deleted() -> None:
    server = logged()
    server("SET a 1 PX 10")
    server("SET b 1 PX 10")
    server("HSET h f 1 g 2")
    server("HPEXPIRE h 10 FIELDS 1 f")
    server.clock.advance(20)
    server("GET a")
    server.engine.expire_keys(server.clock.now_ms())
    server.flush()
    for effect in (b"DEL\r\n$1\r\na\r\n", b"DEL\r\n$1\r\nb\r\n", b"HDEL\r\n$1\r\nh\r\n$1\r\nf\r\n"):
        assert effect in server.log_text()
    check(server)


def test_evicted_keys_are_logged_as_deleted() -> None:
    server = Logged(MemoryFiles(), maxmemory="1mb", maxmemory_policy="allkeys-random").start()
    for number in range(300):
        server("SET", f"key:{number}", "x" * 10_000)
    server.engine.limit_memory(server.clock.now_ms())
    server.flush()
    assert server.engine.memory.evictor.evicted > 0
    server.console("CONFIG SET maxmemory 0")
    check(server)


def test_a_transaction_and_a_script_are_one_unit_each() -> None:
    server = logged()
    for line in ("MULTI", "SET a 1", "INCR a", "SET b x PX 5", "EXEC"):
        server(line)
    server("EVAL", "redis.call('SET', 'c', '1') redis.call('SET', 'd', '1')", 0)
    server("EVAL", "redis.call('SET', 'e', '1')", 0)
    assert server.log_text().count(b"MULTI") == server.log_text().count(b"EXEC") == 2
    check(server)


def test_a_script_that_fails_keeps_what_it_did() -> None:
    server = logged()
    with pytest.raises(Exception, match="boom"):
        server("EVAL", "redis.call('SET','a','1') redis.call('SET','b','1') error('boom')", 0)
    assert state_of(check(server).engine).keys() == {(0, b"a"), (0, b"b")}


def test_each_database_keeps_its_own() -> None:
    server = logged()
    for line in (
        *("SET a 0", "SELECT 2", "SET a 2", "COPY a b DB 5", "MOVE a 7", "SELECT 0", "SWAPDB 0 5"),
        *("SELECT 7", "FLUSHDB", "SET z 1"),
    ):
        server(line)
    check(server)
    server("FLUSHALL")
    assert not state_of(check(server).engine)


def test_functions_come_back() -> None:
    server = logged()
    server(
        "FUNCTION", "LOAD", "#!lua name=l\nredis.register_function('f', function() return 7 end)"
    )
    server(
        "FUNCTION", "LOAD", "#!lua name=m\nredis.register_function('g', function() return 8 end)"
    )
    server("FUNCTION", "DELETE", "m")
    restarted = check(server)
    assert restarted.console("FCALL", "f", 0) == 7
    with pytest.raises(Exception, match="Function not found"):
        restarted.console("FCALL", "g", 0)


def test_pipelines_are_logged_as_they_ran() -> None:
    server = logged()
    server.pipeline(["SET a 1", "SET b 1", "SET a 2", "SET b 3", "SET c 1"])
    server.pipeline(["INCR n"] * 6)
    server.pipeline(["RPUSH l x"] * 5 + ["LPOP l"] * 2)
    server.pipeline(["XADD st * f v"] * 4)
    server.pipeline(["XADD st MAXLEN ~ 3 * f v"] * 300)
    server.pipeline(["SADD s a", "SADD s b", "SADD s c", "SPOP s", "SPOP s"])
    server.pipeline(["CL.THROTTLE t 5 5 60"] * 4)
    server.pipeline(["LB.ACQUIRE 1 lb LIMIT RATE 50 5 1000 1"] * 4)
    server.pipeline(["ZADD z 1 a", "ZADD z 2 b", "ZADD z 2 c"])
    server.pipeline(["HSET h f 1", "HSET h g 2", "HSET h f 3"])
    check(server)


def test_nothing_is_recorded_once_the_log_stops() -> None:
    server = logged()
    server("SET a 1")
    server.appendonly.stop()
    size = len(server.log_text())
    server.console("SET a 2")
    server.console("EXPIRE a 0")
    assert len(server.log_text()) == size
    assert all(database.journal is None for database in server.engine.databases)
