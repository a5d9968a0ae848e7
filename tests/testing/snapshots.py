"""Snapshots for tests: written from an engine's databases, and read into those of another."""

import io
from collections.abc import Callable, Iterable

from tests.testing.server_console import ServerConsole

from hotplate.engine.engine import Engine
from hotplate.persist.rdb_loader import RdbLoader
from hotplate.persist.rdb_reader import RdbReader
from hotplate.persist.rdb_writer import RdbWriter


def write_snapshot(
    engine: Engine,
    *,
    checksum: bool = False,
    for_redis_7: bool = False,
    libraries: Iterable[bytes] = (),
) -> bytes:
    """All databases as one file."""
    out = io.BytesIO()
    writer = RdbWriter(out.write, checksum=checksum, for_redis_7=for_redis_7)
    writer.start({b"redis-ver": b"7.0.0"})
    for code in libraries:
        writer.add_library(code)
    for database in engine.databases:
        if database.size():
            writer.select(database.index, database.size(), database.expiring_count)
            for shard in database.shards:
                for key, entry in shard.items():
                    writer.add(key, entry)
    writer.finish()
    assert writer.written == len(out.getvalue())
    return out.getvalue()


def reader_of(data: bytes, piece_bytes: int = 1 << 20) -> RdbReader:
    """A reader that gets the file in pieces of a size."""
    file = io.BytesIO(data)
    return RdbReader(lambda size: file.read(min(size, piece_bytes)))


def load_snapshot(
    data: bytes,
    console: ServerConsole | None = None,
    *,
    piece_bytes: int = 1 << 20,
    prepare: Callable[[ServerConsole], None] = lambda console: None,
) -> ServerConsole:
    """A server with what the file holds."""
    console = console or ServerConsole()
    prepare(console)
    engine = console.engine
    loader = RdbLoader(engine.databases, engine.config, engine, drop_expired=True)
    for record in reader_of(data, piece_bytes).records():
        loader.take(record)
    loader.finish()
    return console
