"""KVC.STATS."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.testing.kvc_context import Client, KvcServer

from hotplate.errors import CommandError


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    server = KvcServer(tmp_path)
    client = server.client(resp=3)
    client.line("KVC.INSTANCE REGISTER one GROUP default BLOCKTOKENS 2 SPEC kv 5")
    yield client
    server.close()


@pytest.mark.parametrize("of", ["", "INSTANCE one", "GROUP default"])
def test_stats_count_blocks(client: Client, of: str) -> None:
    before: Any = client.line(f"KVC.STATS {of}")
    client.line("KVC.PUT one 2 key-1 12345 key-2 12345")
    after: Any = client.line(f"KVC.STATS {of}")
    assert (before[b"blocks"], after[b"blocks"]) == (0, 2)
    assert after[b"bytes"][b"memory"][b"serving"] == 10


def test_stats_of_a_storage_count_its_bytes(client: Client) -> None:
    client.line("KVC.PUT one 2 key-1 12345 key-2 12345")
    client.line("KVC.STARTWRITE one KEYS 3 key-1 key-2 key-3")
    stats: Any = client.line("KVC.STATS storage memory")
    assert (stats[b"serving"], stats[b"writing"], stats[b"deleting"]) == (10, 5, 0)
    assert client.line("KVC.STATS STORAGE ssd")[b"serving"] == 0


def test_one_lookup_of_sixteen_is_timed(client: Client) -> None:
    for _ in range(33):
        client.line("KVC.GETLOC one COUNT KEYS 1 key-1")
    assert client.line("KVC.STATS INSTANCE one")[b"lookup_ns"][b"count"] == 3


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("KVC.STATS INSTANCE nobody", "^NOINSTANCE .*'nobody'"),
        ("KVC.STATS GROUP nowhere", "^NOKVGROUP .*'nowhere'"),
        ("KVC.STATS STORAGE tape", "^NOSTORAGE .*'tape'"),
        ("KVC.STATS INSTANCE", "^ERR syntax error"),
        ("KVC.STATS CLIENT one", "^ERR syntax error"),
        ("KVC.STATS INSTANCE one two", "^ERR syntax error"),
    ],
)
def test_what_does_not_exist_has_no_stats(client: Client, line: str, text: str) -> None:
    with pytest.raises(CommandError, match=text):
        client.line(line)


def test_explain_says_why_a_block_is_there_or_not(client: Client) -> None:
    client.line("KVC.PUT one 2 key-1 12345 key-2 12345")
    client.line("KVC.REMOVE one KEYS 1 key-2")
    session, _, _ = client.line("KVC.STARTWRITE one PARENT key-1 KEYS 1 key-3")
    found: Any = client.line("KVC.EXPLAIN one KEYS 4 key-1 key-2 key-3 key-4")
    assert [item[b"state"] for item in found] == [b"serving", b"absent", b"writing", b"absent"]
    why = [item[b"why"].decode() for item in found]
    assert why[0].startswith("serving on memory")
    assert why[1].startswith("removed by KVC.REMOVE at ")
    assert why[2].startswith(f"being written by session {session.decode()} until ")
    assert why[3].startswith("never stored")
    assert [item[b"masked"] for item in found] == [1, 0, 1, 0]
    assert found[2][b"session"] == session
    assert found[1][b"at"] == client.server.clock.now_ms()


def test_explain_takes_all_forms_of_keys_and_none(client: Client) -> None:
    assert client.line("KVC.EXPLAIN one KEYS 0") == []
    assert len(client.line("KVC.EXPLAIN one PACKED 4 aaaabbbb")) == 2
    assert len(client("KVC.EXPLAIN", "one", "TOKENS", bytes(8))) == 1
    for line in ("KVC.EXPLAIN one KEYS 2 a", "KVC.EXPLAIN one a b", "KVC.EXPLAIN one PACKED 3 ab"):
        with pytest.raises(CommandError):
            client.line(line)
    with pytest.raises(CommandError, match=r"^NOINSTANCE"):
        client.line("KVC.EXPLAIN two KEYS 1 a")


def test_explain_tells_of_a_put_that_was_refused(client: Client) -> None:
    client.line("KVC.GROUP CREATE small QUOTA 9")
    client.line("KVC.INSTANCE REGISTER tight GROUP small BLOCKTOKENS 2 SPEC kv 5")
    with pytest.raises(CommandError, match=r"^QUOTA group small"):
        client.line("KVC.PUT tight 2 key-1 12345 key-2 12345")
    [item] = client.line("KVC.EXPLAIN tight KEYS 1 key-1")
    assert item[b"reason"] == b"quota-refused"
    assert b"QUOTA group small used=" in item[b"why"]
