"""The replay finds what the cache itself finds, and what textbook policies find."""

from collections import OrderedDict

import pytest
from tests.testing.kvc_cache import CacheUser
from tests.testing.traces import conversations

from hotplate.kvc.keys import Keys
from hotplate.kvc.policy import POLICIES
from hotplate.optimizer.simulate import Ratios, bare_lru_seconds, ratios, simulate, unlimited
from hotplate.optimizer.trace import Request, Trace, numbered


def found_by_the_cache(trace: Trace, policy: str, capacity: int) -> list[int]:
    """How many leading blocks each request finds in a real cache."""
    user = CacheUser(
        max_blocks=capacity,
        policy=policy,
        high_watermark=1.0,
        low_watermark=1.0,
        capacity_bytes=1 << 40,
    )
    found = []
    for number, request in enumerate(trace.requests):
        names = [block.to_bytes(8, "big") for block in request.blocks]
        found.append(user.matched(Keys.listed(names)))
        stored = names[:capacity]
        if found[-1] < len(stored):
            user.store(Keys.listed(stored))
        user.now += number % 2
    return found


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("seed", "capacity"), [(1, 12), (2, 40), (3, 150)])
def test_the_replay_finds_what_the_cache_finds(policy: str, seed: int, capacity: int) -> None:
    trace = conversations(seed, 400)
    outcome = simulate(trace, policy, capacity)
    assert outcome.matched == found_by_the_cache(trace, policy, capacity)
    assert outcome.matched != unlimited(trace), "the cache was never full"


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", range(10, 13))
def test_it_does_so_on_many_traces(policy: str, seed: int) -> None:
    trace = conversations(seed, 700)
    for capacity in (8, 60):
        matched = simulate(trace, policy, capacity).matched
        assert matched == found_by_the_cache(trace, policy, capacity)


def test_leaf_lru_is_lru_over_blocks_that_are_used_last_block_first() -> None:
    trace = conversations(4, 3000)
    for capacity in (50, 200):
        held: OrderedDict[int, None] = OrderedDict()
        found = []
        for request in trace.requests:
            matched = 0
            while matched < len(request.blocks) and request.blocks[matched] in held:
                matched += 1
            found.append(matched)
            for block in reversed(request.blocks):
                held[block] = None
                held.move_to_end(block)
            while len(held) > capacity:
                held.popitem(last=False)
        assert simulate(trace, "lru", capacity).matched == found


def head_start_lru(trace: Trace, capacity: int) -> int:
    """Blocks found by two lists and a list of ghosts, every access written to every block."""
    once: OrderedDict[int, int] = OrderedDict()
    again: OrderedDict[int, int] = OrderedDict()
    ghosts: OrderedDict[int, None] = OrderedDict()
    tick = hits = 0
    for request in trace.requests:
        for block in request.blocks:
            if block not in once and block not in again:
                break
            hits += 1
        for block in reversed(request.blocks):
            tick += 1
            if block in again or once.pop(block, None) is not None:
                again[block] = tick
                again.move_to_end(block)
                continue
            if block in ghosts:
                del ghosts[block]
                again[block] = tick
            else:
                once[block] = tick
            if len(once) + len(again) > capacity:
                first = next(iter(once.values()), 1 << 60)
                second = next(iter(again.values()), 1 << 60) + capacity
                gone = (once if first <= second else again).popitem(last=False)[0]
                ghosts[gone] = None
                if len(ghosts) > capacity:
                    ghosts.popitem(last=False)
    return hits


@pytest.mark.slow
def test_hslru_finds_as_much_as_two_lists_with_every_access_written_down() -> None:
    trace = conversations(5, 3000)
    for capacity in (100, 300):
        textbook = head_start_lru(trace, capacity) / trace.accesses
        ours = ratios(trace, simulate(trace, "hslru", capacity).matched).block
        assert abs(ours - textbook) < 0.004


def test_more_room_never_finds_less_under_lru() -> None:
    trace = conversations(6, 800)
    found = [
        sum(simulate(trace, "lru", capacity).matched) for capacity in (1, 5, 20, 80, 320, 9999)
    ]
    assert found == sorted(found)
    assert found[-1] == sum(unlimited(trace))


def test_ratios_weigh_by_blocks_by_tokens_and_by_request() -> None:
    requests = [Request(40, [1, 2, 3]), Request(0, []), Request(16, [1])]
    trace = numbered(requests, 16)
    matched = simulate(trace, "lru", 10).matched
    assert matched == [0, 0, 1]
    assert ratios(trace, matched) == Ratios(block=1 / 4, token=16 / 56, request=1 / 2)
    assert ratios(trace, matched, 2) == Ratios(1.0, 1.0, 1.0)
    assert ratios(trace, matched, 3) == Ratios(0.0, 0.0, 0.0)


def test_a_part_of_a_block_counts_as_the_tokens_it_has() -> None:
    trace = numbered([Request(20, [1, 2]), Request(20, [1, 2])], 16)
    assert ratios(trace, [0, 2], 1).token == 1.0


def test_a_request_longer_than_the_cache_stores_what_fits() -> None:
    trace = numbered([Request(96, [1, 2, 3, 4, 5, 6])] * 3, 16)
    for policy in POLICIES:
        assert simulate(trace, policy, 4).matched == [0, 4, 4]


def test_the_bare_lru_is_timed() -> None:
    assert bare_lru_seconds(conversations(7, 100), 10) > 0
