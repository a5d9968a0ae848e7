"""Task queues: streams with consumer groups, blocking pops, publish/subscribe and a lock's script.

What `redis-benchmark` can send it sends. Where a request depends on the reply before, or one
client's request answers another's, the benchmark's own clients do (`Crowd`): requests are encoded
and the length of every reply is known before the clock starts, so that they cost both sides little.
"""

import os
import select
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Final, Self
from urllib.parse import urlsplit

from hotplate.bench.link import Link, frame
from hotplate.bench.measure import Comparison, alternate, compare_rates, compare_times
from hotplate.bench.redis_benchmark import KEYS, measure_rate
from hotplate.bench.report import Suite

CLIENTS: Final = 50
SUBSCRIBERS: Final = 10
PIPELINES: Final = (1, 16)
TARGETS: Final = {1: 0.9, 16: 0.5}  # by pipeline
CALIBRATION_REQUESTS: Final = 2_000
REQUESTS_MIN: Final = 1_000
ENTRIES: Final = 10  # of one XREADGROUP, acknowledged by one XACK
FIRST_ID: Final = 100_000_000  # all ids have as many digits, and replies are equally long
HAND_OVERS_MIN: Final = 200
HAND_OVER_TARGETS: Final = {50: 1 / 1.3, 99: 1 / 2}  # by percentile
HAND_OVERS_A_SECOND: Final = 2_000
IDLE_CONSUMERS: Final = 1_000
IDLE_PERCENT_MAX: Final = 1.0
IDLE_SECONDS_MIN: Final = 1.0
FILL_BATCH: Final = 1_000
RECEIVE_BYTES: Final = 1 << 16
RELEASE_LOCK: Final = """
local token = redis.call('get', KEYS[1])
if not token or token ~= ARGV[1] then
    return 0
end
redis.call('del', KEYS[1])
return 1
"""  # what redis-py's Lock does

Rate = Callable[[str, int, int], float]  # (url, pipeline, requests) -> requests a second


def run(ours: str, theirs: str, *, alternations: int, seconds: float) -> Suite:
    """Measure everything between two URLs, each run about `seconds` long."""
    print(f"\n{_idle_cost(ours, seconds)}", flush=True)
    suite = Suite("queues", f"{CLIENTS} clients, commands a second; hand-over latency")
    for pipeline in PIPELINES:
        for name, rate in LOADS.items():
            slower = min(rate(url, pipeline, CALIBRATION_REQUESTS) for url in (ours, theirs))
            requests = max(REQUESTS_MIN, round(slower * seconds))
            pairs = alternate(
                partial(rate, ours, pipeline, requests),
                partial(rate, theirs, pipeline, requests),
                alternations,
            )
            row = compare_rates(f"{name} pipeline {pipeline}", pairs, target=TARGETS[pipeline])
            suite.rows.append(row)
    suite.rows += _hand_over_rows(ours, theirs, alternations=alternations, seconds=seconds)
    for url in (ours, theirs):
        with Link(url) as link:
            link.command("FLUSHALL")
    return suite


# -- by redis-benchmark ----------------------------------------------------------------------------


def _add(url: str, pipeline: int, requests: int) -> float:
    with Link(url) as link:
        link.command("DEL", "bench:stream")
    words = ["XADD", "bench:stream", "*", "task", "x" * 32]
    return measure_rate(url, words, clients=CLIENTS, pipeline=pipeline, requests=requests)


def _publish(url: str, pipeline: int, requests: int) -> float:
    with _subscribers(url):
        words = ["PUBLISH", "bench:channel", "x" * 32]
        return measure_rate(url, words, clients=CLIENTS, pipeline=pipeline, requests=requests)


def _release(url: str, pipeline: int, requests: int) -> float:
    with Link(url) as link:
        script: bytes = link.command("SCRIPT", "LOAD", RELEASE_LOCK)
        for first in range(0, KEYS, FILL_BATCH):
            locks = range(first, first + FILL_BATCH)
            fill = b"".join(frame("SET", f"lock:{number:012d}", "token") for number in locks)
            link.calls(fill, FILL_BATCH)
    words = ["EVALSHA", script.decode(), "1", "lock:__rand_int__", "token"]
    return measure_rate(url, words, clients=CLIENTS, pipeline=pipeline, requests=requests)


@contextmanager
def _subscribers(url: str) -> Iterator[None]:
    """Subscribers that take all they get, in a thread that sleeps in the system meanwhile."""
    with ExitStack() as stack:
        crowd = stack.enter_context(Crowd(url, SUBSCRIBERS))
        ready = b"*3\r\n$9\r\nsubscribe\r\n$13\r\nbench:channel\r\n:1\r\n"
        crowd.ask([frame("SUBSCRIBE", "bench:channel")] * SUBSCRIBERS, [len(ready)] * SUBSCRIBERS)
        reader = Thread(target=_take_all, args=(crowd.sockets,), daemon=True)
        reader.start()
        yield
        for client in crowd.sockets:
            client.shutdown(socket.SHUT_RDWR)
        reader.join()


def _take_all(sockets: Sequence[socket.socket]) -> None:
    buffer = bytearray(RECEIVE_BYTES)
    left = set(sockets)
    while left:
        readable, _, _ = select.select(list(left), [], [])
        for client in readable:
            try:
                is_over = not client.recv_into(buffer)
            except ConnectionResetError:  # it was shut down while messages were on their way
                is_over = True
            if is_over:
                left.discard(client)


# -- by the benchmark's own clients ----------------------------------------------------------------


class Crowd:
    """Many connections that send at once and then take their replies, of known lengths."""

    def __init__(self, url: str, size: int) -> None:
        parts = urlsplit(url)
        address = parts.hostname or "127.0.0.1", parts.port or 6379
        self.sockets = [socket.create_connection(address) for _ in range(size)]
        self._buffer = memoryview(bytearray(RECEIVE_BYTES))
        for client in self.sockets:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if parts.password is not None:
            words = ["AUTH", *([parts.username] if parts.username else []), parts.password]
            self.ask([frame(*words)] * size, [len(b"+OK\r\n")] * size)

    def send(self, requests: Sequence[bytes]) -> None:
        """One to each connection, from the first on."""
        for client, request in zip(self.sockets, requests, strict=False):
            client.sendall(request)

    def take(self, lengths: Sequence[int]) -> None:
        """As many bytes from each."""
        for client, length in zip(self.sockets, lengths, strict=False):
            while length:
                received = client.recv_into(self._buffer, min(length, RECEIVE_BYTES))
                if not received:
                    raise ConnectionError("the server closed a connection")
                length -= received

    def take_lines(self, count: int) -> None:
        """As many lines from each."""
        for client in self.sockets:
            missing = count
            while missing:
                received = client.recv_into(self._buffer)
                if not received:
                    raise ConnectionError("the server closed a connection")
                missing -= bytes(self._buffer[:received]).count(b"\n")

    def ask(self, requests: Sequence[bytes], lengths: Sequence[int]) -> None:
        """Send and take."""
        self.send(requests)
        self.take(lengths)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.sockets:
            client.close()


def _entry_id(number: int) -> str:
    return f"{FIRST_ID + number}-0"


def _read_and_acknowledge(url: str, pipeline: int, requests: int) -> float:
    """Each client has a stream and a group, and reads and acknowledges ten entries at a time.

    A pipeline of 16 is eight such pairs. What is counted are commands.
    """
    at_once = max(pipeline // 2, 1)
    rounds = max(requests // (2 * at_once * CLIENTS), 2)
    with Link(url) as link, Crowd(url, CLIENTS) as crowd:
        for client in range(CLIENTS):
            _fill_stream(link, f"bench:tasks:{client:02d}", rounds * at_once * ENTRIES)
        plans = []
        for number in range(rounds):
            firsts = [(number * at_once + pair) * ENTRIES for pair in range(at_once)]
            plans.append([_pairs(f"bench:tasks:{client:02d}", firsts) for client in range(CLIENTS)])
        reply_bytes = _read_bytes("bench:tasks:00", ENTRIES)
        acknowledged = len(b":%d\r\n" % ENTRIES)
        started = time.perf_counter()
        for plan in plans:
            if pipeline == 1:
                crowd.ask([read for read, _ in plan], [reply_bytes] * CLIENTS)
                crowd.ask([ack for _, ack in plan], [acknowledged] * CLIENTS)
            else:
                both = at_once * (reply_bytes + acknowledged)
                crowd.ask([read + ack for read, ack in plan], [both] * CLIENTS)
        spent = time.perf_counter() - started
        pending = link.command("XPENDING", "bench:tasks:00", "g")[0]
        left = link.command("XREADGROUP", "GROUP", "g", "c", "STREAMS", "bench:tasks:00", ">")
        if pending or left:
            raise RuntimeError(f"{pending} entries are pending, left is {left!r:.100}")
    return rounds * 2 * at_once * CLIENTS / spent


def _fill_stream(link: Link, stream: str, entries: int) -> None:
    link.command("DEL", stream)
    for first in range(0, entries, FILL_BATCH):
        numbers = range(first, min(first + FILL_BATCH, entries))
        adds = [frame("XADD", stream, _entry_id(number), "task", "x" * 32) for number in numbers]
        link.calls(b"".join(adds), len(adds))
    link.command("XGROUP", "CREATE", stream, "g", "0")


def _pairs(stream: str, firsts: Sequence[int]) -> tuple[bytes, bytes]:
    """XREADGROUP and XACK of ten entries; several pairs are all in the first of the two."""
    read = frame("XREADGROUP", "GROUP", "g", "c", "COUNT", ENTRIES, "STREAMS", stream, ">")
    acks = [
        frame("XACK", stream, "g", *[_entry_id(first + n) for n in range(ENTRIES)])
        for first in firsts
    ]
    if len(acks) == 1:
        return read, acks[0]
    return b"".join(read + ack for ack in acks), b""


def _read_bytes(stream: str, entries: int) -> int:
    """The length of the reply to XREADGROUP."""
    entry_id, name = _entry_id(0).encode(), stream.encode()
    entry = b"*2\r\n$%d\r\n%b\r\n*2\r\n$4\r\ntask\r\n$32\r\n%b\r\n"
    head = b"*1\r\n*2\r\n$%d\r\n%b\r\n*%d\r\n" % (len(name), name, entries)
    return len(head) + entries * len(entry % (len(entry_id), entry_id, b"x" * 32))


def _hand_over(url: str, pipeline: int, requests: int) -> float:
    """As many clients wait with BRPOP as elements are pushed; commands a second.

    Without pipeline each push comes from a client of its own; with one all come from one client.
    """
    size = CLIENTS if pipeline == 1 else pipeline
    served = len(b"*2\r\n$10\r\nbench:list\r\n$4\r\ntask\r\n")
    push, pop = frame("LPUSH", "bench:list", "task"), frame("BRPOP", "bench:list", 0)
    rounds = max(requests // (2 * size), 2)
    with Crowd(url, size) as consumers, Crowd(url, size if pipeline == 1 else 1) as producers:
        started = time.perf_counter()
        for _ in range(rounds):
            consumers.send([pop] * size)
            if pipeline == 1:
                producers.send([push] * size)
            else:
                producers.send([push * size])
            producers.take_lines(size // len(producers.sockets))
            consumers.take([served] * size)
        spent = time.perf_counter() - started
    return rounds * 2 * size / spent


def _hand_over_rows(
    ours: str, theirs: str, *, alternations: int, seconds: float
) -> list[Comparison]:
    """From XADD to the reply of a waiting XREADGROUP: percentiles of many."""
    hand_overs = max(HAND_OVERS_MIN, round(seconds * HAND_OVERS_A_SECOND))
    pairs = alternate(
        partial(_latencies, ours, hand_overs), partial(_latencies, theirs, hand_overs), alternations
    )
    rows = []
    for percent, target in HAND_OVER_TARGETS.items():
        times = [(_percentile(own, percent), _percentile(other, percent)) for own, other in pairs]
        name = f"XADD to a waiting XREADGROUP, p{percent}"
        rows.append(compare_times(name, times, target=target))
    return rows


def _latencies(url: str, hand_overs: int) -> list[float]:
    """Seconds from sending XADD to having the entry, one after the other."""
    stream = "bench:tasks:00"
    read = frame("XREADGROUP", "GROUP", "g", "c", "BLOCK", 0, "NOACK", "STREAMS", stream, ">")
    added = len(b"$11\r\n%b\r\n" % _entry_id(0).encode())
    spent = []
    with Link(url) as link, Crowd(url, 1) as consumer, Crowd(url, 1) as producer:
        link.command("DEL", stream)
        link.command("XGROUP", "CREATE", stream, "g", "0", "MKSTREAM")
        for number in range(hand_overs):
            consumer.send([read])
            link.command("PING")  # by now it waits
            add = frame("XADD", stream, _entry_id(number), "task", "x" * 32)
            started = time.perf_counter()
            producer.send([add])
            consumer.take([_read_bytes(stream, 1)])
            spent.append(time.perf_counter() - started)
            producer.take([added])
        link.command("DEL", stream)
    return spent


def _percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


# -- what waiting costs ----------------------------------------------------------------------------


def _idle_cost(url: str, seconds: float) -> str:
    """The processor time that a server on this machine takes for clients that only wait."""
    with Link(url) as link, Crowd(url, IDLE_CONSUMERS) as crowd:
        info: bytes = link.command("INFO", "server")
        pid = next(line for line in info.split(b"\r\n") if line.startswith(b"process_id:"))
        statistics_path = Path(f"/proc/{int(pid.partition(b':')[2])}/stat")
        link.command("XGROUP", "CREATE", "bench:idle", "g", "0", "MKSTREAM")
        words: list[str | int] = ["BLOCK", 0, "STREAMS", "bench:idle", ">"]
        crowd.send(
            [frame("XREADGROUP", "GROUP", "g", f"c{n}", *words) for n in range(IDLE_CONSUMERS)]
        )
        while b"blocked_clients:%d\r\n" % IDLE_CONSUMERS not in link.command("INFO", "clients"):
            time.sleep(0.01)
        before, started = _ticks(statistics_path), time.perf_counter()
        time.sleep(max(IDLE_SECONDS_MIN, seconds * 5))
        spent = (_ticks(statistics_path) - before) / os.sysconf("SC_CLK_TCK")
        percent = 100 * spent / (time.perf_counter() - started)
        link.command("DEL", "bench:idle")
        error = b"-NOGROUP"  # the key is gone, and they hear of it
        crowd.take([len(error)] * IDLE_CONSUMERS)
    verdict = "met" if percent < IDLE_PERCENT_MAX else "NOT MET"
    name = f"{IDLE_CONSUMERS} blocked consumers"
    return f"{name}: {percent:.1f} % of a core while idle (< {IDLE_PERCENT_MAX:g}: {verdict})"


def _ticks(statistics_path: Path) -> int:
    """Processor time of a process, in the system's ticks."""
    fields = statistics_path.read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])  # utime, stime


LOADS: Final[dict[str, Rate]] = {
    "XADD": _add,
    "XREADGROUP + XACK of 10": _read_and_acknowledge,
    "LPUSH to a waiting BRPOP": _hand_over,
    f"PUBLISH to {SUBSCRIBERS}": _publish,
    "EVALSHA lock release": _release,
}
