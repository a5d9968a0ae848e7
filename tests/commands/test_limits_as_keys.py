"""Buckets and leases as values of keys: expiry, copies, transactions, figures."""

import pytest
from tests.testing.limits_console import info, listen, value_at
from tests.testing.server_console import ServerConsole

from hotplate.keyspace.bucket import Bucket
from hotplate.keyspace.bucket_leases import Leases


@pytest.fixture(params=[2, 3])
def console(request: pytest.FixtureRequest) -> ServerConsole:
    return ServerConsole(resp=request.param)


def test_types_and_encodings_have_names(console: ServerConsole) -> None:
    console("LB.ACQUIRE 2 t c LIMIT RATE 100 1 1000 60 CONC 1")
    assert console("TYPE t") == b"leakybucket"
    assert console("TYPE c") == b"leases"
    assert console("OBJECT ENCODING t") == b"leakybucket"
    assert console("OBJECT ENCODING c") == b"leases"
    assert console("SCAN 0 TYPE leakybucket COUNT 100") == [b"0", [b"t"]]


def test_a_key_lasts_until_its_bucket_is_empty(console: ServerConsole) -> None:
    events = listen(console)
    console("CL.THROTTLE k 9 10 60 2")
    assert console("PTTL k") == 12000
    console("CL.THROTTLE k 9 10 60 1")
    assert console("PTTL k") == 18000
    console.clock.advance(18_000)
    assert console("LB.RESET k") == 0
    console("CL.THROTTLE k 9 10 60 2")
    console.clock.advance(12_001)
    assert console("EXISTS k") == 0
    assert events == [
        (b"k", "throttle"),
        (b"k", "throttle"),
        (b"k", "expired"),
        (b"k", "throttle"),
        (b"k", "expired"),
    ]


def test_freeing_a_bucket_with_many_reservations_ends(console: ServerConsole) -> None:
    """It went on for ever: an emptied bucket said that there was more to free."""
    for number in range(100):
        console(f"LB.ACQUIRE 1 k LIMIT RATE 1000 1 1000 1 ID {number}")
    console("DEL k")
    assert console.engine.discards.pending() == 1
    assert not console.engine.free_memory()
    assert console.engine.discards.pending() == 0


def test_saved_buckets_and_leases_are_the_same_when_loaded(console: ServerConsole) -> None:
    """No credit appears: what has drained meanwhile has, and a lease ends when it would have."""
    console("LB.ACQUIRE 2 t c LIMIT RATE 100 10 1000 60 20 CONC 2 ID a TTL 5000")
    console("LB.ACQUIRE 2 t c LIMIT RATE 100 10 1000 30 CONC 2 ID b TTL 5000")
    console("CL.THROTTLE k 9 10 60 5")
    payloads = {key: console("DUMP", key) for key in "tck"}
    later = ServerConsole(resp=console.ctx.resp)
    later.clock.advance(1001)  # when it was saved is rounded up to milliseconds
    for key, payload in payloads.items():
        assert later("RESTORE", key, 0, payload) == b"OK"
    console.clock.advance(1000)
    for key in "tck":
        assert later("PTTL", key) == console("PTTL", key)
    settle = "LB.SETTLE a 2 t c ACTUAL 5 0"
    assert later(settle) == console(settle)
    assert later("LB.ACQUIRE 2 t c LIMIT RATE 100 10 1000 30 CONC 2 ID b")[0] == 0  # known
    assert later("CL.THROTTLE k 9 10 60 6")[0] == console("CL.THROTTLE k 9 10 60 6")[0] == 1


def test_a_saved_bucket_that_drained_meanwhile_is_no_key(console: ServerConsole) -> None:
    console("CL.THROTTLE k 9 10 60 5")
    payload = console("DUMP k")
    console.clock.advance(30_001)
    assert console("RESTORE", "other", 0, payload) == b"OK"
    assert console("EXISTS k other") == 0
    console.clock.step_wall(-3_600_000)
    assert console("RESTORE", "other", 0, payload) == b"OK"
    assert console("PTTL other") == 30_000  # a wall clock set back drains nothing


def test_a_saved_bucket_keeps_the_expiry_it_is_given(console: ServerConsole) -> None:
    console("CL.THROTTLE k 9 10 60 5")
    payload = console("DUMP k")
    assert console("RESTORE", "k", 1000, payload, "REPLACE") == b"OK"
    assert console("PTTL k") == 1000
    assert console("RESTORE", "k", 10**9, payload, "REPLACE") == b"OK"
    assert console("PTTL k") == 30_000


def test_a_bucket_that_begins_in_a_drained_ones_place_is_new(console: ServerConsole) -> None:
    seen: list[tuple[bytes, str]] = []
    console.ctx.db.witness = lambda _, key, event: seen.append((key, event))
    lines = ("CL.THROTTLE t 9 10 60", "LB.ACQUIRE 2 b c LIMIT RATE 9 1 1000 1 CONC 1 ID x TTL 1000")
    for _ in range(2):
        for line in lines:
            console(line)
        console.clock.advance(6_001)
    assert seen == [(b"t", "new"), (b"b", "new"), (b"c", "new")] * 2


def test_a_bucket_that_begins_in_a_drained_ones_place_has_figures_of_its_own(
    console: ServerConsole,
) -> None:
    console("LB.ACQUIRE 1 k LIMIT RATE 10 10 60000 5 ID x")
    console("CL.THROTTLE k 9 10 60")
    console("LB.CANCEL x 1 k")
    assert info(console, "k")["refunded"] == 5
    console.clock.advance(6_000)
    console("CL.THROTTLE k 9 10 60")
    assert info(console, "k")["refunded"] == 0
    assert info(console, "k")["admitted"] == 1


def test_drained_buckets_are_swept(console: ServerConsole) -> None:
    for number in range(100):
        console("CL.THROTTLE", number, 9, 10, 60, 1 + number % 2)
    console.clock.advance(6001)
    console.engine.expire_keys(console.clock.now_ms())
    assert console("DBSIZE") == 50
    console.clock.advance(6000)
    console.engine.expire_keys(console.clock.now_ms())
    assert console("DBSIZE") == 0
    assert console.ctx.db.expiring_count == 0


@pytest.mark.parametrize("step_ms", [-3_600_000, 3_600_000])
def test_a_step_of_the_wall_clock_is_no_time(console: ServerConsole, step_ms: int) -> None:
    """It neither drains a bucket nor keeps one, and the sweep finds it all the same."""
    console("CL.THROTTLE k 9 10 60 10")
    console("LB.ACQUIRE 1 c LIMIT CONC 1 TTL 60000")
    console.clock.step_wall(step_ms)
    console.engine.expire_keys(console.clock.now_ms())
    assert console("PTTL k") == 60000
    assert console("CL.THROTTLE k 9 10 60") == [1, 10, 0, 6, 60]
    assert console("LB.ACQUIRE 1 c LIMIT CONC 1")[2] == 60000
    console.clock.advance(60_001)
    console.engine.expire_keys(console.clock.now_ms())
    assert console("DBSIZE") == 0


def test_a_client_may_let_a_bucket_expire_earlier_but_not_later(console: ServerConsole) -> None:
    console("CL.THROTTLE k 9 10 60 5")
    assert console("EXPIRE k 100") == 1
    assert console("TTL k") == 30
    assert console("PEXPIRE k 10000") == 1
    console("CL.THROTTLE k 9 10 60 5")
    assert console("PTTL k") == 10000
    console.clock.advance(10_001)
    assert console("CL.THROTTLE k 9 10 60") == [0, 10, 9, -1, 6]
    assert console("PTTL k") == 6000


def test_a_persistent_bucket_stays_until_it_is_used_again(console: ServerConsole) -> None:
    console("CL.THROTTLE k 9 10 60 5")
    assert console("PERSIST k") == 1
    assert console("PTTL k") == -1
    console.clock.advance(10**7)
    assert info(console, "k")["level"] == 0
    assert info(console, "k")["admitted"] == 1
    console("CL.THROTTLE k 9 10 60 5")
    assert console("PTTL k") == 30000
    assert console.ctx.db.expiring_count == 1
    assert console("PERSIST k") == 1
    assert console.ctx.db.expiring_count == 0
    assert console("EXPIRE k 5") == 1
    assert console("DEL k") == 1
    assert console.ctx.db.expiring_count == 0


@pytest.mark.parametrize("command", ["SET", "GETSET", "MSET"])
def test_a_bucket_can_be_overwritten(console: ServerConsole, command: str) -> None:
    console("CL.THROTTLE k 9 10 60 5")
    if command != "GETSET":
        console(command, "k", "v")
    else:
        assert console.refused("GETSET k v").startswith("WRONGTYPE")
        console("DEL k")
        console("SET k v")
    console.clock.advance(10**8)
    assert console("GET k") == b"v"
    assert console("TTL k") == -1
    assert console("EXPIRE k 5") == 1
    assert console("TTL k") == 5
    console("DEL k")
    assert console.ctx.db.expiring_count == 0


def test_copies_and_renamed_keys_fade_as_the_first(console: ServerConsole) -> None:
    console("LB.ACQUIRE 2 {x}t {x}c LIMIT RATE 10 10 60000 5 CONC 1 ID r TTL 7000")
    console("SET {x}over v EX 1000")
    assert console("COPY {x}t {x}t2") == 1
    assert console("COPY {x}c {x}over REPLACE") == 1
    console("RENAME {x}c {x}c2")
    console("MOVE {x}t 1")
    console.clock.step_wall(86_400_000)
    assert console("PTTL {x}t2") == 30000
    assert console("PTTL {x}over") == 7000
    assert console("PTTL {x}c2") == 7000
    assert console("LB.SETTLE r 1 {x}over ACTUAL 0")[0] == 1
    assert console("LB.SETTLE r 1 {x}c2 ACTUAL 0")[0] == 1
    assert console("LB.SETTLE r 1 {x}t2 ACTUAL 1") == [1, [[4, 0, 9, 6000]]]
    console("SELECT 1")
    assert console("PTTL {x}t") == 30000
    assert console("LB.ACQUIRE 1 {x}t LIMIT RATE 10 10 60000 5")[3] == [[0, 10, 0, -1, 60000]]


def test_info_tells_the_figures(console: ServerConsole) -> None:
    assert console("LB.INFO k") is None
    console("LB.ACQUIRE 2 k c LIMIT RATE 10 4 1000 3 CONC 5 2 ID x TTL 9000")
    console("LB.ACQUIRE 2 k c LIMIT RATE 10 4 1000 9 CONC 5 9")
    assert info(console, "k") == {
        "level": 3,
        "capacity": 10,
        "count": 4,
        "period_ms": 1000,
        "remaining": 7,
        "reset_after_ms": 750,
        "outstanding": 1,
        "leases": 0,
        "admitted": 1,
        "limited": 1,
        "refunded": 0,
        "debt": 0,
    }
    assert info(console, "c") == {
        "level": 2,
        "capacity": 5,
        "count": 0,
        "period_ms": 0,
        "remaining": 3,
        "reset_after_ms": 9000,
        "outstanding": 1,
        "leases": 1,
        "admitted": 1,
        "limited": 1,
        "refunded": 0,
        "debt": 0,
    }
    console.clock.advance(400)  # a part of a token is rounded against the caller
    assert info(console, "k")["level"] == 2
    assert info(console, "k")["remaining"] == 8


def test_reset_empties_a_limit(console: ServerConsole) -> None:
    console("LB.ACQUIRE 2 k c LIMIT RATE 10 4 1000 10 CONC 1 ID x")
    events = listen(console)
    assert console("LB.RESET k") == 1
    assert console("LB.RESET c") == 1
    assert console("LB.RESET k") == 0
    assert events == [(b"k", "del"), (b"c", "del")]
    assert console("LB.ACQUIRE 2 k c LIMIT RATE 10 4 1000 10 CONC 1 ID x")[0] == 0


def test_a_transaction_sees_one_moment(console: ServerConsole) -> None:
    console.engine.config.enable_debug_command = "yes"
    console("CL.THROTTLE k 0 1 1")
    for line in ("MULTI", "CL.THROTTLE k 0 1 1", "DEBUG SLEEP 2", "CL.THROTTLE k 0 1 1"):
        console(line)
    first, _, last = console("EXEC")
    assert first == last == [1, 1, 0, 1, 1]
    assert console("CL.THROTTLE k 0 1 1")[0] == 0


def test_a_limited_call_is_no_change_for_who_watches(console: ServerConsole) -> None:
    other = console.other()
    console("CL.THROTTLE k 0 1 60")
    for line, changes in (("CL.THROTTLE k 0 1 60", False), ("LB.RESET k", True)):
        console("WATCH k")
        other(line)
        console("MULTI")
        console("PING")
        assert (console("EXEC") is None) == changes


def test_cluster_clients_find_the_keys(console: ServerConsole) -> None:
    rate = "LIMIT RATE 1 1 1 1 RATE 1 1 1 1"
    for line in (
        f"LB.ACQUIRE 2 a b {rate}",
        "LB.SETTLE r 2 a b ACTUAL 1 1",
        "LB.CANCEL r 2 a b",
        "LB.EXTEND r 5 2 a b",
    ):
        assert console("COMMAND", "GETKEYS", *line.split()) == [b"a", b"b"], line
    for line in ("CL.THROTTLE a 1 1 1", "LB.INFO a", "LB.RESET a", "INCREX a"):
        assert console("COMMAND", "GETKEYS", *line.split()) == [b"a"], line


def test_the_values_measure_themselves(console: ServerConsole) -> None:
    console("LB.ACQUIRE 2 k c LIMIT RATE 10 4 1000 10 CONC 1 ID x")
    assert isinstance(value_at(console, b"k"), Bucket)
    assert isinstance(value_at(console, b"c"), Leases)
    assert all(100 < value_at(console, key).sample_bytes(5) < 800 for key in (b"k", b"c"))
