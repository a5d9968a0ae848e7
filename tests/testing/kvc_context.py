"""A KV cache with real storages behind the real dispatcher, without sockets, loop or threads.

`KvcServer` builds the engine; `client()` gives a caller. File IO jobs wait in a list until the
caller (or a test) runs them, so that a test can look at the moment in between.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import hiredis
from tests.testing.console import NoLink, encode_argument
from tests.testing.reply_schema import check_reply

from hotplate.clock import ManualClock
from hotplate.commands import (
    configuration,
    kvc_admin,
    kvc_data,
    kvc_observe,
    kvc_read,
    kvc_reclaim,
    kvc_write,
    stream_reads,
    streams,
    strings,
    transactions,
)
from hotplate.config import Config
from hotplate.engine.context import Deferred
from hotplate.engine.dispatch import run
from hotplate.engine.engine import Engine
from hotplate.engine.kvc_moves import Mover
from hotplate.errors import CommandError
from hotplate.kvc.cache import Cache
from hotplate.kvc.catalog import Catalog
from hotplate.kvc.model import Storage
from hotplate.resp.encoder import encode
from hotplate.resp.types import Payload, Payloads
from hotplate.spec.registry import Registry
from hotplate.tiers.file import FileStore, open_file_store
from hotplate.tiers.memory import open_memory_store
from hotplate.tiers.ssd import open_ssd_store
from hotplate.tiers.store import SegmentStore

MIB: Final = 1024 * 1024
# files are made and kept ahead of need, that is no change of what is stored
FILE_FIGURES: Final = (b"allocated_bytes", b"free_bytes", b"largest_free_bytes", b"segments")
MODULES: Final = (
    *(kvc_admin, kvc_read, kvc_write, kvc_data, kvc_observe, kvc_reclaim, transactions),
    *(configuration, streams, stream_reads, strings),
)


class WaitingFileIo:
    """File IO whose jobs run when told to."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Callable[..., Any], tuple[Any, ...], Callable[[Any], None]]] = []
        self.refuses = False

    def submit(
        self, function: Callable[..., Any], *args: Any, done: Callable[[Any], None], lane: str
    ) -> None:
        """Keep the job."""
        assert lane, "a job without a storage shares its threads with all"
        if self.refuses:
            raise BlockingIOError("too many jobs")
        self.jobs.append((function, args, done))

    def run_all(self) -> None:
        """Run the jobs that wait, and those that they bring."""
        while self.jobs:
            function, args, done = self.jobs.pop(0)
            try:
                result = function(*args)
            except Exception as error:
                result = error
            done(result)


class HoldingLink(NoLink):
    """A connection that releases payloads only when told to."""

    def __init__(self) -> None:
        self.held: list[Callable[[], None]] = []
        self.holding = False

    def hold(self, release: Callable[[], None]) -> None:
        """Keep it while `holding`."""
        if self.holding:
            self.held.append(release)
        else:
            release()

    def release_all(self) -> None:
        """The bytes have left."""
        while self.held:
            self.held.pop()()


class KvcServer:
    """An engine with a KV cache: storages `memory` and `ssd`, group `default`."""

    def __init__(self, path: Path, **limits: int) -> None:
        self.path = path
        self.clock = ManualClock()
        registry = Registry.build([spec for module in MODULES for spec in module.SPECS])
        self.engine = Engine(
            commands=registry, config=Config(), clock=self.clock, rng=random.Random(1)
        )
        self.catalog = Catalog()
        options: dict[str, Any] = {"index_bytes_max": 64 * MIB} | limits
        self.cache = Cache(self.catalog, **options)
        self.file_io = WaitingFileIo()
        self.engine.kvc = self.cache
        self.engine.file_io = self.file_io
        self.engine.open_store = self.open_store
        for kind in ("memory", "ssd"):
            storage = self.catalog.build_storage(kind, kind, capacity_bytes=4 * MIB)
            storage.store = self.open_store(storage)
            self.catalog.add_storage(storage)
            self.cache.storage_changed(storage)
        self.cache.group_changed(self.catalog.create_group("default", {}))
        self.mover = Mover(self.engine)

    def tick(self) -> None:
        """Background work and moves between storages, until there is nothing to do."""
        more = True
        while more:
            more = self.cache.tick(self.clock.now_ms())
            self.mover.run(self.clock.now_ms())
            more |= bool(self.file_io.jobs)
            self.file_io.run_all()

    def open_store(self, storage: Storage) -> SegmentStore | FileStore:
        """The same stores as the real server's, in the test's folder."""
        path = storage.path or str(self.path / storage.name)
        if storage.type == "file":
            storage.keys_per_file = storage.keys_per_file or 1
            return open_file_store(storage.name, path, 4 * MIB, storage.keys_per_file)
        opener = open_memory_store if storage.type == "memory" else open_ssd_store
        capacity_bytes = storage.capacity_bytes or 4 * MIB
        return opener(storage.name, path, capacity_bytes, storage.segment_bytes)

    def client(self, resp: int = 2) -> "Client":
        """A new client."""
        return Client(self, resp)

    def close(self) -> None:
        """Remove the segment files."""
        for storage in self.catalog.storages.values():
            storage.opened().close(remove=True)

    def state(self, keys: dict[bytes, Sequence[bytes]] | None = None) -> list[Any]:
        """Everything a refused command must leave as it was; `keys` by instance."""
        client = self.client(resp=3)
        seen: list[Any] = []
        for kind in ("STORAGE", "GROUP", "INSTANCE"):
            for name in client(f"KVC.{kind}", "LIST"):
                info = client(f"KVC.{kind}", "INFO", name)
                seen.append({key: info[key] for key in info if key not in FILE_FIGURES})
        for name, instance in self.catalog.instances.items():
            seen.append(self.cache.block_count(instance))
            wanted = list((keys or {}).get(name, ()))
            seen.append(client("KVC.META", name, "KEYS", len(wanted), *wanted))
        seen.extend(self.cache.storage_bytes(item) for item in self.catalog.storages.values())
        return seen


class Client:
    """Calls commands and checks replies by their schemas.

    An error reply is raised as CommandError, its text with the code first.
    """

    def __init__(self, server: KvcServer, resp: int) -> None:
        self.server = server
        self.link = HoldingLink()
        self.ctx = server.engine.connect(self.link)
        self.ctx.resp = resp

    def __call__(self, *words: bytes | str | float) -> Any:
        """The reply; file IO is run to its end."""
        return self.run([encode_argument(word) for word in words])

    def line(self, text: str) -> Any:
        """The reply to words that are separated by spaces."""
        return self(*text.split())

    def run(self, argv: Sequence[Any]) -> Any:
        """The reply to arguments, among which may be payload targets."""
        outcome, out = self.start(argv)
        if isinstance(outcome, Deferred):
            replies: list[Any] = []
            outcome.start(replies.append)
            self.server.file_io.run_all()
            [reply] = replies
            if isinstance(reply, Payload | Payloads):
                for item in reply if isinstance(reply, list) else [reply]:
                    if item is not None:
                        self.link.hold(item.release)
            encode(reply, self.ctx.resp, out.append)
        frames = b"".join(bytes(part) for part in out)
        name = bytes(argv[0]) if len(argv) < 2 else b"%b|%b" % (bytes(argv[0]), bytes(argv[1]))
        commands = self.server.engine.commands
        command = commands.find(name) or commands.find(bytes(argv[0]))
        if command is not None and command.spec.reply is not None and frames != b"+QUEUED\r\n":
            check_reply(command.spec.reply, frames, self.ctx.resp)
        return parse(frames)

    def start(self, argv: Sequence[Any]) -> tuple[Any, list[Any]]:
        """What the dispatcher answers (a Deferred, perhaps), and the frames so far."""
        self.ctx.now_ms = self.server.clock.now_ms()
        out: list[Any] = []
        return run(self.ctx, [list(argv)], out), out

    def receive(self, argv: list[Any], payload: bytes) -> bool:
        """Append a payload to argv as the connection does; whether it went into a target."""
        name = argv[0].upper()
        self.ctx.now_ms = self.server.clock.now_ms()
        sink = self.server.engine.commands.table[name].spec.sink
        assert sink is not None
        target = sink(self.ctx, argv, len(payload))
        if target is None:
            argv.append(payload)
            return False
        target.view[:] = payload
        target.arrived(len(payload))
        argv.append(target)
        return True


def parse(frames: bytes) -> Any:
    """One reply as Python values; an error is raised."""
    reader = hiredis.Reader(replyError=CommandError)
    reader.feed(frames)
    reply = reader.gets(False)
    if isinstance(reply, CommandError):
        raise reply
    return reply
