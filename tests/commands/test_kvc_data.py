"""KVC.WRITE, KVC.PUT, KVC.READ and KVC.MREAD: bytes in and out, in memory and on a disk."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.testing.kvc_context import Client, KvcServer, parse

from hotplate.engine.context import Deferred
from hotplate.errors import CommandError

KEYS = [b"key-%02d" % number for number in range(10)]
PAYLOADS = [b"%07d" % number for number in range(10)]
LARGE = 70_000


@pytest.fixture(params=["memory", "ssd", "file", "shared-file"])
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[KvcServer]:
    made = KvcServer(tmp_path)
    client = made.client()
    if request.param.endswith("file"):
        keys_per_file = 1 if request.param == "file" else 3
        client.line(
            f"KVC.STORAGE ADD {request.param} TYPE file PATH {tmp_path}/nfs "
            f"KEYSPERFILE {keys_per_file}"
        )
    client.line(f"KVC.GROUP UPDATE default VERSION 1 GRACE 0 STORAGES 1 {request.param}")
    client.line("KVC.INSTANCE REGISTER one GROUP default BLOCKTOKENS 2 SPEC a 3 SPEC b 4")
    client.line(f"KVC.INSTANCE REGISTER large GROUP default BLOCKTOKENS 2 SPEC kv {LARGE}")
    yield made
    made.close()


@pytest.fixture
def client(server: KvcServer) -> Client:
    return server.client()


def on_disk(server: KvcServer) -> bool:
    return server.catalog.get_group("default").storages != ("memory",)


def put(client: Client, count: int, *options: Any) -> Any:
    pairs = [part for index in range(count) for part in (KEYS[index], PAYLOADS[index])]
    return client("KVC.PUT", "one", *options, count, *pairs)


def damage(server: KvcServer) -> None:
    """Flip the payload bytes of every slot that is in use."""
    storage = server.catalog.get_storage(server.catalog.get_group("default").storages[0])
    for path in Path(str(storage.opened().describe()["path"])).rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        for payload in PAYLOADS:
            at = content.rfind(payload)
            if at >= 0:
                with path.open("r+b") as file:
                    file.seek(at)
                    file.write(b"X" * len(payload))


# PUT and READ


def test_what_was_put_is_read(client: Client) -> None:
    assert put(client, 3) == 3
    assert client("KVC.READ", "one", KEYS[1]) == PAYLOADS[1]
    assert client("KVC.READ", "one", KEYS[1], "SPEC", "a") == PAYLOADS[1][:3]
    assert client("KVC.READ", "one", KEYS[1], "SPEC", "b") == PAYLOADS[1][3:]
    assert client("KVC.READ", "one", b"absent") is None
    assert client("KVC.GETLOC", "one", "COUNT", "KEYS", 3, *KEYS[:3]) == 3


def test_what_is_there_already_stays(client: Client) -> None:
    put(client, 2)
    pairs = (KEYS[0], b"other!!", KEYS[1], b"other!!", KEYS[2], PAYLOADS[2])
    assert client("KVC.PUT", "one", 3, *pairs) == 1
    assert client("KVC.READ", "one", KEYS[0]) == PAYLOADS[0]
    assert client("KVC.READ", "one", KEYS[2]) == PAYLOADS[2]


def test_a_put_goes_on_behind_its_parent(client: Client) -> None:
    put(client, 2)
    assert client("KVC.PUT", "one", "PARENT", KEYS[1], 1, KEYS[2], PAYLOADS[2]) == 1
    assert client("KVC.GETLOC", "one", "COUNT", "KEYS", 3, *KEYS[:3]) == 3


@pytest.mark.parametrize(
    ("cut", "expected"),
    [((0, 7), b"0000001"), ((2, 3), b"000"), ((6, 1), b"1"), ((7, 0), b""), ((0, 0), b"")],
)
def test_a_range_cuts_a_payload(client: Client, cut: tuple[int, int], expected: bytes) -> None:
    put(client, 2)
    assert client("KVC.READ", "one", KEYS[1], "RANGE", *cut) == expected


def test_a_range_of_one_spec_counts_from_its_start(client: Client) -> None:
    client("KVC.PUT", "one", 1, KEYS[0], b"abcdefg")
    assert client("KVC.READ", "one", KEYS[0], "SPEC", "b", "RANGE", 1, 2) == b"ef"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("nobody", KEYS[0]), "^NOINSTANCE"),
        (("one", b""), "^ERR key of 0 bytes"),
        (("one", b"x" * 129), "^ERR key of 129 bytes"),
        (("one", KEYS[0], "SPEC", "nope"), "^ERR unknown spec 'nope'"),
        (("one", KEYS[0], "RANGE", 6, 2), "^ERR RANGE 6 2 ends past the 7 bytes"),
        (("one", KEYS[0], "SPEC", "a", "RANGE", 0, 4), "^ERR RANGE 0 4 ends past the 3 bytes"),
        (("one", KEYS[0], "RANGE", -1, 2), "^ERR RANGE .*'-1'"),
        (("one", KEYS[0], "RANGE", 1), "^ERR syntax error"),
        (("one", KEYS[0], "SPEC", "a", "SPEC", "b"), "^ERR SPEC is given twice"),
        (("one", KEYS[0], "COLOUR", "red"), "^ERR syntax error"),
    ],
)
def test_a_refused_read_names_what_is_wrong(
    client: Client, words: tuple[Any, ...], text: str
) -> None:
    put(client, 1)
    with pytest.raises(CommandError, match=text):
        client("KVC.READ", *words)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("nobody", 1, KEYS[0], PAYLOADS[0]), "^NOINSTANCE"),
        (("one", 1, KEYS[0], b"short"), "^ERR payload 0 has 5 bytes, a block 7"),
        (("one", 2, KEYS[0], PAYLOADS[0], KEYS[1], b"12345678"), "^ERR payload 1 has 8"),
        (("one", 2, KEYS[0], PAYLOADS[0]), "^ERR 2 keys, but 2 keys and payloads"),
        (("one", 1, KEYS[0], PAYLOADS[0], KEYS[1]), "^ERR 1 keys, but 3 keys and payloads"),
        (("one", 0, KEYS[0], PAYLOADS[0]), "^ERR number of keys .*'0'"),
        (("one", "x", KEYS[0], PAYLOADS[0]), "^ERR number of keys .*'x'"),
        (("one", 1, b"", PAYLOADS[0]), "^ERR key of 0 bytes"),
        (("one", "TTL", 0, 1, KEYS[0], PAYLOADS[0]), "^ERR TTL"),
        (("one", "PRIORITY", 101, 1, KEYS[0], PAYLOADS[0]), "^ERR PRIORITY"),
        (("one", "PARENT", b"foreign", 1, KEYS[9], PAYLOADS[0]), "^BADCHAIN"),
    ],
)
def test_a_refused_put_stores_nothing(
    server: KvcServer, client: Client, words: tuple[Any, ...], text: str
) -> None:
    client("KVC.PUT", "one", 1, KEYS[9], PAYLOADS[9])
    before = server.state({b"one": KEYS})
    with pytest.raises(CommandError, match=text):
        client("KVC.PUT", *words)
    assert server.state({b"one": KEYS}) == before


def test_a_put_over_the_quota_stores_nothing(server: KvcServer, client: Client) -> None:
    client.line("KVC.GROUP UPDATE default VERSION 2 QUOTA 20")
    before = server.state({b"one": KEYS})
    with pytest.raises(CommandError, match=r"^QUOTA group default"):
        put(client, 3)
    assert server.state({b"one": KEYS}) == before
    assert put(client, 2) == 2


def test_blocks_that_are_there_need_no_room(server: KvcServer, client: Client) -> None:
    client.line("KVC.GROUP UPDATE default VERSION 2 QUOTA 21 GRACE 60000")
    assert put(client, 3) == 3
    before = server.state({b"one": KEYS})
    assert put(client, 3) == 0
    assert server.state({b"one": KEYS}) == before


def test_a_large_block_that_is_there_is_not_received_again(client: Client) -> None:
    client("KVC.PUT", "large", 1, KEYS[0], b"A" * LARGE)
    argv: list[Any] = [b"KVC.PUT", b"large", b"1", KEYS[0]]
    assert client.receive(argv, b"B" * LARGE) is False
    assert client.run(argv) == 0
    assert client("KVC.READ", "large", KEYS[0]) == b"A" * LARGE


def test_a_stored_block_that_goes_while_others_are_written_is_stored_again(
    server: KvcServer, client: Client
) -> None:
    if not on_disk(server):
        return
    put(client, 1)
    pairs = [part for index in range(2) for part in (KEYS[index], PAYLOADS[index])]
    outcome, _ = client.start([b"KVC.PUT", b"one", b"2", *pairs])
    assert isinstance(outcome, Deferred)
    replies: list[Any] = []
    outcome.start(replies.append)
    server.client()("KVC.REMOVE", "one", "KEYS", 1, KEYS[0])
    server.file_io.run_all()
    assert replies == [2]
    assert client("KVC.MREAD", "one", "KEYS", 2, *KEYS[:2]) == PAYLOADS[:2]


# WRITE


def session_of(client: Client, *keys: bytes) -> bytes:
    session = client("KVC.STARTWRITE", "one", "KEYS", len(keys), *keys)[0]
    assert isinstance(session, bytes)
    return session


def test_specs_are_written_one_by_one_or_together(client: Client) -> None:
    session = session_of(client, *KEYS[:2])
    client("KVC.WRITE", "one", session, 0, "SPEC", "b", b"bbbb")
    client("KVC.WRITE", "one", session, 0, "SPEC", "a", b"aaa")
    client("KVC.WRITE", "one", session, 1, b"cccdddd")
    assert client("KVC.FINISH", "one", session) == [2, 0]
    assert client("KVC.READ", "one", KEYS[0]) == b"aaabbbb"
    assert client("KVC.READ", "one", KEYS[1], "SPEC", "b") == b"dddd"


def test_a_repeated_write_overwrites(client: Client) -> None:
    session = session_of(client, KEYS[0])
    client("KVC.WRITE", "one", session, 0, b"1234567")
    client("KVC.WRITE", "one", session, 0, b"7654321")
    client("KVC.FINISH", "one", session)
    assert client("KVC.READ", "one", KEYS[0]) == b"7654321"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((0, b"short"), "^ERR payload of 5 bytes, block 0 takes 7"),
        ((0, b"12345678"), "^ERR payload of 8 bytes"),
        ((0, "SPEC", "a", b"1234"), "^ERR payload of 4 bytes, block 0 takes 3"),
        ((0, "SPEC", "nope", b"123"), "^ERR unknown spec 'nope'"),
        ((2, b"1234567"), "^ERR"),
        ((-1, b"1234567"), "^ERR index .*'-1'"),
        (("x", b"1234567"), "^ERR index .*'x'"),
        ((0, b"1234567", b"1234567"), "^ERR syntax error"),
    ],
)
def test_a_refused_write_counts_as_none(
    server: KvcServer, client: Client, words: tuple[Any, ...], text: str
) -> None:
    session = session_of(client, *KEYS[:2])
    before = server.state({b"one": KEYS})
    with pytest.raises(CommandError, match=text):
        client("KVC.WRITE", "one", session, *words)
    assert server.state({b"one": KEYS}) == before
    if server.catalog.get_group("default").storages[0].endswith("file"):
        return  # there a sum is optional, and FINISH is believed
    with pytest.raises(CommandError, match=r"^CHECKSUM"):
        client("KVC.FINISH", "one", session)
    assert server.state({b"one": KEYS}) == before


def test_writing_to_no_session_is_refused(client: Client) -> None:
    with pytest.raises(CommandError, match=r"^NOSESSION"):
        client("KVC.WRITE", "one", "nothing", 0, b"1234567")


# large payloads


def test_a_large_payload_is_received_in_its_slot(server: KvcServer, client: Client) -> None:
    payload = os.urandom(LARGE)
    session = client("KVC.STARTWRITE", "large", "KEYS", 1, KEYS[0])[0]
    argv: list[Any] = [b"KVC.WRITE", b"large", session, b"0"]
    assert client.receive(argv, payload) is not on_disk(server)
    assert client.run(argv) == b"OK"
    assert client("KVC.FINISH", "large", session) == [1, 0]
    assert client("KVC.READ", "large", KEYS[0]) == payload


def test_a_large_spec_is_received_in_its_place(server: KvcServer, client: Client) -> None:
    client.line("KVC.INSTANCE REGISTER pair GROUP default BLOCKTOKENS 2 SPEC a 5 SPEC b 70000")
    payload = os.urandom(LARGE)
    session = client("KVC.STARTWRITE", "pair", "KEYS", 1, KEYS[0])[0]
    argv: list[Any] = [b"kvc.write", b"pair", session, b"0", b"spec", b"b"]
    assert client.receive(argv, payload) is not on_disk(server)
    assert client.run(argv) == b"OK"
    client("KVC.WRITE", "pair", session, 0, "SPEC", "a", b"12345")
    client("KVC.FINISH", "pair", session)
    assert client("KVC.READ", "pair", KEYS[0]) == b"12345" + payload


@pytest.mark.parametrize(
    ("index", "size"), [(b"0", LARGE - 1), (b"0", LARGE + 1), (b"1", LARGE), (b"x", LARGE)]
)
def test_a_payload_that_does_not_fit_is_not_received_in_place(
    client: Client, index: bytes, size: int
) -> None:
    session = client("KVC.STARTWRITE", "large", "KEYS", 1, KEYS[0])[0]
    argv: list[Any] = [b"KVC.WRITE", b"large", session, index]
    assert client.receive(argv, bytes(size)) is False
    with pytest.raises(CommandError, match=r"^ERR"):
        client.run(argv)
    client("KVC.FINISH", "large", session, "NONE")


def test_large_arguments_elsewhere_are_ordinary_bytes(client: Client) -> None:
    argv: list[Any] = [b"KVC.WRITE", b"large"]
    assert client.receive(argv, bytes(LARGE)) is False
    put_argv: list[Any] = [b"KVC.PUT", b"large", b"1"]
    assert client.receive(put_argv, bytes(LARGE)) is False


def test_large_payloads_of_a_put_are_received_in_place(server: KvcServer, client: Client) -> None:
    payloads = [os.urandom(LARGE) for _ in range(3)]
    argv: list[Any] = [b"KVC.PUT", b"large", b"PRIORITY", b"60", b"3"]
    for index, payload in enumerate(payloads):
        argv.append(KEYS[index])
        assert client.receive(argv, payload) is not on_disk(server)
    assert client.run(argv) == 3
    for index, payload in enumerate(payloads):
        assert client("KVC.READ", "large", KEYS[index]) == payload


def test_a_put_that_never_runs_gives_its_slots_back(server: KvcServer, client: Client) -> None:
    before = server.state({b"large": KEYS})
    argv: list[Any] = [b"KVC.PUT", b"large", b"2", KEYS[0]]
    in_place = client.receive(argv, bytes(LARGE))
    if in_place:
        assert server.state({b"large": KEYS}) != before
        argv[-1].abandon()
        argv[-1].abandon()
    assert server.state({b"large": KEYS}) == before


def test_a_refused_put_gives_its_slots_back(server: KvcServer, client: Client) -> None:
    before = server.state({b"large": KEYS})
    argv: list[Any] = [b"KVC.PUT", b"large", b"2", KEYS[0]]
    client.receive(argv, bytes(LARGE))
    with pytest.raises(CommandError, match=r"^ERR 2 keys"):
        client.run(argv)
    assert server.state({b"large": KEYS}) == before


def test_a_put_that_the_index_has_no_room_for_gives_its_slot_back(
    server: KvcServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client("KVC.PUT", "large", 1, KEYS[1], bytes(LARGE))  # from now on the keys' width is known
    before = server.state({b"large": KEYS})
    argv: list[Any] = [b"KVC.PUT", b"large", b"1", KEYS[0]]
    client.receive(argv, bytes(LARGE))
    monkeypatch.setattr(server.cache._writer, "_index_bytes_max", 0)
    with pytest.raises(CommandError, match=r"^NOSPACE index"):
        client.run(argv)
    assert server.state({b"large": KEYS}) == before


def test_bytes_that_arrive_late_land_in_no_other_block(tmp_path: Path) -> None:
    server = KvcServer(tmp_path, write_grace_ms=0)
    client = server.client()
    line = f"KVC.INSTANCE REGISTER large GROUP default BLOCKTOKENS 2 SPEC kv {LARGE}"
    client.line(line)
    session = client("KVC.STARTWRITE", "large", "TIMEOUT", 1, "KEYS", 1, KEYS[0])[0]
    argv: list[Any] = [b"KVC.WRITE", b"large", session, b"0"]
    assert client.receive(argv, b"L" * LARGE)
    server.clock.advance(5000)
    server.cache.tick(server.clock.now_ms())
    client("KVC.PUT", "large", 1, KEYS[1], b"N" * LARGE)
    argv[-1].view[:] = b"L" * LARGE
    assert client("KVC.READ", "large", KEYS[1]) == b"N" * LARGE
    with pytest.raises(CommandError, match=r"^NOSESSION"):
        client.run(argv)
    assert server.cache.storage_bytes(server.catalog.get_storage("memory")) == 2 * LARGE
    server.clock.advance(5000)
    server.cache.tick(server.clock.now_ms())
    assert server.cache.storage_bytes(server.catalog.get_storage("memory")) == LARGE
    server.close()


# MREAD


def test_mread_answers_up_to_the_first_miss(client: Client) -> None:
    put(client, 3)
    wanted = (*KEYS[:2], b"absent", KEYS[2])
    assert client("KVC.MREAD", "one", "KEYS", 4, *wanted) == PAYLOADS[:2]
    assert client("KVC.MREAD", "one", "PREFIX", "KEYS", 4, *wanted) == PAYLOADS[:2]
    found = [*PAYLOADS[:2], None, PAYLOADS[2]]
    assert client("KVC.MREAD", "one", "EXACT", "KEYS", 4, *wanted) == found
    specs = [payload[3:] for payload in PAYLOADS[:3]]
    assert client("KVC.MREAD", "one", "SPEC", "b", "KEYS", 3, *KEYS[:3]) == specs
    assert client("KVC.MREAD", "one", "KEYS", 0) == []


def test_a_reply_holds_no_more_than_its_limit(server: KvcServer, client: Client) -> None:
    put(client, 4)
    server.engine.config.kvc_read_max_bytes = 20
    assert client("KVC.MREAD", "one", "KEYS", 4, *KEYS[:4]) == PAYLOADS[:2]
    with pytest.raises(CommandError, match=r"^ERR a reply of 28 bytes is over .* 20"):
        client("KVC.MREAD", "one", "EXACT", "KEYS", 4, *KEYS[:4])
    server.engine.config.kvc_read_max_bytes = 6
    with pytest.raises(CommandError, match=r"^ERR a reply of 7 bytes"):
        client("KVC.READ", "one", KEYS[0])
    assert client("KVC.READ", "one", KEYS[0], "RANGE", 1, 6) == PAYLOADS[0][1:]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("nobody", "KEYS", 1, b"x"), "^NOINSTANCE"),
        (("one", "SPEC", "nope", "KEYS", 1, b"x"), "^ERR unknown spec"),
        (("one", "EXACT", "PREFIX", "KEYS", 1, b"x"), "^ERR syntax error"),
        (("one", "COLOUR", "KEYS", 1, b"x"), "^ERR syntax error"),
        (("one", "EXACT", "LEASE"), "^ERR syntax error"),
    ],
)
def test_a_refused_mread_names_what_is_wrong(
    client: Client, words: tuple[Any, ...], text: str
) -> None:
    with pytest.raises(CommandError, match=text):
        client("KVC.MREAD", *words)


# damage, leases, pins


def test_damaged_bytes_are_never_answered(server: KvcServer, client: Client) -> None:
    put(client, 2)
    damage(server)
    with pytest.raises(CommandError, match=r"^CHECKSUM block 6b65792d3031"):
        client("KVC.READ", "one", KEYS[1])
    assert client("KVC.READ", "one", KEYS[1]) is None
    assert client("KVC.GETLOC", "one", "COUNT", "KEYS", 2, *KEYS[:2]) == 1
    with pytest.raises(CommandError, match=r"^CHECKSUM"):
        client("KVC.MREAD", "one", "EXACT", "KEYS", 2, *KEYS[:2])
    assert client("KVC.GETLOC", "one", "COUNT", "KEYS", 2, *KEYS[:2]) == 0


def test_a_leased_block_is_read_after_it_was_removed(server: KvcServer, client: Client) -> None:
    put(client, 2)
    lease = client("KVC.GETLOC", "one", "LEASE", 1000, "KEYS", 2, *KEYS[:2])[3]
    client("KVC.REMOVE", "one", "KEYS", 2, *KEYS[:2])
    assert client("KVC.READ", "one", KEYS[1]) is None
    assert client("KVC.READ", "one", KEYS[1], "LEASE", lease) == PAYLOADS[1]
    assert client("KVC.MREAD", "one", "LEASE", lease, "KEYS", 2, *KEYS[:2]) == PAYLOADS[:2]
    server.clock.advance(1001)
    assert client("KVC.READ", "one", KEYS[1], "LEASE", lease) is None


def test_bytes_on_their_way_out_are_not_overwritten(server: KvcServer, client: Client) -> None:
    if on_disk(server):
        return  # they were copied out of the file
    client("KVC.PUT", "large", 1, KEYS[0], b"A" * LARGE)
    client.link.holding = True
    outcome, out = client.start([b"KVC.READ", b"large", KEYS[0]])
    assert outcome == 1
    client("KVC.REMOVE", "large", "KEYS", 1, KEYS[0])
    server.cache.tick(server.clock.now_ms())
    for index in range(1, 4):
        client("KVC.PUT", "large", 1, KEYS[index], b"B" * LARGE)
    assert parse(b"".join(bytes(part) for part in out)) == b"A" * LARGE
    held = server.cache.storage_bytes(server.catalog.get_storage("memory"))
    client.link.release_all()
    server.clock.advance(1000)
    server.cache.tick(server.clock.now_ms())
    assert server.cache.storage_bytes(server.catalog.get_storage("memory")) == held - LARGE


def test_a_client_that_goes_lets_go_of_what_is_read(server: KvcServer, client: Client) -> None:
    if not on_disk(server):
        return
    put(client, 1)
    outcome, _ = client.start([b"KVC.READ", b"one", KEYS[0]])
    assert isinstance(outcome, Deferred)
    replies: list[Any] = []
    outcome.start(replies.append)
    assert outcome.cancel is not None
    outcome.cancel()
    server.file_io.run_all()
    assert replies == []
    client("KVC.REMOVE", "one", "KEYS", 1, KEYS[0])
    server.cache.tick(server.clock.now_ms())
    assert server.cache.storage_bytes(server.catalog.get_storage("ssd")) == 0


def test_io_that_cannot_be_queued_is_an_error(server: KvcServer, client: Client) -> None:
    if not on_disk(server):
        return
    put(client, 1)
    session = session_of(client, *KEYS[:2])
    before = server.state({b"one": KEYS})
    server.file_io.refuses = True
    for words in (
        ("KVC.READ", "one", KEYS[0]),
        ("KVC.WRITE", "one", session, 0, PAYLOADS[1]),
        ("KVC.PUT", "one", "PARENT", KEYS[0], 1, KEYS[3], PAYLOADS[3]),
    ):
        with pytest.raises(CommandError, match=r"^STORAGEIO .*too many jobs"):
            client(*words)
    assert server.state({b"one": KEYS}) == before


def test_a_session_that_ends_while_bytes_travel_takes_nothing(
    server: KvcServer, client: Client
) -> None:
    if not on_disk(server):
        return
    session = session_of(client, KEYS[0])
    outcome, _ = client.start([b"KVC.WRITE", b"one", session, b"0", PAYLOADS[0]])
    assert isinstance(outcome, Deferred)
    replies: list[Any] = []
    outcome.start(replies.append)
    server.client()("KVC.FINISH", "one", session, "NONE")
    server.file_io.run_all()
    [error] = replies
    assert error.code == "SESSIONCLOSED"
    assert client("KVC.READ", "one", KEYS[0]) is None


@pytest.mark.parametrize(
    "line",
    [
        "KVC.READ one key",
        "KVC.MREAD one KEYS 1 key",
        "KVC.WRITE one s 0 x",
        "KVC.PUT one 1 key 1234567",
    ],
)
def test_payload_commands_are_refused_in_transactions(client: Client, line: str) -> None:
    client("MULTI")
    with pytest.raises(CommandError, match=r"^ERR"):
        client.line(line)
    with pytest.raises(CommandError, match=r"^EXECABORT"):
        client("EXEC")
