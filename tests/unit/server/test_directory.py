"""The working directory: one server each."""

from pathlib import Path

import pytest

from hotplate.server.directory import (
    DirectoryError,
    WorkingDirectory,
    default_index_bytes,
    default_memory_bytes,
    default_ssd_bytes,
)


def test_a_directory_is_made_and_locked_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "new" / "nested"
    directory = WorkingDirectory(str(path))
    with pytest.raises(DirectoryError, match="each needs its own --dir") as refused:
        WorkingDirectory(str(path))
    assert str(path) in str(refused.value)
    directory.close()
    WorkingDirectory(str(path)).close()


def test_a_directory_is_the_same_by_any_name(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    directory = WorkingDirectory(str(tmp_path))
    with pytest.raises(DirectoryError):
        WorkingDirectory(str(tmp_path / "link"))
    directory.close()
    other = WorkingDirectory(str(tmp_path / "link"))
    assert other.run_name == directory.run_name
    other.close()


def test_different_directories_have_different_names_for_shared_memory(tmp_path: Path) -> None:
    names = set()
    for name in ("a", "b", "ab"):
        directory = WorkingDirectory(str(tmp_path / name))
        names.add(directory.run_name)
        directory.close()
    assert len(names) == 3


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DirectoryError, match=f"can't use directory {tmp_path}/file"):
        WorkingDirectory(str(tmp_path / "file"))


def test_a_lock_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "hotplate.lock").mkdir()
    with pytest.raises(DirectoryError, match="Is a directory"):
        WorkingDirectory(str(tmp_path))


def test_the_default_sizes_are_parts_of_what_is_there(tmp_path: Path) -> None:
    assert 0 < default_memory_bytes() <= default_index_bytes()
    assert default_ssd_bytes(tmp_path) > 0
