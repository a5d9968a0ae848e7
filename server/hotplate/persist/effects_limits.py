"""Effects of rate limits: the request, under the id that was given, at its exact time.

What a limit does depends on its state, the request and the time alone, in exact integers. So the
request at the time it ran leads to the very same state again, and costs no more than itself,
however many reservations the limit holds. `EXACT` names the commands that need the time in
nanoseconds.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from hotplate.engine.context import Context

Requests = list[list[bytes]]


def _as_sent(ctx: Context, argv: list[bytes], reply: Any) -> Requests:
    return [argv]


def _acquire(ctx: Context, argv: list[bytes], reply: Any) -> Requests:
    """LB.ACQUIRE: a reservation keeps its id."""
    first = 2 + int(argv[1])
    if b"ID" in map(bytes.upper, argv[first:]):
        return [argv]
    frame = bytes(reply)  # *4, :0, $<size>, <id>
    start = frame.index(b"$") + 1
    end = frame.index(b"\r\n", start)
    rid = frame[end + 2 : end + 2 + int(frame[start:end])]
    return [[*argv, b"ID", rid]]


def _queue_add(ctx: Context, argv: list[bytes], reply: Any) -> Requests:
    """LBQ.ADD: an entry keeps its ticket. One that was rejected may still have expired others."""
    ticket = reply[1]
    fields_at = next(at for at in range(2, len(argv)) if argv[at].upper() == b"FIELDS")
    if ticket is None or b"TICKET" in map(bytes.upper, argv[2:fields_at]):
        return [argv]
    return [[*argv[:2], b"TICKET", ticket, *argv[2:]]]


EFFECTS: Final[Mapping[str, Callable[[Context, list[bytes], Any], Requests]]] = {
    "cl.throttle": _as_sent,
    "lb.acquire": _acquire,
    "lb.settle": _as_sent,
    "lb.cancel": _as_sent,
    "lb.extend": _as_sent,
    "lbq.create": _as_sent,
    "lbq.rate": _as_sent,
    "lbq.pause": _as_sent,
    "lbq.resume": _as_sent,
    "lbq.cancel": _as_sent,
    "lbq.release": _as_sent,
    "lbq.add": _queue_add,
}
EXACT: Final = frozenset(EFFECTS)
