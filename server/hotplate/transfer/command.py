"""What `hotplate import` and `hotplate export` share: options, ends, and copying from a server."""

import argparse
import sys
from collections.abc import Callable
from typing import Final

from redis.exceptions import RedisError

from hotplate.keyspace.rdb_bytes import RdbError
from hotplate.transfer.items import SourceError, from_server
from hotplate.transfer.link import Link
from hotplate.transfer.target import Outcome, Target, move

SCHEMES: Final = ("redis://", "rediss://", "unix://")
OURS: Final = "redis://127.0.0.1:6379"
_LEFT, _FAILED = 1, 2


def build_parser(name: str, text: str) -> argparse.ArgumentParser:
    """A command line with the options of both."""
    known = argparse.ArgumentParser(prog=f"hotplate {name}", description=text)
    known.add_argument("--db", type=int, help="only this database of the server")
    known.add_argument("--match", help="only the keys of the server that match, as in SCAN")
    return known


def run(name: str, work: Callable[[Outcome], None]) -> int:
    """Do it and say what was done: 0, 1 where something was left behind, 2 on failure."""
    outcome = Outcome()
    try:
        work(outcome)
    except (RedisError, RdbError, SourceError, OSError) as error:
        print(f"hotplate {name}: {error}", file=sys.stderr)
        if outcome.keys or outcome.calls:
            print("\n".join(["before that:", *outcome.lines()]), file=sys.stderr)
        return _FAILED
    print("\n".join(outcome.lines()))
    return _LEFT if outcome.left else 0


def copy_server(
    source: Link, target: Target, arguments: argparse.Namespace, outcome: Outcome
) -> None:
    """Everything that a server has, or what `--db` and `--match` leave of it."""
    sizes = source.sizes()
    databases = sorted(sizes) if arguments.db is None else [arguments.db]
    total = sum(sizes.get(database, 0) for database in databases)
    move(from_server(source, databases, arguments.match), target, outcome, total=total)
