"""Block payloads: through the socket beside SET and GET, and through mapped memory.

Our side works as a full cache does: the group's quota holds RING_BLOCKS blocks, and every new block
makes the server reclaim an old one. Their side writes RING_BLOCKS keys over and over. Payloads are
sent from and received into buffers that were made before. The mapped way is the Python client's
and moves BATCH_BLOCKS blocks a call; beside it stands a pipeline of as many SET or GET.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hotplate.bench.link import Link, ReplyError, frame
from hotplate.bench.measure import alternate, compare_rates, repeat
from hotplate.bench.report import Suite
from hotplate.clients import Keys, KVCache

SIZES: Final = {"64 KiB": 64 << 10, "1 MiB": 1 << 20, "4 MiB": 4 << 20}
RING_BLOCKS: Final = 32
BATCH_BLOCKS: Final = 16
KEY_BYTES: Final = 16
SOCKET_TARGET: Final = 0.8
MAPPED_TARGET: Final = 3.0
TARGET_BYTES_MIN: Final = 1 << 20  # below it the round trip decides
CAPACITY_BYTES: Final = 2 * RING_BLOCKS * max(SIZES.values())  # what our memory storage needs

Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Way:
    """One line to measure: what each side does, and how many blocks a call moves."""

    name: str
    ours: Call
    theirs: Call
    blocks: int
    target: float


class Ring:
    """Our side for one payload size: a group of its own and an instance in it."""

    def __init__(self, link: Link, size: int) -> None:
        self.link = link
        self.size = size
        self.name = f"bench-bytes-{size}"
        self.payload = memoryview(bytes(range(256)) * (size // 256))
        self._numbers = itertools.count(1)
        link.command(
            *("KVC.GROUP", "CREATE", self.name, "STORAGES", 1, "memory"),
            *("QUOTA", RING_BLOCKS * size, "WATERMARKS", 1, 1, "GRACE", 0),
        )
        link.command(
            *("KVC.INSTANCE", "REGISTER", self.name, "GROUP", self.name),
            *("BLOCKTOKENS", 16, "SPEC", "kv", size),
        )

    def close(self) -> None:
        """Drop the instance, its blocks and the group."""
        self.link.command("KVC.INSTANCE", "REMOVE", self.name, "FORCE")
        self.link.command("KVC.GROUP", "REMOVE", self.name)

    def new_keys(self, count: int) -> list[bytes]:
        """Keys that were never used before."""
        return [next(self._numbers).to_bytes(KEY_BYTES, "big") for _ in range(count)]

    def put(self) -> None:
        """One new block, through the socket."""
        (key,) = self.new_keys(1)
        head = frame("KVC.PUT", self.name, 1, key).removeprefix(b"*4\r\n")
        parts = (b"*5\r\n" + head + b"$%d\r\n" % self.size, self.payload, b"\r\n")
        self.link.send_parts(parts, expected=1)

    def put_mapped(self, cache: KVCache) -> None:
        """BATCH_BLOCKS new blocks, written in place."""

        def fill(_first: int, count: int, payloads: memoryview) -> None:
            for number in range(count):
                payloads[number * self.size : (number + 1) * self.size] = self.payload

        with cache.reserve(Keys.of(self.new_keys(BATCH_BLOCKS))) as reservation:
            way = reservation.write_runs(fill)
            if way != "mapped":
                raise ReplyError(f"payloads went over {way}")

    def put_chain(self) -> Keys:
        """Store a chain of BATCH_BLOCKS blocks; its keys. They stay while nothing else is put."""
        keys = self.new_keys(BATCH_BLOCKS)
        pairs = [part for key in keys for part in (key, bytes(self.payload))]
        self.link.command("KVC.PUT", self.name, len(keys), *pairs)
        return Keys.of(keys)


class Strings:
    """Their side for one payload size: RING_BLOCKS keys."""

    def __init__(self, link: Link, size: int) -> None:
        self.link = link
        self.size = size
        self.payload = memoryview(bytes(range(256)) * (size // 256))
        self.keys = [b"bench:%d:%d" % (size, number) for number in range(RING_BLOCKS)]
        self._turn = itertools.cycle(self.keys)
        for _ in self.keys:
            self.set()

    def close(self) -> None:
        """Drop the keys."""
        self.link.command("UNLINK", *self.keys)

    def set(self) -> None:
        """The next key."""
        self.link.send_parts(self._set_parts(), expected=b"OK")

    def set_batch(self) -> None:
        """The next BATCH_BLOCKS keys, as a pipeline."""
        parts = [part for _ in range(BATCH_BLOCKS) for part in self._set_parts()]
        self.link.send_parts(parts, expected=b"OK", replies=BATCH_BLOCKS)

    def _set_parts(self) -> tuple[bytes | memoryview, ...]:
        head = frame("SET", next(self._turn)).removeprefix(b"*2\r\n")
        return (b"*3\r\n" + head + b"$%d\r\n" % self.size, self.payload, b"\r\n")


def writes(ring: Ring, strings: Strings, cache: KVCache) -> list[Way]:
    """Payloads to the server."""
    return [
        Way("PUT socket / SET", ring.put, strings.set, 1, SOCKET_TARGET),
        Way(
            f"write mapped x{BATCH_BLOCKS} / SET pipeline",
            lambda: ring.put_mapped(cache),
            strings.set_batch,
            BATCH_BLOCKS,
            MAPPED_TARGET,
        ),
    ]


def reads(ring: Ring, strings: Strings, cache: KVCache) -> list[Way]:
    """Payloads from the server, into one buffer."""
    keys = ring.put_chain()
    buffer = memoryview(bytearray(BATCH_BLOCKS * ring.size))
    views = [buffer[index * ring.size : (index + 1) * ring.size] for index in range(BATCH_BLOCKS)]
    own = [frame("KVC.READ", ring.name, key) for key in keys]
    other = [frame("GET", key) for key in strings.keys]
    batch = b"".join(other[:BATCH_BLOCKS])
    own_turn, other_turn = itertools.cycle(own), itertools.cycle(other)
    check_reads(ring, strings, own[0], other[0])

    def read_mapped() -> None:
        match = cache.match(keys)
        moved = match.read_into(buffer)
        if moved != len(buffer):
            raise ReplyError(f"{moved} of {len(buffer)} bytes were found")

    return [
        Way(
            "READ socket / GET",
            lambda: ring.link.receive_bulks(next(own_turn), views[:1]),
            lambda: strings.link.receive_bulks(next(other_turn), views[:1]),
            1,
            SOCKET_TARGET,
        ),
        Way(
            f"read mapped x{BATCH_BLOCKS} / GET pipeline",
            read_mapped,
            lambda: strings.link.receive_bulks(batch, views),
            BATCH_BLOCKS,
            MAPPED_TARGET,
        ),
    ]


def check_reads(ring: Ring, strings: Strings, own: bytes, other: bytes) -> None:
    """Both sides must answer the payload."""
    for link, request in ((ring.link, own), (strings.link, other)):
        target = memoryview(bytearray(ring.size))
        link.receive_bulks(request, [target])
        if target != ring.payload:
            raise ReplyError("a payload came back changed")


def run(ours: str, theirs: str, *, alternations: int, seconds: float) -> Suite:
    """Measure all sizes and ways."""
    suite = Suite("bytes", "one client, GB/s of payload")
    with Link(ours) as our_link, Link(theirs) as their_link:
        for name, size in SIZES.items():
            ring, strings = Ring(our_link, size), Strings(their_link, size)
            with KVCache.from_url(ours, ring.name, transport="mapped") as cache:
                for build in (writes, reads):
                    for way in build(ring, strings, cache):
                        pairs = alternate(
                            repeat(way.ours, seconds), repeat(way.theirs, seconds), alternations
                        )
                        size_bytes = size * way.blocks
                        rates = [(size_bytes / a / 1e9, size_bytes / b / 1e9) for a, b in pairs]
                        target = way.target if size >= TARGET_BYTES_MIN else None
                        suite.rows.append(
                            compare_rates(f"{name} {way.name}", rates, unit=" GB/s", target=target)
                        )
            ring.close()
            strings.close()
    return suite
