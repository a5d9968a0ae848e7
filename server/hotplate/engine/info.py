"""INFO: figures of the server by section, under the names that Redis' tools read.

A section is a function of the engine that yields (name, value); an unknown section is empty. Only
what this server has or truly is is told: no figures of features that are not there, except those
that monitoring needs to see at their constant value (replication, persistence, cluster).
"""

import os
import platform
import resource
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from hotplate.engine.context import Gate
from hotplate.engine.pubsub import CHANNEL, PATTERN, SHARD_CHANNEL
from hotplate.keyspace.meter import BASE_BYTES

if TYPE_CHECKING:
    from hotplate.engine.engine import Engine

REDIS_VERSION: Final = "7.4.0"  # the Redis that clients may take this server for
HOTPLATE_VERSION: Final = version("hotplate")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_LRU_CLOCK_BITS: Final = 24

Rows: TypeAlias = Iterator[tuple[str, Any]]
Section: TypeAlias = Callable[["Engine"], Rows]


def human_bytes(size: int) -> str:
    """A size as Redis abbreviates it (`11.90M`)."""
    if size < 1024:
        return f"{size}B"
    amount = float(size)
    for unit in "KMGTP":
        amount /= 1024
        if amount < 1024:
            return f"{amount:.2f}{unit}"
    return f"{size}B"


@lru_cache(maxsize=1)
def _total_memory_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES


def memory_bytes() -> tuple[int, int]:
    """Resident bytes of the process, and those of them that are not shared with files."""
    fields = Path("/proc/self/statm").read_text("ascii").split()
    resident, shared = int(fields[1]), int(fields[2])
    return resident * _PAGE_BYTES, (resident - shared) * _PAGE_BYTES


def _server(engine: "Engine") -> Rows:
    config = engine.config
    now_us = engine.clock.now_us()
    uptime_s = max(0, now_us // 1000 - engine.started_ms) // 1000
    system = platform.uname()
    yield "redis_version", REDIS_VERSION
    yield "redis_git_sha1", "00000000"
    yield "redis_git_dirty", 0
    yield "redis_build_id", "0"
    yield "redis_mode", "standalone"
    yield "hotplate_version", HOTPLATE_VERSION
    yield "python_version", platform.python_version()
    yield "os", f"{system.system} {system.release} {system.machine}"
    yield "arch_bits", 64 if sys.maxsize > 2**32 else 32
    yield "process_id", os.getpid()
    yield "process_supervised", "no"
    yield "run_id", engine.run_id
    yield "tcp_port", engine.port
    yield "server_time_usec", now_us
    yield "uptime_in_seconds", uptime_s
    yield "uptime_in_days", uptime_s // 86400
    yield "hz", config.hz
    yield "configured_hz", config.hz
    yield "lru_clock", now_us // 1_000_000 % (1 << _LRU_CLOCK_BITS)
    yield "executable", sys.executable
    yield "config_file", "" if config.file_path is None else config.file_path.absolute()
    yield "io_threads_active", 0


def _clients(engine: "Engine") -> Rows:
    clients = engine.client_list()
    yield "connected_clients", len(clients)
    yield "cluster_connections", 0
    yield "maxclients", engine.config.maxclients
    yield "client_recent_max_input_buffer", max((c.link.query_bytes() for c in clients), default=0)
    output = max((c.link.output_bytes() for c in clients), default=0)
    yield "client_recent_max_output_buffer", output
    yield "blocked_clients", len(engine.blocking) + len(engine.pause)
    yield "tracking_clients", len(engine.tracking)
    yield "pubsub_clients", sum(1 for c in clients if c.gates & Gate.SUBSCRIBED)
    yield "watching_clients", sum(1 for c in clients if c.watched)
    yield "clients_in_timeout_table", 0
    yield "total_watched_keys", len({entry for c in clients for entry in c.watched})
    yield "total_blocking_keys", engine.blocking.keys


def _memory(engine: "Engine") -> Rows:
    resident, own = memory_bytes()
    peak = max(own, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    meter = engine.memory.meter
    counted = meter.used_bytes if engine.config.maxmemory else own
    total = _total_memory_bytes()
    for name, size in (
        ("used_memory", counted),
        ("used_memory_rss", resident),
        ("used_memory_peak", peak),
        ("total_system_memory", total),
        ("maxmemory", engine.config.maxmemory),
    ):
        yield name, size
        yield f"{name}_human", human_bytes(size)
    yield "used_memory_peak_perc", f"{own / peak * 100:.2f}%"
    if engine.config.maxmemory:
        yield "used_memory_overhead", BASE_BYTES
        yield "used_memory_startup", BASE_BYTES
        yield "used_memory_dataset", counted - BASE_BYTES
    yield "used_memory_vm_eval", engine.scripts.lua_bytes
    yield "used_memory_lua", engine.scripts.lua_bytes
    yield "number_of_cached_scripts", engine.scripts.cached
    yield "number_of_functions", len(engine.libraries.functions)
    yield "number_of_libraries", len(engine.libraries.libraries)
    yield "maxmemory_policy", engine.config.maxmemory_policy
    yield "mem_not_counted_for_evict", 0
    yield "mem_fragmentation_ratio", f"{resident / own if own else 1:.2f}"
    yield "mem_fragmentation_bytes", resident - own
    yield (
        "mem_clients_normal",
        sum(c.link.query_bytes() + c.link.output_bytes() for c in engine.client_list()),
    )
    yield "mem_clients_slaves", 0
    yield "mem_replication_backlog", 0
    yield "mem_aof_buffer", 0
    yield "mem_allocator", "python"
    yield "active_defrag_running", 0
    yield "lazyfree_pending_objects", engine.discards.pending()


def _persistence(engine: "Engine") -> Rows:
    if engine.persistence is None:
        yield "loading", int(bool(engine.gates & Gate.LOADING))
        yield "rdb_changes_since_last_save", sum(database.dirty for database in engine.databases)
        yield "rdb_bgsave_in_progress", 0
        yield "rdb_last_save_time", engine.started_ms // 1000
        yield "rdb_last_bgsave_status", "ok"
        yield "aof_enabled", 0
    else:
        yield from engine.persistence.info()
    yield "module_fork_in_progress", 0


def _stats(engine: "Engine") -> Rows:
    stats = engine.stats
    rates = stats.rates
    yield "total_connections_received", stats.connections_received
    yield "total_commands_processed", stats.commands_processed
    yield "instantaneous_ops_per_sec", round(rates.commands_per_second)
    yield "total_net_input_bytes", stats.net_input_bytes
    yield "total_net_output_bytes", stats.net_output_bytes
    yield "total_net_repl_input_bytes", 0
    yield "total_net_repl_output_bytes", 0
    yield "instantaneous_input_kbps", f"{rates.input_bytes_per_second / 1024:.2f}"
    yield "instantaneous_output_kbps", f"{rates.output_bytes_per_second / 1024:.2f}"
    yield "rejected_connections", stats.connections_rejected
    yield "sync_full", 0
    yield "sync_partial_ok", 0
    yield "sync_partial_err", 0
    databases = engine.databases
    yield "expired_keys", sum(database.expired for database in databases)
    yield "evicted_keys", engine.memory.evictor.evicted
    yield "evicted_clients", 0
    yield "total_eviction_exceeded_time", engine.memory.exceeded_ns // 1_000_000
    yield "current_eviction_exceeded_time", engine.memory.current_exceeded_ns() // 1_000_000
    yield "keyspace_hits", sum(database.hits for database in databases)
    yield "keyspace_misses", sum(database.misses for database in databases)
    for name, kind in (
        ("pubsub_channels", CHANNEL),
        ("pubsub_patterns", PATTERN),
        ("pubsubshard_channels", SHARD_CHANNEL),
    ):
        yield name, len(list(engine.pubsub.names(kind)))
    yield "latest_fork_usec", 0
    yield "total_forks", 0
    yield "migrate_cached_sockets", 0
    yield "slave_expires_tracked_keys", 0
    yield "tracking_total_keys", engine.tracking.keys
    yield "tracking_total_items", engine.tracking.items
    yield "tracking_total_prefixes", engine.tracking.prefixes
    yield "client_output_buffer_limit_disconnections", stats.output_limit_disconnections
    yield "total_error_replies", sum(stats.errors.values())
    yield "total_protocol_errors", stats.protocol_errors
    yield "acl_access_denied_auth", stats.auth_failures


def _replication(engine: "Engine") -> Rows:
    yield "role", "master"
    yield "connected_slaves", 0
    yield "master_failover_state", "no-failover"
    yield "master_replid", engine.run_id
    yield "master_replid2", "0" * 40
    yield "master_repl_offset", 0
    yield "second_repl_offset", -1
    yield "repl_backlog_active", 0
    yield "repl_backlog_size", engine.config.value("repl-backlog-size")
    yield "repl_backlog_first_byte_offset", 0
    yield "repl_backlog_histlen", 0


def _cpu(engine: "Engine") -> Rows:
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    thread = resource.getrusage(resource.RUSAGE_THREAD)
    yield "used_cpu_sys", f"{own.ru_stime:.6f}"
    yield "used_cpu_user", f"{own.ru_utime:.6f}"
    yield "used_cpu_sys_children", f"{children.ru_stime:.6f}"
    yield "used_cpu_user_children", f"{children.ru_utime:.6f}"
    yield "used_cpu_sys_main_thread", f"{thread.ru_stime:.6f}"
    yield "used_cpu_user_main_thread", f"{thread.ru_utime:.6f}"


def _modules(engine: "Engine") -> Rows:
    return iter(())


def _commandstats(engine: "Engine") -> Rows:
    for command in engine.commands.walk():
        if command.calls or command.rejected or command.failed:
            spent_us = command.time_ns // 1000
            each_us = command.time_ns / 1000 / command.calls if command.calls else 0.0
            yield (
                f"cmdstat_{command.name.decode()}",
                f"calls={command.calls},usec={spent_us},usec_per_call={each_us:.2f},"
                f"rejected_calls={command.rejected},failed_calls={command.failed}",
            )


def _errorstats(engine: "Engine") -> Rows:
    for code, count in engine.stats.errors.items():
        yield f"errorstat_{code}", f"count={count}"


def _cluster(engine: "Engine") -> Rows:
    yield "cluster_enabled", 0


def _keyspace(engine: "Engine") -> Rows:
    for database in engine.databases:
        if database.size():
            yield (
                f"db{database.index}",
                f"keys={database.size()},expires={database.expiring_count},avg_ttl=0,subexpiry=0",
            )


def _kvcache(engine: "Engine") -> Rows:
    if engine.kvc is None:
        yield "kvcache_enabled", 0
        return
    yield "kvcache_enabled", 1
    yield "kvcache_events_written", engine.kvc_events.written
    yield "kvcache_events_dropped", engine.kvc_events.dropped
    for name, value in _flatten(engine.kvc.stats(), "kvcache"):
        yield name, f"{value:.6f}" if isinstance(value, float) else value


def _flatten(figures: Mapping[str, Any], prefix: str) -> Rows:
    for name, value in figures.items():
        if name == "buckets":  # of a histogram: KVC.STATS has them
            continue
        full_name = f"{prefix}_{name}"
        if isinstance(value, Mapping):
            yield from _flatten(value, full_name)
        elif isinstance(value, bool):
            yield full_name, int(value)
        else:
            yield full_name, value


SECTIONS: Final[Mapping[str, tuple[str, Section]]] = {
    "server": ("Server", _server),
    "clients": ("Clients", _clients),
    "memory": ("Memory", _memory),
    "persistence": ("Persistence", _persistence),
    "stats": ("Stats", _stats),
    "replication": ("Replication", _replication),
    "cpu": ("CPU", _cpu),
    "modules": ("Modules", _modules),
    "commandstats": ("Commandstats", _commandstats),
    "errorstats": ("Errorstats", _errorstats),
    "cluster": ("Cluster", _cluster),
    "keyspace": ("Keyspace", _keyspace),
    "kvcache": ("KVCache", _kvcache),
}
_NOT_DEFAULT: Final = ("commandstats",)
_EVERYTHING: Final = tuple(SECTIONS)
_GROUPS: Final[Mapping[str, Sequence[str]]] = {
    "default": tuple(name for name in SECTIONS if name not in _NOT_DEFAULT),
    "all": _EVERYTHING,
    "everything": _EVERYTHING,
}


def info_text(engine: "Engine", wanted: Sequence[str] = ()) -> bytes:
    """The sections asked for (none: the default ones), each once, in Redis' order."""
    names: set[str] = set()
    for name in wanted or ("default",):
        lower = name.lower()
        names.update(_GROUPS.get(lower, (lower,)))
    parts: list[str] = []
    for name, (title, section) in SECTIONS.items():
        if name in names:
            rows = "".join(f"{field}:{value}\r\n" for field, value in section(engine))
            parts.append(f"# {title}\r\n{rows}")
    return "\r\n".join(parts).encode("utf-8", "surrogateescape")
