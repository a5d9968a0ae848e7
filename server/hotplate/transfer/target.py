"""Where items go: a server, in batches, or a snapshot; and what became of them."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from redis.exceptions import ResponseError

from hotplate.keyspace.rdb import PlainHash, dump, is_intact, load
from hotplate.keyspace.rdb_bytes import RdbError
from hotplate.keyspace.rdb_module import MODULE_TYPE
from hotplate.persist.rdb_writer import RdbWriter
from hotplate.transfer.items import Call, Code, Item, Key, Left
from hotplate.transfer.link import Argv, Link

_BATCH_COMMANDS: Final = 512
_BATCH_BYTES: Final = 4 << 20
_PROGRESS_KEYS: Final = 10_000  # between two words of progress
_THERE: Final = "is there already (--replace overwrites)"
_LIMIT: Final = bytes((MODULE_TYPE,))  # of a payload
_LIMITS_STAY: Final = "rate limits and paced queues: that server does not know them"
_TIMES_LOST: Final = "fields of the hash never expire there: that server knows no such times"


class Outcome:
    """What was moved, and what was not, by reason."""

    __slots__ = ("calls", "examples", "keys", "left", "libraries", "partly")

    def __init__(self) -> None:
        self.keys = 0
        self.libraries = 0
        self.calls = 0
        self.left: Counter[str] = Counter()
        self.partly: Counter[str] = Counter()
        self.examples: dict[str, str] = {}

    def leave(self, left: Left) -> None:
        """Count something that was not moved, or not whole."""
        (self.partly if left.moved else self.left)[left.why] += 1
        self.examples.setdefault(left.why, left.what)

    def lines(self) -> list[str]:
        """For people."""
        parts = [f"{self.keys} keys"]
        parts += [f"{self.libraries} libraries"] if self.libraries else []
        parts += [f"{self.calls} commands of the log"] if self.calls else []
        lines = [f"moved {', '.join(parts)}"]
        for title, reasons in (("not moved", self.left), ("moved in part", self.partly)):
            if reasons:
                lines.append(f"{title}: {sum(reasons.values())}")
                for why, count in reasons.most_common():
                    lines.append(f"  {count}  {why}; for example {self.examples[why]}")
        return lines


class Target(Protocol):
    """Takes items; `finish` sees to what is still under way."""

    def take(self, item: Key | Code | Call) -> None:
        """One item."""
        ...

    def finish(self) -> None:
        """No more of them."""
        ...


class ServerTarget:
    """A running server. What it refuses is told to the outcome."""

    __slots__ = ("_asked", "_commands", "_link", "_outcome", "_size", "replaces")

    def __init__(self, link: Link, outcome: Outcome, *, replace: bool) -> None:
        self._link = link
        self._outcome = outcome
        self.replaces = replace
        self._commands: list[Argv] = []
        self._asked: list[Key | Code | Call | None] = []
        self._size = 0

    def take(self, item: Key | Code | Call) -> None:
        """One item."""
        if isinstance(item, Key):
            if item.database != self._link.database:
                self._link.database = item.database
                self._ask(("SELECT", item.database), None)
            self._ask(self._restore(item.key, item.payload, item.expire_at_ms), item)
            self._size += len(item.payload)
        elif isinstance(item, Code):
            replace = ("REPLACE",) if self.replaces else ()
            self._ask(("FUNCTION", "LOAD", *replace, item.code), item)
            self._size += len(item.code)
        else:
            self._ask(item.argv, item)
            self._size += sum(map(len, item.argv))
            self._link.database = -1  # the log selects as it likes
        if self._size >= _BATCH_BYTES or len(self._commands) >= _BATCH_COMMANDS:
            self.finish()

    def _ask(self, argv: Argv, item: Key | Code | Call | None) -> None:
        self._commands.append(argv)
        self._asked.append(item)

    def _restore(self, key: bytes, payload: bytes, expire_at_ms: int) -> Argv:
        replace = ("REPLACE",) if self.replaces else ()
        return ("RESTORE", key, expire_at_ms, payload, "ABSTTL", *replace)

    def finish(self) -> None:
        """Send what was collected, and look at the replies."""
        if not self._commands:
            return
        replies = self._link.run(self._commands)
        for item, reply in zip(self._asked, replies, strict=True):
            if isinstance(reply, ResponseError):
                self._refused(item, reply)
            elif isinstance(item, Key):
                self._outcome.keys += 1
            elif isinstance(item, Code):
                self._outcome.libraries += 1
            elif item is not None:
                self._outcome.calls += 1
        self._commands, self._asked, self._size = [], [], 0

    def _refused(self, item: Key | Code | Call | None, error: ResponseError) -> None:
        why = str(error)
        if isinstance(item, Key):
            what = f"{item.key!r} in database {item.database}"
            if why.startswith("BUSYKEY") or "already exists" in why:
                why = _THERE
            elif item.payload[:1] == _LIMIT:
                why = _LIMITS_STAY
            elif self._restore_without_times(item):
                self._outcome.keys += 1
                self._outcome.leave(Left(what, _TIMES_LOST, moved=True))
                return
        elif isinstance(item, Code):
            what = f"the library {item.code.splitlines()[0]!r}"
            why = _THERE if "already exists" in why else why
        elif isinstance(item, Call):
            what = repr(b" ".join(item.argv[:2]))
        else:
            raise error  # SELECT: nothing would go where it belongs
        self._outcome.leave(Left(what, why))

    def _restore_without_times(self, item: Key) -> bool:
        """A hash whose fields expire, for a server that knows no such times."""
        plain = without_times(item.payload)
        if plain is None:
            return False
        self._link.call("SELECT", item.database)
        reply = self._link.run([self._restore(item.key, plain, item.expire_at_ms)])[0]
        self._link.database = item.database
        return not isinstance(reply, ResponseError)


def without_times(payload: bytes) -> bytes | None:
    """The dump of a hash whose fields do not expire; None if `payload` is not one where they do."""
    if not is_intact(payload):
        return None
    try:
        value = load(payload)
    except RdbError:
        return None
    if not isinstance(value, PlainHash) or not value.expiries_ms:
        return None
    return dump(PlainHash(value.fields), compact=False)


class SnapshotTarget:
    """A snapshot. `for_redis_7`: fields of hashes expire only where a Hotplate reads the file."""

    __slots__ = ("_database", "_for_redis_7", "_outcome", "_sizes", "_writer")

    def __init__(
        self,
        write: Callable[[bytes], object],
        outcome: Outcome,
        sizes: dict[int, int],
        *,
        for_redis_7: bool,
    ) -> None:
        self._writer = RdbWriter(write, checksum=True, for_redis_7=for_redis_7)
        self._for_redis_7 = for_redis_7
        self._writer.start({b"redis-ver": b"7.0.0"})
        self._outcome = outcome
        self._sizes = sizes
        self._database = -1

    def take(self, item: Key | Code | Call) -> None:
        """One item."""
        if isinstance(item, Code):
            self._writer.add_library(item.code)
            self._outcome.libraries += 1
        elif isinstance(item, Key) and self._for_redis_7 and item.payload[:1] == _LIMIT:
            what = f"{item.key!r} in database {item.database}"
            self._outcome.leave(Left(what, _LIMITS_STAY))
        elif isinstance(item, Key):
            if item.database != self._database:
                self._database = item.database
                self._writer.select(item.database, self._sizes.get(item.database, 0), 0)
            self._writer.add_dumped(item.key, item.payload, item.expire_at_ms)
            self._outcome.keys += 1
        else:
            raise AssertionError("a server has no log")

    def finish(self) -> None:
        """End the file."""
        self._writer.finish()


def move(items: Iterable[Item], target: Target, outcome: Outcome, *, total: int) -> None:
    """Move all items, with a word of progress now and then on a terminal."""
    shows = sys.stderr.isatty()
    count = 0
    for item in items:
        _move_one(item, target, outcome)
        count += 1
        if shows and count % _PROGRESS_KEYS == 0:
            of_all = f" of {total}" if total else ""
            print(f"\r{count}{of_all} ...", end="", file=sys.stderr, flush=True)
    target.finish()
    if shows and count >= _PROGRESS_KEYS:
        print(file=sys.stderr)


def _move_one(item: Item, target: Target, outcome: Outcome) -> None:
    if isinstance(item, Left):
        outcome.leave(item)
    else:
        target.take(item)
