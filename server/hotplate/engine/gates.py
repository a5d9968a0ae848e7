"""The checks before a command runs, in one fixed order, for all that is not the hot path.

    exists ─► arity ─► authenticated ─► not loading ─► queue it in MULTI, or run it

Every refusal taints an open transaction. The dispatcher comes here when a gate bit is set, when the
name or the number of arguments is not plain, and never else.
"""

from typing import TYPE_CHECKING, Any, Final

from hotplate.engine.context import Context, Gate
from hotplate.errors import CommandError, LoadingError, NoAuthError
from hotplate.resp.types import QUEUED, Raw, Reply
from hotplate.spec.args import unknown_command, unknown_subcommand, wrong_arity
from hotplate.spec.model import Command, Flag

if TYPE_CHECKING:
    from hotplate.engine.engine import Engine

NO_REPLY: Final = Raw(b"")
_RUNS_IN_TRANSACTION: Final = frozenset(
    (b"exec", b"discard", b"multi", b"watch", b"quit", b"reset")
)
_SILENT: Final = Gate.REPLY_OFF | Gate.REPLY_SKIP


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
    if ctx.gates & _SILENT and not _is_client_reply(command):
        return _run_silently(ctx, command, argv)
    try:
        _check(ctx, command, argv)
    except CommandError as error:
        ctx.tainted = ctx.queue is not None
        ctx.engine.stats.count_error(error.code)
        if command is not None:
            command.rejected += 1
            command.calls -= 1  # the dispatcher counts what it passes on; a refusal is no call
        return Raw(error.frame)
    assert command is not None
    assert command.handler is not None
    if ctx.queue is not None and command.name not in _RUNS_IN_TRANSACTION:
        ctx.queue.append((command, argv))
        return QUEUED
    return command.handler(ctx, argv)


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
    if ctx.engine.gates & Gate.LOADING and not flags & Flag.LOADING:
        raise LoadingError("Hotplate is loading the dataset in memory")
    if ctx.queue is not None and flags & Flag.NO_MULTI:
        raise CommandError("Command not allowed inside a transaction")


def _is_client_reply(command: Command | None) -> bool:
    return command is not None and command.name == b"client|reply"


def _run_silently(ctx: Context, command: Command | None, argv: list[Any]) -> Reply:
    """CLIENT REPLY OFF and SKIP: the command runs, nobody hears of it."""
    silent = ctx.gates & _SILENT
    ctx.gates &= ~silent
    try:
        admit(ctx, command, argv)
    except CommandError as error:
        ctx.engine.stats.count_error(error.code)
    finally:
        ctx.gates |= silent & Gate.REPLY_OFF  # SKIP was for one command
    return NO_REPLY
