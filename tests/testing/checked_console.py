"""A console that holds every reply against the schema of its command."""

from collections.abc import Sequence

from tests.testing.console import Console
from tests.testing.reply_schema import check_reply


class CheckedConsole(Console):
    """As Console; a reply that does not fit its command's schema is an AssertionError."""

    def execute(self, argv: Sequence[bytes]) -> bytes:
        """The frames that answer one command."""
        frames = super().execute(argv)
        command = self.engine.commands.table.get(argv[0].upper())
        if command is not None and command.spec.reply is not None and frames != b"+QUEUED\r\n":
            check_reply(command.spec.reply, frames, self.ctx.resp)
        return frames
