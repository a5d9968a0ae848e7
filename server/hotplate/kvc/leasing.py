"""Granting, extending and ending leases.

Owns all leases by id and their ends, and the limit of a group: leased bytes stay under half of
its quota (of its storages' capacity, if it has no quota), each block counted once with all specs.
"""

from heapq import heapify, heappop, heappush
from itertools import count
from os import urandom

from hotplate.kvc import lease as ranges
from hotplate.kvc.holdings import Holdings
from hotplate.kvc.index import ABSENT, Index
from hotplate.kvc.lease import LEASES_MAX, Lease
from hotplate.kvc.match import Piece
from hotplate.kvc.model import Instance


class LeaseBook:
    """The leases of all instances."""

    __slots__ = ("_ends", "_holdings", "_order", "by_id")

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._order = count()
        self._ends: list[tuple[int, int, Lease]] = []  # an extended lease is entered again
        self.by_id: dict[bytes, Lease] = {}

    def grant(self, index: Index, pieces: list[Piece], ms: int, now_ms: int) -> bytes | None:
        """A lease on matched blocks; None if there is nothing to lease or it would be too much."""
        use = self._holdings.use(index)
        if not pieces:
            return None
        lease = Lease(urandom(12).hex().encode(), index, now_ms + ms)
        fresh = ranges.attach(lease, self._parts(index, pieces)) * index.instance.total_bytes
        if (
            2 * (use.leased_bytes + fresh) >= self._holdings.limit_bytes(use)
            or use.leases >= LEASES_MAX
        ):
            ranges.detach(lease)
            lease.ranges.clear()
            self._holdings.counters[index.instance.number].leases_refused += 1
            return None
        use.leased_bytes += fresh
        use.leases += 1
        self.by_id[lease.id] = lease
        heappush(self._ends, (lease.end_ms, next(self._order), lease))
        if self._holdings.journal is not None:
            self._holdings.journal.leased(lease.end_ms)
        return lease.id

    def _parts(self, index: Index, pieces: list[Piece]) -> list[tuple[int, int]]:
        """The pieces as ranges of one run each: without chains, every id is a run."""
        if index.chained:
            return [(low, high) for _, low, high in pieces]
        return [(block, block + 1) for _, low, high in pieces for block in range(low, high)]

    def end_all(self, instance: Instance, now_ms: int) -> None:
        """End every lease of an instance."""
        for lease in [item for item in self.by_id.values() if item.index.instance is instance]:
            self.end(lease, now_ms)

    def find(self, index: Index, lease_id: bytes) -> Lease | None:
        """The lease, if it is the instance's and has not ended."""
        lease = self.by_id.get(lease_id)
        if lease is None or lease.index.instance is not index.instance:
            return None
        return lease

    def extend(self, lease: Lease, ms: int, now_ms: int) -> None:
        """Let a lease end no sooner than `ms` from now."""
        end_ms = now_ms + ms
        if end_ms > lease.end_ms:
            lease.end_ms = end_ms
            if self._holdings.journal is not None:
                self._holdings.journal.leased(end_ms)
            heappush(self._ends, (end_ms, next(self._order), lease))
            self._tidy()

    def end(self, lease: Lease, now_ms: int) -> None:
        """A lease is over: its blocks can be evicted again, its removed copies go."""
        lease.over = True
        del self.by_id[lease.id]
        index = lease.index
        use = self._holdings.use(index)
        use.leases -= 1
        use.leased_bytes -= ranges.detach(lease) * index.instance.total_bytes
        for grave in lease.graves:
            self._holdings.let_go(grave, now_ms)
        lease.graves.clear()
        for item in lease.ranges:
            if index.chained:
                block = index.tail[item.run] - 1
                if index.state[block] != ABSENT:
                    index.leaves.push(block)
            else:
                index.leaves.push(item.low)
        lease.ranges.clear()  # each names the lease: a circle
        self._tidy()

    def expire(self, now_ms: int) -> int:
        """End the leases whose time is over; how many entries were looked at."""
        ends = self._ends
        seen = 0
        while ends and ends[0][0] <= now_ms:
            end_ms, _, lease = heappop(ends)
            seen += 1
            if not lease.over and lease.end_ms == end_ms:
                self.end(lease, now_ms)
        return seen

    def _tidy(self) -> None:
        """Forget entries of ended leases and of earlier ends, once they are the most."""
        if len(self._ends) > 2 * len(self.by_id) + 1024:
            self._ends = [item for item in self._ends if not item[2].over]
            self._ends = [item for item in self._ends if item[0] == item[2].end_ms]
            heapify(self._ends)
