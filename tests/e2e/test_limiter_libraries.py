"""Rate-limit libraries, their Redis backends unchanged: limits, pyrate-limiter, fastapi-limiter.

All three speak Lua. Windows are an hour or a day long, so that no test depends on when it runs.
"""

from collections.abc import Callable, Iterator
from typing import Annotated, Any

import httpx
import pytest
import redis
import redis.asyncio
from fastapi import Depends, FastAPI
from fastapi_limiter.depends import RateLimiter
from limits import RateLimitItemPerDay, RateLimitItemPerHour
from limits.aio.storage import RedisStorage as AsyncRedisStorage
from limits.aio.strategies import MovingWindowRateLimiter as AsyncMovingWindow
from limits.storage import RedisStorage
from limits.strategies import (
    FixedWindowRateLimiter,
    MovingWindowRateLimiter,
    SlidingWindowCounterRateLimiter,
)
from pyrate_limiter import (
    GCRA,
    Duration,
    Limiter,
    Rate,
    RedisBucket,
    RedisStateStore,
    StateBucket,
    TokenBucket,
)
from pyrate_limiter.abstracts.bucket import Leaker

from hotplate.bench.process import ServerProcess

pytestmark = pytest.mark.e2e

PROTOCOLS = [2, 3]
STRATEGIES: list[Callable[[Any], Any]] = [
    FixedWindowRateLimiter,
    MovingWindowRateLimiter,
    SlidingWindowCounterRateLimiter,
]


@pytest.fixture
def client(hotplate_server: ServerProcess) -> Iterator[redis.Redis]:
    with redis.Redis(port=hotplate_server.port) as client:
        client.flushall()
        yield client


@pytest.fixture
def no_leaker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyrate-limiter's thread: `close` right after its start makes it raise (in 4.5.1)."""
    monkeypatch.setattr(Leaker, "start", lambda _: None)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_limits_counts_tests_resets(
    hotplate_server: ServerProcess,
    client: redis.Redis,
    strategy: Callable[[Any], Any],
    protocol: int,
) -> None:
    pool = redis.ConnectionPool(port=hotplate_server.port, protocol=protocol)
    storage = RedisStorage(hotplate_server.url, connection_pool=pool)
    assert storage.check()
    limiter = strategy(storage)
    hourly, daily = RateLimitItemPerHour(5), RateLimitItemPerDay(100)
    assert [limiter.hit(hourly, "user", "1") for _ in range(6)] == [True] * 5 + [False]
    assert not limiter.test(hourly, "user", "1")
    assert limiter.test(hourly, "user", "2")
    assert limiter.hit(daily, "user", "1", cost=60)
    assert limiter.get_window_stats(daily, "user", "1").remaining == 40
    assert not limiter.hit(daily, "user", "1", cost=60)
    assert limiter.get_window_stats(hourly, "user", "1").remaining == 0
    limiter.clear(hourly, "user", "1")
    assert limiter.hit(hourly, "user", "1")
    assert client.dbsize() > 0
    assert storage.reset()
    assert client.dbsize() == 0
    pool.disconnect()


@pytest.mark.asyncio
async def test_limits_works_with_asyncio(
    hotplate_server: ServerProcess, client: redis.Redis
) -> None:
    pool = redis.asyncio.ConnectionPool(port=hotplate_server.port)
    url = f"async+{hotplate_server.url}"
    options: dict[str, Any] = {"connection_pool": pool}
    storage = AsyncRedisStorage(url, implementation="redispy", **options)
    limiter = AsyncMovingWindow(storage)
    hourly = RateLimitItemPerHour(3)
    assert [await limiter.hit(hourly, "a") for _ in range(4)] == [True, True, True, False]
    await limiter.clear(hourly, "a")
    assert await limiter.hit(hourly, "a")
    await pool.disconnect()


@pytest.mark.usefixtures("no_leaker")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pyrate_limiter_keeps_a_log(hotplate_server: ServerProcess, protocol: int) -> None:
    with redis.Redis(port=hotplate_server.port, protocol=protocol) as client:
        client.flushall()
        rates = [Rate(3, Duration.HOUR), Rate(4, Duration.DAY)]
        bucket = RedisBucket.init(rates, client, "log")
        assert isinstance(bucket, RedisBucket)
        limiter = Limiter(bucket)
        admitted = [limiter.try_acquire("item", blocking=False) for _ in range(4)]
        assert admitted == [True, True, True, False]
        counted: Any = bucket
        assert counted.count() == client.zcard("log") == 3
        assert counted.leak(counted.now()) == 0
        counted.flush()
        assert client.exists("log") == 0
        assert limiter.try_acquire("item", weight=3, blocking=False)
        limiter.close()


@pytest.mark.usefixtures("no_leaker")
@pytest.mark.parametrize("algorithm", [GCRA, TokenBucket])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pyrate_limiter_keeps_state(
    hotplate_server: ServerProcess, protocol: int, algorithm: Callable[[], Any]
) -> None:
    with redis.Redis(port=hotplate_server.port, protocol=protocol) as client:
        client.flushall()
        store = RedisStateStore(client, "state")
        bucket = StateBucket([Rate(3, Duration.DAY)], algorithm=algorithm(), store=store)
        limiter = Limiter(bucket)
        admitted = [limiter.try_acquire("item", blocking=False) for _ in range(4)]
        assert admitted == [True, True, True, False]
        assert client.type("state") == b"hash"
        limiter.close()


@pytest.mark.usefixtures("no_leaker")
@pytest.mark.asyncio
async def test_fastapi_limiter_answers_429(hotplate_server: ServerProcess) -> None:
    client = redis.asyncio.Redis(port=hotplate_server.port)
    await client.flushall()
    bucket = await RedisBucket.init([Rate(2, Duration.HOUR)], client, "routes")
    limiter = Limiter(bucket)
    app = FastAPI()

    @app.get("/")
    async def index(
        _: Annotated[None, Depends(RateLimiter(limiter=limiter))],
    ) -> dict[str, str]:
        return {"msg": "Hello World"}

    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as http:
        statuses = [(await http.get("/")).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert await client.zcard("routes") == 2
    limiter.close()
    await client.aclose()
