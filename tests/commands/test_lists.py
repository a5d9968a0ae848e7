"""Commands on lists, over both protocols: what the differential run cannot show or explain."""

from collections.abc import Callable

import pytest
from tests.testing.console import Console

from hotplate.engine.dispatch import run
from hotplate.errors import CommandError
from hotplate.keyspace.database import Database

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
NOT_AN_INTEGER = "ERR value is not an integer or out of range"
MUST_BE_POSITIVE = "ERR value is out of range, must be positive"
NUMKEYS = "ERR numkeys should be greater than 0"
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


def test_elements_are_pushed_one_after_the_other(console: Console) -> None:
    assert console("RPUSH l a b") == 2
    assert console("LPUSH l c d") == 4
    assert console("LRANGE l 0 -1") == [b"d", b"c", b"a", b"b"]
    assert console("LPUSHX none a") == console("RPUSHX none a") == 0
    assert console("LPUSHX l e f") == 6
    assert console("RPUSHX l g") == 7
    assert console("LRANGE l 0 -1") == [b"f", b"e", b"d", b"c", b"a", b"b", b"g"]


def test_popping_answers_an_element_or_with_a_count_an_array(console: Console) -> None:
    console("RPUSH l a b c d e")
    assert console("LPOP l") == b"a"
    assert console("RPOP l") == b"e"
    assert console("RPOP l 2") == [b"d", b"c"]
    assert console("LPOP l 0") == []
    assert console("LPOP l 10") == [b"b"]
    assert console("EXISTS l") == 0


def test_nothing_to_pop_is_a_null_in_the_form_of_the_protocol(console: Console) -> None:
    null, null_array = (b"_\r\n", b"_\r\n") if console.ctx.resp == 3 else (b"$-1\r\n", b"*-1\r\n")
    assert console.execute([b"LPOP", b"none"]) == null
    assert console.execute([b"LPOP", b"none", b"0"]) == null_array
    assert console.execute([b"RPOP", b"none", b"2"]) == null_array
    assert console.execute([b"LMPOP", b"1", b"none", b"LEFT"]) == null_array
    assert console.execute([b"LMOVE", b"none", b"l", b"LEFT", b"LEFT"]) == null
    assert console.execute([b"LPOS", b"none", b"x"]) == null
    assert console.execute([b"LPOS", b"none", b"x", b"COUNT", b"0"]) == b"*0\r\n"


def test_ranges_count_from_either_end_and_may_reach_beyond(console: Console) -> None:
    console("RPUSH l a b c d")
    assert console("LRANGE l 1 -2") == [b"b", b"c"]
    assert console("LRANGE l -100 100") == [b"a", b"b", b"c", b"d"]
    assert console("LRANGE l 3 1") == console("LRANGE l 9 12") == console("LRANGE none 0 -1") == []
    assert console("LINDEX l -1") == b"d"
    assert console("LINDEX l 4") is None
    assert console("LLEN l") == 4
    assert console("LLEN none") == 0


def test_long_lists_are_read_anywhere(console: Console) -> None:
    elements = [b"%d" % number for number in range(5000)]
    console("RPUSH", "l", *elements)
    assert console("LRANGE l 0 -1") == elements
    assert console("LRANGE l 2000 2300") == elements[2000:2301]
    assert console("LINDEX l 2500") == b"2500"
    assert console("LPOS l 4000") == 4000
    assert console("LTRIM l 1000 -1001") == b"OK"
    assert console("LRANGE l 0 -1") == elements[1000:4000]


def test_changes_in_the_middle(console: Console) -> None:
    console("RPUSH l a b c b a")
    assert console("LSET l -1 z") == b"OK"
    assert console("LINSERT l before b x") == 6
    assert console("LINSERT l AFTER b y") == 7
    assert console("LINSERT l AFTER none y") == -1
    assert console("LINSERT none AFTER b y") == 0
    assert console("LRANGE l 0 -1") == [b"a", b"x", b"b", b"y", b"c", b"b", b"z"]
    assert console("LREM l -1 b") == 1
    assert console("LREM l 0 q") == 0
    assert console("LRANGE l 0 -1") == [b"a", b"x", b"b", b"y", b"c", b"z"]
    console("DEL l")
    console("RPUSH", "l", *(b"ab" * 20).decode())
    assert console("LREM l 15 a") == 15
    assert console("LREM l 0 b") == 20
    assert console("LRANGE l 0 -1") == [b"a"] * 5


def test_lpos_knows_ranks_counts_and_a_limit(console: Console) -> None:
    console("RPUSH l a b c 1 2 3 c c")
    assert console("LPOS l c") == 2
    assert console("LPOS l c RANK 2") == 6
    assert console("LPOS l c RANK -1") == 7
    assert console("LPOS l c COUNT 2") == [2, 6]
    assert console("LPOS l c COUNT 0 RANK -1") == [7, 6, 2]
    assert console("LPOS l c COUNT 0 MAXLEN 7") == [2, 6]
    assert console("LPOS l c COUNT 0 RANK -1 MAXLEN 2") == [7, 6]
    assert console("LPOS l x") is None
    assert console("LPOS l x COUNT 0") == []


def test_lmove_takes_from_one_end_and_puts_to_another(console: Console) -> None:
    console("RPUSH a 1 2 3")
    assert console("LMOVE a b LEFT right") == b"1"
    assert console("RPOPLPUSH a b") == b"3"
    assert console("LRANGE b 0 -1") == [b"3", b"1"]
    assert console("LMOVE b b LEFT RIGHT") == b"3"
    assert console("LRANGE b 0 -1") == [b"1", b"3"]
    assert console("RPOPLPUSH a a") == b"2"
    assert console("RPOPLPUSH a b") == b"2"
    assert console("EXISTS a") == 0


def test_lmpop_pops_from_the_first_list_that_there_is(console: Console) -> None:
    console("RPUSH b 1 2 3")
    assert console("LMPOP 2 a b LEFT") == [b"b", [b"1"]]
    assert console("LMPOP 2 a b RIGHT COUNT 5") == [b"b", [b"3", b"2"]]
    assert console("LMPOP 2 a b RIGHT COUNT 5") is None


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("LPUSH l", "ERR wrong number of arguments for 'lpush' command"),
        ("LPUSH s a", WRONG_TYPE),
        ("RPUSHX s a", WRONG_TYPE),
        ("LPOP s", WRONG_TYPE),
        ("LPOP s 1", WRONG_TYPE),
        ("LPOP s -1", MUST_BE_POSITIVE),
        ("RPOP l a", MUST_BE_POSITIVE),
        ("RPOP l 1 2", "ERR wrong number of arguments for 'rpop' command"),
        ("LRANGE s a 0", NOT_AN_INTEGER),
        ("LRANGE s 0 0", WRONG_TYPE),
        ("LINDEX s a", WRONG_TYPE),
        ("LINDEX l a", NOT_AN_INTEGER),
        ("LSET none a x", "ERR no such key"),
        ("LSET l a x", NOT_AN_INTEGER),
        ("LSET l 2 x", "ERR index out of range"),
        ("LINSERT s FOO a x", SYNTAX),
        ("LINSERT s BEFORE a x", WRONG_TYPE),
        ("LREM s a a", NOT_AN_INTEGER),
        ("LTRIM l 0 a", NOT_AN_INTEGER),
        (
            "LPOS l a RANK 0",
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ..."
            " or use negative to start from the end of the list",
        ),
        (
            "LPOS l a RANK -9223372036854775808",
            "ERR value is out of range, value must between -9223372036854775807"
            " and 9223372036854775807",
        ),
        ("LPOS l a COUNT -1", "ERR COUNT can't be negative"),
        ("LPOS l a MAXLEN a", "ERR MAXLEN can't be negative"),
        ("LPOS l a RANK", SYNTAX),
        ("LMOVE l s LEFT RIGHT", WRONG_TYPE),
        ("LMOVE s l LEFT RIGHT", WRONG_TYPE),
        ("LMOVE l l LEFT UP", SYNTAX),
        ("RPOPLPUSH l s", WRONG_TYPE),
        ("LMPOP 0 l LEFT", NUMKEYS),
        ("LMPOP a l LEFT", NUMKEYS),
        ("LMPOP 2 l LEFT", SYNTAX),
        ("LMPOP 1 l UP", SYNTAX),
        ("LMPOP 1 l LEFT COUNT 0", "ERR count should be greater than 0"),
        ("LMPOP 1 l LEFT COUNT 1 COUNT 1", SYNTAX),
        ("LMPOP 2 s l LEFT", WRONG_TYPE),
    ],
)
def test_a_refused_command_says_why_and_changes_nothing(
    console: Console, command: str, message: str
) -> None:
    console("RPUSH l a b")
    console("SET s text")
    changes = console.ctx.db.dirty
    with pytest.raises(CommandError) as refusal:
        console(command)
    assert str(refusal.value) == message
    assert console.ctx.db.dirty == changes
    assert sorted(console("KEYS *")) == [b"l", b"s"]
    assert console("LRANGE l 0 -1") == [b"a", b"b"]


def test_every_change_is_told_and_an_empty_list_goes(
    console: Console, events: list[tuple[bytes, str]]
) -> None:
    for command in (
        *("LPUSH l a", "RPUSH l b c", "LPUSHX l d", "RPUSHX none x", "LPOP l", "RPOP l 1"),
        *("LSET l 0 x", "LINSERT l BEFORE x y", "LINSERT l BEFORE none y", "LREM l 1 y"),
        *("LREM l 1 y", "LPOP none", "LPOP l 0", "RPOPLPUSH l m", "LMOVE l m LEFT RIGHT"),
        *("LTRIM m 0 0", "LMPOP 2 l m LEFT", "RPUSH l 1", "LTRIM l 5 9", "RPUSH l 1", "LREM l 0 1"),
    ):
        console(command)
    assert events == [
        *((b"l", "lpush"), (b"l", "rpush"), (b"l", "lpush"), (b"l", "lpop"), (b"l", "rpop")),
        *((b"l", "lset"), (b"l", "linsert"), (b"l", "lrem")),
        *((b"m", "lpush"), (b"l", "rpop"), (b"m", "rpush"), (b"l", "lpop"), (b"l", "del")),
        *((b"m", "ltrim"), (b"m", "lpop"), (b"m", "del")),
        *((b"l", "rpush"), (b"l", "ltrim"), (b"l", "del")),
        *((b"l", "rpush"), (b"l", "lrem"), (b"l", "del")),
    ]


def test_the_encoding_follows_the_setting(console: Console) -> None:
    console("CONFIG SET list-max-listpack-size 3")
    console("RPUSH l a b c")
    assert console("OBJECT ENCODING l") == b"listpack"
    console("RPUSH l d")
    assert console("OBJECT ENCODING l") == b"quicklist"
    console("LPOP l 2")
    assert console("OBJECT ENCODING l") == b"quicklist"
    console("LPOP l")
    assert console("OBJECT ENCODING l") == b"listpack"


def test_a_list_past_its_time_counts_as_absent(console: Console) -> None:
    console("RPUSH l a b")
    console("PEXPIRE l 100")
    assert console("RPUSH l c") == 3
    assert console("PTTL l") == 100
    console.clock.advance(200)
    assert console("LPUSH l x") == 1
    assert console("TTL l") == -1


def requests_of(*lines: str) -> list[list[bytes]]:
    return [line.encode().split() for line in lines]


@pytest.mark.parametrize(
    "make",
    [
        lambda index: f"LPUSH l {index}",
        lambda index: f"RPUSH l {index}",
        lambda index: f"RPUSH {'lm'[index % 3 == 2]} {index}",
        lambda index: f"RPUSH l {'x' * 300}",
        lambda index: f"RPUSH l {index}" + " more" * (index == 5),
        lambda index: "LPOP l",
        lambda index: "RPOP l",
        lambda index: "RPOP none" if index % 4 else "RPOP l",
        lambda index: "LPOP l" + " 2" * (index == 9),
        lambda index: f"LPUSH text {index}",
        lambda index: "LPOP text",
        lambda index: "LPOP big",
        lambda index: "LPOP",
        lambda index: "LPUSH l",
    ],
)
@pytest.mark.parametrize("length", [0, 1, 5, 20, 300, 9_990, 12_390])
def test_a_pipeline_answers_and_leaves_what_single_requests_do(
    console: Console, make: Callable[[int], str], length: int
) -> None:
    alone = Console(resp=console.ctx.resp)
    for one in (console, alone):
        if length:
            one("RPUSH", "l", *range(length))
        one("SET text x")
        one("RPUSH", "big", b"x" * 5000, b"y", b"z" * 5000, b"a")
    batch = requests_of(*map(make, range(40)))
    out: list[bytes] = []
    run(console.ctx, batch, out)
    assert b"".join(out) == b"".join(map(alone.execute, batch))
    for key in ("l", "m", "big"):
        assert console("LRANGE", key, 0, -1) == alone("LRANGE", key, 0, -1)
        assert console("OBJECT", "ENCODING", key) == alone("OBJECT", "ENCODING", key)


def test_a_pipeline_is_told_of_request_by_request(
    console: Console, events: list[tuple[bytes, str]]
) -> None:
    console("RPUSH l a b c d")
    run(console.ctx, requests_of("LPOP l", "LPOP l", "RPUSH l x", "RPUSH l y"), [])
    told = [event for _, event in events]
    assert told == ["rpush", "lpop", "lpop", "rpush", "rpush"]
