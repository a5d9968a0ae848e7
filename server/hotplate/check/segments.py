"""Checks segment files: headers, and the sums of every block that is served (tiers/FORMAT.md)."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from xxhash import xxh3_64_digest

from hotplate.check.finding import Finding, Report
from hotplate.wire.segment import (
    HEADER_BYTES,
    STATE_SERVING,
    SUM_BYTES,
    Layout,
    SegmentFormatError,
    parse_layout,
)

Parts = dict[tuple[int, int], set[tuple[int, ...]]]
"""By payload bytes and number of sums: how the payload may be cut into parts."""


def storage_paths(directory: Path, catalog: list[list[Any]]) -> list[Path]:
    """Where storages are: in the directory, and where the journal says.

    The directory may have been moved since: what is built into it is looked for there.
    """
    paths = {path.parent for path in directory.glob("*/*.segment")}
    for operation in catalog:
        if operation[0] == "st" and operation[4]:
            name, kind, path = operation[2:5]
            if not (name == kind == "ssd" and directory / "kvc-ssd" in paths):
                paths.add(Path(path))
    return sorted(paths)


def parts_of(catalog: list[list[Any]]) -> Parts:
    """How the blocks of the registered instances are made up, all specs and each alone."""
    parts: Parts = {}
    for operation in catalog:
        if operation[0] == "in":
            sizes = tuple(spec["size_bytes"] for spec in operation[2]["specs"])
            for cut in (sizes, *((size,) for size in sizes)):
                parts.setdefault((sum(cut), len(cut)), set()).add(cut)
    return parts


def check_storage(directory: Path, parts: Parts, report: Report) -> None:
    """Every segment file of a storage."""
    blocks = unknown = files = 0
    before = len(report.findings)
    for path in sorted(directory.glob("*.segment")):
        files += 1
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            layout = parse_layout(os.pread(descriptor, HEADER_BYTES, 0))
            size = os.fstat(descriptor).st_size
            if layout.file_bytes != size:
                raise SegmentFormatError(f"it has {size} bytes, not {layout.file_bytes}")
            cuts = parts.get((layout.payload_bytes, layout.sum_count), set())
            if layout.sum_count == 1:
                cuts = {(layout.payload_bytes,)}
            for slot in _serving(descriptor, layout):
                if not cuts:
                    unknown += 1
                    continue
                blocks += 1
                if not _is_right(descriptor, layout, slot, cuts):
                    report.findings.append(_damaged(path, layout, slot))
        except SegmentFormatError as error:
            what = f"no sound segment: {error}; the server will not use it"
            report.findings.append(Finding(path, 0, path.stat().st_size, what))
        finally:
            os.close(descriptor)
    if files and len(report.findings) == before:
        more = f", {unknown} of a make-up that the journal does not tell" if unknown else ""
        report.sound.append(f"{directory}: {files} segment files, {blocks} blocks{more}")


def _serving(descriptor: int, layout: Layout) -> Iterator[int]:
    states = os.pread(descriptor, layout.slot_count, layout.state_offset)
    slot = states.find(STATE_SERVING)
    while slot >= 0:
        yield slot
        slot = states.find(STATE_SERVING, slot + 1)


def _is_right(descriptor: int, layout: Layout, slot: int, cuts: set[tuple[int, ...]]) -> bool:
    """Whether the payload has the sums of its slot, cut in one of these ways."""
    width = layout.sum_count * SUM_BYTES
    sums = os.pread(descriptor, width, layout.sum_offset + slot * width)
    start = layout.payload_offset + slot * layout.stride
    payload = os.pread(descriptor, layout.payload_bytes, start)
    for cut in cuts:
        at, found = 0, b""
        for size in cut:
            found += xxh3_64_digest(payload[at : at + size])
            at += size
        if found == sums:
            return True
    return False


def _damaged(path: Path, layout: Layout, slot: int) -> Finding:
    offset = layout.payload_offset + slot * layout.stride
    width = layout.key_bytes
    with path.open("rb") as file:
        file.seek(layout.key_offset + slot * width)
        key = file.read(width)
    what = f"the block {key!r} does not match its sums"
    repair = partial(_free, path, layout.state_offset + slot)
    return Finding(path, offset, layout.payload_bytes, what, repair)


def _free(path: Path, offset: int) -> str:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(descriptor, b"\0", offset)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return f"its slot is free (byte {offset} is 0 now): the block is forgotten at the next start"
