"""`hotplate export`: the plain data of a running Hotplate into a Redis, or into a file."""

import os
from collections.abc import Sequence
from pathlib import Path

from hotplate.transfer.command import OURS, SCHEMES, build_parser, copy_server, run
from hotplate.transfer.items import SourceError
from hotplate.transfer.link import Link
from hotplate.transfer.target import Outcome, ServerTarget, SnapshotTarget


def main(argv: Sequence[str]) -> int:
    """The command: 0, 1 where something was left behind, 2 on failure."""
    known = build_parser("export", "Take the plain data out of a running Hotplate.")
    known.add_argument("target", help="redis://host:port, or a file for a snapshot (dump.rdb)")
    known.add_argument(
        "--from", dest="source", default=OURS, metavar="URL", help=f"the Hotplate ({OURS})"
    )
    known.add_argument("--replace", action="store_true", help="overwrite keys, or the file")
    known.add_argument(
        "--redis-7", action="store_true", help="a file that redis-server 7.0 loads in any case"
    )
    arguments = known.parse_args(argv)

    def work(outcome: Outcome) -> None:
        with Link(arguments.source) as source:
            if arguments.target.startswith(SCHEMES):
                with Link(arguments.target) as link:
                    target = ServerTarget(link, outcome, replace=arguments.replace)
                    copy_server(source, target, arguments, outcome)
                return
            path = Path(arguments.target)
            if path.exists() and not arguments.replace:
                raise SourceError(f"{path} is there already (--replace overwrites)")
            unfinished = path.with_name(path.name + ".unfinished")
            try:
                with unfinished.open("wb") as file:
                    snapshot = SnapshotTarget(
                        file.write, outcome, source.sizes(), for_redis_7=arguments.redis_7
                    )
                    copy_server(source, snapshot, arguments, outcome)
                    file.flush()
                    os.fsync(file.fileno())
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)

    return run("export", work)
