"""Word of what changes without a command: for the log and for snapshots.

A command's change is recorded around its handler. What the server changes by itself (a key's or a
field's time comes, a key is evicted, a policy moves entries), and commands that know best what came
of them, tell it here: as the command that does the same.
"""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hotplate.keyspace.database import Database


class Journal(Protocol):
    """What a database tells, while anybody keeps a log or takes a snapshot."""

    def keep(self, database: "Database", key: bytes) -> None:
        """`key` is about to change, and no running command names it."""
        ...

    def keep_database(self, database: "Database") -> None:
        """All keys of `database` are about to go."""
        ...

    def note(self, index: int, *argv: bytes) -> None:
        """Database `index` was changed as `argv` would change it."""
        ...

    def note_exact(self, index: int, *argv: bytes) -> None:
        """The same, where the effect depends on the exact time."""
        ...
