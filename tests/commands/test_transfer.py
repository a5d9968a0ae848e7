"""DUMP and RESTORE, and values that travel between a real Redis and us, both ways."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from tests.testing.all_types import Ask, content, fill, fill_streams, pairs_of
from tests.testing.old_encodings import pack_blob, pack_ziplist, pack_zipmap, seal
from tests.testing.server_console import ServerConsole as Console

from hotplate.bench.process import ServerProcess
from hotplate.errors import CommandError


@pytest.fixture(params=[2, 3])
def console(request: pytest.FixtureRequest) -> Console:
    return Console(resp=request.param)


def refusal(console: Console, *words: bytes | str | int) -> str:
    with pytest.raises(CommandError) as caught:
        console(*words)
    return caught.value.message.decode()


def test_a_value_is_restored_with_its_expiry(console: Console) -> None:
    console("SET k value")
    payload = console("DUMP k")
    assert console("RESTORE", "copy", 0, payload) == b"OK"
    assert console("GET copy") == b"value"
    assert console("TTL copy") == -1
    console("RESTORE", "timed", 1500, payload)
    assert console("PTTL timed") == 1500
    console("RESTORE", "dated", 4_102_444_800_000, payload, "ABSTTL")
    assert console("PEXPIRETIME dated") == 4_102_444_800_000
    assert console("DUMP none") is None


def test_a_key_that_is_there_stays_unless_told_to_replace_it(console: Console) -> None:
    console("SET k value EX 100")
    payload = console("DUMP k")
    console("RPUSH other x")
    text = "BUSYKEY Target key name already exists."
    assert refusal(console, "RESTORE", "other", 0, payload) == text
    assert console("RESTORE", "other", 0, payload, "replace") == b"OK"
    assert console("GET other") == b"value"
    assert console("RESTORE", "k", 0, payload, "REPLACE") == b"OK"
    assert console("TTL k") == -1


def test_a_time_that_is_past_leaves_no_key(console: Console) -> None:
    console("SET k value")
    payload = console("DUMP k")
    assert console("RESTORE", "past", 1, payload, "ABSTTL") == b"OK"
    assert console("EXISTS past") == 0
    seen: list[tuple[bytes, str]] = []
    console.ctx.db.observer = lambda index, key, event: seen.append((key, event))
    assert console("RESTORE", "k", 1, payload, "ABSTTL", "REPLACE") == b"OK"
    assert console("EXISTS k") == 0
    console("RESTORE", "k", 0, payload)
    assert seen == [(b"k", "del"), (b"k", "restore")]


def test_the_time_since_the_last_use_travels_too(console: Console) -> None:
    console("SET k value")
    console("RESTORE", "copy", 0, console("DUMP k"), "IDLETIME", 500)
    assert console("OBJECT IDLETIME copy") == 500


def test_times_of_fields_travel_and_end(console: Console) -> None:
    console("HSET k a 1 b 2")
    console("HPEXPIRE k 1000 FIELDS 1 a")
    console("RESTORE", "copy", 0, console("DUMP k"))
    assert console("HPTTL copy FIELDS 2 a b") == [1000, -1]
    assert console("OBJECT ENCODING copy") == b"listpackex"
    console.clock.advance(1001)
    assert console("HGETALL copy") in ([b"b", b"2"], {b"b": b"2"})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-1", b""), "ERR Invalid TTL value, must be >= 0"),
        (("x", b""), "ERR value is not an integer or out of range"),
        (("0", b"", "IDLETIME", "-1"), "ERR Invalid IDLETIME value, must be >= 0"),
        (("0", b"", "FREQ", "256"), "ERR Invalid FREQ value, must be >= 0 and <= 255"),
        (("0", b"", "FREQ", "1", "IDLETIME", "1"), "ERR syntax error"),
        (("0", b"", "IDLETIME"), "ERR syntax error"),
        (("0", b"", "FOO"), "ERR syntax error"),
        (("0", b""), "ERR DUMP payload version or checksum are wrong"),
        (("0", seal(b"\x00\x01a", 14)), "ERR DUMP payload version or checksum are wrong"),
        (("0", seal(b"\x00\x01a")[:-1] + b"\0"), "ERR DUMP payload version or checksum are wrong"),
        (("0", seal(b"\x00\x05a")), "ERR Bad data format"),
        (("0", seal(b"\x01\x00")), "ERR Bad data format"),
        (("0", seal(b"")), "ERR Bad data format"),
        (
            ("0", seal(b"\x1a\x01")),
            "ERR Bad data format: a stream of a later version cannot be restored in this version",
        ),
    ],
)
def test_a_refused_payload_changes_nothing(
    console: Console, words: tuple[bytes | str, ...], message: str
) -> None:
    console("SET k value")
    assert refusal(console, "RESTORE", "new", *words) == message
    replacing = [*words[:2], "REPLACE", *words[2:]]
    assert refusal(console, "RESTORE", "k", *replacing) == message
    assert console("GET k") == b"value"
    assert console("DBSIZE") == 1


# -- beside a real Redis -----------------------------------------------------------------------


@pytest.fixture
def theirs(redis_server: ServerProcess) -> Iterator[Ask]:
    with redis.Redis(port=redis_server.port) as client:
        client.flushall()
        client.response_callbacks.clear()
        yield client.execute_command
        client.flushall()


@pytest.mark.e2e
def test_what_a_real_redis_dumps_is_restored_here(theirs: Ask) -> None:
    ours = Console()
    for key in fill(theirs):
        assert ours("RESTORE", key, 0, theirs("DUMP", key)) == b"OK"
        assert content(ours, key) == content(theirs, key), key


@pytest.mark.e2e
def test_what_we_dump_is_restored_by_a_real_redis(theirs: Ask) -> None:
    ours = Console()
    for key in fill(ours):
        assert theirs("RESTORE", key, 0, ours("DUMP", key)) == b"OK"
        assert content(theirs, key) == content(ours, key), key
    assert theirs("PFCOUNT", "sketch", "dense") == ours("PFCOUNT", "sketch", "dense")


@pytest.mark.e2e
@pytest.mark.parametrize(
    "body",
    [
        b"\x09" + pack_blob(pack_zipmap([b"a", b"1", b"b" * 300, b"c" * 300])),
        b"\x0a" + pack_blob(pack_ziplist([b"a", b"1", b"-70000", b"b" * 300, b"5000000000"])),
        b"\x0c" + pack_blob(pack_ziplist([b"a", b"1", b"b", b"1.5"])),
        b"\x0d" + pack_blob(pack_ziplist([b"a", b"1", b"b", b"c" * 20_000])),
        b"\x0e\x02" + pack_blob(pack_ziplist([b"a", b"1"])) + pack_blob(pack_ziplist([b"z"])),
        b"\x03\x02\x01a\x031.5\x01b\xfe",
        b"\x01\x02\x01a\xc0\x05",
    ],
)
def test_older_forms_are_read_as_a_real_redis_reads_them(theirs: Ask, body: bytes) -> None:
    ours = Console()
    for ask in (theirs, ours):
        assert ask("RESTORE", "k", 0, seal(body, 6)) in (b"OK", True)
    assert content(ours, b"k") == content(theirs, b"k")


@pytest.mark.e2e
def test_who_goes_on_with_a_restored_stream_gets_what_is_next(theirs: Ask) -> None:
    ours = Console(resp=3)
    fill_streams(theirs)
    ours("RESTORE", "stream:large", 0, theirs("DUMP", "stream:large"))
    read = ("XREADGROUP", "GROUP", "first", "eve", "COUNT", 2, "STREAMS", "stream:large", ">")
    assert ours(*read) == theirs(*read)
    count = ("XPENDING", "stream:large", "first")
    assert ours(*count) == theirs(*count)
    assert ours("XADD", "stream:small", "0-1", "a", "b") == b"0-1"


def test_an_entry_that_is_nobodys_travels_as_such(console: Console) -> None:
    for number in range(1, 4):
        console("XADD", "s", f"{number}-0", "f", "v")
    console("XGROUP", "CREATE", "s", "g", 0)
    console("XREADGROUP", "GROUP", "g", "alice", "STREAMS", "s", ">")
    console("XNACK", "s", "g", "FAIL", "IDS", 2, "3-0", "1-0")
    console("RESTORE", "copy", 0, console("DUMP s"))
    info = ("XINFO", "STREAM", "{}", "FULL")
    there, here = (console(*(word.format(key) for word in info)) for key in ("copy", "s"))
    assert pairs_of(there) == pairs_of(here) != []
    read = ("XREADGROUP", "GROUP", "g", "bob", "CLAIM", 0, "STREAMS")
    assert flat(console(*read, "copy", ">"))[1:] == flat(console(*read, "s", ">"))[1:]
    pending = ("XPENDING", "{}", "g", "-", "+", 9)
    there, here = (console(*(str(word).format(key) for word in pending)) for key in ("copy", "s"))
    assert there == here
    assert {row[1] for row in there} == {b"bob"}


def flat(reply: Any) -> list[Any]:
    """All that is in a reply, one after the other."""
    if isinstance(reply, dict):
        return flat(list(reply.items()))
    return (
        [leaf for item in reply for leaf in flat(item)]
        if isinstance(reply, (list, tuple))
        else [reply]
    )
