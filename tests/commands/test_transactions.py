"""MULTI, EXEC, DISCARD, WATCH, UNWATCH: two clients, alone and side by side with a real Redis."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.testing.console import Console, build_engine
from tests.testing.differential import SocketPeer, alike
from tests.testing.server_console import ServerConsole

from hotplate.bench.process import ServerProcess, start_redis
from hotplate.clock import SystemClock


@pytest.fixture(params=[2, 3])
def console(request: pytest.FixtureRequest) -> ServerConsole:
    return ServerConsole(resp=request.param)


# alone, where the clock is ours


def test_all_replies_come_with_exec_and_all_changes_at_once(console: ServerConsole) -> None:
    other = console.other()
    assert console("MULTI") == b"OK"
    assert console("SET a 1") == b"QUEUED"
    assert console("INCR a") == b"QUEUED"
    assert other("GET a") is None
    assert console("EXEC") == [b"OK", 2]
    assert other("GET a") == b"2"


def test_an_error_of_one_command_does_not_stop_the_others(console: ServerConsole) -> None:
    for line in ("MULTI", "SET a x", "INCR a", "SET b 1"):
        console(line)
    assert console.execute([b"EXEC"]) == (
        b"*3\r\n+OK\r\n-ERR value is not an integer or out of range\r\n+OK\r\n"
    )
    assert console("MGET a b") == [b"x", b"1"]


def test_a_transaction_sees_one_time(console: ServerConsole) -> None:
    for line in ("SET a 1 PX 10", "MULTI", "GET a", "DEBUG SLEEP 1", "GET a"):
        console.engine.config.enable_debug_command = "yes"
        console(line)
    first, _, last = console("EXEC")
    assert (first, last) == (b"1", b"1")
    assert console("GET a") is None


def test_exec_answers_nil_where_a_watched_key_changed(console: ServerConsole) -> None:
    other = console.other()
    console("WATCH a b")
    other("SET b 1")
    console("MULTI")
    console("SET a mine")
    assert console.execute([b"EXEC"]) == (b"*-1\r\n" if console.ctx.resp == 2 else b"_\r\n")
    assert console("GET a") is None
    console("MULTI")
    console("SET a mine")
    assert console("EXEC") == [b"OK"]


def test_a_watched_key_that_expires_counts_as_changed(console: ServerConsole) -> None:
    console("SET a 1 PX 100")
    console("WATCH a")
    console.clock.advance(101)
    console("MULTI")
    assert console("EXEC") is None


def test_a_key_that_was_past_its_time_when_it_was_watched_is_no_key(
    console: ServerConsole,
) -> None:
    console.engine.active_expire = False
    console("SET a 1 PX 100")
    console.clock.advance(101)
    console("WATCH a")
    other = console.other()
    assert other("GET a") is None
    console("MULTI")
    assert console("EXEC") == []


def test_active_expiry_of_a_watched_key_counts_as_change(console: ServerConsole) -> None:
    console("SET a 1 PX 100")
    console("WATCH a")
    console.clock.advance(101)
    console.engine.expire_keys(console.clock.now_ms())
    console("MULTI")
    assert console("EXEC") is None


def test_ones_own_change_counts_too_but_not_inside_the_transaction(console: ServerConsole) -> None:
    console("WATCH a")
    console("MULTI")
    console("SET a 1")
    assert console("EXEC") == [b"OK"]
    console("WATCH a")
    console("SET a 2")
    console("MULTI")
    assert console("EXEC") is None


@pytest.mark.parametrize("ending", ["EXEC", "DISCARD", "UNWATCH", "RESET"])
def test_watching_ends(console: ServerConsole, ending: str) -> None:
    console("WATCH a")
    if ending in ("EXEC", "DISCARD"):
        console("MULTI")
    console(ending)
    assert console.engine.databases[0].observer is None
    console.other()("SET a 1")
    console("MULTI")
    assert console("EXEC") == []


def test_a_refusal_comes_before_a_changed_key(console: ServerConsole) -> None:
    console("WATCH a")
    console.other()("SET a 1")
    console("MULTI")
    console.refused("NOPE")
    text = "EXECABORT Transaction discarded because of previous errors."
    assert console.refused("EXEC") == text
    assert console("GET a") == b"1"


# side by side with Redis; `1:` and `2:` are two clients

SEQUENCES = """
1:MULTI|1:SET a 1|2:GET a|1:EXEC|2:GET a
1:MULTI|1:EXEC|1:EXEC|1:DISCARD|1:MULTI|1:DISCARD|1:EXEC
1:MULTI|1:MULTI|1:PING|1:EXEC
1:MULTI|1:WATCH a|1:PING|1:EXEC
1:MULTI|1:UNWATCH|1:EXEC
1:MULTI|1:NOPE|1:SET a 1|1:EXEC|1:EXISTS a
1:MULTI|1:GET|1:EXEC|1:EXEC
1:MULTI|1:CLIENT NOPE|1:EXEC
1:MULTI|1:EXEC x|1:EXEC|1:MULTI x|1:DISCARD x
1:MULTI|1:SET a x|1:INCR a|1:SET b 1|1:EXEC
1:MULTI|1:SET a x|1:INCR a|1:APPEND a y|1:EXEC|1:GET a
1:MULTI|1:SELECT 1|1:SET a 1|1:SELECT 99|1:EXEC|1:GET a|2:GET a|1:SELECT 0
1:MULTI|1:SELECT 1|1:DISCARD|1:SET a 1|2:GET a
1:SET a 1|1:WATCH a|2:SET a 2|1:MULTI|1:GET a|1:EXEC|1:MULTI|1:GET a|1:EXEC
1:WATCH a|2:SET a 1|1:UNWATCH|1:MULTI|1:PING|1:EXEC
1:WATCH a|2:SET a 1|1:DISCARD|1:MULTI|1:PING|1:EXEC
1:WATCH a|1:MULTI|2:SET a 1|1:DISCARD|1:MULTI|1:PING|1:EXEC
1:WATCH a|2:GET a|2:EXISTS a|2:DEL a|1:MULTI|1:PING|1:EXEC
1:SET a 1|1:WATCH a|2:DEL a|2:SET a 1|1:MULTI|1:PING|1:EXEC
1:SET a 1|1:WATCH a|2:RENAME a b|1:MULTI|1:PING|1:EXEC
1:SET b 1|1:WATCH a|2:RENAME b a|1:MULTI|1:PING|1:EXEC
1:SET a 1|1:SET b 2|1:WATCH a|2:RENAMENX a b|1:MULTI|1:PING|1:EXEC
1:SET a 1|1:WATCH b|2:COPY a b|1:MULTI|1:PING|1:EXEC
1:SET a 1|1:WATCH a|2:MOVE a 1|1:MULTI|1:PING|1:EXEC
1:WATCH a|2:SELECT 1|2:SET a 1|2:MOVE a 0|1:MULTI|1:PING|1:EXEC
1:SET a 1|1:WATCH a|2:FLUSHDB|1:MULTI|1:PING|1:EXEC
1:WATCH a|2:FLUSHDB|1:MULTI|1:PING|1:EXEC
1:SET a 1|1:WATCH a|2:FLUSHALL|1:MULTI|1:PING|1:EXEC
1:SET a 1|1:WATCH a|2:SELECT 1|2:FLUSHDB|1:MULTI|1:PING|1:EXEC
1:SET a 1|1:WATCH a|2:SELECT 1|2:FLUSHALL|1:MULTI|1:PING|1:EXEC
1:SET a 1|1:WATCH a|2:SWAPDB 0 1|1:MULTI|1:PING|1:EXEC
1:WATCH a|2:SWAPDB 0 1|1:MULTI|1:PING|1:EXEC
1:SET a 1|1:WATCH a|2:SWAPDB 0 0|1:MULTI|1:PING|1:EXEC
1:SET a 1|1:WATCH a|2:SWAPDB 2 3|1:MULTI|1:PING|1:EXEC
2:SELECT 1|2:SET a 1|1:WATCH a|2:SWAPDB 1 0|1:MULTI|1:GET a|1:EXEC|1:GET a
1:SELECT 1|1:WATCH a|2:SET a 1|1:MULTI|1:PING|1:EXEC|1:SELECT 0
1:SELECT 1|1:WATCH a|1:SELECT 0|2:SELECT 1|2:SET a 1|1:MULTI|1:PING|1:EXEC
1:SET a 1 PX 1|2:DEBUG SLEEP 0.01|1:WATCH a|2:GET a|1:MULTI|1:PING|1:EXEC
1:SET a 1 PX 100|1:WATCH a|2:DEBUG SLEEP 0.11|1:MULTI|1:PING|1:EXEC
1:SET a 1|1:WATCH a|2:EXPIRE a 100|1:MULTI|1:PING|1:EXEC
1:SET a 1|1:WATCH a|2:EXPIRE a -1|1:MULTI|1:PING|1:EXEC
1:SET a 1|1:WATCH a|2:PERSIST a|1:MULTI|1:PING|1:EXEC
1:SET a 1|1:WATCH a|2:SETNX a 2|2:GETEX a|2:TOUCH a|1:MULTI|1:PING|1:EXEC
1:SET a 1|1:WATCH a|2:INCR a|2:DECR a|1:MULTI|1:PING|1:EXEC
1:SET a 1|1:WATCH a|2:SET a 2 NX|2:SET a 2 XX GET|1:MULTI|1:PING|1:EXEC
1:SET a 1|1:WATCH a|2:APPEND a ~|2:SETRANGE a 0 ~|1:MULTI|1:PING|1:EXEC
1:SET a 1|1:WATCH a|2:SETRANGE a 0 x|1:MULTI|1:PING|1:EXEC
1:SET a 1|1:WATCH a|2:GETDEL a|1:MULTI|1:PING|1:EXEC
1:WATCH a b|2:MSET b 1|1:MULTI|1:PING|1:EXEC
1:WATCH a|1:WATCH b|2:MSETNX b 1 c 1|1:MULTI|1:PING|1:EXEC
1:WATCH a|1:SET a 1|1:MULTI|1:PING|1:EXEC
1:WATCH a|1:MULTI|1:SET a 1|1:EXEC
1:WATCH a|2:MULTI|2:SET a 1|1:MULTI|1:PING|1:EXEC|2:EXEC
1:WATCH a|2:MULTI|2:SET a 1|2:EXEC|1:MULTI|1:PING|1:EXEC
1:WATCH a|2:MULTI|2:SET a 1|2:DISCARD|1:MULTI|1:PING|1:EXEC
1:WATCH a|2:SET a 1|1:RESET|1:MULTI|1:PING|1:EXEC
1:MULTI|1:SET a 1|1:RESET|1:EXEC|2:EXISTS a
1:MULTI|1:NOPE|1:RESET|1:MULTI|1:PING|1:EXEC
1:WATCH|1:UNWATCH x|1:UNWATCH|1:DISCARD|1:EXEC
1:WATCH a|2:SET a 1|1:MULTI|1:NOPE|1:EXEC|1:MULTI|1:PING|1:EXEC
1:MULTI|1:KEYS *|1:SET a 1|1:KEYS *|1:DBSIZE|1:EXEC
1:MULTI|1:FLUSHALL|1:SWAPDB 0 1|1:DBSIZE|1:EXEC
1:WATCH a|1:MULTI|1:FLUSHALL|1:EXEC|1:MULTI|1:EXEC
1:MULTI|1:AUTH x|1:ECHO x|1:EXEC
"""


class Pair:
    """Two clients of each server."""

    def __init__(self, port: int, resp: int) -> None:
        self.theirs = [SocketPeer(port, resp), SocketPeer(port, resp)]
        engine = build_engine(SystemClock())
        engine.config.enable_debug_command = "yes"
        self.ours = [Console(engine, resp=resp), Console(engine, resp=resp)]
        self.resp = resp

    def close(self) -> None:
        """Hang up."""
        for peer in self.theirs:
            peer.close()

    def reset(self) -> None:
        """Both new, and nothing stored."""
        peers: list[SocketPeer | Console] = [*self.theirs, *self.ours]
        for peer in peers:
            for argv in ([b"RESET"], [b"HELLO", b"%d" % self.resp], [b"FLUSHALL"]):
                peer.execute(argv)

    def check(self, sequence: str) -> None:
        """AssertionError where a reply differs."""
        for step in sequence.split("|"):
            number, argv = int(step[0]) - 1, step[2:].encode().split()
            theirs = self.theirs[number].execute(argv)
            ours = self.ours[number].execute(argv)
            assert alike(argv, theirs, ours), f"{step} in {sequence}\n{theirs!r}\n{ours!r}"


@pytest.fixture(params=[2, 3])
def pair(redis_with_debug: ServerProcess, request: pytest.FixtureRequest) -> Iterator[Pair]:
    with closing(Pair(redis_with_debug.port, request.param)) as both:
        both.reset()
        yield both


@pytest.fixture(scope="module")
def redis_with_debug(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    options = ("--enable-debug-command", "yes")
    with start_redis(tmp_path_factory.mktemp("redis"), *options) as server:
        yield server


@pytest.mark.e2e
@pytest.mark.slow
def test_known_sequences_go_as_in_redis(pair: Pair) -> None:
    for sequence in SEQUENCES.strip().split("\n"):
        pair.reset()
        pair.check(sequence)


_KEY = st.sampled_from("ab")
_STEP = st.tuples(
    st.sampled_from("12"),
    st.one_of(
        st.sampled_from(["MULTI", "EXEC", "EXEC", "DISCARD", "UNWATCH", "RESET", "NOPE", "GET"]),
        st.sampled_from(["FLUSHDB", "FLUSHALL", "SWAPDB 0 1", "SWAPDB 1 2", "DBSIZE", "EXEC x"]),
        st.sampled_from(["SELECT 0", "SELECT 1", "RENAME a b", "COPY b a", "MOVE a 1", "PING"]),
        _KEY.map("WATCH {}".format),
        _KEY.map("SET {} 1".format),
        _KEY.map("INCR {}".format),
        _KEY.map("GET {}".format),
        _KEY.map("DEL {}".format),
        _KEY.map("EXPIRE {} 100".format),
        _KEY.map("EXPIRE {} -1".format),
        _KEY.map("SETNX {} x".format),
    ),
).map(":".join)


@pytest.mark.e2e
@pytest.mark.slow
def test_random_sequences_go_as_in_redis(pair: Pair) -> None:
    @settings(
        max_examples=150,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(_STEP, min_size=10, max_size=40))
    def replay(steps: list[str]) -> None:
        pair.reset()
        pair.check("|".join(steps))

    replay()
