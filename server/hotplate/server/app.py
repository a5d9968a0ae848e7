"""The composition root: builds the parts, joins them, starts, serves, stops.

Start order: configuration, directory lock, descriptors, engine, storages, sockets, data (clients
are answered -LOADING), timer, ready line. Stop order: sockets, what is logged is made safe, clients
(what is answered is sent), timer, log, storages, lock.
"""

import asyncio
import contextlib
import logging
import os
import random
import resource
import secrets
import signal
import socket
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

from hotplate.clock import Clock, SystemClock
from hotplate.commands import build_registry
from hotplate.config import Config, ConfigError
from hotplate.config_file import load, parse_command_line
from hotplate.engine.engine import Engine
from hotplate.engine.prometheus import CONTENT_TYPE, metrics_text
from hotplate.persist.replay import LoadError
from hotplate.server import garbage
from hotplate.server.busy import BusyPoll
from hotplate.server.clients import ClientTable
from hotplate.server.connection import Connection
from hotplate.server.cron import Cron
from hotplate.server.directory import DirectoryError, WorkingDirectory
from hotplate.server.kvcache import KvCacheService
from hotplate.server.listener import (
    ListenError,
    remove_socket_file,
    serve,
    tcp_sockets,
    unix_socket,
)
from hotplate.server.loop import loop_factory
from hotplate.server.metrics_http import MetricsServer
from hotplate.server.persistence import PersistenceService
from hotplate.tiers.directory import StoreOpenError
from hotplate.tiers.pool import FILES_MAX

log = logging.getLogger("hotplate.server")
DESCRIPTORS_RESERVED: Final = 80  # lock, log, eight a listener, a few segments
DESCRIPTORS_OF_STORAGES: Final = 3 * FILES_MAX  # more segments, as far as the system allows
DRAIN_SECONDS: Final = 2.0  # for clients to take their last replies at shutdown


class Server:
    """One running server."""

    def __init__(self, config: Config, *, clock: Clock, rng: random.Random) -> None:
        self.config = config
        self.directory = WorkingDirectory(config.dir)
        raise_descriptor_limit(config)
        self.engine = Engine(commands=build_registry(), config=config, clock=clock, rng=rng)
        self._stopping = asyncio.Event()
        self.engine.request_shutdown = self._stopping.set
        self._listeners: list[asyncio.Server] = []
        self._metrics = MetricsServer(lambda: metrics_text(self.engine), CONTENT_TYPE)

    async def start(self) -> None:
        """Open storages and sockets, and load; ListenError, StoreOpenError or LoadError where that
        can't be."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        try:
            self._kvcache = KvCacheService(self.engine, self.directory, loop)
            try:
                sockets = self._bind()
                try:
                    await self._serve_metrics()
                except ListenError:
                    for sock in sockets:
                        sock.close()
                    raise
            except ListenError:
                self._kvcache.close()
                raise
        except (ListenError, StoreOpenError):
            self.directory.close()
            raise
        self.engine.after = loop.call_later
        self._persistence = PersistenceService(self.engine, self.directory, loop)
        self._clients = ClientTable(self.engine, loop, barrier=self._persistence.barrier)
        self._cron = Cron(loop, self.engine.clock.now_ms, lambda: self.config.hz)
        self.engine.pacing.after = loop.call_later
        self._listeners = await serve(sockets, self._connection)
        busy = BusyPoll(self.engine, self._clients, sockets)
        self.engine.scripts.busy_poll = busy
        self.engine.scripts.busy_end = busy.end
        garbage.settle()
        try:
            await self._persistence.load(self._stopping.is_set)
        except LoadError:
            await self.stop()
            raise
        self.addresses = [_shown(sock.getsockname()) for sock in sockets]
        self._cron.add(garbage.put_aside)
        self._cron.add(self._persistence.tick)
        self._cron.add(self._expire_keys)
        self._cron.add(self._limit_memory)
        self._cron.add(self._free_memory)
        self._cron.add(self.engine.tend_streams)
        self._cron.add(self.engine.tend_queues)
        self._cron.add(self._kvcache.tick)
        self._cron.add(self.engine.tracking.tick)
        self._cron.add(self._close_idle)
        self._cron.add(self._sample_rates)
        self._cron.start()

    async def run(self) -> None:
        """Serve until SHUTDOWN or a signal, then stop cleanly."""
        await self._stopping.wait()
        await self.stop()

    async def stop(self) -> None:
        """Close everything, in order."""
        for listener in self._listeners:
            listener.close()
        self._persistence.settle()
        self._metrics.close()
        self._clients.close_all()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._clients.wait_empty()
        self._cron.stop()
        self._persistence.stop()
        self._kvcache.close()
        if self.config.unixsocket:
            remove_socket_file(self.config.unixsocket)
        self.directory.close()

    def ready_line(self) -> str:
        """What is printed when clients may come."""
        return (
            f"hotplate {version('hotplate')} ready on {', '.join(self.addresses)}"
            f" (pid {os.getpid()}; {self._kvcache.summary()})"
        )

    def _bind(self) -> list[socket.socket]:
        config = self.config
        sockets: list[socket.socket] = []
        if config.port or not config.unixsocket:
            sockets = tcp_sockets(config.bind, config.port, config.tcp_backlog)
            self.engine.port = sockets[0].getsockname()[1]
        if config.unixsocket:
            try:
                sockets.append(
                    unix_socket(config.unixsocket, config.unixsocketperm, config.tcp_backlog)
                )
            except ListenError:
                for sock in sockets:
                    sock.close()
                raise
        return sockets

    async def _serve_metrics(self) -> None:
        if self.config.metrics_port:
            await self._metrics.start(self.config.metrics_port)

    def _connection(self, kind: str) -> Connection:
        return Connection(self._clients, kind)

    def _expire_keys(self, now_ms: int) -> bool:
        return self.engine.expire_keys(now_ms)

    def _limit_memory(self, now_ms: int) -> bool:
        return self.engine.limit_memory(now_ms)

    def _free_memory(self, now_ms: int) -> bool:
        return self.engine.free_memory()

    def _close_idle(self, now_ms: int) -> bool:
        self._clients.close_idle(now_ms)
        self._clients.output_limits.tick()
        return False

    def _sample_rates(self, now_ms: int) -> bool:
        self.engine.stats.sample(self.engine.clock.monotonic_ns())
        return False


def raise_descriptor_limit(config: Config) -> None:
    """Ask for as many descriptors as `maxclients` needs; serve fewer clients where refused."""
    need = config.maxclients + DESCRIPTORS_RESERVED
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = need + DESCRIPTORS_OF_STORAGES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        if allowed < need:
            config.maxclients = max(1, allowed - DESCRIPTORS_RESERVED)
            log.warning(
                "the system allows %d open files: maxclients is %d now", allowed, config.maxclients
            )


def _shown(name: object) -> str:
    if isinstance(name, tuple):
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
    return str(name)


def main(argv: Sequence[str]) -> int:
    """`hotplate serve`: the exit status."""
    if any(argument in ("-h", "--help") for argument in argv):
        print(USAGE)
        return 0
    try:
        config = load(*parse_command_line(argv))
    except ConfigError as error:
        print(f"hotplate: {error}", file=sys.stderr)
        return 1
    try:
        configure_logging(config)
    except OSError as error:
        reason = error.strerror or error
        print(f"hotplate: can't log to {config.logfile}: {reason}", file=sys.stderr)
        return 1
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_serve(config))
    except (DirectoryError, ListenError, LoadError, StoreOpenError) as error:
        print(f"hotplate: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(config: Config) -> None:
    server = Server(config, clock=SystemClock(), rng=random.Random(secrets.randbits(128)))
    await server.start()
    print(server.ready_line(), flush=True)
    await server.run()


def configure_logging(config: Config) -> None:
    """To `logfile`, or to standard error; `loglevel` may change while the server runs."""
    levels = {"debug": "DEBUG", "verbose": "INFO", "notice": "INFO", "warning": "WARNING"}
    logging.basicConfig(
        filename=config.logfile or None,
        level=levels[config.loglevel],
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )

    def on_change(names: frozenset[str]) -> None:
        if "loglevel" in names:
            logging.getLogger().setLevel(levels[config.loglevel])

    config.observe(on_change)


USAGE: Final = """\
hotplate serve [CONFIG-FILE] [--port N] [--bind ADDRESS ...] [--dir DIR] [--unixsocket PATH]
               [--requirepass PASSWORD] [--SETTING VALUE ...]

Runs a server in the foreground and prints one line when it is ready. CONFIG-FILE has the syntax of
redis.conf; settings after it win. Without --port: 6379. With --port 0: a free port, or no TCP at
all beside --unixsocket. `redis-cli config get '*'` lists every setting."""
