"""The command line of `hotplate check`."""

import argparse
import fcntl
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hotplate.check.finding import Report
from hotplate.check.journal import check_journal
from hotplate.check.logs import check_log
from hotplate.check.segments import check_storage, parts_of, storage_paths
from hotplate.check.snapshots import check_snapshot

_LOCK: Final = "hotplate.lock"
_SOUND, _DAMAGED, _FAILED = 0, 1, 2


class CheckError(Exception):
    """What is to be checked cannot be."""


def main(argv: Sequence[str]) -> int:
    """0 sound, or all was repaired; 1 damage is left; 2 it could not be checked."""
    known = argparse.ArgumentParser(
        prog="hotplate check",
        description="Check the files of a server that is not running: snapshots, logs, the KV"
        " cache's journal and segment files. Nothing is changed without --repair.",
    )
    known.add_argument("path", type=Path, help="the server's directory, or one file or log of it")
    known.add_argument(
        "--repair",
        action="store_true",
        help="cut damaged ends off logs and journals (they are kept beside), and free the slots"
        " of damaged blocks",
    )
    arguments = known.parse_args(argv)
    report = Report()
    try:
        with _alone(arguments.path):
            _check(arguments.path, report)
            return _finish(report, repair=arguments.repair)
    except (CheckError, OSError) as error:
        print(f"hotplate check: {error}", file=sys.stderr)
        return _FAILED


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep servers away from the directory meanwhile; CheckError if one is there."""
    if not path.exists():
        raise CheckError(f"{path} is not there")
    lock = (path if path.is_dir() else path.parent) / _LOCK
    if not lock.exists():
        lock = lock.parent.parent / _LOCK  # of a directory inside of a server's own
    if not lock.exists():
        yield
        return
    descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CheckError(f"a server is running on {lock.parent}: stop it first") from None
        yield
    finally:
        os.close(descriptor)


def _check(path: Path, report: Report) -> None:
    if path.is_file():
        _check_file(path, report)
        return
    for snapshot in sorted(path.glob("*.rdb")):
        check_snapshot(snapshot, report)
    for log in (path, *sorted(item for item in path.iterdir() if item.is_dir())):
        if any(log.glob("*.manifest")):
            check_log(log, report)
    journal = path if path.name == "kvc-journal" else path / "kvc-journal"
    catalog = check_journal(journal, report) if journal.is_dir() else []
    parts = parts_of(catalog)
    for place in storage_paths(path, catalog):
        if place.is_dir():
            check_storage(place, parts, report)


def _check_file(path: Path, report: Report) -> None:
    with path.open("rb") as file:
        head = file.read(6)
    if path.suffix == ".journal":
        raise CheckError(f"{path}: check the directory {path.parent}, files belong together")
    if path.suffix == ".segment":
        check_storage(path.parent, {}, report)
    elif path.suffix != ".aof" and (head[:5] == b"REDIS" or head == b"VALKEY"):
        check_snapshot(path, report)
    else:
        check_log(path, report)


def _finish(report: Report, *, repair: bool) -> int:
    for line in report.sound:
        print(f"sound    {line}")
    left = 0
    for finding in report.findings:
        print(f"DAMAGED  {finding}")
        if finding.repair is None:
            left += 1
        elif repair:
            print(f"repaired {finding.path}: {finding.repair()}")
        else:
            left += 1
            print("         --repair repairs it")
    if not report.sound and not report.findings:
        print("there is nothing to check")
    return _DAMAGED if left else _SOUND
