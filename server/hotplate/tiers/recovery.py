"""What an earlier server left in a storage's directory: which files are sound, which slots in use.

Reads headers and columns, judges them, and changes no file but the header of an older version. Not
which of the slots are still somebody's: the owner of the index says that (store.py: adopt, settle).

Invariants: a file whose header does not prove itself, in any of its fields, is not used; nor is a
slot with a generation that was never given. Such files and slots are told apart from good ones by
what is in them, never by an exception that some later read would meet.
"""

import array
import os
import sys
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import Final

from hotplate.blocks import PLACE_SEGMENT_SHIFT, Found
from hotplate.tiers.directory import SegmentFile, StoreOpenError
from hotplate.tiers.segment import Medium, Segment
from hotplate.wire.segment import (
    HEADER_BYTES,
    STATE_SERVING,
    STATE_WRITING,
    Layout,
    SegmentFormatError,
    SegmentVersionError,
    parse_layout,
    plan_layout,
)

INDEX_MAX: Final = (1 << 31) - 1  # so that a place fits 63 bits


@dataclass(frozen=True, slots=True)
class Unusable:
    """A segment file that holds nothing to be kept, and why."""

    file: SegmentFile
    reason: str


def read_segments(files: list[SegmentFile], medium: Medium) -> tuple[list[Segment], list[Unusable]]:
    """The sound segments, each with an index of its own, and the other files.

    StoreOpenError for a file of a newer version: its blocks are not ours to lose.
    """
    sound: list[Segment] = []
    unusable: list[Unusable] = []
    without_index: list[tuple[SegmentFile, Layout]] = []
    taken: set[int] = set()
    for file in files:
        try:
            layout = _read_header(file, medium.alignment)
            if not layout.index:
                without_index.append((file, layout))
            elif layout.index in taken:
                unusable.append(Unusable(file, f"another file has index {layout.index} too"))
            else:
                sound.append(_take_up(file, layout, medium))
                taken.add(layout.index)
        except SegmentVersionError as error:
            raise StoreOpenError(f"cannot read segment file '{file.path}': {error}") from error
        except (SegmentFormatError, OSError) as error:
            unusable.append(Unusable(file, str(error)))
    for file, layout in without_index:
        index = max(taken, default=0) + 1
        try:
            segment = _take_up(file, replace(layout, index=index), medium)
            segment.backing.put(0, segment.layout.pack())
            sound.append(segment)
            taken.add(index)
        except OSError as error:
            unusable.append(Unusable(file, str(error)))
    return sound, unusable


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive slots in use that are alike."""

    place: int
    count: int
    generation: int


def used_runs(segment: Segment, generation_max: int) -> list[Run]:
    """All slots in use, in order."""
    runs: list[Run] = []
    count = segment.layout.slot_count
    numbered = enumerate(zip(segment.states(0, count), _generations(segment), strict=True))
    for (state, generation), slots in groupby(numbered, lambda each: each[1]):
        if state in (STATE_WRITING, STATE_SERVING) and 0 < generation <= generation_max:
            first = next(slots)[0]
            runs.append(Run(segment.base + first, 1 + sum(1 for _ in slots), generation))
    return runs


class Leftovers:
    """The runs that were found, and which of their slots have been adopted."""

    __slots__ = ("_adopted", "_places", "_runs")

    def __init__(self, runs: list[Run]) -> None:
        self._runs = sorted(runs, key=lambda run: run.place)
        self._places = [run.place for run in self._runs]
        self._adopted: dict[int, bytearray] = {}  # by the run's place: 1 for each adopted slot

    def adopt(self, place: int, count: int, generation: int) -> list[Run]:
        """Those of these slots that have this generation and had not been adopted."""
        adopted: list[Run] = []
        number = max(bisect_right(self._places, place) - 1, 0)
        for run in islice(self._runs, number, None):
            if run.place >= place + count:
                break
            start, end = max(place, run.place), min(place + count, run.place + run.count)
            if run.generation != generation or start >= end:
                continue
            flags = self._adopted.setdefault(run.place, bytearray(run.count))
            adopted += _clear_runs(run, flags, start - run.place, end - run.place)
            flags[start - run.place : end - run.place] = bytes((1,)) * (end - start)
        return adopted

    def rest(self) -> Iterator[Run]:
        """What has not been adopted."""
        for run in self._runs:
            flags = self._adopted.get(run.place)
            if flags is None:
                yield run
            else:
                yield from _clear_runs(run, flags, 0, run.count)


def _clear_runs(run: Run, flags: bytearray, start: int, end: int) -> list[Run]:
    """The parts of a run whose flags are 0."""
    parts: list[Run] = []
    while (first := flags.find(0, start, end)) >= 0:
        start = flags.find(1, first, end)
        if start < 0:
            start = end
        parts.append(Run(run.place + first, start - first, run.generation))
    return parts


def highest_generation(segment: Segment, generation_max: int) -> int:
    """Of all slots, in use or not, that can be right; at least the file's birth."""
    return max(
        segment.layout.birth,
        max(each for each in (0, *_generations(segment)) if each <= generation_max),
    )


def describe_run(segment: Segment, run: Run) -> Found:
    """A run as the owner of the index wants to see it."""
    slot = run.place - segment.base
    serving = segment.states(slot, 1)[0] == STATE_SERVING
    return Found(
        shape=segment.shape,
        place=run.place,
        count=run.count,
        generation=run.generation,
        serving=serving,
        keys=segment.keys(slot, run.count) if serving else b"",
        sums=segment.sums(slot, run.count) if serving else b"",
    )


def _read_header(file: SegmentFile, alignment: int) -> Layout:
    layout = parse_layout(os.pread(file.descriptor, HEADER_BYTES, 0))
    if layout.file_bytes != file.file_bytes:
        raise SegmentFormatError(f"file has {file.file_bytes} bytes, not {layout.file_bytes}")
    if layout.birth != file.birth:
        raise SegmentFormatError(f"file of birth {layout.birth:016x} has another name")
    if layout.index > INDEX_MAX:
        raise SegmentFormatError(f"index {layout.index} is above {INDEX_MAX}")
    planned = plan_layout(
        layout.file_bytes,
        payload_bytes=layout.payload_bytes,
        key_bytes=layout.key_bytes,
        sum_count=layout.sum_count,
        alignment=alignment,
        birth=layout.birth,
        index=layout.index,
    )
    if layout != planned:
        raise SegmentFormatError(f"{layout} is not laid out as {planned}")
    return layout


def _take_up(file: SegmentFile, layout: Layout, medium: Medium) -> Segment:
    backing = medium.open(file)
    backing.take_up(layout)
    return Segment(file, layout, backing, layout.index << PLACE_SEGMENT_SHIFT)


def _generations(segment: Segment) -> "array.array[int]":
    column = array.array("Q", segment.generations(0, segment.layout.slot_count))
    if sys.byteorder == "big":
        column.byteswap()
    return column
