"""XREAD and XREADGROUP with BLOCK: who is served by what, and what ends a wait."""

import pytest
from tests.testing.connection_bench import Bench, request
from tests.testing.scripted_transport import ScriptedTransport

NOTHING = b"*-1\r\n"


def entry(number: int) -> bytes:
    """What a reader gets of an entry `number`-0 of the stream `s`."""
    inner = b"*2\r\n$3\r\n%d-0\r\n*2\r\n$1\r\nn\r\n$1\r\n%d\r\n" % (number, number)
    return b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n" + inner


@pytest.fixture
def bench() -> Bench:
    """With a stream `s` and a group `g` that has nothing to read."""
    bench = Bench()
    client, _ = bench.client()
    assert bench.ask(client, words("XGROUP CREATE s g 0 MKSTREAM")) == b"+OK\r\n"
    return bench


def words(line: str) -> bytes:
    return request(*line.split())


def waiting(bench: Bench, line: str) -> ScriptedTransport:
    """A client that waits for what a command answers."""
    transport, _ = bench.client()
    assert bench.ask(transport, words(line)) == b""
    return transport


def add(bench: Bench, number: int) -> None:
    client, _ = bench.client()
    bench.ask(client, words(f"XADD s {number}-0 n {number}"))


def test_every_plain_reader_gets_what_is_new(bench: Bench) -> None:
    readers = [waiting(bench, "XREAD BLOCK 0 STREAMS s $") for _ in range(3)]
    add(bench, 1)
    assert [reader.take() for reader in readers] == [entry(1)] * 3


def test_an_entry_goes_to_the_consumer_that_waits_longest(bench: Bench) -> None:
    readers = [waiting(bench, f"XREADGROUP GROUP g c{n} BLOCK 0 STREAMS s >") for n in range(3)]
    add(bench, 1)
    assert [reader.take() for reader in readers] == [entry(1), b"", b""]
    add(bench, 2)
    assert [reader.take() for reader in readers] == [b"", entry(2), b""]


def test_what_is_there_is_answered_at_once(bench: Bench) -> None:
    add(bench, 1)
    client, _ = bench.client()
    assert bench.ask(client, words("XREADGROUP GROUP g c BLOCK 0 STREAMS s >")) == entry(1)
    history = bench.ask(client, words("XREADGROUP GROUP g d BLOCK 0 STREAMS s 0"))
    assert history == b"*1\r\n*2\r\n$1\r\ns\r\n*0\r\n"


def test_a_wait_ends_with_its_time(bench: Bench) -> None:
    reader = waiting(bench, "XREADGROUP GROUP g c BLOCK 50 STREAMS s >")
    bench.timers.advance(49)
    assert reader.take() == b""
    bench.timers.advance(1)
    bench.settle()
    assert reader.take() == NOTHING


def test_in_a_transaction_nobody_waits(bench: Bench) -> None:
    client, _ = bench.client()
    bench.ask(client, words("MULTI") + words("XREAD BLOCK 0 STREAMS s $"))
    assert bench.ask(client, words("EXEC")) == b"*1\r\n" + NOTHING


@pytest.mark.parametrize("command", ["DEL s", "XGROUP DESTROY s g", "FLUSHALL", "RENAME s t"])
def test_a_wait_for_a_group_ends_with_the_group(bench: Bench, command: str) -> None:
    reader = waiting(bench, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >")
    client, _ = bench.client()
    bench.ask(client, words(command))
    assert reader.take() == (
        b"-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option\r\n"
    )


def test_a_plain_reader_waits_on_while_the_key_is_something_else(bench: Bench) -> None:
    reader = waiting(bench, "XREAD BLOCK 0 STREAMS s 0")
    client, _ = bench.client()
    bench.ask(client, words("DEL s") + words("SET s text"))
    assert reader.take() == b""
    bench.ask(client, words("DEL s"))
    add(bench, 1)
    assert reader.take() == entry(1)


def test_setting_a_group_back_serves_who_waits(bench: Bench) -> None:
    add(bench, 1)
    client, _ = bench.client()
    bench.ask(client, words("XGROUP SETID s g $"))
    reader = waiting(bench, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >")
    bench.ask(client, words("XGROUP SETID s g 0"))
    assert reader.take() == entry(1)


def test_a_released_entry_goes_to_a_waiting_consumer(bench: Bench) -> None:
    add(bench, 1)
    client, _ = bench.client()
    bench.ask(client, words("XGROUP POLICY s g VISIBILITY 1000 BACKOFF 300 300"))
    bench.ask(client, words("XREADGROUP GROUP g gone STREAMS s >"))
    reader = waiting(bench, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >")
    for span_ms, expected in ((999, b""), (300, b""), (1, entry(1))):
        bench.clock.advance(span_ms)
        bench.engine.tend_streams(bench.clock.now_ms())
        bench.settle()
        assert reader.take() == expected


def test_giving_back_serves_a_waiting_consumer_of_a_group_with_a_policy(bench: Bench) -> None:
    add(bench, 1)
    client, _ = bench.client()
    bench.ask(client, words("XGROUP POLICY s g VISIBILITY 1000"))
    bench.ask(client, words("XREADGROUP GROUP g one STREAMS s >"))
    reader = waiting(bench, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >")
    bench.ask(client, words("XNACK s g FAIL IDS 1 1-0"))
    assert reader.take() == entry(1)


def test_an_entry_may_become_idle_enough_while_somebody_waits(bench: Bench) -> None:
    add(bench, 1)
    client, _ = bench.client()
    bench.ask(client, words("XREADGROUP GROUP g gone STREAMS s >"))
    reader = waiting(bench, "XREADGROUP GROUP g c BLOCK 0 CLAIM 500 STREAMS s >")
    for span_ms, expected in ((499, b""), (1, entry(1))):
        bench.clock.advance(span_ms)
        bench.engine.tend_streams(bench.clock.now_ms())
        bench.settle()
        claimed = reader.take()
        assert claimed.replace(b"*4", b"*2").replace(b":500\r\n:1\r\n", b"") == expected
    bench.engine.tend_streams(bench.clock.now_ms())
    assert len(bench.engine.blocking) == 0
