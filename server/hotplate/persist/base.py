"""Reading a snapshot into the engine: the log's base, or `dump.rdb` where there is no log."""

from collections.abc import Callable, Iterator
from typing import Final

from hotplate.engine.engine import Engine
from hotplate.errors import CommandError
from hotplate.keyspace.database import Database
from hotplate.keyspace.rdb_bytes import RdbError
from hotplate.keyspace.stream import Stream
from hotplate.persist.background import MOMENT
from hotplate.persist.files import Files
from hotplate.persist.rdb_loader import RdbLoader
from hotplate.persist.rdb_reader import Field, RdbReader
from hotplate.persist.replay import LoadError, Progress

_STEP_NS: Final = 10_000_000  # of work between two looks at clients


def base_loader(
    engine: Engine, files: Files, *, drop_expired: bool
) -> Callable[[str, Progress], Iterator[None]]:
    """What loads snapshots into `engine`, whose databases are empty.

    `drop_expired`: keys whose time is past are left out. Before a log that goes on they must stay:
    what the log says of them happened while they were there.
    """

    def load(path: str, progress: Progress) -> Iterator[None]:
        reader = RdbReader(_reads(files, path))
        loader = RdbLoader(engine.databases, engine.config, engine, drop_expired=drop_expired)
        before = progress.loaded_bytes
        clock = engine.clock
        lead_ns = clock.wall_ns() - clock.monotonic_ns()
        until_ns = clock.monotonic_ns() + _STEP_NS
        try:
            for record in reader.records():
                loader.take(record)
                if isinstance(record, Field) and record.name == MOMENT and not drop_expired:
                    # what drains goes on from the moment: the log says what happened since
                    moment_ns = int(record.value)
                    engine.now_ms = moment_ns // 1_000_000
                    engine.now_ns = moment_ns - lead_ns
                if clock.monotonic_ns() >= until_ns:
                    progress.loaded_bytes = before + reader.offset
                    progress.requests = loader.loaded
                    yield
                    until_ns = clock.monotonic_ns() + _STEP_NS
            loader.finish()
            for text in loader.libraries:
                engine.libraries.load(text, replace=True)
        except RdbError as error:
            raise LoadError(f"{path} is damaged: {error}; run `hotplate check {path}`") from error
        except CommandError as error:
            what = error.message.decode(errors="replace")
            raise LoadError(f"{path} holds a library that can't be loaded: {what}") from error
        progress.loaded_bytes = before + files.size(path)
        progress.requests = loader.loaded
        _watch_policies(engine, loader.streams)

    return load


def _reads(files: Files, path: str) -> Callable[[int], bytes]:
    """A file as the reader wants it: the next bytes, each time."""
    offset = 0

    def read(size: int) -> bytes:
        nonlocal offset
        data = files.read(path, offset, size)
        offset += len(data)
        return data

    return read


def _watch_policies(engine: Engine, streams: list[tuple[Database, bytes]]) -> None:
    """Groups that have a policy are to be swept again."""
    for database, key in streams:
        entry = database.shard_of(key).get(key)
        value = None if entry is None else entry.value
        if isinstance(value, Stream) and any(
            group.policy is not None for group in value.groups.values()
        ):
            engine.stream_policies.watch(database, key)
