"""Commands on keys of any type and on whole databases, over both protocols."""

import pytest
from tests.testing.box import Box
from tests.testing.console import Console

from hotplate.errors import CommandError
from hotplate.keyspace.database import Database


@pytest.fixture(params=[2, 3])
def console(request: pytest.FixtureRequest) -> Console:
    return Console(resp=request.param)


def put_box(console: Console, key: bytes) -> Box:
    box = Box([1])
    console.ctx.db.assign(key, box, console.clock.now_ms())
    return box


def test_deleting_counts_what_was_there(console: Console) -> None:
    console("MSET a 1 b 2 c 3")
    assert console("DEL a none a b") == 2
    assert console("UNLINK c c") == 1
    assert console("DBSIZE") == 0


def test_existing_keys_count_as_often_as_named(console: Console) -> None:
    console("SET a 1")
    assert console("EXISTS a") == 1
    assert console("EXISTS a b a") == 2
    assert console("TOUCH a b a") == 2


@pytest.mark.parametrize(
    "command",
    ["GET box", "SET box v GET", "GETSET box v", "GETDEL box", "GETEX box", "APPEND box v",
     "STRLEN box", "SETRANGE box 0 v", "GETRANGE box 0 1", "INCR box", "INCRBYFLOAT box 1"],
)  # fmt: skip
def test_string_commands_refuse_another_type_and_change_nothing(
    console: Console, command: str
) -> None:
    box = put_box(console, b"box")
    changes = console.ctx.db.dirty
    with pytest.raises(CommandError) as refusal:
        console(command)
    text = "WRONGTYPE Operation against a key holding the wrong kind of value"
    assert str(refusal.value) == text
    assert console.ctx.db.dirty == changes
    entry = console.ctx.db.lookup(b"box", console.clock.now_ms())
    assert entry is not None
    assert entry.value is box


def test_other_types_pass_where_any_type_will_do(console: Console) -> None:
    box = put_box(console, b"box")
    console("SET text v")
    assert console("TYPE box") == b"box"
    assert console("OBJECT ENCODING box") == b"cardboard"
    assert console("OBJECT REFCOUNT box") == 1
    assert console("MGET box text") == [None, b"v"]
    assert console("SCAN 0 TYPE box") == [b"0", [b"box"]]
    assert console("COPY box copy") == 1
    box.content.append(2)
    copy = console.ctx.db.lookup(b"copy", console.clock.now_ms())
    assert copy is not None
    assert isinstance(copy.value, Box)
    assert copy.value.content == [1]
    with pytest.raises(CommandError, match="The specified keys must contain string values"):
        console("LCS box text")
    assert console("SET box v") == b"OK"


def test_types_and_encodings_of_strings(console: Console) -> None:
    console("SET a 1")
    assert console("TYPE a") == b"string"
    assert console("TYPE none") == b"none"
    assert console("OBJECT ENCODING none") is None
    assert console("OBJECT REFCOUNT a") == 2147483647
    console("SET a 10000")
    assert console("OBJECT REFCOUNT a") == 1


def test_frequencies_are_not_kept(console: Console) -> None:
    assert console("OBJECT FREQ none") is None
    console("SET a 1")
    with pytest.raises(CommandError, match="An LFU maxmemory policy is not selected"):
        console("OBJECT FREQ a")


def test_renaming_moves_the_value_and_its_expiry(console: Console) -> None:
    console("SET a v EX 100")
    console("SET b old EX 5")
    assert console("RENAME a b") == b"OK"
    assert (console("GET b"), console("TTL b"), console("EXISTS a")) == (b"v", 100, 0)
    assert console("RENAME b b") == b"OK"
    console("SET c v")
    assert console("RENAMENX b c") == 0
    assert console("RENAMENX b d") == 1
    with pytest.raises(CommandError) as refusal:
        console("RENAME none none")
    assert str(refusal.value) == "ERR no such key"


def test_copies_go_to_other_databases_and_replace_on_request(console: Console) -> None:
    console("SET a v EX 100")
    assert console("COPY a a DB 3") == 1
    assert console("COPY a a DB 3") == 0
    console("SET a w")
    assert console("COPY a a DB 3 REPLACE") == 1
    console.ctx.db = console.engine.databases[3]
    assert (console("GET a"), console("TTL a")) == (b"w", -1)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("COPY a a", "ERR source and destination objects are the same"),
        ("COPY a b DB 16", "ERR DB index is out of range"),
        ("COPY a b DB x", "ERR value is not an integer or out of range"),
        ("COPY a b DB", "ERR syntax error"),
        ("MOVE a 0", "ERR source and destination objects are the same"),
        ("MOVE a -1", "ERR DB index is out of range"),
        (
            "MOVE a 2147483648",
            "ERR value is out of range, value must between -2147483648 and 2147483647",
        ),
        ("SWAPDB x 0", "ERR invalid first DB index"),
        ("SWAPDB 0 x", "ERR invalid second DB index"),
        ("SWAPDB 0 16", "ERR DB index is out of range"),
        ("FLUSHDB LATER", "ERR syntax error"),
        ("FLUSHALL SYNC ASYNC", "ERR syntax error"),
        ("SCAN x", "ERR invalid cursor"),
        ("SCAN 0 COUNT 0", "ERR syntax error"),
        ("SCAN 0 MATCH", "ERR syntax error"),
        ("EXPIRE a x", "ERR value is not an integer or out of range"),
        ("EXPIRE a 9223372036854775807", "ERR invalid expire time in 'expire' command"),
        ("PEXPIREAT a 1 FOO", "ERR Unsupported option FOO"),
        (
            "EXPIRE a 1 NX GT",
            "ERR NX and XX, GT or LT options at the same time are not compatible",
        ),
        ("EXPIRE a 1 GT LT", "ERR GT and LT options at the same time are not compatible"),
        ("OBJECT NOTHING a", "ERR unknown subcommand 'NOTHING'. Try OBJECT HELP."),
        ("OBJECT ENCODING", "ERR wrong number of arguments for 'object|encoding' command"),
    ],
)
def test_a_refused_command_says_why_and_changes_nothing(
    console: Console, command: str, message: str
) -> None:
    console("SET a v EX 100")
    changes = sum(database.dirty for database in console.engine.databases)
    with pytest.raises(CommandError) as refusal:
        console(command)
    assert str(refusal.value) == message
    assert sum(database.dirty for database in console.engine.databases) == changes
    assert (console("GET a"), console("TTL a"), console("DBSIZE")) == (b"v", 100, 1)


def test_moving_needs_a_free_place(console: Console) -> None:
    console("SET a v EX 100")
    assert console("MOVE none 1") == 0
    assert console("MOVE a 1") == 1
    assert console("EXISTS a") == 0
    console("SET a w")
    assert console("MOVE a 1") == 0
    console.ctx.db = console.engine.databases[1]
    assert (console("GET a"), console("TTL a")) == (b"v", 100)


def test_times_to_live_round_to_the_nearest_second(console: Console) -> None:
    assert console("TTL none") == console("PTTL none") == console("EXPIRETIME none") == -2
    console("SET a v")
    assert console("TTL a") == console("PEXPIRETIME a") == -1
    assert console("PEXPIRE a 1500") == 1
    assert (console("TTL a"), console("PTTL a")) == (2, 1500)
    console.clock.advance(1)
    assert (console("TTL a"), console("PTTL a")) == (1, 1499)
    assert console("PEXPIRETIME a") == console.clock.now_ms() + 1499
    assert console("PERSIST a") == 1
    assert console("PERSIST a") == 0
    assert console("TTL a") == -1


def test_conditions_compare_the_old_expiry_with_the_new(console: Console) -> None:
    console("SET a v")
    assert console("EXPIRE a 100 XX") == 0
    assert console("EXPIRE a 100 GT") == 0  # no expiry is later than any
    assert console("EXPIRE a 100 LT") == 1
    assert console("EXPIRE a 50 NX") == 0
    assert console("EXPIRE a 100 GT") == 0
    assert console("EXPIRE a 101 gt") == 1
    assert console("EXPIRE a 101 LT") == 0
    assert console("EXPIRE a 100 XX LT") == 1
    assert console("TTL a") == 100


@pytest.mark.parametrize("command", ["EXPIRE a 0", "EXPIRE a -5", "PEXPIREAT a 1", "EXPIREAT a 0"])
def test_an_expiry_in_the_past_deletes_at_once(console: Console, command: str) -> None:
    console("SET a v")
    told: list[str] = []
    console.ctx.db.observer = lambda index, key, event: told.append(event)
    assert console(command) == 1
    assert console("DBSIZE") == 0
    assert told == ["del"]


def test_keys_past_their_time_are_not_listed(console: Console) -> None:
    console("MSET stays v other v")
    console("SET gone v PX 10")
    console.clock.advance(20)
    assert sorted(console("KEYS *")) == [b"other", b"stays"]
    assert console("KEYS s*") == [b"stays"]
    assert console("DBSIZE") == 3
    assert sorted(console("SCAN 0")[1]) == [b"other", b"stays"]
    assert console("DBSIZE") == 2


def test_a_random_key_is_alive(console: Console) -> None:
    console("SET gone v PX 10")
    console.clock.advance(20)
    assert console("RANDOMKEY") is None
    console("SET stays v")
    assert console("RANDOMKEY") == b"stays"


def test_scan_goes_around_with_patterns_and_types(console: Console) -> None:
    for number in range(50):
        console("SET", f"user:{number}", "v")
        console("SET", f"other:{number}", "v")
    cursor, found = console("SCAN 0 MATCH user:* COUNT 7 TYPE STRING")
    calls = 1
    while cursor != b"0":
        cursor, more = console("SCAN", cursor, "MATCH", "user:*", "COUNT", "7", "TYPE", "string")
        found += more
        calls += 1
    assert sorted(found) == sorted(b"user:%d" % number for number in range(50))
    assert calls > 5
    assert console("SCAN 0 COUNT 1000 TYPE list") == [b"0", []]


def test_flushing_one_database_leaves_the_others(console: Console) -> None:
    console("SET a v")
    console("COPY a a DB 1")
    assert console("FLUSHDB ASYNC") == b"OK"
    assert console("DBSIZE") == 0
    assert console.engine.databases[1].size() == 1
    assert console("FLUSHALL sync") == b"OK"
    assert console.engine.databases[1].size() == 0


def test_swapping_shows_a_client_the_other_data_at_once(console: Console) -> None:
    console("SET a v")
    assert console("SWAPDB 0 1") == b"OK"
    assert console("GET a") is None
    assert console("SWAPDB 1 0") == b"OK"
    assert console("GET a") == b"v"
    assert console("SWAPDB 5 5") == b"OK"


@pytest.mark.parametrize("command", ["FLUSHDB", "FLUSHALL", "SWAPDB 0 1", "DEL a", "EXPIRE a 10"])
def test_a_watched_key_that_changes_ends_the_transaction(console: Console, command: str) -> None:
    console("SET a v")
    other = Console(console.engine)
    console("WATCH a")
    other(command)
    console("MULTI")
    console("GET a")
    assert console("EXEC") is None


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("DEL a", [(0, b"a", "del")]),
        ("UNLINK a none", [(0, b"a", "del")]),
        ("RENAME a b", [(0, b"a", "rename_from"), (0, b"b", "rename_to")]),
        ("COPY a b DB 1", [(1, b"b", "copy_to")]),
        ("MOVE a 1", [(0, b"a", "move_from"), (1, b"a", "move_to")]),
        ("EXPIRE a 10", [(0, b"a", "expire")]),
        ("PERSIST a", [(0, b"a", "persist")]),
        ("EXISTS a", []),
        ("TTL a", []),
    ],
)
def test_every_change_is_told_by_its_name(
    console: Console, command: str, expected: list[tuple[int, bytes, str]]
) -> None:
    console("SET a v EX 100")
    told: list[tuple[int, bytes, str]] = []

    def listen(index: int, key: bytes, event: str) -> None:
        told.append((index, key, event))

    databases: list[Database] = console.engine.databases
    for database in databases:
        database.observer = listen
    console(command)
    assert told == expected


def test_help_is_lines_of_text(console: Console) -> None:
    assert console.execute([b"OBJECT", b"HELP"]).startswith(b"*15\r\n+OBJECT <subcommand>")
