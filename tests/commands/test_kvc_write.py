"""KVC.STARTWRITE, KVC.FINISH, KVC.REMOVE and KVC.TRIM."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.testing.kvc_context import Client, KvcServer
from xxhash import xxh3_64_intdigest

from hotplate.errors import CommandError
from hotplate.kvc.journal import Journal
from hotplate.wire.codes import parse_fields
from hotplate.wire.schema import decode_locations

KEYS = [b"key-%02d" % number for number in range(10)]
PAYLOADS = [b"%05d" % number for number in range(10)]
SUMS = [xxh3_64_intdigest(payload) for payload in PAYLOADS]
PACKED = ("PACKED", 6, b"".join(KEYS))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[KvcServer]:
    made = KvcServer(tmp_path)
    client = made.client()
    client.line("KVC.GROUP UPDATE default VERSION 1 GRACE 0")
    client.line("KVC.INSTANCE REGISTER one GROUP default BLOCKTOKENS 2 SPEC kv 5")
    client.line("KVC.INSTANCE REGISTER free GROUP default BLOCKTOKENS 2 SPEC kv 5 CHAINED 0")
    client.line(
        "KVC.INSTANCE REGISTER two GROUP default BLOCKTOKENS 2 SPEC a 3 SPEC b 4"
        " SPECGROUP full 2 a b SPECGROUP half 1 b"
    )
    yield made
    made.close()


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def client(server: KvcServer, request: pytest.FixtureRequest) -> Client:
    return server.client(request.param)


def sums(*values: int) -> bytes:
    return struct.pack(f">{len(values)}Q", *values)


def keys(*wanted: bytes) -> tuple[Any, ...]:
    return ("KEYS", len(wanted), *wanted)


def start(client: Client, *words: Any) -> Any:
    return client("KVC.STARTWRITE", "one", *words)


def count(client: Client, instance: str = "one") -> int:
    found = client("KVC.GETLOC", instance, "COUNT", "EXACT", *PACKED)
    assert isinstance(found, int)
    return found


# STARTWRITE and FINISH


def test_a_session_publishes_what_was_written(client: Client) -> None:
    session, mask, entries = start(client, *keys(*KEYS[:3]))
    assert mask == b"000"
    assert [entry[2][0][3] for entry in entries] == [None, None, None]
    for index in range(3):
        assert client("KVC.WRITE", "one", session, index, PAYLOADS[index]) == b"OK"
    assert count(client) == 0
    assert client("KVC.FINISH", "one", session) == [3, 0]
    assert count(client) == 3
    assert client("KVC.READ", "one", KEYS[1]) == PAYLOADS[1]


def test_what_is_there_or_being_written_is_masked(client: Client) -> None:
    session, _, _ = start(client, *keys(*KEYS[:2]))
    other, mask, entries = start(client, *keys(*KEYS[:3]))
    assert (mask, len(entries)) == (b"110", 1)
    client("KVC.FINISH", "one", session, "CHECKSUMS", sums(*SUMS[:2]))
    client("KVC.FINISH", "one", other, "CHECKSUMS", sums(SUMS[2]))
    assert start(client, *keys(*KEYS[:3])) == [None, b"111", []]


def test_nothing_to_write_is_no_session(client: Client) -> None:
    assert start(client, "KEYS", 0) == [None, b"", []]
    assert start(client, "PACKED", 8, b"") == [None, b"", []]


def test_duplicates_in_one_call_fold_into_one(client: Client) -> None:
    session, mask, entries = client("KVC.STARTWRITE", "free", *keys(KEYS[0], KEYS[1], KEYS[0]))
    assert (mask, len(entries)) == (b"001", 2)
    assert client("KVC.FINISH", "free", session, "CHECKSUMS", sums(1, 2)) == [2, 0]


def test_locations_come_packed_too(client: Client) -> None:
    _, mask, blob = start(client, "FORMAT", "msgpack", *PACKED)
    decoded = decode_locations(blob)
    assert mask == b"0" * 10
    assert sorted(decoded.entries()) == list(range(10))
    assert all(span.sums == b"" for span in decoded.spans)


@pytest.mark.parametrize(
    ("outcome", "published"),
    [
        (("ALL",), [0, 1, 2, 3]),
        (("NONE",), []),
        (("PREFIX", 2), [0, 1]),
        (("PREFIX", 0), []),
        (("MASK", "1001"), [0, 3]),
        (("FULLMASK", "0110"), [1, 2]),
    ],
)
def test_a_finish_says_which_blocks_were_written(
    client: Client, outcome: tuple[Any, ...], published: list[int]
) -> None:
    words = ("KVC.STARTWRITE", "free", *keys(*KEYS[:4]))
    session, _, _ = client(*words)
    values = sums(*(SUMS[index] for index in published))
    finish = ("KVC.FINISH", "free", session, *outcome, "CHECKSUMS", values)
    assert client(*finish) == [len(published), 4 - len(published)]
    entries = client("KVC.GETLOC", "free", "EXACT", *keys(*KEYS[:4]))[2]
    assert [index for index, entry in enumerate(entries) if entry] == published
    assert client(*finish) == [len(published), 4 - len(published)]


def test_another_outcome_of_a_finished_session_is_refused(
    server: KvcServer, client: Client
) -> None:
    session, _, _ = start(client, *keys(*KEYS[:2]))
    client("KVC.FINISH", "one", session, "CHECKSUMS", sums(1, 2))
    before = server.state({b"one": KEYS})
    with pytest.raises(CommandError, match=r"^SESSIONCLOSED"):
        client("KVC.FINISH", "one", session, "NONE")
    with pytest.raises(CommandError, match=r"^SESSIONCLOSED"):
        client("KVC.WRITE", "one", session, 0, PAYLOADS[0])
    assert server.state({b"one": KEYS}) == before


@pytest.mark.parametrize(
    ("finish", "text"),
    [
        ((), "^CHECKSUM"),
        (("CHECKSUMS", sums(1)), "^CHECKSUM"),
        (("CHECKSUMS", b"1234567"), "^CHECKSUM CHECKSUMS of 7 bytes"),
        (("CHECKSUMS", sums(1, 2, 3)), "^CHECKSUM"),
        (("CHECKSUMS", sums(SUMS[0], 0)), "^CHECKSUM"),
        (("CHECKSUMS", sums(SUMS[0] ^ 1, SUMS[1])), "^CHECKSUM"),
        (("PREFIX", 3), "^BADMASK"),
        (("PREFIX", -1), "^ERR PREFIX .*'-1'"),
        (("MASK", "1"), "^BADMASK"),
        (("MASK", "1x"), "^BADMASK"),
        (("FULLMASK", "111"), "^BADMASK"),
        (("SOME",), "^ERR syntax error"),
        (("ALL", "NONE"), "^ERR syntax error"),
        (("MASK",), "^ERR syntax error"),
    ],
)
def test_a_refused_finish_leaves_the_session_open(
    server: KvcServer, client: Client, finish: tuple[Any, ...], text: str
) -> None:
    session, _, _ = start(client, *keys(*KEYS[:2]))
    client("KVC.WRITE", "one", session, 0, PAYLOADS[0])
    before = server.state({b"one": KEYS})
    with pytest.raises(CommandError, match=text):
        client("KVC.FINISH", "one", session, *finish)
    assert server.state({b"one": KEYS}) == before
    client("KVC.WRITE", "one", session, 1, PAYLOADS[1])
    assert client("KVC.FINISH", "one", session, "CHECKSUMS", sums(*SUMS[:2])) == [2, 0]


def test_a_session_belongs_to_its_instance(server: KvcServer, client: Client) -> None:
    session, _, _ = start(client, *keys(KEYS[0]))
    before = server.state({b"one": KEYS})
    for words in (("KVC.FINISH", "free", session), ("KVC.WRITE", "free", session, 0, b"12345")):
        with pytest.raises(CommandError, match=r"^NOSESSION"):
            client(*words)
    with pytest.raises(CommandError, match=r"^NOSESSION"):
        client("KVC.FINISH", "one", "nothing")
    assert server.state({b"one": KEYS}) == before
    assert client("KVC.FINISH", "one", session, "NONE") == [0, 1]


def test_a_session_past_its_deadline_is_dropped(server: KvcServer, client: Client) -> None:
    session, _, _ = start(client, "TIMEOUT", 2, *keys(KEYS[0]))
    server.clock.advance(2001)
    with pytest.raises(CommandError, match=r"^NOSESSION"):
        client("KVC.FINISH", "one", session, "CHECKSUMS", sums(1))
    assert start(client, *keys(KEYS[0]))[1] == b"0"


def test_a_key_under_another_parent_breaks_the_chain(server: KvcServer, client: Client) -> None:
    session, _, _ = start(client, *keys(*KEYS[:2]))
    client("KVC.FINISH", "one", session, "CHECKSUMS", sums(1, 2))
    before = server.state({b"one": KEYS})
    with pytest.raises(CommandError, match=r"^BADCHAIN"):
        start(client, *keys(b"foreign", KEYS[1]))
    with pytest.raises(CommandError, match=r"^BADCHAIN"):
        start(client, "PARENT", b"foreign", *keys(KEYS[1]))
    assert server.state({b"one": KEYS}) == before
    assert start(client, "PARENT", KEYS[0], *keys(KEYS[1], KEYS[2]))[1] == b"10"


def test_unchained_instances_take_keys_in_any_order(client: Client) -> None:
    for order in (KEYS[:2], KEYS[1::-1], [KEYS[1], KEYS[2]]):
        session, mask, _ = client("KVC.STARTWRITE", "free", *keys(*order))
        if session is not None:
            client("KVC.FINISH", "free", session, "CHECKSUMS", sums(*[7] * mask.count(b"0")))
    assert client("KVC.GETLOC", "free", "COUNT", *keys(KEYS[2], KEYS[0])) == 2


def test_only_missing_specs_are_reserved(client: Client) -> None:
    words = ("KVC.STARTWRITE", "two", "SPECGROUPS", 1, "half", *keys(KEYS[0]))
    session, _, entries = client(*words)
    assert [part[0] for part in entries[0][2]] == [b"b"]
    client("KVC.WRITE", "two", session, 0, b"bbbb")
    client("KVC.FINISH", "two", session)
    assert client("KVC.GETLOC", "two", "COUNT", "SPECS", 1, "a", *keys(KEYS[0])) == 0
    session, mask, entries = client("KVC.STARTWRITE", "two", *keys(KEYS[0]))
    assert (mask, [part[0] for part in entries[0][2]]) == (b"0", [b"a"])
    client("KVC.WRITE", "two", session, 0, "SPEC", "a", b"aaa")
    client("KVC.FINISH", "two", session)
    entries = client("KVC.GETLOC", "two", "SPECS", 2, "a", "b", *keys(KEYS[0]))[2]
    assert [part[0] for part in entries[0][2]] == [b"a", b"b"]
    assert client("KVC.READ", "two", KEYS[0]) == b"aaabbbb"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("nobody", *PACKED), "^NOINSTANCE"),
        (("one", "TIMEOUT", 0, *PACKED), "^ERR TIMEOUT .*'0'"),
        (("one", "TIMEOUT", 1801, *PACKED), "^ERR TIMEOUT .*'1801'"),
        (("one", "TTL", 0, *PACKED), "^ERR TTL .*'0'"),
        (("one", "TTL", 2**62, *PACKED), "^ERR TTL"),
        (("one", "PRIORITY", 101, *PACKED), "^ERR PRIORITY .*'101'"),
        (("one", "PRIORITY", -1, *PACKED), "^ERR PRIORITY .*'-1'"),
        (("one", "STORAGE", "tape", *PACKED), "^NOSTORAGE .*'tape'"),
        (("one", "PARENT", b"", *PACKED), "^ERR PARENT of 0 bytes"),
        (("one", "SPECGROUPS", 1, "full", *PACKED), "^ERR SPECGROUPS names 1 groups for 10"),
        (("two", "SPECGROUPS", 1, "nope", "KEYS", 1, b"x"), "^ERR unknown spec group 'nope'"),
        (("one", "TTL", 5, "TTL", 5, *PACKED), "^ERR TTL is given twice"),
        (("one", "COLOUR", 5, *PACKED), "^ERR syntax error"),
        (("one", "TTL", 5), "^ERR syntax error"),
    ],
)
def test_a_refused_reservation_changes_nothing(
    server: KvcServer, client: Client, words: tuple[Any, ...], text: str
) -> None:
    before = server.state({b"one": KEYS})
    with pytest.raises(CommandError, match=text):
        client("KVC.STARTWRITE", *words)
    assert server.state({b"one": KEYS}) == before


# quotas and space


def test_a_request_that_can_never_fit_says_so(server: KvcServer, client: Client) -> None:
    client.line("KVC.GROUP UPDATE default VERSION 2 QUOTA 49")
    before = server.state({b"one": KEYS})
    with pytest.raises(CommandError, match=r"^QUOTA group default ") as caught:
        start(client, *PACKED)
    fields = parse_fields(str(caught.value))
    assert fields == {"used": 0, "limit": 49, "need": 50, "retry_ms": -1}
    assert server.state({b"one": KEYS}) == before


def test_a_type_quota_sends_blocks_to_the_next_storage(client: Client) -> None:
    client.line("KVC.GROUP UPDATE default VERSION 2 TYPEQUOTA memory 0")
    entries = start(client, *keys(KEYS[0]))[2]
    assert entries[0][:2] == [b"ssd", b"ssd"]


def test_without_grace_old_blocks_make_room_at_once(client: Client) -> None:
    client.line("KVC.GROUP UPDATE default VERSION 2 QUOTA 15")
    for index in range(4):
        assert client("KVC.PUT", "free", 1, KEYS[index], PAYLOADS[index]) == 1
    entries = client("KVC.GETLOC", "free", "EXACT", *keys(*KEYS[:4]))[2]
    assert [entry is not None for entry in entries] == [False, True, True, True]


def test_with_grace_the_call_says_when_to_come_back(server: KvcServer, client: Client) -> None:
    client.line("KVC.GROUP UPDATE default VERSION 2 QUOTA 15 GRACE 500")
    client(
        "KVC.PUT",
        "free",
        3,
        *[part for pair in zip(KEYS[:3], PAYLOADS[:3], strict=True) for part in pair],
    )
    with pytest.raises(CommandError, match=r"^QUOTA group default ") as caught:
        client("KVC.STARTWRITE", "free", *keys(KEYS[5]))
    retry_ms = parse_fields(str(caught.value))["retry_ms"]
    assert 0 < retry_ms <= 500
    server.clock.advance(retry_ms)
    server.cache.tick(server.clock.now_ms())
    assert client("KVC.STARTWRITE", "free", *keys(KEYS[5]))[1] == b"0"


def test_a_storage_that_is_full_names_itself(server: KvcServer, client: Client) -> None:
    client.line("KVC.INSTANCE REGISTER huge GROUP default BLOCKTOKENS 2 SPEC kv 16000000")
    before = server.state()
    with pytest.raises(CommandError, match=r"^NOSPACE storage ") as caught:
        client("KVC.STARTWRITE", "huge", *keys(KEYS[0]))
    assert parse_fields(str(caught.value))["need"] >= 16000000
    assert server.state() == before


def test_no_available_storage_is_an_error(server: KvcServer, client: Client) -> None:
    client.line("KVC.STORAGE DISABLE memory")
    client.line("KVC.STORAGE DISABLE ssd")
    before = server.state()
    with pytest.raises(CommandError, match=r"^NOSTORAGE"):
        start(client, *keys(KEYS[0]))
    assert server.state() == before


# REMOVE and TRIM


def fill(client: Client, wanted: list[bytes]) -> None:
    for key in wanted:
        client("KVC.PUT", "free", 1, key, b"12345")


def test_removed_blocks_are_gone_at_once(client: Client) -> None:
    fill(client, KEYS[:4])
    assert client("KVC.REMOVE", "free", *keys(KEYS[1], b"absent", KEYS[2])) == 2
    assert client("KVC.REMOVE", "free", "SKIP", 1, *keys(KEYS[0], KEYS[3])) == 1
    assert client("KVC.REMOVE", "free", "MASK", "1", *keys(KEYS[0])) == 0
    entries = client("KVC.GETLOC", "free", "EXACT", *keys(*KEYS[:4]))[2]
    assert [entry is not None for entry in entries] == [True, False, False, False]


def test_a_refused_removal_changes_nothing(server: KvcServer, client: Client) -> None:
    fill(client, KEYS[:2])
    before = server.state({b"free": KEYS})
    with pytest.raises(CommandError, match=r"^BADMASK"):
        client("KVC.REMOVE", "free", "SKIP", 3, *keys(*KEYS[:2]))
    with pytest.raises(CommandError, match=r"^NOINSTANCE"):
        client("KVC.REMOVE", "nobody", *keys(*KEYS[:2]))
    assert server.state({b"free": KEYS}) == before


@pytest.mark.parametrize("word", ["ALL", "META", "all"])
def test_trim_drops_everything_with_what_is_being_written(client: Client, word: str) -> None:
    fill(client, KEYS[:3])
    session, _, _ = client("KVC.STARTWRITE", "free", *keys(KEYS[5]))
    assert client("KVC.TRIM", "free", word) == 4
    assert client("KVC.GETLOC", "free", "COUNT", "EXACT", *PACKED) == 0
    assert client("KVC.FINISH", "free", session, "CHECKSUMS", sums(1)) == [0, 1]


def test_trim_drops_by_age(server: KvcServer, client: Client) -> None:
    times = []
    for key in KEYS[:4]:
        times.append(server.clock.now_ms())
        fill(client, [key])
        server.clock.advance(1000)
    assert client("KVC.TRIM", "free", "BETWEEN", times[1], times[2]) == 1
    assert client("KVC.TRIM", "free", "BETWEEN", times[1], times[1]) == 0
    assert client("KVC.TRIM", "free", "BEFORE", times[2]) == 1
    client("KVC.GETLOC", "free", "EXACT", *keys(KEYS[2]))
    assert client("KVC.TRIM", "free", "IDLE", 1) == 1
    assert client("KVC.GETLOC", "free", "EXACT", "COUNT", *keys(KEYS[2])) == 1


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("nobody", "ALL"), "^NOINSTANCE"),
        (("free", "SOME"), "^ERR syntax error"),
        (("free", "ALL", "NOW"), "^ERR syntax error"),
        (("free", "BEFORE"), "^ERR syntax error"),
        (("free", "BEFORE", "-1"), "^ERR BEFORE .*'-1'"),
        (("free", "BETWEEN", 5, 4), "^ERR BETWEEN 5 4"),
        (("free", "IDLE", "-1"), "^ERR IDLE .*'-1'"),
        (("free", "IDLE", 2**63 - 1), "^ERR IDLE"),
    ],
)
def test_a_refused_trim_changes_nothing(
    server: KvcServer, client: Client, words: tuple[Any, ...], text: str
) -> None:
    fill(client, KEYS[:2])
    before = server.state({b"free": KEYS})
    with pytest.raises(CommandError, match=text):
        client("KVC.TRIM", *words)
    assert server.state({b"free": KEYS}) == before


def test_with_appendfsync_always_bytes_are_synced_before_the_index_and_both_before_the_reply(
    server: KvcServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    journal = Journal(lambda operations: order.extend(item[0] for item in operations))
    journal.sync = lambda: order.append("journal is safe")
    server.cache.keep_journal(journal)
    store: Any = server.cache.catalog.get_storage("ssd").opened()
    monkeypatch.setattr(
        type(store), "sync", lambda self, places: order.append(f"{len(places)} bytes are safe")
    )
    client("CONFIG", "SET", "appendfsync", "always")
    session = client("KVC.STARTWRITE", "one", "STORAGE", "ssd", *keys(*KEYS[:2]))[0]
    order.clear()
    assert client("KVC.FINISH", "one", session, "ALL", "CHECKSUMS", bytes(range(1, 17))) == [2, 0]
    assert order == ["1 bytes are safe", "bl", "fi", "journal is safe"]
    assert client("KVC.FINISH", "one", session, "ALL") == [2, 0]  # nothing is left to sync
    session = client("KVC.STARTWRITE", "one", "STORAGE", "memory", *keys(KEYS[3]))[0]
    order.clear()
    client("KVC.FINISH", "one", session, "NONE")
    assert order == ["fi"]
