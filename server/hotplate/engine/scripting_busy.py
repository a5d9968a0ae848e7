"""What other clients are answered while a script is busy.

The dispatcher's loop is at work further up the stack, in the command that runs the script. This one
runs commands that are allowed meanwhile (SCRIPT KILL, SHUTDOWN, AUTH ...) and refuses all others;
it serves no blocked client, for the script's changes are not complete.
"""

import logging
from typing import Any, Final

from hotplate.engine.context import Context, Gate
from hotplate.engine.dispatch import answer
from hotplate.engine.gates import admit, find
from hotplate.errors import CommandError

log = logging.getLogger("hotplate.engine")
_INTERNAL_ERROR: Final = b"-ERR internal error\r\n"


def answer_while_busy(ctx: Context, requests: list[Any], out: list[Any]) -> int:
    """Append the frames that answer; the index after the last request done."""
    for index, argv in enumerate(requests):
        if ctx.gates & Gate.CLOSING:
            return index
        command = find(ctx.engine, argv)
        if command is not None:
            command.calls += 1
            ctx.last_command = command.name
        try:
            answer(ctx, admit(ctx, command, argv), out)
        except CommandError as error:
            ctx.engine.stats.count_error(error.code)
            if command is not None:
                command.failed += 1
            out.append(error.frame)
        except Exception:
            log.exception("a command failed while a script is busy")
            ctx.gates |= Gate.CLOSING
            out.append(_INTERNAL_ERROR)
    ctx.engine.stats.commands_processed += len(requests)
    return len(requests)
