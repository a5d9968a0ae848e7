"""A server that is killed again and again, and judged by what it had acknowledged.

    python -m tests.soak.crash --kills 30 [--policy everysec] [--clients 3] [--caches 1] [--seed N]

Clients write to keys of their own, of all types, some commands in one go; a command whose reply
came is acknowledged. SIGKILL comes at a random moment: while the log is rewritten, while a snapshot
is saved, while data is loaded; now and then the server is stopped instead. After each restart every
client's keys must be what its acknowledged commands made of them, and the first so many of those
that were under way: none of the former may be lost, none of the latter may be there without those
before it, a transaction or script not in part. `crash_kvc` says what is asked of the KV cache.

The model is an engine in this process that keeps nothing. It runs each command a client sent; what
was random is told to it from the reply.
"""

import argparse
import itertools
import random
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import hiredis
from tests.soak.crash_kvc import KvcClient
from tests.soak.crash_wire import Argv, Asker, LostError, asker, encode, take, talk
from tests.testing.console import Console
from tests.testing.server import SMALL_STORAGES

from hotplate.bench.process import ServerProcess, start_hotplate
from hotplate.errors import CommandError

FAR_MS: Final = 4_102_444_800_000
SLOWLY_MS: Final = b"1000000000"  # a bucket that does not drain meanwhile
MEMBERS: Final = 6
# how long a server really lives: a kill is to come at any moment, which no clock of ours makes
LIFE_SECONDS: Final = (0.02, 0.6)  # between ready and killed
AMID_SECONDS: Final = (0.0, 0.03)  # after a rewrite or a save was begun
FILLED: Final = 10_000
STOPS: Final = 0.05  # so many lives end as they should: that, too, must lose nothing
REWRITES: Final = 0.04  # so many last until the log is rewritten: starts would take ever longer
POLL_SECONDS: Final = 0.02
# times, parts of tokens that drained, and calls that were refused, which change nothing
_NOT_KEPT: Final = (b"reset_after_ms", b"refunded", b"limited")
EARLY_SECONDS_MAX: Final = 1.5
PIPELINE_MAX: Final = 8
START_SECONDS_MAX: Final = 300.0
OPTIONS: Final = (
    *("--appendonly", "yes", "--auto-aof-rewrite-min-size", "32kb"),
    *("--auto-aof-rewrite-percentage", "40", "--save", "1 50"),
    *("--kvc-memory-on-stop", "keep"),
)


class Client:
    """One connection at a time, keys of its own, and what it knows of them."""

    def __init__(self, number: int, rng: random.Random, model: Console) -> None:
        self.prefix = b"c%d:" % number
        self.rng = rng
        self.model = model
        self.numbers = itertools.count(1)
        self.under_way: list[list[Argv]] = []  # units sent and not answered
        self.acknowledged = 0
        self.error: Exception | None = None

    def key(self, name: bytes) -> bytes:
        """A key of this client."""
        return self.prefix + name

    # -- what it does --------------------------------------------------------------------------

    def unit(self) -> list[Argv]:
        """The next command; or a transaction, MULTI and EXEC included."""
        number = b"%d" % next(self.numbers)
        choices = self.choices(number)
        if self.rng.random() < 0.01:
            queue = self.key(b"queue")
            made = [b"LBQ.CREATE", queue, b"INTO", self.key(b"due"), b"RATE", b"1", SLOWLY_MS]
            return [[b"MULTI"], [*made, b"CLASSES", b"2"], [b"LBQ.PAUSE", queue], [b"EXEC"]]
        if self.rng.random() < 0.15:
            inner = [self.rng.choice(choices) for _ in range(3)]
            inner = [argv for argv in inner if argv[0] not in (b"SPOP", b"XREADGROUP")]
            return [[b"MULTI"], *inner, [b"EXEC"]]
        return [self.rng.choice(choices)]

    def choices(self, number: bytes) -> list[Argv]:
        """One command of each kind."""
        key, rng = self.key, self.rng
        member = b"m%d" % rng.randrange(MEMBERS)
        text = number * rng.choice([1, 1, 1, 40, 4000])
        entry_id = b"%b-1" % number
        other_id = b"%d-1" % rng.randrange(1, int(number) + 1)
        both = b"redis.call('SET', KEYS[1], ARGV[1]) redis.call('RPUSH', KEYS[2], ARGV[1])"
        names = [b"s1", b"s2", b"list", b"list2", b"hash", b"set", b"sorted", b"stream"]
        return [
            [b"SET", key(b"s1"), text],
            [b"SET", key(b"s2"), number, b"PXAT", b"%d" % (FAR_MS + int(number))],
            [b"APPEND", key(b"s1"), number],
            [b"INCR", key(b"counter")],
            [b"INCRBYFLOAT", key(b"float"), b"0.25"],
            [b"MSET", key(b"s1"), number, key(b"s2"), number],
            [b"SETBIT", key(b"bits"), b"%d" % rng.randrange(99), b"1"],
            [b"RPUSH", key(b"list"), text, number],
            [b"LPOP", key(b"list")],
            [b"LMOVE", key(b"list"), key(b"list2"), b"LEFT", b"RIGHT"],
            [b"LTRIM", key(b"list2"), b"0", b"20"],
            [b"HSET", key(b"hash"), member, number],
            [b"HPEXPIREAT", key(b"hash"), b"%d" % FAR_MS, b"FIELDS", b"1", member],
            [b"HDEL", key(b"hash"), member],
            [b"SADD", key(b"set"), member, b"n%b" % member],
            [b"SPOP", key(b"set")],
            [b"SREM", key(b"set"), member],
            [b"ZADD", key(b"sorted"), number, member],
            [b"ZINCRBY", key(b"sorted"), b"1.5", member],
            [b"ZPOPMIN", key(b"sorted")],
            [b"PFADD", key(b"sketch"), number],
            [b"XADD", key(b"stream"), entry_id, b"f", text],
            [b"XGROUP", b"CREATE", key(b"stream"), b"g", b"0", b"MKSTREAM"],
            [b"XREADGROUP", b"GROUP", b"g", member, b"COUNT", b"2", b"STREAMS", key(b"stream"),
             b">"],
            [b"XACK", key(b"stream"), b"g", other_id],
            [b"XTRIM", key(b"stream"), b"MAXLEN", b"30"],
            [b"EVAL", both, b"2", key(b"s1"), key(b"list"), number],
            [b"DEL", key(rng.choice(names))],
            [b"RENAME", key(b"s1"), key(b"s3")],
            [b"LB.ACQUIRE", b"1", key(b"calls"), b"LIMIT", b"CONC", b"9", b"ID", member, b"TTL",
             b"9999999999"],
            [b"LB.CANCEL", member, b"1", key(b"calls")],
            [b"LB.ACQUIRE", b"1", key(b"rate"), b"LIMIT", b"RATE", b"999", b"1", SLOWLY_MS, b"3",
             b"ID", member, b"TTL", b"9999999999"],
            [b"LB.SETTLE", member, b"1", key(b"rate"), b"ACTUAL", b"%d" % rng.randrange(5)],
            [b"CL.THROTTLE", key(b"cell"), b"500", b"1", b"9000000000", b"2"],
            [b"LBQ.ADD", key(b"queue"), b"CLASS", b"%d" % rng.randrange(2), b"FIELDS", b"1", b"n",
             number],
            [b"XCLAIM", key(b"stream"), b"g", member, b"0", other_id, b"JUSTID"],
            [b"XDEL", key(b"stream"), other_id],
            [b"GEOADD", key(b"places"), b"%d" % rng.randrange(90), b"10", member],
        ]  # fmt: skip

    def live(self, port: int) -> None:
        """Write until the server is gone."""
        self.error = talk(port, self.act)

    def act(self, sock: socket.socket, reader: hiredis.Reader) -> None:
        """One pipeline."""
        units = [self.unit() for _ in range(self.rng.randrange(1, PIPELINE_MAX))]
        self.under_way = units.copy()
        sock.sendall(b"".join(encode(argv) for unit in units for argv in unit))
        for unit in units:
            replies = [take(sock, reader) for _ in unit]
            self.apply(unit, replies[-1])
            self.under_way.pop(0)
            self.acknowledged += 1

    def apply(self, unit: list[Argv], reply: Any) -> None:
        """Let the model do what the server did."""
        (argv, *_) = unit
        if argv[0] == b"SPOP":
            if reply is not None:
                self.model.execute([b"SREM", argv[1], reply])
            return
        for each in unit:
            self.model.execute(each)

    # -- what it finds -------------------------------------------------------------------------

    def judge(self, ask: "Asker") -> None:
        """The keys must be those of the acknowledged commands, and of some that were under way."""
        key = self.key(b"set")
        found = content(self.prefix, ask)
        found_set = frozenset(found.get(key, (b"set", -1, []))[2])
        sets = {frozenset(self.model_asks(b"SMEMBERS", key))}
        differences: list[dict[bytes, Any]] = []
        for unit in [None, *self.under_way]:
            if unit is not None:
                sets = self.apply_unheard(unit, sets)
            if found_set in sets:
                self.model.execute([b"DEL", key])
                if found_set:
                    self.model.execute([b"SADD", key, *found_set])
            expected = content(self.prefix, self.model_asks)
            if expected == found:
                self.under_way = []
                return
            keys = expected.keys() | found.keys()
            pairs = {key: (expected.get(key), found.get(key)) for key in keys}
            differences.append({key: two for key, two in pairs.items() if two[0] != two[1]})
        least = min(differences, key=len)
        raise LostError(f"{self.prefix!r}: (expected, found) {least!r}"[:3000])

    def apply_unheard(self, unit: list[Argv], sets: set[frozenset[bytes]]) -> set[frozenset[bytes]]:
        """A unit whose replies did not come: all that the set may hold after it, for nobody heard
        what SPOP took. The model has the rest."""
        for argv in unit:
            if argv[0] == b"SPOP":
                sets = {members - {gone} for members in sets for gone in members or [b""]}
                continue
            self.model.execute(argv)
            if argv[1:2] == [self.key(b"set")]:
                sets = {after(argv, members) for members in sets}
        return sets

    def model_asks(self, *words: bytes) -> Any:
        """The model's reply; an error is a value, too."""
        try:
            return self.model(*words)
        except CommandError as error:
            return str(error)


def after(argv: Argv, members: frozenset[bytes]) -> frozenset[bytes]:
    """What SADD, SREM or DEL makes of a set."""
    if argv[0] == b"DEL":
        return frozenset()
    return members.union(argv[2:]) if argv[0] == b"SADD" else members.difference(argv[2:])


def content(prefix: bytes, ask: Asker) -> dict[bytes, Any]:
    """Everything in the keys that begin so."""
    found: dict[bytes, Any] = {}
    for key in sorted(ask(b"KEYS", prefix + b"*")):
        kind, expiry = ask(b"TYPE", key), ask(b"PEXPIRETIME", key)
        value: Any
        if kind == b"string":
            value = ask(b"GET", key)
            if key.endswith(b"sketch"):
                value = value[:8] + value[16:]  # but for the count that it remembers
        elif kind == b"list":
            value = ask(b"LRANGE", key, b"0", b"-1")
        elif kind == b"set":
            value = sorted(ask(b"SMEMBERS", key))
        elif kind == b"zset":
            value = ask(b"ZRANGE", key, b"0", b"-1", b"WITHSCORES")
        elif kind == b"hash":
            flat = ask(b"HGETALL", key)
            names = flat[::2]
            times = ask(b"HPEXPIRETIME", key, b"FIELDS", b"%d" % len(names), *names)
            value = sorted(zip(names, flat[1::2], times, strict=True))
        elif kind == b"stream":
            pending = ask(b"XPENDING", key, b"g", b"-", b"+", b"9999")
            rows = pending if isinstance(pending, list) else []
            deliveries = [(row[0], row[1], row[3]) for row in rows]
            groups = [row[:4] + row[6:10] for row in ask(b"XINFO", b"GROUPS", key)]
            value = (ask(b"XRANGE", key, b"-", b"+"), groups, deliveries)
        else:
            value = limiter(kind, key, ask)
        # what is left of a limiter ends with its time, which the model's clock does not know
        found[key] = (kind, 0 if kind.startswith(b"leak") or kind == b"leases" else expiry, value)
    return found


def limiter(kind: bytes, key: bytes, ask: Asker) -> Any:
    """What a limiter or a queue holds, times and tickets aside."""
    if kind == b"leakyqueue":
        return [(*row[1:3], row[5]) for row in ask(b"LBQ.RANGE", key, b"0", b"-1")]
    flat = ask(b"LB.INFO", key)
    about = dict(zip(flat[::2], flat[1::2], strict=True))
    return {name: value for name, value in about.items() if name not in _NOT_KEPT}


@dataclass(slots=True)
class Run:
    """What a run is to do, and what its kills met."""

    kills: int
    policy: str
    clients: int
    caches: int
    seed: int
    directory: Path
    met: Counter[str] = field(default_factory=Counter)
    """Kills amid a rewrite or a save; blocks that were demoted; changes of segment files."""

    def crash(self, shows: Callable[[str], object]) -> int:
        """Kill so often; how many requests were acknowledged. LostError."""
        rng = random.Random(self.seed)
        ours: list[Client | KvcClient] = [
            Client(number, random.Random(rng.random()), Console()) for number in range(self.clients)
        ]
        ours += [KvcClient(number, random.Random(rng.random())) for number in range(self.caches)]
        options = (*SMALL_STORAGES, *OPTIONS, "--appendfsync", self.policy)
        for kill in range(self.kills):
            server = start_hotplate(self.directory, *options, seconds_max=START_SECONDS_MAX)
            try:
                with socket.create_connection(("127.0.0.1", server.port)) as sock:
                    ask = asker(sock)
                    if not kill:
                        fill(ask)
                    for client in ours:
                        client.judge(ask)
                    self.live_and_die(server, ours, rng, ask)
            finally:
                server.kill()  # where something is lost, its files tell more if it does not stop
            for client in ours:
                if client.error is not None:
                    raise client.error
            self.look_at_files()
            if rng.random() < 0.2:
                die_early(server, rng.uniform(0, EARLY_SECONDS_MAX))
            total = sum(client.acknowledged for client in ours)
            shows(f"kill {kill + 1}: {total} requests acknowledged, {dict(self.met)}")
        with (
            start_hotplate(self.directory, *options, seconds_max=START_SECONDS_MAX) as server,
            socket.create_connection(("127.0.0.1", server.port)) as sock,
        ):
            for client in ours:
                client.judge(asker(sock))
        return sum(client.acknowledged for client in ours)

    def live_and_die(
        self,
        server: ServerProcess,
        clients: Sequence[Client | KvcClient],
        rng: random.Random,
        ask: Asker,
    ) -> None:
        """Let the clients write, and kill the server, often amid what takes long."""
        threads = [threading.Thread(target=client.live, args=(server.port,)) for client in clients]
        for thread in threads:
            thread.start()
        time.sleep(rng.uniform(*LIFE_SECONDS))
        self.look_at_caches(ask)
        if rng.random() < STOPS:
            self.met["stopped"] += 1
            server.stop()
        begun = b"" if not server.running else rng.choice([b"BGREWRITEAOF", b"BGSAVE", b""])
        if begun:
            ask(begun)
            time.sleep(rng.uniform(*AMID_SECONDS))
        if server.running and rng.random() < REWRITES:
            self.met["rewritten"] += 1
            rewrite(ask)
        server.kill()
        for thread in threads:
            thread.join()

    def look_at_caches(self, ask: Asker) -> None:
        """How much went on in the KV cache until now."""
        for number in range(self.caches):
            stats = ask(b"KVC.STATS", b"INSTANCE", b"k%d-exclusive" % number)
            self.met["demoted"] += stats[stats.index(b"demoted") + 1]
            self.met["promoted"] += stats[stats.index(b"promoted") + 1]

    def look_at_files(self) -> None:
        """What the kill left unfinished."""
        self.met["amid a rewrite"] += any(self.directory.glob("appendonlydir/temp-rewrite-*"))
        self.met["amid a save"] += any(self.directory.glob("temp-save-*"))
        journals = sorted(self.directory.glob("kvc-journal/*"))
        self.met["journal files"] = max(int(path.stem, 16) for path in journals)


def fill(ask: Asker) -> None:
    """Keys that nobody changes, so that a snapshot takes its time."""
    for start in range(0, FILLED, 1000):
        pairs = [b"filled:%d" % number for number in range(start, start + 1000)]
        ask(b"MSET", *(word for pair in pairs for word in (pair, pair)))


def rewrite(ask: Asker) -> None:
    """Let the log be rewritten to the end, unless it is being rewritten."""
    ask(b"BGREWRITEAOF")
    unfinished = (b"aof_rewrite_in_progress:1", b"aof_rewrite_scheduled:1")
    while any(line in ask(b"INFO", b"persistence") for line in unfinished):
        time.sleep(POLL_SECONDS)


def die_early(before: ServerProcess, seconds: float) -> None:
    """Start it again, and kill it before it is ready, or just then."""
    server = ServerProcess(before.name, before.command, before.log_path)
    time.sleep(seconds)
    server.kill()


def main(argv: Sequence[str]) -> int:
    """0, or 1 where something was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--policy", choices=("always", "everysec", "no"), default="everysec")
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--caches", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(argv)
    directory = Path(tempfile.mkdtemp(prefix="hotplate-crash-"))
    run = Run(
        arguments.kills,
        policy=arguments.policy,
        clients=arguments.clients,
        caches=arguments.caches,
        seed=arguments.seed,
        directory=directory,
    )
    try:
        total = run.crash(partial(print, flush=True))
    except LostError as error:
        print(f"LOST: {error}\n{directory} is as it was found", file=sys.stderr)
        return 1
    shutil.rmtree(directory)
    print(f"{arguments.kills} kills, {total} requests acknowledged, none lost")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
