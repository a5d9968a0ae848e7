"""Publish and subscribe: who listens to which channels, patterns and shard channels.

A message is encoded once per protocol version, however many clients get it, and travels through the
clients' links. What goes to many at once waits until the pass ends or something else is to be told,
so that a row of messages to one channel is handed over as one.

One thing needs care: a message that a subscriber causes by its own command (RESP3 lets it send any)
must not come in the middle of the reply, so that while its command runs, its messages are kept and
follow the reply (`begin_command`, `end_command`).

Knows no command and no socket. A client with subscriptions has the gate SUBSCRIBED, and only it.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, TypeAlias

from hotplate.engine.context import Gate
from hotplate.keyspace.glob import compile_glob
from hotplate.resp.encoder import encode
from hotplate.resp.types import Push, Raw

if TYPE_CHECKING:
    from hotplate.engine.context import Context

Subscribers: TypeAlias = dict["Context", None]  # in the order in which they came
_MANY: Final = 4  # subscribers of whom each is told a row of messages at once
_ROW_BYTES_MAX: Final = 64 * 1024


class Subscriptions:
    """What one client listens to."""

    __slots__ = ("channels", "patterns", "shard_channels")

    def __init__(self) -> None:
        self.channels: dict[bytes, None] = {}
        self.patterns: dict[bytes, None] = {}
        self.shard_channels: dict[bytes, None] = {}

    def of(self, kind: "Kind") -> dict[bytes, None]:
        """Those of one kind."""
        names: dict[bytes, None] = getattr(self, kind.attribute)
        return names


class Kind:
    """One of the three kinds of subscription: its words in messages, and where it is kept."""

    __slots__ = ("attribute", "joined", "left", "message")

    def __init__(self, prefix: bytes, attribute: str) -> None:
        self.attribute = attribute
        self.joined = prefix + b"subscribe"
        self.left = prefix + b"unsubscribe"
        self.message = prefix + b"message"


CHANNEL: Final = Kind(b"", "channels")
PATTERN: Final = Kind(b"p", "patterns")
SHARD_CHANNEL: Final = Kind(b"s", "shard_channels")


class PubSub:
    """All subscriptions of one server."""

    __slots__ = (
        "_crowd",
        "_late",
        "_list",
        "_matchers",
        "_row",
        "_row_bytes",
        "_subscribers",
        "speaker",
    )

    def __init__(self, flush_later: Callable[["PubSub"], None]) -> None:
        self._list = flush_later
        self._subscribers: dict[Kind, dict[bytes, Subscribers]] = {
            CHANNEL: {},
            PATTERN: {},
            SHARD_CHANNEL: {},
        }
        self._matchers: dict[bytes, Callable[[bytes], object]] = {}
        self.speaker: Context | None = None  # the listener whose command runs
        self._late: list[bytes] = []  # what it is to get after its reply
        self._crowd: Subscribers | None = None  # those who are to be told a row of messages
        self._row: list[tuple[bytes, ...]] = []
        self._row_bytes = 0

    # -- listening -----------------------------------------------------------------------------

    def subscribe(self, ctx: "Context", kind: Kind, names: Iterable[bytes]) -> Raw:
        """Begin to listen. Answers a confirmation for each name."""
        self.flush()
        if ctx.subscriptions is None:
            ctx.subscriptions = Subscriptions()
        mine = ctx.subscriptions.of(kind)
        table = self._subscribers[kind]
        frames: list[bytes] = []
        for name in names:
            if name not in mine:
                mine[name] = None
                table.setdefault(name, {})[ctx] = None
                if kind is PATTERN and name not in self._matchers:
                    self._matchers[name] = compile_glob(name)
            _confirm(ctx, kind, kind.joined, name, frames)
        ctx.gates |= Gate.SUBSCRIBED
        return Raw(b"".join(frames))

    def unsubscribe(self, ctx: "Context", kind: Kind, names: list[bytes]) -> Raw:
        """Listen no more to `names` (none: to any of this kind). Answers one confirmation each."""
        self.flush()
        mine = {} if ctx.subscriptions is None else ctx.subscriptions.of(kind)
        frames: list[bytes] = []
        for name in names or list(mine):
            if name in mine:
                self._leave(ctx, kind, name)
                del mine[name]
            _confirm(ctx, kind, kind.left, name, frames)
        if not frames:
            _confirm(ctx, kind, kind.left, None, frames)
        if not any(counts(ctx)):
            ctx.subscriptions = None
            ctx.gates &= ~Gate.SUBSCRIBED
        return Raw(b"".join(frames))

    def forget(self, ctx: "Context") -> None:
        """The client listens to nothing any more, and is told nothing of it."""
        if ctx.subscriptions is not None:
            self.flush()
            for kind in self._subscribers:
                for name in ctx.subscriptions.of(kind):
                    self._leave(ctx, kind, name)
            ctx.subscriptions = None
            ctx.gates &= ~Gate.SUBSCRIBED

    def _leave(self, ctx: "Context", kind: Kind, name: bytes) -> None:
        table = self._subscribers[kind]
        subscribers = table[name]
        del subscribers[ctx]
        if not subscribers:
            del table[name]
            if kind is PATTERN:
                del self._matchers[name]

    # -- telling -------------------------------------------------------------------------------

    def publish(self, channel: bytes, message: bytes) -> int:
        """Tell those who listen to the channel, then those with a pattern that it matches.

        How many were told; a client that listens in two ways is told twice.
        """
        told = 0
        subscribers = self._subscribers[CHANNEL].get(channel)
        if subscribers is not None:
            told = self._send(subscribers, b"message", channel, message)
        if self._matchers:
            for pattern, matches in self._matchers.items():
                if matches(channel):
                    subscribers = self._subscribers[PATTERN][pattern]
                    told += self._send(subscribers, b"pmessage", pattern, channel, message)
        return told

    def publish_to_shard(self, channel: bytes, message: bytes) -> int:
        """Tell those who listen to the shard channel; how many."""
        subscribers = self._subscribers[SHARD_CHANNEL].get(channel)
        if subscribers is None:
            return 0
        return self._send(subscribers, b"smessage", channel, message)

    def _send(self, subscribers: Subscribers, *words: bytes) -> int:
        if subscribers is not self._crowd:
            self.flush()
            if self.speaker is not None or len(subscribers) < _MANY:
                self._tell_all(subscribers, [words])
                return len(subscribers)
            self._crowd = subscribers
            self._list(self)
        self._row.append(words)
        self._row_bytes += len(words[-1])
        if self._row_bytes > _ROW_BYTES_MAX:
            self.flush()
        return len(subscribers)

    def flush(self) -> None:
        """Hand over the row of messages that waits."""
        crowd, self._crowd = self._crowd, None
        if crowd is not None:
            row, self._row = self._row, []
            self._row_bytes = 0
            self._tell_all(crowd, row)

    def _tell_all(self, subscribers: Subscribers, row: Iterable[tuple[bytes, ...]]) -> None:
        frames: dict[int, bytes] = {}  # by protocol version
        speaker = self.speaker
        for ctx in subscribers:
            frame = frames.get(ctx.resp)
            if frame is None:
                frame = b"".join([_encode(words, ctx.resp) for words in row])
                frames[ctx.resp] = frame
            if ctx is speaker:
                self._late.append(frame)
            else:
                ctx.link.push(frame)

    def tell(self, ctx: "Context", frames: bytes) -> None:
        """Send one client a message, after the reply to its command if that is under way."""
        self.flush()
        if ctx is self.speaker:
            self._late.append(frames)
        else:
            ctx.link.push(frames)

    def begin_command(self, ctx: "Context") -> None:
        """A command of `ctx` is about to run: keep the messages that it gets by it."""
        self.flush()
        self.speaker = ctx

    def end_command(self) -> bytes:
        """The command is done; the messages to be sent after its reply."""
        self.speaker = None
        messages = b"".join(self._late)
        self._late.clear()
        return messages

    # -- asking --------------------------------------------------------------------------------

    def names(self, kind: Kind) -> Iterable[bytes]:
        """All names of one kind that somebody listens to."""
        return self._subscribers[kind].keys()

    def count(self, kind: Kind, name: bytes) -> int:
        """How many listen to one name."""
        return len(self._subscribers[kind].get(name, ()))


def counts(ctx: "Context") -> tuple[int, int, int]:
    """How many channels, patterns and shard channels a client listens to."""
    mine = ctx.subscriptions
    if mine is None:
        return 0, 0, 0
    return len(mine.channels), len(mine.patterns), len(mine.shard_channels)


def _confirm(
    ctx: "Context", kind: Kind, word: bytes, name: bytes | None, frames: list[bytes]
) -> None:
    channels, patterns, shard_channels = counts(ctx)
    left = shard_channels if kind is SHARD_CHANNEL else channels + patterns
    encode(Push([word, name, left]), ctx.resp, frames.append)


def _encode(words: tuple[bytes, ...], version: int) -> bytes:
    kind = b"*" if version == 2 else b">"
    items = b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])
    return b"%b%d\r\n%b" % (kind, len(words), items)
