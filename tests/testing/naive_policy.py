"""Reclaim policies as their descriptions read, over nodes that know every access.

Each picks one of the leaves it is given. `rank` orders blocks that a policy holds for equal.
"""

from collections.abc import Callable

from tests.testing.naive_model import NaiveGroup, NaiveInstance, Node

from hotplate.kvc.policy.ghosts import GENERATIONS
from hotplate.kvc.policy.s3fifo import FINDS_MAX, PROMOTED_FROM, SMALL_SHARE
from hotplate.kvc.victims import WHOLE

Rank = Callable[[NaiveInstance, bytes], int]


def begin(instance: NaiveInstance) -> None:
    """Evictions begin: the capacity is what the instance holds now."""
    instance.capacity = instance.blocks


def pick(instance: NaiveInstance, leaves: list[Node], stamp: int, rank: Rank) -> Node:
    """The leaf that goes next."""
    policy = instance.group.policy

    def first(nodes: list[Node], key: Callable[[Node], object]) -> Node | None:
        ranked = [(key(node), rank(instance, node.key), node) for node in nodes]
        return min(ranked, key=lambda item: item[:2])[2] if ranked else None

    if policy == "s3fifo":
        return _pick_s3fifo(instance, leaves, stamp, rank)
    if policy == "hslru":
        once = first([n for n in leaves if not n.proven and not n.hits], lambda n: n.stamp)
        again = first([n for n in leaves if n.proven or n.hits], lambda n: n.stamp)
        if once is None or again is None:
            found = once or again
        else:
            found = again if again.tick + instance.capacity < once.tick else once
    elif policy == "lru":
        found = first(leaves, lambda n: n.stamp)
    elif policy == "fifo":
        found = first(leaves, lambda n: n.created_stamp)
    elif policy == "lfu":
        found = first(leaves, lambda n: (n.hits, n.stamp))
    else:
        assert policy == "ttl"
        found = first(leaves, lambda n: (n.expires_ms, n.stamp))
    assert found is not None
    return found


def _pick_s3fifo(instance: NaiveInstance, leaves: list[Node], stamp: int, rank: Rank) -> Node:
    def place(node: Node) -> tuple[tuple[int, int], int]:
        return node.entered or (node.created_stamp, 0), rank(instance, node.key)

    while True:
        small = sorted((n for n in leaves if not n.proven), key=place)
        main = sorted((n for n in leaves if n.proven), key=place)
        on_trial = sum(bool(n.copies) and not n.proven for n in instance.nodes.values())
        wanted = small if on_trial > instance.capacity // SMALL_SHARE else main
        node = (wanted or small or main)[0]
        finds = node.hits - node.hits_at_entry
        if not node.proven:
            if finds < PROMOTED_FROM:
                return node
            node.hits_at_entry = node.hits
        else:
            finds = min(finds, FINDS_MAX)
            if not finds:
                return node
            node.hits_at_entry = node.hits - (finds - 1)
        node.proven = True
        if instance.entries[0] != stamp:
            instance.entries = (stamp, 0)
        instance.entries = (stamp, instance.entries[1] + 1)
        node.entered = instance.entries


def evicted(instance: NaiveInstance, node: Node) -> None:
    """A leaf goes: policies that remember write its key down."""
    policy = instance.group.policy
    if policy == "hslru" or (policy == "s3fifo" and not node.proven):
        ghosts, newest = instance.ghosts, instance.ghosts[-1]
        if node.key not in newest:
            newest.append(node.key)
        while sum(map(len, ghosts)) > instance.capacity:
            del ghosts[0]
        if len(newest) * GENERATIONS >= instance.capacity or not ghosts:
            ghosts.append([])


def stored(instance: NaiveInstance, nodes: list[Node]) -> None:
    """Blocks of one call are new, or new again; of a chain only the first count as remembered."""
    for node in nodes:
        node.proven, node.entered, node.hits_at_entry = False, None, 0
    for node in nodes:
        known = [names for names in instance.ghosts if node.key in names]
        if known:
            known[0].remove(node.key)
            node.proven = True
        elif instance.chained:
            break


def changed(instance: NaiveInstance) -> None:
    """The group has another policy: what stands at the blocks stays."""
    instance.ghosts = [[]]
    for node in instance.nodes.values():
        node.entered, node.hits_at_entry = None, 0


def emptied(instance: NaiveInstance) -> None:
    """TRIM ALL: nothing is remembered."""
    instance.ghosts = [[]]
    instance.clock, instance.entries = 0, (-1, 0)


class Turns:
    """Which instance of a group gives the next victim: the one that has given least of its use."""

    def __init__(self, group: NaiveGroup, storages: set[str] | None, count_blocks: bool) -> None:
        self.group = group
        self.steps: dict[str, int] = {}
        self.given: dict[str, int] = {}
        for instance in group.instances:
            if count_blocks:
                used, unit = instance.blocks, 1
            else:
                used, unit = instance.serving_bytes(storages), sum(instance.sizes)
            if used:
                self.steps[instance.name] = max(1, unit * WHOLE // used)
                self.given[instance.name] = max(
                    group.given.get(instance.name, 0), group.given_floor
                )

    def choose(self, instances: list[NaiveInstance]) -> NaiveInstance:
        """One of the instances that have a leaf to give."""
        group, order = self.group, self.group.instances

        def turn(instance: NaiveInstance) -> tuple[int, int, int]:
            name = instance.name
            return self.given[name], self.steps[name], order.index(instance)

        chosen = min(instances, key=turn)
        group.given_floor = max(group.given_floor, self.given[chosen.name])
        self.given[chosen.name] += self.steps[chosen.name]
        group.given[chosen.name] = self.given[chosen.name]
        return chosen
