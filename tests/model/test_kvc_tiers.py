"""Tiers under any interleaving of writes, lookups, leases, removals and moves that fail or linger.

Copies are begun and ended one by one, so that everything can happen in between. After each step:
every block is a hit exactly if it should be, and reads its own bytes; accesses and hits are those
of eager bookkeeping, however runs were cut; leased copies are where they were; no quota is
overshot; counted bytes are the stores' bytes.
"""

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.testing.tiers import TierUser, content

from hotplate.errors import QuotaError
from hotplate.kvc.answers import Mode
from hotplate.kvc.keys import Keys
from hotplate.kvc.model import Instance, Registration, Spec
from hotplate.kvc.moves import Move

MEMORY_BYTES = 200
PATHS = st.lists(st.integers(0, 2), min_size=1, max_size=8).map(tuple)
PICKS = st.integers(0, 99)
Path = tuple[int, ...]


@dataclass(slots=True)
class Node:
    """What is known of a stored block."""

    hits: int
    accessed_ms: int


@dataclass(slots=True)
class Held:
    """A leased copy: where it must stay."""

    key: bytes
    copy: tuple[int, int, int]  # storage, place, generation
    end_ms: int
    removed: bool = False  # the block is: its bytes must be there still


@dataclass(slots=True, eq=False)
class Model:
    """One instance as its user sees it."""

    record: Instance
    mixed: bool = False
    stored: dict[bytes, Node] = field(default_factory=dict)
    parents: dict[bytes, bytes | None] = field(default_factory=dict)
    held: list[Held] = field(default_factory=list)

    def keys(self, path: Path) -> list[bytes]:
        """The keys of a path; without chains, any keys."""
        if not self.record.chained:
            return [b"key%05d" % (number * 3 + step) for number, step in enumerate(path)]
        keys: list[bytes] = []
        for end in range(1, len(path) + 1):
            width = 5 if self.mixed and path[end - 1] == 2 else 8
            key = blake2b(bytes(path[:end]), digest_size=width).digest()
            self.parents[key] = keys[-1] if keys else None
            keys.append(key)
        return keys

    def forget(self, key: bytes) -> None:
        """A block is no more."""
        if self.stored.pop(key, None) is not None:
            for item in self.held:
                item.removed |= item.key == key


class TierMachine(RuleBasedStateMachine):
    """Three instances of one group over memory (small) and ssd."""

    quota_bytes: int | None = None  # none: nothing is ever evicted

    def __init__(self) -> None:
        super().__init__()
        self.user = TierUser(
            "exclusive",
            memory_blocks=20,
            high_watermark=0.6,
            low_watermark=0.3,
            quota_bytes=self.quota_bytes,
            policy="lru",
        )
        self.user.stores["ssd"].linear = False
        self.models = [
            Model(self.user.instance),
            Model(self.user.register(b"loose", chained=False)),
            Model(self.two_specs(b"mixed"), mixed=True),
        ]
        self.moves: list[Move] = []

    def two_specs(self, name: bytes) -> Instance:
        specs = (Spec("a", 10), Spec("b", 10))
        record, _ = self.user.catalog.register(
            Registration(id=name, group="g", block_tokens=1, specs=specs), b""
        )
        self.user.cache.create_index(record)
        return record

    def on(self, model: Model) -> TierUser:
        """The user, of one of the instances."""
        self.user.instance = model.record
        return self.user

    def touch(self, model: Model, keys: list[bytes], hits: int) -> None:
        """One access; in a chain to all that is above too."""
        reached = dict.fromkeys(keys)
        if model.record.chained and keys:
            key: bytes | None = keys[-1]
            while key is not None:
                reached[key] = None
                key = model.parents[key]
        for key in reached:
            node = model.stored.get(key)
            if node is not None:
                node.hits += hits
                node.accessed_ms = self.user.now

    # rules

    @rule(
        which=st.integers(0, 2), path=PATHS, slow=st.booleans(), priority=st.sampled_from([10, 50])
    )
    def put(self, which: int, path: Path, slow: bool, priority: int) -> None:
        model = self.models[which]
        keys = model.keys(path)
        options: dict[str, Any] = {"priority": priority}
        if slow:
            options["storage"] = "ssd"
        try:
            self.on(model).put(Keys.listed(keys), **options)
        except QuotaError:
            self.see_evictions()
            return
        self.see_evictions()
        for key in keys:
            model.stored.setdefault(key, Node(0, self.user.now))
        self.touch(model, keys, 0)

    @rule(
        which=st.integers(0, 2),
        path=PATHS,
        touch=st.booleans(),
        lease_ms=st.sampled_from([None, None, 300]),
    )
    def look_up(self, which: int, path: Path, touch: bool, lease_ms: int | None) -> None:
        model = self.models[which]
        keys = model.keys(path)
        count = next((i for i, key in enumerate(keys) if key not in model.stored), len(keys))
        answer = self.on(model).match(Keys.listed(keys), touch=touch, lease_ms=lease_ms)
        assert answer.matched == count
        if touch:
            self.touch(model, keys[:count], 1)
        if answer.lease_id is not None and lease_ms is not None:
            end_ms = self.user.now + lease_ms
            model.held += [
                Held(
                    keys[span.first + offset],
                    (span.storage, span.place + offset, span.generation),
                    end_ms,
                )
                for span in answer.spans
                for offset in range(span.count)
            ]

    @rule(which=st.integers(0, 2), path=PATHS)
    def remove(self, which: int, path: Path) -> None:
        model = self.models[which]
        keys = model.keys(path)[-2:]
        removed = self.on(model).cache.remove(model.record, Keys.listed(keys), self.user.now)
        assert removed == sum(key in model.stored for key in keys)
        for key in keys:
            model.forget(key)

    @rule(which=st.integers(0, 2))
    def trim(self, which: int) -> None:
        model = self.models[which]
        trimmed = self.on(model).cache.trim_all(model.record, self.user.now)
        assert trimmed == len(model.stored)
        for key in list(model.stored):
            model.forget(key)

    @rule(tiering=st.sampled_from(["exclusive", "exclusive", "inclusive", "none"]))
    def change_tiering(self, tiering: str) -> None:
        if tiering != "none" or self.quota_bytes is not None:  # with none, watermarks evict
            self.user.group.tiering = tiering

    @rule(always=st.booleans())
    def change_admission(self, always: bool) -> None:
        self.user.cache.configure(
            lease_ms_max=60_000,
            write_grace_ms=60_000,
            closed_sessions_max=10,
            promote_always=always,
        )

    @rule(span_ms=st.sampled_from([0, 1, 100, 400, 1_200]))
    def advance(self, span_ms: int) -> None:
        self.user.now += span_ms
        self.user.cache.tick(self.user.now)
        self.see_evictions()

    @precondition(lambda self: len(self.moves) < 4)
    @rule()
    def begin_move(self) -> None:
        self.user.cache.tick(self.user.now)
        move = self.user.next_move()
        self.see_evictions()
        if move is not None:
            self.moves.append(move)

    @precondition(lambda self: self.moves)
    @rule(pick=PICKS)
    def end_move(self, pick: int) -> None:
        self.user.copy(self.moves.pop(pick % len(self.moves)))

    @precondition(lambda self: self.moves)
    @rule(pick=PICKS)
    def fail_move(self, pick: int) -> None:
        move = self.moves.pop(pick % len(self.moves))
        assert self.user.cache.end_move(move, OSError(5, "EIO"), self.user.now) == 0

    @precondition(lambda self: self.moves)
    @rule(pick=PICKS)
    def damage_source(self, pick: int) -> None:
        """Bytes rot before they are copied: that copy goes, no other."""
        move = self.moves.pop(pick % len(self.moves))
        place = move.source_place + pick % move.count
        move.source_store.view(move.shape, place)[0] ^= 1
        self.user.copy(move)
        model = next(item for item in self.models if item.record is move.index.instance)
        matched = self.on(model).matched
        lost = [key for key in model.stored if not matched(one(key), Mode.EXACT, touch=False)]
        assert len(lost) <= 1
        for key in lost:
            model.forget(key)
        store = self.user.stores[self.user.storage_name(move.source)]
        if place in store.slots:  # it was no block's any more, or is leased
            store.view(move.shape, place)[0] ^= 1

    def see_evictions(self) -> None:
        """Blocks may have been evicted where there is a quota: never one before those below it."""
        if self.quota_bytes is None:
            return
        for model in self.models:
            metas = self.on(model).cache.meta(
                model.record, Keys.listed(list(model.stored)), self.user.now
            )
            gone = {
                key for key, meta in zip(list(model.stored), metas, strict=True) if meta is None
            }
            for key in gone:
                model.forget(key)
            for key in model.stored:
                if model.record.chained:
                    assert model.parents[key] not in gone, "a parent went before its child"

    # what holds

    @invariant()
    def blocks_are_what_they_were(self) -> None:
        for model in self.models:
            user = self.on(model)
            listed = list(model.stored)
            metas = user.cache.meta(model.record, Keys.listed(listed), user.now)
            for key, meta in zip(listed, metas, strict=True):
                assert meta is not None, "a block is gone"
                assert meta.state == "serving"
                node = model.stored[key]
                assert (meta.hits, meta.accessed_ms) == (node.hits, node.accessed_ms)
                whole = b"".join(content(key, spec) for spec in range(len(model.record.specs)))
                assert user.read(key) == whole
            count = user.cache.match(
                model.record, Keys.listed(listed), mode=Mode.EXACT, now_ms=user.now, touch=False
            ).matched
            assert count == len(listed)
            assert user.cache.block_count(model.record) == len(listed)

    @invariant()
    def leased_copies_are_where_they_were(self) -> None:
        for model in self.models:
            user = self.on(model)
            model.held = [item for item in model.held if item.end_ms > user.now]
            metas = user.cache.meta(
                model.record, Keys.listed([item.key for item in model.held]), user.now
            )
            for item, meta in zip(model.held, metas, strict=True):
                storage, place, generation = item.copy
                store = user.stores[user.storage_name(storage)]
                assert store.generations[place] == generation
                assert place in store.slots, "its bytes were given away"
                if not item.removed:
                    assert meta is not None
                    assert item.copy in [(c.storage, c.place, c.generation) for c in meta.copies]

    @invariant()
    def bytes_are_counted_exactly(self) -> None:
        self.user.used()
        stats = self.user.cache.stats(self.user.group)
        assert stats["bytes_by_type"].get("memory", 0) <= MEMORY_BYTES
        assert self.quota_bytes is None or stats["used_bytes"] <= self.quota_bytes

    def teardown(self) -> None:
        for move in self.moves:
            self.user.copy(move)
        for model in self.models:
            self.on(model).cache.trim_all(model.record, self.user.now)
        self.user.now += 100_000
        self.user.settle()
        self.user.now += 100  # what was being read from is tried again
        self.user.settle()
        assert self.user.used() == 0, "a slot was lost"


def one(key: bytes) -> Keys:
    return Keys.listed([key])


class EvictingMachine(TierMachine):
    """The same with a quota of everything, so that blocks are evicted too."""

    quota_bytes = 400


SETTINGS = settings(
    max_examples=100,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)
TestTiers = pytest.mark.slow(TierMachine.TestCase)
TestTiers.settings = SETTINGS
TestTiersThatEvict = pytest.mark.slow(EvictingMachine.TestCase)
TestTiersThatEvict.settings = SETTINGS
