"""The hot loop: parsed requests in, reply frames out.

    requests ──► table ──► gates? ──► arity ──► handler(ctx, argv) ──► frames
                             │ any bit set, unknown name, container, bad arity
                             └──► engine.gates.admit

No socket, no event loop, no per-request object. Statistics are kept per run of equal commands.
"""

import logging
from typing import Any, Final

from hotplate.engine.context import Context, Deferred, Gate
from hotplate.engine.gates import admit, find
from hotplate.errors import CommandError
from hotplate.resp.encoder import BULK_HEADERS, INTEGERS, encode
from hotplate.resp.types import Payload, Payloads, Raw
from hotplate.spec.model import Command

log = logging.getLogger("hotplate.engine")
_INTERNAL_ERROR: Final = b"-ERR internal error\r\n"
_CRLF: Final = b"\r\n"
_CLOSING: Final = Gate.CLOSING
_HEADERS_END: Final = len(BULK_HEADERS)
_INTEGERS_END: Final = len(INTEGERS)


def run(ctx: Context, requests: list[Any], out: list[Any], start: int = 0) -> int | Deferred:
    """Run `requests[start:]`, appending their frames to `out`.

    Answers the index after the last request done: all of them, or fewer where the client is to be
    closed. Or a Deferred: the caller waits for its reply, then goes on at `ctx.resume_at`.
    """
    engine = ctx.engine
    lookup = engine.commands.table.get
    append = out.append
    # the command of the run under way, what the loop needs of it, and where the run began
    current: Command | None = None
    handler: Any = None
    arity_min = arity_max = -1
    run_start = start
    started_ns = engine.clock.monotonic_ns()
    deferred: Deferred | None = None
    index = start
    done = len(requests)
    while index < done:
        argv = requests[index]
        command = lookup(argv[0])
        if command is not current or command is None:
            if command is None:  # or a container, or an unusual spelling
                command = find(engine, argv)
            started_ns = _count(ctx, current, index - run_start, started_ns)
            run_start = index
            current = command
            if command is None:
                arity_max = -1
            else:
                handler = command.handler
                arity_min = command.arity_min
                arity_max = command.arity_max
                if command.run is not None and not (ctx.gates or engine.gates):
                    index = command.run(ctx, requests, index, append)
                    continue
        reply: Any
        try:
            if not ctx.gates and not engine.gates and arity_min <= len(argv) <= arity_max:
                reply = handler(ctx, argv)
            elif ctx.gates & _CLOSING:
                done = index
                break
            else:
                reply = admit(ctx, command, argv)
            kind = type(reply)
            if kind is Raw:
                append(reply)
            elif kind is bytes:
                size = len(reply)
                append(BULK_HEADERS[size] if size < _HEADERS_END else b"$%d\r\n" % size)
                append(reply)
                append(_CRLF)
            elif kind is int and 0 <= reply < _INTEGERS_END:
                append(INTEGERS[reply])
            elif kind is Deferred:
                deferred = reply
                ctx.resume_at = done = index + 1
            else:
                if kind is Payload or kind is Payloads:
                    hold(ctx, reply)
                encode(reply, ctx.resp, append)
        except Exception as error:
            append(_failed(ctx, command, error))
        index += 1
    _count(ctx, current, done - run_start, started_ns)
    engine.stats.commands_processed += done - start
    return done if deferred is None else deferred


def _failed(ctx: Context, command: Command | None, error: Exception) -> bytes:
    """What a handler's exception answers; one that is no CommandError is a bug of ours."""
    if not isinstance(error, CommandError):
        log.error("%s failed", "?" if command is None else command.spec.name, exc_info=error)
        ctx.gates |= _CLOSING
        return _INTERNAL_ERROR
    ctx.engine.stats.count_error(error.code)
    if command is not None:
        command.failed += 1
    return error.frame


def hold(ctx: Context, reply: Payload | Payloads) -> None:
    """Let the link release what `reply` shows once it is sent."""
    for item in reply if isinstance(reply, list) else (reply,):
        if item is not None:
            ctx.link.hold(item.release)


def _count(ctx: Context, command: Command | None, calls: int, started_ns: int) -> int:
    """Count a run of equal commands that began at `started_ns`; the time now."""
    now_ns = ctx.engine.clock.monotonic_ns()
    if command is not None:
        command.calls += calls
        command.time_ns += now_ns - started_ns
        ctx.last_command = command.name
    return now_ns
