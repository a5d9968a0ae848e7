"""Commands on sets, over both protocols: what the differential run cannot show or explain."""

from collections.abc import Callable

import pytest
from tests.testing.console import Console

from hotplate.engine.dispatch import run
from hotplate.errors import CommandError
from hotplate.keyspace.database import Database

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
MUST_BE_POSITIVE = "ERR value is out of range, must be positive"
SYNTAX = "ERR syntax error"


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


def test_members_are_added_found_and_removed(console: Console) -> None:
    assert console("SADD s a b a") == 2
    assert console("SADD s b") == 0
    assert console("SADD s c") == 1
    assert console("SCARD s") == 3
    assert console("SISMEMBER s a") == 1
    assert console("SISMEMBER s x") == console("SISMEMBER none a") == 0
    assert console("SMISMEMBER s a x c") == [1, 0, 1]
    assert console("SMISMEMBER none a x") == [0, 0]
    assert sorted(console("SMEMBERS s")) == [b"a", b"b", b"c"]
    assert console("SREM s a x") == 1
    assert console("SREM s b c") == 2
    assert console("EXISTS s") == console("SREM s a") == console("SCARD s") == 0


def test_sets_have_the_form_of_the_protocol(console: Console) -> None:
    kind = b"~" if console.ctx.resp == 3 else b"*"
    null = b"_\r\n" if console.ctx.resp == 3 else b"$-1\r\n"
    console("SADD s a")
    one = kind + b"1\r\n$1\r\na\r\n"
    for command in (b"SMEMBERS s", b"SINTER s", b"SUNION s", b"SDIFF s"):
        assert console.execute(command.split()) == one
        name = command.split()[0]
        assert console.execute([name, b"none"]) == kind + b"0\r\n"
    assert console.execute([b"SRANDMEMBER", b"s", b"5"]) == b"*1\r\n$1\r\na\r\n"
    assert console.execute([b"SPOP", b"s", b"0"]) == kind + b"0\r\n"
    assert console.execute([b"SPOP", b"s", b"5"]) == one
    assert console.execute([b"SPOP", b"s", b"5"]) == kind + b"0\r\n"
    assert console.execute([b"SPOP", b"s"]) == null
    assert console.execute([b"SRANDMEMBER", b"s"]) == null
    assert console.execute([b"SRANDMEMBER", b"s", b"1"]) == b"*0\r\n"


def test_what_is_popped_is_gone(console: Console) -> None:
    console("SADD", "s", *range(20))
    first = console("SPOP s")
    more = console("SPOP s 15")
    assert len({first, *more}) == 16
    assert {first, *more, *console("SMEMBERS s")} == {b"%d" % number for number in range(20)}
    assert console("SCARD s") == 4
    assert len(console("SPOP s 100")) == 4
    assert console("EXISTS s") == 0


def test_drawn_members_stay_and_a_negative_count_repeats_them(console: Console) -> None:
    console("SADD s a b c")
    assert console("SRANDMEMBER s") in (b"a", b"b", b"c")
    assert len(set(console("SRANDMEMBER s 2"))) == 2
    assert sorted(console("SRANDMEMBER s 5")) == [b"a", b"b", b"c"]
    many = console("SRANDMEMBER s -100")
    assert len(many) == 100
    assert set(many) == {b"a", b"b", b"c"}
    assert console("SRANDMEMBER s 0") == []
    assert console("SCARD s") == 3


def test_smove_moves_a_member(console: Console) -> None:
    console("SADD a 1 2")
    console("SADD b 2")
    assert console("SMOVE a b 1") == 1
    assert console("SMOVE a b 3") == 0
    assert console("SMOVE a b 2") == 1
    assert console("SMOVE a b 2") == 0
    assert console("EXISTS a") == 0
    assert sorted(console("SMEMBERS b")) == [b"1", b"2"]
    assert console("SMOVE b b 1") == 1
    assert console("SMOVE b b 9") == 0


def test_sets_are_intersected_united_and_subtracted(console: Console) -> None:
    console("SADD a 1 2 3 4")
    console("SADD b 2 3 x")
    console("SADD c 3 4 x y z")
    assert sorted(console("SINTER a b c")) == [b"3"]
    assert console("SINTER a none") == []
    assert sorted(console("SUNION a none b")) == [b"1", b"2", b"3", b"4", b"x"]
    assert sorted(console("SDIFF a b none")) == [b"1", b"4"]
    assert sorted(console("SDIFF c b a")) == [b"y", b"z"]
    assert console("SDIFF a a") == console("SDIFF none a") == []
    assert console("SINTERCARD 2 a b") == 2
    assert console("SINTERCARD 2 a b LIMIT 1") == 1
    assert console("SINTERCARD 2 a b LIMIT 0") == 2
    assert console("SINTERCARD 1 a LIMIT 3") == 3
    assert console("SINTERCARD 2 a none") == 0


def test_large_sets_meet_small_ones(console: Console) -> None:
    console("SADD", "large", *range(20_000))
    console("SADD", "other", *range(10_000, 30_000))
    console("SADD", "small", 5, 15_000, "x")
    assert sorted(console("SINTER large small")) == [b"15000", b"5"]
    assert console("SINTERCARD 2 large other") == 10_000
    assert console("SINTERSTORE out large other small") == 1
    assert console("SDIFFSTORE out large small") == 19_998
    assert console("SDIFFSTORE out small large") == 1
    assert console("SUNIONSTORE out large other small") == 30_001
    assert sorted(console("SRANDMEMBER out 3")) != []
    assert console("SREM", "out", *range(30_000)) == 30_000
    assert console("SMEMBERS out") == [b"x"]


def test_stored_outcomes_replace_whatever_was_there(console: Console) -> None:
    console("SADD a 1 2")
    console("SET out text EX 100")
    assert console("SUNIONSTORE out a") == 2
    assert console("TTL out") == -1
    assert console("SDIFFSTORE a a out") == 0
    assert console("EXISTS a") == 0
    assert console("SINTERSTORE out a out") == 0
    assert console("EXISTS out") == 0


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("SADD s", "ERR wrong number of arguments for 'sadd' command"),
        ("SADD t a", WRONG_TYPE),
        ("SREM t a", WRONG_TYPE),
        ("SMEMBERS t", WRONG_TYPE),
        ("SMISMEMBER t a", WRONG_TYPE),
        ("SPOP t", WRONG_TYPE),
        ("SPOP t -1", MUST_BE_POSITIVE),
        ("SPOP s a", MUST_BE_POSITIVE),
        ("SPOP s 1 2", SYNTAX),
        ("SRANDMEMBER s a", "ERR value is not an integer or out of range"),
        ("SRANDMEMBER s 1 2", SYNTAX),
        (
            "SRANDMEMBER s -9223372036854775808",
            "ERR value is out of range, value must between -9223372036854775807"
            " and 9223372036854775807",
        ),
        ("SMOVE s t a", WRONG_TYPE),
        ("SMOVE t s a", WRONG_TYPE),
        ("SINTER none t", WRONG_TYPE),
        ("SUNION s t", WRONG_TYPE),
        ("SINTERSTORE s none t", WRONG_TYPE),
        ("SDIFFSTORE s t", WRONG_TYPE),
        ("SINTERCARD 0 s", "ERR numkeys should be greater than 0"),
        ("SINTERCARD a s", "ERR numkeys should be greater than 0"),
        ("SINTERCARD 2 s", "ERR Number of keys can't be greater than number of args"),
        ("SINTERCARD 1 s FOO", SYNTAX),
        ("SINTERCARD 1 s LIMIT", SYNTAX),
        ("SINTERCARD 1 s LIMIT -1", "ERR LIMIT can't be negative"),
        ("SSCAN s a", "ERR invalid cursor"),
        ("SSCAN t 0", WRONG_TYPE),
        ("SSCAN s 0 COUNT 0", SYNTAX),
    ],
)
def test_a_refused_command_says_why_and_changes_nothing(
    console: Console, command: str, message: str
) -> None:
    console("SADD s a b")
    console("SET t text")
    changes = console.ctx.db.dirty
    with pytest.raises(CommandError) as refusal:
        console(command)
    assert str(refusal.value) == message
    assert console.ctx.db.dirty == changes
    assert sorted(console("KEYS *")) == [b"s", b"t"]
    assert sorted(console("SMEMBERS s")) == [b"a", b"b"]


def test_every_change_is_told_and_an_empty_set_goes(
    console: Console, events: list[tuple[bytes, str]]
) -> None:
    for command in (
        *("SADD s a b", "SADD s a", "SREM s x", "SREM s a", "SPOP s", "SADD s a b c", "SPOP s 0"),
        *("SMOVE s d a", "SMOVE s d x", "SADD d b", "SMOVE s d b", "SMOVE d d b"),
        *("SUNIONSTORE u s d", "SINTERSTORE i s d", "SDIFFSTORE u s s", "SINTERSTORE i u s"),
        *("SPOP d 9", "SMOVE s d c"),
    ):
        console(command)
    assert events == [
        *((b"s", "sadd"), (b"s", "srem"), (b"s", "spop"), (b"s", "del"), (b"s", "sadd")),
        *((b"s", "srem"), (b"d", "sadd"), (b"d", "sadd"), (b"s", "srem")),
        *((b"u", "sunionstore"), (b"u", "del")),
        *((b"d", "spop"), (b"d", "del"), (b"s", "srem"), (b"s", "del"), (b"d", "sadd")),
    ]


def test_encodings_follow_the_settings(console: Console) -> None:
    console("CONFIG SET set-max-intset-entries 3 set-max-listpack-entries 4")
    console("CONFIG SET set-max-listpack-value 5")
    console("SADD s 1 2 3")
    assert console("OBJECT ENCODING s") == b"intset"
    console("SADD s abc")
    assert console("OBJECT ENCODING s") == b"listpack"
    console("SADD s abcdef")
    assert console("OBJECT ENCODING s") == b"hashtable"
    console("SREM s abcdef abc")
    assert console("OBJECT ENCODING s") == b"hashtable"
    console("SINTERSTORE t s")
    assert console("OBJECT ENCODING t") == b"intset"
    console("SADD t 4")
    assert console("OBJECT ENCODING t") == b"hashtable"


@pytest.mark.parametrize("count", [3, 600, 9000])
def test_a_scan_returns_what_stays_once(console: Console, count: int) -> None:
    console("SADD", "s", *(f"m{number}" for number in range(count)))
    found: list[bytes] = []
    cursor = b"0"
    for step in range(100_000):
        cursor, members = console("SSCAN", "s", cursor, "COUNT", 100)
        found += members
        console("SADD", "s", f"new{step}")  # grows meanwhile
        if cursor == b"0":
            break
    stayed = [member for member in found if member.startswith(b"m")]
    assert len(stayed) == len(set(stayed)) == count
    assert console("SSCAN none 0") == [b"0", []]
    whole = console("SSCAN s 0 MATCH m1 COUNT 100000")
    assert whole == [b"0", [b"m1"]]


@pytest.mark.parametrize(
    "make",
    [
        lambda index: f"SADD s {index}",
        lambda index: f"SADD {'st'[index % 3 == 2]} m{index % 7}",
        lambda index: f"SADD s m{index}" + " more" * (index == 5),
        lambda index: f"SADD text {index}",
        lambda index: "SADD s",
        lambda index: "SPOP s",
        lambda index: "SPOP none" if index % 4 else "SPOP s",
        lambda index: "SPOP s" + " 2" * (index == 9),
        lambda index: "SPOP text",
        lambda index: "SPOP big",
    ],
)
@pytest.mark.parametrize("count", [0, 1, 5, 20, 500, 9_000])
def test_a_pipeline_answers_and_leaves_what_single_requests_do(
    console: Console, make: Callable[[int], str], count: int
) -> None:
    alone = Console(resp=console.ctx.resp)
    for one in (console, alone):
        if count:
            one("SADD", "s", *(f"m{number}" for number in range(count)))
        one("SET text x")
        one("SADD", "big", b"x" * 5000, b"y", b"z" * 5000, b"a")
    batch = [make(index).encode().split() for index in range(40)]
    out: list[bytes] = []
    run(console.ctx, batch, out)
    assert b"".join(out) == b"".join(map(alone.execute, batch))  # both draw from the same seed
    for key in ("s", "t", "big"):
        assert console("SMEMBERS", key) == alone("SMEMBERS", key)
        assert console("OBJECT", "ENCODING", key) == alone("OBJECT", "ENCODING", key)
