"""What the demo's two processes do: `python -m hotplate.clients.demo.worker store|ask ...`.

Each is a fresh process that knows nothing but the server and the model. It prints one JSON object
to stdout; progress goes to stderr. Cold is the time from text to first token with nothing stored;
warm is the same with the lookup, the reads and the building of the cache in it.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import DynamicCache

from hotplate.clients import KVCache
from hotplate.clients.demo.model import TINY, load_model
from hotplate.clients.demo.prompts import KNOWN_QUESTIONS, NEW_QUESTIONS, prompt
from hotplate.clients.engines.transformers import PrefixCache, cache_argument

WARM_UP = "A paragraph about nothing in particular, only there to wake the machine. " * 20
ANSWER_TOKENS = 24

# For cold and warm alike. A core's second hardware thread adds little here, and where anything else
# runs, threads that wait for each other after each product stall: 20 times on a short forward.
THREADS = max(1, (os.cpu_count() or 1) // 2)

# How each of the demo's routes writes (storage) and moves bytes (transport).
ROUTES = {"memory": ("memory", "mapped"), "ssd": ("ssd", "auto"), "socket": ("memory", "socket")}


@dataclass(frozen=True, slots=True)
class FirstToken:
    """A prompt taken to its first token."""

    logits: torch.Tensor
    past: DynamicCache
    token_ids: list[int]
    matched_tokens: int
    seconds: float
    load_seconds: float


class Worker:
    """A model and the ways to the server."""

    def __init__(self, url: str, model: str, routes: list[str]) -> None:
        self.network, self.encode, self.decode = load_model(model)
        self.prefixes = {route: self._prefix_cache(url, model, route) for route in routes}
        self.forward(self.encode(WARM_UP), DynamicCache())

    def _prefix_cache(self, url: str, model: str, route: str) -> PrefixCache:
        storage, transport = ROUTES[route]
        name = "tiny" if model == TINY else "smollm2-135m"
        instance = f"{name}-{route}"
        cache = KVCache.from_url(url, instance, transport=transport)  # type: ignore[arg-type]
        return PrefixCache(cache, self.network, storage=storage)

    def forward(self, token_ids: list[int], past: DynamicCache) -> torch.Tensor:
        """The logits after the last token; `past` grows by all of them."""
        output = self.network(
            torch.tensor([token_ids]),
            use_cache=True,
            logits_to_keep=1,
            **cache_argument(self.network, past),
        )
        logits: torch.Tensor = output.logits[0, -1]
        return logits

    def first_token(self, text: str, prefix: PrefixCache | None) -> FirstToken:
        """Take the prompt to its first token: with what is stored, or (None) without."""
        start = time.perf_counter()
        token_ids = self.encode(text)
        loading = time.perf_counter()
        past, matched = (DynamicCache(), 0) if prefix is None else prefix.load(token_ids)
        loaded = time.perf_counter()
        logits = self.forward(token_ids[matched:], past)
        int(logits.argmax())  # the token itself: nothing is left to be computed
        seconds = time.perf_counter() - start
        return FirstToken(logits, past, token_ids, matched, seconds, loaded - loading)

    def answer(self, first: FirstToken) -> str:
        """The greedy answer that begins with this first token."""
        logits, ids = first.logits, []
        for _ in range(ANSWER_TOKENS):
            ids.append(int(logits.argmax()))
            logits = self.forward(ids[-1:], first.past)
        return self.decode(ids)


def store(worker: Worker, _rounds: int) -> dict[str, Any]:
    """Prefill every known prompt and store its blocks over every route."""
    first_prefix = next(iter(worker.prefixes.values()))
    stored: dict[str, int] = {}
    for name, question in KNOWN_QUESTIONS.items():
        first = worker.first_token(prompt(question), first_prefix)
        _say(f"  {name}: {len(first.token_ids)} tokens, {first.matched_tokens} of them known")
        for route, prefix in worker.prefixes.items():
            blocks = prefix.store(first.token_ids, first.past)
            stored[route] = stored.get(route, 0) + blocks
            size = blocks * prefix.info.block_bytes / 1e6
            _say(f"    {route}: {blocks} new blocks, {size:.1f} MB ({prefix.way})")
    return {"stored_blocks": stored}


def ask(worker: Worker, rounds: int) -> dict[str, Any]:
    """Take every prompt to its first token, cold and warm in turn, `rounds` times."""
    rows: list[dict[str, Any]] = []
    for name, question in (KNOWN_QUESTIONS | NEW_QUESTIONS).items():
        text = prompt(question)
        cold: list[FirstToken] = []
        warm: dict[str, list[FirstToken]] = {route: [] for route in worker.prefixes}
        for number in range(rounds):
            _say(f"  {name}: round {number + 1} of {rounds}")
            cold.append(worker.first_token(text, None))
            for route, prefix in worker.prefixes.items():
                warm[route].append(worker.first_token(text, prefix))
        expected = worker.answer(cold[0])
        for route, prefix in worker.prefixes.items():
            got = worker.answer(warm[route][0])
            rows.append(
                _row(name, route, prefix, cold, warm[route])
                | {
                    "answer": got,
                    "same_text": got == expected,
                }
            )
    return {"rounds": rounds, "threads": THREADS, "rows": rows}


def _row(
    name: str, route: str, prefix: PrefixCache, cold: list[FirstToken], warm: list[FirstToken]
) -> dict[str, Any]:
    matched = min(first.matched_tokens for first in warm)
    return {
        "prompt": name,
        "route": route,
        "way": prefix.way,
        "prompt_tokens": len(cold[0].token_ids),
        "matched_tokens": matched,
        "cold_seconds": [first.seconds for first in cold],
        "warm_seconds": [first.seconds for first in warm],
        "load_seconds": [first.load_seconds for first in warm],
        "moved_bytes": matched // prefix.block_tokens * prefix.info.block_bytes,
        "logit_difference": max(
            float((first.logits - cold[0].logits).abs().max()) for first in warm
        ),
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(argv: list[str]) -> int:
    """`store|ask url model routes rounds`."""
    task, url, model, routes, rounds = argv
    tasks: dict[str, Callable[[Worker, int], dict[str, Any]]] = {"store": store, "ask": ask}
    torch.set_num_threads(THREADS)
    with torch.inference_mode():
        worker = Worker(url, model, routes.split(","))
        print(json.dumps(tasks[task](worker, int(rounds))))
    for prefix in worker.prefixes.values():
        prefix.cache.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
