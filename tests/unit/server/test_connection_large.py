"""Large bulk strings on one client's socket."""

import random

import pytest
from tests.testing.connection_bench import PONG, Bench, pieces, request
from tests.testing.scripted_transport import CHUNK_BYTES

from hotplate.limits import LARGE_BULK_BYTES
from hotplate.server.connection import LARGE_BYTES_A_PASS
from hotplate.server.large_bulk import QUIET_READS_MAX, LargeBulkReceiver


@pytest.fixture(params=["read at once", "handed in"])
def bench(request: pytest.FixtureRequest) -> Bench:
    """Large strings: read as far as they came, or as the loop hands them in."""
    bench = Bench()
    bench.loop.reads_now = request.param == "read at once"
    return bench


def cuts(data: bytes, edges: list[int], rng: random.Random) -> list[int]:
    """Where to cut: around every edge, and anywhere."""
    near = {edge + offset for edge in edges for offset in range(-3, 4)}
    near |= {rng.randrange(1, len(data)) for _ in range(10)}
    return sorted(cut for cut in near if 0 < cut < len(data))


@pytest.mark.parametrize("command", ["TRIAL.KEEP", "SET"])
def test_a_large_string_arrives_whole_however_it_is_cut(bench: Bench, command: str) -> None:
    rng = random.Random(command)
    payload = rng.randbytes(LARGE_BULK_BYTES + 100)
    words = ("TRIAL.KEEP",) if command == "TRIAL.KEEP" else ("SET", "a")
    data = request("PING") + request(*words, payload) + request("PING")
    start = data.index(b"\r\n" + payload[:20]) + 2
    edges = [14, start - 10, start - 2, start, start + len(payload), start + len(payload) + 2]
    expected = b"*1\r\n:%d\r\n" % len(payload) if command == "TRIAL.KEEP" else b"+OK\r\n"
    positions = cuts(data, edges, rng)
    for cut in positions:
        for second in (cut, rng.choice(positions)):
            transport, connection = bench.client()
            for piece in pieces(data, cut, second):
                transport.send(piece)
                bench.settle()
            assert transport.take() == PONG + expected + PONG, (cut, second)
            if command == "TRIAL.KEEP":
                assert bench.trial.received.pop() == payload
                assert not any(target.abandoned for target in bench.trial.targets)
            else:
                assert bench.ask(transport, request("GET", "a")).endswith(payload + b"\r\n")
            assert connection.query_bytes() == 0
            transport.lose()


def test_two_large_strings_and_small_ones_in_one_command(bench: Bench) -> None:
    rng = random.Random(2)
    first, second = rng.randbytes(50_000), rng.randbytes(200_000)
    data = request("TRIAL.KEEP", first, "small", second, "")
    sizes = b"*4\r\n:50000\r\n:5\r\n:200000\r\n:0\r\n"
    for cut in (*range(10, len(data), 7919), len(data) - 1):
        transport, _ = bench.client()
        bench.trial.received.clear()
        for piece in pieces(data, cut):
            transport.send(piece)
            bench.settle()
        assert transport.take() == sizes
        assert bench.trial.received == [first, b"small", second, b""]


@pytest.mark.parametrize("size", [4 * 1024 * 1024, 4 * 1024 * 1024 + 1, 9_000_000])
def test_a_giant_string_arrives_whole(bench: Bench, size: int) -> None:
    payload = random.Random(size).randbytes(size)
    transport, _ = bench.client()
    assert bench.ask(transport, request("SET", "a", payload) + request("PING")) == b"+OK\r\n" + PONG
    assert bench.ask(transport, request("GET", "a")) == b"$%d\r\n%b\r\n" % (size, payload)


def test_a_large_string_without_its_end_is_a_protocol_error_and_given_back(bench: Bench) -> None:
    transport, _ = bench.client()
    data = request("TRIAL.KEEP", b"x" * 50_000)[:-2] + b"!!"
    transport.send(data[:1000])
    bench.settle()
    replies = bench.ask(transport, data[1000:])
    assert replies == b"-ERR Protocol error: expected CRLF after bulk\r\n"
    assert transport.lost
    assert [target.abandoned for target in bench.trial.targets] == [1]


def test_a_sink_sees_the_present_time_however_long_the_string_waited(bench: Bench) -> None:
    transport, _ = bench.client()
    transport.taking = False
    bench.trial.view = memoryview(b"keeps the transport full")
    transport.send(request("TRIAL.VIEW") + request("TRIAL.KEEP", b"y" * 50_000)[:1000])
    bench.settle()
    assert bench.trial.sink_times_ms == []
    bench.clock.advance(3_600_000)
    transport.drain()
    bench.settle()
    assert bench.trial.sink_times_ms == [bench.clock.now_ms()]


def test_a_large_string_waits_while_replies_are_not_taken(bench: Bench) -> None:
    transport, _ = bench.client()
    transport.taking = False
    transport.send(request("ECHO", b"x" * 20_000) * 20)
    bench.settle()
    transport.send(request("TRIAL.KEEP", b"y" * 500_000))
    bench.settle()
    assert bench.trial.received == []
    transport.taking = True
    transport.drain()
    bench.settle()
    assert transport.take().endswith(b"*1\r\n:500000\r\n")
    assert bench.trial.received == [b"y" * 500_000]


def test_a_client_that_sends_nothing_large_any_more_is_read_as_before(bench: Bench) -> None:
    transport, connection = bench.client()
    assert transport.get_protocol() is connection
    bench.ask(transport, request("SET", "a", b"x" * 100_000))
    assert isinstance(transport.get_protocol(), LargeBulkReceiver)
    replies = [bench.ask(transport, request("PING")) for _ in range(QUIET_READS_MAX + 2)]
    assert replies == [PONG] * len(replies)
    assert transport.get_protocol() is connection
    assert bench.ask(transport, request("SET", "a", b"y" * 100_000)) == b"+OK\r\n"
    assert isinstance(transport.get_protocol(), LargeBulkReceiver)


def test_many_large_strings_let_others_go_between_them(bench: Bench) -> None:
    greedy, _ = bench.client()
    modest, _ = bench.client()
    size = LARGE_BYTES_A_PASS // 4
    greedy.send(request("SET", "a", b"x" * size) * 40)
    bench.loop.run_pass()
    modest.send(request("PING"))
    for _ in range(2 * size // CHUNK_BYTES):
        if modest.sent:
            break
        bench.loop.run_pass()
    assert modest.take() == PONG
    assert bench.engine.stats.commands_processed <= 15  # it was run a pass before
    bench.settle()
    assert greedy.take() == b"+OK\r\n" * 40


def test_bytes_are_counted_as_they_come(bench: Bench) -> None:
    transport, connection = bench.client()
    data = request("TRIAL.KEEP", b"x" * 200_000)
    transport.send(data[:150_000])
    bench.settle()
    assert bench.engine.stats.net_input_bytes == 150_000
    assert connection.query_bytes() > 149_000
    replies = bench.ask(transport, data[150_000:])
    assert bench.engine.stats.net_input_bytes == len(data)
    assert bench.engine.stats.net_output_bytes == len(replies)
