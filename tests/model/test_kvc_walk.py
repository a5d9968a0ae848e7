"""Long random walks over the calls of the cache's model: deeper states than examples reach."""

from random import Random

import pytest
from tests.model.test_kvc_cache import TYPES, CacheMachine

from hotplate.kvc.policy import POLICIES

SPANS_MS = (1, 300, 900, 1_500, 12_000, 70_000)


class Walk:
    """A long random walk over the same calls: deeper states than short examples reach."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.machine = CacheMachine()
        for group in (0, 1):
            self.machine.change_policy(group, POLICIES[(seed + group) % len(POLICIES)])

    def shaped(self) -> tuple[tuple[int, ...], int, bool]:
        random = self.random
        path = tuple(random.choice((0, 0, 0, 0, 0, 1, 2)) for _ in range(random.randint(0, 8)))
        return path, random.randint(0, 7), random.random() < 0.3

    def step(self) -> None:
        random, machine = self.random, self.machine
        which, pick = random.randint(0, 2), random.randint(0, 99)
        dice = random.random()
        if dice < 0.35:
            machine.start_write(
                which=which,
                shaped=self.shaped(),
                masks=random.choice((None, None, random.choices((1, 2, 3), k=9))),
                ttl_ms=random.choice((None, None, None, 500, 5_000, 60_000)),
                priority=random.choice((50, 50, 50, 10, 90)),
                timeout_ms=random.choice((1_000, 30_000)),
                twice=random.choice((99, 99, 99, random.randint(0, 6))),
                at_once=random.random() < 0.5,
            )
        elif dice < 0.45 and machine.sessions:
            kinds = ("all", "all", "none", "prefix", "mask", "full")
            machine.finish(pick, random.choice(kinds), random.randint(0, 511))
        elif dice < 0.75:
            machine.match(
                which=which,
                shaped=self.shaped(),
                mode=random.choice(("PREFIX", "PREFIX", "EXACT", "WINDOW")),
                window=random.randint(1, 3),
                specs=random.choice((0, 0, 1, 2, 3)),
                touch=random.random() < 0.8,
                lease_ms=random.choice((None, None, 2_000)),
                shuffle=random.random() < 0.2,
            )
        elif dice < 0.85:
            machine.advance(random.choices(SPANS_MS, (5, 5, 5, 5, 1, 0.5))[0], pick < 40)
        else:
            self.rare_step(which, pick)

    def rare_step(self, which: int, pick: int) -> None:
        random, machine = self.random, self.machine
        dice = random.random()
        if dice < 0.25:
            machine.remove(which, self.shaped())
        elif dice < 0.29:
            priority = random.choice((100, 90, 53, 50, 10))
            machine.retain(which, self.shaped(), priority, random.choice((1_000, 30_000)))
        elif dice < 0.32:
            machine.reclaim(pick % 2, random.choice((None, 1, 40, 200)))
        elif dice < 0.35:
            machine.change_policy(pick % 2, random.choice(POLICIES))
        elif dice < 0.45:
            kind = random.choice(("all", "created", "idle"))
            machine.trim(which, kind, random.choice((0, 700, 2_500, 20_000)))
        elif dice < 0.60:
            name = random.choice(sorted(TYPES))
            if machine.naive.available[name] is False or random.random() < 0.3:
                machine.toggle_storage(name)
        elif dice < 0.70 and machine.closed:
            machine.finish_again(pick)
        elif machine.leases and dice < 0.85:
            machine.change_lease(pick, random.choice((None, 1_000, 5_000)))
        elif machine.leases:
            machine.read_removed(pick)

    def check(self) -> None:
        self.machine.counts_the_same_bytes()
        self.machine.stores_the_same_blocks()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_a_long_walk_keeps_both_caches_equal(seed: int) -> None:
    walk = Walk(seed)
    for _ in range(2_000):
        walk.step()
        walk.check()
    counters = walk.machine.cache.stats()
    assert counters["evictions"] > 20, "the walk never came near a limit"
    assert counters["expired"] > 0
    assert counters["hits"] > 100
