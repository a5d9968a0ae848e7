"""Replays the same commands on a real Redis and on Hotplate and compares the raw reply frames.

    python -m tests.testing.differential --commands 200000 [--port N]

Frames must be equal byte by byte, in RESP2 and RESP3, except for what is time or chance:

    KEYS, SCAN          the order of keys (a SCAN here asks for all keys at once)
    RANDOMKEY           which key
    HGETALL, HKEYS, HVALS, HSCAN    the order of fields
    HRANDFIELD          which fields; how many there are must agree
    TTL, PTTL, EXPIRETIME, PEXPIRETIME    two seconds, as the clocks are read one after the other
    scores and coordinates    the digits: Redis prints fewer since 7.2; they mean the same number
    ZRANDMEMBER         which members
    ZSCAN               the order of members
    BITCOUNT, BITPOS    wrong arguments are refused first, as Redis does since 7.2
    HSCAN, SSCAN, ZSCAN of many elements    which come first, as long as both have more
    GEORADIUS ... COUNT, GEOSEARCH ... COUNT    which of equally distant members are in
    DUMP                what is dumped must be equal, not how it is written; not of streams
    SORT, SORT_RO       the order of equal weights (BY with ALPHA), and of a set that is not sorted
    OBJECT IDLETIME, OBJECT REFCOUNT    the number: Redis shares one object among all small integers
    OBJECT ENCODING     small lists and sets are `listpack` since 7.2
    SMEMBERS, SINTER, SUNION, SDIFF, SSCAN    the order of members (SSCAN asks for all at once)
    SRANDMEMBER, SPOP   which members; afterwards what either popped is removed from both, and
                        within MULTI, where that cannot be, SPOP is left out
    XPENDING, XINFO     times, to two seconds; fields that newer versions add; the tree's nodes
    XADD with `*`       the id

Both run with active expiry off, so that DBSIZE does not depend on when it came around.
"""

import argparse
import random
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, Protocol

import hiredis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as with_seed
from tests.testing.commands import command_lists
from tests.testing.commands_streams import streams_alike
from tests.testing.console import Console, build_engine
from tests.testing.reply_schema import Frame, parse_frame

from hotplate.bench.process import start_redis
from hotplate.clock import SystemClock
from hotplate.keyspace.rdb import PlainSet, load

REDIS_OPTIONS: Final = ("--enable-debug-command", "yes")
_TOLERANCE: Final = {b"ttl": 2, b"pttl": 2000, b"expiretime": 2, b"pexpiretime": 2000}
_UNORDERED: Final = frozenset((b"keys", b"smembers", b"sinter", b"sunion", b"sdiff"))
_OLD_ENCODINGS: Final = {b"listpack": (b"quicklist", b"hashtable", b"intset")}  # by ours, if newer
_HASH_WALKS: Final = frozenset((b"hgetall", b"hkeys", b"hvals", b"hscan", b"hrandfield"))
_BITS_OF_NO_STRING: Final = (
    *(b":0\r\n", b":-1\r\n"),
    b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
)
_DUMPED_STREAMS: Final = (b"\x0f", b"\x13", b"\x15")  # the types in Redis' dumps
_SCANS: Final = frozenset((b"hscan", b"sscan", b"zscan"))
_RECEIVE_BYTES: Final = 1 << 16
_AGGREGATES: Final = {ord("*"): 1, ord("%"): 2, ord("~"): 1, ord(">"): 1}
_BULKS: Final = frozenset(b"$=!")


class Peer(Protocol):
    """Something that answers commands with raw frames."""

    def execute(self, argv: Sequence[bytes]) -> bytes:
        """One command's reply."""
        ...


class SocketPeer:
    """A server on 127.0.0.1."""

    def __init__(self, port: int, resp: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._buffer = b""
        self.execute([b"HELLO", b"%d" % resp])

    def execute(self, argv: Sequence[bytes]) -> bytes:
        """The frame that answers."""
        self._socket.sendall(hiredis.pack_command(tuple(argv)))  # type: ignore[arg-type]
        while (end := frame_end(self._buffer, 0)) is None:
            received = self._socket.recv(_RECEIVE_BYTES)
            if not received:
                raise ConnectionError(f"the server closed the connection on {argv!r}")
            self._buffer += received
        frame, self._buffer = self._buffer[:end], self._buffer[end:]
        return frame

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def frame_end(data: bytes, start: int) -> int | None:
    """Where the frame that begins at `start` ends; None where it is not complete."""
    line_end = data.find(b"\r\n", start)
    if line_end < 0:
        return None
    end = line_end + 2
    kind = data[start]
    if kind in _BULKS:
        size = int(data[start + 1 : line_end])
        if size >= 0:
            end += size + 2
        return end if end <= len(data) else None
    for _ in range(_AGGREGATES.get(kind, 0) * max(_count(data, start, line_end, kind), 0)):
        item_end = frame_end(data, end)
        if item_end is None:
            return None
        end = item_end
    return end


def _count(data: bytes, start: int, line_end: int, kind: int) -> int:
    return int(data[start + 1 : line_end]) if kind in _AGGREGATES else 0


def _both_go_on(theirs: bytes, ours: bytes) -> bool:
    """Whether both scans have more to come: what they began with is each one's own order."""
    return b"$1\r\n0\r\n" not in (items_of(theirs)[0], items_of(ours)[0])


def items_start(frame: bytes) -> bytes:
    """What follows the header of a bulk string or an array."""
    return frame[frame.index(b"\r\n") + 2 :]


def _is_stream(dumped: bytes) -> bool:
    return dumped[:1] == b"$" and items_start(dumped)[:1] in _DUMPED_STREAMS


def items_of(frame: bytes) -> list[bytes]:
    """The frames inside an array."""
    position = frame.index(b"\r\n") + 2
    items = []
    while position < len(frame):
        end = frame_end(frame, position)
        assert end is not None
        items.append(frame[position:end])
        position = end
    return items


def bulk_of(frame: bytes) -> bytes:
    """The content of a bulk string."""
    return frame[frame.index(b"\r\n") + 2 : -2]


def _members(frame: bytes) -> list[bytes]:
    return [frame] if frame[:1] == b"$" else items_of(frame)


class Comparison:
    """Two peers that should answer alike. Follows MULTI, to know what EXEC answers to."""

    def __init__(self, theirs: SocketPeer, ours: Peer) -> None:
        self._theirs = theirs
        self._ours = ours
        self._queued: list[Sequence[bytes]] = []
        self._queuing = False
        self.commands = 0

    def close(self) -> None:
        """Hang up."""
        self._theirs.close()
        if isinstance(self._ours, SocketPeer):
            self._ours.close()

    def reset(self) -> None:
        """Both empty, no transaction, no watched key, database 0."""
        for argv in ([b"DISCARD"], [b"UNWATCH"], [b"SELECT", b"0"], [b"FLUSHALL"]):
            self._theirs.execute(argv)
            self._ours.execute(argv)
        self._queued = []
        self._queuing = False

    def check(self, argv: Sequence[bytes]) -> None:
        """Run one command on both. AssertionError where the replies differ."""
        name = argv[0].lower()
        if name == b"spop" and self._queuing:
            return
        self.commands += 1
        theirs = self._theirs.execute(argv)
        ours = self._ours.execute(argv)
        assert self._alike(argv, theirs, ours), f"{argv!r}\n Redis {theirs!r}\n ours  {ours!r}"
        if theirs == b"+QUEUED\r\n":
            self._queued.append(argv)
        elif name == b"multi":
            self._queuing = True
        elif name in (b"exec", b"discard"):
            self._queuing = False
            self._queued = []
        elif name == b"spop" and theirs != ours:
            popped = [bulk_of(item) for frame in (theirs, ours) for item in _members(frame)]
            for peer in (self._theirs, self._ours):
                peer.execute([b"SREM", argv[1], *popped])

    def _alike(self, argv: Sequence[bytes], theirs: bytes, ours: bytes) -> bool:
        if theirs == ours:
            return True
        if argv[0].lower() != b"exec" or theirs[:1] != b"*" or theirs[:1] != ours[:1]:
            return alike(argv, theirs, ours)
        replies = zip(self._queued, items_of(theirs), items_of(ours), strict=True)
        return all(alike(queued, their_item, our_item) for queued, their_item, our_item in replies)


def alike(argv: Sequence[bytes], theirs: bytes, ours: bytes) -> bool:
    """Whether two different replies differ in time or chance only."""
    if theirs == ours:
        return True
    name = argv[0].lower()
    if name in (b"bitcount", b"bitpos") and ours.startswith(b"-ERR "):
        return theirs in _BITS_OF_NO_STRING
    if name == b"dump" and _is_stream(ours):
        return _is_stream(theirs)
    if theirs[:1] != ours[:1]:
        return False
    if name[:1] == b"x":
        return streams_alike(argv, theirs, ours)
    if name in _SCANS and theirs[:1] == b"*" and _both_go_on(theirs, ours):
        return True
    if name.startswith(b"geo") and b"COUNT" in [word.upper() for word in argv]:
        return theirs[:1] == b"*" and len(items_of(theirs)) == len(items_of(ours))
    if name.startswith((b"z", b"geo")):
        return _alike_scores(name, parse_frame(theirs)[0], parse_frame(ours)[0])
    if name == b"randomkey":
        return theirs[:1] == b"$" and b"$-1\r\n" not in (theirs, ours)
    if name in _UNORDERED and theirs[:1] in (b"*", b"~"):
        return sorted(items_of(theirs)) == sorted(items_of(ours))
    if name in (b"spop", b"srandmember") and theirs[:1] in (b"*", b"~", b"$"):
        return b"$-1\r\n" not in (theirs, ours) and len(_members(theirs)) == len(_members(ours))
    if name == b"dump" and theirs[:1] == b"$":
        return b"$-1\r\n" not in (theirs, ours) and _is_same_value(bulk_of(theirs), bulk_of(ours))
    if name in (b"sort", b"sort_ro") and theirs[:1] == b"*":
        return _is_sorted_alike(argv, theirs, ours)
    if name == b"object" and argv[1].lower() == b"encoding" and theirs[:1] == b"$":
        return bulk_of(theirs) in _OLD_ENCODINGS.get(bulk_of(ours), ())
    if name in (b"scan", b"sscan") and theirs[:1] == b"*":
        (their_cursor, their_keys), (our_cursor, our_keys) = items_of(theirs), items_of(ours)
        return their_cursor == our_cursor and sorted(items_of(their_keys)) == sorted(
            items_of(our_keys)
        )
    if name in _HASH_WALKS:
        return _same_pairs(name, theirs, ours)
    if theirs[:1] != b":" or min(_integer(theirs), _integer(ours)) < 0:
        return False
    if name == b"object":
        return argv[1].lower() in (b"refcount", b"idletime")
    return abs(_integer(theirs) - _integer(ours)) <= _TOLERANCE.get(name, -1)


def _same_pairs(name: bytes, theirs: bytes, ours: bytes) -> bool:
    """Whether two replies on all of a hash name the same fields and values in any order."""
    if theirs[:1] not in b"*%":
        return name == b"hrandfield" and theirs[:1] == b"$" and b"$-1\r\n" not in (theirs, ours)
    their_items, our_items = items_of(theirs), items_of(ours)
    if name == b"hrandfield":
        return len(their_items) == len(our_items)
    if name == b"hscan":
        if their_items[0] != our_items[0]:
            return False
        their_items, our_items = items_of(their_items[1]), items_of(our_items[1])
    if name in (b"hkeys", b"hvals"):
        return sorted(their_items) == sorted(our_items)
    return sorted(zip(their_items[::2], their_items[1::2], strict=True)) == sorted(
        zip(our_items[::2], our_items[1::2], strict=True)
    )


def _alike_scores(name: bytes, theirs: Frame, ours: Frame) -> bool:
    """Whether two replies hold the same members, and scores that are the same numbers."""
    if theirs.kind != ours.kind:
        return False
    if not isinstance(theirs.value, list):
        is_random = name == b"zrandmember"
        return is_random or theirs.value == ours.value or _same_number(theirs, ours)
    if name == b"zscan" and len(theirs.value) == len(ours.value) and theirs.kind == "*":
        their_flat, our_flat = theirs.value[1].value, ours.value[1].value
        return theirs.value[0] == ours.value[0] and _score_table(their_flat) == _score_table(
            our_flat
        )
    return len(theirs.value) == len(ours.value) and all(
        _alike_scores(name, *pair) for pair in zip(theirs.value, ours.value, strict=True)
    )


def _same_number(theirs: Frame, ours: Frame) -> bool:
    try:
        return theirs.kind in "$," and float(theirs.value) == float(ours.value)
    except (TypeError, ValueError):
        return False


def _score_table(flat: list[Frame]) -> dict[bytes, float]:
    return {member.value: float(score.value) for member, score in _pairs(flat)}


def _pairs(items: Sequence[Frame]) -> Iterator[tuple[Frame, Frame]]:
    """Pairs of neighbours."""
    return zip(items[::2], items[1::2], strict=True)


def _is_same_value(their_payload: bytes, our_payload: bytes) -> bool:
    values = [load(payload) for payload in (their_payload, our_payload)]
    for value in values:
        if isinstance(value, PlainSet):
            value.members.sort()
    return values[0] == values[1]


def _is_sorted_alike(argv: Sequence[bytes], theirs: bytes, ours: bytes) -> bool:
    words = [word.upper() for word in argv]
    if b"BY" not in words:
        return False
    by = argv[words.index(b"BY") + 1]
    if b"*" in by and b"ALPHA" not in words:
        return False
    their_items, our_items = items_of(theirs), items_of(ours)
    if b"LIMIT" in words:
        return len(their_items) == len(our_items)
    return sorted(their_items) == sorted(our_items)


def _integer(frame: bytes) -> int:
    return int(frame[1:-2])


def build_comparison(redis_port: int, resp: int, hotplate_port: int | None = None) -> Comparison:
    """Redis on that port beside Hotplate: a server on a port, or an engine in this process."""
    theirs = SocketPeer(redis_port, resp)
    theirs.execute([b"DEBUG", b"SET-ACTIVE-EXPIRE", b"0"])
    ours: Peer
    if hotplate_port is None:
        ours = Console(build_engine(SystemClock()), resp=resp)
    else:
        ours = SocketPeer(hotplate_port, resp)
        ours.execute([b"DEBUG", b"SET-ACTIVE-EXPIRE", b"0"])
    return Comparison(theirs, ours)


def compare(comparison: Comparison, commands: int, *, seed: int | None = None) -> None:
    """Run about `commands` commands. Hypothesis shrinks a difference to its shortest cause."""
    length = 60

    @settings(
        max_examples=max(commands // (length // 2), 1),
        derandomize=seed is None,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(command_lists(length))
    def replay(sequence: list[list[bytes]]) -> None:
        comparison.reset()
        for argv in sequence:
            comparison.check(argv)

    if seed is not None:
        with_seed(seed)(replay)
    replay()


def main(arguments: Sequence[str] | None = None) -> int:
    """The long run."""
    parser = argparse.ArgumentParser(
        description=__doc__, prog="python -m tests.testing.differential"
    )
    parser.add_argument("--commands", type=int, default=200_000)
    parser.add_argument("--port", type=int, help="of a running Hotplate; none: in this process")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args(arguments)
    print(f"seed {options.seed}", flush=True)
    with (
        tempfile.TemporaryDirectory() as directory,
        start_redis(Path(directory), *REDIS_OPTIONS) as redis,
    ):
        for resp in (2, 3):
            with closing(build_comparison(redis.port, resp, options.port)) as comparison:
                compare(comparison, options.commands // 2, seed=options.seed)
            print(f"RESP{resp}: {comparison.commands} commands, no difference", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
