"""Paced queues (LBQ): entries drip into a stream. Time is the clock's that the test moves."""

import pytest
from tests.testing.limits_console import released, tick
from tests.testing.server_console import ServerConsole

from hotplate.config import Config


@pytest.fixture(params=[2, 3])
def console(request: pytest.FixtureRequest) -> ServerConsole:
    return ServerConsole(resp=request.param)


@pytest.fixture
def debugging() -> ServerConsole:
    """A console that may send DEBUG."""
    config = Config()
    config.enable_debug_command = "yes"
    return ServerConsole(config=config)


def facts(console: ServerConsole, key: str) -> dict[str, object]:
    """LBQ.INFO of either protocol."""
    reply = console("LBQ.INFO", key)
    if isinstance(reply, list):
        reply = dict(zip(reply[::2], reply[1::2], strict=True))
    return {name.decode(): fact for name, fact in reply.items()}


def names(console: ServerConsole, stream: str = "s") -> list[bytes]:
    """What was released, by its field n."""
    return [entry[b"n"] for entry in released(console, stream)]


def add(console: ServerConsole, name: object, options: str = "", key: str = "q") -> list[object]:
    """LBQ.ADD of one field n."""
    reply: list[object] = console("LBQ.ADD", key, *options.split(), "FIELDS", 1, "n", str(name))
    return reply


def test_entries_drip_into_the_stream_at_the_rate(console: ServerConsole) -> None:
    assert console("LBQ.CREATE q INTO s RATE 10 1000") == b"OK"
    replies = [add(console, number) for number in range(3)]
    assert [reply[0] for reply in replies] == [1, 1, 1]
    assert [reply[2:] for reply in replies] == [[0, 100, None], [1, 200, None], [2, 300, None]]
    tick(console, 99)
    assert console("LBQ.LEN q") == 3
    for span_ms, count in ((1, 1), (99, 1), (1, 2), (100, 3), (1000, 3)):
        tick(console, span_ms)
        assert console("XLEN s") == count
    assert names(console) == [b"0", b"1", b"2"]
    tickets = [reply[1] for reply in replies]
    assert [entry[b"_ticket"] for entry in released(console, "s")] == tickets
    assert [entry[b"_wait_ms"] for entry in released(console, "s")] == [b"100", b"200", b"300"]
    assert {entry[b"_class"] for entry in released(console, "s")} == {b"0"}


def test_an_entry_waits_as_long_as_its_cost_says(console: ServerConsole) -> None:
    console("LBQ.CREATE q INTO s RATE 100 1000")
    assert add(console, "a", "COST 50")[2:4] == [0, 500]
    assert add(console, "b", "COST 7")[2:4] == [1, 570]
    tick(console, 500)
    assert names(console) == [b"a"]
    tick(console, 69)
    assert names(console) == [b"a"]
    tick(console, 1)
    assert names(console) == [b"a", b"b"]


def test_who_comes_late_catches_up_by_the_burst_and_no_more(console: ServerConsole) -> None:
    console("LBQ.CREATE q INTO s RATE 10 1000 BURST 3")
    for number in range(10):
        add(console, number)
    tick(console, 750)  # seven are due, but nobody came
    assert console("XLEN s") == 3
    tick(console, 99)
    assert console("XLEN s") == 3
    tick(console, 1)
    assert console("XLEN s") == 4


def test_a_queue_that_ran_empty_begins_anew(console: ServerConsole) -> None:
    console("LBQ.CREATE q INTO s RATE 10 1000 BURST 5")
    add(console, "a")
    tick(console, 100)
    console.clock.advance(5000)
    assert add(console, "b")[3] == 100
    tick(console, 99)
    assert names(console) == [b"a"]
    tick(console, 1)
    assert names(console) == [b"a", b"b"]


def test_classes_get_what_their_weights_say(console: ServerConsole) -> None:
    console("LBQ.CREATE q INTO s RATE 10 1000 CLASSES 3 WEIGHTS 3 2 1")
    for number in range(36):
        add(console, number, f"CLASS {number % 3}")
    order = [row[0] for row in console("LBQ.RANGE q 0 -1")]
    for _ in range(36):
        tick(console, 100)
    entries = released(console, "s")
    assert [entry[b"_ticket"] for entry in entries] == order
    classes = [int(entry[b"_class"]) for entry in entries[:24]]
    assert [classes.count(number) for number in range(3)] == [12, 8, 4]
    for number in range(3):
        own = [int(entry[b"n"]) for entry in entries if int(entry[b"_class"]) == number]
        assert own == sorted(own)


def test_weights_count_costs_not_entries(console: ServerConsole) -> None:
    console("LBQ.CREATE q INTO s RATE 1000 1 CLASSES 2 WEIGHTS 1 1 BURST 100000")
    for number in range(200):
        add(console, number, f"CLASS {number % 2} COST {1000 if number % 2 else 10}")
    tick(console, 2)
    entries = released(console, "s")
    spent = [0, 0]
    for entry in entries:
        spent[int(entry[b"_class"])] += 1000 if entry[b"_class"] == b"1" else 10
    assert spent[1] >= 1000
    assert abs(spent[0] - spent[1]) <= 1010


def test_who_waited_for_too_long_goes_first(console: ServerConsole) -> None:
    console("LBQ.CREATE q INTO s RATE 10 1000 CLASSES 2 WEIGHTS 1000 1 MAXAGE 350")
    add(console, "low", "CLASS 1")
    for number in range(10):
        add(console, number)
    for _ in range(5):
        tick(console, 100)
    # all came at once: from 350 ms on the oldest goes, whatever its class
    assert names(console) == [b"0", b"1", b"2", b"low", b"3"]


def test_a_full_queue_rejects_and_says_when_there_is_room(console: ServerConsole) -> None:
    console("LBQ.CREATE q INTO s RATE 1 1000 CAPACITY 2")
    add(console, "a")
    add(console, "b")
    tick(console, 400)
    assert add(console, "c") == [0, None, -1, 600, None]
    assert console("LBQ.LEN q") == 2
    tick(console, 600)
    assert add(console, "c")[0] == 1
    assert facts(console, "q")["rejected"] == 1


def test_bytes_are_a_limit_too(console: ServerConsole) -> None:
    console("LBQ.CREATE q INTO s RATE 1 1000 CAPBYTES 10")
    assert add(console, "x" * 4)[0] == 1
    assert add(console, "x" * 4)[0] == 1
    assert add(console, "")[0] == 0
    assert facts(console, "q")["bytes"] == 10
    console("DEL q")
    console("LBQ.CREATE q INTO s RATE 1 1000 CAPBYTES 10")
    assert add(console, "x" * 10) == [0, None, -1, -2, None]


def test_dropoldest_makes_room_and_the_dropped_go_to_the_dead_stream(
    console: ServerConsole,
) -> None:
    console("LBQ.CREATE q INTO s RATE 1 1000 CAPACITY 2 OVERFLOW DROPOLDEST DEAD d")
    first = add(console, "a")
    add(console, "b")
    reply = add(console, "c")
    assert (reply[0], reply[4]) == (1, first[1])
    (dead,) = released(console, "d")
    assert (dead[b"n"], dead[b"_reason"], dead[b"_origin"]) == (b"a", b"displaced", b"q")
    assert [row[5][1] for row in console("LBQ.RANGE q 0 -1")] == [b"b", b"c"]


def test_droplowest_displaces_the_youngest_of_the_least_important_class(
    console: ServerConsole,
) -> None:
    console("LBQ.CREATE q INTO s RATE 1 1000 CLASSES 3 CAPACITY 3 OVERFLOW DROPLOWEST")
    add(console, "old", "CLASS 2")
    young = add(console, "young", "CLASS 2")
    add(console, "middle", "CLASS 1")
    assert add(console, "no", "CLASS 2")[0] == 0
    assert add(console, "paid")[4] == young[1]
    assert add(console, "paid too", "CLASS 1")[0] == 1
    assert console("LBQ.LEN q CLASS 2") == 0
    assert add(console, "no", "CLASS 1")[0] == 0
    assert add(console, "more")[0] == 1
    assert console("LBQ.LEN q CLASS 1") == 1
    waiting = [row[5][1] for row in console("LBQ.RANGE q 0 -1")]
    assert waiting == [b"paid", b"middle", b"more"]


def test_droplowest_drops_nobody_where_that_would_not_be_enough(console: ServerConsole) -> None:
    console("LBQ.CREATE q INTO s RATE 1 1000 CLASSES 2 CAPBYTES 20 OVERFLOW DROPLOWEST")
    add(console, "x" * 9)
    add(console, "x" * 9, "CLASS 1")
    assert add(console, "x" * 10)[0] == 0
    assert console("LBQ.LEN q") == 2
    assert add(console, "x" * 9)[0] == 1


def test_what_does_not_fit_spills_into_another_queue(console: ServerConsole) -> None:
    console("LBQ.CREATE q INTO s RATE 1 1000 CLASSES 3 CAPACITY 1 OVERFLOW SPILL q2")
    add(console, "a")
    assert add(console, "b")[0] == 0  # there is none yet
    console("LBQ.CREATE q2 INTO s2 RATE 1 1000 CAPACITY 1 OVERFLOW SPILL q")
    reply = add(console, "b", "CLASS 2")
    assert (reply[0], reply[2:]) == (2, [0, 1000, None])
    assert add(console, "c")[0] == 0  # it spills no further
    tick(console, 1000)
    assert names(console, "s2") == [b"b"]
    assert released(console, "s2")[0][b"_ticket"] == reply[1]


def test_a_delayed_entry_comes_when_it_is_time(console: ServerConsole) -> None:
    console("LBQ.CREATE q INTO s RATE 10 1000")
    assert add(console, "late", "DELAY 1000")[3] == 1100
    assert add(console, "now")[2:4] == [0, 100]
    assert console("LBQ.LEN q") == 2
    assert console("LBQ.RANGE q 0 -1")[1][4] == 1000
    tick(console, 100)
    assert names(console) == [b"now"]
    tick(console, 999)
    assert names(console) == [b"now"]
    tick(console, 1)
    assert names(console) == [b"now", b"late"]


def test_an_entry_that_waits_longer_than_its_ttl_is_dropped(console: ServerConsole) -> None:
    console("LBQ.CREATE q INTO s RATE 1 1000 DEAD d")
    add(console, "a")
    add(console, "b", "TTL 1500")
    add(console, "c", "DELAY 3000 TTL 2000")
    add(console, "d")
    for _ in range(4):
        tick(console, 500)
    assert names(console) == [b"a", b"d"]
    assert [entry[b"n"] for entry in released(console, "d")] == [b"b", b"c"]
    assert {entry[b"_reason"] for entry in released(console, "d")} == {b"expired"}
    assert facts(console, "q")["expired"] == 2


def test_the_same_message_of_a_producer_is_queued_once(console: ServerConsole) -> None:
    console("LBQ.CREATE q INTO s RATE 10 1000")
    first = add(console, "a", "IDMP p 1")
    again = add(console, "b", "IDMP p 1")
    assert again == [3, first[1], 0, 100, None]
    assert add(console, "c", "IDMP p 2")[0] == 1
    tick(console, 100)
    assert add(console, "d", "IDMP p 1") == [3, first[1], -1, 0, None]
    console.clock.advance(99_999)
    assert add(console, "d", "IDMP p 1")[0] == 3
    console.clock.advance(1)
    assert add(console, "d", "IDMP p 1")[0] == 1


def test_a_cancelled_message_may_be_sent_again(console: ServerConsole) -> None:
    console("LBQ.CREATE q INTO s RATE 1 1000")
    (_, ticket, *_) = add(console, "a", "IDMP p 1")
    other = add(console, "b", "DELAY 10")[1]
    assert isinstance(ticket, bytes)
    assert isinstance(other, bytes)
    assert console("LBQ.CANCEL", "q", ticket, other, "nobody", ticket) == 2
    assert console("LBQ.LEN q") == 0
    assert add(console, "a", "IDMP p 1")[0] == 1
    assert console("LBQ.CANCEL nowhere t") == 0


def test_a_paused_queue_releases_nothing_and_floods_nobody_later(console: ServerConsole) -> None:
    console("LBQ.CREATE q INTO s RATE 10 1000 BURST 5")
    assert console("LBQ.PAUSE q") == b"OK"
    assert add(console, "a")[3] == -1
    for number in range(9):
        add(console, number)
    tick(console, 10_000)
    assert console("XLEN s") == 0
    assert facts(console, "q")["state"] == b"paused"
    assert console("LBQ.RESUME q") == b"OK"
    tick(console)
    assert console("XLEN s") == 0
    tick(console, 100)
    assert console("XLEN s") == 1


def test_another_rate_counts_from_the_last_release(console: ServerConsole) -> None:
    console("LBQ.CREATE q INTO s RATE 1 1000")
    for number in range(3):
        add(console, number)
    tick(console, 1000)
    tick(console, 50)
    assert console("LBQ.RATE q 10 1000") == b"OK"
    tick(console, 49)
    assert console("XLEN s") == 1
    tick(console, 1)
    assert console("XLEN s") == 2
    assert console("LBQ.RATE q 0 1000") == b"OK"
    assert add(console, "x")[3] == -2
    tick(console, 10**6)
    assert console("XLEN s") == 2
    assert console("LBQ.RATE q 1 1000") == b"OK"
    tick(console, 999)
    assert console("XLEN s") == 2
    tick(console, 1)
    assert console("XLEN s") == 3


def test_credit_holds_entries_back_while_the_group_has_too_many(console: ServerConsole) -> None:
    console("LBQ.CREATE q INTO s RATE 1000 1000 CREDIT g 2")
    for number in range(5):
        add(console, number)
    for _ in range(9):
        tick(console, 100)
    assert console("XLEN s") == 2  # a group that is not there has read nothing
    assert facts(console, "q")["state"] == b"credit"
    console("XGROUP CREATE s g 0")
    ((_, entries),) = (
        console.other()("XREADGROUP GROUP g c STREAMS s >").items()
        if (console.ctx.resp == 3)
        else console("XREADGROUP GROUP g c STREAMS s >")
    )
    assert len(entries) == 2
    tick(console, 100)
    assert console("XLEN s") == 2  # read, but not acknowledged
    assert console("XACK", "s", "g", entries[0][0]) == 1
    tick(console, 100)
    assert console("XLEN s") == 3
    tick(console, 100)
    assert console("XLEN s") == 3


def test_a_queue_whose_stream_is_something_else_keeps_its_entries(
    console: ServerConsole,
) -> None:
    console("LBQ.CREATE q INTO s RATE 10 1000")
    console("SET s string")
    add(console, "a")
    tick(console, 100)
    assert facts(console, "q")["state"] == b"stream"
    assert console("LBQ.LEN q") == 1
    console("DEL s")
    tick(console, 100)
    assert names(console) == [b"a"]
    assert facts(console, "q")["state"] == b"running"


def test_creating_again_changes_settings_and_keeps_the_entries(console: ServerConsole) -> None:
    console("LBQ.CREATE q INTO s RATE 1 1000 CLASSES 3")
    for number in range(3):
        add(console, number, f"CLASS {number}")
    assert console("LBQ.CREATE q INTO s2 RATE 10 1000 CLASSES 2 CAPACITY 3") == b"OK"
    assert console("LBQ.LEN q CLASS 1") == 2
    assert add(console, "x")[0] == 0
    for _ in range(3):
        tick(console, 100)
    assert console("EXISTS s") == 0
    assert sorted(names(console, "s2")) == [b"0", b"1", b"2"]


def test_time_stands_still_in_a_transaction(debugging: ServerConsole) -> None:
    """Nothing leaves between two of its commands, however long they take."""
    console = debugging
    console("LBQ.CREATE q INTO s RATE 1000 1000")
    console("MULTI")
    console("LBQ.ADD q FIELDS 1 n a")
    console("DEBUG SLEEP 1")
    console("LBQ.ADD q FIELDS 1 n b")
    console("XLEN s")
    console("LBQ.LEN q")
    replies = console("EXEC")
    assert replies[0][3] == 1
    assert replies[2:] == [[1, replies[2][1], 1, 2, None], 0, 2]
    tick(console)
    assert console("XLEN s") == 1


def test_scripts_may_add(console: ServerConsole) -> None:
    console("LBQ.CREATE q INTO s RATE 10 1000")
    script = "return redis.call('LBQ.ADD', KEYS[1], 'FIELDS', 1, 'n', 'a')[1]"
    assert console("EVAL", script, 1, "q") == 1
    tick(console, 100)
    assert names(console) == [b"a"]


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("LBQ.CREATE q INTO s", "wrong number of arguments"),
        ("LBQ.CREATE q INTO s RATE 1 1000 BURST", "syntax error"),
        ("LBQ.CREATE q INTO s BURST 1 CAPACITY 1", "syntax error"),
        ("LBQ.CREATE q INTO s RATE -1 1000", "count must be an integer of at least 0, not '-1'"),
        ("LBQ.CREATE q INTO s RATE 1 0", "period must be an integer of at least 1, not '0'"),
        ("LBQ.CREATE q INTO s RATE 1.5 10", "count must be"),
        ("LBQ.CREATE q INTO s RATE 1 10 BURST 0", "BURST must be"),
        ("LBQ.CREATE q INTO s RATE 1 10 CLASSES 65", "CLASSES must be an integer of 1 to 64"),
        ("LBQ.CREATE q INTO s RATE 1 10 CLASSES 2 WEIGHTS 1", "syntax error"),
        ("LBQ.CREATE q INTO s RATE 1 10 WEIGHTS 1 CLASSES 2", "syntax error"),
        ("LBQ.CREATE q INTO s RATE 1 10 CLASSES 2 WEIGHTS 1 0", "weight must be"),
        ("LBQ.CREATE q INTO s RATE 1 10 OVERFLOW WHAT", "syntax error"),
        ("LBQ.CREATE q INTO s RATE 1 10 OVERFLOW SPILL q", "can't spill into itself"),
        ("LBQ.CREATE q INTO q RATE 1 10", "can't be its own stream"),
        ("LBQ.CREATE q INTO s RATE 1 10 RATE 1 10", "syntax error"),
        ("LBQ.CREATE q INTO s RATE 1 10 CREDIT g 0", "CREDIT must be"),
        ("LBQ.CREATE text INTO s RATE 1 10", "WRONGTYPE"),
        ("LBQ.CREATE q INTO text RATE 1 10", "WRONGTYPE"),
        ("LBQ.CREATE q INTO s RATE 1 10 DEAD text", "WRONGTYPE"),
        ("LBQ.CREATE q INTO s RATE 1 10 OVERFLOW SPILL text", "WRONGTYPE"),
        ("LBQ.ADD nowhere FIELDS 1 a b", "no such key"),
        ("LBQ.ADD text FIELDS 1 a b", "WRONGTYPE"),
        ("LBQ.ADD there FIELDS 2 a b", "FIELDS 2 must be followed by 4 arguments, not 2"),
        ("LBQ.ADD there FIELDS 0 a b", "the number of fields must be"),
        ("LBQ.ADD there COST 0 FIELDS 1 a b", "COST must be an integer of at least 1, not '0'"),
        ("LBQ.ADD there COST -1 FIELDS 1 a b", "COST must be"),
        ("LBQ.ADD there CLASS 2 FIELDS 1 a b", "CLASS must be 0 to 1, not 2"),
        ("LBQ.ADD there CLASS -1 FIELDS 1 a b", "CLASS must be"),
        ("LBQ.ADD there DELAY -1 FIELDS 1 a b", "DELAY must be"),
        ("LBQ.ADD there TTL 0 FIELDS 1 a b", "TTL must be"),
        ("LBQ.ADD there WHAT 1 FIELDS 1 a b", "syntax error"),
        ("LBQ.ADD there COST 1 COST 1 FIELDS 1 a b", "syntax error"),
        ("LBQ.LEN text", "WRONGTYPE"),
        ("LBQ.LEN there CLASS 2", "CLASS must be 0 to 1, not 2"),
        ("LBQ.LEN there WHAT", "syntax error"),
        ("LBQ.INFO nowhere", "no such key"),
        ("LBQ.RANGE text 0 1", "WRONGTYPE"),
        ("LBQ.RANGE there a 1", "not an integer"),
        ("LBQ.PAUSE nowhere", "no such key"),
        ("LBQ.RESUME text", "WRONGTYPE"),
        ("LBQ.RATE nowhere 1 1000", "no such key"),
        ("LBQ.RATE there 1 0", "period must be"),
        ("LBQ.CANCEL text t", "WRONGTYPE"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    console: ServerConsole, command: str, error: str
) -> None:
    console("SET text t")
    console("LBQ.CREATE there INTO s RATE 1 1000 CLASSES 2")
    add(console, "a", key="there")
    before = console("DUMP there")
    assert error in console.refused(command)
    assert console("DUMP there") == before
    assert console("DBSIZE") == 2


def test_an_idmp_name_has_a_limit(console: ServerConsole) -> None:
    console("LBQ.CREATE q INTO s RATE 1 1000")
    for producer in ("", "x" * 513):
        assert "IDMP takes" in console.refused(
            "LBQ.ADD", "q", "IDMP", producer, "1", "FIELDS", 1, "a", "b"
        )


def test_an_entry_may_be_given_its_ticket(console: ServerConsole) -> None:
    console("LBQ.CREATE q INTO s RATE 10 1000")
    assert add(console, "a", "TICKET mine")[:2] == [1, b"mine"]
    assert "with that ticket is in the queue" in console.refused(
        "LBQ.ADD q TICKET mine FIELDS 1 n b"
    )
    assert "TICKET takes names" in console.refused(
        "LBQ.ADD", "q", "TICKET", "", "FIELDS", 1, "a", "b"
    )
    tick(console, 100)
    assert released(console, "s")[0][b"_ticket"] == b"mine"
    assert add(console, "b", "TICKET mine")[0] == 1


def test_release_does_what_the_timer_does(console: ServerConsole) -> None:
    console("LBQ.CREATE q INTO s RATE 10 1000 BURST 2")
    for number in range(5):
        add(console, number)
    assert console("LBQ.RELEASE q") == 0
    console.clock.advance(300)
    assert console("LBQ.RELEASE q") == 2
    assert console("LBQ.RELEASE nowhere") == 0
    console("SET text t")
    assert "WRONGTYPE" in console.refused("LBQ.RELEASE text")


def test_ranges_are_those_of_lists(console: ServerConsole) -> None:
    console("LBQ.CREATE q INTO s RATE 1 1000")
    for number in range(5):
        add(console, number)
    add(console, "late", "DELAY 5")

    def between(start: int, stop: int) -> list[bytes]:
        return [row[5][1] for row in console("LBQ.RANGE", "q", start, stop)]

    assert between(0, -1) == [b"0", b"1", b"2", b"3", b"4", b"late"]
    assert between(1, 2) == [b"1", b"2"]
    assert between(-2, 100) == [b"4", b"late"]
    assert between(3, 1) == []
    assert between(-100, 0) == [b"0"]
    assert console("LBQ.RANGE nowhere 0 -1") == []


def test_huge_numbers_stay_exact(console: ServerConsole) -> None:
    most = 2**63 - 1
    console("LBQ.CREATE", "q", "INTO", "s", "RATE", most, 10**10, "CLASSES", 2)
    assert add(console, "a", f"COST {most}")[3] == 10**10
    assert add(console, "b", f"CLASS 1 COST {most - 1}")[0] == 1
    tick(console, 10**10 - 1)
    assert console("XLEN s") == 0
    tick(console, 1)
    assert console("XLEN s") == 1
