"""What the server says of instances and storages, and how commands and replies are put together.

Owns: records of the administrative replies, the arguments of the KVC commands, how a run of blocks
is cut. Knows no socket and no file; the same for asyncio and blocking clients.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from hotplate.clients.keys import Keys, Tokens, token_bytes
from hotplate.wire.hashing import SCHEMES, hash_tokens
from hotplate.wire.schema import Locations, Span

Transport: TypeAlias = Literal["auto", "mapped", "socket"]

# (first, count, payloads): `count` blocks' payloads, one after the other, that belong to the keys
# from index `first` on. The view is valid only until the call returns.
Consume: TypeAlias = Callable[[int, int, memoryview], None]
Produce: TypeAlias = Callable[[int, int, memoryview], None]

# Blocks travel in pieces of about this size: one buffer is filled and emptied again and again while
# it is in the processor's caches, and neither side holds much for one request.
PIECE_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StorageInfo:
    """A storage as a client needs to know it. `path`: directory of its segment files."""

    name: str
    type: str
    path: str | None
    map_allowed: bool


@dataclass(frozen=True, slots=True)
class InstanceInfo:
    """A registered instance: how prompts become keys, and how large a block is."""

    id: bytes
    group: str
    block_tokens: int
    specs: Mapping[str, int]  # name -> bytes, in registration order
    hash_scheme: str
    hash_seed: str
    storages: Mapping[str, StorageInfo] = field(default_factory=dict)

    @property
    def block_bytes(self) -> int:
        """The payload of one block, all specs."""
        return sum(self.specs.values())

    def keys(self, tokens: Tokens) -> Keys:
        """The chained keys of the full blocks in `tokens`."""
        packed = hash_tokens(
            self.hash_scheme, token_bytes(tokens), self.block_tokens, seed=self.hash_seed
        )
        return Keys(SCHEMES[self.hash_scheme].key_bytes, packed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What `register` says of an instance; unset fields are left to the server's defaults."""

    block_tokens: int
    specs: Mapping[str, int]
    group: str = "default"
    spec_groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    chained: bool = True
    hash_scheme: str = "kvcm"
    hash_seed: str | None = None
    model: str | None = None
    dtype: str | None = None
    mla: bool | None = None
    tp: int | None = None
    dp: int | None = None
    pp: int | None = None
    lora: str | None = None
    extra: str | None = None
    userdata: str | None = None

    def arguments(self, instance: bytes) -> list[Any]:
        """The REGISTER command."""
        command: list[Any] = ["KVC.INSTANCE", "REGISTER", instance]
        command += ["GROUP", self.group, "BLOCKTOKENS", self.block_tokens]
        for name, size_bytes in self.specs.items():
            command += ["SPEC", name, size_bytes]
        for name, members in self.spec_groups.items():
            command += ["SPECGROUP", name, len(members), *members]
        command += ["CHAINED", int(self.chained), "HASH", self.hash_scheme]
        options = {
            "HASHSEED": self.hash_seed,
            "MODEL": self.model,
            "DTYPE": self.dtype,
            "MLA": None if self.mla is None else int(self.mla),
            "TP": self.tp,
            "DP": self.dp,
            "PP": self.pp,
            "LORA": self.lora,
            "EXTRA": self.extra,
            "USERDATA": self.userdata,
        }
        for word, value in options.items():
            if value is not None:
                command += [word, value]
        return command

    def registered(self, instance: bytes, storages: Sequence[Any]) -> InstanceInfo:
        """What the server knows now; `storages` as REGISTER answers them."""
        return InstanceInfo(
            id=instance,
            group=self.group,
            block_tokens=self.block_tokens,
            specs=dict(self.specs),
            hash_scheme=self.hash_scheme,
            hash_seed=self.hash_seed or "",
            storages=_storages_of(storages),
        )


def instance_of(reply: Any) -> InstanceInfo:
    """What KVC.INSTANCE INFO answers."""
    found = mapping_of(reply)
    return InstanceInfo(
        id=found["id"],
        group=text_of(found["group"]),
        block_tokens=found["block_tokens"],
        specs=mapping_of(found["specs"]),
        hash_scheme=text_of(found["hash"]),
        hash_seed=text_of(found["hash_seed"]),
        storages=_storages_of(found["storages"]),
    )


def _storages_of(replies: Sequence[Any]) -> dict[str, StorageInfo]:
    storages: dict[str, StorageInfo] = {}
    for found in map(mapping_of, replies):
        name, path = text_of(found["name"]), found.get("path")
        storages[name] = StorageInfo(
            name=name,
            type=text_of(found["type"]),
            path=None if path is None else text_of(path),
            map_allowed=bool(found["map"]),
        )
    return storages


@dataclass(frozen=True, slots=True)
class Run:
    """`count` consecutive keys from index `first` whose blocks lie in one span from `offset` on."""

    first: int
    count: int
    span: Span
    offset: int

    @property
    def is_packed(self) -> bool:
        """Whether the payloads lie side by side, with nothing between them."""
        return self.span.stride == self.span.block_bytes or self.count == 1

    def sums_of(self, index: int) -> bytes:
        """The packed sums of the run's `index`-th block; empty where none are known."""
        width = 8 * self.span.held.bit_count()
        start = (self.first_in_span + index) * width
        return self.span.sums[start : start + width]

    @property
    def first_in_span(self) -> int:
        """Which block of the span the run begins with."""
        return (self.offset - self.span.offset) // self.span.stride

    def pieces(self, bytes_max: int = PIECE_BYTES) -> Iterator["Run"]:
        """The run in parts of at most `bytes_max`, at least one block each; single blocks where
        the payloads do not lie side by side."""
        step = max(1, bytes_max // max(1, self.span.block_bytes)) if self.is_packed else 1
        for start in range(0, self.count, step):
            count = min(step, self.count - start)
            yield Run(self.first + start, count, self.span, self.offset + start * self.span.stride)


def runs_of(locations: Locations, key_indexes: Sequence[int]) -> list[Run]:
    """The spans, cut where the keys they belong to are not consecutive.

    `key_indexes` holds, for each entry of the answer, the index of its key in the call.
    """
    runs: list[Run] = []
    for span in locations.spans:
        start = 0
        for index in range(1, span.count + 1):
            entry = span.first + index
            if index < span.count and key_indexes[entry] == key_indexes[entry - 1] + 1:
                continue
            first = key_indexes[span.first + start]
            runs.append(Run(first, index - start, span, span.offset + start * span.stride))
            start = index
    return runs


def is_complete(locations: Locations, run: Run) -> bool:
    """Whether the run's copies hold every spec, so that their bytes are the blocks' payloads."""
    everything = (1 << len(locations.specs)) - 1
    return run.span.held == everything and run.span.listed == everything


def mapping_of(reply: Any) -> dict[str, Any]:
    """A map reply of either protocol version, with text keys."""
    if isinstance(reply, Mapping):
        items = list(reply.items())
    else:
        items = list(zip(reply[::2], reply[1::2], strict=True))
    return {text_of(name): value for name, value in items}


def text_of(value: Any) -> str:
    """A reply as text."""
    return value.decode() if isinstance(value, bytes) else str(value)
