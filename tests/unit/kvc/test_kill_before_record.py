"""A server that is killed just before its journal hears of a call: nothing promised is missing.

Slots are given back in the midst of calls. If that came before the record, a restart would find
blocks and sessions of before the call without their bytes.
"""

from collections.abc import Callable
from typing import Any

import pytest
from tests.testing.kept_store import opener
from tests.testing.kvc_cache import CacheUser, keys
from tests.testing.tiers import TierUser

from hotplate.kvc import write_session as outcomes
from hotplate.kvc.answers import Mode
from hotplate.kvc.cache import Cache
from hotplate.kvc.catalog import Catalog
from hotplate.kvc.journal import Journal, Operation, everything
from hotplate.kvc.keys import Keys
from hotplate.kvc.restore import Restored, Restorer
from hotplate.wire.journal import pack_operations, unpack_operations


class Killed(BaseException):
    """The process ends here."""


class Kept:
    """The journal of a user's cache. `is_armed`: the next record is not written any more."""

    def __init__(self, user: CacheUser) -> None:
        self.user = user
        self.records: list[bytes] = []
        self.is_armed = False
        for operations in everything(user.cache):
            self.write(operations)
        user.cache.keep_journal(Journal(self.write))

    def write(self, operations: list[Operation]) -> None:
        if self.is_armed:
            raise Killed
        self.records.append(pack_operations(operations))

    def killed_in(self, call: Callable[[], Any]) -> tuple[Cache, Restored]:
        """What the next server finds if this one is killed before the call's first record."""
        self.is_armed = True
        with pytest.raises(Killed):
            call()
        cache = Cache(Catalog(), index_bytes_max=1 << 40, write_grace_ms=2_500)
        restorer = Restorer(cache, opener(self.user.stores))
        for record in self.records:
            for operation in unpack_operations(record):
                restorer.apply(operation)
        return cache, restorer.settle(self.user.now)

    def matched(self, cache: Cache, wanted: Keys) -> int:
        """How many of the keys the next server has."""
        instance = cache.catalog.instances[self.user.instance.id]
        return cache.match(instance, wanted, mode=Mode.EXACT, now_ms=self.user.now).matched


CHAIN = keys("a", "b", "c", "d", "e", "f")


@pytest.mark.parametrize(
    ("outcome", "named"),
    [
        (outcomes.prefix(0), 0),
        (outcomes.prefix(3), 3),
        (outcomes.mask(b"010101"), 3),
        (outcomes.mask(b"100110"), 3),
    ],
)
def test_a_session_goes_on_if_its_finish_was_not_recorded(
    outcome: outcomes.Outcome, named: int
) -> None:
    user = CacheUser()
    kept = Kept(user)
    session = user.start(CHAIN).session_id
    cache, restored = kept.killed_in(lambda: user.finish(session, outcome, b"\1" * 8 * named))
    assert (restored.sessions, restored.lost_sessions) == (1, 0)
    again = cache.catalog.instances[user.instance.id]
    assert session is not None
    assert cache.finish(again, session, outcome, b"\1" * 8 * named, user.now) == (named, 6 - named)


@pytest.mark.parametrize("chained", [True, False])
def test_blocks_are_removed_all_or_none(chained: bool) -> None:
    user = CacheUser(chained=chained)
    kept = Kept(user)
    user.store(CHAIN)
    gone = keys("b", "d", "e")
    cache, restored = kept.killed_in(lambda: user.cache.remove(user.instance, gone, user.now))
    assert restored.lost_blocks == 0
    assert kept.matched(cache, CHAIN) == 6


def test_a_block_that_moves_is_where_it_was_or_where_it_is() -> None:
    user = TierUser()  # without a grace
    kept = Kept(user)
    wanted = keys(*(f"b{number}" for number in range(8)))
    user.put(wanted)
    user.cache.tick(user.now)
    move = user.next_move()
    assert move is not None
    cache, restored = kept.killed_in(lambda: user.copy(move))
    assert restored.lost_blocks == 0
    assert kept.matched(cache, wanted) == 8


def test_nothing_is_given_back_while_the_journal_cannot_be_written() -> None:
    user = CacheUser()
    kept = Kept(user)
    user.store(CHAIN)
    journal = user.cache.holdings.journal
    assert journal is not None
    journal.trouble = "No space left on device"
    used = user.used()
    user.cache.remove(user.instance, CHAIN, user.now)
    user.now += 60_000
    user.tick()
    assert kept.matched(user.cache, CHAIN) == 0
    assert user.used() == used
    journal.trouble = None
    user.now += 60_000
    user.tick()
    assert user.used() == 0
