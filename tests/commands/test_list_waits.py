"""BLPOP, BRPOP and their kin while they wait: who gets what is pushed, and who hears of it."""

import pytest
from tests.testing.connection_bench import Bench, request
from tests.testing.scripted_transport import ScriptedTransport

TAKEN = b"*2\r\n$1\r\nl\r\n$1\r\n%b\r\n"
MESSAGE = b"*3\r\n$7\r\nmessage\r\n$16\r\n__keyspace@0__:l\r\n$%d\r\n%b\r\n"


@pytest.fixture
def bench() -> Bench:
    return Bench()


def ask(bench: Bench, *lines: str) -> bytes:
    """What a new client is answered."""
    client, _ = bench.client()
    return bench.ask(client, b"".join(request(*line.split()) for line in lines))


def waiting(bench: Bench, line: str) -> ScriptedTransport:
    """A client that waits for what a command answers."""
    transport, _ = bench.client()
    assert bench.ask(transport, request(*line.split())) == b""
    return transport


@pytest.mark.parametrize("push", ["LPUSH", "RPUSH"])
@pytest.mark.parametrize("pop", ["BLPOP", "BRPOP"])
def test_who_waits_longest_gets_what_is_pushed(bench: Bench, push: str, pop: str) -> None:
    waiters = [waiting(bench, f"{pop} l none 0") for _ in range(3)]
    dirty = bench.engine.databases[0].dirty
    assert ask(bench, f"{push} l a", f"{push} l b", "EXISTS l") == b":1\r\n:1\r\n:0\r\n"
    assert [waiter.take() for waiter in waiters] == [TAKEN % b"a", TAKEN % b"b", b""]
    assert bench.engine.databases[0].dirty > dirty
    assert bench.engine.databases[0].size() == 0
    assert bench.engine.blocking.keys == 2
    assert ask(bench, f"{push} l c d e", "LLEN l") == b":3\r\n:2\r\n"
    assert waiters[2].take() == TAKEN % (b"c" if (push, pop) in _FIRST_COMES_FIRST else b"e")
    assert bench.engine.blocking.keys == 0


_FIRST_COMES_FIRST = {("LPUSH", "BRPOP"), ("RPUSH", "BLPOP")}


@pytest.mark.parametrize(
    ("line", "taken", "left"),
    [
        ("BLMPOP 0 1 l LEFT COUNT 2", b"*2\r\n$1\r\nl\r\n*1\r\n$1\r\na\r\n", b"*0\r\n"),
        ("BLMOVE l other LEFT LEFT 0", b"$1\r\na\r\n", b"*1\r\n$1\r\na\r\n"),
        ("BRPOPLPUSH l l 0", b"$1\r\na\r\n", b"*0\r\n"),
    ],
)
def test_others_who_wait_for_lists_take_it_in_their_own_way(
    bench: Bench, line: str, taken: bytes, left: bytes
) -> None:
    first, second = waiting(bench, line), waiting(bench, "BLPOP l 0")
    assert ask(bench, "RPUSH l a") == b":1\r\n"
    assert first.take() == taken
    assert second.take() == (TAKEN % b"a" if "PUSH" in line else b"")
    assert ask(bench, "LRANGE other 0 -1") == left


@pytest.mark.parametrize(
    "lines",
    [
        ["MULTI", "RPUSH l a", "LPOP l", "EXEC"],
        ["EVAL return{redis.call('RPUSH',KEYS[1],'a'),redis.call('LPOP',KEYS[1])} 1 l"],
    ],
    ids=["transaction", "script"],
)
def test_nobody_is_served_before_all_of_it_ran(bench: Bench, lines: list[str]) -> None:
    waiter = waiting(bench, "BLPOP l 0")
    assert ask(bench, *lines).endswith(b"*2\r\n:1\r\n$1\r\na\r\n")
    assert waiter.take() == b""
    assert ask(bench, "MULTI", "RPUSH l b", "EXEC").endswith(b"*1\r\n:1\r\n")
    assert waiter.take() == TAKEN % b"b"


def test_who_watches_the_key_sees_that_it_came_and_went(bench: Bench) -> None:
    watcher, _ = bench.client()
    bench.ask(watcher, request("WATCH", "l"))
    waiter = waiting(bench, "BLPOP l 0")
    assert ask(bench, "RPUSH l a") == b":1\r\n"
    assert waiter.take() == TAKEN % b"a"
    assert bench.ask(watcher, request("MULTI") + request("EXEC")).endswith(b"*-1\r\n")


def test_who_listens_hears_that_it_came_and_went(bench: Bench) -> None:
    ask(bench, "CONFIG SET notify-keyspace-events KA")
    listener, _ = bench.client()
    bench.ask(listener, request("SUBSCRIBE", "__keyspace@0__:l"))
    waiter = waiting(bench, "BLPOP l 0")
    assert ask(bench, "RPUSH l a") == b":1\r\n"
    assert waiter.take() == TAKEN % b"a"
    events = (b"rpush", b"lpop", b"del")
    assert listener.take() == b"".join(MESSAGE % (len(event), event) for event in events)


def test_who_is_on_the_way_out_gets_nothing(bench: Bench) -> None:
    gone, waiter = waiting(bench, "BLPOP l 0"), waiting(bench, "BLPOP l 0")
    first = bench.engine.client_list()[0].client_id
    assert ask(bench, f"CLIENT KILL ID {first}", "RPUSH l a") == b":1\r\n:1\r\n"
    assert (gone.take(), waiter.take()) == (b"", TAKEN % b"a")


def test_a_time_limit_ends_with_the_wait(bench: Bench) -> None:
    waiter = waiting(bench, "BLPOP l 1")
    ask(bench, "RPUSH l a")
    assert waiter.take() == TAKEN % b"a"
    bench.timers.advance(2000)
    bench.settle()
    assert waiter.take() == b""
