"""`hotplate check` says exactly what is wrong with a server's files, and repairs what can be."""

import shutil
from pathlib import Path

import pytest
from tests.testing.server import StartHotplate
from tests.testing.server_console import ServerConsole
from tests.testing.snapshots import write_snapshot
from tests.testing.wire_client import WireClient

from hotplate import cli
from hotplate.bench.process import start_hotplate
from hotplate.persist.kvc_journal import read_file
from hotplate.wire.segment import HEADER_BYTES, parse_layout

pytestmark = pytest.mark.e2e

SIZE = 600
FIRST = "0000000000000001.journal"
Said = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that a killed server left: 20 blocks on disk, a snapshot, a log."""
    directory = tmp_path_factory.mktemp("left")
    options = ("--kvc-memory-capacity", "64mb", "--kvc-ssd-capacity", "64mb")
    server = start_hotplate(directory, *options)
    with WireClient(server.port) as client:
        for line in (
            "KVC.GROUP CREATE g STORAGES 1 ssd",
            f"KVC.INSTANCE REGISTER one GROUP g BLOCKTOKENS 16 SPEC kv {SIZE}",
        ):
            client.ask(*line.split())
        for number in range(20):
            key = b"k%07d" % number
            assert client.ask("KVC.PUT", "one", 1, key, key * (SIZE // 8)) == b":1\r\n"
        for number in range(3):
            client.ask("SET", f"logged {number}", "value")
    server.kill()
    console = ServerConsole()
    console("MSET", *(word for n in range(50) for word in (b"key %d" % n, b"value %d" % n)))
    (directory / "dump.rdb").write_bytes(write_snapshot(console.engine))
    return directory


@pytest.fixture
def left(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "left"))


def check(capsys: Said, *words: object) -> tuple[int, list[str]]:
    status = cli.main(["check", *map(str, words)])
    printed = capsys.readouterr()
    return status, (printed.out + printed.err).splitlines()


def test_sound_files_are_called_sound(left: Path, capsys: Said) -> None:
    status, lines = check(capsys, left)
    assert status == 0
    assert len(lines) == 4
    assert (
        lines[0]
        == f"sound    {left}/dump.rdb: a snapshot of {(left / 'dump.rdb').stat().st_size} bytes"
    )
    assert " commands in " in lines[1]
    assert "of the KV cache's journal" in lines[2]
    assert lines[-1].endswith("segment files, 20 blocks")


def test_a_torn_journal_is_repaired_and_the_rest_is_kept(left: Path, capsys: Said) -> None:
    path = left / "kvc-journal" / FIRST
    data = path.read_bytes()
    ends = [end for end, _ in read_file(path)]
    path.write_bytes(data[:-3])
    status, lines = check(capsys, left)
    assert status == 1
    (damaged,) = [line for line in lines if line.startswith("DAMAGED")]
    assert damaged.startswith(f"DAMAGED  {path}: a record of ")
    assert damaged.endswith(f"(at byte {ends[-2]}, {len(data) - 3 - ends[-2]} bytes)")
    assert path.read_bytes() == data[:-3]  # nothing was changed
    status, lines = check(capsys, left, "--repair")
    assert status == 0
    assert path.read_bytes() == data[: ends[-2]]
    kept = path.with_name(f"{FIRST}.cut-at-{ends[-2]}")
    assert kept.read_bytes() == data[ends[-2] : -3]
    assert check(capsys, left)[0] == 0


def test_a_server_starts_again_on_a_journal_that_was_repaired(
    left: Path, capsys: Said, start_server: StartHotplate
) -> None:
    path = left / "kvc-journal" / FIRST
    data = bytearray(path.read_bytes())
    ends = [end for end, _ in read_file(path)]
    data[ends[-4] + 20] ^= 1  # in the third record from the end
    path.write_bytes(data)
    shutil.rmtree(left / "appendonlydir")
    (left / "dump.rdb").unlink()
    assert check(capsys, left)[0] == 1
    assert check(capsys, left, "--repair")[0] == 0
    server = start_server(directory=left)
    assert "17 blocks" in server.log()
    with WireClient(server.port) as client:
        assert client.ask("KVC.READ", "one", b"k0000003").endswith(b"k0000003\r\n")


def test_a_damaged_block_is_named_and_its_slot_freed(left: Path, capsys: Said) -> None:
    (path,) = [
        item
        for item in (left / "kvc-ssd").glob("*.segment")
        if item.read_bytes().count(b"k0000007")
    ]
    layout = parse_layout(path.read_bytes()[:HEADER_BYTES])
    data = bytearray(path.read_bytes())
    at = data.index(b"k0000007" * 3, layout.payload_offset)
    data[at + 100] ^= 4
    path.write_bytes(data)
    status, lines = check(capsys, left)
    assert status == 1
    (damaged,) = [line for line in lines if line.startswith("DAMAGED")]
    what = f"{path}: the block b'k0000007' does not match its sums"
    assert damaged == f"DAMAGED  {what} (at byte {at}, {SIZE} bytes)"
    status, lines = check(capsys, left, "--repair")
    assert status == 0
    slot = (at - layout.payload_offset) // layout.stride
    assert path.read_bytes()[layout.state_offset + slot] == 0
    status, lines = check(capsys, left)
    assert status == 0
    assert lines[-1].endswith("segment files, 19 blocks")


def test_logs_are_cut_and_snapshots_are_not_to_be_repaired(left: Path, capsys: Said) -> None:
    (log,) = (left / "appendonlydir").glob("*.incr.aof")
    whole = log.read_bytes()
    log.write_bytes(whole[:-2])
    snapshot = left / "dump.rdb"
    data = bytearray(snapshot.read_bytes())
    data[len(data) // 2] ^= 1
    snapshot.write_bytes(data)
    status, lines = check(capsys, left)
    assert status == 1
    damaged = [line for line in lines if line.startswith("DAMAGED")]
    assert "a damaged snapshot: " in damaged[0]
    assert "it cannot be repaired" in damaged[0]
    assert damaged[1].startswith(f"DAMAGED  {log}: a damaged log: ")
    offset = int(damaged[1].split("at byte ")[1].split(",")[0])
    assert whole[offset:].startswith(b"#GROUP ")
    status, lines = check(capsys, left, "--repair")
    assert status == 1  # the snapshot
    assert log.read_bytes() == whole[:offset]
    assert (log.parent / f"{log.name}.cut-at-{offset}").read_bytes() == whole[offset:-2]


def test_what_cannot_be_checked_is_told(
    tmp_path: Path, capsys: Said, start_server: StartHotplate
) -> None:
    assert check(capsys, tmp_path / "none") == (
        2,
        [f"hotplate check: {tmp_path}/none is not there"],
    )
    assert check(capsys, tmp_path) == (0, ["there is nothing to check"])
    start_server(directory=tmp_path)
    expected = f"hotplate check: a server is running on {tmp_path}: stop it first"
    assert check(capsys, tmp_path) == (2, [expected])
    assert check(capsys, tmp_path / "kvc-ssd") == (2, [expected])
