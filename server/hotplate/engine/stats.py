"""The server's counters: a plain object, written where things happen, read by INFO.

Counters of single commands live in `spec.model.Command`, those of keys in `keyspace.database`.
CONFIG RESETSTAT calls `reset`; gauges (connected clients, memory) are not here, they are measured
when asked for.
"""

from collections import deque
from dataclasses import dataclass, field, fields
from typing import Final

_RATE_SAMPLES: Final = 16  # INFO's rates are over as many samples, as in Redis

_SAMPLE_SPAN_NS: Final = 100_000_000  # at least, between two samples


class Rates:
    """What `instantaneous_*` of INFO say: averages over the last samples.

    The server's timer calls `sample` a few times a second; without samples all rates are 0.
    """

    __slots__ = ("_samples",)

    def __init__(self) -> None:
        self._samples: deque[tuple[int, int, int, int]] = deque(maxlen=_RATE_SAMPLES)

    def add(self, now_ns: int, commands: int, input_bytes: int, output_bytes: int) -> None:
        """The counters at a time of the clock that never steps; too soon after another: ignored."""
        if self._samples and now_ns - self._samples[-1][0] < _SAMPLE_SPAN_NS:
            return
        self._samples.append((now_ns, commands, input_bytes, output_bytes))

    def clear(self) -> None:
        """Forget the samples."""
        self._samples.clear()

    def _per_second(self, column: int) -> float:
        if len(self._samples) < 2:
            return 0.0
        oldest, newest = self._samples[0], self._samples[-1]
        span_ns = newest[0] - oldest[0]
        return (newest[column] - oldest[column]) * 1e9 / span_ns if span_ns > 0 else 0.0

    @property
    def commands_per_second(self) -> float:
        """Commands run."""
        return self._per_second(1)

    @property
    def input_bytes_per_second(self) -> float:
        """Bytes received."""
        return self._per_second(2)

    @property
    def output_bytes_per_second(self) -> float:
        """Bytes sent."""
        return self._per_second(3)


@dataclass(slots=True)
class Stats:
    """Counters since the start or since the last CONFIG RESETSTAT."""

    connections_received: int = 0
    connections_rejected: int = 0
    commands_processed: int = 0
    net_input_bytes: int = 0
    net_output_bytes: int = 0
    protocol_errors: int = 0
    auth_failures: int = 0
    output_limit_disconnections: int = 0
    errors: dict[str, int] = field(default_factory=dict)  # replies by code
    rates: Rates = field(default_factory=Rates)

    def count_error(self, code: str) -> None:
        """An error with this code was answered."""
        self.errors[code] = self.errors.get(code, 0) + 1

    def sample(self, now_ns: int) -> None:
        """Take one sample for the rates; the server's timer calls it."""
        self.rates.add(now_ns, self.commands_processed, self.net_input_bytes, self.net_output_bytes)

    def reset(self) -> None:
        """Start over at zero."""
        self.errors.clear()
        self.rates.clear()
        for counter in fields(self):
            if counter.type is int:
                setattr(self, counter.name, 0)
