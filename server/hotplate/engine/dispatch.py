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
# what one pass may answer, the last reply not counted: then the client's transport is looked at
OUTPUT_BYTES_MAX: Final = 1024 * 1024
_HEADERS_END: Final = len(BULK_HEADERS)
_INTEGERS_END: Final = len(INTEGERS)


def run(ctx: Context, requests: list[Any], out: list[Any], start: int = 0) -> int | Deferred:
    """Run `requests[start:]`, appending their frames to `out`.

    Answers the index after the last request done: all of them, or fewer where the client is to be
    closed or `out` is large enough. Or a Deferred: the caller waits for its reply, then goes on at
    `ctx.resume_at`.
    """
    engine = ctx.engine
    lookup = engine.commands.table.get
    append = out.append
    # the command of the run under way, what the loop needs of it, and where the run began
    current: Command | None = None
    handler: Any = None
    reply: Any
    arity_min = arity_max = -1
    engine.now_ms, engine.now_ns = ctx.now_ms, (started_ns := engine.clock.monotonic_ns())
    deferred: Deferred | None = None
    room = OUTPUT_BYTES_MAX
    index, run_start, done = start, start, len(requests)
    while index < done:
        argv = requests[index]
        command = lookup(argv[0])
        if command is not current or command is None:
            command = command or find(engine, argv)  # a container, an unusual spelling, or none
            if current is not None:
                started_ns = _count(ctx, current, index - run_start, started_ns)
            run_start = index
            current = command
            if command is None:
                arity_max = -1
            else:
                handler = command.handler
                arity_min = command.arity_min
                arity_max = command.arity_max
                if command.run is not None and done - index > 1 and not (ctx.gates or engine.gates):
                    index = command.run(ctx, requests, index, append)
                    continue
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
                if size >= _HEADERS_END:
                    room -= size
                    done = done if room > 0 else index + 1
            elif kind is int and 0 <= reply < _INTEGERS_END:
                append(INTEGERS[reply])
            elif kind is Deferred:
                deferred = reply
                ctx.resume_at = done = index + 1
            else:
                room -= answer(ctx, reply, out)
                done = done if room > 0 else index + 1
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


def answer(ctx: Context, reply: Any, out: list[Any]) -> int:
    """Append the frames of a reply of any type; how many bytes they are."""
    if isinstance(reply, (Payload, Payloads)):
        encode(reply, ctx.resp, out.append)
        return _hold(ctx, reply)
    frames: list[bytes] = []
    encode(reply, ctx.resp, frames.append)
    data = b"".join(frames)
    out.append(data)
    return len(data)


def _hold(ctx: Context, reply: Payload | Payloads) -> int:
    """Let the link release what `reply` shows once it is sent; its bytes."""
    size_bytes = 0
    for item in reply if isinstance(reply, list) else (reply,):
        if item is not None:
            ctx.link.hold(item.release)
            size_bytes += item.size
    return size_bytes


def _count(ctx: Context, command: Command | None, calls: int, started_ns: int) -> int:
    """Count a run of equal commands that began at `started_ns`; the time now."""
    now_ns = ctx.engine.clock.monotonic_ns()
    if command is not None:
        command.calls += calls
        command.time_ns += now_ns - started_ns
        ctx.last_command = command.name
    return now_ns
