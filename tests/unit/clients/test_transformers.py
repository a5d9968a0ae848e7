"""Prefixes of a real (tiny, random) transformers model come back as they were stored.

Skipped where the extra `demo` (torch, transformers) is not installed.
"""

# pyright: reportMissingImports=false
from collections.abc import Iterator
from typing import Any, Self

import pytest

torch = pytest.importorskip("torch", reason="the extra `demo` is not installed: no torch")
transformers = pytest.importorskip("transformers", reason="the extra `demo` is not installed")

from transformers.cache_utils import DynamicCache  # noqa: E402

from hotplate.clients.engines.transformers import (  # noqa: E402
    CacheShape,
    PrefixCache,
    cache_argument,
)
from hotplate.clients.errors import QuotaError, StaleBlockError  # noqa: E402
from hotplate.clients.keys import Keys  # noqa: E402
from hotplate.clients.records import InstanceInfo, Registration  # noqa: E402

PROMPT = list(range(40, 120))


class DictCache:
    """Stands for KVCache: blocks in a dict, handed over in runs of at most two."""

    def __init__(self) -> None:
        self.blocks: dict[bytes, bytes] = {}
        self.failure: Exception | None = None
        self.registration = Registration(block_tokens=1, specs={})

    def register(self, **content: Any) -> InstanceInfo:
        self.registration = Registration(**content)
        return self.registration.registered(b"i", [])

    def match(self, keys: Keys, lease_ms: int) -> "DictMatch":
        return DictMatch(self, keys)

    def reserve(self, keys: Keys, storage: str | None) -> "DictReservation":
        if self.failure is not None:
            raise self.failure
        return DictReservation(self, keys)


class DictMatch:
    def __init__(self, cache: DictCache, keys: Keys) -> None:
        self.cache, self.keys = cache, keys
        missing = [index for index, key in enumerate(keys) if key not in cache.blocks]
        self.matched = missing[0] if missing else len(keys)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read_runs(self, consume: Any) -> str:
        for first in range(0, self.matched, 2):
            wanted = self.keys[first : min(first + 2, self.matched)]
            joined = b"".join(self.cache.blocks[key] for key in wanted)
            consume(first, len(wanted), memoryview(joined))
            if self.cache.failure is not None:
                raise self.cache.failure
        return "socket"


class DictReservation:
    def __init__(self, cache: DictCache, keys: Keys) -> None:
        self.cache, self.keys = cache, keys
        self.new = [index for index, key in enumerate(keys) if key not in cache.blocks]
        self.published: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.published = len(self.new)

    def write_runs(self, produce: Any) -> str:
        for index in self.new:
            payload = memoryview(bytearray(self.cache.registration.specs["kv"]))
            produce(index, 1, payload)
            self.cache.blocks[self.keys[index]] = bytes(payload)
        return "socket"


def tiny_model(dtype: Any = None, **changes: Any) -> Any:
    torch.manual_seed(7)
    config = transformers.LlamaConfig(
        vocab_size=128,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        **changes,
    )
    return transformers.LlamaForCausalLM(config).to(dtype or torch.float32).eval()


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def forward(model: Any, tokens: list[int], past: DynamicCache) -> Any:
    return model(torch.tensor([tokens]), use_cache=True, **cache_argument(model, past))


def computed(model: Any, tokens: list[int]) -> DynamicCache:
    """The cache that computing the tokens leaves."""
    past = DynamicCache()
    forward(model, tokens, past)
    return past


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_restored_prefix_gives_the_tensors_and_the_logits_that_were_stored(dtype: str) -> None:
    model = tiny_model(getattr(torch, dtype))
    prefix = PrefixCache(DictCache(), model, block_tokens=16)  # type: ignore[arg-type]
    kept = DynamicCache()
    whole = forward(model, PROMPT, kept)
    assert prefix.store(PROMPT, kept) == 5
    past, matched = prefix.load(PROMPT)
    assert matched == 64
    for restored, stored in zip(past.layers, kept.layers, strict=True):
        assert torch.equal(restored.keys, stored.keys[:, :, :64])
        assert torch.equal(restored.values, stored.values[:, :, :64])
    rest = forward(model, PROMPT[64:], past)
    tolerance = 1e-5 if dtype == "float32" else 5e-2
    assert torch.allclose(rest.logits[0, -1], whole.logits[0, -1], atol=tolerance)
    assert past.get_seq_length() == len(PROMPT)


def test_a_prompt_is_never_loaded_to_its_end() -> None:
    model = tiny_model()
    prefix = PrefixCache(DictCache(), model, block_tokens=16)  # type: ignore[arg-type]
    prefix.store(PROMPT, computed(model, PROMPT))
    assert prefix.load(PROMPT[:64])[1] == 48
    assert prefix.load(PROMPT[:65])[1] == 64
    assert prefix.load(PROMPT[:16])[1] == 0
    assert prefix.load([])[1] == 0


def test_a_related_prompt_takes_what_it_shares() -> None:
    model = tiny_model()
    prefix = PrefixCache(DictCache(), model, block_tokens=16)  # type: ignore[arg-type]
    prefix.store(PROMPT, computed(model, PROMPT))
    related = PROMPT[:40] + [1] * 30
    past, matched = prefix.load(related)
    assert (matched, past.get_seq_length()) == (32, 32)
    expected = forward(model, related, DynamicCache()).logits[0, -1]
    got = forward(model, related[32:], past).logits[0, -1]
    assert torch.allclose(got, expected, atol=1e-5)


def test_blocks_that_are_stored_are_not_stored_again() -> None:
    cache, model = DictCache(), tiny_model()
    prefix = PrefixCache(cache, model, block_tokens=16)  # type: ignore[arg-type]
    prefix.store(PROMPT[:32], computed(model, PROMPT[:32]))
    before = dict(cache.blocks)
    assert prefix.store(PROMPT, computed(model, PROMPT)) == 3
    assert before.items() <= cache.blocks.items()
    assert prefix.store(PROMPT, computed(model, PROMPT)) == 0


def test_blocks_that_went_away_while_they_were_read_are_a_miss() -> None:
    cache, model = DictCache(), tiny_model()
    prefix = PrefixCache(cache, model, block_tokens=16)  # type: ignore[arg-type]
    prefix.store(PROMPT, computed(model, PROMPT))
    cache.failure = StaleBlockError("reused")
    past, matched = prefix.load(PROMPT)
    assert (matched, past.get_seq_length()) == (0, 0)


def test_a_server_without_room_costs_the_store_and_not_the_answer() -> None:
    cache, model = DictCache(), tiny_model()
    prefix = PrefixCache(cache, model, block_tokens=16)  # type: ignore[arg-type]
    cache.failure = QuotaError("group g used=1 limit=1 need=1 retry_ms=-1")
    assert prefix.store(PROMPT, computed(model, PROMPT)) == 0
    assert cache.blocks == {}


def test_a_block_has_the_documented_layout() -> None:
    cache, model = DictCache(), tiny_model()
    prefix = PrefixCache(cache, model, block_tokens=16)  # type: ignore[arg-type]
    past = computed(model, PROMPT)
    prefix.store(PROMPT, past)
    second = cache.blocks[prefix.info.keys(PROMPT)[1]]
    block = torch.frombuffer(bytearray(second), dtype=torch.float32).reshape(2, 2, 2, 16, 8)
    assert torch.equal(block[1, 0], past.layers[1].keys[0, :, 16:32])
    assert torch.equal(block[0, 1], past.layers[0].values[0, :, 16:32])
    assert len(second) == CacheShape.of_model(model).block_bytes(16) == 2 * 2 * 2 * 16 * 8 * 4


def test_a_model_that_forgets_tokens_is_refused() -> None:
    config = transformers.MistralConfig(
        vocab_size=128,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=16,
    )
    model = transformers.MistralForCausalLM(config)
    with pytest.raises(ValueError, match="DynamicSlidingWindowLayer"):
        PrefixCache(DictCache(), model)  # type: ignore[arg-type]


def test_a_batch_of_several_prompts_is_refused() -> None:
    model = tiny_model()
    prefix = PrefixCache(DictCache(), model, block_tokens=16)  # type: ignore[arg-type]
    past = DynamicCache()
    model(torch.tensor([PROMPT, PROMPT]), use_cache=True, **cache_argument(model, past))
    with pytest.raises(ValueError, match=r"\(2, 2, 80, 8\)"):
        prefix.store(PROMPT, past)


def test_the_cache_goes_in_under_the_name_that_the_model_has_for_it() -> None:
    class Old:
        def forward(self, past_key_values: Any) -> None: ...

    class New:
        def forward(self, cache: Any) -> None: ...

    past = DynamicCache()
    assert cache_argument(Old(), past) == {"past_key_values": past}
    assert cache_argument(New(), past) == {"cache": past}
