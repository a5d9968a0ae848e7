"""Limits and a paced queue of a real server that is killed in the middle and started again, twice.

Judged by what one client saw, by its own clock: no credit appears, no reservation is forgotten, and
every entry of the queue arrives exactly once, no faster than its rate. What was under way when the
server died is asked again under the same id.
"""

import itertools
import random
import time
from pathlib import Path
from typing import Final

import pytest
from tests.soak.limits import Call, fullest, most_at_once
from tests.testing.server import StartHotplate

from hotplate.bench.link import Link, frame
from hotplate.bench.process import ServerProcess

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

KILLS: Final = 2
REFUSED_A_LIFE: Final = 5  # then the bucket is full
CAPACITY: Final = 100
COUNT: Final = 20  # tokens a second: a server that forgets would admit 100 at once
COST_MAX: Final = 9
PLACES: Final = 6
OPEN_MAX: Final = 3
BURST: Final = 30  # of CL.THROTTLE
THROTTLES: Final = 10  # a second
ENTRIES_A_LIFE: Final = 100
PERIOD_MS: Final = 10
TTL_MS: Final = 600_000
PATIENCE_MS: Final = 60_000
PATIENCE_NS: Final = PATIENCE_MS * 1_000_000


class Gateway:
    """The one client, over all lives of the server."""

    def __init__(self, seed: int) -> None:
        self.source = random.Random(seed)
        self.numbers = itertools.count()
        self.calls: list[Call] = []
        self.open: list[tuple[str, Call, Call, int]] = []  # id, its two calls, what it reserved
        self.refused = 0
        self.added = 0
        self.under_way: tuple[str, int, int] | None = None  # id, cost, when it was sent first

    def live(self, link: Link) -> None:
        """Queue some entries; settle what is open; reserve until the bucket is full."""
        for number in range(self.added, self.added + ENTRIES_A_LIFE):
            self.add(link, number)
        if self.under_way is not None:
            self.reserve(link, *self.under_way)
            self.under_way = None
        while self.open:
            self.settle(link)
        deadline_ns = time.monotonic_ns() + PATIENCE_NS
        self.refused = 0
        while self.refused < REFUSED_A_LIFE or not self.open:
            assert time.monotonic_ns() < deadline_ns, "the bucket does not fill"
            self.throttle(link)
            self.reserve(link, *self.next_call())
            if len(self.open) > OPEN_MAX:
                self.settle(link)

    def next_call(self) -> tuple[str, int, int]:
        """The id and the cost of a new call, and the time."""
        return f"call-{next(self.numbers)}", self.source.randint(1, COST_MAX), time.monotonic_ns()

    def words(self, rid: str, cost: int) -> tuple[str | int, ...]:
        """What reserves."""
        limits = ("LIMIT", "RATE", CAPACITY, COUNT, 1000, cost, "CONC", PLACES)
        return ("LB.ACQUIRE", 2, "tokens", "running", *limits, "ID", rid, "TTL", TTL_MS)

    def reserve(self, link: Link, rid: str, cost: int, sent_ns: int) -> None:
        """Ask for it, and remember it if it was let in."""
        is_limited, _, _, rows = link.command(*self.words(rid, cost))
        self.refused += rows[0][0]
        if not is_limited:
            answered_ns = time.monotonic_ns()
            tokens = Call("tokens", sent_ns, answered_ns, cost)
            place = Call("running", sent_ns, answered_ns, 0, sent_ns + TTL_MS * 1_000_000)
            self.calls.append(tokens)
            self.open.append((rid, tokens, place, cost))

    def settle(self, link: Link) -> None:
        """Settle the oldest one, which must be known, and only once."""
        rid, tokens, place, cost = self.open.pop(0)
        actual = self.source.randint(0, cost)
        place.left_ns = time.monotonic_ns()
        words = ("LB.SETTLE", rid, 2, "tokens", "running", "ACTUAL", actual, 0)
        assert link.command(*words)[0] == 1
        assert link.command(*words)[0] == 0
        tokens.cost = actual
        self.calls.append(place)

    def throttle(self, link: Link) -> None:
        """One call of the plain limit."""
        sent_ns = time.monotonic_ns()
        if link.command("CL.THROTTLE", "requests", BURST - 1, THROTTLES, 1)[0] == 0:
            self.calls.append(Call("requests", sent_ns, time.monotonic_ns(), 1))

    def add(self, link: Link, number: int) -> None:
        """Queue an entry; it may be there already, if the server died before it answered."""
        words = ("LBQ.ADD", "queue", "IDMP", "gateway", number, "FIELDS", 1, "n", number)
        assert link.command(*words)[0] in (1, 3)
        self.added = number + 1

    def leave(self, link: Link) -> None:
        """Send what nobody will hear the answer to."""
        self.under_way = rid, cost, _ = self.next_call()
        words = ("LBQ.ADD", "queue", "IDMP", "gateway", self.added, "FIELDS", 1, "n", self.added)
        requests = frame(*self.words(rid, cost)) + frame(*words)
        link.send_parts([requests], expected=None, replies=0)

    def judge(self) -> None:
        """No more was admitted than the limits allow, whatever the server went through."""
        self.calls += [place for _, _, place, _ in self.open]
        assert fullest(self.calls_of("tokens"), CAPACITY, COUNT) <= 1
        assert fullest(self.calls_of("requests"), BURST, THROTTLES) <= 1
        assert most_at_once(self.calls_of("running")) <= PLACES

    def calls_of(self, limit: str) -> list[Call]:
        """What one limit admitted."""
        return [call for call in self.calls if call.limit == limit]


def arrivals(link: Link, number: int) -> list[tuple[int, int]]:
    """The first so many entries of the stream: when each came, in ms, and its number."""
    entries: list[tuple[int, int]] = []
    last = b"0"
    while len(entries) < number:
        reply = link.command("XREAD", "BLOCK", PATIENCE_MS, "STREAMS", "work", last)
        assert reply is not None, f"{number - len(entries)} entries do not come"
        for last, fields in reply[0][1]:
            entries.append((int(last.partition(b"-")[0]), int(fields[1])))
    return entries


@pytest.mark.parametrize("policy", ["everysec", "always"])
def test_limits_and_queues_go_on_when_the_server_is_killed(
    policy: str, start_server: StartHotplate, tmp_path: Path
) -> None:
    def start() -> ServerProcess:
        return start_server("--appendonly", "yes", "--appendfsync", policy, directory=tmp_path)

    gateway = Gateway(seed=7)
    server = start()
    with Link(server.url) as link:
        link.command("LBQ.CREATE", "queue", "INTO", "work", "RATE", 1, PERIOD_MS)
    for _ in range(KILLS):
        with Link(server.url) as link:
            gateway.live(link)
            assert link.command("LBQ.LEN", "queue") > 0
            gateway.leave(link)
        server.kill()
        server = start()
    with Link(server.url) as link:
        gateway.live(link)
        entries = arrivals(link, gateway.added)
        assert link.command("LBQ.LEN", "queue") == 0
        assert link.command("XLEN", "work") == gateway.added
    gateway.judge()
    assert [number for _, number in entries] == list(range(gateway.added))
    for (early_ms, _), (late_ms, _) in itertools.pairwise(entries):
        assert late_ms - early_ms >= PERIOD_MS - 2  # two clocks' milliseconds, rounded
