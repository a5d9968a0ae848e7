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


@pytest.mark.parametrize("name", ["KVC.RETAIN", "KVC.EXPLAIN", "KVC.RECLAIM"])
def test_commands_to_come_are_unknown(client: Client, name: str) -> None:
    with pytest.raises(CommandError, match=rf"^ERR unknown command '{name}'"):
        client(name, "one")
