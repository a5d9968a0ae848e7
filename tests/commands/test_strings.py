"""Commands on strings, over both protocols: what the differential run cannot show or explain."""

import pytest
from tests.testing.console import Console

from hotplate.errors import CommandError
from hotplate.keyspace.database import Database


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


def test_what_is_set_is_got(console: Console) -> None:
    assert console("SET", "k", b"\x00\r\n\xff") == b"OK"
    assert console("GET", "k") == b"\x00\r\n\xff"
    assert console("GET", "other") is None


def test_nulls_have_the_form_of_the_protocol(console: Console) -> None:
    null = b"_\r\n" if console.ctx.resp == 3 else b"$-1\r\n"
    assert console.execute([b"GET", b"none"]) == null
    assert console.execute([b"MGET", b"none"]) == b"*1\r\n" + null
    assert console.execute([b"SET", b"k", b"v", b"XX"]) == null


def test_setting_again_forgets_the_expiry_unless_told_to_keep_it(console: Console) -> None:
    console("SET k v EX 100")
    console("SET k w KEEPTTL")
    assert console("TTL k") == 100
    console("SET k v")
    assert console("TTL k") == -1
    console("SET k v PX 1500")
    assert console("PTTL k") == 1500
    console("MSET k w")
    assert console("PTTL k") == -1


def test_a_key_is_gone_when_its_time_is_past(console: Console) -> None:
    console("SET k v PX 100")
    console.clock.advance(100)
    assert console("GET k") == b"v"
    console.clock.advance(1)
    assert console("GET k") is None
    assert console("DBSIZE") == 0


@pytest.mark.parametrize("command", ["SET k w", "SETNX k w", "GETSET k w", "MSET k w", "INCR k"])
def test_a_key_past_its_time_counts_as_absent_for_writes(console: Console, command: str) -> None:
    console("SET k stale PX 100")
    console.clock.advance(200)
    console(command)
    assert console("TTL k") == -1
    assert console("GET k") in (b"w", b"1")


def test_conditions_decide_by_whether_the_key_is_there(console: Console) -> None:
    assert console("SET k v XX") is None
    assert console("SET k v NX") == b"OK"
    assert console("SET k w NX") is None
    assert console("SET k w NX GET") == b"v"
    assert console("GET k") == b"v"
    assert console("SET k w XX GET") == b"v"
    assert console("GET k") == b"w"
    assert console("SET fresh v NX GET") is None
    assert console("GET fresh") == b"v"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("SET k", "ERR wrong number of arguments for 'set' command"),
        ("SET k v NX XX", "ERR syntax error"),
        ("SET k v EX 1 PX 1", "ERR syntax error"),
        ("SET k v EX 1 KEEPTTL", "ERR syntax error"),
        ("SET k v PERSIST", "ERR syntax error"),
        ("SET k v EX", "ERR syntax error"),
        ("SET k v EX 0", "ERR invalid expire time in 'set' command"),
        ("SET k v EX 9223372036854775807", "ERR invalid expire time in 'set' command"),
        ("SET k v EX +1", "ERR value is not an integer or out of range"),
        ("SETEX k 0 v", "ERR invalid expire time in 'setex' command"),
        ("PSETEX k -1 v", "ERR invalid expire time in 'psetex' command"),
        ("GETEX old EX 0", "ERR invalid expire time in 'getex' command"),
        ("GETEX old KEEPTTL", "ERR syntax error"),
        ("MSET k v old", "ERR wrong number of arguments for 'mset' command"),
        ("MSETNX k v x", "ERR wrong number of arguments for 'msetnx' command"),
        ("INCR old", "ERR value is not an integer or out of range"),
        ("INCRBY k 1.5", "ERR value is not an integer or out of range"),
        ("INCRBY max 1", "ERR increment or decrement would overflow"),
        ("DECRBY k -9223372036854775808", "ERR decrement would overflow"),
        ("INCRBYFLOAT old 1", "ERR value is not a valid float"),
        ("INCRBYFLOAT k inf", "ERR increment would produce NaN or Infinity"),
        ("SETRANGE k -1 v", "ERR offset is out of range"),
        (
            "SETRANGE k 536870912 v",
            "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
        ),
        ("GETRANGE old a 1", "ERR value is not an integer or out of range"),
        (
            "LCS old k IDX LEN",
            "ERR If you want both the length and indexes, please just use IDX.",
        ),
        ("LCS old k MINMATCHLEN", "ERR syntax error"),
    ],
)
def test_a_refused_command_says_why_and_changes_nothing(
    console: Console, command: str, message: str
) -> None:
    console("SET old text EX 100")
    console("SET max 9223372036854775807")
    changes = console.ctx.db.dirty
    with pytest.raises(CommandError) as refusal:
        console(command)
    assert str(refusal.value) == message
    assert console.ctx.db.dirty == changes
    assert sorted(console("KEYS *")) == [b"max", b"old"]
    assert (console("GET old"), console("TTL old")) == (b"text", 100)
    assert console("GET max") == b"9223372036854775807"


def test_strings_that_would_outgrow_the_limit_are_refused(console: Console) -> None:
    console.engine.config.proto_max_bulk_len = 10
    console("SET k 12345678")
    with pytest.raises(CommandError, match="string exceeds maximum allowed size"):
        console("APPEND k 901")
    assert console("APPEND k 90") == 10
    assert console("GET k") == b"1234567890"
    with pytest.raises(CommandError, match="transient memory for LCS"):
        console("LCS k k")


def test_getex_changes_only_the_expiry(console: Console) -> None:
    console("SET k v")
    assert console("GETEX k EX 100") == b"v"
    assert console("TTL k") == 100
    assert console("GETEX k") == b"v"
    assert console("TTL k") == 100
    assert console("GETEX k PERSIST") == b"v"
    assert console("TTL k") == -1
    assert console("GETEX k PXAT 1") == b"v"
    assert console("EXISTS k") == 0
    assert console("GETEX none EX not-looked-at") is None


def test_counters_keep_their_expiry(console: Console) -> None:
    console("SET k 5 EX 100")
    assert console("INCR k") == 6
    assert console("DECRBY k 10") == -4
    assert console("INCRBYFLOAT k 0.5") == b"-3.5"
    assert console("TTL k") == 100
    assert console("GET k") == b"-3.5"


def test_counters_reach_both_ends_and_stop_there(console: Console) -> None:
    assert console("INCRBY k 9223372036854775806") == 2**63 - 2
    assert console("INCR k") == 2**63 - 1
    with pytest.raises(CommandError, match="increment or decrement would overflow"):
        console("INCR k")
    assert console("GET k") == b"9223372036854775807"
    console("SET k -9223372036854775808")
    with pytest.raises(CommandError, match="increment or decrement would overflow"):
        console("DECR k")


def test_encodings_follow_how_a_string_came_to_be(console: Console) -> None:
    def encoding() -> bytes:
        return bytes(console("OBJECT ENCODING k"))

    console("SET k 12")
    assert encoding() == b"int"
    console("APPEND k 3")
    assert (encoding(), console("GET k")) == (b"raw", b"123")
    console("INCR k")
    assert (encoding(), console("GET k")) == (b"int", b"124")
    console("INCRBYFLOAT k 1")
    assert (encoding(), console("GET k")) == (b"embstr", b"125")
    console("SETRANGE k 0 9")
    assert (encoding(), console("GET k")) == (b"raw", b"925")
    assert console("MGET k k") == [b"925", b"925"]


def test_a_reply_is_not_changed_by_what_is_appended_later(console: Console) -> None:
    console("APPEND k ab")
    console("APPEND k cd")
    console("MULTI")
    console("GET k")
    console("APPEND k ef")
    console("GET k")
    assert console("EXEC") == [b"abcd", 6, b"abcdef"]


def test_setrange_with_nothing_creates_nothing(console: Console) -> None:
    assert console("SETRANGE", "k", "5", "") == 0
    assert console("EXISTS k") == 0
    assert console("SETRANGE k 3 x") == 4
    assert console("GET k") == b"\0\0\0x"


def test_msetnx_sets_all_or_nothing(console: Console) -> None:
    console("SET b old")
    assert console("MSETNX a 1 b 2") == 0
    assert console("GET a") is None
    assert console("MSETNX c 1 d 2 c 3") == 1
    assert console("MGET c d") == [b"3", b"2"]


def test_lcs_answers_text_length_or_ranges(console: Console) -> None:
    console("MSET a ohmytext b mynewtext")
    assert console("LCS a b") == b"mytext"
    assert console("LCS a b LEN") == 6
    reply = console("LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN")
    expected = [b"matches", [[[4, 7], [5, 8], 4]], b"len", 6]
    assert reply == (
        dict(zip(*[iter(expected)] * 2, strict=True)) if console.ctx.resp == 3 else expected
    )
    assert console("LCS a none LEN") == 0


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("SET k v", ["set"]),
        ("SET k v EX 10", ["set", "expire"]),
        ("SETEX k 10 v", ["set", "expire"]),
        ("SETNX k v", []),
        ("GETSET k v", ["set"]),
        ("GETDEL k", ["del"]),
        ("GETEX k", []),
        ("GETEX k EX 5", ["expire"]),
        ("GETEX k PXAT 1", ["del"]),
        ("APPEND k v", ["append"]),
        ("SETRANGE k 1 v", ["setrange"]),
        ("INCR k", ["incrby"]),
        ("DECR k", ["incrby"]),
        ("INCRBYFLOAT k 1", ["incrbyfloat"]),
        ("MSET k v k w", ["set", "set"]),
        ("GET k", []),
    ],
)
def test_every_change_is_told_by_its_name(
    console: Console, events: list[tuple[bytes, str]], command: str, expected: list[str]
) -> None:
    console("SET k 5")
    events.clear()
    changes = console.ctx.db.dirty
    console(command)
    assert events == [(b"k", event) for event in expected]
    assert console.ctx.db.dirty - changes == len(expected)


def test_setting_a_key_past_its_time_tells_both(
    console: Console, events: list[tuple[bytes, str]]
) -> None:
    console("SET k v PX 10")
    console.clock.advance(20)
    events.clear()
    console("SET k w")
    assert events == [(b"k", "expired"), (b"k", "set")]


def test_reads_are_counted_as_hits_and_misses(console: Console) -> None:
    console("SET k v PX 10")
    console("GET k")
    console("MGET k none k")
    console("GET none")
    console("STRLEN k")
    console.clock.advance(20)
    console("GET k")
    database = console.ctx.db
    assert (database.hits, database.misses) == (4, 3)


def test_a_client_that_does_not_touch_leaves_idle_times(console: Console) -> None:
    console("SET k v")
    console.clock.advance(5000)
    console.ctx.no_touch = True
    console("GET k")
    console("MGET k")
    console("GETRANGE k 0 1")
    assert console("OBJECT IDLETIME k") == 5
    assert console("TOUCH k") == 1
    assert console("OBJECT IDLETIME k") == 0
    console.ctx.no_touch = False
    console.clock.advance(3000)
    console("GET k")
    assert console("OBJECT IDLETIME k") == 0
