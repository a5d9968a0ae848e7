"""The data types: commands on hashes, lists, sets and sorted sets, by `redis-benchmark`, and what a
million session hashes take.

Both sides work on the same data. What a run consumes (RPOP, SPOP) is put there before each run.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final

from hotplate.bench.link import Link, frame
from hotplate.bench.measure import Comparison, alternate, compare_rates, compare_sizes
from hotplate.bench.redis_benchmark import KEYS, measure_rate
from hotplate.bench.report import Suite

CLIENTS: Final = 50
PIPELINES: Final = (1, 16)
CALIBRATION_REQUESTS: Final = 2_000
REQUESTS_MIN: Final = 1_000
TARGETS: Final = {1: 0.9, 16: 0.5}  # by pipeline
RANGE_TARGETS: Final = {1: 0.7, 16: 0.4}  # where a reply has a hundred elements
FIELDS: Final = 10
SESSION_BYTES: Final = 500  # names and values of a session's fields
SESSIONS: Final = 1_000_000
QUICK_SESSIONS: Final = 100_000
MEMORY_TARGET: Final = 1 / 2.5
RANGE_ITEMS: Final = 10_000
BATCH: Final = 500  # elements of a command that puts data there

Prepare = Callable[[Link, int], None]  # (link, requests to come)


@dataclass(frozen=True, slots=True)
class Load:
    """One command under load: what redis-benchmark is told, and what has to be there first."""

    name: str
    words: tuple[str, ...]
    prepare: Prepare
    targets: dict[int, float]

    def requests_per_second(self, url: str, pipeline: int, requests: int) -> float:
        """Run it once, on data made before the clock starts."""
        with Link(url) as link:
            self.prepare(link, requests)
        return measure_rate(url, self.words, clients=CLIENTS, pipeline=pipeline, requests=requests)


def session_fields(number: int) -> list[bytes | str | int]:
    """Field, value, ... of one session: the same names in all of them."""
    fields: list[bytes | str | int] = []
    value_bytes = SESSION_BYTES // FIELDS - len("field:0")
    for field in range(FIELDS):
        fields += [f"field:{field}", f"{number}:{field}".ljust(value_bytes, "x")]
    return fields


def send_all(link: Link, requests: Iterator[bytes]) -> None:
    """Run requests in pipelines."""
    while batch := list(islice(requests, BATCH)):
        link.calls(b"".join(batch), len(batch))


def fill_sessions(link: Link, _requests: int, sessions: int = KEYS) -> None:
    """Session hashes under the keys that `session:__rand_int__` names, once."""
    if link.command("EXISTS", f"session:{sessions - 1:012d}"):
        return
    numbers = range(sessions)
    send_all(link, (frame("HSET", f"session:{n:012d}", *session_fields(n)) for n in numbers))


def fill_hash(link: Link, _requests: int) -> None:
    """One hash with every field that `element:__rand_int__` names."""
    if link.command("HLEN", "bench:hash") < KEYS:
        pairs = ([f"element:{n:012d}", "xxx"] for n in range(KEYS))
        send_all(link, (frame("HSET", "bench:hash", *pair) for pair in pairs))


def fill_list(link: Link, requests: int) -> None:
    """A list that so many RPOP leave something of."""
    missing = max(0, requests - link.command("LLEN", "bench:list") + BATCH)
    item_batch = frame("RPUSH", "bench:list", *["xxx"] * BATCH)
    send_all(link, iter([item_batch] * -(-missing // BATCH)))


def fill_set(link: Link, requests: int) -> None:
    """A set that so many SPOP leave something of."""
    link.command("DEL", "bench:set")
    numbers = iter(range(requests + BATCH))
    batches = iter(lambda: [f"element:{n:012d}" for n in islice(numbers, BATCH)], [])
    send_all(link, (frame("SADD", "bench:set", *batch) for batch in batches))


def fill_ranges(link: Link, _requests: int) -> None:
    """A list and a sorted set of which ranges are read; scores and positions are equal."""
    if link.command("ZCARD", "bench:scores") < RANGE_ITEMS:
        link.command("DEL", "bench:items", "bench:scores")
        numbers = range(RANGE_ITEMS)
        send_all(link, (frame("RPUSH", "bench:items", f"item:{n}") for n in numbers))
        send_all(link, (frame("ZADD", "bench:scores", n, f"item:{n}") for n in numbers))


def nothing(_link: Link, _requests: int) -> None:
    """No data is needed."""


LOADS: Final = (
    Load("HSET", ("HSET", "bench:hash", "element:__rand_int__", "xxx"), nothing, TARGETS),
    Load("HGET", ("HGET", "bench:hash", "element:__rand_int__"), fill_hash, TARGETS),
    Load("HGETALL 10", ("HGETALL", "session:__rand_int__"), fill_sessions, TARGETS),
    Load("LPUSH", ("LPUSH", "bench:list", "xxx"), nothing, TARGETS),
    Load("RPOP", ("RPOP", "bench:list"), fill_list, TARGETS),
    Load("LRANGE 100", ("LRANGE", "bench:items", "0", "99"), fill_ranges, RANGE_TARGETS),
    Load("SADD", ("SADD", "bench:set", "element:__rand_int__"), nothing, TARGETS),
    Load("SPOP", ("SPOP", "bench:set"), fill_set, TARGETS),
    Load("ZADD", ("ZADD", "bench:zset", "__rand_int__", "element:__rand_int__"), nothing, TARGETS),
    Load("ZRANGEBYSCORE", ("ZRANGEBYSCORE", "bench:scores", "5000", "5009"), fill_ranges, TARGETS),
    Load("ZRANGE 100", ("ZRANGE", "bench:scores", "0", "99"), fill_ranges, RANGE_TARGETS),
)


def run(ours: str, theirs: str, *, alternations: int, seconds: float, sessions: int) -> Suite:
    """Measure the memory, while none was used before, then all loads, each about `seconds` long."""
    suite = Suite("types", f"redis-benchmark -r {KEYS}, {CLIENTS} clients, requests per second")
    memory = compare_memory(ours, theirs, sessions)
    clear(ours)
    clear(theirs)
    for pipeline in PIPELINES:
        for load in LOADS:
            rates = [
                load.requests_per_second(url, pipeline, CALIBRATION_REQUESTS)
                for url in (ours, theirs)
            ]
            requests = max(REQUESTS_MIN, round(min(rates) * seconds))
            pairs = alternate(
                partial(load.requests_per_second, ours, pipeline, requests),
                partial(load.requests_per_second, theirs, pipeline, requests),
                alternations,
            )
            name = f"{load.name} pipeline {pipeline}"
            suite.rows.append(compare_rates(name, pairs, target=load.targets[pipeline]))
    clear(ours)
    clear(theirs)
    suite.rows.append(memory)
    return suite


def compare_memory(ours: str, theirs: str, sessions: int) -> Comparison:
    """Resident bytes of one session hash, from how a server grows by many."""
    pair = session_bytes(ours, sessions), session_bytes(theirs, sessions)
    name = f"memory of a session, {sessions} of them"
    return compare_sizes(name, [pair], target=MEMORY_TARGET)


def session_bytes(url: str, sessions: int) -> float:
    """Resident bytes a session: an empty server's memory before, with all of them after."""
    clear(url)
    with Link(url) as link:
        before = resident_bytes(link)
        fill_sessions(link, 0, sessions)
        return (resident_bytes(link) - before) / sessions


def resident_bytes(link: Link) -> int:
    """The resident memory of the server, as it tells itself."""
    info: bytes = link.command("INFO", "memory")
    rows = dict(line.split(b":", 1) for line in info.splitlines() if b":" in line)
    return int(rows[b"used_memory_rss"])


def clear(url: str) -> None:
    """Nothing is left of the suite."""
    with Link(url) as link:
        link.command("FLUSHALL")
