"""`maxmemory`: when keys have to go, and which commands are refused while they can not.

It joins the parts of the keyspace: the meter says how much is in use, the evictor which key goes.
While `maxmemory` is 0 neither is at work. Over the limit the engine's gate FULL is shut, so that
every command comes by here first (`make_room`); under an LFU policy the gate LFU is, and every
command's keys are counted as used (`run_counted`).
"""

from typing import TYPE_CHECKING, Any, Final

from hotplate.engine.context import Context, Gate
from hotplate.errors import CommandError
from hotplate.keyspace.entry import Entry
from hotplate.keyspace.evict import (
    LFU_INITIAL,
    Evictor,
    LfuSettings,
    Policy,
    lfu_counter,
    lfu_used,
    lfu_word,
)
from hotplate.keyspace.meter import Meter
from hotplate.resp.types import Reply
from hotplate.spec.docs import key_positions
from hotplate.spec.model import Command

if TYPE_CHECKING:
    from hotplate.engine.engine import Engine

_SLICE_NS: Final = 2_000_000  # of the timer's passes
_TENACITY_STEP_NS: Final = 50_000
_TENACITY_LINEAR: Final = 10  # up to here each step allows that much more time, then 15 % more
_TENACITY_ENDLESS: Final = 100
_FOREVER_NS: Final = 2**63
_KEYS_BETWEEN_LOOKS: Final = 16
_SETTINGS: Final = frozenset(
    (
        *("maxmemory", "maxmemory-policy", "maxmemory-samples", "maxmemory-eviction-tenacity"),
        *("lfu-log-factor", "lfu-decay-time"),
    )
)


class MemoryLimit:
    """The limit of one server."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self.meter = Meter(engine.databases)
        self.evictor = Evictor(engine.databases, engine.rng)
        self.policy = Policy("noeviction", "")
        self._limit_bytes = 0
        self._lfu = LfuSettings(10, 1)
        self._tenacity_ns = 0
        self.exceeded_ns = 0  # time spent over the limit
        self._exceeded_since_ns: int | None = None

    def configure(self, names: frozenset[str]) -> None:
        """Settings changed."""
        if not names & _SETTINGS:
            return
        engine, config = self._engine, self._engine.config
        self.policy = Policy.parse(config.maxmemory_policy)
        self._lfu = LfuSettings(config.lfu_log_factor, config.lfu_decay_time)
        self._tenacity_ns = _tenacity_ns(config.maxmemory_eviction_tenacity)
        self.evictor.reset()
        was_on = bool(self._limit_bytes)
        self._limit_bytes = config.maxmemory
        if was_on != bool(self._limit_bytes):
            (self.meter.stop if was_on else self.meter.start)()
            engine.observe(self._on_change, not was_on)
        engine.gates &= ~(Gate.FULL | Gate.LFU)
        if self.policy.order == "lfu":
            engine.gates |= Gate.LFU
        self._look()

    def _on_change(self, index: int, key: bytes, event: str) -> None:
        self.meter.observe(index, key, event)
        if self.meter.used_bytes > self._limit_bytes:
            self._look()

    def _look(self) -> None:
        """Shut or open the gate."""
        engine = self._engine
        if self._limit_bytes and self.meter.used_bytes > self._limit_bytes:
            if not engine.gates & Gate.FULL:
                engine.gates |= Gate.FULL
                self._exceeded_since_ns = engine.clock.monotonic_ns()
            return
        engine.gates &= ~Gate.FULL
        if self._exceeded_since_ns is not None:
            self.exceeded_ns += engine.clock.monotonic_ns() - self._exceeded_since_ns
            self._exceeded_since_ns = None

    def current_exceeded_ns(self) -> int:
        """How long the limit has been exceeded now."""
        if self._exceeded_since_ns is None:
            return 0
        return self._engine.clock.monotonic_ns() - self._exceeded_since_ns

    def make_room(self, now_ms: int) -> bool:
        """Evict for a while, the gate FULL being shut. False: there is nothing to evict.

        True too where time was up first: the timer goes on with it.
        """
        return self._evict(now_ms, self._tenacity_ns)

    def tick(self, now_ms: int) -> bool:
        """One pass of the server's timer; whether there is more to do now."""
        clock = self._engine.clock
        deadline_ns = clock.monotonic_ns() + _SLICE_NS
        more = self.meter.count(lambda: clock.monotonic_ns() >= deadline_ns)
        self._look()
        if self._engine.gates & Gate.PAUSED:
            return more
        if self._engine.gates & Gate.FULL and self._evict(now_ms, _SLICE_NS):
            more |= bool(self._engine.gates & Gate.FULL)
        return more

    def _evict(self, now_ms: int, budget_ns: int) -> bool:
        meter, evict, policy = self.meter, self.evictor.evict, self.policy
        clock = self._engine.clock
        samples = self._engine.config.maxmemory_samples
        deadline_ns = clock.monotonic_ns() + budget_ns
        evicted = 0
        while meter.used_bytes > self._limit_bytes:
            if policy.scope == "noeviction" or not evict(
                policy, now_ms, samples, self._lfu.decay_minutes
            ):
                return False
            evicted += 1
            if evicted % _KEYS_BETWEEN_LOOKS == 0 and clock.monotonic_ns() >= deadline_ns:
                return True
        self._look()
        return True

    # -- how often keys are used -----------------------------------------------------------------

    def frequency(self, entry: Entry, now_ms: int) -> int:
        """What OBJECT FREQ tells under an LFU policy."""
        return lfu_counter(entry.accessed_ms, now_ms, self._lfu.decay_minutes)

    def run_counted(self, ctx: Context, command: Command, argv: list[Any]) -> Reply:
        """Run a command under an LFU policy.

        Handlers leave the time in the entries that they use; here it becomes one use more.
        """
        assert command.handler is not None
        db = ctx.db
        keys = _keys(command, argv)
        before: dict[bytes, tuple[Entry, int]] = {}
        for key in keys:
            entry = db.shard_of(key).get(key)
            if entry is not None:
                before[key] = entry, entry.accessed_ms
        try:
            return command.handler(ctx, argv)
        finally:
            for key in keys:
                entry = db.shard_of(key).get(key)
                if entry is None:
                    continue
                known, word = before.get(key, (None, -1))
                if known is not entry:
                    entry.accessed_ms = lfu_word(LFU_INITIAL, ctx.now_ms)
                elif entry.accessed_ms != word:
                    rng = self._engine.rng
                    entry.accessed_ms = lfu_used(word, ctx.now_ms, self._lfu, rng)


def _keys(command: Command, argv: list[Any]) -> set[bytes]:
    if not command.spec.keys:
        return set()
    try:
        return {argv[position] for position, _ in key_positions(command.spec, argv)}
    except CommandError:
        return set()  # arguments that its handler will refuse


def _tenacity_ns(tenacity: int) -> int:
    """How long a command may evict, as Redis reckons it."""
    if tenacity >= _TENACITY_ENDLESS:
        return _FOREVER_NS
    if tenacity <= _TENACITY_LINEAR:
        return _TENACITY_STEP_NS * tenacity
    return int(_TENACITY_STEP_NS * _TENACITY_LINEAR * 1.15 ** (tenacity - _TENACITY_LINEAR))
