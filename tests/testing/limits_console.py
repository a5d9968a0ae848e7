"""Looking at limits through a console."""

from typing import Any

from tests.testing.server_console import ServerConsole


def listen(console: ServerConsole) -> list[tuple[bytes, str]]:
    """Keyspace events from now on."""
    events: list[tuple[bytes, str]] = []
    console.ctx.db.observer = lambda _, key, event: events.append((key, event))
    return events


def info(console: ServerConsole, key: str) -> dict[str, int]:
    """LB.INFO of either protocol."""
    reply: Any = console("LB.INFO", key)
    if isinstance(reply, list):
        reply = dict(zip(reply[::2], reply[1::2], strict=True))
    return {name.decode(): figure for name, figure in reply.items()}


def value_at(console: ServerConsole, key: bytes) -> Any:
    """The bucket or the leases of a key."""
    entry = console.ctx.db.lookup_write(key, console.clock.now_ms())
    assert entry is not None
    return entry.value


def tick(console: ServerConsole, span_ms: float = 0) -> None:
    """Let time pass, then let the server's timer look at its queues."""
    console.clock.advance(span_ms)
    while console.engine.tend_queues(console.clock.now_ms()):
        pass


def released(console: ServerConsole, stream: str) -> list[dict[bytes, bytes]]:
    """The entries of a stream, field by field."""
    rows: Any = console("XRANGE", stream, "-", "+")
    return [dict(zip(row[1][::2], row[1][1::2], strict=True)) for row in rows]
