"""Subscribers that do not read: closed over the hard limit, or in the end over the soft one."""

from typing import Any

import pytest
from tests.testing.scripted_transport import ScriptedTransport, build_table, connect
from tests.testing.trial_commands import build_trial_engine
from tests.testing.wire_client import request

from hotplate.clock import ManualClock
from hotplate.config import Config

MESSAGE = b"x" * 1000


class Room:
    """A subscriber that stopped reading, and one that publishes."""

    def __init__(self, limit: str) -> None:
        config = Config()
        config.apply([("client-output-buffer-limit", limit.split())])
        self.clock = ManualClock()
        self.engine, _ = build_trial_engine(self.clock, config)
        self.table, self.loop = build_table(self.engine)
        self.ear = self.join()
        self.ask(self.ear, "SUBSCRIBE", "a")
        self.ear.taking = False
        self.voice = self.join()

    def join(self) -> ScriptedTransport:
        transport, _ = connect(self.table, self.loop)
        return transport

    def ask(self, transport: ScriptedTransport, *words: Any) -> bytes:
        transport.send(request(*words))
        self.loop.settle()
        return transport.take()

    def publish(self, count: int) -> list[bytes]:
        return [self.ask(self.voice, "PUBLISH", "a", MESSAGE) for _ in range(count)]

    def pass_seconds(self, seconds: float) -> None:
        self.clock.advance(seconds * 1000)
        self.table.output_limits.tick()
        self.loop.settle()


def test_over_the_hard_limit_a_subscriber_is_closed_at_once() -> None:
    room = Room("pubsub 5000 0 0")
    assert room.publish(4) == [b":1\r\n"] * 4
    assert not room.ear.lost
    room.publish(1)
    assert room.ear.lost
    assert room.engine.stats.output_limit_disconnections == 1
    assert room.publish(1) == [b":0\r\n"]


def test_many_messages_of_one_batch_end_with_the_limit() -> None:
    room = Room("pubsub 5000 0 0")
    room.voice.send(request("PUBLISH", "a", MESSAGE) * 50)
    room.loop.settle()
    assert room.ear.lost
    assert room.ear.unsent_peak < 7000


def test_over_the_soft_limit_a_subscriber_has_some_seconds() -> None:
    room = Room("pubsub 0 2500 10")
    room.publish(3)
    room.pass_seconds(9)
    room.pass_seconds(1)
    assert not room.ear.lost
    room.pass_seconds(1)
    assert room.ear.lost


def test_who_reads_in_time_may_stay() -> None:
    room = Room("pubsub 0 2500 10")
    room.publish(3)
    room.pass_seconds(9)
    room.ear.drain()
    room.pass_seconds(9)
    room.publish(3)
    room.pass_seconds(9)
    assert not room.ear.lost
    room.pass_seconds(2)
    assert room.ear.lost


def test_a_client_over_its_soft_limit_may_go_by_itself() -> None:
    room = Room("pubsub 0 2500 10")
    room.publish(3)
    room.ear.lose()
    room.pass_seconds(100)
    assert room.engine.stats.output_limit_disconnections == 0


@pytest.mark.parametrize("limit", ["pubsub 0 0 0", "normal 1 1 0 pubsub 0 0 0"])
def test_without_a_limit_of_its_class_nobody_is_closed(limit: str) -> None:
    room = Room(limit)
    room.publish(400)
    room.pass_seconds(1000)
    assert not room.ear.lost


def test_the_limit_may_change_while_the_server_runs() -> None:
    room = Room("pubsub 0 0 0")
    room.publish(10)
    room.ask(room.voice, "CONFIG", "SET", "client-output-buffer-limit", "pubsub 5000 0 0")
    room.publish(1)
    assert room.ear.lost


def test_an_ordinary_client_is_closed_over_its_own_limit() -> None:
    room = Room("normal 1mb 0 0")
    reader = room.join()
    reader.taking = False
    for _ in range(100):
        reader.send(request("ECHO", b"x" * 20_000))
    room.loop.settle()
    assert not reader.lost, "its commands wait before it gets so far"
    room.ask(room.voice, "CONFIG", "SET", "client-output-buffer-limit", "normal 100kb 0 0")
    other = room.join()
    other.taking = False
    other.send(request("ECHO", b"x" * 20_000) * 20)
    room.loop.settle()
    assert other.lost


def test_a_subscriber_that_says_nothing_is_not_idle() -> None:
    room = Room("pubsub 0 0 0")
    room.engine.config.timeout = 1
    room.clock.advance(5000)
    room.table.close_idle(room.clock.now_ms())
    room.loop.settle()
    assert not room.ear.lost
    assert room.voice.lost
