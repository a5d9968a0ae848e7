"""When named things are due, found in the order in which they come due.

    times    name -> Unix ms
    queue    heap of (Unix ms, name); each name has an entry there that is not later than its time

A name that is put off, removed or brought forward leaves its entry behind; `pop_due` drops what it
finds so. Putting off a time again and again, what sessions do, adds no entry. Once most entries are
such leftovers the heap is built anew.

Two use it: a hash for its fields, a database for the keys of such hashes. Knows no clock.
"""

from heapq import heapify, heappop, heappush
from typing import Final

from hotplate.keyspace.sharded import SPREAD_FROM, ShardedDict, Table, shed_entries

NEVER_MS: Final = 2**63
_LEFTOVERS_MIN: Final = 16


class Deadlines:
    """Names and their times. Nothing is due before `first_ms`; that may be too early."""

    __slots__ = ("_queue", "_times", "first_ms")

    def __init__(self) -> None:
        self._times: Table[int] = {}
        self._queue: list[tuple[int, bytes]] = []
        self.first_ms = NEVER_MS

    def __len__(self) -> int:
        return len(self._times)

    def get(self, name: bytes) -> int | None:
        """When `name` is due; None: never."""
        return self._times.get(name)

    def set(self, name: bytes, due_ms: int) -> None:
        """Let `name` be due at a time, whatever was said before."""
        times = self._times
        before_ms = times.get(name)
        times[name] = due_ms
        if before_ms is not None and due_ms >= before_ms:
            return
        heappush(self._queue, (due_ms, name))
        if due_ms < self.first_ms:
            self.first_ms = due_ms
        if before_ms is None and len(times) > SPREAD_FROM and isinstance(times, dict):
            self._times = ShardedDict(times)
        if len(self._queue) > 2 * len(times) + _LEFTOVERS_MIN:
            self._queue = [(at_ms, key) for key, at_ms in self._times.items()]
            heapify(self._queue)

    def discard(self, name: bytes) -> bool:
        """Let `name` be due never; whether it was."""
        return self._times.pop(name, None) is not None

    def pop_due(self, now_ms: int, limit: int) -> list[bytes]:
        """Remove at most `limit` names whose time is past, the earliest first."""
        queue, times = self._queue, self._times
        due: list[bytes] = []
        while queue and queue[0][0] < now_ms and len(due) < limit:
            _, name = heappop(queue)
            due_ms = times.get(name)
            if due_ms is None:
                continue
            if due_ms < now_ms:
                del times[name]
                due.append(name)
            else:
                heappush(queue, (due_ms, name))
        self.first_ms = queue[0][0] if queue else NEVER_MS
        return due

    def copy(self) -> "Deadlines":
        """The same names and times."""
        other = Deadlines()
        other._times = self._times.copy()
        other._queue = self._queue.copy()
        other.first_ms = self.first_ms
        return other

    def shed(self, count: int) -> None:
        """Forget about `count` names, any of them. Nothing else may be asked afterwards."""
        del self._queue[-2 * count - 1 :]
        shed_entries(self._times, count)
