"""Rate limits beside what a redis-server offers for them: plain INCR, and Lua scripts.

One command at a time is driven by the `redis-benchmark` program on both sides; reserving and
settling, where one reply's id is the next request's argument, by the benchmark's own client with
ids of its own. The scripts do what clients' libraries do: a token bucket in a hash, for the pair
with the reservation in the same hash and leases in a sorted set. They are not as exact.

Also how much memory a live bucket takes, all in, from the growth of the server's process; and how
close to schedule a paced queue releases (`limits_queue`).
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Final

from hotplate.bench.limits_queue import ENTRIES, queue_line
from hotplate.bench.link import Link, frame
from hotplate.bench.measure import Comparison, alternate, compare_rates, repeat
from hotplate.bench.redis_benchmark import KEYS, measure_rate
from hotplate.bench.report import Suite

CLIENTS: Final = 50
PIPELINE: Final = 16
CALIBRATION_REQUESTS: Final = 4_000
REQUESTS_MIN: Final = 2_000
PAIRS: Final = 64  # in one pipeline
TENANTS: Final = 16
PIPELINES: Final = 16
TARGET_THROTTLE: Final = 0.35  # of plain INCR
TARGET_ACQUIRE: Final = 0.25
TARGET_LUA: Final = 1.5
TARGET_PAIR: Final = 2.0
BYTES_A_BUCKET_MAX: Final = 400
FILL_BATCH: Final = 1_000
KEY: Final = "limit:__rand_int__"

_TOKEN_BUCKET: Final = """
local capacity, count, period, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]),
    tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local state = redis.call('HMGET', KEYS[1], 'level', 'at')
local idle = now - (tonumber(state[2]) or now)
local level = math.max(0, (tonumber(state[1]) or 0) - idle * count / period)
local limited, retry = 0, -1
if level + cost > capacity then
    limited = 1
    retry = math.ceil((level + cost - capacity) * period / count)
else
    level = level + cost
    redis.call('HSET', KEYS[1], 'level', level, 'at', now)
    redis.call('PEXPIRE', KEYS[1], math.ceil(level * period / count) + 1)
end
return {limited, capacity, math.floor(capacity - level), retry, math.ceil(level * period / count)}
"""
_RESERVE: Final = """
local id, ttl = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local levels, rows, wait = {}, {}, -1
for i = 1, 2 do
    local at = 4 * i - 1
    local capacity, count, period, cost = tonumber(ARGV[at]), tonumber(ARGV[at + 1]),
        tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
    local state = redis.call('HMGET', KEYS[i], 'level', 'at', 'r:' .. id)
    if state[3] then return {0, id, -1, {}} end
    local idle = now - (tonumber(state[2]) or now)
    local level = math.max(0, (tonumber(state[1]) or 0) - idle * count / period)
    local retry = -1
    if level + cost > capacity then
        retry = math.ceil((level + cost - capacity) * period / count)
    end
    levels[i] = level
    wait = math.max(wait, retry)
    rows[i] = {retry == -1 and 0 or 1, capacity, math.floor(capacity - level), retry,
        math.ceil(level * period / count)}
end
local limit = tonumber(ARGV[11])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
local used = redis.call('ZCARD', KEYS[3])
rows[3] = {used < limit and 0 or 1, limit, limit - used, -1, ttl}
if used >= limit then wait = math.max(wait, ttl) end
if wait ~= -1 then return {1, false, wait, rows} end
for i = 1, 2 do
    local at = 4 * i - 1
    local capacity, count, period, cost = tonumber(ARGV[at]), tonumber(ARGV[at + 1]),
        tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
    local level = levels[i] + cost
    redis.call('HSET', KEYS[i], 'level', level, 'at', now, 'r:' .. id, cost .. ':' .. now)
    redis.call('PEXPIRE', KEYS[i], math.max(ttl, math.ceil(level * period / count)) + 1)
    rows[i][3] = math.floor(capacity - level)
    rows[i][5] = math.ceil(level * period / count)
end
redis.call('ZADD', KEYS[3], now + ttl, id)
redis.call('PEXPIRE', KEYS[3], ttl)
rows[3][3] = limit - used - 1
return {0, id, -1, rows}
"""
_SETTLE: Final = """
local id = ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local settled, rows = 0, {}
for i = 1, 2 do
    local at = 4 * i - 2
    local capacity, count, period, actual = tonumber(ARGV[at]), tonumber(ARGV[at + 1]),
        tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
    local state = redis.call('HMGET', KEYS[i], 'level', 'at', 'r:' .. id)
    local idle = now - (tonumber(state[2]) or now)
    local level = math.max(0, (tonumber(state[1]) or 0) - idle * count / period)
    local refund = 0
    if state[3] then
        local cost, since = string.match(state[3], '(.*):(.*)')
        local unused = tonumber(cost) - actual
        refund = math.min(math.max(0, unused - (now - tonumber(since)) * count / period), level)
        level = level - refund + math.max(0, -unused)
        settled = 1
        redis.call('HSET', KEYS[i], 'level', level, 'at', now)
        redis.call('HDEL', KEYS[i], 'r:' .. id)
    end
    rows[i] = {math.floor(refund), 0, math.floor(capacity - level),
        math.ceil(level * period / count)}
end
if redis.call('ZREM', KEYS[3], id) == 1 then settled = 1 end
rows[3] = {0, 0, 0, 0}
return {settled, rows}
"""
_REQUESTS: Final = ("1000000000", "1000", "60000")
_TOKENS: Final = ("1000000000000", "1000000", "60000")
_RATE: Final = ("1000", "1", "60000")  # capacity, tokens, in milliseconds: buckets stay alive
_THROTTLE: Final = ("CL.THROTTLE", KEY, "999", "1", "60")
_ACQUIRE: Final = ("LB.ACQUIRE", "1", KEY, "LIMIT", "RATE", *_RATE, "1")


def run(ours: str, theirs: str, *, alternations: int, seconds: float, buckets: int) -> Suite:
    """Measure everything between two URLs, each run about `seconds` long."""
    print(f"\n{_memory(ours, buckets)}", flush=True)
    entries = min(ENTRIES, buckets)
    print(queue_line(ours, _process_id(ours), entries), flush=True)
    suite = Suite("limits", f"redis-benchmark -c {CLIENTS} -P {PIPELINE} -r {KEYS}, calls a second")
    with Link(theirs) as link:
        script: bytes = link.command("SCRIPT", "LOAD", _TOKEN_BUCKET)
    lua = ("EVALSHA", script.decode(), "1", KEY, *_RATE, "1")
    increment = ("INCR", "counter:__rand_int__")
    for name, own, other, target in (
        ("CL.THROTTLE          beside INCR", _THROTTLE, increment, TARGET_THROTTLE),
        ("CL.THROTTLE          beside Lua token bucket", _THROTTLE, lua, TARGET_LUA),
        ("LB.ACQUIRE one RATE  beside INCR", _ACQUIRE, increment, TARGET_ACQUIRE),
        ("LB.ACQUIRE one RATE  beside Lua token bucket", _ACQUIRE, lua, TARGET_LUA),
    ):
        _fill(ours, own)
        _fill(theirs, other)
        slower = min(
            _rate(own, ours, CALIBRATION_REQUESTS), _rate(other, theirs, CALIBRATION_REQUESTS)
        )
        requests = max(REQUESTS_MIN, round(slower * seconds))
        pairs = alternate(
            partial(_rate, own, ours, requests),
            partial(_rate, other, theirs, requests),
            alternations,
        )
        suite.rows.append(compare_rates(name, pairs, target=target))
    suite.rows.append(_pair_row(ours, theirs, alternations=alternations, seconds=seconds))
    for url in (ours, theirs):
        with Link(url) as link:
            link.command("FLUSHALL")
    return suite


def _fill(url: str, command: Sequence[str]) -> None:
    """Make every key that redis-benchmark will name."""
    with Link(url) as link:
        link.command("FLUSHALL")
        for first in range(0, KEYS, FILL_BATCH):
            link.calls(
                b"".join(
                    frame(*(word.replace("__rand_int__", f"{number:012d}") for word in command))
                    for number in range(first, first + FILL_BATCH)
                ),
                FILL_BATCH,
            )


def _rate(command: Sequence[str], url: str, requests: int) -> float:
    """Requests a second of one command as redis-benchmark sends it."""
    return measure_rate(url, command, clients=CLIENTS, pipeline=PIPELINE, requests=requests)


def _pair_row(ours: str, theirs: str, *, alternations: int, seconds: float) -> Comparison:
    """Reserving on three keys and settling: pairs a second."""
    with Link(ours) as own, Link(theirs) as other:
        reserve, settle = (
            other.command("SCRIPT", "LOAD", text).decode() for text in (_RESERVE, _SETTLE)
        )
        our_call = repeat(_pipelines(own, _own_pair), seconds)
        their_call = repeat(_pipelines(other, partial(_lua_pair, reserve, settle)), seconds)
        pairs = [
            (PAIRS / mine, PAIRS / their_own)
            for mine, their_own in alternate(our_call, their_call, alternations)
        ]
    name = "3 x ACQUIRE + SETTLE  beside Lua scripts"
    return compare_rates(name, pairs, target=TARGET_PAIR)


def _pipelines(link: Link, build: Callable[[int], tuple[bytes, bytes]]) -> Callable[[], None]:
    """One call sends a pipeline of reservations, then settles them, encoded before the clock.

    Some calls of each tenant overlap, as they do at a gateway.
    """
    encoded = []
    for first in range(0, PIPELINES * PAIRS, PAIRS):
        pairs = [build(number) for number in range(first, first + PAIRS)]
        encoded.append(b"".join(part for half in zip(*pairs, strict=True) for part in half))
    rounds = cycle(encoded)

    def call() -> None:
        replies = link.calls(next(rounds), 2 * PAIRS)
        if replies[0][0] != 0 or replies[-1][0] != 1:
            raise RuntimeError(f"not admitted, or not settled: {replies[0]}, {replies[-1]}")

    return call


def _keys(number: int) -> tuple[bytes, bytes, bytes]:
    tenant = number % TENANTS
    return b"rpm:{%d}" % tenant, b"tpm:{%d}" % tenant, b"running:{%d}" % tenant


def _own_pair(number: int) -> tuple[bytes, bytes]:
    keys, rid = _keys(number), b"call-%d" % number
    limit = ("RATE", *_REQUESTS, 1, "RATE", *_TOKENS, 900, "CONC", 100)
    reserve = frame("LB.ACQUIRE", 3, *keys, "LIMIT", *limit, "ID", rid)
    return reserve, frame("LB.SETTLE", rid, 3, *keys, "ACTUAL", 1, 500, 0)


def _lua_pair(reserve: str, settle: str, number: int) -> tuple[bytes, bytes]:
    keys, rid = _keys(number), b"call-%d" % number
    limits = (*_REQUESTS, 1, *_TOKENS, 900)
    actual = (*_REQUESTS, 1, *_TOKENS, 500)
    return (
        frame("EVALSHA", reserve, 3, *keys, rid, 120_000, *limits, 100),
        frame("EVALSHA", settle, 3, *keys, rid, *actual),
    )


def _memory(url: str, buckets: int) -> str:
    """Fill a server on this machine with live buckets: what one takes."""
    status = Path(f"/proc/{_process_id(url)}/status")
    with Link(url) as link:
        before = _resident_bytes(status)
        for first in range(0, buckets, FILL_BATCH):
            requests = b"".join(
                frame("CL.THROTTLE", b"tenant:%012d" % number, 999_999, 1, 1_000_000, 1_000)
                for number in range(first, min(first + FILL_BATCH, buckets))
            )
            link.calls(requests, min(FILL_BATCH, buckets - first))
        each = (_resident_bytes(status) - before) / buckets
        held: int = link.command("DBSIZE")
        link.command("FLUSHALL")
    if held != buckets:
        raise RuntimeError(f"{held} of {buckets} buckets are there")
    verdict = "met" if each <= BYTES_A_BUCKET_MAX else "NOT MET"
    return f"{buckets} live buckets: {each:.0f} bytes each (<= {BYTES_A_BUCKET_MAX}: {verdict})"


def _process_id(url: str) -> int:
    """Of a server of this machine."""
    with Link(url) as link:
        info: bytes = link.command("INFO", "server")
    line = next(line for line in info.split(b"\r\n") if line.startswith(b"process_id:"))
    return int(line.partition(b":")[2])


def _resident_bytes(status: Path) -> int:
    for line in status.read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{status} has no RssAnon line")
