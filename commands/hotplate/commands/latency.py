"""LATENCY: samples of commands that took longer than `latency-monitor-threshold`."""

from typing import Any, Final

from hotplate.commands.introspect import help_reply
from hotplate.engine.context import Context
from hotplate.resp.types import Map, Reply, Verbatim
from hotplate.spec.model import Flag, command, container, specs_of, string
from hotplate.spec.reply import (
    AnyReply,
    ArrayReply,
    BulkReply,
    IntegerReply,
    MapReply,
    SimpleReply,
    TupleReply,
    VerbatimReply,
)

_ADMIN: Final[dict[str, Any]] = {
    "group": "server",
    "flags": Flag.ADMIN | Flag.NOSCRIPT | Flag.LOADING | Flag.STALE,
}
_SHOWING: Final = (
    "nondeterministic_output",
    "request_policy:all_nodes",
    "response_policy:special",
)
_DISABLED: Final = (
    "Latency monitoring is off in this server. CONFIG SET latency-monitor-threshold <milliseconds>"
    " switches it on: commands that take longer are kept as samples.\n"
)
HELP: Final = (
    "LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DOCTOR",
    "    Return a human readable latency analysis report.",
    "HISTORY <event>",
    "    Return time-latency samples for the <event> class.",
    "LATEST",
    "    Return the latest latency samples for all events.",
    "RESET [<event> ...]",
    "    Reset latency data of one or more <event> classes.",
    "    (default: reset all data for all event classes)",
    "HISTOGRAM [COMMAND ...]",
    "    Return a cumulative distribution of latencies in the format of a histogram for the"
    " specified command names.",
    "    If no commands are specified then all histograms are replied.",
    "HELP",
    "    Prints this help.",
)

LATENCY: Final = container(
    "LATENCY",
    group="server",
    since="2.8.13",
    summary="A container for latency diagnostics commands",
    complexity="Depends on subcommand.",
)


@command(
    "LATENCY|LATEST",
    since="2.8.13",
    arity=2,
    summary="Return the latest latency samples for all events.",
    complexity="O(1)",
    tips=_SHOWING,
    reply=ArrayReply(TupleReply((BulkReply(), *[IntegerReply(minimum=0)] * 3))),
    **_ADMIN,
)
def latency_latest(ctx: Context, argv: list[bytes]) -> Reply:
    """LATENCY LATEST: of each event the name, the time, the last and the longest span"""
    log = ctx.engine.slowlog
    return [
        [event.encode(), *samples[-1], log.latency_peaks_ms[event]]
        for event, samples in log.latencies.items()
    ]


@command(
    "LATENCY|HISTORY",
    since="2.8.13",
    arity=3,
    summary="Return timestamp-latency samples for the event.",
    complexity="O(1)",
    args=(string("event"),),
    tips=_SHOWING,
    reply=ArrayReply(TupleReply((IntegerReply(minimum=0), IntegerReply(minimum=0)))),
    **_ADMIN,
)
def latency_history(ctx: Context, argv: list[bytes]) -> Reply:
    """LATENCY HISTORY event"""
    samples = ctx.engine.slowlog.latencies.get(argv[2].decode("utf-8", "surrogateescape"), ())
    return [list(sample) for sample in samples]


@command(
    "LATENCY|RESET",
    since="2.8.13",
    arity=-2,
    summary="Reset latency data for one or more events.",
    complexity="O(1)",
    args=(string("event", optional=True, multiple=True),),
    tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
    reply=IntegerReply(minimum=0),
    **_ADMIN,
)
def latency_reset(ctx: Context, argv: list[bytes]) -> Reply:
    """LATENCY RESET [event ...]"""
    events = [name.decode("utf-8", "surrogateescape") for name in argv[2:]]
    return ctx.engine.slowlog.forget_latencies(events)


@command(
    "LATENCY|DOCTOR",
    since="2.8.13",
    arity=2,
    summary="Return a human readable latency analysis report.",
    complexity="O(1)",
    tips=_SHOWING,
    reply=VerbatimReply(),
    **_ADMIN,
)
def latency_doctor(ctx: Context, argv: list[bytes]) -> Reply:
    """LATENCY DOCTOR"""
    if not ctx.engine.config.latency_monitor_threshold:
        return Verbatim(_DISABLED.encode())
    log = ctx.engine.slowlog
    lines = [
        f"{event}: {len(samples)} samples, the last {samples[-1].spent_ms} ms, the longest"
        f" {log.latency_peaks_ms[event]} ms.\n"
        for event, samples in log.latencies.items()
    ]
    if not lines:
        return Verbatim(b"No command took longer than latency-monitor-threshold.\n")
    lines.append("SLOWLOG GET names the commands that took longest.\n")
    return Verbatim("".join(lines).encode())


@command(
    "LATENCY|HISTOGRAM",
    since="7.0.0",
    arity=-2,
    summary="Return the cumulative distribution of latencies of a subset of commands or all.",
    complexity="O(N) where N is the number of commands with latency information being retrieved.",
    args=(string("command", optional=True, multiple=True),),
    tips=_SHOWING,
    reply=MapReply(AnyReply()),
    **_ADMIN,
)
def latency_histogram(ctx: Context, argv: list[bytes]) -> Reply:
    """LATENCY HISTOGRAM [command ...]: none, for `latency-tracking` can only be off"""
    return Map()


@command(
    "LATENCY|HELP",
    group="server",
    since="2.8.13",
    arity=2,
    summary="Show helpful text about the different subcommands.",
    complexity="O(1)",
    flags=Flag.LOADING | Flag.STALE,
    reply=ArrayReply(SimpleReply(None)),
)
def latency_help(ctx: Context, argv: list[bytes]) -> Reply:
    """LATENCY HELP"""
    return help_reply(HELP)


SPECS = specs_of(
    LATENCY,
    latency_latest,
    latency_history,
    latency_reset,
    latency_doctor,
    latency_histogram,
    latency_help,
)
