"""The hot loop: parsed requests in, reply frames out.

    requests ──► table ──► gates? ──► arity ──► handler(ctx, argv) ──► frames
                             │ any bit set, unknown name, container, bad arity
                             └──► engine.gates.admit

No socket, no event loop, no per-request object. Statistics are kept per run of equal commands.
"""

import logging
from typing import Any, Final

from hotplate.engine.blocking import Waiter
from hotplate.engine.context import Context, Deferred, Followed, Gate
from hotplate.engine.gates import admit, did_run, find
from hotplate.errors import CommandError
from hotplate.resp.encoder import BULK_HEADERS, INTEGERS, encode
from hotplate.resp.types import Frames, Payload, Payloads, Raw
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

    Answers the index after the last request done: not all where the client is to be closed or
    `out` is large enough. Or a Deferred: wait for its reply, then go on at `ctx.resume_at`.
    """
    engine = ctx.engine
    lookup, append = engine.commands.table.get, out.append
    ready = engine.blocking.ready
    current: Any = None  # the command of the run under way
    handler: Any = None
    arity_min, arity_max, alone = -1, -1, False
    engine.now_ms, engine.now_ns = ctx.now_ms, engine.clock.monotonic_ns()
    ctx.run_started_ns = since_ns = engine.now_ns
    deferred: Deferred | None = None
    index, run_start, done, room = start, start, len(requests), OUTPUT_BYTES_MAX
    while index < done:
        argv = requests[index]
        command = lookup(argv[0])
        if command is not current or command is None:
            command = command or find(engine, argv)  # a container, an unusual spelling, or none
            if current is not None:
                _count(ctx, current, requests, run_start, index)
            run_start, current, arity_max, alone = index, command, -1, False
            if command is not None:
                handler = command.handler
                alone, since_ns = command.measured_alone, ctx.run_started_ns
                arity_min, arity_max = command.arity_min, command.arity_max
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
            kind: Any = type(reply)
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
            elif kind is int:
                append(INTEGERS[reply] if 0 <= reply < _INTEGERS_END else b":%d\r\n" % reply)
            elif kind is Waiter or kind is Deferred:
                deferred = reply
                ctx.resume_at = done = index if reply.again else index + 1
            else:
                room -= answer(ctx, reply, out)
                done = done if room > 0 else index + 1
        except Exception as error:
            append(failed(ctx, command, error))
        if alone:
            before_ns, since_ns = since_ns, engine.clock.monotonic_ns()
            if since_ns - before_ns >= engine.slow_ns:
                _note_slow(ctx, current, [argv], since_ns - before_ns)
        if ready:
            engine.blocking.serve()
        index += 1
    _count(ctx, current, requests, run_start, done)
    engine.stats.commands_processed += done - start
    return done if deferred is None else deferred


def failed(ctx: Context, command: Command | None, error: Exception) -> bytes:
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
    if type(reply) is Raw or type(reply) is Frames:
        out.append(reply)
        return len(reply)
    if type(reply) is list and len(reply) == 2 and type(reply[0]) is type(reply[1]) is bytes:
        one, other = reply  # what a list hands over
        pair = b"*2\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(one), one, len(other), other)
        out.append(pair)
        return len(pair)
    if isinstance(reply, (Payload, Payloads)):
        encode(reply, ctx.resp, out.append)
        return _hold(ctx, reply)
    if type(reply) is Followed:
        size_bytes = answer(ctx, reply.reply, out)
        out.append(reply.messages)
        return size_bytes + len(reply.messages)
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


def _count(
    ctx: Context, command: Command | None, requests: list[Any], start: int, end: int
) -> None:
    """Count the run of equal commands `requests[start:end]`; the next one begins now."""
    if command is None:
        return
    engine = ctx.engine
    now_ns = engine.clock.monotonic_ns()
    spent_ns = now_ns - ctx.run_started_ns
    ctx.run_started_ns = now_ns
    command.calls += end - start
    command.time_ns += spent_ns
    ctx.last_command = command.name
    if spent_ns >= engine.slow_ns and not command.measured_alone:
        _note_slow(ctx, command, requests[start:end], spent_ns)


def _note_slow(ctx: Context, command: Command | None, batch: list[Any], spent_ns: int) -> None:
    """These took long; those that were refused or queued did not run."""
    assert command is not None
    ran = [argv for argv in batch if did_run(ctx, command, argv)]
    if ran:
        ctx.engine.slowlog.note(ctx, command, ran, spent_ns)
