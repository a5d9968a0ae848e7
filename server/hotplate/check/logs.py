"""Checks append-only logs: the base, and every command of the increments."""

from functools import partial
from pathlib import Path

from hotplate.check.finding import Finding, Report, cut_off
from hotplate.keyspace.rdb_bytes import RdbError
from hotplate.transfer.items import Left, SourceError, from_log_file, log_files


def check_log(path: Path, report: Report) -> None:
    """A log's directory, or one file of it."""
    try:
        files = log_files(path) if path.is_dir() else [path]
    except SourceError as error:
        report.findings.append(Finding(path, 0, 0, str(error)))
        return
    for number, file in enumerate(files, 1):
        if not file.is_file():
            what = "a file of the log that is missing"
            report.findings.append(Finding(file, 0, 0, what))
        else:
            _check_file(file, report, is_last=number == len(files))


def _check_file(path: Path, report: Report, *, is_last: bool) -> None:
    size, count = path.stat().st_size, 0
    try:
        for item in from_log_file(path):
            if isinstance(item, Left) and item.offset is not None:
                where = "" if is_last else "; other files follow, and go on without what is lost"
                repair = partial(cut_off, path, item.offset)
                offset = item.offset
                what = f"an incomplete command{where}"
                report.findings.append(Finding(path, offset, size - offset, what, repair))
                return
            count += 1
    except SourceError as error:
        offset = error.offset
        repair = partial(cut_off, path, offset)
        what = "no command; what follows is lost with it"
        report.findings.append(Finding(path, offset, size - offset, what, repair))
    except RdbError as error:
        what = f"a damaged snapshot: {error}; it cannot be repaired"
        offset = getattr(error, "offset", 0)
        report.findings.append(Finding(path, offset, size - offset, what))
    else:
        report.sound.append(f"{path}: {count} keys and commands in {size} bytes of a log")
