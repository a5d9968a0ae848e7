"""The server's counters: a plain object, written where things happen, read by INFO.

Counters of single commands live in `spec.model.Command`. CONFIG RESETSTAT calls `reset`; gauges
(connected clients, memory) are not here, they are measured when asked for.
"""

from dataclasses import dataclass, field, fields


@dataclass(slots=True)
class Stats:
    """Counters since the start or since the last CONFIG RESETSTAT."""

    connections_received: int = 0
    connections_rejected: int = 0
    commands_processed: int = 0
    net_input_bytes: int = 0
    net_output_bytes: int = 0
    reads_processed: int = 0
    writes_processed: int = 0
    expired_keys: int = 0
    expired_time_cap_reached: int = 0
    evicted_keys: int = 0
    evicted_clients: int = 0
    keyspace_hits: int = 0
    keyspace_misses: int = 0
    protocol_errors: int = 0
    auth_failures: int = 0
    query_buffer_limit_disconnections: int = 0
    output_buffer_limit_disconnections: int = 0
    idle_disconnections: int = 0
    errors: dict[str, int] = field(default_factory=dict)  # replies by code

    def count_error(self, code: str) -> None:
        """An error with this code was answered."""
        self.errors[code] = self.errors.get(code, 0) + 1

    def reset(self) -> None:
        """Start over at zero."""
        for counter in fields(self):
            setattr(self, counter.name, {} if counter.name == "errors" else 0)
