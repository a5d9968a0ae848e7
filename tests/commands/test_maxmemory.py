"""maxmemory: what is refused, what goes instead, and how use is counted."""

import pytest
from tests.testing.box import Box
from tests.testing.server_console import ServerConsole
from tests.testing.subscriber import Subscriber

from hotplate.engine.context import Gate
from hotplate.keyspace.meter import BASE_BYTES, key_bytes

OOM = "OOM command not allowed when used memory > 'maxmemory'."
VALUE = "x" * 1000


def limited(policy: str, extra_bytes: int = 50_000, **settings: int) -> ServerConsole:
    console = ServerConsole()
    words = ["maxmemory-policy", policy]
    for name, value in settings.items():
        words += [name.replace("_", "-"), str(value)]
    console("CONFIG", "SET", *words)
    console("CONFIG", "SET", "maxmemory", BASE_BYTES + extra_bytes)
    return console


def used(console: ServerConsole) -> int:
    return console.engine.memory.meter.used_bytes


def fill(console: ServerConsole, count: int, *options: str, prefix: str = "k") -> None:
    for number in range(count):
        assert console("SET", f"{prefix}{number}", VALUE, *options) == b"OK"
        console.clock.advance(1)


def check_sum(console: ServerConsole) -> None:
    """The sum is that of what is stored."""
    assert used(console) == BASE_BYTES + sum(
        key_bytes(key, entry)
        for database in console.engine.databases
        for shard in database.shards
        for key, entry in shard.items()
    )


# -- refusals --------------------------------------------------------------------------------------


def test_without_eviction_writes_that_may_grow_are_refused_over_the_limit() -> None:
    console = limited("noeviction", 3000)
    fill(console, 3)
    assert used(console) > BASE_BYTES + 3000
    for words in ("SET a 1", "APPEND k0 x", "INCR n", "MSET a 1 b 2", "SETRANGE k0 1 x"):
        assert console.refused(words) == OOM
    assert console("DBSIZE") == 3
    assert console("GET k0") == VALUE.encode()
    assert console("EXPIRE k0 100") == 1
    assert console("DEL k1") == 1
    assert console("SET a 1") == b"OK"
    assert not console.engine.gates & Gate.FULL


def test_a_limit_below_an_empty_server_refuses_every_write_that_may_grow() -> None:
    console = ServerConsole()
    console("CONFIG SET maxmemory 1")
    assert console.refused("SET a 1") == OOM
    console("CONFIG SET maxmemory 0")
    assert console("SET a 1") == b"OK"


def test_a_transaction_is_refused_as_a_whole() -> None:
    console = ServerConsole()
    other = console.other()
    console("MULTI")
    console("SET a 1")
    other("CONFIG SET maxmemory 1")
    assert console.refused("EXEC") == f"EXECABORT Transaction discarded because of: {OOM}"
    console("MULTI")
    assert console.refused("GET a") == OOM
    assert console.refused("EXEC").startswith("EXECABORT")
    console("MULTI")
    assert console("DISCARD") == b"OK"
    assert console("DBSIZE") == 0


def test_a_volatile_policy_without_volatile_keys_refuses() -> None:
    console = limited("volatile-lru", 3000)
    fill(console, 3)
    assert console.refused("SET a 1") == OOM
    assert console("EXPIRE k0 100") == 1
    assert console("SET a 1") == b"OK"
    assert console("EXISTS k0") == 0


# -- eviction --------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
def test_any_key_may_go_for_a_new_one(policy: str) -> None:
    console = limited(policy)
    fill(console, 300)
    assert used(console) <= BASE_BYTES + 50_000 + 2000
    assert 25 < console("DBSIZE") < 60
    assert console.engine.memory.evictor.evicted == 300 - console("DBSIZE")
    check_sum(console)


@pytest.mark.parametrize(
    "policy", ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"]
)
def test_only_keys_that_expire_go_under_a_volatile_policy(policy: str) -> None:
    console = limited(policy)
    fill(console, 20, prefix="stays")
    fill(console, 300, "EX", "1000", prefix="goes")
    assert all(console("EXISTS", f"stays{number}") for number in range(20))
    assert used(console) <= BASE_BYTES + 50_000 + 2000
    check_sum(console)


def test_the_longest_unused_key_goes_first() -> None:
    console = limited("allkeys-lru", maxmemory_samples=64)
    fill(console, 30)
    console.clock.advance(1000)
    for number in range(0, 30, 2):
        console("GET", f"k{number}")
    fill(console, 20, prefix="new")
    kept = [console("EXISTS", f"k{number}") for number in range(30)]
    assert sum(kept[::2]) == 15
    assert sum(kept[1::2]) < 12


def test_what_expires_next_goes_first() -> None:
    console = limited("volatile-ttl", maxmemory_samples=64)
    for number in range(30):
        console("SET", f"k{number}", VALUE, "EX", 10_000 - number)
    for number in range(20):
        console("SET", f"late{number}", VALUE, "EX", 20_000)
    kept = [number for number in range(30) if console("EXISTS", f"k{number}")]
    assert kept == list(range(len(kept)))


def test_the_least_used_key_goes_first() -> None:
    console = limited("allkeys-lfu", maxmemory_samples=64, lfu_log_factor=0)
    fill(console, 30)
    for number in range(0, 30, 2):
        for _ in range(5):
            console("GET", f"k{number}")
    fill(console, 20, prefix="new")
    kept = [console("EXISTS", f"k{number}") for number in range(30)]
    assert sum(kept[::2]) == 15
    # new keys count as little as those that were never asked for: of both some went
    assert (
        console("DBSIZE") == sum(kept) + sum(console("EXISTS", f"new{n}") for n in range(20)) < 50
    )


def test_an_evicted_key_is_told() -> None:
    console = limited("allkeys-random")
    ear = Subscriber(console.engine, resp=3)
    console("CONFIG SET notify-keyspace-events Ee")
    ear.listen("SUBSCRIBE", "__keyevent@0__:evicted")
    fill(console, 100)
    gone = {message[2] for message in ear.heard()}
    assert len(gone) == console.engine.memory.evictor.evicted > 0
    assert not any(console("EXISTS", name) for name in gone)


def test_keys_of_all_databases_may_go() -> None:
    console = limited("allkeys-lru")
    console("SELECT 1")
    fill(console, 30)
    console("SELECT 0")
    fill(console, 100)
    assert console.engine.databases[1].size() == 0
    check_sum(console)


def test_a_lower_limit_is_reached_by_the_timer_in_slices() -> None:
    console = limited("allkeys-lru", 3_000_000)
    fill(console, 2000)
    console("CONFIG", "SET", "maxmemory", BASE_BYTES + 10_000)
    engine = console.engine
    assert engine.gates & Gate.FULL
    assert not engine.limit_memory(engine.clock.now_ms())
    assert used(console) <= BASE_BYTES + 10_000
    assert not engine.gates & Gate.FULL


# -- counting --------------------------------------------------------------------------------------


def test_every_change_keeps_the_sum_right() -> None:
    console = limited("noeviction", 10_000_000)
    for line in (
        "SET a 1",
        "SET a text",
        "APPEND a more",
        "INCR n",
        "SET b x EX 100",
        "PERSIST b",
        "EXPIRE b 50",
        "RENAME a c",
        "COPY c d",
        "MOVE d 1",
        "SETRANGE n 100 x",
        "MSET x 1 y 2",
        "DEL x nope",
        "GETDEL y",
        "SWAPDB 0 1",
        "SET e 1 PX 1",
    ):
        console(line)
        check_sum(console)
    console.clock.advance(10)
    console("GET e")
    check_sum(console)
    console("FLUSHDB")
    check_sum(console)
    console("FLUSHALL")
    assert used(console) == BASE_BYTES


def test_what_was_there_before_is_counted_in_slices() -> None:
    console = ServerConsole()
    fill(console, 500)
    console("CONFIG SET maxmemory 100mb")
    assert used(console) == BASE_BYTES
    console("DEL k0")
    console("SET k1 y")
    assert not console.engine.limit_memory(0)
    check_sum(console)
    # off and on again: what was counted then does not count now
    console("CONFIG SET maxmemory 0")
    assert console.engine.databases[0].observer is None
    console("DEL k2")
    console("CONFIG SET maxmemory 100mb")
    console("DEL k3")
    assert not console.engine.limit_memory(0)
    check_sum(console)


def test_a_collection_is_counted_by_what_it_says() -> None:
    console = limited("noeviction", 10_000_000)
    db = console.ctx.db
    box = Box(list(range(100)))
    db.assign(b"box", box, console.clock.now_ms())
    db.changed(b"box", "set")
    before = used(console)
    box.content.extend(range(100))
    db.changed(b"box", "set")
    assert used(console) - before == 800
    check_sum(console)


def test_info_tells_what_is_counted() -> None:
    console = limited("allkeys-lru")
    fill(console, 100)
    text = console("INFO").decode()
    assert f"used_memory:{used(console)}\r\n" in text
    assert f"used_memory_dataset:{used(console) - BASE_BYTES}\r\n" in text
    assert f"evicted_keys:{100 - console('DBSIZE')}\r\n" in text
    assert "maxmemory_policy:allkeys-lru\r\n" in text
    console("CONFIG RESETSTAT")
    assert "evicted_keys:0\r\n" in console("INFO stats").decode()


# -- frequency -------------------------------------------------------------------------------------


def test_frequencies_are_counted_while_an_lfu_policy_is_set() -> None:
    console = ServerConsole()
    console("SET old 1")
    console("CONFIG SET maxmemory-policy allkeys-lfu lfu-log-factor 0")
    assert console("OBJECT FREQ old") == 5
    console("SET k 1")
    assert console("OBJECT FREQ k") == 5
    for _ in range(10):
        console("GET k")
    assert console("OBJECT FREQ k") == 15
    console("TYPE k")
    console("SET k 2")
    console("MULTI")
    console("GET k")
    console("EXEC")
    assert console("OBJECT FREQ k") == 17
    console.clock.advance(3 * 60_000)
    assert console("OBJECT FREQ k") == 14
    console("CONFIG SET lfu-decay-time 0")
    assert console("OBJECT FREQ k") == 17
    assert console.refused("OBJECT IDLETIME k").startswith(
        "ERR An LFU maxmemory policy is selected, idle time not tracked."
    )
    assert console("OBJECT FREQ nope") is None
    console("CONFIG SET maxmemory-policy allkeys-lru")
    assert console("OBJECT IDLETIME k") == 0
    assert console.refused("OBJECT FREQ k").startswith(
        "ERR An LFU maxmemory policy is not selected"
    )


def test_a_counter_grows_slower_the_higher_it_is() -> None:
    console = ServerConsole()
    console("CONFIG SET maxmemory-policy volatile-lfu")
    console("SET k 1")
    seen = []
    for _ in range(3):
        for _ in range(300):
            console("GET k")
        seen.append(console("OBJECT FREQ k"))
    assert 8 < seen[0] < 30
    assert seen[0] <= seen[1] <= seen[2] < 40


def test_a_refused_command_counts_no_use() -> None:
    console = ServerConsole()
    console("CONFIG SET maxmemory-policy allkeys-lfu lfu-log-factor 0")
    console("SET k text")
    assert console.refused("INCR k").startswith("ERR value is not an integer")
    console("CLIENT NO-TOUCH ON")
    console("GET k")
    assert console("OBJECT FREQ k") == 5
