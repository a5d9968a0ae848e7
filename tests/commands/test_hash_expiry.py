"""Fields that expire: codes, conditions, events, and that nobody sees one past its time."""

import pytest
from tests.commands.test_hashes import Listener, whole
from tests.testing.console import Console


@pytest.fixture(params=[2, 3])
def console(request: pytest.FixtureRequest) -> Console:
    return Console(resp=request.param)


@pytest.fixture
def events(console: Console) -> list[tuple[bytes, str]]:
    return Listener(console.ctx.db).events


def names(events: list[tuple[bytes, str]]) -> list[str]:
    """What was told since the last question."""
    told = [event for _, event in events]
    events.clear()
    return told


def test_each_field_has_its_own_code(console: Console) -> None:
    console("HSET h a 1 b 2")
    assert console("HEXPIRE h 100 FIELDS 3 a b none") == [1, 1, -2]
    assert console("HEXPIRE none 100 FIELDS 2 a b") == [-2, -2]
    assert console("HEXPIRE h 0 FIELDS 2 a a") == [2, -2]
    assert console("HPEXPIREAT h 1 FIELDS 1 b") == [2]
    assert console("EXISTS h") == 0


@pytest.mark.parametrize(
    ("condition", "codes"),
    [
        ("NX", [0, 0, 1]),
        ("xx", [1, 1, 0]),
        ("GT", [1, 0, 0]),
        ("lt", [0, 1, 1]),
    ],
)
def test_a_condition_is_judged_field_by_field(
    console: Console, condition: str, codes: list[int]
) -> None:
    console("HSET h soon 1 late 2 never 3")
    console("HEXPIRE h 50 FIELDS 1 soon")
    console("HEXPIRE h 200 FIELDS 1 late")
    assert console(f"HEXPIRE h 100 {condition} FIELDS 3 soon late never") == codes
    times = console("HTTL h FIELDS 3 soon late never")
    expected = [100 if code else old for code, old in zip(codes, [50, 200, -1], strict=True)]
    assert times == expected


def test_a_time_that_is_the_same_is_neither_later_nor_earlier(console: Console) -> None:
    console("HSET h f 1")
    console("HEXPIRE h 100 FIELDS 1 f")
    assert console("HEXPIRE h 100 GT FIELDS 1 f") == [0]
    assert console("HEXPIRE h 100 LT FIELDS 1 f") == [0]


def test_times_are_told_in_every_unit(console: Console) -> None:
    now_ms = console.clock.now_ms()
    console("HSET h f 1 g 2")
    console("HPEXPIRE h 1500 FIELDS 1 f")
    assert console("HPTTL h FIELDS 3 f g none") == [1500, -1, -2]
    assert console("HTTL h FIELDS 1 f") == [2]
    assert console("HPEXPIRETIME h FIELDS 1 f") == [now_ms + 1500]
    assert console("HEXPIRETIME h FIELDS 3 f g none") == [(now_ms + 1500 + 999) // 1000, -1, -2]
    console("HEXPIREAT h 4102444800 FIELDS 1 g")
    assert console("HEXPIRETIME h FIELDS 1 g") == [4102444800]
    assert console("HTTL none FIELDS 2 f g") == [-2, -2]


def test_a_field_loses_its_time_when_set_and_keeps_it_when_counted(console: Console) -> None:
    console("HSET h f 1 g 2")
    console("HEXPIRE h 100 FIELDS 2 f g")
    console("HINCRBY h f 1")
    console("HINCRBYFLOAT h f 0.5")
    console("HSETNX h f 9")
    assert console("HTTL h FIELDS 1 f") == [100]
    console("HSET h f 1")
    console("HMSET h g 1")
    assert console("HTTL h FIELDS 2 f g") == [-1, -1]


def test_a_removed_field_that_comes_back_has_no_time(console: Console) -> None:
    console("HSET h f 1 g 2")
    console("HEXPIRE h 100 FIELDS 1 f")
    console("HDEL h f")
    console("HSET h f 1")
    console.clock.advance(200_000)
    assert console("HGET h f") == b"1"


def test_persisting_takes_the_time_back(console: Console, events: list[tuple[bytes, str]]) -> None:
    console("HSET h f 1 g 2")
    console("HEXPIRE h 100 FIELDS 1 f")
    names(events)
    assert console("HPERSIST h FIELDS 3 f g none") == [1, -1, -2]
    assert console("HPERSIST h FIELDS 1 f") == [-1]
    assert console("HPERSIST none FIELDS 1 f") == [-2]
    assert names(events) == ["hpersist"]
    console.clock.advance(200_000)
    assert console("HLEN h") == 2


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("HGET h f", None),
        ("HMGET h f g", [None, b"2"]),
        ("HLEN h", 1),
        ("HSTRLEN h f", 0),
        ("HEXISTS h f", 0),
        ("HDEL h f", 0),
        ("HKEYS h", [b"g"]),
        ("HVALS h", [b"2"]),
        ("HINCRBY h f 5", 5),
        ("HINCRBYFLOAT h f 5", b"5"),
        ("HSET h f 5", 1),
        ("HSET h f 5 x 1", 2),
        ("HSETNX h f 5", 1),
        ("HRANDFIELD h", b"g"),
        ("HRANDFIELD h 5", [b"g"]),
        ("HSCAN h 0", [b"0", [b"g", b"2"]]),
        ("HTTL h FIELDS 1 f", [-2]),
        ("HEXPIRE h 10 FIELDS 1 f", [-2]),
        ("HPERSIST h FIELDS 1 f", [-2]),
        ("HGETEX h PERSIST FIELDS 1 f", [None]),
        ("HGETDEL h FIELDS 1 f", [None]),
        ("HSETEX h FXX FIELDS 1 f 1", 0),
        ("HSETEX h FNX FIELDS 1 f 1", 1),
    ],
)
def test_nobody_sees_a_field_past_its_time(
    console: Console, events: list[tuple[bytes, str]], command: str, reply: object
) -> None:
    console("HSET h f 1 g 2")
    console("HPEXPIRE h 100 FIELDS 1 f")
    console.clock.advance(100)
    assert console("HGET h f") == b"1"
    console.clock.advance(1)
    names(events)
    assert console(command) == reply
    assert names(events)[0] == "hexpired"
    assert whole(console, "h")[b"g"] == b"2"


@pytest.mark.parametrize("command", ["HGET h f", "HGETALL h", "HLEN h", "HRANDFIELD h"])
def test_the_key_goes_with_its_last_field(
    console: Console, events: list[tuple[bytes, str]], command: str
) -> None:
    console("HSET h f 1")
    console("HPEXPIRE h 100 FIELDS 1 f")
    console.clock.advance(101)
    names(events)
    assert not console(command)
    assert names(events) == ["hexpired", "del"]
    assert console("EXISTS h") == 0


def test_many_due_fields_are_never_seen_by_name_though_they_go_in_slices(
    console: Console,
) -> None:
    fields = [b"f%d" % number for number in range(2000)]
    console("HSET", "h", "stays", "1", *[part for field in fields for part in (field, b"v")])
    console("HPEXPIRE", "h", "100", "FIELDS", len(fields), *fields)
    console.clock.advance(101)
    assert console("HGET", "h", fields[1999]) is None
    assert console("HLEN h") > 1
    assert console("HMGET", "h", *fields) == [None] * 2000
    assert whole(console, "h") == {b"stays": b"1"}


def test_active_expiry_removes_due_fields_that_nobody_asks_for(
    console: Console, events: list[tuple[bytes, str]]
) -> None:
    for number in range(100):
        console("HSET", b"h%d" % number, "f", "1", "g", "2")
        console("HPEXPIRE", b"h%d" % number, 100 + number, "FIELDS", "1", "f")
    console("HPEXPIRE h7 50 FIELDS 1 g")
    console("HPERSIST h8 FIELDS 1 f")
    console("DEL h9")
    names(events)
    console.clock.advance(150)
    console.engine.expire_keys(console.clock.now_ms())
    assert console.ctx.db.expired_fields == 49  # f of h0 to h49 but h8 and h9, and g of h7
    assert names(events).count("hexpired") == 48
    assert not console.ctx.db.holds(b"h7")
    tables = {}
    for number in (8, 10, 49, 50, 99):
        entry = console.ctx.db.lookup(b"h%d" % number, 0)
        assert entry is not None
        tables[number] = len(entry.value)  # type: ignore[arg-type]
    assert tables == {8: 2, 10: 1, 49: 1, 50: 2, 99: 2}
    console.clock.advance(1000)
    console.engine.expire_keys(console.clock.now_ms())
    assert console.ctx.db.expired_fields == 99


def test_times_travel_with_a_renamed_moved_or_copied_hash(console: Console) -> None:
    console("HSET h f 1 g 2")
    console("HPEXPIRE h 100 FIELDS 1 f")
    console("COPY h copied")
    console("RENAME h renamed")
    console("COPY renamed moved")
    console("MOVE moved 1")
    console.clock.advance(101)
    console.engine.expire_keys(console.clock.now_ms())
    assert console.ctx.db.expired_fields == 2
    assert console.engine.databases[1].expired_fields == 1
    for key in ("renamed", "copied"):
        assert whole(console, key) == {b"g": b"2"}


def test_times_travel_with_swapped_databases_and_end_with_flushed_ones(console: Console) -> None:
    console("HSET h f 1 g 2")
    console("HPEXPIRE h 100 FIELDS 1 f")
    console("SWAPDB 0 1")
    console("HSET h f 1")
    console("HPEXPIRE h 100 FIELDS 1 f")
    console("FLUSHDB")
    console("HSET h f 1")
    console.clock.advance(101)
    console.engine.expire_keys(console.clock.now_ms())
    assert whole(console, "h") == {b"f": b"1"}
    console("SELECT 1")
    assert whole(console, "h") == {b"g": b"2"}


def test_setting_values_and_times_in_one_step(
    console: Console, events: list[tuple[bytes, str]]
) -> None:
    assert console("HSETEX h EX 100 FIELDS 2 f 1 g 2") == 1
    assert console("HTTL h FIELDS 2 f g") == [100, 100]
    assert names(events) == ["hset", "hexpire"]
    assert console("HSETEX h KEEPTTL FIELDS 2 f 3 x 4") == 1
    assert console("HTTL h FIELDS 2 f x") == [100, -1]
    assert console("HSETEX h FIELDS 1 f 3") == 1
    assert console("HTTL h FIELDS 1 f") == [-1]
    names(events)
    assert console("HSETEX h PXAT 1 FIELDS 1 f 3") == 1
    assert names(events) == ["hset", "hdel"]
    assert console("HEXISTS h f") == 0


def test_setting_may_depend_on_whether_the_fields_are_there(console: Console) -> None:
    assert console("HSETEX none FXX EX 9 FIELDS 1 f 1") == 0
    assert console("EXISTS none") == 0
    assert console("HSETEX h FNX FIELDS 2 f 1 g 2") == 1
    assert console("HSETEX h fnx FIELDS 2 f 9 x 9") == 0
    assert console("HSETEX h FXX FIELDS 2 f 9 x 9") == 0
    assert console("HSETEX h FXX EX 9 FIELDS 2 f 7 g 8") == 1
    assert whole(console, "h") == {b"f": b"7", b"g": b"8"}


def test_reading_may_change_times(console: Console, events: list[tuple[bytes, str]]) -> None:
    console("HSET h f 1 g 2")
    names(events)
    assert console("HGETEX h FIELDS 2 f none") == [b"1", None]
    assert names(events) == []
    assert console("HGETEX h EX 100 FIELDS 3 f g none") == [b"1", b"2", None]
    assert console("HTTL h FIELDS 3 f g none") == [100, 100, -2]
    assert names(events) == ["hexpire"]
    assert console("HGETEX h PERSIST FIELDS 2 f g") == [b"1", b"2"]
    assert console("HTTL h FIELDS 2 f g") == [-1, -1]
    assert names(events) == ["hpersist"]
    assert console("HGETEX h EXAT 1 FIELDS 2 f g") == [b"1", b"2"]
    assert names(events) == ["hdel", "del"]
    assert console("HGETEX h FIELDS 1 f") == [None]


def test_reading_may_delete(console: Console, events: list[tuple[bytes, str]]) -> None:
    console("HSET h f 1 g 2")
    names(events)
    assert console("HGETDEL h FIELDS 3 f none f") == [b"1", None, None]
    assert names(events) == ["hdel"]
    assert console("HGETDEL h FIELDS 1 none") == [None]
    assert names(events) == []
    assert console("HGETDEL h FIELDS 1 g") == [b"2"]
    assert names(events) == ["hdel", "del"]
    assert console("HGETDEL h FIELDS 1 g") == [None]
