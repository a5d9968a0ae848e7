"""The order in which a slot's columns change: what a reader in another process relies on."""

import os
from pathlib import Path

import pytest

from hotplate.tiers.directory import SegmentFile
from hotplate.tiers.memory import MappedBacking
from hotplate.tiers.segment import Segment
from hotplate.wire.segment import Layout, plan_layout

LAYOUT = plan_layout(65536, payload_bytes=1000, key_bytes=16, sum_count=2, alignment=64, birth=9)


class Recording(MappedBacking):
    """A mapping that tells which column was written, in order."""

    __slots__ = ("columns",)
    columns: list[str]

    def put(self, offset: int, data: bytes) -> None:
        self.columns.append(column_of(LAYOUT, offset))
        super().put(offset, data)


def column_of(layout: Layout, offset: int) -> str:
    """The column that a byte of the file belongs to."""
    starts = {
        "payload": layout.payload_offset,
        "keys": layout.key_offset,
        "sums": layout.sum_offset,
        "states": layout.state_offset,
        "generations": layout.generation_offset,
        "header": 0,
    }
    return next(name for name, start in starts.items() if offset >= start)


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[Segment, Recording]:
    path = tmp_path / "file"
    path.write_bytes(bytes(LAYOUT.file_bytes))
    file = SegmentFile(str(path), "file", os.open(path, os.O_RDWR), 9, LAYOUT.file_bytes)
    backing = Recording(file)
    backing.columns = []
    segment = Segment(file, LAYOUT, backing, base=0)
    return segment, backing


def test_the_generation_is_raised_before_the_state_says_writing(
    recorded: tuple[Segment, Recording],
) -> None:
    segment, backing = recorded
    segment.mark_writing(3, 5, 77)
    assert backing.columns == ["generations", "states"]
    assert [segment.generation(slot) for slot in range(2, 9)] == [0, 77, 77, 77, 77, 77, 0]


def test_the_state_says_serving_last(recorded: tuple[Segment, Recording]) -> None:
    segment, backing = recorded
    segment.mark_serving(0, 2, b"k" * 32, b"s" * 32)
    assert sorted(backing.columns[:2]) == ["keys", "sums"]
    assert backing.columns[2:] == ["states"]


def test_any_number_of_slots_is_a_handful_of_writes(recorded: tuple[Segment, Recording]) -> None:
    segment, backing = recorded
    count = LAYOUT.slot_count
    segment.mark_writing(0, count, 78)
    segment.mark_serving(0, count, bytes(16 * count), bytes(16 * count))
    segment.mark_free(0, count)
    assert len(backing.columns) == 6
    assert segment.has_free(0, 1)
    assert segment.has_free(count - 1, 1)
