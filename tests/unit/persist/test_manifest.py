"""The manifest: Redis' form, read strictly and replaced at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.testing.memory_files import MemoryFiles

from hotplate.persist.manifest import (
    LogFile,
    Manifest,
    ManifestError,
    ManifestFile,
    parse_manifest,
)

FULL = Manifest(
    LogFile("a.1.base.rdb", 1),
    (LogFile("a.2.incr.aof", 2), LogFile("a.3.incr.aof", 3)),
    (LogFile("a.0.incr.aof", 0),),
)


def test_what_is_written_is_read_again() -> None:
    assert parse_manifest(FULL.text()) == FULL
    assert FULL.last_sequence == 3


@given(st.text(st.characters(codec="ascii", exclude_characters="/\x00"), min_size=1, max_size=20))
def test_any_name_comes_back(name: str) -> None:
    if name in (".", "..") or "\n" in name or any(not char.isprintable() for char in name):
        return
    manifest = Manifest(LogFile(name, 7))
    assert parse_manifest(manifest.text()) == manifest


def test_a_new_base_makes_what_it_stands_for_obsolete() -> None:
    rebased = FULL.rebased(LogFile("a.4.base.rdb", 4), kept=1)
    assert rebased.base == LogFile("a.4.base.rdb", 4)
    assert rebased.increments == (LogFile("a.3.incr.aof", 3),)
    assert {file.sequence for file in rebased.obsolete} == {0, 1, 2}
    assert not rebased.without_obsolete().obsolete


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"nonsense\n", "line 1 is not"),
        (b"file a seq 1 type b\nfile b seq 2 type b\n", "line 2 names a second base"),
        (b"file a seq 2 type i\nfile b seq 1 type i\n", "line 2: the increments are not in order"),
        (b"file ../a seq 1 type i\n", "line 1 is not"),
        (b"file a seq x type i\n", "line 1 is not"),
        (b"file a seq 1 type q\n", "line 1 is not"),
    ],
)
def test_a_manifest_that_can_not_be_is_refused(text: bytes, why: str) -> None:
    with pytest.raises(ManifestError, match=why):
        parse_manifest(text)


def test_storing_replaces_the_old_one_whole_and_for_good() -> None:
    files = MemoryFiles()
    store = ManifestFile(files, "/d", "a")
    assert store.load() is None
    store.store(FULL)
    store.store(Manifest(LogFile("a.9.base.rdb", 9)))
    assert store.load() == Manifest(LogFile("a.9.base.rdb", 9))
    assert files.log[-4:] == [
        f"write {len(store.load().text())}",  # type: ignore[union-attr]
        "sync",
        "rename /d/temp-a.manifest",
        "sync /d",
    ]


def test_an_empty_manifest_is_no_log() -> None:
    files = MemoryFiles()
    handle = files.open_append("/d/a.manifest")
    files.write(handle, b"\n")
    with pytest.raises(ManifestError, match="names no file"):
        ManifestFile(files, "/d", "a").load()
