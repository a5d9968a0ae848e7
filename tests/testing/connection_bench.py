"""An engine with trial commands behind connections on a scripted loop."""

from itertools import pairwise

from tests.testing.manual_timers import ManualTimers
from tests.testing.scripted_transport import ScriptedTransport, build_table, connect
from tests.testing.trial_commands import Trial, build_trial_engine

from hotplate.clock import ManualClock
from hotplate.config import Config
from hotplate.engine.engine import Engine
from hotplate.server.connection import Connection

PONG = b"+PONG\r\n"


def request(*words: bytes | str | int) -> bytes:
    """A request on the wire."""
    argv = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(a), a) for a in argv)


class Bench:
    """An engine with trial commands, and clients on a scripted loop."""

    def __init__(self, config: Config | None = None) -> None:
        self.clock = ManualClock()
        self.engine: Engine
        self.trial: Trial
        self.engine, self.trial = build_trial_engine(self.clock, config)
        self.timers = ManualTimers(self.clock)
        self.engine.after = self.timers.after
        self.table, self.loop = build_table(self.engine)
        self.settle = self.loop.settle

    def client(self) -> tuple[ScriptedTransport, Connection]:
        """One more."""
        return connect(self.table, self.loop)

    def ask(self, transport: ScriptedTransport, data: bytes) -> bytes:
        """Send, run to rest, and take what was answered."""
        transport.send(data)
        self.settle()
        return transport.take()


def pieces(data: bytes, *positions: int) -> list[bytes]:
    """`data` cut at the positions."""
    bounds = [0, *sorted(positions), len(data)]
    return [data[a:b] for a, b in pairwise(bounds)]
