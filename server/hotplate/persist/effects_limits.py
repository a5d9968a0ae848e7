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


EFFECTS: Final[Mapping[str, Callable[[Context, list[bytes], Any], Requests]]] = {
    "cl.throttle": _as_sent,
    "lb.acquire": _acquire,
    "lb.settle": _as_sent,
    "lb.cancel": _as_sent,
    "lb.extend": _as_sent,
}
EXACT: Final = frozenset(EFFECTS)
