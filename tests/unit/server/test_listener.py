"""How clients that come at once are let in."""

import asyncio
import socket

import uvloop

from hotplate.server.listener import serve, tcp_sockets


class Accepted(asyncio.Protocol):
    """A client that was let in."""

    def __init__(self, peers: list[asyncio.BaseTransport]) -> None:
        self._peers = peers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._peers.append(transport)


async def passes_until_all_are_in(count: int) -> int:
    """How often the loop looked at its sockets while `count` clients were waiting to come in."""
    peers: list[asyncio.BaseTransport] = []
    (listening,) = sockets = tcp_sockets(["127.0.0.1"], 0, 511)
    clients = [socket.create_connection(listening.getsockname()) for _ in range(count)]
    servers = await serve(sockets, lambda kind: Accepted(peers))
    passes = 0
    while len(peers) < count:
        await asyncio.sleep(0)
        passes += 1
    for transport in peers:
        transport.close()
    for server in servers:
        server.close()
    for client in clients:
        client.close()
    return passes


def test_many_clients_that_come_at_once_are_let_in_together() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        passes = runner.run(passes_until_all_are_in(64))
    assert passes < 20
