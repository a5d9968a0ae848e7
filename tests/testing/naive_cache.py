"""The KV cache as its contract reads, with no thought of speed: the oracle of the real one.

A node per key, plain walks, every access written to every block it reaches. Where the contract
leaves the order of blocks touched by one call open, `rank` decides (the real cache's ids do).
"""

from collections.abc import Callable

from tests.testing import naive_policy as policies
from tests.testing.naive_model import (
    NEVER,
    Doomed,
    NaiveCopy,
    NaiveGroup,
    NaiveInstance,
    NaiveLease,
    NaiveSession,
    Node,
    Refused,
)
from tests.testing.naive_policy import Turns


class NaiveCache:
    """All groups and instances."""

    def __init__(
        self,
        types: dict[str, str],
        rank: Callable[[NaiveInstance, bytes], int],
        *,
        write_grace_ms: int,
    ) -> None:
        self.types = types
        self.rank = rank
        self.available = dict.fromkeys(types, True)
        self.groups: list[NaiveGroup] = []
        self.leases: list[NaiveLease] = []
        self.write_grace_ms = write_grace_ms
        self.stamp = 0
        self.evicted: list[bytes] = []

    # what is due

    def settle(self, now: int) -> None:
        due = [
            session
            for group in self.groups
            for instance in group.instances
            for session in instance.sessions
            if session.deadline_ms <= now
        ]
        for session in due:
            self.end_session(session, [False] * len(session.copies), b"", now, self.write_grace_ms)
        for lease in [lease for lease in self.leases if lease.end_ms <= now]:
            self.end_lease(lease, now)
        for group in self.groups:
            for instance in group.instances:
                for node in instance.nodes.values():
                    if node.retained and now >= node.retained_since() + node.retained[2]:
                        node.retained, node.priority = None, 50

    def prune(self, instance: NaiveInstance) -> None:
        while True:
            gone = [
                key
                for key, node in instance.nodes.items()
                if not node.copies
                and not instance.has_children(key)
                and key not in instance.guarded
            ]
            if not gone:
                return
            for key in gone:
                del instance.nodes[key]

    def doom(self, group: NaiveGroup, item: Doomed, now: int) -> None:
        if item.due_ms > now or item.holders:
            group.doomed.append(item)

    def discard(self, instance: NaiveInstance, node: Node, now: int) -> None:
        group = instance.group
        leased = sum(instance.sizes)
        served = []
        for copy in node.copies:
            if copy.session is not None:
                copy.session.lost.add(copy.position)
                continue
            served.append(copy)
            item = Doomed(copy.storage, copy.size, now + group.grace_ms)
            if node.leases:
                item.holders = set(node.leases)
                item.leaving = False
                item.leased, leased = leased, 0
            self.doom(group, item, now)
        if served:
            for lease in node.leases:
                lease.removed.setdefault(node.key, []).extend(served)
        for lease in node.leases:
            lease.nodes.discard(node)
        node.leases = set()
        node.copies = []
        node.retained = None
        self.prune(instance)

    def end_lease(self, lease: NaiveLease, now: int) -> None:
        self.leases.remove(lease)
        for node in lease.nodes:
            node.leases.discard(lease)
        for item in list(lease.instance.group.doomed):
            if lease in item.holders:
                item.holders.discard(lease)
                if not item.holders:
                    item.leaving = True
                    if item.due_ms <= now:
                        lease.instance.group.doomed.remove(item)

    # reading

    def held(self, node: Node) -> int:
        specs = 0
        for copy in node.copies:
            if copy.session is None and self.available[copy.storage]:
                specs |= copy.specs
        return specs

    def is_hit(self, instance: NaiveInstance, key: bytes, specs: int, now: int) -> bool:
        node = instance.nodes.get(key)
        if node is None or not node.serving or node.expires_ms <= now:
            return False
        held = self.held(node)
        return held != 0 and not specs & ~held

    def answered(self, instance: NaiveInstance, key: bytes, specs: int) -> list[NaiveCopy]:
        usable = [
            copy
            for copy in instance.nodes[key].copies
            if copy.session is None and self.available[copy.storage]
        ]
        usable.sort(key=lambda c: (self.types[c.storage] != "memory", -c.specs.bit_count()))
        if not specs:
            return usable[:1]
        needed = []
        for copy in usable:
            if copy.specs & specs:
                needed.append(copy)
                specs &= ~copy.specs
        return needed

    def match(
        self,
        instance: NaiveInstance,
        keys: list[bytes],
        mode: str,
        window: int,
        specs: int,
        now: int,
        touch: bool,
    ) -> tuple[int, int, dict[int, bytes]]:
        """(matched, start, key by answered position)."""
        self.settle(now)
        hits = [self.is_hit(instance, key, specs, now) for key in keys]
        start = 0
        if mode == "PREFIX":
            count = hits.index(False) if False in hits else len(hits)
            found = dict(enumerate(keys[:count]))
        elif mode == "EXACT":
            found = {i: key for i, key in enumerate(keys) if hits[i]}
        else:
            start, found = -1, {}
            for first in range(len(keys) - window, -1, -1):
                if all(hits[first : first + window]):
                    start, found = first, dict(enumerate(keys[first : first + window]))
                    break
        if touch:
            instance.clock += len(found)
            self.touch(instance, list(found.values()), 1, now)
        return len(found), start, found

    def touch(self, instance: NaiveInstance, keys: list[bytes], hits: int, now: int) -> None:
        if not instance.chained:
            for key in reversed(keys):
                self.stamp += 1
                node = instance.nodes[key]
                node.stamp, node.accessed_ms, node.tick = self.stamp, now, instance.clock
                node.hits += hits
            return
        self.stamp += 1
        reached = {node for key in keys for node in instance.path(key)}
        for node in reached:
            node.stamp, node.accessed_ms, node.tick = self.stamp, now, instance.clock
            node.hits += hits

    def lease(
        self, instance: NaiveInstance, found: dict[int, bytes], ms: int, now: int, limit: int
    ) -> NaiveLease | None:
        if not found:
            return None
        lease = NaiveLease(instance, now + ms)
        nodes = {instance.nodes[key] for key in found.values()}
        before = instance.group.leased_bytes
        fresh = sum(instance.sizes) * sum(not node.leases for node in nodes)
        if 2 * (before + fresh) >= limit:
            return None
        lease.nodes = nodes
        for node in nodes:
            node.leases.add(lease)
        self.leases.append(lease)
        return lease

    # making room

    def leaves(self, group: NaiveGroup) -> list[tuple[NaiveInstance, Node]]:
        return [
            (instance, node)
            for instance in group.instances
            for node in instance.nodes.values()
            if (
                node.copies
                and not node.writing
                and not node.leases
                and not instance.has_children(node.key)
                and node.key not in instance.guarded
            )
        ]

    def evict(
        self,
        group: NaiveGroup,
        missing: int,
        now: int,
        storages: set[str] | None = None,
        count_blocks: bool = False,
    ) -> None:
        if missing <= 0:
            return
        for instance in group.instances:
            policies.begin(instance)
        turns = Turns(group, storages, count_blocks)
        while missing > 0:
            leaves = self.leaves(group)
            if not leaves:
                return
            wanted = [
                item for item in leaves if storages is None or item[1].copies[0].storage in storages
            ]
            if wanted:
                instance, node = self.victim(turns, wanted, now)
            else:
                instance, node = self.victim(Turns(group, None, count_blocks), leaves, now)
            if count_blocks:
                missing -= 1
            else:
                missing -= sum(
                    copy.size
                    for copy in node.copies
                    if storages is None or copy.storage in storages
                )
            policies.evicted(instance, node)
            self.evicted.append(node.key)
            self.discard(instance, node, now)
            if not wanted:
                turns = Turns(group, storages, count_blocks)

    def victim(
        self, turns: Turns, leaves: list[tuple[NaiveInstance, Node]], now: int
    ) -> tuple[NaiveInstance, Node]:
        lowest = min(node.priority_at(now) for _, node in leaves)
        least = [(instance, node) for instance, node in leaves if node.priority_at(now) == lowest]
        instance = turns.choose([instance for instance, _ in least])
        nodes = [node for owner, node in least if owner is instance]
        return instance, policies.pick(instance, nodes, self.stamp, self.rank)

    def fit(
        self,
        group: NaiveGroup,
        kind: str,
        name: str,
        need: int,
        limit: int | None,
        storages: set[str] | None,
        now: int,
    ) -> None:
        if limit is None:
            return

        def used() -> int:
            return group.blocks if kind == "blocks" else group.used(storages or set(self.types))

        if used() + need <= limit:
            return
        if need <= limit:
            if kind != "blocks":
                self.reap(group, now)
            missing = used() + need - limit
            if kind != "blocks":
                missing -= sum(
                    item.size
                    for item in group.doomed
                    if item.leaving and (storages is None or item.storage in storages)
                )
            self.evict(group, missing, now, storages, kind == "blocks")
        if used() + need > limit:
            raise Refused("QUOTA", f"{kind} {name} used={used()} limit={limit} need={need}")

    def tick(self, now: int) -> None:
        self.settle(now)
        for group in self.groups:
            for instance in group.instances:
                while True:
                    gone = [
                        node
                        for node in instance.nodes.values()
                        if node.serving
                        and not node.writing
                        and node.expires_ms <= now
                        and not instance.has_children(node.key)
                    ]
                    if not gone:
                        break
                    for node in gone:
                        self.discard(instance, node, now)
        for group in self.groups:
            self.reclaim(group, now)
            self.reap(group, now)

    def reap(self, group: NaiveGroup, now: int) -> None:
        group.doomed = [item for item in group.doomed if item.holders or item.due_ms > now]

    def reclaim(self, group: NaiveGroup, now: int, forced: bool = False) -> None:
        def over(name: str, used: int, limit: int) -> int:
            low = int(limit * group.low)
            if forced:
                return used - low
            if used >= limit * group.high:
                group.reclaiming.add(name)
            if used <= low:
                group.reclaiming.discard(name)
            return used - low if name in group.reclaiming else 0

        def live(storages: set[str]) -> int:
            leaving = sum(i.size for i in group.doomed if i.leaving and i.storage in storages)
            return group.used(storages) - leaving

        everywhere = set(self.types)
        plans = []
        for kind, quota in group.type_quotas.items():
            plans.append((kind, quota, {name for name in self.types if self.types[name] == kind}))
        if group.quota is not None:
            self.evict(group, over("group", live(everywhere), group.quota), now)
        for kind, quota, storages in plans:
            self.evict(group, over(f"type {kind}", live(storages), quota), now, storages)
        if group.max_blocks is not None:
            missing = over("blocks", group.blocks, group.max_blocks)
            self.evict(group, missing, now, None, True)

    def retain(
        self, instance: NaiveInstance, keys: list[bytes], priority: int, ttl_ms: int, now: int
    ) -> tuple[int, int]:
        self.settle(now)
        group, accepted, clipped = instance.group, 0, 0
        assert group.quota is not None
        for key in keys:
            node = instance.nodes.get(key)
            if node is None or not node.copies or (node.serving and node.expires_ms <= now):
                continue
            kept = [
                sum(other.sizes)
                for other in group.instances
                for item in other.nodes.values()
                if item.retained and item.retained[0] > 50 and item is not node
            ]
            size = sum(instance.sizes)
            fits = sum(kept) + size <= int(group.quota * group.retain)
            if group.max_blocks is not None:
                fits = fits and len(kept) + 1 <= int(group.max_blocks * group.retain)
            again = node.retained is not None and node.retained[0] > 50
            if priority > 50 and not fits and not again:
                clipped += 1
                continue
            accepted += 1
            node.retained = (priority, now, ttl_ms)
        return accepted, clipped

    # writing

    def plan(
        self,
        instance: NaiveInstance,
        keys: list[bytes],
        masks: list[int] | None,
        parent: bytes | None,
        now: int,
    ) -> tuple[list[tuple[int, bytes, int, bytes | None]], list[bytes]]:
        """(position, key, missing specs, parent) of what is to be written; the distinct keys."""
        if not instance.chained:
            parent = None
        elif parent is not None and parent not in instance.nodes:
            raise Refused("BADCHAIN")
        wanted: dict[bytes, int] = {}
        for position, key in enumerate(keys):
            mask = instance.all_specs if masks is None else masks[position]
            wanted[key] = wanted.get(key, 0) | mask
        items = []
        above = parent
        for key in wanted:
            node = instance.nodes.get(key)
            if node is not None and instance.chained and node.parent != above:
                raise Refused("BADCHAIN")
            held = 0
            if node is not None and not (node.serving and node.expires_ms <= now):
                for copy in node.copies:
                    if self.available[copy.storage]:
                        held |= copy.specs
            missing = wanted[key] & ~held
            if missing:
                items.append((keys.index(key), key, missing, above if instance.chained else None))
            above = key
        return items, list(wanted)

    def start(
        self,
        instance: NaiveInstance,
        keys: list[bytes],
        *,
        masks: list[int] | None,
        parent: bytes | None,
        ttl_ms: int | None,
        priority: int,
        timeout_ms: int,
        now: int,
    ) -> tuple[bytes, NaiveSession | None]:
        self.settle(now)
        group = instance.group
        items, distinct = self.plan(instance, keys, masks, parent, now)
        bits = bytearray(b"1" * len(keys))
        for position, _, _, _ in items:
            bits[position] = 48
        if not items:
            last = [parent] if parent is not None and parent in instance.nodes else []
            touched = distinct if not instance.chained else distinct[-1:] or last
            self.touch(instance, touched, 0, now)
            return bytes(bits), None
        path = [key for key in distinct if key in instance.nodes]
        if instance.chained and parent is not None:
            path.append(parent)
        instance.guarded = set(path)
        for key in path:
            node = instance.nodes[key]
            if node.serving and node.expires_ms <= now and key in distinct:
                self.discard(instance, node, now)
        try:
            storage = self.admit(instance, items, now)
        except Refused:
            instance.guarded.clear()
            self.prune(instance)
            raise
        instance.guarded.clear()
        if ttl_ms is None:
            ttl_ms = group.ttl_ms
        expires = NEVER if ttl_ms is None else now + ttl_ms
        session = NaiveSession(
            instance,
            now + timeout_ms,
            keys,
            [item[0] for item in items],
            [],
            [item[1] for item in items],
        )
        fresh: list[Node] = []
        for number, (_, key, specs, above) in enumerate(items):
            copy = NaiveCopy(storage, specs, instance.size_of(specs), b"", session, number)
            session.copies.append(copy)
            if key not in instance.nodes:
                instance.nodes[key] = Node(key, above, expires_ms=expires)
            node = instance.nodes[key]
            if not node.copies:
                node.created_ms, node.priority, node.hits = now, priority, 0
                node.created_stamp = self.stamp + 1
                fresh.append(node)
            node.copies.append(copy)
            for ancestor in instance.path(key):
                ancestor.expires_ms = max(ancestor.expires_ms, expires)
        policies.stored(instance, fresh)
        instance.clock += len(items)
        self.touch(instance, distinct if not instance.chained else distinct[-1:], 0, now)
        instance.sessions.append(session)
        return bytes(bits), session

    def admit(
        self, instance: NaiveInstance, items: list[tuple[int, bytes, int, bytes | None]], now: int
    ) -> str:
        group = instance.group
        need = sum(instance.size_of(item[2]) for item in items)
        fresh = sum(not getattr(instance.nodes.get(item[1]), "copies", ()) for item in items)
        usable = [name for name in group.storages if self.available[name]]
        if not usable:
            raise Refused("NOSTORAGE")
        self.fit(group, "blocks", group.name, fresh, group.max_blocks, None, now)
        self.fit(group, "group", group.name, need, group.quota, None, now)
        for name in usable:
            kind = self.types[name]
            storages = {other for other in self.types if self.types[other] == kind}
            limit = group.type_quotas.get(kind)
            if limit is None or group.used(storages) + need <= limit:
                return name
        kind = self.types[usable[0]]
        storages = {other for other in self.types if self.types[other] == kind}
        self.fit(group, "type", kind, need, group.type_quotas[kind], storages, now)
        return usable[0]

    def end_session(
        self, session: NaiveSession, written: list[bool], sums: bytes, now: int, delay_ms: int
    ) -> tuple[int, int]:
        instance = session.instance
        instance.sessions.remove(session)
        published = offset = 0
        for position, copy in enumerate(session.copies):
            width = 8 * copy.specs.bit_count()
            own = sums[offset : offset + width] if written[position] else b""
            offset += width if written[position] else 0
            if written[position] and position not in session.lost:
                copy.session, copy.sums = None, own
                published += 1
                continue
            if position not in session.lost:
                node = instance.nodes[session.keys[position]]
                node.copies.remove(copy)
                if not node.copies:
                    node.retained = None
            item = Doomed(copy.storage, copy.size, now + delay_ms, leaving=False)
            self.doom(instance.group, item, now)
        self.prune(instance)
        return published, len(session.copies) - published

    # removal

    def remove(self, instance: NaiveInstance, keys: list[bytes], now: int) -> int:
        self.settle(now)
        removed = 0
        for key in set(keys):
            node = instance.nodes.get(key)
            if node is not None and node.copies:
                removed += node.only_writing or node.expires_ms > now
                self.discard(instance, node, now)
        return removed
