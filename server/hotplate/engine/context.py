"""What a handler sees of the world: one Context per client, alive as long as its connection.

A handler is `handler(ctx, argv) -> Reply`: synchronous, no socket, no clock, no logging of values.
`argv` is the whole command with its name (for a subcommand: container and subcommand too); the
arity was checked before. It answers with a value of hotplate.resp.types or raises CommandError,
and then it has changed nothing.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from hotplate.engine.engine import Engine
    from hotplate.engine.pubsub import Subscriptions
    from hotplate.engine.tracking import ClientTracking
    from hotplate.keyspace.database import Database
    from hotplate.spec.model import Command


Done: TypeAlias = Callable[[Any], None]
"""(reply). Named here: what a nested function's signature spells out is built at every call."""


class Gate:
    """Why the dispatcher must look twice before it runs a client's command. 0 is the hot path.

    Plain integers: `&` with an IntFlag costs as much as a whole command.
    """

    OPEN: Final = 0
    UNAUTHENTICATED: Final = 1
    TRANSACTION: Final = 2  # MULTI is open
    REPLY_OFF: Final = 4  # CLIENT REPLY OFF
    REPLY_SKIP: Final = 8  # CLIENT REPLY SKIP: the next reply is swallowed
    CLOSING: Final = 16  # flush, then close; no further command runs
    LOADING: Final = 32  # (engine) the data set is being read
    SUBSCRIBED: Final = 64  # the client listens to channels
    FULL: Final = 128  # (engine) more memory is in use than `maxmemory`
    LFU: Final = 256  # (engine) the uses of keys are counted
    BUSY: Final = 512  # (engine) a script has been running for too long
    TRACKING: Final = 1024  # what the client reads is remembered (CLIENT TRACKING)
    PAUSED: Final = 2048  # (engine) CLIENT PAUSE
    UNSAFE: Final = 4096  # (engine) writes can't be made safe: `Engine.unsafe` says why


class Link(Protocol):
    """The connection under a context, as far as commands may touch it."""

    peer: str  # "127.0.0.1:50000"
    local: str
    kind: str  # "tcp" | "unix"
    descriptor: int

    def close_now(self) -> None:
        """Drop the connection at once."""
        ...

    def close(self) -> None:
        """Send what is answered, then close."""
        ...

    def hold(self, release: Callable[[], None]) -> None:
        """Call `release` once what is being answered now has been sent."""
        ...

    def push(self, frames: bytes) -> None:
        """Write frames outside of a reply (push messages)."""
        ...

    def output_bytes(self) -> int:
        """Bytes that wait to be written."""
        ...

    def query_bytes(self) -> int:
        """Bytes received and not run yet."""
        ...


class Deferred:
    """A reply that comes later: file IO, or waiting. The client's next commands wait for it.

    `start` is called once with `done`; it arranges that `done(reply)` is called once on the event
    loop's thread, `reply` being a value or a CommandError. `cancel` is called if the client goes.
    """

    __slots__ = ("again", "cancel", "reads_on", "start")

    def __init__(
        self,
        start: Callable[[Done], None],
        cancel: Callable[[], None] | None = None,
        *,
        reads_on: bool = False,
        again: bool = False,
    ) -> None:
        self.start = start
        self.cancel = cancel
        self.reads_on = reads_on  # it may take for ever: notice meanwhile if the client goes
        self.again = again  # `reply` is none: the same request is to be run then


class Followed:
    """A reply, and messages of the client's own making that must come after it."""

    __slots__ = ("messages", "reply")

    def __init__(self, reply: Any, messages: bytes) -> None:
        self.reply = reply
        self.messages = messages


class Context:
    """One client's state."""

    __slots__ = (
        "client_id",
        "connected_at_ms",
        "db",
        "deny_blocking",
        "engine",
        "gates",
        "last_command",
        "last_seen_ms",
        "library_name",
        "library_version",
        "link",
        "name",
        "no_evict",
        "no_touch",
        "now_ms",
        "queue",
        "reading",
        "resp",
        "resume_at",
        "run_started_ns",
        "subscriptions",
        "tainted",
        "tracking",
        "user",
        "watch_broken",
        "watched",
    )

    def __init__(self, engine: "Engine", client_id: int, link: Link, now_ms: int) -> None:
        # for the connection's life
        self.engine = engine
        self.client_id = client_id
        self.link = link
        self.connected_at_ms = now_ms
        # what HELLO, AUTH, SELECT and CLIENT set; RESET puts these back
        self.gates: int = Gate.OPEN
        self.resp = 2
        self.db: Database = engine.databases[0]
        self.user = b"default"
        self.name = b""
        self.library_name = b""
        self.library_version = b""
        self.no_evict = False
        self.no_touch = False
        self.deny_blocking = False  # EXEC and scripts: what would block times out at once
        self.subscriptions: Subscriptions | None = None  # None: to nothing
        self.tracking: ClientTracking | None = None  # None: not
        # MULTI: queued commands (None: no transaction), an earlier refusal;
        # WATCH: keys as (db, key), and whether one of them changed since
        self.queue: list[tuple[Command, list[bytes]]] | None = None
        self.tainted = False
        self.watched: dict[tuple[int, bytes], None] = {}
        self.watch_broken = False
        # XREADGROUP: the last call and what it says, for a consumer repeats itself
        self.reading: tuple[list[bytes], Any] | None = None
        # one time per batch of commands; a whole EXEC sees one
        self.now_ms = now_ms
        self.last_seen_ms = now_ms
        self.last_command = b""
        self.run_started_ns = 0  # the dispatcher's measure of the commands under way
        self.resume_at = 0  # after a Deferred: the next request of the batch

    def end_transaction(self) -> None:
        """Forget the queue and the watched keys."""
        self.queue = None
        self.tainted = False
        self.gates &= ~Gate.TRANSACTION
        self.engine.watches.forget(self)
