"""Commands on hashes, over both protocols: what the differential run cannot show or explain."""

from collections import Counter

import pytest
from tests.testing.console import Console

from hotplate.errors import CommandError
from hotplate.keyspace.database import Database
from hotplate.keyspace.hash import Hash
from hotplate.keyspace.sharded import SPREAD_FROM


class Listener:
    """Remembers keyspace events."""

    def __init__(self, database: Database) -> None:
        self.events: list[tuple[bytes, str]] = []
        database.observer = self

    def __call__(self, index: int, key: bytes, event: str) -> None:
        self.events.append((key, event))


@pytest.fixture(params=[2, 3])
def console(request: pytest.FixtureRequest) -> Console:
    return Console(resp=request.param)


@pytest.fixture
def events(console: Console) -> list[tuple[bytes, str]]:
    return Listener(console.ctx.db).events


def fill(console: Console, key: str, count: int) -> dict[bytes, bytes]:
    """A hash of so many fields."""
    pairs = {b"f%d" % number: b"v%d" % number for number in range(count)}
    console("HSET", key, *[part for pair in pairs.items() for part in pair])
    return pairs


def whole(console: Console, key: str) -> dict[bytes, bytes]:
    """All fields of a hash."""
    reply = console("HGETALL", key)
    if isinstance(reply, dict):
        return reply
    return dict(zip(reply[::2], reply[1::2], strict=True))


def test_what_is_set_is_got_and_only_new_fields_count(console: Console) -> None:
    assert console("HSET", "h", "f", b"\x00\r\n\xff", "g", "2") == 2
    assert console("HSET h f 1 x 3") == 1
    assert console("HSET h f 2") == 0
    assert console("HSET h y 4") == 1
    assert console("HGET h f") == b"2"
    assert console("HGET h none") is None
    assert console("HGET none f") is None
    assert console("HMGET h f none g") == [b"2", None, b"2"]
    assert console("HMGET none f g") == [None, None]
    assert console("HMSET h z 5") == b"OK"
    assert console("HLEN h") == 5
    assert console("HSTRLEN h z") == 1


def test_a_field_named_twice_has_the_last_value(console: Console) -> None:
    assert console("HSET h f 1 f 2") == 1
    assert console("HGET h f") == b"2"


def test_all_fields_have_the_form_of_the_protocol(console: Console) -> None:
    console("HSET h f 1 g 22")
    header = b"%2\r\n" if console.ctx.resp == 3 else b"*4\r\n"
    body = b"$1\r\nf\r\n$1\r\n1\r\n$1\r\ng\r\n$2\r\n22\r\n"
    assert console.execute([b"HGETALL", b"h"]) == header + body
    empty = b"%0\r\n" if console.ctx.resp == 3 else b"*0\r\n"
    assert console.execute([b"HGETALL", b"none"]) == empty
    assert console.execute([b"HKEYS", b"none"]) == b"*0\r\n"
    assert console("HKEYS h") == [b"f", b"g"]
    assert console("HVALS h") == [b"1", b"22"]


@pytest.mark.parametrize("count", [1, 32, 33, 1000, SPREAD_FROM + 100])
@pytest.mark.parametrize("size", [1, 511, 512, 5000])
def test_all_fields_are_read_whatever_their_number_and_size(
    console: Console, count: int, size: int
) -> None:
    pairs = fill(console, "h", count)
    console("HSET", "h", "large", b"x" * size)
    assert whole(console, "h") == pairs | {b"large": b"x" * size}


def test_a_hash_that_lost_its_last_field_is_no_key(
    console: Console, events: list[tuple[bytes, str]]
) -> None:
    console("HSET h f 1 g 2")
    assert console("HDEL h f f none") == 1
    assert console("HDEL h g") == 1
    assert console("EXISTS h") == 0
    assert console("HDEL h g") == 0
    names = [event for _, event in events]
    assert names == ["hset", "hdel", "hdel", "del"]


def test_counters_count_and_tell(console: Console, events: list[tuple[bytes, str]]) -> None:
    assert console("HINCRBY h n 5") == 5
    assert console("HINCRBY h n -7") == -2
    assert console("HINCRBYFLOAT h x 10.5") == b"10.5"
    assert console("HINCRBYFLOAT h x 0.1") == b"10.6"
    assert console("HSETNX h n 1") == 0
    assert console("HSETNX h m 1") == 1
    names = [event for _, event in events]
    assert names == ["hincrby", "hincrby", "hincrbyfloat", "hincrbyfloat", "hset"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("HSET h f", "ERR wrong number of arguments for 'hset' command"),
        ("HSET h f 1 g", "ERR wrong number of arguments for 'hset' command"),
        ("HMSET h f 1 g", "ERR wrong number of arguments for 'hmset' command"),
        ("HINCRBY h text 1", "ERR hash value is not an integer"),
        ("HINCRBY h max 1", "ERR increment or decrement would overflow"),
        ("HINCRBY h f 1.5", "ERR value is not an integer or out of range"),
        ("HINCRBYFLOAT h text 1", "ERR hash value is not a float"),
        ("HINCRBYFLOAT h f x", "ERR value is not a valid float"),
        ("HINCRBYFLOAT h f inf", "ERR value is NaN or Infinity"),
        ("HRANDFIELD h 1 FOO", "ERR syntax error"),
        ("HRANDFIELD h -4611686018427387905 WITHVALUES", "ERR value is out of range"),
        ("HSCAN h x", "ERR invalid cursor"),
        ("HSCAN h 0 COUNT 0", "ERR syntax error"),
        ("HSCAN h 0 FOO", "ERR syntax error"),
        ("HEXPIRE h -1 FIELDS 1 f", "ERR invalid expire time, must be >= 0"),
        ("HEXPIRE h 70368744178 FIELDS 1 f", "ERR invalid expire time in 'hexpire' command"),
        (
            "HPEXPIREAT h 70368744177664 FIELDS 1 f",
            "ERR invalid expire time in 'hpexpireat' command",
        ),
        ("HEXPIRE h x FIELDS 1 f", "ERR value is not an integer or out of range"),
        ("HEXPIRE h 1 FIELDS 0 f", "ERR Parameter `numFields` should be greater than 0"),
        (
            "HEXPIRE h 1 FIELDS 2 f",
            "ERR The `numfields` parameter must match the number of arguments",
        ),
        (
            "HEXPIRE h 1 FOO 1 f",
            "ERR Mandatory argument FIELDS is missing or not at the right position",
        ),
        ("HTTL h FIELDS x f", "ERR Number of fields must be a positive integer"),
        (
            "HPERSIST h FIELDS 2 f",
            "ERR The `numfields` parameter must match the number of arguments",
        ),
        ("HSETEX h EX 1 FIELDS 0 f 1", "ERR invalid number of fields"),
        ("HSETEX h EX 1 FIELDS 2 f 1", "ERR wrong number of arguments for 'hsetex' command"),
        ("HSETEX h FNX FXX FIELDS 1 f 1", "ERR Only one of FXX or FNX arguments can be specified"),
        (
            "HSETEX h EX 1 KEEPTTL FIELDS 1 f 1",
            "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
        ),
        ("HSETEX h FNX KEEPTTL f 1 EX", "ERR unknown argument: f"),
        ("HSETEX h FNX FXX1 2 3 PX", "ERR unknown argument: FXX1"),
        ("HGETEX h EX -1 FIELDS 1 f", "ERR invalid expire time, must be >= 0"),
        ("HGETEX h FIELDS 2 f", "ERR The `numfields` parameter must match the number of arguments"),
        (
            "HGETEX h KEEPTTL FIELDS 1 f",
            "ERR Mandatory argument FIELDS is missing or not at the right position",
        ),
        ("HGETDEL h FIELDS 0 f", "ERR Number of fields must be a positive integer"),
    ],
)  # fmt: skip
def test_a_refused_command_says_why_and_changes_nothing(
    console: Console, command: str, message: str
) -> None:
    console("HSET h text abc max 9223372036854775807 f 1")
    console("HEXPIRE h 100 FIELDS 1 f")
    changes = console.ctx.db.dirty
    with pytest.raises(CommandError) as refusal:
        console(command)
    assert str(refusal.value) == message
    assert console.ctx.db.dirty == changes
    assert whole(console, "h") == {b"text": b"abc", b"max": b"9223372036854775807", b"f": b"1"}
    assert console("HTTL h FIELDS 1 f") == [100]


@pytest.mark.parametrize(
    "command",
    [
        *("HSET s f 1", "HSET s f 1 g 2", "HSETNX s f 1", "HMSET s f 1", "HGET s f", "HMGET s f"),
        *("HGETALL s", "HKEYS s", "HVALS s", "HLEN s", "HSTRLEN s f", "HEXISTS s f", "HDEL s f"),
        *("HINCRBY s f 1", "HINCRBYFLOAT s f 1", "HRANDFIELD s", "HRANDFIELD s 1", "HSCAN s 0"),
        *("HEXPIRE s 1 FIELDS 1 f", "HTTL s FIELDS 1 f", "HPERSIST s FIELDS 1 f"),
        *("HSETEX s FIELDS 1 f 1", "HGETEX s FIELDS 1 f", "HGETDEL s FIELDS 1 f"),
    ],
)
def test_another_type_is_refused_and_stays(console: Console, command: str) -> None:
    console("SET s text")
    changes = console.ctx.db.dirty
    with pytest.raises(CommandError, match="WRONGTYPE"):
        console(command)
    assert console.ctx.db.dirty == changes
    assert console("GET s") == b"text"


def test_a_hash_is_a_hashtable_once_it_outgrew_a_limit(console: Console) -> None:
    console("HSET h f 1")
    assert console("OBJECT ENCODING h") == b"listpack"
    console("HSET", "h", "f", b"x" * 64)
    assert console("OBJECT ENCODING h") == b"listpack"
    console("HSET", "h", "f", b"x" * 65)
    assert console("OBJECT ENCODING h") == b"hashtable"
    console("HSET h f 1")
    assert console("OBJECT ENCODING h") == b"hashtable"
    fill(console, "many", 512)
    assert console("OBJECT ENCODING many") == b"listpack"
    console("HSETNX many one more")
    assert console("OBJECT ENCODING many") == b"hashtable"
    console("HSET", "name", b"n" * 65, "1")
    assert console("OBJECT ENCODING name") == b"hashtable"


def test_limits_are_those_of_the_settings(console: Console) -> None:
    console.engine.config.hash_max_listpack_value = 5
    console.engine.config.hash_max_listpack_entries = 2
    console("HSET h f 12345")
    assert console("OBJECT ENCODING h") == b"listpack"
    console("HSET h f 123456")
    assert console("OBJECT ENCODING h") == b"hashtable"
    console("HSET g a 1 b 2")
    assert console("OBJECT ENCODING g") == b"listpack"
    console("HINCRBY g c 1")
    assert console("OBJECT ENCODING g") == b"hashtable"


def test_a_hash_with_times_says_so(console: Console) -> None:
    console("HSET h f 1 g 2")
    console("HEXPIRE h 10 FIELDS 1 f")
    assert console("OBJECT ENCODING h") == b"listpackex"
    console("HPERSIST h FIELDS 1 f")
    assert console("OBJECT ENCODING h") == b"listpackex"
    console("HSET", "h", "g", b"x" * 65)
    assert console("OBJECT ENCODING h") == b"hashtable"


def test_a_random_field_may_come_with_its_value(console: Console) -> None:
    assert console("HRANDFIELD none") is None
    assert console("HRANDFIELD none 5") == []
    assert console("HRANDFIELD none 5 WITHVALUES") == []
    console("HSET h f 1")
    assert console("HRANDFIELD h") == b"f"
    pair = [[b"f", b"1"]] if console.ctx.resp == 3 else [b"f", b"1"]
    assert console("HRANDFIELD h 5 WITHVALUES") == pair
    assert console("HRANDFIELD h -2") == [b"f", b"f"]
    assert console("HRANDFIELD h 0") == []


@pytest.mark.parametrize("count", [50, SPREAD_FROM * 2])
def test_random_fields_are_different_unless_the_count_is_negative(
    console: Console, count: int
) -> None:
    pairs = fill(console, "h", count)
    for wanted in (1, 7, count // 2, count - 1, count, count + 5):
        chosen = console("HRANDFIELD", "h", wanted)
        assert len(chosen) == len(set(chosen)) == min(wanted, count)
        assert set(chosen) <= set(pairs)
        repeated = console("HRANDFIELD", "h", -wanted)
        assert len(repeated) == wanted
        assert set(repeated) <= set(pairs)


def test_random_fields_are_about_equally_likely(console: Console) -> None:
    fill(console, "h", 10)
    picks = Counter(console("HRANDFIELD h") for _ in range(2000))
    assert len(picks) == 10
    assert all(120 < times < 290 for times in picks.values())


def test_a_small_hash_is_walked_in_one_step(console: Console) -> None:
    pairs = fill(console, "h", 500)
    cursor, items = console("HSCAN h 0 COUNT 5")
    assert cursor == b"0"
    assert dict(zip(items[::2], items[1::2], strict=True)) == pairs
    assert console("HSCAN h 0 NOVALUES") == [b"0", list(pairs)]
    assert console("HSCAN h 0 MATCH f49? NOVALUES")[1] == [b"f49%d" % n for n in range(10)]
    assert console("HSCAN none 0 COUNT 0") == [b"0", []]


@pytest.mark.parametrize("count", [1000, SPREAD_FROM * 2])
def test_a_walk_over_a_large_hash_meets_every_field_once(console: Console, count: int) -> None:
    pairs = fill(console, "h", count)
    cursor, names = console("HSCAN h 0 COUNT 100 NOVALUES")
    steps = 1
    while cursor != b"0":
        console("HDEL", "h", b"other%d" % steps)
        console("HSET", "h", b"other%d" % (steps + 1), "1")
        cursor, more = console("HSCAN", "h", cursor, "COUNT", "100", "NOVALUES")
        names += more
        steps += 1
    assert steps >= 8
    assert sorted(name for name in names if name in pairs) == sorted(pairs)


def test_a_copy_is_another_hash(console: Console) -> None:
    console("HSET h f 1 g 2")
    console("HEXPIRE h 100 FIELDS 1 f")
    console("COPY h other")
    console("HSET other f 2")
    assert console("HGET h f") == b"1"
    assert console("HTTL h FIELDS 1 f") == [100]
    assert console("HTTL other FIELDS 2 f g") == [-1, -1]


def test_a_key_past_its_time_is_no_hash(console: Console) -> None:
    console("HSET h f 1")
    console("PEXPIRE h 100")
    console.clock.advance(101)
    assert console("HGET h f") is None
    console("HSET h f 1")
    console("PEXPIRE h 100")
    console.clock.advance(101)
    assert console("HSET h g 2") == 1
    assert whole(console, "h") == {b"g": b"2"}
    assert console("TTL h") == -1


def test_names_are_shared_between_small_hashes(console: Console) -> None:
    for number in range(3):
        console("HSET", b"h%d" % number, "a field", number)
    db = console.ctx.db
    names: list[bytes] = []
    for number in range(3):
        entry = db.lookup(b"h%d" % number, 0)
        assert entry is not None
        assert isinstance(entry.value, Hash)
        names += entry.value.table
    assert names[0] is names[1] is names[2]
