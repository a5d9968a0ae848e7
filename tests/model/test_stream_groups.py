"""Consumer groups as clients drive them, beside a small model.

At any moment every entry of the stream is, for a group with a policy, in exactly one place: not
delivered yet, pending with one owner, released and nobody's, acknowledged, or dead.
"""

from dataclasses import dataclass
from functools import cache

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.testing.console import Console, build_engine

from hotplate.clock import ManualClock
from hotplate.engine.engine import Engine

VISIBILITY_MS = 1000
DELIVERIES_MAX = 3
_CONSUMERS = st.sampled_from([b"alice", b"bob", b"carol"])
_IDS = st.lists(st.integers(1, 25), min_size=1, max_size=4, unique=True)


@cache
def _engine() -> tuple[ManualClock, Engine]:
    """One for all examples: making one takes longer than most of them."""
    clock = ManualClock()
    return clock, build_engine(clock)


@dataclass(slots=True)
class Pending:
    """One entry that was delivered and is not acknowledged."""

    owner: bytes  # empty: released
    at_ms: int
    deliveries: int


class GroupMachine(RuleBasedStateMachine):
    """Entries are `1-0`, `2-0` ... in the stream `s`; the group is `g`, dead letters go to `d`."""

    def __init__(self) -> None:
        super().__init__()
        self.clock, engine = _engine()
        self.console = Console(engine)
        self.console("FLUSHALL")
        self.added = 0
        self.delivered = 0  # ids up to here
        self.pending: dict[int, Pending] = {}
        self.acknowledged: set[int] = set()
        self.dead: list[int] = []
        self.has_policy = False
        self.console("XGROUP CREATE s g 0 MKSTREAM")

    @property
    def now_ms(self) -> int:
        return self.clock.now_ms()

    @initialize(has_policy=st.booleans())
    def set_policy(self, has_policy: bool) -> None:
        self.has_policy = has_policy
        if has_policy:
            limit = f"VISIBILITY {VISIBILITY_MS} MAXDELIVER {DELIVERIES_MAX} DEAD d"
            assert self.console(f"XGROUP POLICY s g {limit}") == b"OK"

    @rule(count=st.integers(1, 5))
    def add(self, count: int) -> None:
        for _ in range(count):
            self.added += 1
            self.console("XADD", "s", f"{self.added}-0", "n", self.added)

    @rule(span_ms=st.sampled_from([1, 400, 999, 1000, 5000]))
    def wait(self, span_ms: int) -> None:
        self.clock.advance(span_ms)

    @rule()
    def sweep(self) -> None:
        self.console.engine.tend_streams(self.now_ms)
        self._expire()

    @rule(consumer=_CONSUMERS, count=st.integers(1, 4), claim_ms=st.sampled_from([None, 0, 500]))
    def read(self, consumer: bytes, count: int, claim_ms: int | None) -> None:
        self._expire()
        words = [b"XREADGROUP", b"GROUP", b"g", consumer, b"COUNT", b"%d" % count]
        if claim_ms is not None:
            words += [b"CLAIM", b"%d" % claim_ms]
        reply = self.console(*words, b"STREAMS", b"s", b">")
        got = [int(row[0].split(b"-")[0]) for row in reply[0][1]] if reply else []
        again: list[int] = []
        if self.has_policy or claim_ms is not None:
            again += [entry for entry, it in self.pending.items() if not it.owner]
        if claim_ms is not None:
            idle = [
                (it.at_ms, entry)
                for entry, it in self.pending.items()
                if it.owner and self.now_ms - it.at_ms >= claim_ms
            ]
            again += [entry for _, entry in sorted(idle)]
        fresh = list(range(self.delivered + 1, self.added + 1))
        # among equally idle entries any order is right
        assert sorted(got) == sorted(got[:count])
        assert len(got) == min(count, len(again) + len(fresh))
        for entry in got:
            assert entry in (again if entry <= self.delivered else fresh)
        assert [e for e in got if e > self.delivered] == fresh[: max(count - len(again), 0)]
        for entry in got:
            before = self.pending[entry].deliveries if entry in self.pending else 0
            self.pending[entry] = Pending(consumer, self.now_ms, min(before + 1, 2**63 - 1))
        self.delivered = max([self.delivered, *got])

    @rule(ids=_IDS)
    def acknowledge(self, ids: list[int]) -> None:
        known = [entry for entry in ids if entry in self.pending]
        assert self.console("XACK", "s", "g", *[f"{entry}-0" for entry in ids]) == len(known)
        for entry in known:
            del self.pending[entry]
            self.acknowledged.add(entry)

    @rule(ids=_IDS, mode=st.sampled_from([b"SILENT", b"FAIL", b"FATAL"]))
    def give_back(self, ids: list[int], mode: bytes) -> None:
        known = [entry for entry in ids if entry in self.pending]
        texts = [f"{entry}-0" for entry in ids]
        assert self.console("XNACK", "s", "g", mode, "IDS", len(ids), *texts) == len(known)
        for entry in known:
            it = self.pending[entry]
            if mode == b"SILENT":
                it.deliveries = max(it.deliveries - 1, 0)
            elif mode == b"FATAL":
                it.deliveries = 2**63 - 1
            it.owner, it.at_ms = b"", 0
            if self.has_policy and mode != b"SILENT" and it.deliveries >= DELIVERIES_MAX:
                self._bury(entry)
        if known:
            self._expire()  # the server looks at all of the group then

    @rule(ids=_IDS, consumer=_CONSUMERS, idle_ms=st.sampled_from([0, 0, 500]))
    def claim(self, ids: list[int], consumer: bytes, idle_ms: int) -> None:
        texts = [f"{entry}-0" for entry in ids]
        got = self.console("XCLAIM", "s", "g", consumer, idle_ms, *texts)
        expected = [
            entry
            for entry in ids
            if entry in self.pending
            and (
                not self.pending[entry].owner or self.now_ms - self.pending[entry].at_ms >= idle_ms
            )
        ]
        assert [row[0] for row in got] == [b"%d-0" % entry for entry in expected]
        for entry in expected:
            deliveries = min(self.pending[entry].deliveries + 1, 2**63 - 1)
            self.pending[entry] = Pending(consumer, self.now_ms, deliveries)

    @rule(
        start=st.integers(0, 25),
        consumer=_CONSUMERS,
        idle_ms=st.sampled_from([0, 500]),
        count=st.integers(1, 4),
    )
    def claim_what_is_idle(self, start: int, consumer: bytes, idle_ms: int, count: int) -> None:
        self._expire()
        words = ("XAUTOCLAIM", "s", "g", consumer, idle_ms, f"{start}-0", "COUNT", count, "JUSTID")
        _, got, deleted = self.console(*words)
        idle = [
            entry
            for entry, it in sorted(self.pending.items())
            if entry >= start and (not it.owner or self.now_ms - it.at_ms >= idle_ms)
        ]
        assert deleted == []
        assert [int(text.split(b"-")[0]) for text in got] == idle[:count]
        for entry in idle[:count]:  # JUSTID counts no delivery
            deliveries = self.pending[entry].deliveries
            self.pending[entry] = Pending(consumer, self.now_ms, deliveries)

    @rule(ids=_IDS)
    def acknowledge_and_delete(self, ids: list[int]) -> None:
        texts = [f"{entry}-0" for entry in ids]
        outcomes = self.console("XACKDEL", "s", "g", "KEEPREF", "IDS", len(ids), *texts)
        assert outcomes == [1 if entry in self.pending else -1 for entry in ids]
        for entry in ids:
            if self.pending.pop(entry, None) is not None:
                self.acknowledged.add(entry)
                assert self.console("XRANGE", "s", f"{entry}-0", f"{entry}-0") == []

    @rule(consumer=_CONSUMERS)
    def remove_consumer(self, consumer: bytes) -> None:
        # a consumer takes what is pending with it along, as in Redis: that counts as acknowledged
        mine = [entry for entry, it in self.pending.items() if it.owner == consumer]
        assert self.console("XGROUP", "DELCONSUMER", "s", "g", consumer) == len(mine)
        for entry in mine:
            del self.pending[entry]
            self.acknowledged.add(entry)

    def _expire(self) -> None:
        if not self.has_policy:
            return
        due = sorted(
            (it.at_ms, entry)
            for entry, it in self.pending.items()
            if it.owner and self.now_ms - it.at_ms >= VISIBILITY_MS
        )
        for _, entry in due:
            it = self.pending[entry]
            it.owner, it.at_ms = b"", 0
            if it.deliveries >= DELIVERIES_MAX:
                self._bury(entry)

    def _bury(self, entry: int) -> None:
        del self.pending[entry]
        self.dead.append(entry)

    @invariant()
    def every_entry_is_in_one_place(self) -> None:
        rows = self.console("XPENDING s g - + 1000")
        shown = {
            int(entry_id.split(b"-")[0]): (owner, deliveries)
            for entry_id, owner, _, deliveries in rows
        }
        assert len(shown) == len(rows)
        assert shown == {entry: (it.owner, it.deliveries) for entry, it in self.pending.items()}
        letters = [
            dict(zip(fields[::2], fields[1::2], strict=True))
            for _, fields in self.console("XRANGE d - +")
        ]
        dead = [int(letter[b"_id"].split(b"-")[0]) for letter in letters]
        assert sorted(dead) == sorted(self.dead)
        places = [*range(self.delivered + 1, self.added + 1)]
        places += [*self.pending, *self.acknowledged, *self.dead]
        assert sorted(places) == list(range(1, self.added + 1))

    @invariant()
    def consumers_and_the_group_agree(self) -> None:
        count, _, _, owners = self.console("XPENDING s g")
        owned: dict[bytes, int] = {}
        for it in self.pending.values():
            if it.owner:
                owned[it.owner] = owned.get(it.owner, 0) + 1
        assert count == len(self.pending)
        assert {name: int(number) for name, number in owners or []} == owned
        for name, number in owned.items():
            mine = self.console("XPENDING", "s", "g", "-", "+", "1000", name)
            assert len(mine) == number


GroupMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestGroups = GroupMachine.TestCase
