"""SORT and SORT_RO: what the differential run cannot show or explain."""

from typing import Any

import pytest
from tests.testing.server_console import ServerConsole as Console

from hotplate.errors import CommandError


@pytest.fixture(params=[2, 3])
def console(request: pytest.FixtureRequest) -> Console:
    console = Console(resp=request.param)
    console("RPUSH list 3 10 1 2")
    console("SADD set c a b")
    console("ZADD zset 1 z 2 y 3 x")
    for name, weight in (("1", "30"), ("2", "20"), ("3", "10"), ("10", "5")):
        console(f"SET weight_{name} {weight}")
        console(f"HSET object_{name} weight {weight} name n{name}")
    return console


def refusal(console: Console, line: str) -> str:
    with pytest.raises(CommandError) as caught:
        console(line)
    return caught.value.message.decode()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("SORT list", "1 2 3 10"),
        ("SORT list DESC", "10 3 2 1"),
        ("SORT list ALPHA", "1 10 2 3"),
        ("SORT_RO list alpha desc", "3 2 10 1"),
        ("SORT list LIMIT 1 2", "2 3"),
        ("SORT list LIMIT -5 2", "1 2"),
        ("SORT list LIMIT 1 -1", "2 3 10"),
        ("SORT list LIMIT 10 1", ""),
        ("SORT list BY weight_*", "10 3 2 1"),
        ("SORT list BY object_*->weight DESC", "1 2 3 10"),
        ("SORT list BY object_*->name ALPHA", "1 10 2 3"),
        ("SORT list BY nosort", "3 10 1 2"),
        ("SORT list BY nosort DESC", "2 1 10 3"),
        ("SORT list BY nosort DESC LIMIT 0 1", "2"),
        ("SORT list GET # GET object_*->name LIMIT 0 2", "1 n1 2 n2"),
        ("SORT list BY nothing_*", "1 10 2 3"),
        ("SORT set ALPHA DESC", "c b a"),
        ("SORT zset BY nosort", "z y x"),
        ("SORT zset BY nosort DESC LIMIT 1 1", "y"),
        ("SORT zset ALPHA", "x y z"),
        ("SORT none", ""),
    ],
)
def test_elements_come_in_the_order_asked_for(console: Console, line: str, expected: str) -> None:
    assert console(line) == expected.encode().split()


def test_what_a_pattern_does_not_find_is_null(console: Console) -> None:
    found = console("SORT list GET nothing_* GET weight_*->x GET object_* GET plain LIMIT 0 1")
    assert found == [None, None, None, None]


def test_a_field_whose_time_is_past_is_not_found(console: Console) -> None:
    console("HPEXPIRE object_1 100 FIELDS 1 name")
    console.clock.advance(200)
    assert console("SORT list GET object_*->name LIMIT 0 2") == [None, b"n2"]


def test_an_arrow_without_a_field_is_part_of_the_key(console: Console) -> None:
    console("SET x1-> found")
    assert console("SORT list GET x*-> LIMIT 0 1") == [b"found"]


def test_storing_makes_a_list_and_tells(console: Console) -> None:
    seen: list[tuple[bytes, str]] = []
    console.ctx.db.observer = lambda index, key, event: seen.append((key, event))
    console("SET dest x EX 100")
    assert console("SORT list GET nothing_* GET # STORE dest") == 8
    assert console("LRANGE dest 0 3") == [b"", b"1", b"", b"2"]
    assert console("TTL dest") == -1
    assert console("SORT none STORE dest") == 0
    assert console("SORT none STORE dest") == 0
    assert console("EXISTS dest") == 0
    assert console("SORT list STORE list") == 4
    assert console("LRANGE list 0 -1") == [b"1", b"2", b"3", b"10"]
    assert seen == [
        *((b"dest", event) for event in ("set", "expire", "sortstore", "del")),
        (b"list", "sortstore"),
    ]


def test_a_set_is_stored_in_an_order_that_does_not_depend_on_chance(console: Console) -> None:
    console("SORT set BY nosort STORE dest")
    assert console("LRANGE dest 0 -1") == [b"a", b"b", b"c"]


@pytest.mark.parametrize(
    ("element", "score"),
    [("1e3", 1000), (" 5", 5), ("0x10", 16), ("inf", 10**400), ("-inf", -(10**400)), ("", 0)],
)
def test_numbers_are_those_of_strtod(console: Console, element: str, score: int) -> None:
    console("RPUSH", "numbers", "7", element)
    wanted = sorted([(7, "7"), (score, element)])
    assert console("SORT numbers") == [text.encode() for _, text in wanted]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("SORT set", "ERR One or more scores can't be converted into double"),
        ("SORT list BY object_*->name", "ERR One or more scores can't be converted into double"),
        ("SORT weight_1", "WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("SORT object_1", "WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("SORT list LIMIT 1", "ERR syntax error"),
        ("SORT list LIMIT a 1", "ERR value is not an integer or out of range"),
        ("SORT list BY", "ERR syntax error"),
        ("SORT list FOO", "ERR syntax error"),
        ("SORT_RO list STORE dest", "ERR syntax error"),
        ("SORT set STORE dest", "ERR One or more scores can't be converted into double"),
    ],
)
def test_what_makes_no_sense_is_refused_and_stores_nothing(
    console: Console, line: str, message: str
) -> None:
    assert refusal(console, line) == message
    assert console("EXISTS dest") == 0


@pytest.mark.parametrize("element", [" ", "nan", "1e400", "1x", "1_0"])
def test_other_texts_are_no_numbers(console: Console, element: str) -> None:
    console("RPUSH", "numbers", "1", element)
    assert refusal(console, "SORT numbers").startswith("ERR One or more scores")


def test_the_keys_of_a_call_are_told(console: Console) -> None:
    def keys(line: str) -> Any:
        return console(f"COMMAND GETKEYS {line}")

    assert keys("SORT a BY store LIMIT 0 1 GET store STORE b") == [b"a", b"b"]
    assert keys("SORT a STORE b STORE c") == [b"a", b"c"]
    assert keys("SORT_RO a BY w_*") == [b"a"]
    flags = console("COMMAND GETKEYSANDFLAGS SORT a STORE b")
    assert [(name, sorted(words)) for name, words in flags] == [
        (b"a", [b"RO", b"access"]),
        (b"b", [b"OW", b"update"]),
    ]
