"""CLIENT TRACKING and CLIENT PAUSE in one process: limits, figures, expiry, what is left behind."""

from typing import Any

import pytest
from tests.testing.console import build_engine
from tests.testing.manual_timers import ManualTimers
from tests.testing.subscriber import Subscriber

from hotplate.clock import ManualClock
from hotplate.engine.context import Context, Deferred, Gate
from hotplate.engine.dispatch import run
from hotplate.engine.engine import Engine
from hotplate.keyspace.meter import BASE_BYTES


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def engine(clock: ManualClock) -> Engine:
    return build_engine(clock)


@pytest.fixture
def reader(engine: Engine) -> Subscriber:
    return Subscriber(engine, resp=3)


@pytest.fixture
def writer(engine: Engine) -> Subscriber:
    return Subscriber(engine, resp=3)


def told(reader: Subscriber) -> list[Any]:
    """The keys of the invalidations that came."""
    return [message[1] for message in reader.heard()]


# -- tracking --------------------------------------------------------------------------------------


def test_the_table_has_a_limit_and_the_oldest_key_goes_first(
    reader: Subscriber, writer: Subscriber, engine: Engine
) -> None:
    writer("CONFIG SET tracking-table-max-keys 2")
    reader("CLIENT TRACKING ON")
    for key in ("a", "b", "a"):
        reader("GET", key)
    assert told(reader) == []
    frames = reader.execute([b"GET", b"c"])  # its own reply comes first
    assert frames == b"_\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n"
    assert engine.tracking.keys == 2
    writer("SET a 1")
    writer("SET b 1")
    assert told(reader) == [[b"b"]]


def test_a_lower_limit_is_reached_by_the_timer(
    reader: Subscriber, writer: Subscriber, engine: Engine
) -> None:
    reader("CLIENT TRACKING ON")
    for number in range(10):
        reader("GET", f"k{number}")
    writer("CONFIG SET tracking-table-max-keys 3")
    assert told(reader) == []
    assert engine.tracking.tick(0) is False
    assert told(reader) == [[b"k%d" % number] for number in range(7)]
    writer("CONFIG SET tracking-table-max-keys 0")
    assert engine.tracking.tick(0) is False
    assert engine.tracking.keys == 3


def test_keys_that_expire_by_the_timer_are_told(
    reader: Subscriber, writer: Subscriber, engine: Engine, clock: ManualClock
) -> None:
    writer("SET k 1 PX 100")
    reader("CLIENT TRACKING ON")
    reader("GET k")
    clock.advance(101)
    engine.expire_keys(clock.now_ms())
    assert told(reader) == [[b"k"]]


def test_keys_that_are_evicted_are_told(
    reader: Subscriber, writer: Subscriber, engine: Engine
) -> None:
    writer("SET", "k", "x" * 10_000)
    reader("CLIENT TRACKING ON")
    reader("GET k")
    writer("CONFIG SET maxmemory-policy allkeys-lru")
    writer("CONFIG", "SET", "maxmemory", BASE_BYTES + 1000)
    engine.limit_memory(engine.clock.now_ms())
    assert told(reader) == [[b"k"]]


def test_figures(reader: Subscriber, writer: Subscriber) -> None:
    reader("CLIENT TRACKING ON")
    writer("CLIENT TRACKING ON BCAST PREFIX p PREFIX q")
    reader("MGET a b")
    reader("GET a")
    info = writer("INFO clients") + writer("INFO stats")
    text = info if isinstance(info, str) else info.decode()
    for line in (
        *("tracking_clients:2", "tracking_total_keys:2", "tracking_total_items:2"),
        "tracking_total_prefixes:2",
    ):
        assert f"\r\n{line}\r\n" in text
    lines = [dict(part.split(b"=", 1) for part in line.split()) for line in listing(writer)]
    assert [(line[b"flags"], line[b"redir"]) for line in lines] == [(b"t", b"0"), (b"tB", b"0")]


def listing(console: Subscriber) -> list[bytes]:
    text = console("CLIENT LIST")
    return (text.encode() if isinstance(text, str) else text).splitlines()


def test_nothing_is_left_and_nothing_observed_when_the_last_one_goes(
    reader: Subscriber, writer: Subscriber, engine: Engine
) -> None:
    assert engine.databases[0].observer is None
    reader("CLIENT TRACKING ON")
    writer("CLIENT TRACKING ON BCAST PREFIX p")
    reader("GET a")
    assert engine.databases[0].observer is not None
    assert engine.gates == Gate.OPEN  # who does not track pays nothing
    engine.disconnect(reader.ctx)
    writer("RESET")
    assert engine.databases[0].observer is None
    tracking = engine.tracking
    assert (len(tracking), tracking.keys, tracking.items, tracking.prefixes) == (0, 0, 0, 0)


def test_messages_of_prefixes_come_when_the_pass_ends(
    reader: Subscriber, writer: Subscriber, engine: Engine
) -> None:
    reader("CLIENT TRACKING ON BCAST")
    for key in ("b", "a", "b"):
        writer("SET", key, "1")
    assert told(reader) == []
    engine.outbox.flush()
    assert told(reader) == [[b"a", b"b"]]


def test_a_redirection_that_breaks_is_shown(
    reader: Subscriber, writer: Subscriber, engine: Engine
) -> None:
    other = Subscriber(engine, resp=3)
    reader("CLIENT", "TRACKING", "ON", "REDIRECT", other.ctx.client_id)
    reader("GET k")
    engine.disconnect(other.ctx)
    writer("SET k 1")
    assert reader.heard() == [[b"tracking-redir-broken", other.ctx.client_id]]
    assert b"broken_redirect" in reader.execute([b"CLIENT", b"TRACKINGINFO"])
    reader("CLIENT TRACKING ON")
    assert b"broken_redirect" not in reader.execute([b"CLIENT", b"TRACKINGINFO"])


def test_messages_come_though_replies_are_off(
    reader: Subscriber, writer: Subscriber, engine: Engine
) -> None:
    reader("CLIENT TRACKING ON")
    reader("GET a")
    assert reader.execute([b"CLIENT", b"REPLY", b"OFF"]) == b""
    frames = b"".join(send(reader.ctx, b"SET a 1")[1])
    assert frames == b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n"
    writer("SET a 2")
    assert told(reader) == []


# -- pause -----------------------------------------------------------------------------------------


@pytest.fixture
def timers(engine: Engine, clock: ManualClock) -> ManualTimers:
    timers = ManualTimers(clock)
    engine.after = timers.after
    return timers


def send(ctx: Context, *lines: bytes) -> tuple[Any, list[bytes]]:
    """The dispatcher's outcome and the frames."""
    ctx.now_ms = ctx.engine.clock.now_ms()
    out: list[bytes] = []
    return run(ctx, [line.split() for line in lines], out), out


def test_what_is_paused_is_run_again_when_the_pause_is_over(
    writer: Subscriber, engine: Engine, timers: ManualTimers
) -> None:
    writer("CLIENT PAUSE 100 WRITE")
    outcome, frames = send(writer.ctx, b"GET k", b"SET k 1", b"GET k")
    assert isinstance(outcome, Deferred)
    assert outcome.again
    assert (writer.ctx.resume_at, frames) == (1, [b"_\r\n"])
    woken: list[Any] = []
    outcome.start(woken.append)
    assert len(engine.pause) == 1
    timers.advance(99)
    assert woken == []
    timers.advance(1)
    assert woken == [b""]
    assert (engine.gates, len(engine.pause)) == (Gate.OPEN, 0)
    assert send(writer.ctx, b"SET k 1")[1] == [b"+OK\r\n"]


def test_a_pause_only_gets_longer_and_stricter(
    writer: Subscriber, engine: Engine, timers: ManualTimers
) -> None:
    writer("CLIENT PAUSE 100 WRITE")
    timers.advance(50)
    writer("CLIENT PAUSE 10 ALL")
    assert isinstance(send(writer.ctx, b"GET k")[0], Deferred)
    timers.advance(49)
    assert engine.gates == Gate.PAUSED
    assert timers.pending() == 1
    timers.advance(1)
    assert engine.gates == Gate.OPEN
    assert timers.pending() == 0


def test_who_goes_in_a_pause_is_forgotten(
    writer: Subscriber, engine: Engine, timers: ManualTimers
) -> None:
    writer("CLIENT PAUSE 100")
    outcome, _ = send(writer.ctx, b"SET k 1")
    outcome.start(lambda reply: pytest.fail("it is gone"))
    outcome.cancel()
    assert len(engine.pause) == 0
    timers.advance(100)


def test_keys_neither_expire_nor_go_in_a_pause(
    writer: Subscriber, engine: Engine, timers: ManualTimers, clock: ManualClock
) -> None:
    writer("SET k 1 PX 10")
    writer("CLIENT PAUSE 100 WRITE")
    timers.advance(11)
    assert writer("EXISTS k") == 0
    assert writer("GET k") is None
    engine.expire_keys(clock.now_ms())
    assert writer("RANDOMKEY") == b"k"  # there is no other
    assert (writer("DBSIZE"), engine.databases[0].expired) == (1, 0)
    writer("CLIENT UNPAUSE")
    assert writer("GET k") is None
    assert (writer("DBSIZE"), engine.databases[0].expired) == (0, 1)


def test_scripts_that_declare_that_they_write_nothing_go_on_in_a_pause_of_writes(
    writer: Subscriber, engine: Engine, timers: ManualTimers
) -> None:
    reading, writing = b"#!lua flags=no-writes\nreturn 1", b"#!lua\nreturn 2"
    library = b"""#!lua name=l
redis.register_function{function_name='r', callback=function() return 3 end, flags={'no-writes'}}
redis.register_function('w', function() return 4 end)"""
    writer("FUNCTION", "LOAD", library)
    shas = [writer("SCRIPT", "LOAD", script) for script in (reading, writing)]
    calls = [[b"EVAL", reading], [b"EVALSHA", shas[0]], [b"FCALL", b"r"]]
    stopped = [[b"EVAL", writing], [b"EVALSHA", shas[1]], [b"FCALL", b"w"]]
    stopped += [[b"EVAL", b"return 5"], [b"EVALSHA", b"0" * 40], [b"FCALL", b"none"]]
    writer("CLIENT PAUSE 100 WRITE")
    for argv, changes in [(argv, False) for argv in calls] + [(argv, True) for argv in stopped]:
        out: list[Any] = []
        outcome = run(writer.ctx, [[*argv, b"0"]], out)
        assert (type(outcome) is Deferred) is changes, argv
    timers.advance(100)


def test_a_reply_that_is_skipped_stays_skipped(
    writer: Subscriber, engine: Engine, timers: ManualTimers
) -> None:
    writer("CLIENT PAUSE 100 WRITE")
    outcome, frames = send(writer.ctx, b"CLIENT REPLY SKIP", b"SET k 1")
    assert (type(outcome), b"".join(frames)) == (Deferred, b"")
    writer_two = Subscriber(engine, resp=3)
    writer_two("CLIENT UNPAUSE")
    assert b"".join(send(writer.ctx, b"SET k 1", b"GET k")[1]) == b"$1\r\n1\r\n"
