"""`client-output-buffer-limit`: clients that do not take what is sent to them are closed.

Ordinary clients wait for their own replies (flow control in server.connection); subscribers are
sent what others publish, whether they read or not. A client over the hard limit of its class is
closed when that is noticed: at a push, or when its transport fills up. One over the soft limit is
closed by the timer, unless it falls below it within the class's seconds.
"""

import logging
from typing import TYPE_CHECKING, Final

from hotplate.engine.context import Gate
from hotplate.engine.engine import Engine

if TYPE_CHECKING:
    from hotplate.server.output import Output

log = logging.getLogger("hotplate.server")
_PUSHED_BYTES_MAX: Final = 1024 * 1024  # messages that one pass may gather, whatever the limits


class OutputLimits:
    """The limits, and who is over a soft one since when."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._over_since_ms: dict[Output, int] = {}
        self.push_bytes_max = 0  # a subscriber with more unsent has to be looked at
        self._read_settings(frozenset())
        engine.config.observe(self._read_settings)

    def _read_settings(self, _: frozenset[str]) -> None:
        limit = self._engine.config.client_output_buffer_limit.pubsub
        sizes = [size for size in (limit.hard_bytes, limit.soft_bytes) if size]
        self.push_bytes_max = min([_PUSHED_BYTES_MAX, *sizes])

    def check(self, connection: "Output") -> None:
        """Close a client over its hard limit; remember one over its soft limit."""
        subscribed = connection.ctx.gates & Gate.SUBSCRIBED
        limits = self._engine.config.client_output_buffer_limit
        limit = limits.pubsub if subscribed else limits.normal
        unsent_bytes = connection.output_bytes()
        if limit.hard_bytes and unsent_bytes > limit.hard_bytes:
            self._close(connection)
        elif not limit.soft_bytes or unsent_bytes <= limit.soft_bytes:
            self._over_since_ms.pop(connection, None)
        else:
            now_ms = self._engine.clock.now_ms()
            since_ms = self._over_since_ms.setdefault(connection, now_ms)
            if now_ms - since_ms > limit.soft_seconds * 1000:
                self._close(connection)

    def tick(self) -> None:
        """Look again at those over a soft limit; the server's timer calls it."""
        for connection in list(self._over_since_ms):
            self.check(connection)

    def forget(self, connection: "Output") -> None:
        """The client went."""
        self._over_since_ms.pop(connection, None)

    def _close(self, connection: "Output") -> None:
        self._over_since_ms.pop(connection, None)
        self._engine.stats.output_limit_disconnections += 1
        log.warning(
            "closed %s, which leaves %d bytes unread (client-output-buffer-limit)",
            connection.peer,
            connection.output_bytes(),
        )
        connection.close_now()
