"""What the limits promise, as properties of random sequences of commands (docs/limits.md names the
tests). The judge is arithmetic in fractions over what was sent and answered, not the bucket's own.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.testing.bucket_oracle import BucketOracle, Charge
from tests.testing.server_console import ServerConsole

MS = 1_000_000
SECOND = 1000 * MS

CAPACITIES = st.integers(1, 40)
COUNTS = st.integers(1, 30)
PERIODS_MS = st.sampled_from([1, 7, 1000, 60_000])
SPANS_MS = st.one_of(
    st.just(0),
    st.integers(0, 300_000).map(lambda thousandths: thousandths / 1000),
    st.integers(0, 500_000),
)
COSTS = st.integers(0, 45)


@cache
def shared(number: int) -> ServerConsole:
    """A server takes longer to make than most examples to run."""
    return ServerConsole()


def fresh(number: int = 0) -> ServerConsole:
    """A server without keys."""
    console = shared(number)
    console.ctx.db.observer = None
    console("FLUSHALL")
    return console


@dataclass(slots=True)
class Admitted:
    """A call that was let in: when, what it reserved, what it cost in the end."""

    at_ns: int
    reserved: int
    actual: int
    is_open: bool = True


@dataclass(slots=True)
class Gateway:
    """One client with one RATE; remembers what it was admitted."""

    console: ServerConsole
    limit: int
    count: int
    period_ms: int
    calls: dict[bytes, Admitted] = field(default_factory=dict)
    multiple: int = 1  # the same rate in other words

    def now_ns(self) -> int:
        return self.console.clock.monotonic_ns()

    def rate(self) -> tuple[object, ...]:
        return ("RATE", self.limit, self.count * self.multiple, self.period_ms * self.multiple)

    def acquire(self, cost: int, *options: object, key: str = "k") -> Any:
        words: Any = ("LB.ACQUIRE", 1, key, "LIMIT", *self.rate(), cost, *options)
        reply = self.console(*words)
        if reply[0] == 0 and reply[1] is not None and "SHADOW" not in options:
            self.calls.setdefault(reply[1], Admitted(self.now_ns(), cost, cost))
        return reply

    def settle(self, rid: bytes, actual: int) -> Any:
        reply = self.console("LB.SETTLE", rid, 1, "k", "ACTUAL", actual)
        if reply[0]:
            self.calls[rid].actual = actual
            self.calls[rid].is_open = False
        return reply

    def check_bound(self) -> None:
        """For all s < t: admitted in [s, t] cost at most capacity + rate * (t - s)."""
        calls = sorted(self.calls.values(), key=lambda call: call.at_ns)
        rate = Fraction(self.count, self.period_ms * MS)
        for first, start in enumerate(calls):
            total = 0
            for call in calls[first:]:
                total += call.actual
                assert total <= self.limit + rate * (call.at_ns - start.at_ns)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("acquire"), SPANS_MS, COSTS),
        st.tuples(st.just("brief"), SPANS_MS, COSTS),
        # an adversary's: all that fits; a part of the time to drain; the oldest call for nothing
        st.tuples(st.just("fill"), st.just(0), COSTS),
        st.tuples(st.just("drain"), st.just(0), st.integers(1, 8)),
        st.tuples(st.just("return"), st.just(0), COSTS),
        st.tuples(st.just("settle"), SPANS_MS, COSTS),
        st.tuples(st.just("cancel"), SPANS_MS, COSTS),
        st.tuples(st.just("extend"), SPANS_MS, COSTS),
        st.tuples(st.just("throttle"), SPANS_MS, COSTS),
        st.tuples(st.just("rename"), SPANS_MS, st.integers(1, 3)),
        st.tuples(st.just("step"), SPANS_MS, st.integers(-(10**9), 10**9)),
        st.tuples(st.just("sweep"), SPANS_MS, COSTS),
    ),
    max_size=40,
)


def play(gateway: Gateway, steps: list[tuple[str, float, int]], rids: Any) -> None:
    """Run the steps; a settled call costs at most what it reserved."""
    console = gateway.console
    for kind, span_ms, amount in steps:
        console.clock.advance(span_ms)
        known = list(gateway.calls)
        rid = rids.choice(known) if known else b"none"
        if kind == "acquire":
            gateway.acquire(amount)
        elif kind == "brief":
            gateway.acquire(amount, "TTL", 1 + amount)
        elif kind == "fill":
            gateway.acquire(gateway.acquire(0, "PEEK")[3][0][2])
        elif kind == "drain":
            console.clock.advance(gateway.limit * gateway.period_ms * amount / gateway.count / 8)
        elif kind == "return":
            opened = [rid for rid in known if gateway.calls[rid].is_open]
            if opened:
                gateway.settle(opened[0], 0)
        elif kind == "settle" and known:
            gateway.settle(rid, min(amount, gateway.calls[rid].reserved))
        elif kind == "cancel" and console("LB.CANCEL", rid, 1, "k")[0]:
            gateway.calls[rid].actual = 0
            gateway.calls[rid].is_open = False
        elif kind == "extend":
            console("LB.EXTEND", rid, 1 + amount, 1, "k")
        elif kind == "throttle" and gateway.period_ms % 1000 == 0:
            period_s = gateway.period_ms // 1000
            words = ("CL.THROTTLE", "k", gateway.limit - 1, gateway.count, period_s, amount)
            if console(*words)[0] == 0:
                number = len(gateway.calls)
                gateway.calls[b"cl-%d" % number] = Admitted(gateway.now_ns(), amount, amount)
        elif kind == "rename":
            gateway.multiple = amount
        elif kind == "step":
            console.clock.step_wall(amount)
        elif kind == "sweep":
            console.engine.expire_keys(console.clock.now_ms())


@settings(deadline=None, max_examples=50)
@given(CAPACITIES, COUNTS, PERIODS_MS, STEPS, st.randoms(use_true_random=False))
def test_p1_admitted_actual_cost_stays_within_capacity_and_rate(
    limit: int, count: int, period_ms: int, steps: list[tuple[str, float, int]], rids: Any
) -> None:
    gateway = Gateway(fresh(), limit, count, period_ms)
    play(gateway, steps, rids)
    gateway.check_bound()


@settings(deadline=None, max_examples=150)
@given(
    CAPACITIES,
    COUNTS,
    st.lists(
        st.one_of(
            st.tuples(st.just("fill"), st.just(0), st.just(0)),
            st.tuples(st.just("fill"), st.just(0), st.just(0)),
            st.tuples(st.just("drain"), st.just(0), st.integers(1, 8)),
            st.tuples(st.just("return"), st.just(0), st.just(0)),
        ),
        min_size=6,
        max_size=30,
    ),
    st.randoms(use_true_random=False),
)
def test_p1_holds_against_an_adversary_who_knows_when_to_give_back(
    limit: int, count: int, steps: list[tuple[str, float, int]], rids: Any
) -> None:
    gateway = Gateway(fresh(), limit, count, 1000)
    play(gateway, steps, rids)
    gateway.check_bound()


def test_p1_holds_against_refunds_of_what_has_leaked() -> None:
    """Capacity 100, 10 a second: a plain refund would admit 150 tokens in one instant."""
    gateway = Gateway(fresh(), 100, 10, 1000)
    first = gateway.acquire(100)[1]
    gateway.console.clock.advance(5000)
    assert gateway.acquire(50)[0] == 0
    assert gateway.settle(first, 0) == [1, [[50, 0, 50, 5000]]]
    assert gateway.acquire(100)[:3] == [1, None, 5000]
    assert gateway.acquire(50)[0] == 0
    gateway.check_bound()


@settings(deadline=None, max_examples=50)
@given(CAPACITIES, COUNTS, PERIODS_MS, STEPS, st.randoms(use_true_random=False), COSTS)
def test_p2_after_the_wait_that_was_told_the_same_call_fits_and_not_before(
    limit: int,
    count: int,
    period_ms: int,
    steps: list[tuple[str, float, int]],
    rids: Any,
    cost: int,
) -> None:
    gateway = Gateway(fresh(), limit, count, period_ms)
    play(gateway, steps, rids)
    wait_ms = gateway.acquire(cost, "PEEK")[2]
    if wait_ms == -2:
        assert cost > limit
    elif wait_ms >= 0:
        gateway.console.clock.advance(wait_ms - 1)
        assert gateway.acquire(cost, "PEEK")[0] == 1
        gateway.console.clock.advance(1)
        assert gateway.acquire(cost)[0] == 0


@settings(deadline=None, max_examples=50)
@given(CAPACITIES, COUNTS, st.integers(1, 90), st.lists(st.tuples(SPANS_MS, COSTS), max_size=30))
def test_p2_and_p7_throttle_tells_honest_seconds_and_is_the_oracle(
    limit: int, count: int, period_s: int, calls: list[tuple[float, int]]
) -> None:
    console = fresh()
    oracle = BucketOracle(limit, count, period_s * SECOND)
    for span_ms, cost in calls:
        console.clock.advance(span_ms)
        now_ns = console.clock.monotonic_ns()
        words = ("CL.THROTTLE", "k", limit - 1, count, period_s, cost)
        reply = console(*words)
        level = oracle.level(now_ns)
        if oracle.admits(cost, now_ns):
            oracle.charge(Charge(now_ns, Fraction(cost)))
            level += cost
            limited, retry_s = 0, -1
        elif cost > limit:
            limited, retry_s = 1, -1
        else:
            limited, retry_s = 1, oracle.wait(level + cost - limit, SECOND)
        reset_s = oracle.wait(level, SECOND)
        assert reply == [limited, limit, max(0, int((limit - level) // 1)), retry_s, reset_s]
        if retry_s > 0:
            console.clock.advance(1000 * (retry_s - 1))
            assert console("CL.THROTTLE", "k", limit - 1, count, period_s, 0)[2] < cost
            console.clock.advance(1000)
            assert console(*words)[0] == 0
            oracle.charge(Charge(console.clock.monotonic_ns(), Fraction(cost)))


@settings(deadline=None, max_examples=50)
@given(CAPACITIES, COUNTS, PERIODS_MS, STEPS, st.randoms(use_true_random=False))
def test_p3_what_remains_rises_only_by_draining_and_refunds(
    limit: int, count: int, period_ms: int, steps: list[tuple[str, float, int]], rids: Any
) -> None:
    gateway = Gateway(fresh(), limit, count, period_ms)
    per_ns = Fraction(count, period_ms * MS)
    remaining = limit
    for step in steps:
        before_ns = gateway.now_ns()
        open_before = {rid: call.reserved for rid, call in gateway.calls.items() if call.is_open}
        play(gateway, [step], rids)
        closed = [rid for rid in open_before if not gateway.calls[rid].is_open]
        back = sum(open_before[rid] for rid in closed)
        drained = per_ns * (gateway.now_ns() - before_ns)
        now_remaining = gateway.acquire(0, "PEEK")[3][0][2]
        assert 0 <= now_remaining <= min(limit, remaining + drained + back + 1)
        remaining = now_remaining


@settings(deadline=None, max_examples=50)
@given(
    CAPACITIES,
    COUNTS,
    PERIODS_MS,
    STEPS,
    st.randoms(use_true_random=False),
    st.integers(1, 45),
    st.integers(1, 3),
)
def test_p4_a_limited_call_leaves_every_key_as_it_is(
    limit: int,
    count: int,
    period_ms: int,
    steps: list[tuple[str, float, int]],
    rids: Any,
    cost: int,
    places: int,
) -> None:
    gateway = Gateway(fresh(), limit, count, period_ms)
    play(gateway, steps, rids)
    console = gateway.console
    console("LB.ACQUIRE 1 c LIMIT CONC 2 2")
    before = picture(console)  # looking expires a bucket that is due, which is an event
    events: list[object] = []
    console.ctx.db.observer = lambda *event: events.append(event)
    line: Any = ("LB.ACQUIRE", 3, "k", "c", "new", "LIMIT", *gateway.rate(), cost)
    reply = console(*line, "CONC", 2, places, "RATE", 5, 1, 1000, 1)
    assert reply[:2] == [1, None]
    assert picture(console) == before
    assert events == []


def picture(console: ServerConsole) -> dict[bytes, object]:
    now_ns = console.clock.monotonic_ns()
    found: dict[bytes, object] = {}
    database = console.ctx.db
    for key in list(database.keys()):
        entry: Any = database.lookup_write(key, console.clock.now_ms())
        if entry is not None and not entry.value.is_idle(now_ns):
            found[key] = (entry.value.dump(now_ns, 0), entry.expire_at_ms)
    return found


@settings(deadline=None, max_examples=50)
@given(CAPACITIES, COUNTS, PERIODS_MS, STEPS, st.randoms(use_true_random=False), COSTS)
def test_p5_a_repeated_id_and_a_repeated_settling_have_no_effect(
    limit: int,
    count: int,
    period_ms: int,
    steps: list[tuple[str, float, int]],
    rids: Any,
    cost: int,
) -> None:
    gateway = Gateway(fresh(), limit, count, period_ms)
    play(gateway, steps, rids)
    console = gateway.console
    words: Any = (
        "LB.ACQUIRE",
        2,
        "k",
        "c",
        "LIMIT",
        *gateway.rate(),
        cost,
        "CONC",
        2,
        "ID",
        "mine",
    )
    reply = console(*words)
    if reply[0] == 0:
        for span_ms in (0, 5000):
            console.clock.advance(span_ms)
            before = picture(console)
            assert console(*words) == reply
            assert picture(console) == before
        settling = ("LB.SETTLE", "mine", 2, "k", "c", "ACTUAL", cost // 2, 0)
        assert console(*settling)[0] == 1
        before = picture(console)
        assert console(*settling)[0] == 0
        assert picture(console) == before


@settings(deadline=None, max_examples=50)
@given(
    CAPACITIES,
    COUNTS,
    PERIODS_MS,
    st.lists(
        st.tuples(SPANS_MS, COSTS, st.integers(-(10**10), 10**10), st.booleans()), max_size=25
    ),
)
def test_p6_steps_of_the_wall_clock_change_no_answer(
    limit: int,
    count: int,
    period_ms: int,
    calls: list[tuple[float, int, int, bool]],
) -> None:
    """Nor does any idle time give more than the capacity: P1 holds over it."""
    steady, stepped = fresh(), fresh(1)
    for number, (span_ms, cost, step_ms, sweep) in enumerate(calls):
        stepped.clock.step_wall(step_ms)
        answers = []
        for console in (steady, stepped):
            console.clock.advance(span_ms)
            if sweep:
                console.engine.expire_keys(console.clock.now_ms())
            rate = ("RATE", limit, count, period_ms, cost)
            call = ("LIMIT", *rate, "CONC", 3, "ID", number, "TTL", 1 + 100 * cost)
            answers.append(
                [
                    console("LB.ACQUIRE", 2, "k", "c", *call),
                    console("LB.SETTLE", number - 3, 2, "k", "c", "ACTUAL", cost // 2, 0),
                    console("CL.THROTTLE", "t", limit, count, 60, cost),
                    [console("PTTL", key) for key in "kct"],
                    console("EXISTS k c t"),
                ]
            )
        assert answers[0] == answers[1]


@settings(deadline=None, max_examples=50)
@given(
    st.integers(10, 200),
    st.integers(1, 999),
    st.lists(st.tuples(SPANS_MS, COSTS, st.booleans()), max_size=30),
)
def test_p9_callers_with_a_share_leave_the_rest_of_the_capacity_free(
    limit: int, share: int, calls: list[tuple[float, int, bool]]
) -> None:
    gateway = Gateway(fresh(), limit, 3, 1000)
    free = limit * (1000 - share) // 1000
    for span_ms, cost, settle in calls:
        gateway.console.clock.advance(span_ms)
        rid = gateway.acquire(cost, "SHARE", share)[1]
        if settle and rid is not None:
            gateway.settle(rid, cost // 2)
        assert gateway.acquire(free, "PEEK")[0] == 0
    assert gateway.acquire(free)[0] == 0


@settings(deadline=None, max_examples=50)
@given(CAPACITIES, COUNTS, PERIODS_MS, STEPS, st.randoms(use_true_random=False))
def test_costs_over_the_reservation_are_all_that_exceeds_the_bound(
    limit: int, count: int, period_ms: int, steps: list[tuple[str, float, int]], rids: Any
) -> None:
    """P1 where calls cost more than they reserved: the bound grows by what they cost over."""
    gateway = Gateway(fresh(), limit, count, period_ms)
    over = 0
    for kind, span_ms, number in steps:
        amount = number % 46
        gateway.console.clock.advance(span_ms)
        if kind != "settle" or not gateway.calls:
            gateway.acquire(amount)
            continue
        rid = rids.choice(list(gateway.calls))
        call = gateway.calls[rid]
        if gateway.settle(rid, amount)[0]:
            over += max(0, amount - call.reserved)
    calls = sorted(gateway.calls.values(), key=lambda call: call.at_ns)
    rate = Fraction(count, period_ms * MS)
    for first, start in enumerate(calls):
        total = 0
        for call in calls[first:]:
            total += call.actual
            assert total <= limit + over + rate * (call.at_ns - start.at_ns)
