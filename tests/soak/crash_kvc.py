"""A client of the KV cache in the crash run: what it was told is stored must be there, whole.

It has an instance of its own for each way of keeping blocks. Those of the first kinds never evict:
a block whose PUT or FINISH was acknowledged is there with its bytes until REMOVE or TRIM, wherever
it was moved to meanwhile. The last kind evicts all the time: what it has must be right. Blocks of
a session that was not finished are never there; an open session goes on after a kill, and a FINISH
that was answered is answered the same again.
"""

import itertools
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import hiredis
from tests.soak.crash_wire import Argv, Asker, LostError, encode, take, talk
from xxhash import xxh3_64_digest

CHAINS: Final = 10
CHAIN_MAX: Final = 8
SESSIONS_KEPT: Final = 8  # finished ones whose blocks are not removed yet
UNFINISHED_KEPT: Final = 20  # of which it is asked whether their blocks are served
PIPELINE_MAX: Final = 4
SESSION_SECONDS: Final = b"600"
NO_ROOM: Final = ("QUOTA", "NOSPACE")


@dataclass(frozen=True, slots=True)
class Kind:
    """A group's options, and whether its blocks stay until they are removed."""

    name: bytes
    size: int
    group: bytes
    keeps: bool = True


KINDS: Final = (
    Kind(b"ssd", 700, b"STORAGES 1 ssd"),
    Kind(b"memory", 700, b"STORAGES 1 memory"),
    Kind(
        b"exclusive",
        4000,
        b"STORAGES 2 memory ssd TYPEQUOTA memory 300000 TIERING exclusive GRACE 0"
        b" WATERMARKS 0.8 0.4",
    ),
    Kind(b"inclusive", 3000, b"STORAGES 2 memory ssd TIERING inclusive GRACE 0"),
    Kind(b"evicting", 3000, b"STORAGES 1 ssd QUOTA 60000 GRACE 0", keeps=False),
)


@dataclass(slots=True)
class Session:
    """A write that was begun: its keys are nobody else's."""

    id: bytes
    keys: list[bytes]
    version: int
    written: int = 0  # so many from the front are known to be in the server


@dataclass(slots=True)
class Unit:
    """A request on its way."""

    argv: Argv
    heard: Callable[[Any], None]
    unheard: Callable[[], None]


def payload(key: bytes, version: int, size: int) -> bytes:
    """The bytes of a block: all of them tell whose they are."""
    text = b"%b:%d;" % (key, version)
    return (text * (size // len(text) + 1))[:size]


def _nothing() -> None:
    """It changes nothing that is judged."""


@dataclass(slots=True)
class Instance:
    """One instance, and what it must hold."""

    name: bytes
    kind: Kind
    rng: random.Random
    versions: dict[bytes, set[int]] = field(default_factory=dict)  # of each key: what may be there
    finished: list[list[bytes]] = field(default_factory=list)
    unfinished: list[list[bytes]] = field(default_factory=list)
    open: list[Session] = field(default_factory=list)
    last_finish: tuple[Argv, Any] | None = None

    # -- what it does --------------------------------------------------------------------------

    def put(self, version: int) -> Unit:
        """Whole blocks of a chain, in one step; those that are there already stay."""
        chain = self.rng.randrange(CHAINS)
        length = self.rng.randrange(1, CHAIN_MAX + 1)
        keys = chain_keys(b"a%d" % chain)[:length]
        words = [word for key in keys for word in (key, payload(key, version, self.kind.size))]

        def unheard() -> None:
            for key in keys:
                if not self.kind.keeps:
                    self.versions.setdefault(key, set()).add(version)
                elif key not in self.versions:
                    self.versions[key] = {version}

        def heard(reply: Any) -> None:
            if not self.was_refused(reply):
                new = sum(key not in self.versions for key in keys)
                self.expect(reply, new, "PUT")
                unheard()

        return Unit([b"KVC.PUT", self.name, b"%d" % length, *words], heard, unheard)

    def remove(self) -> Unit:
        """A few blocks, from anywhere; or those of the oldest session that was finished."""
        if len(self.finished) > SESSIONS_KEPT:
            keys = self.finished.pop(0)
        else:
            chain = chain_keys(b"a%d" % self.rng.randrange(CHAINS))
            keys = self.rng.sample(chain, self.rng.randrange(1, 4))

        def unheard() -> None:
            for key in keys:
                self.versions.pop(key, None)

        def heard(reply: Any) -> None:
            self.expect(reply, sum(key in self.versions for key in keys), "REMOVE")
            unheard()

        argv = [b"KVC.REMOVE", self.name, b"KEYS", b"%d" % len(keys), *keys]
        return Unit(argv, heard, unheard)

    def trim(self) -> Unit:
        """All blocks, and what is being written: nobody goes on with those sessions."""
        self.open.clear()

        def unheard() -> None:
            self.versions.clear()

        def heard(reply: Any) -> None:
            if not isinstance(reply, int):
                raise LostError(f"{self.name!r}: TRIM answered {reply!r}")
            unheard()

        return Unit([b"KVC.TRIM", self.name, b"ALL"], heard, unheard)

    def read(self) -> list[Unit]:
        """Find the blocks of a chain, which the second time are wanted in memory, and read them."""
        keys = chain_keys(b"a%d" % self.rng.randrange(CHAINS))

        def found(reply: Any) -> None:
            if not isinstance(reply, int):
                raise LostError(f"{self.name!r}: GETLOC answered {reply!r}")

        def heard(reply: Any) -> None:
            for key, data in zip(keys, reply, strict=True):
                self.check(key, data)

        words = [b"EXACT", b"KEYS", b"%d" % len(keys), *keys]
        return [
            Unit([b"KVC.GETLOC", self.name, b"COUNT", *words], found, _nothing),
            Unit([b"KVC.MREAD", self.name, *words], heard, _nothing),
        ]

    def start(self, number: int) -> Unit:
        """Reserve the blocks of a new chain."""
        keys = chain_keys(b"w%d" % number)[: self.rng.randrange(1, CHAIN_MAX + 1)]
        self.unfinished.append(keys)
        del self.unfinished[:-UNFINISHED_KEPT]

        def heard(reply: Any) -> None:
            if not self.was_refused(reply):
                self.open.append(Session(reply[0], keys, number))
                self.expect(reply[1], b"0" * len(keys), "STARTWRITE")

        argv = [b"KVC.STARTWRITE", self.name, b"TIMEOUT", SESSION_SECONDS]
        return Unit([*argv, b"KEYS", b"%d" % len(keys), *keys], heard, _nothing)

    def write(self, session: Session, index: int) -> Unit:
        """The bytes of one block."""
        data = payload(session.keys[index], session.version, self.kind.size)

        def heard(reply: Any) -> None:
            self.expect(reply, b"OK", "WRITE")
            session.written += 1

        argv = [b"KVC.WRITE", self.name, session.id, b"%d" % index, data]
        return Unit(argv, heard, _nothing)

    def finish(self, session: Session, count: int, *words: bytes) -> Unit:
        """Publish the first so many blocks, and drop the rest."""
        keys = session.keys[:count]

        def unheard() -> None:
            if session.keys in self.unfinished:
                self.unfinished.remove(session.keys)
                self.finished.append(session.keys)
            session.written = count
            for key in keys:
                self.versions[key] = {session.version}

        def heard(reply: Any) -> None:
            if reply != [count, len(session.keys) - count]:
                raise LostError(f"{self.name!r}: FINISH {count} answered {reply!r}, {session}")
            unheard()
            if session in self.open:
                self.open.remove(session)
            self.last_finish = argv, reply

        argv = [b"KVC.FINISH", self.name, session.id, b"PREFIX", b"%d" % count, *words]
        return Unit(argv, heard, unheard)

    def was_refused(self, reply: Any) -> bool:
        """For want of room; then nothing has changed. LostError for any other error."""
        if not isinstance(reply, Exception):
            return False
        if str(reply).startswith(NO_ROOM):
            return True
        raise LostError(f"{self.name!r}: {reply!r}")

    def expect(self, reply: Any, expected: Any, what: str) -> None:
        """A reply that is sure where nothing is evicted."""
        if isinstance(reply, Exception) or (self.kind.keeps and reply != expected):
            raise LostError(f"{self.name!r}: {what} answered {reply!r} instead of {expected!r}")

    def check(self, key: bytes, data: Any) -> None:
        """A block that was read while nothing else was under way."""
        if not self.is_right(key, self.version_of(key, data)):
            raise LostError(f"{self.name!r}: {key!r} holds {data!r:.200}")

    # -- what it finds -------------------------------------------------------------------------

    def keys(self) -> list[bytes]:
        """All that might be there."""
        chains = [chain_keys(b"a%d" % number) for number in range(CHAINS)]
        found = dict.fromkeys(key for keys in chains for key in keys)
        found |= dict.fromkeys(self.versions)
        found |= dict.fromkeys(key for keys in self.unfinished for key in keys)
        return list(found)

    def version_of(self, key: bytes, data: Any) -> int | None:
        """Which version was read, None: none. LostError for bytes that are no block of that key."""
        if data is None:
            return None
        if isinstance(data, bytes):
            head, _, rest = data.partition(b":")
            version = rest.partition(b";")[0]
            mine = head == key and version.isdigit()
            if mine and data == payload(key, int(version), self.kind.size):
                return int(version)
        raise LostError(f"{self.name!r}: {key!r} holds {data!r:.200}")

    def is_right(self, key: bytes, version: int | None) -> bool:
        """Whether a key may hold that."""
        if version is None:
            return not self.kind.keeps or key not in self.versions
        return version in self.versions.get(key, ())

    def wrong(self, found: dict[bytes, int | None]) -> dict[bytes, Any]:
        """(expected, found) of each key that is not as it must be."""
        return {
            key: (self.versions.get(key), version)
            for key, version in found.items()
            if not self.is_right(key, version)
        }


def chain_keys(name: bytes) -> list[bytes]:
    """The keys of a chain, all of one width."""
    return [b"%08b-%02d" % (name.rjust(8, b"0"), number) for number in range(CHAIN_MAX)]


class KvcClient:
    """One connection at a time, and instances of its own."""

    def __init__(self, number: int, rng: random.Random) -> None:
        self.rng = rng
        self.instances = [Instance(b"k%d-%b" % (number, kind.name), kind, rng) for kind in KINDS]
        self.numbers = itertools.count(1)
        self.under_way: list[tuple[Instance, Unit]] = []  # sent and not answered
        self.acknowledged = 0
        self.error: Exception | None = None

    def live(self, port: int) -> None:
        """Write until the server is gone."""
        self.error = talk(port, self.act)

    def act(self, sock: socket.socket, reader: hiredis.Reader) -> None:
        """One thing that clients do."""
        instance = self.rng.choice(self.instances)
        chance = self.rng.random()
        if chance < 0.5:
            units = [
                instance.put(next(self.numbers)) if self.rng.random() < 0.7 else instance.remove()
                for _ in range(self.rng.randrange(1, PIPELINE_MAX))
            ]
        elif chance < 0.52:
            units = [instance.trim()]
        elif chance < 0.7:
            units = instance.read()
        else:
            self.send(sock, reader, instance, [instance.start(next(self.numbers))])
            if not instance.open:
                return
            session = instance.open[-1]
            count = self.rng.randrange(len(session.keys) + 1)
            units = [instance.write(session, index) for index in range(count)]
            if self.rng.random() < 0.9:
                units.append(instance.finish(session, count))
        self.send(sock, reader, instance, units)

    def send(
        self, sock: socket.socket, reader: hiredis.Reader, instance: Instance, units: list[Unit]
    ) -> None:
        """Ask for all of it, then hear."""
        self.under_way = [(instance, unit) for unit in units]
        sock.sendall(b"".join(encode(unit.argv) for unit in units))
        for unit in units:
            unit.heard(take(sock, reader))
            self.under_way.pop(0)
            self.acknowledged += 1

    # -- what it finds -------------------------------------------------------------------------

    def judge(self, ask: Asker) -> None:
        """Blocks must be those of what was acknowledged, and of some that was under way."""
        for instance in self.instances:
            self.ensure(instance, ask)
            keys = instance.keys()
            request = [b"KVC.MREAD", instance.name, b"EXACT", b"KEYS", b"%d" % len(keys), *keys]
            found = {
                key: instance.version_of(key, data)
                for key, data in zip(keys, ask(*request), strict=True)
            }
            units = [unit for owner, unit in self.under_way if owner is instance]
            while wrong := instance.wrong(found):
                if not units:
                    raise LostError(f"{instance.name!r}: (expected, found) {wrong!r}"[:3000])
                units.pop(0).unheard()
            if not instance.kind.keeps:
                instance.versions = {
                    key: {version} for key, version in found.items() if version is not None
                }
            self.go_on(instance, ask)
        self.under_way = []

    def ensure(self, instance: Instance, ask: Asker) -> None:
        """Its group and itself are there."""
        group = instance.name + b"-group"
        reply = ask(b"KVC.GROUP", b"CREATE", group, *instance.kind.group.split())
        if reply != 1 and not str(reply).startswith("DUPLICATE"):
            raise LostError(f"{group!r}: {reply!r}")
        about = [b"GROUP", group, b"BLOCKTOKENS", b"16", b"SPEC", b"kv"]
        reply = ask(b"KVC.INSTANCE", b"REGISTER", instance.name, *about, b"%d" % instance.kind.size)
        if isinstance(reply, str):
            raise LostError(f"{instance.name!r}: {reply}")

    def go_on(self, instance: Instance, ask: Asker) -> None:
        """A FINISH that was answered is answered the same; open sessions are finished, or left."""
        if instance.last_finish is not None:
            argv, reply = instance.last_finish
            again = ask(*argv)
            if again != reply:
                raise LostError(f"{argv!r} answered {again!r} instead of {reply!r}")
        for session in instance.open:
            is_closed = session.keys in instance.finished  # by a FINISH that was not heard
            all_of_it = is_closed or self.rng.random() < 0.7
            count = session.written if all_of_it else 0
            datas = [payload(key, session.version, instance.kind.size) for key in session.keys]
            sums = b"".join(map(xxh3_64_digest, datas[:count]))
            unit = instance.finish(session, count, b"CHECKSUMS", sums)
            again = ask(*unit.argv)
            if instance.kind.keeps and again != [count, len(session.keys) - count]:
                raise LostError(f"{instance.name!r}: open {session} answered {again!r}")
            unit.unheard()
        instance.open.clear()
