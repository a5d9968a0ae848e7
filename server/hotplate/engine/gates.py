"""The checks before a command runs, in one fixed order, for all that is not the hot path.

    exists ─► arity ─► authenticated ─► memory for it ─► its changes can be made safe
      ─► allowed to a subscriber ─► not loading ─► no busy script ─► not paused
      ─► queue it in MULTI, or run it

Every refusal taints an open transaction; that of EXEC ends it. The dispatcher comes here when a
gate bit is set, when the name or the number of arguments is not plain, and never else.
"""

from typing import TYPE_CHECKING, Any, Final

from hotplate.engine.context import Context, Deferred, Done, Followed, Gate
from hotplate.errors import (
    CommandError,
    ExecAbortError,
    LoadingError,
    MisconfError,
    NoAuthError,
    OutOfMemoryError,
)
from hotplate.resp.types import OK, QUEUED, Payload, Payloads, Raw, Reply
from hotplate.spec.args import (
    not_while_subscribed,
    unknown_command,
    unknown_subcommand,
    wrong_arity,
)
from hotplate.spec.model import Command, Flag

if TYPE_CHECKING:
    from hotplate.engine.engine import Engine

NO_REPLY: Final = Raw(b"")
_RUNS_IN_TRANSACTION: Final = frozenset(
    (b"exec", b"discard", b"multi", b"watch", b"quit", b"reset")
)
_RUNS_WHILE_SUBSCRIBED: Final = frozenset(
    (
        *(b"subscribe", b"psubscribe", b"ssubscribe", b"unsubscribe", b"punsubscribe"),
        *(b"sunsubscribe", b"ping", b"quit", b"reset"),
    )
)
_ANSWERED_BY_MESSAGES: Final = _RUNS_WHILE_SUBSCRIBED - {b"ping", b"quit", b"reset"}
_SILENT: Final = Gate.REPLY_OFF | Gate.REPLY_SKIP
_LISTENING: Final = Gate.SUBSCRIBED | Gate.TRACKING
_READONLY: Final = int(Flag.READONLY)
_HTTP_WORDS: Final = frozenset((b"post", b"host:"))  # how a web page's request would begin
_HTTP_WORD_BYTES_MAX: Final = 5


def find(engine: "Engine", argv: list[Any]) -> Command | None:
    """The command that `argv` names, subcommands resolved; None where there is none.

    A container called without, or with an unknown, subcommand answers itself; `admit` refuses it.
    """
    command = engine.commands.lookup(argv[0])
    if command is None or command.subcommands is None or len(argv) < 2:
        return command
    return command.subcommands.get(bytes(argv[1]).lower(), command)


def admit(ctx: Context, command: Command | None, argv: list[Any]) -> Reply:
    """Check `argv` and run or queue it. Refusals are answered, handlers' errors are raised."""
    if command is None and _is_http(argv[0]):
        ctx.engine.report_http(ctx)
        ctx.gates |= Gate.CLOSING
        ctx.link.close_now()
        return NO_REPLY
    if ctx.gates & _SILENT:
        return _run_silently(ctx, command, argv)
    return _run(ctx, command, argv)


def _run(ctx: Context, command: Command | None, argv: list[Any]) -> Reply:
    try:
        _check(ctx, command, argv)
    except CommandError as error:
        ctx.tainted = ctx.queue is not None
        if command is not None:
            command.rejected += 1
            command.calls -= 1  # the dispatcher counts what it passes on; a refusal is no call
            if command.name == b"exec":
                ctx.end_transaction()
                code = b"" if error.code == "ERR" else error.code.encode() + b" "
                why = code + error.message
                error = ExecAbortError(b"Transaction discarded because of: " + why)
        ctx.engine.stats.count_error(error.code)
        return Raw(error.frame)
    assert command is not None
    if ctx.engine.gates & Gate.PAUSED and ctx.engine.pause.stops(ctx, command, argv):
        return ctx.engine.pause.postpone(ctx)
    if ctx.queue is not None and command.name not in _RUNS_IN_TRANSACTION:
        ctx.queue.append((command, argv))
        command.calls -= 1  # neither is waiting: EXEC counts it
        return QUEUED
    if ctx.gates & _LISTENING or command.name == b"exec":  # EXEC may subscribe, then publish
        return _run_for_listener(ctx, command, argv)
    return call(ctx, command, argv)


def did_run(ctx: Context, command: Command, argv: list[Any]) -> bool:
    """Whether a command that was just admitted can have run: neither refused nor queued."""
    if ctx.queue is not None and command.name not in _RUNS_IN_TRANSACTION:
        return False
    if ctx.gates & Gate.UNAUTHENTICATED and not command.flags & Flag.NO_AUTH:
        return False
    return command.arity_min <= len(argv) <= command.arity_max


def call(ctx: Context, command: Command, argv: list[Any]) -> Reply:
    """Run a command that passed, alone or as part of a transaction."""
    if ctx.gates & Gate.TRACKING and command.flags & _READONLY:
        try:
            return _call(ctx, command, argv)
        finally:
            ctx.engine.tracking.remember(ctx, command, argv)
    return _call(ctx, command, argv)


def _call(ctx: Context, command: Command, argv: list[Any]) -> Reply:
    if ctx.engine.gates & Gate.LFU:
        return ctx.engine.memory.run_counted(ctx, command, argv)
    assert command.handler is not None
    return command.handler(ctx, argv)


def _run_for_listener(ctx: Context, command: Command, argv: list[Any]) -> Reply:
    """The command may tell its own client something: that comes after the reply."""
    pubsub = ctx.engine.pubsub
    reply: Any = None
    answered = False
    pubsub.begin_command(ctx)
    try:
        reply = call(ctx, command, argv)
        answered = not isinstance(reply, Deferred)
    finally:
        messages = pubsub.end_command()
        if messages and not answered:
            ctx.link.push(messages)  # an error, or a reply to come: nothing can follow those
        mine = ctx.tracking
        if mine is not None and ctx.queue is None and not command.name.startswith(b"client|"):
            mine.caching = False  # it was for this command
    return Followed(reply, messages) if messages and answered else reply


def _check(ctx: Context, command: Command | None, argv: list[Any]) -> None:
    if command is None:
        raise unknown_command(argv)
    if command.subcommands is not None and len(argv) >= 2:
        raise unknown_subcommand(argv)
    if command.handler is None or not command.arity_min <= len(argv) <= command.arity_max:
        raise wrong_arity(command)
    flags = command.flags
    if ctx.gates & Gate.UNAUTHENTICATED and not flags & Flag.NO_AUTH:
        raise NoAuthError("Authentication required.")
    if (
        ctx.engine.gates & Gate.FULL
        and not ctx.engine.memory.make_room(ctx.now_ms)
        and _needs_memory(ctx, command)
    ):
        raise OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")
    if ctx.engine.gates & Gate.UNSAFE and _writes(ctx, command):
        raise MisconfError(ctx.engine.unsafe)
    if ctx.gates & Gate.SUBSCRIBED and ctx.resp == 2 and command.name not in _RUNS_WHILE_SUBSCRIBED:
        raise not_while_subscribed(command)
    if ctx.engine.gates & Gate.LOADING and not flags & Flag.LOADING:
        raise LoadingError("Hotplate is loading the dataset in memory")
    if ctx.engine.gates & Gate.BUSY and not flags & Flag.ALLOW_BUSY:
        raise ctx.engine.scripts.busy_error()
    if ctx.queue is not None and flags & Flag.NO_MULTI:
        raise CommandError("Command not allowed inside a transaction")


def _writes(ctx: Context, command: Command) -> bool:
    """Whether a command may change data; PING asks whether it could, as in Redis."""
    if ctx.queue is not None and command.name == b"exec":
        return any(queued.flags & Flag.WRITE for queued, _ in ctx.queue)
    return bool(command.flags & Flag.WRITE) or command.name == b"ping"


def _needs_memory(ctx: Context, command: Command) -> bool:
    """Whether a command may grow the data set; in MULTI every one grows the queue."""
    if ctx.queue is None:
        return bool(command.flags & Flag.DENYOOM)
    if command.name == b"exec":
        return any(queued.flags & Flag.DENYOOM for queued, _ in ctx.queue)
    return command.name not in _RUNS_IN_TRANSACTION


def _is_http(word: bytes) -> bool:
    return len(word) <= _HTTP_WORD_BYTES_MAX and word.lower() in _HTTP_WORDS


def _run_silently(ctx: Context, command: Command | None, argv: list[Any]) -> Reply:
    """CLIENT REPLY OFF and SKIP: the command runs, nobody hears of it.

    But for one that lets the client hear again: CLIENT REPLY ON, and RESET unless it is skipped.
    """
    was_off = ctx.gates & Gate.REPLY_OFF
    skips = ctx.gates & Gate.REPLY_SKIP
    ctx.gates &= ~Gate.REPLY_SKIP  # it was for this command
    try:
        reply = _run(ctx, command, argv)
    except CommandError as error:
        ctx.engine.stats.count_error(error.code)
        if command is not None:
            command.failed += 1
        return NO_REPLY
    if type(reply) is Followed:
        _give_back(reply.reply)
        return Raw(reply.messages)
    if command is not None and command.name in _ANSWERED_BY_MESSAGES:
        return reply
    turned_on = was_off and not ctx.gates & Gate.REPLY_OFF
    if turned_on or (reply is OK and command is not None and command.name == b"client|reply"):
        return reply
    if isinstance(reply, Deferred):
        if reply.again:
            ctx.gates |= skips  # the command is still to come
            return reply
        return _silenced(reply)
    _give_back(reply)
    return NO_REPLY


def _silenced(deferred: Deferred) -> Deferred:
    """The same work, its reply dropped."""

    def start(done: Done) -> None:
        def finish(reply: Any) -> None:
            _give_back(reply)
            done(NO_REPLY)

        deferred.start(finish)

    return Deferred(start, deferred.cancel, reads_on=deferred.reads_on)


def _give_back(reply: Reply) -> None:
    """Release what a reply that nobody gets has pinned."""
    for item in reply if type(reply) is Payloads else (reply,):
        if type(item) is Payload:
            item.release()
