"""KVC.RECLAIM and KVC.RETAIN."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.testing.kvc_context import Client, KvcServer

from hotplate.errors import CommandError


@pytest.fixture
def server(tmp_path: Path) -> Iterator[KvcServer]:
    server = KvcServer(tmp_path)
    client = server.client(resp=3)
    client.line(
        "KVC.GROUP CREATE team STORAGES 2 memory ssd QUOTA 100 GRACE 0 POLICY lru RETAIN 0.3"
    )
    client.line("KVC.INSTANCE REGISTER one GROUP team BLOCKTOKENS 2 SPEC kv 10")
    yield server
    server.close()


@pytest.fixture
def client(server: KvcServer) -> Client:
    return server.client(resp=3)


def put(client: Client, *names: str) -> None:
    for name in names:
        assert client("KVC.PUT", "one", "1", name, "0123456789") == 1


def priority(client: Client, name: str) -> int:
    meta: Any = client("KVC.META", "one", "KEYS", "1", name)[0]
    value: int = meta[b"priority"]
    return value


def there(client: Client, names: str) -> str:
    command = "KVC.GETLOC one COUNT NOTOUCH KEYS 1"
    return "".join(name for name in names if client.line(f"{command} {name}"))


def test_without_bytes_it_goes_down_to_the_low_watermark(client: Client) -> None:
    put(client, *"abcdefghi")
    answer: Any = client.line("KVC.RECLAIM team DRYRUN")
    assert answer == {b"victims": 1, b"bytes": {b"memory": 10}, b"keys": [b"a"]}
    assert there(client, "ab") == "ab"
    assert client.line("KVC.RECLAIM team") == {b"victims": 1, b"bytes": {b"memory": 10}}
    assert there(client, "ab") == "b"
    assert client.line("KVC.RECLAIM team") == {b"victims": 0, b"bytes": {}}


def test_so_many_bytes_go_and_a_dry_run_names_the_same_blocks(client: Client) -> None:
    client.line("KVC.PUT one 3 a1 0123456789 a2 0123456789 a3 0123456789")
    put(client, "b", "c")
    client.line("KVC.GETLOC one COUNT KEYS 1 b")
    expected: Any = client.line("KVC.RECLAIM team DRYRUN BYTES 31")
    assert expected[b"keys"] == [b"a3", b"a2", b"a1", b"c"]
    answer: Any = client.line("KVC.RECLAIM team BYTES 31")
    assert answer[b"victims"] == expected[b"victims"] == 4
    assert answer[b"bytes"] == expected[b"bytes"] == {b"memory": 40}
    assert there(client, "bc") == "b"


def test_bytes_are_told_by_storage(client: Client) -> None:
    put(client, "a")
    session, _, _ = client.line("KVC.STARTWRITE one STORAGE ssd KEYS 1 b")
    client("KVC.FINISH", "one", session, "CHECKSUMS", b"\0" * 7 + b"\1")
    assert client.line("KVC.RECLAIM team BYTES 20") == {
        b"victims": 2,
        b"bytes": {b"memory": 10, b"ssd": 10},
    }


def test_leased_blocks_stay(client: Client) -> None:
    put(client, "a", "b")
    client.line("KVC.GETLOC one LEASE 1000 KEYS 1 a")
    assert client.line("KVC.RECLAIM team BYTES 20 DRYRUN")[b"keys"] == [b"b"]
    assert client.line("KVC.RECLAIM team BYTES 20")[b"victims"] == 1
    assert there(client, "ab") == "a"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("KVC.RECLAIM nowhere", "^NOKVGROUP .*'nowhere'"),
        ("KVC.RECLAIM team BYTES 0", "^ERR BYTES .*'0'"),
        ("KVC.RECLAIM team BYTES", "^ERR "),
        ("KVC.RECLAIM team BYTES 1 BYTES 1", "^ERR syntax error"),
        ("KVC.RECLAIM team DRYRUN DRYRUN", "^ERR syntax error"),
        ("KVC.RECLAIM team SOON", "^ERR syntax error"),
        ("KVC.RETAIN nobody PRIORITY 90 TTL 1 KEYS 1 a", "^NOINSTANCE .*'nobody'"),
        ("KVC.RETAIN one PRIORITY 101 TTL 1 KEYS 1 a", "^ERR PRIORITY .*'101'"),
        ("KVC.RETAIN one PRIORITY 90 TTL 0 KEYS 1 a", "^ERR TTL .*'0'"),
        ("KVC.RETAIN one PRIORITY 90 PRIORITY 90 KEYS 1 a", "^ERR syntax error"),
        ("KVC.RETAIN one PRIORITY 90 FOR 5 KEYS 1 a", "^ERR syntax error"),
        ("KVC.RETAIN one KEYS 5 a b c d e", "^ERR RETAIN needs PRIORITY and TTL"),
        ("KVC.RETAIN one PRIORITY 90 TTL 5 KEYS 2 a", "^ERR KEYS 2"),
    ],
)
def test_a_refused_command_changes_nothing(
    server: KvcServer, client: Client, line: str, text: str
) -> None:
    put(client, "a")
    before = server.state()
    with pytest.raises(CommandError, match=text):
        client.line(line)
    assert server.state() == before


def test_a_priority_fades_by_quarters_and_ends(server: KvcServer, client: Client) -> None:
    put(client, "a", "b")
    assert client.line("KVC.RETAIN one TTL 100 PRIORITY 90 KEYS 1 a") == [1, 0]
    assert client.line("KVC.RETAIN one TTL 100 PRIORITY 10 KEYS 1 b") == [1, 0]
    seen = []
    for _ in range(6):
        seen.append((priority(client, "a"), priority(client, "b")))
        server.clock.advance(25_000)
    assert seen == [(90, 10), (70, 30), (60, 40), (55, 45), (50, 50), (50, 50)]


def test_a_hit_renews_it(server: KvcServer, client: Client) -> None:
    put(client, "a", "b")
    client.line("KVC.RETAIN one PRIORITY 90 TTL 100 KEYS 2 a b")
    server.clock.advance(60_000)
    client.line("KVC.GETLOC one COUNT KEYS 1 a")
    assert (priority(client, "a"), priority(client, "b")) == (90, 60)
    server.clock.advance(60_000)
    assert (priority(client, "a"), priority(client, "b")) == (60, 50)


def test_what_is_retained_goes_last_until_it_fades(server: KvcServer, client: Client) -> None:
    put(client, *"abc")
    client.line("KVC.RETAIN one PRIORITY 90 TTL 100 KEYS 1 a")
    client.line("KVC.RETAIN one PRIORITY 10 TTL 100 KEYS 1 c")
    assert client.line("KVC.RECLAIM team DRYRUN BYTES 30")[b"keys"] == [b"c", b"b", b"a"]
    server.clock.advance(100_000)
    assert client.line("KVC.RECLAIM team DRYRUN BYTES 30")[b"keys"] == [b"a", b"b", b"c"]


def test_retained_bytes_stay_within_the_fraction(server: KvcServer, client: Client) -> None:
    put(client, *"abcde")
    assert client.line("KVC.RETAIN one PRIORITY 90 TTL 100 KEYS 6 a b c d e nope") == [3, 2]
    assert client.line("KVC.RETAIN one PRIORITY 80 TTL 100 KEYS 2 a d") == [1, 1], (
        "a is counted once"
    )
    assert client.line("KVC.RETAIN one PRIORITY 20 TTL 100 KEYS 2 d e") == [2, 0], "they give way"
    client.line("KVC.REMOVE one KEYS 1 a")
    assert client.line("KVC.RETAIN one PRIORITY 90 TTL 100 KEYS 2 d e") == [1, 1]
    server.clock.advance(100_000)
    assert client.line("KVC.RETAIN one PRIORITY 90 TTL 100 KEYS 4 b c d e") == [3, 1]


def test_maps_are_flat_in_resp2(server: KvcServer, client: Client) -> None:
    put(client, "a")
    flat = server.client(resp=2).line("KVC.RECLAIM team BYTES 1 DRYRUN")
    assert flat == [b"victims", 1, b"bytes", [b"memory", 10], b"keys", [b"a"]]
