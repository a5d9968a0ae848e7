"""A server that is killed again and again, and judged by what it had acknowledged.

    python -m tests.soak.crash --kills 30 [--policy everysec] [--clients 4] [--seed N]

Clients write to keys of their own, of all types, some commands in one go; a command whose reply
came is acknowledged. SIGKILL comes at a random moment: while the log is rewritten, while a snapshot
is saved, while data is loaded. After each restart every client's keys must be what its acknowledged
commands made of them, and the first so many of those that were under way: none of the former may
be lost, none of the latter may be there without those before it, a transaction or script not in
part.

The model is an engine in this process that keeps nothing. It runs each command a client sent; what
was random is told to it from the reply.
"""

import argparse
import itertools
import random
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import hiredis
from tests.testing.console import Console
from tests.testing.server import SMALL_STORAGES

from hotplate.bench.process import ServerProcess, start_hotplate
from hotplate.errors import CommandError

Argv = list[bytes]
FAR_MS: Final = 4_102_444_800_000
MEMBERS: Final = 6
LIFE_SECONDS: Final = (0.02, 0.6)  # between ready and killed
EARLY_SECONDS_MAX: Final = 1.5
PIPELINE_MAX: Final = 8
REPLY_SECONDS_MAX: Final = 30.0
OPTIONS: Final = (
    *("--appendonly", "yes", "--auto-aof-rewrite-min-size", "32kb"),
    *("--auto-aof-rewrite-percentage", "40", "--save", "1 50"),
)


class LostError(Exception):
    """Something acknowledged is not there, or something is there in part."""


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
            [b"XACK", key(b"stream"), b"g", b"%d-1" % rng.randrange(1, int(number) + 1)],
            [b"XTRIM", key(b"stream"), b"MAXLEN", b"30"],
            [b"EVAL", both, b"2", key(b"s1"), key(b"list"), number],
            [b"DEL", key(rng.choice(names))],
            [b"RENAME", key(b"s1"), key(b"s3")],
            [b"LB.ACQUIRE", b"1", key(b"calls"), b"LIMIT", b"CONC", b"9", b"ID", member, b"TTL",
             b"9999999999"],
            [b"LB.CANCEL", member, b"1", key(b"calls")],
        ]  # fmt: skip

    def live(self, port: int) -> None:
        """Write until the server is gone."""
        try:
            with socket.create_connection(("127.0.0.1", port)) as sock:
                sock.settimeout(REPLY_SECONDS_MAX)
                reader = hiredis.Reader()
                while True:
                    units = [self.unit() for _ in range(self.rng.randrange(1, PIPELINE_MAX))]
                    self.under_way = units.copy()
                    sock.sendall(b"".join(encode(argv) for unit in units for argv in unit))
                    for unit in units:
                        replies = [take(sock, reader) for _ in unit]
                        self.apply(unit, replies[-1])
                        self.under_way.pop(0)
                        self.acknowledged += 1
        except ConnectionError:
            return
        except Exception as error:
            self.error = error

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
        found = content(self.prefix, ask)
        for unit in [None, *self.under_way]:
            if unit is not None:
                self.apply_unheard(unit, found)
            if content(self.prefix, self.model_asks) == found:
                self.under_way = []
                return
        expected = content(self.prefix, self.model_asks)
        wrong = {
            key: (expected.get(key), found.get(key))
            for key in expected.keys() | found.keys()
            if expected.get(key) != found.get(key)
        }
        raise LostError(f"{self.prefix!r}: (expected, found) {wrong!r}"[:3000])

    def apply_unheard(self, unit: list[Argv], found: dict[bytes, Any]) -> None:
        """A command whose reply did not come: what it took by chance shows in what is found."""
        (argv, *_) = unit
        if argv[0] == b"SPOP":
            there = set(self.model_asks(b"SMEMBERS", argv[1]))
            left = found.get(argv[1], (None, None, []))[2]
            for gone in list(there - set(left))[:1]:
                self.model.execute([b"SREM", argv[1], gone])
            return
        for each in unit:
            self.model.execute(each)

    def model_asks(self, *words: bytes) -> Any:
        """The model's reply; an error is a value, too."""
        try:
            return self.model(*words)
        except CommandError as error:
            return str(error)


Asker = Any


def encode(argv: Sequence[bytes]) -> bytes:
    """A request."""
    return b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in argv)


def take(sock: socket.socket, reader: hiredis.Reader) -> Any:
    """The next reply. ConnectionError when the server is gone."""
    while True:
        reply = reader.gets()
        if reply is not False:
            return reply
        data = sock.recv(1 << 16)
        if not data:
            raise ConnectionResetError
        reader.feed(data)


def content(prefix: bytes, ask: Asker) -> dict[bytes, Any]:
    """Everything in the keys that begin so."""
    found: dict[bytes, Any] = {}
    for key in sorted(ask(b"KEYS", prefix + b"*")):
        kind = ask(b"TYPE", key)
        value: Any
        if kind == b"string":
            value = ask(b"PFCOUNT", key) if key.endswith(b"sketch") else ask(b"GET", key)
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
            info = ask(b"LB.INFO", key)
            value = info[: info.index(b"reset_ms")] if b"reset_ms" in info else kind
        found[key] = (kind, ask(b"PEXPIRETIME", key) if kind != b"leases" else 0, value)
    return found


def asker(sock: socket.socket) -> Asker:
    """Asks a server."""
    reader = hiredis.Reader(replyError=_refusal)

    def ask(*words: bytes) -> Any:
        sock.sendall(encode(words))
        reply = take(sock, reader)
        return str(reply) if isinstance(reply, CommandError) else reply

    return ask


def _refusal(text: str) -> CommandError:
    return CommandError(text)


def crash(kills: int, *, policy: str, clients: int, seed: int, directory: Path, shows: bool) -> int:
    """Kill so often; how many commands were acknowledged. LostError."""
    rng = random.Random(seed)
    ours = [Client(number, random.Random(rng.random()), Console()) for number in range(clients)]
    options = (*SMALL_STORAGES, *OPTIONS, "--appendfsync", policy)
    for kill in range(kills):
        server = start_hotplate(directory, *options)
        with server:
            with socket.create_connection(("127.0.0.1", server.port)) as sock:
                ask = asker(sock)
                for client in ours:
                    client.judge(ask)
                if rng.random() < 0.5:
                    ask(rng.choice([b"BGREWRITEAOF", b"BGSAVE"]))
            live_and_die(server, ours, rng.uniform(*LIFE_SECONDS))
        for client in ours:
            if client.error is not None:
                raise client.error
        if rng.random() < 0.2:
            die_early(server, rng.uniform(0, EARLY_SECONDS_MAX))
        if shows:
            total = sum(client.acknowledged for client in ours)
            print(f"kill {kill + 1}: {total} units acknowledged", flush=True)
    with (
        start_hotplate(directory, *options) as server,
        socket.create_connection(("127.0.0.1", server.port)) as sock,
    ):
        for client in ours:
            client.judge(asker(sock))
    return sum(client.acknowledged for client in ours)


def live_and_die(server: ServerProcess, clients: Sequence[Client], seconds: float) -> None:
    """Let the clients write, and kill the server."""
    threads = [threading.Thread(target=client.live, args=(server.port,)) for client in clients]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    server.kill()
    for thread in threads:
        thread.join()


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
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="hotplate-crash-") as directory:
        try:
            total = crash(
                arguments.kills,
                policy=arguments.policy,
                clients=arguments.clients,
                seed=arguments.seed,
                directory=Path(directory),
                shows=True,
            )
        except LostError as error:
            print(f"LOST: {error}", file=sys.stderr)
            return 1
    print(f"{arguments.kills} kills, {total} units acknowledged, none lost")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
