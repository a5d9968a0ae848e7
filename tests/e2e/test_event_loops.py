"""Connections on sockets, under both event loops, in this process: what transports really do."""

import asyncio
import random
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop
from tests.testing.trial_commands import Trial, build_trial_engine
from tests.testing.wire_client import TIMEOUT_SECONDS, request

from hotplate.clock import SystemClock
from hotplate.engine.engine import Engine
from hotplate.server.clients import ClientTable
from hotplate.server.connection import BATCH_REQUESTS, Connection
from hotplate.server.output import WRITE_HIGH_BYTES

PONG = b"+PONG\r\n"
FACTORIES = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Host:
    """A server's connections on this loop, without a listener."""

    def __init__(self) -> None:
        self.engine: Engine
        self.trial: Trial
        self.engine, self.trial = build_trial_engine(SystemClock())
        self.loop = asyncio.get_running_loop()
        self.table = ClientTable(self.engine, self.loop)
        self.connections: list[Connection] = []

    async def connect(self) -> socket.socket:
        """The other end of a new connection, not blocking."""
        theirs, ours = socket.socketpair()
        theirs.setblocking(False)
        ours.setblocking(False)
        connection = Connection(self.table, "unix")
        self.connections.append(connection)
        await self.loop.connect_accepted_socket(lambda: connection, ours)
        return theirs

    async def receive(self, sock: socket.socket, count: int) -> bytes:
        """Exactly so many bytes; fewer where the connection ends."""
        data = bytearray()
        while len(data) < count:
            part = await self.loop.sock_recv(sock, min(count - len(data), 1 << 20))
            if not part:
                break
            data += part
        return bytes(data)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the loop go on until it is so."""
        while not condition():  # noqa: ASYNC110  # turning the loop is the point
            await asyncio.sleep(0)


Scenario = Callable[[Host], Coroutine[Any, Any, None]]
Play = Callable[[Scenario], None]


@pytest.fixture(params=FACTORIES)
def play(request: pytest.FixtureRequest) -> Play:
    """Run a scenario on one of the loops; what callbacks raise fails the test."""
    raised: list[dict[str, Any]] = []

    def run_scenario(scenario: Scenario) -> None:
        async def run() -> None:
            asyncio.get_running_loop().set_exception_handler(
                lambda _loop, context: raised.append(context)
            )
            host = Host()
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await scenario(host)
                host.table.close_all()
                await host.table.wait_empty()

        with asyncio.Runner(loop_factory=FACTORIES[request.param]) as runner:
            runner.run(run())
        assert raised == []

    return run_scenario


def test_a_pipeline_and_its_end_are_answered_whole(play: Play) -> None:
    async def scenario(host: Host) -> None:
        sock = await host.connect()
        count = 20 * BATCH_REQUESTS
        await host.loop.sock_sendall(sock, request("INCR", "n") * count)
        sock.shutdown(socket.SHUT_WR)
        expected = b"".join(b":%d\r\n" % n for n in range(1, count + 1))
        assert await host.receive(sock, len(expected) + 1) == expected
        await host.until(lambda: not host.engine.clients)
        sock.close()

    play(scenario)


def test_others_are_served_between_the_batches_of_a_pipeline(play: Play) -> None:
    async def scenario(host: Host) -> None:
        greedy, other = await host.connect(), await host.connect()
        count = 20 * BATCH_REQUESTS
        await host.loop.sock_sendall(greedy, request("INCR", "n") * count)
        await host.loop.sock_sendall(other, request("PING"))
        assert await host.receive(other, len(PONG)) == PONG
        assert host.engine.stats.commands_processed < count / 2
        await host.until(lambda: host.engine.stats.commands_processed == count + 1)
        greedy.close()
        other.close()

    play(scenario)


def test_large_strings_in_pieces_arrive_whole(play: Play) -> None:
    async def scenario(host: Host) -> None:
        rng = random.Random(1)
        sock = await host.connect()
        for size in (40_000, 1_000_000, 6_000_000):
            first, second = rng.randbytes(size), rng.randbytes(size // 2)
            data = request("TRIAL.KEEP", first, second) + request("PING")
            expected = b"*2\r\n:%d\r\n:%d\r\n" % (size, size // 2) + PONG
            start = data.index(b"\r\n" + first[:9]) + 2
            for cut in (3, start - 1, start, start + 1, start + size, start + size + 1, -6):
                host.trial.received.clear()
                await host.loop.sock_sendall(sock, data[:cut])
                for _ in range(20):  # so that the server mostly sees the cut
                    await asyncio.sleep(0)
                await host.loop.sock_sendall(sock, data[cut:])
                assert await host.receive(sock, len(expected)) == expected
                assert host.trial.received == [first, second]
        sock.close()

    play(scenario)


def test_a_client_that_does_not_read_is_waited_for(play: Play) -> None:
    async def scenario(host: Host) -> None:
        sock, other = await host.connect(), await host.connect()
        value = b"x" * 20_000
        count = 3000
        await host.loop.sock_sendall(sock, request("SET", "a", value))
        sending = host.loop.create_task(host.loop.sock_sendall(sock, request("GET", "a") * count))
        await host.until(lambda: host.connections[0].output_bytes() > WRITE_HIGH_BYTES)
        for _ in range(50):  # others are served meanwhile, it is not
            await host.loop.sock_sendall(other, request("PING"))
            assert await host.receive(other, len(PONG)) == PONG
        unsent_bytes = host.connections[0].output_bytes()
        assert unsent_bytes <= WRITE_HIGH_BYTES + BATCH_REQUESTS * (len(value) + 16)
        assert host.engine.stats.commands_processed < count / 2
        frame = b"$20000\r\n" + value + b"\r\n"
        assert await host.receive(sock, 5) == b"+OK\r\n"
        for _ in range(count):
            assert await host.receive(sock, len(frame)) == frame
        await sending
        sock.close()
        other.close()

    play(scenario)


def test_views_are_held_until_they_are_sent(play: Play) -> None:
    async def scenario(host: Host) -> None:
        sock = await host.connect()
        backing = bytearray(b"v" * 3_000_000)
        host.trial.view = memoryview(backing)
        await host.loop.sock_sendall(sock, request("PING") + request("TRIAL.VIEW"))
        await host.until(lambda: host.connections[0].output_bytes() > 0)
        for _ in range(20):
            await asyncio.sleep(0)
        assert host.trial.released == 0
        expected = PONG + b"$3000000\r\n" + bytes(backing) + b"\r\n"
        assert await host.receive(sock, len(expected)) == expected
        await host.until(lambda: host.trial.released == 1)
        host.trial.view = memoryview(b"tiny")
        await host.loop.sock_sendall(sock, request("TRIAL.VIEW") * 3)
        assert await host.receive(sock, 30) == b"$4\r\ntiny\r\n" * 3
        await host.until(lambda: host.trial.released == 4)
        sock.close()

    play(scenario)


@pytest.mark.parametrize("state", ["idle", "half", "large", "late", "view", "full"])
def test_a_client_may_vanish_in_any_state(play: Play, state: str) -> None:
    async def scenario(host: Host) -> None:
        sock = await host.connect()
        connection = host.connections[0]
        host.trial.view = memoryview(bytes(3_000_000))
        await host.loop.sock_sendall(sock, request("PING"))
        assert await host.receive(sock, len(PONG)) == PONG
        data = {
            "idle": b"",
            "half": b"*2\r\n$4\r\nEC",
            "large": request("TRIAL.KEEP", b"x" * 100_000)[:60_000],
            "late": request("TRIAL.LATER") + request("PING"),
            "view": request("TRIAL.VIEW"),
            "full": request("ECHO", b"x" * 30_000) * 40,
        }[state]
        sending = host.loop.create_task(host.loop.sock_sendall(sock, data))
        reached: dict[str, Callable[[], bool]] = {
            "idle": lambda: True,
            "half": lambda: connection.query_bytes() > 0,
            "large": lambda: connection.query_bytes() > 59_000,
            "late": lambda: bool(host.trial.waiting),
            "view": lambda: connection.output_bytes() > 0,
            "full": lambda: connection.output_bytes() > WRITE_HIGH_BYTES,
        }
        await host.until(reached[state])
        sending.cancel()
        sock.close()
        if state == "late":  # nothing is read while a reply is awaited: it comes, then all ends
            host.trial.waiting.pop()(1)
        await host.until(lambda: not host.engine.clients)
        assert [target.abandoned for target in host.trial.targets] == [1] * (state == "large")
        assert host.trial.released == (state == "view")

    play(scenario)


def test_a_client_that_is_dropped_amid_its_batch_does_no_harm(play: Play) -> None:
    async def scenario(host: Host) -> None:
        sock = await host.connect()
        host.trial.view = memoryview(bytes(1_000_000))
        data = request("PING") + request("TRIAL.VIEW") + b"POST / HTTP/1.1\r\nFLUSHALL\r\n"
        await host.loop.sock_sendall(sock, data)
        await host.until(lambda: not host.engine.clients)
        assert host.trial.released == 1
        sock.close()

    play(scenario)


def test_a_protocol_error_is_the_last_thing_that_is_sent(play: Play) -> None:
    async def scenario(host: Host) -> None:
        sock = await host.connect()
        await host.loop.sock_sendall(sock, request("PING") + b"*x\r\n*y\r\n")
        replies = await host.receive(sock, 1000)
        assert replies == PONG + b"-ERR Protocol error: invalid multibulk length\r\n"
        sock.close()

    play(scenario)
