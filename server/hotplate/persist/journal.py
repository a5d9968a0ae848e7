"""What changed, as requests in groups, until it is written.

    recorder ─► append ─┐
    handlers ─► note ───┴► requests of the open group ─► take() ─► the log's file

A group holds requests that ran at one time of the clock. Between `begin_unit` and `end_unit` no
group ends, and several requests become one transaction. It knows no file and no loop: `on_pending`
is called when the first request comes after a `take`.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from hotplate.resp.request import encode_requests, is_as_encoded

if TYPE_CHECKING:
    from hotplate.keyspace.database import Database

_NO_TIME_MS: Final = -1
_MULTI: Final = (b"MULTI",)
_EXEC: Final = (b"EXEC",)


class Timebase(Protocol):
    """Both clocks, read when the running command began."""

    now_ms: int
    now_ns: int


class Keeper(Protocol):
    """A snapshot: hears of keys before they change."""

    def keep(self, database: "Database", key: bytes) -> None: ...
    def keep_database(self, database: "Database") -> None: ...


class Group(NamedTuple):
    """Requests that ran at one time."""

    now_ms: int
    exact_ns: int  # 0: not needed
    body: bytes


class Journal:
    """Collects requests. `is_pending` tells that there are some."""

    __slots__ = (
        "_depth",
        "_exact_ns",
        "_groups",
        "_lead_ns",
        "_now_ms",
        "_on_pending",
        "_requests",
        "_selected",
        "_timebase",
        "_unit_start",
        "is_pending",
        "keeper",
        "taken",
    )

    def __init__(self, timebase: Timebase, lead_ns: int, on_pending: Callable[[], None]) -> None:
        self._timebase = timebase
        self._lead_ns = lead_ns  # Unix time less the clock that never steps
        self._on_pending = on_pending
        self._groups: list[Group] = []
        # of the open group; bytes: several that are in RESP already
        self._requests: list[Sequence[bytes] | bytes] = []
        self._now_ms = _NO_TIME_MS  # of the open group; else there is none
        self._exact_ns = 0
        self._selected = -1  # the database of the last request
        self._depth = 0
        self._unit_start = 0
        self.is_pending = False
        self.taken = 0  # how often; what is pending will be taken next
        # hears of keys before they change without a command, while a snapshot is taken
        self.keeper: Keeper | None = None

    def append(self, index: int, argv: Sequence[bytes]) -> None:
        """A request changed database `index`."""
        if self._now_ms != self._timebase.now_ms or self._selected != index:
            self._prepare(index)
        self._requests.append(argv)

    def append_many(self, index: int, requests: Sequence[Sequence[bytes]]) -> None:
        """Requests of one command, run one after the other, changed database `index`."""
        if self._now_ms != self._timebase.now_ms or self._selected != index:
            self._prepare(index)
        self._requests += requests

    def came_as(self, requests: list[list[bytes]], pieces: list[bytes]) -> None:
        """Clients sent these requests as `pieces`: if they are what was logged last, keep those."""
        logged, count = self._requests, len(requests)
        if not self._depth and logged[-count:] == requests and all(pieces):
            data = b"".join(pieces)
            if is_as_encoded(data):
                logged[-count:] = [data]

    def append_exact(self, index: int, argv: Sequence[bytes]) -> None:
        """A request whose effect depends on the exact time."""
        exact_ns = self._timebase.now_ns + self._lead_ns
        if self._exact_ns != exact_ns and not self._depth:
            self._close()
        self.append(index, argv)
        self._exact_ns = exact_ns

    def keep(self, database: "Database", key: bytes) -> None:
        """`key` is about to change, and no running command names it."""
        if self.keeper is not None:
            self.keeper.keep(database, key)

    def keep_database(self, database: "Database") -> None:
        """All keys of `database` are about to go."""
        if self.keeper is not None:
            self.keeper.keep_database(database)

    def note(self, index: int, *argv: bytes) -> None:
        """Database `index` was changed as `argv` would change it."""
        self.append(index, argv)

    def note_exact(self, index: int, *argv: bytes) -> None:
        """The same, where the effect depends on the exact time."""
        self.append_exact(index, argv)

    def begin_unit(self) -> None:
        """What follows, up to `end_unit`, is one whole. Units may be nested."""
        self._depth += 1
        if self._depth == 1:
            # an open group of an earlier time must not take the unit's requests
            if self._now_ms != self._timebase.now_ms:
                self._close()
            self._unit_start = len(self._requests)

    def end_unit(self) -> None:
        """The unit is complete."""
        self._depth -= 1
        if self._depth == 0 and len(self._requests) - self._unit_start > 1:
            self._requests.insert(self._unit_start, _MULTI)
            self._requests.append(_EXEC)

    def take(self) -> list[Group]:
        """All that is pending, whole groups, in order."""
        assert not self._depth, "the log was flushed inside a transaction"
        self._close()
        groups, self._groups = self._groups, []
        self.is_pending = False
        self.taken += 1
        return groups

    def begin_file(self) -> None:
        """What comes goes to a new file, whose reader knows of no selected database."""
        assert not self.is_pending
        self._selected = -1

    def _prepare(self, index: int) -> None:
        now_ms = self._timebase.now_ms
        if self._now_ms != now_ms:
            if not self._depth:
                self._close()
            if self._now_ms == _NO_TIME_MS:
                self._now_ms = now_ms
                if not self.is_pending:
                    self.is_pending = True
                    self._on_pending()
        if self._selected != index:
            self._selected = index
            self._requests.append((b"SELECT", b"%d" % index))

    def _close(self) -> None:
        if self._requests:
            body = encode_requests(self._requests)
            self._groups.append(Group(self._now_ms, self._exact_ns, body))
            self._requests = []
        self._now_ms = _NO_TIME_MS
        self._exact_ns = 0
