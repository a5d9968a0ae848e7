"""Checks the KV cache's journal: every record of every file."""

from functools import partial
from pathlib import Path
from typing import Any

from hotplate.check.finding import Finding, Report, cut_off
from hotplate.persist.kvc_journal import JournalError, base_of, files_of, read_file


def check_journal(directory: Path, report: Report) -> list[list[Any]]:
    """What the journal says of storages and instances, for the check of segments."""
    catalog: list[list[Any]] = []
    try:
        files = files_of(directory)
    except JournalError as error:
        report.findings.append(Finding(error.path, 0, 0, error.what))
        return catalog
    base = base_of(files)
    read = [(number, path) for number, path in files if number >= base]
    records = size_bytes = 0
    is_sound = True
    for _, path in read:
        end = 0
        try:
            for reached, operations in read_file(path):
                end = reached
                records += 1
                catalog += (operation for operation in operations if operation[0] in ("st", "in"))
        except JournalError as error:
            is_sound = False
            size = path.stat().st_size - end
            what = error.what if end else f"{error.what}; nothing of the file can be read"
            repair = partial(_repair, path, end)
            report.findings.append(Finding(path, error.offset, size, what, repair))
        size_bytes += path.stat().st_size
    if files and files[0][0] > base:
        is_sound = False
        report.findings.append(Finding(files[0][1], 0, 0, "the files before it are missing"))
    if read and is_sound:
        report.sound.append(
            f"{directory}: {len(read)} files, {records - len(read)} records,"
            f" {size_bytes} bytes of the KV cache's journal"
        )
    return catalog


def _repair(path: Path, offset: int) -> str:
    said = cut_off(path, offset)
    if offset == 0:
        path.unlink()
        said += "; the file is gone"
    return f"{said}. What it said of blocks and sessions from there on is forgotten"
