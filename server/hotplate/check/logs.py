"""Checks append-only logs: the base, and every group or command of the increments."""

from functools import partial
from pathlib import Path
from typing import Final

from hotplate.check.finding import Finding, Report, cut_off
from hotplate.check.snapshots import check_snapshot
from hotplate.persist.files import SystemFiles
from hotplate.persist.group import FormatVersionError
from hotplate.persist.log_reader import DamageError, LogReader
from hotplate.persist.manifest import ManifestError, parse_manifest

_RDB_MARKS: Final = (b"REDIS", b"VALKE")


def check_log(path: Path, report: Report) -> None:
    """A log's directory, or one file of it."""
    if not path.is_dir():
        _check_file(path, report, is_last=True)
        return
    for manifest_path in sorted(path.glob("*.manifest")):
        try:
            manifest = parse_manifest(manifest_path.read_bytes())
        except ManifestError as error:
            size = manifest_path.stat().st_size
            report.findings.append(Finding(manifest_path, 0, size, f"no manifest: {error}"))
            continue
        files = [*([manifest.base] if manifest.base is not None else []), *manifest.increments]
        for number, file in enumerate(files, 1):
            named = path / file.name
            if named.is_file():
                _check_file(named, report, is_last=number == len(files))
            else:
                report.findings.append(Finding(named, 0, 0, "a file of the log that is missing"))


def _check_file(path: Path, report: Report, *, is_last: bool) -> None:
    with path.open("rb") as file:
        head = file.read(5)
    if head in _RDB_MARKS:
        check_snapshot(path, report)
        return
    count = 0
    try:
        for piece in LogReader(SystemFiles(), str(path)).pieces():
            count += len(piece.requests)
    except FormatVersionError as error:
        report.findings.append(Finding(path, 0, path.stat().st_size, str(error)))
    except DamageError as error:
        what = f"a damaged log: {error.why}"
        if not error.is_tail:
            what += "; more of it follows, and is lost with it"
        elif not is_last:
            what += "; other files follow, and go on without what is lost"
        repair = partial(cut_off, path, error.offset)
        report.findings.append(Finding(path, error.offset, error.dropped, what, repair))
    else:
        size = path.stat().st_size
        report.sound.append(f"{path}: {count} commands in {size} bytes of a log")
