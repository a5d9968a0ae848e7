"""The cache against a naive one: the same answers, masks, bytes, victims, leases, deadlines.

Two groups, three instances (chained with two specs, chainless, chained with mixed key widths),
two storages that come and go, small quotas, holes of every kind. Both sides see the same calls;
after each the counted bytes are equal, and what is stored is compared block by block.
"""

from hashlib import blake2b
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.testing import naive_policy
from tests.testing.block_store import FakeBlockStore
from tests.testing.naive_cache import NaiveCache
from tests.testing.naive_model import (
    NEVER,
    NaiveGroup,
    NaiveInstance,
    NaiveLease,
    NaiveSession,
    Refused,
)

from hotplate.errors import CommandError
from hotplate.kvc import write_session as outcomes
from hotplate.kvc.answers import Mode
from hotplate.kvc.cache import Cache
from hotplate.kvc.catalog import Catalog
from hotplate.kvc.index import Index
from hotplate.kvc.keys import Keys
from hotplate.kvc.model import Instance, Registration, Spec, StorageState
from hotplate.kvc.policy import POLICIES

START_MS = 1_700_000_000_000
TYPES = {"memory": "memory", "ssd": "ssd"}


def chain_key(path: tuple[int, ...], mixed: bool) -> bytes:
    width = 5 if mixed and path[-1] == 2 else 4
    return blake2b(bytes(path), digest_size=width).digest()


PROMPTS = st.lists(st.integers(0, 2), min_size=0, max_size=7).map(tuple)
PICKS = st.integers(0, 99)
SHAPED = st.tuples(PROMPTS, st.integers(0, 7), st.booleans())


class CacheMachine(RuleBasedStateMachine):
    """Calls both caches."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START_MS
        self.catalog = Catalog()
        self.stores: dict[str, FakeBlockStore] = {}
        for number, (name, kind) in enumerate(TYPES.items()):
            storage = self.catalog.build_storage(name, kind)
            store = FakeBlockStore(name, kind, linear=number == 0)
            storage.store = self.stores[name] = store
            self.catalog.add_storage(storage)
        self.cache = Cache(self.catalog, index_bytes_max=1 << 40, write_grace_ms=2_500)
        self.naive = NaiveCache(TYPES, self.rank, write_grace_ms=2_500)
        self.instances: list[tuple[Instance, NaiveInstance]] = []
        self.groups: list[NaiveGroup] = []
        self.sums = 0
        self.sessions: list[tuple[Instance, NaiveSession]] = []
        self.closed: list[tuple[Instance, bytes, Any, tuple[int, int]]] = []
        self.leases: list[tuple[Instance, NaiveLease]] = []
        small: dict[str, Any] = {"quota_bytes": 300, "type_quotas": {"memory": 200}}
        self.group("a", {**small, "grace_ms": 0, "high_watermark": 1.0, "low_watermark": 1.0})
        other: dict[str, Any] = {"quota_bytes": 500, "max_blocks": 18, "grace_ms": 1000}
        self.group("b", {**other, "high_watermark": 0.9, "low_watermark": 0.5, "ttl_s": 50})
        self.instance(b"chained", "a", True, [4, 6])
        self.instance(b"loose", "a", False, [10])
        self.instance(b"mixed", "b", True, [20])

    def group(self, name: str, options: dict[str, Any]) -> None:
        record = self.catalog.create_group(name, options)
        self.cache.group_changed(record)
        self.groups.append(
            NaiveGroup(
                name,
                list(record.storages),
                record.quota_bytes,
                dict(record.type_quotas),
                record.high_watermark,
                record.low_watermark,
                record.grace_ms,
                None if record.ttl_s is None else record.ttl_s * 1000,
                record.max_blocks,
                policy=record.policy,
            )
        )
        self.naive.groups.append(self.groups[-1])

    def instance(self, name: bytes, group: str, chained: bool, sizes: list[int]) -> None:
        specs = tuple(Spec(f"s{number}", size) for number, size in enumerate(sizes))
        content = Registration(id=name, group=group, block_tokens=1, specs=specs, chained=chained)
        record, _ = self.catalog.register(content, b"")
        self.cache.create_index(record)
        owner = next(item for item in self.groups if item.name == group)
        naive = NaiveInstance(name.decode(), owner, chained, sizes)
        owner.instances.append(naive)
        self.instances.append((record, naive))

    def index(self, instance: Instance) -> Index:
        return self.cache.index_of(instance)

    def rank(self, instance: NaiveInstance, key: bytes) -> int:
        record = next(item for item, naive in self.instances if naive is instance)
        block = self.index(record).lookup(key)
        return -1 if block is None else block

    def keys(self, which: int, shaped: tuple[tuple[int, ...], int, bool]) -> list[bytes]:
        path, _, _ = shaped
        _, naive = self.instances[which]
        if naive.chained:
            mixed = naive.name == "mixed"
            return [chain_key(path[: end + 1], mixed) for end in range(len(path))]
        return [b"key%d" % (number * 3 + token) for number, token in enumerate(path)]

    def parent_and_keys(
        self, which: int, shaped: tuple[tuple[int, ...], int, bool]
    ) -> tuple[bytes | None, list[bytes]]:
        keys = self.keys(which, shaped)
        skip = shaped[1]
        if shaped[2] and 0 < skip < len(keys):
            return keys[skip - 1], keys[skip:]
        return None, keys

    def fresh_sums(self, count: int) -> bytes:
        self.sums += count
        return b"".join((self.sums - number).to_bytes(8, "big") for number in range(count))

    # rules

    @rule(
        which=st.integers(0, 2),
        shaped=SHAPED,
        masks=st.one_of(st.none(), st.lists(st.integers(1, 3), min_size=9, max_size=9)),
        ttl_ms=st.sampled_from([None, None, 500, 5_000, 60_000]),
        priority=st.sampled_from([50, 50, 50, 10, 90]),
        timeout_ms=st.sampled_from([1_000, 30_000]),
        twice=st.integers(0, 9),
        at_once=st.booleans(),
    )
    def start_write(
        self,
        which: int,
        shaped: tuple[tuple[int, ...], int, bool],
        masks: list[int] | None,
        ttl_ms: int | None,
        priority: int,
        timeout_ms: int,
        twice: int,
        at_once: bool = False,
    ) -> None:
        record, naive = self.instances[which]
        parent, keys = self.parent_and_keys(which, shaped)
        if twice < len(keys):
            keys = [*keys, keys[twice]]
        given = None
        if masks is not None and record.all_specs == 3:
            given = masks[: len(keys)]
        shared: dict[str, Any] = {"parent": parent, "ttl_ms": ttl_ms, "priority": priority}
        shared |= {"timeout_ms": timeout_ms}
        expected: Any = None
        refused: Refused | None = None
        try:
            expected = self.naive.start(naive, keys, masks=given, now=self.now, **shared)
        except Refused as error:
            refused = error
        shared |= {"now_ms": self.now, "spec_masks": given}
        if refused is not None:
            with pytest.raises(CommandError, match=refused.text or None) as caught:
                self.cache.start_write(record, Keys.listed(keys), **shared)
            assert caught.value.code == refused.code
            return
        answer = self.cache.start_write(record, Keys.listed(keys), **shared)
        bits, session = expected
        assert answer.mask == bits
        assert (answer.session_id is None) == (session is None)
        if session is None:
            assert answer.spans == []
            return
        assert answer.session_id is not None
        session.id = answer.session_id
        placed = [
            (self.storage_name(span.storage), span.specs, span.place + offset)
            for span in answer.spans
            for offset in range(span.count)
        ]
        assert answer.spans[0].first == 0
        assert [(name, specs) for name, specs, _ in placed] == [
            (copy.storage, copy.specs) for copy in session.copies
        ]
        assert len(set(placed)) == len(placed)
        self.sessions.append((record, session))
        if at_once:
            self.finish(len(self.sessions) - 1, "all", 0)

    def storage_name(self, number: int) -> str:
        storage = self.catalog.storage_by_number[number]
        assert storage is not None
        return storage.name

    @precondition(lambda self: self.sessions)
    @rule(
        pick=PICKS,
        kind=st.sampled_from(["all", "all", "all", "none", "prefix", "mask", "full"]),
        bits=st.integers(0, 511),
    )
    def finish(self, pick: int, kind: str, bits: int) -> None:
        record, session = self.sessions.pop(pick % len(self.sessions))
        count = len(session.copies)
        written = [True] * count
        outcome = outcomes.ALL
        if kind == "none":
            written, outcome = [False] * count, outcomes.NOTHING
        elif kind == "prefix":
            length = bits % (count + 1)
            written = [number < length for number in range(count)]
            outcome = outcomes.prefix(length)
        elif kind in ("mask", "full"):
            written = [bool(bits >> number & 1) for number in range(count)]
            outcome = outcomes.mask(bytes(48 + bit for bit in written))
            if kind == "full":
                full = bytearray(b"0" * len(session.given))
                for position, bit in zip(session.positions, written, strict=True):
                    full[position] = 48 + bit
                outcome = outcomes.full_mask(bytes(full))
        named = sum(
            copy.specs.bit_count() for copy, bit in zip(session.copies, written, strict=True) if bit
        )
        sums = self.fresh_sums(named)
        self.naive.settle(self.now)
        if session not in session.instance.sessions:
            with pytest.raises(CommandError) as caught:
                self.cache.finish(record, session.id, outcome, sums, self.now)
            assert caught.value.code == "NOSESSION"
            return
        expected = self.naive.end_session(session, written, sums, self.now, 0)
        assert self.cache.finish(record, session.id, outcome, sums, self.now) == expected
        self.closed.append((record, session.id, outcome, expected))

    @precondition(lambda self: self.closed)
    @rule(pick=PICKS)
    def finish_again(self, pick: int) -> None:
        record, session_id, outcome, answer = self.closed[pick % len(self.closed)]
        assert self.cache.finish(record, session_id, outcome, None, self.now) == answer
        self.naive.settle(self.now)

    @rule(
        which=st.integers(0, 2),
        shaped=SHAPED,
        mode=st.sampled_from(["PREFIX", "PREFIX", "EXACT", "WINDOW"]),
        window=st.integers(1, 3),
        specs=st.integers(0, 3),
        touch=st.booleans(),
        lease_ms=st.sampled_from([None, None, 2_000]),
        shuffle=st.booleans(),
    )
    def match(
        self,
        which: int,
        shaped: tuple[tuple[int, ...], int, bool],
        mode: str,
        window: int,
        specs: int,
        touch: bool,
        lease_ms: int | None,
        shuffle: bool,
    ) -> None:
        record, naive = self.instances[which]
        keys = self.keys(which, shaped)
        skip = min(shaped[1], len(keys))
        if mode == "PREFIX":
            keys = keys[skip:]
        if shuffle:
            keys = keys[1::2] + keys[::2]
        specs &= record.all_specs
        if mode == "WINDOW" and window > len(keys):
            return
        matched, start, found = self.naive.match(naive, keys, mode, window, specs, self.now, touch)
        lease = None
        if lease_ms is not None:
            quota = naive.group.quota
            assert quota is not None
            lease = self.naive.lease(naive, found, lease_ms, self.now, quota)
        answer = self.cache.match(
            record,
            Keys.listed(keys),
            mode=Mode[mode],
            now_ms=self.now,
            window=window,
            specs=specs,
            touch=touch,
            lease_ms=lease_ms,
        )
        assert answer.matched == matched
        assert answer.start == start
        got: dict[int, list[tuple[str, int, bytes]]] = {}
        for span in answer.spans:
            width = 8 * span.specs.bit_count()
            for offset in range(span.count):
                sums = span.sums[offset * width : (offset + 1) * width]
                name = self.storage_name(span.storage)
                got.setdefault(span.first + offset, []).append((name, span.specs, sums))
                published = self.stores[name].published[span.place + offset]
                assert published == (found[span.first + offset], sums)
                assert self.stores[name].generations[span.place + offset] == span.generation
        expected = {
            position: [
                (copy.storage, copy.specs, copy.sums)
                for copy in self.naive.answered(naive, key, specs)
            ]
            for position, key in found.items()
        }
        assert got == expected
        assert (answer.lease_id is None) == (lease is None)
        if lease is not None:
            assert answer.lease_id is not None
            lease.id = answer.lease_id
            self.leases.append((record, lease))

    @precondition(lambda self: self.leases)
    @rule(pick=PICKS, extend_ms=st.sampled_from([None, 1_000, 5_000]))
    def change_lease(self, pick: int, extend_ms: int | None) -> None:
        record, lease = self.leases[-1 - pick % min(4, len(self.leases))]
        self.naive.settle(self.now)
        alive = lease in self.naive.leases
        if extend_ms is not None:
            lease.end_ms = max(lease.end_ms, self.now + extend_ms) if alive else lease.end_ms
            assert self.cache.extend_lease(record, lease.id, extend_ms, self.now) == alive
            return
        if alive:
            self.naive.end_lease(lease, self.now)
        assert self.cache.release_lease(record, lease.id, self.now) == alive

    @precondition(lambda self: self.leases)
    @rule(pick=PICKS)
    def read_removed(self, pick: int) -> None:
        record, lease = self.leases[-1 - pick % min(4, len(self.leases))]
        self.naive.settle(self.now)
        for key, copies in lease.removed.items():
            if self.naive.is_hit(lease.instance, key, lease.instance.all_specs, self.now):
                continue
            readable = [
                copy
                for copy in copies
                if copy.specs == lease.instance.all_specs and self.naive.available[copy.storage]
            ]
            slot = self.cache.read(record, key, None, self.now, lease.id)
            if lease not in self.naive.leases or not readable:
                assert slot is None
                continue
            assert slot is not None
            sums = b"".join(part[2].to_bytes(8, "big") for part in slot.parts)
            assert sums in [copy.sums for copy in readable]
            store = self.stores[self.storage_name(slot.storage)]
            assert store.published[slot.place] == (key, sums)

    @rule(
        which=st.integers(0, 2),
        shaped=SHAPED,
        priority=st.sampled_from([100, 90, 53, 50, 10]),
        ttl_ms=st.sampled_from([1_000, 30_000]),
    )
    def retain(
        self, which: int, shaped: tuple[tuple[int, ...], int, bool], priority: int, ttl_ms: int
    ) -> None:
        record, naive = self.instances[which]
        keys = list(dict.fromkeys(self.keys(which, shaped)))
        expected = self.naive.retain(naive, keys, priority, ttl_ms, self.now)
        wanted = Keys.listed(keys)
        answer = self.cache.retain(
            record, wanted, priority=priority, ttl_ms=ttl_ms, now_ms=self.now
        )
        assert answer == expected

    @rule(group=st.integers(0, 1), size_bytes=st.sampled_from([None, 1, 40, 200]))
    def reclaim(self, group: int, size_bytes: int | None) -> None:
        naive = self.groups[group]
        record = self.catalog.groups[naive.name]
        self.naive.settle(self.now)
        rehearsed = self.cache.reclaim(record, size_bytes, self.now, dry_run=True)
        self.naive.evicted.clear()
        if size_bytes is None:
            self.naive.reclaim(naive, self.now, forced=True)
        else:
            self.naive.evict(naive, size_bytes, self.now)
        assert rehearsed.keys == self.naive.evicted
        answer = self.cache.reclaim(record, size_bytes, self.now)
        assert answer.victims == rehearsed.victims == len(self.naive.evicted)
        assert answer.by_storage == rehearsed.by_storage

    @rule(which=st.integers(0, 2), shaped=SHAPED)
    def remove(self, which: int, shaped: tuple[tuple[int, ...], int, bool]) -> None:
        record, naive = self.instances[which]
        keys = self.keys(which, shaped)[-2:]
        expected = self.naive.remove(naive, keys, self.now)
        assert self.cache.remove(record, Keys.listed(keys), self.now) == expected

    @rule(
        which=st.integers(0, 2),
        kind=st.sampled_from(["all", "created", "idle"]),
        span_ms=st.sampled_from([0, 700, 2_500, 20_000]),
    )
    def trim(self, which: int, kind: str, span_ms: int) -> None:
        record, naive = self.instances[which]
        self.naive.settle(self.now)
        nodes = [node for node in naive.nodes.values() if node.copies]
        if kind == "created":
            nodes = [node for node in nodes if node.created_ms < self.now - span_ms]
        elif kind == "idle":
            nodes = [node for node in nodes if node.accessed_ms <= self.now - span_ms]
        expected = sum(
            kind == "all" or node.only_writing or node.expires_ms > self.now for node in nodes
        )
        for node in nodes:
            self.naive.discard(naive, node, self.now)
        if kind == "all":
            assert self.cache.trim_all(record, self.now) == expected
            naive_policy.emptied(naive)
        elif kind == "created":
            upto = self.now - span_ms
            assert self.cache.trim_created(record, 0, upto, self.now) == expected
        else:
            assert self.cache.trim_idle(record, span_ms, self.now) == expected
        if kind == "all":
            self.tick()

    @rule(group=st.integers(0, 1), policy=st.sampled_from(POLICIES))
    def change_policy(self, group: int, policy: str) -> None:
        naive = self.groups[group]
        if naive.policy == policy:
            return
        record = self.catalog.groups[naive.name]
        self.catalog.update_group(naive.name, record.version, {"policy": policy})
        self.cache.group_changed(record)
        naive.policy = policy
        for instance in naive.instances:
            naive_policy.changed(instance)

    @rule(name=st.sampled_from(sorted(TYPES)))
    def toggle_storage(self, name: str) -> None:
        storage = self.catalog.storages[name]
        available = not self.naive.available[name]
        self.naive.available[name] = available
        state = StorageState.AVAILABLE if available else StorageState.DISABLED
        self.catalog.set_storage_state(name, state)
        self.cache.storage_changed(storage)

    @rule(span_ms=st.sampled_from([1, 300, 900, 1_500, 12_000, 70_000]), tick=st.booleans())
    def advance(self, span_ms: int, tick: bool) -> None:
        self.now += span_ms
        if tick:
            self.tick()
        else:
            self.naive.settle(self.now)
            self.cache.session_count(self.now)

    @rule()
    def tick(self) -> None:
        self.naive.tick(self.now)
        for _ in range(100):
            if not self.cache.tick(self.now):
                break
        else:
            raise AssertionError("background work does not end")

    @invariant()
    def counts_the_same_bytes(self) -> None:
        for naive in self.groups:
            stats = self.cache.stats(self.catalog.groups[naive.name])
            for name in TYPES:
                states = stats["bytes"].get(name, {"writing": 0, "serving": 0, "deleting": 0})
                got = states["writing"], states["serving"], states["deleting"]
                assert got == naive.by_storage(name), naive.name
            assert stats["used_bytes"] == naive.used(set(TYPES))
            assert stats["blocks"] == naive.blocks
            assert stats["leased_bytes"] == naive.leased_bytes
            assert naive.quota is None or stats["used_bytes"] <= naive.quota
        for name, store in self.stores.items():
            assert store.used_bytes == sum(naive.used({name}) for naive in self.groups)

    @invariant()
    def stores_the_same_blocks(self) -> None:
        for record, naive in self.instances:
            nodes = list(naive.nodes.values())
            metas = self.cache.meta(record, Keys.listed([node.key for node in nodes]), self.now)
            assert self.index(record).ids == len(nodes)
            for node, meta in zip(nodes, metas, strict=True):
                gone = not node.copies or (node.serving and node.expires_ms <= self.now)
                assert (meta is None) == gone
                if meta is None:
                    continue
                assert meta.parent == node.parent
                assert meta.hits == node.hits
                assert meta.created_ms == node.created_ms
                assert meta.accessed_ms == node.accessed_ms
                assert meta.priority == node.priority_at(self.now)
                assert meta.expires_ms == (None if node.expires_ms == NEVER else node.expires_ms)
                assert meta.leases == len(node.leases)
                assert sorted(
                    (self.storage_name(copy.storage), copy.specs, copy.sums) for copy in meta.copies
                ) == sorted((copy.storage, copy.specs, copy.sums) for copy in node.copies)


TestCache = CacheMachine.TestCase
TestCache.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
