"""`hotplate import`: the data of a Redis into a running Hotplate."""

from collections.abc import Sequence
from pathlib import Path

from hotplate.transfer.command import OURS, SCHEMES, build_parser, copy_server, run
from hotplate.transfer.items import SourceError, from_log, from_log_file, from_snapshot
from hotplate.transfer.link import Link
from hotplate.transfer.target import Outcome, ServerTarget, move


def main(argv: Sequence[str]) -> int:
    """The command: 0, 1 where something was left behind, 2 on failure."""
    known = build_parser("import", "Bring the data of a Redis into a running Hotplate.")
    known.add_argument("source", help="redis://host:port, a snapshot (dump.rdb), or appendonlydir")
    known.add_argument("--to", default=OURS, metavar="URL", help=f"the Hotplate ({OURS})")
    known.add_argument("--replace", action="store_true", help="overwrite keys that are there")
    arguments = known.parse_args(argv)

    def work(outcome: Outcome) -> None:
        with Link(arguments.to) as link:
            target = ServerTarget(link, outcome, replace=arguments.replace)
            if arguments.source.startswith(SCHEMES):
                with Link(arguments.source) as source:
                    copy_server(source, target, arguments, outcome)
                return
            if arguments.db is not None or arguments.match is not None:
                raise SourceError("--db and --match choose among the keys of a server")
            _import_file(Path(arguments.source), target, link, outcome)

    return run("import", work)


def _import_file(path: Path, target: ServerTarget, link: Link, outcome: Outcome) -> None:
    if not path.is_dir() and not _is_log(path):
        move(from_snapshot(path), target, outcome, total=0)
        return
    if not target.replaces and any(link.sizes().values()):
        raise SourceError(f"{link.url} has keys, and a log changes them: --replace allows it")
    move(from_log(path) if path.is_dir() else from_log_file(path), target, outcome, total=0)


def _is_log(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1) in (b"*", b"#") or path.suffix == ".aof"
