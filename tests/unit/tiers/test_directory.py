"""A storage's directory: one owner, swept, never the same generation twice."""

import os
import stat
from pathlib import Path

import pytest

from hotplate.tiers.directory import GENERATION_LEAP, Directory, StoreOpenError
from hotplate.wire.segment import plan_layout

NOW_MS = 1_700_000_000_000
HEADER = plan_layout(1 << 16, payload_bytes=64, key_bytes=8, sum_count=1, alignment=64).pack()


def opened_and_closed(path: Path, now_ms: int = NOW_MS, generations: int = 0) -> int:
    """The last generation that a server with so many reservations gave."""
    directory = Directory(str(path), now_ms)
    last = 0
    for _ in range(generations):
        last = directory.next_generation()
    directory.close(remove=False)
    return last


def test_a_second_server_is_refused_while_the_first_runs(tmp_path: Path) -> None:
    first = Directory(str(tmp_path), NOW_MS)
    with pytest.raises(StoreOpenError, match="in use by another server"):
        Directory(str(tmp_path), NOW_MS)
    first.close(remove=False)
    Directory(str(tmp_path), NOW_MS).close(remove=False)


def test_the_lock_is_on_the_file_that_is_there_and_not_on_a_removed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Directory(str(tmp_path), NOW_MS)
    real_open = os.open

    def open_late(path: str, flags: int, mode: int = 0o777) -> int:
        descriptor = real_open(path, flags, mode)
        if path.endswith("lock"):
            monkeypatch.undo()
            first.close(remove=True)  # the owner leaves between our open and our flock
            tmp_path.mkdir(exist_ok=True)
        return descriptor

    monkeypatch.setattr(os, "open", open_late)
    second = Directory(str(tmp_path), NOW_MS)
    with pytest.raises(StoreOpenError, match="in use"):
        Directory(str(tmp_path), NOW_MS)
    second.close(remove=False)


def test_generations_rise_over_restarts_within_one_second(tmp_path: Path) -> None:
    last = 0
    for _ in range(3):
        directory = Directory(str(tmp_path), NOW_MS)
        first = directory.next_generation()
        assert first > last
        last = directory.next_generation()
        assert last == first + 1
        directory.close(remove=False)


def test_generations_rise_though_the_clock_went_back(tmp_path: Path) -> None:
    last = opened_and_closed(tmp_path, NOW_MS, generations=3)
    directory = Directory(str(tmp_path), NOW_MS - 86_400_000)
    assert directory.next_generation() > last
    directory.close(remove=False)


def test_generations_rise_though_the_lock_file_was_lost(tmp_path: Path) -> None:
    last = opened_and_closed(tmp_path, NOW_MS, generations=3)
    (tmp_path / "lock").unlink()
    directory = Directory(str(tmp_path), NOW_MS + 1000)
    assert directory.next_generation() > last
    directory.close(remove=False)


def test_a_torn_bound_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(b"\xff" * 16)
    assert opened_and_closed(tmp_path, NOW_MS, generations=1) == NOW_MS // 1000 * 2**20 + 1


def test_the_bound_in_the_file_is_above_every_generation_given(tmp_path: Path) -> None:
    directory = Directory(str(tmp_path), NOW_MS)
    for _ in range(3):
        directory._generation += GENERATION_LEAP - 2  # as if so many had been given
        for _ in range(4):
            generation = directory.next_generation()
            bound = int.from_bytes((tmp_path / "lock").read_bytes()[:8], "little")
            assert generation < bound
            assert generation < 2**53
    directory.close(remove=False)


def test_segments_of_an_earlier_server_go_and_foreign_files_stay(tmp_path: Path) -> None:
    ours = {
        "0000000000000001.segment": HEADER + b"blocks",
        "0000000000000002.segment": bytes(9000),  # made, but got no header
        "0000000000000003.segment": b"",
    }
    foreign = {
        "0000000000000004.segment": b"someone else's bytes",
        "000000000000000A.segment": HEADER,
        "0000000000000005.segment.bak": HEADER,
        "notes.txt": b"HOTPLATE",
    }
    for name, content in (ours | foreign).items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "0000000000000006.segment").mkdir()
    (tmp_path / "0000000000000007.segment").symlink_to(tmp_path / "notes.txt")
    directory = Directory(str(tmp_path), NOW_MS)
    kept = {entry.name for entry in tmp_path.iterdir()}
    assert kept == {
        *foreign,
        "0000000000000006.segment",
        "0000000000000007.segment",
        "lock",
    }
    assert directory.removed_files == len(ours)
    assert directory.removed_bytes == sum(map(len, ours.values()))
    directory.close(remove=True)
    assert (tmp_path / "notes.txt").read_bytes() == b"HOTPLATE"


def test_files_and_directory_are_the_groups_too_whatever_the_umask_is(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        directory = Directory(str(tmp_path / "new"), NOW_MS)
        file = directory.create(directory.next_generation(), 8192)
    finally:
        os.umask(before)
    assert directory.is_new
    assert stat.S_IMODE(os.stat(tmp_path / "new").st_mode) == 0o770
    assert stat.S_IMODE(os.stat(file.path).st_mode) == 0o660
    directory.remove(file)
    directory.close(remove=True)
    assert not (tmp_path / "new").exists()


def test_a_directory_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    directory = Directory(str(tmp_path), NOW_MS)
    assert not directory.is_new
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    directory.close(remove=False)


def test_a_path_that_is_a_file_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"x")
    for path in (tmp_path / "plain", tmp_path / "plain" / "below"):
        with pytest.raises(StoreOpenError, match=f"'{path}': (Not a directory|File exists)"):
            Directory(str(path), NOW_MS)


def test_a_refused_directory_is_left_unlocked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pwrite", broken)
    with pytest.raises(StoreOpenError, match="Input/output error"):
        Directory(str(tmp_path), NOW_MS)
    monkeypatch.undo()
    Directory(str(tmp_path), NOW_MS).close(remove=False)


def test_removing_a_file_that_is_gone_is_no_error(tmp_path: Path) -> None:
    directory = Directory(str(tmp_path), NOW_MS)
    file = directory.create(directory.next_generation(), 8192)
    os.unlink(file.path)
    directory.remove(file)
    directory.close(remove=False)
