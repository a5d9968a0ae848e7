"""Many clients of several processes against the limits of one server; then the logs are judged.

    python -m tests.soak.limits --seconds 60 --clients 100 [--processes 4] [--port N]

Each client reserves, waits, settles, cancels, forgets, extends or asks again with the same id; some
wait exactly as long as they were told, some never wait, so that calls meet at the very moments at
which something is free again. Every process logs when a call was sent and answered (one monotonic
clock for all of them) and what it cost in the end. Afterwards, from the logs alone:

    for all s < t: calls sent at or after s and answered by t cost at most capacity + rate * (t - s)
    at no moment more calls run than a CONC allows
    every reservation that was settled in time was known, and only once

Knows nothing of the server's inside.
"""

import argparse
import asyncio
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import hiredis

from hotplate.bench.process import start_hotplate

TENANTS: Final = 4
CAPACITY: Final = 600
COUNT: Final = 200  # tokens a second
COST_MAX: Final = 120
CALLS_MAX: Final = 12  # at a time and tenant
TTL_MS: Final = 700
THROTTLE_BURST: Final = 30
THROTTLE_COUNT: Final = 20
RECEIVE_BYTES: Final = 1 << 16
NS: Final = 1_000_000_000


@dataclass(slots=True)
class Call:
    """An admitted call: when it was asked for and answered, and what it cost in the end."""

    limit: str
    sent_ns: int
    answered_ns: int
    cost: int
    left_ns: int = 0  # when it began to give back its place, or its place was taken back


class Client:
    """One connection, one request at a time."""

    def __init__(self, source: random.Random) -> None:
        self.source = source
        self.calls: list[Call] = []
        self.asked = 0
        self.unknown = 0  # settled in time, but the server knew nothing of it
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._parser = hiredis.Reader()

    async def connect(self, port: int) -> None:
        """Open the connection."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port)

    async def ask(self, *words: object) -> Any:
        """One command and its reply; an error ends the run."""
        self.asked += 1
        command = tuple(str(word) for word in words)
        self._writer.write(hiredis.pack_command(command))  # type: ignore[arg-type]
        while (reply := self._parser.gets()) is False:
            received = await self._reader.read(RECEIVE_BYTES)
            if not received:
                raise ConnectionError("the server closed the connection")
            self._parser.feed(received)
        if isinstance(reply, hiredis.ReplyError):
            raise reply
        return reply

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    async def work(self, name: str, until_ns: int) -> None:
        """Make calls until the time is over."""
        number = 0
        while time.monotonic_ns() < until_ns:
            number += 1
            if self.source.random() < 0.3:
                await self._throttle()
            else:
                await self._generate(f"{name}-{number}")

    async def _throttle(self) -> None:
        tenant = self.source.randrange(TENANTS)
        sent_ns = time.monotonic_ns()
        words = (f"requests:{tenant}", THROTTLE_BURST - 1, THROTTLE_COUNT, 1)
        reply = await self.ask("CL.THROTTLE", *words)
        if reply[0] == 0:
            self.calls.append(Call(f"requests:{tenant}", sent_ns, time.monotonic_ns(), 1))

    async def _generate(self, rid: str) -> None:
        source = self.source
        tenant = source.randrange(TENANTS)
        keys = (f"tokens:{tenant}", f"running:{tenant}")
        cost = source.randint(1, COST_MAX)
        limits = ("LIMIT", "RATE", CAPACITY, COUNT, 1000, cost, "CONC", CALLS_MAX)
        line = ("LB.ACQUIRE", 2, *keys, *limits, "ID", rid, "TTL", TTL_MS)
        sent_ns = time.monotonic_ns()
        reply = await self.ask(*line)
        answered_ns = time.monotonic_ns()
        if reply[0] == 1:
            if source.random() < 0.5:  # to the millisecond
                await asyncio.sleep(max(0, reply[2]) / 1000)
            return
        ends_ns = sent_ns + TTL_MS * NS // 1000  # not before
        tokens = Call(keys[0], sent_ns, answered_ns, cost)
        place = Call(keys[1], sent_ns, answered_ns, 0, ends_ns)
        self.calls += [tokens, place]
        if source.random() < 0.1:
            await self.ask(*line)  # a retry of the client's library: must cost nothing
        kind = source.choices(("settle", "cancel", "forget", "extend"), (6, 2, 1, 1))[0]
        await asyncio.sleep(source.choice((0, 0, 0.001, 0.02, 0.2, 0.4)))
        if kind == "forget":
            return
        if kind == "extend":
            asked_ns = time.monotonic_ns()
            if await self.ask("LB.EXTEND", rid, 2 * TTL_MS, 2, *keys):
                place.left_ns = ends_ns = asked_ns + 2 * TTL_MS * NS // 1000
                await asyncio.sleep(TTL_MS * 1.3 / 1000)
        actual = 0 if kind == "cancel" else source.randint(0, cost)
        left_ns = time.monotonic_ns()
        settling = ("ACTUAL", actual, 0) if kind != "cancel" else ()
        command = "LB.CANCEL" if kind == "cancel" else "LB.SETTLE"
        settled = (await self.ask(command, rid, 2, *keys, *settling))[0]
        if settled:
            tokens.cost = actual
            place.left_ns = min(left_ns, ends_ns)
            if (await self.ask(command, rid, 2, *keys, *settling))[0]:
                raise AssertionError(f"{rid} was settled twice")
        elif time.monotonic_ns() < ends_ns:
            self.unknown += 1


async def _run_clients(port: int, seed: int, count: int, until_ns: int) -> tuple[Any, ...]:
    clients = [Client(random.Random(seed * 1000 + number)) for number in range(count)]
    for client in clients:
        await client.connect(port)
    work = [client.work(f"{seed}-{number}", until_ns) for number, client in enumerate(clients)]
    await asyncio.gather(*work)
    for client in clients:
        client.close()
    calls = [call for client in clients for call in client.calls]
    return calls, sum(client.asked for client in clients), sum(c.unknown for c in clients)


def _process(arguments: tuple[int, int, int, int]) -> tuple[Any, ...]:
    return asyncio.run(_run_clients(*arguments))


def fullest(calls: Sequence[Call], capacity: int, count: int) -> float:
    """The most that calls of one rate cost, in times of capacity + rate * (t - s)."""
    worst = 0.0
    by_answer = sorted(calls, key=lambda call: call.answered_ns)
    for start_ns in sorted({call.sent_ns for call in calls}):
        later = [call for call in by_answer if call.sent_ns >= start_ns]
        totals = accumulate(call.cost for call in later)
        for call, total in zip(later, totals, strict=True):
            allowed = capacity + count * (call.answered_ns - start_ns) / NS
            worst = max(worst, total / allowed)
    return worst


def most_at_once(calls: Sequence[Call]) -> int:
    """How many calls held a place at the same moment, at least."""
    steps = [(call.answered_ns, 1) for call in calls if call.left_ns > call.answered_ns]
    steps += [(call.left_ns, -1) for call in calls if call.left_ns > call.answered_ns]
    return max(accumulate(change for _, change in sorted(steps)), default=0)


def judge(calls: Sequence[Call]) -> tuple[list[str], list[str]]:
    """What the logs say, and what of it breaks a promise."""
    said, broken = [], []
    for tenant in range(TENANTS):
        for name, capacity, count in (
            ("tokens", CAPACITY, COUNT),
            ("requests", THROTTLE_BURST, THROTTLE_COUNT),
        ):
            of_limit = [call for call in calls if call.limit == f"{name}:{tenant}"]
            worst = fullest(of_limit, capacity, count)
            said.append(f"{name}:{tenant}: {len(of_limit)} admitted, at most {worst:.3f} of bound")
            if worst > 1:
                broken.append(said[-1])
        most = most_at_once([call for call in calls if call.limit == f"running:{tenant}"])
        said.append(f"running:{tenant}: at most {most} of {CALLS_MAX} at once")
        if most > CALLS_MAX:
            broken.append(said[-1])
    return said, broken


def main(argv: Sequence[str]) -> int:
    """Run and judge: 0, or 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--port", type=int, help="of a running Hotplate; without it one is started")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(argv)
    each = -(-arguments.clients // arguments.processes)
    with ExitStack() as stack:
        port = arguments.port
        if port is None:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="limits-soak-"))
            port = stack.enter_context(start_hotplate(Path(directory))).port
        pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(arguments.processes))
        pool.map(int, range(arguments.processes))  # all are there before the time begins
        until_ns = time.monotonic_ns() + int(arguments.seconds * NS)
        work = [
            (port, arguments.seed * 100 + number, each, until_ns)
            for number in range(arguments.processes)
        ]
        logs = pool.map(_process, work, chunksize=1)
    calls = [call for log in logs for call in log[0]]
    said, broken = judge(calls)
    unknown = sum(log[2] for log in logs)
    if unknown:
        broken.append(f"{unknown} reservations were unknown before their time had come")
    if not calls:
        broken.append("nothing was admitted")
    print(f"{sum(log[1] for log in logs)} requests of {each * arguments.processes} clients")
    print("\n".join(said))
    print("\n".join(f"BROKEN: {promise}" for promise in broken) or "every promise was kept")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
