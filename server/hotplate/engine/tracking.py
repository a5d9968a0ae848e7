"""CLIENT TRACKING: which clients remember which keys, and telling them when those change.

    read by a tracking client ─► table: key ─► ids of its readers   (default, OPTIN, OPTOUT)
    CLIENT TRACKING ON BCAST ─► prefixes: prefix ─► clients, keys changed in this pass
    change of a key ─► its readers are told, and forgotten; prefixes gather it until the pass ends
    FLUSHALL, FLUSHDB ─► everybody is told to forget everything

As in Redis a key is a name, whatever database it is in. A client hears through its own connection
(RESP3), or through one that it redirects to: with RESP2 that one has to be subscribed to something,
and gets messages of the channel `__redis__:invalidate`.

A client that tracks has the gate TRACKING, and only it pays for its reads. While nobody tracks,
nothing here is reached: no change is observed. The table has a limit; the oldest keys go first, as
if they had changed.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from hotplate.engine.context import Context, Gate
from hotplate.errors import CommandError
from hotplate.resp.encoder import encode
from hotplate.resp.types import Push
from hotplate.spec.docs import key_positions
from hotplate.spec.model import Command

if TYPE_CHECKING:
    from hotplate.engine.engine import Engine

CHANNEL_NAME: Final = b"__redis__:invalidate"
_KEYS_A_TICK: Final = 10_000
# they read nothing themselves: what their scripts read counts
_SCRIPTS: Final = frozenset((b"eval_ro", b"evalsha_ro", b"fcall_ro"))


class ClientTracking:
    """What one client asked for."""

    __slots__ = ("broken", "caching", "ctx", "mode", "no_loop", "prefixes", "redirect")

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.mode = b""  # "", "optin", "optout" or "bcast"
        self.no_loop = False
        self.redirect = 0  # id of the client that is told instead, 0: nobody
        self.broken = False  # that client is gone
        self.prefixes: dict[bytes, None] = {}
        self.caching = False  # CLIENT CACHING was given for the next command

    def remembers(self) -> bool:
        """Whether what is read now is remembered."""
        if self.mode == b"optin":
            return self.caching
        return self.mode == b"" or (self.mode == b"optout" and not self.caching)


class _Prefix:
    """Clients that hear of all keys with one prefix."""

    __slots__ = ("changed", "clients")

    def __init__(self) -> None:
        self.clients: dict[ClientTracking, None] = {}
        self.changed: dict[bytes, Context | None] = {}  # in this pass, and by whom last


class Tracking:
    """The tracking clients of one server."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._readers: dict[bytes, set[int]] = {}  # oldest key first
        self._prefixes: dict[bytes, _Prefix] = {}
        self._clients: dict[int, ClientTracking] = {}
        self._is_pending = False  # whether some prefix has changed keys
        self.items = 0  # readers of all keys

    # -- who tracks ------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def keys(self) -> int:
        """How many keys somebody remembers."""
        return len(self._readers)

    @property
    def prefixes(self) -> int:
        """How many prefixes somebody listens to."""
        return len(self._prefixes)

    def begin(
        self, ctx: Context, *, mode: bytes, no_loop: bool, redirect: int, prefixes: Iterable[bytes]
    ) -> None:
        """`ctx` tracks from now on; if it did already, this way from now on, its prefixes kept."""
        mine = ctx.tracking
        if mine is None:
            mine = ctx.tracking = ClientTracking(ctx)
            if not self._clients:
                self._engine.observe(self._on_change)
            self._clients[ctx.client_id] = mine
            ctx.gates |= Gate.TRACKING
        mine.mode, mine.no_loop, mine.redirect = mode, no_loop, redirect
        mine.broken = False
        for prefix in prefixes:
            mine.prefixes[prefix] = None
            self._prefixes.setdefault(prefix, _Prefix()).clients[mine] = None

    def end(self, ctx: Context) -> None:
        """`ctx` does not track any more. What it read leaves the table when that changes."""
        mine = ctx.tracking
        if mine is None:
            return
        for prefix in mine.prefixes:
            listeners = self._prefixes[prefix].clients
            del listeners[mine]
            if not listeners:
                del self._prefixes[prefix]
        ctx.tracking = None
        ctx.gates &= ~Gate.TRACKING
        del self._clients[ctx.client_id]
        if not self._clients:
            self._engine.observe(self._on_change, False)
            self._forget_all()

    # -- what is read ----------------------------------------------------------------------------

    def remember(self, ctx: Context, command: Command, argv: Sequence[Any]) -> None:
        """A command that reads ran for `ctx`, which tracks (or for a script of such a client)."""
        mine = ctx.tracking
        if mine is None or command.name in _SCRIPTS or not mine.remembers():
            return
        try:
            positions = key_positions(command.spec, argv)
        except CommandError:
            return  # arguments that its handler refused
        readers, client_id = self._readers, mine.ctx.client_id
        for position, _ in positions:
            ids = readers.setdefault(bytes(argv[position]), set())
            self.items += client_id not in ids
            ids.add(client_id)
        most = self._engine.config.tracking_table_max_keys
        while most and len(readers) > most:
            self._tell_readers(next(iter(readers)))

    def tick(self, now_ms: int) -> bool:
        """The server's timer: the table's limit may have been lowered. Whether there is more."""
        most = self._engine.config.tracking_table_max_keys
        surplus = len(self._readers) - most if most else 0
        for _ in range(min(surplus, _KEYS_A_TICK)):
            self._tell_readers(next(iter(self._readers)))
        return surplus > _KEYS_A_TICK

    # -- what changes ----------------------------------------------------------------------------

    def flushed(self) -> None:
        """All keys, or all of one database, are gone."""
        for mine in self._clients.values():
            self._tell(mine, None)
        self._forget_all()

    def flush(self) -> None:
        """The pass is over: tell those who listen to prefixes what changed."""
        self._is_pending = False
        for _, prefix in sorted(self._prefixes.items()):
            if not prefix.changed:
                continue
            changed, prefix.changed = prefix.changed, {}
            keys = sorted(changed)
            for mine in prefix.clients:
                if not mine.no_loop:
                    self._tell(mine, keys)
                elif theirs := [key for key in keys if changed[key] is not mine.ctx]:
                    self._tell(mine, theirs)

    def _on_change(self, index: int, key: bytes, event: str) -> None:
        if self._prefixes:
            self._gather(key)
        if key in self._readers:
            self._tell_readers(key)

    def _gather(self, key: bytes) -> None:
        speaker = self._engine.pubsub.speaker
        for prefix, listeners in self._prefixes.items():
            if key.startswith(prefix):
                listeners.changed[key] = speaker
                if not self._is_pending:
                    self._is_pending = True
                    self._engine.outbox.add(self)

    def _tell_readers(self, key: bytes) -> None:
        ids = self._readers.pop(key)
        self.items -= len(ids)
        speaker = self._engine.pubsub.speaker
        for client_id in ids:
            mine = self._clients.get(client_id)
            if mine is None or mine.mode == b"bcast":
                continue
            if not (mine.no_loop and mine.ctx is speaker):
                self._tell(mine, [key])

    def _forget_all(self) -> None:
        self._readers = {}
        self.items = 0

    def _tell(self, mine: ClientTracking, keys: Sequence[bytes] | None) -> None:
        """Tell one client which keys changed, None: any may have."""
        ctx, tell = mine.ctx, self._engine.pubsub.tell
        receiver: Context | None = ctx
        if mine.redirect:
            receiver = self._engine.clients.get(mine.redirect)
            if receiver is None:
                mine.broken = True
                if ctx.resp > 2:
                    tell(ctx, _frames(Push([b"tracking-redir-broken", mine.redirect]), ctx.resp))
                return
        assert receiver is not None
        value = None if keys is None else list(keys)
        if receiver.resp > 2:
            tell(receiver, _frames(Push([b"invalidate", value]), receiver.resp))
        elif receiver is not ctx and receiver.gates & Gate.SUBSCRIBED:
            tell(receiver, _frames(Push([b"message", CHANNEL_NAME, value]), receiver.resp))


def _frames(message: Push, version: int) -> bytes:
    frames: list[bytes] = []
    encode(message, version, frames.append)
    return b"".join(frames)
