"""Consumer groups over both protocols: deliveries, what ends them, and what the server does itself.

What Redis 7.0 has is in the differential run too; CLAIM, XNACK, MAXCOUNT and MAXSIZE follow the
documentation's examples, XGROUP POLICY our own.
"""

import logging
from typing import Any

import pytest
from tests.testing.server_console import ServerConsole

from hotplate.errors import CommandError

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
SYNTAX = "ERR syntax error"
NO_GROUP = "NOGROUP No such key 's' or consumer group 'none'"
NEGATIVE_IDLE = "ERR min-idle-time must be a positive integer"
RETRYCOUNT = "ERR Invalid RETRYCOUNT option argument for XNACK"
NOT_AN_INTEGER = "ERR value is not an integer or out of range"


@pytest.fixture(params=[2, 3])
def console(request: pytest.FixtureRequest) -> ServerConsole:
    """With a stream `s` of five entries and a group `g` that has read none of them."""
    console = ServerConsole(resp=request.param)
    for number in range(1, 6):
        console(f"XADD s {number}-0 n {number}")
    console("XGROUP CREATE s g 0")
    return console


def read(console: ServerConsole, options: str = "", consumer: str = "c", after: str = ">") -> Any:
    """The entries of one stream, None where there are none."""
    reply = console(f"XREADGROUP GROUP g {consumer} {options} STREAMS s {after}")
    if reply is None:
        return None
    return reply[b"s"] if isinstance(reply, dict) else reply[0][1]


def ids(rows: Any) -> list[bytes]:
    return [row[0] for row in rows or []]


def pending(console: ServerConsole) -> list[list[Any]]:
    return list(console("XPENDING s g - + 100"))


def fields(reply: Any) -> dict[bytes, Any]:
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


# -- reading -----------------------------------------------------------------------------------


def test_streams_are_pairs_or_a_map(console: ServerConsole) -> None:
    entries = [[b"1-0", [b"n", b"1"]]]
    reply = console("XREAD COUNT 1 STREAMS s none 0 0")
    assert reply == ({b"s": entries} if console.ctx.resp == 3 else [[b"s", entries]])
    null = b"_\r\n" if console.ctx.resp == 3 else b"*-1\r\n"
    assert console.execute([b"XREAD", b"STREAMS", b"s", b"9"]) == null


def test_the_last_entry_has_an_id_of_its_own(console: ServerConsole) -> None:
    reply = console("XREAD STREAMS s none + +")
    rows = reply[b"s"] if console.ctx.resp == 3 else reply[0][1]
    assert ids(rows) == [b"5-0"]
    assert console("XREAD STREAMS none +") is None


def test_history_shows_deleted_entries_without_fields(console: ServerConsole) -> None:
    read(console, "COUNT 2")
    console("XDEL s 1-0")
    assert read(console, after="0") == [[b"1-0", None], [b"2-0", [b"n", b"2"]]]
    assert [row[3] for row in pending(console)] == [1, 2]


def test_a_call_that_is_sent_again_sees_what_changed_meanwhile(console: ServerConsole) -> None:
    assert ids(read(console, "COUNT 2")) == [b"1-0", b"2-0"]
    assert ids(read(console, "COUNT 2")) == [b"3-0", b"4-0"]
    console("HELLO 2" if console.ctx.resp == 3 else "HELLO 3")
    assert ids(read(console, "COUNT 2")) == [b"5-0"]
    assert read(console, "COUNT 2") is None
    hits = console.engine.databases[0].hits
    console("XADD s 6-0 n 6")
    assert ids(read(console, "COUNT 2")) == [b"6-0"]
    assert console.engine.databases[0].hits == hits + 2  # as in Redis
    console("XGROUP DESTROY s g")
    with pytest.raises(CommandError, match="No such key 's' or consumer group 'g'"):
        read(console, "COUNT 2")
    console("DEL s")
    console("SET s text")
    with pytest.raises(CommandError, match="wrong kind of value"):
        read(console, "COUNT 2")


@pytest.mark.parametrize(
    ("texts", "acknowledged"),
    [
        ("1-0 2-0 3-0", 3),
        ("3-0 2-0 1-0", 3),
        ("1 2 3-0", 3),
        ("1-00 2-0 3-0", 3),
        ("1-0 2-0", 2),
        ("1-0 2-0 4-0", 2),
        ("1-0 1-0 1-0", 1),
        ("4-0", 0),
    ],
)
def test_ids_are_acknowledged_once_each_however_they_are_written(
    console: ServerConsole, texts: str, acknowledged: int
) -> None:
    read(console, "COUNT 3")
    assert console(f"XACK s g {texts}") == acknowledged
    assert len(pending(console)) == 3 - acknowledged
    assert console(f"XACK s g {texts}") == 0


def test_what_is_not_to_be_acknowledged_is_not_pending(console: ServerConsole) -> None:
    assert ids(read(console, "NOACK COUNT 3")) == [b"1-0", b"2-0", b"3-0"]
    assert pending(console) == []
    (group,) = map(fields, console("XINFO GROUPS s"))
    assert (group[b"entries-read"], group[b"lag"]) == (3, 2)


def test_maxcount_limits_all_streams_together(console: ServerConsole) -> None:
    for number in range(1, 6):
        console(f"XADD t {number}-0 n {number}")
    console("XGROUP CREATE t g 0")
    reply = console("XREADGROUP GROUP g c COUNT 3 MAXCOUNT 4 STREAMS s t > >")
    assert [len(rows) for rows in _entries(reply)] == [3, 1]
    reply = console("XREADGROUP GROUP g c MAXCOUNT 1 STREAMS s t > >")
    assert [len(rows) for rows in _entries(reply)] == [1]
    assert len(console("XPENDING t g - + 10")) == 1
    assert [len(rows) for rows in _entries(console("XREAD MAXCOUNT 7 STREAMS s t 0 0"))] == [5, 2]


def _entries(reply: Any) -> list[Any]:
    return list(reply.values()) if isinstance(reply, dict) else [rows for _, rows in reply]


def test_maxsize_limits_bytes_but_answers_one_entry_at_least(console: ServerConsole) -> None:
    entry_bytes = len(b"*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nn\r\n$1\r\n1\r\n")
    assert ids(read(console, "MAXSIZE 1")) == [b"1-0"]
    assert ids(read(console, f"MAXSIZE {2 * entry_bytes}")) == [b"2-0", b"3-0"]
    assert ids(read(console, f"MAXSIZE {2 * entry_bytes - 1}")) == [b"4-0"]
    assert ids(read(console, "MAXSIZE 1", after="0")) == [b"1-0"]
    assert len(pending(console)) == 4


def test_claiming_reads_take_what_is_idle_first(console: ServerConsole) -> None:
    read(console, "COUNT 2", "alice")
    console.clock.advance(100)
    read(console, "COUNT 1", "bob")
    console.clock.advance(50)
    console("XCLAIM s g alice 0 1-0 IDLE 120 JUSTID")
    assert read(console, "CLAIM 100 COUNT 3", "carol") == [
        [b"2-0", [b"n", b"2"], 150, 1],
        [b"1-0", [b"n", b"1"], 120, 1],
        [b"4-0", [b"n", b"4"]],
    ]
    assert [(row[1], row[3]) for row in pending(console)] == [
        *[(b"carol", 2)] * 2,
        (b"bob", 1),
        (b"carol", 1),
    ]
    taken = ids(read(console, "CLAIM 0 NOACK COUNT 10", "dave"))
    assert taken[0] == b"3-0"  # with bob for longest
    assert sorted(taken) == [b"1-0", b"2-0", b"3-0", b"4-0", b"5-0"]
    assert len(pending(console)) == 4  # of the new one nothing is kept


def test_claiming_passes_over_what_was_deleted(console: ServerConsole) -> None:
    read(console, "COUNT 3")
    console("XDEL s 1-0 2-0")
    assert ids(read(console, "CLAIM 0 COUNT 2", "d")) == [b"3-0", b"4-0"]
    assert [row[0] for row in pending(console)] == [b"3-0", b"4-0"]


# -- giving back (8.8) -------------------------------------------------------------------------


def test_released_entries_are_nobodys_and_first_to_be_claimed(console: ServerConsole) -> None:
    read(console)
    console.clock.advance(1000)
    assert console("XNACK s g FAIL IDS 3 4-0 2-0 9-0") == 2
    assert [row[:3] for row in pending(console)[1:4]] == [
        [b"2-0", b"", -1],
        [b"3-0", b"c", 1000],
        [b"4-0", b"", -1],
    ]
    assert console("XPENDING s g") == [5, b"1-0", b"5-0", [[b"c", b"3"]]]
    assert read(console) is None  # a plain reader sees only what is new, as in Redis
    claimed = read(console, "CLAIM 500 COUNT 3", "d")
    assert ids(claimed) == [b"4-0", b"2-0", b"1-0"]
    assert console("XNACK s g FAIL IDS 1 4-0") == 1
    assert ids(console("XCLAIM s g e 99999 4-0")) == [b"4-0"]
    assert console("XNACK s g FAIL IDS 1 4-0") == 1
    assert console("XAUTOCLAIM s g f 99999 0") == [b"0-0", [[b"4-0", [b"n", b"4"]]], []]


def test_the_mode_says_what_becomes_of_the_count(console: ServerConsole) -> None:
    read(console)
    read(console, after="0")
    console("XNACK s g SILENT IDS 1 1-0")
    console("XNACK s g FAIL IDS 1 2-0")
    console("XNACK s g FATAL IDS 1 3-0")
    console("XNACK s g FATAL IDS 1 4-0 RETRYCOUNT 7")
    assert [row[3] for row in pending(console)] == [1, 2, 2**63 - 1, 7, 2]
    assert read(console, "CLAIM 0 COUNT 3", "d")[2][3] == 2**63 - 1
    assert pending(console)[2][3] == 2**63 - 1


def test_forcing_makes_an_entry_pending_that_was_not(console: ServerConsole) -> None:
    assert console("XNACK s g FAIL IDS 1 2-0") == 0
    assert console("XNACK s g SILENT IDS 2 2-0 9-0 FORCE") == 1
    assert pending(console) == [[b"2-0", b"", -1, 0]]


# -- groups and consumers ----------------------------------------------------------------------


def test_a_group_may_be_made_with_its_stream(console: ServerConsole) -> None:
    assert console("XGROUP CREATE new g $ MKSTREAM") == b"OK"
    assert (console("XLEN new"), console("EXISTS new")) == (0, 1)
    with pytest.raises(CommandError, match="BUSYGROUP Consumer Group name already exists"):
        console("XGROUP CREATE new g $ MKSTREAM")


def test_setting_a_group_back_delivers_again_without_doubling(console: ServerConsole) -> None:
    read(console, "COUNT 3", "alice")
    console("XGROUP SETID s g 0")
    assert ids(read(console, "COUNT 4", "bob")) == [b"1-0", b"2-0", b"3-0", b"4-0"]
    assert console("XPENDING s g") == [4, b"1-0", b"4-0", [[b"bob", b"4"]]]
    assert {row[3] for row in pending(console)} == {1}


def test_consumers_tell_when_they_tried_and_when_they_got_something(
    console: ServerConsole,
) -> None:
    read(console, "", "busy")
    console.clock.advance(500)
    read(console, "", "busy")
    read(console, "", "idle")
    console.clock.advance(20)
    busy, idle = map(fields, console("XINFO CONSUMERS s g"))
    assert (busy[b"idle"], busy[b"inactive"], busy[b"pending"]) == (20, 520, 5)
    assert (idle[b"idle"], idle[b"inactive"], idle[b"pending"]) == (20, -1, 0)


def test_help_names_every_subcommand(console: ServerConsole) -> None:
    lines = console("XGROUP HELP")
    for word in (b"CREATE ", b"SETID", b"DESTROY", b"CREATECONSUMER", b"DELCONSUMER", b"POLICY"):
        assert any(line.startswith(word) for line in lines)
    assert any(line.startswith(b"STREAM") for line in console("XINFO HELP"))


# -- policies ----------------------------------------------------------------------------------


def letters(console: ServerConsole) -> list[dict[bytes, bytes]]:
    return [dict(zip(row[::2], row[1::2], strict=True)) for _, row in console("XRANGE dead - +")]


def test_unacknowledged_entries_come_again_to_plain_readers(console: ServerConsole) -> None:
    assert console("XGROUP POLICY s g VISIBILITY 1000") == b"OK"
    assert ids(read(console, "COUNT 2", "alice")) == [b"1-0", b"2-0"]
    console("XACK s g 2-0")
    console.clock.advance(999)
    assert ids(read(console, "COUNT 1", "bob")) == [b"3-0"]
    console.clock.advance(1)
    assert read(console, "", "bob") == [
        [b"1-0", [b"n", b"1"]],
        [b"4-0", [b"n", b"4"]],
        [b"5-0", [b"n", b"5"]],
    ]
    assert pending(console)[0] == [b"1-0", b"bob", 0, 2]


def test_a_heartbeat_keeps_an_entry(console: ServerConsole) -> None:
    console("XGROUP POLICY s g VISIBILITY 1000")
    read(console, "", "alice")
    for _ in range(3):
        console.clock.advance(900)
        assert console("XCLAIM s g alice 0 1-0 2-0 3-0 4-0 5-0 JUSTID")
    assert read(console, "", "bob") is None
    assert {(row[1], row[3]) for row in pending(console)} == {(b"alice", 1)}


def test_after_enough_deliveries_an_entry_moves_to_the_dead_stream(
    console: ServerConsole,
) -> None:
    console("XGROUP POLICY s g VISIBILITY 1000 MAXDELIVER 2 DEAD dead")
    for _ in range(2):
        assert ids(read(console, "COUNT 1")) == [b"1-0"]
        console.clock.advance(1000)
    console.engine.tend_streams(console.clock.now_ms())  # nobody has to read
    assert letters(console) == [
        {
            b"n": b"1",
            b"_origin": b"s",
            b"_id": b"1-0",
            b"_deliveries": b"2",
            b"_reason": b"expired",
        }
    ]
    assert pending(console) == []
    assert ids(read(console, "COUNT 1")) == [b"2-0"]
    assert console("XLEN s") == 5


def test_what_is_due_is_settled_before_xautoclaim_looks(console: ServerConsole) -> None:
    console("XGROUP POLICY s g VISIBILITY 1000 MAXDELIVER 1 DEAD dead")
    assert ids(read(console, "COUNT 1")) == [b"1-0"]
    console.clock.advance(1000)
    assert console("XAUTOCLAIM s g other 0 0") == [b"0-0", [], []]
    assert [letter[b"_id"] for letter in letters(console)] == [b"1-0"]


def test_giving_back_counts_towards_the_limit(console: ServerConsole) -> None:
    console("XGROUP POLICY s g MAXDELIVER 2 DEAD dead")
    read(console, "COUNT 3")
    console("XNACK s g FAIL IDS 1 1-0")
    console("XNACK s g FATAL IDS 1 2-0")
    console("XNACK s g SILENT IDS 1 3-0")
    assert [(it[b"_id"], it[b"_reason"]) for it in letters(console)] == [(b"2-0", b"fatal")]
    assert ids(read(console, "COUNT 2")) == [b"1-0", b"3-0"]
    console("XNACK s g FAIL IDS 2 1-0 3-0")
    assert [(it[b"_id"], it[b"_reason"]) for it in letters(console)[1:]] == [(b"1-0", b"failed")]


def test_backoff_doubles_up_to_its_maximum(console: ServerConsole) -> None:
    console("XGROUP POLICY s g BACKOFF 100 300")
    for delay_ms in (100, 200, 300, 300):
        assert ids(read(console, "COUNT 1")) == [b"1-0"]
        console("XNACK s g FAIL IDS 1 1-0")
        console("XGROUP SETID s g 5-0")
        console.clock.advance(delay_ms - 1)
        assert read(console) is None
        assert read(console, "CLAIM 0") is None
        assert console("XAUTOCLAIM s g c 0 0")[1] == []
        console.clock.advance(1)
    read(console)
    console("XNACK s g SILENT IDS 1 1-0")
    assert ids(read(console)) == [b"1-0"]


def test_a_dead_stream_of_another_type_keeps_entries_pending(
    console: ServerConsole, caplog: pytest.LogCaptureFixture
) -> None:
    console("SET dead text")
    with pytest.raises(CommandError, match="WRONGTYPE"):
        console("XGROUP POLICY s g MAXDELIVER 1 DEAD dead")
    console("DEL dead")
    console("XGROUP POLICY s g VISIBILITY 10 MAXDELIVER 1 DEAD dead")
    console("SET dead text")
    read(console, "COUNT 1")
    console.clock.advance(10)
    with caplog.at_level(logging.WARNING, logger="hotplate.keyspace"):
        for _ in range(3):
            console.engine.tend_streams(console.clock.now_ms())
    assert [record.getMessage() for record in caplog.records] == [
        "entries of b's' stay pending: b'dead' can't take dead letters"
    ]
    assert pending(console) == [[b"1-0", b"", -1, 1]]
    assert ids(read(console, "COUNT 1")) == [b"2-0"]
    console("XACK s g 2-0")
    console("DEL dead")
    console.engine.tend_streams(console.clock.now_ms())
    assert [it[b"_reason"] for it in letters(console)] == [b"expired"]
    assert pending(console) == []


def test_what_was_deleted_is_pending_no_more_when_its_time_runs_out(
    console: ServerConsole,
) -> None:
    console("XGROUP POLICY s g VISIBILITY 10 MAXDELIVER 1 DEAD dead")
    read(console, "COUNT 2")
    console("XDEL s 1-0")
    console.clock.advance(10)
    console.engine.tend_streams(console.clock.now_ms())
    assert [it[b"_id"] for it in letters(console)] == [b"2-0"]
    assert pending(console) == []


def test_a_policy_is_shown_and_can_be_taken_away(console: ServerConsole) -> None:
    plain = list(fields(console("XINFO GROUPS s")[0]))
    console("XGROUP POLICY s g MAXDELIVER 3 DEAD dead BACKOFF 10 20")
    shown = fields(console("XINFO GROUPS s")[0])
    assert list(shown)[: len(plain)] == plain
    assert list(shown.items())[len(plain) :] == [
        (b"visibility-ms", 600_000),
        (b"max-deliver", 3),
        (b"dead", b"dead"),
        (b"backoff-base-ms", 10),
        (b"backoff-max-ms", 20),
    ]
    assert console("XGROUP POLICY s g") == b"OK"
    assert list(fields(console("XINFO GROUPS s")[0])) == plain
    read(console)
    console.clock.advance(10**9)
    assert read(console) is None


def test_a_policy_goes_on_after_the_key_was_renamed(console: ServerConsole) -> None:
    console("XGROUP POLICY s g VISIBILITY 10 MAXDELIVER 1 DEAD dead")
    read(console, "COUNT 1")
    console("RENAME s t")
    console.clock.advance(10)
    console.engine.tend_streams(console.clock.now_ms())
    assert console("XLEN dead") == 0
    console("XREADGROUP GROUP g c COUNT 1 STREAMS t >")
    assert [it[b"_origin"] for it in letters(console)] == [b"t"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("XGROUP CREATE s g 0", "BUSYGROUP Consumer Group name already exists"),
        ("XGROUP CREATE s h x", "ERR Invalid stream ID specified as stream command argument"),
        ("XGROUP CREATE s h 0 ENTRIESREAD -2", "ERR value for ENTRIESREAD must be positive or -1"),
        ("XGROUP CREATE text h 0", WRONG_TYPE),
        ("XGROUP SETID s none 0", "NOGROUP No such consumer group 'none' for key name 's'"),
        ("XREADGROUP GROUP none c STREAMS s >", f"{NO_GROUP} in XREADGROUP with GROUP option"),
        ("XREADGROUP GROUP g c CLAIM -1 STREAMS s >", NEGATIVE_IDLE),
        ("XREADGROUP GROUP g c MAXCOUNT x STREAMS s >", NOT_AN_INTEGER),
        ("XREADGROUP COUNT 1 NOACK STREAMS s >", "ERR Missing GROUP option for XREADGROUP"),
        ("XNACK s none FAIL IDS 1 1-0", NO_GROUP),
        ("XNACK s g SOFT IDS 1 1-0", SYNTAX),
        ("XNACK s g FAIL IDS 0 1-0", "ERR Number of IDs must be a positive integer"),
        ("XNACK s g FAIL RETRYCOUNT 1 FORCE", SYNTAX),
        ("XNACK s g FAIL IDS 1 1-0 RETRYCOUNT -1", RETRYCOUNT),
        ("XACK s g 1-0 x", "ERR Invalid stream ID specified as stream command argument"),
        ("XACKDEL s g 1-0 2-0 3-0", SYNTAX),
        ("XCLAIM s g c x 1-0", "ERR Invalid min-idle-time argument for XCLAIM"),
        ("XCLAIM s g c 0 1-0 FOO", "ERR Unrecognized XCLAIM option 'FOO'"),
        ("XAUTOCLAIM s g c 0 0 COUNT 0", "ERR COUNT must be > 0"),
        ("XPENDING s none", NO_GROUP),
        ("XGROUP POLICY s none", "NOGROUP No such consumer group 'none' for key name 's'"),
        ("XGROUP POLICY s g VISIBILITY 0", "ERR VISIBILITY must be an integer of 1 to"
         " 315360000000, not '0'"),
        ("XGROUP POLICY s g MAXDELIVER 3", "ERR MAXDELIVER and DEAD must be given together"),
        ("XGROUP POLICY s g DEAD d", "ERR MAXDELIVER and DEAD must be given together"),
        ("XGROUP POLICY s g MAXDELIVER 3 DEAD s",
         "ERR DEAD must be another stream than the one it is for"),
        ("XGROUP POLICY s g MAXDELIVER 3 DEAD text", WRONG_TYPE),
        ("XGROUP POLICY s g BACKOFF 10 9", "ERR BACKOFF max must be an integer of 10 to"
         " 315360000000, not '9'"),
        ("XGROUP POLICY s g FOO", "ERR unknown subcommand or wrong number of arguments for"
         " 'POLICY'. Try XGROUP HELP."),
    ],
)  # fmt: skip
def test_a_refused_command_changes_nothing(
    console: ServerConsole, command: str, message: str
) -> None:
    console("SET text v")
    console("XGROUP POLICY s g VISIBILITY 5000")
    read(console, "COUNT 2")
    before = [console("XINFO STREAM s FULL"), console("XINFO GROUPS s"), console("DBSIZE")]
    with pytest.raises(CommandError) as refused:
        console(command)
    assert str(refused.value) == message
    after = [console("XINFO STREAM s FULL"), console("XINFO GROUPS s"), console("DBSIZE")]
    assert after == before
