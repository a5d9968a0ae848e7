"""What STATS says of lookups sums up exactly, whatever walk of calls led there."""

from typing import Any

import pytest
from tests.model.test_kvc_walk import Walk

from hotplate.kvc.answers import Match
from hotplate.kvc.keys import Keys

MISSES = ("absent", "writing", "expired", "unavailable", "incomplete", "behind")


class Tally:
    """Counts the answers of a cache's lookups as a client sees them."""

    def __init__(self, walk: Walk) -> None:
        self.requested = 0
        self.hits: dict[str, int] = {}
        self._walk = walk
        self._match = walk.machine.cache.match
        walk.machine.cache.match = self.match  # type: ignore[method-assign]

    def match(self, instance: Any, keys: Keys, **options: Any) -> Match:
        """The lookup, counted."""
        answer = self._match(instance, keys, **options)
        self.requested += len(keys)
        answered: dict[int, int] = {}
        for span in answer.spans:
            for position in range(span.first, span.first + span.count):
                answered.setdefault(position, span.storage)
        for number in answered.values():
            storage = self._walk.machine.catalog.storage_by_number[number]
            assert storage is not None
            self.hits[storage.type] = self.hits.get(storage.type, 0) + 1
        return answer


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_hits_by_type_and_misses_by_reason_sum_to_the_requested_blocks(seed: int) -> None:
    walk = Walk(seed)
    tally = Tally(walk)
    for step in range(3_000):
        walk.step()
        if step % 20:
            continue
        stats = walk.machine.cache.stats()
        assert stats["requested"] == tally.requested
        assert stats["hits_by_type"] == tally.hits
        assert stats["hits"] == sum(tally.hits.values())
        assert stats["misses"] == sum(stats[f"misses_{reason}"] for reason in MISSES)
        assert stats["requested"] == stats["hits"] + stats["misses"]
    never = [reason for reason in MISSES if not stats[f"misses_{reason}"]]
    assert set(never) <= {"expired"}, "it takes luck to look up what has just expired"
    assert set(tally.hits) == {"memory", "ssd"}
