"""The journal's files: records come back as they went in, a torn end is cut, damage is refused."""

import errno
import os
import random
from contextlib import suppress
from pathlib import Path

import pytest
from xxhash import xxh3_64_intdigest

from hotplate.persist import kvc_journal
from hotplate.persist.kvc_journal import (
    HEAD_BYTES,
    JournalError,
    JournalFiles,
    JournalVersionError,
    boot_id,
    read_file,
)

FIRST = "0000000000000001.journal"
RECORDS = [[["go", 1, [b"key %d" % number] * number]] for number in range(1, 12)]


def written(directory: Path, records: list[list[list[object]]]) -> bytes:
    files = JournalFiles(directory)
    files.begin()
    for record in records:
        files.append(record)
    files.close()
    return (directory / FIRST).read_bytes()


def read(directory: Path) -> list[list[list[object]]]:
    return list(JournalFiles(directory).read())


def ends_of(path: Path) -> list[int]:
    return [end for end, _ in read_file(path)]


def test_records_come_back_in_order_over_several_files(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == []
    files = JournalFiles(tmp_path)
    files.begin()
    files.append(RECORDS[0])
    assert read_while_open(tmp_path) == RECORDS[:1]
    files.begin()
    files.append(RECORDS[1])
    assert files.number == files.files == 2
    files.append([["en"]])
    assert files.size_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    files.close()
    again = JournalFiles(tmp_path)
    assert list(again.read()) == [RECORDS[0], RECORDS[1], [["en"]]]
    assert again.clean
    assert again.boot == boot_id()
    assert again.torn is None
    again.begin()
    assert again.number == 3
    again.close()
    assert not clean_of(tmp_path, [["go", 1, []]])


def read_while_open(directory: Path) -> list[list[list[object]]]:
    return [operations for _, operations in read_file(directory / FIRST) if operations]


def clean_of(directory: Path, last: list[list[object]]) -> bool:
    files = JournalFiles(directory)
    list(files.read())
    files.begin()
    files.append(last)
    files.close()
    again = JournalFiles(directory)
    list(again.read())
    return again.clean


def test_files_are_dropped_only_where_a_base_makes_up_for_them(tmp_path: Path) -> None:
    files = JournalFiles(tmp_path)
    for number in range(1, 4):
        files.begin()
        files.append([["go", number, []]])
    (tmp_path / FIRST).rename(tmp_path / "kept")
    with pytest.raises(JournalError, match="the files before it are missing"):
        read(tmp_path)
    (tmp_path / "kept").rename(tmp_path / FIRST)
    files.append([["ba", 3]])
    files.drop_before(3)
    files.close()
    assert read(tmp_path) == [[["go", 3, []]], [["ba", 3]]]
    written(tmp_path / "other", RECORDS)
    (tmp_path / "other" / FIRST).rename(tmp_path / "0000000000000005.journal")
    with pytest.raises(JournalError, match=r"the file before it, 0{15}4\.journal, is missing"):
        read(tmp_path)


def test_what_a_removal_that_was_cut_short_leaves_is_not_read_and_goes_with_the_next(
    tmp_path: Path,
) -> None:
    files = JournalFiles(tmp_path)
    for number in range(1, 6):
        files.begin()
        files.append([["go", number, []]])
    files.append([["go", 6, []], ["ba", 4]])
    files.begin()
    files.append([["go", 7, [b"\x92\xa2ba\xcd\xff\xff"]]])  # bytes that only look like a base
    files.close()
    kept = [[["go", 4, []]], [["go", 5, []]], [["go", 6, []], ["ba", 4]]]
    last = [["go", 7, [b"\x92\xa2ba\xcd\xff\xff"]]]
    for removed in range(1, 4):
        assert read(tmp_path) == [*kept, last]
        (tmp_path / f"{removed:016x}.journal").unlink()
    assert read(tmp_path) == [*kept, last]
    (tmp_path / "0000000000000003.journal").write_bytes(b"no journal")
    path = tmp_path / "0000000000000006.journal"
    path.write_bytes(path.read_bytes()[:-1])
    again = JournalFiles(tmp_path)
    assert list(again.read()) == kept
    assert again.torn is not None
    again.begin()
    assert again.size_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert again.files == 5
    again.append([["ba", 7]])
    again.drop_before(7)
    again.close()
    assert [path.name for path in tmp_path.iterdir()] == ["0000000000000007.journal"]


def test_a_base_behind_damage_does_not_count(tmp_path: Path) -> None:
    files = JournalFiles(tmp_path)
    files.begin()
    files.append(RECORDS[0])
    files.begin()
    files.append(RECORDS[1])
    files.append([["ba", 2]])
    files.close()
    path = tmp_path / "0000000000000002.journal"
    data = bytearray(path.read_bytes())
    data[ends_of(path)[0] + 20] ^= 1
    path.write_bytes(data)
    found = JournalFiles(tmp_path).read()
    assert next(found) == RECORDS[0]
    with pytest.raises(JournalError, match="with another sum"):
        next(found)


def test_a_torn_end_is_cut_off_and_told_wherever_it_is_torn(tmp_path: Path) -> None:
    data = written(tmp_path, RECORDS[:4])
    path = tmp_path / FIRST
    ends = ends_of(path)
    for size in range(len(data)):
        path.write_bytes(data[:size])
        files = JournalFiles(tmp_path)
        whole = sum(end <= size for end in ends[1:])
        assert list(files.read()) == RECORDS[:whole]
        end = max((end for end in ends if end <= size), default=0)
        if end == size > 0:
            assert files.torn is None
            continue
        assert files.torn is not None
        assert (files.torn.offset, files.torn.size) == (end, size - end)
        assert read(tmp_path) == RECORDS[:whole]  # it was cut off
        files.begin()
        files.append(RECORDS[4])
        files.close()
        assert read(tmp_path) == [*RECORDS[:whole], RECORDS[4]]
        for later in tmp_path.glob("*.journal"):
            later.unlink()


def test_an_end_of_zeros_is_torn(tmp_path: Path) -> None:
    data = written(tmp_path, RECORDS[:2])
    (tmp_path / FIRST).write_bytes(data + bytes(5000))
    files = JournalFiles(tmp_path)
    assert list(files.read()) == RECORDS[:2]
    assert files.torn is not None
    assert files.torn.size == 5000


def test_every_flipped_bit_is_found_and_refused_unless_it_may_be_torn(tmp_path: Path) -> None:
    data = written(tmp_path, RECORDS[:4])
    path = tmp_path / FIRST
    last = ends_of(path)[-2]
    rng = random.Random(3)
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        files = JournalFiles(tmp_path)
        if at < last:
            with pytest.raises(JournalError, match="at byte"):
                list(files.read())
            continue
        with suppress(JournalError):
            assert list(files.read()) == RECORDS[:3]
            assert files.torn is not None


def test_a_torn_file_is_no_torn_end_if_another_follows(tmp_path: Path) -> None:
    data = written(tmp_path, RECORDS[:3])
    files = JournalFiles(tmp_path)
    list(files.read())
    files.begin()
    files.close()
    (tmp_path / FIRST).write_bytes(data[:-1])
    with pytest.raises(JournalError, match="bytes, of which 27 are there, at byte"):
        read(tmp_path)


def test_a_newer_version_is_refused_by_name(tmp_path: Path) -> None:
    data = bytearray(written(tmp_path, RECORDS[:1]))
    data[8] = 3
    (tmp_path / FIRST).write_bytes(data)
    with pytest.raises(JournalVersionError, match="version 3, newer than 2"):
        read(tmp_path)
    assert (tmp_path / FIRST).read_bytes() == data


def test_records_that_changed_places_are_found(tmp_path: Path) -> None:
    same: list[list[list[object]]] = [[["go", 1, [b"a"]]], [["go", 1, [b"b"]]], [["en"]]]
    data = written(tmp_path, same)
    ends = ends_of(tmp_path / FIRST)
    first, second = data[HEAD_BYTES : ends[1]], data[ends[1] : ends[2]]
    (tmp_path / FIRST).write_bytes(data[:HEAD_BYTES] + second + first + data[ends[2] :])
    with pytest.raises(JournalError, match="does not fit its sum at byte"):
        read(tmp_path)


def test_what_cannot_be_written_is_kept_and_written_later(tmp_path: Path) -> None:
    refusals = [0]
    rng = random.Random(4)

    def write(file: int, data: bytes, offset: int) -> int:
        if refusals[0]:
            refusals[0] -= 1
            os.pwrite(file, data[: len(data) // 2], offset)  # a part gets through all the same
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.pwrite(file, data[: rng.randint(1, len(data))], offset)  # short writes

    files = JournalFiles(tmp_path, write=write)
    files.begin()
    files.append(RECORDS[0])
    refusals[0] = 3
    files.append(RECORDS[1])
    assert files.trouble == "No space left on device"
    assert JournalFiles(tmp_path).read().__next__() == RECORDS[0]
    files.append(RECORDS[2])
    assert not files.flush()
    assert files.flush()
    assert files.trouble is None
    files.append(RECORDS[3])
    files.close()
    assert read(tmp_path) == RECORDS[:4]


def test_files_go_on_counting_when_the_earlier_ones_are_dropped(tmp_path: Path) -> None:
    files = JournalFiles(tmp_path)
    for number in range(1, 4):
        files.begin()
        files.append([["ba", number]])
        files.drop_before(files.number)
        assert [path.name for path in tmp_path.iterdir()] == [f"{number:016x}.journal"]
    files.append(RECORDS[0])
    files.close()
    assert read(tmp_path) == [[["ba", 3]], RECORDS[0]]


def test_a_file_that_could_not_be_begun_leaves_the_one_before_in_use(tmp_path: Path) -> None:
    full = [False]

    def write(file: int, data: bytes, offset: int) -> int:
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.pwrite(file, data, offset)

    files = JournalFiles(tmp_path, write=write)
    files.begin()
    full[0] = True
    with pytest.raises(OSError, match="No space"):
        files.begin()
    full[0] = False
    files.append(RECORDS[0])
    assert [path.name for path in tmp_path.iterdir()] == [FIRST]
    files.begin()
    files.append(RECORDS[1])
    files.close()
    assert read(tmp_path) == RECORDS[:2]


def test_a_file_of_version_1_is_read(tmp_path: Path) -> None:
    data = written(tmp_path, RECORDS[:3])
    head = bytearray(data[:32])
    head[8] = 1
    old = bytes(head) + xxh3_64_intdigest(bytes(head)).to_bytes(8, "little") + data[HEAD_BYTES:]
    (tmp_path / FIRST).write_bytes(old)
    assert read(tmp_path) == RECORDS[:3]
    (tmp_path / FIRST).write_bytes(old[:-1])
    assert read(tmp_path) == RECORDS[:2]


def test_after_a_loss_of_power_what_was_known_to_be_on_disk_must_be_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = JournalFiles(tmp_path)
    files.begin()
    for record in RECORDS[:3]:
        files.append(record)
    files.sync()
    for record in RECORDS[3:6]:
        files.append(record)  # and how far it is on disk
    data = (tmp_path / FIRST).read_bytes()
    ends = ends_of(tmp_path / FIRST)
    monkeypatch.setattr(kvc_journal, "boot_id", lambda: bytes(range(16)))
    for at in range(ends[0], len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 4
        (tmp_path / FIRST).write_bytes(damaged)
        if at < ends[3]:
            with pytest.raises(JournalError, match="at byte"):
                read(tmp_path)
        else:
            number = sum(end <= at for end in ends[1:])
            assert read(tmp_path) == RECORDS[:number]
