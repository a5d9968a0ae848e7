"""Who may come in, and who has to go."""

import pytest
from tests.testing.scripted_transport import build_table, connect
from tests.testing.trial_commands import build_trial_engine

from hotplate.clock import ManualClock
from hotplate.config import Config
from hotplate.engine.engine import Engine
from hotplate.server.clients import ClientTable

PING = b"*1\r\n$4\r\nPING\r\n"


class Door:
    """A table of clients with settings."""

    def __init__(self, **settings: object) -> None:
        config = Config()
        for name, value in settings.items():
            setattr(config, name, value)
        self.clock = ManualClock()
        self.engine: Engine
        self.engine, self.trial = build_trial_engine(self.clock, config)
        self.table: ClientTable
        self.table, self.loop = build_table(self.engine)


def test_one_client_too_many_is_told_and_closed() -> None:
    door = Door(maxclients=2)
    first, _ = connect(door.table, door.loop)
    connect(door.table, door.loop)
    third, _ = connect(door.table, door.loop)
    third.send(PING)
    door.loop.settle()
    assert third.take() == b"-ERR max number of clients reached\r\n"
    assert third.lost
    assert door.engine.stats.connections_rejected == 1
    assert door.engine.stats.connections_received == 2
    first.lose()
    fourth, _ = connect(door.table, door.loop)
    fourth.send(PING)
    door.loop.settle()
    assert fourth.take() == b"+PONG\r\n"


@pytest.mark.parametrize("peer", ["10.1.2.3", "192.168.0.1", "::2", "fe80::1", "128.0.0.1"])
def test_without_a_password_strangers_from_elsewhere_are_told_what_to_do(peer: str) -> None:
    door = Door()
    transport, _ = connect(door.table, door.loop, peer=(peer, 5000))
    transport.send(PING)
    door.loop.settle()
    text = transport.take()
    assert text.startswith(b"-DENIED Hotplate is running in protected mode")
    assert text.count(b"\r\n") == 1
    assert transport.lost
    assert door.engine.clients == {}
    assert door.engine.stats.connections_rejected == 1


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_local_clients_may_come_in_without_a_password(peer: str) -> None:
    door = Door()
    transport, _ = connect(door.table, door.loop, peer=(peer, 5000))
    transport.send(PING)
    door.loop.settle()
    assert transport.take() == b"+PONG\r\n"


@pytest.mark.parametrize("settings", [{"requirepass": "pw"}, {"protected_mode": False}])
def test_with_a_password_or_without_protection_all_may_come(settings: dict[str, object]) -> None:
    door = Door(**settings)
    transport, _ = connect(door.table, door.loop, peer=("10.1.2.3", 5000))
    door.loop.settle()
    assert transport.take() == b""
    assert not transport.closing
    assert len(door.engine.clients) == 1


def test_a_unix_socket_is_always_local() -> None:
    door = Door(unixsocket="/run/hotplate.sock")
    transport, connection = connect(door.table, door.loop, kind="unix", peer=None)
    transport.send(PING)
    door.loop.settle()
    assert transport.take() == b"+PONG\r\n"
    assert connection.peer == connection.local == "/run/hotplate.sock:0"


def test_a_client_that_went_before_it_was_looked_at_is_no_trouble() -> None:
    door = Door()
    transport, connection = connect(door.table, door.loop, peer=None)
    assert connection.peer == "?:0"
    transport.lose()
    assert door.engine.clients == {}


def test_addresses_of_both_families_are_shown_with_their_port() -> None:
    door = Door(requirepass="pw")
    _, four = connect(door.table, door.loop, peer=("10.1.2.3", 50))
    _, six = connect(door.table, door.loop, peer=("fe80::1", 60))
    assert (four.peer, six.peer) == ("10.1.2.3:50", "[fe80::1]:60")


# idle clients


def test_a_client_that_says_nothing_is_closed_in_the_end() -> None:
    door = Door(timeout=10)
    idle, _ = connect(door.table, door.loop)
    busy, _ = connect(door.table, door.loop)
    for _ in range(3):
        door.clock.advance(5000)
        busy.send(PING)
        door.loop.settle()
        door.table.close_idle(door.clock.now_ms())
        door.loop.settle()
    assert idle.lost
    assert not busy.lost
    assert len(door.engine.clients) == 1


def test_exactly_the_timeout_is_not_over_it_and_none_is_for_ever() -> None:
    door = Door(timeout=10)
    idle, _ = connect(door.table, door.loop)
    door.clock.advance(10_000)
    door.table.close_idle(door.clock.now_ms())
    assert not idle.closing
    door.engine.config.timeout = 0
    door.clock.advance(10**9)
    door.table.close_idle(door.clock.now_ms())
    assert not idle.closing
    door.engine.config.timeout = 10
    door.table.close_idle(door.clock.now_ms())
    assert idle.closing


@pytest.mark.parametrize("piece", [b"*", b"x" * 1000], ids=["request", "large string"])
def test_a_request_that_comes_slowly_is_a_sign_of_life(piece: bytes) -> None:
    door = Door(timeout=10)
    slow, _ = connect(door.table, door.loop)
    if piece != b"*":
        slow.send(b"*2\r\n$10\r\nTRIAL.KEEP\r\n$100000\r\n")
    for _ in range(5):
        door.clock.advance(8000)
        slow.send(piece)
        piece = b"1" if piece[:1] in b"*1" else piece
        door.loop.settle()
        door.table.close_idle(door.clock.now_ms())
    assert not slow.closing


def test_taking_replies_is_a_sign_of_life_and_not_taking_them_is_none() -> None:
    door = Door(timeout=10)
    reader, _ = connect(door.table, door.loop)
    reader.taking = False
    reader.send(b"*2\r\n$4\r\nECHO\r\n$20000\r\n" + b"x" * 20_000 + b"\r\n")
    door.loop.settle()
    for _ in range(3):
        door.clock.advance(11_000)
        reader._unsent[-1] = reader._unsent[-1][1000:]  # it took some of them
        door.table.close_idle(door.clock.now_ms())
        assert not reader.closing
    door.clock.advance(11_000)
    door.table.close_idle(door.clock.now_ms())
    door.loop.settle()
    assert reader.lost


# the end


def test_at_the_end_everyone_is_closed_once_replies_are_sent() -> None:
    door = Door()
    prompt, _ = connect(door.table, door.loop)
    slow, _ = connect(door.table, door.loop)
    slow.taking = False
    slow.send(PING)
    door.loop.settle()
    door.table.close_all()
    door.loop.settle()
    assert prompt.lost
    assert not slow.lost
    slow.drain()
    door.loop.settle()
    assert slow.lost
    assert slow.take() == b"+PONG\r\n"
