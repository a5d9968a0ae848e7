"""Settings: one typed attribute each, the truth for the file, the command line and CONFIG.

An attribute `tcp_keepalive` is the setting `tcp-keepalive`. Besides the attributes there are
settings of Redis that tools read and files contain, and that change nothing here (`INERT`), and
settings of features that this version does not have: those take their default only, and say why.

Must not know who uses a value: whoever has to act on a change registers with `observe`. A set of
changes is applied whole or not at all. Files and command lines are read by hotplate.config_file.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from hotplate import limits
from hotplate.config_kinds import (
    Boolean,
    Choice,
    EventClasses,
    Integer,
    Kind,
    Octal,
    OutputLimit,
    OutputLimits,
    OutputLimitsKind,
    SavePoints,
    Size,
    Text,
    ValueRefusedError,
    Words,
)

_INT32_MAX: Final = 2**31 - 1
_UINT32_MAX: Final = 2**32 - 1
_MIB: Final = 1024 * 1024
_GIB: Final = 1024 * _MIB
_DAY_MS: Final = 24 * 3600 * 1000


class ConfigError(Exception):
    """A setting that was refused. `name` is the setting, the text says why."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


class UnknownSettingError(ConfigError):
    """There is no such setting."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "there is no such setting")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """What is known about one setting."""

    name: str
    kind: Kind
    default: Any
    doc: str
    mutable: bool = True
    needs: str | None = None  # the missing feature without which only the default is taken
    inert: bool = False


def _option(kind: Kind, default: Any, doc: str, **more: Any) -> Any:
    facts = {"kind": kind, "default": default, "doc": doc, **more}
    return field(default=default, metadata=facts)


def _fixed(kind: Kind, default: Any, doc: str) -> Any:
    return _option(kind, default, doc, mutable=False)


def _later(kind: Kind, default: Any, needs: str, *, mutable: bool = True) -> Any:
    doc = f"Only the default: {needs} is not in this version."
    return _option(kind, default, doc, needs=needs, mutable=mutable)


_OUTPUT_LIMITS: Final = OutputLimits(
    normal=OutputLimit(0, 0, 0),
    replica=OutputLimit(256 * _MIB, 64 * _MIB, 60),
    pubsub=OutputLimit(32 * _MIB, 8 * _MIB, 60),
)
_LOG_LEVELS: Final = ("debug", "verbose", "notice", "warning")
_POLICIES: Final = (
    *("volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"),
    *("allkeys-lru", "allkeys-lfu", "allkeys-random", "noeviction"),
)


@dataclass(slots=True)
class Settings:
    """The values that code reads."""

    # network
    bind: tuple[str, ...] = _fixed(Words(), ("127.0.0.1",), "Addresses to listen on.")
    port: int = _fixed(Integer(0, 65535), 6379, "TCP port; 0 listens on a free one.")
    metrics_port: int = _fixed(
        Integer(0, 65535), 0, "Port on 127.0.0.1 for GET /metrics (Prometheus); 0: none."
    )
    unixsocket: str = _fixed(Text(), "", "Path of a unix socket to listen on.")
    unixsocketperm: int = _fixed(Octal(), 0, "Permissions of that socket; 0 leaves them.")
    tcp_backlog: int = _fixed(Integer(0, _INT32_MAX), 511, "Connections waiting to be accepted.")
    tcp_keepalive: int = _option(
        Integer(0, _INT32_MAX), 300, "Seconds of silence until TCP probes; 0: never."
    )
    timeout: int = _option(
        Integer(0, _INT32_MAX), 0, "Seconds after which an idle client is closed; 0: never."
    )
    maxclients: int = _option(Integer(1, _UINT32_MAX), 10000, "Clients at a time.")
    protected_mode: bool = _option(
        Boolean(), True, "Without a password, only local clients may come in."
    )
    requirepass: str = _option(Text(), "", "Password that AUTH asks for; empty: none.")
    proto_max_bulk_len: int = _option(
        Size(_MIB), limits.BULK_BYTES_MAX, "The largest argument or payload."
    )
    client_query_buffer_limit: int = _option(
        Size(_MIB), limits.QUERY_BUFFER_BYTES_MAX, "Unparsed bytes that a client may have."
    )
    client_output_buffer_limit: OutputLimits = _option(  # noqa: RUF009  # a tuple
        OutputLimitsKind(),
        _OUTPUT_LIMITS,
        "Unsent bytes at which a client of a class is closed: at once, or after so many seconds.",
    )
    # the process
    dir: str = _fixed(Text(), ".", "Working directory for what the server writes.")
    databases: int = _fixed(Integer(1, 65536), 16, "Number of databases.")
    hz: int = _option(Integer(1, 500, clamp=True), 10, "Rounds of background work a second.")
    loglevel: str = _option(Choice(_LOG_LEVELS), "notice", "The least level that is logged.")
    logfile: str = _fixed(Text(), "", "File to log to; empty: standard output.")
    busy_reply_threshold: int = _option(
        Integer(),
        5000,
        "Milliseconds after which others are answered BUSY while a script runs; 0: never.",
    )
    stream_idmp_duration: int = _option(
        Integer(1, 86_400), 100, "Seconds for which a new stream knows messages of XADD IDMP again."
    )
    stream_idmp_maxsize: int = _option(
        Integer(1, 10_000), 100, "Messages of a producer (XADD IDMP) that a new stream knows again."
    )
    tracking_table_max_keys: int = _option(
        Integer(), 1_000_000, "Keys remembered for clients that cache (CLIENT TRACKING); 0: all."
    )
    enable_debug_command: str = _fixed(
        Choice(("no", "yes", "local")), "no", "Who may use DEBUG; local: loopback and unix."
    )
    # what takes long
    slowlog_log_slower_than: int = _option(
        Integer(-1), 10_000, "Microseconds from which a command is in the slow log; -1: none is."
    )
    slowlog_max_len: int = _option(Integer(), 128, "Commands that the slow log keeps.")
    latency_monitor_threshold: int = _option(
        Integer(), 0, "Milliseconds from which a command is a sample of LATENCY; 0: none is."
    )
    # memory of keys
    maxmemory: int = _option(
        Size(), 0, "Bytes that keys may take, as docs/memory.md reckons them; 0: no limit."
    )
    maxmemory_policy: str = _option(
        Choice(_POLICIES), "noeviction", "Which keys go when there is no room."
    )
    maxmemory_samples: int = _option(
        Integer(1, 64), 5, "Keys that are looked at for each one that goes."
    )
    maxmemory_eviction_tenacity: int = _option(
        Integer(0, 100), 10, "How long a command may evict: 10 is half a millisecond, 100 endless."
    )
    lfu_log_factor: int = _option(
        Integer(0, _INT32_MAX), 10, "How many uses it takes to raise a key's counter."
    )
    lfu_decay_time: int = _option(
        Integer(0, _INT32_MAX), 1, "Minutes without use that lower it by one; 0: never."
    )
    notify_keyspace_events: str = _option(
        EventClasses(), "", "Which events of keys are published; K and E: on which channels."
    )
    # how small collections are named by OBJECT ENCODING
    hash_max_listpack_entries: int = _option(
        Integer(), 512, "Fields up to which a hash is a `listpack`."
    )
    hash_max_listpack_value: int = _option(
        Integer(), 64, "Bytes of a field or value up to which a hash is a `listpack`."
    )
    list_max_listpack_size: int = _option(
        Integer(-5, _INT32_MAX),
        -2,
        "Elements up to which a list is a `listpack`; -1 to -5: 4, 8, 16, 32 or 64 KiB.",
    )
    set_max_intset_entries: int = _option(
        Integer(), 512, "Members up to which a set of whole numbers is an `intset`."
    )
    set_max_listpack_entries: int = _option(
        Integer(), 128, "Members up to which a set is a `listpack`."
    )
    set_max_listpack_value: int = _option(
        Integer(), 64, "Bytes of a member up to which a set is a `listpack`."
    )
    zset_max_listpack_entries: int = _option(
        Integer(), 128, "Members up to which a sorted set is a `listpack`."
    )
    zset_max_listpack_value: int = _option(
        Integer(), 64, "Bytes of a member up to which a sorted set is a `listpack`."
    )
    hll_sparse_max_bytes: int = _option(
        Size(), 3000, "Bytes up to which a HyperLogLog keeps its sparse form."
    )
    # the KV cache
    kvc_memory_capacity: int = _fixed(
        Size(),
        0,
        "Bytes of shared memory for blocks; 0: a quarter of RAM, at most half of what is free.",
    )
    kvc_ssd_capacity: int = _fixed(
        Size(), 0, "Bytes of disk for blocks; 0: a tenth of what is free under `dir`."
    )
    kvc_run_dir: str = _fixed(
        Text(), "", "Directory of the shared-memory segments; empty: one of our own in /dev/shm."
    )
    kvc_journal: bool = _fixed(
        Boolean(),
        True,
        "Keep what the KV cache knows of its blocks, so that a restart finds them; `no`: every"
        " start is an empty cache.",
    )
    kvc_memory_on_stop: str = _option(
        Choice(("remove", "keep")),
        "remove",
        "what a clean stop does with the memory storages' segments: `keep` lets the next start"
        " find their blocks, as it does after a crash",
    )
    kvc_ssd_dir: str = _fixed(
        Text(), "", "Directory of the disk segments; empty: `kvc-ssd` under `dir`."
    )
    kvc_segment_bytes: int = _fixed(
        Size(1024 * 1024), 64 * _MIB, "Largest segment file of the two built-in storages."
    )
    kvc_direct_io: bool = _fixed(
        Boolean(), True, "Read and write large blocks on disks past the page cache, where possible."
    )
    kvc_storage_slow_ms: int = _option(
        Integer(0, _DAY_MS),
        10_000,
        "A storage of which one read, write or sync takes longer is failing; 0: however long.",
    )
    kvc_lease_max_ms: int = _option(
        Integer(1, _DAY_MS), 60_000, "The longest lease, in milliseconds."
    )
    kvc_write_grace_ms: int = _option(
        Integer(0, _DAY_MS),
        60_000,
        "How long the space of an abandoned write session is kept from others.",
    )
    kvc_closed_sessions_max: int = _option(
        Integer(0, 10_000_000), 100_000, "Finished sessions whose outcome is remembered."
    )
    kvc_read_max_bytes: int = _option(
        Size(1), 256 * _MIB, "Payload bytes of one reply of KVC.READ or KVC.MREAD."
    )
    kvc_index_max_bytes: int = _fixed(
        Size(), 0, "Memory of the block index, sessions and leases; 0: a quarter of RAM."
    )
    kvc_promotion: str = _option(
        Choice(("second-hit", "always")),
        "second-hit",
        "Which hit on a slower storage brings a block back, in groups with TIERING.",
    )
    kvc_events: bool = _option(
        Boolean(), False, "Write events of the KV cache to the streams `kvc:events:<instance>`."
    )
    kvc_events_maxlen: int = _option(
        Integer(1), 100_000, "Entries that a stream of events holds; the oldest go."
    )
    kvc_events_getloc_every: int = _option(
        Integer(0), 1, "Of how many lookups one is written as an event; 0: none."
    )
    # the append-only file
    appendonly: bool = _fixed(Boolean(), True, "Whether every change is logged, and read again.")
    appendfsync: str = _option(
        Choice(("always", "everysec", "no")),
        "everysec",
        "When the log is forced to disk: before replies leave, each second, or by the system.",
    )
    appenddirname: str = _fixed(Text(), "appendonlydir", "Directory of the log, under `dir`.")
    appendfilename: str = _fixed(Text(), "appendonly.aof", "How the names of its files begin.")
    aof_load_truncated: bool = _option(
        Boolean(), True, "Whether a log whose end is damaged is cut off there, or not loaded."
    )
    auto_aof_rewrite_percentage: int = _option(
        Integer(0, _INT32_MAX), 100, "Growth, in percent, at which the log is rewritten; 0: never."
    )
    auto_aof_rewrite_min_size: int = _option(
        Size(), 64 * _MIB, "Bytes that the log must have before it is rewritten by itself."
    )
    # snapshots
    dbfilename: str = _fixed(Text(), "dump.rdb", "Name of the snapshot, in `dir`.")
    save: tuple[tuple[int, int], ...] = _option(
        SavePoints(), (), "When a snapshot is saved: after so many seconds, if so much changed."
    )
    stop_writes_on_bgsave_error: bool = _option(
        Boolean(), True, "Whether writes are refused while snapshots that are due can't be saved."
    )
    # features to come: known, so that a file that asks for them is refused with the reason
    replicaof: str = _later(Text(multiple=True), "", "replication")
    masterauth: str = _later(Text(), "", "replication")
    masteruser: str = _later(Text(), "", "replication")
    min_replicas_to_write: int = _later(Integer(), 0, "replication")
    cluster_enabled: bool = _later(Boolean(), False, "the cluster", mutable=False)
    aclfile: str = _later(Text(), "", "users other than default", mutable=False)
    tls_port: int = _later(Integer(0, 65535), 0, "TLS")
    tls_cert_file: str = _later(Text(), "", "TLS")
    tls_key_file: str = _later(Text(), "", "TLS")
    tls_ca_cert_file: str = _later(Text(), "", "TLS")
    tls_replication: bool = _later(Boolean(), False, "TLS")
    tls_cluster: bool = _later(Boolean(), False, "TLS")
    io_threads: int = _later(Integer(1, 128), 1, "serving from several threads", mutable=False)
    io_threads_do_reads: bool = _later(
        Boolean(), False, "serving from several threads", mutable=False
    )
    daemonize: bool = _later(Boolean(), False, "running in the background", mutable=False)
    supervised: str = _later(
        Choice(("upstart", "systemd", "auto", "no")), "no", "telling a supervisor", mutable=False
    )
    pidfile: str = _later(Text(), "", "a process id file", mutable=False)
    syslog_enabled: bool = _later(Boolean(), False, "logging to syslog", mutable=False)
    maxmemory_clients: int = _later(Size(), 0, "eviction of clients")
    latency_tracking: bool = _later(Boolean(), False, "latency percentiles of commands")


_YES: Final = (Boolean(), True)
_NO: Final = (Boolean(), False)

INERT: Final[Mapping[str, tuple[Kind, Any]]] = {
    "acllog-max-len": (Integer(), 128),
    "active-expire-effort": (Integer(1, 10), 1),
    "activedefrag": (Choice(("no",)), "no"),
    "activerehashing": _YES,
    "always-show-logo": _NO,
    "aof-use-rdb-preamble": _YES,
    "crash-log-enabled": _YES,
    "disable-thp": _YES,
    "dynamic-hz": _YES,
    "jemalloc-bg-thread": _YES,
    "latency-tracking-info-percentiles": (Words(), ("50", "99", "99.9")),
    "lazyfree-lazy-eviction": _NO,
    "lazyfree-lazy-expire": _NO,
    "lazyfree-lazy-server-del": _NO,
    "lazyfree-lazy-user-del": _NO,
    "lazyfree-lazy-user-flush": _NO,
    "list-compress-depth": (Integer(0, _INT32_MAX), 0),
    "no-appendfsync-on-rewrite": _NO,
    "oom-score-adj": (Choice(("no",)), "no"),
    "proc-title-template": (Text(), "{title} {listen-addr} {server-mode}"),
    "rdbchecksum": _YES,
    "rdbcompression": _YES,
    "repl-backlog-size": (Size(), _MIB),
    "repl-backlog-ttl": (Integer(), 3600),
    "repl-disable-tcp-nodelay": _NO,
    "repl-diskless-sync": _YES,
    "repl-diskless-sync-delay": (Integer(0, _INT32_MAX), 5),
    "repl-timeout": (Integer(1, _INT32_MAX), 60),
    "replica-priority": (Integer(0, _INT32_MAX), 100),
    "replica-read-only": _YES,
    "replica-serve-stale-data": _YES,
    "set-proc-title": _NO,
    "shutdown-timeout": (Integer(0, _INT32_MAX), 10),
    "stream-node-max-bytes": (Size(), 4096),
    "stream-node-max-entries": (Integer(), 100),
}

ALIASES: Final[Mapping[str, str]] = {
    "hash-max-ziplist-entries": "hash-max-listpack-entries",
    "hash-max-ziplist-value": "hash-max-listpack-value",
    "list-max-ziplist-size": "list-max-listpack-size",
    "lua-time-limit": "busy-reply-threshold",
    "min-slaves-to-write": "min-replicas-to-write",
    "slave-priority": "replica-priority",
    "slave-read-only": "replica-read-only",
    "slave-serve-stale-data": "replica-serve-stale-data",
    "slaveof": "replicaof",
    "zset-max-ziplist-entries": "zset-max-listpack-entries",
    "zset-max-ziplist-value": "zset-max-listpack-value",
}


def _build_options() -> dict[str, Option]:
    options = {
        name: Option(name=name, **facts.metadata)
        for facts in fields(Settings)
        for name in (facts.name.replace("_", "-"),)
    }
    for name, (kind, default) in INERT.items():
        doc = "Known from Redis; changes nothing here."
        options[name] = Option(name=name, kind=kind, default=default, doc=doc, inert=True)
    return options


OPTIONS: Final[Mapping[str, Option]] = _build_options()

Pairs = Iterable[tuple[str, Sequence[str]]]


class Config(Settings):
    """All settings at their present values, and the file they came from."""

    __slots__ = ("_inert", "_observers", "file_path", "set_names")

    def __init__(self, file_path: Path | None = None) -> None:
        super().__init__()
        self.file_path = file_path
        self.set_names: set[str] = set()  # what somebody set, to any value
        self._inert: dict[str, Any] = {name: default for name, (_, default) in INERT.items()}
        self._observers: list[Callable[[frozenset[str]], None]] = []

    def observe(self, callback: Callable[[frozenset[str]], None]) -> None:
        """Call `callback(names)` after each change at run time, with the settings it named."""
        self._observers.append(callback)

    def names(self) -> Iterator[str]:
        """All settings and their aliases."""
        yield from OPTIONS
        yield from ALIASES

    def value(self, name: str) -> Any:
        """The value of a setting that exists, by its own name or an alias."""
        name = ALIASES.get(name, name)
        if name in self._inert:
            return self._inert[name]
        return getattr(self, name.replace("-", "_"))

    def show(self, name: str) -> str:
        """The value as CONFIG GET tells it."""
        return OPTIONS[ALIASES.get(name, name)].kind.show(self.value(name))

    def apply(self, pairs: Pairs) -> None:
        """Set several at start. Later pairs win; nothing is set if one is refused."""
        self._store(self._parse(pairs, starting=True))

    def change(self, pairs: Pairs) -> None:
        """Set several at run time, all or none; each once, and only what may change."""
        changes = self._parse(pairs, starting=False)
        self._store(changes)
        for callback in self._observers:
            callback(frozenset(changes))

    def _store(self, changes: Mapping[str, Any]) -> None:
        for name, value in changes.items():
            self.set_names.add(name)
            if name in self._inert:
                self._inert[name] = value
            else:
                setattr(self, name.replace("-", "_"), value)

    def _parse(self, pairs: Pairs, *, starting: bool) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        known = [(*_lookup(name), words) for name, words in pairs]
        for given, option, words in known:
            if not starting and not option.mutable:
                raise ConfigError(given, "can't set immutable config")
            if not starting and option.name in changes:
                raise ConfigError(given, "duplicate parameter")
            if not words or (len(words) > 1 and not option.kind.multiple):
                raise ConfigError(given, "wrong number of arguments")
            starts_over = isinstance(option.kind, SavePoints)
            before = option.default if starts_over else self.value(option.name)
            current = changes.get(option.name, before)
            if option.kind.multiple and isinstance(option.kind, Text):
                words = [" ".join(words)]
            try:
                value = option.kind.parse(words, current)
            except ValueRefusedError as error:
                raise ConfigError(given, str(error)) from error
            if option.needs is not None and value != option.default:
                raise ConfigError(given, f"{option.needs} is not in this version of Hotplate")
            changes[option.name] = value
        return changes


def _lookup(name: str) -> tuple[str, Option]:
    lower = name.lower()
    option = OPTIONS.get(ALIASES.get(lower, lower))
    if option is None:
        raise UnknownSettingError(name)
    return lower, option
