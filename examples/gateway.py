"""An LLM gateway that limits each tenant by requests and tokens a minute, and calls at a time.

    pip install hotplate fastapi uvicorn
    hotplate serve &
    uvicorn --factory examples.gateway:demo

A call reserves its prompt and the most it may generate on all three limits at once, or is turned
away with 429 and Retry-After. When the answer is there it pays what it really cost, and the rest
comes back. A gateway that dies in between frees its places when the reservation's time is over.
"""

import asyncio
import contextlib
import math
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Protocol, TypeAlias

import redis.asyncio
from fastapi import FastAPI, Header, HTTPException, Response
from pydantic import BaseModel, Field

MINUTE_MS: Final = 60_000
LEASE_MS: Final = 30_000  # how long a gateway that died keeps its places
NEVER_MS: Final = -2  # no wait helps


class Call(BaseModel):
    """What a client asks for."""

    prompt: str
    max_tokens: Annotated[int, Field(ge=1)] = 256


@dataclass(frozen=True)
class Answer:
    """What a model generated, and what that cost."""

    text: str
    prompt_tokens: int
    output_tokens: int


class Store(Protocol):
    """What the gateway needs of redis-py's asyncio client."""

    async def execute_command(self, *words: object) -> Any:
        """The reply to a command."""
        ...


Backend: TypeAlias = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True)
class Plan:
    """What a tenant pays for."""

    requests_a_minute: int = 60
    tokens_a_minute: int = 100_000
    calls_at_a_time: int = 8


@dataclass(frozen=True)
class Row:
    """One limit's verdict, as LB.ACQUIRE answers it."""

    limited: int
    limit: int
    remaining: int
    retry_ms: int
    reset_ms: int


class Limiter:
    """The three limits of one tenant. Their keys share a hash tag, so that clusters can route."""

    def __init__(self, client: Store, tenant: str, plan: Plan) -> None:
        self._client = client
        self._plan = plan
        self._keys = [f"{name}:{{{tenant}}}" for name in ("requests", "tokens", "calls")]

    async def reserve(self, rid: str, tokens: int, floor: int) -> tuple[int, list[Row]]:
        """Reserve one call of so many tokens, `floor` of which are paid in any case.

        In how many ms to retry (-1: admitted, -2: never), and the rows of requests and tokens.
        """
        plan = self._plan
        rpm, tpm = plan.requests_a_minute, plan.tokens_a_minute
        reply: Any = await self._client.execute_command(
            *("LB.ACQUIRE", len(self._keys), *self._keys, "LIMIT"),
            *("RATE", rpm, rpm, MINUTE_MS, 1),
            *("RATE", tpm, tpm, MINUTE_MS, tokens, floor),
            *("CONC", plan.calls_at_a_time, "ID", rid, "TTL", LEASE_MS),
        )
        return reply[2], [Row(*row) for row in reply[3][:2]]

    async def settle(self, rid: str, tokens: int) -> None:
        """The call is over and cost so many tokens."""
        await self._client.execute_command(
            *("LB.SETTLE", rid, len(self._keys), *self._keys, "ACTUAL", 1, tokens, 0)
        )

    @contextlib.asynccontextmanager
    async def kept(self, rid: str) -> AsyncIterator[None]:
        """Renew the reservation for as long as the block runs."""
        heartbeat = asyncio.create_task(self._renew(rid))
        try:
            yield
        finally:
            heartbeat.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await heartbeat

    async def _renew(self, rid: str) -> None:
        while True:
            await asyncio.sleep(LEASE_MS / 3000)
            await self._client.execute_command(
                "LB.EXTEND", rid, LEASE_MS, len(self._keys), *self._keys
            )


def headers(rows: Sequence[Row], retry_ms: int = -1) -> dict[str, str]:
    """What a client may know: x-ratelimit-* of both rates, Retry-After where it has to wait."""
    shown: dict[str, str] = {}
    for name, row in zip(("requests", "tokens"), rows, strict=True):
        shown[f"x-ratelimit-limit-{name}"] = str(row.limit)
        shown[f"x-ratelimit-remaining-{name}"] = str(row.remaining)
        shown[f"x-ratelimit-reset-{name}"] = f"{row.reset_ms / 1000:.3f}s"
    if retry_ms >= 0:
        shown["retry-after"] = str(math.ceil(retry_ms / 1000))
    return shown


def create_app(
    client: Store,
    backend: Backend,
    *,
    count_tokens: Callable[[str], int],
    plans: dict[str, Plan],
) -> FastAPI:
    """The gateway. `plans` maps API keys to what their tenants pay for."""
    app = FastAPI()

    @app.post("/v1/completions")
    async def complete(
        call: Call,
        response: Response,
        authorization: Annotated[str, Header()],
        x_request_id: Annotated[str | None, Header()] = None,
    ) -> dict[str, Any]:
        tenant = authorization.removeprefix("Bearer ")
        plan = plans.get(tenant)
        if plan is None:
            raise HTTPException(401, "unknown API key")
        limiter = Limiter(client, tenant, plan)
        rid = x_request_id or uuid.uuid4().hex  # the same id again is not charged again
        prompt_tokens = count_tokens(call.prompt)
        retry_ms, rows = await limiter.reserve(rid, prompt_tokens + call.max_tokens, prompt_tokens)
        if retry_ms == NEVER_MS:
            raise HTTPException(400, "more tokens than the limit allows at once", headers(rows))
        if retry_ms >= 0:
            raise HTTPException(429, "too many requests or tokens", headers(rows, retry_ms))
        spent = prompt_tokens  # a call that fails has read its prompt
        try:
            async with limiter.kept(rid):
                answer = await backend(call)
            spent = answer.prompt_tokens + answer.output_tokens
        finally:
            await limiter.settle(rid, spent)
        response.headers.update(headers(rows))
        usage = {"prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.output_tokens}
        return {"id": rid, "text": answer.text, "usage": usage}

    return app


def demo() -> FastAPI:
    """The gateway before a model that repeats its prompt; the API key is `demo`."""

    async def echo(call: Call) -> Answer:
        words = call.prompt.split()[: call.max_tokens]
        return Answer(" ".join(words), len(call.prompt.split()), len(words))

    return create_app(
        redis.asyncio.Redis(),
        echo,
        count_tokens=lambda text: len(text.split()),
        plans={"demo": Plan(requests_a_minute=6, tokens_a_minute=600, calls_at_a_time=2)},
    )
