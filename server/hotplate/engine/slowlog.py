"""Commands that took long: the slow log, and the samples of the latency monitor.

The dispatcher measures runs of equal commands and comes here only with those that took longer than
the lower of both thresholds. A run's commands count with their average; commands that are not FAST
are measured one by one.
"""

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hotplate.spec.model import Command, Flag

if TYPE_CHECKING:
    from hotplate.engine.context import Context

ARGUMENTS_MAX: Final = 32  # of a command, the name included; as in Redis
ARGUMENT_BYTES_MAX: Final = 128
NEVER_NS: Final = 2**63
LATENCY_SAMPLES_MAX: Final = 160
_REDACTED: Final = b"(redacted)"
_SECRET_SETTINGS: Final = frozenset((b"requirepass", b"masterauth", b"masteruser"))


class SlowEntry(NamedTuple):
    """One slow command."""

    id: int
    time_s: int
    spent_us: int
    argv: list[bytes]
    peer: bytes
    name: bytes


class LatencySample(NamedTuple):
    """The longest time that an event took within one second."""

    time_s: int
    spent_ms: int


class SlowLog:
    """What took long lately. `threshold_ns` is where looking begins."""

    def __init__(self) -> None:
        self._entries: deque[SlowEntry] = deque(maxlen=0)
        self._next_id = 0
        self._slow_ns = NEVER_NS
        self._latency_ns = NEVER_NS
        self.latencies: dict[str, deque[LatencySample]] = {}
        self.latency_peaks_ms: dict[str, int] = {}

    def configure(self, slower_than_us: int, entries_max: int, latency_ms: int) -> int:
        """The settings; answers the time from which a run is to be noted here."""
        self._slow_ns = NEVER_NS if slower_than_us < 0 else slower_than_us * 1000
        self._latency_ns = latency_ms * 1_000_000 if latency_ms else NEVER_NS
        if entries_max != self._entries.maxlen:
            self._entries = deque(list(self._entries)[:entries_max], maxlen=entries_max)
        return min(self._slow_ns, self._latency_ns)

    def note(
        self, ctx: "Context", command: Command, batch: Sequence[list[Any]], spent_ns: int
    ) -> None:
        """A run of equal commands took so long altogether."""
        each_ns = spent_ns // len(batch)
        time_s = ctx.engine.clock.now_ms() // 1000
        if each_ns >= self._slow_ns and not command.flags & Flag.SKIP_SLOWLOG:
            peer = ctx.link.peer.encode("utf-8", "surrogateescape")
            for argv in batch:
                shown = _shown(command, argv)
                entry = SlowEntry(self._next_id, time_s, each_ns // 1000, shown, peer, ctx.name)
                self._next_id += 1
                self._entries.appendleft(entry)
        if each_ns >= self._latency_ns:
            event = "fast-command" if command.flags & Flag.FAST else "command"
            self._sample(event, time_s, each_ns // 1_000_000)

    def _sample(self, event: str, time_s: int, spent_ms: int) -> None:
        samples = self.latencies.setdefault(event, deque(maxlen=LATENCY_SAMPLES_MAX))
        if samples and samples[-1].time_s == time_s:
            spent_ms = max(samples.pop().spent_ms, spent_ms)
        samples.append(LatencySample(time_s, spent_ms))
        self.latency_peaks_ms[event] = max(self.latency_peaks_ms.get(event, 0), spent_ms)

    def entries(self, count: int) -> list[SlowEntry]:
        """The newest `count`, newest first; all where it is negative."""
        found = list(self._entries)
        return found if count < 0 else found[:count]

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Forget the slow log's entries."""
        self._entries.clear()

    def forget_latencies(self, events: Sequence[str]) -> int:
        """Forget the samples of `events` (none: of all); how many events there were."""
        names = [name for name in events or list(self.latencies) if name in self.latencies]
        for name in names:
            del self.latencies[name], self.latency_peaks_ms[name]
        return len(names)


def _shown(command: Command, argv: list[Any]) -> list[bytes]:
    """The arguments, cut to a bounded size, without secrets."""
    shown = [_cut(argument) for argument in argv[:ARGUMENTS_MAX]]
    if command.name == b"auth":
        shown[1:] = [_REDACTED] * (len(shown) - 1)
    elif command.name == b"hello":
        for position, word in enumerate(shown):
            if word.upper() == b"AUTH":
                shown[position + 1 : position + 3] = [_REDACTED] * len(shown[position + 1 :][:2])
    elif command.name == b"config|set":
        for position in range(2, len(shown) - 1, 2):
            if shown[position].lower() in _SECRET_SETTINGS:
                shown[position + 1] = _REDACTED
    if len(argv) > ARGUMENTS_MAX:
        left = len(argv) - ARGUMENTS_MAX + 1
        shown[-1] = b"... (%d more arguments)" % left
    return shown


def _cut(argument: Any) -> bytes:
    if not isinstance(argument, bytes):
        return b"(payload of %d bytes)" % len(argument)
    if len(argument) <= ARGUMENT_BYTES_MAX:
        return argument
    left = len(argument) - ARGUMENT_BYTES_MAX
    return b"%b... (%d more bytes)" % (argument[:ARGUMENT_BYTES_MAX], left)
