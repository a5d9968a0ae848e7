"""One client's socket: order, flow control, and what a client that goes leaves."""

import pytest
from tests.testing.connection_bench import PONG, Bench, pieces, request
from tests.testing.trial_commands import refusal

from hotplate.config import Config
from hotplate.server.connection import BATCH_REQUESTS
from hotplate.server.output import WRITE_HIGH_BYTES


@pytest.fixture
def bench() -> Bench:
    return Bench()


# order and fairness


def test_a_pipeline_is_answered_in_order(bench: Bench) -> None:
    transport, _ = bench.client()
    count = 3 * BATCH_REQUESTS + 17
    replies = bench.ask(transport, b"".join(request("ECHO", n) for n in range(count)))
    assert replies == b"".join(b"$%d\r\n%d\r\n" % (len(str(n)), n) for n in range(count))


def test_nothing_is_written_before_every_client_of_the_pass_was_heard(bench: Bench) -> None:
    transports = [bench.client()[0] for _ in range(5)]
    for n, transport in enumerate(transports):
        transport.send(request("ECHO", n) * 3)
    bench.loop.run_pass()
    assert bench.engine.stats.commands_processed == 15
    assert [transport.take() for transport in transports] == [b""] * 5
    bench.loop.run_pass()
    assert [transport.take() for transport in transports] == [
        b"$1\r\n%d\r\n" % n * 3 for n in range(5)
    ]
    assert [transport.writes for transport in transports] == [1] * 5


def test_a_message_comes_behind_what_was_answered_before_it(bench: Bench) -> None:
    transport, connection = bench.client()
    transport.send(request("ECHO", "a") * 2)
    bench.loop.run_pass()
    connection.push(b">message")
    connection.data_received(request("ECHO", "b") * 2)
    bench.settle()
    assert transport.take() == b"$1\r\na\r\n" * 2 + b">message" + b"$1\r\nb\r\n" * 2
    assert transport.writes == 1


def test_requests_that_came_alone_share_one_pass(bench: Bench) -> None:
    clients = [bench.client() for _ in range(4)]
    words = [("INCR", "n"), ("INCR", "n"), ("TRIAL.LATER",), ("PING",)]
    for (transport, _), argv in zip(clients, words, strict=True):
        transport.send(request(*argv))
    bench.loop.run_pass()
    assert bench.engine.stats.commands_processed == 0  # every client is heard first
    bench.settle()
    assert [transport.take() for transport, _ in clients] == [b":1\r\n", b":2\r\n", b"", PONG]
    bench.trial.waiting.pop()(b"late")
    bench.settle()
    assert clients[2][0].take() == b"$4\r\nlate\r\n"
    assert bench.engine.commands.table[b"incr"].calls == 2
    assert bench.engine.stats.commands_processed == 4


def test_lone_requests_are_noted_as_slow_one_by_one(bench: Bench) -> None:
    clients = [bench.client()[0] for _ in range(2)]
    bench.engine.slow_ns = bench.engine.slowlog.configure(0, 8, 0)
    for n, transport in enumerate(clients):
        transport.send(request("INCR", n))
    bench.settle()
    noted = [entry.argv for entry in bench.engine.slowlog.entries(-1)]
    assert noted == [[b"INCR", b"1"], [b"INCR", b"0"]]
    assert [client.last_command for client in bench.engine.clients.values()] == [b"incr"] * 2


def test_a_client_that_goes_before_the_pass_ends_has_its_request_run(bench: Bench) -> None:
    transport, connection = bench.client()
    transport.send(request("SET", "a", "1"))
    bench.loop.run_pass()
    connection.connection_lost(None)
    assert bench.engine.databases[0].size() == 1


def test_the_end_of_the_stream_right_behind_a_request_does_not_hide_its_reply(bench: Bench) -> None:
    transport, connection = bench.client()
    connection.data_received(request("PING"))
    connection.eof_received()
    assert transport.take() == PONG


def test_what_a_lone_request_does_to_its_client_is_seen(bench: Bench) -> None:
    transport, _ = bench.client()
    assert bench.ask(transport, request("QUIT")) == b"+OK\r\n"
    assert transport.lost


def test_a_lone_request_that_fails_is_answered_and_counted(bench: Bench) -> None:
    transport, _ = bench.client()
    bench.ask(transport, request("SET", "a", "x"))
    assert bench.ask(transport, request("INCR", "a")).startswith(b"-ERR value is not an integer")
    assert bench.engine.commands.table[b"incr"].failed == 1


def test_a_run_of_pings_ends_at_the_first_with_a_message(bench: Bench) -> None:
    transport, _ = bench.client()
    pings = request("PING") * 3 + request("PING", "a") + request("ping") * 2
    replies = bench.ask(transport, pings + request("PING", "a", "b") + request("PING"))
    assert replies.startswith(PONG * 3 + b"$1\r\na\r\n" + PONG * 2 + b"-ERR wrong number")
    assert replies.endswith(b"\r\n" + PONG)
    assert bench.engine.commands.table[b"ping"].calls == 8


def test_a_huge_pipeline_lets_others_go_between_its_batches(bench: Bench) -> None:
    greedy, _ = bench.client()
    modest, _ = bench.client()
    greedy.send(request("INCR", "n") * 20_000)
    bench.loop.run_pass()
    done = bench.engine.stats.commands_processed
    assert 0 < done <= BATCH_REQUESTS
    modest.send(request("PING"))
    passes = 0
    while not modest.sent:
        bench.loop.run_pass()
        passes += 1
    assert passes <= 2
    assert bench.engine.stats.commands_processed - 1 - done <= 2 * BATCH_REQUESTS
    bench.settle()
    assert greedy.take().endswith(b":20000\r\n")


@pytest.mark.parametrize("command", ["GET", "MGET"])
def test_a_pipeline_of_giant_replies_is_answered_piece_by_piece(bench: Bench, command: str) -> None:
    transport, _ = bench.client()
    giant = b"x" * 700_000
    bench.ask(transport, request("SET", "giant", giant))
    transport.send(request(command, "giant") * 50)
    sizes: list[int] = []
    while bench.loop.run_pass():
        sizes.append(len(transport.take()))
    assert max(sizes) < 4 * len(giant)
    assert sum(sizes) >= 50 * len(giant)


def test_all_that_came_before_the_end_is_answered(bench: Bench) -> None:
    transport, connection = bench.client()
    transport.send(request("INCR", "n") * 5000)
    transport.send_eof()
    bench.settle()
    assert transport.lost
    assert transport.take() == b"".join(b":%d\r\n" % n for n in range(1, 5001))
    assert bench.engine.clients == {}
    assert connection.output_bytes() == 0


def test_quit_is_answered_and_nothing_behind_it_runs(bench: Bench) -> None:
    transport, _ = bench.client()
    assert bench.ask(transport, request("QUIT") + request("SET", "a", "1")) == b"+OK\r\n"
    assert transport.lost
    assert bench.engine.databases[0].size() == 0


# a client that does not take its replies


def test_commands_wait_while_replies_are_not_taken(bench: Bench) -> None:
    transport, connection = bench.client()
    value_bytes = 8 * 1024
    bench.ask(transport, request("SET", "a", b"x" * value_bytes))
    transport.taking = False
    count = 4000
    transport.send(request("GET", "a") * count)
    bench.settle()
    assert not transport.reading
    batch_bytes = BATCH_REQUESTS * (value_bytes + 16)
    assert WRITE_HIGH_BYTES < connection.output_bytes() <= WRITE_HIGH_BYTES + batch_bytes
    answered = bench.engine.stats.commands_processed
    assert answered < count / 4
    assert connection.query_bytes() < 256 * 1024
    # every time it reads, as much more is done
    frame = b"$%d\r\n%b\r\n" % (value_bytes, b"x" * value_bytes)
    received = 0
    while bench.engine.stats.commands_processed < count + 1:
        before = bench.engine.stats.commands_processed
        transport.drain()
        received += len(transport.take())
        bench.settle()
        assert before < bench.engine.stats.commands_processed <= before + 2 * BATCH_REQUESTS
    transport.drain()
    received += len(transport.take())
    assert received == count * len(frame)
    assert transport.unsent_peak <= WRITE_HIGH_BYTES + batch_bytes
    transport.taking = True
    assert bench.ask(transport, request("PING")) == PONG


def test_a_client_that_never_reads_can_be_dropped(bench: Bench) -> None:
    transport, connection = bench.client()
    transport.taking = False
    transport.send(request("ECHO", b"x" * 10_000) * 500)
    bench.settle()
    connection.close_now()
    bench.settle()
    assert transport.lost
    assert bench.engine.clients == {}


# replies that come later


def test_nothing_is_read_or_run_until_a_late_reply_is_there(bench: Bench) -> None:
    transport, _ = bench.client()
    transport.send(
        request("SET", "a", 1) + request("TRIAL.LATER") + request("GET", "a") + request("PING")
    )
    transport.send(request("ECHO", "next") * 600)
    bench.settle()
    assert transport.take() == b"+OK\r\n"
    assert not transport.reading
    bench.trial.waiting.pop()(b"late")
    bench.settle()
    assert transport.take() == (b"$4\r\nlate\r\n$1\r\n1\r\n" + PONG + b"$4\r\nnext\r\n" * 600)


def test_late_replies_in_a_row_keep_their_order(bench: Bench) -> None:
    transport, _ = bench.client()
    transport.send((request("TRIAL.LATER") + request("PING")) * 3)
    for number in range(3):
        bench.settle()
        (done,) = bench.trial.waiting
        bench.trial.waiting.clear()
        done(number)
    bench.settle()
    assert transport.take() == b"".join(b":%d\r\n" % n + PONG for n in range(3))


def test_a_late_error_is_answered_and_counted(bench: Bench) -> None:
    transport, _ = bench.client()
    transport.send(request("TRIAL.LATER"))
    bench.settle()
    bench.trial.waiting.pop()(refusal("broken"))
    bench.settle()
    assert transport.take() == b"-STORAGEIO broken\r\n"
    command = bench.engine.commands.find(b"trial.later")
    assert command is not None
    assert (command.calls, command.failed) == (1, 1)
    assert bench.engine.stats.errors == {"STORAGEIO": 1}


def test_a_command_that_can_not_even_start_ends_its_client_only(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    transport, _ = bench.client()
    other, _ = bench.client()
    bench.trial.start_fails = True
    replies = bench.ask(transport, request("TRIAL.LATER") + request("SET", "a", 1))
    assert replies == b"-ERR internal error\r\n"
    assert transport.lost
    assert "no thread" in caplog.text
    assert bench.ask(other, request("DBSIZE")) == b":0\r\n"


def test_authentication_before_a_late_reply_lifts_the_limits_too() -> None:
    config = Config()
    config.requirepass = "pw"
    bench = Bench(config)
    transport, _ = bench.client()
    transport.send(request("AUTH", "pw") + request("TRIAL.LATER"))
    bench.settle()
    bench.trial.waiting.pop()(1)
    bench.settle()
    assert transport.take() == b"+OK\r\n:1\r\n"
    big = b"x" * 20_000
    assert bench.ask(transport, request("ECHO", big)) == b"$20000\r\n" + big + b"\r\n"


# limits of those who have not authenticated


@pytest.fixture
def locked() -> Bench:
    config = Config()
    config.requirepass = "pw"
    return Bench(config)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"*11\r\n", b"unauthenticated multibulk length"),
        (
            b"*2\r\n$4\r\nECHO\r\n$16385\r\n",
            b"unauthenticated bulk length",
        ),
    ],
)
def test_a_stranger_may_send_little(locked: Bench, data: bytes, error: bytes) -> None:
    transport, _ = locked.client()
    assert locked.ask(transport, data) == b"-ERR Protocol error: %b\r\n" % error
    assert transport.lost
    assert locked.engine.stats.protocol_errors == 1


def test_authentication_in_a_pipeline_lifts_the_limits_for_what_is_behind_it(
    locked: Bench,
) -> None:
    big = b"x" * 100_000
    for count in (1, BATCH_REQUESTS - 1, BATCH_REQUESTS, 2 * BATCH_REQUESTS):
        transport, _ = locked.client()
        data = request("NOPE") * (count - 1) + request("AUTH", "pw") + request("ECHO", big)
        replies = locked.ask(transport, data + request("MGET", *range(20)))
        assert replies.endswith(b"+OK\r\n$100000\r\n" + big + b"\r\n*20\r\n" + b"$-1\r\n" * 20)


def test_a_wrong_password_in_a_pipeline_lifts_nothing(locked: Bench) -> None:
    transport, _ = locked.client()
    replies = locked.ask(transport, request("AUTH", "no") + request("ECHO", b"x" * 20_000))
    assert replies.startswith(b"-WRONGPASS ")
    assert replies.endswith(b"-ERR Protocol error: unauthenticated bulk length\r\n")
    assert transport.lost


# protocol errors


@pytest.mark.parametrize("garbage", [b"*1\r\n:5\r\n", b"*x\r\n", b"*1\r\n$-5\r\n"])
def test_a_protocol_error_is_answered_once_and_closes(bench: Bench, garbage: bytes) -> None:
    transport, _ = bench.client()
    replies = bench.ask(transport, request("PING") + garbage + garbage + request("PING"))
    assert replies.startswith(PONG + b"-ERR Protocol error")
    assert replies.count(b"-ERR") == 1
    assert transport.lost
    assert bench.engine.stats.protocol_errors == 1


def test_a_protocol_error_waits_for_the_late_reply_before_it(bench: Bench) -> None:
    transport, _ = bench.client()
    transport.send(request("TRIAL.LATER") + b"*1\r\n:5\r\n")
    bench.settle()
    assert transport.take() == b""
    bench.trial.waiting.pop()(1)
    bench.settle()
    assert transport.take().startswith(b":1\r\n-ERR Protocol error")
    assert transport.lost


def test_the_reply_to_a_protocol_error_reaches_a_client_that_reads_late(bench: Bench) -> None:
    transport, _ = bench.client()
    transport.taking = False
    transport.send(request("PING") + b"*x\r\n")
    bench.settle()
    assert not transport.lost
    transport.drain()
    bench.settle()
    assert transport.take() == PONG + b"-ERR Protocol error: invalid multibulk length\r\n"
    assert transport.lost


# browsers


def test_a_browser_is_dropped_and_what_it_sent_does_not_run(bench: Bench) -> None:
    transport, _ = bench.client()
    page = b"POST / HTTP/1.1\r\nHost: localhost:6379\r\n\r\nSET a 1\r\nFLUSHALL\r\n"
    assert bench.ask(transport, page) == b""
    assert transport.lost
    assert bench.engine.clients == {}
    assert bench.engine.databases[0].size() == 0


# clients that go


@pytest.mark.parametrize("how", ["lose", "eof"])
@pytest.mark.parametrize("kept", [25, 10_000, 49_999, 50_000 + 22, 50_000 + 30, 60_000, 100_040])
def test_a_client_that_goes_amid_large_strings_gives_each_target_back_once(
    bench: Bench, kept: int, how: str
) -> None:
    transport, _ = bench.client()
    data = request("TRIAL.KEEP", b"x" * 50_000, b"y" * 50_000)
    for piece in pieces(data[:kept], 30):
        transport.send(piece)
        bench.settle()
    if how == "lose":
        transport.lose()
    else:
        transport.send_eof()
    bench.settle()
    assert transport.lost
    assert bench.trial.received == []
    assert all(target.abandoned == 1 for target in bench.trial.targets)
    assert len(bench.trial.targets) == (kept > 30) + (kept > 50_060)
    assert bench.engine.clients == {}


def test_a_client_that_goes_while_it_waits_is_cancelled(bench: Bench) -> None:
    transport, _ = bench.client()
    transport.send(request("TRIAL.LATER") + request("SET", "a", 1))
    bench.settle()
    transport.lose()
    assert bench.trial.cancelled == 1
    bench.trial.waiting.pop()(bench.trial.payload())  # the thread was not to be stopped
    bench.settle()
    assert bench.trial.released == 1
    assert bench.engine.databases[0].size() == 0
    assert bench.engine.clients == {}


def test_a_client_killed_while_it_waits_hears_nothing_and_leaves_nothing(bench: Bench) -> None:
    transport, connection = bench.client()
    transport.taking = False
    transport.send(request("PING") + request("TRIAL.LATER") + request("SET", "a", 1))
    bench.settle()
    connection.close()  # `PING` is not sent yet: the connection stays for a while
    bench.settle()
    assert not transport.lost
    bench.trial.waiting.pop()(bench.trial.payload())
    assert bench.trial.released == 1
    transport.drain()
    bench.settle()
    assert transport.lost
    assert transport.take() == PONG
    assert bench.engine.databases[0].size() == 0


def test_watched_keys_go_with_the_client(bench: Bench) -> None:
    transport, _ = bench.client()
    bench.ask(transport, request("WATCH", "a"))
    transport.lose()
    assert bench.engine.databases[0].observer is None


# views


def test_a_view_is_held_until_the_transport_is_empty(bench: Bench) -> None:
    bench.trial.view = memoryview(b"p" * 300_000)
    transport, _ = bench.client()
    transport.taking = False
    transport.send(request("PING") + request("TRIAL.VIEW") + request("TRIAL.VIEW"))
    bench.settle()
    assert bench.trial.released == 0
    transport.drain()
    bench.settle()
    assert bench.trial.released == 2
    assert transport.take() == PONG + 2 * (b"$300000\r\n" + b"p" * 300_000 + b"\r\n")


def test_a_small_view_is_held_too(bench: Bench) -> None:
    bench.trial.view = memoryview(b"tiny")
    transport, _ = bench.client()
    transport.taking = False
    transport.send(request("TRIAL.VIEW"))
    bench.settle()
    assert bench.trial.released == 0
    transport.send(request("PING"))  # waits: the transport is full with one byte now
    bench.settle()
    transport.drain()
    bench.settle()
    assert bench.trial.released == 1
    transport.drain()
    assert transport.take() == b"$4\r\ntiny\r\n" + PONG


def test_a_view_that_went_out_at_once_is_released_at_once(bench: Bench) -> None:
    bench.trial.view = memoryview(b"tiny")
    transport, _ = bench.client()
    assert bench.ask(transport, request("TRIAL.VIEW") * 3) == b"$4\r\ntiny\r\n" * 3
    assert bench.trial.released == 3


@pytest.mark.parametrize("how", ["lose", "kill", "close"])
def test_a_client_that_goes_releases_views_once(bench: Bench, how: str) -> None:
    bench.trial.view = memoryview(b"p" * 300_000)
    transport, connection = bench.client()
    transport.taking = False
    transport.send(request("TRIAL.VIEW"))
    bench.settle()
    if how == "lose":
        transport.lose()
    elif how == "kill":
        connection.close_now()
    else:
        connection.close()
        bench.settle()
        assert bench.trial.released == 0  # it may still read them
        transport.drain()
    bench.settle()
    assert transport.lost
    assert bench.trial.released == 1


def test_a_late_view_is_held_until_it_is_sent(bench: Bench) -> None:
    bench.trial.view = memoryview(b"p" * 1000)
    transport, _ = bench.client()
    transport.send(request("TRIAL.LATER"))
    bench.settle()
    transport.taking = False
    bench.trial.waiting.pop()(bench.trial.payload())
    bench.settle()
    assert bench.trial.released == 0
    transport.drain()
    assert bench.trial.released == 1
    assert transport.take() == b"$1000\r\n" + b"p" * 1000 + b"\r\n"
