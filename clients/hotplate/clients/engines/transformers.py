"""Keep the KV cache of `transformers` models in token blocks, and start prompts from it.

    prefix_cache = PrefixCache(KVCache.from_url(url, "smollm2"), model)
    past, matched = prefix_cache.load(token_ids)
    output = model(input_ids[:, matched:], use_cache=True, **cache_argument(model, past))
    prefix_cache.store(token_ids, past)

A block is the keys and values of all layers for `block_tokens` tokens, contiguous, in the model's
own type and byte order:

    [layer][0: keys, 1: values][head][token in the block][head dimension]

Owns this layout. Knows no location and no socket. Works for one sequence and for models whose
layers all keep every token (`DynamicLayer`); sliding windows and states are refused. A prompt is
never taken from the cache to its end: its last token has to be computed, since it gives the logits.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

from hotplate.clients import KVCache, StaleBlockError
from hotplate.clients.errors import ChecksumError, NoSpaceError, QuotaError
from hotplate.clients.keys import Keys

_log = logging.getLogger("hotplate.clients.engines.transformers")

DEFAULT_BLOCK_TOKENS = 16
DEFAULT_LEASE_MS = 30_000


def cache_argument(model: Any, past: DynamicCache) -> dict[str, DynamicCache]:
    """`past` under the name that the model's `forward` has for it.

    That is `cache` from transformers 5.24 on, `past_key_values` before. `forward` adds to it.
    """
    renamed = "cache" in inspect.signature(model.forward).parameters
    return {"cache" if renamed else "past_key_values": past}


@dataclass(frozen=True, slots=True)
class CacheShape:
    """How a model's cache looks: what a block's bytes depend on."""

    layers: int
    heads: int
    head_size: int
    dtype: torch.dtype

    @classmethod
    def of_model(cls, model: Any) -> CacheShape:
        """The shape from the model's configuration; ValueError where a block cannot hold it."""
        config = model.config.get_text_config(decoder=True)
        kinds = {type(layer) for layer in DynamicCache(config=config).layers}
        if kinds - {DynamicLayer}:
            names = sorted(kind.__name__ for kind in kinds - {DynamicLayer})
            raise ValueError(f"layers of {', '.join(names)} cannot be kept in token blocks")
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return cls(config.num_hidden_layers, heads, size, model.dtype)

    def block_bytes(self, block_tokens: int) -> int:
        """The payload of a block of so many tokens."""
        return self.layers * 2 * self.heads * self.row_bytes(block_tokens)

    def row_bytes(self, block_tokens: int) -> int:
        """The bytes of one head of one layer: the longest piece that lies alike on both sides."""
        return block_tokens * self.head_size * int(self.dtype.itemsize)


class PrefixCache:
    """Loads and stores the prefixes of one model's prompts. One thread at a time."""

    def __init__(
        self,
        cache: KVCache,
        model: Any,
        *,
        block_tokens: int = DEFAULT_BLOCK_TOKENS,
        storage: str | None = None,
        lease_ms: int = DEFAULT_LEASE_MS,
    ) -> None:
        """Registers the instance; DuplicateError if its id stands for a model of another shape.
        `storage`: write there rather than where the group's order says."""
        self.cache = cache
        self.shape = CacheShape.of_model(model)
        self.block_tokens = block_tokens
        self.storage = storage
        self.lease_ms = lease_ms
        self.device = model.device
        shape = self.shape
        self.info = cache.register(
            block_tokens=block_tokens,
            specs={"kv": shape.block_bytes(block_tokens)},
            hash_scheme="xxh3",
            model=str(model.config._name_or_path or type(model).__name__),
            dtype=str(shape.dtype).removeprefix("torch."),
            extra=f"layers={shape.layers} heads={shape.heads} head_size={shape.head_size}",
        )
        self.way = ""  # how the last blocks came or went: mapped, socket, mixed

    def load(self, token_ids: Sequence[int]) -> tuple[DynamicCache, int]:
        """The cache of the longest stored prefix, and how many tokens it covers.

        At least one token is left to compute. No match, or blocks that went away while they were
        read, give an empty cache and 0.
        """
        keys = self._keys(token_ids, len(token_ids) - 1)
        if not len(keys):
            return DynamicCache(), 0
        with self.cache.match(keys, lease_ms=self.lease_ms) as match:
            if not match.matched:
                return DynamicCache(), 0
            shape, tokens = self.shape, match.matched * self.block_tokens
            size = (shape.layers, 2, 1, shape.heads, tokens, shape.head_size)
            states = torch.empty(size, dtype=shape.dtype)
            rows = self._rows(states, match.matched)

            def consume(first: int, count: int, payloads: memoryview) -> None:
                blocks = self._blocks(payloads, count)
                numpy.copyto(rows[:, :, :, first : first + count], blocks.transpose(1, 2, 3, 0, 4))

            try:
                self.way = match.read_runs(consume)
            except (StaleBlockError, ChecksumError) as error:
                _log.warning("a stored prefix of %d tokens is not used: %s", tokens, error)
                return DynamicCache(), 0
        return cache_of(states.to(self.device)), tokens

    def store(self, token_ids: Sequence[int], past_key_values: DynamicCache) -> int:
        """Store the full blocks of `token_ids` that are not stored yet; how many were.

        `past_key_values` covers at least the full blocks. Where the server has no room now,
        nothing is stored: that costs time later, not correctness.
        """
        keys = self._keys(token_ids, min(len(token_ids), past_key_values.get_seq_length()))
        if not len(keys):
            return 0
        layers = [self._layer_rows(layer, len(keys)) for layer in past_key_values.layers]

        def produce(first: int, count: int, payloads: memoryview) -> None:
            blocks = self._blocks(payloads, count)
            for number, (key_rows, value_rows) in enumerate(layers):
                for kind, rows in enumerate((key_rows, value_rows)):
                    wanted = rows[:, first : first + count]
                    numpy.copyto(blocks[:, number, kind], wanted.transpose(1, 0, 2))

        try:
            with self.cache.reserve(keys, storage=self.storage) as reservation:
                if reservation.new:
                    self.way = reservation.write_runs(produce)
            return reservation.published or 0
        except (QuotaError, NoSpaceError) as error:
            _log.warning("%d blocks are not stored: %s", len(keys), error)
            return 0

    def _keys(self, token_ids: Sequence[int], usable: int) -> Keys:
        tokens = usable // self.block_tokens * self.block_tokens
        return self.info.keys(token_ids[: max(tokens, 0)])

    def _blocks(self, payloads: memoryview, count: int) -> numpy.ndarray[Any, Any]:
        """Payloads as [block, layer, kind, head, bytes of a row]."""
        shape = self.shape
        whole: numpy.ndarray[Any, Any] = numpy.frombuffer(payloads, dtype=numpy.uint8)
        blocks: numpy.ndarray[Any, Any] = whole.reshape(count, shape.layers, 2, shape.heads, -1)
        return blocks

    def _rows(self, states: torch.Tensor, blocks: int) -> numpy.ndarray[Any, Any]:
        """[layer, kind, 1, head, token, dimension] as [layer, kind, head, block, row bytes]."""
        shape = self.shape
        raw: numpy.ndarray[Any, Any] = states.view(torch.uint8).numpy()
        return raw.reshape(shape.layers, 2, shape.heads, blocks, -1)

    def _layer_rows(self, layer: Any, blocks: int) -> tuple[numpy.ndarray[Any, Any], ...]:
        """A layer's keys and values, each as [head, block, bytes of a row]."""
        tokens = blocks * self.block_tokens
        rows = []
        for states in (layer.keys, layer.values):
            if states.shape[0] != 1 or states.dtype != self.shape.dtype:
                raise ValueError(f"a cache of {tuple(states.shape)} {states.dtype} is not stored")
            used = states[0, :, :tokens].detach().cpu().contiguous()
            rows.append(used.view(torch.uint8).numpy().reshape(self.shape.heads, blocks, -1))
        return tuple(rows)


def cache_of(states: torch.Tensor) -> DynamicCache:
    """A cache whose layers are views of `states` [layer, kind, 1, head, token, dimension]."""
    cache = DynamicCache()
    for keys, values in states:
        layer = DynamicLayer()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values  # not `update`: it would copy them
        cache.layers.append(layer)
    return cache
