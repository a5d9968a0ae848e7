"""The gateway of examples/, run in this process against a real server."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
import pytest_asyncio
import redis.asyncio
from examples.gateway import Answer, Call, Plan, create_app, demo

from hotplate.bench.process import ServerProcess

pytestmark = pytest.mark.e2e

AUTHORIZATION = {"authorization": "Bearer acme"}
NO_HEADERS: Mapping[str, str] = {}


async def tell(store: "redis.asyncio.Redis", *words: str) -> Any:
    """The reply to a command."""
    return await store.execute_command(*words)  # type: ignore[no-untyped-call]


class Model:
    """Generates what the test says, when the test says."""

    def __init__(self) -> None:
        self.output_tokens = 10
        self.fails = False
        self.calls = 0
        self.started = asyncio.Semaphore(0)
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self, call: Call) -> Answer:
        self.calls += 1
        self.started.release()
        await self.may_answer.wait()
        if self.fails:
            raise RuntimeError("out of memory")
        return Answer("text", len(call.prompt.split()), self.output_tokens)


class Gateway:
    """The application, a client of it, its model, and the server's client."""

    def __init__(self, store: "redis.asyncio.Redis", plan: Plan) -> None:
        self.model = Model()
        self.store = store
        app = create_app(
            store, self.model, count_tokens=lambda text: len(text.split()), plans={"acme": plan}
        )
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://gateway")

    async def ask(
        self, max_tokens: int = 20, headers: Mapping[str, str] = NO_HEADERS
    ) -> httpx.Response:
        """A prompt of five words."""
        body = {"prompt": "a b c d e", "max_tokens": max_tokens}
        return await self.http.post(
            "/v1/completions", json=body, headers={**AUTHORIZATION, **headers}
        )

    async def level(self) -> int:
        """Tokens in the tenant's bucket; nothing has leaked at so slow a rate."""
        figures = await tell(self.store, "LB.INFO", "tokens:{acme}")
        return int(figures[b"level"]) if figures else 0


PLAN = Plan(requests_a_minute=4, tokens_a_minute=100, calls_at_a_time=2)


@pytest_asyncio.fixture
async def gateway(hotplate_server: ServerProcess) -> AsyncIterator[Gateway]:
    store = redis.asyncio.Redis(port=hotplate_server.port)
    await store.flushall()
    gateway = Gateway(store, PLAN)
    yield gateway
    await gateway.http.aclose()
    await store.aclose()


@pytest.mark.asyncio
async def test_a_call_pays_what_it_cost_not_what_it_reserved(gateway: Gateway) -> None:
    response = await gateway.ask()
    assert response.status_code == 200
    assert response.json()["usage"] == {"prompt_tokens": 5, "completion_tokens": 10}
    assert response.headers["x-ratelimit-limit-requests"] == "4"
    assert response.headers["x-ratelimit-remaining-requests"] == "3"
    assert response.headers["x-ratelimit-limit-tokens"] == "100"
    assert response.headers["x-ratelimit-remaining-tokens"] == "75"
    assert response.headers["x-ratelimit-reset-tokens"] == "15.000s"
    assert "retry-after" not in response.headers
    assert 10 <= await gateway.level() <= 15


@pytest.mark.asyncio
async def test_too_many_tokens_have_to_wait_and_are_told_for_how_long(gateway: Gateway) -> None:
    gateway.model.output_tokens = 90
    assert (await gateway.ask(max_tokens=90)).status_code == 200
    response = await gateway.ask(max_tokens=50)
    assert response.status_code == 429
    assert response.headers["x-ratelimit-remaining-requests"] == "3"
    assert 20 <= int(response.headers["retry-after"]) <= 30  # of 55 tokens 5 fit
    assert gateway.model.calls == 1


@pytest.mark.asyncio
async def test_too_many_requests_have_to_wait(gateway: Gateway) -> None:
    statuses = [(await gateway.ask(max_tokens=1)).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 200, 429]


@pytest.mark.asyncio
async def test_too_many_calls_at_a_time_have_to_wait_until_one_ends(gateway: Gateway) -> None:
    gateway.model.may_answer.clear()
    calls = [asyncio.create_task(gateway.ask()) for _ in range(2)]
    for _ in calls:
        await gateway.model.started.acquire()
    assert (await gateway.ask()).status_code == 429
    gateway.model.may_answer.set()
    assert [(await call).status_code for call in calls] == [200, 200]
    assert (await gateway.ask()).status_code == 200


@pytest.mark.asyncio
async def test_what_never_fits_is_a_bad_request(gateway: Gateway) -> None:
    response = await gateway.ask(max_tokens=96)
    assert response.status_code == 400
    assert "retry-after" not in response.headers


@pytest.mark.asyncio
async def test_a_call_that_fails_pays_its_prompt_and_frees_its_place(gateway: Gateway) -> None:
    gateway.model.fails = True
    for _ in range(3):
        assert (await gateway.ask()).status_code == 500
    assert await gateway.level() <= 15
    assert await tell(gateway.store, "EXISTS", "calls:{acme}") == 0


@pytest.mark.asyncio
async def test_a_request_sent_again_while_it_runs_is_charged_once(gateway: Gateway) -> None:
    gateway.model.may_answer.clear()
    again = {"x-request-id": "7"}
    calls = [asyncio.create_task(gateway.ask(headers=again)) for _ in range(2)]
    for _ in calls:
        await gateway.model.started.acquire()
    assert await gateway.level() <= 25
    gateway.model.may_answer.set()
    assert [(await call).json()["id"] for call in calls] == ["7", "7"]


@pytest.mark.asyncio
async def test_strangers_are_refused(gateway: Gateway) -> None:
    response = await gateway.http.post(
        "/v1/completions", json={"prompt": "a"}, headers={"authorization": "Bearer eve"}
    )
    assert response.status_code == 401


def test_the_demo_is_an_application() -> None:
    assert "/v1/completions" in demo().openapi()["paths"]
