"""The server's figures in Prometheus' text format (version 0.0.4).

A sample a line, `name{label="value"} number`, each family after its TYPE. Names end in their unit,
those of counters in `_total`. What INFO and KVC.STATS say, for machines.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from hotplate.engine.info import HOTPLATE_VERSION, memory_bytes

if TYPE_CHECKING:
    from hotplate.engine.engine import Engine
    from hotplate.kvc.cache import Cache

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
Labels: TypeAlias = Mapping[str, str]
# family (and a name of its own, behind a space), the family's type, labels, value
Sample: TypeAlias = tuple[str, str, Labels, float]
_NS: Final = 1_000_000_000
_COUNTERS: Final = (
    *("requested", "hit_tokens", "walks", "published", "dropped", "expired", "removed"),
    *("sessions_started", "sessions_expired", "leases_refused"),
    *("demoted", "promoted", "mirrored", "moves_failed"),
)
_GAUGES: Final = ("blocks", "instances", "sessions", "leases", "leased_bytes", "used_bytes")


def metrics_text(engine: "Engine") -> str:
    """All figures of now."""
    families: dict[str, list[str]] = {}
    for names, kind, labels, value in _samples(engine):
        family, _, name = names.partition(" ")
        lines = families.setdefault(family, [f"# TYPE {family} {kind}"])
        lines.append(f"{name or family}{_labels(labels)} {value!r}")
    return "".join(f"{line}\n" for lines in families.values() for line in lines)


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items()) + "}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _samples(engine: "Engine") -> Iterator[Sample]:
    stats = engine.stats
    uptime_s = max(0, engine.clock.now_ms() - engine.started_ms) / 1000
    yield "hotplate_info", "gauge", {"version": HOTPLATE_VERSION}, 1
    yield "hotplate_uptime_seconds", "gauge", {}, uptime_s
    yield "hotplate_connected_clients", "gauge", {}, len(engine.clients)
    yield "hotplate_blocked_clients", "gauge", {}, len(engine.blocking)
    yield "hotplate_commands_total", "counter", {}, stats.commands_processed
    yield "hotplate_connections_total", "counter", {}, stats.connections_received
    yield "hotplate_input_bytes_total", "counter", {}, stats.net_input_bytes
    yield "hotplate_output_bytes_total", "counter", {}, stats.net_output_bytes
    yield "hotplate_resident_bytes", "gauge", {}, memory_bytes()[0]
    for code, count in stats.errors.items():
        yield "hotplate_errors_total", "counter", {"code": code}, count
    for database in engine.databases:
        if database.size():
            yield "hotplate_keys", "gauge", {"db": str(database.index)}, database.size()
    yield "hotplate_kvc_events_total", "counter", {}, engine.kvc_events.written
    yield "hotplate_kvc_events_dropped_total", "counter", {}, engine.kvc_events.dropped
    if engine.kvc is not None:
        yield from _cache_samples(engine.kvc)


def _cache_samples(cache: "Cache") -> Iterator[Sample]:
    for name, group in cache.catalog.groups.items():
        labels, figures = {"group": name}, cache.stats(group)
        for figure in _GAUGES:
            yield f"hotplate_kvc_{figure}", "gauge", labels, figures[figure]
        for figure in _COUNTERS:
            yield f"hotplate_kvc_{figure}_total", "counter", labels, figures[figure]
        for kind, count in figures["hits_by_type"].items():
            yield "hotplate_kvc_hits_total", "counter", labels | {"type": kind}, count
        for figure, count in figures.items():
            if figure.startswith("misses_"):
                reason = labels | {"reason": figure.removeprefix("misses_")}
                yield "hotplate_kvc_misses_total", "counter", reason, count
        for cause, count in figures["evictions_by_cause"].items():
            yield "hotplate_kvc_evictions_total", "counter", labels | {"cause": cause}, count
        for storage, states in figures["bytes"].items():
            for state, size in states.items():
                where = labels | {"storage": storage, "state": state}
                yield "hotplate_kvc_bytes", "gauge", where, size
        for figure, family, unit in (
            ("lookup_ns", "hotplate_kvc_lookup_seconds", _NS),
            ("reuse_blocks", "hotplate_kvc_reuse_blocks", 1),
            ("residence_ms", "hotplate_kvc_residence_seconds", 1000),
        ):
            yield from _histogram(family, labels, figures[figure], unit)
    for name, storage in cache.catalog.storages.items():
        labels = {"storage": name, "type": storage.type}
        yield "hotplate_kvc_storage_available", "gauge", labels, int(storage.available)
        described = storage.opened().describe()
        for figure in ("capacity_bytes", "allocated_bytes", "free_bytes"):
            yield f"hotplate_kvc_storage_{figure}", "gauge", labels, described[figure]


def _histogram(family: str, labels: Labels, figures: Any, unit: int) -> Iterator[Sample]:
    """Cumulative buckets, as Prometheus has them: what is below a bound is at most the one less."""
    below = 0
    for bound, count in figures["buckets"].items():
        below += count
        upper = {**labels, "le": f"{(int(bound) - 1) / unit:.9g}"}
        yield f"{family} {family}_bucket", "histogram", upper, below
    yield f"{family} {family}_bucket", "histogram", {**labels, "le": "+Inf"}, figures["count"]
    total = figures["mean"] * figures["count"] / unit
    yield f"{family} {family}_sum", "histogram", labels, total
    yield f"{family} {family}_count", "histogram", labels, figures["count"]
