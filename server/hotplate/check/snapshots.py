"""Checks snapshots: all that is in them, and their sums."""

from functools import partial
from pathlib import Path

from hotplate.check.finding import Finding, Report, cut_off
from hotplate.persist.rdb_reader import RdbFileError, RdbReader


def check_snapshot(path: Path, report: Report) -> None:
    """One file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        reader = RdbReader(file.read)
        try:
            for _ in reader.records():
                pass
        except RdbFileError as error:
            what = f"a damaged snapshot: {error}; it cannot be repaired"
            report.findings.append(Finding(path, error.offset, size - error.offset, what))
            return
        end = reader.offset
    if size > end:
        repair = partial(cut_off, path, end)
        what = "bytes behind the end of the snapshot"
        report.findings.append(Finding(path, end, size - end, what, repair))
    else:
        report.sound.append(f"{path}: a snapshot of {size} bytes")
