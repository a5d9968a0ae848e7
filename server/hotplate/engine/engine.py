"""The engine: everything that commands share, in one object that the server builds.

It owns the databases, the command table, the clients' contexts and the change observers. It knows
no socket and no event loop: the server injects what needs them (`request_shutdown`, `file_io`).
"""

import logging
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from hotplate.clock import Clock
from hotplate.config import Config
from hotplate.engine.blocking import After, Blocking, Timer
from hotplate.engine.context import Context, Gate, Link
from hotplate.engine.kvc_events import KvcEvents
from hotplate.engine.memory import MemoryLimit
from hotplate.engine.nobody import NOBODY
from hotplate.engine.outbox import Outbox
from hotplate.engine.pacing import Pacing
from hotplate.engine.pause import Pause
from hotplate.engine.pubsub import PubSub
from hotplate.engine.scripting import Scripts
from hotplate.engine.scripting_functions import Libraries
from hotplate.engine.singles import Singles
from hotplate.engine.slowlog import NEVER_NS, SlowLog
from hotplate.engine.stats import Stats
from hotplate.engine.tracking import Tracking
from hotplate.engine.watch import Observer, WatchTable
from hotplate.keyspace.bucket import Limiter
from hotplate.keyspace.database import SHARDS, Database
from hotplate.keyspace.discard import DiscardCycle
from hotplate.keyspace.expire import ExpiryCycle
from hotplate.keyspace.field_expiry import expire_due_fields
from hotplate.keyspace.notify import Notifications
from hotplate.keyspace.stream_policy import PolicySweep
from hotplate.spec.registry import Registry

if TYPE_CHECKING:
    from hotplate.engine.persistence import Persistence
    from hotplate.kvc.cache import Cache
    from hotplate.kvc.model import Storage
    from hotplate.kvc.ports import BlockStore

log = logging.getLogger("hotplate.engine")
_MS_NS: Final = 1_000_000
_STEP_MS: Final = 100  # less is the drift of a clock
_HTTP_REPORT_NS: Final = 60_000_000_000  # such warnings at most once a minute


class Engine:
    """One server's state as commands see it."""

    def __init__(
        self, *, commands: Registry, config: Config, clock: Clock, rng: random.Random
    ) -> None:
        self.commands = commands
        self.config = config
        self.clock = clock
        self.rng = rng
        self.stats = Stats()
        self.databases: list[Database] = [Database(index) for index in range(config.databases)]
        self.clients: dict[int, Context] = {}
        self.watches = WatchTable(self.databases)
        self.outbox = Outbox(Singles(self))
        self.pubsub = PubSub(self.outbox.add)
        self.tracking = Tracking(self)
        self.pause = Pause(self)
        self.blocking = Blocking(self)
        self.stream_policies = PolicySweep(self.databases, self.blocking.touched)
        self.pacing = Pacing(self)
        self.active_expire = True  # DEBUG SET-ACTIVE-EXPIRE
        self.discards = DiscardCycle(self.databases, clock.monotonic_ns)
        self._observers: list[Observer] = []
        self.notifications = Notifications(self.pubsub.publish)
        self._expiry = ExpiryCycle(self.databases, clock.monotonic_ns)
        self.gates: int = Gate.OPEN
        self.unsafe = ""  # why writes are refused while the gate UNSAFE is shut
        self.run_id = f"{rng.getrandbits(160):040x}"
        self.memory = MemoryLimit(self)
        self.scripts = Scripts(self)
        self.libraries = Libraries(self.scripts)
        self.slowlog = SlowLog()
        self.slow_ns = NEVER_NS  # runs of commands that take as long go into the slow log
        # both clocks, read at one moment: the beginning of the batch under way
        self.started_ms = self.now_ms = clock.now_ms()
        self.now_ns = clock.monotonic_ns()
        self._lead_ms = self.now_ms - self.now_ns // _MS_NS  # of the wall clock
        self.kvc_events = KvcEvents(self)
        self.limiter = Limiter(self.run_id[:8].encode())
        self.port = 0  # the TCP port in use, 0: none
        self._next_client_id = 0
        self._http_reported_ns: int | None = None
        # set by the server before the first client
        self.kvc: Cache | None = None
        self.persistence: Persistence | None = None
        self.file_io: Any = None
        self.open_store: Callable[[Storage], BlockStore] | None = None
        self.request_shutdown: Callable[[], None] = _no_server
        self.after: After = _no_timers
        self._configure(frozenset(config.set_names))
        config.observe(self._configure)

    def connect(self, link: Link) -> Context:
        """A new client. Ids start at 1 and are never used again."""
        self._next_client_id += 1
        ctx = Context(self, self._next_client_id, link, self.clock.now_ms())
        self.clients[ctx.client_id] = ctx
        return ctx

    def disconnect(self, ctx: Context) -> None:
        """Forget a client and what it holds."""
        self.watches.forget(ctx)
        self.pubsub.forget(ctx)
        self.tracking.end(ctx)
        self.clients.pop(ctx.client_id, None)
        ctx.link = NOBODY  # each holds the other: in a circle they would wait for the collector

    def report_http(self, ctx: Context) -> None:
        """A client spoke HTTP: a web page may have sent a browser here. Logged now and then."""
        now_ns = self.clock.monotonic_ns()
        if self._http_reported_ns is None or now_ns - self._http_reported_ns >= _HTTP_REPORT_NS:
            self._http_reported_ns = now_ns
            log.warning("%s sent an HTTP request (POST or Host:) and was closed", ctx.link.peer)

    def set_gate(self, ctx: Context, gate: int, on: bool) -> None:
        """Switch one of a client's gates."""
        ctx.gates = ctx.gates | gate if on else ctx.gates & ~gate

    def observe(self, callback: Observer, on: bool = True) -> None:
        """Let `callback(db, key, event)` see each change of every database, or no more."""
        others = [observer for observer in self._observers if observer != callback]
        self._observers = [*others, callback] if on else others
        self.watches.set_observer(_combined(self._observers))

    def _configure(self, names: frozenset[str]) -> None:
        """Settings changed: see to those that concern the engine."""
        self.memory.configure(names)
        config = self.config
        if "kvc-events" in names:
            self.kvc_events.configure()
        self.slow_ns = self.slowlog.configure(
            config.slowlog_log_slower_than,
            config.slowlog_max_len,
            config.latency_monitor_threshold,
        )
        if "notify-keyspace-events" in names:
            self.notifications.configure(self.config.notify_keyspace_events)
            self.observe(self.notifications.tell, self.notifications.hears_changes())
            witness = self.notifications.tell if self.notifications.hears_witness() else None
            for database in self.databases:
                database.witness = witness

    def expire_keys(self, now_ms: int) -> bool:
        """One bounded pass of active expiry; whether it fell behind."""
        if not self.active_expire or self.gates & Gate.PAUSED:
            return False
        self._read_clocks(now_ms)
        self._expiry.run(now_ms)
        is_behind = expire_due_fields(self.databases, now_ms, self.clock.monotonic_ns)
        if self.blocking.ready:
            self.blocking.serve()
        return is_behind or self._expiry.behind

    def tend_streams(self, now_ms: int) -> bool:
        """One bounded pass over streams whose groups have a policy; whether there is more."""
        self.now_ms = now_ms
        more = self.stream_policies.run(now_ms)
        if self.blocking.ready:
            self.blocking.serve()
        return more

    def tend_queues(self, now_ms: int) -> bool:
        """One bounded pass over paced queues that are due; whether there is more.

        None while writes are paused: cron finds what is due afterwards.
        """
        if self.gates & Gate.PAUSED:
            return False
        self._read_clocks(now_ms)
        more = self.pacing.run()
        if self.blocking.ready:
            self.blocking.serve()
        return more

    def free_memory(self) -> bool:
        """One bounded pass over what was deleted; whether there is more."""
        return self.discards.run()

    def limit_memory(self, now_ms: int) -> bool:
        """One bounded pass of counting and evicting; whether there is more."""
        return self.memory.tick(now_ms)

    def read_clocks(self) -> None:
        """The time of what runs next."""
        now_ms = self.clock.wall_ns() // _MS_NS
        if self.now_ms != now_ms:
            self.now_ms = now_ms  # one object for all entries that are used in this millisecond
        self.now_ns = self.clock.monotonic_ns()

    def _read_clocks(self, now_ms: int) -> None:
        """Between two batches: notice that the wall clock was set back."""
        self.now_ms = now_ms
        self.now_ns = self.clock.monotonic_ns()
        lead_ms = now_ms - self.now_ns // _MS_NS
        if lead_ms < self._lead_ms - _STEP_MS:
            # keys that follow the other clock are due earlier than their shards remember
            for database in self.databases:
                database.earliest_ms = [0] * SHARDS
        elif lead_ms <= self._lead_ms:
            return
        self._lead_ms = lead_ms

    def refuse_writes(self, why: str | None) -> None:
        """Nothing may be changed, because of `why`; None: it may."""
        self.unsafe = why or ""
        self.gates = self.gates & ~Gate.UNSAFE if why is None else self.gates | Gate.UNSAFE

    def client_list(self) -> Sequence[Context]:
        """All clients, oldest first."""
        return list(self.clients.values())


def _combined(observers: Sequence[Observer]) -> Observer | None:
    if len(observers) < 2:
        return observers[0] if observers else None

    def tell_all(index: int, key: bytes, event: str) -> None:
        for observer in observers:
            observer(index, key, event)

    return tell_all


def _no_timers(seconds: float, callback: Callable[[], None]) -> Timer:
    raise RuntimeError("no loop runs this engine")


def _no_server() -> None:
    raise RuntimeError("no server runs this engine")
