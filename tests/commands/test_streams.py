"""Streams as logs, over both protocols: what the differential run cannot show or explain.

Commands newer than the differential oracle are held to the examples of their documentation.
"""

import hiredis
import pytest
from tests.testing.server_console import ServerConsole

from hotplate.engine.dispatch import run
from hotplate.errors import CommandError
from hotplate.keyspace.database import Database

NOW = "1700000000000"
WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
NOT_AN_INTEGER = "ERR value is not an integer or out of range"
INVALID_ID = "ERR Invalid stream ID specified as stream command argument"
SMALLER = "ERR The ID specified in XADD is equal or smaller than the target stream top item"
SYNTAX = "ERR syntax error"
NUMBER_OF_IDS = "ERR Number of IDs must be a positive integer"
MATCHING_IDS = "ERR The `numids` parameter must match the number of arguments"


class Listener:
    """Remembers keyspace events, those included that WATCH does not count."""

    def __init__(self, database: Database) -> None:
        self.events: list[tuple[bytes, str]] = []
        database.observer = database.witness = self

    def __call__(self, index: int, key: bytes, event: str) -> None:
        if event != "new":
            self.events.append((key, event))


@pytest.fixture(params=[2, 3])
def console(request: pytest.FixtureRequest) -> ServerConsole:
    return ServerConsole(resp=request.param)


@pytest.fixture
def events(console: ServerConsole) -> list[tuple[bytes, str]]:
    return Listener(console.ctx.db).events


def ids_in(console: ServerConsole, key: str = "s") -> list[bytes]:
    return [row[0] for row in console("XRANGE", key, "-", "+")]


def fill(console: ServerConsole, count: int, key: str = "s") -> None:
    for number in range(1, count + 1):
        console("XADD", key, f"{number}-0", "n", number)


# -- adding ------------------------------------------------------------------------------------


def test_entries_get_ids_from_the_clock_or_as_given(console: ServerConsole) -> None:
    assert console("XADD s * a b") == f"{NOW}-0".encode()
    assert console("XADD s * a b") == f"{NOW}-1".encode()
    console.clock.advance(5)
    assert console("XADD s * a b") == b"1700000000005-0"
    assert console("XADD s 1700000000005-* a b") == b"1700000000005-1"
    assert console("XADD s 1700000000006 a b") == b"1700000000006-0"
    console.clock.advance(-100)  # a clock that goes back does not take ids along
    assert console("XADD s * a b") == b"1700000000006-1"
    assert console("XLEN s") == 6
    assert console("TYPE s") == b"stream"
    assert console("OBJECT ENCODING s") == b"stream"


def test_fields_keep_their_order_and_their_bytes(console: ServerConsole) -> None:
    fields = [b"b", b"\x00\r\n\xff", b"a", b"", b"b", b"x" * 5000]
    console(b"XADD", b"s", b"1-1", *fields)
    assert console("XRANGE s - +") == [[b"1-1", fields]]


def test_the_last_possible_id_ends_a_stream(console: ServerConsole) -> None:
    last = "18446744073709551615-18446744073709551615"
    console("XADD", "s", last, "a", "b")
    for entry_id in ("*", "18446744073709551615-*"):
        with pytest.raises(CommandError, match="exhausted the last possible ID"):
            console("XADD", "s", entry_id, "a", "b")
    assert console("XLEN s") == 1


def test_a_stream_is_not_made_where_that_is_not_wanted(console: ServerConsole) -> None:
    assert console("XADD s NOMKSTREAM * a b") is None
    assert console("EXISTS s") == 0
    console("XADD s 1-1 a b")
    assert console("XADD s NOMKSTREAM 2-1 a b") == b"2-1"


def test_an_emptied_stream_stays_and_remembers_its_last_id(console: ServerConsole) -> None:
    console("XADD s 5-0 a b")
    assert console("XDEL s 5-0") == 1
    assert console("EXISTS s") == 1
    with pytest.raises(CommandError, match="equal or smaller"):
        console("XADD s 5-0 a b")


def test_a_stream_past_its_time_counts_as_absent(console: ServerConsole) -> None:
    fill(console, 2)
    console("PEXPIRE s 100")
    console.clock.advance(200)
    assert console("XADD s 1-1 a b") == b"1-1"
    assert console("TTL s") == -1


def test_a_pipeline_of_additions_equals_additions_one_by_one(console: ServerConsole) -> None:
    other = ServerConsole(resp=console.ctx.resp)
    requests = [[b"XADD", b"s", b"*", b"n", b"%d" % number] for number in range(5)]
    requests[3:3] = [[b"XADD", b"t", b"*", b"n", b"3"], [b"XADD", b"s", b"*", b"odd"]]
    requests.append([b"XADD", b"s", b"1-1", b"n", b"late"])
    for client in (console, other):
        client("XADD s 1-0 a b")
    single = b"".join(other.execute(argv) for argv in requests)
    out: list[bytes] = []
    console.ctx.now_ms = console.engine.clock.now_ms()
    assert run(console.ctx, [list(argv) for argv in requests], out) == len(requests)
    assert b"".join(out) == single
    assert console("XRANGE s - +") == other("XRANGE s - +")


def test_a_pipeline_of_capped_additions_equals_additions_one_by_one(
    console: ServerConsole,
) -> None:
    other = ServerConsole(resp=console.ctx.resp)
    request = [b"XADD", b"s", b"MAXLEN", b"~", b"150", b"*", b"a", b"b"]
    requests = [list(request) for _ in range(400)]
    requests[200:200] = [request[:6], [*request[:6], b"a"], [*request[:4], b"90", *request[5:]]]
    for client in (console, other):
        client("XADD s 1-0 a b")
    single = b"".join(other.execute(argv) for argv in requests)
    out: list[bytes] = []
    console.ctx.now_ms = console.engine.clock.now_ms()
    assert run(console.ctx, requests, out) == len(requests)
    assert b"".join(out) == single
    assert console("XRANGE s - +") == other("XRANGE s - +")
    assert console.ctx.db.dirty == other.ctx.db.dirty


def test_a_pipeline_to_a_wrong_type_is_refused_each_time(console: ServerConsole) -> None:
    console("SET s v")
    out: list[bytes] = []
    run(console.ctx, [[b"XADD", b"s", b"*", b"a", b"b"]] * 2, out)
    assert b"".join(out) == f"-{WRONG_TYPE}\r\n".encode() * 2


# -- reading and removing ----------------------------------------------------------------------


def test_ranges_may_leave_their_ends_out(console: ServerConsole) -> None:
    fill(console, 5)
    assert [row[0] for row in console("XRANGE s (1-0 (5")] == [b"2-0", b"3-0", b"4-0", b"5-0"]
    assert [row[0] for row in console("XRANGE s (1-0 (5-0 COUNT 2")] == [b"2-0", b"3-0"]
    assert [row[0] for row in console("XREVRANGE s (5-0 3")] == [b"4-0", b"3-0"]
    assert console("XRANGE s - + COUNT 0") is None
    assert console("XRANGE none - + COUNT 0") == []


def test_large_replies_are_complete(console: ServerConsole) -> None:
    fill(console, 1000)
    assert len(console("XRANGE s - +")) == 1000
    assert len(console("XREVRANGE s + -")) == 1000
    reply = console("XREAD STREAMS s 0")
    assert len(reply[b"s"] if console.ctx.resp == 3 else reply[0][1]) == 1000


def test_events_have_the_names_of_redis(
    console: ServerConsole, events: list[tuple[bytes, str]]
) -> None:
    fill(console, 3)
    console("XADD s MAXLEN 2 4-0 a b")
    console("XADD s MAXLEN ~ 2 5-0 a b")
    console("XTRIM s MAXLEN 2")
    console("XDEL s 4-0 9-9")
    console("XSETID s 9-0")
    console("XGROUP CREATE s g 0")
    console("XREADGROUP GROUP g c STREAMS s >")
    console("XGROUP DELCONSUMER s g c")
    console("XGROUP DESTROY s g")
    assert [event for _, event in events] == [
        *["xadd"] * 4,
        *("xtrim", "xadd", "xtrim", "xdel", "xsetid", "xgroup-create"),
        *("xgroup-createconsumer", "xgroup-delconsumer", "xgroup-destroy"),
    ]
    assert {key for key, _ in events} == {b"s"}


def test_what_happens_to_groups_breaks_no_transaction(console: ServerConsole) -> None:
    fill(console, 2)
    console("WATCH s")
    other = console.other()
    other("XGROUP CREATE s g 0")
    other("XREADGROUP GROUP g c STREAMS s >")
    other("XACK s g 1-0")
    console("MULTI")
    console("XLEN s")
    assert console("EXEC") == [2]
    console("WATCH s")
    other("XADD s 9-0 a b")
    console("MULTI")
    assert console("EXEC") is None


def test_approximate_trimming_takes_whole_chunks(console: ServerConsole) -> None:
    fill(console, 350)
    assert console("XTRIM s MAXLEN ~ 200") == 100
    assert console("XTRIM s MAXLEN ~ 10 LIMIT 100") == 100
    assert console("XTRIM s MINID ~ 300") == 0
    assert console("XTRIM s MINID 300") == 99
    assert ids_in(console)[0] == b"300-0"
    for number in range(351, 700):
        console("XADD", "s", "MAXLEN", "~", 100, f"{number}-0", "n", number)
    assert 100 <= console("XLEN s") <= 200


def test_the_short_way_of_capped_additions_equals_the_long_one(console: ServerConsole) -> None:
    for _ in range(450):
        short = console("XADD short MAXLEN ~ 200 * a b")
        assert console("XADD long maxlen ~ 200 LIMIT 10000 * a b") == short
    assert ids_in(console, "short") == ids_in(console, "long")
    assert console("XLEN short") == 250


# -- references (8.2) --------------------------------------------------------------------------


def test_xdelex_says_of_each_entry_what_became_of_it(console: ServerConsole) -> None:
    fill(console, 4)
    assert console("XDELEX none IDS 2 1-0 2-0") == [-1, -1]
    assert console("XDELEX s KEEPREF IDS 2 8-0 9-0") == [-1, -1]
    assert console("XDELEX s ACKED IDS 1 1-0") == [2]  # without a group
    console("XGROUP CREATE s g 0")
    console("XREADGROUP GROUP g c COUNT 2 STREAMS s >")
    assert console("XDELEX s ACKED IDS 3 1-0 2-0 3-0") == [2, 2, 2]
    console("XACK s g 1-0")
    assert console("XDELEX s IDS 3 1-0 3-0 9-0 ACKED") == [1, 2, -1]
    assert console("XPENDING s g")[0] == 1
    assert console("XDELEX s IDS 1 2-0") == [1]
    assert console("XPENDING s g")[0] == 1
    assert console("XDELEX s DELREF IDS 1 2-0") == [-1]
    assert console("XPENDING s g")[0] == 0
    assert ids_in(console) == [b"3-0", b"4-0"]


def test_xackdel_acknowledges_and_deletes_at_once(console: ServerConsole) -> None:
    fill(console, 4)
    for group in ("g", "h"):
        console(f"XGROUP CREATE s {group} 0")
        console(f"XREADGROUP GROUP {group} c COUNT 3 STREAMS s >")
    assert console("XACKDEL none g IDS 1 1-0") == [-1]
    assert console("XACKDEL s none IDS 1 1-0") == [-1]
    assert console("XACKDEL s g KEEPREF IDS 2 1-0 4-0") == [1, -1]
    assert console("XPENDING s h")[0] == 3
    assert console("XACKDEL s g ACKED IDS 1 2-0") == [2]
    assert console("XACKDEL s h ACKED IDS 1 2-0") == [1]
    assert console("XACKDEL s g DELREF IDS 1 3-0") == [1]
    assert console("XPENDING s g")[0] == 0
    assert console("XPENDING s h") == [1, b"1-0", b"1-0", [[b"c", b"1"]]]
    assert console("XACKDEL s g DELREF IDS 1 1-0") == [-1]  # deleted, but h still referred to it
    assert console("XPENDING s h")[0] == 0
    assert ids_in(console) == [b"4-0"]


def test_trimming_heeds_references(console: ServerConsole) -> None:
    fill(console, 6)
    assert console("XTRIM s MAXLEN 5 ACKED") == 1  # without a group it is trimming as ever
    console("XGROUP CREATE s g 0")
    console("XREADGROUP GROUP g c COUNT 3 STREAMS s >")
    console("XACK s g 3-0")
    assert console("XTRIM s MAXLEN 0 ACKED") == 1
    assert ids_in(console) == [b"2-0", b"4-0", b"5-0", b"6-0"]
    console("XADD s DELREF MAXLEN 3 7-0 a b")
    assert console("XPENDING s g") == [0, None, None, None]
    assert ids_in(console) == [b"5-0", b"6-0", b"7-0"]


# -- idempotent producers (8.6) ----------------------------------------------------------------


def test_a_message_that_was_added_is_not_added_again(console: ServerConsole) -> None:
    first = console("XADD s IDMP producer-1 iid-1 * field value")
    assert console("XADD s IDMP producer-1 iid-1 * other value") == first
    assert console("XADD s IDMP producer-2 iid-1 * field value") != first
    second = console("XADD s IDMPAUTO producer-1 * field value")
    assert second != first
    assert console("XADD s IDMPAUTO producer-1 * field value") == second
    assert console("XADD s IDMPAUTO producer-1 * field value2") != second
    assert console("XLEN s") == 4
    info = about(console)
    assert info[b"pids-tracked"] == 2
    assert info[b"iids-tracked"] == info[b"iids-added"] == 4
    assert info[b"iids-duplicates"] == 2


def test_new_streams_take_the_servers_settings_for_producers(console: ServerConsole) -> None:
    def limits(key: str) -> list[int]:
        info = console(f"XINFO STREAM {key}")
        facts = info if isinstance(info, dict) else dict(zip(info[::2], info[1::2], strict=True))
        return [facts[b"idmp-duration"], facts[b"idmp-maxsize"]]

    console("XADD before * a b")
    console("CONFIG SET stream-idmp-duration 7 stream-idmp-maxsize 2")
    console("XADD after * a b")
    console("XGROUP CREATE group g 0 MKSTREAM")
    console("CONFIG SET stream-idmp-duration 100 stream-idmp-maxsize 100")
    assert limits("before") == [100, 100]
    assert limits("after") == limits("group") == [7, 2]
    ids = [console(f"XADD after IDMP p {number} * a b") for number in range(3)]
    assert console("XADD after IDMP p 2 * a b") == ids[2]
    assert console("XADD after IDMP p 0 * a b") != ids[0]  # the third took its place
    for value in ("0", "86401", "x"):
        assert "CONFIG SET failed" in console.refused(f"CONFIG SET stream-idmp-duration {value}")


def test_messages_are_forgotten_after_their_time_and_beyond_their_number(
    console: ServerConsole,
) -> None:
    first = console("XADD s IDMP p 1 * a b")
    assert console("XCFGSET s IDMP-DURATION 10 IDMP-MAXSIZE 2") == b"OK"
    assert about(console)[b"iids-tracked"] == 0  # other limits forget what was known
    second = console("XADD s IDMP p 1 * a b")
    assert second != first
    assert console("XCFGSET s IDMP-DURATION 10") == b"OK"  # the same ones do not
    assert console("XADD s IDMP p 1 * a b") == second
    console("XADD s IDMP p 2 * a b")
    console("XADD s IDMP p 3 * a b")
    assert console("XADD s IDMP p 1 * a b") != second
    console.clock.advance(10_000)
    info = about(console)
    assert (info[b"pids-tracked"], info[b"iids-tracked"]) == (0, 0)
    assert info[b"iids-added"] == 5
    assert (info[b"idmp-duration"], info[b"idmp-maxsize"]) == (10, 2)


def about(console: ServerConsole, *more: str) -> dict[bytes, object]:
    reply = console("XINFO", "STREAM", "s", *more)
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


def test_a_copy_of_a_stream_goes_its_own_way(console: ServerConsole) -> None:
    console("XADD s IDMP p 1 * a b")
    console("XGROUP CREATE s g 0")
    console("XREADGROUP GROUP g c STREAMS s >")
    assert console("COPY s t") == 1
    assert console("XPENDING s g") == console("XPENDING t g")
    assert console("XADD t IDMP p 1 * a b") == ids_in(console)[0]
    console("XACK", "s", "g", ids_in(console)[0])
    assert console("XPENDING t g")[0] == 1


# -- what XINFO says ---------------------------------------------------------------------------


def test_info_names_everything_in_the_order_of_redis(console: ServerConsole) -> None:
    fill(console, 2)
    assert list(about(console)) == [
        *(b"length", b"radix-tree-keys", b"radix-tree-nodes", b"last-generated-id"),
        *(b"max-deleted-entry-id", b"entries-added", b"recorded-first-entry-id"),
        *(b"idmp-duration", b"idmp-maxsize", b"pids-tracked", b"iids-tracked", b"iids-added"),
        *(b"iids-duplicates", b"groups", b"first-entry", b"last-entry"),
    ]
    full = about(console, "FULL")
    assert list(full)[-2:] == [b"entries", b"groups"]
    assert full[b"entries"] == [[b"1-0", [b"n", b"1"]], [b"2-0", [b"n", b"2"]]]
    console("XDEL s 1-0 2-0")
    empty = about(console)
    assert empty[b"first-entry"] is empty[b"last-entry"] is None


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("XADD s", "ERR wrong number of arguments for 'xadd' command"),
        ("XADD s * a b c", "ERR wrong number of arguments for 'xadd' command"),
        ("XADD s 0-0 a b", "ERR The ID specified in XADD must be greater than 0-0"),
        ("XADD s 1-0 a b", SMALLER),
        ("XADD s x a b", INVALID_ID),
        ("XADD s MAXLEN ~ -1 * a b", "ERR The MAXLEN argument must be >= 0."),
        ("XADD s MAXLEN ~ x * a b", NOT_AN_INTEGER),
        ("XADD s IDMP p i 5-5 a b", "ERR IDMP/IDMPAUTO can be used only with auto-generated IDs"),
        ("XADD s IDMP p i IDMPAUTO q * a b", "ERR IDMP/IDMPAUTO specified multiple times"),
        ("XADD text * a b", WRONG_TYPE),
        ("XADD text MAXLEN ~ 5 * a b", WRONG_TYPE),
        ("XTRIM s FOO 1", SYNTAX),
        ("XTRIM s ACKED ACKED", "ERR syntax error, XTRIM must be called with a trimming strategy"),
        ("XRANGE s - + COUNT", SYNTAX),
        ("XRANGE s ( +", INVALID_ID),
        ("XDEL s 1-0 x", INVALID_ID),
        ("XDEL text 1-0", WRONG_TYPE),
        ("XDELEX s IDS 0 1-0", NUMBER_OF_IDS),
        ("XDELEX s IDS 2 1-0", MATCHING_IDS),
        ("XDELEX s IDS 1 1-0 2-0", SYNTAX),
        ("XDELEX s ACKED DELREF IDS 1 1-0", SYNTAX),
        ("XDELEX s ACKED 1-0 2-0", SYNTAX),
        ("XSETID s 0-5", SMALLER.replace("XADD is equal or", "XSETID is")),
        ("XSETID none 1-1", "ERR no such key"),
        ("XCFGSET s", SYNTAX),
        ("XCFGSET s IDMP-DURATION 0", "ERR invalid duration"),
        ("XCFGSET s IDMP-DURATION 86401", "ERR invalid duration"),
        ("XCFGSET s IDMP-MAXSIZE 10001", "ERR invalid maxsize"),
        ("XCFGSET none IDMP-MAXSIZE 1", "ERR no such key"),
        ("XLEN text", WRONG_TYPE),
        ("XINFO STREAM none", "ERR no such key"),
        ("XREAD STREAMS s >", "ERR The > ID can be specified only when calling XREADGROUP using the"
         " GROUP <group> <consumer> option."),
        ("XREAD CLAIM 5 STREAMS s 0", "ERR The CLAIM option is only supported by XREADGROUP. You"
         " called XREAD instead."),
        ("XREAD BLOCK -1 STREAMS s 0", "ERR timeout is negative"),
        ("XREAD COUNT 1 STREAMS", SYNTAX),
    ],
)  # fmt: skip
def test_a_refused_command_changes_nothing(
    console: ServerConsole, command: str, message: str
) -> None:
    fill(console, 2)
    console("SET text v")
    before = (about(console, "FULL"), console("GET text"), console("DBSIZE"))
    with pytest.raises(CommandError) as refused:
        console(command)
    assert str(refused.value) == message
    assert (about(console, "FULL"), console("GET text"), console("DBSIZE")) == before


def test_empty_names_of_producers_are_refused(console: ServerConsole) -> None:
    for words, message in (
        ((b"IDMP", b"", b"i"), "IDMP requires a non-empty producer ID"),
        ((b"IDMP", b"p", b""), "IDMP requires a non-empty idempotent ID"),
        ((b"IDMPAUTO", b""), "IDMPAUTO requires a non-empty producer ID"),
    ):
        with pytest.raises(CommandError, match=message):
            console(b"XADD", b"s", *words, b"*", b"a", b"b")
    assert console("EXISTS s") == 0


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ("1-5", ["N-0", "N-1", "N-2", "N-3"]),
        ("N-0", ["N-1", "N-2", "N-3", "N-4"]),
        ("N-M2", ["N-M1", "N-M", "P-0", "P-1"]),  # the sequence is used up
        ("P-M1", ["P-M", "Q-0", "Q-1", "Q-2"]),
        ("M-M1", ["M-M", "error", "error", "error"]),
        ("M-M", ["error"] * 4),
    ],
)
def test_ids_of_a_pipeline_go_on_from_the_last_one(
    console: ServerConsole, last: str, expected: list[str]
) -> None:
    now, most = console.clock.now_ms(), 2**64 - 1
    numbers = {"M2": most - 2, "M1": most - 1, "M": most, "N": now, "P": now + 1, "Q": now + 2}

    def spelled(text: str) -> str:
        return "-".join(str(numbers.get(part, part)) for part in text.split("-"))

    console(f"XADD s {spelled(last)} a b")
    out: list[bytes] = []
    console.ctx.now_ms = now
    run(console.ctx, [[b"XADD", b"s", b"*", b"a", b"b"] for _ in range(4)], out)
    reader = hiredis.Reader()
    reader.feed(b"".join(out))
    replies = [reader.gets() for _ in range(4)]
    shown = ["error" if isinstance(r, hiredis.ReplyError) else r.decode() for r in replies]
    assert shown == [spelled(text) for text in expected]
    rows = console("XRANGE s - +")
    assert [row[0].decode() for row in rows[1:]] == [text for text in shown if text != "error"]
